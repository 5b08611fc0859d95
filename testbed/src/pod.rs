//! A light pod: a network namespace joined to its node's, a cgroup shaped as kubelet shapes it, and one process that
//! serves and takes orders.
//!
//! The process is this very program, executed again (see [`crate::entry`]); orders and answers are lines of JSON on
//! its standard input and output. It ends when the input does, so it cannot outlive its owner.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use self::channel::Channel;
use self::network::Network;
use self::order::{Task, Told};
use crate::cgroup::Cgroup;
use crate::errno::Code;
use crate::load::{Answer, Load, Report, Target};
use crate::netns::Inside;
use crate::node::Node;
use crate::process::Process;
use crate::program::{Step, StepResult};
use crate::serve::{Behaviour, Naming, Service};

pub use place::{Driver, Qos};

mod channel;
mod inside;
mod network;
mod order;
mod place;

pub(crate) use inside::become_pod;

pub(crate) const ROLE: &str = "sluice-testbed-pod";

/// A pod to be started; by default in a network of its own, burstable, with the cgroupfs driver's paths.
#[derive(Debug)]
pub struct Builder {
    node: Node,
    service: Service,
    uid: String,
    /// How many addresses of each family in a network of its own; none for the node's network.
    network: Option<u8>,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Pod(Driver, Qos),
    Host,
}

/// A running pod; dropping it ends it and removes its namespace and cgroup.
#[derive(Debug)]
pub struct Pod {
    name: String,
    uid: String,
    network: Network,
    channel: Channel,
    process: Process,
    tree: Cgroup,
    container: Cgroup,
    node: Node,
}

/// A load that goes on while the test does something else.
#[derive(Debug)]
pub struct RunningLoad<'pod> {
    pod: &'pod Pod,
    answer: channel::Pending,
}

impl Builder {
    pub(crate) fn new(node: &Node, name: String) -> Self {
        Self {
            node: node.clone(),
            service: Service::new(name),
            uid: place::new_uid(),
            network: Some(1),
            place: Place::Pod(Driver::Cgroupfs, Qos::Burstable),
        }
    }

    /// What its answers say besides its name.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.service.version = version.into();
        self
    }

    /// Serves echo on this port, TCP and UDP, both families.
    pub fn port(mut self, port: u16) -> Self {
        self.service.ports.push(port);
        self
    }

    /// Serves HTTP on this port.
    pub fn http_port(mut self, port: u16) -> Self {
        self.service.http_ports.push(port);
        self
    }

    pub fn uid(mut self, uid: impl Into<String>) -> Self {
        self.uid = uid.into();
        self
    }

    /// Has so many addresses of each family, where one is the default; a cheap way to many backends.
    pub fn addresses(mut self, count: u8) -> Self {
        self.network = Some(count);
        self
    }

    /// Answers with the address and port that was reached as its name, such as `10.244.1.2:80`.
    pub fn named_by_address(mut self) -> Self {
        self.service.naming = Naming::ByAddress;
        self
    }

    /// Uses the node's network.
    pub fn host_network(mut self) -> Self {
        self.network = None;
        self
    }

    /// No pod at all: a process of the node, in its network and in `system.slice`.
    pub fn on_the_host(mut self) -> Self {
        self.place = Place::Host;
        self.host_network()
    }

    /// Lies where kubelet would put it with this driver and quality of service.
    pub fn cgroup(mut self, driver: Driver, qos: Qos) -> Self {
        self.place = Place::Pod(driver, qos);
        self
    }

    /// Starts the pod; when this returns, it serves.
    pub fn start(mut self) -> Result<Pod> {
        let name = self.service.name.clone();
        self.make()
            .with_context(|| format!("starting the pod {name} on {}", self.node.name()))
    }

    fn make(&mut self) -> Result<Pod> {
        let (tree, container) = match self.place {
            Place::Pod(driver, qos) => place::pod(self.node.cgroup(), &self.uid, driver, qos)?,
            Place::Host => place::host(self.node.cgroup(), &self.service.name)?,
        };
        let network = match self.network {
            Some(count) => Network::own(&self.node, count)?,
            None => Network::of_the_node(&self.node),
        };
        self.service.addresses = network.listening();
        let log = self.node.log_name(&self.service.name);
        let mut process = self
            .node
            .run()
            .command_again(&log)
            .arg(ROLE)
            .arg(serde_json::to_string(&self.service)?)
            .cgroup(&container)
            .netns(network.netns(&self.node))?
            .piped()
            .spawn()?;
        let pipes = process.pipes().context("the process has no pipes")?;
        let channel = Channel::open(pipes).with_context(|| process.output().unwrap_or_default())?;
        let (name, uid) = (self.service.name.clone(), self.uid.clone());
        let node = self.node.clone();
        Ok(Pod {
            name,
            uid,
            network,
            channel,
            process,
            tree,
            container,
            node,
        })
    }
}

