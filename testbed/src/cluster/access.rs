//! What tests do with any cluster, whoever raised it: by kubectl, and by the testbed's program in its pods.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::kubectl::Kubectl;
use super::pod::Pod;
use super::tools::Tools;
use crate::run::Run;

/// The way to a cluster's API server.
#[derive(Debug)]
pub struct Access {
    kubectl: Kubectl,
    /// Keeps the logs of what is started; there is none for a cluster of somebody else.
    run: Option<Run>,
}

impl Access {
    pub(super) fn own(kubectl: Kubectl, run: Run) -> Self {
        Self {
            kubectl,
            run: Some(run),
        }
    }

    /// To a cluster that somebody else has raised; nothing has been asked yet.
    pub fn foreign(kubeconfig: impl Into<PathBuf>) -> Self {
        let program = Tools::find().map_or("kubectl".into(), |tools| tools.path("kubectl"));
        Self {
            kubectl: Kubectl::new(program, kubeconfig.into()),
            run: None,
        }
    }

    /// Creates or changes the objects of a YAML text.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        self.kubectl.apply(yaml)
    }

    /// What kubectl prints.
    pub fn kubectl(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<String> {
        self.kubectl.run(args)
    }

    /// The kubectl of this cluster, for more than [`Access::kubectl`] does.
    pub fn client(&self) -> &Kubectl {
        &self.kubectl
    }

    /// A kubeconfig that works from the host.
    pub fn kubeconfig(&self) -> &Path {
        self.kubectl.kubeconfig()
    }

    /// Waits until a workload such as `deployment/echo` in a namespace has rolled out.
    pub fn rolled_out(&self, namespace: &str, workload: &str, patience: Duration) -> Result<()> {
        let timeout = format!("--timeout={}s", patience.as_secs());
        self.kubectl([
            "rollout",
            "status",
            "--namespace",
            namespace,
            workload,
            &timeout,
        ])
        .map(drop)
    }

    /// Makes a namespace, and waits until pods can be made in it.
    pub fn namespace(&self, name: &str) -> Result<()> {
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        self.apply(&namespace.to_string())?;
        // The controllers make it, and without it pods are refused.
        self.kubectl([
            "wait",
            "--for=create",
            "serviceaccount/default",
            "--namespace",
            name,
            "--timeout=60s",
        ])
        .map(drop)
    }

    /// Waits until something such as `pod/client` in a namespace is ready.
    pub fn ready(&self, namespace: &str, what: &str, patience: Duration) -> Result<()> {
        let timeout = format!("--timeout={}s", patience.as_secs());
        self.kubectl([
            "wait",
            "--for=condition=Ready",
            "--namespace",
            namespace,
            what,
            &timeout,
        ])
        .map(drop)
    }

    /// The way into a running pod that has the testbed's program inside, to give it orders.
    pub fn pod(&self, namespace: &str, name: &str) -> Result<Pod> {
        Pod::enter(self.run.as_ref(), &self.kubectl, namespace, name)
    }
}
