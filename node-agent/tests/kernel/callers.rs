//! Pods that are told apart: those that opted out, and those in the host's network.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sluice_node_abi::maps::Setting;
use sluice_node_agent::{callers::Tree, program::Refusal};
use sluice_testbed::{
    Errno,
    errno::Code,
    load::Target,
    pod::{Driver, Pod, Qos},
};

use crate::{
    bed::{Bed, at},
    told::Told,
};

pub(crate) const SERVICE: &str = "198.18.0.1";

pub(crate) fn object(pod: &Pod, labels: &Value, host_network: bool) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": pod.name(), "namespace": "shop", "uid": pod.uid(), "labels": labels,
        },
        "spec": {"nodeName": pod.node().name(), "hostNetwork": host_network, "containers": []},
    })
}

pub(crate) fn service(servers: &[Pod], affinity: &str) -> Vec<Value> {
    let endpoints = servers.iter();
    let endpoints = endpoints.map(|pod| json!({"addresses": [pod.address4().to_string()]}));
    vec![
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "clusterIPs": [SERVICE], "ports": [{"port": 80}], "sessionAffinity": affinity,
            },
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": "web", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"},
            },
            "ports": [{"port": 8080}], "endpoints": endpoints.collect::<Vec<_>>(),
        }),
    ]
}

/// What the agent does when the tree has changed.
pub(crate) fn find_pods(told: &mut Told, bed: &Bed) -> Result<()> {
    let tree = Tree::read(bed.node.cgroup().path());
    told.agent
        .maps()
        .set(Setting::CallerLevels, tree.setting())?;
    told.agent.find_callers(&tree);
    told.settle()
}

pub(crate) fn connects_of_pods_that_opted_out_are_left_alone() -> Result<()> {
    let bed = Bed::start(Refusal::SetRetval)?;
    let servers = [bed.node.pod("server").port(8080).start()?];
    let builder = |name: &str, driver, qos| bed.node.pod(name).cgroup(driver, qos).start();
    let clients = [
        builder("guaranteed", Driver::Cgroupfs, Qos::Guaranteed)?,
        builder("burstable", Driver::Cgroupfs, Qos::Burstable)?,
        builder("best-effort", Driver::Systemd, Qos::BestEffort)?,
    ];
    let mut told = Told::start(&bed)?;
    // Nobody answers for the Service: what is not left alone is refused at once.
    told.apply(&service(&[], "None"))?;
    find_pods(&mut told, &bed)?;
    let refused = Code::from(Errno::ECONNREFUSED);
    let left_alone = |client: &Pod| -> Result<bool> {
        let outcome = client.try_connect(Target::tcp(at(SERVICE, 80)?))?;
        Ok(outcome.err() != Some(refused))
    };
    for (i, client) in clients.iter().enumerate() {
        ensure!(!left_alone(client)?, "{} is not known yet", client.name());
        told.apply(&[object(
            client,
            &json!({"sluice.dev/opt-out": "true"}),
            false,
        )])?;
        for (j, other) in clients.iter().enumerate() {
            ensure!(left_alone(other)? == (j <= i), "{} after {i}", other.name());
        }
    }
    told.apply(&[object(&clients[0], &json!({}), false)])?;
    ensure!(!left_alone(&clients[0])? && left_alone(&clients[1])?);

    let namespace = |value: &str| {
        let labels = json!({"sluice.dev/opt-out": value});
        let meta = json!({"name": "shop", "labels": labels});
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    };
    told.apply(&[namespace("true")])?;
    ensure!(left_alone(&clients[0])?);
    told.apply(&[namespace("false")])?;
    ensure!(!left_alone(&clients[0])?);

    told.apply(&service(&servers, "None"))?;
    let answer = clients[0].connect(Target::tcp(at(SERVICE, 80)?))?;
    ensure!(answer.name == "server");
    Ok(())
}

pub(crate) fn pods_in_the_hosts_network_are_clients_of_their_own() -> Result<()> {
    let bed = Bed::start(Refusal::SetRetval)?;
    let servers = (1..=3)
        .map(|n| bed.node.pod(format!("server-{n}")).port(8080).start())
        .collect::<Result<Vec<_>>>()?;
    let clients = [
        bed.node.pod("agent-1").host_network().start()?,
        bed.node.pod("agent-2").host_network().start()?,
        bed.node.pod("host").on_the_host().start()?,
    ];
    let mut told = Told::start(&bed)?;
    told.apply(&service(&servers, "ClientIP"))?;
    let known = clients[..2].iter();
    let known: Vec<_> = known.map(|pod| object(pod, &json!({}), true)).collect();
    told.apply(&known)?;
    find_pods(&mut told, &bed)?;
    let mut kept = BTreeSet::new();
    for client in &clients {
        let target = Target::tcp(at(SERVICE, 80)?);
        let answers = (0..5).map(|_| Ok(client.connect(target)?.name));
        let answers = answers.collect::<Result<BTreeSet<_>>>()?;
        ensure!(answers.len() == 1, "{}: {answers:?}", client.name());
        kept.extend(answers);
    }
    ensure!(kept.len() == 3, "{kept:?} for three clients");
    Ok(())
}
