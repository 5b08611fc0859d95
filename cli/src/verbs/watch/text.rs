//! A look at a split, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Measured, Seen};
use crate::{
    answer::split::{Split, Version},
    output::{self, Look},
};

/// Said where there is nothing to be counted from.
const NOTHING: &str = "-";

/// For people: a row per version, then a line for each class of callers and for each node that is silent.
pub fn table(split: &Split, seen: &Seen, measured: Option<&Measured>, look: Look) -> String {
    let mut text = format!("TrafficSplit {}: {}\n", split.name, window(seen, measured));
    let mut table = look.table(&[
        "VERSION",
        "WEIGHT",
        "EFFECTIVE",
        "SHARE",
        "MEASURED",
        "CHOSEN",
        "READY",
        "REASON",
    ]);
    for version in versions(split) {
        let (share, chosen) = share(measured, None, &version.name);
        table.add_row([
            version.name.clone(),
            version.weight.to_string(),
            version.effective.to_string(),
            version.share.clone(),
            share.unwrap_or_else(|| NOTHING.to_owned()),
            chosen.map_or_else(|| NOTHING.to_owned(), |chosen| chosen.to_string()),
            version.ready.to_string(),
            version.reason.clone(),
        ]);
    }
    text += &output::lines(&table, 2);
    if versions(split).is_empty() {
        text += "  nobody has said yet what it does\n";
    }
    for class in classes(measured) {
        let shares = versions(split).iter().filter_map(|version| {
            let (share, chosen) = share(measured, Some(class), &version.name);
            Some(format!("{} {} ({})", version.name, share?, chosen?))
        });
        let shares: Vec<_> = shares.collect();
        let _ = writeln!(text, "  callers of class {class}: {}", shares.join(", "));
    }
    for (node, counted) in seen {
        if let Err(why) = counted {
            let _ = writeln!(text, "  {node} does not say: {why}");
        }
    }
    text
}

/// For programs: the same as one document.
pub fn document(split: &Split, seen: &Seen, measured: Option<&Measured>) -> Value {
    let chosen = |class: Option<&str>| -> Vec<Value> {
        let versions = versions(split).iter().map(|version| {
            let (measured, chosen) = share(measured, class, &version.name);
            json!({"name": version.name, "measured": measured, "chosen": chosen})
        });
        versions.collect()
    };
    let versions: Vec<Value> = versions(split)
        .iter()
        .zip(chosen(None))
        .map(|(version, mut document)| {
            document["weight"] = version.weight.into();
            document["effective"] = version.effective.into();
            document["share"] = version.share.as_str().into();
            document["ready"] = version.ready.into();
            document["reason"] = version.reason.as_str().into();
            document
        })
        .collect();
    let classes: Vec<Value> = classes(measured)
        .into_iter()
        .map(|class| json!({"name": class, "versions": chosen(Some(class))}))
        .collect();
    let silent: serde_json::Map<String, Value> = seen
        .iter()
        .filter_map(|(node, counted)| Some((node.clone(), counted.as_ref().err()?.as_str().into())))
        .collect();
    json!({
        "split": split.name,
        "seconds": measured.map(|measured| measured.window.as_secs_f64()),
        "nodes": {"all": seen.len(), "measured": measured.map_or(0, |measured| measured.nodes)},
        "silent": silent,
        "versions": versions,
        "classes": classes,
    })
}

fn window(seen: &Seen, measured: Option<&Measured>) -> String {
    let Some(measured) = measured else {
        return format!("the first look, at {} nodes", seen.len());
    };
    let all = measured.chosen.all(None);
    let of_classes = measured.chosen.classes();
    let of_classes = of_classes
        .iter()
        .map(|class| measured.chosen.all(Some(class)));
    format!(
        "{} connects in {:.1} s on {} of {} nodes",
        all + of_classes.sum::<u64>(),
        measured.window.as_secs_f64(),
        measured.nodes,
        seen.len()
    )
}

fn versions(split: &Split) -> &[Version] {
    split.status.as_ref().map_or(&[], |status| &status.versions)
}

fn classes(measured: Option<&Measured>) -> Vec<&str> {
    measured.map_or(Vec::new(), |measured| measured.chosen.classes())
}

/// The part of the choices that a version had, and how many; no part of none.
fn share(
    measured: Option<&Measured>,
    class: Option<&str>,
    version: &str,
) -> (Option<String>, Option<u64>) {
    let Some(measured) = measured else {
        return (None, None);
    };
    let chosen = measured.chosen.chosen(class, version);
    let all = measured.chosen.all(class);
    let share = (all > 0).then(|| format!("{:.1}%", 100.0 * chosen as f64 / all as f64));
    (share, Some(chosen))
}
