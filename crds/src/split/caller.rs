//! Callers that get other weights than the rest.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::MAX_VERSIONS;
use crate::{
    pattern::LABEL,
    peer::{MAX_PEERS, Peer},
};

/// The largest number of classes of callers.
pub const MAX_CALLERS: usize = 16;

/// The largest number of peers in all classes of a split together.
pub const MAX_CALLER_PEERS: usize = 64;
/// What is said of callers by very many peers: each node holds each of its pods against all of them.
pub const CALLER_PEERS_IN_ALL: &str = "at most 64 peers in all classes of callers together";

/// What is said of a class that gives every version nothing.
pub const NO_CALLER_WEIGHT: &str = "at least one version needs a weight above 0 for these callers";

/// A class of callers with weights of its own.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerClass {
    /// Name of the class, unique in the split.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub name: String,

    /// Who is in it: a pod that one of the peers fits; a peer fits if all that it names does.
    #[schemars(
        length(min = 1, max = MAX_PEERS),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub from: Vec<Peer>,

    /// Weights of versions for these callers, by the version's name. A version that is not named gets nothing.
    #[schemars(extend(
        "minProperties" = 1,
        "maxProperties" = MAX_VERSIONS,
        "additionalProperties" = {"type": "integer", "minimum": 0, "maximum": 1_000_000},
    ))]
    #[x_kube(
        validation = Rule::new("self.exists(name, self[name] > 0)").message(NO_CALLER_WEIGHT)
    )]
    pub weights: BTreeMap<String, u32>,
}
