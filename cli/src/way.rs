//! Whom to ask: the cluster that a kubeconfig leads to, or one agent at its address.

use std::net::SocketAddr;

use crate::{
    agent::Agent,
    cluster::{Cluster, ClusterError, Named},
    name::{Caller, DEFAULT_NAMESPACE},
};

pub enum Way {
    /// Of a host in no cluster, or asked past the API.
    Agent(Agent),
    Cluster(Cluster),
}

impl Way {
    /// `--admin` counts first, then whatever names a cluster; else the agent of this machine.
    pub async fn find(admin: Option<SocketAddr>, named: Named) -> Result<Self, ClusterError> {
        match admin {
            Some(admin) => Ok(Self::Agent(Agent::at(admin))),
            None if named.leads_somewhere() => Cluster::open(named).await.map(Self::Cluster),
            None => Ok(Self::Agent(Agent::of_this_machine())),
        }
    }

    /// The namespace of names that are given without one.
    pub fn namespace<'a>(&'a self, given: Option<&'a str>) -> &'a str {
        match (given, self) {
            (Some(given), _) => given,
            (None, Self::Cluster(cluster)) => cluster.namespace(),
            (None, Self::Agent(_)) => DEFAULT_NAMESPACE,
        }
    }

    /// The only namespace to look at. An agent without a cluster has none that is the current one.
    pub fn only<'a>(&'a self, given: Option<&'a str>, all: bool) -> Option<&'a str> {
        match (given, self) {
            _ if all => None,
            (None, Self::Cluster(cluster)) => Some(cluster.namespace()),
            (given, _) => given,
        }
    }

    /// The agent of the node that this caller is on.
    pub async fn agent_of(
        self,
        caller: &Caller,
        node: Option<&str>,
        namespace: &str,
    ) -> Result<Agent, ClusterError> {
        let (Self::Cluster(cluster), None) = (&self, node) else {
            return self.agent_on(node.unwrap_or_default()).await;
        };
        match caller {
            Caller::Host => Err(ClusterError::WhichNode),
            Caller::Pod(pod) => {
                let namespace = pod.namespace.as_deref().unwrap_or(namespace);
                let node = cluster.node_of(namespace, &pod.name).await?;
                self.agent_on(&node).await
            }
        }
    }

    /// The agent of a node. The one that was named itself needs no node.
    pub async fn agent_on(self, node: &str) -> Result<Agent, ClusterError> {
        match self {
            Self::Cluster(cluster) => cluster.agent_on(node).await,
            Self::Agent(agent) if node.is_empty() => Ok(agent),
            Self::Agent(agent) => Err(ClusterError::NodeWithoutCluster {
                agent: agent.name().to_owned(),
            }),
        }
    }
}
