//! Rarer ways to speak: rings, sends without a copy, signals, and protocols that have no Services.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context, Result, ensure};
use sluice_node_abi::{keys, values::mode, verdict::Verdict};
use sluice_node_agent::program::Refusal;
use sluice_testbed::{
    Errno,
    errno::Code,
    pod::Pod,
    program::{Family, RingCall, Step, StepResult},
    serve::Behaviour,
};

use crate::{
    bed::{Bed, SERVICE_V4, SERVICE_V6, at},
    oracle::renamed,
};

const PORT: u16 = 80;

/// A Service in both families, TCP and UDP, and pairs of its address and the backend's, v4-mapped ones too.
fn open(bed: &mut Bed, server: &Pod) -> Result<Vec<(SocketAddr, SocketAddr)>> {
    let mut pairs = Vec::new();
    for (service, direct) in [SERVICE_V4, SERVICE_V6].into_iter().zip(server.at(PORT)) {
        let service = at(service, PORT)?;
        for protocol in [keys::TCP, keys::UDP] {
            bed.service(service, protocol, &[direct])?;
        }
        pairs.push((service, direct));
    }
    let mapped = |ip: IpAddr| at(&format!("::ffff:{ip}"), PORT);
    pairs.push((mapped(pairs[0].0.ip())?, mapped(pairs[0].1.ip())?));
    Ok(pairs)
}

fn by_ring(socket: usize, call: RingCall) -> Step {
    Step::ByRing { socket, call }
}

fn programs(peer: SocketAddr) -> [(&'static str, Vec<Step>); 4] {
    let family = Family::of(peer);
    let receive = || by_ring(0, RingCall::Receive { most: 4096 });
    let zero_copy = |address| Step::SendZeroCopy {
        socket: 0,
        data: b"hello".to_vec(),
        address,
    };
    [
        (
            "TCP by a ring",
            vec![
                Step::tcp(family),
                by_ring(0, RingCall::Connect(peer)),
                receive(),
                by_ring(0, RingCall::Send(b"hello".to_vec())),
                receive(),
                Step::peer_name(0),
                by_ring(0, RingCall::Connect(peer)),
            ],
        ),
        (
            "UDP by a ring",
            vec![
                Step::udp(family),
                by_ring(0, RingCall::SendTo(b"one".to_vec(), peer)),
                Step::receive_from(0),
                by_ring(0, RingCall::Connect(peer)),
                by_ring(0, RingCall::Send(b"two".to_vec())),
                receive(),
                Step::peer_name(0),
            ],
        ),
        (
            "TCP without a copy",
            vec![
                Step::tcp(family),
                Step::connect(0, peer),
                Step::receive(0),
                zero_copy(None),
                Step::receive(0),
                Step::peer_name(0),
            ],
        ),
        (
            "UDP without a copy",
            vec![
                Step::udp(family),
                zero_copy(Some(peer)),
                Step::receive_from(0),
                Step::connect(0, peer),
                zero_copy(None),
                Step::receive_from(0),
            ],
        ),
    ]
}

pub(crate) fn rings_and_sends_without_a_copy_see_the_service_as_they_would_see_the_backend()
-> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = bed.node.pod("server").port(PORT).start()?;
    let client = bed.node.pod("client").start()?;
    for (service, direct) in open(&mut bed, &server)? {
        for ((name, directly), (_, through)) in programs(direct).into_iter().zip(programs(service))
        {
            let expected = client.run(&directly)?.into_iter();
            let expected: Vec<StepResult> = expected
                .map(|result| renamed(result, direct, service))
                .collect();
            let seen = client.run(&through)?;
            ensure!(
                seen == expected,
                "{name}, {service}:\n{seen:?}\n{expected:?}"
            );
            if service.is_ipv4() {
                // A kernel may forbid rings; then that is what is the same.
                println!("{name}: {expected:?}");
            }
        }
    }
    let table = bed.table(mode::SEQUENCE, &[0])?;
    let nobodys = at("198.18.0.9", PORT)?;
    bed.frontend(nobodys, keys::TCP, table)?;
    let seen = client.run(&[
        Step::tcp(Family::V4),
        by_ring(0, RingCall::Connect(nobodys)),
    ])?;
    let refused = Err(Code::from(Errno::ECONNREFUSED));
    let forbidden = matches!(&seen[1], Err(code) if *code != Code::from(Errno::ECONNREFUSED));
    ensure!(seen[1] == refused || forbidden, "{seen:?}");
    Ok(())
}

