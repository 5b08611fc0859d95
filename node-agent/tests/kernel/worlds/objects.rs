//! Random objects, as manifests: small numbers of each kind, so that they meet.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context, Result, anyhow};
use fastrand::Rng;
use serde_json::{Value, json};
use sluice_model::{change::Change, facts, image::Image, key};
use sluice_node_agent::inputs::News;
use sluice_testbed::{node::Node, pod::Pod};

use super::{OWN_NODE, PORTS, news};
use crate::told::node_object;

const NAMESPACE: &str = "shop";
const FAR_NODE: &str = "node-2";
/// Labels of the pod that asks: of the first class, of the second, and of none.
pub(super) const TEAMS: [&str; 3] = ["qa", "dev", "ops"];

/// Objects as somebody would write them.
pub(crate) struct World {
    pub(crate) manifests: Vec<Value>,
}

impl World {
    /// On these nodes, of which some are not known.
    pub(crate) fn random(rng: &mut Rng, server: &Pod, nodes: &[Node]) -> Self {
        let services = rng.u8(1..=6);
        let known = nodes.iter().filter(|_| rng.u8(..4) > 0);
        let mut manifests: Vec<_> = known.map(node_object).collect();
        for number in 0..services {
            manifests.push(service(rng, number));
            for part in 0..rng.u8(0..=2) {
                manifests.push(slice(rng, number, part, server));
            }
        }
        for number in 0..rng.u8(0..=2) {
            manifests.push(split(rng, number, services));
        }
        Self { manifests }
    }

    fn changes(manifests: &[Value]) -> Result<Vec<Change>> {
        let parsed = manifests
            .iter()
            .map(|manifest| facts::parse(manifest.clone()));
        parsed
            .map(|change| change.map_err(|error| anyhow!("{error:?}")))
            .collect()
    }

    fn subjects_of(manifests: &[Value]) -> Result<Vec<key::Subject>> {
        let subject = |change| match change {
            Change::Set(object) => Some(object.subject()),
            Change::Gone(_) | Change::Relisted(..) => None,
        };
        Ok(Self::changes(manifests)?
            .into_iter()
            .filter_map(subject)
            .collect())
    }

    pub(super) fn subjects(&self) -> Result<Vec<key::Subject>> {
        Self::subjects_of(&self.manifests)
    }

    /// What an input would tell that has told `before`.
    pub(super) fn news_after(&self, before: &[Value]) -> Result<News> {
        let now = self.subjects()?;
        let gone = Self::subjects_of(before)?
            .into_iter()
            .filter(|subject| !now.contains(subject));
        let mut changes: Vec<_> = gone.map(Change::Gone).collect();
        changes.extend(Self::changes(&self.manifests)?);
        Ok(news(changes))
    }

    /// The image that a new agent with empty maps would want.
    pub(super) fn image(&self) -> Result<Image> {
        let mut index = sluice_model::index::Index::awaiting([]).on_node(super::own_node()?);
        for change in Self::changes(&self.manifests)? {
            index.apply(change);
        }
        let mut state = sluice_model::pass::State::new(Default::default());
        state
            .pass(&mut index, &Image::default())
            .context("nothing is awaited")?;
        Ok(state.image().clone())
    }
}

