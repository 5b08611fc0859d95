//! The pages of P1.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::plot::{Curve, Frame, Point, curves};
use super::table::Table;
use super::{bar, head, interval, number, thousands, write_raw};
use crate::arm::Arm;
use crate::connect::{Found, Size, Slot};
use crate::machine::Machine;
use crate::stats::{self, Estimate, growth, median};

/// Of the ratio to kube-proxy: what it shall be, and what the interval's end may be.
const RATIO: f64 = 1.0;
const RATIO_END: f64 = 1.03;
/// Microseconds.
const GROWTH: f64 = 0.3;
const ABOVE_DIRECT: f64 = 1.5;

const ABSOLUTE: [(Slot, &str); 4] = [
    (Slot::Direct, "#7a7a7a"),
    (Slot::Sluice, "#0b6bcb"),
    (Slot::Nftables, "#d9480f"),
    (Slot::Iptables, "#a61e4d"),
];

const RATIOS: [(Slot, Slot, &str, &str); 5] = [
    (Slot::Sluice, Slot::Nftables, "Sluice ÷ nftables", "#d9480f"),
    (Slot::Sluice, Slot::Iptables, "Sluice ÷ iptables", "#a61e4d"),
    (Slot::Sluice, Slot::Direct, "Sluice ÷ direct", "#0b6bcb"),
    (
        Slot::DirectAgain,
        Slot::Direct,
        "direct ÷ direct",
        "#7a7a7a",
    ),
    (
        Slot::SluiceAgain,
        Slot::Sluice,
        "Sluice ÷ Sluice",
        "#2f9e44",
    ),
];

pub(crate) fn write(folder: &Path, machine: &Machine, found: &Found) -> Result<()> {
    super::write(folder, "connect.svg", &absolute_plot(found))?;
    super::write(folder, "connect-ratios.svg", &ratio_plot(found))?;
    write_raw(folder, "connect.json", machine, found)?;
    super::write(folder, "connect.md", &page(machine, found))
}

fn ratio(size: &Size, of: Slot, to: Slot) -> Option<Estimate> {
    stats::ratio(&size.pairs(of, to))
}

fn above_direct(size: &Size) -> Option<Estimate> {
    stats::difference(&size.pairs(Slot::Sluice, Slot::Direct))
}

fn page(machine: &Machine, found: &Found) -> String {
    let mut page = head("A connect, by the number of Services", machine);
    let _ = write!(
        page,
        "\nTime of `connect()` on a blocking TCP socket, from a pod to a server on another node, to random targets among
all Services with {} endpoints each. Medians of {} rounds with 95 % intervals; a ratio compares within rounds.

![Ratios](connect-ratios.svg)

## Ratios

{}
The last two columns compare an arm with itself: how far from 1 they are is how far the others can be trusted.

## Bars

{}
## Microseconds

![Microseconds](connect.svg)

p50, and p99 in parentheses:

{}
What Sluice adds to a direct connect of the same round:

{}
## In sync

Seconds until kube-proxy or the agent, which ran all the time, had the added Services in the kernel, each while the
others stood still. `busy` is how much of the processors something else took before the rounds began.

{}",
        found.endpoints_per_service,
        found.sizes.first().map_or(0, |size| size.rounds.len()),
        ratio_table(found),
        bars(found),
        absolute_table(found),
        above_table(found),
        sync_table(found),
    );
    page
}

fn ratio_table(found: &Found) -> Table {
    let [a, b, c, d, e] = RATIOS.map(|(_, _, name, _)| name);
    let mut table = Table::new(["Services", a, b, c, d, e]);
    for size in &found.sizes {
        let cells = RATIOS.map(|(of, to, _, _)| match ratio(size, of, to) {
            None => "not reached".to_owned(),
            found => interval(found, 3),
        });
        table.row([thousands(size.services)].into_iter().chain(cells));
    }
    table
}

fn absolute_table(found: &Found) -> Table {
    let [a, b, c, d] = ABSOLUTE.map(|(slot, _)| name(slot));
    let mut table = Table::new(["Services", a, b, c, d]);
    for size in &found.sizes {
        let cells = ABSOLUTE.map(|(slot, _)| {
            let p50 = median(&size.each(slot, |connects| connects.p50));
            let p99 = median(&size.each(slot, |connects| connects.p99));
            match p50 {
                None => "not reached".to_owned(),
                p50 => format!("{} ({})", number(p50, 2), number(p99, 1)),
            }
        });
        table.row([thousands(size.services)].into_iter().chain(cells));
    }
    table
}