pub(crate) fn a_connect_that_a_signal_breaks_off_goes_on_as_a_direct_one_does() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = bed.node.pod("server").port(PORT).start()?;
    let client = bed.node.pod("client").start()?;
    let steps = |peer: SocketAddr| -> Result<Vec<StepResult>> {
        server.behave(Behaviour::BlackHole)?;
        let program = client.program();
        let mut seen = program.run(&[
            Step::tcp(Family::of(peer)),
            Step::ConnectInterrupted {
                socket: 0,
                address: peer,
            },
            Step::peer_name(0),
            Step::TakeError { socket: 0 },
        ])?;
        server.behave(Behaviour::Answer)?;
        seen.extend(program.run(&[
            Step::AwaitWritable { socket: 0 },
            Step::connect(0, peer),
            Step::receive(0),
            Step::peer_name(0),
            Step::connect(0, peer),
        ])?);
        Ok(seen)
    };
    for (service, direct) in open(&mut bed, &server)? {
        let expected = steps(direct)?.into_iter();
        let expected: Vec<StepResult> = expected
            .map(|result| renamed(result, direct, service))
            .collect();
        ensure!(
            expected[1] == Err(Errno::EINTR.into()) && expected[6].is_ok(),
            "{expected:?}"
        );
        let seen = steps(service)?;
        ensure!(seen == expected, "{service}:\n{seen:?}\n{expected:?}");
    }
    Ok(())
}

/// An ICMP echo request, whose sum the kernel or nobody looks at.
const PING: [u8; 8] = [8, 0, 0xf7, 0xff, 0, 0, 0, 0];

/// What has no Services is neither sent elsewhere nor refused, and keeps its peer's name.
pub(crate) fn raw_sockets_pings_and_other_protocols_are_left_alone() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = bed.node.pod("server").port(PORT).start()?;
    let client = bed.node.pod("client").start()?;
    let (service, direct) = open(&mut bed, &server)?[0];
    client.netns().run(|| {
        Ok(fs::write(
            "/proc/sys/net/ipv4/ping_group_range",
            "0 2147483647",
        )?)
    })?;
    let open = |kind, protocol| Step::OpenAs {
        family: Family::V4,
        kind,
        protocol,
    };
    for (name, opened) in [
        ("a raw socket", open(libc::SOCK_RAW, libc::IPPROTO_ICMP)),
        ("a ping", open(libc::SOCK_DGRAM, libc::IPPROTO_ICMP)),
    ] {
        let ping = |peer: SocketAddr| {
            let peer = SocketAddr::new(peer.ip(), 0);
            [
                opened.clone(),
                Step::connect(0, peer),
                Step::peer_name(0),
                Step::send(0, PING),
            ]
        };
        let directly = client.run(&ping(direct))?.into_iter();
        let (from, to) = (
            SocketAddr::new(direct.ip(), 0),
            SocketAddr::new(service.ip(), 0),
        );
        let expected: Vec<_> = directly.map(|result| renamed(result, from, to)).collect();
        let seen = client.run(&ping(service))?;
        ensure!(
            seen == expected && seen[3].is_ok(),
            "{name}: {seen:?}, {expected:?}"
        );
    }
    let translated = |bed: &Bed| -> Result<u64> {
        let verdicts = bed.maps.verdicts()?;
        let found = verdicts
            .iter()
            .find(|(verdict, _)| *verdict == Verdict::Translated);
        Ok(found.context("the verdict")?.1)
    };
    ensure!(translated(&bed)? == 0);
    let program = client.program();
    let sctp = program.run(&[open(
        libc::SOCK_STREAM | libc::SOCK_NONBLOCK,
        libc::IPPROTO_SCTP,
    )])?;
    println!("SCTP: {sctp:?}");
    if sctp[0].is_ok() {
        program.run(&[Step::connect(0, service)])?;
    }
    ensure!(translated(&bed)? == 0, "SCTP was translated");
    Ok(())
}

/// Its connections are steered one by one, and its own name for the peer is that of the first.
pub(crate) fn multipath_tcp_is_served_and_calls_the_peer_by_the_backends_address() -> Result<()> {
    const MPTCP: i32 = 262;
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = bed.node.pod("server").port(PORT).start()?;
    let client = bed.node.pod("client").start()?;
    for (service, direct) in open(&mut bed, &server)? {
        let steps = |peer| {
            let open = Step::OpenAs {
                family: Family::of(peer),
                kind: libc::SOCK_STREAM,
                protocol: MPTCP,
            };
            [
                open,
                Step::connect(0, peer),
                Step::receive(0),
                Step::send(0, "hello"),
                Step::receive(0),
                Step::peer_name(0),
            ]
        };
        let expected = client.run(&steps(direct))?;
        let seen = client.run(&steps(service))?;
        println!("{service}: {seen:?}");
        ensure!(seen == expected, "{service}:\n{seen:?}\n{expected:?}");
    }
    Ok(())
}
