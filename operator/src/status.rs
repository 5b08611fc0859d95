//! A policy's status, from how it is judged and how far the nodes are: pure, the clock is passed in.
//!
//! A transition time moves only when the condition's status does. So what is wanted twice is the same
//! twice, and nothing is written the second time.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde::Serialize;
use sluice_crds::{
    GrantStatus, PolicyStatus, TrafficSplitStatus, conditions::ConditionType, split::CommandStatus,
};
use sluice_model::{
    condition::{self, Judged, VersionStatus},
    facts::command::Command,
    key::Kind,
    rollup::Standing,
};

/// Longer texts are cut: a status is read by people, and stored many times over.
const LONGEST: usize = 1024;
const LONGEST_COMMAND: usize = 128;

/// The status of a policy of any kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Status {
    Split(Box<TrafficSplitStatus>),
    Claim(PolicyStatus),
    Grant(GrantStatus),
}

impl Status {
    pub fn conditions(&self) -> &[Condition] {
        match self {
            Self::Split(status) => &status.conditions,
            Self::Claim(status) => &status.conditions,
            Self::Grant(status) => &status.conditions,
        }
    }
}

/// What is known of a policy beside how it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub kind: Kind,
    pub generation: Option<i64>,
    pub command: Option<&'a str>,
    pub standing: &'a Standing,
    /// The conditions that are stored.
    pub before: &'a [Condition],
    pub now: Timestamp,
}

/// The status of a policy in this generation.
pub fn of(judged: Judged, known: Known<'_>) -> Status {
    let Known {
        kind,
        generation,
        command,
        standing,
        before,
        now,
    } = known;
    let status = judged.status(standing.obstacle());
    let timed = |condition| timed(condition, generation, before, now);
    let conditions = status.conditions.into_iter();
    match kind {
        Kind::TrafficSplit => Status::Split(Box::new(TrafficSplitStatus {
            observed_generation: generation,
            shares: shares(&status.versions),
            versions: status.versions,
            rollout: None,
            command: command.map(acknowledged),
            nodes: Some(standing.nodes.clone()),
            conditions: conditions.map(timed).collect(),
        })),
        // No node programs a grant.
        Kind::FrontendGrant => Status::Grant(GrantStatus {
            observed_generation: generation,
            conditions: conditions
                .filter(|condition| condition.kind == ConditionType::Accepted)
                .map(timed)
                .collect(),
        }),
        _ => Status::Claim(PolicyStatus {
            observed_generation: generation,
            nodes: Some(standing.nodes.clone()),
            conditions: conditions.map(timed).collect(),
        }),
    }
}

/// What became of a command. There are no rollouts yet, so none is done.
fn acknowledged(text: &str) -> CommandStatus {
    let message = match Command::parse(text) {
        Ok(_) => "there is no rollout: agents cannot program any yet".to_owned(),
        Err(error) => error.to_string(),
    };
    CommandStatus {
        command: text.chars().take(LONGEST_COMMAND).collect(),
        done: false,
        message,
    }
}

/// A table's column shows one value, so here all of them are one.
fn shares(versions: &[VersionStatus]) -> Option<String> {
    let shares = versions.iter();
    let shares = shares.map(|version| format!("{} {}", version.name, version.share));
    let shares: Vec<_> = shares.collect();
    (!shares.is_empty()).then(|| shares.join(", "))
}

fn timed(
    condition: condition::Condition,
    generation: Option<i64>,
    before: &[Condition],
    now: Timestamp,
) -> Condition {
    let condition::Condition {
        kind,
        status,
        reason,
        message,
    } = condition;
    let type_ = kind.name().to_owned();
    let status = if status { "True" } else { "False" }.to_owned();
    let before = before.iter().find(|before| before.type_ == type_);
    let same = before.filter(|before| before.status == status);
    Condition {
        last_transition_time: same.map_or_else(
            || Time(whole_seconds(now)),
            |before| before.last_transition_time.clone(),
        ),
        type_,
        status,
        reason: reason.name().to_owned(),
        message: cut(message),
        observed_generation: generation,
    }
}

