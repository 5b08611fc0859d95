//! Peers: which pods connect, by namespace, labels and service account.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sluice_crds::peer::{self as crds, MAX_PEERS, MAX_SERVICE_ACCOUNTS, PEER_NAMES_SOMETHING};

use super::{
    faults::Faults,
    selector::{self, Selector},
};
use crate::key::is_subdomain;

/// Pods for which everything that is named here holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// `None` is the policy's own.
    pub namespaces: Option<Selector>,
    pub pods: Option<Selector>,
    pub service_accounts: Option<Box<[Arc<str>]>>,
}

/// Somebody who connects.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    pub namespace: &'a str,
    /// `None` while the namespace is not known.
    pub namespace_labels: Option<&'a BTreeMap<String, String>>,
    pub labels: &'a BTreeMap<String, String>,
    pub service_account: &'a str,
}

impl Peer {
    /// Whether a caller is one of these, for a policy in the namespace `own`.
    pub fn is(&self, own: &str, caller: &Candidate<'_>) -> bool {
        let Self {
            namespaces,
            pods,
            service_accounts,
        } = self;
        let at_home = match (namespaces, caller.namespace_labels) {
            (None, _) => caller.namespace == own,
            (Some(wanted), Some(labels)) => wanted.matches(labels),
            (Some(_), None) => false,
        };
        let is_named =
            |names: &[Arc<str>]| names.iter().any(|name| **name == *caller.service_account);
        at_home
            && pods
                .as_ref()
                .is_none_or(|wanted| wanted.matches(caller.labels))
            && service_accounts.as_deref().is_none_or(is_named)
    }
}

pub(super) fn parse_all(peers: &[crds::Peer], field: &str, faults: &mut Faults) -> Box<[Peer]> {
    let looked_at = faults.count(field, peers.len(), 1, MAX_PEERS);
    let peers = peers.iter().enumerate().take(looked_at);
    peers
        .map(|(i, peer)| parse(peer, &format!("{field}[{i}]"), faults))
        .collect()
}

fn parse(peer: &crds::Peer, field: &str, faults: &mut Faults) -> Peer {
    let crds::Peer {
        namespaces,
        pods,
        service_accounts,
    } = peer;
    if namespaces.is_none() && pods.is_none() && service_accounts.is_none() {
        faults.note(field, PEER_NAMES_SOMETHING);
    }
    let namespaces = namespaces
        .as_ref()
        .map(|wanted| selector::parse(wanted, &format!("{field}.namespaces"), faults));
    let pods = pods
        .as_ref()
        .map(|wanted| selector::parse(wanted, &format!("{field}.pods"), faults));
    let service_accounts = service_accounts
        .as_ref()
        .map(|names| accounts(names, &format!("{field}.serviceAccounts"), faults));
    Peer {
        namespaces,
        pods,
        service_accounts,
    }
}

fn accounts(names: &[String], field: &str, faults: &mut Faults) -> Box<[Arc<str>]> {
    let looked_at = faults.count(field, names.len(), 1, MAX_SERVICE_ACCOUNTS);
    let mut seen = BTreeSet::new();
    for (i, name) in names.iter().enumerate().take(looked_at) {
        let field = || format!("{field}[{i}]");
        if is_subdomain(name) {
            faults.once(&mut seen, name, field);
        } else {
            let detail = format!("{name:?} is not a name of a service account");
            faults.note(field(), detail);
        }
    }
    names.iter().map(|name| name.as_str().into()).collect()
}
