//! Which processor a process runs on, and how busy all of them are.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Keeps this process on the last processor, so that it does not wander between two measurements that are compared.
pub(crate) fn stay_on_the_last() -> Result<()> {
    let count = thread::available_parallelism()?.get();
    let mut only = CpuSet::new();
    only.set(count - 1)?;
    sched_setaffinity(Pid::from_raw(0), &only).context("choosing a processor")
}

/// How much of all processors' time was not idle meanwhile, from 0 to 1.
pub(crate) fn busy_during(time: Duration) -> Result<f64> {
    let (idle, all) = times()?;
    thread::sleep(time);
    let (idle_later, all_later) = times()?;
    let (idle, all) = (idle_later - idle, all_later - all);
    Ok(if all > 0.0 { 1.0 - idle / all } else { 0.0 })
}

/// Idle time and all time since the start of the machine.
fn times() -> Result<(f64, f64)> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    let numbers: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .map(str::parse)
        .collect::<Result<_, _>>()
        .with_context(|| format!("reading {line:?}"))?;
    // Fields as in proc(5): idle and iowait are the fourth and fifth.
    let idle = numbers.iter().skip(3).take(2).sum();
    Ok((idle, numbers.iter().take(8).sum()))
}
