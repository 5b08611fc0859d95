//! Atomic: weights go to and fro between versions that have nothing in common while clients connect.
//!
//! Connects of one thread follow each other, and each flip is seen by all before the next is written. So the connects of a
//! generation are one run, with as many runs as there were generations: one that saw an older generation than another
//! before it, or a version of neither, would make one more. None that began after a status was heard may be of what was before.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use sluice_testbed::load::{Load, Report, Stretch};
use sluice_testbed::tier::{eventually, is_long};

use crate::bed::{ALONE, PATIENCE, lent, quiet, version};

const FIRST: usize = ALONE;
/// Each gives all to two of four versions; the fifth never gets any.
const SETS: [[u64; 5]; 2] = [[2, 1, 0, 0, 0], [0, 0, 1, 2, 0]];
/// Tries per second of each client.
const RATE: f64 = 400.0;
/// Reports of nodes come once a second at most, so a status is awaited after every so many flips.
const HEARD: usize = 8;

pub(crate) fn every_connect_belongs_to_one_generation() -> Result<()> {
    let bed = quiet()?;
    let flips = if is_long() { 500 } else { 40 };
    let spec = |set: usize| json!({ "versions": lent(FIRST, &SETS[set]) });
    let split = bed.split("atomic", &spec(0))?;
    let load = Load::on([split.addresses[0]])
        .until_stopped()
        .rate(RATE)
        .stretches();
    let running = bed.clients.iter().map(|client| client.start_load(&load));
    let running = running.collect::<Result<Vec<_>>>()?;
    for load in &running {
        eventually(PATIENCE, "a connect sees the first set", || {
            ensure!(seen(&load.so_far()?, 0) > 0, "none has");
            Ok(())
        })?;
    }
    // When all nodes were known to have a flip, by the wall clock, where that was asked for.
    let mut heard_at = Vec::new();
    for flip in 1..=flips {
        let set = flip % SETS.len();
        let before = running.iter().map(|load| Ok(seen(&load.so_far()?, set)));
        let before = before.collect::<Result<Vec<_>>>()?;
        split.set(&spec(set))?;
        let heard = if flip % HEARD == 0 {
            split.programmed()?;
            Some(SystemTime::now().duration_since(UNIX_EPOCH)?)
        } else {
            None
        };
        heard_at.push(heard);
        for (load, before) in running.iter().zip(before) {
            eventually(PATIENCE, "a connect sees the flip", || {
                ensure!(seen(&load.so_far()?, set) > before, "none has");
                Ok(())
            })?;
        }
    }
    let mut connects = 0;
    for load in running {
        let report = load.stop()?;
        ensure!(report.failures.is_empty(), "{report}");
        connects += report.tries;
        judge(&runs(&report.stretches)?, &heard_at)?;
    }
    println!(
        "{flips} flips, {connects} connects on {} nodes, none failed, each of one generation",
        bed.clients.len()
    );
    Ok(())
}

/// How many answers came from versions of this set.
fn seen(report: &Report, set: usize) -> u64 {
    let versions = (0..).zip(SETS[set]).filter(|(_, weight)| *weight > 0);
    let answers = versions.map(|(number, _)| report.of_version(&version(FIRST + number)));
    answers.sum()
}

/// Connects in a row that saw one set.
struct Seen {
    set: usize,
    /// When the last of them began.
    last: Duration,
}

fn runs(stretches: &[Stretch]) -> Result<Vec<Seen>> {
    let mut runs: Vec<Seen> = Vec::new();
    for stretch in stretches {
        let number = (0..SETS[0].len()).find(|v| version(FIRST + v) == stretch.version);
        let number = number.with_context(|| format!("{stretch:?} is of no version"))?;
        let set = SETS.iter().position(|set| set[number] > 0);
        let set = set.with_context(|| format!("{stretch:?} has the weight 0 in both"))?;
        match runs.last_mut() {
            Some(run) if run.set == set => run.last = stretch.last,
            _ => runs.push(Seen {
                set,
                last: stretch.last,
            }),
        }
    }
    Ok(runs)
}

fn judge(runs: &[Seen], flips: &[Option<Duration>]) -> Result<()> {
    let generations = flips.len() + 1;
    ensure!(
        runs.len() == generations,
        "{} runs of {generations} generations",
        runs.len()
    );
    for (number, (heard, old)) in flips.iter().zip(runs).enumerate() {
        let is_over = heard.is_none_or(|heard| old.last <= heard);
        ensure!(is_over, "flip {number}: what was before was still seen");
    }
    Ok(())
}
