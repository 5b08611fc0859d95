//! The documentation names what there is.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

use std::fs;

use kube::{CustomResourceExt, core::GroupVersionKind};
use sluice_crds::{
    BalancingPolicy, FrontendGrant, GROUP, LocalRedirectPolicy, TrafficSplit, VERSION,
    conditions::Reason,
};
use sluice_webhook::{metrics::Metrics, rules};

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
    ] {
        let name = format!("`{}`", reason.name());
        assert!(text.contains(&name), "docs/admission.md lacks {name}");
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
