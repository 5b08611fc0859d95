//! Events about policies: few, of things that a person may want to act on, with the conditions' reasons.

use std::{error::Error, time::Duration};

use k8s_openapi::{
    api::core::v1::ObjectReference,
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta},
};
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use sluice_crds::{
    GROUP, VERSION,
    conditions::{ConditionType, Reason},
};
use sluice_model::key::Kind;
use tokio::time::timeout;
use tracing::debug;

/// The largest text that an event takes.
const LONGEST: usize = 1024;

/// What comes after the event is held up for no longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Publishes events in the name of this operator.
#[derive(Clone)]
pub struct Events(Recorder);

/// What happened to one condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    pub is_bad: bool,
    pub about: ConditionType,
    pub reason: String,
    pub note: String,
}

impl Events {
    pub fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter {
            controller: "sluice.dev/operator".to_owned(),
            instance: Some(identity.to_owned()),
        };
        Self(Recorder::new(client, reporter))
    }

    /// An event that cannot be published is not worth a second try, nor a long wait.
    pub async fn publish(&self, kind: Kind, of: &ObjectMeta, happenings: Vec<Happening>) {
        for happening in happenings {
            let event = Event {
                type_: if happening.is_bad {
                    EventType::Warning
                } else {
                    EventType::Normal
                },
                reason: happening.reason,
                note: Some(happening.note.chars().take(LONGEST).collect()),
                action: happening.about.name().to_owned(),
                secondary: None,
            };
            match timeout(PATIENCE, self.0.publish(&event, &reference(kind, of))).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(error = &error as &dyn Error, "an event is lost"),
                Err(_) => debug!("an event is lost: the API server does not answer"),
            }
        }
    }
}

fn reference(kind: Kind, of: &ObjectMeta) -> ObjectReference {
    ObjectReference {
        api_version: Some(format!("{GROUP}/{VERSION}")),
        kind: Some(kind.to_string()),
        name: of.name.clone(),
        namespace: of.namespace.clone(),
        uid: of.uid.clone(),
        ..ObjectReference::default()
    }
}

/// What is worth telling about the way from some conditions to others.
pub fn between(before: &[Condition], after: &[Condition]) -> Vec<Happening> {
    let accepted = change(ConditionType::Accepted, before, after);
    let accepted = accepted.filter(|(before, after)| match *before {
        Some(before) => !is_true(after) || !is_true(before),
        None => !is_true(after),
    });
    let programmed = change(ConditionType::Programmed, before, after);
    let programmed = programmed.filter(|(_, after)| {
        // That nodes are pending is how every change begins, and what Accepted says is said already.
        is_true(after) || after.reason == Reason::NodeFailed.name()
    });
    let told = [
        (ConditionType::Accepted, accepted),
        (ConditionType::Programmed, programmed),
    ];
    told.into_iter()
        .filter_map(|(about, told)| {
            let (_, after) = told?;
            Some(Happening {
                is_bad: !is_true(after),
                about,
                reason: after.reason.clone(),
                note: if after.message.is_empty() {
                    format!("{} in generation {}", after.type_, generation(after))
                } else {
                    after.message.clone()
                },
            })
        })
        .collect()
}

/// The condition before and after, if its status or its reason is another.
fn change<'a>(
    kind: ConditionType,
    before: &'a [Condition],
    after: &'a [Condition],
) -> Option<(Option<&'a Condition>, &'a Condition)> {
    let of_kind = |condition: &&Condition| condition.type_ == kind.name();
    let before = before.iter().find(of_kind);
    let after = after.iter().find(of_kind)?;
    let same = before
        .is_some_and(|before| (&before.status, &before.reason) == (&after.status, &after.reason));
    (!same).then_some((before, after))
}

fn is_true(condition: &Condition) -> bool {
    condition.status == "True"
}

fn generation(condition: &Condition) -> i64 {
    condition.observed_generation.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

    use super::*;

    fn conditions(texts: &[(&str, &str, &str)]) -> Vec<Condition> {
        let condition = |(type_, status, reason): &(&str, &str, &str)| Condition {
            type_: (*type_).to_owned(),
            status: (*status).to_owned(),
            reason: (*reason).to_owned(),
            message: String::new(),
            observed_generation: Some(3),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        };
        texts.iter().map(condition).collect()
    }

    #[test]
    fn few_things_are_worth_an_event() {
        let accepted = ("Accepted", "True", "Accepted");
        let conflicted = ("Accepted", "False", "Conflicted");
        let invalid = ("Accepted", "False", "Invalid");
        let programmed = ("Programmed", "True", "Programmed");
        let pending = ("Programmed", "False", "NodesPending");
        let failed = ("Programmed", "False", "NodeFailed");
        for (before, after, told) in [
            (&[][..], &[accepted, pending][..], &[][..]),
            (
                &[accepted, pending],
                &[accepted, programmed],
                &["Programmed"],
            ),
            (&[accepted, programmed], &[accepted, programmed], &[]),
            (&[accepted, programmed], &[accepted, pending], &[]),
            (&[accepted, pending], &[accepted, failed], &["!NodeFailed"]),
            (&[accepted, failed], &[accepted, failed], &[]),
            (&[], &[conflicted], &["!Conflicted"]),
            (&[conflicted], &[conflicted], &[]),
            (&[conflicted], &[invalid], &["!Invalid"]),
            (
                &[conflicted, pending],
                &[accepted, programmed],
                &["Accepted", "Programmed"],
            ),
        ] {
            let happenings = between(&conditions(before), &conditions(after));
            let happenings: Vec<_> = happenings
                .iter()
                .map(|h| format!("{}{}", if h.is_bad { "!" } else { "" }, h.reason))
                .collect();
            assert_eq!(happenings, told, "{before:?} to {after:?}");
        }
    }
}
