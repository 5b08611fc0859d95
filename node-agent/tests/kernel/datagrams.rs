//! Datagrams of sockets that are not connected: every answer comes from the Service that was asked.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use sluice_node_abi::{
    datagrams::PAIRS,
    keys,
    tally::Tally,
    values::{Port, mode},
    verdict::Verdict,
};
use sluice_node_agent::program::Refusal;
use sluice_testbed::{
    Errno,
    errno::Code,
    pod::{Pod, Program},
    program::{Family, Message, Seen, Step, StepResult},
};

use crate::bed::{Bed, SERVICE_V4, SERVICE_V6, at};

const PORT: u16 = 53;

/// A pod that answers at so many addresses with the address that was reached.
fn server(bed: &Bed, addresses: u8) -> Result<Pod> {
    let pod = bed.node.pod("server").addresses(addresses).port(PORT);
    pod.named_by_address().start()
}

/// Its addresses of the family.
fn backends(server: &Pod, family: Family) -> Vec<SocketAddr> {
    let addresses = server.addresses().iter();
    addresses
        .map(|(v4, v6)| match family {
            Family::V4 => SocketAddr::from((*v4, PORT)),
            Family::V6 => SocketAddr::from((*v6, PORT)),
        })
        .collect()
}

/// Sends to the Service and hears from there; says which backend that was.
fn ask(program: &Program<'_>, service: SocketAddr) -> Result<String> {
    let seen = program.run(&[Step::send_to(0, "?", service), Step::receive_from(0)])?;
    let Ok(Seen::DataFrom(answer, from)) = &seen[1] else {
        anyhow::bail!("{service}: {seen:?}");
    };
    ensure!(*from == service, "the answer of {service} came from {from}");
    let text = String::from_utf8_lossy(answer);
    let name = text.split(' ').next().context("an answer without a name")?;
    Ok(name.to_owned())
}

fn opened<'pod>(client: &'pod Pod, family: Family) -> Result<Program<'pod>> {
    let program = client.program();
    let opened = program.run(&[Step::udp(family)])?;
    ensure!(opened == [Ok(Seen::Opened(0))], "{opened:?}");
    Ok(program)
}

pub(crate) fn answers_to_an_unconnected_socket_come_from_the_service() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = server(&bed, 1)?;
    let client = bed.node.pod("client").start()?;
    let mapped = at(&format!("::ffff:{SERVICE_V4}"), PORT)?;
    for ip in [SERVICE_V4, SERVICE_V6] {
        let service = at(ip, PORT)?;
        bed.service(service, keys::UDP, &backends(&server, Family::of(service)))?;
    }
    for service in [at(SERVICE_V4, PORT)?, at(SERVICE_V6, PORT)?, mapped] {
        let program = opened(&client, Family::of(service))?;
        ask(&program, service)?;
        let seen = program.run(&[
            Step::peer_name(0),
            // A connected socket may ask from where its answers come, too.
            Step::connect(0, service),
            Step::send(0, "?"),
            Step::receive_from(0),
            Step::send_to(0, "?", service),
            Step::receive_from(0),
            Step::Disconnect { socket: 0 },
        ])?;
        ensure!(seen[0] == Err(Errno::ENOTCONN.into()), "{seen:?}");
        for answer in [&seen[3], &seen[5]] {
            ensure!(
                matches!(answer, Ok(Seen::DataFrom(_, from)) if *from == service),
                "{seen:?}"
            );
        }
        ask(&program, service)?;
    }
    Ok(())
}

pub(crate) fn one_socket_asks_several_services_at_once() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = server(&bed, 3)?;
    let client = bed.node.pod("client").start()?;
    for family in [Family::V4, Family::V6] {
        let mut services = Vec::new();
        for (number, backend) in backends(&server, family).into_iter().enumerate() {
            let service = match family {
                Family::V4 => at(&format!("198.18.0.{}", number + 1), PORT)?,
                Family::V6 => at(&format!("fd5e:1::{}", number + 1), PORT)?,
            };
            bed.service(service, keys::UDP, &[backend])?;
            services.push((service, backend));
        }
        let program = opened(&client, family)?;
        let messages = services
            .iter()
            .map(|(service, _)| (b"?".to_vec(), *service));
        let mut steps = vec![Step::SendMany {
            socket: 0,
            messages: messages.collect(),
        }];
        steps.extend([(); 3].map(|()| Step::receive_from(0)));
        let seen = program.run(&steps)?;
        ensure!(seen[0] == Ok(Seen::Sent(3)), "{seen:?}");
        for (service, backend) in services {
            let answer = format!("{backend} ");
            let told = |result: &StepResult| match result {
                Ok(Seen::DataFrom(data, from)) => {
                    *from == service && data.starts_with(answer.as_bytes())
                }
                _ => false,
            };
            ensure!(seen.iter().any(told), "{service} by {backend}: {seen:?}");
        }
    }
    Ok(())
}

