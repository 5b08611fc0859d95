//! NodeReports as tables. Whether an agent stands behind one is what `status` asks.

use std::fmt::Write as _;

use super::conditions::none;
use crate::{
    answer::report::{Policy, Report, Status},
    output::{self, Look},
};

/// A row per node.
pub fn reports(reports: &[Report], look: Look) -> String {
    let mut table = look.table(&[
        "NODE", "READY", "AGENT", "KERNEL", "POLICIES", "DRIFT", "MESSAGE",
    ]);
    for report in reports {
        let node = report.metadata.name.clone();
        table.add_row(match &report.status {
            Some(status) => [
                node,
                yes(status.ready),
                status.agent.clone(),
                status.kernel.clone(),
                counted(status),
                status.drift.to_string(),
                status.message.clone(),
            ],
            None => [node, none(), none(), none(), none(), none(), none()],
        });
    }
    output::lines(&table, 0)
}

pub fn report(report: &Report, look: Look) -> String {
    let mut text = format!("NodeReport {}\n", report.metadata.name);
    let Some(status) = &report.status else {
        return text + "  Nothing is reported: is the node's agent running?\n";
    };
    let ready = match (status.ready, status.message.as_str()) {
        (true, _) => "yes".to_owned(),
        (false, message) => format!("no: {message}"),
    };
    let _ = writeln!(text, "  ready       {ready}");
    let _ = writeln!(text, "  agent       {}", status.agent);
    let _ = writeln!(text, "  kernel      {}", status.kernel);
    let _ = writeln!(text, "  drift       {}", status.drift);
    let _ = writeln!(text, "  programmed  {}\n", counted(status));
    let mut table = look.table(&[
        "POLICY",
        "GENERATION",
        "PROGRAMMED",
        "BACKENDS",
        "REASON",
        "MESSAGE",
    ]);
    for policy in &status.policies {
        let Policy {
            kind,
            namespace,
            name,
            generation,
            programmed,
            backends,
            reason,
            message,
        } = policy;
        table.add_row([
            format!("{kind} {namespace}/{name}"),
            generation.to_string(),
            yes(*programmed),
            backends.to_string(),
            reason.clone(),
            message.clone(),
        ]);
    }
    if !status.policies.is_empty() {
        text += &output::lines(&table, 2);
    }
    text
}

fn counted(status: &Status) -> String {
    let policies = status.policies.iter();
    let programmed = policies.filter(|policy| policy.programmed).count();
    format!("{programmed}/{}", status.policies.len())
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}
