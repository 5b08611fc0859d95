//! What accounts asked of the API server, by its own audit log: so that rights can be held against their use.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Cluster, shipped};
use crate::run::Run;

/// One kind of request, as rules on rights see it; a name only where there is one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// The service account.
    pub account: String,
    pub verb: String,
    pub group: String,
    /// With its subresource behind a slash.
    pub resource: String,
    pub namespace: String,
    pub name: String,
    /// Whether the account had the right.
    pub allowed: bool,
}

/// What the API server is told to keep: the requests of Sluice's own accounts, without their contents.
pub(super) fn flags(run: &Run) -> Result<Vec<String>> {
    let group = format!("system:serviceaccounts:{}", shipped::NAMESPACE);
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            { "level": "Metadata", "userGroups": [group] },
            { "level": "None" },
        ],
    });
    let file = run.folder().join("audit-policy.json");
    fs::write(&file, policy.to_string()).context("writing the audit policy")?;
    Ok(vec![
        format!("--audit-policy-file={}", file.display()),
        format!("--audit-log-path={}", log(run).display()),
        "--audit-log-mode=blocking".to_owned(),
    ])
}

fn log(run: &Run) -> PathBuf {
    run.folder().join("audit.log")
}

impl Cluster {
    /// What the accounts of Sluice have asked for so far.
    pub fn requests(&self) -> Result<BTreeSet<Request>> {
        let log = fs::read_to_string(log(self.run())).context("reading the audit log")?;
        let events = log.lines().map(serde_json::from_str::<Value>);
        let mut requests = BTreeSet::new();
        for event in events {
            requests.extend(request(&event.context("a line of the audit log")?));
        }
        Ok(requests)
    }
}

/// Nothing for what is no resource, such as a look at the API's groups; two for an apply that makes its object, which
/// needs both rights.
fn request(event: &Value) -> Vec<Request> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let Some(object) = event.get("objectRef") else {
        return Vec::new();
    };
    let user = text(&event["user"]["username"]);
    let code = &event["responseStatus"]["code"];
    let mut verbs = vec![text(&event["verb"])];
    if verbs == ["patch"] && code == 201 {
        verbs.push("create".to_owned());
    }
    let resource = match (text(&object["resource"]), text(&object["subresource"])) {
        (resource, sub) if sub.is_empty() => resource,
        (resource, sub) => format!("{resource}/{sub}"),
    };
    let one = |verb| Request {
        account: user.rsplit(':').next().unwrap_or_default().to_owned(),
        verb,
        group: text(&object["apiGroup"]),
        resource: resource.clone(),
        namespace: text(&object["namespace"]),
        name: text(&object["name"]),
        allowed: code != 403 || is_too_late(&event["responseStatus"]),
    };
    verbs.into_iter().map(one).collect()
}

/// Whether it was refused because its namespace is being deleted, whatever rights there are.
fn is_too_late(status: &Value) -> bool {
    let causes = status["details"]["causes"].as_array();
    causes.is_some_and(|causes| {
        let mut causes = causes.iter();
        causes.any(|cause| cause["reason"] == "NamespaceTerminating")
    })
}
