//! P1: what a connect costs, by the number of Services.
//!
//! A round measures each arm once, two of them twice, in random order, to random targets among all Services: p50 over
//! thousands of connects. Ratios are within rounds. kube-proxy takes part up to the size that it reaches in time.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use crate::arm::Arm;
use crate::client::Connects;
use crate::clock::Moment;
use crate::population::Population;
use crate::progress::tell;
use crate::server::PLAIN;
use crate::stage::{Stage, rest};

const POPULATION: Population = Population {
    endpoints: 2,
    server_port: PLAIN,
};

/// How much is measured.
struct Form {
    sizes: &'static [u32],
    rounds: u32,
    /// Nobody accepts meanwhile, and the server's queue has to hold them with those that warm up.
    times: u32,
    longest: Duration,
    /// How long kube-proxy may take to know all Services.
    patience: Duration,
}

const FULL: Form = Form {
    sizes: &[10, 1_000, 10_000, 30_000, 100_000],
    rounds: 20,
    times: 2_000,
    longest: Duration::from_millis(250),
    patience: Duration::from_secs(120),
};

const QUICK: Form = Form {
    sizes: &[10, 1_000, 10_000],
    rounds: 12,
    times: 2_000,
    longest: Duration::from_millis(150),
    patience: Duration::from_secs(40),
};

/// A measurement within a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Slot {
    Direct,
    DirectAgain,
    Sluice,
    SluiceAgain,
    Nftables,
    Iptables,
}

#[derive(Debug, Serialize)]
pub(crate) struct Found {
    pub(crate) endpoints_per_service: u32,
    pub(crate) sizes: Vec<Size>,
}

/// What was found with so many Services.
#[derive(Debug, Serialize)]
pub(crate) struct Size {
    pub(crate) services: u32,
    /// Seconds until an arm knew all Services, alone; none if that took too long, then and at every size after.
    pub(crate) synced: BTreeMap<Arm, Option<f64>>,
    /// How busy the machine was before the rounds, from 0 to 1.
    pub(crate) busy: f64,
    pub(crate) rounds: Vec<BTreeMap<Slot, Connects>>,
}

impl Slot {
    const ALL: [Self; 6] = [
        Self::Direct,
        Self::DirectAgain,
        Self::Sluice,
        Self::SluiceAgain,
        Self::Nftables,
        Self::Iptables,
    ];

    const fn arm(self) -> Arm {
        match self {
            Self::Direct | Self::DirectAgain => Arm::Direct,
            Self::Sluice | Self::SluiceAgain => Arm::Sluice,
            Self::Nftables => Arm::Nftables,
            Self::Iptables => Arm::Iptables,
        }
    }
}

impl Size {
    /// The medians of both, by rounds that have both.
    pub(crate) fn pairs(&self, of: Slot, to: Slot) -> Vec<(f64, f64)> {
        let pair =
            |round: &BTreeMap<Slot, Connects>| Some((round.get(&of)?.p50, round.get(&to)?.p50));
        self.rounds.iter().filter_map(pair).collect()
    }

    pub(crate) fn each(&self, slot: Slot, number: impl Fn(&Connects) -> f64) -> Vec<f64> {
        let of = |round: &BTreeMap<Slot, Connects>| round.get(&slot).map(&number);
        self.rounds.iter().filter_map(of).collect()
    }
}

/// Measures; `keep` is given everything that was found so far after each size.
pub(crate) fn run(agent: &Path, quick: bool, keep: impl Fn(&Found) -> Result<()>) -> Result<()> {
    let form = if quick { QUICK } else { FULL };
    tell("connect: how long one takes, by the number of Services");
    let mut stage = Stage::set(&Arm::ALL, POPULATION, agent)?;
    let mut found = Found {
        endpoints_per_service: POPULATION.endpoints,
        sizes: Vec::new(),
    };
    for services in form.sizes {
        let synced = grow(&mut stage, *services, form.patience)?;
        let size = measure(&mut stage, synced, &form)?;
        found.sizes.push(size);
        keep(&found)?;
    }
    Ok(())
}

/// Adds Services, and waits for one arm after the other while the others stand still.
fn grow(
    stage: &mut Stage,
    services: u32,
    patience: Duration,
) -> Result<BTreeMap<Arm, Option<f64>>> {
    let is_first = stage.count() == 0;
    for seat in &stage.seats {
        seat.freeze()?;
    }
    stage.grow(services)?;
    let targets = stage.services();
    let mut synced = BTreeMap::new();
    for seat in stage
        .seats
        .iter_mut()
        .filter(|seat| seat.arm != Arm::Direct)
    {
        let began = Moment::now()?;
        if is_first {
            seat.start()?;
        } else if seat.is_running() {
            seat.thaw()?;
        } else {
            synced.insert(seat.arm, None);
            continue;
        }
        let seconds = seat
            .serves(&targets, patience)?
            .map(|served| served.since(began).as_secs_f64());
        match seconds {
            Some(seconds) => tell(format!(
                "connect: {services} Services: {} has them after {seconds:.1} s",
                seat.arm
            )),
            None => {
                tell(format!(
                    "connect: {services} Services: {} has not reached them after {} s, and leaves",
                    seat.arm,
                    patience.as_secs()
                ));
                seat.wipe()?;
            }
        }
        synced.insert(seat.arm, seconds);
    }
    ensure!(
        synced.get(&Arm::Sluice).is_some_and(Option::is_some),
        "Sluice has not reached {services} Services"
    );
    Ok(synced)
}

fn measure(stage: &mut Stage, synced: BTreeMap<Arm, Option<f64>>, form: &Form) -> Result<Size> {
    aim(stage)?;
    let busy = rest()?;
    let takes_part = |slot: &Slot| {
        let arm = slot.arm();
        arm == Arm::Direct || synced.get(&arm).is_some_and(Option::is_some)
    };
    let mut slots: Vec<_> = Slot::ALL.into_iter().filter(takes_part).collect();
    let mut random = fastrand::Rng::with_seed(stage.count().into());
    let mut rounds = Vec::new();
    for number in 0..form.rounds {
        random.shuffle(&mut slots);
        // Each slot of a round goes to other targets, drawn alike.
        let mut round = BTreeMap::new();
        for slot in &slots {
            let seat = stage.seat(slot.arm())?;
            let connects = seat
                .client
                .connect(form.times, form.longest, random.u64(..))
                .with_context(|| format!("round {number}, {slot:?}"))?;
            stage.server.drain()?;
            round.insert(*slot, connects);
        }
        rounds.push(round);
    }
    let size = Size {
        services: stage.count(),
        synced,
        busy,
        rounds,
    };
    tell(format!(
        "connect: {} Services: {} rounds measured",
        size.services, form.rounds
    ));
    Ok(size)
}

fn aim(stage: &mut Stage) -> Result<()> {
    let (services, endpoints) = (stage.services(), stage.endpoints());
    for seat in &mut stage.seats {
        let targets: Vec<SocketAddrV4> = match seat.arm {
            Arm::Direct => endpoints.clone(),
            _ => services.clone(),
        };
        seat.client.aim(targets)?;
    }
    Ok(())
}
