//! What is there beside a row's object, in the cluster and in an index.

use anyhow::{Context as _, Result, bail};
use serde::Deserialize as _;
use serde_json::{Value, json};
use sluice_crds::{BalancingPolicy, FrontendGrant, LocalRedirectPolicy, TrafficSplit};
use sluice_model::change::Change;
use sluice_model::compile::{self, claims};
use sluice_model::facts;
use sluice_model::finding::Finding;
use sluice_model::index::Index;
use sluice_model::key::Subject;

use crate::bed::Bed;

const OBJECTS: &str = include_str!("world.yaml");
/// Services in another namespace than the row's.
const FAR: &str = "table-far";
/// What the nodes, namespaces, Services and policies of the rows' namespaces are found by.
const KINDS: &str = "nodes,namespaces,services,frontendgrants,trafficsplits,localredirectpolicies,balancingpolicies";

/// What is said of an object that does not fit its type.
pub(super) const MALFORMED: &str = "malformed";

pub(super) struct World {
    index: Index,
}

impl World {
    /// Makes everything, and reads it again as the API server has it.
    pub(super) fn create(bed: &Bed, namespace: &str) -> Result<Self> {
        bed.namespace(namespace)?;
        bed.namespace(FAR)?;
        bed.cluster
            .kubectl(["label", "namespace", namespace, "sluice.test/granted=true"])?;
        for document in serde_yaml::Deserializer::from_str(OBJECTS) {
            let mut object = Value::deserialize(document)?;
            if object["metadata"]["namespace"].is_null() && object["kind"] != "FrontendGrant" {
                object["metadata"]["namespace"] = json!(namespace);
            }
            bed.cluster.apply(&object.to_string())?;
        }
        let mut index = Index::awaiting([]);
        let list = bed.cluster.client().get([KINDS, "--all-namespaces"])?;
        for object in list["items"].as_array().context("items")? {
            if let Ok(change) = facts::parse(object.clone()) {
                index.apply(change);
            }
        }
        Ok(Self { index })
    }

    /// Why the index does not accept the object, beside all others; the youngest, as a new one is.
    pub(super) fn judge(&self, mut object: Value) -> Result<Option<String>> {
        if object["metadata"]["creationTimestamp"].is_null() && object["metadata"].is_object() {
            object["metadata"]["creationTimestamp"] = json!("2100-01-01T00:00:00Z");
        }
        let Ok(Change::Set(object)) = facts::parse(object) else {
            return Ok(Some(MALFORMED.to_owned()));
        };
        let subject = object.subject();
        let mut findings = object.findings().to_vec();
        let is_usable = object.is_usable();
        let mut index = self.index.clone();
        index.apply(Change::Set(object));
        let snapshot = index.snapshot().context("nothing is awaited")?;
        let compiled = compile::all(snapshot).into_values();
        findings.extend(compiled.flat_map(|compiled| compiled.findings));
        findings.extend(
            claims::judge(snapshot, snapshot.claims())
                .into_values()
                .flatten(),
        );
        let refusal = refusal(&subject, &findings);
        anyhow::ensure!(
            is_usable || refusal.is_some(),
            "it is not usable, and nothing says why"
        );
        Ok(refusal)
    }
}

/// Whether the object means the same after it was read into its type and written again.
pub(super) fn keeps_its_meaning(object: &Value) -> Result<bool> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let object = object.clone();
    let again = match kind {
        "TrafficSplit" => serde_json::to_value(TrafficSplit::deserialize(&object)?)?,
        "LocalRedirectPolicy" => serde_json::to_value(LocalRedirectPolicy::deserialize(&object)?)?,
        "BalancingPolicy" => serde_json::to_value(BalancingPolicy::deserialize(&object)?)?,
        "FrontendGrant" => serde_json::to_value(FrontendGrant::deserialize(&object)?)?,
        kind => bail!("{kind} has no rows"),
    };
    Ok(facts::parse(object) == facts::parse(again))
}

fn refusal(subject: &Subject, findings: &[Finding]) -> Option<String> {
    let own = findings
        .iter()
        .filter(|finding| finding.subject == *subject && finding.refuses());
    own.min().map(|finding| finding.reason.name().to_owned())
}
