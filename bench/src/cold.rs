//! P3: from the exec of what carries Services to all of them answering, with nothing left in the kernel before.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Serialize;

use crate::arm::Arm;
use crate::life::ARMS;
use crate::logged::passes;
use crate::progress::tell;
use crate::stage::{Stage, rest};

/// How slow an arm may be is what is measured: this ends only a run in which one never serves.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);
const ROUNDS: u32 = 4;
const ROUNDS_QUICK: u32 = 2;

#[derive(Debug, Serialize)]
pub(crate) struct Found {
    /// Seconds of each arm, by rounds.
    pub(crate) rounds: Vec<BTreeMap<Arm, f64>>,
    /// Of Sluice's, the seconds after it had heard the last list.
    pub(crate) after_the_list: Vec<f64>,
}

/// Leaves both arms running.
pub(crate) fn run(stage: &mut Stage, quick: bool) -> Result<Found> {
    let services = stage.services();
    let mut random = fastrand::Rng::with_seed(3);
    let mut order = ARMS;
    let mut found = Found {
        rounds: Vec::new(),
        after_the_list: Vec::new(),
    };
    for number in 1..=if quick { ROUNDS_QUICK } else { ROUNDS } {
        for seat in &mut stage.seats {
            seat.wipe()?;
        }
        random.shuffle(&mut order);
        let mut round = BTreeMap::new();
        for arm in order {
            rest()?;
            stage.server.drain()?;
            let seat = stage.seat(arm)?;
            let began = seat.start()?;
            let served = seat
                .serves(&services, PATIENCE)?
                .with_context(|| format!("{arm} does not serve after {} s", PATIENCE.as_secs()))?;
            let wall = Timestamp::now();
            let seconds = served.since(began).as_secs_f64();
            if arm == Arm::Sluice {
                found
                    .after_the_list
                    .push(after_the_list(&seat.log()?, wall)?);
            }
            tell(format!("cold start: round {number}: {arm}: {seconds:.2} s"));
            round.insert(arm, seconds);
            // The other one starts alone; both stay after the last round.
            seat.freeze()?;
        }
        found.rounds.push(round);
        for seat in &stage.seats {
            seat.thaw()?;
        }
    }
    Ok(found)
}

/// From the beginning of the first pass, which is when the last list was heard, to this moment.
fn after_the_list(log: &str, end: Timestamp) -> Result<f64> {
    let first = passes(log).next().context("the agent logged no pass")?;
    let since = end.duration_since(first.logged).as_secs_f64();
    Ok(since + first.took.as_secs_f64())
}
