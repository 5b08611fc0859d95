//! UDP clients that keep their own port while the pods behind a Service come and go: what connection tracking gets wrong
//! for them, since to it they never pause.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluice_testbed::Errno;
use sluice_testbed::errno::Code;
use sluice_testbed::pod::Program;
use sluice_testbed::program::{Family, Seen, Step, StepResult};
use sluice_testbed::tier::eventually;

use crate::bed::{Bed, Caller, PATIENCE, quiet};
use crate::objects::{PORT, Server, Service, service};

pub(crate) fn datagrams_to_a_cluster_address_follow_pods_that_cycle() -> Result<()> {
    let bed = quiet()?;
    follow(&bed, "cycled", 20_000, &bed.near.pod, json!({}), |stored| {
        stored.at(PORT)
    })
}

pub(crate) fn datagrams_to_a_node_port_follow_pods_that_cycle() -> Result<()> {
    let bed = quiet()?;
    let spec = json!({ "type": "NodePort" });
    follow(&bed, "cycled-port", 20_010, &bed.near.pod, spec, |stored| {
        Ok(bed.at_nodes(stored.node_port("udp")?))
    })
}

pub(crate) fn datagrams_follow_pods_that_cycle_on_the_callers_node() -> Result<()> {
    let bed = quiet()?;
    let spec = json!({ "internalTrafficPolicy": "Local" });
    follow(&bed, "cycled-local", 20_020, &bed.far.pod, spec, |stored| {
        stored.at(PORT)
    })
}

pub(crate) fn datagrams_of_a_pod_in_the_hosts_network_follow_pods_that_cycle() -> Result<()> {
    let bed = quiet()?;
    follow(
        &bed,
        "cycled-host",
        20_030,
        &bed.near.host_pod,
        json!({}),
        |stored| stored.at(PORT),
    )
}

pub(crate) fn datagrams_that_were_refused_arrive_once_a_pod_is_ready_and_follow_its_port()
-> Result<()> {
    let bed = quiet()?;
    let namespace = "late";
    bed.cluster.namespace(namespace)?;
    let store = |port: u16| {
        let ports = json!([{ "name": "udp", "protocol": "UDP", "port": PORT, "targetPort": port }]);
        bed.service(&service(
            namespace,
            "late",
            "pods",
            json!({ "ports": ports }),
        ))
    };
    let addresses = store(PORT)?.at(PORT)?;
    let clients = clients(&bed.near.pod, 20_040, &addresses);
    refused(&clients)?;
    let mut server = Server::on(bed.cluster.nodes()[1].name(), namespace, "late");
    server.unready = true;
    bed.cluster.apply(&server.object().to_string())?;
    let running = ["wait", "--for=jsonpath={.status.phase}=Running", "pod/late"];
    let there = ["--timeout=60s", "--namespace", namespace];
    bed.cluster.kubectl([&running[..], &there].concat())?;
    refused(&clients)?;
    let http = server.http_port();
    let itself = Caller::inside(&bed, namespace, "late")?;
    let seen = itself.run(&[
        Step::tcp(Family::V4),
        Step::connect(0, (Ipv4Addr::LOCALHOST, http).into()),
        Step::send(0, "POST /ready HTTP/1.0\r\n\r\n"),
        Step::receive(0),
    ])?;
    let answer = seen.last().and_then(|last| last.as_ref().ok()?.text());
    ensure!(
        answer.is_some_and(|text| text.contains(" 200 ")),
        "{seen:?}"
    );
    heard(&clients, "late 80")?;
    store(PORT + 1)?;
    heard(&clients, "late 81")
}

/// All clients hear each pod in turn, without closing their sockets but where they were ended.
fn follow(
    bed: &Bed,
    namespace: &str,
    port: u16,
    caller: &Caller,
    spec: Value,
    addresses: impl FnOnce(&Service) -> Result<Vec<SocketAddr>>,
) -> Result<()> {
    bed.cluster.namespace(namespace)?;
    let stored = bed.service(&service(namespace, "cycled", "pods", spec))?;
    let clients = clients(caller, port, &addresses(&stored)?);
    let node = bed.cluster.nodes()[1].name();
    let mut before: Option<&str> = None;
    for name in ["first", "second"] {
        // The one that was there goes before the next comes, so that meanwhile there is none.
        if let Some(before) = before.replace(name) {
            bed.delete(namespace, &["pod", before])?;
            refused(&clients)?;
        }
        bed.pods(namespace, &[Server::on(node, namespace, name)])?;
        heard(&clients, &format!("{name} {PORT}"))?;
    }
    let anew: u32 = clients.iter().map(|client| client.opened_anew.get()).sum();
    println!(
        "{} clients in {} followed a change; connected sockets were opened anew {anew} times",
        clients.len(),
        caller.name
    );
    Ok(())
}

