//! What is the same for all connects of one client: affinity, and consistent choices.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use aya::maps::{HashMap, Map, MapData};
use nix::sys::time::TimeSpec;
use serde_json::{Value, json};
use sluice_node_abi::{keys::AffinityKey, maps::AFFINITY, values::Affinity};
use sluice_node_agent::program::Refusal;
use sluice_testbed::{
    guest::Machine,
    load::Target,
    pod::Pod,
    program::{Family, Seen, Step, StepResult},
    tier::eventually,
};
use zerocopy::{FromBytes, IntoBytes};

use crate::{
    bed::{Bed, at},
    told::Told,
};

const SERVICE: &str = "198.18.0.1";
const PORT: u16 = 80;
const PATIENCE: Duration = Duration::from_secs(60);

fn service(affinity: &str, balancing: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "web", "namespace": "shop", "annotations": {"sluice.dev/balancing": balancing},
        },
        "spec": {
            "clusterIPs": [SERVICE], "sessionAffinity": affinity,
            "ports": [
                {"name": "tcp", "port": PORT, "protocol": "TCP"},
                {"name": "udp", "port": PORT, "protocol": "UDP"},
            ],
        },
    })
}

fn slice<'a>(name: &str, pods: impl IntoIterator<Item = &'a Pod>) -> Value {
    let endpoints = pods.into_iter();
    let endpoints = endpoints.map(|pod| json!({"addresses": [pod.address4().to_string()]}));
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": name},
        },
        "ports": [
            {"name": "tcp", "port": 8080, "protocol": "TCP"},
            {"name": "udp", "port": 8080, "protocol": "UDP"},
        ],
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

/// Who answers this many connects of one client.
fn answers(client: &Pod, target: Target, times: usize) -> Result<BTreeSet<String>> {
    let names = (0..times).map(|_| Ok(client.connect(target)?.name));
    names.collect()
}

fn the_one(answers: BTreeSet<String>) -> Result<String> {
    ensure!(answers.len() == 1, "{answers:?}");
    answers.into_iter().next().context("nobody answered")
}

/// Every client's last connect was long ago.
fn let_affinity_expire(bed: &Bed) -> Result<usize> {
    let map = MapData::from_pin(bed.pins.map(AFFINITY))?;
    let mut map: HashMap<_, [u8; 16], [u8; 24]> = Map::LruHashMap(map).try_into()?;
    let rows = map.iter().collect::<Result<Vec<_>, _>>()?;
    for (key, value) in &rows {
        let mut value = Affinity::read_from_bytes(value).ok().context("a row")?;
        value.last = 0;
        let key = AffinityKey::read_from_bytes(key).ok().context("a key")?;
        map.insert(
            <[u8; 16]>::try_from(key.as_bytes())?,
            <[u8; 24]>::try_from(value.as_bytes())?,
            0,
        )?;
    }
    Ok(rows.len())
}

pub(crate) fn session_affinity_keeps_each_client_until_its_backend_goes() -> Result<()> {
    let bed = Bed::start(Refusal::SetRetval)?;
    let servers = (1..=3)
        .map(|n| bed.node.pod(format!("server-{n}")).port(8080).start())
        .collect::<Result<Vec<_>>>()?;
    let clients = [
        bed.node.pod("client-1").start()?,
        bed.node.pod("client-2").start()?,
        bed.node.pod("host").on_the_host().start()?,
    ];
    let mut told = Told::start(&bed)?;
    // A Service with the same pods keeps their rows: a backend can be gone from one alone.
    let mut other = service("None", "RoundRobin");
    other["metadata"]["name"] = json!("other");
    other["spec"]["clusterIPs"] = json!(["198.18.0.2"]);
    told.apply(&[other, slice("other", &servers)])?;
    told.apply(&[service("ClientIP", "RoundRobin"), slice("web", &servers)])?;

    for target in [
        Target::tcp(at(SERVICE, PORT)?),
        Target::udp(at(SERVICE, PORT)?),
    ] {
        let mut kept = Vec::new();
        for client in &clients {
            kept.push(the_one(answers(client, target, 10)?)?);
        }
        ensure!(kept.iter().collect::<BTreeSet<_>>().len() == 3, "{kept:?}");
        for (client, kept) in clients.iter().zip(&kept) {
            ensure!(the_one(answers(client, target, 5)?)? == *kept);
        }

        // Others' changes move nobody; one's own backend going does.
        let without = |name: &str| {
            let name = name.to_owned();
            servers.iter().filter(move |pod| pod.name() != name)
        };
        told.apply(&[slice("web", without(&kept[1]))])?;
        ensure!(the_one(answers(&clients[0], target, 5)?)? == kept[0]);
        let moved = the_one(answers(&clients[1], target, 5)?)?;
        ensure!(moved != kept[1], "{moved} is not an endpoint any more");
        told.apply(&[slice("web", &servers)])?;
        ensure!(the_one(answers(&clients[1], target, 5)?)? == moved);
    }

    let target = Target::tcp(at(SERVICE, PORT)?);
    let mut after = BTreeSet::new();
    for _ in 0..6 {
        let rows = let_affinity_expire(&bed)?;
        ensure!(rows >= 6, "{rows} rows for three clients and two ports");
        after.extend(answers(&clients[0], target, 3)?);
    }
    ensure!(after.len() > 1, "{after:?} after the time was over");

    told.apply(&[service("None", "RoundRobin")])?;
    ensure!(answers(&clients[0], target, 3)?.len() == 3);
    told.apply(&[service("ClientIP", "RoundRobin")])?;
    the_one(answers(&clients[0], target, 10)?)?;
    Ok(())
}

