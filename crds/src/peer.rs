//! Which pods connect: by namespace, labels and service account.

#![expect(
    unreachable_pub,
    reason = "KubeSchema derives a public twin inside a function"
)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{pattern::SUBDOMAIN, selector::Selector};

/// The largest number of peers in one list.
pub const MAX_PEERS: usize = 16;
/// The largest number of service accounts in one peer.
pub const MAX_SERVICE_ACCOUNTS: usize = 16;

/// What is said of a peer that names nothing.
pub const PEER_NAMES_SOMETHING: &str = "a peer has `namespaces`, `pods` or `serviceAccounts`; `pods: {}` means all pods of the namespace";

/// Pods for which everything that is named here holds.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.namespaces) || has(self.pods) || has(self.serviceAccounts)")
        .message(PEER_NAMES_SOMETHING)
)]
pub struct Peer {
    /// Namespaces by their labels; `{}` means every namespace. The policy's own when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Selector")]
    pub namespaces: Option<Selector>,

    /// Pods by their labels. All of them when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Selector")]
    pub pods: Option<Selector>,

    /// Names of service accounts; the pod runs as one of them. Any when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "Vec<String>",
        length(min = 1, max = MAX_SERVICE_ACCOUNTS),
        inner(length(min = 1, max = 253), regex(pattern = SUBDOMAIN)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub service_accounts: Option<Vec<String>>,
}
