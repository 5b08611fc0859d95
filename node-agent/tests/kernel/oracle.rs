//! The socket oracle for datagrams: the same program of socket calls, run directly at the backend and through its
//! Service, gives the same results and error numbers step by step; only the peer is called by its Service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Result, ensure};
use sluice_node_abi::keys;
use sluice_node_agent::program::Refusal;
use sluice_testbed::program::{Direction, Family, Message, Seen, Step, StepResult};

use crate::bed::{Bed, SERVICE_V4, SERVICE_V6, at};

const PORT: u16 = 53;
/// One byte more than a datagram can carry.
const TOO_LONG: usize = 65_508;

/// Programs that speak to `peer`; `other` is another server of the same family, never translated.
fn programs(peer: SocketAddr, other: SocketAddr) -> Vec<(&'static str, Vec<Step>)> {
    let family = Family::of(peer);
    let open = Step::udp(family);
    let connect = || Step::connect(0, peer);
    let send = |data: &str| Step::send_to(0, data, peer);
    let hear = || Step::receive_from(0);
    let packet_info = Step::PacketInfo {
        socket: 0,
        on: true,
    };
    let any: IpAddr = match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    let bind = |socket, port| Step::Bind {
        socket,
        address: (any, port).into(),
    };
    let many = |addresses: &[SocketAddr]| Step::SendMany {
        socket: 0,
        messages: (0_u8..)
            .zip(addresses)
            .map(|(number, address)| (vec![b'a' + number], *address))
            .collect(),
    };
    let reuse = |socket| Step::ReusePort { socket, on: true };
    let nonblocking = Step::Open {
        family,
        transport: sluice_testbed::program::Transport::Udp,
        nonblocking: true,
    };
    vec![
        ("send and hear", vec![open.clone(), send("one"), hear()]),
        (
            "hear without a source",
            vec![open.clone(), send("one"), Step::receive(0)],
        ),
        ("nothing to say", vec![open.clone(), send(""), hear()]),
        (
            "too much to say",
            vec![
                open.clone(),
                Step::send_to(0, vec![0; TOO_LONG], peer),
                send("less"),
                hear(),
            ],
        ),
        (
            "to no port",
            vec![
                open.clone(),
                Step::send_to(0, "?", SocketAddr::new(peer.ip(), 0)),
            ],
        ),
        (
            "several at once",
            vec![
                open.clone(),
                many(&[peer, peer, peer]),
                hear(),
                hear(),
                hear(),
            ],
        ),
        (
            "to others in between",
            vec![
                open.clone(),
                send("one"),
                hear(),
                Step::send_to(0, "other", other),
                hear(),
                send("two"),
                hear(),
            ],
        ),
        (
            "cut, and with where it arrived",
            vec![
                open.clone(),
                packet_info,
                send("0123456789"),
                Step::ReceiveMessage { socket: 0, most: 3 },
                send("whole"),
                Step::ReceiveMessage {
                    socket: 0,
                    most: 4096,
                },
            ],
        ),
        (
            "bound first",
            vec![open.clone(), bind(0, 0), send("one"), hear()],
        ),
        (
            "one port for two sockets",
            vec![
                open.clone(),
                open.clone(),
                reuse(0),
                reuse(1),
                bind(0, 4_000),
                bind(1, 4_000),
                connect(),
                Step::send(0, "one"),
                hear(),
                Step::connect(1, other),
                Step::send(1, "other"),
                Step::receive_from(1),
            ],
        ),
        (
            "without waiting",
            vec![
                nonblocking,
                hear(),
                send("one"),
                Step::AwaitWritable { socket: 0 },
            ],
        ),
        (
            "connected, and asked where from",
            vec![
                open.clone(),
                connect(),
                Step::send(0, "one"),
                hear(),
                Step::peer_name(0),
            ],
        ),
        (
            "connected, with an address all the same",
            vec![
                open.clone(),
                connect(),
                send("one"),
                hear(),
                Step::send_to(0, "other", other),
                Step::send(0, "two"),
                hear(),
            ],
        ),
        (
            "connected, then not",
            vec![
                open.clone(),
                connect(),
                Step::send(0, "one"),
                hear(),
                Step::Disconnect { socket: 0 },
                Step::peer_name(0),
                Step::send(0, "nobody"),
                send("two"),
                hear(),
                Step::send_to(0, "other", other),
                hear(),
            ],
        ),
        (
            "connected elsewhere",
            vec![
                open.clone(),
                connect(),
                Step::connect(0, other),
                Step::peer_name(0),
                Step::send(0, "other"),
                hear(),
                connect(),
                Step::peer_name(0),
                Step::send(0, "one"),
                hear(),
            ],
        ),
        (
            "shut",
            vec![
                open.clone(),
                connect(),
                Step::Shutdown {
                    socket: 0,
                    direction: Direction::Write,
                },
                Step::send(0, "nobody"),
            ],
        ),
        (
            "a socket of the other family",
            vec![
                Step::udp(match family {
                    Family::V4 => Family::V6,
                    Family::V6 => Family::V4,
                }),
                Step::V6Only {
                    socket: 0,
                    on: true,
                },
                send("nobody"),
            ],
        ),
        (
            "never sent",
            vec![open, Step::peer_name(0), Step::TakeError { socket: 0 }],
        ),
    ]
}

pub(crate) fn a_datagram_program_sees_the_service_where_it_would_see_the_backend() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = bed.node.pod("server").port(PORT).start()?;
    let other = bed.node.pod("other").port(PORT).start()?;
    let client = bed.node.pod("client").start()?;
    let mapped = |address: SocketAddr| at(&format!("::ffff:{}", address.ip()), address.port());
    let [direct_v4, direct_v6] = server.at(PORT);
    let [other_v4, other_v6] = other.at(PORT);
    let (service_v4, service_v6) = (at(SERVICE_V4, PORT)?, at(SERVICE_V6, PORT)?);
    bed.service(service_v4, keys::UDP, &[direct_v4])?;
    bed.service(service_v6, keys::UDP, &[direct_v6])?;
    let mut steps = 0;
    for (direct, service, other) in [
        (direct_v4, service_v4, other_v4),
        (direct_v6, service_v6, other_v6),
        (mapped(direct_v4)?, mapped(service_v4)?, mapped(other_v4)?),
    ] {
        let pairs = programs(direct, other)
            .into_iter()
            .zip(programs(service, other));
        for ((name, directly), (_, through)) in pairs {
            let expected: Vec<_> = client
                .run(&directly)?
                .into_iter()
                .map(|result| renamed(result, direct, service))
                .collect();
            let seen = client.run(&through)?;
            ensure!(
                seen == expected,
                "{name}, {service}:\n{seen:?}\n{expected:?}"
            );
            steps += seen.len();
        }
    }
    println!("{steps} steps directly and through a Service");
    Ok(())
}

/// The result as it reads when the peer is called by its Service.
pub(crate) fn renamed(result: StepResult, direct: SocketAddr, service: SocketAddr) -> StepResult {
    let named = |name: SocketAddr| if name == direct { service } else { name };
    result.map(|seen| match seen {
        Seen::Name(name) => Seen::Name(named(name)),
        Seen::DataFrom(data, from) => Seen::DataFrom(data, named(from)),
        Seen::Message(message) => Seen::Message(Message {
            from: message.from.map(named),
            ..message
        }),
        other => other,
    })
}
