//! One turn of the wheel: from what changed to a plan.
//!
//! [`State`] is the wanted side: what is desired, its image, and where the maps are known to
//! differ. The caller owns the observed image and moves it by running the plan; then it says how
//! that went with [`State::finish`]. After a plan that was not finished, the next pass looks at
//! everything.

mod lifeline;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use crate::{
    caller::Caller,
    claims::Judgements,
    compile::{self, Compiled},
    condition::{self, SplitStatus},
    desired::{Desired, Service},
    explain::{self, Explanation},
    finding::{self, Finding, Reason},
    ids::{Capacities, Full},
    image::{Image, Place},
    index::{ClaimKey, Index, Places, Snapshot},
    key::{Frontend, Kind, ServiceKey, SplitKey, Subject},
    lower::{Lowered, Measured},
    plan::{self, Outcome, Plan},
};
use lifeline::Before;

#[derive(Clone, Debug)]
pub struct State {
    desired: Desired,
    /// What compiling found, by the Service that was compiled.
    findings: BTreeMap<ServiceKey, Vec<Finding>>,
    claims: Judgements,
    /// Services that found no room. They stay as they were.
    refused: BTreeMap<ServiceKey, Full>,
    /// Not every address of a node found room.
    refused_nodes: Option<Finding>,
    /// Not every pod that is to be told apart found room.
    refused_callers: Option<Finding>,
    /// Not every pod that is in a class of callers found room.
    refused_classes: Option<Finding>,
    lowered: Lowered,
    unsettled: BTreeSet<Place>,
    /// The last pass gave something back that a refused Service may find room in.
    gave_back: bool,
    /// The next pass looks at everything instead of at what changed.
    everything: bool,
    /// A plan was made, and nobody has said yet how it went.
    unfinished: bool,
}

/// What a pass wants to be done, and how much it looked at.
#[derive(Clone, Debug)]
pub struct Pass {
    pub plan: Plan,
    /// Services that were compiled.
    pub compiled: usize,
    /// Those of them that came out different.
    pub changed: usize,
}

/// What a Service becomes; nothing, if it has no frontend any more.
type Change = (ServiceKey, Option<Arc<Service>>);

impl State {
    /// For maps that are empty.
    pub fn new(capacities: Capacities) -> Self {
        Self::with(Lowered::new(capacities))
    }

    /// For maps that hold what an earlier process left: Services get their ids back.
    pub fn restore(capacities: Capacities, observed: &Image) -> Self {
        Self::with(Lowered::restore(capacities, observed))
    }

    fn with(lowered: Lowered) -> Self {
        Self {
            desired: Desired::default(),
            findings: BTreeMap::new(),
            claims: Judgements::default(),
            refused: BTreeMap::new(),
            refused_nodes: None,
            refused_callers: None,
            refused_classes: None,
            lowered,
            unsettled: BTreeSet::new(),
            gave_back: false,
            everything: true,
            unfinished: false,
        }
    }

    /// The next pass compiles every Service and compares every place: after the maps were read
    /// again.
    pub fn look_at_everything(&mut self) {
        self.everything = true;
    }

    /// `None` as long as an input has not listed: nothing is written before.
    pub fn pass(&mut self, index: &mut Index, observed: &Image) -> Option<Pass> {
        index.snapshot()?;
        self.everything |= self.unfinished;
        let settled = !self.everything && self.unsettled.is_empty();
        let room = self.lowered.reclaim(observed, settled);
        let mut services = index.take_dirty();
        if room {
            services.extend(self.refused.keys().cloned());
        }
        let mut places = index.take_dirty_places();
        if self.everything {
            places = Places {
                nodes: true,
                callers: true,
            };
        }
        let claims = index.take_dirty_claims();
        let snapshot = index.snapshot()?;
        self.claims.pass(snapshot, claims, self.everything);
        if self.everything {
            services.extend(snapshot.services().into_iter().cloned());
            services.extend(self.desired.services.keys().cloned());
        }
        let compiled = services.len();
        let changes = self.compile(snapshot, services, observed);
        let changed = changes.len();
        if self.everything {
            self.lowered
                .note_misled(observed, observed.frontends.keys());
        } else {
            let unsettled = self.unsettled.iter().filter_map(Place::frontend);
            self.lowered.note_misled(observed, unsettled);
            self.lowered.note_changes();
        }
        self.lower(changes);
        self.lower_places(snapshot, places);
        self.lowered.forget_restored();
        let plan = self.plan(observed);
        self.unfinished = true;
        Some(Pass {
            plan,
            compiled,
            changed,
        })
    }

