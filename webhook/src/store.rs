//! What is known of the cluster: the index, fed by watches, read by handlers.
//!
//! Policies are watched, and what they name or meet: that is what the rules look at. A handler holds the
//! lock for as long as it judges one object, which is microseconds.

use std::sync::{Arc, PoisonError, RwLock};

use sluice_crds::{BalancingPolicy, FrontendGrant, LocalRedirectPolicy, TrafficSplit};
use sluice_model::{
    change::Change,
    facts,
    index::{Index, Snapshot},
    key::Kind,
};
use sluice_runtime::{
    client::Server,
    watch::{Told, Watches, What, read},
};
use tracing::{info, warn};

const KINDS: [Kind; 7] = [
    Kind::Service,
    Kind::Namespace,
    Kind::Node,
    Kind::TrafficSplit,
    Kind::LocalRedirectPolicy,
    Kind::BalancingPolicy,
    Kind::FrontendGrant,
];

/// Clones are views of the same.
#[derive(Clone, Debug)]
pub struct Store(Arc<RwLock<Index>>);

impl Default for Store {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(Index::awaiting(KINDS))))
    }
}

impl Store {
    pub fn apply(&self, changes: impl IntoIterator<Item = Change>) {
        // A fault while it was held left facts, none of them half: each is replaced as a whole.
        let mut index = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            index.apply(change);
        }
        // Nothing is compiled here; the next question compiles what it needs.
        drop(index.take_dirty());
    }

    /// Looks at what is known; `None` before everything was listed once.
    pub fn look<T>(&self, look: impl FnOnce(Option<Snapshot<'_>>) -> T) -> T {
        let index = self.0.read().unwrap_or_else(PoisonError::into_inner);
        look(index.snapshot())
    }

    /// The kinds that have not been listed yet.
    pub fn awaited(&self) -> Vec<Kind> {
        let index = self.0.read().unwrap_or_else(PoisonError::into_inner);
        index.awaited().iter().copied().collect()
    }

    /// Keeps up with the API server; never ends.
    pub async fn follow(&self, server: &Server) {
        let mut watches = Watches::<Told>::of(server);
        for kind in KINDS {
            let wrap = move |heard| Told::of(kind, heard);
            match kind {
                Kind::TrafficSplit => {
                    watches.add(read::loosely::<TrafficSplit>(server), read::split, wrap);
                }
                Kind::LocalRedirectPolicy => {
                    let redirects = read::loosely::<LocalRedirectPolicy>(server);
                    watches.add(redirects, read::redirect, wrap);
                }
                Kind::BalancingPolicy => {
                    let balancings = read::loosely::<BalancingPolicy>(server);
                    watches.add(balancings, read::balancing, wrap);
                }
                Kind::FrontendGrant => {
                    watches.add(read::loosely::<FrontendGrant>(server), read::grant, wrap);
                }
                Kind::Node => watches.add(read::all(server), facts::node, wrap),
                Kind::Namespace => watches.add(read::all(server), facts::namespace, wrap),
                _ => watches.add(read::all(server), facts::service, wrap),
            }
        }
        loop {
            for Told { kind, what } in watches.next().await {
                match what {
                    What::Changes(changes) => self.apply(changes),
                    What::Trouble(trouble) => {
                        warn!(%kind, since = ?trouble.since, "what is known is not up to date: {}", trouble.text);
                    }
                    What::Well => info!(%kind, "what is known is up to date again"),
                }
            }
        }
    }
}
