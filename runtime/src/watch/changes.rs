//! Watches of what the index is made of, as changes of facts.

use std::collections::BTreeSet;

use sluice_crds::{BalancingPolicy, FrontendGrant, LocalRedirectPolicy, TrafficSplit};
use sluice_model::{
    change::{Change, Object},
    facts,
    key::{Kind, Subject},
};

use super::{Asked, Heard, Trouble, Watches, read};
use crate::client::Server;

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

impl Told {
    pub fn of(kind: Kind, heard: Heard<Object>) -> Self {
        let what = match heard {
            Heard::Listed(objects) => {
                let subjects: BTreeSet<_> = objects.iter().map(Object::subject).collect();
                let mut changes: Vec<_> = objects.into_iter().map(Change::Set).collect();
                changes.push(Change::Relisted(kind, subjects));
                What::Changes(changes)
            }
            Heard::Set(object) => What::Changes(vec![Change::Set(object)]),
            Heard::Gone(name) => What::Changes(vec![Change::Gone(Subject { kind, name })]),
            Heard::Trouble(trouble) => What::Trouble(trouble),
            Heard::Well => What::Well,
        };
        Self { kind, what }
    }
}

impl Watches<Told> {
    /// Starts a watch of every kind; of pods, only of this node's.
    pub fn of_node(server: &Server, node: &str) -> Self {
        let mut watches = Self::of(server);
        for kind in Kind::ALL {
            let wrap = move |heard| Told::of(kind, heard);
            match kind {
                Kind::Service => watches.add(read::all(server), facts::service, wrap),
                Kind::EndpointSlice => watches.add(read::all(server), facts::slice, wrap),
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
                Kind::Pod => {
                    let own = Asked::with(read::all(server), format!("spec.nodeName={node}"));
                    watches.add(own, facts::pod, wrap);
                }
            }
        }
        watches
    }
}
