//! Sockets whose backend has gone are ended, and no others.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sluice_testbed::{
    pod::Program,
    program::{Family, Seen, Step, Transport},
    tier::eventually,
};

use crate::{
    bed::PATIENCE,
    dns::{Dns, Endpoint, PORT, connected, name, services},
};

pub(crate) fn datagram_sockets_end_when_their_backend_goes_and_no_others() -> Result<()> {
    let dns = Dns::open()?;
    let _agent = dns.bed.ready_agent()?;
    let clients = [
        dns.bed.node.pod("client").start()?,
        dns.bed.node.pod("another").start()?,
        dns.bed.node.pod("host").on_the_host().start()?,
    ];
    let (mut through, mut others) = (Vec::new(), Vec::new());
    let mut unconnected = Vec::new();
    for client in &clients {
        for service in services()? {
            for _ in 0..3 {
                through.push(connected(client, Transport::Udp, service)?);
            }
            others.push(connected(client, Transport::Tcp, service)?);
            let program = client.program();
            program.run(&[
                Step::udp(Family::of(service)),
                Step::send_to(0, "?", service),
            ])?;
            unconnected.push((program, service));
        }
        // Straight to the backend that is about to go.
        for direct in [dns.v4(0), dns.v6(0)] {
            others.push(connected(client, Transport::Udp, (direct, PORT).into())?);
        }
    }
    dns.endpoints(&[1, 2])?;
    let (gone, staying): (Vec<_>, Vec<_>) = through
        .into_iter()
        .partition(|conversation| dns.is_from(&conversation.with, 0));
    println!(
        "{} sockets with the backend that goes, {} with others",
        gone.len(),
        staying.len()
    );
    ensure!(!gone.is_empty() && !staying.is_empty());
    for conversation in &gone {
        conversation.await_end()?;
    }
    dns.await_looks()?;
    for conversation in staying.iter().chain(&others) {
        conversation.goes_on()?;
    }
    for (program, service) in &unconnected {
        let seen = program.run(&[
            Step::TakeError { socket: 0 },
            Step::receive_from(0),
            Step::send_to(0, "?", *service),
            Step::receive_from(0),
        ])?;
        ensure!(seen[0] == Ok(Seen::NothingPending), "{seen:?}");
        for answer in [&seen[1], &seen[3]] {
            let from = matches!(answer, Ok(Seen::DataFrom(_, from)) if from == service);
            ensure!(from, "{service}: {seen:?}");
        }
        let moved = name(&seen[3]).is_some_and(|name| !dns.is_from(&name, 0));
        ensure!(moved, "{service}: {seen:?}");
    }
    // An ended socket may be connected again, and finds who is there.
    for conversation in &gone {
        let seen = conversation.program.run(&[
            Step::connect(0, conversation.peer),
            Step::send(0, "?"),
            Step::receive(0),
        ])?;
        let moved = name(&seen[2]).is_some_and(|name| !dns.is_from(&name, 0));
        ensure!(moved, "{seen:?}");
    }
    Ok(())
}

pub(crate) fn sockets_from_before_the_agent_end_too() -> Result<()> {
    let dns = Dns::open()?;
    let client = dns.bed.node.pod("client").start()?;
    let open = |service: SocketAddr| -> Result<Program<'_>> {
        let program = client.program();
        let seen = program.run(&[Step::udp(Family::of(service)), Step::connect(0, service)])?;
        ensure!(seen[1] == Ok(Seen::Done), "{seen:?}");
        Ok(program)
    };
    // Nothing translates these.
    let before = services()?.map(open);
    let before = before.into_iter().collect::<Result<Vec<_>>>()?;
    // The second has the number of a node port, but its address is no node's.
    let direct =
        [PORT, PORT + 1].map(|port| connected(&client, Transport::Udp, (dns.v4(0), port).into()));
    let is_connected = |program: &Program<'_>| -> Result<bool> {
        Ok(program.run(&[Step::peer_name(0)])?[0].is_ok())
    };

    let agent = dns.bed.ready_agent()?;
    dns.await_looks()?;
    for program in &before {
        ensure!(is_connected(program)?, "ended without need");
    }
    let mut through = Vec::new();
    for _ in 0..3 {
        through.push(connected(&client, Transport::Udp, services()?[0])?);
    }
    dns.endpoints(&[1, 2])?;
    for program in &before {
        eventually(PATIENCE, "an ended socket", || {
            ensure!(!is_connected(program)?);
            Ok(())
        })?;
    }
    dns.await_looks()?;
    for direct in direct {
        direct?.goes_on()?;
    }

    // A backend goes while nobody looks; the next agent finds that.
    drop(agent);
    dns.endpoints(&[1])?;
    let _agent = dns.bed.ready_agent()?;
    for conversation in &through {
        if dns.is_from(&conversation.with, 1) {
            continue;
        }
        eventually(PATIENCE, "an ended socket", || {
            ensure!(!conversation.is_connected()?);
            Ok(())
        })?;
    }
    dns.await_looks()?;
    for conversation in &through {
        if dns.is_from(&conversation.with, 1) {
            conversation.goes_on()?;
        }
    }
    Ok(())
}