impl Pod {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn uid(&self) -> &str {
        &self.uid
    }

    pub fn node(&self) -> &Node {
        &self.node
    }

    pub fn address4(&self) -> Ipv4Addr {
        self.network.first().0
    }

    pub fn address6(&self) -> Ipv6Addr {
        self.network.first().1
    }

    /// Both addresses with this port.
    pub fn at(&self, port: u16) -> [SocketAddr; 2] {
        [
            (self.address4(), port).into(),
            (self.address6(), port).into(),
        ]
    }

    /// All its addresses, a pair for each that was wished for.
    pub fn addresses(&self) -> &[(Ipv4Addr, Ipv6Addr)] {
        self.network.addresses()
    }

    pub fn netns(&self) -> &Inside {
        self.network.netns(&self.node)
    }

    /// The cgroup of its one container, where its process is.
    pub fn container_cgroup(&self) -> &Cgroup {
        &self.container
    }

    /// The pod's cgroup, by whose id callers are known.
    pub fn cgroup(&self) -> &Cgroup {
        &self.tree
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Kills its process, as if it had crashed; its namespace and cgroup stay.
    pub fn kill(&self) -> Result<()> {
        self.process.signal(Signal::SIGKILL)
    }

    /// Connects, and hears who answers; that the connect failed is an error that holds its [`Code`].
    pub fn connect(&self, target: impl Into<Target>) -> Result<Answer> {
        let target = target.into();
        self.try_connect(target)?
            .with_context(|| format!("{} asks {target}", self.name))
    }

    /// As [`Pod::connect`], with the connect's own failure as a value.
    pub fn try_connect(&self, target: impl Into<Target>) -> Result<Result<Answer, Code>> {
        match self.channel.ask(Task::Ask(target.into()))? {
            Told::Answer(answer) => Ok(answer),
            other => unexpected(&other),
        }
    }

    /// Runs a program of socket calls; one result per step.
    pub fn run(&self, steps: &[Step]) -> Result<Vec<StepResult>> {
        match self.channel.ask(Task::Run(steps.to_vec()))? {
            Told::Steps(results) => Ok(results),
            other => unexpected(&other),
        }
    }

    /// Runs a load to its end.
    pub fn load(&self, load: &Load) -> Result<Report> {
        self.start_load(load)?.finish()
    }

    pub fn start_load(&self, load: &Load) -> Result<RunningLoad<'_>> {
        Ok(RunningLoad {
            pod: self,
            answer: self.channel.begin(Task::Load(load.clone()))?,
        })
    }

    /// Makes its echo ports fail in some way, or answer again.
    pub fn behave(&self, behaviour: Behaviour) -> Result<()> {
        done(&self.channel.ask(Task::Behave(behaviour))?)
    }

    /// What `/ready` on its HTTP ports answers.
    pub fn set_ready(&self, ready: bool) -> Result<()> {
        done(&self.channel.ask(Task::Ready(ready))?)
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.process.kill();
        if let Err(error) = self.tree.destroy() {
            eprintln!("the pod {} was not removed whole: {error:#}", self.name);
        }
    }
}

impl RunningLoad<'_> {
    /// What has happened until now.
    pub fn so_far(&self) -> Result<Report> {
        report(self.pod.channel.ask(Task::PeekLoad(self.answer.id()))?)
    }

    /// Waits until it ends by itself.
    pub fn finish(self) -> Result<Report> {
        report(self.answer.wait()?)
    }

    /// Ends it after the tries that are on their way.
    pub fn stop(self) -> Result<Report> {
        done(&self.pod.channel.ask(Task::StopLoad(self.answer.id()))?)?;
        self.finish()
    }
}

fn report(told: Told) -> Result<Report> {
    match told {
        Told::Report(report) => Ok(report),
        other => unexpected(&other),
    }
}

fn done(told: &Told) -> Result<()> {
    if matches!(told, Told::Done) {
        Ok(())
    } else {
        unexpected(told)
    }
}

fn unexpected<T>(told: &Told) -> Result<T> {
    bail!("the pod gave an answer to something else: {told:?}")
}
