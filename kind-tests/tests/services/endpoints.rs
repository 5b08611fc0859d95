//! Which endpoints serve: pods that come and go, ports that differ, and slices that no controller of Services wrote.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluice_testbed::load::Target;
use sluice_testbed::tier::eventually;

use crate::bed::{Bed, MIXED, PATIENCE, PODS, SERVERS, quiet};
use crate::objects::{PORT, Server, both, list, service, tcp};
use crate::sight::{answered_by, answered_by_version, refused};

pub(crate) fn endpoints_follow_pods_from_none_to_two_and_back() -> Result<()> {
    let bed = quiet()?;
    let namespace = "follow";
    bed.cluster.namespace(namespace)?;
    let ports = json!([
        { "name": "first", "port": PORT, "targetPort": "web-tcp" },
        { "name": "second", "port": 8080, "targetPort": PORT + 1 },
        { "name": "udp", "protocol": "UDP", "port": PORT, "targetPort": "web-udp" },
    ]);
    let service = bed.service(&service(
        namespace,
        "follow",
        "pods",
        json!({ "ports": ports }),
    ))?;
    let mut targets = both(&service.at(PORT)?);
    targets.extend(tcp(&service.at(8080)?));
    let seen = |names: &[&str]| {
        for caller in bed.near.all() {
            if names.is_empty() {
                refused(caller, &targets)?;
            } else {
                answered_by(caller, &targets, names)?;
            }
        }
        anyhow::Ok(())
    };
    let nodes = bed.cluster.nodes();
    let [first, second] = [(0, "first"), (1, "second")].map(|(node, name)| {
        let mut server = Server::on(nodes[node].name(), namespace, name);
        server.named = Some(("web", 0));
        server
    });

    seen(&[])?;
    bed.pods(namespace, &[first])?;
    seen(&["first"])?;
    bed.pods(namespace, &[second])?;
    seen(&["first", "second"])?;
    bed.delete(namespace, &["pod", "first"])?;
    seen(&["second"])?;
    bed.delete(namespace, &["pod", "second"])?;
    seen(&[])
}

pub(crate) fn a_named_port_may_be_another_number_on_each_pod() -> Result<()> {
    let bed = quiet()?;
    let ports = json!([
        { "name": "tcp", "port": PORT, "targetPort": format!("{MIXED}-tcp") },
        { "name": "udp", "protocol": "UDP", "port": PORT, "targetPort": format!("{MIXED}-udp") },
    ]);
    let service = bed.over("pods", "mixed", json!({ "ports": ports }))?;
    let [near, far] = PODS;
    for caller in bed.near.all() {
        for target in both(&service.at(PORT)?) {
            answered_by_version(caller, target, &[(near, "80"), (far, "81")])?;
        }
    }
    Ok(())
}

/// The same endpoint in two slices is one, and each slice has ports of its own.
pub(crate) fn slices_written_by_hand_add_up() -> Result<()> {
    let bed = quiet()?;
    let namespace = "by-hand";
    bed.cluster.namespace(namespace)?;
    let object = without_selector(namespace);
    let stored = bed.service(&object)?;
    let [near, far] = [address_of(&bed, PODS[0])?, address_of(&bed, PODS[1])?];
    let slices = [
        slice(namespace, "one", &[&near], &[("first", PORT + 1)]),
        slice(namespace, "two", &[&near], &[("first", PORT + 1)]),
        slice(
            namespace,
            "three",
            &[&far],
            &[("first", PORT), ("second", PORT + 1)],
        ),
    ];
    bed.cluster.apply(&list(&slices))?;
    let [first, second] = [PORT, 8080].map(|port| stored.at(port));
    let (first, second) = (first?, second?);
    for caller in bed.near.all() {
        for (address, expected) in [
            (first[0], &[(PODS[0], "81"), (PODS[1], "80")][..]),
            (second[0], &[(PODS[1], "81")][..]),
        ] {
            answered_by_version(caller, Target::tcp(address), expected)?;
        }
    }
    // The endpoint that is in two slices is not asked twice as often. No other Service has just these two, with which this one
    // would take turns.
    let load = sluice_testbed::load::Load::on([first[0]]).times(100);
    let report = bed.near.pod.load(&load)?;
    ensure!(
        report.failures.is_empty() && PODS.iter().all(|name| report.of(name) == 50),
        "{report}"
    );

    bed.delete(namespace, &["endpointslice", "two", "three"])?;
    for caller in bed.near.all() {
        answered_by(caller, &tcp(&first[..1]), &PODS[..1])?;
        refused(caller, &tcp(&second))?;
    }
    Ok(())
}

pub(crate) fn endpoints_of_a_service_without_selector_are_mirrored() -> Result<()> {
    let bed = quiet()?;
    let namespace = "mirrored";
    bed.cluster.namespace(namespace)?;
    let stored = bed.service(&without_selector(namespace))?;
    let endpoints = |names: &[&str]| -> Result<()> {
        let addresses = names.iter().map(|name| {
            let address = address_of(&bed, name)?;
            anyhow::Ok(json!({ "ip": address }))
        });
        let addresses = addresses.collect::<Result<Vec<_>>>()?;
        let ports =
            json!([{ "name": "first", "port": PORT }, { "name": "second", "port": PORT + 1 }]);
        let object = json!({
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": { "name": namespace, "namespace": namespace },
            "subsets": [{ "addresses": addresses, "ports": ports }],
        });
        bed.cluster.apply(&object.to_string())
    };
    let [first, second] = [PORT, 8080].map(|port| stored.at(port));
    // Endpoints are of one family.
    let targets = tcp(&[first?[0], second?[0]]);
    for names in [&PODS[..1], &PODS[..], &PODS[1..]] {
        endpoints(names)?;
        for caller in bed.near.all() {
            answered_by(caller, &targets, names)?;
        }
    }
    bed.delete(namespace, &["endpoints", namespace])?;
    for caller in bed.near.all() {
        refused(caller, &targets)?;
    }
    Ok(())
}

