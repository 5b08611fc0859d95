//! A cluster of two tenants, with nodes, DNS and the API server's Service.

use serde_json::{Value, json};
use sluice_crds::conditions::Reason;
use sluice_model::{
    change::Change,
    claims::Judgements,
    facts,
    index::{ClaimKey, Index},
    key::{BalancingKey, RedirectKey, Subject},
};

pub(crate) struct World {
    pub(crate) index: Index,
    judgements: Judgements,
}

impl World {
    /// Namespace `shop` (team a) has `web` at 10.96.0.20 and 192.0.2.20, `bank` (team b) has `vault`
    /// at 10.96.0.30 and 192.0.2.30, and Services that Sluice does not serve. Nodes are 172.18.0.2 and
    /// fd00:18::2, the API server is at 172.20.0.9.
    pub(crate) fn new() -> Self {
        let mut world = Self {
            index: Index::awaiting([]),
            judgements: Judgements::default(),
        };
        for (name, team) in [
            ("shop", "a"),
            ("bank", "b"),
            ("default", ""),
            ("kube-system", ""),
        ] {
            world.set(json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "labels": {"team": team}},
            }));
        }
        world.set(json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1"},
            "status": {"addresses": [
                {"type": "InternalIP", "address": "172.18.0.2"},
                {"type": "InternalIP", "address": "fd00:18::2"},
                {"type": "ExternalIP", "address": "203.0.113.2"},
            ]},
        }));
        for (namespace, name, ips, external, port) in [
            (
                "shop",
                "web",
                &["10.96.0.20", "fd00:96::20"][..],
                "192.0.2.20",
                80,
            ),
            (
                "bank",
                "vault",
                &["10.96.0.30", "fd00:96::30"],
                "192.0.2.30",
                443,
            ),
            ("default", "kubernetes", &["10.96.0.1"], "192.0.2.1", 443),
            ("kube-system", "kube-dns", &["10.96.0.10"], "192.0.2.10", 53),
        ] {
            world.set(json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {
                    "clusterIPs": ips, "externalIPs": [external],
                    "ports": [{"name": "main", "port": port}],
                },
            }));
        }
        world.unserved();
        world
    }

    /// Addresses that were given out, and at which Sluice does nothing.
    fn unserved(&mut self) {
        let service = |name: &str, ip: &str| {
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": name, "namespace": "bank"},
                "spec": {"clusterIPs": [ip], "ports": [{"port": 443}]},
            })
        };
        let mut proxied = service("proxied", "10.96.0.31");
        proxied["metadata"]["labels"] =
            json!({"service.kubernetes.io/service-proxy-name": "other"});
        let mut bare = service("bare", "10.96.0.32");
        bare["metadata"]["labels"] = json!({"service.kubernetes.io/headless": ""});
        let mut sctp = service("sctp", "10.96.0.33");
        sctp["spec"]["ports"] = json!([{"port": 443, "protocol": "SCTP"}]);
        let mut balanced = service("balanced", "10.96.0.34");
        balanced["spec"]["type"] = "LoadBalancer".into();
        balanced["status"] = json!({"loadBalancer": {"ingress": [
            {"ip": "192.0.2.34"}, {"ip": "192.0.2.35", "ipMode": "Proxy"}, {"ip": "2001:db8:34::1"},
        ]}});
        for service in [proxied, bare, sctp, balanced] {
            self.set(service);
        }
        self.set(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": "kubernetes", "namespace": "default",
                "labels": {"kubernetes.io/service-name": "kubernetes"},
            },
            "addressType": "IPv4", "ports": [{"name": "main", "port": 6443}],
            "endpoints": [{"addresses": ["172.20.0.9"]}],
        }));
    }

    pub(crate) fn set(&mut self, manifest: Value) {
        let text = manifest.to_string();
        match facts::parse(manifest) {
            Ok(change) => self.index.apply(change),
            Err(error) => panic!("{text}: {error:?}"),
        }
    }

    pub(crate) fn remove(&mut self, subject: Subject) {
        self.index.apply(Change::Gone(subject));
    }

    /// Judges what changed since the last time.
    pub(crate) fn pass(&mut self) {
        let touched = self.index.take_dirty_claims();
        let snapshot = self.index.snapshot().expect("nothing is awaited");
        self.judgements.pass(snapshot, touched, false);
    }

    /// The same from nothing.
    pub(crate) fn anew(&self) -> Judgements {
        let mut judgements = Judgements::default();
        let snapshot = self.index.snapshot().expect("nothing is awaited");
        judgements.pass(snapshot, Default::default(), true);
        judgements
    }

    pub(crate) fn judgements(&self) -> &Judgements {
        &self.judgements
    }

    /// Why a policy is not accepted; `Accepted` if it is.
    pub(crate) fn verdict(&mut self, key: &ClaimKey) -> (Reason, String) {
        self.pass();
        let judged = self.judgements.judge(&self.index, key);
        let accepted = judged.expect("the policy is there").accepted;
        assert_eq!(accepted.status, accepted.reason == Reason::Accepted);
        (accepted.reason, accepted.message)
    }
}

