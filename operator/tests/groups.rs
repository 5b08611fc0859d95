//! What is done about the Services of groups, by what there is.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};
use sluice_model::{
    change::{Change, Object},
    facts,
    index::Index,
    key::{ServiceKey, SplitKey, Subject},
};
use sluice_operator::groups::{self, Deed, Groups};
use sluice_runtime::watch::Heard;

const UID: &str = "split-1";
const CANARY: &str = "sluice-checkout-canary-fd8843ac07859ea6";

/// What there is: told to the index and to the groups, as the operator's view does.
struct World {
    index: Index,
    groups: Groups,
}

impl World {
    /// A split with one version by pods, and its Service.
    fn new() -> Self {
        let mut world = Self {
            index: Index::awaiting([]),
            groups: Groups::default(),
        };
        world.service(&parent());
        world.split(&split("v2"));
        world
    }

    fn service(&mut self, service: &Value) -> &mut Self {
        let service: Service = serde_json::from_value(service.clone()).expect("a Service");
        let seen = groups::read(&service).expect("it has a name");
        self.index.apply(Change::Set(seen.object.clone()));
        self.groups.hear(&Heard::Set(seen));
        self
    }

    fn service_gone(&mut self, service: &ServiceKey) -> &mut Self {
        let gone = Change::Gone(Subject::from(service.clone()));
        self.index.apply(gone);
        self.groups.hear(&Heard::Gone(service.0.clone()));
        self
    }

    fn split(&mut self, split: &Value) -> &mut Self {
        let change = facts::parse(split.clone()).expect("a split");
        if let Change::Set(Object::Split(key, _)) = &change {
            self.groups.hear_split(key.clone());
        }
        self.index.apply(change);
        self
    }

    fn split_gone(&mut self) -> &mut Self {
        let split = SplitKey::parse("shop", "checkout").expect("a name");
        self.index.apply(Change::Gone(Subject::from(split.clone())));
        self.groups.hear_split(split);
        self
    }

    fn touched(&mut self) -> BTreeSet<ServiceKey> {
        let snapshot = self.index.snapshot().expect("nothing is awaited");
        self.groups.take_touched(snapshot)
    }

    fn deed(&self) -> Option<Deed> {
        let snapshot = self.index.snapshot().expect("nothing is awaited");
        self.groups.deed(snapshot, &canary(), |_| Some(UID))
    }

    /// The Service that is to be written.
    fn written(&self) -> Value {
        match self.deed() {
            Some(Deed::Write(service)) => serde_json::to_value(service).expect("JSON"),
            other => panic!("{other:?}"),
        }
    }
}

fn canary() -> ServiceKey {
    ServiceKey::parse("shop", CANARY).expect("a name")
}

fn parent() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "checkout", "namespace": "shop"},
        "spec": {
            "type": "NodePort", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"],
            "selector": {"app": "checkout"},
            "ports": [{
                "name": "http", "port": 80, "protocol": "TCP", "targetPort": "web", "nodePort": 30080,
            }],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "publishNotReadyAddresses": true,
        },
    })
}

fn split(version: &str) -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
        "metadata": {"name": "checkout", "namespace": "shop", "uid": UID},
        "spec": {"service": "checkout", "versions": [
            {"name": "stable", "service": "checkout-v1", "weight": 90},
            {"name": "canary", "pods": {"matchLabels": {"version": version}}, "weight": 10},
        ]},
    })
}

/// What was asked for, as the API server stores it.
fn stored(mut service: Value) -> Value {
    service["metadata"]["uid"] = "service-1".into();
    service["metadata"]["resourceVersion"] = "7".into();
    service["spec"]["clusterIPs"] = json!(["None"]);
    service["spec"]["type"] = "ClusterIP".into();
    service["spec"]["sessionAffinity"] = "None".into();
    service
}

#[test]
fn a_group_has_the_selectors_together_and_what_the_parent_has() {
    let mut world = World::new();
    assert_eq!(world.touched(), BTreeSet::from([canary()]));
    let mut service = world.written();
    let owner = service["metadata"]["ownerReferences"][0].take();
    assert_eq!(
        owner,
        json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit", "name": "checkout", "uid": UID,
            "controller": true, "blockOwnerDeletion": false,
        })
    );
    assert_eq!(
        service["metadata"]["labels"]["sluice.dev/policy"],
        "checkout"
    );
    assert_eq!(
        service["spec"],
        json!({
            "clusterIP": "None",
            "selector": {"app": "checkout", "version": "v2"},
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "web"}],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "publishNotReadyAddresses": true,
        })
    );
}

#[test]
fn what_is_as_it_should_be_is_left_alone() {
    let mut world = World::new();
    let service = stored(world.written());
    assert_eq!(world.service(&service).deed(), None);
    // A new version of an object that says the same.
    let mut again = service;
    again["metadata"]["resourceVersion"] = "8".into();
    assert_eq!(world.service(&again).deed(), None);
}

