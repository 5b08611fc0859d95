//! A light node, a folder of manifests, and the agent as a process.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use sluice_model::{facts, image::Image, index::Index, pass::State};
use sluice_node_agent::{
    maps::{Maps, kernel::Kernel},
    program::Pins,
};
use sluice_testbed::{
    fabric::Fabric, http, node::Node, pod::Pod, process::Process, tier::eventually,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const SERVICE: &str = "198.18.0.1";
const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9876);
const AGENT: &str = env!("CARGO_BIN_EXE_sluice-node-agent");

pub(crate) struct Bed {
    pub(crate) node: Node,
    pub(crate) manifests: PathBuf,
    pub(crate) fabric: Fabric,
}

impl Bed {
    pub(crate) fn start() -> Result<Self> {
        let fabric = Fabric::start()?;
        let node = fabric.node("node-1")?;
        let manifests = fabric.run().folder().join("manifests");
        fs::create_dir(&manifests)?;
        Ok(Self {
            node,
            manifests,
            fabric,
        })
    }

    /// Replaces a file as tools that care do it: beside, then renamed into place.
    pub(crate) fn write(&self, name: &str, objects: &[Value]) -> Result<()> {
        let text: Vec<_> = objects.iter().map(ToString::to_string).collect();
        self.write_text(name, &text.join("\n---\n"))
    }

    pub(crate) fn write_text(&self, name: &str, text: &str) -> Result<()> {
        let beside = self.manifests.join(format!(".{name}"));
        fs::write(&beside, text)?;
        Ok(fs::rename(beside, self.manifests.join(name))?)
    }

    /// The agent as a process of the node; it may not be ready yet.
    pub(crate) fn agent(&self) -> Result<Process> {
        self.agent_at(self.node.cgroup().path())
    }

    pub(crate) fn agent_at(&self, cgroup_root: &Path) -> Result<Process> {
        self.agent_of(cgroup_root, self.node.bpffs(), &[])
    }

    pub(crate) fn agent_with_pins(&self, bpffs: &Path) -> Result<Process> {
        self.agent_of(self.node.cgroup().path(), bpffs, &[])
    }

    fn agent_of(&self, cgroup_root: &Path, bpffs: &Path, options: &[&str]) -> Result<Process> {
        let command = self.node.command("agent", AGENT)?;
        command
            .args(["--node-name", "node-1", "--check-every", "1", "--manifests"])
            .arg(&self.manifests)
            .arg("--state")
            .arg(self.state())
            .arg("--cgroup-root")
            .arg(cgroup_root)
            .arg("--bpffs")
            .arg(bpffs)
            .args(options)
            .spawn()
    }

    /// Where agents keep what they have to know after a restart.
    pub(crate) fn state(&self) -> PathBuf {
        self.fabric.run().folder().join("state")
    }

    pub(crate) fn ready_agent(&self) -> Result<Process> {
        self.ready_agent_with(&[])
    }

    pub(crate) fn ready_agent_with(&self, options: &[&str]) -> Result<Process> {
        let agent = self.agent_of(self.node.cgroup().path(), self.node.bpffs(), options)?;
        eventually(PATIENCE, "a ready agent", || self.get("/readyz"))?;
        Ok(agent)
    }

    /// Asks the agent's admin address, which is in the node's network.
    pub(crate) fn get(&self, path: &str) -> Result<String> {
        let path = path.to_owned();
        self.node
            .netns()
            .run(move || http::get(ADMIN, &path)?.good())
    }

