//! `kill -9` on the program that has raised a cluster, or is about to: one sweep, and nothing remains.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use sluice_kind_tests::echo;
use sluice_testbed::cluster::{Cluster, Proxy};
use sluice_testbed::run::{RUNS, RunId, leftovers, sweep};
use sluice_testbed::tier::{self, eventually, is_long};

use crate::{NODES, PATIENCE};

/// How this program is started to be killed.
pub(crate) const VICTIM: &str = "victim";
/// What a victim says when its cluster is up and has a pod.
const COMPLETE: &str = "complete";

/// Raises a cluster with a pod, says so, and waits to be killed.
pub(crate) fn be_a_victim() -> ExitCode {
    match raise_and_wait() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn raise_and_wait() -> Result<()> {
    let cluster = Cluster::start().proxy(Proxy::None).up()?;
    let _client = echo::client(&cluster, "default", "client", NODES[0])?;
    println!("{COMPLETE}");
    loop {
        thread::park();
    }
}

pub(crate) fn what_a_killed_cluster_leaves_is_gone_after_one_sweep() -> Result<()> {
    let (mut victim, lines) = victim()?;
    let line = lines.recv().context("the victim ended before")?;
    ensure!(line == COMPLETE, "the victim says {line:?}");
    let id = run_of(&victim)?;
    victim.kill()?;
    victim.wait()?;
    // A sandbox, a container and a shim live on without the programs that started them.
    let left = processes(id)?.len();
    ensure!(left >= 3, "a killed cluster has left {left} processes");
    is_swept(id)?;
    println!("a killed cluster left {left} processes, and the sweep nothing");
    Ok(())
}

pub(crate) fn a_cluster_killed_while_it_is_raised_leaves_nothing() -> Result<()> {
    let mut random = fastrand::Rng::with_seed(tier::seed()?);
    let (times, longest) = if is_long() { (20, 15_000) } else { (2, 5_000) };
    for _ in 0..times {
        let (mut victim, lines) = victim()?;
        let id = eventually(PATIENCE, "the run has begun", || run_of(&victim))?;
        // Until then, or until it is complete.
        let moment = Duration::from_millis(random.u64(..longest));
        let _ = lines.recv_timeout(moment);
        if let Some(status) = victim.try_wait()? {
            bail!("the victim ended before: {status}");
        }
        victim.kill()?;
        victim.wait()?;
        is_swept(id).with_context(|| format!("killed after {moment:?}"))?;
    }
    println!("{times} clusters killed while they were raised left nothing");
    Ok(())
}

/// Starts this program to be killed; its lines come as it says them.
fn victim() -> Result<(Child, Receiver<String>)> {
    let mut child = Command::new("/proc/self/exe")
        .arg(VICTIM)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = BufReader::new(child.stdout.take().context("a victim speaks")?);
    let (said, lines) = channel();
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            // Nobody listens any more once it is killed.
            let _ = said.send(line);
        }
    });
    Ok((child, lines))
}

/// The run that this process has started.
fn run_of(child: &Child) -> Result<RunId> {
    let owner = child.id().to_string();
    for run in fs::read_dir(RUNS)?.flatten() {
        let is_its = fs::read_to_string(run.path().join("owner")).is_ok_and(|pid| pid == owner);
        if is_its && let Some(id) = run.file_name().to_str().and_then(|id| id.parse().ok()) {
            return Ok(id);
        }
    }
    bail!("process {owner} has no run")
}

fn is_swept(id: RunId) -> Result<()> {
    sweep()?;
    let left = leftovers()?.remove(&id).unwrap_or_default();
    ensure!(left.is_empty(), "left are {left:?}");
    // They are dead, but it takes the machine's first process to bury them.
    eventually(PATIENCE, "the processes are gone", || {
        let left = processes(id)?;
        ensure!(left.is_empty(), "processes are left: {left:?}");
        Ok(())
    })
}

/// The processes that are in a cgroup of the run, or were started with a path of it.
fn processes(id: RunId) -> Result<Vec<String>> {
    let signs = [id.name(), id.folder().display().to_string()];
    let mut found = Vec::new();
    for process in fs::read_dir("/proc")?.flatten() {
        let says = |file: &str| fs::read(process.path().join(file)).unwrap_or_default();
        let text = [says("cgroup"), says("cmdline")].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        if is_number(&process.file_name().to_string_lossy())
            && signs.iter().any(|sign| text.contains(sign))
        {
            found.push(format!("{}: {text}", process.file_name().display()));
        }
    }
    Ok(found)
}

fn is_number(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_digit())
}
