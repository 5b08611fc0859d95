//! All facts, and who refers to whom: the only long-lived state about the cluster.
//!
//! The index knows which Services a change can touch, and gathers them as *dirty* until a pass
//! takes them. A Service here is a name, whether or not there is an object of it: a split on a
//! missing Service has to be told so. What the index holds depends only on the objects, never on
//! the order in which changes came.

mod claims;
mod places;
mod policies;
mod references;
mod services;
mod snapshot;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::IpAddr,
    sync::Arc,
};

use references::References;

pub use claims::ClaimKey;
pub use snapshot::Snapshot;

use crate::{
    caller::Caller,
    change::{Change, Object},
    facts::{
        Parsed, balancing, endpoints, endpoints::Mark, grant, namespace, node, pod, redirect,
        service, split,
    },
    finding::Finding,
    key::{
        BalancingKey, Frontend, GrantKey, Kind, NamespaceKey, NodeKey, PodKey, RedirectKey,
        ServiceKey, SliceKey, SplitKey, Subject,
    },
};

#[derive(Clone, Debug)]
pub struct Index {
    services: BTreeMap<ServiceKey, service::Fact>,
    slices: BTreeMap<SliceKey, endpoints::Fact>,
    splits: BTreeMap<SplitKey, split::Fact>,
    redirects: BTreeMap<RedirectKey, redirect::Fact>,
    balancings: BTreeMap<BalancingKey, balancing::Fact>,
    grants: BTreeMap<GrantKey, grant::Fact>,
    pods: BTreeMap<PodKey, pod::Fact>,
    nodes: BTreeMap<NodeKey, node::Fact>,
    namespaces: BTreeMap<NamespaceKey, namespace::Fact>,

    /// Objects of which nothing can be used; they exist all the same.
    unusable: BTreeSet<Subject>,
    findings: BTreeMap<Subject, Vec<Finding>>,

    slices_of: References<ServiceKey, SliceKey>,
    splits_on: References<ServiceKey, SplitKey>,
    borrowers: References<ServiceKey, SplitKey>,
    claimants: References<Frontend, ServiceKey>,
    /// Redirects and balancing policies by the Service that they name.
    claims_on: References<ServiceKey, ClaimKey>,
    /// The same by the address that they name.
    claims_at: References<IpAddr, ClaimKey>,
    /// Balancing policies by the addresses that are backends of theirs.
    backends_at: References<IpAddr, ClaimKey>,
    /// Nodes by their addresses.
    nodes_at: References<IpAddr, NodeKey>,
    /// Services by the addresses that they were given and claim nothing at.
    beside: References<IpAddr, ServiceKey>,

    own_node: Option<OwnNode>,
    /// The cgroups of this node's pods, by the pod's uid.
    cgroups: BTreeMap<Arc<str>, u64>,

    awaited: BTreeSet<Kind>,
    dirty: BTreeSet<ServiceKey>,
    dirty_claims: BTreeSet<ClaimKey>,
    dirty_places: Places,
}

#[derive(Clone, Debug)]
struct OwnNode {
    key: NodeKey,
    mark: Mark,
    zone: Mark,
}

/// What is the same for every Service and may have changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places {
    pub nodes: bool,
    pub callers: bool,
}

impl Index {
    /// An index whose inputs are these kinds; each has to list once before there is a snapshot.
    pub fn awaiting(kinds: impl IntoIterator<Item = Kind>) -> Self {
        Self {
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            splits: BTreeMap::new(),
            redirects: BTreeMap::new(),
            balancings: BTreeMap::new(),
            grants: BTreeMap::new(),
            pods: BTreeMap::new(),
            nodes: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            unusable: BTreeSet::new(),
            findings: BTreeMap::new(),
            slices_of: References::default(),
            splits_on: References::default(),
            borrowers: References::default(),
            claimants: References::default(),
            claims_on: References::default(),
            claims_at: References::default(),
            backends_at: References::default(),
            nodes_at: References::default(),
            beside: References::default(),
            own_node: None,
            cgroups: BTreeMap::new(),
            awaited: kinds.into_iter().collect(),
            dirty: BTreeSet::new(),
            dirty_claims: BTreeSet::new(),
            dirty_places: Places::default(),
        }
    }