pub(crate) fn redirect(namespace: &str, name: &str, second: u32, frontend: &Value) -> Value {
    let ports = frontend["address"]["ports"].as_array();
    let names = ports.into_iter().flatten().map(|port| port["name"].clone());
    let mut ports: Vec<_> = names
        .map(|name| json!({"name": name, "port": 8080}))
        .collect();
    if ports.is_empty() {
        ports.push(json!({"name": "main", "port": 8080}));
    }
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "LocalRedirectPolicy",
        "metadata": {
            "name": name, "namespace": namespace, "uid": name, "generation": 1,
            "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
        },
        "spec": {
            "frontend": frontend,
            "backend": {"pods": {"matchLabels": {"app": "proxy"}}, "ports": ports},
        },
    })
}

pub(crate) fn balancing(namespace: &str, name: &str, second: u32, frontend: &Value) -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "BalancingPolicy",
        "metadata": {
            "name": name, "namespace": namespace, "uid": name, "generation": 1,
            "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
        },
        "spec": {
            "frontend": frontend,
            "backends": [
                {"name": "far", "weight": 1, "addresses": [{"ip": "198.51.100.7", "port": 443}]},
            ],
        },
    })
}

/// One that sends connections to this address.
pub(crate) fn balancing_to(namespace: &str, name: &str, ip: &str) -> Value {
    let mut policy = balancing(namespace, name, 1, &on("web"));
    policy["spec"]["backends"][0]["addresses"] = json!([
        {"ip": "198.51.100.7", "port": 443}, {"ip": ip, "port": 443},
    ]);
    policy
}

pub(crate) fn grant(name: &str, team: &str, addresses: &[&str], ports: &[u16]) -> Value {
    let mut spec = json!({
        "namespaces": {"matchLabels": {"team": team}}, "addresses": addresses,
    });
    if !ports.is_empty() {
        let ports: Vec<_> = ports.iter().map(|port| json!({"port": port})).collect();
        spec["ports"] = ports.into();
    }
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "FrontendGrant",
        "metadata": {"name": name}, "spec": spec,
    })
}

pub(crate) fn at(ip: &str, ports: &[u16]) -> Value {
    let ports = ports
        .iter()
        .map(|port| json!({"name": format!("p{port}"), "port": port}));
    json!({"address": {"ip": ip, "ports": ports.collect::<Vec<_>>()}})
}

pub(crate) fn on(service: &str) -> Value {
    json!({"service": {"name": service}})
}

pub(crate) fn redirect_key(namespace: &str, name: &str) -> ClaimKey {
    ClaimKey::Redirect(RedirectKey::parse(namespace, name).expect("a name"))
}

pub(crate) fn balancing_key(namespace: &str, name: &str) -> ClaimKey {
    ClaimKey::Balancing(BalancingKey::parse(namespace, name).expect("a name"))
}
