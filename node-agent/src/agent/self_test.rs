//! Do a connect and a datagram of this very process reach the backend that the maps name?
//!
//! Attaching a program proves little: the tree may be cut off by a cgroup namespace, another
//! program may come first. So a Service of our own goes the whole way, from parser to map, and is connected to. Its
//! address is loopback's, so a connect that is *not* translated never leaves the machine.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
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

/// A name that is reserved: what inputs say of a namespace that is called so is not heard.
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
    #[error("connects were switched off (`sluice-node-agent switch on` takes that back)")]
    SwitchedOff,
    #[error("cannot listen on loopback: {0}")]
    Listen(String),
    #[error("its own Service was not programmed: {0}")]
    NotProgrammed(String),
    #[error(
        "a connect to {0} was not translated: is this process below the cgroup root that the programs are attached to, and does no other program hide connects from them?"
    )]
    NotTranslated(SocketAddr),
    #[error(
        "a datagram to {service} {outcome}: does another program on the cgroup tree change where datagrams go or come from?"
    )]
    Datagram {
        service: SocketAddr,
        outcome: String,
    },
}

/// Whether an input speaks of something that only the self-test may be called: whoever owns a
/// namespace of that name could make it fail on every node.
pub(super) fn is_reserved(change: &Change) -> bool {
    let subject = match change {
        Change::Set(object) => object.subject(),
        Change::Gone(subject) => subject.clone(),
        Change::Relisted(..) => return false,
    };
    subject.name.namespace() == NAMESPACE
}

impl<M: Maps> Agent<M> {
    /// Programs the Service, connects to it, and takes it away again.
    pub fn test_self(&mut self) -> &Verdict {
        let verdict = self.try_self();
        self.self_test.insert(verdict)
    }

    fn try_self(&mut self) -> Verdict {
        if self.maps.are_switched_off() {
            return Err(Failure::SwitchedOff);
        }
        let failed = |error: io::Error| Failure::Listen(error.to_string());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let ports = [listener.local_addr(), receiver.local_addr()];
        let [tcp, udp] = ports.map(|address| address.map(|address| address.port()));
        let manifests = manifests(tcp.map_err(failed)?, udp.map_err(failed)?);
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
        let verdict = self
            .programmed()
            .and_then(|()| connect_all(&listener))
            .and_then(|passed| send_all(&receiver, passed));
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

/// A datagram to each address that could be connected to, and its answer.
fn send_all(receiver: &UdpSocket, passed: Passed) -> Verdict {
    for service in &passed.addresses {
        exchange(receiver, *service).map_err(|outcome| Failure::Datagram {
            service: *service,
            outcome,
        })?;
    }
    Ok(passed)
}

fn exchange(receiver: &UdpSocket, service: SocketAddr) -> Result<(), String> {
    let failed = |doing: &'static str| move |error: io::Error| format!("{doing}: {error}");
    let own: IpAddr = match service {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let sender = UdpSocket::bind((own, 0)).map_err(failed("needs a socket"))?;
    for socket in [receiver, &sender] {
        let bounded = socket.set_read_timeout(Some(PATIENCE));
        bounded.map_err(failed("needs a time limit"))?;
    }
    let port = sender.local_addr().map_err(failed("has no source"))?.port();
    let sent = sender.send_to(&port.to_be_bytes(), service);
    sent.map_err(failed("was not sent"))?;
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 8];
    loop {
        let received = receiver.recv_from(&mut buffer);
        let (length, from) = received.map_err(failed("did not arrive"))?;
        // Others may send here too: the address is everybody's.
        if from.port() == port && buffer[..length] == port.to_be_bytes() {
            let answered = receiver.send_to(&buffer[..length], from);
            answered.map_err(failed("was not answered"))?;
            break;
        }
        if Instant::now() >= deadline {
            return Err("did not arrive".into());
        }
    }
    let received = sender.recv_from(&mut buffer);
    let (_, from) = received.map_err(failed("had no answer"))?;
    if from == service {
        Ok(())
    } else {
        Err(format!("was answered from {from}"))
    }
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
fn manifests(tcp: u16, udp: u16) -> [serde_json::Value; 2] {
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": NAMESPACE, "name": NAME},
        "spec": {
            "clusterIP": ADDRESS.to_string(),
            "ports": [
                {"name": "tcp", "port": PORT, "protocol": "TCP"},
                {"name": "udp", "port": PORT, "protocol": "UDP"},
            ],
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
        "endpoints": [{
            "addresses": [Ipv4Addr::LOCALHOST.to_string()],
            "conditions": {"ready": true},
        }],
        "ports": [
            {"name": "tcp", "port": tcp, "protocol": "TCP"},
            {"name": "udp", "port": udp, "protocol": "UDP"},
        ],
    });
    [service, slice]
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT)
    )
}