    /// What becomes of these Services, where it is something else than before.
    fn compile(
        &mut self,
        snapshot: Snapshot<'_>,
        services: BTreeSet<ServiceKey>,
        observed: &Image,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for key in services {
            let Compiled { service, findings } = compile::service(snapshot, &key);
            if findings.is_empty() {
                self.findings.remove(&key);
            } else {
                self.findings.insert(key.clone(), findings);
            }
            let known = self.desired.services.get(&key);
            let before = match known {
                None if self.lowered.is_restoring() => Before::Held(observed),
                known => Before::Wanted(known.map(Arc::as_ref)),
            };
            let service = lifeline::keep(&key, service, before);
            if known != service.as_ref() || self.refused.contains_key(&key) {
                changes.push((key, service));
            }
        }
        changes
    }

    /// How the plan of the last pass went.
    pub fn finish<E>(&mut self, outcome: &Outcome<E>) {
        self.unsettled.clone_from(&outcome.unsettled);
        self.unfinished = false;
    }

    /// Whether another pass has something to do even when nothing changes: writes to try again, or
    /// room that has become free for a Service that found none.
    pub fn wants_pass(&self) -> bool {
        self.everything || !self.unsettled.is_empty() || self.gave_back && !self.refused.is_empty()
    }

    pub fn desired(&self) -> &Desired {
        &self.desired
    }

    /// The whole wanted image.
    pub fn image(&self) -> &Image {
        self.lowered.image()
    }

    /// Where the maps are known to differ from the wanted image.
    pub fn unsettled(&self) -> &BTreeSet<Place> {
        &self.unsettled
    }

    /// What compiling and lowering found. What parsing found is in the index.
    pub fn findings(&self) -> impl Iterator<Item = Finding> {
        let refused = self.refused.iter().map(|(key, full)| no_room(key, *full));
        let refused = refused.chain(self.refused_nodes.clone());
        let refused = refused.chain(self.refused_callers.clone());
        let refused = refused.chain(self.refused_classes.clone());
        let found = self.findings.values().flatten();
        let found = found.chain(self.claims.findings()).cloned();
        found.chain(refused)
    }

    /// Services that have not become what they should: no room, or a write failed.
    pub fn lagging(&self) -> BTreeSet<ServiceKey> {
        let services = self.desired.services.keys();
        services
            .filter(|key| self.is_lagging(key))
            .cloned()
            .collect()
    }

    fn is_lagging(&self, service: &ServiceKey) -> bool {
        let mut fronts = self.lowered.fronts(service);
        self.refused.contains_key(service)
            || !self.unsettled.is_empty() && fronts.any(|place| self.unsettled.contains(&place))
    }

    /// What of splits the kernel counts, and the index of the counter.
    pub fn measured(&self) -> impl Iterator<Item = (u32, Measured)> {
        self.lowered.measured()
    }

    /// What becomes of this caller's connect to this address.
    pub fn explain(&self, caller: Caller, frontend: Frontend) -> Explanation {
        explain::explain(&self.desired, caller, frontend)
    }

    /// What would be a split's status. `None` if there is no such split.
    pub fn split_status(&self, index: &Index, key: &SplitKey) -> Option<SplitStatus> {
        let subject = Subject::from(key.clone());
        let mut findings: Vec<&Finding> = index.findings_of(&subject).iter().collect();
        let Some(fact) = index.splits().get(key) else {
            return (!findings.is_empty()).then(|| condition::unusable(&findings));
        };
        let compiled = self.findings.get(&fact.service);
        findings.extend(
            compiled
                .into_iter()
                .flat_map(|found| finding::about(found, &subject)),
        );
        let service = self.desired.services.get(&fact.service);
        let refused = self.refused.get(&fact.service);
        let refused = refused.map(|full| no_room(&fact.service, *full));
        let lagging = self.is_lagging(&fact.service);
        Some(condition::of_split(
            key,
            fact,
            service.map(Arc::as_ref),
            &findings,
            refused.as_ref(),
            lagging,
        ))
    }

