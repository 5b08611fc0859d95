//! What Argo CD and Flux do with a repository, again after Sluice has written what it writes: defaults and status.
//!
//! A tool that applies by itself compares three ways: what it applied last, what is wanted now, what is there. One that
//! lets the API server apply looks at what the API server would make of it. Neither may find anything to do.

mod merge;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize as _;
use serde_json::{Value, json};
use sluice_kind_tests::shop::condition;
use sluice_testbed::cluster::Access;
use sluice_testbed::tier::eventually;

use crate::bed::{PATIENCE, alone};
use merge::three_ways;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/samples");
const LEAN: &str = include_str!("replayed/lean.yaml");
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// What everything of ours that writes is called by the API server, or begins with.
const OURS: &str = "sluice-";
/// The kinds that have to be among what is compared.
const KINDS: [&str; 5] = [
    "TrafficSplit",
    "LocalRedirectPolicy",
    "BalancingPolicy",
    "FrontendGrant",
    "NodeReport",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Client,
    Server,
}

pub(crate) fn git_sees_no_difference_after_defaults_and_status() -> Result<()> {
    let bed = alone()?;
    let nodes = bed.nodes()?;
    let node = nodes.first().context("a node")?;
    let samples = bed.kubectl(["kustomize", SAMPLES])?;
    let report = json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "NodeReport",
        "metadata": {"name": node, "labels": {"team": "shop"}}, "spec": {},
    });
    let repositories = [samples, LEAN.to_owned(), report.to_string()];
    for way in [Way::Client, Way::Server] {
        let mut kinds = Vec::new();
        for repository in &repositories {
            let replayed = Replayed {
                access: &bed,
                way,
                repository,
            };
            replayed.apply()?;
            let wanted = replayed.wanted()?;
            for object in &wanted {
                replayed.is_settled(object)?;
            }
            // What is about to be written is no difference.
            eventually(PATIENCE, "nothing is to be done", || {
                replayed.compare(&wanted)
            })?;
            kinds.extend(
                wanted
                    .iter()
                    .filter_map(|object| object["kind"].as_str().map(str::to_owned)),
            );
            replayed.remove()?;
        }
        for kind in KINDS {
            ensure!(kinds.iter().any(|there| there == kind), "no {kind}");
        }
        println!("{} objects by {way:?}: nothing to be done", kinds.len());
    }
    Ok(())
}

/// Objects of one repository, applied in one way.
struct Replayed<'a> {
    access: &'a Access,
    way: Way,
    repository: &'a str,
}

impl Replayed<'_> {
    fn kubectl(&self, words: &[&str]) -> Result<String> {
        let way: &[&str] = match self.way {
            Way::Client => &[],
            Way::Server => &["--server-side", "--force-conflicts", "--field-manager=git"],
        };
        let words = [words, way, &["--filename", "-"]].concat();
        self.access.client().run_with(self.repository, words)
    }

    fn apply(&self) -> Result<()> {
        // The webhook, too, may have to come back.
        eventually(PATIENCE, "it is applied", || self.kubectl(&["apply"])).map(drop)
    }

    fn remove(&self) -> Result<()> {
        let delete = ["delete", "--ignore-not-found", "--filename", "-"];
        self.access
            .client()
            .run_with(self.repository, delete)
            .map(drop)
    }

    /// The objects of our kinds.
    fn wanted(&self) -> Result<Vec<Value>> {
        let documents = serde_yaml::Deserializer::from_str(self.repository);
        let mut wanted = Vec::new();
        for document in documents {
            let object = Value::deserialize(document)?;
            // Of Kubernetes' own kinds every tool knows the schema, lists and defaults included.
            if object["apiVersion"] == "sluice.dev/v1alpha1" {
                wanted.push(object);
            }
        }
        Ok(wanted)
    }

    fn live(&self, object: &Value) -> Result<Value> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let kind = text(&object["kind"]).context("a kind")?;
        let name = text(&object["metadata"]["name"]).context("a name")?;
        let namespace = text(&object["metadata"]["namespace"]).unwrap_or_default();
        let words = [
            kind.as_str(),
            &name,
            "--namespace",
            &namespace,
            "--show-managed-fields",
        ];
        self.access.client().get(words)
    }

    /// Waits until everybody has said what there is to say.
    fn is_settled(&self, object: &Value) -> Result<()> {
        eventually(PATIENCE, "its status is written", || {
            let live = self.live(object)?;
            if object["kind"] == "NodeReport" {
                ensure!(!live["status"]["agent"].is_null(), "{live:#}");
                return Ok(());
            }
            let generation = &live["metadata"]["generation"];
            let accepted = condition(&live, "Accepted").context("no condition")?;
            ensure!(accepted["observedGeneration"] == *generation, "{live:#}");
            ensure!(accepted["status"] == "True", "{accepted:#}");
            Ok(())
        })
    }

    fn compare(&self, wanted: &[Value]) -> Result<()> {
        for object in wanted {
            let live = self.live(object)?;
            let last = match self.way {
                Way::Client => last_applied(&live)?,
                Way::Server => object.clone(),
            };
            let difference = three_ways(&last, object, &live);
            ensure!(difference.is_none(), "{difference:?} to {live:#}");
            self.is_alone(&live)?;
        }
        // Fails if there is a difference.
        self.kubectl(&["diff"]).map(drop)
    }

    /// Nothing of ours owns anything that a repository may want to own.
    fn is_alone(&self, live: &Value) -> Result<()> {
        let managers = live["metadata"]["managedFields"].as_array();
        for entry in managers.context("no managers")? {
            let is_ours = entry["manager"]
                .as_str()
                .is_some_and(|manager| manager.starts_with(OURS));
            if !is_ours || entry["subresource"] == "status" {
                continue;
            }
            // An agent says whose its report is, and that its spec is empty.
            let mut fields = entry["fieldsV1"].clone();
            let mut of_metadata = fields["f:metadata"].take();
            let rest = of_metadata.as_object_mut().context("fields")?;
            rest.remove("f:ownerReferences");
            let is_report = live["kind"] == "NodeReport"
                && rest.is_empty()
                && fields == json!({"f:metadata": null, "f:spec": {}});
            ensure!(is_report, "{entry:#} is ours");
        }
        Ok(())
    }
}

/// What kubectl has noted in the object itself. Where there were no annotations it notes an empty list of them.
fn last_applied(live: &Value) -> Result<Value> {
    let noted = live["metadata"]["annotations"][LAST_APPLIED].as_str();
    let mut last: Value = serde_json::from_str(noted.context("nothing was applied last")?)?;
    let metadata = last["metadata"].as_object_mut().context("metadata")?;
    if metadata.get("annotations") == Some(&json!({})) {
        metadata.remove("annotations");
    }
    Ok(last)
}
