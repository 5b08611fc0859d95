//! Servers that say who answers, as a Deployment behind a Service of both families; and clients to ask them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluice_testbed::cluster;
use sluice_testbed::cluster::{Access, TESTBED};

/// The port of every Service and server.
pub const PORT: u16 = 80;

const HTTP_PORT: u16 = 8080;
const PATIENCE: Duration = Duration::from_secs(60);

/// A Deployment and its Service, both of the same name.
#[derive(Debug, Clone)]
pub struct Echo<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub version: &'a str,
    pub replicas: u8,
    /// Where the pods are; spread over all nodes if none is named.
    pub node: Option<&'a str>,
}

/// What the API server has made of an [`Echo`].
#[derive(Debug)]
pub struct Running {
    /// One of each family.
    pub addresses: Vec<SocketAddr>,
    /// By name.
    pub pods: BTreeMap<String, Placed>,
}

/// Where a pod is.
#[derive(Debug)]
pub struct Placed {
    pub node: String,
    pub uid: String,
}

impl Echo<'_> {
    /// Makes the objects, and waits until all pods are ready.
    pub fn roll_out(&self, cluster: &Access) -> Result<Running> {
        self.make(cluster)?;
        self.running(cluster)
    }

    /// Makes the objects, and waits for nothing.
    pub fn make(&self, cluster: &Access) -> Result<()> {
        cluster.apply(&self.objects().to_string())
    }

    /// Waits until all pods are ready.
    pub fn running(&self, cluster: &Access) -> Result<Running> {
        cluster.rolled_out(
            self.namespace,
            &format!("deployment/{}", self.name),
            PATIENCE,
        )?;
        let service =
            cluster
                .client()
                .get(["service", self.name, "--namespace", self.namespace])?;
        let addresses = service["spec"]["clusterIPs"]
            .as_array()
            .context("a Service has addresses")?;
        let addresses = addresses
            .iter()
            .map(|address| Ok(SocketAddr::new(text(address)?.parse::<IpAddr>()?, PORT)))
            .collect::<Result<Vec<_>>>()?;
        let selector = format!("app={}", self.name);
        let pods = cluster.client().get([
            "pods",
            "--namespace",
            self.namespace,
            "--selector",
            &selector,
        ])?;
        let pods = pods["items"].as_array().context("a list has items")?;
        let pods = pods
            .iter()
            .map(|pod| {
                let placed = Placed {
                    node: text(&pod["spec"]["nodeName"])?.to_owned(),
                    uid: text(&pod["metadata"]["uid"])?.to_owned(),
                };
                Ok((text(&pod["metadata"]["name"])?.to_owned(), placed))
            })
            .collect::<Result<BTreeMap<_, _>>>()?;
        ensure!(
            pods.len() == usize::from(self.replicas),
            "there are other pods than asked for: {pods:?}"
        );
        Ok(Running { addresses, pods })
    }

    fn objects(&self) -> Value {
        let Self {
            namespace,
            name,
            version,
            replicas,
            node,
        } = self;
        let labels = json!({ "app": name });
        let deployment = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": name, "namespace": namespace },
            "spec": {
                "replicas": replicas,
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": {
                        "nodeSelector": node.map(|node| json!({ "kubernetes.io/hostname": node })),
                        "topologySpreadConstraints": [{
                            "maxSkew": 1,
                            "topologyKey": "kubernetes.io/hostname",
                            "whenUnsatisfiable": "DoNotSchedule",
                            "labelSelector": { "matchLabels": labels },
                        }],
                        "terminationGracePeriodSeconds": 1,
                        "containers": [{
                            "name": "echo",
                            "image": TESTBED,
                            "imagePullPolicy": "Never",
                            "args": ["serve", "--version", version, "--port", PORT.to_string(), "--http-port", HTTP_PORT.to_string()],
                            "readinessProbe": { "httpGet": { "path": "/ready", "port": HTTP_PORT }, "periodSeconds": 1 },
                        }],
                    },
                },
            },
        });
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": name, "namespace": namespace },
            "spec": {
                "selector": labels,
                "ipFamilyPolicy": "RequireDualStack",
                "ports": [
                    { "name": "tcp", "port": PORT, "protocol": "TCP" },
                    { "name": "udp", "port": PORT, "protocol": "UDP" },
                ],
            },
        });
        json!({ "apiVersion": "v1", "kind": "List", "items": [deployment, service] })
    }
}

/// Starts a pod on this node that asks others; it serves nobody.
pub fn client(cluster: &Access, namespace: &str, name: &str, node: &str) -> Result<cluster::Pod> {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 1,
            "containers": [{ "name": "client", "image": TESTBED, "imagePullPolicy": "Never", "args": ["serve"] }],
        },
    });
    cluster.apply(&pod.to_string())?;
    cluster.ready(namespace, &format!("pod/{name}"), PATIENCE)?;
    cluster.pod(namespace, name)
}

fn text(value: &Value) -> Result<&str> {
    value
        .as_str()
        .with_context(|| format!("{value} is no text"))
}
