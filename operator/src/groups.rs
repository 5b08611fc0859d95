//! Groups: one headless Service for each version of a split by `pods`, so that Kubernetes itself looks for its pods.
//!
//! A group follows its split and the split's Service, and goes with the version; with the split itself the garbage
//! collector takes it. A Service that has the name of a group and is not the split's is never written or removed.

mod seen;
mod wanted;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use k8s_openapi::{api::core::v1::Service, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use sluice_model::{
    facts::{
        group::Group,
        split::{self, Source},
    },
    index::Snapshot,
    key::{ServiceKey, SplitKey},
};
use sluice_runtime::watch::Heard;

pub use seen::{Seen, SeenService, read};
use wanted::Owner;

/// What there is of groups, and whose they are.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    seen: BTreeMap<ServiceKey, Box<Seen>>,
    /// Groups that there are, by their split.
    of: BTreeMap<SplitKey, BTreeSet<ServiceKey>>,
    changed_services: BTreeSet<ServiceKey>,
    changed_splits: BTreeSet<SplitKey>,
}

/// What is to be done with a group's Service.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    Write(Box<Service>),
    Remove(Box<ObjectMeta>),
}

impl Groups {
    pub fn hear(&mut self, heard: &Heard<SeenService>) {
        match heard {
            Heard::Listed(services) => {
                let there: BTreeSet<_> = services.iter().map(|service| &service.key).collect();
                let gone: Vec<_> = self.seen.keys().cloned().collect();
                for key in gone.iter().filter(|key| !there.contains(key)) {
                    self.put(key, None);
                }
                for service in services {
                    self.put(&service.key, Some(&service.service));
                }
            }
            Heard::Set(service) => self.put(&service.key, Some(&service.service)),
            Heard::Gone(name) => self.put(&ServiceKey(name.clone()), None),
            Heard::Trouble(_) | Heard::Well => {}
        }
    }

    /// A split is another one than before, or is gone.
    pub fn hear_split(&mut self, split: SplitKey) {
        self.changed_splits.insert(split);
    }

    /// The groups that have to be looked at because of what was heard.
    pub fn take_touched(&mut self, snapshot: Snapshot<'_>) -> BTreeSet<ServiceKey> {
        let mut touched = BTreeSet::new();
        let mut splits = mem::take(&mut self.changed_splits);
        for service in mem::take(&mut self.changed_services) {
            splits.extend(snapshot.splits_on(&service).map(|(split, _)| split.clone()));
            touched.insert(service);
        }
        for split in splits {
            touched.extend(self.of.get(&split).into_iter().flatten().cloned());
            let fact = snapshot.split(&split);
            let groups = fact.into_iter().flat_map(of);
            touched.extend(groups.map(|group| group.service.clone()));
        }
        touched.retain(|service| self.is_group(service) || asking(snapshot, service).is_some());
        touched
    }

    /// Every group that there is.
    pub fn keys(&self) -> impl Iterator<Item = &ServiceKey> {
        self.of.values().flatten()
    }

    /// What is to be done with the Service of this name. `uid` gives that of a split as it is stored.
    pub fn deed<'a>(
        &self,
        snapshot: Snapshot<'_>,
        service: &ServiceKey,
        uid: impl Fn(&SplitKey) -> Option<&'a str>,
    ) -> Option<Deed> {
        let seen = self.seen.get(service).map(AsRef::as_ref);
        if seen.is_some_and(|seen| seen.goes) {
            return None;
        }
        let Some((split, fact, group)) = asking(snapshot, service) else {
            let seen = seen?;
            // A split that does not parse keeps what it has; one that is gone is the garbage collector's.
            snapshot.split(&seen.split(service)?)?;
            return Some(Deed::Remove(Box::new(seen.identity(service))));
        };
        let parent = self.seen.get(&fact.service)?;
        let selects = &snapshot.service(&fact.service)?.selects;
        let owner = Owner {
            split,
            uid: uid(split)?,
        };
        let wanted = wanted::service(owner, group, selects, parent);
        let Some(seen) = seen else {
            return wanted.map(|wanted| Deed::Write(Box::new(wanted)));
        };
        if seen.split(service).as_ref() != Some(split) {
            return None;
        }
        match wanted {
            Some(wanted) if seen.is_as(&wanted) => None,
            Some(mut wanted) if seen.can_become(&wanted) => {
                wanted.metadata.uid = seen.identity(service).uid;
                Some(Deed::Write(Box::new(wanted)))
            }
            _ => Some(Deed::Remove(Box::new(seen.identity(service)))),
        }
    }

    fn put(&mut self, key: &ServiceKey, seen: Option<&Seen>) {
        let before = match seen {
            Some(seen) => self.seen.insert(key.clone(), Box::new(seen.clone())),
            None => self.seen.remove(key),
        };
        if let Some(split) = before.and_then(|before| before.split(key))
            && let Some(groups) = self.of.get_mut(&split)
        {
            groups.remove(key);
            if groups.is_empty() {
                self.of.remove(&split);
            }
        }
        if let Some(split) = seen.and_then(|seen| seen.split(key)) {
            self.of.entry(split).or_default().insert(key.clone());
        }
        self.changed_services.insert(key.clone());
    }

    fn is_group(&self, service: &ServiceKey) -> bool {
        let seen = self.seen.get(service);
        seen.is_some_and(|seen| seen.split(service).is_some())
    }
}

/// The groups that a split wants.
pub fn of(split: &split::Fact) -> impl Iterator<Item = &Group> {
    split
        .versions
        .iter()
        .filter_map(|version| match &version.source {
            Source::Pods(group) => Some(group),
            Source::Service(_) => None,
        })
}

/// The split that wants a group of this name.
fn asking<'a>(
    snapshot: Snapshot<'a>,
    service: &ServiceKey,
) -> Option<(&'a SplitKey, &'a split::Fact, &'a Group)> {
    snapshot.borrowers(service).find_map(|(split, fact)| {
        let mut groups = of(fact);
        let group = groups.find(|group| group.service == *service)?;
        Some((split, fact, group))
    })
}
