//! A node with an agent on manifests, and the program as a process of that node.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sluice_testbed::{fabric::Fabric, node::Node, process::Process, tier::eventually};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kubectl-sluice");
/// The role in which the test program is the agent.
pub(crate) const AGENT: &str = "agent";
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const MANIFESTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: checkout, namespace: shop}
spec: {clusterIP: 10.96.0.10, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: checkout-v1, namespace: shop}
spec: {clusterIP: 10.96.0.11, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: checkout-v2, namespace: shop}
spec: {clusterIP: 10.96.0.12, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: v1-1, namespace: shop, labels: {kubernetes.io/service-name: checkout-v1}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.244.1.2]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: v2-1, namespace: shop, labels: {kubernetes.io/service-name: checkout-v2}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.244.1.3]}]
---
apiVersion: sluice.dev/v1alpha1
kind: TrafficSplit
metadata: {name: checkout, namespace: shop}
spec:
  service: checkout
  versions:
  - {name: stable, service: checkout-v1, weight: 90}
  - {name: canary, service: checkout-v2, weight: 10}
---
apiVersion: sluice.dev/v1alpha1
kind: TrafficSplit
metadata: {name: search, namespace: find}
spec:
  service: search
  versions:
  - {name: only, service: search-v1, weight: 1}
";

const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
current-context: first
contexts:
- {name: first, context: {cluster: first, user: nobody}}
- {name: other, context: {cluster: other, user: nobody}}
clusters:
- {name: first, cluster: {server: 'http://127.0.0.1:9101'}}
- {name: other, cluster: {server: 'http://127.0.0.1:9102'}}
users:
- {name: nobody, user: {}}
";

/// A node with an agent on manifests.
pub(crate) struct Bed {
    _agent: Process,
    pub(crate) node: Node,
    fabric: Fabric,
}

impl Bed {
    pub(crate) fn start() -> Result<Self> {
        Self::with(MANIFESTS)
    }

    pub(crate) fn with(text: &str) -> Result<Self> {
        let fabric = Fabric::start()?;
        let node = fabric.node("node-1")?;
        let manifests: PathBuf = fabric.run().folder().join("manifests");
        fs::create_dir(&manifests)?;
        fs::write(manifests.join("shop.yaml"), text)?;
        let agent = node
            .command_again(AGENT)?
            .args([AGENT, "--node-name", "node-1", "--check-every", "3600"])
            .args(["--admin", "127.0.0.1:9000", "--manifests"])
            .arg(&manifests)
            .arg("--state")
            .arg(manifests.with_file_name("state"))
            .arg("--cgroup-root")
            .arg(node.cgroup().path())
            .arg("--bpffs")
            .arg(node.bpffs())
            .spawn()?;
        let bed = Self {
            _agent: agent,
            node,
            fabric,
        };
        eventually(PATIENCE, "a ready agent", || {
            bed.good("--admin 127.0.0.1:9000 status").map(drop)
        })?;
        Ok(bed)
    }

    /// Runs the program as a process of the node.
    pub(crate) fn run(&self, args: &str) -> Result<Output> {
        self.run_with(args, &[])
    }

    pub(crate) fn run_with(&self, args: &str, variables: &[(&str, &str)]) -> Result<Output> {
        let mut program = Command::new(PROGRAM);
        // The kubeconfig of whoever runs the tests is not part of them.
        program
            .args(args.split_whitespace())
            .env_clear()
            .envs(variables.iter().copied());
        self.node
            .netns()
            .run(move || program.output().context("running kubectl-sluice"))
    }

    /// What it says when it cannot do what it is told. `CONFIG` stands for a kubeconfig.
    pub(crate) fn complaint(&self, args: &str) -> Result<String> {
        let kubeconfig = self.fabric.run().folder().join("kubeconfig");
        fs::write(&kubeconfig, KUBECONFIG)?;
        let output = self.run(&args.replace("CONFIG", &kubeconfig.display().to_string()))?;
        ensure!(output.status.code() == Some(1), "{args}: {output:?}");
        Ok(String::from_utf8(output.stderr)?)
    }

    /// What it prints when all is well.
    pub(crate) fn good(&self, args: &str) -> Result<String> {
        let output = self.run(args)?;
        ensure!(output.status.success(), "{args}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }
}
