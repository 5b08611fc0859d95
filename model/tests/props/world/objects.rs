//! Random objects, as manifests: small numbers of each kind, so that they meet.

use std::{collections::BTreeMap, net::IpAddr};

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};
use sluice_model::key::{Kind, Name, Subject};

use super::Event;

const NAMESPACE: &str = "shop";
const SERVICES: u8 = 5;
const SPLITS: u8 = 3;
pub(super) const NODES: u8 = 2;
/// The node that everything is compiled for.
pub(super) const OWN_NODE: &str = "n0";
pub(super) const POD_UID: &str = "0b3d3a0e";
pub(super) const CLUSTER_ADDRESSES: u8 = 4;
/// Of load balancers, and written by hand.
pub(super) const EXTERNAL_ADDRESSES: [&str; 4] =
    ["172.16.0.1", "172.16.0.2", "fd03::1", "10.96.0.1"];
pub(super) const PORTS: [(&str, u16, &str); 3] =
    [("http", 80, "TCP"), ("dns", 53, "TCP"), ("udp", 53, "UDP")];

/// The port of every node that leads to one of [`PORTS`].
pub(super) fn node_port(i: usize) -> u16 {
    30_000 + PORTS[i].1
}

/// One of each family.
pub(super) fn node_addresses(node: u8) -> [IpAddr; 2] {
    let v6 = u16::from(node) + 1;
    [
        [192, 168, 0, node + 1].into(),
        [0xfd02, 0, 0, 0, 0, 0, 0, v6].into(),
    ]
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => service().prop_map(Event::Set),
        8 => slice().prop_map(Event::Set),
        4 => split(4).prop_map(Event::Set),
        2 => node().prop_map(Event::Set),
        2 => pod().prop_map(Event::Set),
        1 => namespace().prop_map(Event::Set),
        3 => gone(),
    ]
}

fn gone() -> impl Strategy<Value = Event> {
    let kinds = select(vec![
        Kind::Service,
        Kind::EndpointSlice,
        Kind::TrafficSplit,
        Kind::Node,
        Kind::Pod,
        Kind::Namespace,
    ]);
    (kinds, 0..SERVICES, 0..3_u8).prop_map(|(kind, n, part)| {
        let name = match kind {
            Kind::Service => format!("s{n}"),
            Kind::EndpointSlice => format!("s{n}-{part}"),
            Kind::Node => format!("n{}", n % NODES),
            Kind::Pod => "pod".to_owned(),
            Kind::Namespace => NAMESPACE.to_owned(),
            _ => format!("t{}", n % SPLITS),
        };
        Event::Gone(subject(kind, &name))
    })
}

fn subject(kind: Kind, name: &str) -> Subject {
    let namespace = if kind.is_namespaced() { NAMESPACE } else { "" };
    let name = Name::parse(namespace, name).expect("a name");
    Subject { kind, name }
}

fn created() -> impl Strategy<Value = Option<u8>> {
    proptest::option::of(0..3_u8)
}

fn meta(name: &str, created: Option<u8>) -> Value {
    let mut meta = json!({"name": name, "namespace": NAMESPACE});
    if let Some(created) = created {
        meta["creationTimestamp"] = format!("2026-01-0{}T00:00:00Z", created + 1).into();
    }
    meta
}

fn ports() -> impl Strategy<Value = Vec<usize>> {
    proptest::sample::subsequence(vec![0, 1, 2], 1..=3)
}

/// Cluster addresses in one of the shapes that a Service can have.
fn shape() -> impl Strategy<Value = Value> {
    let shape = select(vec!["v4", "v4", "v6", "dual", "dual", "headless", "name"]);
    (shape, 0..CLUSTER_ADDRESSES).prop_map(|(shape, address)| {
        let v4 = format!("10.96.0.{}", address + 1);
        let v6 = format!("fd00::{}", address + 1);
        match shape {
            "v4" => json!({"clusterIP": v4, "clusterIPs": [v4]}),
            "v6" => json!({"clusterIPs": [v6]}),
            "dual" => json!({"clusterIPs": [v4, v6]}),
            "headless" => json!({"clusterIP": "None"}),
            _ => json!({"type": "ExternalName", "externalName": "example.org"}),
        }
    })
}

