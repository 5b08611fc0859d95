//! The manifests of the custom resources. The example writes them, a test compares them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_yaml::Value;
use sluice_crds::{BalancingPolicy, FrontendGrant, LocalRedirectPolicy, NodeReport, TrafficSplit};

/// Where they are, from the crate's folder.
pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/crd");
/// What writes them.
pub(crate) const COMMAND: &str = "cargo run -p sluice-crds --example crdgen";

/// Every kind.
pub(crate) fn definitions() -> [CustomResourceDefinition; 5] {
    [
        BalancingPolicy::crd(),
        FrontendGrant::crd(),
        LocalRedirectPolicy::crd(),
        NodeReport::crd(),
        TrafficSplit::crd(),
    ]
}

/// Every file with its text.
pub(crate) fn manifests() -> Result<Vec<(String, String)>, serde_yaml::Error> {
    definitions()
        .iter()
        .map(|crd| Ok((format!("{}.yaml", crd.spec.names.plural), manifest(crd)?)))
        .collect()
}

fn manifest(crd: &CustomResourceDefinition) -> Result<String, serde_yaml::Error> {
    let mut crd = serde_yaml::to_value(crd)?;
    without_foreign_formats(&mut crd);
    let yaml = serde_yaml::to_string(&crd)?;
    Ok(format!(
        "# Made from the types in crds/src by `{COMMAND}`.\n{yaml}"
    ))
}

/// Kubernetes knows no unsigned numbers, and warns of them at each apply; their bounds say the same.
fn without_foreign_formats(schema: &mut Value) {
    match schema {
        Value::Mapping(members) => {
            let is_foreign = |format: &Value| {
                let format = format.as_str().unwrap_or_default();
                format.starts_with("uint")
            };
            if members.get("format").is_some_and(is_foreign) {
                members.remove("format");
            }
            members
                .iter_mut()
                .for_each(|(_, member)| without_foreign_formats(member));
        }
        Value::Sequence(members) => members.iter_mut().for_each(without_foreign_formats),
        _ => {}
    }
}