pub(crate) fn cut_datagrams_and_control_messages_stay_as_they_are() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = server(&bed, 1)?;
    let client = bed.node.pod("client").start()?;
    for (service, (own, direct)) in [SERVICE_V4, SERVICE_V6]
        .into_iter()
        .zip(client.at(0).into_iter().zip(server.at(PORT)))
    {
        let service = at(service, PORT)?;
        bed.service(service, keys::UDP, &[direct])?;
        let steps = |peer| {
            [
                Step::udp(Family::of(peer)),
                Step::PacketInfo {
                    socket: 0,
                    on: true,
                },
                Step::send_to(0, "?", peer),
                Step::ReceiveMessage { socket: 0, most: 4 },
            ]
        };
        let directly = client.run(&steps(direct))?;
        let through = client.run(&steps(service))?;
        let Ok(Seen::Message(expected)) = &directly[3] else {
            anyhow::bail!("{directly:?}");
        };
        ensure!(
            expected.cut && expected.to == Some(own.ip()),
            "{expected:?}"
        );
        let expected = Message {
            from: Some(service),
            ..expected.clone()
        };
        ensure!(through[3] == Ok(Seen::Message(expected)), "{through:?}");
    }
    Ok(())
}

pub(crate) fn one_socket_keeps_to_one_backend_and_sockets_are_spread() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = server(&bed, 4)?;
    let client = bed.node.pod("client").start()?;
    let service = at(SERVICE_V4, PORT)?;
    bed.service(service, keys::UDP, &backends(&server, Family::V4))?;
    let mut reached = Vec::new();
    for _ in 0..8 {
        let program = opened(&client, Family::V4)?;
        let first = ask(&program, service)?;
        for _ in 0..10 {
            let next = ask(&program, service)?;
            ensure!(next == first, "{next} after {first}");
        }
        reached.push(first);
    }
    reached.sort();
    let spread: Vec<_> = reached.chunk_by(|a, b| a == b).map(<[_]>::len).collect();
    ensure!(spread == [2; 4], "{reached:?}");
    Ok(())
}

pub(crate) fn a_backend_that_is_gone_is_replaced_at_the_next_send_and_no_other() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = server(&bed, 3)?;
    let client = bed.node.pod("client").start()?;
    let service = at(SERVICE_V4, PORT)?;
    let all = backends(&server, Family::V4);
    let port = bed.service(service, keys::UDP, &all)?;
    let programs = [(); 3].map(|()| opened(&client, Family::V4));
    let programs = programs.into_iter().collect::<Result<Vec<_>>>()?;
    let mut kept = Vec::new();
    for program in &programs {
        kept.push(ask(program, service)?);
    }

    // The Service loses its first backend, whose row stays: as if another Service had it too.
    let mut rows = Vec::new();
    bed.maps.backends.each(|id, row| rows.push((id, row)))?;
    let of = |address: SocketAddr| {
        let row = rows
            .iter()
            .find(|(_, row)| row.backend.address == keys::address(address.ip()));
        row.map(|(id, _)| *id).context("a row of the backend")
    };
    let (second, third) = (of(all[1])?, of(all[2])?);
    let group = bed.group_of(&[second, third])?;
    let table = bed.table(mode::SEQUENCE, &[group])?;
    let generation = bed.id();
    bed.maps.ports.swap(port, Port::new(table, generation))?;
    for (program, before) in programs.iter().zip(&mut kept) {
        let now = ask(program, service)?;
        if *before == all[0].to_string() {
            ensure!(now != *before, "{before} has left the Service");
        } else {
            ensure!(
                now == *before,
                "{before} is still there, and {now} answered"
            );
        }
        *before = now;
    }

    // A row that is somebody else's by now: another generation.
    let mut row = bed.maps.backends.read(third)?;
    row.backend.generation = bed.id();
    bed.maps.backends.write(third, row)?;
    let chosen_anew = bed.maps.verdicts()?;
    for (program, before) in programs.iter().zip(&kept) {
        if *before == all[1].to_string() {
            let now = ask(program, service)?;
            ensure!(
                now == *before,
                "{before} is still there, and {now} answered"
            );
        }
    }
    ensure!(
        bed.maps.verdicts()? == chosen_anew,
        "a healthy socket chose again"
    );
    let moved = kept.iter().filter(|name| **name == all[2].to_string());
    let moved = moved.count() as u64;
    for (program, _) in programs.iter().zip(&kept) {
        ask(program, service)?;
    }
    let translated = |verdicts: &[(Verdict, u64)]| {
        let row = verdicts
            .iter()
            .find(|(verdict, _)| *verdict == Verdict::Translated);
        row.map(|(_, count)| *count)
    };
    let before = translated(&chosen_anew).context("the verdict")?;
    ensure!(translated(&bed.maps.verdicts()?) == Some(before + moved));
    Ok(())
}