/// A client of each manner for each address, each on a port of its own.
fn clients<'a>(caller: &'a Caller, first: u16, addresses: &[SocketAddr]) -> Vec<Client<'a>> {
    let manners = addresses.iter().flat_map(|address| {
        [Manner::Fresh, Manner::Connected, Manner::Unconnected].map(|manner| (*address, manner))
    });
    let numbered = manners.zip(first..);
    let clients = numbered.map(|((address, manner), port)| Client {
        caller,
        address,
        manner,
        port,
        socket: RefCell::new(None),
        opened_anew: Cell::new(0),
    });
    clients.collect()
}

fn heard(clients: &[Client<'_>], name: &str) -> Result<()> {
    for client in clients {
        let what = format!("{name} answers at {} ({:?})", client.address, client.manner);
        eventually(PATIENCE, &what, || {
            let answer = client.ask()?;
            ensure!(answer.as_deref() == Ok(name), "{answer:?}");
            Ok(())
        })?;
    }
    Ok(())
}

fn refused(clients: &[Client<'_>]) -> Result<()> {
    for client in clients {
        let what = format!("nobody answers at {} ({:?})", client.address, client.manner);
        eventually(PATIENCE, &what, || {
            let answer = client.ask()?;
            let refused = answer == Err(Errno::ECONNREFUSED.into());
            ensure!(refused, "{answer:?}");
            Ok(())
        })?;
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// A new socket for each question, on the same port.
    Fresh,
    /// One that is connected; opened anew only after an error, and silence is none.
    Connected,
    /// One that names the address with each datagram; never opened anew.
    Unconnected,
}

struct Client<'a> {
    caller: &'a Caller,
    address: SocketAddr,
    manner: Manner,
    port: u16,
    socket: RefCell<Option<Program<'a>>>,
    /// How often an error made it open the socket anew.
    opened_anew: Cell<u32>,
}

impl Client<'_> {
    /// The name and the version of who answers one datagram.
    fn ask(&self) -> Result<Result<String, Code>> {
        let mut kept = self.socket.borrow_mut();
        let opens = if kept.is_none() { self.open() } else { vec![] };
        let program = kept.take().unwrap_or_else(|| self.caller.program());
        let ask = match self.manner {
            Manner::Unconnected => [Step::send_to(0, "?", self.address), Step::receive_from(0)],
            _ => [Step::send(0, "?"), Step::receive(0)],
        };
        let seen = program.run(&[&opens[..], &ask].concat())?;
        let answer = self.answer(seen)?;
        let keeps = match self.manner {
            Manner::Fresh => false,
            Manner::Connected => answer.is_ok() || answer == Err(Errno::EAGAIN.into()),
            Manner::Unconnected => true,
        };
        if keeps {
            *kept = Some(program);
        } else if self.manner == Manner::Connected && opens.is_empty() {
            self.opened_anew.update(|count| count + 1);
        }
        Ok(answer)
    }

    fn open(&self) -> Vec<Step> {
        let unspecified: IpAddr = match self.address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let mut steps = vec![
            Step::udp(Family::of(self.address)),
            Step::Bind {
                socket: 0,
                address: (unspecified, self.port).into(),
            },
        ];
        if self.manner != Manner::Unconnected {
            steps.push(Step::connect(0, self.address));
        }
        steps
    }

    /// The first error, or the line of who answered.
    fn answer(&self, seen: Vec<StepResult>) -> Result<Result<String, Code>> {
        let seen: Vec<_> = match seen.into_iter().collect() {
            Ok(seen) => seen,
            Err(code) => return Ok(Err(code)),
        };
        let last = seen.last().context("there were steps")?;
        if let Seen::DataFrom(_, from) = last {
            ensure!(*from == self.address, "{from} has answered");
        }
        let text = last.text().context("an answer is text")?;
        Ok(Ok(text.lines().next().unwrap_or_default().to_owned()))
    }
}
