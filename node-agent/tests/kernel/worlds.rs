//! Random worlds of Services, slices and splits: what the objects ask for, what the maps hold, and
//! where real connects go must be the same.

use std::{
    iter,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context, Result, anyhow, ensure};
use fastrand::Rng;
use serde_json::{Value, json};
use sluice_model::{
    caller::Caller,
    change::Change,
    desired::Backend,
    facts,
    image::Image,
    key::{self, Frontend, Kind, Protocol},
    oracle::{self, Answer, Odds},
};
use sluice_node_agent::{
    agent::Agent,
    inputs::{News, View},
    maps::{Maps, MapsError, kernel::Kernel},
    program::Refusal,
};
use sluice_testbed::{
    Errno,
    errno::Code,
    load::{Load, Stage, Target},
    pod::Pod,
    tier::{self, is_long},
};

use crate::bed::Bed;

const NAMESPACE: &str = "shop";
/// Addresses of each family that the server pod has.
const ADDRESSES: u8 = 8;
/// Ports that it serves, TCP and UDP.
const PORTS: [u16; 3] = [8000, 8001, 8002];
const CONNECTS: u64 = 24;

pub(crate) fn objects_maps_and_connects_say_the_same() -> Result<()> {
    let worlds = if is_long() { 500 } else { 60 };
    let bed = Bed::start(Refusal::SetRetval)?;
    let (server, client) = pods(&bed)?;
    let mut agent = Agent::start(bed.own_maps()?)?;
    agent.hear(listed());
    let (mut frontends, mut connects) = (0, 0);
    // The first world is that of the seed itself, so a failing one is repeated by its own.
    let first = tier::seed()?;
    let mut others = Rng::with_seed(first);
    let seeds = iter::once(first).chain(iter::repeat_with(|| others.u64(..)));
    for seed in seeds.take(worlds) {
        let asked = check_world(&mut agent, &server, &client, seed)
            .with_context(|| format!("the world of seed {seed}"))?;
        frontends += asked;
        connects += asked as u64 * CONNECTS;
    }
    println!("{worlds} worlds, {frontends} frontends, {connects} connects");
    Ok(())
}

pub(crate) fn writes_that_fail_at_random_still_end_in_the_same_image() -> Result<()> {
    let worlds = if is_long() { 200 } else { 20 };
    let bed = Bed::start(Refusal::SetRetval)?;
    let (server, _) = pods(&bed)?;
    let mut rng = Rng::with_seed(tier::seed()?);
    let flaky = Flaky {
        maps: bed.own_maps()?,
        rng: rng.fork(),
        failures: 0,
    };
    let mut agent = Agent::start(flaky)?;
    agent.hear(listed());
    let mut told = Vec::new();
    for _ in 0..worlds {
        let world = World::random(&mut rng, &server);
        agent.hear(world.news_after(&told)?);
        for _ in 0..200 {
            let done = agent.pass().context("everything is listed")?;
            if done.failed.is_empty() && done.skipped == 0 {
                break;
            }
        }
        let found = agent.maps().maps.read()?;
        ensure!(found.symbolic() == world.image()?.symbolic(), "{found}");
        told = world.manifests;
    }
    println!("{worlds} worlds, {} failed writes", agent.maps().failures);
    ensure!(agent.maps().failures > 0, "no write failed");
    Ok(())
}

/// One write in twenty fails.
struct Flaky {
    maps: Kernel,
    rng: Rng,
    failures: usize,
}

impl Maps for Flaky {
    fn capacities(&self) -> sluice_model::ids::Capacities {
        self.maps.capacities()
    }

    fn read(&self) -> Result<Image, MapsError> {
        self.maps.read()
    }

    fn are_switched_off(&self) -> bool {
        self.maps.are_switched_off()
    }

    fn write(&mut self, op: &sluice_model::plan::Op) -> Result<(), MapsError> {
        if self.rng.u8(..20) == 0 {
            self.failures += 1;
            return Err(MapsError::Barrier(std::io::Error::other("on purpose")));
        }
        self.maps.write(op)
    }
}

fn pods(bed: &Bed) -> Result<(Pod, Pod)> {
    let server = bed
        .node
        .pod("server")
        .addresses(ADDRESSES)
        .named_by_address();
    let server = PORTS
        .into_iter()
        .fold(server, sluice_testbed::pod::Builder::port)
        .start()?;
    let client = bed.node.pod("client").start()?;
    Ok((server, client))
}

