//! Services and their endpoints in the index: which Services a change of one touches.
//!
//! The one place where the past matters: the API server's own Service is not taken away.

use std::collections::BTreeSet;

use super::{Index, replace};
use crate::{
    facts::{endpoints, service},
    key::{Frontend, ServiceKey, SliceKey},
};

impl Index {
    pub(super) fn put_service(&mut self, key: &ServiceKey, fact: Option<service::Fact>) {
        // Whoever is to tell of the next one may be reached by it alone; the API server makes it anew.
        if fact.is_none() && key.is_api_server() {
            return;
        }
        let claims = |fact: Option<&service::Fact>| -> BTreeSet<Frontend> {
            let claims = fact.into_iter().flat_map(service::Fact::claims);
            claims.map(|(_, frontend)| frontend).collect()
        };
        let claimed = claims(fact.as_ref());
        let Some(old) = replace(&mut self.services, key, fact) else {
            return;
        };
        self.move_beside(key, old.as_ref());
        for frontend in claims(old.as_ref()) {
            self.touch_claimants(&frontend);
            self.claimants.remove(&frontend, key);
        }
        for frontend in claimed {
            self.claimants.add(frontend, key.clone());
            self.touch_claimants(&frontend);
        }
        self.touch_claims_on(key);
        self.touch_endpoints(key);
    }

    pub(super) fn put_slice(&mut self, key: SliceKey, fact: Option<endpoints::Fact>) {
        let service = fact.as_ref().and_then(|fact| fact.service.clone());
        let Some(old) = replace(&mut self.slices, &key, fact) else {
            return;
        };
        self.touch_claims_at_api_server(&key, old.as_ref());
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
            let on = claimants
                .iter()
                .flat_map(|service| self.claims_on.of(service));
            self.dirty_claims.extend(on.cloned());
        }
        self.touch_claims_at([&frontend.ip]);
    }
}
