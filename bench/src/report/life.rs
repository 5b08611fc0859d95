//! The pages of P3, P4 and P6.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::plot::{Frame, dots};
use super::table::Table;
use super::{bar, head, interval, number, thousands, write_raw};
use crate::arm::Arm;
use crate::change;
use crate::cold;
use crate::footprint::{self, Footprint};
use crate::life::{ARMS, Found};
use crate::machine::Machine;
use crate::stats::{self, median, quantile};

/// How many times sooner than kube-proxy, and how many seconds after the list.
const SOONER: f64 = 10.0;
const AFTER_THE_LIST: f64 = 1.5;
/// Milliseconds, of which 99 of 100 are below.
const INSIDE: f64 = 5.0;
const TO_CONNECT: f64 = 250.0;
/// MiB.
const RESIDENT: f64 = 60.0;
/// Of a processor, while nothing happens.
const IDLE: f64 = 0.01;

/// Writes the pages of what was found so far.
pub(crate) fn write(folder: &Path, machine: &Machine, found: &Found) -> Result<()> {
    if let Some(cold) = &found.cold {
        let rows = ARMS.map(|arm| (arm.name().to_owned(), color(arm), of_rounds(cold, arm)));
        let frame = Frame {
            title: "From the start to all Services answering",
            unit: "seconds",
        };
        super::write(folder, "cold-start.svg", &dots(&frame, &rows))?;
        super::write(folder, "cold-start.md", &cold_page(machine, found, cold))?;
        write_raw(folder, "cold-start.json", machine, cold)?;
    }
    if let Some(footprint) = &found.footprint {
        super::write(
            folder,
            "footprint.md",
            &footprint_page(machine, found, footprint),
        )?;
        write_raw(folder, "footprint.json", machine, footprint)?;
    }
    if !found.change.is_empty() {
        super::write(folder, "change.svg", &change_plot(&found.change))?;
        super::write(folder, "change.md", &change_page(machine, &found.change))?;
        write_raw(folder, "change.json", machine, &found.change)?;
    }
    Ok(())
}

fn color(arm: Arm) -> &'static str {
    match arm {
        Arm::Sluice => "#0b6bcb",
        Arm::Nftables => "#d9480f",
        Arm::Iptables => "#a61e4d",
        Arm::Direct => "#7a7a7a",
    }
}

fn of_rounds(cold: &cold::Found, arm: Arm) -> Vec<f64> {
    let of = |round: &std::collections::BTreeMap<Arm, f64>| round.get(&arm).copied();
    cold.rounds.iter().filter_map(of).collect()
}

fn cold_page(machine: &Machine, found: &Found, cold: &cold::Found) -> String {
    let both = |round: &std::collections::BTreeMap<Arm, f64>| {
        Some((*round.get(&Arm::Nftables)?, *round.get(&Arm::Sluice)?))
    };
    let pairs: Vec<_> = cold.rounds.iter().filter_map(both).collect();
    let sooner = stats::ratio(&pairs);
    let after = cold.after_the_list.iter().copied().reduce(f64::max);
    let mut table = Table::new(["arm", "seconds, median", "least", "most"]);
    for arm in ARMS {
        let seconds = of_rounds(cold, arm);
        let at = |share| number(quantile(&seconds, share), 2);
        table.row([arm.name().to_owned(), at(0.5), at(0.0), at(1.0)]);
    }
    let mut page = head("A cold start", machine);
    let _ = write!(
        page,
        "\n{} Services with {} endpoints are in the API server, and nothing of Sluice or kube-proxy is in the kernel. The
clock runs from the exec until a client in a pod gets an answer from each of a random sample of Services, the last one
among them, in a row. {} rounds.

kube-proxy ÷ Sluice: {}

![Seconds](cold-start.svg)

{table}
## Bars

{}{}",
        thousands(found.services),
        thousands(found.endpoints),
        cold.rounds.len(),
        interval(sooner, 1),
        bar(
            sooner.is_some_and(|sooner| sooner.value >= SOONER),
            format!("at least {SOONER} times sooner than kube-proxy in nftables mode"),
            format!("{} times", interval(sooner, 1)),
        ),
        bar(
            after.is_some_and(|after| after <= AFTER_THE_LIST),
            format!("at most {AFTER_THE_LIST} s after the last list was heard"),
            format!("at most {} s", number(after, 2)),
        ),
    );
    page
}

