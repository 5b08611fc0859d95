//! `status`: how the nodes do, or one of them.

mod node;
mod nodes;

use kube::Resource as _;
use serde_json::Value;
use sluice_crds::NodeReport;

pub use self::{
    node::text as of_node,
    nodes::{Node, join, text as of_nodes},
};
use crate::{
    Failure,
    agent::{Agent, Answer},
    answer::report::{List, Report},
    args::Scope,
    cluster::Cluster,
    output::{self, Shown},
    way::Way,
};

const REPORT: &str = "NodeReport";

/// Are the nodes well; or, of one node: its self-test, inputs that could not be read, objects with
/// problems, room in the maps.
///
/// In a cluster, what the nodes have reported is held against their agents' pods; with --node, or
/// without a cluster, an agent is asked itself. Exits with 1 if a node is not ready.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
        kubectl-sluice status\n  \
        kubectl-sluice status --node node-1\n  \
        kubectl-sluice status --node node-1 -n shop     only objects of this namespace")]
pub struct Question {
    /// Ask the agent of this node.
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
}

pub async fn run(way: Way, scope: &Scope, question: &Question) -> Result<Shown, Failure> {
    match (way, question.node.as_deref()) {
        (Way::Cluster(cluster), None) => all(&cluster, scope).await,
        (way, node) => {
            let agent = way.agent_on(node.unwrap_or_default()).await?;
            one(&agent, scope).await
        }
    }
}

async fn all(cluster: &Cluster, scope: &Scope) -> Result<Shown, Failure> {
    let path = NodeReport::url_path(&(), None);
    let answer = Answer(cluster.get(REPORT, "", &path).await?);
    let reports: List<Report> = cluster.read(REPORT, &answer.0)?;
    let nodes = join(&reports.items, &cluster.agents().await?);
    let text = output::form(scope.output, &answer, |look| {
        Ok::<_, Failure>(nodes::text(&nodes, look))
    })?;
    Ok(Shown {
        text,
        is_fine: !nodes.is_empty() && nodes.iter().all(Node::is_well),
    })
}

async fn one(agent: &Agent, scope: &Scope) -> Result<Shown, Failure> {
    let mut answer = agent.ask("/debug/status", &[]).await?;
    if let (Some(namespace), false) = (&scope.namespace, scope.all_namespaces) {
        node::keep_within(namespace, &mut answer.0);
    }
    let text = output::form(scope.output, &answer, |look| {
        Ok::<_, Failure>(node::text(&agent.read(&answer)?, look))
    })?;
    Ok(Shown {
        text,
        is_fine: answer.0.get("ready") == Some(&Value::Bool(true)),
    })
}
