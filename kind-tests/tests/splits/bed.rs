//! Two real nodes with Sluice, servers that stand for many versions, and a client on each node.
//!
//! Each server listens on one port for each version, and says on which it was reached: so many versions with up to
//! six backends each are six pods. A version's Service selects by a label that so many of the pods have.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluice_kind_tests::common::{Common, Quiet};
use sluice_kind_tests::{echo, shop};
use sluice_model::image::Image;
use sluice_model::key::Family;
use sluice_node_agent::maps::Maps as _;
use sluice_node_agent::maps::kernel::Kernel;
use sluice_node_agent::program::Pins;
use sluice_testbed::cluster::{Cluster, Node, Pod, Proxy, TESTBED};
use sluice_testbed::tier::eventually;

/// The namespace of all tests.
pub(crate) const NAMESPACE: &str = "splits";
/// How many versions there are: as many as a split may have, and then some for tests beside it. Turns within a version are
/// taken by all callers of a node together, so tests that count them have versions of their own.
const VERSIONS: usize = 24;
/// The first of the versions that are not the first sixteen.
pub(crate) const ALONE: usize = 16;
/// How many pods serve; half of them on each node.
pub(crate) const SERVERS: usize = 6;
/// What callers connect to.
pub(crate) const PORT: u16 = 80;
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The port of the servers that stands for the first version; the others follow.
const FIRST_PORT: usize = 8000;
const HTTP_PORT: u16 = 7999;
/// Where an agent pins by default, below the node's own BPF file system.
const PINS: &str = "sluice";

static BED: Common<Bed> = Common::new(Bed::make);

pub(crate) struct Bed {
    /// One on each node.
    pub(crate) clients: Vec<Pod>,
    pub(crate) cluster: Cluster,
}

/// A split and the Service that it is on, both of this name.
pub(crate) struct Split<'a> {
    bed: &'a Bed,
    name: String,
    /// Where callers go, one of each family.
    pub(crate) addresses: Vec<SocketAddr>,
}

pub(crate) fn quiet() -> Result<Quiet<Bed>> {
    BED.quiet()
}

/// What servers say of themselves as this version, counted from 0.
pub(crate) fn version(number: usize) -> String {
    (FIRST_PORT + number).to_string()
}

/// How many pods serve as this version.
pub(crate) fn pods(number: usize) -> usize {
    number % SERVERS + 1
}

/// Versions by Services that lend their endpoints, from this one on, by these weights.
pub(crate) fn lent(first: usize, weights: &[u64]) -> Value {
    let versions = (first..).zip(weights);
    let versions = versions.map(|(number, weight)| {
        let name = format!("v{number}");
        json!({ "name": name, "service": name, "weight": weight })
    });
    versions.collect()
}

impl Bed {
    fn make() -> Result<Self> {
        let started = Instant::now();
        let cluster = Cluster::start().nodes(2).proxy(Proxy::Sluice).up()?;
        cluster.namespace(NAMESPACE)?;
        let names: Vec<_> = cluster.nodes().iter().map(Node::name).collect();
        let servers = (0..SERVERS).map(|number| server(names[number % names.len()], number));
        let lenders = (0..VERSIONS).map(lender);
        apply(&cluster, servers.chain(lenders))?;
        let clients = names
            .iter()
            .map(|node| echo::client(&cluster, NAMESPACE, &format!("client-{node}"), node));
        let clients = clients.collect::<Result<_>>()?;
        for number in 0..SERVERS {
            cluster.ready(NAMESPACE, &format!("pod/server-{number}"), PATIENCE)?;
        }
        let all = Family::ALL.len() * (0..VERSIONS).map(pods).sum::<usize>();
        for node in cluster.nodes() {
            await_count(node, "a node knows all servers", all, backends)?;
        }
        println!(
            "two nodes with Sluice, servers and clients are up after {:.1} s",
            started.elapsed().as_secs_f64()
        );
        Ok(Self { clients, cluster })
    }