/// What makes a Service reachable from outside, and how far its callers reach.
fn outside() -> impl Strategy<Value = (Value, Value)> {
    let kind = select(vec!["ClusterIP", "ClusterIP", "NodePort", "LoadBalancer"]);
    let policy = || select(vec!["Cluster", "Cluster", "Local"]);
    let external = prop::sample::subsequence(EXTERNAL_ADDRESSES.to_vec(), 0..=2);
    let ingress = prop::sample::subsequence(EXTERNAL_ADDRESSES.to_vec(), 0..=2);
    let affinity = select(vec!["None", "None", "None", "ClientIP"]);
    let rest = (external, ingress, any::<bool>(), affinity);
    let parts = (kind, policy(), policy(), rest);
    parts.prop_map(|(kind, internal, outward, rest)| {
        let (external, ingress, proxy, affinity) = rest;
        let spec = json!({
            "type": kind, "internalTrafficPolicy": internal, "externalTrafficPolicy": outward,
            "externalIPs": external, "sessionAffinity": affinity,
        });
        let mode = if proxy { "Proxy" } else { "VIP" };
        let ingress = ingress.iter().map(|ip| json!({"ip": ip, "ipMode": mode}));
        let status = json!({"loadBalancer": {"ingress": ingress.collect::<Vec<_>>()}});
        (spec, status)
    })
}

pub(crate) fn service() -> impl Strategy<Value = Value> {
    let left_alone = select(vec![false, false, false, false, true]);
    let balancing = select(vec![
        None,
        None,
        None,
        Some("Random"),
        Some("LeastConnections"),
        Some("Consistent"),
        Some("Unknown"),
    ]);
    let labels = (left_alone, balancing, created());
    let parts = (0..SERVICES, shape(), outside(), ports(), labels);
    parts.prop_map(|(n, mut spec, (outside, status), ports, labels)| {
        let (left_alone, balancing, created) = labels;
        if spec.get("type").is_none()
            && let (Some(spec), Some(outside)) = (spec.as_object_mut(), outside.as_object())
        {
            spec.extend(outside.clone());
        }
        spec["ports"] = ports
            .into_iter()
            .map(|i| {
                let (name, port, protocol) = PORTS[i];
                // Two Services may claim one: nobody should write that, and somebody can.
                let node_port = node_port(i);
                json!({"name": name, "port": port, "protocol": protocol, "nodePort": node_port})
            })
            .collect();
        let mut meta = meta(&format!("s{n}"), created);
        if let Some(balancing) = balancing {
            meta["annotations"] = json!({"sluice.dev/balancing": balancing});
        }
        if left_alone {
            meta["labels"] = json!({"service.kubernetes.io/service-proxy-name": "other"});
        }
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec, "status": status,
        })
    })
}

fn opt_out() -> impl Strategy<Value = Value> {
    let labels = select(vec![None, None, Some("true"), Some("false")]);
    labels.prop_map(|value| match value {
        Some(value) => json!({"sluice.dev/opt-out": value}),
        None => json!({}),
    })
}

/// Who is in a class: some pods of the namespace, or all of them.
fn caller() -> impl Strategy<Value = Value> {
    select(vec![
        json!({"pods": {"matchLabels": {"team": "qa"}}}),
        json!({"pods": {"matchLabels": {"team": "dev"}}}),
        json!({"pods": {}}),
        json!({"serviceAccounts": ["robot"]}),
    ])
}

fn pod() -> impl Strategy<Value = Value> {
    let team = select(vec![None, Some("qa"), Some("dev")]);
    (opt_out(), team, any::<bool>()).prop_map(|(mut labels, team, host_network)| {
        let mut meta = meta("pod", None);
        meta["uid"] = POD_UID.into();
        if let Some(team) = team {
            labels["team"] = team.into();
        }
        meta["labels"] = labels;
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": meta,
            "spec": {"nodeName": OWN_NODE, "hostNetwork": host_network, "containers": []},
        })
    })
}

fn namespace() -> impl Strategy<Value = Value> {
    opt_out().prop_map(|labels| {
        let meta = json!({"name": NAMESPACE, "labels": labels});
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    })
}

/// A node with addresses that no other one ever has.
fn node() -> impl Strategy<Value = Value> {
    let families = select(vec![vec![0], vec![0, 1], vec![1], vec![]]);
    let zone = select(vec![None, Some("z0"), Some("z1")]);
    (0..NODES, families, zone).prop_map(|(n, families, zone)| {
        let all = node_addresses(n);
        let addresses = families
            .into_iter()
            .map(|i| json!({"type": "InternalIP", "address": all[i].to_string()}));
        let addresses: Vec<_> = addresses.collect();
        let mut meta = json!({"name": format!("n{n}")});
        if let Some(zone) = zone {
            meta["labels"] = json!({"topology.kubernetes.io/zone": zone});
        }
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": meta,
            "status": {"addresses": addresses},
        })
    })
}

fn zone_hints() -> impl Strategy<Value = Value> {
    let zones = select(vec![vec!["z0"], vec!["z1"], vec!["z0", "z1"]]);
    zones.prop_map(|zones| {
        let zones: Vec<_> = zones.iter().map(|zone| json!({"name": zone})).collect();
        json!({"forZones": zones})
    })
}

