//! Two hundred clients: how they are shared out, and who moves when backends come and go, beside the ideal.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sluice_model::{desired::Backend, key, maglev};
use sluice_node_agent::program::Refusal;
use sluice_testbed::{
    load::Target,
    pod::{Pod, Program},
    program::{Family, Seen, Step},
    tier::{Shared, eventually},
};

use crate::{
    bed::{Bed, at},
    told::Told,
};

const PATIENCE: Duration = Duration::from_secs(60);
const CLIENTS: usize = 200;
const BACKENDS: usize = 10;
const SERVICE: &str = "198.18.0.1";
const PORT: u16 = 80;

/// A node with many pods, and one server that stands for all backends and one more.
pub(crate) struct Crowd {
    clients: Vec<Pod>,
    server: Pod,
    pub(crate) bed: Bed,
}

static CROWD: Shared<Crowd> = Shared::new(Crowd::gather);
static TURN: Mutex<()> = Mutex::new(());

/// The crowd, for one test at a time: an agent takes what it did not ask for away, and there is one set of maps.
pub(crate) fn turn() -> Result<(Arc<Crowd>, MutexGuard<'static, ()>)> {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((CROWD.get()?, turn))
}

impl Crowd {
    fn gather() -> Result<Self> {
        let bed = Bed::start(Refusal::SetRetval)?;
        let server = bed.node.pod("server").addresses(BACKENDS as u8 + 1);
        let server = server.named_by_address().port(PORT).start()?;
        let start = |number| bed.node.pod(format!("client-{number}")).start();
        let clients = (0..CLIENTS).map(start).collect::<Result<_>>()?;
        Ok(Self {
            clients,
            server,
            bed,
        })
    }

    pub(crate) fn clients(&self) -> &[Pod] {
        &self.clients
    }

    pub(crate) fn backend(&self, number: usize) -> SocketAddr {
        (self.server.addresses()[number].0, PORT).into()
    }

    /// The Service with these of the backends.
    fn objects(
        &self,
        affinity: &str,
        balancing: &str,
        backends: impl IntoIterator<Item = usize>,
    ) -> [Value; 2] {
        let endpoints = backends.into_iter();
        let endpoints = endpoints.map(|n| json!({"addresses": [self.backend(n).ip()]}));
        [
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {
                    "name": "web", "namespace": "shop",
                    "annotations": {"sluice.dev/balancing": balancing},
                },
                "spec": {
                    "clusterIPs": [SERVICE], "sessionAffinity": affinity, "ports": [{"port": PORT}],
                },
            }),
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {
                    "name": "web", "namespace": "shop",
                    "labels": {"kubernetes.io/service-name": "web"},
                },
                "ports": [{"port": PORT}], "endpoints": endpoints.collect::<Vec<_>>(),
            }),
        ]
    }

    /// Which backend each client has; the same at each of several connects.
    fn kept(&self) -> Result<Vec<String>> {
        let target = Target::tcp(at(SERVICE, PORT)?);
        let of = |client: &Pod| {
            let had = client.connect(target)?.name;
            let again = client.connect(target)?.name;
            ensure!(again == had, "{}: {again} after {had}", client.name());
            Ok(had)
        };
        self.clients.iter().map(of).collect()
    }

    /// A socket of each client that stays open, and which backend it is with.
    fn sockets(&self) -> Result<Vec<(Program<'_>, String)>> {
        let service = at(SERVICE, PORT)?;
        let mut sockets = Vec::new();
        for client in &self.clients {
            let program = client.program();
            let seen = program.run(&[
                Step::tcp(Family::V4),
                Step::connect(0, service),
                Step::receive(0),
            ])?;
            let greeting = seen[2].as_ref().ok().and_then(Seen::text);
            let greeting = greeting.with_context(|| format!("{seen:?}"))?;
            let name = greeting.split(' ').next().context("no name")?;
            sockets.push((program, name.to_owned()));
        }
        Ok(sockets)
    }
}

/// How many have each.
fn shares<'a>(names: impl IntoIterator<Item = &'a String>) -> BTreeMap<&'a str, usize> {
    let mut shares = BTreeMap::new();
    for name in names {
        *shares.entry(name.as_str()).or_default() += 1;
    }
    shares
}

fn bounds(shares: &BTreeMap<&str, usize>) -> (usize, usize) {
    let values = || shares.values().copied();
    (values().min().unwrap_or(0), values().max().unwrap_or(0))
}

/// The clients whose backend is another one now.
fn moved(before: &[String], after: &[String]) -> BTreeSet<usize> {
    let pairs = before.iter().zip(after).enumerate();
    pairs
        .filter(|(_, (before, after))| before != after)
        .map(|(client, _)| client)
        .collect()
}

pub(crate) fn affinity_moves_the_clients_of_a_backend_that_goes_and_nobody_else() -> Result<()> {
    let (crowd, _turn) = turn()?;
    let mut told = Told::start(&crowd.bed)?;
    let ideal = CLIENTS / BACKENDS;
    told.apply(&crowd.objects("ClientIP", "RoundRobin", 0..BACKENDS))?;
    let before = crowd.kept()?;
    let (least, most) = bounds(&shares(&before));
    println!("affinity: {least} to {most} clients each, ideal {ideal}");
    ensure!((least, most) == (ideal, ideal), "{:?}", shares(&before));

    told.apply(&crowd.objects("ClientIP", "RoundRobin", 1..BACKENDS))?;
    let after = crowd.kept()?;
    let gone = crowd.backend(0).to_string();
    let needed = (0..CLIENTS).filter(|&client| before[client] == gone);
    let needed: BTreeSet<_> = needed.collect();
    let moves = moved(&before, &after);
    let newcomers = shares(moves.iter().map(|&client| &after[client]));
    let (fewest, most) = bounds(&newcomers);
    println!(
        "1 of {BACKENDS} goes: {} clients move, ideal {}; the others get {fewest} to {most} of them each, ideal {:.1}",
        moves.len(),
        needed.len(),
        needed.len() as f64 / (BACKENDS - 1) as f64
    );
    ensure!(moves == needed, "{moves:?} instead of {needed:?}");
    ensure!(
        newcomers.len() == BACKENDS - 1 && most <= fewest + 1,
        "{newcomers:?}"
    );

    told.apply(&crowd.objects("ClientIP", "RoundRobin", 0..=BACKENDS))?;
    let more = moved(&after, &crowd.kept()?);
    println!("2 come: {} clients move, ideal 0", more.len());
    ensure!(more.is_empty(), "{more:?}");
    Ok(())
}

