//! `get`: policies as they were asked for, and as they act; splits above all.

mod conditions;
mod others;
mod policies;
mod reported;
mod text;

use std::str::FromStr;

use serde::Deserialize;
use serde_json::{Value, json};

pub use self::{
    policies::{balancing, balancings, grant, grants, redirect, redirects},
    reported::{report, reports},
    text::{all, nodes, one},
};
use crate::{
    Failure,
    agent::{Agent, Answer},
    answer::{
        report::{List, Report},
        split::Split,
    },
    args::Scope,
    cluster::{Cluster, ClusterError},
    kind::{Kind, NoKind},
    name::{Name, NoName},
    output::{self, Look, Output, Shown},
    way::Way,
};

pub(super) const SPLIT: &str = "TrafficSplit";
const REPORT: &str = "NodeReport";

/// Show policies: what each asks for and what became of it. Of TrafficSplits, the weight that each
/// version was asked to get, and what it gets.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
        kubectl-sluice get -A\n  \
        kubectl-sluice get -n shop\n  \
        kubectl-sluice get shop/checkout -o wide     with what each node says\n  \
        kubectl-sluice get shop/checkout -o yaml\n  \
        kubectl-sluice get lrp -A                    the LocalRedirectPolicies\n  \
        kubectl-sluice get balancing shop/payments\n  \
        kubectl-sluice get grants\n  \
        kubectl-sluice get report node-1")]
pub struct Question {
    /// A kind: splits, lrp, balancing, grants or reports, or as kubectl calls it. Splits when left
    /// out; then this is a name. A split that is called as a kind is NAMESPACE/NAME.
    #[arg(value_name = "KIND")]
    pub kind: Option<KindOrName>,

    /// One of them, with its conditions: NAME, or NAMESPACE/NAME where it is in one.
    #[arg(value_name = "NAME")]
    pub name: Option<Name>,
}

/// The first word after the verb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KindOrName {
    Kind(Kind),
    Name(Name),
}

impl FromStr for KindOrName {
    type Err = NoName;

    fn from_str(text: &str) -> Result<Self, NoName> {
        match text.parse() {
            Ok(kind) => Ok(Self::Kind(kind)),
            Err(NoKind) => text.parse().map(Self::Name),
        }
    }
}

impl Question {
    /// The kind and the name; else what is wrong, in words.
    pub fn what(&self) -> Result<(Kind, Option<&Name>), String> {
        let (kind, name) = match (&self.kind, &self.name) {
            (None, name) => (Kind::default(), name.as_ref()),
            (Some(KindOrName::Kind(kind)), name) => (*kind, name.as_ref()),
            (Some(KindOrName::Name(name)), None) => (Kind::default(), Some(name)),
            (Some(KindOrName::Name(word)), Some(_)) => {
                let known = Kind::taught();
                return Err(format!("there is no kind {}; there are {known}", word.name));
            }
        };
        match name {
            Some(Name {
                namespace: Some(namespace),
                name,
            }) if !kind.is_namespaced() => {
                let kind = kind.name();
                Err(format!(
                    "a {kind} is in no namespace: {name}, not {namespace}/{name}"
                ))
            }
            name => Ok((kind, name)),
        }
    }
}

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    Short,
    Wide,
}

pub async fn run(way: &Way, scope: &Scope, question: &Question) -> Result<Shown, Failure> {
    let given = scope.namespace.as_deref();
    let only = way.only(given, scope.all_namespaces);
    let (kind, name) = question.what().map_err(Failure::Unclear)?;
    let name = name.map(|name| match kind.is_namespaced() {
        true => name.within(way.namespace(given)),
        false => name.name.clone(),
    });
    if kind != Kind::Split {
        let text = others::show(way, kind, only, name.as_deref(), scope.output).await?;
        return Ok(Shown {
            text,
            is_fine: true,
        });
    }
    let text = match (way, name) {
        (Way::Agent(agent), Some(name)) => one_of_agent(agent, &name, scope.output).await?,
        (Way::Agent(agent), None) => all_of_agent(agent, only, scope.output).await?,
        (Way::Cluster(cluster), Some(name)) => one_of_cluster(cluster, &name, scope.output).await?,
        (Way::Cluster(cluster), None) => all_of_cluster(cluster, only, scope.output).await?,
    };
    Ok(Shown {
        text,
        is_fine: true,
    })
}

