//! Maps that are full: a Service fits whole or not at all, and what is remembered of clients makes room by itself.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::maps::{HashMap, Map, MapData};
use serde_json::{Value, json};
use sluice_model::{
    change::Change, facts, finding::Reason, ids::Capacities, image::Image, key::Kind, plan::Op,
};
use sluice_node_abi::{keys::AffinityKey, maps::AFFINITY, values::Affinity};
use sluice_node_agent::{
    agent::Agent,
    inputs::{News, View},
    maps::{Maps, MapsError, kernel::Kernel},
    program::Refusal,
};
use sluice_testbed::{
    load::{Load, Target},
    pod::Pod,
    tier::eventually,
};
use zerocopy::IntoBytes;

use crate::{
    bed::{Bed, at},
    callers,
    told::Told,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// How long a connect is tried that nobody answers.
const NOBODY: Duration = Duration::from_millis(200);

/// The kernel's maps, with room for a few backends.
struct Small(Kernel);

impl Maps for Small {
    fn capacities(&self) -> Capacities {
        Capacities {
            // Entry 0 is never given out.
            backends: 5,
            ..self.0.capacities()
        }
    }

    fn read(&self) -> Result<Image, MapsError> {
        self.0.read()
    }

    fn counter(&self, index: u32) -> Result<u64, MapsError> {
        self.0.counter(index)
    }

    fn are_switched_off(&self) -> bool {
        self.0.are_switched_off()
    }

    fn write(&mut self, op: &Op) -> Result<(), MapsError> {
        self.0.write(op)
    }
}

const FIRST: &str = "198.18.0.1";
const SECOND: &str = "198.18.0.2";

/// A Service of these backends.
fn service(name: &str, ip: &str, pods: &[&Pod]) -> [Value; 2] {
    let endpoints = pods.iter();
    let endpoints = endpoints.map(|pod| json!({"addresses": [pod.address4().to_string()]}));
    [
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"clusterIPs": [ip], "ports": [{"name": "http", "port": 80}]},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": name},
            },
            "ports": [{"name": "http", "port": 8080}], "endpoints": endpoints.collect::<Vec<_>>(),
        }),
    ]
}

fn tell(agent: &mut Agent<Small>, manifests: &[Value]) -> Result<()> {
    let parsed = manifests
        .iter()
        .map(|manifest| facts::parse(manifest.clone()));
    let changes = parsed.map(|change| change.map_err(|error| anyhow::anyhow!("{error:?}")));
    agent.hear(News {
        changes: changes.collect::<Result<_>>()?,
        view: View::Whole,
        problems: Vec::new(),
    });
    // The second turn is for what waits for the room that the first gives back.
    for _ in 0..2 {
        let done = agent.pass().context("everything is listed")?;
        ensure!(done.failed.is_empty() && done.skipped == 0, "{done:?}");
    }
    Ok(())
}

