//! Runs one virtual machine to its end, without KVM: the emulator boots these kernels in seconds
//! and needs no rights.
//!
//! The kernel's messages and the programs' output have a serial port and a file each; both files
//! stay.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::report::READY;
use crate::process::start;

const PATIENCE: Duration = Duration::from_secs(900);
const PAUSE: Duration = Duration::from_millis(50);

/// What a machine left behind.
pub(super) struct Ended {
    /// What the programs printed.
    pub(super) output: String,
    pub(super) serial: PathBuf,
    /// From power to the first program, if it came that far.
    pub(super) boot: Option<Duration>,
    /// False when it had to be ended from outside.
    pub(super) by_itself: bool,
}

pub(super) fn boot(
    image: &Path,
    initramfs: &Path,
    init: &str,
    argument: &str,
    folder: &Path,
) -> Result<Ended> {
    let (serial, output) = (folder.join("serial.log"), folder.join("output.log"));
    for file in [&serial, &output] {
        File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let errors = File::create(folder.join("qemu.log")).context("cannot write qemu's log")?;
    // What stands behind the two dashes becomes the arguments of the first process.
    let arguments =
        format!("console=ttyS0 panic=-1 rdinit={init} {argument} -- sluice-testbed-guest");
    let mut machine = Command::new("qemu-system-x86_64");
    machine
        // One thread runs both processors in turn: with a thread for each, a processor may run
        // code that the other one is patching, and the kernel dies of an int3 that is not there.
        .args([
            "-machine",
            "q35",
            "-accel",
            "tcg,thread=single",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            "1536",
        ])
        .args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-nic",
            "none",
            "-no-reboot",
        ])
        .arg("-serial")
        .arg(format!("file:{}", serial.display()))
        .arg("-serial")
        .arg(format!("file:{}", output.display()))
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", &arguments])
        .stdin(Stdio::null())
        .stdout(errors.try_clone()?)
        .stderr(errors);
    let (boot, by_itself) = watch(start(&mut machine)?, &output)?;
    let bytes = fs::read(&output).with_context(|| format!("cannot read {}", output.display()))?;
    Ok(Ended {
        output: String::from_utf8_lossy(&bytes).into_owned(),
        serial,
        boot,
        by_itself,
    })
}

/// Waits for the machine's end, or makes one when patience is over.
fn watch(mut machine: Child, output: &Path) -> Result<(Option<Duration>, bool)> {
    let started = Instant::now();
    let mut boot = None;
    loop {
        if boot.is_none()
            && fs::read(output).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(READY))
        {
            boot = Some(started.elapsed());
        }
        if machine
            .try_wait()
            .context("cannot wait for qemu")?
            .is_some()
        {
            return Ok((boot, true));
        }
        if started.elapsed() > PATIENCE {
            machine
                .kill()
                .and_then(|()| machine.wait())
                .context("cannot end qemu")?;
            return Ok((boot, false));
        }
        thread::sleep(PAUSE);
    }
}
