//! What was observed of an object of any kind.

use crate::{
    answer::split::{Condition, Nodes},
    output::{self, Look},
};

/// A row per condition.
pub(super) fn table(conditions: &[Condition], look: Look) -> String {
    if conditions.is_empty() {
        return "  It has no conditions: is the operator running?\n".to_owned();
    }
    let mut table = look.table(&["CONDITION", "STATUS", "REASON", "MESSAGE"]);
    for condition in conditions {
        let Condition {
            kind,
            status,
            reason,
            message,
        } = condition;
        table.add_row([kind, status, reason, message]);
    }
    output::lines(&table, 2)
}

pub(super) fn counted(nodes: Option<&Nodes>) -> String {
    nodes.map_or_else(none, |nodes| {
        format!("{}/{}", nodes.programmed, nodes.desired)
    })
}

pub(super) fn none() -> String {
    "-".to_owned()
}
