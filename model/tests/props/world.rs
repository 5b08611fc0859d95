//! Random worlds: objects as manifests, and a node that follows them.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::IpAddr,
};

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};
use sluice_model::{
    change::Change,
    facts,
    ids::Capacities,
    image::Image,
    index::Index,
    key::{Frontend, Kind, Port, Protocol, Subject},
    oracle,
    pass::State,
    plan::{Op, Outcome, Plan},
};

const NAMESPACE: &str = "shop";
const SERVICES: u8 = 5;
const SPLITS: u8 = 3;
const CLUSTER_ADDRESSES: u8 = 4;
const PORTS: [(&str, u16, &str); 3] = [("http", 80, "TCP"), ("dns", 53, "TCP"), ("udp", 53, "UDP")];

/// Something that happens to one object.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Set(Value),
    Gone(Subject),
}

impl Event {
    pub(crate) fn change(&self) -> Change {
        match self {
            Self::Set(manifest) => facts::parse(manifest.clone()).expect("a known kind"),
            Self::Gone(subject) => Change::Gone(subject.clone()),
        }
    }

    pub(crate) fn subject(&self) -> Subject {
        match self.change() {
            Change::Set(object) => object.subject(),
            Change::Gone(subject) => subject,
            Change::Relisted(..) => unreachable!("an event is about one object"),
        }
    }
}

pub(crate) fn events(count: usize) -> impl Strategy<Value = Vec<Event>> {
    vec(event(), 1..=count)
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => service().prop_map(Event::Set),
        8 => slice().prop_map(Event::Set),
        4 => split(4).prop_map(Event::Set),
        3 => gone(),
    ]
}

fn gone() -> impl Strategy<Value = Event> {
    let kinds = select(vec![Kind::Service, Kind::EndpointSlice, Kind::TrafficSplit]);
    (kinds, 0..SERVICES, 0..3_u8).prop_map(|(kind, n, part)| {
        let name = match kind {
            Kind::Service => format!("s{n}"),
            Kind::EndpointSlice => format!("s{n}-{part}"),
            _ => format!("t{}", n % SPLITS),
        };
        Event::Gone(subject(kind, &name))
    })
}

