//! The documentation names what there is.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

#[path = "support/reviews.rs"]
mod reviews;

use std::fs;

use kube::{CustomResourceExt, core::GroupVersionKind};
use serde_json::json;
use sluice_crds::{
    BalancingPolicy, FrontendGrant, GROUP, LocalRedirectPolicy, TrafficSplit, VERSION,
    conditions::Reason,
};
use sluice_model::key::Kind;
use sluice_webhook::{metrics::Metrics, review, rules};

fn documentation() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/admission.md");
    fs::read_to_string(path).expect("docs/admission.md")
}

#[test]
fn each_reason_of_a_refusal_or_a_warning_is_in_the_table() {
    let text = documentation();
    for reason in [
        Reason::Invalid,
        Reason::Conflicted,
        Reason::AddressReserved,
        Reason::AddressNotGranted,
        Reason::FeatureMissing,
        Reason::Shadowed,
    ] {
        let name = format!("`{}`", reason.name());
        assert!(text.contains(&name), "docs/admission.md lacks {name}");
    }
}

/// The row of the table about what waits for its dataplane names just that.
#[test]
fn what_agents_cannot_do_yet_is_what_the_table_says() {
    let text = documentation();
    let row = text.lines().find(|line| line.contains("`FeatureMissing`"));
    let row = row.expect("a row about it");
    for (field, name, value) in [
        ("selection", "`selection: Sticky`", json!("Sticky")),
        (
            "callers",
            "`callers`",
            json!([{"name": "qa", "from": [{"pods": {}}], "weights": {"canary": 1}}]),
        ),
        ("capByReadiness", "`capByReadiness`", json!(true)),
        ("onShift", "`onShift`", json!({"connections": "Cut"})),
        (
            "rollout",
            "`rollout`",
            json!({"target": "canary", "canary": {"steps": [{"weight": "100%"}]}}),
        ),
        (
            "versions",
            "a version by `pods`",
            json!([{"name": "canary", "pods": {"matchLabels": {"a": "b"}}, "weight": 1}]),
        ),
    ] {
        let mut split = reviews::split(&reviews::spec());
        split["spec"]["ports"] = json!(["http"]);
        split["spec"][field] = value;
        let question = reviews::review("CREATE", &split).to_string();
        let question = review::read(question.as_bytes()).expect("a review");
        let split = question.object.expect("an object");
        let verdict = reviews::store()
            .look(|cluster| rules::judge(Kind::TrafficSplit, None, &split, cluster));
        assert!(!verdict.is_denied(), "{field}: {verdict:?}");
        let mut warnings = verdict.warnings.iter();
        let is_missing = warnings.any(|finding| finding.reason == Reason::FeatureMissing);
        assert_eq!(row.contains(name), is_missing, "{name}: {row}");
    }
}

#[test]
fn each_kind_that_is_asked_about_has_rules() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../config/webhook/configurations.yaml"
    );
    let text = fs::read_to_string(path).expect("the configurations");
    for crd in [
        BalancingPolicy::crd(),
        FrontendGrant::crd(),
        LocalRedirectPolicy::crd(),
        TrafficSplit::crd(),
    ] {
        let names = &crd.spec.names;
        let gvk = GroupVersionKind::gvk(GROUP, VERSION, &names.kind);
        assert!(rules::kind(&gvk).is_some(), "{} has no rules", names.kind);
        assert!(
            text.contains(&names.plural),
            "{} is not asked about",
            names.kind
        );
    }
    let reports = GroupVersionKind::gvk(GROUP, VERSION, "NodeReport");
    assert_eq!(rules::kind(&reports), None);
}

#[test]
fn each_metric_is_in_the_table() {
    let text = documentation();
    let metrics = Metrics::default().encode().expect("metrics");
    let names = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE sluice_webhook_"));
    for name in names.filter_map(|rest| rest.split(' ').next()) {
        assert!(
            text.contains(&format!("`{name}")),
            "docs/admission.md lacks {name}"
        );
    }
}
