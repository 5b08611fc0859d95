//! What can be asked of a process inside a pod: a light one's own, or one started in a container.

use std::process::{ChildStdin, ChildStdout};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail};

use super::channel::{Channel, Pending};
use super::order::{Task, Told};
use crate::errno::Code;
use crate::load::{Answer, Load, Report, Target};
use crate::program::{Step, StepResult};

/// The way to give orders to such a process.
#[derive(Debug)]
pub struct Orders {
    name: String,
    channel: Channel,
    programs: AtomicU64,
}

/// A load that goes on while the test does something else.
#[derive(Debug)]
pub struct RunningLoad<'pod> {
    orders: &'pod Orders,
    answer: Pending,
}

/// A program of socket calls that goes on with each run; dropping it closes its sockets.
#[derive(Debug)]
pub struct Program<'pod> {
    orders: &'pod Orders,
    number: u64,
}

impl Orders {
    /// Waits until the process at the other end of the pipes obeys.
    pub(crate) fn open(name: &str, pipes: (ChildStdin, ChildStdout)) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            channel: Channel::open(pipes)?,
            programs: AtomicU64::new(0),
        })
    }

    /// Connects, and hears who answers; that the connect failed is an error that holds its [`Code`].
    pub fn connect(&self, target: impl Into<Target>) -> Result<Answer> {
        let target = target.into();
        self.try_connect(target)?
            .with_context(|| format!("{} asks {target}", self.name))
    }

    /// As [`Orders::connect`], with the connect's own failure as a value.
    pub fn try_connect(&self, target: impl Into<Target>) -> Result<Result<Answer, Code>> {
        match self.channel.ask(Task::Ask(target.into()))? {
            Told::Answer(answer) => Ok(answer),
            other => unexpected(&other),
        }
    }

    /// Runs a program of socket calls; one result per step.
    pub fn run(&self, steps: &[Step]) -> Result<Vec<StepResult>> {
        match self.channel.ask(Task::Run(steps.to_vec()))? {
            Told::Steps(results) => Ok(results),
            other => unexpected(&other),
        }
    }

    /// Begins a program of socket calls whose sockets stay open between runs.
    pub fn program(&self) -> Program<'_> {
        Program {
            orders: self,
            number: self.programs.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Runs a load to its end.
    pub fn load(&self, load: &Load) -> Result<Report> {
        self.start_load(load)?.finish()
    }

    pub fn start_load(&self, load: &Load) -> Result<RunningLoad<'_>> {
        Ok(RunningLoad {
            orders: self,
            answer: self.channel.begin(Task::Load(load.clone()))?,
        })
    }

    pub(super) fn done(&self, task: Task) -> Result<()> {
        match self.channel.ask(task)? {
            Told::Done => Ok(()),
            other => unexpected(&other),
        }
    }
}

impl Program<'_> {
    /// Carries out more steps; one result per step. Sockets keep their numbers.
    pub fn run(&self, steps: &[Step]) -> Result<Vec<StepResult>> {
        let task = Task::Continue(self.number, steps.to_vec());
        match self.orders.channel.ask(task)? {
            Told::Steps(results) => Ok(results),
            other => unexpected(&other),
        }
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        // Fails only when the pod's process is gone, and its sockets with it.
        let _ = self.orders.done(Task::End(self.number));
    }
}

impl RunningLoad<'_> {
    /// What has happened until now.
    pub fn so_far(&self) -> Result<Report> {
        report(self.orders.channel.ask(Task::PeekLoad(self.answer.id()))?)
    }

    /// Waits until it ends by itself.
    pub fn finish(self) -> Result<Report> {
        report(self.answer.wait()?)
    }

    /// Ends it after the tries that are on their way.
    pub fn stop(self) -> Result<Report> {
        self.orders.done(Task::StopLoad(self.answer.id()))?;
        self.finish()
    }
}

fn report(told: Told) -> Result<Report> {
    match told {
        Told::Report(report) => Ok(report),
        other => unexpected(&other),
    }
}

fn unexpected<T>(told: &Told) -> Result<T> {
    bail!("the pod gave an answer to something else: {told:?}")
}
