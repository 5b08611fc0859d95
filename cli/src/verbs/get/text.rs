//! Splits as tables.

use std::fmt::Write as _;

use super::{
    Detail,
    conditions::{self, counted, none},
};
use crate::{
    answer::{
        report::Report,
        split::{Asked, Condition, Nodes, Split, Status},
    },
    kind::Kind,
    output::{self, Look},
};

const VERSION: [&str; 6] = ["VERSION", "WEIGHT", "EFFECTIVE", "SHARE", "READY", "REASON"];

/// A row per version. What only the API knows has columns if any split is from there.
pub fn all(splits: &[Split], namespace: Option<&str>, look: Look, detail: Detail) -> String {
    if splits.is_empty() {
        return super::nothing(Kind::Split, namespace);
    }
    let of_api = splits.iter().any(|split| split.object.is_some());
    let mut header = vec!["SPLIT", "SERVICE"];
    header.extend(VERSION);
    if of_api {
        header.push("NODES");
    }
    header.push("PROGRAMMED");
    if of_api && detail == Detail::Wide {
        header.extend(["SELECTION", "UNAVAILABLE", "GENERATION"]);
    }
    let mut table = look.table(&header);
    for split in splits {
        let mut place = [
            split.name.clone(),
            split.service.clone().unwrap_or_else(none),
        ];
        let mut end = Vec::new();
        if of_api {
            end.push(counted(nodes_of(split)));
        }
        end.push(programmed(split));
        if of_api && detail == Detail::Wide {
            end.extend(of_object(split));
        }
        let mut rows = rows(split);
        if rows.is_empty() {
            rows.push(VERSION.map(|_| none()).into());
        }
        for row in rows {
            table.add_row(place.iter().chain(&row).chain(&end));
            place.fill(String::new());
        }
    }
    output::lines(&table, 0)
}

/// One split and its conditions.
pub fn one(split: &Split, look: Look) -> String {
    let mut text = String::new();
    let service = split
        .service
        .as_deref()
        .unwrap_or("none, since it does not parse");
    let _ = writeln!(text, "TrafficSplit {}", split.name);
    if let Some(object) = &split.object {
        let _ = writeln!(text, "  service     {service}");
        let _ = writeln!(
            text,
            "  selection   {}, whenUnavailable: {}",
            object.selection, object.when_unavailable
        );
        let _ = writeln!(text, "  generation  {}{}", object.generation, age(split));
        let nodes = nodes_of(split).map_or_else(|| "none has reported".to_owned(), in_words);
        let _ = writeln!(text, "  nodes       {nodes}\n");
    } else {
        let _ = writeln!(text, "  service  {service}\n");
    }
    let rows = rows(split);
    if !rows.is_empty() {
        let mut table = look.table(&VERSION);
        for row in rows {
            table.add_row(row);
        }
        text += &output::lines(&table, 2);
        text.push('\n');
    }
    text + &conditions::table(conditions(split), look)
}

/// What each node's report says of the split.
pub fn nodes(split: &Split, reports: &[Report], look: Look) -> String {
    if reports.is_empty() {
        return "\n  No node has reported.\n".to_owned();
    }
    let mut table = look.table(&[
        "NODE",
        "PROGRAMMED",
        "GENERATION",
        "BACKENDS",
        "REASON",
        "MESSAGE",
    ]);
    for report in reports {
        let policies = report.status.iter().flat_map(|status| &status.policies);
        let policy = policies.into_iter().find(|policy| {
            policy.kind == "TrafficSplit"
                && split.name == format!("{}/{}", policy.namespace, policy.name)
        });
        let node = report.metadata.name.clone();
        table.add_row(match policy {
            Some(policy) => [
                node,
                yes(policy.programmed),
                policy.generation.to_string(),
                policy.backends.to_string(),
                policy.reason.clone(),
                policy.message.clone(),
            ],
            None => [
                node,
                none(),
                none(),
                none(),
                none(),
                "says nothing of it".to_owned(),
            ],
        });
    }
    format!("\n{}", output::lines(&table, 2))
}

/// The weight is the one that is asked for now, also if what was observed is about another.
fn rows(split: &Split) -> Vec<Vec<String>> {
    let observed = split.status.iter().flat_map(|status| &status.versions);
    let row = |Asked { name, weight }: &Asked| {
        let mut row = vec![name.clone(), weight.to_string()];
        match observed.clone().find(|version| version.name == *name) {
            Some(version) => row.extend([
                version.effective.to_string(),
                version.share.clone(),
                version.ready.to_string(),
                version.reason.clone(),
            ]),
            None => row.extend([none(), none(), none(), none()]),
        }
        row
    };
    split.asked.iter().map(row).collect()
}

/// Whether it acts; if not, why not. One that does not parse has no such condition, but a worse one.
fn programmed(split: &Split) -> String {
    if split.status.is_none() {
        return "not observed".to_owned();
    }
    if split.is_outdated() {
        return "outdated".to_owned();
    }
    let of_kind = |kind: &str| {
        conditions(split)
            .iter()
            .find(|condition| condition.kind == kind)
    };
    match of_kind("Programmed").or_else(|| of_kind("Accepted")) {
        Some(condition) if condition.kind == "Programmed" && condition.status == "True" => {
            "yes".to_owned()
        }
        Some(condition) => condition.reason.clone(),
        None => none(),
    }
}

fn conditions(split: &Split) -> &[Condition] {
    split
        .status
        .as_ref()
        .map_or(&[], |status| status.conditions.as_slice())
}

fn nodes_of(split: &Split) -> Option<&Nodes> {
    split.status.as_ref()?.nodes.as_ref()
}

fn in_words(nodes: &Nodes) -> String {
    let Nodes {
        desired,
        programmed,
        failed,
        oldest_generation,
    } = nodes;
    let mut text = format!("{programmed} of {desired} have it");
    if *failed > 0 {
        let _ = write!(text, ", {failed} failed");
    }
    if let Some(oldest) = oldest_generation.filter(|_| programmed < desired) {
        let _ = write!(text, "; the oldest in a kernel is generation {oldest}");
    }
    text
}

fn of_object(split: &Split) -> [String; 3] {
    match &split.object {
        Some(object) => [
            object.selection.clone(),
            object.when_unavailable.clone(),
            format!("{}{}", object.generation, age(split)),
        ],
        None => [none(), none(), none()],
    }
}

/// What a status that is not of this generation is about.
fn age(split: &Split) -> String {
    match &split.status {
        None => " (not observed yet)".to_owned(),
        Some(Status {
            observed_generation: Some(observed),
            ..
        }) if split.is_outdated() => format!(" (what was observed is of {observed})"),
        Some(_) => String::new(),
    }
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}
