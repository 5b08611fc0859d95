//! A dual-stack DNS Service, and the sockets of its clients.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sluice_testbed::{
    Errno,
    errno::Code,
    pod::{Pod, Program},
    program::{Family, Seen, Step, StepResult, Transport},
    tier::eventually,
};

use crate::bed::{Bed, PATIENCE};

pub(crate) const PORT: u16 = 53;
pub(crate) const SERVICE_V4: &str = "198.18.0.1";
pub(crate) const SERVICE_V6: &str = "fd5e:1::1";

/// A dual-stack Service of the server's addresses, on both protocols, and an agent that knows it.
pub(crate) struct Dns {
    pub(crate) bed: Bed,
    pub(crate) server: Pod,
}

/// One state of an endpoint: its number among the server's addresses.
pub(crate) enum Endpoint {
    Ready(usize),
    Draining(usize),
    Unready(usize),
    /// Ready, and said to be on another node.
    Far(usize),
}

impl Dns {
    pub(crate) fn open() -> Result<Self> {
        let bed = Bed::start()?;
        let server = bed.node.pod("server").addresses(3).named_by_address();
        let server = server.port(PORT).port(PORT + 1).start()?;
        let dns = Self { bed, server };
        dns.service(&json!({}))?;
        dns.endpoints(&[0, 1, 2])?;
        Ok(dns)
    }

    pub(crate) fn service(&self, annotations: &Value) -> Result<()> {
        self.write_service(annotations, "Cluster")
    }

    pub(crate) fn write_service(&self, annotations: &Value, policy: &str) -> Result<()> {
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "kube-system", "name": "dns", "annotations": annotations},
            "spec": {
                "type": "NodePort", "internalTrafficPolicy": policy,
                "clusterIP": SERVICE_V4, "clusterIPs": [SERVICE_V4, SERVICE_V6],
                "ports": [
                    {"name": "dns", "port": PORT, "protocol": "UDP", "nodePort": PORT + 1},
                    {"name": "dns-tcp", "port": PORT, "protocol": "TCP"},
                ],
            },
        });
        self.bed.write("service.yaml", &[service])
    }

    pub(crate) fn endpoints(&self, ready: &[usize]) -> Result<()> {
        let ready: Vec<_> = ready.iter().copied().map(Endpoint::Ready).collect();
        self.write_endpoints(&ready, PORT)
    }

    pub(crate) fn write_endpoints(&self, endpoints: &[Endpoint], port: u16) -> Result<()> {
        let slice = |family: &str, of: fn(&Self, usize) -> IpAddr| {
            let endpoints = endpoints.iter().map(|endpoint| match endpoint {
                Endpoint::Ready(number) => {
                    json!({"addresses": [of(self, *number)], "nodeName": "node-1"})
                }
                Endpoint::Far(number) => {
                    json!({"addresses": [of(self, *number)], "nodeName": "node-2"})
                }
                Endpoint::Draining(number) => json!({
                    "addresses": [of(self, *number)], "nodeName": "node-1",
                    "conditions": {"ready": false, "serving": true, "terminating": true},
                }),
                Endpoint::Unready(number) => json!({
                    "addresses": [of(self, *number)], "nodeName": "node-1",
                    "conditions": {"ready": false, "serving": false, "terminating": false},
                }),
            });
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "namespace": "kube-system", "name": format!("dns-{}", family.to_lowercase()),
                    "labels": {"kubernetes.io/service-name": "dns"},
                },
                "addressType": family,
                "endpoints": endpoints.collect::<Vec<_>>(),
                "ports": [
                    {"name": "dns", "port": port, "protocol": "UDP"},
                    {"name": "dns-tcp", "port": port, "protocol": "TCP"},
                ],
            })
        };
        let slices = [slice("IPv4", Self::v4), slice("IPv6", Self::v6)];
        self.bed.write("endpoints.yaml", &slices)
    }

    pub(crate) fn v4(&self, number: usize) -> IpAddr {
        self.server.addresses()[number].0.into()
    }

    pub(crate) fn v6(&self, number: usize) -> IpAddr {
        self.server.addresses()[number].1.into()
    }

    /// Whether the answer names this one of the server's addresses.
    pub(crate) fn is_from(&self, name: &str, number: usize) -> bool {
        let addresses = [self.v4(number), self.v6(number)];
        name.parse::<SocketAddr>()
            .is_ok_and(|name| addresses.contains(&name.ip()))
    }

    /// Waits until the agent has looked at all sockets twice more.
    pub(crate) fn await_looks(&self) -> Result<()> {
        self.bed.await_looks()
    }
}

pub(crate) fn services() -> Result<[SocketAddr; 3]> {
    let mapped = format!("::ffff:{SERVICE_V4}");
    let at = |ip: &str| Ok::<_, anyhow::Error>(SocketAddr::new(ip.parse()?, PORT));
    Ok([at(SERVICE_V4)?, at(SERVICE_V6)?, at(&mapped)?])
}

/// A connected socket of a client, and who answers on it.
pub(crate) struct Conversation<'pod> {
    pub(crate) program: Program<'pod>,
    /// What the client calls it.
    pub(crate) peer: SocketAddr,
    pub(crate) with: String,
}

pub(crate) fn connected<'pod>(
    client: &'pod Pod,
    transport: Transport,
    peer: SocketAddr,
) -> Result<Conversation<'pod>> {
    let program = client.program();
    let mut steps = vec![
        Step::Open {
            family: Family::of(peer),
            transport,
            nonblocking: false,
        },
        Step::connect(0, peer),
    ];
    // A TCP server greets by itself.
    if transport == Transport::Udp {
        steps.push(Step::send(0, "?"));
    }
    steps.push(Step::receive(0));
    let seen = program.run(&steps)?;
    let with = seen.last().and_then(name);
    let with = with.with_context(|| format!("{peer}: {seen:?}"))?;
    Ok(Conversation {
        program,
        peer,
        with,
    })
}

pub(crate) fn name(answer: &StepResult) -> Option<String> {
    let text = answer.as_ref().ok()?.text()?;
    Some(text.split(' ').next()?.to_owned())
}

impl Conversation<'_> {
    pub(crate) fn is_connected(&self) -> Result<bool> {
        match &self.program.run(&[Step::peer_name(0)])?[..] {
            [Ok(_)] => Ok(true),
            [Err(code)] if *code == Code::from(Errno::ENOTCONN) => Ok(false),
            other => bail!("{other:?}"),
        }
    }

    /// The datagram socket has the error of an ended one, and can be connected anew.
    pub(crate) fn await_end(&self) -> Result<()> {
        eventually(PATIENCE, "an ended socket", || {
            ensure!(!self.is_connected()?, "it is still with {}", self.with);
            Ok(())
        })?;
        let seen = self.program.run(&[Step::TakeError { socket: 0 }])?;
        let aborted = Ok(Seen::Pending(Errno::ECONNABORTED.into()));
        ensure!(seen == [aborted], "{seen:?}");
        Ok(())
    }

    /// It goes on with the same backend.
    pub(crate) fn goes_on(&self) -> Result<()> {
        ensure!(
            self.is_connected()?,
            "the socket with {} was ended",
            self.with
        );
        let seen = self.program.run(&[Step::send(0, "!"), Step::receive(0)])?;
        let answer = seen[1].as_ref().ok().and_then(Seen::text);
        let whole = answer.is_some_and(|text| text.ends_with('!'));
        let named = answer.is_some_and(|text| text.starts_with(&self.with) || text == "!");
        ensure!(whole && named, "{} answered {seen:?}", self.with);
        Ok(())
    }
}
