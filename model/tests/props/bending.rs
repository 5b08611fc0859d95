//! Policies of every kind, bent at some places: whatever is in them, parser, index, compiler and maps take it in
//! order, it is gone when it goes, and written again it means the same.

use proptest::{collection::vec, prelude::*, sample::Index, sample::select};
use serde_json::{Value, json};
use sluice_crds::{BalancingPolicy, FrontendGrant, LocalRedirectPolicy, TrafficSplit};
use sluice_model::{change::Change, facts};

use crate::{
    config,
    world::{Event, Node},
};

/// What happens to one place of a policy.
#[derive(Clone, Debug)]
enum Bend {
    Becomes(Value),
    Goes,
    /// An item of a list comes again.
    Again,
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn a_bent_policy_does_what_is_desired_and_leaves_nothing_behind(
        policies in vec(bent(), 1..4),
    ) {
        let mut node = Node::new();
        node.follow(&world());
        let before = node.observed.symbolic();
        let read: Vec<_> = policies
            .into_iter()
            .filter(|policy| matches!(facts::parse(policy.clone()), Ok(Change::Set(_))))
            .map(Event::Set)
            .collect();
        node.follow(&read);
        prop_assert_eq!(&node.observed, node.state.image());
        node.check_answers()?;
        let gone: Vec<_> = read.iter().map(|event| Event::Gone(event.subject())).collect();
        node.follow(&gone);
        prop_assert_eq!(node.observed.symbolic(), before);
    }

    /// What is empty is not what is absent.
    #[test]
    fn a_bent_policy_that_is_written_again_means_the_same(policy in bent()) {
        if let Some(again) = written_again(&policy) {
            prop_assert_eq!(facts::parse(policy), facts::parse(again));
        }
    }
}

/// The policy as its type writes it, if it fits the type.
fn written_again(policy: &Value) -> Option<Value> {
    fn through<T: serde::Serialize + for<'de> serde::Deserialize<'de>>(
        policy: &Value,
    ) -> Option<Value> {
        let read = T::deserialize(policy).ok()?;
        serde_json::to_value(read).ok()
    }
    match policy["kind"].as_str()? {
        "TrafficSplit" => through::<TrafficSplit>(policy),
        "LocalRedirectPolicy" => through::<LocalRedirectPolicy>(policy),
        "BalancingPolicy" => through::<BalancingPolicy>(policy),
        _ => through::<FrontendGrant>(policy),
    }
}

/// Services with an endpoint each, a node, and a namespace that may claim addresses.
fn world() -> Vec<Event> {
    let service = |name: &str, ip: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [
                {"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"},
            ]},
        })
    };
    let slice = |name: &str, ip: &str| {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": name, "namespace": "shop",
                "labels": {"kubernetes.io/service-name": name},
            },
            "endpoints": [{"addresses": [ip]}],
            "ports": [{"name": "http", "port": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}],
        })
    };
    let objects = [
        service("checkout", "10.96.0.1"),
        service("v1", "10.96.0.2"),
        service("v2", "10.96.0.3"),
        slice("checkout", "10.244.0.1"),
        slice("v1", "10.244.0.2"),
        slice("v2", "10.244.0.3"),
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "shop", "labels": {"team": "shop"}},
        }),
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "n0", "labels": {"zone": "a"}},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.168.0.1"}]},
        }),
    ];
    objects.map(Event::Set).into()
}

fn bent() -> impl Strategy<Value = Value> {
    let bend = prop_oneof![
        6 => value().prop_map(Bend::Becomes),
        2 => Just(Bend::Goes),
        1 => Just(Bend::Again),
    ];
    let bends = vec((any::<Index>(), bend), 0..4);
    (select(sound()), select(vec!["a", "b"]), bends).prop_map(|(mut policy, name, bends)| {
        policy["metadata"]["name"] = name.into();
        for (place, bend) in bends {
            let mut places = Vec::new();
            places_in(&policy["spec"], "/spec", &mut places);
            if !places.is_empty() {
                let place: &String = place.get(&places);
                bend_at(&mut policy, place, bend);
            }
        }
        policy
    })
}

