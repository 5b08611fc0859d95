//! A pod of a real cluster that takes orders: the testbed's program, started in its container by `kubectl exec`.

use std::ops::Deref;

use anyhow::{Context as _, Result};

use super::images::PROGRAM;
use super::kubectl::Kubectl;
use crate::pod::{Orders, ROLE};
use crate::process::{Command, Process};
use crate::run::Run;
use crate::serve::Service;

/// The way into a container; dropping it ends what was started there, and not the container.
#[derive(Debug)]
pub struct Pod {
    orders: Orders,
    _exec: Process,
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
        let mut exec = command
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
            .arg(serde_json::to_string(&Service::new(name))?)
            .piped()
            .spawn()?;
        let pipes = exec.pipes().context("kubectl has no pipes")?;
        let orders =
            Orders::open(name, pipes).with_context(|| exec.output().unwrap_or_default())?;
        Ok(Self {
            orders,
            _exec: exec,
        })
    }
}

impl Deref for Pod {
    type Target = Orders;

    fn deref(&self) -> &Orders {
        &self.orders
    }
}
