//! `status`: how the node does.

use std::fmt::Write as _;

use serde_json::Value;

use crate::{
    agent::{Agent, AgentError},
    answer::status::{Finding, MapUse, Problem, Status, View},
    output::{self, Look, Output, Shown},
};

pub fn run(agent: &Agent, output: Output) -> Result<Shown, AgentError> {
    let answer = agent.ask("/debug/status", &[])?;
    let text = output::form(output, &answer, |look| {
        Ok(text(&agent.read(&answer)?, look))
    })?;
    Ok(Shown {
        text,
        is_fine: answer.0.get("ready") == Some(&Value::Bool(true)),
    })
}

/// The answer for people: what is wrong comes before what is only to know.
pub fn text(status: &Status, look: Look) -> String {
    let mut text = head(status);
    if !status.input.problems.is_empty() {
        text += "\nFiles that are not taken as they are; what was good of them before holds:\n";
        for problem in &status.input.problems {
            let _ = writeln!(text, "  {}", place(problem));
        }
    }
    if status.input.view == View::Partial {
        text += "  A file has never been good, and addresses in the kernel that nobody names may be its: they stay.\n";
    }
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

fn place(problem: &Problem) -> String {
    let Problem { file, line, text } = problem;
    match line {
        Some(line) => format!("{}:{line}: {text}", file.display()),
        None => format!("{}: {text}", file.display()),
    }
}
