//! Redirects, balancing policies and grants in the index: whose claims a change can decide anew.
//!
//! A claim is touched when its policy changes, and when anything does that it is judged by: the
//! Service that it names, whoever has its address, the grants. That those which it competes with are
//! judged again too is the compiler's to see to.

use std::{collections::BTreeSet, net::IpAddr};

use super::{Index, replace};
use crate::{
    facts::{balancing, endpoints, frontend::Frontend, grant, origin::Origin, redirect, service},
    key::{
        self, BalancingKey, GrantKey, Name, NamespaceKey, RedirectKey, ServiceKey, SliceKey,
        Subject,
    },
};

/// A policy that claims a frontend for itself, by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClaimKey {
    Redirect(RedirectKey),
    Balancing(BalancingKey),
}

impl ClaimKey {
    pub fn name(&self) -> &Name {
        match self {
            Self::Redirect(key) => &key.0,
            Self::Balancing(key) => &key.0,
        }
    }

    /// Whether only one of the two can have a frontend. Of one namespace a redirect and a balancing policy
    /// both can: what does not stay on its node is balanced.
    pub fn competes_with(&self, other: &Self) -> bool {
        let is_redirect = |key: &Self| matches!(key, Self::Redirect(_));
        is_redirect(self) == is_redirect(other)
            || self.name().namespace() != other.name().namespace()
    }
}

impl From<ClaimKey> for Subject {
    fn from(key: ClaimKey) -> Self {
        match key {
            ClaimKey::Redirect(key) => key.into(),
            ClaimKey::Balancing(key) => key.into(),
        }
    }
}

impl Index {
    /// Every policy that claims a frontend.
    pub fn claims(&self) -> impl Iterator<Item = ClaimKey> {
        let redirects = self.redirects.keys().cloned().map(ClaimKey::Redirect);
        let balancings = self.balancings.keys().cloned().map(ClaimKey::Balancing);
        redirects.chain(balancings)
    }

    /// Which object the policy of this name is.
    pub fn origin(&self, key: &ClaimKey) -> Option<&Origin> {
        match key {
            ClaimKey::Redirect(key) => self.redirects.get(key).map(|fact| &fact.origin),
            ClaimKey::Balancing(key) => self.balancings.get(key).map(|fact| &fact.origin),
        }
    }

    pub(super) fn put_redirect(&mut self, key: &RedirectKey, fact: Option<redirect::Fact>) {
        let claim = ClaimKey::Redirect(key.clone());
        let new = fact.as_ref().map(|fact| fact.frontend.clone());
        if let Some(old) = replace(&mut self.redirects, key, fact) {
            self.move_claim(&claim, old.map(|fact| fact.frontend), new);
        }
    }

    pub(super) fn put_balancing(&mut self, key: &BalancingKey, fact: Option<balancing::Fact>) {
        let claim = ClaimKey::Balancing(key.clone());
        let new = fact.as_ref().map(|fact| fact.frontend.clone());
        if let Some(old) = replace(&mut self.balancings, key, fact) {
            for address in old.iter().flat_map(balancing::Fact::addresses) {
                self.backends_at.remove(&address.ip, &claim);
            }
            let now = self.balancings.get(key).into_iter();
            for address in now.flat_map(balancing::Fact::addresses) {
                self.backends_at.add(address.ip, claim.clone());
            }
            self.move_claim(&claim, old.map(|fact| fact.frontend), new);
        }
    }

    /// Grants are few and change seldom, so nobody keeps track of whom one would matter to.
    pub(super) fn put_grant(&mut self, key: &GrantKey, fact: Option<grant::Fact>) {
        if replace(&mut self.grants, key, fact).is_some() {
            self.touch_granted(None);
        }
    }

    /// Whoever takes a grant, of this namespace or of any.
    pub(super) fn touch_granted(&mut self, namespace: Option<&NamespaceKey>) {
        let claims = self.claims_at.values();
        let touched = claims.filter(|claim| {
            namespace.is_none_or(|namespace| claim.name().namespace() == namespace.0.name())
        });
        self.dirty_claims.extend(touched.cloned());
    }

