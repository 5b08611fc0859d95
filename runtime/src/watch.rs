//! Watches of the API server.
//!
//! Each kind is listed, then watched from there; a list is told whole or not at all, so a reader
//! never sees half of one. Whatever goes wrong is told too, together with how old the view is by
//! then, and tried again after a pause that grows; what was told before holds meanwhile.
//!
//! The loop is our own: kube-runtime's does not say when a broken watch is open again, so nobody
//! could tell an old view from a quiet cluster.

mod absence;
mod changes;
mod follow;
mod loose;
pub mod read;

use std::{fmt::Debug, panic};

use k8s_openapi::{jiff::Timestamp, serde::de::DeserializeOwned};
use kube::{Api, Resource};
use sluice_model::key::Name;
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    task::JoinSet,
};

pub use changes::{Told, What};

use crate::client::Server;
use follow::Follow;

/// So much waits for a reader who is busy; then the API server waits.
const QUEUE: usize = 1024;

/// Watches of several kinds, each message of which is an `M`; dropping them ends them.
pub struct Watches<M = Told> {
    through_service: bool,
    sender: Sender<M>,
    told: Receiver<M>,
    tasks: JoinSet<()>,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Asked<K> {
    pub api: Api<K>,
    /// Narrows it down, as `metadata.name=…` does; everything if there is none.
    pub fields: Option<String>,
    /// The kind is one that a CRD defines: a server that does not know it has none of them.
    pub optional: bool,
}

/// What the watch of one kind has to say.
#[derive(Clone, Debug)]
pub enum Heard<T> {
    /// Everything that there is.
    Listed(Vec<T>),
    /// There is this one, new or not.
    Set(T),
    /// There is none of this name any more.
    Gone(Name),
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

impl<M: Send + 'static> Watches<M> {
    /// No watches yet; see [`Watches::add`].
    pub fn of(server: &Server) -> Self {
        let (sender, told) = mpsc::channel(QUEUE);
        Self {
            through_service: server.through_service,
            sender,
            told,
            tasks: JoinSet::new(),
        }
    }

    /// Starts another watch. `read` keeps what matters of an object, `wrap` says which watch it was.
    pub fn add<K, T>(
        &mut self,
        asked: Asked<K>,
        read: impl Fn(&K) -> Option<T> + Send + Sync + 'static,
        wrap: impl Fn(Heard<T>) -> M + Send + Sync + 'static,
    ) where
        K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
        T: Send + 'static,
    {
        let follow = Follow::new(self.through_service, self.sender.clone(), Box::new(wrap));
        self.tasks.spawn(follow.run(asked, Box::new(read)));
    }

    /// Waits until there is something, and takes all that is there by then. May be dropped while
    /// it waits without losing any.
    pub async fn next(&mut self) -> Vec<M> {
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

impl<T> Heard<T> {
    /// The same of what `part` takes from each object.
    pub fn map<U>(self, part: impl FnMut(T) -> U) -> Heard<U> {
        let mut part = part;
        match self {
            Self::Listed(objects) => Heard::Listed(objects.into_iter().map(part).collect()),
            Self::Set(object) => Heard::Set(part(object)),
            Self::Gone(name) => Heard::Gone(name),
            Self::Trouble(trouble) => Heard::Trouble(trouble),
            Self::Well => Heard::Well,
        }
    }
}

impl<K> Asked<K> {
    /// Every object of a kind that is always there.
    pub fn all(api: Api<K>) -> Self {
        Self {
            api,
            fields: None,
            optional: false,
        }
    }

    /// The same of a kind that may not be served.
    #[must_use]
    pub fn optional(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }

    /// Only those whose fields are so.
    #[must_use]
    pub fn with(self, fields: impl Into<String>) -> Self {
        Self {
            fields: Some(fields.into()),
            ..self
        }
    }
}