pub(crate) fn a_service_that_does_not_fit_is_refused_whole_and_disturbs_nobody() -> Result<()> {
    let bed = Bed::start(Refusal::SetRetval)?;
    let servers = (1..=5)
        .map(|n| bed.node.pod(format!("server-{n}")).port(8080).start())
        .collect::<Result<Vec<_>>>()?;
    let servers: Vec<&Pod> = servers.iter().collect();
    let (client, steady) = (
        bed.node.pod("client").start()?,
        bed.node.pod("steady").start()?,
    );
    let mut agent = Agent::start(Small(bed.own_maps()?))?;
    agent.hear(News {
        changes: Kind::ALL
            .map(|kind| Change::Relisted(kind, Default::default()))
            .into(),
        view: View::Whole,
        problems: Vec::new(),
    });
    tell(&mut agent, &service("first", FIRST, &servers[..2]))?;
    let load = Load::on([at(FIRST, 80)?]).until_stopped().rate(200.0);
    let load = steady.start_load(&load)?;
    let answers = |ip: &str| -> Result<u64> {
        let load = Load::on([at(ip, 80)?]).times(6).patience(NOBODY);
        Ok(client.load(&load)?.answered())
    };
    let findings = |agent: &Agent<Small>| -> Vec<Reason> {
        agent
            .state()
            .findings()
            .map(|finding| finding.reason)
            .collect()
    };

    // Three more backends, and room for two: nothing of it is there, and it says why.
    tell(&mut agent, &service("second", SECOND, &servers[2..]))?;
    ensure!(
        findings(&agent) == [Reason::CapacityExceeded],
        "{:?}",
        findings(&agent)
    );
    ensure!(answers(SECOND)? == 0 && answers(FIRST)? == 6);
    // One that fits is not turned away with it.
    tell(&mut agent, &service("second", SECOND, &servers[2..4]))?;
    ensure!(findings(&agent).is_empty() && answers(SECOND)? == 6);
    // One that grows beyond the room stays as it was.
    tell(&mut agent, &service("second", SECOND, &servers[2..]))?;
    ensure!(findings(&agent) == [Reason::CapacityExceeded] && answers(SECOND)? == 6);
    let image = agent.maps().read()?;
    ensure!(
        image.symbolic() == agent.state().image().symbolic(),
        "{image}"
    );
    // Room that comes is used.
    tell(&mut agent, &service("first", FIRST, &servers[..1]))?;
    ensure!(findings(&agent).is_empty(), "{:?}", findings(&agent));
    let load_on_all = Load::on([at(SECOND, 80)?]).times(6);
    ensure!(client.load(&load_on_all)?.names.len() == 3);

    let report = load.stop()?;
    println!("{} connects to the Service that fits", report.tries);
    ensure!(report.failures.is_empty() && report.tries > 0, "{report}");
    Ok(())
}

pub(crate) fn a_full_memory_of_clients_forgets_the_oldest_and_refuses_nobody() -> Result<()> {
    /// So many clients come between two connects of one that goes on.
    const BETWEEN: u64 = 1_000;
    let bed = Bed::start(Refusal::SetRetval)?;
    let servers = (1..=3)
        .map(|n| bed.node.pod(format!("server-{n}")).port(8080).start())
        .collect::<Result<Vec<_>>>()?;
    let busy = bed.node.pod("busy").start()?;
    let idle = bed.node.pod("idle").start()?;
    let mut told = Told::start(&bed)?;
    told.apply(&callers::service(&servers, "ClientIP"))?;
    let target = Target::tcp(at(callers::SERVICE, 80)?);
    let kept = busy.connect(target)?.name;
    idle.connect(target)?;

    let map = MapData::from_pin(bed.pins.map(AFFINITY))?;
    let capacity = u64::from(map.info()?.max_entries());
    let mut map: HashMap<_, [u8; 16], [u8; 24]> = Map::LruHashMap(map).try_into()?;
    let known = map.iter().collect::<Result<Vec<_>, _>>()?;
    ensure!(known.len() == 2, "{} rows for two clients", known.len());
    let (key, value) = known[0];
    let key: AffinityKey = zerocopy::transmute!(key);
    let value: Affinity = zerocopy::transmute!(value);
    // As many other clients as there is room for, twice. The kernel's notion of the oldest is a rough one.
    let mut moves = 0;
    for number in 0..2 * capacity {
        let key = AffinityKey {
            client: u64::MAX / 2 - number,
            ..key
        };
        let row = (
            <[u8; 16]>::try_from(key.as_bytes())?,
            <[u8; 24]>::try_from(value.as_bytes())?,
        );
        map.insert(row.0, row.1, 0)?;
        if number % BETWEEN == 0 {
            moves += usize::from(busy.connect(target)?.name != kept);
        }
    }
    let rows = eventually(PATIENCE, "a map that is read whole", || {
        Ok(map.keys().collect::<Result<Vec<_>, _>>()?)
    })?;
    println!(
        "{} rows in {capacity} after {} clients",
        rows.len(),
        2 * capacity + 2
    );
    ensure!(rows.len() as u64 <= capacity);
    println!("the client that went on moved {moves} times");
    // Whoever was forgotten gets a backend, and keeps that.
    let again = idle.connect(target)?.name;
    ensure!(idle.connect(target)?.name == again);
    Ok(())
}
