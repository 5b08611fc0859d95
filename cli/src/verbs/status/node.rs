//! One node, as its agent tells of it.

use std::fmt::Write as _;

use serde_json::Value;

use crate::{
    answer::status::{Finding, Input, MapUse, Place, Problem, Status, View},
    output::{self, Look},
};

/// Leaves out objects of other namespaces; what has no namespace stays.
pub(super) fn keep_within(namespace: &str, status: &mut Value) {
    let is_within = |name: Option<&Value>| {
        let name = name.and_then(Value::as_str).unwrap_or_default();
        name.split_once('/').is_none_or(|(own, _)| own == namespace)
    };
    for (field, name) in [("findings", "/subject/name"), ("splits", "/name")] {
        if let Some(Value::Array(objects)) = status.get_mut(field) {
            objects.retain(|object| is_within(object.pointer(name)));
        }
    }
}

/// The answer for people: what is wrong comes before what is only to know.
pub fn text(status: &Status, look: Look) -> String {
    let mut text = head(status);
    text += &inputs(&status.input);
    if !status.findings.is_empty() {
        text += "\nObjects with problems:\n";
        let mut table = look.table(&["OBJECT", "REASON", "PROBLEM"]);
        for finding in &status.findings {
            let Finding {
                subject,
                reason,
                field,
                detail,
            } = finding;
            let problem = if field.is_empty() {
                detail.clone()
            } else {
                format!("{field}: {detail}")
            };
            table.add_row([
                format!("{} {}", subject.kind, subject.name),
                reason.clone(),
                problem,
            ]);
        }
        text += &output::lines(&table, 2);
    }
    text += "\nRoom in the maps:\n";
    let mut table = look.table(&["MAP", "USED", "CAPACITY", "SHARE"]);
    for MapUse {
        map,
        used,
        capacity,
    } in &status.maps
    {
        let share = 100.0 * *used as f64 / (*capacity).max(1) as f64;
        table.add_row([
            map.clone(),
            used.to_string(),
            capacity.to_string(),
            format!("{share:.1}%"),
        ]);
    }
    text + &output::lines(&table, 2)
}

fn head(status: &Status) -> String {
    let node = &status.node;
    let mut text = String::new();
    let readiness = match &status.not_ready_because {
        _ if status.ready => "ready".to_owned(),
        Some(reason) => format!("NOT READY: {reason}"),
        None => "NOT READY".to_owned(),
    };
    let _ = writeln!(text, "Node {}: {readiness}", node.name);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<13}{value}");
    };
    line("agent", &node.version);
    line("kernel", &node.features.kernel);
    if !node.features.missing.is_empty() {
        line("  it lacks", &node.features.missing.join(", "));
    }
    line("refuses by", &node.refusal);
    line("cgroup root", &node.cgroup_root.display().to_string());
    line("pins", &node.pins.display().to_string());
    if let Some(passed) = &status.self_test {
        let addresses = passed.addresses.join(", ");
        line(
            "self-test",
            &format!("passed: connects to {addresses} were sent on"),
        );
    }
    let services = match status.lagging.as_slice() {
        [] => format!("{}, all of them as wanted", status.services),
        lagging => format!("{}, not as wanted: {}", status.services, lagging.join(", ")),
    };
    line("services", &services);
    text
}

/// What cannot be seen as it is, and what that means for what is in force.
fn inputs(input: &Input) -> String {
    let mut text = String::new();
    if !input.problems.is_empty() {
        text += "\nInputs with problems; what they said before holds:\n";
    }
    for Problem {
        place,
        text: problem,
    } in &input.problems
    {
        let place = match place {
            Place::File { file, line: None } => file.display().to_string(),
            Place::File {
                file,
                line: Some(line),
            } => format!("{}:{line}", file.display()),
            Place::Watch { watch, since: None } => format!("{watch}s, never seen whole"),
            Place::Watch {
                watch,
                since: Some(since),
            } => format!("{watch}s, not seen since {since}"),
        };
        let _ = writeln!(text, "  {place}: {problem}");
    }
    if input.view == View::Partial {
        text += "  Not all was ever seen: addresses in the kernel that nobody asks for may belong to it, and stay.\n";
    }
    text
}
