//! A cluster of one node with an agent, and operators beside it.
//!
//! Endpoints are written by hand: no test here connects to any, and status does not ask who answers.

use std::env;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluice_kind_tests::kinds;
use sluice_kind_tests::roles::{AGENT, OPERATOR};
use sluice_testbed::cluster::{Cluster, Proxy};
use sluice_testbed::http;
use sluice_testbed::process::Process;
use sluice_testbed::tier::{Shared, eventually};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const SYSTEM: &str = "sluice-system";
pub(crate) const NODE: &str = "node1";

pub(crate) struct Bed {
    pub(crate) cluster: Cluster,
    pub(crate) agent: Process,
    /// One test at a time has operators: who leads is the same question for all of them.
    turn: Mutex<u32>,
}

static BED: Shared<Bed> = Shared::new(Bed::start);

/// Shared by the tests; each has a namespace of its own in it.
pub(crate) fn bed() -> Result<Arc<Bed>> {
    BED.get()
}

/// A running operator.
pub(crate) struct Operator {
    pub(crate) process: Process,
    admin: SocketAddr,
}

/// The right to run operators.
pub(crate) struct Turn<'a> {
    bed: &'a Bed,
    count: MutexGuard<'a, u32>,
}

impl Bed {
    fn start() -> Result<Self> {
        let cluster = Cluster::start().nodes(1).proxy(Proxy::None).up()?;
        kinds::install(&cluster)?;
        cluster.namespace(SYSTEM)?;
        let node = cluster.node(NODE)?;
        let api_server = format!("https://{}:6443", cluster.fabric().own().address4());
        let agent = node
            .command(AGENT, env::current_exe()?)?
            .args([AGENT, "--node-name", NODE, "--kubeconfig"])
            .arg(cluster.kubeconfig())
            .args(["--api-server", &api_server, "--cgroup-root"])
            .arg(node.cgroup().path())
            .spawn()?;
        Ok(Self {
            cluster,
            agent,
            turn: Mutex::new(0),
        })
    }

    /// Waits until no other test has operators.
    pub(crate) fn turn(&self) -> Turn<'_> {
        let count = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        Turn { bed: self, count }
    }

    /// Services with one endpoint each.
    pub(crate) fn services(&self, namespace: &str, names: &[&str]) -> Result<()> {
        let objects = names.iter().zip(1..).flat_map(|(name, number)| {
            let service = json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"ports": [{"port": 80}]},
            });
            let slice = json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "name": name, "namespace": namespace,
                    "labels": {"kubernetes.io/service-name": name},
                },
                "addressType": "IPv4",
                "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
                "endpoints": [{"addresses": [format!("10.244.9.{number}")]}],
            });
            [service, slice]
        });
        let items: Vec<_> = objects.collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        self.cluster.apply(&list.to_string())
    }

    pub(crate) fn split(&self, namespace: &str, name: &str, weights: [u32; 2]) -> Result<()> {
        let [stable, canary] = weights;
        let split = json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"service": "checkout", "versions": [
                {"name": "stable", "service": "checkout-v1", "weight": stable},
                {"name": "canary", "service": "checkout-v2", "weight": canary},
            ]},
        });
        self.cluster.apply(&split.to_string())
    }

    pub(crate) fn get(&self, namespace: &str, kind: &str, name: &str) -> Result<Value> {
        self.cluster
            .client()
            .get([kind, name, "--namespace", namespace])
    }

    /// Waits until a split is like this; gives it.
    pub(crate) fn await_split(
        &self,
        namespace: &str,
        name: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        eventually(PATIENCE, what, || {
            let split = self.get(namespace, "trafficsplit", name)?;
            ensure!(holds(&split), "{split:#}");
            Ok(split)
        })
    }
}

impl Turn<'_> {
    /// Starts an operator and waits until it has seen everything.
    pub(crate) fn operator(&mut self) -> Result<Operator> {
        *self.count += 1;
        let cluster = &self.bed.cluster;
        let process = cluster
            .run()
            .command_again(&format!("{OPERATOR}-{}", self.count))
            .args([OPERATOR, "--namespace", SYSTEM, "--admin", "127.0.0.1:0"])
            .args(["--log", "debug", "--kubeconfig"])
            .arg(cluster.kubeconfig())
            .spawn()?;
        let admin = eventually(PATIENCE, "the admin address", || {
            let log = process.output()?;
            let (_, rest) = log.split_once(" admin=").with_context(|| log.clone())?;
            Ok(rest.split_whitespace().next().unwrap_or_default().parse()?)
        })?;
        let operator = Operator { process, admin };
        eventually(PATIENCE, "a ready operator", || {
            let ready = operator.ask("/readyz")?;
            ensure!(ready == "ready\n", "{ready}");
            Ok(())
        })?;
        Ok(operator)
    }

    /// The same, and waits until it leads.
    pub(crate) fn leader(&mut self) -> Result<Operator> {
        let operator = self.operator()?;
        operator.await_number("sluice_operator_leader", |value| value == 1)?;
        Ok(operator)
    }
}

impl Operator {
    /// What it answers on its admin address.
    fn ask(&self, path: &str) -> Result<String> {
        Ok(http::get(self.admin, path)?.body)
    }

    /// One of its metrics.
    pub(crate) fn number(&self, name: &str) -> Result<u64> {
        let text = self.ask("/metrics")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|rest| rest.strip_prefix(' '));
        Ok(value
            .with_context(|| format!("no {name} in {text}"))?
            .parse()?)
    }

    pub(crate) fn await_number(&self, name: &str, holds: impl Fn(u64) -> bool) -> Result<u64> {
        eventually(PATIENCE, name, || {
            let value = self.number(name)?;
            ensure!(holds(value), "{name} is {value}");
            Ok(value)
        })
    }
}

impl Drop for Operator {
    /// One that is told to end gives its lease back; after one that is killed the next test would wait.
    fn drop(&mut self) {
        let _ = self.process.stop(PATIENCE);
    }
}

/// A condition of a split, as status and reason.
pub(crate) fn condition<'a>(split: &'a Value, kind: &str) -> (&'a str, &'a str) {
    let condition = find(split, kind);
    let text = |field: &str| condition.and_then(|condition| condition[field].as_str());
    (
        text("status").unwrap_or_default(),
        text("reason").unwrap_or_default(),
    )
}

pub(crate) fn message<'a>(split: &'a Value, kind: &str) -> &'a str {
    let condition = find(split, kind);
    condition
        .and_then(|condition| condition["message"].as_str())
        .unwrap_or_default()
}

pub(crate) fn find<'a>(split: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = split["status"]["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
}

/// Whether all nodes have reported the split as it is stored.
pub(crate) fn is_programmed(split: &Value) -> bool {
    let generation = &split["metadata"]["generation"];
    condition(split, "Programmed") == ("True", "Programmed")
        && split["status"]["observedGeneration"] == *generation
}
