//! The webhook's certificates, and that the API server is told whom to trust.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluice_testbed::tier::eventually;

use crate::bed::{Bed, PATIENCE, SYSTEM, bed};

const SERVING: &str = "sluice-webhook-tls";
const AUTHORITY: &str = "sluice-webhook-ca";
const KINDS: [&str; 2] = [
    "validatingwebhookconfiguration",
    "mutatingwebhookconfiguration",
];

pub(crate) fn certificates_are_made_and_put_right_and_the_api_server_told() -> Result<()> {
    let bed = bed()?;
    let mut turn = bed.turn();
    let operator = turn.leader()?;

    let (made, authority) = (
        secret(&bed, SERVING, ready)?,
        secret(&bed, AUTHORITY, ready)?,
    );
    ensure!(
        made["data"]["ca.crt"] == authority["data"]["ca.crt"],
        "another one is trusted"
    );
    ensure!(
        made["data"]["ca.key"].is_null(),
        "the webhook sees the authority's key"
    );
    let expiry = "sluice_operator_certificate_expiry_seconds{certificate=\"serving\"}";
    operator.await_number(expiry, |seconds| seconds > 1_700_000_000)?;

    for configuration in configurations() {
        bed.cluster.apply(&configuration.to_string())?;
    }
    for kind in KINDS {
        told(&bed, kind, &made["data"]["ca.crt"])?;
        // Whoever installed it applies it again, without a bundle.
        for configuration in configurations() {
            bed.cluster.apply(&configuration.to_string())?;
        }
        told(&bed, kind, &made["data"]["ca.crt"])?;
        let lie =
            json!([{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": ""}]);
        bed.cluster.kubectl([
            "patch",
            kind,
            "sluice-webhook",
            "--type",
            "json",
            "--patch",
            &lie.to_string(),
        ])?;
        let configuration = told(&bed, kind, &made["data"]["ca.crt"])?;
        let hook = &configuration["webhooks"][0];
        ensure!(hook["sideEffects"] == "None", "more was written: {hook:#}");
    }

    bed.cluster
        .kubectl(["delete", "secret", SERVING, "--namespace", SYSTEM])?;
    let again = secret(&bed, SERVING, |secret| {
        ready(secret) && secret["metadata"]["uid"] != made["metadata"]["uid"]
    })?;
    ensure!(
        again["data"]["ca.crt"] == made["data"]["ca.crt"],
        "the authority stays"
    );
    ensure!(
        again["data"]["tls.crt"] != made["data"]["tls.crt"],
        "its key was gone"
    );

    let half = json!({"data": {"tls.key": null}}).to_string();
    bed.cluster.kubectl([
        "patch",
        "secret",
        SERVING,
        "--namespace",
        SYSTEM,
        "--type",
        "merge",
        "--patch",
        &half,
    ])?;
    secret(&bed, SERVING, |secret| {
        ready(secret) && secret["data"]["tls.crt"] != again["data"]["tls.crt"]
    })?;

    bed.cluster
        .kubectl(["delete", "secret", AUTHORITY, "--namespace", SYSTEM])?;
    let new = secret(&bed, AUTHORITY, |secret| {
        ready(secret) && secret["metadata"]["uid"] != authority["metadata"]["uid"]
    })?;
    ensure!(
        new["data"]["former.crt"] == authority["data"]["ca.crt"],
        "the lost one is not forgotten"
    );
    let trusted = secret(&bed, SERVING, |secret| {
        secret["data"]["ca.crt"] != made["data"]["ca.crt"]
    })?;
    for kind in KINDS {
        told(&bed, kind, &trusted["data"]["ca.crt"])?;
    }
    for kind in KINDS {
        bed.cluster.kubectl(["delete", kind, "sluice-webhook"])?;
    }
    Ok(())
}

pub(crate) fn a_new_operator_keeps_the_certificates_that_there_are() -> Result<()> {
    let bed = bed()?;
    let mut turn = bed.turn();
    drop(turn.leader()?);
    let version = |name| -> Result<Value> {
        let secret = secret(&bed, name, ready)?;
        Ok(secret["metadata"]["resourceVersion"].clone())
    };
    let versions = || -> Result<[Value; 2]> { Ok([version(SERVING)?, version(AUTHORITY)?]) };
    let before = versions()?;
    let operator = turn.leader()?;
    // The configurations come last: when these are right, it has looked at all of it.
    for configuration in configurations() {
        bed.cluster.apply(&configuration.to_string())?;
    }
    let made = secret(&bed, SERVING, ready)?;
    for kind in KINDS {
        told(&bed, kind, &made["data"]["ca.crt"])?;
        bed.cluster.kubectl(["delete", kind, "sluice-webhook"])?;
    }
    ensure!(versions()? == before, "they were written again");
    drop(operator);
    Ok(())
}

fn configurations() -> [Value; 2] {
    let configuration = |kind: &str, name: &str| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
            "metadata": {"name": "sluice-webhook"},
            "webhooks": [{
                "name": name,
                "clientConfig": {"service": {"name": "sluice-webhook", "namespace": SYSTEM, "path": "/"}},
                "rules": [{
                    "apiGroups": ["nothing.sluice.dev"], "apiVersions": ["v1alpha1"],
                    "operations": ["CREATE"], "resources": ["nothings"],
                }],
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }],
        })
    };
    [
        configuration("ValidatingWebhookConfiguration", "validate.sluice.dev"),
        configuration("MutatingWebhookConfiguration", "default.sluice.dev"),
    ]
}

/// Waits until the API server is told to trust this bundle.
fn told(bed: &Bed, kind: &str, bundle: &Value) -> Result<Value> {
    eventually(PATIENCE, "the API server is told", || {
        let configuration = bed.cluster.client().get([kind, "sluice-webhook"])?;
        let told = &configuration["webhooks"][0]["clientConfig"]["caBundle"];
        ensure!(told == bundle, "{told} and not {bundle}");
        Ok(configuration)
    })
}

fn ready(secret: &Value) -> bool {
    secret["data"]
        .as_object()
        .is_some_and(|data| data.len() == 3)
}

fn secret(bed: &Bed, name: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
    eventually(PATIENCE, "a Secret", || {
        let secret = bed.get(SYSTEM, "secret", name)?;
        let data = secret["data"].as_object().context("it has data")?;
        ensure!(holds(&secret), "{name} has {:?}", data.keys());
        Ok(secret)
    })
}