    /// Makes a Service and a split on it, and waits until all nodes have it.
    pub(crate) fn split(&self, name: &str, spec: &Value) -> Result<Split<'_>> {
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": name, "namespace": NAMESPACE },
            "spec": {
                "ipFamilyPolicy": "RequireDualStack",
                "ports": [{ "name": "tcp", "port": PORT }],
            },
        });
        self.cluster.apply(&service.to_string())?;
        let service = ["service", name, "--namespace", NAMESPACE];
        let service = self.cluster.client().get(service)?;
        let addresses = service["spec"]["clusterIPs"]
            .as_array()
            .context("a Service has addresses")?;
        let address = |ip: &Value| -> Result<SocketAddr> {
            let ip = ip.as_str().context("an address is text")?;
            Ok(SocketAddr::new(ip.parse()?, PORT))
        };
        let split = Split {
            bed: self,
            name: name.to_owned(),
            addresses: addresses.iter().map(address).collect::<Result<_>>()?,
        };
        split.set(spec)?;
        split.programmed()?;
        Ok(split)
    }
}

impl Split<'_> {
    /// Applies the split with this spec; its Service need not be said.
    pub(crate) fn set(&self, spec: &Value) -> Result<()> {
        let mut split = json!({
            "apiVersion": "sluice.dev/v1alpha1",
            "kind": "TrafficSplit",
            "metadata": { "name": self.name, "namespace": NAMESPACE },
            "spec": spec,
        });
        split["spec"]["service"] = json!(self.name);
        self.bed.cluster.apply(&split.to_string())
    }

    /// Waits until all nodes have reported it as it is now.
    pub(crate) fn programmed(&self) -> Result<Value> {
        shop::programmed(&self.bed.cluster, NAMESPACE, &self.name)
    }
}

/// Creates or changes objects in one go.
pub(crate) fn apply(cluster: &Cluster, items: impl Iterator<Item = Value>) -> Result<()> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items.collect::<Value>() });
    cluster.apply(&list.to_string())
}

/// Waits until the kernel of a node holds so many of something.
pub(crate) fn await_count(
    node: &Node,
    what: &str,
    wanted: usize,
    count: impl Fn(&Image) -> usize,
) -> Result<()> {
    eventually(PATIENCE, what, || {
        let image = Kernel::open(&Pins::new(node.bpffs().join(PINS)))?.read()?;
        let held = count(&image);
        ensure!(held == wanted, "{}: {held} of {wanted}", node.name());
        Ok(())
    })
}

/// Backends of versions, of both families.
fn backends(image: &Image) -> usize {
    let ports = image.backends.iter();
    let ports = ports.map(|(_, backend)| usize::from(u16::from_be_bytes(backend.port)));
    let ours = FIRST_PORT..FIRST_PORT + VERSIONS;
    ports.filter(|port| ours.contains(port)).count()
}

fn server(node: &str, number: usize) -> Value {
    let mut args = vec!["serve".to_owned(), "--named-by-port".to_owned()];
    args.extend((0..VERSIONS).map(|version| format!("--port={}", FIRST_PORT + version)));
    args.push(format!("--http-port={HTTP_PORT}"));
    let mut labels = json!({ "app": "server" });
    for pods in number + 1..=SERVERS {
        labels[among(pods)] = json!("true");
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": format!("server-{number}"),
            "namespace": NAMESPACE,
            "labels": labels,
        },
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "server",
                "image": TESTBED,
                "imagePullPolicy": "Never",
                "args": args,
                "readinessProbe": {
                    "httpGet": { "path": "/ready", "port": HTTP_PORT },
                    "periodSeconds": 1,
                    "timeoutSeconds": 10,
                },
            }],
        },
    })
}

/// The Service of a version.
fn lender(number: usize) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": format!("v{number}"), "namespace": NAMESPACE },
        "spec": {
            "selector": { among(pods(number)): "true" },
            "ipFamilyPolicy": "RequireDualStack",
            "ports": [{ "name": "tcp", "port": PORT, "targetPort": FIRST_PORT + number }],
        },
    })
}

/// A label that the first so many servers have.
fn among(pods: usize) -> String {
    format!("among-{pods}")
}
