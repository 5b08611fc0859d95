//! The client of each arm: a process in a pod that connects and measures.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use sluice_testbed::pod::Pod;

use crate::clock::Moment;
use crate::partner::{self, Partner};
use crate::processor;

mod connects;
mod probe;

pub(crate) const ROLE: &str = "sluice-bench-client";

#[derive(Debug, Serialize, Deserialize)]
enum Order {
    Aim(Vec<SocketAddrV4>),
    Connect {
        times: u32,
        longest: Duration,
        seed: u64,
    },
    AwaitAll {
        sample: Vec<SocketAddrV4>,
        patience: Duration,
    },
    AwaitAnswer {
        at: SocketAddrV4,
        from: Ipv4Addr,
        patience: Duration,
    },
}

#[derive(Debug, Serialize, Deserialize)]
enum Told {
    Done,
    Connects(Connects),
    /// When it came true; none if it did not.
    At(Option<Moment>),
}

/// How long connects took, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Connects {
    pub(crate) count: u32,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
}

#[derive(Debug)]
pub(crate) struct Client(Partner<Order, Told>);

impl Client {
    /// Starts in a pod's network and cgroup.
    pub(crate) fn start(pod: &Pod) -> Result<Self> {
        let command = pod.node().command_again("client")?;
        let command = command
            .arg(ROLE)
            .netns(pod.netns())?
            .cgroup(pod.container_cgroup());
        Ok(Self(Partner::start(command)?))
    }

    /// From now on connects go to these, at random.
    pub(crate) fn aim(&mut self, targets: Vec<SocketAddrV4>) -> Result<()> {
        match self.0.ask(&Order::Aim(targets))? {
            Told::Done => Ok(()),
            other => bail!("an unexpected answer: {other:?}"),
        }
    }

    /// So many connects, or as many as this time allows. One that fails is an error.
    pub(crate) fn connect(&mut self, times: u32, longest: Duration, seed: u64) -> Result<Connects> {
        let order = Order::Connect {
            times,
            longest,
            seed,
        };
        match self.0.ask(&order)? {
            Told::Connects(connects) => Ok(connects),
            other => bail!("an unexpected answer: {other:?}"),
        }
    }

    /// Waits until all of these answer, one right after the other; none if they do not.
    pub(crate) fn await_all(
        &mut self,
        sample: Vec<SocketAddrV4>,
        patience: Duration,
    ) -> Result<Option<Moment>> {
        self.moment(&Order::AwaitAll { sample, patience })
    }

    /// Begins to wait until the server of this address answers at `at`; [`Client::answered`] has to follow.
    pub(crate) fn begin_to_await(
        &mut self,
        at: SocketAddrV4,
        from: Ipv4Addr,
        patience: Duration,
    ) -> Result<()> {
        self.0.begin(&Order::AwaitAnswer { at, from, patience })
    }

    /// When it did.
    pub(crate) fn answered(&mut self) -> Result<Option<Moment>> {
        match self.0.finish()? {
            Told::At(moment) => Ok(moment),
            other => bail!("an unexpected answer: {other:?}"),
        }
    }

    fn moment(&mut self, order: &Order) -> Result<Option<Moment>> {
        match self.0.ask(order)? {
            Told::At(moment) => Ok(moment),
            other => bail!("an unexpected answer: {other:?}"),
        }
    }
}

/// What a process in this role does.
pub(crate) fn run() -> Result<()> {
    processor::stay_on_the_last()?;
    let mut targets = Vec::new();
    partner::serve(|order| {
        Ok(match order {
            Order::Aim(new) => {
                targets = new;
                Told::Done
            }
            Order::Connect {
                times,
                longest,
                seed,
            } => Told::Connects(connects::measure(&targets, times, longest, seed)?),
            Order::AwaitAll { sample, patience } => Told::At(probe::await_all(&sample, patience)?),
            Order::AwaitAnswer { at, from, patience } => {
                Told::At(probe::await_answer(at, from, patience)?)
            }
        })
    })
}
