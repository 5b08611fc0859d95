//! Which of its endpoints a Service uses for a caller: near ones, any, or those that end.

use anyhow::Result;
use serde_json::json;

use crate::bed::{HOST_PORT, HOSTS, PODS, quiet};
use crate::endpoints::await_ending;
use crate::objects::{PORT, Server, both, ports, service, tcp, udp};
use crate::sight::{answered_by, refused};

pub(crate) fn internal_traffic_policy_local_keeps_to_the_callers_node() -> Result<()> {
    let bed = quiet()?;
    for (label, names, port) in [("pods", PODS, PORT), ("hosts", HOSTS, HOST_PORT)] {
        let local = |selector| {
            let ports = ports(PORT, port);
            json!({ "internalTrafficPolicy": "Local", "selector": selector, "ports": ports })
        };
        let everywhere = bed.over(
            label,
            &format!("local-{label}"),
            local(json!({ "app": label })),
        )?;
        let everywhere = both(&everywhere.at(PORT)?);
        let [near, far] = names;
        let there = format!("local-{far}");
        let there = bed.over(label, &there, local(json!({ "pod": far })))?;
        let there = both(&there.at(PORT)?);
        for caller in bed.near.all() {
            answered_by(caller, &everywhere, &[near])?;
            refused(caller, &there)?;
        }
        for caller in bed.far.all() {
            answered_by(caller, &everywhere, &[far])?;
            answered_by(caller, &there, &[far])?;
        }
    }
    Ok(())
}

/// The hints in the slices are Kubernetes' own.
pub(crate) fn traffic_that_prefers_the_node_stays_there_while_an_endpoint_is() -> Result<()> {
    let bed = quiet()?;
    let prefers =
        |selector| json!({ "trafficDistribution": "PreferSameNode", "selector": selector });
    let [near, far] = PODS;
    let everywhere = bed.over("pods", "prefers", prefers(json!({ "app": "pods" })))?;
    let there = bed.over("pods", "prefers-far", prefers(json!({ "pod": far })))?;
    for (side, name) in [(&bed.near, near), (&bed.far, far)] {
        for caller in side.all() {
            answered_by(caller, &both(&everywhere.at(PORT)?), &[name])?;
            answered_by(caller, &both(&there.at(PORT)?), &[far])?;
        }
    }
    Ok(())
}

pub(crate) fn endpoints_that_end_serve_in_each_scope_until_another_is_ready() -> Result<()> {
    let bed = quiet()?;
    let namespace = "ending";
    bed.cluster.namespace(namespace)?;
    let node = bed.cluster.nodes()[1].name();
    let server = |name| {
        let mut server = Server::on(node, namespace, name);
        server.lingers = 120;
        server
    };
    bed.pods(namespace, &[server("ends")])?;
    let store = |name: &str, spec| bed.service(&service(namespace, name, "pods", spec));
    let anywhere = store("anywhere", json!({ "type": "NodePort" }))?;
    let local = store("local", json!({ "internalTrafficPolicy": "Local" }))?;
    let outside = json!({ "type": "NodePort", "externalTrafficPolicy": "Local" });
    let outside = store("outside", outside)?;
    let mut reached = both(&[anywhere.at(PORT)?, outside.at(PORT)?].concat());
    reached.extend(tcp(&bed.at_nodes(anywhere.node_port("tcp")?)));
    reached.extend(udp(&bed.at_nodes(anywhere.node_port("udp")?)));
    let local = both(&local.at(PORT)?);
    // Which of another node's endpoints its port leads to, only that node knows.
    let of_far = bed.at_nodes(outside.node_port("tcp")?).split_off(2);
    let of_far = tcp(&of_far);
    let seen = |name: &str| {
        for caller in bed.near.all() {
            answered_by(caller, &reached, &[name])?;
            refused(caller, &local)?;
        }
        for caller in bed.far.all() {
            answered_by(caller, &[&reached[..], &local, &of_far].concat(), &[name])?;
        }
        anyhow::Ok(())
    };
    seen("ends")?;
    bed.delete(namespace, &["pod", "ends"])?;
    await_ending(&bed, namespace, "ends")?;
    seen("ends")?;
    bed.pods(namespace, &[server("next")])?;
    seen("next")?;
    bed.delete(namespace, &["pod", "ends", "next", "--force"])
}