pub(crate) fn late_answers_of_a_backend_that_is_gone_come_from_the_service() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = server(&bed, 2)?;
    let client = bed.node.pod("client").start()?;
    let service = at(SERVICE_V4, PORT)?;
    let all = backends(&server, Family::V4);
    let port = bed.service(service, keys::UDP, &all[..1])?;
    let program = opened(&client, Family::V4)?;
    // Two answers are on their way when the backend leaves.
    let sent = program.run(&[
        Step::send_to(0, "first", service),
        Step::send_to(0, "second", service),
    ])?;
    ensure!(sent == [Ok(Seen::Sent(5)), Ok(Seen::Sent(6))], "{sent:?}");
    let group = bed.group(&all[1..], keys::UDP)?;
    let table = bed.table(mode::SEQUENCE, &[group])?;
    let generation = bed.id();
    bed.maps.ports.swap(port, Port::new(table, generation))?;
    let seen = program.run(&[
        Step::send_to(0, "third", service),
        Step::receive_from(0),
        Step::receive_from(0),
        Step::receive_from(0),
    ])?;
    let mut names = Vec::new();
    for answer in &seen[1..] {
        let Ok(Seen::DataFrom(data, from)) = answer else {
            anyhow::bail!("{seen:?}");
        };
        ensure!(*from == service, "an answer from {from}");
        names.push(String::from_utf8_lossy(data).into_owned());
    }
    for (backend, data) in [(0, "first"), (0, "second"), (1, "third")] {
        let answer = format!("{} -\n{data}", all[backend]);
        ensure!(names.contains(&answer), "no {answer:?} in {names:?}");
    }
    Ok(())
}

pub(crate) fn no_backend_is_connection_refused_for_a_datagram() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let client = bed.node.pod("client").start()?;
    let mapped = at(&format!("::ffff:{SERVICE_V4}"), PORT)?;
    let services = [at(SERVICE_V4, PORT)?, at(SERVICE_V6, PORT)?];
    for service in services {
        let table = bed.table(mode::SEQUENCE, &[0])?;
        bed.frontend(service, keys::UDP, table)?;
    }
    for service in [services[0], services[1], mapped] {
        let seen = client.run(&[
            Step::udp(Family::of(service)),
            Step::send_to(0, "?", service),
        ])?;
        let refused = Err(Code::from(Errno::ECONNREFUSED));
        ensure!(seen[1] == refused, "{service}: {seen:?}");
    }
    let refused = bed.maps.verdicts()?;
    ensure!(refused.contains(&(Verdict::Refused, 3)), "{refused:?}");
    Ok(())
}

/// What a datagram to a closed port of another host looks like: sent, and refused when the answer
/// says so to a socket that wants to know.
pub(crate) fn no_backend_is_a_closed_port_for_a_datagram_by_way_of_loopback() -> Result<()> {
    let mut bed = Bed::start(Refusal::Loopback)?;
    let client = bed.node.pod("client").start()?;
    for ip in [SERVICE_V4, SERVICE_V6] {
        let service = at(ip, PORT)?;
        let table = bed.table(mode::SEQUENCE, &[0])?;
        bed.frontend(service, keys::UDP, table)?;
        let seen = client.run(&[
            Step::udp(Family::of(service)),
            Step::ReportErrors {
                socket: 0,
                on: true,
            },
            Step::send_to(0, "?", service),
            Step::receive_from(0),
        ])?;
        let refused = Err(Code::from(Errno::ECONNREFUSED));
        ensure!(
            seen[2] == Ok(Seen::Sent(1)) && seen[3] == refused,
            "{service}: {seen:?}"
        );
    }
    Ok(())
}

pub(crate) fn a_socket_with_too_many_services_forgets_the_oldest_and_that_is_counted() -> Result<()>
{
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let many = PAIRS as u8 + 1;
    let server = server(&bed, many)?;
    let client = bed.node.pod("client").start()?;
    let mut services = Vec::new();
    for (number, backend) in (1..).zip(backends(&server, Family::V4)) {
        let service = at(&format!("198.18.0.{number}"), PORT)?;
        bed.service(service, keys::UDP, &[backend])?;
        services.push(service);
    }
    let forgotten = |bed: &Bed| -> Result<u64> {
        let tallies = bed.maps.tallies()?;
        let found = tallies
            .iter()
            .find(|(tally, _)| *tally == Tally::PairForgotten);
        Ok(found.context("the tally")?.1)
    };
    let program = opened(&client, Family::V4)?;
    for service in &services[..PAIRS] {
        ask(&program, *service)?;
    }
    ensure!(forgotten(&bed)? == 0);
    ask(&program, services[PAIRS])?;
    ensure!(forgotten(&bed)? == 1);
    // The second to the last are remembered, the first is not.
    for service in &services[1..] {
        ask(&program, *service)?;
    }
    ensure!(forgotten(&bed)? == 1);
    ask(&program, services[0])?;
    ensure!(forgotten(&bed)? == 2);
    Ok(())
}