pub(crate) fn sockets_of_a_pod_that_opted_out_are_left_alone() -> Result<()> {
    let dns = Dns::open()?;
    let clients = [
        dns.bed.node.pod("ordinary").start()?,
        dns.bed.node.pod("apart").start()?,
    ];
    let objects = clients.iter().map(|client| {
        let apart = (client.name() == "apart").to_string();
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": client.name(), "namespace": "shop", "uid": client.uid(),
                "labels": {"sluice.dev/opt-out": apart},
            },
            "spec": {"nodeName": dns.bed.node.name(), "containers": []},
        })
    });
    dns.bed.write("pods.yaml", &objects.collect::<Vec<_>>())?;
    let service = services()?[0];
    let open = |client: &'static str, program: &Program<'_>| -> Result<()> {
        let seen = program.run(&[Step::udp(Family::of(service)), Step::connect(0, service)])?;
        ensure!(seen[1] == Ok(Seen::Done), "{client}: {seen:?}");
        Ok(())
    };
    let [ordinary, apart] = [clients[0].program(), clients[1].program()];
    open("ordinary, before the agent", &ordinary)?;
    open("apart, before the agent", &apart)?;
    let _agent = dns.bed.ready_agent()?;
    let later = clients[1].program();
    open("apart, beside the agent", &later)?;
    dns.await_looks()?;
    dns.endpoints(&[1, 2])?;
    eventually(PATIENCE, "the end of the ordinary pod's socket", || {
        ensure!(ordinary.run(&[Step::peer_name(0)])?[0].is_err());
        Ok(())
    })?;
    dns.await_looks()?;
    for program in [&apart, &later] {
        let seen = program.run(&[Step::peer_name(0), Step::TakeError { socket: 0 }])?;
        let expected = [Ok(Seen::Name(service)), Ok(Seen::NothingPending)];
        ensure!(seen == expected, "{seen:?}");
    }
    Ok(())
}

pub(crate) fn a_backend_goes_in_many_ways_and_a_draining_one_is_not_gone() -> Result<()> {
    let dns = Dns::open()?;
    let _agent = dns.bed.ready_agent()?;
    let client = dns.bed.node.pod("client").start()?;
    let service = services()?[0];
    let one = |dns: &Dns| -> Result<()> {
        dns.service(&json!({}))?;
        dns.endpoints(&[0])
    };
    type Change = fn(&Dns) -> Result<()>;
    let ways: [(&str, Change); 5] = [
        ("scaled to zero", |dns| dns.endpoints(&[])),
        ("replaced", |dns| dns.endpoints(&[1])),
        ("another target port", |dns| {
            dns.write_endpoints(&[Endpoint::Ready(0)], PORT + 1)
        }),
        ("the Service deleted", |dns| {
            std::fs::remove_file(dns.bed.manifests.join("service.yaml"))?;
            Ok(())
        }),
        ("drained, then gone", |dns| {
            dns.write_endpoints(&[Endpoint::Draining(0), Endpoint::Ready(1)], PORT)?;
            dns.await_looks()?;
            dns.endpoints(&[1])
        }),
    ];
    for (way, change) in ways {
        one(&dns)?;
        let conversation = eventually(PATIENCE, "the first backend alone", || {
            let conversation = connected(&client, Transport::Udp, service)?;
            ensure!(dns.is_from(&conversation.with, 0), "{}", conversation.with);
            Ok(conversation)
        })
        .context(way)?;
        change(&dns)?;
        conversation.await_end().context(way)?;
    }

    one(&dns)?;
    let conversation = eventually(PATIENCE, "the first backend alone", || {
        let conversation = connected(&client, Transport::Udp, service)?;
        ensure!(dns.is_from(&conversation.with, 0), "{}", conversation.with);
        Ok(conversation)
    })?;
    dns.write_endpoints(&[Endpoint::Draining(0), Endpoint::Ready(1)], PORT)?;
    eventually(PATIENCE, "a connect elsewhere", || {
        let other = connected(&client, Transport::Udp, service)?;
        ensure!(dns.is_from(&other.with, 1), "{}", other.with);
        Ok(())
    })?;
    dns.await_looks()?;
    conversation.goes_on()
}

pub(crate) fn connections_end_with_their_backend_where_their_service_says_so() -> Result<()> {
    let dns = Dns::open()?;
    dns.service(&json!({"sluice.dev/on-backend-gone": "Cut"}))?;
    let _agent = dns.bed.ready_agent()?;
    let client = dns.bed.node.pod("client").start()?;
    let mut through = Vec::new();
    for service in services()? {
        for _ in 0..3 {
            through.push(connected(&client, Transport::Tcp, service)?);
        }
    }
    let direct = connected(&client, Transport::Tcp, (dns.v4(0), PORT).into())?;
    dns.endpoints(&[1, 2])?;
    let (gone, staying): (Vec<_>, Vec<_>) = through
        .into_iter()
        .partition(|conversation| dns.is_from(&conversation.with, 0));
    ensure!(!gone.is_empty() && !staying.is_empty());
    for conversation in &gone {
        conversation.await_end()?;
    }
    dns.await_looks()?;
    for conversation in staying.iter().chain([&direct]) {
        conversation.goes_on()?;
    }
    Ok(())
}
