//! An agent that is killed: no connect is lost, and the next one finds its way.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow, ensure};
use fastrand::Rng;
use serde_json::Value;
use sluice_testbed::{
    load::Load,
    pod::RunningLoad,
    tier::{self, eventually, is_long},
};

use crate::bed::{Bed, PATIENCE, SERVICE, service, slice};

const RATE: f64 = 200.0;
const ADDRESSES: u8 = 8;
const BETWEEN_CHANGES: Duration = Duration::from_millis(10);

/// Endpoints change all the time, clients connect all the time, the agent is killed at any time: also
/// while it starts.
pub(crate) fn an_agent_killed_at_random_loses_no_connect_and_finds_its_way() -> Result<()> {
    let kills = if is_long() { 100 } else { 12 };
    let mut rng = Rng::with_seed(tier::seed()?);

    let bed = Bed::start()?;
    let server = bed
        .node
        .pod("server")
        .addresses(ADDRESSES)
        .named_by_address()
        .port(80)
        .start()?;
    let client = bed.node.pod("client").start()?;
    let addresses: Vec<IpAddr> = server
        .addresses()
        .iter()
        .map(|(address, _)| (*address).into())
        .collect();
    let steady = service("web", SERVICE);
    bed.write("service.yaml", std::slice::from_ref(&steady))?;
    let churn = Churn::new(&bed, addresses, rng.fork());
    churn.step()?;
    let mut agent = bed.ready_agent()?;

    let target: SocketAddr = format!("{SERVICE}:80").parse()?;
    let load = client.start_load(&Load::on([target]).until_stopped().rate(RATE).threads(2))?;
    let outcome = thread::scope(|scope| {
        let churning = scope.spawn(|| churn.run());
        for _ in 0..kills {
            some_connects(&load, rng.u64(0..20))?;
            agent.kill()?;
            let mut starting = bed.agent()?;
            some_connects(&load, rng.u64(0..20))?;
            starting.kill()?;
            agent = bed.agent()?;
            let slice = churn.pause();
            bed.await_image_of(&[steady.clone(), slice])?;
            churn.resume();
        }
        churn.stop();
        churning.join().map_err(|_| anyhow!("the churn panicked"))?
    });
    churn.stop();
    outcome?;
    let report = load.stop()?;
    ensure!(report.failures.is_empty(), "{:?}", report.failures);
    println!(
        "{} kills, {} endpoint changes, {} connects, none failed",
        2 * kills,
        churn.turn().changes,
        report.tries,
    );
    Ok(())
}

/// Lets this many connects pass: a random time without a clock.
fn some_connects(load: &RunningLoad<'_>, count: u64) -> Result<()> {
    let until = load.so_far()?.tries + count;
    eventually(PATIENCE, "more connects", || {
        let tries = load.so_far()?.tries;
        ensure!(tries >= until, "{tries} of {until}");
        Ok(())
    })
}

/// Writes another set of endpoints, again and again.
struct Churn<'a> {
    bed: &'a Bed,
    addresses: Vec<IpAddr>,
    turn: Mutex<Turn>,
    stopped: AtomicBool,
}

struct Turn {
    rng: Rng,
    told: Value,
    changes: u64,
    paused: bool,
}

impl<'a> Churn<'a> {
    fn new(bed: &'a Bed, addresses: Vec<IpAddr>, rng: Rng) -> Self {
        let turn = Turn {
            rng,
            told: Value::Null,
            changes: 0,
            paused: false,
        };
        Self {
            bed,
            addresses,
            turn: turn.into(),
            stopped: AtomicBool::new(false),
        }
    }

    fn run(&self) -> Result<()> {
        while !self.stopped.load(Ordering::Acquire) {
            self.step()?;
            thread::park_timeout(BETWEEN_CHANGES);
        }
        Ok(())
    }

    fn step(&self) -> Result<()> {
        let turn = &mut *self.turn();
        if turn.paused {
            return Ok(());
        }
        let mut some: Vec<_> = self
            .addresses
            .iter()
            .copied()
            .filter(|_| turn.rng.bool())
            .collect();
        if some.is_empty() {
            some.push(self.addresses[0]);
        }
        turn.told = slice("web", &some);
        turn.changes += 1;
        self.bed
            .write("endpoints.yaml", std::slice::from_ref(&turn.told))
    }

    /// No more changes; says what was written last.
    fn pause(&self) -> Value {
        let mut turn = self.turn();
        turn.paused = true;
        turn.told.clone()
    }

    fn resume(&self) {
        self.turn().paused = false;
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
