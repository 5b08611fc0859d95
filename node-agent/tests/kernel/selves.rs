//! Pods that call themselves, and Services that share an endpoint: nothing is told from a packet's addresses.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use sluice_node_abi::keys;
use sluice_node_agent::program::Refusal;
use sluice_testbed::{
    load::Target,
    pod::Pod,
    program::{Family, Seen, Step},
};

use crate::bed::{Bed, SERVICE_V4, SERVICE_V6, at};

const PORT: u16 = 80;
/// A second address over the same endpoint, of each family.
const ANOTHER: [&str; 2] = ["198.18.0.2", "fd5e:1::2"];

/// Services at these addresses over one pod, by both protocols.
fn over(bed: &mut Bed, addresses: [&str; 2], pod: &Pod) -> Result<Vec<SocketAddr>> {
    let mut services = Vec::new();
    for (address, backend) in addresses.into_iter().zip(pod.at(PORT)) {
        let service = at(address, PORT)?;
        for protocol in [keys::TCP, keys::UDP] {
            bed.service(service, protocol, &[backend])?;
        }
        services.push(service);
    }
    Ok(services)
}

/// There is nobody else it could be.
pub(crate) fn a_pod_reaches_itself_through_its_own_service() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let itself = bed.node.pod("itself").port(PORT).start()?;
    for service in over(&mut bed, [SERVICE_V4, SERVICE_V6], &itself)? {
        for target in [Target::tcp(service), Target::udp(service)] {
            let answer = itself.connect(target)?;
            ensure!(answer.name == "itself", "{target}: {answer:?}");
        }
        let seen = itself.run(&[
            Step::tcp(Family::of(service)),
            Step::connect(0, service),
            Step::peer_name(0),
        ])?;
        ensure!(seen[2] == Ok(Seen::Name(service)), "{seen:?}");
    }
    Ok(())
}

/// To the kernel these are connections to one address. The sockets stay open, and each knows its own Service.
pub(crate) fn two_services_over_one_endpoint_do_not_meet() -> Result<()> {
    const EACH: usize = 50;
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = bed.node.pod("server").port(PORT).start()?;
    let client = bed.node.pod("client").start()?;
    let mut services = over(&mut bed, [SERVICE_V4, SERVICE_V6], &server)?;
    services.extend(over(&mut bed, ANOTHER, &server)?);
    let mut steps = Vec::new();
    for socket in 0..EACH * services.len() {
        let service = services[socket % services.len()];
        steps.extend([
            Step::tcp(Family::of(service)),
            Step::connect(socket, service),
            Step::receive(socket),
            Step::send(socket, format!("{service} {socket}")),
            Step::receive(socket),
        ]);
    }
    let sockets = 0..EACH * services.len();
    steps.extend(sockets.map(Step::peer_name));
    let seen = client.run(&steps)?;
    let (talks, names) = seen.split_at(5 * EACH * services.len());
    for (socket, (talk, name)) in talks.chunks(5).zip(names).enumerate() {
        let service = services[socket % services.len()];
        let echo = talk[4].as_ref().ok().and_then(Seen::text);
        ensure!(echo == Some(&*format!("{service} {socket}")), "{talk:?}");
        ensure!(*name == Ok(Seen::Name(service)), "{service}: {name:?}");
    }
    println!("{} connections to one endpoint", names.len());
    Ok(())
}
