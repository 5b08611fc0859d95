//! What Services and namespaces tell Sluice by annotations and labels, and what the API server says to it.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluice_testbed::tier::eventually;

use crate::bed::{PATIENCE, bed};

pub(crate) fn hints_that_mean_nothing_are_warned_of_and_never_refused() -> Result<()> {
    let bed = bed()?;
    let namespace = "hinted";
    bed.namespace(namespace)?;
    let service = |annotation: &str, value: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "checkout", "namespace": namespace,
                "annotations": { annotation: value },
            },
            "spec": {"ports": [{"port": 80}]},
        })
    };
    let labelled = |label: &str, value: &str| {
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": "hinted-too", "labels": { label: value } },
        })
    };
    let rows: [(Value, Option<&str>); 12] = [
        (service("sluice.dev/balancing", "Random"), None),
        (
            service("sluice.dev/balancing", "Fastest"),
            Some("sluice.dev/balancing"),
        ),
        (
            service("sluice.dev/balancing", ""),
            Some("sluice.dev/balancing"),
        ),
        (
            service("sluice.dev/balancing", "random"),
            Some("sluice.dev/balancing"),
        ),
        (service("sluice.dev/on-backend-gone", "Cut"), None),
        (
            service("sluice.dev/on-backend-gone", "cut"),
            Some("sluice.dev/on-backend-gone"),
        ),
        (service("example.com/balancing", "Fastest"), None),
        (labelled("sluice.dev/opt-out", "true"), None),
        (
            labelled("sluice.dev/opt-out", "yes"),
            Some("sluice.dev/opt-out"),
        ),
        (labelled("sluice.dev/break-glass", "true"), None),
        (
            labelled("sluice.dev/break-glass", "1"),
            Some("sluice.dev/break-glass"),
        ),
        (labelled("example.com/opt-out", "yes"), None),
    ];
    // The API server follows its policies with a delay.
    eventually(PATIENCE, "every hint is answered", || {
        for (object, warns) in &rows {
            let said = bed.create(object, &["--dry-run=server"])?;
            let warned = said.contains("Warning: ");
            ensure!(warned == warns.is_some(), "{object}: {said}");
            ensure!(
                warns.is_none_or(|name| said.contains(name)),
                "{object}: {said}"
            );
        }
        Ok(())
    })?;
    // The Services' balancing is the one that agents know.
    let policy = ["validatingadmissionpolicy", "hints.sluice.dev"];
    let policy = bed.cluster.client().get(policy)?;
    let checks = policy["status"]["typeChecking"].as_object();
    ensure!(checks.context("it was checked")?.is_empty(), "{policy:#}");
    Ok(())
}
