//! A split's status, from how it is judged and how far the nodes are: pure, the clock is passed in.
//!
//! A transition time moves only when the condition's status does. So what is wanted twice is the same
//! twice, and nothing is written the second time.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use sluice_crds::TrafficSplitStatus;
use sluice_model::{
    condition::{self, Judged, VersionStatus},
    rollup::Standing,
};

/// Longer texts are cut: a status is read by people, and stored many times over.
const LONGEST: usize = 1024;

/// The status of a split in this generation.
pub fn of(
    judged: Judged,
    standing: &Standing,
    generation: Option<i64>,
    before: &[Condition],
    now: Timestamp,
) -> TrafficSplitStatus {
    let status = judged.status(standing.obstacle());
    let conditions = status.conditions.into_iter();
    TrafficSplitStatus {
        observed_generation: generation,
        shares: shares(&status.versions),
        versions: status.versions,
        rollout: None,
        command: None,
        nodes: Some(standing.nodes.clone()),
        conditions: conditions
            .map(|condition| timed(condition, generation, before, now))
            .collect(),
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
    use sluice_crds::{
        conditions::{ConditionType, Reason},
        split::NodesStatus,
    };

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
        let first = of(judged(true, ""), &none, Some(1), &[], at(100));
        assert_eq!(
            times(&first),
            [("Accepted", "True", 100), ("Programmed", "False", 100)]
        );
        let second = of(
            judged(true, ""),
            &nodes,
            Some(2),
            &first.conditions,
            at(200),
        );
        assert_eq!(
            times(&second),
            [("Accepted", "True", 100), ("Programmed", "True", 200)]
        );
        let again = of(
            judged(true, ""),
            &nodes,
            Some(2),
            &second.conditions,
            at(300),
        );
        assert_eq!(again, second, "what is wanted twice is the same");

        let lost = of(
            judged(false, "b"),
            &nodes,
            Some(2),
            &again.conditions,
            at(400),
        );
        assert_eq!(
            times(&lost),
            [("Accepted", "False", 400), ("Programmed", "False", 400)]
        );
        let other = of(
            judged(false, "c"),
            &nodes,
            Some(2),
            &lost.conditions,
            at(500),
        );
        assert_eq!(times(&other), times(&lost), "another text is no transition");
        assert_eq!(other.conditions[0].message, "c");
    }

    #[test]
    fn times_are_whole_seconds_as_they_are_stored() {
        let odd = Timestamp::new(100, 999_999_999).expect("a time");
        let status = of(judged(true, ""), &everywhere(), Some(1), &[], odd);
        let stored = serde_json::to_value(&status).expect("a status is JSON");
        let read: TrafficSplitStatus = serde_json::from_value(stored).expect("and back");
        assert_eq!(read, status);
    }

    #[test]
    fn a_long_text_is_cut() {
        let status = of(
            judged(false, &"ä".repeat(5000)),
            &everywhere(),
            None,
            &[],
            at(0),
        );
        let message = &status.conditions[0].message;
        assert_eq!(message.chars().count(), LONGEST);
        assert!(message.ends_with('…'));
    }
}
