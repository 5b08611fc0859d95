//! Redirects, balancing policies and grants in the index: whose claims a change can decide anew.
//!
//! A claim is touched when its policy changes, and when anything does that it is judged by: the
//! Service that it names, whoever has its address, the grants. That those which it competes with are
//! judged again too is the compiler's to see to.

use std::{collections::BTreeSet, net::IpAddr};

use super::{Index, replace};
use crate::{
    facts::{balancing, frontend::Frontend, grant, origin::Origin, redirect, service},
    key::{self, BalancingKey, GrantKey, Name, NamespaceKey, RedirectKey, ServiceKey, Subject},
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

    /// Whether both are of one kind: only then they compete.
    pub fn is_like(&self, other: &Self) -> bool {
        matches!(
            (self, other),
            (Self::Redirect(_), Self::Redirect(_)) | (Self::Balancing(_), Self::Balancing(_))
        )
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

    /// Whoever claims one of these addresses.
    pub(super) fn touch_claims_at<'a>(&mut self, addresses: impl IntoIterator<Item = &'a IpAddr>) {
        let at = addresses.into_iter().flat_map(|ip| self.claims_at.of(ip));
        self.dirty_claims.extend(at.cloned());
    }

    /// Whoever claims ports of this Service.
    pub(super) fn touch_claims_on(&mut self, service: &ServiceKey) {
        let on = self.claims_on.of(service).iter();
        self.dirty_claims.extend(on.cloned());
    }

    /// Everybody who may claim a part of this frontend, by the Service or by the address.
    pub(super) fn rivals<'a>(&'a self, frontend: &Frontend) -> Vec<&'a ClaimKey> {
        let mut services: BTreeSet<&ServiceKey> = frontend.service().into_iter().collect();
        let mut addresses: BTreeSet<IpAddr> = frontend.ip().into_iter().collect();
        if let Some(ip) = frontend.ip() {
            services.extend(self.claimants.between(key::Frontend::all_at(ip)));
        }
        let claimed = frontend.service().and_then(|key| self.services.get(key));
        let claimed = claimed.into_iter().flat_map(service::Fact::claims);
        addresses.extend(claimed.map(|(_, frontend)| frontend.ip));
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
