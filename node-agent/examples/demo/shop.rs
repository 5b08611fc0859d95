//! The scene: a light node, pods of two versions, a client, the agent, and the commands to ask it.

use std::{
    collections::BTreeSet,
    env,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sluice_node_agent::{
    maps::{Maps, kernel::Kernel},
    program::Pins,
};
use sluice_testbed::{
    fabric::Fabric,
    load::{Load, Report},
    node::Node,
    pod::Pod,
    process::Process,
    tier::eventually,
};

use crate::manifests::{ADDRESS_V4, ADDRESS_V6, Manifests, PORT};

/// Nothing here takes this long unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const AGENT: &str = "sluice-node-agent";
pub(crate) const CLI: &str = "kubectl-sluice";

/// In the order of their endings: pods before the fabric that joins them.
#[derive(Debug)]
pub(crate) struct Shop {
    agent: Option<Process>,
    pub(crate) client: Pod,
    pub(crate) v1: Vec<Pod>,
    pub(crate) v2: Pod,
    pub(crate) node: Node,
    pub(crate) manifests: Manifests,
    pub(crate) programs: PathBuf,
    pub(crate) fabric: Fabric,
}

impl Shop {
    /// Everything but the agent; the manifests are there.
    pub(crate) fn build() -> Result<Self> {
        let fabric = Fabric::start()?;
        let node = fabric.node("node-1")?;
        let pod = |name: &str, version: &str| node.pod(name).version(version).port(PORT).start();
        let v1 = ["v1-a", "v1-b", "v1-c"]
            .into_iter()
            .map(|name| pod(name, "v1"))
            .collect::<Result<_>>()?;
        let v2 = pod("v2-a", "v2")?;
        let client = node.pod("client").start()?;
        let shop = Self {
            agent: None,
            client,
            v1,
            v2,
            manifests: Manifests::create(fabric.run().folder().join("manifests"))?,
            programs: programs()?,
            node,
            fabric,
        };
        shop.manifests.caller(&shop.client)?;
        shop.manifests.split([90, 10])?;
        shop.endpoints(&shop.all_v1(), &[&shop.v2])?;
        Ok(shop)
    }

    pub(crate) fn all_v1(&self) -> Vec<&Pod> {
        self.v1.iter().collect()
    }

    pub(crate) fn endpoints(&self, v1: &[&Pod], v2: &[&Pod]) -> Result<()> {
        self.manifests.endpoints(v1, v2)
    }

    /// The agent's command line, as a person would type it.
    pub(crate) fn agent_args(&self) -> Vec<String> {
        let path = |path: &std::path::Path| path.display().to_string();
        [
            "--node-name",
            "node-1",
            "--manifests",
            &path(self.manifests.folder()),
            "--state",
            &path(&self.node.run().folder().join("state")),
            "--cgroup-root",
            &path(self.node.cgroup().path()),
            "--bpffs",
            &path(self.node.bpffs()),
        ]
        .map(str::to_owned)
        .into()
    }

    pub(crate) fn start_agent(&mut self) -> Result<()> {
        let program = self.programs.join(AGENT);
        let command = self.node.command("agent", program)?;
        self.agent = Some(command.args(self.agent_args()).spawn()?);
        Ok(())
    }

    /// `kill -9`.
    pub(crate) fn kill_agent(&mut self) -> Result<()> {
        let mut agent = self.agent.take().context("no agent runs")?;
        agent.kill()?;
        Ok(())
    }

    pub(crate) fn agent_pid(&self) -> Option<u32> {
        self.agent.as_ref().map(Process::pid)
    }

    pub(crate) fn await_ready(&mut self) -> Result<()> {
        eventually(PATIENCE, "a ready agent", || {
            if let Some(agent) = &mut self.agent
                && !agent.is_running()?
            {
                bail!("the agent has ended: {}", agent.output()?);
            }
            let output = ask(&self.node, &self.programs, &["status"])?;
            ensure!(output.status.success(), "{}", said(&output));
            Ok(())
        })
    }

    /// Runs `kubectl-sluice` as a process of the node.
    pub(crate) fn cli(&self, args: &[&str]) -> Result<Output> {
        ask(&self.node, &self.programs, args)
    }

    /// Waits until the agent wants these pods behind the Service's IPv4 address, and the kernel's
    /// maps agree.
    pub(crate) fn await_backends(&self, pods: &[&Pod]) -> Result<()> {
        let address = |pod: &&Pod| SocketAddr::new(pod.address4().into(), PORT).to_string();
        let wanted: BTreeSet<String> = pods.iter().map(address).collect();
        let target = SocketAddr::new(service_v4()?, PORT).to_string();
        eventually(PATIENCE, "the backends of the manifests", || {
            let output = self.cli(&["-o", "json", "explain", "shop/client", &target])?;
            ensure!(output.status.success(), "{}", said(&output));
            let answer: Value = serde_json::from_slice(&output.stdout)?;
            let versions = answer["answers"][0]["rule"]["versions"].as_array();
            let backends: BTreeSet<String> = versions
                .into_iter()
                .flatten()
                .filter_map(|version| version["backends"].as_array())
                .flatten()
                .filter_map(|backend| backend.as_str().map(str::to_owned))
                .collect();
            ensure!(backends == wanted, "{backends:?} instead of {wanted:?}");
            Ok(())
        })
    }

    /// Connects of the client pod, one answer each.
    pub(crate) fn connects(&self, ip: IpAddr, times: u64) -> Result<Report> {
        let load = Load::on([SocketAddr::new(ip, PORT)])
            .times(times)
            .threads(4);
        self.client.load(&load)
    }

    pub(crate) fn maps(&self) -> Result<Kernel> {
        Ok(Kernel::open(&Pins::new(self.node.bpffs()))?)
    }

    /// The port of the Service's IPv4 address, as the maps number it.
    pub(crate) fn port_id(&self, maps: &Kernel) -> Result<u32> {
        let address = sluice_node_abi::keys::address(service_v4()?);
        let image = maps.read()?;
        let found = image
            .frontends
            .iter()
            .find(|(key, _)| key.address == address);
        let (_, frontend) = found.context("the Service is not in the maps")?;
        Ok(frontend.port)
    }
}

pub(crate) fn service_v4() -> Result<IpAddr> {
    Ok(ADDRESS_V4.parse()?)
}

pub(crate) fn service_v6() -> Result<IpAddr> {
    Ok(ADDRESS_V6.parse()?)
}

/// All that a program printed.
pub(crate) fn said(output: &Output) -> String {
    let texts = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    texts.concat().trim_end().to_owned()
}

fn ask(node: &Node, programs: &std::path::Path, args: &[&str]) -> Result<Output> {
    let mut command = Command::new(programs.join(CLI));
    // The reader's own SLUICE_ variables are not part of the story.
    command.args(args).env_clear();
    node.netns()
        .run(move || command.output().context("running kubectl-sluice"))
}

/// Examples are built into a folder below that of the binaries.
fn programs() -> Result<PathBuf> {
    let own = env::current_exe()?;
    let folder = own
        .ancestors()
        .nth(2)
        .context("a program without a folder")?;
    for program in [AGENT, CLI] {
        let path = folder.join(program);
        ensure!(
            path.exists(),
            "{} is not there: `make demo` builds it",
            path.display()
        );
    }
    Ok(folder.to_owned())
}
