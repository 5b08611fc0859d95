//! The index as it is compiled.

use std::{collections::BTreeSet, net::IpAddr};

use super::{ClaimKey, Index};
use crate::{
    facts::{
        balancing, endpoints, endpoints::Mark, frontend as policy, grant, namespace, node, pod,
        redirect, service, split,
    },
    key::{
        BalancingKey, Created, Frontend, NamespaceKey, NodeKey, PodKey, RedirectKey, ServiceKey,
        SplitKey,
    },
};

/// The index once every input has listed. Only a snapshot can be compiled, so nothing is deleted
/// from the kernel because a list is still on its way.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    pub(super) index: &'a Index,
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

    /// Splits with a version that this Service lends its endpoints to.
    pub fn borrowers(
        self,
        service: &ServiceKey,
    ) -> impl Iterator<Item = (&'a SplitKey, &'a split::Fact)> {
        let index = self.index;
        let splits = index.borrowers.of(service).iter();
        splits.filter_map(|key| Some((key, index.splits.get(key)?)))
    }

    /// Splits that tell callers apart.
    pub fn splits_with_callers(self) -> impl Iterator<Item = (&'a SplitKey, &'a split::Fact)> {
        let splits = self.index.splits.iter();
        splits.filter(|(_, split)| !split.callers.is_empty())
    }

    /// The frontend that this policy claims and when it was created, if there is one of the name.
    pub fn claim(self, key: &ClaimKey) -> Option<(&'a policy::Frontend, Created)> {
        let frontend = match key {
            ClaimKey::Redirect(key) => &self.redirect(key)?.frontend,
            ClaimKey::Balancing(key) => &self.balancing(key)?.frontend,
        };
        Some((frontend, self.index.origin(key)?.created))
    }

    pub fn redirect(self, key: &RedirectKey) -> Option<&'a redirect::Fact> {
        self.index.redirects.get(key)
    }

    pub fn balancing(self, key: &BalancingKey) -> Option<&'a balancing::Fact> {
        self.index.balancings.get(key)
    }

    /// Every policy that claims a frontend.
    pub fn claims(self) -> impl Iterator<Item = ClaimKey> + 'a {
        self.index.claims()
    }

    /// Everybody who may claim a part of this frontend, by a Service or by an address.
    pub fn rivals(self, frontend: &policy::Frontend) -> Vec<&'a ClaimKey> {
        self.index.rivals(frontend)
    }

    pub fn grants(self) -> impl Iterator<Item = &'a grant::Fact> {
        self.index.grants.values()
    }

    /// Services that cluster or cloud gave this address.
    pub fn holders(self, ip: IpAddr) -> impl Iterator<Item = (&'a ServiceKey, &'a service::Fact)> {
        let index = self.index;
        let holders = index.holders(ip).into_iter();
        holders.filter_map(|key| Some((key, index.services.get(key)?)))
    }

    /// Whether the API server itself is there, as far as its Service's slices tell.
    pub fn is_api_servers(self, ip: IpAddr) -> bool {
        let Some(service) = ServiceKey::of_api_server() else {
            return false;
        };
        let slices = self.slices_of(&service);
        let mut endpoints = slices.flat_map(|slice| &slice.endpoints);
        endpoints.any(|endpoint| endpoint.ip == ip)
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

    /// Nodes that have this address.
    pub fn nodes_at(self, ip: IpAddr) -> impl Iterator<Item = (&'a NodeKey, &'a node::Fact)> {
        let index = self.index;
        let nodes = index.nodes_at.of(&ip).iter();
        nodes.filter_map(|key| Some((key, index.nodes.get(key)?)))
    }

    pub fn nodes(self) -> impl Iterator<Item = (&'a NodeKey, &'a node::Fact)> {
        self.index.nodes.iter()
    }

    /// The node that this is compiled for.
    pub fn own_node(self) -> Option<&'a NodeKey> {
        self.index.own_node.as_ref().map(|own| &own.key)
    }

    /// Whether callers who stay on their node reach what is on this one. Seen from no node in particular, each
    /// endpoint is near to somebody.
    pub fn is_near(self, node: Mark) -> bool {
        self.index.own_node.is_none() || self.is_own_node(node)
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
