//! What was found as people read it (tables, plots) and as programs do (JSON), in files of their own.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::machine::Machine;
use crate::stats::Estimate;

pub(crate) mod admission;
pub(crate) mod connect;
pub(crate) mod life;
mod plot;
mod table;

/// The numbers behind a page.
#[derive(Serialize)]
struct Raw<'a, T> {
    machine: &'a Machine,
    found: &'a T,
}

fn write_raw(folder: &Path, name: &str, machine: &Machine, found: &impl Serialize) -> Result<()> {
    let raw = serde_json::to_string(&Raw { machine, found })?;
    write(folder, name, &format!("{raw}\n"))
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

/// What every page begins with.
fn head(title: &str, machine: &Machine) -> String {
    let again = if machine.quick {
        "make bench QUICK=1"
    } else {
        "make bench"
    };
    format!("# {title}\n\nWritten by `{again}`; [how it is measured](README.md). {machine}.\n")
}

/// One line of what was hoped for and what was found.
fn bar(is_met: bool, what: impl Display, found: impl Display) -> String {
    let verdict = if is_met { "met" } else { "**missed**" };
    format!("- {what}: {verdict}, {found}\n")
}

/// A number with its interval.
fn interval(estimate: Option<Estimate>, digits: usize) -> String {
    match estimate {
        Some(Estimate { value, low, high }) => {
            format!("{value:.digits$} [{low:.digits$}, {high:.digits$}]")
        }
        None => "-".to_owned(),
    }
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

/// With separators, as in 10,000.
fn thousands(value: u32) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_000), "1,000");
        assert_eq!(thousands(100_000), "100,000");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }

    #[test]
    fn an_interval_is_beside_its_number() {
        let estimate = Estimate {
            value: 0.9,
            low: 0.85,
            high: 1.0,
        };
        assert_eq!(interval(Some(estimate), 2), "0.90 [0.85, 1.00]");
        assert_eq!(interval(None, 2), "-");
    }
}
