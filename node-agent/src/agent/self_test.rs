//! Does a connect of this very process reach the backend that the maps name?
//!
//! Attaching a program proves little: the tree may be cut off by a cgroup namespace, another
//! program may come first. So a Service of our own goes the whole way, from parser to map, and is connected to. Its
//! address is loopback's, so a connect that is *not* translated never leaves the machine.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    time::{Duration, Instant},
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

/// A name that is reserved: an object of a user that is called so is taken away by every test.
const NAMESPACE: &str = "sluice-self-test";
const NAME: &str = "self-test";
const PORT: u16 = 8376;
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 83, 76, 85);

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
        let failed = |error: io::Error| Failure::Listen(error.to_string());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let manifests = manifests(listener.local_addr().map_err(failed)?);
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
        let verdict = self.programmed().and_then(|()| connect_all(&listener));
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

/// Once from a socket of each family, so that both connect hooks are tried.
fn connect_all(listener: &TcpListener) -> Verdict {
    let mut addresses = Vec::new();
    for ip in [IpAddr::V4(ADDRESS), IpAddr::V6(ADDRESS.to_ipv6_mapped())] {
        let service = SocketAddr::new(ip, PORT);
        let stream = match TcpStream::connect_timeout(&service, PATIENCE) {
            // No such family on this machine.
            Err(error) if ip.is_ipv6() && is_absent(&error) => continue,
            outcome => outcome.map_err(|_| Failure::NotTranslated(service))?,
        };
        if !stream
            .local_addr()
            .is_ok_and(|local| accepts(listener, local))
        {
            return Err(Failure::NotTranslated(service));
        }
        addresses.push(service);
    }
    Ok(Passed { addresses })
}

/// Whether the listener gets this connection. It may get others: the address is everybody's.
fn accepts(listener: &TcpListener, from: SocketAddr) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let mut waiting = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        if !matches!(poll(&mut waiting, PATIENCE_MS), Ok(1)) {
            return false;
        }
        let peer = listener.accept().map(|(_, peer)| peer);
        if peer
            .is_ok_and(|peer| (peer.ip(), peer.port()) == (from.ip().to_canonical(), from.port()))
        {
            return true;
        }
    }
    false
}

/// The Service and its slice, as the API server would give them.
fn manifests(backend: SocketAddr) -> [serde_json::Value; 2] {
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": NAMESPACE, "name": NAME},
        "spec": {
            "clusterIP": ADDRESS.to_string(),
            "ports": [{"port": PORT, "protocol": "TCP"}],
        },
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": NAMESPACE,
            "name": NAME,
            "labels": {"kubernetes.io/service-name": NAME},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [backend.ip().to_string()], "conditions": {"ready": true}}],
        "ports": [{"port": backend.port(), "protocol": "TCP"}],
    });
    [service, slice]
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT)
    )
}
