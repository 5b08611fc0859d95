//! Services that change in place: their type, their ports, whose they are, and whether they are there at all.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::bed::{PODS, SERVERS, quiet};
use crate::objects::{PORT, Service, both, ports, service, tcp, udp};
use crate::sight::{answered_by, answered_by_version, refused, unanswered};

/// In the part of the range that is left to those who choose a node port themselves.
const NODE_PORT: u16 = 30_001;
const BEFORE: u16 = 30_002;
const AFTER: u16 = 30_003;

pub(crate) fn one_port_number_serves_tcp_and_udp_and_either_alone() -> Result<()> {
    let bed = quiet()?;
    let store = |ports: Value| bed.over("pods", "protocols", json!({ "ports": ports }));
    // The two protocols of one number lead to different ports of the endpoints.
    let port = |protocol: &str, target| json!({ "name": protocol.to_lowercase(), "protocol": protocol, "port": PORT, "targetPort": target });
    let [over_tcp, over_udp] = [port("TCP", PORT), port("UDP", PORT + 1)];
    let addresses = store(json!([over_tcp, over_udp]))?.at(PORT)?;
    let [tcp, udp] = [tcp(&addresses), udp(&addresses)];
    let [near, far] = PODS;
    for caller in bed.near.all() {
        for target in &tcp {
            answered_by_version(caller, *target, &[(near, "80"), (far, "80")])?;
        }
        for target in &udp {
            answered_by_version(caller, *target, &[(near, "81"), (far, "81")])?;
        }
    }
    store(json!([over_tcp]))?;
    for caller in bed.near.all() {
        unanswered(caller, &udp)?;
        answered_by(caller, &tcp, &PODS)?;
    }
    store(json!([over_udp]))?;
    for caller in bed.near.all() {
        unanswered(caller, &tcp)?;
        answered_by(caller, &udp, &PODS)?;
    }
    Ok(())
}

pub(crate) fn a_type_that_changes_brings_and_takes_addresses() -> Result<()> {
    let bed = quiet()?;
    let name = "changing";
    let store = |kind: &str| {
        let mut object = service(SERVERS, name, "pods", json!({ "type": kind }));
        match kind {
            "ExternalName" => {
                object["spec"] = json!({ "type": kind, "externalName": "elsewhere.example" });
            }
            "NodePort" => object["spec"]["ports"][0]["nodePort"] = json!(NODE_PORT),
            _ => {}
        }
        bed.service(&object)
    };
    let at_nodes = tcp(&bed.at_nodes(NODE_PORT));
    let mut held: Vec<IpAddr> = Vec::new();
    for kind in [
        "ExternalName",
        "ClusterIP",
        "NodePort",
        "ClusterIP",
        "ExternalName",
        "NodePort",
        "ExternalName",
    ] {
        let stored = store(kind)?;
        for caller in bed.near.all() {
            if kind == "NodePort" {
                answered_by(caller, &at_nodes, &PODS)?;
            } else {
                unanswered(caller, &at_nodes)?;
            }
        }
        if kind == "ExternalName" {
            for address in held.drain(..) {
                bed.await_released(address)?;
            }
        } else {
            held = stored.addresses()?;
            for caller in bed.near.all() {
                answered_by(caller, &both(&stored.at(PORT)?), &PODS)?;
            }
        }
    }
    Ok(())
}

pub(crate) fn a_node_port_may_serve_both_protocols_and_move() -> Result<()> {
    let bed = quiet()?;
    let store = |node_port: u16| {
        let mut ports = ports(PORT, PORT);
        for port in ports.as_array_mut().into_iter().flatten() {
            port["nodePort"] = json!(node_port);
        }
        bed.over(
            "pods",
            "moving",
            json!({ "type": "NodePort", "ports": ports }),
        )
    };
    let before = both(&bed.at_nodes(BEFORE));
    let after = both(&bed.at_nodes(AFTER));
    store(BEFORE)?;
    for caller in bed.near.all() {
        answered_by(caller, &before, &PODS)?;
    }
    store(AFTER)?;
    for caller in bed.near.all() {
        answered_by(caller, &after, &PODS)?;
        unanswered(caller, &before)?;
    }
    Ok(())
}

