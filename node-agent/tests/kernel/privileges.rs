//! The agent as its manifest lets it run: root without root's powers, but for the capabilities that are named there.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsFd as _,
    path::Path,
    thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use sluice_node_abi::maps::SOCKETS;
use sluice_node_agent::{
    bpf,
    diag::{Diag, Family, Protocol},
    features::Features,
    maps::{Maps as _, kernel::Kernel},
    program::{Pins, Programs, Refusal, Sizes},
    sockets::spaces,
};
use sluice_testbed::fabric::Fabric;

const MANIFEST: &str = include_str!("../../../config/node-agent/daemonset.yaml");

/// Their numbers, by capabilities(7).
const NUMBERS: [(&str, u32); 3] = [("NET_ADMIN", 12), ("SYS_PTRACE", 19), ("SYS_ADMIN", 21)];

pub(crate) fn the_capabilities_of_the_manifest_suffice() -> Result<()> {
    let named = MANIFEST
        .lines()
        .find_map(|line| line.trim().strip_prefix("add: [")?.strip_suffix(']'))
        .context("the manifest names capabilities")?;
    let capabilities = named
        .split(", ")
        .map(|name| {
            let known = NUMBERS.iter().find(|(known, _)| *known == name);
            known
                .map(|(_, number)| *number)
                .with_context(|| format!("{name} is unknown here"))
        })
        .collect::<Result<Vec<_>>>()?;
    let fabric = Fabric::start()?;
    let node = fabric.node("node-1")?;
    let _pod = node.pod("pod").start()?;
    let work = |place: &str, capabilities: &[u32]| {
        let pins = node.bpffs().join(place);
        std::fs::create_dir(&pins)?;
        with_only(capabilities, || do_agents_work(&pins, node.cgroup().path()))
    };
    work("all", &capabilities).with_context(|| format!("with {named}"))?;
    for (_, left_out) in &NUMBERS {
        let rest: Vec<_> = capabilities
            .iter()
            .copied()
            .filter(|number| number != left_out)
            .collect();
        let place = format!("without-{left_out}");
        ensure!(
            work(&place, &rest).is_err(),
            "capability {left_out} of {named} is not needed"
        );
    }
    Ok(())
}

fn do_agents_work(pins: &Path, cgroup: &Path) -> Result<()> {
    let features = Features::probe()?;
    features.sufficient()?;
    let pins = Pins::new(pins);
    let programs = Programs::load(&pins, Refusal::fitting(&features), Sizes::default())?;
    Kernel::open(&pins)?.read()?;
    // Anew over the maps and links of an earlier one, as after an upgrade.
    programs.attach(cgroup)?;
    let next = Programs::load(&pins, Refusal::fitting(&features), Sizes::default())?;
    next.attach(cgroup)?;
    look_at_sockets(next, &pins, cgroup)
}

/// In every network namespace; this thread stays in one of them.
fn look_at_sockets(mut programs: Programs, pins: &Pins, cgroup: &Path) -> Result<()> {
    programs.survey()?.read()?;
    let storage = bpf::open_pinned(&pins.map(SOCKETS))?;
    let (spaces, failures) = spaces::below(cgroup);
    if let Some(failure) = failures.into_iter().next() {
        return Err(failure.into());
    }
    ensure!(!spaces.is_empty(), "no network namespace was found");
    for space in spaces {
        space.enter()?;
        let diag = Diag::open()?;
        let own = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        own.connect((Ipv4Addr::LOCALHOST, 9))?;
        let all = diag.connected(Family::V4, Protocol::Udp, storage.as_fd())?;
        let address = own.local_addr()?;
        let found = all.iter().find(|socket| socket.own() == address);
        ensure!(diag.end(found.context("an own socket is not listed")?)?);
    }
    Ok(())
}

/// Does `work` in a thread of its own that has these capabilities and no others.
fn with_only(capabilities: &[u32], work: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            keep_only(capabilities)?;
            work()
        });
        thread
            .join()
            .unwrap_or_else(|_| Err(anyhow!("the thread panicked")))
    })
}

fn keep_only(capabilities: &[u32]) -> Result<()> {
    let mut sets = [Sets::default(); 2];
    for number in capabilities {
        let word = &mut sets[(number / 32) as usize];
        word.effective |= 1 << (number % 32);
        word.permitted |= 1 << (number % 32);
    }
    set(&sets)
}

/// Takes `CAP_NET_ADMIN` out of this thread's hands, or back into them.
pub(crate) fn lay_aside_net_admin(aside: bool) -> Result<()> {
    let (header, mut sets) = (HEADER, [Sets::default(); 2]);
    // SAFETY: the kernel reads a header and writes, for this version, two sets.
    let outcome = unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) };
    ensure!(outcome == 0, io::Error::last_os_error());
    let (_, number) = NUMBERS[0];
    if aside {
        sets[0].effective &= !(1 << number);
    } else {
        sets[0].effective |= 1 << number;
    }
    set(&sets)
}

/// Version 3, of this thread.
const HEADER: Header = Header {
    version: 0x2008_0522,
    pid: 0,
};

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn set(sets: &[Sets; 2]) -> Result<()> {
    let header = HEADER;
    // SAFETY: the kernel reads a header and, for this version, two sets; it changes this thread alone.
    let outcome = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    ensure!(outcome == 0, io::Error::last_os_error());
    Ok(())
}
