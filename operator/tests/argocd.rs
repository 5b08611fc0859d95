//! What Argo CD makes of Sluice's objects, by the scripts in `config/argocd` run by the Lua that it has.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

use std::collections::BTreeMap;

use mlua::{Lua, LuaSerdeExt as _};
use serde_json::{Value, json};
use sluice_crds::conditions::{ConditionType, Reason};
use sluice_model::{
    condition::{Condition, Judged},
    facts::command::{ANNOTATION, Command, Verb},
    key::{Kind, NodeKey},
    rollup::Standing,
};
use sluice_operator::status::{self, Known};

const POLICY: &str = include_str!("../../config/argocd/health/policy.lua");
const GRANT: &str = include_str!("../../config/argocd/health/grant.lua");
const ACTIONS: &str = include_str!("../../config/argocd/actions.yaml");
const KUSTOMIZATION: &str = include_str!("../../config/argocd/kustomization.yaml");

/// Runs a script with an object, as Argo CD does.
fn run(script: &str, object: &Value) -> Value {
    let lua = Lua::new();
    let given = lua.to_value(object).expect("a table");
    lua.globals().set("obj", given).expect("a global");
    let answer: mlua::Value = lua.load(script).eval().expect("the script runs");
    lua.from_value(answer).expect("JSON")
}

fn health(script: &str, object: &Value) -> (String, String) {
    let answer = run(script, object);
    let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("message"))
}

fn condition(kind: ConditionType, problem: Option<Reason>, fine: Reason) -> Condition {
    Condition {
        kind,
        status: problem.is_none(),
        reason: problem.unwrap_or(fine),
        message: problem.map_or(String::new(), |_| "a person reads this".to_owned()),
    }
}

/// An object as the operator leaves it.
fn stored(kind: Kind, accepted: Option<Reason>, resolved: Option<Reason>, nodes: u32) -> Value {
    let node = NodeKey::parse("", "node1").expect("a name");
    let mut standing = Standing::default();
    standing.nodes.desired = 1;
    standing.nodes.programmed = nodes;
    standing.pending = if nodes == 0 { vec![node] } else { Vec::new() };
    let judged = Judged {
        observed_generation: Some(2),
        versions: Vec::new(),
        accepted: condition(ConditionType::Accepted, accepted, Reason::Accepted),
        resolved: Some(condition(
            ConditionType::ResolvedRefs,
            resolved,
            Reason::ResolvedRefs,
        )),
        hindered: accepted.or(resolved).map(|reason| (reason, String::new())),
    };
    let known = Known {
        kind,
        generation: Some(2),
        command: None,
        standing: &standing,
        before: &[],
        now: jiff::Timestamp::UNIX_EPOCH,
    };
    let status = serde_json::to_value(status::of(judged, known)).expect("a status is JSON");
    json!({"metadata": {"name": "a", "generation": 2}, "spec": {}, "status": status})
}

#[test]
fn health_is_what_the_operator_says() {
    for kind in [
        Kind::TrafficSplit,
        Kind::LocalRedirectPolicy,
        Kind::BalancingPolicy,
    ] {
        for (accepted, resolved, nodes, expected) in [
            (None, None, 1, "Healthy"),
            (None, None, 0, "Progressing"),
            (None, Some(Reason::ServiceNotFound), 1, "Progressing"),
            (None, Some(Reason::PortNotFound), 1, "Degraded"),
            (Some(Reason::Invalid), None, 1, "Degraded"),
            (Some(Reason::Conflicted), None, 1, "Degraded"),
            (Some(Reason::AddressNotGranted), None, 1, "Degraded"),
        ] {
            let object = stored(kind, accepted, resolved, nodes);
            let (found, message) = health(POLICY, &object);
            assert_eq!(found, expected, "{object:#} {message}");
            if let Some(reason) = accepted.or(resolved) {
                assert!(message.starts_with(reason.name()), "{message}");
            }
        }
        let mut edited = stored(kind, None, None, 1);
        edited["metadata"]["generation"] = 3.into();
        assert_eq!(health(POLICY, &edited).0, "Progressing");
        let new = json!({"metadata": {"name": "a", "generation": 1}, "spec": {}});
        assert_eq!(health(POLICY, &new).0, "Progressing");
    }
    let granted = stored(Kind::FrontendGrant, None, None, 0);
    assert_eq!(health(GRANT, &granted).0, "Healthy");
    let broken = stored(Kind::FrontendGrant, Some(Reason::Invalid), None, 0);
    assert_eq!(health(GRANT, &broken).0, "Degraded");
}

