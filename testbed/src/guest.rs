//! The first process of a virtual machine that runs tests on another kernel.
//!
//! The machine has nothing but an initramfs: this program, the programs to run, the modules they
//! need, and a plan of what to do. What the programs print goes to the second serial port, so that
//! the kernel's own messages, on the first, never come in between. Lines that begin with `guest: `
//! mark where each program begins and how it ended; whoever started the machine reads them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio, exit};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::kmod::init_module;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::sys::time::TimeSpec;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime, clock_settime};
use nix::unistd::{Pid, getpid, sync};
use serde::Deserialize;

use crate::link::Links;

pub(crate) const ROLE: &str = "sluice-testbed-guest";

const PLAN: &str = "/guest.json";
const PORT: &str = "/dev/ttyS1";

/// File systems in the order in which they are mounted: kind, place.
const MOUNTS: [(&str, &str); 8] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("securityfs", "/sys/kernel/security"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/tmp"),
    ("tmpfs", "/run"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("bpf", "/sys/fs/bpf"),
];

/// A machine that is the tests' own: what they do to all of it nobody else sees.
#[derive(Debug)]
pub struct Machine(());

impl Machine {
    /// `None` on every other machine.
    pub fn own() -> Option<Self> {
        Path::new(PLAN).exists().then_some(Self(()))
    }

    /// Sets the clock on the wall forward, or back.
    pub fn shift_clock(&self, by: TimeSpec) -> Result<()> {
        let clock = ClockId::CLOCK_REALTIME;
        Ok(clock_settime(clock, clock_gettime(clock)? + by)?)
    }
}

/// What to do, as the initramfs says.
#[derive(Debug, Deserialize)]
struct Plan {
    /// Paths of kernel modules, each after those that it depends on.
    modules: Vec<String>,
    /// A file that tells of a setting of the kernel.
    shown: Option<String>,
    commands: Vec<Order>,
}

#[derive(Debug, Deserialize)]
struct Order {
    name: String,
    /// The program and its arguments.
    words: Vec<String>,
}

/// Carries out the plan and switches the machine off.
pub(crate) fn become_guest() -> ! {
    if getpid() == Pid::from_raw(1) {
        if let Err(error) = run() {
            // The first serial port is where the kernel writes, and what there is when all else
            // fails.
            eprintln!("guest: failed {error:#}");
        }
        sync();
        // A first process that ends is a panic of the kernel, which also ends the machine.
        let _ = reboot(RebootMode::RB_POWER_OFF);
    } else {
        eprintln!(
            "error: {ROLE} is for the first process of a virtual machine, which `make kernels` starts"
        );
    }
    exit(1)
}

fn run() -> Result<()> {
    mount_all()?;
    let mut port = open_port()?;
    if let Err(error) = carry_out(&mut port) {
        say(&mut port, &format!("failed {error:#}"))?;
    }
    say(&mut port, "over")?;
    Ok(())
}

fn carry_out(port: &mut File) -> Result<()> {
    // Kernels before 5.11 charge BPF maps to this limit.
    setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY)?;
    let plan = fs::read(PLAN).with_context(|| format!("cannot read {PLAN}"))?;
    let plan: Plan = serde_json::from_slice(&plan).with_context(|| format!("{PLAN} is no plan"))?;
    for module in &plan.modules {
        load(module)?;
    }
    Links::of_this_thread()?.up("lo")?;
    say(port, "ready")?;
    if let Some(file) = &plan.shown {
        let shown = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
        say(port, &format!("shown {}", shown.trim()))?;
    }
    for order in &plan.commands {
        say(port, &format!("begin {}", order.name))?;
        let ended = execute(order, port)?;
        // What the program printed may lack the end of its last line.
        writeln!(port)?;
        say(port, &format!("end {} {ended}", order.name))?;
    }
    Ok(())
}

fn mount_all() -> Result<()> {
    for (kind, place) in MOUNTS {
        fs::create_dir_all(place).with_context(|| format!("cannot make {place}"))?;
        match mount(
            Some(kind),
            place,
            Some(kind),
            MsFlags::empty(),
            None::<&str>,
        ) {
            // The kernel may have mounted /dev itself.
            Ok(()) | Err(Errno::EBUSY) => {}
            Err(errno) => {
                return Err(errno).with_context(|| format!("cannot mount {kind} on {place}"));
            }
        }
    }
    Ok(())
}

/// The port passes bytes on as they are: a terminal would turn each line feed into two characters.
fn open_port() -> Result<File> {
    let port = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_NOCTTY.bits())
        .open(PORT);
    let port = port.with_context(|| format!("cannot open {PORT}"))?;
    let mut settings = tcgetattr(port.as_fd())?;
    cfmakeraw(&mut settings);
    tcsetattr(port.as_fd(), SetArg::TCSANOW, &settings)?;
    Ok(port)
}

fn load(module: &str) -> Result<()> {
    let image = fs::read(module).with_context(|| format!("cannot read {module}"))?;
    match init_module(&image, c"") {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("cannot load {module}")),
    }
}

/// Runs a program to its end, and reaps whatever else ends meanwhile: orphans are the first
/// process's to reap.
fn execute(order: &Order, port: &File) -> Result<String> {
    let (program, arguments) = order
        .words
        .split_first()
        .context("a command of the plan is empty")?;
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        // A test that skips itself here would prove nothing.
        .envs([
            ("PATH", "/bin"),
            ("HOME", "/"),
            ("TMPDIR", "/tmp"),
            ("CI", "true"),
            ("NO_COLOR", "1"),
            ("RUST_BACKTRACE", "1"),
        ])
        .stdin(Stdio::null())
        .stdout(port.try_clone()?)
        .stderr(port.try_clone()?)
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let child = Pid::from_raw(i32::try_from(child.id())?);
    loop {
        match waitpid(None, None)? {
            WaitStatus::Exited(pid, code) if pid == child => return Ok(format!("code {code}")),
            WaitStatus::Signaled(pid, signal, _) if pid == child => {
                return Ok(format!("signal {signal}"));
            }
            _ => {}
        }
    }
}

fn say(port: &mut File, what: &str) -> io::Result<()> {
    writeln!(port, "guest: {}", what.replace('\n', " "))
}
