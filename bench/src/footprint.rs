//! P6: the memory that each arm holds and has held, the processor time until all Services answered, and what it takes
//! while nothing happens.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::unistd::{SysconfVar, sysconf};
use serde::Serialize;

use crate::arm::{Arm, Seat};
use crate::life::ARMS;
use crate::progress::tell;
use crate::stage::{Stage, rest};

/// How long nothing happens.
const WINDOW: Duration = Duration::from_secs(30);
const WINDOW_QUICK: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize)]
pub(crate) struct Found {
    pub(crate) arms: BTreeMap<Arm, Footprint>,
    /// Seconds in which nothing happened.
    pub(crate) window: f64,
}

/// Memory in MiB, time in seconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Footprint {
    pub(crate) resident: f64,
    /// Of it, what is the process's own: not pages of files and of maps.
    pub(crate) anonymous: f64,
    pub(crate) peak: f64,
    /// Processor time since its start.
    pub(crate) busy: f64,
    /// Processor time in the window.
    pub(crate) idle: f64,
}

/// Both arms have started and serve.
pub(crate) fn run(stage: &mut Stage, quick: bool) -> Result<Found> {
    let window = if quick { WINDOW_QUICK } else { WINDOW };
    rest()?;
    let mut before = BTreeMap::new();
    for arm in ARMS {
        before.insert(arm, busy(stage.seat(arm)?)?);
    }
    thread::sleep(window);
    let mut arms = BTreeMap::new();
    for (arm, busy_before) in before {
        let seat = stage.seat(arm)?;
        let footprint = Footprint {
            resident: resident(seat.pid()?)?,
            anonymous: memory(seat.pid()?, "RssAnon")?,
            peak: memory(seat.pid()?, "VmHWM")?,
            busy: busy_before,
            idle: busy(seat)? - busy_before,
        };
        tell(format!("footprint: {arm}: {:.0} MiB", footprint.resident));
        arms.insert(arm, footprint);
    }
    Ok(Found {
        arms,
        window: window.as_secs_f64(),
    })
}

/// What a process holds now, in MiB.
pub(crate) fn resident(pid: u32) -> Result<f64> {
    memory(pid, "VmRSS")
}

/// A line of the process's status, in MiB.
fn memory(pid: u32, line: &str) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let kilobytes = text.lines().find_map(|found| {
        let rest = found.strip_prefix(line)?.strip_prefix(':')?;
        rest.trim().strip_suffix(" kB")?.parse::<f64>().ok()
    });
    Ok(kilobytes.with_context(|| format!("{path} has no {line}"))? / 1024.0)
}

/// Seconds of processor time, user's and kernel's, until now.
fn busy(seat: &Seat) -> Result<f64> {
    let path = format!("/proc/{}/stat", seat.pid()?);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    // The second field is a name in parentheses, which may hold anything.
    let (_, rest) = text
        .rsplit_once(')')
        .with_context(|| format!("{path} has no name"))?;
    // Fields as in proc(5): utime and stime are the 14th and 15th, and the rest begins with the third.
    let ticks: f64 = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<f64>)
        .sum::<Result<f64, _>>()?;
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("the kernel has no clock ticks")?;
    // A hundred or so: exact in f64.
    Ok(ticks / per_second as f64)
}
