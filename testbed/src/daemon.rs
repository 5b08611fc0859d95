//! A program that runs for long, and to which things happen on purpose: it is frozen, killed, started again.
//!
//! A frozen program keeps its sockets: who talks to it gets neither an answer nor a reset. A killed one is gone at once,
//! as by a crash; its log goes on when it is started again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};
use nix::sys::signal::Signal;

use crate::process::{Command, Process};

/// How many lines of a log are told of a program that has ended.
const LAST_LINES: usize = 5;

/// A program that can be started again as it was; dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    command: Command,
    process: Mutex<Process>,
}

impl Daemon {
    /// Starts the program.
    pub fn start(name: impl Into<String>, command: Command) -> Result<Self> {
        let process = Mutex::new(command.spawn()?);
        Ok(Self {
            name: name.into(),
            command,
            process,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of its process, which is another after each start.
    pub fn pid(&self) -> u32 {
        self.process().pid()
    }

    /// Stops it where it is (SIGSTOP), until [`Daemon::thaw`].
    pub fn freeze(&self) -> Result<()> {
        self.check()?;
        self.process().signal(Signal::SIGSTOP)
    }

    pub fn thaw(&self) -> Result<()> {
        self.process().signal(Signal::SIGCONT)
    }

    /// Ends it as a crash does (SIGKILL), and returns when it is gone.
    pub fn kill(&self) -> Result<()> {
        self.process().kill().map(drop)
    }

    /// Kills it if it still runs, and starts it anew.
    pub fn restart(&self) -> Result<()> {
        let mut process = self.process();
        process.kill()?;
        *process = self.command.spawn()?;
        Ok(())
    }

    /// Fails, with the end of its log, if it has ended.
    pub fn check(&self) -> Result<()> {
        let mut process = self.process();
        if process.is_running()? {
            return Ok(());
        }
        let log = process.output()?;
        let lines: Vec<_> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
        bail!("{} has ended: {last}", self.name)
    }

    /// What it has written, over all its starts.
    pub fn output(&self) -> Result<String> {
        self.process().output()
    }

    /// A panic elsewhere says nothing about the process.
    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