async fn all_of_cluster(
    cluster: &Cluster,
    namespace: Option<&str>,
    output: Output,
) -> Result<String, ClusterError> {
    let path = Kind::Split.path(namespace);
    let answer = Answer(cluster.get(SPLIT, "", &path).await?);
    output::form(output, &answer, |look| {
        let List { items } = cluster.read::<List<Split>>(SPLIT, &answer.0)?;
        Ok(all(&items, namespace, look, detail(output)))
    })
}

async fn one_of_cluster(
    cluster: &Cluster,
    name: &str,
    output: Output,
) -> Result<String, ClusterError> {
    let answer = of_cluster(cluster, name).await?;
    let reports = match detail(output) {
        Detail::Short => json!({"items": []}),
        Detail::Wide => {
            let path = Kind::Report.path(None);
            cluster.get(REPORT, "", &path).await?
        }
    };
    output::form(output, &answer, |look| {
        let split = cluster.read(SPLIT, &answer.0)?;
        let reports = cluster.read::<List<Report>>(REPORT, &reports)?;
        let mut text = one(&split, look);
        if detail(output) == Detail::Wide {
            text += &nodes(&split, &reports.items, look);
        }
        Ok(text)
    })
}

/// The splits of an agent's status, each as it was sent.
#[derive(Deserialize)]
struct Splits {
    splits: Vec<Value>,
}

async fn all_of_agent(
    agent: &Agent,
    namespace: Option<&str>,
    output: Output,
) -> Result<String, Failure> {
    let answer = agent.ask("/debug/status", &[]).await?;
    let Splits { splits } = agent.read(&answer)?;
    let within = |split: &Value| {
        let own = name_of(split).split('/').next();
        namespace.is_none_or(|namespace| own == Some(namespace))
    };
    let answer = Answer(splits.into_iter().filter(within).collect());
    output::form(output, &answer, |look| {
        let splits: Vec<_> = agent.read(&answer)?;
        Ok(all(&splits, namespace, look, detail(output)))
    })
}

async fn one_of_agent(agent: &Agent, name: &str, output: Output) -> Result<String, Failure> {
    let answer = of_agent(agent, name).await?;
    output::form(output, &answer, |look: Look| {
        Ok(one(&agent.read(&answer)?, look))
    })
}

/// One split as the API has it.
pub(super) async fn of_cluster(cluster: &Cluster, name: &str) -> Result<Answer, ClusterError> {
    let (namespace, own) = name.split_once('/').unwrap_or_default();
    let path = format!("{}/{own}", Kind::Split.path(Some(namespace)));
    cluster.get(SPLIT, name, &path).await.map(Answer)
}

/// One split as an agent tells of it.
pub(super) async fn of_agent(agent: &Agent, name: &str) -> Result<Answer, Failure> {
    let answer = agent.ask("/debug/status", &[]).await?;
    let Splits { splits } = agent.read(&answer)?;
    let split = splits.into_iter().find(|split| name_of(split) == name);
    split.map(Answer).ok_or_else(|| Failure::NoSuchSplit {
        agent: agent.name().to_owned(),
        name: name.to_owned(),
    })
}

fn detail(output: Output) -> Detail {
    match output {
        Output::Wide => Detail::Wide,
        Output::Table | Output::Json | Output::Yaml => Detail::Short,
    }
}

fn name_of(split: &Value) -> &str {
    split
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Said where there is none of a kind.
fn nothing(kind: Kind, namespace: Option<&str>) -> String {
    let kind = kind.name();
    match namespace {
        Some(namespace) => {
            format!("There is no {kind} in namespace {namespace} (-A looks at all of them).\n")
        }
        None => format!("There is no {kind}.\n"),
    }
}
