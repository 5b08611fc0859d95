//! Sockets by the thousand: what is kept of each goes with it.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluice_node_abi::keys;
use sluice_node_agent::program::Refusal;
use sluice_testbed::{
    load::{Load, Target},
    tier::{eventually, is_long},
};

use crate::bed::{Bed, SERVICE_V4, at};

const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn nothing_is_kept_of_sockets_that_were_opened_and_closed() -> Result<()> {
    let times = if is_long() { 1_000_000 } else { 20_000 };
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let mut survey = bed.programs.survey()?;
    let server = bed.node.pod("server").port(80).start()?;
    let client = bed.node.pod("client").start()?;
    let service = at(SERVICE_V4, 80)?;
    for protocol in [keys::TCP, keys::UDP] {
        bed.service(service, protocol, &[server.at(80)[0]])?;
    }
    let load = Load::on([Target::udp(service), Target::tcp(service)]);
    let running = client.start_load(&load.times(times).threads(4))?;
    let mut most = (0, 0);
    eventually(PATIENCE, "sockets that are open", || {
        most = (bed.open_sockets()?, survey.read()?.len());
        ensure!(most.0 > 0, "{most:?}");
        Ok(())
    })?;
    let report = running.finish()?;
    ensure!(
        report.failures.is_empty() && report.tries == times,
        "{report}"
    );
    let (left, told) = eventually(PATIENCE, "no trace of closed sockets", || {
        let (left, told) = (bed.open_sockets()?, survey.read()?.len());
        ensure!(left == 0 && told == 0, "{left} counted, {told} told");
        Ok((left, told))
    })?;
    println!(
        "{times} sockets opened and closed; counted {} meanwhile and {left} after, kept {told} after",
        most.0
    );
    Ok(())
}
