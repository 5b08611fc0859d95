//! kubectl, as a person on the host would call it.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// kubectl with the kubeconfig of one cluster.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    pub(super) fn new(program: PathBuf, kubeconfig: PathBuf) -> Self {
        Self {
            program,
            kubeconfig,
        }
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// What kubectl prints; an error, with what it says, when it fails.
    pub fn run(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<String> {
        self.run_with("", args)
    }

    /// The same, with something to read.
    pub fn run_with(
        &self,
        input: &str,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<String> {
        let mut command = self.command(args);
        let output = output(&mut command, input)
            .with_context(|| format!("starting {}", self.program.display()))?;
        if !output.status.success() {
            let args: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
            bail!(
                "kubectl {}: {}",
                args.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Creates or changes the objects of a YAML text.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        self.run_with(yaml, ["apply", "--server-side", "--filename", "-"])
            .map(drop)
    }

    /// What `kubectl get … --output json` prints, parsed.
    pub fn get(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Value> {
        let mut all: Vec<_> = ["get", "--output", "json"]
            .map(|arg| OsStr::new(arg).to_owned())
            .into();
        all.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        Ok(serde_json::from_str(&self.run(all)?)?)
    }

    /// A kubectl to be completed and started by the caller.
    pub fn command(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(&self.program);
        command.env("KUBECONFIG", &self.kubeconfig).args(args);
        command
    }
}

fn output(command: &mut Command, input: &str) -> Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdin = child.stdin.take();
    thread::scope(|scope| {
        scope.spawn(move || {
            // A program that ends without reading all its input is judged by how it ends.
            let _ = stdin.map(|mut stdin| stdin.write_all(input.as_bytes()));
        });
        Ok(child.wait_with_output()?)
    })
}