fn service(rng: &mut Rng, number: u8) -> Value {
    let v4 = format!("198.18.0.{}", number + 1);
    let v6 = format!("fd5e:1::{}", number + 1);
    let balancing = ["RoundRobin", "Random", "LeastConnections", "Consistent"];
    let ips = [json!([v4]), json!([v6]), json!([v4, v6])];
    let ports = PORTS_OF_SERVICES
        .iter()
        .filter(|_| rng.bool())
        .map(|(name, port, protocol)| {
            // One number for TCP and UDP.
            let node_port = 30_000 + 100 * u16::from(number) + port;
            json!({"name": name, "port": port, "protocol": protocol, "nodePort": node_port})
        });
    let mut ports: Vec<_> = ports.collect();
    if ports.is_empty() {
        ports.push(json!({"name": "http", "port": 80, "protocol": "TCP"}));
    }
    let kind = if rng.bool() { "NodePort" } else { "ClusterIP" };
    let mut policy = || if rng.u8(..3) == 0 { "Local" } else { "Cluster" };
    let (inside, outside) = (policy(), policy());
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "namespace": NAMESPACE, "name": format!("s{number}"),
            "annotations": {"sluice.dev/balancing": balancing[rng.usize(..4)]},
        },
        "spec": {
            "type": kind, "internalTrafficPolicy": inside, "externalTrafficPolicy": outside,
            "clusterIPs": ips[rng.usize(..3)], "ports": ports,
            "sessionAffinity": if rng.u8(..4) == 0 { "ClientIP" } else { "None" },
        },
    })
}

const PORTS_OF_SERVICES: [(&str, u16, &str); 3] = [
    ("http", 80, "TCP"),
    ("dns", 53, "UDP"),
    ("dns-tcp", 53, "TCP"),
];

fn slice(rng: &mut Rng, service: u8, part: u8, server: &Pod) -> Value {
    let v6 = rng.bool();
    let has_hints = rng.u8(..4) == 0;
    let mut endpoints = Vec::new();
    for (address4, address6) in server.addresses() {
        if rng.bool() {
            let address: IpAddr = if v6 {
                (*address6).into()
            } else {
                (*address4).into()
            };
            let conditions = match rng.u8(..6) {
                0 => json!({"ready": false, "serving": true, "terminating": true}),
                1 => json!({"ready": false}),
                _ => json!({"ready": true}),
            };
            let node = [None, Some(OWN_NODE), Some(FAR_NODE)][rng.usize(..3)];
            let mut endpoint = json!({
                "addresses": [address.to_string()], "conditions": conditions, "nodeName": node,
            });
            if has_hints {
                let near = if rng.bool() { OWN_NODE } else { FAR_NODE };
                endpoint["hints"] = json!({"forNodes": [{"name": near}]});
            }
            endpoints.push(endpoint);
        }
    }
    let ports: Vec<_> = PORTS_OF_SERVICES
        .iter()
        .map(|(name, _, protocol)| {
            json!({"name": name, "port": PORTS[rng.usize(..PORTS.len())], "protocol": protocol})
        })
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "namespace": NAMESPACE, "name": format!("s{service}-{part}"),
            "labels": {"kubernetes.io/service-name": format!("s{service}")},
        },
        "addressType": if v6 { "IPv6" } else { "IPv4" },
        "endpoints": endpoints, "ports": ports,
    })
}

fn split(rng: &mut Rng, number: u8, services: u8) -> Value {
    let versions: Vec<_> = (0..rng.u8(1..=16))
        .map(|version| {
            let service = rng.u8(..services);
            json!({
                "name": format!("v{version}"),
                "service": format!("s{service}"),
                "weight": rng.u32(..10),
            })
        })
        .collect();
    let selection = ["Sequence", "Sequence", "Random", "Sticky"][rng.usize(..4)];
    let callers: Vec<_> = TEAMS[..rng.usize(..TEAMS.len())]
        .iter()
        .map(|team| {
            let weights = (0..versions.len()).map(|i| (format!("v{i}"), rng.u32(1..10)));
            let weights: BTreeMap<_, _> = weights.collect();
            let from = json!([{"pods": {"matchLabels": {"team": team}}}]);
            json!({"name": team, "from": from, "weights": weights})
        })
        .collect();
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
        "metadata": {"namespace": NAMESPACE, "name": format!("t{number}")},
        "spec": {
            "service": format!("s{}", rng.u8(..services)),
            "versions": versions,
            "selection": selection, "callers": callers,
            "whenUnavailable": if rng.bool() { "Redistribute" } else { "Reject" },
        },
    })
}
