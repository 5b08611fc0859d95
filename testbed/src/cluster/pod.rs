//! A pod of a real cluster that takes orders: the testbed's program, started in its container by `kubectl exec`. Or a
//! process of a node outside its pods, which needs no API server to be asked.

use std::ops::Deref;

use anyhow::{Context as _, Result};

use super::images::PROGRAM;
use super::kubectl::Kubectl;
use crate::pod::{Orders, ROLE};
use crate::process::{Command, Process};
use crate::run::Run;
use crate::serve::Service;

/// The way to such a process; dropping it ends what was started, and not the container.
#[derive(Debug)]
pub struct Pod {
    orders: Orders,
    _process: Process,
}

impl Pod {
    pub(super) fn enter(
        run: Option<&Run>,
        kubectl: &Kubectl,
        namespace: &str,
        name: &str,
    ) -> Result<Self> {
        let log = format!("exec-{namespace}-{name}");
        let command = match run {
            Some(run) => run.command(&log, kubectl.program()),
            None => Command::new(log, kubectl.program()),
        };
        let command = command
            .env("KUBECONFIG", kubectl.kubeconfig())
            .args([
                "exec",
                "--stdin",
                "--namespace",
                namespace,
                name,
                "--",
                PROGRAM,
                ROLE,
            ])
            .arg(serde_json::to_string(&Service::new(name))?);
        Self::start(name, command)
    }

    pub(super) fn on_the_host(name: &str, command: Command) -> Result<Self> {
        let service = serde_json::to_string(&Service::new(name))?;
        Self::start(name, command.arg(ROLE).arg(service))
    }

    fn start(name: &str, command: Command) -> Result<Self> {
        let mut process = command.piped().spawn()?;
        let pipes = process.pipes().context("the process has no pipes")?;
        let orders =
            Orders::open(name, pipes).with_context(|| process.output().unwrap_or_default())?;
        Ok(Self {
            orders,
            _process: process,
        })
    }
}

impl Deref for Pod {
    type Target = Orders;

    fn deref(&self) -> &Orders {
        &self.orders
    }
}
