//! The manifests of the custom resources. The example writes them, a test compares them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use sluice_crds::{NodeReport, TrafficSplit};

/// Where they are, from the crate's folder.
pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/crd");
/// What writes them.
pub(crate) const COMMAND: &str = "cargo run -p sluice-crds --example crdgen";

/// Every file with its text.
pub(crate) fn manifests() -> Result<Vec<(String, String)>, serde_yaml::Error> {
    [TrafficSplit::crd(), NodeReport::crd()]
        .iter()
        .map(|crd| Ok((format!("{}.yaml", crd.spec.names.plural), manifest(crd)?)))
        .collect()
}

fn manifest(crd: &CustomResourceDefinition) -> Result<String, serde_yaml::Error> {
    let yaml = serde_yaml::to_string(crd)?;
    Ok(format!(
        "# Made from the types in crds/src by `{COMMAND}`.\n{yaml}"
    ))
}