fn subject(kind: Kind, name: &str) -> Subject {
    let name = sluice_model::key::Name::parse(NAMESPACE, name).expect("a name");
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

pub(crate) fn service() -> impl Strategy<Value = Value> {
    let shape = select(vec![
        "v4", "v4", "v6", "dual", "dual", "headless", "name", "other",
    ]);
    let parts = (0..SERVICES, shape, 0..CLUSTER_ADDRESSES, ports(), created());
    parts.prop_map(|(n, shape, address, ports, created)| {
        let v4 = format!("10.96.0.{}", address + 1);
        let v6 = format!("fd00::{}", address + 1);
        let mut spec = match shape {
            "v4" | "other" => json!({"clusterIP": v4, "clusterIPs": [v4]}),
            "v6" => json!({"clusterIPs": [v6]}),
            "dual" => json!({"clusterIPs": [v4, v6]}),
            "headless" => json!({"clusterIP": "None"}),
            _ => json!({"type": "ExternalName", "externalName": "example.org"}),
        };
        spec["ports"] = ports
            .into_iter()
            .map(|i| PORTS[i])
            .map(|(name, port, protocol)| json!({"name": name, "port": port, "protocol": protocol}))
            .collect();
        let mut meta = meta(&format!("s{n}"), created);
        if shape == "other" {
            meta["labels"] = json!({"service.kubernetes.io/service-proxy-name": "other"});
        }
        json!({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
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
    let endpoints = vec((0..6_u8, conditions), 0..5);
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
            .map(|(i, conditions)| json!({"addresses": [address(i)], "conditions": conditions}))
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
    let versions = vec((0..SERVICES, weight), 1..=versions);
    let ports = select(vec![
        vec![],
        vec!["http"],
        vec!["53"],
        vec!["http", "nothing"],
    ]);
    let selection = select(vec!["Sequence", "Sequence", "Random"]);
    let when = select(vec!["Redistribute", "Reject"]);
    let parts = (
        0..SPLITS,
        0..SERVICES,
        versions,
        ports,
        selection,
        when,
        created(),
    );
    parts.prop_map(|(n, service, versions, ports, selection, when, created)| {
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
                "selection": selection, "whenUnavailable": when,
            },
        })
    })
}

/// What there is after these events.
pub(crate) fn survivors(events: &[Event]) -> Vec<Event> {
    let mut last = BTreeMap::new();
    for event in events {
        last.insert(event.subject(), event.clone());
    }
    let last = last.into_values();
    last.filter(|event| matches!(event, Event::Set(_)))
        .collect()
}

/// That every kind has listed, with these objects.
pub(crate) fn relisted(events: &[Event]) -> Vec<Change> {
    let present: BTreeSet<Subject> = events.iter().map(Event::subject).collect();
    let of = |kind| {
        present
            .iter()
            .filter(move |s| s.kind == kind)
            .cloned()
            .collect()
    };
    Kind::ALL
        .iter()
        .map(|&kind| Change::Relisted(kind, of(kind)))
        .collect()
}

pub(crate) fn index_of(events: &[Event]) -> Index {
    let mut index = Index::awaiting(Kind::ALL);
    for kind in Kind::ALL {
        index.apply(Change::Relisted(kind, BTreeSet::new()));
    }
    for event in events {
        index.apply(event.change());
    }
    index
}

/// Every address that a frontend could have, and one that none has.
pub(crate) fn frontends() -> Vec<Frontend> {
    let mut frontends = Vec::new();
    for i in 1..=CLUSTER_ADDRESSES + 1 {
        let v4: IpAddr = [10, 96, 0, i].into();
        let v6: IpAddr = format!("fd00::{i}").parse().expect("an address");
        for ip in [v4, v6] {
            for (_, port, protocol) in PORTS {
                frontends.push(Frontend {
                    ip,
                    port: Port::new(port).expect("a port"),
                    protocol: if protocol == "UDP" {
                        Protocol::Udp
                    } else {
                        Protocol::Tcp
                    },
                });
            }
        }
    }
    frontends
}

/// A node: what it knows, what it wants, and what its maps hold.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) index: Index,
    pub(crate) state: State,
    pub(crate) observed: Image,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::with(Capacities::default())
    }

    pub(crate) fn with(capacities: Capacities) -> Self {
        Self {
            index: index_of(&[]),
            state: State::new(capacities),
            observed: Image::default(),
        }
    }

    /// A process that starts anew beside maps that hold something.
    pub(crate) fn restarted(observed: &Image, events: &[Event]) -> Self {
        Self {
            index: index_of(events),
            state: State::restore(Capacities::default(), observed),
            observed: observed.clone(),
        }
    }

    pub(crate) fn plan(&mut self) -> Plan {
        let pass = self.state.pass(&mut self.index, &self.observed);
        pass.expect("everything is listed").plan
    }

    /// One pass in which every write succeeds.
    pub(crate) fn pass(&mut self) -> Plan {
        let plan = self.plan();
        let outcome: Outcome<Infallible> = plan.run(&mut self.observed, |_| Ok(()));
        self.state.finish(&outcome);
        plan
    }

    pub(crate) fn follow(&mut self, events: &[Event]) -> Plan {
        for event in events {
            self.index.apply(event.change());
        }
        self.pass()
    }

    /// One pass in which these writes fail; `watch` sees the maps after every step.
    pub(crate) fn stumble(
        &mut self,
        mut fails: impl FnMut() -> bool,
        mut watch: impl FnMut(&Image, &Op),
    ) -> bool {
        let plan = self.plan();
        let mut shadow = self.observed.clone();
        let outcome = plan.run(&mut self.observed, |op| {
            if fails() {
                return Err("a write failed");
            }
            op.apply(&mut shadow);
            watch(&shadow, op);
            Ok(())
        });
        self.state.finish(&outcome);
        outcome.is_complete()
    }

    /// What the wanted dataplane and the maps say about every address.
    pub(crate) fn check_answers(&self) -> Result<(), TestCaseError> {
        for frontend in frontends() {
            let wanted = oracle::by_desired(self.state.desired(), frontend);
            let found = oracle::by_image(&self.observed, frontend);
            let found =
                found.map_err(|d| TestCaseError::fail(format!("{d:?}\n{}", self.observed)))?;
            wanted.check(&found).map_err(|difference| {
                TestCaseError::fail(format!("{frontend}: {difference}\n{:#}", self.observed))
            })?;
        }
        Ok(())
    }
}

/// What the maps answer at every address; fails when anything dangles.
pub(crate) fn answers(image: &Image) -> Vec<(Frontend, oracle::Answer)> {
    frontends()
        .into_iter()
        .map(|frontend| {
            let answer = oracle::by_image(image, frontend);
            let answer = answer.unwrap_or_else(|dangling| panic!("{dangling:?}\n{image:#}"));
            (frontend, answer)
        })
        .collect()
}