/// Tells the world to an agent with empty maps, compares, and takes it away again.
fn check_world(agent: &mut Agent<Kernel>, server: &Pod, client: &Pod, seed: u64) -> Result<usize> {
    let world = World::random(&mut Rng::with_seed(seed), server);
    agent.hear(world.news_after(&[])?);
    settle(agent)?;
    let held = agent.maps().read()?;
    ensure!(
        held == *agent.state().image(),
        "the maps are not as wanted:\n{held:#}"
    );

    let services = agent.state().desired().services.values();
    let frontends: Vec<Frontend> = services
        .flat_map(|service| &service.ports)
        .flat_map(|port| port.frontends.clone())
        .collect();
    for frontend in &frontends {
        let wanted = oracle::by_desired(agent.state().desired(), Caller::default(), *frontend);
        let found = oracle::by_image(&held, Caller::default(), *frontend)
            .map_err(|d| anyhow!("{d:?}\n{held:#}"))?;
        wanted
            .check(&found)
            .map_err(|text| anyhow!("{frontend}: {text}\n{held:#}"))?;
        let Answer::Decided(odds) = wanted else {
            return Err(anyhow!("{frontend} is nobody's"));
        };
        check_connects(client, *frontend, &odds)
            .with_context(|| format!("{frontend}: {odds}\n{held:#}"))?;
    }

    agent.hear(news(
        world.subjects()?.into_iter().map(Change::Gone).collect(),
    ));
    settle(agent)?;
    let left = agent.maps().read()?;
    ensure!(left.is_empty(), "after deleting everything:\n{left:#}");
    Ok(frontends.len())
}

fn settle(agent: &mut Agent<Kernel>) -> Result<()> {
    let done = agent.pass().context("everything is listed")?;
    ensure!(done.failed.is_empty() && done.skipped == 0, "{done:?}");
    Ok(())
}

fn check_connects(client: &Pod, frontend: Frontend, odds: &Odds) -> Result<()> {
    let address = SocketAddr::new(frontend.ip, frontend.port.get());
    let target = match frontend.protocol {
        Protocol::Tcp => Target::tcp(address),
        Protocol::Udp => Target::udp(address),
    };
    let report = client.load(&Load::on([target]).times(CONNECTS).in_order())?;
    for failure in &report.failures {
        let refused =
            failure.stage == Stage::Connect && failure.code == Code::from(Errno::ECONNREFUSED);
        ensure!(refused, "{failure}");
    }
    let reached = report.order.iter().map(|name| backend(name).map(Some));
    let refused = report.failures.iter().map(|_| Ok(None));
    let connects = reached.chain(refused).collect::<Result<Vec<_>>>()?;
    ensure!(connects.len() as u64 == CONNECTS);
    odds.check_connects(connects).map_err(|text| anyhow!(text))
}

/// The server's pod answers with the address that was reached.
fn backend(name: &str) -> Result<Backend> {
    let address: SocketAddr = name.parse().with_context(|| format!("{name:?}"))?;
    let port = key::Port::new(address.port()).context("a port")?;
    Ok(Backend {
        ip: address.ip(),
        port,
    })
}

fn listed() -> News {
    news(
        Kind::ALL
            .map(|kind| Change::Relisted(kind, Default::default()))
            .into(),
    )
}

fn news(changes: Vec<Change>) -> News {
    News {
        changes,
        view: View::Whole,
        problems: Vec::new(),
    }
}

/// Objects as somebody would write them.
pub(crate) struct World {
    pub(crate) manifests: Vec<Value>,
}

impl World {
    pub(crate) fn random(rng: &mut Rng, server: &Pod) -> Self {
        let services = rng.u8(1..=6);
        let mut manifests = Vec::new();
        for number in 0..services {
            manifests.push(service(rng, number));
            for part in 0..rng.u8(0..=2) {
                manifests.push(slice(rng, number, part, server));
            }
        }
        for number in 0..rng.u8(0..=2) {
            manifests.push(split(rng, number, services));
        }
        Self { manifests }
    }

    fn changes(manifests: &[Value]) -> Result<Vec<Change>> {
        let parsed = manifests
            .iter()
            .map(|manifest| facts::parse(manifest.clone()));
        parsed
            .map(|change| change.map_err(|error| anyhow!("{error:?}")))
            .collect()
    }