/// Only where the clock is nobody else's.
pub(crate) fn a_clock_that_is_set_moves_no_client() -> Result<()> {
    let machine = Machine::own().context("a machine of the test's own")?;
    let bed = Bed::start(Refusal::SetRetval)?;
    let servers = [1, 2].map(|n| bed.node.pod(format!("server-{n}")).port(8080).start());
    let servers = servers.into_iter().collect::<Result<Vec<_>>>()?;
    let client = bed.node.pod("client").start()?;
    let mut told = Told::start(&bed)?;
    told.apply(&[service("ClientIP", "RoundRobin"), slice("web", &servers)])?;
    let target = Target::tcp(at(SERVICE, PORT)?);
    let kept = the_one(answers(&client, target, 4)?)?;
    // Affinity ends after three hours.
    for hours in [30, -60, 30] {
        machine.shift_clock(TimeSpec::new(hours * 3_600, 0))?;
        let now = the_one(answers(&client, target, 4)?)?;
        ensure!(now == kept, "{hours} hours later {now} instead of {kept}");
    }
    Ok(())
}

pub(crate) fn a_consistent_service_gives_each_pod_the_same_backend() -> Result<()> {
    let bed = Bed::start(Refusal::SetRetval)?;
    let servers = (1..=4)
        .map(|n| bed.node.pod(format!("server-{n}")).port(8080).start())
        .collect::<Result<Vec<_>>>()?;
    let clients = (1..=12)
        .map(|n| bed.node.pod(format!("client-{n}")).start())
        .collect::<Result<Vec<_>>>()?;
    let mut told = Told::start(&bed)?;
    told.apply(&[service("None", "Consistent"), slice("web", &servers)])?;
    let target = Target::tcp(at(SERVICE, PORT)?);
    let all = |servers: usize| -> Result<BTreeMap<String, String>> {
        let of = |client: &Pod| {
            Ok((
                client.name().to_owned(),
                the_one(answers(client, target, 4)?)?,
            ))
        };
        let all: BTreeMap<_, _> = clients.iter().map(of).collect::<Result<_>>()?;
        let used: BTreeSet<_> = all.values().collect();
        ensure!(used.len() > 1 && used.len() <= servers, "{all:?}");
        Ok(all)
    };
    let before = all(4)?;
    told.apply(&[slice("web", &servers[..3])])?;
    let after = all(3)?;
    let moved = before
        .iter()
        .filter(|(client, had)| after[*client] != **had);
    let (mut needed, mut more) = (0, 0);
    for (_, had) in moved {
        *(if had == "server-4" {
            &mut needed
        } else {
            &mut more
        }) += 1;
    }
    println!("12 clients, 1 of 4 backends gone: {needed} had to move, {more} did besides");
    ensure!(more <= 2, "{before:?} became {after:?}");
    Ok(())
}

pub(crate) fn least_connections_evens_out_what_is_open() -> Result<()> {
    let balanced = Balanced::start()?;
    let seen = balanced.client.run(&balanced.opening()?)?;
    evened_out(&seen)
}

/// As by somebody who writes into the map: what is closed uncounted must not be owed by what is opened next.
pub(crate) fn a_backend_that_lost_count_of_its_sockets_gets_its_part_again() -> Result<()> {
    let balanced = Balanced::start()?;
    let maps = &balanced.bed.maps;
    let uncounted = balanced.client.program();
    evened_out(&uncounted.run(&balanced.opening()?)?)?;
    let mut rows = Vec::new();
    maps.backends.each(|id, row| rows.push((id, row)))?;
    let (id, mut row) = *rows.first().context("a backend")?;
    row.sockets = 0;
    maps.backends.write(id, row)?;
    drop(uncounted);
    eventually(PATIENCE, "no open socket", || {
        let mut rows = Vec::new();
        maps.backends.each(|_, row| rows.push(row))?;
        ensure!(rows.iter().all(|row| row.sockets == 0), "{rows:?}");
        Ok(())
    })?;
    let seen = balanced.client.run(&balanced.opening()?)?;
    evened_out(&seen)
}

/// A Service of three servers that balances by open sockets.
struct Balanced {
    client: Pod,
    _servers: Vec<Pod>,
    bed: Bed,
}

impl Balanced {
    const SOCKETS: usize = 60;

    fn start() -> Result<Self> {
        let bed = Bed::start(Refusal::SetRetval)?;
        let servers = (1..=3)
            .map(|n| bed.node.pod(format!("server-{n}")).port(8080).start())
            .collect::<Result<Vec<_>>>()?;
        let client = bed.node.pod("client").start()?;
        let mut told = Told::start(&bed)?;
        told.apply(&[service("None", "LeastConnections"), slice("web", &servers)])?;
        Ok(Self {
            client,
            _servers: servers,
            bed,
        })
    }

    /// Opens sockets and leaves them open.
    fn opening(&self) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        for socket in 0..Self::SOCKETS {
            steps.push(Step::tcp(Family::V4));
            steps.push(Step::connect(socket, at(SERVICE, PORT)?));
            steps.push(Step::receive(socket));
        }
        Ok(steps)
    }
}

fn evened_out(seen: &[StepResult]) -> Result<()> {
    ensure!(seen.iter().all(Result::is_ok), "{seen:?}");
    let mut answered = BTreeMap::<&[u8], usize>::new();
    for step in seen.iter().flatten() {
        if let Seen::Data(name) = step {
            *answered.entry(name).or_default() += 1;
        }
    }
    let (least, most) = (answered.values().min(), answered.values().max());
    let (least, most) = least.zip(most).context("nobody answered")?;
    let all = Balanced::SOCKETS;
    println!("{all} open sockets on 3 backends: {least} to {most} each");
    ensure!(answered.len() == 3 && most - least <= 8, "{answered:?}");
    Ok(())
}
