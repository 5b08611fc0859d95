//! The rights that the manifests give, held against what was asked of the API server in this run.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluice_testbed::cluster::{Access, Cluster, Request, shipped};

use crate::bed::alone;

/// What was asked before Sluice was removed: it goes after its rights.
static BEFORE_THE_END: OnceLock<BTreeSet<Request>> = OnceLock::new();

/// One verb on one resource, for one account.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    account: String,
    verb: String,
    group: String,
    resource: String,
    /// Everywhere, if there is none.
    namespace: Option<String>,
    /// Whatever it is called, if there is none.
    name: Option<String>,
}

/// To be called before the rights are taken away.
pub(crate) fn remember(cluster: &Cluster) -> Result<()> {
    let requests = cluster.requests()?;
    BEFORE_THE_END.get_or_init(|| requests);
    Ok(())
}

pub(crate) fn every_right_is_used_and_none_is_missed() -> Result<()> {
    let bed = alone()?;
    remember(&bed.own()?.cluster)?;
    let requests = BEFORE_THE_END.get().context("they were remembered")?;
    let refused: Vec<_> = requests.iter().filter(|request| !request.allowed).collect();
    ensure!(refused.is_empty(), "rights are missing: {refused:#?}");
    let rights = granted(&bed)?;
    ensure!(rights.len() > 20, "there are more rights than {rights:#?}");
    let unused: Vec<_> = rights
        .iter()
        .filter(|right| !requests.iter().any(|request| right.is_used_by(request)))
        .collect();
    ensure!(unused.is_empty(), "nobody uses {unused:#?}");
    println!(
        "{} rights, each of them used; {} kinds of requests, none refused",
        rights.len(),
        requests.len()
    );
    Ok(())
}

impl Right {
    fn is_used_by(&self, request: &Request) -> bool {
        let Self {
            account,
            verb,
            group,
            resource,
            namespace,
            name,
        } = self;
        *account == request.account
            && *verb == request.verb
            && *group == request.group
            && *resource == request.resource
            && namespace
                .as_ref()
                .is_none_or(|own| *own == request.namespace)
            && name.as_ref().is_none_or(|own| *own == request.name)
    }
}

/// What the bindings of the installation's namespace give to its accounts.
fn granted(access: &Access) -> Result<BTreeSet<Right>> {
    let mut rights = BTreeSet::new();
    for kind in ["clusterrolebindings", "rolebindings"] {
        let list = [kind, "--namespace", shipped::NAMESPACE, "--selector"];
        let ours = ["app.kubernetes.io/part-of=sluice"];
        let bindings = access.client().get([&list[..], &ours].concat())?;
        for binding in array(&bindings["items"])? {
            let reference = &binding["roleRef"];
            let role = format!(
                "{}/{}",
                text(&reference["kind"])?,
                text(&reference["name"])?
            );
            let role = access
                .client()
                .get([&role, "--namespace", shipped::NAMESPACE])?;
            let namespace = role["metadata"]["namespace"].as_str();
            for subject in array(&binding["subjects"])? {
                let account = text(&subject["name"])?;
                for rule in array(&role["rules"])? {
                    add(rule, account, namespace, &mut rights)?;
                }
            }
        }
    }
    Ok(rights)
}

fn add(
    rule: &Value,
    account: &str,
    namespace: Option<&str>,
    rights: &mut BTreeSet<Right>,
) -> Result<()> {
    let names: Vec<_> = match rule["resourceNames"].as_array() {
        Some(names) => names.iter().map(Value::as_str).collect(),
        None => vec![None],
    };
    for group in array(&rule["apiGroups"])? {
        for resource in array(&rule["resources"])? {
            for verb in array(&rule["verbs"])? {
                for name in &names {
                    rights.insert(Right {
                        account: account.to_owned(),
                        verb: text(verb)?.to_owned(),
                        group: text(group)?.to_owned(),
                        resource: text(resource)?.to_owned(),
                        namespace: namespace.map(str::to_owned),
                        name: name.map(str::to_owned),
                    });
                }
            }
        }
    }
    Ok(())
}

fn array(value: &Value) -> Result<&Vec<Value>> {
    value
        .as_array()
        .with_context(|| format!("{value} is no list"))
}

fn text(value: &Value) -> Result<&str> {
    value
        .as_str()
        .with_context(|| format!("{value} is no text"))
}