fn change_page(machine: &Machine, found: &[change::Found]) -> String {
    let mut table = Table::new(["Services", "what", "changes", "p50 ms", "p99 ms", "most"]);
    let mut row = |services, what: &str, values: &[f64], digits| {
        let at = |share| number(quantile(values, share), digits);
        let count = values.len().to_string();
        table.row([
            thousands(services),
            what.to_owned(),
            count,
            at(0.5),
            at(0.99),
            at(1.0),
        ]);
    };
    for change in found {
        for arm in ARMS {
            let what = format!("{arm}: write to connect");
            row(change.services, &what, to_connect(change, arm), 1);
        }
        row(
            change.services,
            "the agent: event to map",
            &change.inside,
            2,
        );
        row(
            change.services,
            "the agent: until what went is deleted",
            &change.to_the_end,
            2,
        );
    }
    let mut page = head("A change of one endpoint", machine);
    let _ = write!(
        page,
        "\nA Service's only endpoint is replaced by a write to the API server; a client in a pod connects again and again,
every half millisecond, until the new endpoint answers. The agent's own time is what its log says of each pass: from
the news of a watch to the write that puts it in force. What was replaced is deleted after that, when the kernel has
said that no program can still be using it. Each change is one by itself: kube-proxy waits for a second between two
writes to the kernel unless it is told otherwise, and is given that second before the change.

![Milliseconds](change.svg)

{table}
## Bars

{}",
        change_bars(found)
    );
    page
}

fn change_bars(found: &[change::Found]) -> String {
    let mut text = String::new();
    let Some(last) = found.last() else {
        return text;
    };
    let services = thousands(last.services);
    let inside = quantile(&last.inside, 0.99);
    text += &bar(
        inside.is_some_and(|inside| inside <= INSIDE),
        format!(
            "99 of 100 changes take at most {INSIDE} ms inside the agent, at {services} Services"
        ),
        format!("{} ms", number(inside, 2)),
    );
    let connect = quantile(to_connect(last, Arm::Sluice), 0.99);
    text += &bar(
        connect.is_some_and(|connect| connect <= TO_CONNECT),
        format!("99 of 100 reach a client within {TO_CONNECT} ms of the write"),
        format!("{} ms", number(connect, 1)),
    );
    if let [first, .., last] = found {
        let p50 = |change| median(to_connect(change, Arm::Sluice));
        let (few, many) = (p50(first), p50(last));
        let ratio = few.zip(many).map(|(few, many)| many / few);
        text += &bar(
            ratio.is_some_and(|ratio| ratio <= 1.5),
            format!(
                "independent of size: the median at {services} Services is at most 1.5 times that at {}",
                thousands(first.services)
            ),
            format!("{} times", number(ratio, 2)),
        );
    }
    text
}

fn change_plot(found: &[change::Found]) -> String {
    let rows: Vec<_> = found
        .iter()
        .flat_map(|change| {
            ARMS.map(|arm| {
                let name = format!("{arm}, {}", thousands(change.services));
                (name, color(arm), to_connect(change, arm).to_vec())
            })
        })
        .collect();
    let frame = Frame {
        title: "From the write of an endpoint to a connect there",
        unit: "milliseconds",
    };
    dots(&frame, &rows)
}

fn to_connect(change: &change::Found, arm: Arm) -> &[f64] {
    change.to_connect.get(&arm).map_or(&[], Vec::as_slice)
}

fn footprint_page(machine: &Machine, found: &Found, footprint: &footprint::Found) -> String {
    let mut table = Table::new([
        "arm",
        "resident MiB",
        "of it anonymous",
        "peak MiB",
        "CPU s from start",
        "CPU % idle",
    ]);
    for (arm, of) in &footprint.arms {
        let numbers = [
            number(Some(of.resident), 1),
            number(Some(of.anonymous), 1),
            number(Some(of.peak), 1),
            number(Some(of.busy), 2),
            number(Some(share(of, footprint) * 100.0), 2),
        ];
        table.row([arm.name().to_owned()].into_iter().chain(numbers));
    }
    let mut page = head("Memory and processor time", machine);
    let _ = write!(
        page,
        "\nAfter a cold start with {} Services and {} endpoints, once all of them answer and the machine is at rest. `CPU s`
is from the start until then, `CPU %` of one processor over {} s in which nothing happens. What the kernel itself holds
(maps, rules, connection tracking) is in neither.

{table}
## Bars

{}",
        thousands(found.services),
        thousands(found.endpoints),
        footprint.window,
        footprint_bars(footprint)
    );
    page
}

fn share(of: &Footprint, footprint: &footprint::Found) -> f64 {
    of.idle / footprint.window
}

fn footprint_bars(footprint: &footprint::Found) -> String {
    let (Some(own), Some(peer)) = (
        footprint.arms.get(&Arm::Sluice),
        footprint.arms.get(&Arm::Nftables),
    ) else {
        return String::new();
    };
    [
        bar(
            own.resident <= RESIDENT,
            format!("at most {RESIDENT} MiB resident"),
            format!(
                "{:.1} MiB; {:.1} at its peak, in the first pass",
                own.resident, own.peak
            ),
        ),
        bar(
            own.resident < peer.resident,
            "less than kube-proxy",
            format!("{:.2} of it", own.resident / peer.resident),
        ),
        bar(
            share(own, footprint) <= IDLE,
            "next to no processor time while nothing happens (at most 1 % of one)",
            format!("{:.2} %", share(own, footprint) * 100.0),
        ),
    ]
    .concat()
}
