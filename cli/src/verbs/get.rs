//! `get`: splits as they were asked for, and as they act.

mod text;

use kube::Resource as _;
use serde::Deserialize;
use serde_json::{Value, json};
use sluice_crds::{NodeReport, TrafficSplit};

pub use self::text::{all, nodes, one};
use crate::{
    Failure,
    agent::{Agent, Answer},
    answer::{
        report::{List, Report},
        split::Split,
    },
    args::Scope,
    cluster::{Cluster, ClusterError},
    name::Name,
    output::{self, Look, Output, Shown},
    way::Way,
};

const SPLIT: &str = "TrafficSplit";
const REPORT: &str = "NodeReport";

/// Show the TrafficSplits: the weight that each version was asked to get, and what it gets.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
        kubectl-sluice get -A\n  \
        kubectl-sluice get -n shop\n  \
        kubectl-sluice get shop/checkout -o wide     with what each node says\n  \
        kubectl-sluice get shop/checkout -o yaml")]
pub struct Question {
    /// One split, with its conditions: NAME or NAMESPACE/NAME.
    #[arg(value_name = "NAME")]
    pub name: Option<Name>,
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
    let name = question.name.as_ref();
    let name = name.map(|name| name.within(way.namespace(given)));
    let text = match (way, name) {
        (Way::Agent(agent), Some(name)) => one_of_agent(agent, name, scope.output).await?,
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
    let path = TrafficSplit::url_path(&(), namespace);
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
    let (namespace, own) = name.split_once('/').unwrap_or_default();
    let path = format!("{}/{own}", TrafficSplit::url_path(&(), Some(namespace)));
    let answer = Answer(cluster.get(SPLIT, name, &path).await?);
    let reports = match detail(output) {
        Detail::Short => json!({"items": []}),
        Detail::Wide => {
            let path = NodeReport::url_path(&(), None);
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

async fn one_of_agent(agent: &Agent, name: String, output: Output) -> Result<String, Failure> {
    let answer = agent.ask("/debug/status", &[]).await?;
    let Splits { splits } = agent.read(&answer)?;
    let Some(split) = splits.into_iter().find(|split| name_of(split) == name) else {
        let agent = agent.name().to_owned();
        return Err(Failure::NoSuchSplit { agent, name });
    };
    let answer = Answer(split);
    output::form(output, &answer, |look: Look| {
        Ok(one(&agent.read(&answer)?, look))
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
