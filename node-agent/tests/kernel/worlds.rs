//! Random worlds of Services, slices and splits: what the objects ask for, what the maps hold, and
//! where real connects go must be the same.

use std::{
    iter,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use fastrand::Rng;
use serde_json::json;
use sluice_model::{
    caller::Caller,
    change::Change,
    desired::Backend,
    key::{self, Frontend, Kind, NodeKey, Protocol},
    oracle::{self, Answer, Odds},
};
use sluice_node_abi::maps::Setting;
use sluice_node_agent::{
    agent::Agent,
    callers::Tree,
    inputs::{News, View},
    maps::{Maps, kernel::Kernel},
    program::Refusal,
};
use sluice_testbed::{
    Errno,
    errno::Code,
    load::{Load, Stage, Target},
    node::Node,
    pod::Pod,
    tier::{self, is_long},
};

use crate::{bed::Bed, callers, told::Told};
use objects::World;

mod objects;

const OWN_NODE: &str = "node-1";
/// Addresses of each family that the server pod has.
const ADDRESSES: u8 = 8;
/// Ports that it serves, TCP and UDP.
const PORTS: [u16; 3] = [8000, 8001, 8002];
const CONNECTS: u64 = 24;
/// How long a connect is tried that nobody answers.
const NOBODY: Duration = Duration::from_millis(200);

pub(crate) fn objects_maps_and_connects_say_the_same() -> Result<()> {
    let worlds = if is_long() { 500 } else { 60 };
    let place = Place::make()?;
    let mut agent = Told::start(&place.bed)?.agent;
    let (mut frontends, mut connects) = (0, 0);
    // The first world is that of the seed itself, so a failing one is repeated by its own.
    let first = tier::seed()?;
    let mut others = Rng::with_seed(first);
    let seeds = iter::once(first).chain(iter::repeat_with(|| others.u64(..)));
    for seed in seeds.take(worlds) {
        let asked = place
            .check_world(&mut agent, seed)
            .with_context(|| format!("the world of seed {seed}"))?;
        frontends += asked;
        connects += asked as u64 * CONNECTS;
    }
    println!("{worlds} worlds, {frontends} addresses, {connects} connects");
    Ok(())
}

fn own_node() -> Result<NodeKey> {
    NodeKey::parse("", OWN_NODE).context("the name of a node")
}

pub(crate) fn writes_that_fail_at_random_still_end_in_the_same_image() -> Result<()> {
    let worlds = if is_long() { 200 } else { 20 };
    let place = Place::make()?;
    let mut rng = Rng::with_seed(tier::seed()?);
    let mut dice = rng.fork();
    let flaky = crate::flaky::Flaky::new(place.bed.own_maps()?, move |_| dice.u8(..20) == 0);
    let mut agent = Agent::start(flaky)?.on_node(own_node()?);
    agent.hear(listed());
    let mut told = Vec::new();
    for _ in 0..worlds {
        let world = World::random(&mut rng, &place.server, &place.nodes);
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

/// As after a kill: what an agent has no memory of, the maps tell the next one.
pub(crate) fn an_agent_that_starts_beside_its_maps_writes_nothing() -> Result<()> {
    let worlds = if is_long() { 200 } else { 20 };
    let place = Place::make()?;
    let mut rng = Rng::with_seed(tier::seed()?);
    let mut agent = Told::start(&place.bed)?.agent;
    let mut told = Vec::new();
    let mut rows = 0;
    for _ in 0..worlds {
        let world = World::random(&mut rng, &place.server, &place.nodes);
        agent.hear(world.news_after(&told)?);
        settle(&mut agent)?;
        let held = agent.maps().read()?;
        let mut next = Agent::start(place.bed.own_maps()?)?.on_node(own_node()?);
        next.hear(listed());
        next.hear(world.news_after(&[])?);
        let done = next.pass().context("everything is listed")?;
        ensure!(done.written == 0 && done.failed.is_empty(), "{done:?}");
        let found = next.maps().read()?;
        ensure!(found == held, "{found:#}instead of\n{held:#}");
        rows += held.size();
        told = world.manifests;
    }
    println!("{worlds} starts beside {rows} rows, not one written");
    Ok(())
}

/// What the worlds are about: a server for all backends, and who calls it.
struct Place {
    server: Pod,
    pod: Pod,
    host: Pod,
    nodes: [Node; 2],
    /// Where the pods are in the tree of cgroups.
    tree: Tree,
    bed: Bed,
}

/// An address as one caller sees it.
struct Ask<'a> {
    frontend: Frontend,
    caller: Caller,
    client: &'a Pod,
}

impl Place {
    fn make() -> Result<Self> {
        let bed = Bed::start(Refusal::SetRetval)?;
        let server = bed.node.pod("server").addresses(ADDRESSES);
        let server = server.named_by_address();
        let server = PORTS
            .into_iter()
            .fold(server, sluice_testbed::pod::Builder::port);
        let server = server.start()?;
        let pod = bed.node.pod("client").start()?;
        let tree = Tree::read(bed.node.cgroup().path());
        bed.maps.set(Setting::CallerLevels, tree.setting())?;
        Ok(Self {
            server,
            pod,
            tree,
            host: bed.node.pod("host").on_the_host().start()?,
            nodes: [bed.node.clone(), bed.fabric.node("node-2")?],
            bed,
        })
    }

    /// Tells the world to an agent with empty maps, compares, and takes it away again.
    fn check_world(&self, agent: &mut Agent<Kernel>, seed: u64) -> Result<usize> {
        let mut rng = Rng::with_seed(seed);
        let mut world = World::random(&mut rng, &self.server, &self.nodes);
        let labels = json!({"team": objects::TEAMS[rng.usize(..objects::TEAMS.len())]});
        world
            .manifests
            .push(callers::object(&self.pod, &labels, false));
        agent.find_callers(&self.tree);
        agent.hear(world.news_after(&[])?);
        settle(agent)?;
        let held = agent.maps().read()?;
        ensure!(
            held == *agent.state().image(),
            "the maps are not as wanted:\n{held:#}"
        );

        let services = agent.state().desired().services.values();
        let frontends = services
            .flat_map(|service| &service.ports)
            .flat_map(|port| &port.frontends);
        let mut asked = 0;
        for ask in frontends.flat_map(|frontend| self.asks(*frontend)) {
            let Ask {
                frontend, caller, ..
            } = ask;
            let wanted = oracle::by_desired(agent.state().desired(), caller, frontend);
            let found = oracle::by_image(&held, caller, frontend)
                .map_err(|d| anyhow!("{d:?}\n{held:#}"))?;
            wanted
                .check(&found)
                .map_err(|text| anyhow!("{frontend}: {text}\n{held:#}"))?;
            match wanted {
                Answer::Decided(odds) => check_connects(&ask, &odds)
                    .with_context(|| format!("{frontend}: {odds}\n{held:#}"))?,
                Answer::Passed => check_nobody(&ask)
                    .with_context(|| format!("{frontend} is nobody's\n{held:#}"))?,
            }
            asked += 1;
        }

        agent.hear(news(
            world.subjects()?.into_iter().map(Change::Gone).collect(),
        ));
        settle(agent)?;
        let left = agent.maps().read()?;
        ensure!(left.is_empty(), "after deleting everything:\n{left:#}");
        Ok(asked)
    }

    /// Where a frontend can be called: a port of every node at the nodes' addresses, and on the host's loopback.
    fn asks(&self, frontend: Frontend) -> Vec<Ask<'_>> {
        let by_pod = |ip| Ask {
            frontend: Frontend { ip, ..frontend },
            caller: Caller {
                cgroup: self.tree.pods.get(self.pod.uid()).copied(),
                ..Caller::default()
            },
            client: &self.pod,
        };
        if !frontend.is_on_every_node() {
            return vec![by_pod(frontend.ip)];
        }
        let v4 = frontend.ip.is_ipv4();
        let addresses = self.nodes.iter().map(|node| -> IpAddr {
            if v4 {
                node.member().address4().into()
            } else {
                node.member().address6().into()
            }
        });
        let loopback: IpAddr = if v4 {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        };
        let by_host = Ask {
            frontend: Frontend {
                ip: loopback,
                ..frontend
            },
            caller: Caller::HOST,
            client: &self.host,
        };
        addresses.map(by_pod).chain([by_host]).collect()
    }
}

fn settle(agent: &mut Agent<Kernel>) -> Result<()> {
    let done = agent.pass().context("everything is listed")?;
    ensure!(done.failed.is_empty() && done.skipped == 0, "{done:?}");
    Ok(())
}

fn load(ask: &Ask<'_>) -> Load {
    let Frontend { ip, port, protocol } = ask.frontend;
    let address = SocketAddr::new(ip, port.get());
    Load::on([match protocol {
        Protocol::Tcp => Target::tcp(address),
        Protocol::Udp => Target::udp(address),
    }])
}

/// That nobody answers there: it is another node's to say who does, or no node's.
fn check_nobody(ask: &Ask<'_>) -> Result<()> {
    let report = ask.client.load(&load(ask).patience(NOBODY))?;
    ensure!(report.answered() == 0, "{report:?}");
    Ok(())
}

fn check_connects(ask: &Ask<'_>, odds: &Odds) -> Result<()> {
    let report = ask.client.load(&load(ask).times(CONNECTS).in_order())?;
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