pub(crate) fn what_is_not_ready_is_left_out_unless_its_service_publishes_it() -> Result<()> {
    let bed = quiet()?;
    let namespace = "unready";
    bed.cluster.namespace(namespace)?;
    let mut server = Server::on(bed.cluster.nodes()[1].name(), namespace, "unready");
    server.unready = true;
    server.lingers = 120;
    bed.cluster.apply(&list(&[server.object()]))?;
    let service = |published: bool| {
        let spec = json!({ "publishNotReadyAddresses": published });
        bed.service(&service(namespace, "unready", "pods", spec))
    };
    let targets = both(&service(true)?.at(PORT)?);
    let seen = |answered: bool| {
        for caller in bed.near.all() {
            if answered {
                answered_by(caller, &targets, &["unready"])?;
            } else {
                refused(caller, &targets)?;
            }
        }
        anyhow::Ok(())
    };
    seen(true)?;
    service(false)?;
    seen(false)?;
    service(true)?;
    seen(true)?;
    // Also while it ends.
    bed.delete(namespace, &["pod", "unready"])?;
    await_ending(&bed, namespace, "unready")?;
    seen(true)?;
    service(false)?;
    seen(false)?;
    bed.delete(namespace, &["pod", "unready", "--force"])
}

/// A kubelet that evicts a pod ends it in the same way: the object stays, with its address.
pub(crate) fn a_pod_that_its_kubelet_has_ended_is_refused() -> Result<()> {
    let bed = quiet()?;
    let namespace = "ended";
    bed.cluster.namespace(namespace)?;
    let node = bed.cluster.nodes()[0].name();
    bed.pods(namespace, &[Server::on(node, namespace, "ended")])?;
    let store = |name: &str, published: bool| {
        let spec = json!({ "publishNotReadyAddresses": published });
        bed.service(&service(namespace, name, "pods", spec))?
            .at(PORT)
    };
    let targets = both(&store("before", false)?);
    for caller in bed.near.all() {
        answered_by(caller, &targets, &["ended"])?;
    }
    let there = ["pod/ended", "--namespace", namespace];
    let deadline = r#"--patch={"spec":{"activeDeadlineSeconds":1}}"#;
    bed.cluster
        .kubectl([&["patch", "--type=merge", deadline][..], &there].concat())?;
    let ended = [
        "wait",
        "--for=jsonpath={.status.phase}=Failed",
        "--timeout=60s",
    ];
    bed.cluster.kubectl([&ended[..], &there].concat())?;
    // What Kubernetes publishes of a pod that is ended later on, it may leave in the slices.
    let published = both(&store("after", true)?);
    for caller in bed.near.all() {
        refused(caller, &[&targets[..], &published].concat())?;
    }
    let pod = bed.cluster.client().get(there)?;
    ensure!(pod["status"]["podIP"].is_string(), "{}", pod["status"]);
    Ok(())
}

/// Waits until the slices say that a pod ends.
pub(crate) fn await_ending(bed: &Bed, namespace: &str, pod: &str) -> Result<()> {
    eventually(PATIENCE, "a slice says that the pod ends", || {
        let slices = bed.cluster.client();
        let slices = slices.get(["endpointslices", "--namespace", namespace])?;
        let slices = slices["items"].as_array().context("a list has items")?;
        let endpoints = slices
            .iter()
            .filter_map(|slice| slice["endpoints"].as_array());
        let ends = endpoints.flatten().any(|endpoint| {
            endpoint["targetRef"]["name"] == pod && endpoint["conditions"]["terminating"] == true
        });
        ensure!(ends, "{slices:?}");
        Ok(())
    })
}

/// Of one family, with two ports, and nobody who finds endpoints for it.
fn without_selector(namespace: &str) -> Value {
    let ports = json!([{ "name": "first", "port": PORT }, { "name": "second", "port": 8080 }]);
    let spec = json!({ "selector": null, "ipFamilyPolicy": "SingleStack", "ports": ports });
    service(namespace, namespace, "", spec)
}

fn slice(namespace: &str, name: &str, addresses: &[&IpAddr], ports: &[(&str, u16)]) -> Value {
    let endpoints = addresses
        .iter()
        .map(|address| json!({ "addresses": [address] }));
    let ports = ports
        .iter()
        .map(|(name, port)| json!({ "name": name, "port": port }));
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": { "kubernetes.io/service-name": namespace },
        },
        "addressType": "IPv4",
        "endpoints": endpoints.collect::<Vec<_>>(),
        "ports": ports.collect::<Vec<_>>(),
    })
}

/// The first address of a shared server.
fn address_of(bed: &Bed, pod: &str) -> Result<IpAddr> {
    let pod = bed
        .cluster
        .client()
        .get(["pod", pod, "--namespace", SERVERS])?;
    let address = pod["status"]["podIP"].as_str().context("it has one")?;
    Ok(address.parse()?)
}
