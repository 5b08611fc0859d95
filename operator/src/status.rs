//! A split's status, from how it is judged and how far the nodes are: pure, the clock is passed in.
//!
//! A transition time moves only when the condition's status does. So what is wanted twice is the same
//! twice, and nothing is written the second time.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use sluice_crds::TrafficSplitStatus;
use sluice_model::{
    condition::{self, Judged},
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
        versions: status.versions,
        nodes: Some(standing.nodes.clone()),
        conditions: conditions
            .map(|condition| timed(condition, generation, before, now))
            .collect(),
    }
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