fn above_table(found: &Found) -> Table {
    let mut table = Table::new(["Services", "µs above direct"]);
    for size in &found.sizes {
        table.row([thousands(size.services), interval(above_direct(size), 2)]);
    }
    table
}

fn sync_table(found: &Found) -> Table {
    let arms = [Arm::Sluice, Arm::Nftables, Arm::Iptables];
    let [a, b, c] = arms.map(Arm::name);
    let mut table = Table::new(["Services", a, b, c, "busy"]);
    for size in &found.sizes {
        let cells = arms.map(|arm| match size.synced.get(&arm).copied().flatten() {
            Some(seconds) => format!("{seconds:.1}"),
            None => "not reached".to_owned(),
        });
        let busy = format!("{:.0} %", size.busy * 100.0);
        table.row(
            [thousands(size.services)]
                .into_iter()
                .chain(cells)
                .chain([busy]),
        );
    }
    table
}

fn bars(found: &Found) -> String {
    let mut text = String::new();
    for peer in [Slot::Nftables, Slot::Iptables] {
        let ratios = found
            .sizes
            .iter()
            .filter_map(|size| ratio(size, Slot::Sluice, peer));
        let worst = ratios.max_by(|a, b| a.value.total_cmp(&b.value));
        let reached = found
            .sizes
            .iter()
            .filter(|size| ratio(size, Slot::Sluice, peer).is_some());
        text += &bar(
            worst.is_some_and(|worst| worst.value <= RATIO && worst.high <= RATIO_END),
            format!(
                "at most {RATIO:.2} of {} (95 % interval at most {RATIO_END}) at every size that it reaches",
                name(peer)
            ),
            format!(
                "at worst {} of {} sizes",
                interval(worst, 3),
                reached.count()
            ),
        );
    }
    let above = found.sizes.iter().filter_map(above_direct);
    let most = above.max_by(|a, b| a.value.total_cmp(&b.value));
    text += &bar(
        most.is_some_and(|most| most.value <= ABOVE_DIRECT),
        format!("within {ABOVE_DIRECT} µs of a direct connect"),
        format!("at most {} µs above it", interval(most, 2)),
    );
    if let [first, .., last] = &found.sizes[..] {
        text += &growth_bar(first, last);
    }
    text
}

/// The machine at two times is compared here, so the same of a direct connect is told beside it.
fn growth_bar(first: &Size, last: &Size) -> String {
    let of = |slot| growth(&last.each(slot, |c| c.p50), &first.each(slot, |c| c.p50));
    let (sluice, direct) = (of(Slot::Sluice), of(Slot::Direct));
    bar(
        sluice.is_some_and(|sluice| sluice.value <= GROWTH),
        format!(
            "p50 grows by at most {GROWTH} µs from {} to {} Services",
            thousands(first.services),
            thousands(last.services)
        ),
        format!(
            "{} µs; a direct connect to as many endpoints grows by {} µs",
            interval(sluice, 2),
            interval(direct, 2)
        ),
    )
}

fn name(slot: Slot) -> &'static str {
    match slot {
        Slot::Direct | Slot::DirectAgain => Arm::Direct.name(),
        Slot::Sluice | Slot::SluiceAgain => Arm::Sluice.name(),
        Slot::Nftables => Arm::Nftables.name(),
        Slot::Iptables => Arm::Iptables.name(),
    }
}

fn absolute_plot(found: &Found) -> String {
    let all = ABSOLUTE.map(|(slot, color)| Curve {
        name: name(slot),
        color,
        points: found
            .sizes
            .iter()
            .map(|size| {
                let estimate = stats::estimate(&size.each(slot, |connects| connects.p50))?;
                Some(point(estimate))
            })
            .collect(),
    });
    let frame = Frame {
        title: "What a connect takes",
        unit: "p50, µs",
    };
    curves(&frame, &sizes(found), "Services", &all)
}

fn ratio_plot(found: &Found) -> String {
    let all = RATIOS.map(|(of, to, name, color)| Curve {
        name,
        color,
        points: found
            .sizes
            .iter()
            .map(|size| ratio(size, of, to).map(point))
            .collect(),
    });
    let frame = Frame {
        title: "Ratios of connects, within rounds",
        unit: "less is better for Sluice",
    };
    curves(&frame, &sizes(found), "Services", &all)
}

fn sizes(found: &Found) -> Vec<String> {
    found
        .sizes
        .iter()
        .map(|size| thousands(size.services))
        .collect()
}

fn point(estimate: Estimate) -> Point {
    Point {
        value: estimate.value,
        span: Some((estimate.low, estimate.high)),
    }
}