    /// Whoever claims one of these addresses, or has one as a backend.
    pub(super) fn touch_claims_at<'a>(&mut self, addresses: impl IntoIterator<Item = &'a IpAddr>) {
        let at = addresses.into_iter();
        let at = at.flat_map(|ip| self.claims_at.of(ip).iter().chain(self.backends_at.of(ip)));
        self.dirty_claims.extend(at.cloned());
    }

    /// Whoever claims ports of this Service.
    pub(super) fn touch_claims_on(&mut self, service: &ServiceKey) {
        let on = self.claims_on.of(service).iter();
        self.dirty_claims.extend(on.cloned());
    }

    /// Keeps track of the addresses that a Service was given and claims nothing at.
    pub(super) fn move_beside(&mut self, service: &ServiceKey, old: Option<&service::Fact>) {
        let new = self.services.get(service);
        let new = new.map_or(Box::default(), |fact| fact.beside.clone());
        let old = old.map_or(&[][..], |fact| &*fact.beside);
        for ip in old {
            self.beside.remove(ip, service);
        }
        for ip in &new {
            self.beside.add(*ip, service.clone());
        }
        self.touch_claims_at(old.iter().chain(&new));
    }

    /// Whoever claims an address of the API server, if that is what the slice tells.
    pub(super) fn touch_claims_at_api_server(
        &mut self,
        slice: &SliceKey,
        old: Option<&endpoints::Fact>,
    ) {
        let is_api_server = |fact: &&endpoints::Fact| {
            let service = fact.service.as_ref();
            service.is_some_and(ServiceKey::is_api_server)
        };
        let facts = old.into_iter().chain(self.slices.get(slice));
        let endpoints = facts.filter(is_api_server).flat_map(|fact| &fact.endpoints);
        let addresses: Vec<IpAddr> = endpoints.map(|endpoint| endpoint.ip).collect();
        self.touch_claims_at(&addresses);
    }

    /// Services that cluster or cloud gave this address.
    pub(super) fn holders(&self, ip: IpAddr) -> BTreeSet<&ServiceKey> {
        // A Service is there once for each of its ports, and so is whoever wrote the address into one.
        let claimants = self.claimants.between(key::Frontend::all_at(ip));
        let claimants: BTreeSet<&ServiceKey> = claimants.collect();
        let is_own = |key: &&ServiceKey| {
            let fact = self.services.get(key);
            fact.is_some_and(|fact| fact.own_addresses().any(|own| own == ip))
        };
        let holders = claimants.into_iter().filter(is_own);
        holders.chain(self.beside.of(&ip)).collect()
    }

    /// Everybody who may claim a part of this frontend, by the Service or by the address.
    pub(super) fn rivals<'a>(&'a self, frontend: &Frontend) -> Vec<&'a ClaimKey> {
        let mut services: BTreeSet<&ServiceKey> = frontend.service().into_iter().collect();
        let mut addresses: BTreeSet<IpAddr> = frontend.ip().into_iter().collect();
        if let Some(ip) = frontend.ip() {
            services.extend(self.holders(ip));
        }
        let named = frontend.service().and_then(|key| self.services.get(key));
        addresses.extend(named.into_iter().flat_map(service::Fact::own_addresses));
        let on = services.into_iter().flat_map(|key| self.claims_on.of(key));
        let at = addresses.into_iter().flat_map(|ip| self.claims_at.of(&ip));
        on.chain(at).collect()
    }

    fn move_claim(&mut self, claim: &ClaimKey, old: Option<Frontend>, new: Option<Frontend>) {
        // Those at the new one are met when this claim is judged.
        if let Some(frontend) = &old {
            let rivals: Vec<_> = self.rivals(frontend).into_iter().cloned().collect();
            self.dirty_claims.extend(rivals);
        }
        match old {
            Some(Frontend::Service { service, .. }) => self.claims_on.remove(&service, claim),
            Some(Frontend::Address { ip, .. }) => self.claims_at.remove(&ip, claim),
            None => {}
        }
        match new {
            Some(Frontend::Service { service, .. }) => self.claims_on.add(service, claim.clone()),
            Some(Frontend::Address { ip, .. }) => self.claims_at.add(ip, claim.clone()),
            None => {}
        }
        self.dirty_claims.insert(claim.clone());
    }
}