    fn subjects_of(manifests: &[Value]) -> Result<Vec<key::Subject>> {
        let subject = |change| match change {
            Change::Set(object) => Some(object.subject()),
            Change::Gone(_) | Change::Relisted(..) => None,
        };
        Ok(Self::changes(manifests)?
            .into_iter()
            .filter_map(subject)
            .collect())
    }

    fn subjects(&self) -> Result<Vec<key::Subject>> {
        Self::subjects_of(&self.manifests)
    }

    /// What an input would tell that has told `before`.
    fn news_after(&self, before: &[Value]) -> Result<News> {
        let now = self.subjects()?;
        let gone = Self::subjects_of(before)?
            .into_iter()
            .filter(|subject| !now.contains(subject));
        let mut changes: Vec<_> = gone.map(Change::Gone).collect();
        changes.extend(Self::changes(&self.manifests)?);
        Ok(news(changes))
    }

    /// The image that a new agent with empty maps would want.
    fn image(&self) -> Result<Image> {
        let mut index = sluice_model::index::Index::awaiting([]);
        for change in Self::changes(&self.manifests)? {
            index.apply(change);
        }
        let mut state = sluice_model::pass::State::new(Default::default());
        state
            .pass(&mut index, &Image::default())
            .context("nothing is awaited")?;
        Ok(state.image().clone())
    }
}

fn service(rng: &mut Rng, number: u8) -> Value {
    let v4 = format!("198.18.0.{}", number + 1);
    let v6 = format!("fd5e:1::{}", number + 1);
    let balancing = ["RoundRobin", "Random", "LeastConnections", "Consistent"];
    let ips = [json!([v4]), json!([v6]), json!([v4, v6])];
    let ports = PORTS_OF_SERVICES
        .iter()
        .filter(|_| rng.bool())
        .map(|(name, port, protocol)| json!({"name": name, "port": port, "protocol": protocol}));
    let mut ports: Vec<_> = ports.collect();
    if ports.is_empty() {
        ports.push(json!({"name": "http", "port": 80, "protocol": "TCP"}));
    }
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "namespace": NAMESPACE, "name": format!("s{number}"),
            "annotations": {"sluice.dev/balancing": balancing[rng.usize(..4)]},
        },
        "spec": {
            "clusterIPs": ips[rng.usize(..3)], "ports": ports,
            "sessionAffinity": if rng.u8(..4) == 0 { "ClientIP" } else { "None" },
        },
    })
}

const PORTS_OF_SERVICES: [(&str, u16, &str); 3] = [
    ("http", 80, "TCP"),
    ("dns", 53, "UDP"),
    ("dns-tcp", 53, "TCP"),
];

fn slice(rng: &mut Rng, service: u8, part: u8, server: &Pod) -> Value {
    let v6 = rng.bool();
    let mut endpoints = Vec::new();
    for (address4, address6) in server.addresses() {
        if rng.bool() {
            let address: IpAddr = if v6 {
                (*address6).into()
            } else {
                (*address4).into()
            };
            let conditions = match rng.u8(..6) {
                0 => json!({"ready": false, "serving": true, "terminating": true}),
                1 => json!({"ready": false}),
                _ => json!({"ready": true}),
            };
            endpoints.push(json!({"addresses": [address.to_string()], "conditions": conditions}));
        }
    }
    let ports: Vec<_> = PORTS_OF_SERVICES
        .iter()
        .map(|(name, _, protocol)| {
            json!({"name": name, "port": PORTS[rng.usize(..PORTS.len())], "protocol": protocol})
        })
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "namespace": NAMESPACE, "name": format!("s{service}-{part}"),
            "labels": {"kubernetes.io/service-name": format!("s{service}")},
        },
        "addressType": if v6 { "IPv6" } else { "IPv4" },
        "endpoints": endpoints, "ports": ports,
    })
}

fn split(rng: &mut Rng, number: u8, services: u8) -> Value {
    let versions: Vec<_> = (0..rng.u8(1..=16))
        .map(|version| {
            let service = rng.u8(..services);
            json!({
                "name": format!("v{version}"),
                "service": format!("s{service}"),
                "weight": rng.u32(..10),
            })
        })
        .collect();
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
        "metadata": {"namespace": NAMESPACE, "name": format!("t{number}")},
        "spec": {
            "service": format!("s{}", rng.u8(..services)),
            "versions": versions,
            "selection": if rng.u8(..4) == 0 { "Random" } else { "Sequence" },
            "whenUnavailable": if rng.bool() { "Redistribute" } else { "Reject" },
        },
    })
}
