//! Policies other than splits, as the API has them: what all have in common, and what each asks for.

use serde::Deserialize;

use super::split::{Condition, Status};

/// A policy of any kind; its spec is of one.
#[derive(Clone, Debug, Deserialize)]
pub struct Policy<S> {
    pub metadata: Metadata,
    pub spec: S,
    #[serde(default)]
    pub status: Status,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Metadata {
    pub name: String,
    #[serde(default)]
    pub namespace: String,
    #[serde(default)]
    pub generation: i64,
}

/// What a LocalRedirectPolicy asks for.
#[derive(Clone, Debug, Deserialize)]
pub struct Redirect {
    pub frontend: Frontend,
    pub backend: Pods,
    #[serde(default)]
    pub fallback: String,
}

/// What a BalancingPolicy asks for.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Balancing {
    pub frontend: Frontend,
    pub backends: Vec<Group>,
    #[serde(default)]
    pub selection: String,
    #[serde(default)]
    pub balancing: String,
    #[serde(default)]
    pub when_unavailable: String,
}

/// What a FrontendGrant grants.
#[derive(Clone, Debug, Deserialize)]
pub struct Grant {
    #[serde(default)]
    pub namespaces: Selector,
    #[serde(default)]
    pub addresses: Vec<String>,
    #[serde(default)]
    pub ports: Vec<Range>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Frontend {
    pub service: Option<Service>,
    pub address: Option<Address>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    pub name: String,
    #[serde(default)]
    pub ports: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Address {
    pub ip: String,
    #[serde(default)]
    pub ports: Vec<Port>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Port {
    pub port: u16,
    #[serde(default)]
    pub protocol: Protocol,
}

/// TCP where nothing is said.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Protocol(pub String);

impl Default for Protocol {
    fn default() -> Self {
        Self("TCP".to_owned())
    }
}

/// Ports of a grant.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Range {
    pub port: u16,
    pub end_port: Option<u16>,
    pub protocol: Option<String>,
}

/// One group of a BalancingPolicy's backends.
#[derive(Clone, Debug, Deserialize)]
pub struct Group {
    pub name: String,
    pub weight: u32,
    #[serde(default)]
    pub priority: u8,
    pub pods: Option<Selector>,
    #[serde(default)]
    pub addresses: Vec<Server>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Server {
    pub ip: String,
    pub port: u16,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Pods {
    pub pods: Selector,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    #[serde(default)]
    pub match_labels: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    pub match_expressions: Vec<Expression>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Expression {
    pub key: String,
    pub operator: String,
    #[serde(default)]
    pub values: Vec<String>,
}

impl<S> Policy<S> {
    /// Whether the status is about an older spec than the one that is shown.
    pub fn is_outdated(&self) -> bool {
        let observed = self.status.observed_generation;
        observed.is_some_and(|observed| observed != self.metadata.generation)
    }

    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        let mut conditions = self.status.conditions.iter();
        conditions.find(|condition| condition.kind == kind)
    }

    /// As people write it.
    pub fn name(&self) -> String {
        let Metadata {
            name, namespace, ..
        } = &self.metadata;
        match namespace.as_str() {
            "" => name.clone(),
            namespace => format!("{namespace}/{name}"),
        }
    }
}
