//! The arms that are compared: each a node of its own, with a pod that connects and whatever carries Services there.
//!
//! kube-proxy's rules belong to a network namespace, and so does what they cost (connection tracking on every packet);
//! Sluice's programs belong to a cgroup. A node per arm has both, and the nodes are alike in everything else.

use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Command as Plain;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde::Serialize;
use sluice_testbed::cluster::{Api, Mode};
use sluice_testbed::fabric::{Fabric, UPLINK};
use sluice_testbed::node::Node;
use sluice_testbed::pod::Pod;
use sluice_testbed::process::{Command, Process};

use crate::client::Client;
use crate::clock::Moment;
use crate::population::ENDPOINTS;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Arm {
    /// No Service at all: straight to an endpoint.
    Direct,
    Sluice,
    Nftables,
    Iptables,
}

/// An arm's node. The order of the fields is the order in which they end.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) arm: Arm,
    pub(crate) client: Client,
    proxy: Option<Process>,
    command: Option<Command>,
    /// How much of the log is of earlier starts.
    logged_before: usize,
    _pod: Pod,
    node: Node,
}

impl Arm {
    pub(crate) const ALL: [Self; 4] = [Self::Direct, Self::Sluice, Self::Nftables, Self::Iptables];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Sluice => "Sluice",
            Self::Nftables => "kube-proxy nftables",
            Self::Iptables => "kube-proxy iptables",
        }
    }

    const fn node(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Sluice => "sluice",
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
        }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Seat {
    /// Makes the node and its pod; `server` is the way to all endpoints.
    pub(crate) fn make(fabric: &Fabric, arm: Arm, server: &Node) -> Result<Self> {
        let node = fabric.node(arm.node())?;
        let way: IpAddr = server.member().address4().into();
        node.netns()
            .links(|links| links.route(ENDPOINTS.0, ENDPOINTS.1, UPLINK, Some(way)))?;
        let pod = node.pod("client").start()?;
        Ok(Self {
            arm,
            client: Client::start(&pod)?,
            proxy: None,
            command: None,
            logged_before: 0,
            _pod: pod,
            node,
        })
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// Says what carries Services here, without starting it.
    pub(crate) fn equip(&mut self, api: &Api, agent: &Path) -> Result<()> {
        self.command = match self.arm {
            Arm::Direct => None,
            Arm::Sluice => Some(self.agent(api, agent)?),
            Arm::Nftables => Some(api.kube_proxy(&self.node, Mode::Nftables)?),
            Arm::Iptables => Some(api.kube_proxy(&self.node, Mode::Iptables)?),
        };
        Ok(())
    }

    fn agent(&self, api: &Api, program: &Path) -> Result<Command> {
        Ok(self
            .node
            .command("agent", program)?
            .args(["--node-name", self.node.name(), "--log-format", "json"])
            .arg("--kubeconfig")
            .arg(api.kubeconfig())
            .arg("--cgroup-root")
            .arg(self.node.cgroup().path())
            .arg("--bpffs")
            .arg(self.pins()))
    }

    fn pins(&self) -> PathBuf {
        self.node.bpffs().join("sluice")
    }

    /// Starts what carries Services; says when.
    pub(crate) fn start(&mut self) -> Result<Moment> {
        if let Some(command) = &self.command {
            self.proxy = Some(command.spawn()?);
        }
        Moment::now()
    }

    /// Kills it, and leaves its rules and maps in the kernel.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(mut proxy) = self.proxy.take() {
            proxy.kill()?;
            self.logged_before = proxy.output()?.len();
        }
        Ok(())
    }

    /// Kills it and removes what it left: the node is as before the first start.
    pub(crate) fn wipe(&mut self) -> Result<()> {
        self.kill()?;
        match self.arm {
            Arm::Direct => Ok(()),
            Arm::Sluice => match fs::remove_dir_all(self.pins()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(error).context("removing the pins")
                }
                _ => Ok(()),
            },
            // The namespace is this arm's alone, so all rules in it are kube-proxy's.
            Arm::Nftables | Arm::Iptables => self.tool("nft", &["flush", "ruleset"]),
        }
    }

    /// Waits until a sample of these, the last among them, answers; none if it does not in time.
    pub(crate) fn serves(
        &mut self,
        services: &[SocketAddrV4],
        patience: Duration,
    ) -> Result<Option<Moment>> {
        let sample = sample(services);
        let served = self.client.await_all(sample, patience)?;
        match served {
            Some(_) => self.forget_tries()?,
            None => self.check()?,
        }
        Ok(served)
    }

    /// A try from before the rules were there is tracked as it went out, and for two minutes a connect from the same
    /// port would be taken for the same and pass the rules by.
    fn forget_tries(&self) -> Result<()> {
        match self.arm {
            Arm::Direct | Arm::Sluice => Ok(()),
            Arm::Nftables | Arm::Iptables => self.tool("conntrack", &["--flush"]),
        }
    }

    /// Runs a program on the node.
    fn tool(&self, program: &str, args: &[&str]) -> Result<()> {
        self.node.netns().run(|| {
            let output = Plain::new(program).args(args).output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{program} {args:?}: {said}");
            Ok(())
        })
    }

    /// Fails, with the end of its log, if what carries Services has ended.
    fn check(&mut self) -> Result<()> {
        if let Some(proxy) = &mut self.proxy
            && !proxy.is_running()?
        {
            let output = proxy.output()?;
            let end: Vec<_> = output.lines().rev().take(5).collect();
            bail!("{} has ended: {}", self.arm, end.join("\n"));
        }
        Ok(())
    }

    pub(crate) fn is_running(&self) -> bool {
        self.proxy.is_some()
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        let proxy = self.proxy.as_ref();
        proxy
            .map(Process::pid)
            .with_context(|| format!("nothing runs in {}", self.arm))
    }

    /// What it has written since it was started.
    pub(crate) fn log(&self) -> Result<String> {
        let all = self.proxy.as_ref().map(Process::output).transpose()?;
        let mut all = all.unwrap_or_default();
        Ok(all.split_off(self.logged_before.min(all.len())))
    }

    /// Stops it where it is, so that it takes no time from another that is being measured.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    pub(crate) fn thaw(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match &self.proxy {
            Some(proxy) => proxy.signal(signal),
            None => Ok(()),
        }
    }
}

/// How many Services stand for all.
const SAMPLE: usize = 256;

/// The last one first: it is what a proxy that works in order comes to last.
fn sample(services: &[SocketAddrV4]) -> Vec<SocketAddrV4> {
    let mut random = fastrand::Rng::with_seed(services.len() as u64);
    let some = random.choose_multiple(services.iter().copied(), SAMPLE);
    services.last().copied().into_iter().chain(some).collect()
}