pub(crate) fn a_service_that_goes_takes_its_own_addresses_and_no_others() -> Result<()> {
    let bed = quiet()?;
    let stays = bed.over("pods", "stays", json!({}))?;
    let goes = bed.over("pods", "goes", json!({}))?;
    let (here, there) = (both(&stays.at(PORT)?), both(&goes.at(PORT)?));
    for caller in bed.near.all() {
        answered_by(caller, &[&here[..], &there].concat(), &PODS)?;
    }
    bed.delete(SERVERS, &["service", "goes"])?;
    for address in goes.addresses()? {
        bed.await_released(address)?;
    }
    for caller in bed.near.all() {
        answered_by(caller, &here, &PODS)?;
    }
    let [first, all] = ["clusterIP", "clusterIPs"].map(|field| &goes.0["spec"][field]);
    let again = json!({ "clusterIP": first, "clusterIPs": all });
    bed.over("pods", "goes", again)?;
    for caller in bed.near.all() {
        answered_by(caller, &[&here[..], &there].concat(), &PODS)?;
    }
    Ok(())
}

/// Services with either label are somebody else's, as those without an address are.
pub(crate) fn labels_give_a_service_to_somebody_else_and_back() -> Result<()> {
    let bed = quiet()?;
    for (name, label) in [
        ("headless", "service.kubernetes.io/headless"),
        ("another-proxy", "service.kubernetes.io/service-proxy-name"),
    ] {
        let store = |labelled: bool| -> Result<Service> {
            let mut object = service(SERVERS, name, "pods", json!({}));
            if labelled {
                object["metadata"]["labels"] = json!({ label: "elsewhere" });
            }
            bed.service(&object)
        };
        for _ in 0..2 {
            let stored = store(false)?;
            for caller in bed.near.all() {
                answered_by(caller, &both(&stored.at(PORT)?), &PODS)?;
            }
            store(true)?;
            for address in stored.addresses()? {
                bed.await_released(address)?;
            }
        }
    }
    Ok(())
}

pub(crate) fn families_come_go_and_change_their_order() -> Result<()> {
    let bed = quiet()?;
    let store = |name: &str, policy: &str, families: &[&str]| {
        let spec = json!({ "ipFamilyPolicy": policy, "ipFamilies": families });
        bed.over("pods", name, spec)
    };
    for families in [
        &["IPv4"][..],
        &["IPv6"],
        &["IPv4", "IPv6"],
        &["IPv6", "IPv4"],
    ] {
        let policy = if families.len() == 1 {
            "SingleStack"
        } else {
            "RequireDualStack"
        };
        let name = format!("families-{}", families.join("-").to_lowercase());
        let stored = store(&name, policy, families)?;
        let addresses = stored.addresses()?;
        let is_first_v4 = addresses.first().context("an address")?.is_ipv4();
        anyhow::ensure!(
            addresses.len() == families.len() && is_first_v4 == (families[0] == "IPv4")
        );
        for caller in bed.near.all() {
            answered_by(caller, &both(&stored.at(PORT)?), &PODS)?;
        }
    }
    let single = store("widening", "SingleStack", &["IPv4"])?;
    let dual = store("widening", "RequireDualStack", &["IPv4", "IPv6"])?;
    for caller in bed.near.all() {
        answered_by(caller, &both(&dual.at(PORT)?), &PODS)?;
    }
    store("widening", "SingleStack", &["IPv4"])?;
    let second = dual.addresses()?.pop().context("there are two")?;
    bed.await_released(second)?;
    for caller in bed.near.all() {
        answered_by(caller, &both(&single.at(PORT)?), &PODS)?;
    }
    Ok(())
}

/// Without endpoints every address of a Service refuses, for everybody.
pub(crate) fn a_service_that_selects_nothing_refuses() -> Result<()> {
    let bed = quiet()?;
    let stored = bed.over("nobody", "empty", json!({ "type": "NodePort" }))?;
    let mut targets = both(&stored.at(PORT)?);
    targets.extend(tcp(&bed.at_nodes(stored.node_port("tcp")?)));
    targets.extend(udp(&bed.at_nodes(stored.node_port("udp")?)));
    for side in [&bed.near, &bed.far] {
        for caller in side.all() {
            refused(caller, &targets)?;
        }
    }
    Ok(())
}
