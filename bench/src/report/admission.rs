//! The page of P7.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::table::Table;
use super::{bar, head, interval, number, thousands, write_raw};
use crate::admission::{Found, RATE};
use crate::machine::Machine;
use crate::stats::{self, median, quantile};

/// Milliseconds, of which 99 of 100 are below.
const P99: f64 = 5.0;
/// MiB that the memory may move after the first part, which fills pools and queues.
const FLAT: f64 = 2.0;

pub(crate) fn write(folder: &Path, machine: &Machine, found: &Found) -> Result<()> {
    super::write(folder, "admission.md", &page(machine, found))?;
    write_raw(folder, "admission.json", machine, found)
}

fn page(machine: &Machine, found: &Found) -> String {
    let mut parts = Table::new([
        "part",
        "reviews",
        "in a second",
        "p50 ms",
        "p99 ms",
        "most",
        "MiB after",
    ]);
    for (at, (of, memory)) in found.reviews.iter().zip(&found.memory).enumerate() {
        parts.row([
            (at + 1).to_string(),
            thousands(of.count),
            number(Some(of.rate), 0),
            number(Some(of.p50), 2),
            number(Some(of.p99), 2),
            number(Some(of.most), 2),
            number(Some(*memory), 1),
        ]);
    }
    let mut writes = Table::new(["write through the API server", "p50 ms", "p99 ms"]);
    for (name, times) in [
        ("the webhook is asked", &found.asked),
        ("it is not", &found.not_asked),
    ] {
        let at = |share| number(quantile(times, share), 2);
        writes.row([name.to_owned(), at(0.5), at(0.99)]);
    }
    let pairs: Vec<_> = found
        .asked
        .iter()
        .copied()
        .zip(found.not_asked.iter().copied())
        .collect();
    let mut page = head("Admission", machine);
    let _ = write!(
        page,
        "\n## The webhook

The webhook has one processor. It is asked {} times a second whether a TrafficSplit may be created, over TLS and HTTP/2;
each question is sent when it is due, whether earlier ones were answered or not. The client is on another processor of
the same machine.

{parts}
## A write

The same TrafficSplit is created again and again, by dry runs through the API server, in turns in a namespace that the
webhook is asked about and in one that opted out. {} writes each, one after the other.

{writes}
The webhook adds {} ms.

## Bars

{}{}",
        thousands(RATE),
        found.asked.len(),
        interval(stats::difference(&pairs), 2),
        latency_bar(found),
        memory_bar(found),
    );
    page
}

fn latency_bar(found: &Found) -> String {
    let p99s: Vec<_> = found.reviews.iter().map(|part| part.p99).collect();
    let kept_up = found
        .reviews
        .iter()
        .all(|part| part.rate > 0.98 * f64::from(RATE));
    let p99 = median(&p99s);
    bar(
        kept_up && p99.is_some_and(|p99| p99 <= P99),
        format!(
            "99 of 100 reviews take at most {P99} ms at {} a second",
            thousands(RATE)
        ),
        format!(
            "{} ms in the middle one of {} parts",
            number(p99, 2),
            p99s.len()
        ),
    )
}

fn memory_bar(found: &Found) -> String {
    let change = found
        .memory
        .first()
        .zip(found.memory.last())
        .map(|(first, last)| last - first);
    bar(
        change.is_some_and(|change| change <= FLAT),
        format!("memory is flat: after the last part at most {FLAT} MiB more than after the first"),
        format!("{} MiB", number(change, 2)),
    )
}
