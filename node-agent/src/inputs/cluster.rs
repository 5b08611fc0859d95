//! A cluster as the whole world: watches of its API server.
//!
//! What was shown holds while the API server is away; the problems say which watches are behind and
//! since when.

use std::collections::BTreeMap;

use sluice_model::{change::Change, key::Kind};
use sluice_runtime::{
    client::Server,
    watch::{Told, Trouble, Watches, What},
};

use super::{Input, News, Place, Problem, View};

pub struct Cluster {
    watches: Watches,
    troubles: BTreeMap<Kind, Trouble>,
}

impl Cluster {
    /// Starts to watch what this node needs.
    pub fn watch(server: &Server, node: &str) -> Self {
        Self {
            watches: Watches::of_node(server, node),
            troubles: BTreeMap::new(),
        }
    }

    fn hear(&mut self, told: Vec<Told>) -> Vec<Change> {
        let mut changes = Vec::new();
        for Told { kind, what } in told {
            match what {
                What::Changes(more) => changes.extend(more),
                What::Trouble(trouble) => {
                    self.troubles.insert(kind, trouble);
                }
                What::Well => {
                    self.troubles.remove(&kind);
                }
            }
        }
        changes
    }

    fn problems(&self) -> Vec<Problem> {
        let problem = |(kind, trouble): (&Kind, &Trouble)| Problem {
            place: Place::Watch {
                watch: *kind,
                since: trouble.since,
            },
            text: trouble.text.clone(),
        };
        self.troubles.iter().map(problem).collect()
    }
}

impl Input for Cluster {
    async fn next(&mut self) -> News {
        let told = self.watches.next().await;
        News {
            changes: self.hear(told),
            // A kind that has not listed keeps everything waiting, so no part can be unknown.
            view: View::Whole,
            problems: self.problems(),
        }
    }
}
