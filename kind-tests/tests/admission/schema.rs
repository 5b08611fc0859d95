//! What the CRD alone says: its bounds and rules, as the API server understands them.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sluice_crds::split::{LABEL_KEYS, NO_WEIGHT, ONE_SOURCE};

use crate::bed::{bed, spec, split};

pub(crate) fn each_field_is_held_to_its_bounds() -> Result<()> {
    let bed = bed()?;
    let namespace = "bounds";
    bed.namespace(namespace)?;
    let of = |versions: Value| json!({"service": "checkout", "versions": versions});
    let version =
        |version: Value| of(json!([{"name": "stable", "service": "v1", "weight": 1}, version]));
    let labels =
        |labels: Value| version(json!({"name": "a", "weight": 1, "pods": {"matchLabels": labels}}));
    let many: Value = (0..17)
        .map(|i| (format!("k{i}"), json!("")))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let bad = [
        (of(json!([])), "spec.versions: Invalid value"),
        (
            json!({"service": "checkout"}),
            "spec.versions: Required value",
        ),
        (spec("Checkout"), "spec.service: Invalid value"),
        (
            version(json!({"name": "stable", "service": "v2", "weight": 1})),
            "spec.versions[1]: Duplicate value",
        ),
        (
            version(json!({"name": "a", "service": "v2", "weight": 1_000_001})),
            "spec.versions[1].weight: Invalid value",
        ),
        (
            version(json!({"name": "a", "service": "v2", "weight": -1})),
            "spec.versions[1].weight: Invalid value",
        ),
        (
            version(json!({"name": "a", "service": "v2"})),
            "spec.versions[1].weight: Required value",
        ),
        (version(json!({"name": "a", "weight": 1})), ONE_SOURCE),
        (
            version(
                json!({"name": "a", "weight": 1, "service": "v2", "pods": {"matchLabels": {"a": "b"}}}),
            ),
            ONE_SOURCE,
        ),
        (
            of(json!([{"name": "a", "service": "v1", "weight": 0}])),
            NO_WEIGHT,
        ),
        (
            labels(json!({})),
            "spec.versions[1].pods.matchLabels: Invalid value",
        ),
        (labels(many), "spec.versions[1].pods.matchLabels: Too many"),
        (labels(json!({"a b": "c"})), LABEL_KEYS),
        (labels(json!({"a/b/c": "d"})), LABEL_KEYS),
        (
            labels(json!({"a": "-"})),
            "spec.versions[1].pods.matchLabels.a: Invalid value",
        ),
    ];
    let mut wrong = Vec::new();
    for (spec, says) in &bad {
        match bed.create(&split(namespace, "bad", spec), &["--dry-run=server"]) {
            Ok(said) => wrong.push(format!("{spec} was taken: {said}")),
            Err(error) if format!("{error:#}").contains(says) => {}
            Err(error) => wrong.push(format!("{spec}: not with {says:?}: {error:#}")),
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let good = labels(json!({"app.kubernetes.io/version": "2.0_RC-1", "empty": ""}));
    bed.create(&split(namespace, "good", &good), &["--dry-run=server"])?;
    Ok(())
}

pub(crate) fn splits_are_found_and_shown_by_their_service() -> Result<()> {
    let bed = bed()?;
    let namespace = "shown";
    bed.namespace(namespace)?;
    for service in ["checkout", "search"] {
        bed.create(&split(namespace, service, &spec(service)), &[])?;
    }
    let cluster = &bed.cluster;
    let table = cluster.kubectl([
        "get",
        "split",
        "--namespace",
        namespace,
        "--field-selector",
        "spec.service=search",
    ])?;
    let lines: Vec<_> = table.lines().collect();
    ensure!(lines.len() == 2, "{table}");
    let titles: Vec<_> = lines[0].split_whitespace().collect();
    let known = [
        "NAME",
        "SERVICE",
        "VERSIONS",
        "SHARES",
        "ACCEPTED",
        "PROGRAMMED",
        "AGE",
    ];
    ensure!(titles == known, "{table}");
    ensure!(lines[1].starts_with("search"), "{table}");
    let explained = cluster.kubectl(["explain", "trafficsplit.spec.versions.pods.matchLabels"])?;
    ensure!(explained.contains("Labels that a pod needs"), "{explained}");
    Ok(())
}
