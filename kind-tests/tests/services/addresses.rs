//! Addresses beside a Service's own: external ones, those of load balancers, and loopback.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use serde_json::{Value, json};

use crate::bed::{Bed, PODS, SERVERS, quiet};
use crate::objects::{PORT, both, tcp, udp};
use crate::sight::{answered_by, unanswered};

/// Nobody has these addresses: the connection never goes there.
pub(crate) fn external_addresses_that_are_no_nodes_serve() -> Result<()> {
    let bed = quiet()?;
    let addresses = ["192.0.2.10", "2001:db8::10"];
    bed.over("pods", "external", json!({ "externalIPs": addresses }))?;
    let targets = both(&at(&addresses)?);
    for side in [&bed.near, &bed.far] {
        for caller in side.all() {
            answered_by(caller, &targets, &PODS)?;
        }
    }
    bed.over("pods", "external", json!({}))?;
    released(&bed, &addresses)
}

/// The ranges of sources are for arrivals from outside.
pub(crate) fn addresses_of_load_balancers_serve_callers_on_nodes() -> Result<()> {
    let bed = quiet()?;
    let addresses = ["192.0.2.20", "2001:db8::20"];
    let name = "balanced";
    let spec = json!({
        "type": "LoadBalancer",
        "allocateLoadBalancerNodePorts": false,
        "loadBalancerClass": "test.sluice.dev/by-hand",
    });
    let stored = bed.over("pods", name, spec)?;
    anyhow::ensure!(stored.node_port("tcp").is_err(), "{:#}", stored.0);
    let ingress = |mode: &str| {
        let ingress = addresses.map(|ip| json!({ "ip": ip, "ipMode": mode }));
        set_ingress(&bed, name, &json!(ingress))
    };
    let targets = both(&at(&addresses)?);
    ingress("VIP")?;
    for caller in bed.near.all() {
        answered_by(caller, &targets, &PODS)?;
    }
    // A proxy wants to see the traffic itself.
    ingress("Proxy")?;
    released(&bed, &addresses)?;
    ingress("VIP")?;
    for caller in bed.near.all() {
        answered_by(caller, &targets, &PODS)?;
    }
    set_ingress(&bed, name, &Value::Null)?;
    released(&bed, &addresses)?;
    for caller in bed.near.all() {
        answered_by(caller, &both(&stored.at(PORT)?), &PODS)?;
    }
    Ok(())
}

pub(crate) fn node_ports_answer_on_loopback_for_the_host_and_not_for_pods() -> Result<()> {
    let bed = quiet()?;
    let stored = bed.over("pods", "loopback", json!({ "type": "NodePort" }))?;
    let loopback = |port| {
        let addresses: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        addresses.map(|address| SocketAddr::new(address, port))
    };
    let mut targets = tcp(&loopback(stored.node_port("tcp")?));
    targets.extend(udp(&loopback(stored.node_port("udp")?)));
    for side in [&bed.near, &bed.far] {
        for caller in [&side.host, &side.host_pod] {
            answered_by(caller, &targets, &PODS)?;
        }
        unanswered(&side.pod, &targets)?;
    }
    Ok(())
}

fn set_ingress(bed: &Bed, name: &str, ingress: &Value) -> Result<()> {
    let status = json!({ "status": { "loadBalancer": { "ingress": ingress } } }).to_string();
    let patch = [
        "patch",
        "service",
        name,
        "--subresource=status",
        "--type=merge",
    ];
    let how = ["--namespace", SERVERS, "--patch", &status];
    bed.cluster.kubectl([&patch[..], &how].concat()).map(drop)
}

fn at(addresses: &[&str]) -> Result<Vec<SocketAddr>> {
    let address = |address: &&str| Ok(SocketAddr::new(address.parse()?, PORT));
    addresses.iter().map(address).collect()
}

fn released(bed: &Bed, addresses: &[&str]) -> Result<()> {
    let mut addresses = addresses.iter();
    addresses.try_for_each(|address| bed.await_released(address.parse()?))
}
