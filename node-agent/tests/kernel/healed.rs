//! A socket that could not be ended is ended later, though nothing changes any more.

use std::{net::SocketAddr, sync::Mutex, thread, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};
use sluice_model::facts;
use sluice_node_abi::maps;
use sluice_node_agent::{
    agent::{self, Agent, Handle},
    bpf,
    inputs::{News, View},
    maps::kernel::Kernel,
    program::Refusal,
    sockets::{Look, Sockets, Storage},
};
use sluice_testbed::{
    Errno,
    pod::{Pod, Program},
    program::{Family, Seen, Step},
    tier::eventually,
};
use tokio::sync::watch;

use crate::{
    bed::{Bed, SERVICE_V4, at},
    privileges::lay_aside_net_admin,
    told::Told,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Nothing but a failure makes the agent look again that soon.
const NEVER: Duration = Duration::from_secs(86_400);
const PORT: u16 = 53;

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "dns", "namespace": "shop"},
        "spec": {"clusterIPs": [SERVICE_V4], "ports": [{"port": PORT, "protocol": "UDP"}]},
    })
}

fn slice(server: &Pod) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": "dns", "namespace": "shop", "labels": {"kubernetes.io/service-name": "dns"},
        },
        "ports": [{"port": PORT, "protocol": "UDP"}],
        "endpoints": [{"addresses": [server.address4().to_string()]}],
    })
}

fn connected(client: &Pod, service: SocketAddr) -> Result<Program<'_>> {
    let program = client.program();
    let seen = program.run(&[Step::udp(Family::V4), Step::connect(0, service)])?;
    ensure!(seen[1] == Ok(Seen::Done), "{seen:?}");
    Ok(program)
}

/// An agent, and what looks after sockets, in a thread of their own.
struct Watched {
    handle: Handle<Kernel>,
    turns: watch::Sender<()>,
}

impl Watched {
    fn start(bed: &mut Bed, mut agent: Agent<Kernel>) -> Result<Self> {
        let storage = Storage {
            map: bpf::open_pinned(&bed.pins.map(maps::SOCKETS))?,
            survey: Mutex::new(bed.programs.survey()?),
        };
        let (handle, mut questions) = agent::handle();
        let (turns, turned) = watch::channel(());
        let root = bed.node.cgroup().path().to_owned();
        let sockets = Sockets::new(handle.clone(), turned, root, storage, NEVER);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        thread::spawn(move || {
            runtime.block_on(async {
                let answer = async {
                    while let Some(question) = questions.recv().await {
                        question(&mut agent);
                    }
                };
                tokio::select! {
                    () = answer => {}
                    () = sockets.run() => {}
                }
            });
        });
        Ok(Self { handle, turns })
    }

    /// Asks the agent on the thread that looks.
    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Agent<Kernel>) -> T + Send + 'static,
    ) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(runtime.block_on(self.handle.ask(question))?)
    }

    fn looks(&self) -> Result<Look> {
        self.ask(|agent| agent.counts().sockets)
    }

    fn await_looks(&self, what: &str, is_there: impl Fn(Look) -> bool) -> Result<()> {
        eventually(PATIENCE, what, || {
            let look = self.looks()?;
            ensure!(is_there(look), "{look:?}");
            Ok(())
        })
    }
}

/// The agent loses the right to end sockets for a while, as by a fault of its rights or of the kernel.
pub(crate) fn a_socket_that_could_not_be_ended_is_ended_by_a_later_look() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let servers = ["one", "other"].map(|name| bed.node.pod(name).port(PORT).start());
    let [one, other] = servers;
    let (one, other) = (one?, other?);
    let client = bed.node.pod("client").start()?;
    let address = at(SERVICE_V4, PORT)?;
    // The first from before there was anything to translate it.
    let mut programs = vec![connected(&client, address)?];
    let mut told = Told::start(&bed)?;
    told.apply(&[service(), slice(&one)])?;
    programs.push(connected(&client, address)?);

    let watched = Watched::start(&mut bed, told.agent)?;
    watched.await_looks("looks at both sockets", |look| look.looks >= 2)?;
    watched.ask(|_| lay_aside_net_admin(true))??;
    let gone = facts::parse(slice(&other)).map_err(|error| anyhow!("{error:?}"))?;
    watched
        .ask(|agent| {
            agent.hear(News {
                changes: vec![gone],
                view: View::Whole,
                problems: Vec::new(),
            });
            agent.pass().map(drop)
        })?
        .context("everything is listed")?;
    watched.turns.send_replace(());
    // More than the looks that follow a change.
    watched.await_looks("several looks that fail", |look| look.failed >= 8)?;
    let look = watched.looks()?;
    ensure!(look.ended_udp == 0, "{look:?}");
    watched.ask(|_| lay_aside_net_admin(false))??;
    watched.await_looks("both sockets ended", |look| look.ended_udp == 2)?;
    let aborted = Ok(Seen::Pending(Errno::ECONNABORTED.into()));
    for program in &programs {
        let seen = program.run(&[Step::TakeError { socket: 0 }])?;
        ensure!(seen[0] == aborted, "{seen:?}");
    }
    Ok(())
}
