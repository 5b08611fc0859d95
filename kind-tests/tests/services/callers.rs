//! Who connects, from where to where, and what the server sees of it.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use sluice_testbed::program::{Family, Seen, Step};
use sluice_testbed::tier::eventually;

use crate::bed::{Caller, HOST_PORT, HOSTS, PATIENCE, PODS, SERVERS, quiet};
use crate::objects::{PORT, both, ports, service, tcp};
use crate::sight::answered_by;

pub(crate) fn every_kind_of_caller_reaches_every_kind_of_endpoint() -> Result<()> {
    let bed = quiet()?;
    for (label, names, port) in [("pods", PODS, PORT), ("hosts", HOSTS, HOST_PORT)] {
        let name = format!("to-{label}");
        let spec = json!({ "type": "NodePort", "ports": ports(PORT, port) });
        let service = bed.over(label, &name, spec)?;
        let mut targets = both(&service.at(PORT)?);
        for protocol in ["tcp", "udp"] {
            let at = bed.at_nodes(service.node_port(protocol)?);
            let at = both(&at).into_iter();
            targets.extend(at.filter(|target| target.transport.to_string() == protocol));
        }
        ensure!(targets.len() == 12, "{targets:?}");
        for side in [&bed.near, &bed.far] {
            for caller in side.all() {
                answered_by(caller, &targets, &names)?;
            }
        }
    }
    Ok(())
}

pub(crate) fn servers_see_the_address_of_the_pod_that_connects() -> Result<()> {
    let bed = quiet()?;
    let ports = json!([{ "name": "http", "port": PORT, "targetPort": PORT + 8 }]);
    let service = bed.over(
        "pods",
        "seen",
        json!({ "type": "NodePort", "ports": ports }),
    )?;
    let mut asked = service.at(PORT)?;
    asked.extend(bed.at_nodes(service.node_port("http")?));
    for side in [&bed.near, &bed.far] {
        for address in &asked {
            // As many turns as there are endpoints.
            for _ in PODS {
                let what = format!("{} asks {address}", side.pod.name);
                eventually(PATIENCE, &what, || {
                    let (own, seen) = seen_by_server(&side.pod, *address)?;
                    ensure!(own.to_string() == seen, "{own} is seen as {seen}");
                    Ok(())
                })?;
            }
        }
    }
    Ok(())
}

/// The own address of a connection, and what the server takes for it.
fn seen_by_server(caller: &Caller, address: SocketAddr) -> Result<(SocketAddr, String)> {
    let seen = caller.run(&[
        Step::tcp(Family::of(address)),
        Step::connect(0, address),
        Step::OwnName { socket: 0 },
        Step::send(0, "GET /peer HTTP/1.0\r\n\r\n"),
        Step::receive(0),
        Step::receive(0),
    ])?;
    let Some(Ok(Seen::Name(own))) = seen.get(2) else {
        anyhow::bail!("{seen:?}");
    };
    let texts = seen.iter().flatten().filter_map(Seen::text);
    let answer: String = texts.collect();
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("{seen:?}"))?;
    Ok((*own, body.trim().to_owned()))
}

/// At first alone behind its Service, so that it can only be itself; then one of two.
pub(crate) fn a_pod_reaches_itself_through_its_own_service() -> Result<()> {
    let bed = quiet()?;
    let [near, _] = PODS;
    let itself = Caller::inside(&bed, SERVERS, near)?;
    let only = json!({ "type": "NodePort", "selector": { "pod": near } });
    let service = bed.over("pods", "itself", only)?;
    let mut targets = both(&service.at(PORT)?);
    targets.extend(tcp(&bed.at_nodes(service.node_port("tcp")?)));
    answered_by(&itself, &targets, &[near])?;
    let service = bed.over("pods", "itself", json!({ "type": "NodePort" }))?;
    answered_by(&itself, &both(&service.at(PORT)?), &PODS)
}

/// To the kernel these are connections to one address: their own ports have to differ. The sockets stay open.
pub(crate) fn two_services_over_one_endpoint_do_not_meet() -> Result<()> {
    const EACH: usize = 100;
    let bed = quiet()?;
    let spec = || json!({ "ports": ports(PORT, PORT) });
    let first = bed.over("pods", "one", spec())?;
    let second = bed.service(&service(SERVERS, "another", "pods", spec()))?;
    let addresses = [first.at(PORT)?, second.at(PORT)?].concat();
    let caller = &bed.near.pod;
    for address in &addresses {
        answered_by(caller, &tcp(&[*address]), &PODS)?;
    }
    let steps = |address: SocketAddr, first: usize| {
        (first..first + EACH).flat_map(move |socket| {
            [
                Step::tcp(Family::of(address)),
                Step::connect(socket, address),
                Step::PeerName { socket },
                Step::receive(socket),
                Step::send(socket, format!("{address} {socket}")),
                Step::receive(socket),
            ]
        })
    };
    let numbered = addresses.iter().enumerate();
    let program: Vec<_> = numbered
        .flat_map(|(number, address)| steps(*address, number * EACH))
        .collect();
    let seen = caller.run(&program)?;
    for (number, results) in seen.chunks(6).enumerate() {
        let address = addresses[number / EACH];
        let peer = results[2].as_ref().ok();
        ensure!(peer == Some(&Seen::Name(address)), "{results:?}");
        let echo = results[5].as_ref().ok().and_then(Seen::text);
        ensure!(
            echo == Some(&*format!("{address} {number}")),
            "{address}: {results:?}"
        );
    }
    println!(
        "{} connections to {} addresses of two endpoints",
        seen.len() / 6,
        addresses.len()
    );
    Ok(())
}
