//! The lines between a pod's process and its owner.

use serde::{Deserialize, Serialize};

use crate::errno::Code;
use crate::load::{Answer, Load, Report, Target};
use crate::program::{Step, StepResult};
use crate::serve::Behaviour;

/// The number under which the process says that it serves.
pub(super) const HELLO: u64 = 0;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) id: u64,
    pub(super) task: Task,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Task {
    Ask(Target),
    Run(Vec<Step>),
    /// Goes on with the program of this number, whose sockets have stayed open; the first order with
    /// a number begins it.
    Continue(u64, Vec<Step>),
    /// Closes the sockets of the program of this number.
    End(u64),
    Load(Load),
    /// What the load of this number has seen until now.
    PeekLoad(u64),
    StopLoad(u64),
    Behave(Behaviour),
    Ready(bool),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reply {
    pub(super) id: u64,
    pub(super) told: Result<Told, String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Told {
    Done,
    Answer(Result<Answer, Code>),
    Steps(Vec<StepResult>),
    Report(Report),
}
