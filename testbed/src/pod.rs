//! A light pod: a network namespace joined to its node's, a cgroup shaped as kubelet shapes it, and one process that
//! serves and takes orders.
//!
//! The process is this very program, executed again (see [`crate::entry`]); orders and answers are lines of JSON on
//! its standard input and output. It ends when the input does, so it cannot outlive its owner.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use self::channel::Channel;
use self::order::{Task, Told};
use crate::cgroup::Cgroup;
use crate::errno::Code;
use crate::link::Links;
use crate::load::{Answer, Load, Report, Target};
use crate::netns::{Inside, Netns};
use crate::node::Node;
use crate::process::Process;
use crate::program::{Step, StepResult};
use crate::serve::{Behaviour, Service};

pub use place::{Driver, Qos};

mod channel;
mod inside;
mod order;
mod place;

pub(crate) use inside::become_pod;

pub(crate) const ROLE: &str = "sluice-testbed-pod";

const LINK: &str = "eth0";
/// The node's end of every pod's link.
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// A pod to be started; by default in a network of its own, burstable, with the cgroupfs driver's paths.
#[derive(Debug)]
pub struct Builder {
    node: Node,
    service: Service,
    uid: String,
    network: Network,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    Own,
    OfTheNode,
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
    addresses: (Ipv4Addr, Ipv6Addr),
    channel: Channel,
    process: Process,
    own: Option<Netns>,
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
            network: Network::Own,
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

    /// Uses the node's network.
    pub fn host_network(mut self) -> Self {
        self.network = Network::OfTheNode;
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
        let (own, addresses) = self.network()?;
        let log = self.node.log_name(&self.service.name);
        let netns: &Inside = own.as_ref().map_or(self.node.netns(), |own| own);
        let mut process = self
            .node
            .run()
            .command_again(&log)
            .arg(ROLE)
            .arg(serde_json::to_string(&self.service)?)
            .cgroup(&container)
            .netns(netns)?
            .piped()
            .spawn()?;
        let pipes = process.pipes().context("the process has no pipes")?;
        let channel = Channel::open(pipes).with_context(|| process.output().unwrap_or_default())?;
        let (name, uid, node) = (
            self.service.name.clone(),
            self.uid.clone(),
            self.node.clone(),
        );
        Ok(Pod {
            name,
            uid,
            addresses,
            channel,
            process,
            own,
            tree,
            container,
            node,
        })
    }

    fn network(&mut self) -> Result<(Option<Netns>, (Ipv4Addr, Ipv6Addr))> {
        let member = self.node.member();
        if self.network == Network::OfTheNode {
            let addresses = (member.address4(), member.address6());
            let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            self.service.addresses = vec![addresses.0.into(), addresses.1.into()];
            self.service.addresses.extend(loopback);
            return Ok((None, addresses));
        }
        let number = self.node.next_pod()?;
        let [a, b, c, _] = member.pods4().octets();
        let address4 = Ipv4Addr::new(a, b, c, number);
        let address6 = Ipv6Addr::from_bits(member.pods6().to_bits() | u128::from(number));
        let own = self
            .node
            .run()
            .netns(&format!("{}-{number}", self.node.name()))?;
        join(
            &self.node,
            &own,
            &format!("pod{number}"),
            address4,
            address6,
        )?;
        Ok((Some(own), (address4, address6)))
    }
}

/// Joins a pod's namespace to its node's by a pair of links and routes to single addresses, without a bridge.
fn join(
    node: &Node,
    pod: &Netns,
    link: &str,
    address4: Ipv4Addr,
    address6: Ipv6Addr,
) -> Result<()> {
    let [a, b, c, _] = address4.octets();
    let gateway4 = Ipv4Addr::new(a, b, c, 1);
    node.netns().links(|links: &Links| {
        links.veth(link, LINK, pod)?;
        links.address(link, gateway4, 32)?;
        links.address(link, GATEWAY6, 64)?;
        links.up(link)?;
        links.route(address4, 32, link, None)?;
        links.route(address6, 128, link, None)
    })?;
    pod.links(|links: &Links| {
        links.address(LINK, address4, 32)?;
        links.address(LINK, address6, 128)?;
        links.up(LINK)?;
        links.route(gateway4, 32, LINK, None)?;
        links.route(Ipv4Addr::UNSPECIFIED, 0, LINK, Some(gateway4.into()))?;
        links.route(Ipv6Addr::UNSPECIFIED, 0, LINK, Some(GATEWAY6.into()))?;
        links.await_carrier(LINK)
    })?;
    node.netns().links(|links| links.await_carrier(link))
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
        self.addresses.0
    }

    pub fn address6(&self) -> Ipv6Addr {
        self.addresses.1
    }

    /// Both addresses with this port.
    pub fn at(&self, port: u16) -> [SocketAddr; 2] {
        [
            (self.address4(), port).into(),
            (self.address6(), port).into(),
        ]
    }

    pub fn netns(&self) -> &Inside {
        self.own.as_ref().map_or(self.node.netns(), |own| own)
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