/// Of each kind one with everything, before it is bent.
fn sound() -> Vec<Value> {
    let policy = |kind: &str, spec: Value| {
        json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": kind,
            "metadata": {
                "namespace": "shop", "uid": "1", "generation": 1,
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": spec,
        })
    };
    let peer = json!([{"namespaces": {}, "pods": {"matchLabels": {"app": "a"}}, "serviceAccounts": ["robot"]}]);
    let nodes =
        json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]});
    let address = json!({"address": {"ip": "172.16.0.1", "ports": [
        {"name": "http", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"},
    ]}});
    let ports = json!([{"name": "http", "port": 8080}, {"name": "dns", "port": 53}]);
    vec![
        policy(
            "TrafficSplit",
            json!({
                "service": "checkout", "ports": ["http", "53"],
                "versions": [
                    {"name": "v1", "service": "v1", "weight": 90},
                    {"name": "v2", "service": "v2", "weight": 10},
                    {"name": "own", "service": "checkout", "weight": 0},
                ],
                "selection": "Sequence", "balancing": "RoundRobin", "whenUnavailable": "Reject",
            }),
        ),
        policy(
            "TrafficSplit",
            json!({
                "service": "checkout",
                "versions": [
                    {"name": "v1", "service": "v1", "weight": 1},
                    {"name": "v2", "pods": {"matchLabels": {"version": "v2"}}, "weight": 1},
                ],
                "callers": [{"name": "qa", "from": peer, "weights": {"v2": 1}}],
                "onShift": {"connections": "Drain", "drain": {"perMinute": "20%", "jitter": "5s"}},
                "rollout": {
                    "target": "v2", "revision": "2.4.1",
                    "canary": {"steps": [{"weight": "5%", "hold": "5m"}, {"weight": "100%", "pause": true}]},
                    "analysis": {"interval": "30s", "checks": [
                        {"name": "connects", "kernel": {"signal": "ConnectFailureRatio"}, "max": "0.01"},
                        {"name": "errors", "max": "0.02", "failures": 2, "minSamples": 10,
                         "prometheus": {"address": "http://prometheus:9090", "query": "up"}},
                    ]},
                    "onFailure": "Pause",
                },
            }),
        ),
        policy(
            "LocalRedirectPolicy",
            json!({
                "frontend": {"service": {"name": "checkout", "ports": ["http"]}},
                "backend": {"pods": {"matchLabels": {"app": "a"}}, "ports": ports},
                "fallback": "Reject", "clients": peer, "nodes": nodes,
                "skipOwnTraffic": false, "maxPerSecond": 100,
            }),
        ),
        policy(
            "LocalRedirectPolicy",
            json!({
                "frontend": address, "backend": {"pods": nodes, "ports": ports}, "nodes": {},
            }),
        ),
        policy(
            "BalancingPolicy",
            json!({
                "frontend": address, "selection": "Sticky", "balancing": "Consistent",
                "backends": [
                    {"name": "here", "weight": 1, "pods": {"matchLabels": {"app": "a"}, "via": "HostPort", "ports": ports}},
                    {"name": "there", "weight": 1, "priority": 1,
                     "addresses": [{"ip": "192.0.2.1", "port": 80, "weight": 2}, {"ip": "2001:db8::1", "port": 80}],
                     "check": {"http": {"path": "/"}, "interval": "5s", "timeout": "1s", "unhealthyAfter": 3, "healthyAfter": 2}},
                ],
                "hosts": "Both", "nodes": nodes,
            }),
        ),
        policy(
            "FrontendGrant",
            json!({
                "namespaces": {"matchLabels": {"team": "shop"}},
                "addresses": ["172.16.0.0/16", "2001:db8::/32"],
                "ports": [{"port": 80, "protocol": "TCP"}, {"port": 50, "endPort": 60}],
            }),
        ),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let texts = vec![
        "",
        "a",
        "A",
        "a.b",
        "a/b",
        "é",
        "\0",
        "http",
        "80",
        "0",
        "checkout",
        "v1",
        "v2",
        "none",
        "UDP",
        "Sticky",
        "Random",
        "Reject",
        "10.96.0.1",
        "172.16.0.1",
        "010.0.0.1",
        "::1",
        "::ffff:10.0.0.1",
        "fe80::1%eth0",
        "10.0.0.0/8",
        "0.0.0.0/0",
        "5%",
        "100%",
        "1e9%",
        "0s",
        "5s",
        "1h30m",
        "999999999999h",
        "NaN",
        "-1",
    ];
    prop_oneof![
        6 => select(texts).prop_map(Value::from),
        1 => (1..300_usize).prop_map(|length| Value::from("a".repeat(length))),
        4 => select(vec![-1, 0, 1, 2, 80, 65_535, 65_536, 1_000_000, 1_000_001, i64::MAX])
            .prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!([])),
        1 => Just(json!({})),
        1 => Just(json!(0.5)),
    ]
}

/// The paths of all that is below a value.
fn places_in(value: &Value, path: &str, places: &mut Vec<String>) {
    let mut visit = |name: String, value: &Value| {
        let path = format!("{path}/{name}");
        places_in(value, &path, places);
        places.push(path);
    };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                visit(name.replace('~', "~0").replace('/', "~1"), value);
            }
        }
        Value::Array(items) => {
            for (i, value) in items.iter().enumerate() {
                visit(i.to_string(), value);
            }
        }
        _ => {}
    }
}

fn bend_at(policy: &mut Value, place: &str, bend: Bend) {
    let (parent, name) = place.rsplit_once('/').expect("a path has a parent");
    let name = name.replace("~1", "/").replace("~0", "~");
    match (bend, policy.pointer_mut(parent)) {
        (Bend::Becomes(value), _) => *policy.pointer_mut(place).expect("a place") = value,
        (Bend::Goes, Some(Value::Object(fields))) => drop(fields.remove(&name)),
        (Bend::Goes, Some(Value::Array(items))) => {
            items.remove(name.parse().expect("a number"));
        }
        (Bend::Again, Some(Value::Array(items))) => {
            let again = items[name.parse::<usize>().expect("a number")].clone();
            items.push(again);
        }
        _ => {}
    }
}
