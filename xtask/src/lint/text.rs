//! Checks that read files as text: shell, paths of one machine, and the sources of the pure crates.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::output;
use crate::workspace::Workspace;

/// Folders of crates that take times and settings as values.
const PURE: [&str; 3] = ["model/src/*.rs", "crds/src/*.rs", "node-abi/src/*.rs"];

/// What such a crate would use to ask by itself.
const IMPURE: [&str; 6] = [
    "SystemTime",
    "Instant",
    "std::env",
    "thread::",
    "std::fs",
    "std::net::Tcp",
];

pub(super) fn shell(workspace: &Workspace) -> Result<Vec<String>> {
    let mut scripts = Vec::new();
    for file in tracked(workspace, &[])? {
        if is_shell(&workspace.root.join(&file))? {
            scripts.push(file);
        }
    }
    if scripts.is_empty() {
        return Ok(Vec::new());
    }
    let complaints = Command::new("shellcheck")
        .arg("--format=gcc")
        .args(&scripts)
        .current_dir(&workspace.root)
        .output();
    let complaints = complaints.context("cannot start shellcheck")?;
    Ok(String::from_utf8_lossy(&complaints.stdout)
        .lines()
        .map(str::to_owned)
        .collect())
}

/// A tracked path of somebody's machine works nowhere else.
pub(super) fn home_folders(workspace: &Workspace) -> Result<Vec<String>> {
    let mut grep = git(workspace);
    grep.args([
        "grep",
        "-nIE",
        "(/home|/root|/Users)/[A-Za-z.]",
        "--",
        ".",
        ":!*.lock",
        ":!*go.sum",
    ]);
    // git grep exits with 1 when it finds nothing.
    let found = grep.output().context("cannot start git")?;
    Ok(String::from_utf8_lossy(&found.stdout)
        .lines()
        .map(str::to_owned)
        .collect())
}

pub(super) fn pure_sources(workspace: &Workspace) -> Result<Vec<String>> {
    let mut against = Vec::new();
    for file in tracked(workspace, &PURE)? {
        let text = fs::read_to_string(workspace.root.join(&file))
            .with_context(|| format!("cannot read {file}"))?;
        for (number, word) in impure_lines(&text) {
            against.push(format!(
                "{file}:{number} uses {word}: take it as a value instead"
            ));
        }
    }
    Ok(against)
}

/// Files that git knows or would add, relative to the workspace.
pub(super) fn tracked(workspace: &Workspace, patterns: &[&str]) -> Result<Vec<String>> {
    let listing = output(
        git(workspace)
            .args([
                "ls-files",
                "--cached",
                "--others",
                "--exclude-standard",
                "--",
            ])
            .args(patterns),
    )?;
    Ok(listing
        .lines()
        .filter(|file| workspace.root.join(file).is_file())
        .map(str::to_owned)
        .collect())
}

fn git(workspace: &Workspace) -> Command {
    let mut git = Command::new("git");
    git.current_dir(&workspace.root);
    git
}

fn is_shell(file: &Path) -> Result<bool> {
    if file.extension().is_some_and(|extension| extension == "sh") {
        return Ok(true);
    }
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let first = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    Ok(is_shell_line(&String::from_utf8_lossy(first)))
}

fn is_shell_line(first: &str) -> bool {
    first
        .strip_prefix("#!")
        .and_then(|interpreter| interpreter.split(['/', ' ']).next_back())
        .is_some_and(|name| matches!(name, "sh" | "bash" | "dash"))
}

/// The numbers of lines outside of comments that use something impure, with what they use.
fn impure_lines(source: &str) -> Vec<(usize, &'static str)> {
    let lines = source
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"));
    lines
        .filter_map(|(index, line)| {
            IMPURE
                .into_iter()
                .find(|word| line.contains(word))
                .map(|word| (index + 1, word))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_is_known_by_its_first_line() {
        assert!(is_shell_line("#!/usr/bin/env bash"));
        assert!(is_shell_line("#!/bin/sh"));
        assert!(!is_shell_line("#!/usr/bin/env python3"));
        assert!(!is_shell_line("# bash"));
    }

    #[test]
    fn a_clock_is_found_in_code_and_not_in_prose() {
        let source = "//! An Instant is passed in.\nuse std::time::Instant;\nfn f() {}\n";
        assert_eq!(impure_lines(source), [(2, "Instant")]);
    }
}
