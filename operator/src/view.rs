//! Everything that the operator knows, and which policies have to be looked at because of it.
//!
//! A standby keeps it too, so that it can go on at once when it becomes the leader.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use serde::Deserialize;
use serde_json::Value;
use sluice_crds::NodeReportStatus;
use sluice_model::{
    index::Index,
    key::{Kind, NodeKey, ServiceKey, SplitKey, Subject},
    rollup::{Entry, Rollup},
};
use sluice_runtime::watch::{Heard, Trouble, What};

use crate::{
    accept::Accept,
    groups::{self, Deed, Groups, SeenService},
    inputs::{self, SeenNode, SeenPolicy, SeenReport, Stored, Told},
    status::{self, Known, Status},
};

pub struct View {
    index: Index,
    accept: Accept,
    groups: Groups,
    rollup: Rollup,
    stored: BTreeMap<Subject, Box<Stored>>,
    touched: BTreeSet<Subject>,
    reports_listed: bool,
    troubles: BTreeMap<Input, Trouble>,
}

/// A watch, by what it watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Input {
    Facts(Kind),
    Reports,
}

/// A status to be written, and what is known to be there.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub meta: ObjectMeta,
    pub status: Status,
    pub seen: Value,
}

impl Default for View {
    fn default() -> Self {
        Self {
            index: Index::awaiting(inputs::FACTS),
            accept: Accept::default(),
            groups: Groups::default(),
            rollup: Rollup::default(),
            stored: BTreeMap::new(),
            touched: BTreeSet::new(),
            reports_listed: false,
            troubles: BTreeMap::new(),
        }
    }
}

impl View {
    pub fn hear(&mut self, told: Told) {
        match told {
            Told::Facts(told) => self.hear_facts(told.kind, told.what),
            Told::Service(heard) => self.hear_services(heard),
            Told::Node(heard) => self.hear_nodes(heard),
            Told::Policy(kind, heard) => self.hear_policies(kind, heard),
            Told::Report(heard) => self.hear_reports(heard),
        }
    }

    /// Compiles what changed and gives the policies that have to be looked at. None as long as an
    /// input has not listed: what is not known yet would look like what is not there.
    pub fn take_touched(&mut self) -> BTreeSet<Subject> {
        if !self.reports_listed {
            return BTreeSet::new();
        }
        let Some(mut touched) = self.accept.pass(&mut self.index) else {
            return BTreeSet::new();
        };
        touched.append(&mut self.touched);
        touched
    }

    /// The groups that have to be looked at; none as long as an input has not listed.
    pub fn take_touched_groups(&mut self) -> BTreeSet<ServiceKey> {
        let Some(snapshot) = self.index.snapshot() else {
            return BTreeSet::new();
        };
        self.groups.take_touched(snapshot)
    }

    /// Every group that there is or that should be.
    pub fn groups(&self) -> BTreeSet<ServiceKey> {
        let wanted = self.index.splits().values().flat_map(groups::of);
        let wanted = wanted.map(|group| group.service.clone());
        wanted.chain(self.groups.keys().cloned()).collect()
    }

    /// What is to be done with a group.
    pub fn deed(&self, group: &ServiceKey) -> Option<Deed> {
        let uid = |split: &SplitKey| {
            let stored = self.stored.get(&split.clone().into())?;
            stored.meta.uid.as_deref()
        };
        self.groups.deed(self.index.snapshot()?, group, uid)
    }

    /// The status that a policy should have. `None` if there is no such policy.
    pub fn wanted(&self, policy: &Subject, now: Timestamp) -> Option<Wanted> {
        let stored = self.stored.get(policy)?;
        let judged = self.accept.judge(&self.index, policy)?;
        let uid = stored.meta.uid.as_deref().unwrap_or_default();
        let generation = stored.meta.generation;
        let standing = self
            .rollup
            .standing(policy, uid, generation.unwrap_or_default());
        let known = Known {
            kind: policy.kind,
            generation,
            command: stored.command.as_deref(),
            standing: &standing,
            before: &conditions(&stored.status),
            now,
        };
        Some(Wanted {
            meta: stored.meta.clone(),
            status: status::of(judged, known),
            seen: stored.status.clone(),
        })
    }

    /// A write of ours, of which the watch will tell later.
    pub fn note_written(&mut self, policy: &Subject, wanted: &Wanted, version: &str) {
        let Some(stored) = self.stored.get_mut(policy) else {
            return;
        };
        let based_on = &wanted.meta.resource_version;
        if stored.meta.resource_version == *based_on
            && let Ok(status) = serde_json::to_value(&wanted.status)
        {
            stored.meta.resource_version = Some(version.to_owned());
            stored.status = status;
        }
    }

    pub fn policies(&self) -> impl Iterator<Item = &Subject> {
        self.stored.keys()
    }

    /// Why nothing can be said yet.
    pub fn is_complete(&self) -> Result<(), String> {
        let mut awaited: Vec<_> = self.index.awaited().iter().map(Kind::to_string).collect();
        if !self.reports_listed {
            awaited.push("NodeReport".to_owned());
        }
        if awaited.is_empty() {
            return Ok(());
        }
        let mut text = format!("not listed yet: {}", awaited.join(", "));
        for (input, trouble) in &self.troubles {
            text = format!("{text}\nwatch of {}: {}", input.name(), trouble.text);
        }
        Err(text)
    }

