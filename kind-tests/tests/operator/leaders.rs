//! Several operators, of which one writes.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use crate::bed::{bed, is_programmed};

const LEADER: &str = "sluice_operator_leader";
const WRITTEN: &str = "sluice_operator_status_writes_total{outcome=\"written\"}";
const SERVICES: [&str; 3] = ["checkout", "checkout-v1", "checkout-v2"];

pub(crate) fn a_standby_takes_over_when_the_leader_is_killed() -> Result<()> {
    let bed = bed()?;
    let namespace = "killed";
    bed.cluster.namespace(namespace)?;
    bed.services(namespace, &SERVICES)?;
    bed.split(namespace, "checkout", [90, 10])?;
    let mut turn = bed.turn();
    let mut leader = turn.leader()?;
    let standby = turn.operator()?;
    bed.await_split(namespace, "checkout", "it is programmed", is_programmed)?;
    ensure!(standby.number(LEADER)? == 0, "both lead");
    ensure!(standby.number(WRITTEN)? == 0, "the standby wrote");

    leader.process.kill()?;
    bed.split(namespace, "checkout", [50, 50])?;
    bed.await_split(namespace, "checkout", "the standby says so", |split| {
        split["metadata"]["generation"] == 2 && is_programmed(split)
    })?;
    ensure!(standby.number(LEADER)? == 1, "nobody leads");
    Ok(())
}

pub(crate) fn a_leader_that_was_stopped_writes_nothing_when_it_goes_on() -> Result<()> {
    let bed = bed()?;
    let namespace = "stopped";
    bed.cluster.namespace(namespace)?;
    bed.services(namespace, &SERVICES)?;
    bed.split(namespace, "checkout", [90, 10])?;
    let mut turn = bed.turn();
    let old = turn.leader()?;
    let new = turn.operator()?;
    bed.await_split(namespace, "checkout", "it is programmed", is_programmed)?;
    let written = old.number(WRITTEN)?;

    old.process.signal(Signal::SIGSTOP)?;
    bed.split(namespace, "checkout", [50, 50])?;
    bed.await_split(namespace, "checkout", "the other one says so", |split| {
        split["metadata"]["generation"] == 2 && is_programmed(split)
    })?;
    old.process.signal(Signal::SIGCONT)?;
    old.await_number(LEADER, |leads| leads == 0)?;

    bed.split(namespace, "checkout", [10, 90])?;
    bed.await_split(namespace, "checkout", "so it goes on", |split| {
        split["metadata"]["generation"] == 3 && is_programmed(split)
    })?;
    ensure!(old.number(WRITTEN)? == written, "the old leader wrote");
    ensure!(new.number(LEADER)? == 1, "the new leader leads");
    Ok(())
}
