//! `get` of what is no split: the API server is asked, agents have no list of it.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{policies, reported};
use crate::{
    Failure,
    agent::Answer,
    answer::{policy::Policy, report::List},
    cluster::{Cluster, ClusterError},
    kind::Kind,
    output::{self, Look, Output},
    way::Way,
};

/// Those of a namespace or all, or the one of this name.
pub(super) async fn show(
    way: &Way,
    kind: Kind,
    namespace: Option<&str>,
    name: Option<&str>,
    output: Output,
) -> Result<String, Failure> {
    let cluster = match way {
        Way::Cluster(cluster) => cluster,
        Way::Agent(agent) => {
            return Err(Failure::OfClusters {
                kind: kind.name(),
                agent: agent.name().to_owned(),
            });
        }
    };
    let path = match name.map(|name| name.split_once('/').unwrap_or(("", name))) {
        Some((namespace, own)) => {
            let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
            format!("{}/{own}", kind.path(namespace))
        }
        None => kind.path(namespace),
    };
    let answer = cluster.get(kind.name(), name.unwrap_or_default(), &path);
    let answer = Answer(answer.await?);
    let text = output::form(output, &answer, |look| {
        let told = Told {
            cluster,
            kind,
            document: &answer.0,
            look,
        };
        match name {
            Some(_) => told.one(),
            None => told.all(namespace),
        }
    })?;
    Ok(text)
}

/// An answer to be worded.
struct Told<'a> {
    cluster: &'a Cluster,
    kind: Kind,
    document: &'a Value,
    look: Look,
}

impl Told<'_> {
    fn one(&self) -> Result<String, ClusterError> {
        match self.kind {
            Kind::Split => Ok(super::one(&self.read()?, self.look)),
            Kind::Redirect => self.worded(policies::redirect),
            Kind::Balancing => self.worded(policies::balancing),
            Kind::Grant => self.worded(policies::grant),
            Kind::Report => Ok(reported::report(&self.read()?, self.look)),
        }
    }

    fn all(&self, namespace: Option<&str>) -> Result<String, ClusterError> {
        match self.kind {
            Kind::Split => {
                let List { items } = self.read()?;
                Ok(super::all(
                    &items,
                    namespace,
                    self.look,
                    super::Detail::Short,
                ))
            }
            Kind::Redirect => self.listed(namespace, policies::redirects),
            Kind::Balancing => self.listed(namespace, policies::balancings),
            Kind::Grant => self.listed(None, policies::grants),
            Kind::Report => self.listed(None, reported::reports),
        }
    }

    fn worded<S: DeserializeOwned>(
        &self,
        in_words: fn(&Policy<S>, Look) -> String,
    ) -> Result<String, ClusterError> {
        Ok(in_words(&self.read()?, self.look))
    }

    fn listed<T: DeserializeOwned>(
        &self,
        namespace: Option<&str>,
        in_words: fn(&[T], Look) -> String,
    ) -> Result<String, ClusterError> {
        let List { items } = self.read::<List<T>>()?;
        if items.is_empty() {
            return Ok(super::nothing(self.kind, namespace));
        }
        Ok(in_words(&items, self.look))
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T, ClusterError> {
        self.cluster.read(self.kind.name(), self.document)
    }
}
