//! All facts, and who refers to whom: the only long-lived state about the cluster.
//!
//! The index knows which Services a change can touch, and gathers them as *dirty* until a pass
//! takes them. A Service here is a name, whether or not there is an object of it: a split on a
//! missing Service has to be told so. What the index holds depends only on the objects, never on
//! the order in which changes came.

mod references;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use references::References;

use crate::{
    caller::Caller,
    change::{Change, Object},
    facts::{Parsed, endpoints, endpoints::Mark, namespace, node, pod, service, split},
    finding::Finding,
    key::{Frontend, Kind, NamespaceKey, NodeKey, PodKey, ServiceKey, SliceKey, SplitKey, Subject},
};

#[derive(Clone, Debug)]
pub struct Index {
    services: BTreeMap<ServiceKey, service::Fact>,
    slices: BTreeMap<SliceKey, endpoints::Fact>,
    splits: BTreeMap<SplitKey, split::Fact>,
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

    own_node: Option<OwnNode>,
    /// The cgroups of this node's pods, by the pod's uid.
    cgroups: BTreeMap<Arc<str>, u64>,

    awaited: BTreeSet<Kind>,
    dirty: BTreeSet<ServiceKey>,
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

/// The index once every input has listed. Only a snapshot can be compiled, so nothing is deleted
/// from the kernel because a list is still on its way.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    index: &'a Index,
}

impl Index {
    /// An index whose inputs are these kinds; each has to list once before there is a snapshot.
    pub fn awaiting(kinds: impl IntoIterator<Item = Kind>) -> Self {
        Self {
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            splits: BTreeMap::new(),
            pods: BTreeMap::new(),
            nodes: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            unusable: BTreeSet::new(),
            findings: BTreeMap::new(),
            slices_of: References::default(),
            splits_on: References::default(),
            borrowers: References::default(),
            claimants: References::default(),
            own_node: None,
            cgroups: BTreeMap::new(),
            awaited: kinds.into_iter().collect(),
            dirty: BTreeSet::new(),
            dirty_places: Places::default(),
        }
    }

    /// The index of an agent on this node. Without a node, no endpoint is near.
    #[must_use]
    pub fn on_node(mut self, key: NodeKey) -> Self {
        let mark = Mark::of(key.0.name());
        let zone = zone_of(self.nodes.get(&key));
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

    /// The Services that changes have touched since the last call.
    pub fn take_dirty(&mut self) -> BTreeSet<ServiceKey> {
        mem::take(&mut self.dirty)
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
            Kind::Pod => self.put_pod(&PodKey(name), None),
            Kind::Node => self.put_node(&NodeKey(name), None),
            Kind::Namespace => self.put_namespace(&NamespaceKey(name), None),
        }
    }

    fn put_service(&mut self, key: &ServiceKey, fact: Option<service::Fact>) {
        let claims = |fact: Option<&service::Fact>| -> BTreeSet<Frontend> {
            let claims = fact.into_iter().flat_map(service::Fact::claims);
            claims.map(|(_, frontend)| frontend).collect()
        };
        let claimed = claims(fact.as_ref());
        let Some(old) = replace(&mut self.services, key, fact) else {
            return;
        };
        for frontend in claims(old.as_ref()) {
            self.touch_claimants(&frontend);
            self.claimants.remove(&frontend, key);
        }
        for frontend in claimed {
            self.claimants.add(frontend, key.clone());
            self.touch_claimants(&frontend);
        }
        self.touch_endpoints(key);
    }

    fn put_slice(&mut self, key: SliceKey, fact: Option<endpoints::Fact>) {
        let service = fact.as_ref().and_then(|fact| fact.service.clone());
        let Some(old) = replace(&mut self.slices, &key, fact) else {
            return;
        };
        let old_service = old.and_then(|fact| fact.service);
        if old_service != service {
            if let Some(old) = &old_service {
                self.slices_of.remove(old, &key);
                self.touch_endpoints(old);
            }
            if let Some(new) = &service {
                self.slices_of.add(new.clone(), key);
            }
        }
        if let Some(service) = service {
            self.touch_endpoints(&service);
        }
    }

    fn put_split(&mut self, key: &SplitKey, fact: Option<split::Fact>) {
        let Some(old) = replace(&mut self.splits, key, fact) else {
            return;
        };
        if let Some(old) = old {
            self.splits_on.remove(&old.service, key);
            for lender in old.lenders() {
                self.borrowers.remove(lender, key);
            }
            self.dirty.insert(old.service);
        }
        if let Some(new) = self.splits.get(key) {
            self.splits_on.add(new.service.clone(), key.clone());
            for lender in new.lenders() {
                self.borrowers.add(lender.clone(), key.clone());
            }
            self.dirty.insert(new.service.clone());
        }
    }

    fn put_pod(&mut self, key: &PodKey, fact: Option<pod::Fact>) {
        self.dirty_places.callers |= replace(&mut self.pods, key, fact).is_some();
    }

