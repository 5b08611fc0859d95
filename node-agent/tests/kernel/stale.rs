//! The kernel's side of ending stale sockets: what a survey tells, and that a socket can be ended.

use std::{net::SocketAddr, os::fd::AsFd, time::Duration};

use anyhow::{Context, Result, ensure};
use sluice_node_abi::{keys, survey::Surveyed};
use sluice_node_agent::{
    bpf,
    diag::{Diag, Family, Protocol},
    program::Refusal,
};
use sluice_testbed::{
    Errno,
    program::{self, Seen, Step},
    tier::eventually,
};

use crate::bed::{Bed, SERVICE_V4, SERVICE_V6, at};

const PATIENCE: Duration = Duration::from_secs(30);

/// Together more than the survey's ring buffer has room for, and each less than a process may open.
const CLIENTS: usize = 5;
const SOCKETS: usize = 900;

pub(crate) fn a_survey_tells_every_datagram_socket_that_was_translated() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let mut survey = bed.programs.survey()?;
    let server = bed.node.pod("server").port(53).start()?;
    let clients = (0..CLIENTS).map(|number| bed.node.pod(format!("client-{number}")).start());
    let clients = clients.collect::<Result<Vec<_>>>()?;
    let (service, direct) = (at(SERVICE_V4, 53)?, server.at(53)[0]);
    bed.service(service, keys::UDP, &[direct])?;
    bed.service(service, keys::TCP, &[direct])?;
    ensure!(survey.read()?.is_empty());

    let open = |number: usize| {
        [
            Step::udp(program::Family::V4),
            Step::connect(number, service),
        ]
    };
    let steps: Vec<_> = (0..SOCKETS).flat_map(open).collect();
    let programs: Vec<_> = clients.iter().map(|client| client.program()).collect();
    for program in &programs {
        let seen = program.run(&steps)?;
        let failed = seen.iter().find(|result| result.is_err());
        ensure!(failed.is_none(), "{failed:?}");
    }
    let others = clients[0].program();
    others.run(&[
        Step::udp(program::Family::V4),
        Step::connect(0, direct),
        Step::tcp(program::Family::V4),
        Step::connect(1, service),
    ])?;

    let told = survey.read()?;
    ensure!(
        told.len() == CLIENTS * SOCKETS,
        "{} sockets are told",
        told.len()
    );
    let right = |told: &Surveyed| {
        let state = told.state;
        keys::ip(state.address) == service.ip()
            && keys::ip(state.backend_address) == direct.ip()
            && told.cookie != 0
    };
    ensure!(told.iter().all(right));
    drop(programs);
    eventually(PATIENCE, "no trace of closed sockets", || {
        let told = survey.read()?;
        ensure!(told.is_empty(), "{} are told", told.len());
        Ok(())
    })
}

pub(crate) fn a_socket_is_ended_alone() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = bed.node.pod("server").port(53).start()?;
    let client = bed.node.pod("client").start()?;
    let storage = bpf::open_pinned(&bed.pins.map("SOCKETS"))?;
    for (family, service, direct) in [
        (Family::V4, at(SERVICE_V4, 53)?, server.at(53)[0]),
        (Family::V6, at(SERVICE_V6, 53)?, server.at(53)[1]),
    ] {
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            let (number, open) = match protocol {
                Protocol::Udp => (keys::UDP, Step::udp(program::Family::of(service))),
                Protocol::Tcp => (keys::TCP, Step::tcp(program::Family::of(service))),
            };
            bed.service(service, number, &[direct])?;
            let (one, other) = (client.program(), client.program());
            for program in [&one, &other] {
                program.run(&[open.clone(), Step::connect(0, service)])?;
            }
            let own = one.run(&[Step::OwnName { socket: 0 }])?;
            let Ok(Seen::Name(own)) = own[0] else {
                anyhow::bail!("{own:?}");
            };
            let storage = storage.try_clone()?;
            let ended = client.netns().run(move || {
                let diag = Diag::open()?;
                let all = diag.connected(family, protocol, storage.as_fd())?;
                let wanted = all.iter().find(|s| s.own() == own && s.peer() == direct);
                let wanted = wanted.context("the socket is not listed")?;
                let kept = wanted.state.map(|state| keys::ip(state.address));
                Ok((diag.end(wanted)?, diag.end(wanted)?, kept))
            })?;
            let kept = (protocol == Protocol::Tcp).then_some(service.ip());
            ensure!(
                ended == (true, false, kept),
                "{service} {protocol:?}: {ended:?}"
            );
            let seen = one.run(&[Step::peer_name(0), Step::TakeError { socket: 0 }])?;
            let aborted = Ok(Seen::Pending(Errno::ECONNABORTED.into()));
            ensure!(
                seen == [Err(Errno::ENOTCONN.into()), aborted],
                "{service} {protocol:?}: {seen:?}"
            );
            let seen = other.run(&[Step::peer_name(0), Step::TakeError { socket: 0 }])?;
            let name: SocketAddr = service;
            ensure!(
                seen == [Ok(Seen::Name(name)), Ok(Seen::NothingPending)],
                "{seen:?}"
            );
        }
    }
    Ok(())
}