    /// What became of a policy that claims a frontend. `None` if there is no such policy.
    pub fn claim_status(&self, index: &Index, key: &ClaimKey) -> Option<SplitStatus> {
        let judged = self.claims.judge(index, key)?;
        Some(judged.status(None))
    }

    /// The splits that have a status.
    pub fn splits(&self, index: &Index) -> BTreeSet<SplitKey> {
        let unusable = index.findings().filter_map(|finding| {
            let Subject { kind, name } = &finding.subject;
            (*kind == Kind::TrafficSplit).then(|| SplitKey(name.clone()))
        });
        index.splits().keys().cloned().chain(unusable).collect()
    }

    /// What goes comes first, so that it makes room for the frontends of what comes.
    fn lower(&mut self, changes: Vec<Change>) {
        self.gave_back = false;
        let (going, coming): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .partition(|(_, service)| service.is_none());
        for (key, service) in going.into_iter().chain(coming) {
            match self.lowered.set(&key, service.as_deref()) {
                Ok(()) => {
                    self.refused.remove(&key);
                    self.gave_back |= self.desired.services.contains_key(&key);
                }
                Err(full) => {
                    self.refused.insert(key.clone(), full);
                }
            }
            match service {
                Some(service) => self.desired.services.insert(key, service),
                None => self.desired.services.remove(&key),
            };
        }
    }

    fn lower_places(&mut self, snapshot: Snapshot<'_>, dirty: Places) {
        if dirty.nodes {
            let nodes = compile::places::nodes(snapshot);
            let refused = self.lowered.set_nodes(&nodes).err();
            let last = snapshot.nodes().last();
            self.refused_nodes = refused.zip(last).map(|(full, (node, _))| {
                let Full { map, capacity } = full;
                let detail =
                    format!("the map {map} holds {capacity} addresses of nodes, not all of them");
                Finding::new(node.clone(), Reason::CapacityExceeded, detail)
            });
            self.desired.nodes = nodes;
        }
        if dirty.callers {
            let callers = compile::places::callers(snapshot);
            let refused = self.lowered.set_callers(&callers).err();
            let last = snapshot.callers().last();
            self.refused_callers = refused.zip(last).map(|(full, (_, pod, _))| {
                let Full { map, capacity } = full;
                let detail = format!("the map {map} holds {capacity} pods, not all of them");
                Finding::new(pod.clone(), Reason::CapacityExceeded, detail)
            });
            self.desired.callers = callers;
        }
        if dirty.callers || self.lowered.wants_classes() {
            let refused = self.lowered.set_classes(&self.desired.callers).err();
            let last = snapshot.callers().last();
            self.refused_classes = refused.zip(last).map(|(full, (_, pod, _))| {
                let Full { map, capacity } = full;
                let detail = format!(
                    "the map {map} holds {capacity} rows, too few for every pod in a class of callers"
                );
                Finding::new(pod.clone(), Reason::CapacityExceeded, detail)
            });
        }
    }

    fn plan(&mut self, observed: &Image) -> Plan {
        let mut places = self.lowered.take_changes();
        if mem::take(&mut self.everything) {
            self.unsettled.clear();
            return plan::diff(observed, self.lowered.image());
        }
        places.append(&mut self.unsettled);
        plan::between(observed, self.lowered.image(), &places)
    }
}

fn no_room(service: &ServiceKey, full: Full) -> Finding {
    let Full { map, capacity } = full;
    let detail = format!("the map {map} holds {capacity} entries, and there is no room for it");
    Finding::new(service.clone(), Reason::CapacityExceeded, detail)
}
