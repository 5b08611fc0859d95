//! The API server's own Service: whatever becomes of its objects, it keeps the last endpoints that it had, and
//! none of them a moment longer than until there are others.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};
use sluice_model::{
    caller::Caller,
    desired::Backend,
    key::{Family, Frontend, Kind, Name, Port, Protocol, Subject},
    oracle::{self, Answer},
};

use crate::{
    config,
    world::{Event, Node, relisted, survivors},
};

const ADDRESSES: [(Family, &str); 2] = [(Family::V4, "10.96.0.1"), (Family::V6, "fd00::1")];
const SLICES: [&str; 3] = ["kubernetes", "kubernetes-v6", "by-hand"];

/// What happens.
#[derive(Clone, Debug)]
enum Turn {
    Object(Event),
    /// The API server lists everything again: what is gone is gone for good.
    Relist,
    /// The agent starts anew beside its maps.
    Restart,
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        8 => slice().prop_map(|slice| Turn::Object(Event::Set(slice))),
        3 => select(SLICES.to_vec()).prop_map(|name| gone(Kind::EndpointSlice, name)),
        3 => service().prop_map(|service| Turn::Object(Event::Set(service))),
        1 => Just(gone(Kind::Service, "kubernetes")),
        1 => Just(Turn::Relist),
        2 => Just(Turn::Restart),
    ]
}

fn gone(kind: Kind, name: &str) -> Turn {
    let name = Name::parse("default", name).expect("a name");
    Turn::Object(Event::Gone(Subject { kind, name }))
}

fn slice() -> impl Strategy<Value = Value> {
    let family = select(vec!["IPv4", "IPv4", "IPv6"]);
    let ready = select(vec![true, true, true, false]);
    let endpoints = vec((0..3_u8, ready), 0..3);
    let ports = select(vec![json!([]), json!([{"name": "https", "port": 6443}])]);
    let parts = (select(SLICES.to_vec()), family, ports, endpoints);
    parts.prop_map(|(name, family, ports, endpoints)| {
        let address = |i: u8| match family {
            "IPv4" => format!("192.168.0.{i}"),
            _ => format!("fd01::{i}"),
        };
        let endpoints = endpoints.into_iter();
        let endpoints = endpoints
            .map(|(i, ready)| json!({"addresses": [address(i)], "conditions": {"ready": ready}}));
        let endpoints: Vec<_> = endpoints.collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
            "metadata": {
                "name": name, "namespace": "default",
                "labels": {"kubernetes.io/service-name": "kubernetes"},
            },
            "ports": ports, "endpoints": endpoints,
        })
    })
}

/// Mostly as the API server makes it. Who gives it to another proxy means that.
fn service() -> impl Strategy<Value = Value> {
    let [(_, v4), (_, v6)] = ADDRESSES;
    let addresses = select(vec![vec![v4], vec![v4, v6], vec![v4, v6], vec![v6]]);
    let labels = select(vec![
        json!({}),
        json!({}),
        json!({}),
        json!({"service.kubernetes.io/service-proxy-name": "another"}),
    ]);
    let policy = select(vec!["Cluster", "Cluster", "Local"]);
    (addresses, labels, policy).prop_map(|(addresses, labels, policy)| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
            "spec": {
                "clusterIPs": addresses, "internalTrafficPolicy": policy,
                "ports": [{"name": "https", "port": 443}],
            },
        })
    })
}

/// What each address should lead to, told from the objects by other words than the model's.
#[derive(Default)]
struct Expected {
    service: Option<Value>,
    slices: BTreeMap<String, Value>,
    /// The endpoints that each family had last, while it has an address.
    last: BTreeMap<Family, BTreeSet<Backend>>,
}

impl Expected {
    fn hear(&mut self, event: &Event) {
        let subject = event.subject();
        match (subject.kind, event) {
            (Kind::Service, Event::Set(service)) => self.service = Some(service.clone()),
            (Kind::EndpointSlice, Event::Set(slice)) => {
                let name = subject.name.name().to_owned();
                self.slices.insert(name, slice.clone());
            }
            (Kind::EndpointSlice, Event::Gone(_)) => {
                self.slices.remove(subject.name.name());
            }
            // Nobody takes this Service away.
            _ => {}
        }
    }

    fn settle(&mut self) {
        for (family, address) in ADDRESSES {
            let claims = self.service.as_ref().is_some_and(|service| {
                let addresses = service["spec"]["clusterIPs"].as_array();
                let others = service["metadata"]["labels"].as_object();
                addresses.is_some_and(|all| all.iter().any(|ip| ip == address))
                    && others.is_some_and(serde_json::Map::is_empty)
            });
            if !claims {
                self.last.remove(&family);
                continue;
            }
            let named = self.endpoints(family);
            let last = self.last.entry(family).or_default();
            if !named.is_empty() {
                *last = named;
            }
        }
    }

    fn endpoints(&self, family: Family) -> BTreeSet<Backend> {
        let local = self.service.as_ref();
        if local.is_some_and(|service| service["spec"]["internalTrafficPolicy"] == "Local") {
            // The API server is on no node.
            return BTreeSet::new();
        }
        let usable = self.slices.values().filter(|slice| {
            let v4 = slice["addressType"] == "IPv4";
            v4 == (family == Family::V4) && slice["ports"] != json!([])
        });
        let endpoints = usable.flat_map(|slice| slice["endpoints"].as_array().expect("a list"));
        let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
        ready
            .map(|endpoint| Backend {
                ip: endpoint["addresses"][0]
                    .as_str()
                    .and_then(|ip| ip.parse().ok())
                    .expect("an address"),
                port: Port::new(6443).expect("a port"),
            })
            .collect()
    }

    fn check(&self, node: &Node) -> Result<(), TestCaseError> {
        for (family, address) in ADDRESSES {
            let frontend = Frontend {
                ip: address.parse().expect("an address"),
                port: Port::new(443).expect("a port"),
                protocol: Protocol::Tcp,
            };
            let answer = oracle::by_image(&node.observed, Caller::default(), frontend);
            let found = match answer.map_err(|d| TestCaseError::fail(format!("{d:?}")))? {
                Answer::Passed => None,
                Answer::Decided(odds) => Some(odds.classes.into_keys().flatten().collect()),
            };
            prop_assert_eq!(found.as_ref(), self.last.get(&family), "{}", address);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn the_api_servers_service_keeps_its_last_endpoints_until_there_are_others(
        turns in vec(turn(), 1..20),
    ) {
        let mut expected = Expected::default();
        let mut events = Vec::new();
        let mut node = Node::new();
        for turn in turns {
            match turn {
                Turn::Object(event) => {
                    expected.hear(&event);
                    node.index.apply(event.change());
                    events.push(event);
                }
                Turn::Relist => {
                    for change in relisted(&survivors(&events)) {
                        node.index.apply(change);
                    }
                }
                Turn::Restart => {
                    let there = survivors(&events);
                    let is_there = there.iter().any(|event| event.subject().kind == Kind::Service);
                    if !is_there {
                        expected.service = None;
                    }
                    node = Node::restarted(&node.observed, &there);
                }
            }
            node.pass();
            expected.settle();
            expected.check(&node)?;
            prop_assert!(node.pass().is_empty());
            prop_assert_eq!(&node.observed, node.state.image());
        }
    }
}
