//! What an application sees: through a Service the same as directly, but for the peer's name.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sluice_model::{image::Entry, plan::Op};
use sluice_node_abi::keys;
use sluice_node_agent::{
    maps::Maps as _,
    program::{Programs, Refusal, Sizes},
};
use sluice_testbed::{
    load::{Load, Target},
    pod::Pod,
    program::{Direction, Family, Seen, Step, StepResult, Transport},
    tier::eventually,
};

use crate::bed::{Bed, SERVICE_V4, SERVICE_V6, at};

const PATIENCE: Duration = Duration::from_secs(120);

/// Both protocols and families of a Service at `port` to a pod at the same port.
fn to_pod(bed: &mut Bed, port: u16, pod: &Pod) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for (service, backend) in [SERVICE_V4, SERVICE_V6].into_iter().zip(pod.at(port)) {
        let service = at(service, port)?;
        bed.service(service, keys::TCP, &[backend])?;
        bed.service(service, keys::UDP, &[backend])?;
        targets.extend([Target::tcp(service), Target::udp(service)]);
    }
    Ok(targets)
}

pub(crate) fn a_light_pods_connect_is_rewritten() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = bed.node.pod("server").version("v1").port(80).start()?;
    let client = bed.node.pod("client").start()?;
    for target in to_pod(&mut bed, 80, &server)? {
        let answer = client.connect(target)?;
        ensure!(
            answer.name == "server" && answer.version == "v1",
            "{target}: {answer:?}"
        );
    }
    let mapped = at(&format!("::ffff:{SERVICE_V4}"), 80)?;
    let seen = client.run(&[
        Step::tcp(Family::V6),
        Step::connect(0, mapped),
        Step::receive(0),
        Step::peer_name(0),
    ])?;
    ensure!(seen[3] == Ok(Seen::Name(mapped)), "{seen:?}");
    Ok(())
}

pub(crate) fn only_the_cgroup_below_the_link_is_touched() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = bed.node.pod("server").port(80).start()?;
    let elsewhere = bed.fabric.node("node-2")?.pod("client").start()?;
    for target in to_pod(&mut bed, 80, &server)? {
        // UDP connects always succeed; nobody answers.
        let load = Load::on([target]).patience(Duration::from_millis(200));
        let report = elsewhere.load(&load)?;
        ensure!(report.answered() == 0, "{target}: {report:?}");
    }
    Ok(())
}

pub(crate) fn programs_go_on_without_their_loader_and_are_replaced_in_place() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = bed.node.pod("server").port(80).start()?;
    let client = bed.node.pod("client").start()?;
    let targets = to_pod(&mut bed, 80, &server)?;
    let Bed {
        node,
        pins,
        programs,
        maps,
        fabric,
        ..
    } = bed;
    drop((programs, maps));

    let load = client.start_load(&Load::on(targets.clone()).until_stopped().threads(2))?;
    for _ in 0..20 {
        let before = load.so_far()?.tries;
        let programs = Programs::load(&pins, Refusal::SetRetval, Sizes::default())?;
        programs.attach(node.cgroup().path())?;
        eventually(PATIENCE, "connects after a replacement", || {
            ensure!(load.so_far()?.tries > before + 10);
            Ok(())
        })?;
    }
    let report = load.stop()?;
    ensure!(report.failures.is_empty(), "{report:?}");
    println!(
        "20 replacements under load: {} connects, none failed",
        report.tries
    );
    drop(fabric);
    Ok(())
}

/// Programs of socket calls that speak to `peer`.
fn programs(peer: SocketAddr) -> Vec<(&'static str, Vec<Step>)> {
    let family = Family::of(peer);
    let any: IpAddr = match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    let any = SocketAddr::new(any, 0);
    let connect = || Step::connect(0, peer);
    let receive = || Step::receive(0);
    let disconnect = || Step::Disconnect { socket: 0 };
    let nonblocking = |transport| Step::Open {
        family,
        transport,
        nonblocking: true,
    };
    vec![
        ("connect", vec![Step::tcp(family), connect(), receive()]),
        (
            "connect without blocking",
            vec![
                nonblocking(Transport::Tcp),
                connect(),
                Step::AwaitWritable { socket: 0 },
                Step::TakeError { socket: 0 },
            ],
        ),
        (
            "bind, then connect",
            vec![
                Step::tcp(family),
                Step::Bind {
                    socket: 0,
                    address: any,
                },
                connect(),
                receive(),
            ],
        ),
        (
            "connect twice",
            vec![Step::tcp(family), connect(), connect(), receive()],
        ),
        (
            "disconnect and connect again",
            vec![
                Step::tcp(family),
                connect(),
                disconnect(),
                Step::peer_name(0),
                connect(),
                receive(),
            ],
        ),
        (
            "connect UDP",
            vec![
                Step::udp(family),
                connect(),
                Step::send(0, "hello"),
                receive(),
            ],
        ),
        (
            "connect UDP, disconnect, connect twice",
            vec![
                Step::udp(family),
                connect(),
                disconnect(),
                Step::peer_name(0),
                Step::send(0, "nobody"),
                connect(),
                connect(),
                Step::send(0, "hello"),
                receive(),
            ],
        ),
        (
            "connect UDP without blocking",
            vec![
                nonblocking(Transport::Udp),
                connect(),
                Step::receive(0),
                Step::send(0, "hello"),
            ],
        ),
        (
            "stop reading",
            vec![
                Step::tcp(family),
                connect(),
                Step::Shutdown {
                    socket: 0,
                    direction: Direction::Read,
                },
            ],
        ),
        (
            "connect without blocking, twice",
            vec![
                nonblocking(Transport::Tcp),
                connect(),
                Step::AwaitWritable { socket: 0 },
                connect(),
                connect(),
            ],
        ),
        (
            "connect and send at once",
            vec![
                Step::tcp(family),
                Step::SendFast {
                    socket: 0,
                    data: b"hello".to_vec(),
                    address: peer,
                },
            ],
        ),
        (
            "never connected",
            vec![
                Step::tcp(family),
                Step::peer_name(0),
                Step::send(0, "nobody"),
            ],
        ),
    ]
}

