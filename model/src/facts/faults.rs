//! What is wrong with one policy, gathered while it is parsed.

use std::{collections::BTreeSet, fmt::Display};

use crate::{
    finding::{Finding, Reason},
    key::Subject,
};

pub(super) struct Faults {
    subject: Subject,
    findings: Vec<Finding>,
}

impl Faults {
    pub(super) fn of(subject: impl Into<Subject>) -> Self {
        Self {
            subject: subject.into(),
            findings: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        self.say(Reason::Invalid, field, detail);
    }

    pub(super) fn say(
        &mut self,
        reason: Reason,
        field: impl Into<String>,
        detail: impl Into<String>,
    ) {
        let finding = Finding::new(self.subject.clone(), reason, detail);
        self.findings.push(finding.at(field));
    }

    /// Says so if a list has too few or too many entries, and how many of them to look at: what is too long is
    /// wrong, and costs no more for it.
    pub(super) fn count(&mut self, field: &str, found: usize, least: usize, most: usize) -> usize {
        if (least..=most).contains(&found) {
            return found;
        }
        let detail = match least {
            0 => format!("there are {found}; at most {most} can be"),
            _ => format!("there are {found}; {least} to {most} can be"),
        };
        self.note(field, detail);
        found.min(most)
    }

    /// Says so if an entry is there already.
    pub(super) fn once<T: Ord + Display>(
        &mut self,
        seen: &mut BTreeSet<T>,
        entry: T,
        field: impl FnOnce() -> String,
    ) {
        if seen.contains(&entry) {
            self.note(
                field(),
                format!("{entry:?} is there twice", entry = entry.to_string()),
            );
        } else {
            seen.insert(entry);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }
}