    pub(crate) fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.get("/debug/status")?)?)
    }

    /// A number that the agent counts about itself.
    pub(crate) fn counter(&self, name: &str) -> Result<u64> {
        let metrics = self.get("/metrics")?;
        let name = format!("sluice_agent_{name}_total ");
        let mut lines = metrics.lines();
        let value = lines.find_map(|line| line.strip_prefix(&name));
        Ok(value.with_context(|| metrics.clone())?.parse()?)
    }

    /// Waits until the agent has looked at all sockets twice more.
    pub(crate) fn await_looks(&self) -> Result<()> {
        let looks = || self.counter("socket_looks");
        let before = looks()?;
        eventually(PATIENCE, "two more looks at the sockets", || {
            ensure!(looks()? >= before + 2);
            Ok(())
        })
    }

    /// What the kernel holds.
    pub(crate) fn image(&self) -> Result<Image> {
        Ok(Kernel::open(&Pins::new(self.node.bpffs()))?.read()?)
    }

    /// Waits until the kernel holds what a fresh compilation of these objects wants.
    pub(crate) fn await_image_of(&self, objects: &[Value]) -> Result<()> {
        let wanted = image_of(objects)?.symbolic();
        eventually(PATIENCE, "the image of the manifests", || {
            let held = self.image()?;
            ensure!(held.symbolic() == wanted, "{held}instead of\n{wanted}");
            Ok(())
        })
    }
}

/// Port 80 of this address.
pub(crate) fn at(ip: &str) -> Result<SocketAddr> {
    Ok(SocketAddr::new(ip.parse()?, 80))
}

fn image_of(objects: &[Value]) -> Result<Image> {
    let mut index = Index::awaiting([]);
    for object in objects {
        index.apply(facts::parse(object.clone()).map_err(|error| anyhow!("{error:?}"))?);
    }
    let mut state = State::new(Default::default());
    state
        .pass(&mut index, &Image::default())
        .context("nothing is awaited")?;
    Ok(state.image().clone())
}

/// A Service of one TCP port 80, at this address.
pub(crate) fn service(name: &str, ip: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "port": 80}]},
    })
}

/// The Service's only slice.
pub(crate) fn slice(service: &str, addresses: &[IpAddr]) -> Value {
    let endpoints: Vec<_> = addresses
        .iter()
        .map(|address| json!({"addresses": [address.to_string()]}))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "namespace": "shop", "name": format!("{service}-1"),
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": 80}],
    })
}

/// A split over `checkout` with these shares of `checkout-NAME`.
pub(crate) fn split(weights: &[(&str, u32)]) -> Value {
    let versions: Vec<_> = weights
        .iter()
        .map(|(name, weight)| {
            json!({"name": name, "service": format!("checkout-{name}"), "weight": weight})
        })
        .collect();
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
        "metadata": {"namespace": "shop", "name": "checkout"},
        "spec": {"service": "checkout", "versions": versions},
    })
}

/// A shop whose checkout is split over two versions, each with a pod of its own.
pub(crate) struct Shop {
    pub(crate) bed: Bed,
    pub(crate) client: Pod,
    pub(crate) v1: Pod,
    pub(crate) v2: Pod,
}

impl Shop {
    pub(crate) fn open() -> Result<Self> {
        let bed = Bed::start()?;
        let v1 = bed.node.pod("v1").version("v1").port(80).start()?;
        let v2 = bed.node.pod("v2").version("v2").port(80).start()?;
        let client = bed.node.pod("client").start()?;
        let shop = Self {
            bed,
            client,
            v1,
            v2,
        };
        shop.bed.write("services.yaml", &shop.services())?;
        shop.endpoints(true, true)?;
        shop.bed
            .write("split.yaml", &[split(&[("v1", 90), ("v2", 10)])])?;
        Ok(shop)
    }

    fn services(&self) -> [Value; 3] {
        [
            service("checkout", SERVICE),
            service("checkout-v1", "198.18.0.2"),
            service("checkout-v2", "198.18.0.3"),
        ]
    }

    /// Which versions have their pod.
    pub(crate) fn endpoints(&self, v1: bool, v2: bool) -> Result<()> {
        let of = |pod: &Pod, there: bool| {
            if there {
                vec![pod.address4().into()]
            } else {
                vec![]
            }
        };
        self.bed.write(
            "endpoints.yaml",
            &[
                slice("checkout-v1", &of(&self.v1, v1)),
                slice("checkout-v2", &of(&self.v2, v2)),
            ],
        )
    }
}