/// As the API server keeps it.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn cut(text: String) -> String {
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use sluice_crds::{conditions::Reason, split::NodesStatus};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn judged(accepted: bool, message: &str) -> Judged {
        Judged {
            observed_generation: Some(1),
            versions: Vec::new(),
            accepted: condition::Condition {
                kind: ConditionType::Accepted,
                status: accepted,
                reason: if accepted {
                    Reason::Accepted
                } else {
                    Reason::Conflicted
                },
                message: message.to_owned(),
            },
            resolved: None,
            hindered: (!accepted).then(|| (Reason::Conflicted, String::new())),
        }
    }

    fn everywhere() -> Standing {
        Standing {
            nodes: NodesStatus {
                desired: 1,
                programmed: 1,
                ..NodesStatus::default()
            },
            ..Standing::default()
        }
    }

    fn split(
        judged: Judged,
        standing: &Standing,
        generation: i64,
        before: &[Condition],
        second: Timestamp,
    ) -> TrafficSplitStatus {
        let known = Known {
            kind: Kind::TrafficSplit,
            generation: Some(generation),
            command: None,
            standing,
            before,
            now: second,
        };
        match of(judged, known) {
            Status::Split(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    fn times(status: &TrafficSplitStatus) -> Vec<(&str, &str, i64)> {
        let conditions = status.conditions.iter();
        conditions
            .map(|condition| {
                let time = condition.last_transition_time.0.as_second();
                (condition.type_.as_str(), condition.status.as_str(), time)
            })
            .collect()
    }

    #[test]
    fn a_transition_time_moves_only_with_the_status() {
        let nodes = everywhere();
        let none = Standing::default();
        let first = split(judged(true, ""), &none, 1, &[], at(100));
        assert_eq!(
            times(&first),
            [("Accepted", "True", 100), ("Programmed", "False", 100)]
        );
        let second = split(judged(true, ""), &nodes, 2, &first.conditions, at(200));
        assert_eq!(
            times(&second),
            [("Accepted", "True", 100), ("Programmed", "True", 200)]
        );
        let again = split(judged(true, ""), &nodes, 2, &second.conditions, at(300));
        assert_eq!(again, second, "what is wanted twice is the same");

        let lost = split(judged(false, "b"), &nodes, 2, &again.conditions, at(400));
        assert_eq!(
            times(&lost),
            [("Accepted", "False", 400), ("Programmed", "False", 400)]
        );
        let other = split(judged(false, "c"), &nodes, 2, &lost.conditions, at(500));
        assert_eq!(times(&other), times(&lost), "another text is no transition");
        assert_eq!(other.conditions[0].message, "c");
    }

    #[test]
    fn times_are_whole_seconds_as_they_are_stored() {
        let odd = Timestamp::new(100, 999_999_999).expect("a time");
        let status = split(judged(true, ""), &everywhere(), 1, &[], odd);
        let stored = serde_json::to_value(&status).expect("a status is JSON");
        let read: TrafficSplitStatus = serde_json::from_value(stored).expect("and back");
        assert_eq!(read, status);
    }

    #[test]
    fn each_kind_says_what_its_schema_has() {
        let say = |kind, command| {
            let nodes = everywhere();
            let known = Known {
                kind,
                generation: Some(3),
                command,
                standing: &nodes,
                before: &[],
                now: at(1),
            };
            let status = of(judged(true, ""), known);
            serde_json::to_value(status).expect("a status is JSON")
        };
        let types = |status: &serde_json::Value| -> Vec<String> {
            let conditions = status["conditions"].as_array().into_iter().flatten();
            conditions.map(|c| c["type"].to_string()).collect()
        };
        let grant = say(Kind::FrontendGrant, None);
        assert_eq!(types(&grant), ["\"Accepted\""]);
        assert!(grant.get("nodes").is_none(), "{grant}");
        let redirect = say(Kind::LocalRedirectPolicy, None);
        assert_eq!(types(&redirect), ["\"Accepted\"", "\"Programmed\""]);
        assert_eq!(redirect["nodes"]["programmed"], 1);
        assert_eq!(redirect["conditions"][0]["observedGeneration"], 3);
        let split = say(Kind::TrafficSplit, Some("promote@2.4.1"));
        assert_eq!(split["command"]["command"], "promote@2.4.1");
        assert_eq!(split["command"]["done"], false);
        let wrong = say(Kind::TrafficSplit, Some("explode@now"));
        let message = wrong["command"]["message"].as_str().unwrap_or_default();
        assert!(
            message.contains("promote, pause, resume, abort, retry"),
            "{message}"
        );
    }

    #[test]
    fn a_long_text_is_cut() {
        let status = split(
            judged(false, &"ä".repeat(5000)),
            &everywhere(),
            0,
            &[],
            at(0),
        );
        let message = &status.conditions[0].message;
        assert_eq!(message.chars().count(), LONGEST);
        assert!(message.ends_with('…'));
    }
}
