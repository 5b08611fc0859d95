//! The static programs that run in the virtual machine: the agent, and the binaries of the kernel
//! tier.
//!
//! They are linked against glibc statically, for the host's own target: naming it keeps the flags
//! away from build scripts and macros, which have to stay dynamic.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::releases::Setting;
use crate::process::output;
use crate::test::Form;
use crate::workspace::Workspace;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const AGENT: &str = "sluice-node-agent";
/// Test targets of the kernel tier: package, target.
const TESTS: [(&str, &str); 1] = [("sluice-node-agent", "kernel")];

/// The tests of the short form, one for each thing that differs between kernels: that programs load
/// and act, that loops in them loop, what iterators tell, and how a connect is refused.
const SHORT: [&str; 6] = [
    "a_light_pods_connect_is_rewritten",
    "answers_to_an_unconnected_socket_come_from_the_service",
    "a_backend_that_is_gone_is_replaced_at_the_next_send_and_no_other",
    "a_survey_tells_every_datagram_socket_that_was_translated",
    "callers_get_the_weights_of_the_first_class_that_they_are_in",
    "no_backend_is_connection_refused_at_once",
];

/// What only a machine of our own lets happen to it.
const OWN: [&str; 1] = ["a_clock_that_is_set_moves_no_client"];

pub(super) struct Payload {
    agent: Program,
    tests: Vec<Program>,
}

/// A program on this machine and its name in the virtual one.
pub(super) struct Program {
    name: String,
    pub(super) file: PathBuf,
}

impl Program {
    pub(super) fn path(&self) -> String {
        format!("/bin/{}", self.name)
    }
}

impl Payload {
    pub(super) fn build(workspace: &Workspace, folder: &Path) -> Result<Payload> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut built = executables(workspace)?
            .into_iter()
            .map(|(name, file)| stripped(name, &file, folder));
        let agent = built.next().context("cargo built nothing")??;
        Ok(Payload {
            agent,
            tests: built.collect::<Result<_>>()?,
        })
    }

    pub(super) fn programs(&self) -> impl Iterator<Item = &Program> {
        [&self.agent].into_iter().chain(&self.tests)
    }

    /// The program that is also the machine's first process: any binary of a tier can be.
    pub(super) fn init(&self) -> Result<String> {
        self.tests
            .first()
            .map(Program::path)
            .context("there is no test of the kernel tier")
    }

    /// The probe of features, as a command for the first process, see `testbed/src/guest.rs`.
    pub(super) fn probe(&self) -> Value {
        let agent = self.agent.path();
        json!({ "name": super::FEATURES, "words": [agent, "features", "-o", "json"] })
    }

    /// The tests, as commands for the first process. By another setting, those of what differs between kernels.
    pub(super) fn tests(&self, form: Form, setting: Option<&Setting>) -> Vec<Value> {
        let fails = setting.map_or(&[][..], |setting| setting.fails);
        let of_binary = |tests: &Program| {
            let path = tests.path();
            match (form, setting) {
                (Form::Long, None) => vec![json!({ "name": tests.name, "words": [path] })],
                _ => SHORT
                    .iter()
                    .chain(&OWN)
                    .filter(|name| !fails.contains(name))
                    .map(|name| json!({ "name": name, "words": [path, "--exact", name] }))
                    .collect(),
            }
        };
        self.tests.iter().flat_map(of_binary).collect()
    }
}

/// Names and files, the agent first.
fn executables(workspace: &Workspace) -> Result<Vec<(String, PathBuf)>> {
    let mut found = vec![(
        AGENT.to_owned(),
        built(workspace, &["build", "--bin", AGENT], AGENT, AGENT)?,
    )];
    for (package, target) in TESTS {
        let file = built(
            workspace,
            &["test", "--no-run", "--test", target],
            package,
            target,
        )?;
        found.push((target.to_owned(), file));
    }
    Ok(found)
}

/// Builds one target statically and returns its file.
fn built(workspace: &Workspace, what: &[&str], package: &str, target: &str) -> Result<PathBuf> {
    let mut cargo = workspace.cargo();
    cargo
        .args(what)
        .args([
            "--quiet",
            "--package",
            package,
            "--target",
            TARGET,
            "--message-format",
            "json-render-diagnostics",
        ])
        .env(
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
            "-C target-feature=+crt-static",
        )
        // The target folder of a named target is one further down, where no tools are.
        .env("BPF_LINKER", workspace.tools().join("bpf-linker"))
        .stderr(Stdio::inherit());
    let messages = cargo
        .stdin(Stdio::null())
        .output()
        .context("cannot start cargo")?;
    if !messages.status.success() {
        bail!("{package} cannot be built statically; the reason is above");
    }
    let messages = String::from_utf8_lossy(&messages.stdout);
    executable(&messages, target).with_context(|| format!("cargo built no {target}"))
}

/// The executable of `target` among cargo's messages.
fn executable(messages: &str, target: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| {
            let is_it =
                message["reason"] == "compiler-artifact" && message["target"]["name"] == target;
            is_it
                .then(|| message["executable"].as_str().map(PathBuf::from))
                .flatten()
        })
}

/// Debug information is ten times the program, and unpacking it is what the machine would spend its
/// start on.
fn stripped(name: String, file: &Path, folder: &Path) -> Result<Program> {
    let small = folder.join(&name);
    output(
        Command::new("strip")
            .arg("--strip-debug")
            .arg("-o")
            .args([&small, file]),
    )?;
    Ok(Program { name, file: small })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_libraries_of_the_same_name() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"light"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"other"},"executable":"/t/other"}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","target":{"name":"light"},"executable":"/t/light-1"}"#,
        );
        assert_eq!(
            executable(messages, "light"),
            Some(PathBuf::from("/t/light-1"))
        );
        assert_eq!(executable(messages, "absent"), None);
    }
}
