//! Datagrams that are sent straight to a pod, also by a socket that knows the pod by a Service.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use sluice_node_abi::{keys, values::Port};
use sluice_node_agent::program::Refusal;
use sluice_testbed::{
    pod::Program,
    program::{Family, Seen, Step},
};

use crate::bed::{Bed, SERVICE_V4, SERVICE_V6, at};

const PORT: u16 = 53;

/// That what is sent there is answered from there.
fn asked(program: &Program<'_>, address: SocketAddr) -> Result<()> {
    let seen = program.run(&[Step::send_to(0, "?", address), Step::receive_from(0)])?;
    let from = match &seen[1] {
        Ok(Seen::DataFrom(_, from)) => Some(*from),
        _ => None,
    };
    ensure!(from == Some(address), "{address}: {seen:?}");
    Ok(())
}

pub(crate) fn datagrams_to_other_addresses_are_left_alone() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = bed.node.pod("server").port(PORT).start()?;
    let client = bed.node.pod("client").start()?;
    let direct = server.at(PORT);
    bed.service(at(SERVICE_V4, PORT)?, keys::UDP, &direct[..1])?;
    for address in direct {
        let program = client.program();
        program.run(&[Step::udp(Family::of(address))])?;
        asked(&program, address)?;
    }
    let verdicts = bed.maps.verdicts()?;
    ensure!(
        verdicts.iter().all(|(_, count)| *count == 0),
        "{verdicts:?}"
    );
    Ok(())
}

/// Answers are called as what was sent to last.
pub(crate) fn a_backend_that_is_sent_to_straight_answers_by_its_own_address() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = bed.node.pod("server").port(PORT).start()?;
    let client = bed.node.pod("client").start()?;
    for (ip, backend) in [SERVICE_V4, SERVICE_V6].into_iter().zip(server.at(PORT)) {
        let service = at(ip, PORT)?;
        let port = bed.service(service, keys::UDP, &[backend])?;
        let program = client.program();
        program.run(&[Step::udp(Family::of(service))])?;
        for address in [service, backend, service, service, backend, backend] {
            asked(&program, address)?;
        }
        // As where the Service is deleted.
        asked(&program, service)?;
        bed.maps.ports.swap(port, Port::default())?;
        asked(&program, backend)?;
    }
    Ok(())
}
