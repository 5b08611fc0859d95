//! What befalls the system while clients connect: no connect fails, and the status is right again by itself.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use sluice_kind_tests::echo;
use sluice_kind_tests::shop::Shop;
use sluice_testbed::cluster::{Access, Pod, shipped};
use sluice_testbed::load::{Load, Target};
use sluice_testbed::tier::{eventually, is_long};

use crate::bed::{AGENTS, PATIENCE, SCENE, alone};
use crate::population::undisturbed;
use crate::processes;

/// What the kernel calls it.
const OPERATOR: &str = "sluice-operator";

/// How long an API server is away.
const OUTAGE: Duration = Duration::from_secs(10);
const LONG_OUTAGE: Duration = Duration::from_secs(60);

pub(crate) fn agents_that_are_deleted_are_not_missed() -> Result<()> {
    let bed = alone()?;
    let scene = Scene::open(&bed, &bed.nodes()?)?;
    undisturbed(
        "all agents were deleted",
        &scene.clients,
        &scene.targets,
        || {
            let pods = ["delete", "pods", "--selector", AGENTS];
            bed.kubectl([&pods[..], &["--namespace", shipped::NAMESPACE]].concat())?;
            bed.rolled_out(shipped::NAMESPACE, "daemonset/sluice-node-agent", PATIENCE)?;
            scene.follows(&bed)
        },
    )
}

/// It has no time to give its lease back, so the others wait until that is over.
pub(crate) fn a_leader_that_is_killed_is_replaced() -> Result<()> {
    let bed = alone()?;
    let cluster = &bed.own()?.cluster;
    let scene = Scene::open(&bed, &bed.nodes()?)?;
    let before = leader(&bed)?;
    undisturbed(
        "the leader was killed",
        &scene.clients,
        &scene.targets,
        || {
            // Its name is its pod's, and something by chance.
            let pod = before.split('_').next().unwrap_or_default();
            let pod = bed
                .client()
                .get(["pod", pod, "--namespace", shipped::NAMESPACE])?;
            let node = pod["spec"]["nodeName"]
                .as_str()
                .context("it is on a node")?;
            let uid = pod["metadata"]["uid"].as_str().context("it has one")?;
            let process = processes::find(cluster.node(node)?, OPERATOR, uid)?;
            kill(process, Signal::SIGKILL)?;
            scene.follows(&bed)
        },
    )?;
    let after = leader(&bed)?;
    ensure!(after != before, "{after} still leads");
    println!("{after} leads after {before}");
    Ok(())
}

pub(crate) fn etcd_that_is_killed_is_not_missed() -> Result<()> {
    let bed = alone()?;
    let cluster = &bed.own()?.cluster;
    let scene = Scene::open(&bed, &bed.nodes()?)?;
    undisturbed("etcd was killed", &scene.clients, &scene.targets, || {
        let etcd = &cluster.control_plane().etcd;
        etcd.kill()?;
        etcd.restart()?;
        cluster.answers(PATIENCE)?;
        scene.follows(&bed)
    })
}

pub(crate) fn the_api_server_that_is_stopped_is_not_missed() -> Result<()> {
    let bed = alone()?;
    let cluster = &bed.own()?.cluster;
    let mut scene = Scene::open(&bed, &[])?;
    // Pods are asked through the API server, processes of a node are not.
    for node in cluster.nodes() {
        scene.clients.push(node.client("client")?);
    }
    let watcher = cluster.nodes().first().context("there is a node")?;
    let watcher = watcher.client("watcher")?;
    let outage = if is_long() { LONG_OUTAGE } else { OUTAGE };
    let what = format!("the API server was stopped for {} s", outage.as_secs());
    undisturbed(&what, &scene.clients, &scene.targets, || {
        let api_server = &cluster.control_plane().api_server;
        api_server.freeze()?;
        let quiet = watcher.load(&Load::on(scene.targets.clone()).lasting(outage).rate(10.0));
        api_server.thaw()?;
        let quiet = quiet?;
        ensure!(quiet.failures.is_empty(), "{quiet}");
        cluster.answers(PATIENCE)?;
        scene.follows(&bed)
    })
}

/// A split that is programmed, clients that connect to it, and a Service that nothing is done to.
struct Scene<'a> {
    shop: Shop<'a>,
    clients: Vec<Pod>,
    targets: Vec<Target>,
}

impl<'a> Scene<'a> {
    fn open(access: &'a Access, nodes: &[String]) -> Result<Self> {
        let namespace = SCENE;
        let shop = Shop::open(access, namespace)?;
        shop.weigh(90, 10)?;
        shop.programmed()?;
        let clients = nodes.iter().map(|node| {
            let name = format!("client-{node}");
            echo::client(access, namespace, &name, node)
        });
        let clients = clients.collect::<Result<Vec<_>>>()?;
        let plain = access
            .client()
            .get(["service", "checkout-v1", "--namespace", namespace])?;
        let plain = plain["spec"]["clusterIP"].as_str().context("it has one")?;
        let plain = (plain.parse::<std::net::IpAddr>()?, echo::PORT).into();
        let addresses = shop.addresses.iter().copied().chain([plain]);
        let targets = addresses.flat_map(|address| [Target::tcp(address), Target::udp(address)]);
        Ok(Self {
            targets: targets.collect(),
            shop,
            clients,
        })
    }

    /// Edits the split, and waits until it is programmed: agents and operator do their work again.
    fn follows(&self, access: &Access) -> Result<()> {
        // The webhook, too, may have to come back.
        eventually(PATIENCE, "an edit is taken", || self.shop.weigh(50, 50))?;
        self.shop.programmed()?;
        eventually(PATIENCE, "all nodes are well", || {
            let nodes = access.client().get(["nodereports"])?;
            let reports = nodes["items"].as_array().context("a list has items")?;
            let well = reports
                .iter()
                .all(|report| report["status"]["ready"] == true);
            ensure!(well, "{nodes:#}");
            Ok(())
        })
    }
}

/// Who holds the lease.
fn leader(access: &Access) -> Result<String> {
    eventually(PATIENCE, "somebody leads", || {
        let lease = [
            "lease",
            "sluice-operator",
            "--namespace",
            shipped::NAMESPACE,
        ];
        let lease = access.client().get(lease)?;
        let holder = lease["spec"]["holderIdentity"].as_str();
        holder.map(str::to_owned).context("nobody does")
    })
}