#[test]
fn a_rollout_counts_once_the_nodes_have_the_split() {
    for (state, expected) in [
        ("Progressing", "Progressing"),
        ("Paused", "Suspended"),
        ("Completed", "Healthy"),
        ("RolledBack", "Degraded"),
        ("Aborted", "Degraded"),
    ] {
        let mut object = stored(Kind::TrafficSplit, None, None, 1);
        object["status"]["rollout"] = json!({"state": state, "step": 1, "of": 3});
        let (found, message) = health(POLICY, &object);
        assert_eq!(found, expected, "{state}: {message}");
    }
}

#[test]
fn an_action_is_a_command_and_changes_nothing_else() {
    let actions: Value = serde_yaml::from_str(ACTIONS).expect("YAML");
    let definitions = actions["definitions"].as_array().expect("a list");
    let names: Vec<_> = definitions
        .iter()
        .map(|action| action["name"].as_str())
        .collect();
    assert_eq!(names, Verb::ALL.map(|verb| Some(verb.name())));
    for (verb, action) in Verb::ALL.into_iter().zip(definitions) {
        let script = action["action.lua"].as_str().expect("a script");
        for annotations in [Value::Null, json!({"kept": "yes", ANNOTATION: "pause@1"})] {
            let mut object = stored(Kind::TrafficSplit, None, None, 1);
            if annotations.is_object() {
                object["metadata"]["annotations"] = annotations.clone();
            }
            let mut changed = run(script, &object);
            let annotation = changed["metadata"]["annotations"][ANNOTATION].take();
            let command = annotation.as_str().map(Command::parse).expect("a command");
            assert_eq!(command.map(|command| command.verb), Ok(verb));
            let kept = &changed["metadata"]["annotations"]["kept"];
            assert_eq!(kept, &annotations["kept"]);
            assert_eq!(changed["status"]["nodes"], object["status"]["nodes"]);
        }
    }
}

#[test]
fn actions_are_offered_where_they_can_do_something() {
    let actions: Value = serde_yaml::from_str(ACTIONS).expect("YAML");
    let discovery = actions["discovery.lua"].as_str().expect("a script");
    let offered = |rollout: Option<&str>| -> Vec<String> {
        let mut object = stored(Kind::TrafficSplit, None, None, 1);
        if let Some(state) = rollout {
            object["spec"]["rollout"] = json!({"target": "canary"});
            object["status"]["rollout"] = json!({"state": state});
        }
        let found = run(discovery, &object);
        let found: BTreeMap<String, Value> = serde_json::from_value(found).expect("actions");
        let enabled = found
            .into_iter()
            .filter(|(_, action)| action["disabled"] == false);
        enabled.map(|(name, _)| name).collect()
    };
    assert_eq!(offered(None), Vec::<String>::new());
    assert_eq!(offered(Some("Progressing")), ["abort", "pause", "promote"]);
    assert_eq!(offered(Some("Paused")), ["abort", "promote", "resume"]);
    assert_eq!(offered(Some("Completed")), Vec::<String>::new());
    assert_eq!(offered(Some("RolledBack")), ["retry"]);
}

#[test]
fn every_kind_that_people_write_has_a_health_check() {
    for kind in [
        Kind::TrafficSplit,
        Kind::LocalRedirectPolicy,
        Kind::BalancingPolicy,
        Kind::FrontendGrant,
    ] {
        let key = format!("resource.customizations.health.sluice.dev_{kind}=");
        assert!(KUSTOMIZATION.contains(&key), "{key}");
    }
}
