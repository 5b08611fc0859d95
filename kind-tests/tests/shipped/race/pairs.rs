//! The pairs: two policies that claim the same, one of each client.

use std::fmt;

use anyhow::{Result, ensure};
use http::StatusCode;
use serde_json::{Value, json};
use sluice_kind_tests::api::{Api, Pace, SLUICE, Said, post};
use sluice_testbed::cluster::Access;
use sluice_testbed::tier::eventually;

use crate::bed::PATIENCE;

const PREPARING: Pace = Pace {
    at_once: 8,
    every: None,
};
/// So many pairs compete for ports of the same address.
const OF_AN_ADDRESS: usize = 8;

pub(super) struct Race {
    /// Whether the webhook is asked.
    pub(super) guarded: bool,
    pub(super) pairs: usize,
}

/// What claims something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Split,
    Redirect,
    Balancing,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Policy {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) kind: Kind,
    pair: usize,
    guarded: bool,
}

const KINDS: [Kind; 3] = [Kind::Split, Kind::Redirect, Kind::Balancing];

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Split => "TrafficSplit",
            Self::Redirect => "LocalRedirectPolicy",
            Self::Balancing => "BalancingPolicy",
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Split => "trafficsplits",
            Self::Redirect => "localredirectpolicies",
            Self::Balancing => "balancingpolicies",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace, name, ..
        } = self;
        write!(f, "{} {namespace}/{name}", self.kind.name())
    }
}

impl Policy {
    pub(super) fn collection(&self) -> String {
        let (namespace, plural) = (&self.namespace, self.kind.plural());
        format!("{SLUICE}/namespaces/{namespace}/{plural}")
    }

    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name)
    }

    /// The whole of it, as JSON.
    pub(super) fn object(&self) -> String {
        let frontend = json!({"address": {
            "ip": self.address(),
            "ports": [{"name": "it", "port": self.pair % OF_AN_ADDRESS + 1, "protocol": "TCP"}],
        }});
        let labels = json!({"app": "nobody"});
        let ports = json!([{"name": "it", "port": 8080}]);
        let spec = match self.kind {
            Kind::Split => {
                let service = service(self.pair);
                json!({"service": service, "versions": [{"name": "all", "service": service, "weight": 1}]})
            }
            Kind::Redirect => {
                json!({"frontend": frontend, "backend": {"pods": {"matchLabels": labels}, "ports": ports}})
            }
            Kind::Balancing => json!({"frontend": frontend, "backends": [{
                "name": "here", "weight": 1, "priority": 0,
                "pods": {"matchLabels": labels, "via": "PodIP", "ports": ports},
            }]}),
        };
        json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": self.kind.name(),
            "metadata": {"name": self.name, "namespace": self.namespace}, "spec": spec,
        })
        .to_string()
    }

    fn address(&self) -> String {
        let (round, number) = (u8::from(self.guarded), self.pair / OF_AN_ADDRESS);
        format!("198.18.{round}.{number}")
    }
}

impl Race {
    /// The namespaces of the two clients.
    fn tenants(guarded: bool) -> [&'static str; 2] {
        match guarded {
            true => ["race-a", "race-b"],
            false => ["race-unguarded-a", "race-unguarded-b"],
        }
    }

    /// What one of the clients creates. A Service's splits are all in its namespace; an address is competed for by
    /// two namespaces. The first by name is now the one client's, now the other's.
    pub(super) fn policy(&self, client: usize, pair: usize) -> Policy {
        let kind = KINDS[pair % KINDS.len()];
        let tenants = Self::tenants(self.guarded);
        let swapped = (pair / KINDS.len()) % 2;
        let first = client ^ swapped;
        Policy {
            namespace: match kind {
                Kind::Split => tenants[0],
                Kind::Redirect | Kind::Balancing => tenants[first],
            }
            .to_owned(),
            name: format!("p{pair}-{}", ["a", "b"][first]),
            kind,
            pair,
            guarded: self.guarded,
        }
    }

    /// Makes the namespaces, a grant of the addresses, and a Service with an endpoint for each pair of splits.
    pub(super) fn prepare(&self, access: &Access) -> Result<()> {
        let tenants = Self::tenants(self.guarded);
        for tenant in tenants {
            let labels = match self.guarded {
                true => json!({}),
                false => json!({"sluice.dev/break-glass": "true"}),
            };
            let namespace = json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": tenant, "labels": labels},
            });
            access.apply(&namespace.to_string())?;
        }
        let grant = json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "FrontendGrant",
            "metadata": {"name": tenants[0]},
            "spec": {
                "namespaces": {"matchExpressions": [
                    {"key": "kubernetes.io/metadata.name", "operator": "In", "values": tenants},
                ]},
                "addresses": ["198.18.0.0/16"],
            },
        });
        access.apply(&grant.to_string())?;
        let api = Api::of(access)?;
        let mut creations = Vec::new();
        for pair in (0..self.pairs).filter(|pair| KINDS[pair % KINDS.len()] == Kind::Split) {
            let namespace = tenants[0];
            let name = service(pair);
            creations.push(post(
                &format!("/api/v1/namespaces/{namespace}/services"),
                plain_service(&name).to_string(),
            )?);
            creations.push(post(
                &format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"),
                slice(&name).to_string(),
            )?);
        }
        let mut undecided = Vec::new();
        let mut failed = Vec::new();
        api.ask_all(
            PREPARING,
            creations.iter().cloned(),
            |number, said| match said {
                Ok(said) if said.is_undecided() => undecided.push(number),
                said => failed.extend(said.and_then(Said::good).err()),
            },
        )?;
        ensure!(failed.is_empty(), "{failed:?}");
        for number in undecided {
            eventually(PATIENCE, "it is created", || {
                let said = api.ask(creations[number].clone())?;
                // The first try may have been stored all the same.
                if said.status != StatusCode::CONFLICT {
                    said.good()?;
                }
                Ok(())
            })?;
        }
        self.is_known(&api)
    }

    /// Waits until the API server knows whether the webhook is to be asked, and the webhook what is granted.
    fn is_known(&self, api: &Api) -> Result<()> {
        let [mine, _] = Self::tenants(self.guarded);
        let wrong = json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "LocalRedirectPolicy",
            "metadata": {"name": "first", "namespace": mine},
            "spec": {
                // The API server's own Service.
                "frontend": {"address": {"ip": "10.96.0.1", "ports": [
                    {"name": "it", "port": 443, "protocol": "TCP"},
                ]}},
                "backend": {
                    "pods": {"matchLabels": {"app": "nobody"}},
                    "ports": [{"name": "it", "port": 8080}],
                },
            },
        });
        let path = format!("{SLUICE}/namespaces/{mine}/localredirectpolicies?dryRun=All");
        eventually(PATIENCE, "the webhook is asked, or is not", || {
            let said = api.ask(post(&path, wrong.to_string())?)?;
            ensure!(said.status.is_success() != self.guarded, "{said:?}");
            Ok(())
        })
    }

    pub(super) fn clear(&self, access: &Access) -> Result<()> {
        let [mine, other] = Self::tenants(self.guarded);
        access.kubectl(["delete", "frontendgrant", mine])?;
        access
            .kubectl(["delete", "namespace", mine, other])
            .map(drop)
    }
}

fn service(pair: usize) -> String {
    format!("s{pair}")
}

fn plain_service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"ports": [{"port": 80}]},
    })
}

/// Nobody connects to the endpoint.
fn slice(service: &str) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["198.51.100.1"]}],
    })
}