    /// The index of an agent on this node. Without one the whole cluster is seen from no node in particular.
    #[must_use]
    pub fn on_node(mut self, key: NodeKey) -> Self {
        let mark = Mark::of(key.0.name());
        let zone = places::zone_of(self.nodes.get(&key));
        self.own_node = Some(OwnNode { key, mark, zone });
        self
    }

    /// Where this node's pods are in the tree of cgroups: the id of each pod's own cgroup, by the
    /// pod's uid.
    pub fn set_cgroups(&mut self, cgroups: BTreeMap<Arc<str>, u64>) {
        self.dirty_places.callers |= self.cgroups != cgroups;
        self.cgroups = cgroups;
    }

    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Set(object) => self.set(object),
            Change::Gone(subject) => self.remove(&subject),
            Change::Relisted(kind, present) => {
                for subject in self.subjects(kind) {
                    if !present.contains(&subject) {
                        self.remove(&subject);
                    }
                }
                self.awaited.remove(&kind);
            }
        }
    }

    /// A pod as a caller; an ordinary one if it is not known.
    pub fn caller(&self, key: &PodKey) -> Caller {
        let known = self.pods.get(key);
        known.map_or_else(Caller::default, |pod| Caller {
            in_host_network: pod.host_network,
            cgroup: self.cgroups.get(pod.uid.as_str()).copied(),
        })
    }

    /// The kinds that have not listed yet.
    pub fn awaited(&self) -> &BTreeSet<Kind> {
        &self.awaited
    }

    pub fn snapshot(&self) -> Option<Snapshot<'_>> {
        self.awaited.is_empty().then_some(Snapshot { index: self })
    }

    /// Whether changes have touched anything since the last calls of those below.
    pub fn is_dirty(&self) -> bool {
        let Places { nodes, callers } = self.dirty_places;
        nodes || callers || !self.dirty.is_empty() || !self.dirty_claims.is_empty()
    }

    /// The Services that changes have touched since the last call.
    pub fn take_dirty(&mut self) -> BTreeSet<ServiceKey> {
        mem::take(&mut self.dirty)
    }

    /// The redirects and balancing policies that changes have touched since the last call, be they
    /// there or not.
    pub fn take_dirty_claims(&mut self) -> BTreeSet<ClaimKey> {
        mem::take(&mut self.dirty_claims)
    }

    /// What changes have touched since the last call beside Services.
    pub fn take_dirty_places(&mut self) -> Places {
        mem::take(&mut self.dirty_places)
    }

    /// What parsing found, over all objects.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.values().flatten()
    }

    /// What parsing found in one object.
    pub fn findings_of(&self, subject: &Subject) -> &[Finding] {
        self.findings.get(subject).map_or(&[], Vec::as_slice)
    }

    pub fn services(&self) -> &BTreeMap<ServiceKey, service::Fact> {
        &self.services
    }

    pub fn slices(&self) -> &BTreeMap<SliceKey, endpoints::Fact> {
        &self.slices
    }

    pub fn splits(&self) -> &BTreeMap<SplitKey, split::Fact> {
        &self.splits
    }

    pub fn redirects(&self) -> &BTreeMap<RedirectKey, redirect::Fact> {
        &self.redirects
    }

    pub fn balancings(&self) -> &BTreeMap<BalancingKey, balancing::Fact> {
        &self.balancings
    }

    pub fn grants(&self) -> &BTreeMap<GrantKey, grant::Fact> {
        &self.grants
    }

    pub fn pods(&self) -> &BTreeMap<PodKey, pod::Fact> {
        &self.pods
    }

    pub fn nodes(&self) -> &BTreeMap<NodeKey, node::Fact> {
        &self.nodes
    }

    pub fn namespaces(&self) -> &BTreeMap<NamespaceKey, namespace::Fact> {
        &self.namespaces
    }

    fn set(&mut self, object: Object) {
        let subject = object.subject();
        if object.is_usable() {
            self.unusable.remove(&subject);
        } else {
            self.unusable.insert(subject.clone());
        }
        let findings = match object {
            Object::Service(key, Parsed { fact, findings }) => {
                self.put_service(&key, fact);
                findings
            }
            Object::Slice(key, Parsed { fact, findings }) => {
                self.put_slice(key, fact);
                findings
            }
            Object::Split(key, Parsed { fact, findings }) => {
                self.put_split(&key, fact);
                findings
            }
            Object::Redirect(key, Parsed { fact, findings }) => {
                self.put_redirect(&key, fact);
                findings
            }
            Object::Balancing(key, Parsed { fact, findings }) => {
                self.put_balancing(&key, fact);
                findings
            }
            Object::Grant(key, Parsed { fact, findings }) => {
                self.put_grant(&key, fact);
                findings
            }
            Object::Pod(key, Parsed { fact, findings }) => {
                self.put_pod(&key, fact);
                findings
            }
            Object::Node(key, Parsed { fact, findings }) => {
                self.put_node(&key, fact);
                findings
            }
            Object::Namespace(key, Parsed { fact, findings }) => {
                self.put_namespace(&key, fact);
                findings
            }
        };
        if findings.is_empty() {
            self.findings.remove(&subject);
        } else {
            self.findings.insert(subject, findings);
        }
    }

    fn remove(&mut self, subject: &Subject) {
        self.findings.remove(subject);
        self.unusable.remove(subject);
        let name = subject.name.clone();
        match subject.kind {
            Kind::Service => self.put_service(&ServiceKey(name), None),
            Kind::EndpointSlice => self.put_slice(SliceKey(name), None),
            Kind::TrafficSplit => self.put_split(&SplitKey(name), None),
            Kind::LocalRedirectPolicy => self.put_redirect(&RedirectKey(name), None),
            Kind::BalancingPolicy => self.put_balancing(&BalancingKey(name), None),
            Kind::FrontendGrant => self.put_grant(&GrantKey(name), None),
            Kind::Pod => self.put_pod(&PodKey(name), None),
            Kind::Node => self.put_node(&NodeKey(name), None),
            Kind::Namespace => self.put_namespace(&NamespaceKey(name), None),
        }
    }

    fn subjects(&self, kind: Kind) -> Vec<Subject> {
        let of_kind = |subject: &&Subject| subject.kind == kind;
        let unusable = self.unusable.iter().filter(of_kind).cloned();
        match kind {
            Kind::Service => subjects(&self.services, unusable),
            Kind::EndpointSlice => subjects(&self.slices, unusable),
            Kind::TrafficSplit => subjects(&self.splits, unusable),
            Kind::LocalRedirectPolicy => subjects(&self.redirects, unusable),
            Kind::BalancingPolicy => subjects(&self.balancings, unusable),
            Kind::FrontendGrant => subjects(&self.grants, unusable),
            Kind::Pod => subjects(&self.pods, unusable),
            Kind::Node => subjects(&self.nodes, unusable),
            Kind::Namespace => subjects(&self.namespaces, unusable),
        }
    }
}

fn replace<K: Ord + Clone, F: PartialEq>(
    facts: &mut BTreeMap<K, F>,
    key: &K,
    fact: Option<F>,
) -> Option<Option<F>> {
    if facts.get(key) == fact.as_ref() {
        return None;
    }
    Some(match fact {
        Some(fact) => facts.insert(key.clone(), fact),
        None => facts.remove(key),
    })
}

fn subjects<K: Clone + Into<Subject>, F>(
    facts: &BTreeMap<K, F>,
    unusable: impl Iterator<Item = Subject>,
) -> Vec<Subject> {
    facts
        .keys()
        .cloned()
        .map(Into::into)
        .chain(unusable)
        .collect()
}
