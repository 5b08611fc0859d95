//! The steps that raise a cluster. What does not need another's result goes on beside it: images are written and
//! imported, and nodes made, while the control plane starts.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use serde_json::json;

use super::certificates::{Authority, Subject};
use super::control_plane::{ControlPlane, Starter};
use super::forwarder::Forwarder;
use super::kubectl::Kubectl;
use super::node::Node;
use super::tools::Tools;
use super::{Access, Builder, Cluster, Proxy, addresses, dns, images, shipped};
use crate::fabric::Fabric;
use crate::tier::eventually;

const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn raise(builder: &Builder) -> Result<Cluster> {
    let clock = Clock {
        started: Instant::now(),
        tell: builder.tell,
    };
    let tools = Tools::find()?;
    let mut archives = builder.images.clone();
    if builder.proxy == Proxy::Sluice {
        archives.extend(shipped::images(shipped::VERSION)?);
    }
    let fabric = Fabric::start()?;
    let authority = Authority::create(fabric.run().folder().join("certificates"))?;
    let api = SocketAddr::new(fabric.own().address4().into(), addresses::API_PORT);
    let door = Forwarder::open(fabric.netns(), api)?;
    let kubectl = admin(&fabric, &tools, &authority, &door)?;
    let starter = Starter {
        fabric: &fabric,
        tools: &tools,
        authority: &authority,
    };

    let (control_plane, mut nodes) = thread::scope(|scope| {
        let nodes = scope.spawn(|| make_nodes(&fabric, &tools, builder.nodes, archives, clock));
        let (etcd, api_server) = starter.start_api(&kubectl)?;
        clock.tell("etcd and the API server are ready");
        let (controller_manager, scheduler) = starter.start_controllers()?;
        let control_plane = ControlPlane {
            controller_manager,
            scheduler,
            api_server,
            etcd,
        };
        anyhow::Ok((control_plane, joined(nodes)?))
    })?;
    // kube-proxy looks for its node's ranges as soon as it starts.
    let objects: Vec<_> = nodes.iter().map(Node::object).collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string();
    kubectl.apply(&format!("{list}\n---\n{}", dns::objects(&fabric)))?;
    for node in &mut nodes {
        node.start_kubelet(&fabric, &authority, builder.proxy)?;
    }
    clock.tell("controllers, scheduler and kubelets are started");
    let cluster = Cluster {
        access: Access::own(kubectl, fabric.run().clone()),
        tools,
        nodes,
        _door: door,
        control_plane,
        authority,
        fabric,
    };
    await_nodes(&cluster)?;
    clock.tell("the nodes are ready");
    if builder.proxy == Proxy::Sluice {
        cluster.install(shipped::VERSION)?;
        clock.tell("Sluice is installed, and ready on every node");
    }
    cluster.rolled_out("kube-system", "deployment/coredns", PATIENCE)?;
    clock.tell("the name server answers");
    Ok(cluster)
}

/// Waits for the nodes, and no longer than the programs that shall make them ready live.
fn await_nodes(cluster: &Cluster) -> Result<()> {
    let wait = ["wait", "nodes", "--all", "--for=condition=Ready"];
    eventually(PATIENCE, "the nodes are ready", || {
        if let Err(ended) = cluster.check() {
            return Ok(Err(ended));
        }
        cluster.kubectl([&wait[..], &["--timeout=2s"]].concat())?;
        Ok(Ok(()))
    })?
}

/// A kubectl that may do everything.
pub(super) fn admin(
    fabric: &Fabric,
    tools: &Tools,
    authority: &Authority,
    door: &Forwarder,
) -> Result<Kubectl> {
    let admin = authority.client(
        "admin",
        Subject {
            user: "admin",
            group: Some("system:masters"),
        },
    )?;
    let kubeconfig = fabric.run().folder().join("kubeconfig");
    authority.kubeconfig(&kubeconfig, &admin, &format!("https://{}", door.address()))?;
    Ok(Kubectl::new(tools.path("kubectl"), kubeconfig))
}

/// Makes the nodes, with a running containerd and all images, side by side.
fn make_nodes(
    fabric: &Fabric,
    tools: &Tools,
    count: u8,
    given: Vec<PathBuf>,
    clock: Clock,
) -> Result<Vec<Node>> {
    let folder = fabric.run().folder().join("images");
    fs::create_dir(&folder)?;
    let written = thread::scope(|scope| {
        let writing = scope.spawn(|| images::write(&folder, tools));
        // The fabric numbers its nodes in the order in which they join.
        let nodes = (1..=count)
            .map(|number| {
                let name = format!("node{number}");
                Node::create(fabric, tools, &name).with_context(|| format!("making {name}"))
            })
            .collect::<Result<Vec<_>>>();
        anyhow::Ok((joined(writing)?, nodes?))
    });
    let (mut archives, nodes): (Vec<PathBuf>, _) = written?;
    clock.tell("the nodes have their namespaces and containerd");
    archives.extend(given);
    thread::scope(|scope| {
        let imports: Vec<_> = nodes
            .iter()
            .map(|node| {
                scope.spawn(|| archives.iter().try_for_each(|archive| node.import(archive)))
            })
            .collect();
        imports.into_iter().try_for_each(joined)
    })?;
    clock.tell("the nodes have their images");
    Ok(nodes)
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread
        .join()
        .unwrap_or_else(|_| Err(anyhow!("a thread that raises the cluster has panicked")))
}

#[derive(Clone, Copy)]
struct Clock {
    started: Instant,
    tell: Option<fn(&str, Duration)>,
}

impl Clock {
    fn tell(self, what: &str) {
        if let Some(tell) = self.tell {
            tell(what, self.started.elapsed());
        }
    }
}