#[test]
fn a_group_follows_its_split_its_parent_and_what_others_do_to_it() {
    let service = stored(World::new().written());
    let mut table = vec![("a split that wants other pods", None, Some(split("v3")))];
    for (what, field, value) in [
        (
            "another selector",
            "selector",
            json!({"app": "checkout", "tier": "web"}),
        ),
        (
            "another port",
            "ports",
            json!([{"port": 81, "protocol": "TCP", "targetPort": 81}]),
        ),
        ("a second family", "ipFamilies", json!(["IPv4", "IPv6"])),
        ("only ready pods", "publishNotReadyAddresses", json!(false)),
    ] {
        let mut parent = parent();
        parent["spec"][field] = value;
        table.push((what, Some(parent), None));
    }
    for (what, field, value) in [
        (
            "more labels asked for",
            "selector",
            json!({"app": "checkout", "version": "v2", "x": "y"}),
        ),
        (
            "fewer labels asked for",
            "selector",
            json!({"app": "checkout"}),
        ),
        ("no ports", "ports", json!([])),
    ] {
        let mut service = service.clone();
        service["spec"][field] = value;
        table.push((what, Some(service), None));
    }
    let mut orphaned = service.clone();
    orphaned["metadata"]["ownerReferences"][0]["uid"] = "split-0".into();
    table.push(("the split was made anew", Some(orphaned), None));
    for (what, changed, split) in table {
        let mut world = World::new();
        world.service(&service);
        world.touched();
        if let Some(service) = &changed {
            world.service(service);
        }
        if let Some(split) = &split {
            world.split(split);
        }
        assert_eq!(world.touched(), BTreeSet::from([canary()]), "{what}");
        let written = world.written();
        assert_eq!(written["metadata"]["uid"], "service-1", "{what}");
        assert_eq!(world.service(&stored(written)).deed(), None, "{what}");
    }
}

#[test]
fn a_group_goes_with_its_version_and_when_it_can_have_no_pods() {
    let service = stored(World::new().written());
    let mut without = split("v2");
    without["spec"]["versions"][1] = json!({"name": "canary", "service": "v2", "weight": 1});
    let mut nothing = parent();
    nothing["spec"]["selector"].take();
    // It keeps its selector, but the API server takes its families away.
    let mut external = parent();
    external["spec"] = json!({
        "type": "ExternalName", "externalName": "checkout.example.com",
        "selector": {"app": "checkout"}, "ports": parent()["spec"]["ports"],
    });
    let mut contradiction = parent();
    contradiction["spec"]["selector"]["version"] = "v1".into();
    // The first family of a Service cannot be changed: the parent was made anew.
    let mut family = parent();
    family["spec"]["ipFamilies"] = json!(["IPv6"]);
    for (what, parent, split) in [
        ("no such version", parent(), without),
        ("a parent without a selector", nothing, split("v2")),
        ("a parent that is another name", external, split("v2")),
        ("a selector that contradicts", contradiction, split("v2")),
        ("another first family", family, split("v2")),
    ] {
        let mut world = World::new();
        world.service(&service);
        world.touched();
        world.service(&parent).split(&split);
        assert_eq!(world.touched(), BTreeSet::from([canary()]), "{what}");
        let Some(Deed::Remove(seen)) = world.deed() else {
            panic!("{what}: {:?}", world.deed());
        };
        assert_eq!(seen.uid.as_deref(), Some("service-1"), "{what}");
        assert_eq!(seen.resource_version.as_deref(), Some("7"), "{what}");
        let mut going = service.clone();
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(world.service(&going).deed(), None, "{what}: once is enough");
        world.service_gone(&canary());
        let wanted = world.deed();
        // What was in the way of the family's change has gone; nothing else is wanted.
        assert_eq!(
            wanted.is_some(),
            what == "another first family",
            "{what}: {wanted:?}"
        );
    }
}

#[test]
fn what_is_not_the_splits_own_is_never_touched() {
    let service = stored(World::new().written());
    let mut unlabelled = service.clone();
    unlabelled["metadata"]["labels"] = json!({});
    let mut unowned = service.clone();
    unowned["metadata"]["ownerReferences"] = json!([]);
    let mut of_another = service.clone();
    of_another["metadata"]["labels"]["sluice.dev/policy"] = "other".into();
    for (what, theirs) in [
        ("no label", unlabelled),
        ("no owner", unowned),
        ("another policy's label", of_another),
    ] {
        let mut theirs = theirs;
        theirs["spec"]["selector"] = json!({"app": "theirs"});
        let mut world = World::new();
        assert_eq!(world.service(&theirs).deed(), None, "{what}");
        let mut without = split("v2");
        without["spec"]["versions"][1] = json!({"name": "canary", "service": "v2", "weight": 1});
        assert_eq!(
            world.split(&without).deed(),
            None,
            "{what}: no such version"
        );
    }
}

#[test]
fn a_split_that_does_not_parse_or_is_gone_keeps_its_groups() {
    let service = stored(World::new().written());
    let mut broken = split("v2");
    broken["spec"]["versions"][0]["weight"] = 2_000_000.into();
    let mut world = World::new();
    world.service(&service);
    assert_eq!(world.split(&broken).deed(), None);
    assert_eq!(world.split_gone().deed(), None, "the garbage collector's");
}
