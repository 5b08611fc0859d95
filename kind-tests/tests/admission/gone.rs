//! The webhook is killed: what goes on, what does not, and the way out.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluice_testbed::tier::eventually;

use crate::bed::{Bed, OWN_GRANT, PATIENCE, Whose, bed, spec, split};

const NAMESPACE: &str = "gone";
const PORT: u16 = 9444;

pub(crate) fn a_webhook_that_is_gone_stops_nothing_but_changes_of_policies() -> Result<()> {
    let bed = bed()?;
    bed.namespace(NAMESPACE)?;
    let stored = split(NAMESPACE, "stored", &spec("stored"));
    bed.create(&stored, &[])?;
    bed.create(&grant(), &[])?;
    let mut webhook = bed.another(PORT)?;
    bed.configure(Whose {
        namespace: Some(NAMESPACE),
        port: PORT,
    })?;
    let policies = [
        split(NAMESPACE, "new", &spec("new")),
        json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "LocalRedirectPolicy",
            "metadata": {"name": "new", "namespace": NAMESPACE},
            "spec": {
                "frontend": {"service": {"name": "new"}},
                "backend": {"pods": {"matchLabels": {"app": "new"}}, "ports": [{"name": "http", "port": 1}]},
            },
        }),
    ];
    for policy in &policies {
        eventually(PATIENCE, "its webhook answers", || {
            bed.create(policy, &["--dry-run=server"]).map(drop)
        })?;
    }
    webhook.kill()?;
    for policy in &policies {
        eventually(PATIENCE, "it is missed", || {
            let error = bed.create(policy, &["--dry-run=server"]).err();
            let error = error.context("it was taken")?.to_string();
            ensure!(error.contains("failed calling webhook"), "{error}");
            Ok(())
        })?;
    }
    others_go_on(&bed)?;
    what_is_stored_can_go(&bed)?;

    // The way out.
    bed.break_glass(NAMESPACE, true)?;
    for policy in &policies {
        eventually(PATIENCE, "the glass is broken", || {
            bed.create(policy, &["--dry-run=server"]).map(drop)
        })?;
    }
    let grants = ["frontendgrant", "gone"];
    let label = [&["label"], &grants[..], &["sluice.dev/break-glass=true"]];
    bed.cluster.kubectl(label.concat())?;
    let patch = r#"{"spec": {"addresses": ["192.0.2.8/32"]}}"#;
    let patch = [&["patch"], &grants[..], &["--type=merge", "--patch", patch]];
    bed.cluster.kubectl(patch.concat())?;
    bed.cluster.kubectl([&["delete"], &grants[..]].concat())?;
    let configurations = "validatingwebhookconfiguration,mutatingwebhookconfiguration";
    bed.cluster
        .kubectl(["delete", configurations, NAMESPACE])
        .map(drop)
}

fn grant() -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "FrontendGrant",
        "metadata": {"name": "gone", "labels": { OWN_GRANT: NAMESPACE }},
        "spec": {"namespaces": {"matchLabels": {"team": "a"}}, "addresses": ["192.0.2.7/32"]},
    })
}

/// Nothing that is not a policy.
fn others_go_on(bed: &Bed) -> Result<()> {
    let objects = [
        json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}]}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}}),
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"holderIdentity": "a"}}),
        json!({"apiVersion": "v1", "kind": "Pod", "spec": {
            "containers": [{"name": "a", "image": "sluice.test/testbed:1", "imagePullPolicy": "Never", "args": ["pause"]}],
        }}),
    ];
    for mut object in objects {
        object["metadata"] = json!({"name": "other", "namespace": NAMESPACE});
        bed.create(&object, &[])?;
        let kind = object["kind"].as_str().context("a kind")?;
        let name = [kind, "other", "--namespace", NAMESPACE];
        bed.cluster
            .kubectl([&["label"], &name[..], &["a=b"]].concat())?;
        bed.cluster
            .kubectl([&["delete"], &name[..], &["--wait=false"]].concat())?;
    }
    let node = [
        "label",
        "node",
        "node1",
        "sluice.test/gone=true",
        "--overwrite",
    ];
    bed.cluster.kubectl(node).map(drop)
}

/// Labels, status and deletion of what is there already, and no change of what it says.
fn what_is_stored_can_go(bed: &Bed) -> Result<()> {
    let stored = ["trafficsplit", "stored", "--namespace", NAMESPACE];
    bed.cluster
        .kubectl([&["label"], &stored[..], &["team=shop"]].concat())?;
    let status = r#"{"status": {"observedGeneration": 1}}"#;
    let status = ["--subresource=status", "--type=merge", "--patch", status];
    bed.cluster
        .kubectl([&["patch"], &stored[..], &status].concat())?;
    let change = [
        "--type=merge",
        "--patch",
        r#"{"spec": {"selection": "Random"}}"#,
    ];
    let changed = bed
        .cluster
        .kubectl([&["patch"], &stored[..], &change].concat());
    ensure!(changed.is_err(), "a change went past the webhook");
    bed.cluster
        .kubectl([&["delete"], &stored[..]].concat())
        .map(drop)
}
