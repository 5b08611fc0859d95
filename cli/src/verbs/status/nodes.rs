//! All nodes that have an agent, as they have reported.
//!
//! A report outlives its agent: it is believed only where a ready pod stands behind it.

use std::collections::BTreeMap;

use crate::{
    answer::report::{Report, Status},
    output::{self, Look},
};

/// A node with an agent's pod, or with a report.
#[derive(Clone, Debug)]
pub struct Node {
    name: String,
    /// Whether its agent's pod is ready; `None`: it has no pod.
    pod: Option<bool>,
    report: Option<Status>,
}

impl Node {
    pub fn is_well(&self) -> bool {
        self.problem().is_none()
    }

    fn problem(&self) -> Option<String> {
        let said = self.report.as_ref();
        match (self.pod, said) {
            (None, _) => Some("no agent's pod is on the node".to_owned()),
            (Some(_), None) => Some("the agent has not reported".to_owned()),
            (Some(_), Some(report)) if !report.ready && report.message.is_empty() => {
                Some("the agent is not ready".to_owned())
            }
            (Some(_), Some(report)) if !report.ready => Some(report.message.clone()),
            (Some(false), Some(_)) => Some("the agent's pod is not ready".to_owned()),
            (Some(true), Some(_)) => None,
        }
    }
}

/// Reports and pods by node.
pub fn join(reports: &[Report], pods: &[(String, bool)]) -> Vec<Node> {
    let mut nodes = BTreeMap::new();
    for report in reports {
        let name = report.metadata.name.clone();
        let node = Node {
            name: name.clone(),
            pod: None,
            report: report.status.clone(),
        };
        nodes.insert(name, node);
    }
    for (name, ready) in pods {
        let node = nodes.entry(name.clone()).or_insert_with(|| Node {
            name: name.clone(),
            pod: None,
            report: None,
        });
        // While an update replaces the pod there are two of them.
        node.pod = Some(*ready || node.pod == Some(true));
    }
    nodes.into_values().collect()
}

pub fn text(nodes: &[Node], look: Look) -> String {
    if nodes.is_empty() {
        return "No node has an agent, and none has reported.\n".to_owned();
    }
    let mut table = look.table(&[
        "NODE", "READY", "AGENT", "KERNEL", "POLICIES", "DRIFT", "PROBLEM",
    ]);
    for node in nodes {
        let problem = node.problem();
        let ready = if problem.is_none() { "yes" } else { "NO" };
        let of_report = match &node.report {
            Some(report) => [
                report.agent.clone(),
                report.kernel.clone(),
                policies(report),
                report.drift.to_string(),
            ],
            None => ["-", "-", "-", "-"].map(str::to_owned),
        };
        let first = [node.name.clone(), ready.to_owned()];
        table.add_row(
            first
                .into_iter()
                .chain(of_report)
                .chain([problem.unwrap_or_default()]),
        );
    }
    output::lines(&table, 0)
}

/// How many of the policies its kernel holds.
fn policies(report: &Status) -> String {
    let held = report.policies.iter().filter(|policy| policy.programmed);
    format!("{}/{}", held.count(), report.policies.len())
}
