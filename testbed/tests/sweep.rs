//! `kill -9` in the middle of a run, many times at random moments: one sweep, and nothing remains.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;
use sluice_testbed::cgroup::Cgroup;
use sluice_testbed::fabric::Fabric;
use sluice_testbed::load::Load;
use sluice_testbed::process::Mounts;
use sluice_testbed::run::{Leftover, RunId, leftovers, sweep};
use sluice_testbed::tier::{self, Tier, test};
use sluice_testbed::{Run, bpf, link};

/// How this program is started to be killed.
const VICTIM: &str = "victim";
/// How it is started by a victim, to live on.
const SURVIVOR: &str = "survivor";
const VICTIMS: usize = 20;
/// So many of them are killed only after they have made all.
const COMPLETE: usize = 5;
/// A victim goes through all that a run can make in less than this.
const LONGEST_LIFE: Duration = Duration::from_millis(800);

fn main() -> ExitCode {
    sluice_testbed::entry();
    match env::args().nth(1).as_deref() {
        Some(VICTIM) => match be_a_victim() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        },
        Some(SURVIVOR) => loop {
            thread::park();
        },
        _ => tier::main(
            Tier::Kernel,
            vec![
                test!(what_killed_runs_leave_is_gone_after_one_sweep),
                test!(a_sweep_leaves_living_runs_alone),
                test!(a_sweep_takes_also_what_has_lost_its_folder),
            ],
        ),
    }
}

fn what_killed_runs_leave_is_gone_after_one_sweep() -> Result<()> {
    let mut random = fastrand::Rng::with_seed(tier::seed()?);

    let started = Instant::now();
    let mut victims = (0..VICTIMS).map(|_| victim()).collect::<Result<Vec<_>>>()?;
    let longest = u64::try_from(LONGEST_LIFE.as_micros())?;
    let mut deaths: Vec<_> = (0..VICTIMS)
        .map(|_| Duration::from_micros(random.u64(..longest)))
        .collect();
    deaths.sort();
    // The last ones may finish first what they make, so that there is one of everything to be swept.
    for (number, (child, death)) in victims.iter_mut().zip(deaths).enumerate() {
        while started.elapsed() < death {
            thread::yield_now();
        }
        if number >= VICTIMS - COMPLETE {
            while next_line(child)? != "complete" {}
        }
        child.kill()?;
    }
    for mut child in victims {
        let status = child.wait()?;
        ensure!(
            status.signal() == Some(Signal::SIGKILL as i32),
            "a victim ended before: {status}"
        );
    }

    // Victims sweep too when they start, so that only the later ones leave something; and so may runs of others.
    let before = leftovers()?;
    let count =
        |is: fn(&Leftover) -> bool| before.values().flatten().filter(|left| is(left)).count();
    let processes: BTreeSet<_> = before.values().flatten().filter_map(process).collect();
    println!(
        "{} runs left {} processes, {} cgroups, {} mounts, {} pins, {} links",
        before.len(),
        processes.len(),
        count(|left| matches!(left, Leftover::Cgroup(_))),
        count(|left| matches!(left, Leftover::Mount(_))),
        count(|left| matches!(left, Leftover::Pin(_))),
        count(|left| matches!(left, Leftover::Link(_))),
    );
    sweep()?;
    let after = leftovers()?;
    ensure!(before.keys().all(|id| !after.contains_key(id)), "{after:?}");
    Ok(())
}

fn a_sweep_leaves_living_runs_alone() -> Result<()> {
    let fabric = Fabric::start()?;
    let node = fabric.node("node-1")?;
    let (client, server) = (
        node.pod("client").start()?,
        node.pod("server").port(80).start()?,
    );
    let mut other = victim()?;
    let id: RunId = next_line(&mut other)?.parse()?;
    other.kill()?;
    other.wait()?;
    // Somebody else's start may sweep it before us; that it is gone is what counts.
    sweep()?;
    let left = leftovers()?;
    ensure!(
        !left.contains_key(&id) && !left.contains_key(&fabric.run().id()),
        "{left:?}"
    );
    ensure!(client.connect(server.at(80)[0])?.name == "server");
    Ok(())
}

/// A process is listed once for each hierarchy that it is in.
fn process(left: &Leftover) -> Option<i32> {
    if let Leftover::Process { pid, .. } = left {
        Some(*pid)
    } else {
        None
    }
}

/// As when somebody has emptied /run.
fn a_sweep_takes_also_what_has_lost_its_folder() -> Result<()> {
    let run = Run::start()?;
    let digit = if run.id().to_string().starts_with('0') {
        '1'
    } else {
        '0'
    };
    let id: RunId = format!("{digit}{}", &run.id().to_string()[1..]).parse()?;
    let cgroup = Cgroup::create(run.host().cgroup2.join(format!("{}-lost", id.name())))?;
    let pins = run.host().bpffs.join(id.name());
    fs::create_dir(&pins)?;
    bpf::pin_array(&pins.join("map"))?;
    sweep()?;
    ensure!(!cgroup.path().exists() && !pins.exists());
    Ok(())
}

fn victim() -> Result<Child> {
    Ok(Command::new("/proc/self/exe")
        .arg(VICTIM)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?)
}

/// Reads byte by byte: a buffer would keep what comes after the line.
fn next_line(child: &mut Child) -> Result<String> {
    let output = child.stdout.as_mut().context("no output")?;
    let (mut line, mut byte) = (Vec::new(), [0]);
    while output.read(&mut byte)? > 0 {
        match byte {
            [b'\n'] => return Ok(String::from_utf8(line)?),
            [byte] => line.push(byte),
        }
    }
    bail!("the victim ended by itself")
}

/// Makes one of everything that a run can make, and then waits for its end.
fn be_a_victim() -> Result<()> {
    let run = Run::start()?;
    println!("{}", run.id());
    let fabric = Fabric::create(&run)?;
    let nodes = [fabric.node("node-1")?, fabric.node("node-2")?];
    let pods = [
        nodes[0].pod("client").start()?,
        nodes[1].pod("server").port(80).start()?,
    ];
    let _load = pods[0].start_load(
        &Load::on(pods[1].at(80))
            .until_stopped()
            .threads(2)
            .rate(200.0),
    )?;

    let folder = run.folder().join("scratch");
    fs::create_dir(&folder)?;
    mount(
        Some("tmpfs"),
        &folder,
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )?;
    fs::create_dir(folder.join("deep"))?;
    mount(
        Some("tmpfs"),
        &folder.join("deep"),
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )?;
    bpf::pin_array(&nodes[0].bpffs().join("map"))?;
    link::Links::of_this_thread()?.bridge(&run.link_name("br"))?;
    let cgroups = run.cgroups_named("real-node")?;
    let mut survivor = run
        .command_again("survivor")
        .arg(SURVIVOR)
        .mounts(Mounts::Private)
        .hostname("survivor");
    for cgroup in &cgroups {
        survivor = survivor.cgroup(cgroup);
    }
    let _survivor = survivor.outlives_parent().spawn()?;
    println!("complete");
    loop {
        thread::park();
    }
}