pub(crate) fn a_socket_program_sees_the_service_where_it_would_see_the_backend() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = bed.node.pod("server").port(80).start()?;
    let client = bed.node.pod("client").start()?;
    to_pod(&mut bed, 80, &server)?;
    let mapped = |ip: IpAddr| at(&format!("::ffff:{ip}"), 80);
    let [direct_v4, direct_v6] = server.at(80);
    let pairs = [
        (direct_v4, at(SERVICE_V4, 80)?),
        (direct_v6, at(SERVICE_V6, 80)?),
        (mapped(direct_v4.ip())?, mapped(SERVICE_V4.parse()?)?),
    ];
    for (direct, service) in pairs {
        for ((name, directly), (_, through)) in programs(direct).into_iter().zip(programs(service))
        {
            let ending = [Step::peer_name(0)];
            let directly = client.run(&[directly, ending.to_vec()].concat())?;
            let through = client.run(&[through, ending.to_vec()].concat())?;
            let expected: Vec<_> = directly
                .into_iter()
                .map(|result| renamed(result, direct, service))
                .collect();
            ensure!(
                through == expected,
                "{name}, {service}:\n{through:?}\n{expected:?}"
            );
        }
    }
    Ok(())
}

/// The result as it reads when the peer is called by its Service.
fn renamed(result: StepResult, direct: SocketAddr, service: SocketAddr) -> StepResult {
    match result {
        Ok(Seen::Name(name)) if name == direct => Ok(Seen::Name(service)),
        other => other,
    }
}

pub(crate) fn a_socket_that_connects_elsewhere_forgets_the_service() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = bed.node.pod("server").port(80).start()?;
    let client = bed.node.pod("client").start()?;
    to_pod(&mut bed, 80, &server)?;
    for (service, direct) in [SERVICE_V4, SERVICE_V6].into_iter().zip(server.at(80)) {
        let service = at(service, 80)?;
        let seen = client.run(&[
            Step::udp(Family::of(direct)),
            Step::connect(0, service),
            Step::peer_name(0),
            Step::connect(0, direct),
            Step::peer_name(0),
            Step::connect(0, service),
            Step::peer_name(0),
        ])?;
        let names: Vec<_> = [2, 4, 6].iter().map(|&index| seen[index].clone()).collect();
        let expected = [service, direct, service].map(|name| Ok(Seen::Name(name)));
        ensure!(names == expected, "{names:?}");
    }
    Ok(())
}

pub(crate) fn open_sockets_are_counted_until_they_close() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = bed.node.pod("server").port(80).start()?;
    let client = bed.node.pod("client").start()?;
    let service = at(SERVICE_V4, 80)?;
    bed.service(service, keys::TCP, &[server.at(80)[0]])?;
    let mut backends = Vec::new();
    bed.maps.backends.each(|id, _| backends.push(id))?;
    let backend = *backends.first().context("a backend")?;
    let open = |bed: &Bed| Ok::<_, anyhow::Error>(bed.maps.backends.read(backend)?.sockets);

    ensure!(open(&bed)? == 0);
    let running = client.start_load(&Load::on([service]).until_stopped().threads(3))?;
    eventually(PATIENCE, "open sockets", || {
        ensure!(open(&bed)? > 0);
        Ok(())
    })?;
    running.stop()?;
    eventually(PATIENCE, "no open socket", || {
        let left = open(&bed)?;
        ensure!(left == 0, "{left} are open");
        Ok(())
    })
}

/// As the agent does with a row that somebody else has changed, while sockets come and go.
pub(crate) fn a_row_that_is_put_right_goes_on_counting() -> Result<()> {
    const CONNECTS: u64 = 4_000;
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = bed.node.pod("server").port(80).start()?;
    let client = bed.node.pod("client").start()?;
    let service = at(SERVICE_V4, 80)?;
    bed.service(service, keys::TCP, &[server.at(80)[0]])?;
    let mut rows = Vec::new();
    bed.maps.backends.each(|id, row| rows.push((id, row)))?;
    let (id, row) = *rows.first().context("a backend")?;
    let right = Op::Put(Entry::Backend(id, row.backend));
    let mut maps = bed.own_maps()?;

    let running = client.start_load(&Load::on([service]).until_stopped().threads(3))?;
    let mut written = 0;
    while running.so_far()?.tries < CONNECTS {
        for _ in 0..1_000 {
            maps.write(&right)?;
        }
        written += 1_000;
    }
    let report = running.stop()?;
    ensure!(report.failures.is_empty(), "{report}");
    eventually(PATIENCE, "no open socket", || {
        let left = bed.maps.backends.read(id)?.sockets;
        ensure!(left == 0, "{left} are open");
        Ok(())
    })?;
    println!("{} sockets counted beside {written} writes", report.tries);
    Ok(())
}