fn node_hints() -> impl Strategy<Value = Value> {
    let parts = (select(vec!["n0", "n0", "n1"]), zone_hints());
    parts.prop_map(|(node, mut hints)| {
        hints["forNodes"] = json!([{"name": node}]);
        hints
    })
}

pub(crate) fn slice() -> impl Strategy<Value = Value> {
    let conditions = select(vec![
        json!({}),
        json!({"ready": true}),
        json!({"ready": true}),
        json!({"ready": false}),
        json!({"ready": false, "serving": true, "terminating": true}),
        json!({"ready": true, "serving": true, "terminating": true}),
        json!({"ready": false, "serving": false, "terminating": true}),
    ]);
    let node = select(vec![None, Some("n0"), Some("n1")]);
    // Mostly everybody has hints or nobody: else they mean nothing.
    let hints = prop_oneof![
        4 => vec(Just(json!(null)), 5),
        2 => vec(zone_hints(), 5),
        2 => vec(node_hints(), 5),
        1 => vec(prop_oneof![zone_hints(), node_hints(), Just(json!(null))], 5),
    ];
    let endpoints = vec((0..6_u8, conditions, node), 0..5);
    let endpoints = (endpoints, hints).prop_map(|(endpoints, hints)| {
        let all = endpoints.into_iter().zip(hints);
        let all = all.map(|((i, conditions, node), hints)| {
            let rest = json!({"conditions": conditions, "nodeName": node, "hints": hints});
            (i, rest)
        });
        all.collect::<Vec<_>>()
    });
    let parts = (0..SERVICES, 0..3_u8, any::<bool>(), ports(), endpoints);
    parts.prop_map(|(n, part, v6, ports, endpoints)| {
        let address = |i: u8| {
            if v6 {
                format!("fd01::{}", i + 1)
            } else {
                format!("10.0.0.{}", i + 1)
            }
        };
        let endpoints: Vec<Value> = endpoints
            .into_iter()
            .map(|(i, mut endpoint)| {
                endpoint["addresses"] = json!([address(i)]);
                endpoint
            })
            .collect();
        let ports: Vec<Value> = ports
            .into_iter()
            .map(|i| PORTS[i])
            // Ports may differ from slice to slice.
            .map(|(name, port, protocol)| {
                let port = port + 1000 * u16::from(part);
                json!({"name": name, "port": port, "protocol": protocol})
            })
            .collect();
        let mut meta = meta(&format!("s{n}-{part}"), None);
        meta["labels"] = json!({"kubernetes.io/service-name": format!("s{n}")});
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta,
            "addressType": if v6 { "IPv6" } else { "IPv4" },
            "endpoints": endpoints, "ports": ports,
        })
    })
}

pub(crate) fn split(versions: usize) -> impl Strategy<Value = Value> {
    let weight = prop_oneof![
        6 => 0..12_u32,
        2 => select(vec![90, 4096, 1_000_000]),
        1 => 0..=1_000_000_u32,
    ];
    let versions = vec((0..SERVICES, weight.clone()), 1..=versions);
    let ports = select(vec![
        vec![],
        vec!["http"],
        vec!["53"],
        vec!["http", "nothing"],
    ]);
    let selection = select(vec![
        "Sequence", "Sequence", "Sequence", "Sequence", "Random", "Sticky",
    ]);
    let callers = vec((caller(), vec(weight, 4)), 0..3);
    let when = select(vec!["Redistribute", "Reject"]);
    let parts = (
        0..SPLITS,
        0..SERVICES,
        versions,
        ports,
        selection,
        when,
        (created(), callers),
    );
    parts.prop_map(|(n, service, versions, ports, selection, when, rest)| {
        let (created, callers) = rest;
        let callers = callers.into_iter().enumerate();
        let callers = callers.map(|(i, (from, weights))| {
            let weights = weights.into_iter().take(versions.len()).enumerate();
            let weights = weights.map(|(i, weight)| (format!("v{i}"), weight));
            // All zero is a fault.
            let weights: BTreeMap<_, _> = [("v0".to_owned(), 1)]
                .into_iter()
                .chain(weights.skip(1))
                .collect();
            json!({"name": format!("c{i}"), "from": [from], "weights": weights})
        });
        let callers: Vec<Value> = callers.collect();
        let versions: Vec<Value> = versions
            .into_iter()
            .enumerate()
            .map(|(i, (s, weight))| {
                json!({"name": format!("v{i}"), "service": format!("s{s}"), "weight": weight})
            })
            .collect();
        json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
            "metadata": meta(&format!("t{n}"), created),
            "spec": {
                "service": format!("s{service}"), "ports": ports, "versions": versions,
                "selection": selection, "whenUnavailable": when, "callers": callers,
            },
        })
    })
}
