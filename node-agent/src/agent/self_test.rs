//! Does a connect of this very process reach the backend that the maps name?
//!
//! Attaching a program proves little: the tree may be cut off by a cgroup namespace, another
//! program may come first. So a Service of our own goes the whole way, from parser to map, and is connected to. Its
//! addresses are loopback's, so a connect that is *not* translated never leaves the machine.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, poll};
use serde::Serialize;
use serde_json::json;
use sluice_model::{
    change::Change,
    facts,
    key::{Name, ServiceKey},
};

use super::Agent;
use crate::maps::Maps;

/// Not a name that an object can have.
const NAMESPACE: &str = "sluice-self-test";
const NAME: &str = "self-test";
const PORT: u16 = 8376;
const ADDRESSES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(127, 83, 76, 85)),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// How long the kernel may take to hand a loopback connection over.
const PATIENCE: Duration = Duration::from_secs(2);
const PATIENCE_MS: u16 = 2_000;

/// The families that were tried, or why the dataplane cannot be trusted.
pub type Verdict = Result<Passed, Failure>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Passed {
    pub addresses: Vec<SocketAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("cannot listen on loopback: {0}")]
    Listen(String),
    #[error("its own Service was not programmed: {0}")]
    NotProgrammed(String),
    #[error(
        "a connect to {0} was not translated: is this process below the cgroup root that the programs are attached to, and does no other program hide connects from them?"
    )]
    NotTranslated(SocketAddr),
}

impl<M: Maps> Agent<M> {
    /// Programs the Service, connects to it, and takes it away again.
    pub fn test_self(&mut self) -> &Verdict {
        let verdict = self.try_self();
        self.self_test.insert(verdict)
    }

    fn try_self(&mut self) -> Verdict {
        let mut listeners = Vec::new();
        for address in ADDRESSES {
            let local = match address {
                IpAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
                IpAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
            };
            match TcpListener::bind((local, 0)) {
                Ok(listener) => listeners.push((address, listener)),
                // No such family on this machine.
                Err(error) if listeners.len() == 1 && is_absent(&error) => {}
                Err(error) => return Err(Failure::Listen(error.to_string())),
            }
        }
        let manifests = manifests(&listeners).map_err(|e| Failure::Listen(e.to_string()))?;
        let mut subjects = Vec::new();
        for manifest in manifests {
            match facts::parse(manifest) {
                Ok(Change::Set(object)) => {
                    subjects.push(object.subject());
                    self.index.apply(Change::Set(object));
                }
                other => return Err(Failure::NotProgrammed(format!("{other:?}"))),
            }
        }
        self.pass();
        let verdict = self.programmed().and_then(|()| connect_all(&listeners));
        for subject in subjects {
            self.index.apply(Change::Gone(subject));
        }
        self.pass();
        verdict
    }

    fn programmed(&self) -> Result<(), Failure> {
        let key = Name::parse(NAMESPACE, NAME).map(ServiceKey);
        let of_us = |key: &ServiceKey| self.state.desired().services.contains_key(key);
        let Some(key) = key.filter(of_us) else {
            return Err(Failure::NotProgrammed("it did not compile".into()));
        };
        if self.state.lagging().contains(&key) {
            let mut findings = self.state.findings();
            let finding = findings.find(|finding| finding.subject == key.clone().into());
            let text = finding.map_or("a write failed".into(), |finding| finding.to_string());
            return Err(Failure::NotProgrammed(text));
        }
        Ok(())
    }
}

fn connect_all(listeners: &[(IpAddr, TcpListener)]) -> Verdict {
    let mut addresses = Vec::new();
    for (address, listener) in listeners {
        let service = SocketAddr::new(*address, PORT);
        let local =
            TcpStream::connect_timeout(&service, PATIENCE).and_then(|stream| stream.local_addr());
        let local = local.map_err(|_| Failure::NotTranslated(service))?;
        let mut waiting = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        let accepted = match poll(&mut waiting, PATIENCE_MS) {
            Ok(1) => listener.accept().is_ok_and(|(_, peer)| peer == local),
            _ => false,
        };
        if !accepted {
            return Err(Failure::NotTranslated(service));
        }
        addresses.push(service);
    }
    Ok(Passed { addresses })
}

/// The Service and its slices, as the API server would give them.
fn manifests(listeners: &[(IpAddr, TcpListener)]) -> io::Result<Vec<serde_json::Value>> {
    let ips: Vec<_> = listeners
        .iter()
        .map(|(address, _)| address.to_string())
        .collect();
    let mut manifests = vec![json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": NAMESPACE, "name": NAME},
        "spec": {
            "clusterIP": ips.first(),
            "clusterIPs": ips,
            "ports": [{"port": PORT, "protocol": "TCP"}],
        },
    })];
    for (index, (_, listener)) in listeners.iter().enumerate() {
        let backend = listener.local_addr()?;
        manifests.push(json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "namespace": NAMESPACE,
                "name": format!("{NAME}-{index}"),
                "labels": {"kubernetes.io/service-name": NAME},
            },
            "addressType": if backend.is_ipv4() { "IPv4" } else { "IPv6" },
            "endpoints": [{"addresses": [backend.ip().to_string()], "conditions": {"ready": true}}],
            "ports": [{"port": backend.port(), "protocol": "TCP"}],
        }));
    }
    Ok(manifests)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT)
    )
}
