//! Which pod is the agent of a node, and which node a pod is on.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _, api::ListParams};

use super::{Cluster, ClusterError};
use crate::agent::{Agent, Forwarded};

/// What the agents' pods are found by.
pub const AGENT_LABEL: &str = "app.kubernetes.io/name=sluice-node-agent";

/// The name of the port in the pod's spec, and the port of a pod whose spec does not name it.
const ADMIN: &str = "admin";
const ADMIN_PORT: u16 = 9876;

impl Cluster {
    /// The node that a pod is on.
    pub async fn node_of(&self, namespace: &str, name: &str) -> Result<String, ClusterError> {
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let pod = format!("{namespace}/{name}");
        let found = pods.get(name).await;
        let found = found.map_err(|error| self.failed("pod", &pod, error))?;
        let node = found.spec.and_then(|spec| spec.node_name);
        node.ok_or(ClusterError::OnNoNode { pod })
    }

    /// The agent that runs on a node.
    pub async fn agent_on(&self, node: &str) -> Result<Agent, ClusterError> {
        let namespace = &self.agents;
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let there = ListParams::default()
            .labels(AGENT_LABEL)
            .fields(&format!("spec.nodeName={node}"));
        let found = pods.list(&there).await;
        let found = found.map_err(|error| self.failed("pod", "", error))?.items;
        // While an update replaces the pod there are two of them.
        let Some(pod) = found.iter().max_by_key(|pod| standing(pod)) else {
            return Err(ClusterError::NoAgent {
                node: node.to_owned(),
                namespace: namespace.clone(),
            });
        };
        let name = pod.name_any();
        if !standing(pod).runs {
            return Err(ClusterError::AgentDown {
                node: node.to_owned(),
                namespace: namespace.clone(),
                pod: name,
                phase: phase(pod).to_owned(),
            });
        }
        let port = admin_port(pod);
        Ok(Agent::in_pod(
            namespace,
            Forwarded {
                pods,
                pod: name,
                port,
            },
        ))
    }

    /// The nodes that have an agent's pod, and whether that is ready.
    pub async fn agents(&self) -> Result<Vec<(String, bool)>, ClusterError> {
        let pods = Api::<Pod>::namespaced(self.client.clone(), &self.agents);
        let found = pods.list(&ListParams::default().labels(AGENT_LABEL)).await;
        let found = found.map_err(|error| self.failed("pod", "", error))?;
        let on_nodes = found.items.iter().filter_map(|pod| {
            let node = pod.spec.as_ref()?.node_name.clone()?;
            Some((node, standing(pod).ready))
        });
        Ok(on_nodes.collect())
    }
}

/// In the order in which pods are preferred.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    runs: bool,
    stays: bool,
    ready: bool,
}

fn standing(pod: &Pod) -> Standing {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    Standing {
        runs: phase(pod) == "Running",
        stays: pod.metadata.deletion_timestamp.is_none(),
        ready: conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True"),
    }
}

fn phase(pod: &Pod) -> &str {
    let status = pod.status.as_ref();
    status
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("unknown")
}

fn admin_port(pod: &Pod) -> u16 {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers
        .flat_map(|container| container.ports.iter().flatten())
        .find(|port| port.name.as_deref() == Some(ADMIN))
        .and_then(|port| u16::try_from(port.container_port).ok())
        .unwrap_or(ADMIN_PORT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(json: serde_json::Value) -> Pod {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_ready_pod_that_stays_is_preferred_to_one_that_goes() {
        let goes = pod(json!({
            "metadata": {"deletionTimestamp": "2026-11-21T04:00:00Z"},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }));
        let starts = pod(json!({"metadata": {}, "status": {"phase": "Pending"}}));
        let runs = pod(json!({"metadata": {}, "status": {"phase": "Running"}}));
        let ready = pod(json!({
            "metadata": {},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }));
        assert!(standing(&ready) > standing(&runs));
        assert!(standing(&runs) > standing(&goes));
        assert!(standing(&goes) > standing(&starts));
    }

    #[test]
    fn the_port_is_the_one_that_the_pod_names() {
        let container =
            |ports| pod(json!({"spec": {"containers": [{"name": "agent", "ports": ports}]}}));
        let named = container(json!([
            {"name": "metrics", "containerPort": 1},
            {"name": "admin", "containerPort": 2},
        ]));
        assert_eq!(admin_port(&named), 2);
        assert_eq!(admin_port(&container(json!([]))), ADMIN_PORT);
    }
}
