//! The clients: what is installed on the machine, and what is compiled here from the sources beside.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use sluice_testbed::tier::Shared;
use tempfile::TempDir;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/zoo/programs");

/// What `make setup` installs these programs with.
const PACKAGES: [(&str, &str); 9] = [
    ("curl", "curl"),
    ("dig", "bind9-dnsutils"),
    ("dnsmasq", "dnsmasq-base"),
    ("gcc", "gcc"),
    ("java", "openjdk-17-jdk-headless"),
    ("javac", "openjdk-17-jdk-headless"),
    ("musl-gcc", "musl-tools"),
    ("node", "nodejs"),
    ("python3", "python3"),
];
/// Where Debian has programs that only root is thought to need.
const SYSTEM: &str = "/usr/sbin";

/// Programs that have the modes `tcp`, `udp` and `lookup`, and those that only look up.
pub(super) struct Programs {
    pub(super) all_round: Vec<Client>,
    pub(super) resolvers: Vec<Client>,
    _compiled: TempDir,
}

/// A client and the words that start it.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: &'static str,
    words: Vec<String>,
}

impl Client {
    pub(super) fn with(&self, arguments: &[&str]) -> Vec<String> {
        let more = arguments.iter().map(|argument| (*argument).to_owned());
        self.words.iter().cloned().chain(more).collect()
    }
}

/// Compiled once for all tests.
pub(super) static PROGRAMS: Shared<Programs> = Shared::new(prepare);

fn prepare() -> Result<Programs> {
    let compiled = tempfile::tempdir()?;
    let source = |name: &str| format!("{SOURCES}/{name}");
    let target = |name: &str| compiled.path().join(name).display().to_string();

    let go = target("go");
    let mut build = Command::new(find("go")?);
    // As a cluster's images have them: without the C library, so with Go's own resolver.
    build.env("CGO_ENABLED", "0");
    succeed(build.args(["build", "-o", &go]).arg(source("client.go")))?;
    let mut build = Command::new(find("javac")?);
    succeed(build.args(["-d", &target("")]).arg(source("Client.java")))?;
    for compiler in ["gcc", "musl-gcc"] {
        let mut build = Command::new(find(compiler)?);
        succeed(
            build
                .args(["-Wall", "-o", &target(compiler)])
                .arg(source("lookup.c")),
        )?;
    }

    let client = |name, words: &[&str]| Client {
        name,
        words: words.iter().map(|word| (*word).to_owned()).collect(),
    };
    let of = |name, program: &str, words: &[&str]| -> Result<Client> {
        let program = find(program)?.display().to_string();
        Ok(client(name, &[&[program.as_str()], words].concat()))
    };
    Ok(Programs {
        all_round: vec![
            of("Python", "python3", &[&source("client.py")])?,
            of("Node", "node", &[&source("client.js")])?,
            of("Java", "java", &["-cp", &target(""), "Client"])?,
            client("Go", &[&go]),
        ],
        resolvers: vec![
            of("getent", "getent", &["ahosts"])?,
            client("glibc", &[&target("gcc")]),
            client("musl", &[&target("musl-gcc")]),
        ],
        _compiled: compiled,
    })
}

/// Where a program is.
pub(super) fn find(program: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from(SYSTEM)]);
    let mut files = folders.map(|folder| folder.join(program));
    if let Some(file) = files.find(|file| file.is_file()) {
        return Ok(file);
    }
    let package = PACKAGES.iter().find(|(name, _)| *name == program);
    match package {
        Some((_, package)) => {
            bail!("{program} is missing: `make setup` installs it, from Debian's {package}")
        }
        None => bail!("{program} is missing: put it on PATH"),
    }
}

fn succeed(command: &mut Command) -> Result<()> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command
        .output()
        .with_context(|| format!("starting {program}"))?;
    ensure!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