/// The part of the table whose backend stays, and is another one all the same.
fn moved_slots(before: &[Backend], after: &[Backend]) -> f64 {
    let (old, new) = (maglev::fill(before), maglev::fill(after));
    let both = old
        .iter()
        .zip(&new)
        .map(|(old, new)| (&before[*old], &after[*new]));
    let more = both.filter(|(old, new)| old != new && after.contains(old));
    more.count() as f64 / maglev::SLOTS as f64
}

pub(crate) fn a_consistent_service_moves_few_clients_and_takes_them_back() -> Result<()> {
    let (crowd, _turn) = turn()?;
    let mut told = Told::start(&crowd.bed)?;
    let ideal = CLIENTS / BACKENDS;
    told.apply(&crowd.objects("None", "Consistent", 0..BACKENDS))?;
    let before = crowd.kept()?;
    let (least, most) = bounds(&shares(&before));
    println!("consistent: {least} to {most} clients each, ideal {ideal}");
    // Clients fall on slots by chance: six standard deviations of that.
    ensure!(most <= ideal + 26, "{:?}", shares(&before));

    told.apply(&crowd.objects("None", "Consistent", 1..BACKENDS))?;
    let after = crowd.kept()?;
    let gone = crowd.backend(0).to_string();
    let moves = moved(&before, &after);
    let (needed, more): (Vec<usize>, Vec<usize>) = moves
        .iter()
        .copied()
        .partition(|&client| before[client] == gone);
    let all: Vec<Backend> = (0..BACKENDS)
        .map(|number| backend(crowd.backend(number)))
        .collect::<Result<_>>()?;
    let slots = moved_slots(&all, &all[1..]);
    println!(
        "1 of {BACKENDS} goes: its {} clients move, and {} more; {:.1} by the table, ideal 0",
        needed.len(),
        more.len(),
        slots * CLIENTS as f64
    );
    let had = before.iter().filter(|name| **name == gone).count();
    ensure!(needed.len() == had, "{} of {had} moved", needed.len());
    ensure!(slots < 0.05, "{slots} of the table moves");
    ensure!(more.len() <= CLIENTS / 8, "{more:?}");

    told.apply(&crowd.objects("None", "Consistent", 0..BACKENDS))?;
    let back = moved(&before, &crowd.kept()?);
    println!(
        "it comes back: {} clients are not with whom they were, ideal 0",
        back.len()
    );
    ensure!(back.is_empty(), "{back:?}");
    Ok(())
}

fn backend(address: SocketAddr) -> Result<Backend> {
    Ok(Backend {
        ip: address.ip(),
        port: key::Port::new(address.port()).context("a port")?,
    })
}

pub(crate) fn least_connections_spreads_what_is_open_and_fills_a_newcomer_first() -> Result<()> {
    let (crowd, _turn) = turn()?;
    let mut told = Told::start(&crowd.bed)?;
    let ideal = CLIENTS / BACKENDS;
    told.apply(&crowd.objects("None", "LeastConnections", 0..BACKENDS))?;
    let open = crowd.sockets()?;
    let names: Vec<_> = open.iter().map(|(_, name)| name.clone()).collect();
    let (least, most) = bounds(&shares(&names));
    println!("least connections: {least} to {most} open each, ideal {ideal}");
    ensure!(
        least + 12 >= ideal && most <= ideal + 8,
        "{:?}",
        shares(&names)
    );
    ensure!(crowd.bed.open_sockets()? == CLIENTS as u64);

    told.apply(&crowd.objects("None", "LeastConnections", 1..=BACKENDS))?;
    let newcomer = crowd.backend(BACKENDS).to_string();
    let gone = crowd.backend(0).to_string();
    let next = crowd.sockets()?;
    let of = |name: &str| next.iter().filter(|(_, other)| other == name).count();
    println!(
        "one goes and one comes: of {CLIENTS} more sockets {} are with the newcomer, {ideal} if nobody counted",
        of(&newcomer)
    );
    ensure!(of(&gone) == 0 && of(&newcomer) > ideal, "{}", of(&newcomer));
    let kept = open.iter().filter(|(_, name)| *name == gone).count();
    println!("{kept} sockets stay with the one that went");
    let counted = crowd.bed.open_sockets()?;
    ensure!(counted == (2 * CLIENTS - kept) as u64, "{counted} count");
    // What it left behind does not count when it comes back.
    told.apply(&crowd.objects("None", "LeastConnections", 0..=BACKENDS))?;
    let counted = crowd.bed.open_sockets()?;
    ensure!(counted == (2 * CLIENTS - kept) as u64, "{counted} count");
    drop((open, next));
    eventually(PATIENCE, "no open socket", || {
        let left = crowd.bed.open_sockets()?;
        ensure!(left == 0, "{left} are open");
        Ok(())
    })
}
