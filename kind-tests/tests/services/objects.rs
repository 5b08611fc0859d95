//! The objects of the tests: servers, Services, and slices that are written by hand.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sluice_testbed::cluster::TESTBED;
use sluice_testbed::load::Target;

/// What servers in a network of their own listen on first.
pub(crate) const PORT: u16 = 80;

/// A pod of two servers on ports that follow each other; their answers differ in the version, which is the port's.
#[derive(Debug, Clone)]
pub(crate) struct Server<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) node: &'a str,
    /// The value of the label `app`; the label `pod` is its name.
    pub(crate) label: &'a str,
    pub(crate) first_port: u16,
    /// The addresses of its node's network that it is in; none for a network of its own. It names them when it listens, so
    /// that a datagram's answer comes from where it was sent to.
    pub(crate) host: Vec<IpAddr>,
    /// A name for the first or the second of its ports.
    pub(crate) named: Option<(&'a str, usize)>,
    pub(crate) unready: bool,
    /// How long it goes on to serve after it was told to end.
    pub(crate) lingers: u16,
}

impl<'a> Server<'a> {
    pub(crate) fn on(node: &'a str, namespace: &'a str, name: &'a str) -> Self {
        Self {
            namespace,
            name,
            node,
            label: "pods",
            first_port: PORT,
            host: Vec::new(),
            named: None,
            unready: false,
            lingers: 0,
        }
    }

    /// The port whose servers are asked for readiness, and take commands.
    pub(crate) fn http_port(&self) -> u16 {
        self.first_port + 8
    }

    pub(crate) fn object(&self) -> Value {
        let container = |number: usize| {
            let port = self.first_port + u16::from(number == 1);
            let mut args = vec!["serve".to_owned(), format!("--version={port}")];
            args.push(format!("--port={port}"));
            args.extend(
                self.host
                    .iter()
                    .map(|address| format!("--address={address}")),
            );
            let mut container = json!({
                "name": format!("server-{number}"),
                "image": TESTBED,
                "imagePullPolicy": "Never",
                "env": [{ "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }],
            });
            if number == 0 {
                args.push(format!("--http-port={}", self.http_port()));
                if self.unready {
                    args.push("--unready".to_owned());
                }
                let ask = json!({ "path": "/ready", "port": self.http_port() });
                container["readinessProbe"] =
                    json!({ "httpGet": ask, "periodSeconds": 1, "timeoutSeconds": 10 });
            }
            if let Some((name, _)) = self.named.filter(|(_, named)| *named == number) {
                let both = ["TCP", "UDP"].map(|protocol| {
                    let name = format!("{name}-{}", protocol.to_lowercase());
                    json!({ "name": name, "containerPort": port, "protocol": protocol })
                });
                container["ports"] = json!(both);
            }
            if self.lingers > 0 {
                container["lifecycle"] =
                    json!({ "preStop": { "sleep": { "seconds": self.lingers } } });
            }
            container["args"] = json!(args);
            container
        };
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": { "app": self.label, "pod": self.name },
            },
            "spec": {
                "nodeName": self.node,
                "hostNetwork": !self.host.is_empty(),
                "terminationGracePeriodSeconds": self.lingers + 1,
                "containers": [container(0), container(1)],
            },
        })
    }
}

/// A pod that asks others, and serves nobody.
pub(crate) fn client(node: &str, namespace: &str, name: &str, host_network: bool) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "nodeName": node,
            "hostNetwork": host_network,
            "terminationGracePeriodSeconds": 1,
            "containers": [{ "name": "client", "image": TESTBED, "imagePullPolicy": "Never", "args": ["serve"] }],
        },
    })
}

/// A Service over the pods with this label; both families and both protocols of [`PORT`] unless `spec` says else.
pub(crate) fn service(namespace: &str, name: &str, label: &str, spec: Value) -> Value {
    let mut service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "selector": { "app": label },
            "ipFamilyPolicy": "RequireDualStack",
            "ports": ports(PORT, PORT),
        },
    });
    if let Value::Object(fields) = spec {
        for (field, value) in fields {
            service["spec"][field] = value;
        }
    }
    service
}

/// A port for TCP and the same for UDP.
pub(crate) fn ports(port: u16, target: impl Into<Value>) -> Value {
    let target = target.into();
    json!([
        { "name": "tcp", "protocol": "TCP", "port": port, "targetPort": target },
        { "name": "udp", "protocol": "UDP", "port": port, "targetPort": target },
    ])
}

pub(crate) fn list(items: &[Value]) -> String {
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

/// A Service as the API server has it.
#[derive(Debug)]
pub(crate) struct Service(pub(crate) Value);

impl Service {
    pub(crate) fn addresses(&self) -> Result<Vec<IpAddr>> {
        let addresses = self.0["spec"]["clusterIPs"]
            .as_array()
            .context("a Service has addresses")?;
        let address = |address: &Value| Ok(address.as_str().context("a text")?.parse()?);
        addresses.iter().map(address).collect()
    }

    /// Its cluster addresses with this port.
    pub(crate) fn at(&self, port: u16) -> Result<Vec<SocketAddr>> {
        let addresses = self.addresses()?.into_iter();
        Ok(addresses
            .map(|address| SocketAddr::new(address, port))
            .collect())
    }

    /// The node port of the port of this name.
    pub(crate) fn node_port(&self, name: &str) -> Result<u16> {
        let ports = self.0["spec"]["ports"].as_array().context("it has ports")?;
        let port = ports.iter().find(|port| port["name"] == name);
        let number = port.and_then(|port| port["nodePort"].as_u64());
        Ok(u16::try_from(number.context("it has a node port")?)?)
    }
}

/// Both protocols of each address.
pub(crate) fn both(addresses: &[SocketAddr]) -> Vec<Target> {
    [tcp(addresses), udp(addresses)].concat()
}

pub(crate) fn tcp(addresses: &[SocketAddr]) -> Vec<Target> {
    addresses.iter().copied().map(Target::tcp).collect()
}

pub(crate) fn udp(addresses: &[SocketAddr]) -> Vec<Target> {
    addresses.iter().copied().map(Target::udp).collect()
}