    /// The watches that are behind.
    pub fn troubles(&self) -> usize {
        self.troubles.len()
    }

    /// The nodes that should carry Sluice.
    pub fn nodes(&self) -> usize {
        self.rollup.nodes().len()
    }

    fn hear_facts(&mut self, kind: Kind, what: What) {
        match what {
            What::Changes(changes) => {
                for change in changes {
                    self.index.apply(change);
                }
            }
            What::Trouble(trouble) => self.trouble(Input::Facts(kind), trouble),
            What::Well => self.well(Input::Facts(kind)),
        }
    }

    fn hear_services(&mut self, heard: Heard<SeenService>) {
        self.groups.hear(&heard);
        let told = sluice_runtime::watch::Told::of(Kind::Service, heard.map(|seen| seen.object));
        self.hear_facts(told.kind, told.what);
    }

    fn hear_nodes(&mut self, heard: Heard<SeenNode>) {
        let mut moved = false;
        match &heard {
            Heard::Listed(nodes) => {
                let there: BTreeSet<_> = nodes.iter().map(|node| &node.key).collect();
                let gone: Vec<NodeKey> = self.rollup.nodes().cloned().collect();
                for node in gone.into_iter().filter(|node| !there.contains(node)) {
                    moved |= self.rollup.set_node(node, None);
                }
                for node in nodes {
                    moved |= self.rollup.set_node(node.key.clone(), node.should.clone());
                }
            }
            Heard::Set(node) => moved = self.rollup.set_node(node.key.clone(), node.should.clone()),
            Heard::Gone(name) => moved = self.rollup.set_node(NodeKey(name.clone()), None),
            Heard::Trouble(_) | Heard::Well => {}
        }
        if moved {
            self.touched.extend(self.stored.keys().cloned());
        }
        let told = sluice_runtime::watch::Told::of(Kind::Node, heard.map(|node| node.object));
        self.hear_facts(told.kind, told.what);
    }

    fn hear_policies(&mut self, kind: Kind, heard: Heard<SeenPolicy>) {
        match &heard {
            Heard::Listed(policies) => {
                let before = self.stored.keys().filter(|policy| policy.kind == kind);
                let before: Vec<_> = before.cloned().collect();
                for policy in before {
                    self.forget(&policy);
                }
                for policy in policies {
                    self.keep(policy);
                }
            }
            Heard::Set(policy) => self.keep(policy),
            Heard::Gone(name) => {
                let name = name.clone();
                self.forget(&Subject { kind, name });
            }
            Heard::Trouble(_) | Heard::Well => {}
        }
        let told = sluice_runtime::watch::Told::of(kind, heard.map(|policy| policy.object));
        self.hear_facts(told.kind, told.what);
    }

    fn keep(&mut self, policy: &SeenPolicy) {
        let subject = policy.subject.clone();
        self.stored.insert(subject.clone(), policy.stored.clone());
        self.note_split(&subject);
        self.touched.insert(subject);
    }

    fn forget(&mut self, policy: &Subject) {
        self.stored.remove(policy);
        self.note_split(policy);
    }

    fn note_split(&mut self, policy: &Subject) {
        if policy.kind == Kind::TrafficSplit {
            self.groups.hear_split(SplitKey(policy.name.clone()));
        }
    }

    fn hear_reports(&mut self, heard: Heard<SeenReport>) {
        match heard {
            Heard::Listed(reports) => {
                let there: BTreeSet<_> = reports.iter().map(|report| report.node.clone()).collect();
                let gone: Vec<_> = self.rollup.reporters().cloned().collect();
                for node in gone.into_iter().filter(|node| !there.contains(node)) {
                    self.hear_report(&node, None);
                }
                for SeenReport { node, report } in reports {
                    self.hear_report(&node, report.as_deref());
                }
                self.reports_listed = true;
            }
            Heard::Set(SeenReport { node, report }) => self.hear_report(&node, report.as_deref()),
            Heard::Gone(name) => self.hear_report(&NodeKey(name), None),
            Heard::Trouble(trouble) => self.trouble(Input::Reports, trouble),
            Heard::Well => self.well(Input::Reports),
        }
    }

    fn hear_report(&mut self, node: &NodeKey, report: Option<&NodeReportStatus>) {
        let boot = report.map_or("", |report| &report.boot);
        let entries = report.map(Entry::all_of).into_iter().flatten();
        self.touched.extend(self.rollup.hear(node, boot, entries));
    }

    fn trouble(&mut self, input: Input, trouble: Trouble) {
        if self.troubles.get(&input) != Some(&trouble) {
            tracing::warn!(
                input = input.name(),
                problem = trouble.text,
                "a watch is behind"
            );
        }
        self.troubles.insert(input, trouble);
    }

    fn well(&mut self, input: Input) {
        if self.troubles.remove(&input).is_some() {
            tracing::info!(input = input.name(), "a watch is up to date again");
        }
    }
}

impl Input {
    pub fn name(self) -> String {
        match self {
            Self::Facts(kind) => kind.to_string(),
            Self::Reports => "NodeReport".to_owned(),
        }
    }
}

/// The conditions of a stored status; those that make no sense are replaced.
pub fn conditions(status: &Value) -> Vec<Condition> {
    let conditions = status.get("conditions").and_then(Value::as_array);
    let conditions = conditions.into_iter().flatten();
    conditions
        .filter_map(|condition| Condition::deserialize(condition).ok())
        .collect()
}
