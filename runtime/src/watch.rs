//! Watches of the API server as changes of facts.
//!
//! Each kind is listed, then watched from there; a list is told whole or not at all, so a reader
//! never sees half of one. Whatever goes wrong is told too, together with how old the view is by
//! then, and tried again after a pause that grows; what was told before holds meanwhile.
//!
//! The loop is our own: kube-runtime's does not say when a broken watch is open again, so nobody
//! could tell an old view from a quiet cluster.

mod follow;
mod pause;
mod read;

use std::panic;

use k8s_openapi::jiff::Timestamp;
use sluice_model::{change::Change, facts, key::Kind};
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    task::JoinSet,
};

use crate::client::Server;
use follow::Follow;

/// So much waits for a reader who is busy; then the API server waits.
const QUEUE: usize = 1024;

/// Watches of several kinds; dropping them ends them.
pub struct Watches {
    told: Receiver<Told>,
    tasks: JoinSet<()>,
}

/// What the watch of one kind has to say.
#[derive(Clone, Debug)]
pub struct Told {
    pub kind: Kind,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    /// In this order. A list comes as one: every object as `Set`, and `Relisted` at its end.
    Changes(Vec<Change>),
    /// What was told is no longer kept up to date.
    Trouble(Trouble),
    /// It is again.
    Well,
}

/// Why a watch is not up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// When the API server last spoke on this watch; `None` if it never did.
    pub since: Option<Timestamp>,
    pub text: String,
}

impl Watches {
    /// Starts a watch of every kind; of pods, only of this node's.
    pub fn of_node(server: &Server, node: &str) -> Self {
        let (sender, told) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        for kind in Kind::ALL {
            watch(&mut tasks, server, node, kind, sender.clone());
        }
        Self { told, tasks }
    }

    /// Waits until there is something, and takes all that is there by then. May be dropped while
    /// it waits without losing any.
    pub async fn next(&mut self) -> Vec<Told> {
        let mut all = Vec::new();
        while all.is_empty() {
            tokio::select! {
                biased;
                // Watches do not end while somebody listens. A fault in one is a fault of the
                // program, and a view that stands still would hide it.
                Some(ended) = self.tasks.join_next() => {
                    if let Err(fault) = ended && let Ok(fault) = fault.try_into_panic() {
                        panic::resume_unwind(fault);
                    }
                }
                _ = self.told.recv_many(&mut all, QUEUE) => {}
            }
        }
        all
    }
}

fn watch(tasks: &mut JoinSet<()>, server: &Server, node: &str, kind: Kind, sender: Sender<Told>) {
    let follow = Follow::new(server, kind, sender);
    match kind {
        Kind::Service => tasks.spawn(follow.run(read::all(server), None, facts::service)),
        Kind::EndpointSlice => tasks.spawn(follow.run(read::all(server), None, facts::slice)),
        Kind::TrafficSplit => tasks.spawn(follow.run(read::splits(server), None, read::split)),
        Kind::Node => tasks.spawn(follow.run(read::all(server), None, facts::node)),
        Kind::Namespace => tasks.spawn(follow.run(read::all(server), None, facts::namespace)),
        Kind::Pod => {
            let own = format!("spec.nodeName={node}");
            tasks.spawn(follow.run(read::all(server), Some(own), facts::pod))
        }
    };
}
