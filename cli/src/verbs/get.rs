//! `get`: splits as they were asked for, and as they act.

use std::fmt::Write as _;

use comfy_table::Table;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    Failure,
    agent::{Agent, Answer},
    answer::status::{Condition, Split},
    name::Name,
    output::{self, Look, Output, Shown},
};

/// Show the TrafficSplits: the weight that each version was asked to get, and what it gets.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
        kubectl-sluice get\n  \
        kubectl-sluice get -n shop\n  \
        kubectl-sluice get shop/checkout -o yaml")]
pub struct Question {
    /// One split, with its conditions: NAME or NAMESPACE/NAME.
    #[arg(value_name = "NAME")]
    pub name: Option<Name>,
}

/// The splits of an agent's status, each as it was sent.
#[derive(Deserialize)]
struct Splits {
    splits: Vec<Value>,
}

pub fn run(
    agent: &Agent,
    namespace: Option<&str>,
    question: &Question,
    output: Output,
) -> Result<Shown, Failure> {
    let answer = agent.ask("/debug/status", &[])?;
    let Splits { splits } = agent.read(&answer)?;
    let text = match &question.name {
        Some(name) => {
            let name = name.within(namespace);
            let Some(split) = splits.into_iter().find(|split| name_of(split) == name) else {
                let agent = agent.admin().to_string();
                return Err(Failure::NoSuchSplit { agent, name });
            };
            let answer = Answer(split);
            output::form(output, &answer, |look| Ok(one(&agent.read(&answer)?, look)))?
        }
        None => {
            let within = |split: &Value| {
                let own = name_of(split).split('/').next();
                namespace.is_none_or(|namespace| own == Some(namespace))
            };
            let answer = Answer(splits.into_iter().filter(within).collect());
            output::form(output, &answer, |look| {
                let splits: Vec<_> = agent.read(&answer)?;
                Ok(all(&splits, namespace, look))
            })?
        }
    };
    Ok(Shown {
        text,
        is_fine: true,
    })
}

fn name_of(split: &Value) -> &str {
    split
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// A row per version, for people.
pub fn all(splits: &[Split], namespace: Option<&str>, look: Look) -> String {
    if splits.is_empty() {
        return match namespace {
            Some(namespace) => format!("There is no TrafficSplit in namespace {namespace}.\n"),
            None => "There is no TrafficSplit.\n".to_owned(),
        };
    }
    let mut header = vec!["SPLIT", "SERVICE"];
    header.extend(VERSION);
    header.push("PROGRAMMED");
    let mut table = look.table(&header);
    for split in splits {
        let mut place = [
            split.name.clone(),
            split.service.clone().unwrap_or_else(none),
        ];
        let mut rows = rows(split);
        if rows.is_empty() {
            rows.push(VERSION.map(|_| none()).into());
        }
        for row in rows {
            table.add_row(place.iter().cloned().chain(row).chain([programmed(split)]));
            place.fill(String::new());
        }
    }
    output::lines(&table, 0)
}

/// One split and its conditions, for people.
pub fn one(split: &Split, look: Look) -> String {
    let mut text = String::new();
    let service = split
        .service
        .as_deref()
        .unwrap_or("none, since it does not parse");
    let _ = writeln!(text, "TrafficSplit {}", split.name);
    let _ = writeln!(text, "  service  {service}\n");
    let rows = rows(split);
    if !rows.is_empty() {
        let mut table = look.table(&VERSION);
        fill(&mut table, rows);
        text += &output::lines(&table, 2);
        text.push('\n');
    }
    let mut table = look.table(&["CONDITION", "STATUS", "REASON", "MESSAGE"]);
    for condition in &split.status.conditions {
        let Condition {
            kind,
            status,
            reason,
            message,
        } = condition;
        let status = if *status { "True" } else { "False" };
        table.add_row([kind, status, reason, message]);
    }
    text += &output::lines(&table, 2);
    text
}

const VERSION: [&str; 6] = ["VERSION", "WEIGHT", "EFFECTIVE", "SHARE", "READY", "REASON"];

fn rows(split: &Split) -> Vec<Vec<String>> {
    let versions = split.status.versions.iter();
    versions
        .map(|version| {
            vec![
                version.name.clone(),
                version.weight.to_string(),
                version.effective.to_string(),
                version.share.clone(),
                version.ready.to_string(),
                version.reason.clone(),
            ]
        })
        .collect()
}

fn fill(table: &mut Table, rows: Vec<Vec<String>>) {
    for row in rows {
        table.add_row(row);
    }
}

/// Whether it acts; if not, why not. One that does not parse has no such condition, but a worse one.
fn programmed(split: &Split) -> String {
    let conditions = &split.status.conditions;
    let of_kind = |kind: &str| conditions.iter().find(|condition| condition.kind == kind);
    match of_kind("Programmed").or_else(|| of_kind("Accepted")) {
        Some(condition) if condition.kind == "Programmed" && condition.status => "yes".to_owned(),
        Some(condition) => condition.reason.clone(),
        None => none(),
    }
}

fn none() -> String {
    "-".to_owned()
}
