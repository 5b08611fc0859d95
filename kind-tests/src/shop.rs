//! A Service whose connections a TrafficSplit shares out over two versions, in a namespace of its own.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluice_testbed::cluster::Access;
use sluice_testbed::tier::eventually;

use crate::echo::Echo;

/// The name of the split and of the Service that it splits.
pub const CHECKOUT: &str = "checkout";
/// What the servers of the two versions say of themselves.
pub const STABLE: &str = "v1";
pub const CANARY: &str = "v2";

const PATIENCE: Duration = Duration::from_secs(60);

/// The Service, and the Services that lend their endpoints to the versions.
#[derive(Debug)]
pub struct Shop<'a> {
    access: &'a Access,
    namespace: &'a str,
    /// Where callers go, one of each family.
    pub addresses: Vec<SocketAddr>,
}

impl<'a> Shop<'a> {
    /// Makes the namespace, the Deployments and Services, and waits until all servers are ready.
    pub fn open(access: &'a Access, namespace: &'a str) -> Result<Self> {
        access.namespace(namespace)?;
        let echo = |name, version, replicas| Echo {
            namespace,
            name,
            version,
            replicas,
            node: None,
        };
        let front = echo(CHECKOUT, "v0", 1);
        let lenders = [
            echo("checkout-v1", STABLE, 2),
            echo("checkout-v2", CANARY, 1),
        ];
        // All of them start before the first is waited for.
        for echo in lenders.iter().chain([&front]) {
            echo.make(access)?;
        }
        for echo in &lenders {
            echo.running(access)?;
        }
        Ok(Self {
            access,
            namespace,
            addresses: front.running(access)?.addresses,
        })
    }

    pub fn namespace(&self) -> &str {
        self.namespace
    }

    /// The split with these weights, as it is applied.
    pub fn split(&self, stable: u64, canary: u64) -> Value {
        split(self.namespace, CHECKOUT, CHECKOUT, stable, canary)
    }

    pub fn weigh(&self, stable: u64, canary: u64) -> Result<()> {
        self.access.apply(&self.split(stable, canary).to_string())
    }

    /// Waits until all nodes have reported the split as it is now; gives the object.
    pub fn programmed(&self) -> Result<Value> {
        programmed(self.access, self.namespace, CHECKOUT)
    }

    /// The split as the API server has it.
    pub fn stored(&self) -> Result<Value> {
        stored(self.access, self.namespace, CHECKOUT)
    }
}

/// Waits until all nodes have reported a split as it is now; gives the object.
pub fn programmed(access: &Access, namespace: &str, name: &str) -> Result<Value> {
    eventually(PATIENCE, "the split is programmed", || {
        let split = stored(access, namespace, name)?;
        let condition = condition(&split, "Programmed");
        ensure!(
            condition.is_some_and(|condition| condition["status"] == "True"
                && condition["observedGeneration"] == split["metadata"]["generation"]),
            "{:#}",
            split["status"]
        );
        Ok(split)
    })
}

fn stored(access: &Access, namespace: &str, name: &str) -> Result<Value> {
    let split = ["trafficsplit", name, "--namespace", namespace];
    access.client().get(split)
}

/// A split of two versions, over Services that are called as the split's own with `-v1` and `-v2` behind.
pub fn split(namespace: &str, name: &str, service: &str, stable: u64, canary: u64) -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "TrafficSplit",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "service": service,
            "versions": [
                { "name": "stable", "service": format!("{service}-v1"), "weight": stable },
                { "name": "canary", "service": format!("{service}-v2"), "weight": canary },
            ],
        },
    })
}

/// The condition of this type, if the object has one.
pub fn condition<'o>(object: &'o Value, kind: &str) -> Option<&'o Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
}

/// The number of a generation.
pub fn generation(object: &Value) -> Result<i64> {
    object["metadata"]["generation"]
        .as_i64()
        .with_context(|| format!("{object} has no generation"))
}