    fn put_node(&mut self, key: &NodeKey, fact: Option<node::Fact>) {
        if replace(&mut self.nodes, key, fact).is_none() {
            return;
        }
        self.dirty_places.nodes = true;
        if let Some(own) = self.own_node.as_mut().filter(|own| own.key == *key) {
            let zone = zone_of(self.nodes.get(key));
            if own.zone != zone {
                own.zone = zone;
                // A node hardly ever moves, so nobody keeps track of whom it would matter to.
                self.dirty.extend(self.services.keys().cloned());
            }
        }
    }

    fn put_namespace(&mut self, key: &NamespaceKey, fact: Option<namespace::Fact>) {
        self.dirty_places.callers |= replace(&mut self.namespaces, key, fact).is_some();
    }

    /// The Service itself and every Service with a split that borrows its endpoints.
    fn touch_endpoints(&mut self, service: &ServiceKey) {
        for split in self.borrowers.of(service) {
            if let Some(split) = self.splits.get(split) {
                self.dirty.insert(split.service.clone());
            }
        }
        self.dirty.insert(service.clone());
    }

    fn touch_claimants(&mut self, frontend: &Frontend) {
        let claimants = self.claimants.of(frontend);
        if claimants.len() > 1 {
            self.dirty.extend(claimants.iter().cloned());
        }
    }

    fn subjects(&self, kind: Kind) -> Vec<Subject> {
        let of_kind = |subject: &&Subject| subject.kind == kind;
        let unusable = self.unusable.iter().filter(of_kind).cloned();
        match kind {
            Kind::Service => subjects(&self.services, unusable),
            Kind::EndpointSlice => subjects(&self.slices, unusable),
            Kind::TrafficSplit => subjects(&self.splits, unusable),
            Kind::Pod => subjects(&self.pods, unusable),
            Kind::Node => subjects(&self.nodes, unusable),
            Kind::Namespace => subjects(&self.namespaces, unusable),
        }
    }
}

impl<'a> Snapshot<'a> {
    pub fn service(self, key: &ServiceKey) -> Option<&'a service::Fact> {
        self.index.services.get(key)
    }

    pub fn split(self, key: &SplitKey) -> Option<&'a split::Fact> {
        self.index.splits.get(key)
    }

    pub fn slices_of(self, service: &ServiceKey) -> impl Iterator<Item = &'a endpoints::Fact> {
        let index = self.index;
        let slices = index.slices_of.of(service).iter();
        slices.filter_map(|key| index.slices.get(key))
    }

    /// Splits whose callers address this Service.
    pub fn splits_on(
        self,
        service: &ServiceKey,
    ) -> impl Iterator<Item = (&'a SplitKey, &'a split::Fact)> {
        let index = self.index;
        let splits = index.splits_on.of(service).iter();
        splits.filter_map(|key| Some((key, index.splits.get(key)?)))
    }

    /// Services that claim this frontend.
    pub fn claimants(
        self,
        frontend: &Frontend,
    ) -> impl Iterator<Item = (&'a ServiceKey, &'a service::Fact)> {
        let index = self.index;
        let claimants = index.claimants.of(frontend).iter();
        claimants.filter_map(|key| Some((key, index.services.get(key)?)))
    }

    pub fn nodes(self) -> impl Iterator<Item = (&'a NodeKey, &'a node::Fact)> {
        self.index.nodes.iter()
    }

    /// The node that this is compiled for.
    pub fn own_node(self) -> Option<&'a NodeKey> {
        self.index.own_node.as_ref().map(|own| &own.key)
    }

    pub fn is_own_node(self, node: Mark) -> bool {
        let own = self.index.own_node.as_ref();
        own.is_some_and(|own| own.mark == node)
    }

    pub fn is_own_zone(self, zone: Mark) -> bool {
        let own = self.index.own_node.as_ref();
        own.is_some_and(|own| own.zone != Mark::NONE && own.zone == zone)
    }

    /// Pods whose cgroup is known, with its id.
    pub fn callers(self) -> impl Iterator<Item = (u64, &'a PodKey, &'a pod::Fact)> {
        let pods = self.index.pods.iter();
        pods.filter_map(move |(key, pod)| Some((self.cgroup_of(pod)?, key, pod)))
    }

    fn cgroup_of(self, pod: &pod::Fact) -> Option<u64> {
        self.index.cgroups.get(pod.uid.as_str()).copied()
    }

    pub fn namespace(self, name: &str) -> Option<&'a namespace::Fact> {
        self.index.namespaces.get(&NamespaceKey::parse("", name)?)
    }

    /// Every Service that is there or that a split stands on.
    pub fn services(self) -> BTreeSet<&'a ServiceKey> {
        let named = self.index.splits_on.keys();
        self.index.services.keys().chain(named).collect()
    }
}

fn zone_of(node: Option<&node::Fact>) -> Mark {
    let zone = node.and_then(|node| node.zone.as_deref());
    Mark::of(zone.unwrap_or_default())
}

/// Puts or removes a fact. `Some` with the old one if anything changed by it.
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
