//! A real node: the unmodified kubelet, containerd and kube-proxy in a network, mount and UTS namespace of their own.
//!
//! All processes of the node, pods or not, are below one cgroup per hierarchy, which the kubelet takes for the root: so
//! several nodes stand side by side on one kernel. Its files are on a file system in memory, below the run's folder.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::ChildStdin;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::mount::{MsFlags, mount};
use serde_json::Value;

use self::root::Root;
use super::addresses;
use super::certificates::{Authority, Subject};
use super::tools::Tools;
use super::{Mode, Pod, Proxy};
use crate::cgroup::Cgroup;
use crate::daemon::Daemon;
use crate::fabric::{Fabric, Member};
use crate::netns::Netns;
use crate::process::{Command, Mounts, Process};
use crate::run::Run;
use crate::tier::eventually;

pub(super) mod config;
mod hierarchies;
pub(crate) mod root;

const PATIENCE: Duration = Duration::from_secs(60);
/// Where containerd listens, as seen inside the node.
const CONTAINERD: &str = "/run/containerd/containerd.sock";
/// The namespace of containerd that the kubelet uses.
const NAMESPACE: &str = "k8s.io";

/// A running real node.
#[derive(Debug)]
pub struct Node {
    name: String,
    member: Member,
    cgroup: Cgroup,
    bpffs: PathBuf,
    /// Files for the node's programs, seen at the same path inside and outside.
    settings: PathBuf,
    daemons: Vec<Daemon>,
    /// Keeps the mount namespace, and ends after the programs in it.
    root: Process,
    /// Its input: it ends when this does.
    _root_input: ChildStdin,
    netns: Netns,
    tools: Tools,
    run: Run,
}

impl Node {
    /// Makes the node's namespaces and starts containerd in them.
    pub(super) fn create(fabric: &Fabric, tools: &Tools, name: &str) -> Result<Self> {
        let run = fabric.run().clone();
        let netns = run.netns(name)?;
        let member = fabric.join(&netns)?;
        let cgroup = hierarchies::prepare(&run, name)?;
        let bpffs = run.bpffs().join(name);
        let settings = run.folder().join("settings").join(name);
        let disk = run.folder().join("nodes").join(name);
        for folder in [&bpffs, &settings, &disk] {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        mount(
            Some("tmpfs"),
            &disk,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("mode=0755"),
        )
        .with_context(|| format!("mounting a file system in memory at {}", disk.display()))?;
        config::write_network(&disk, member)?;
        let root = Root {
            disk,
            bpffs: bpffs.clone(),
            host_bpffs: run.host().bpffs.clone(),
            run: run.folder().to_owned(),
        };
        let (root, input) = hold(&run, &cgroup, name, &root)?;
        let mut node = Self {
            name: name.to_owned(),
            member,
            cgroup,
            bpffs,
            settings,
            daemons: Vec::new(),
            root,
            _root_input: input,
            netns,
            tools: tools.clone(),
            run,
        };
        node.start_containerd()?;
        Ok(node)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The node's addresses, and those of its pods.
    pub fn member(&self) -> Member {
        self.member
    }

    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// The root of the node's cgroups of version 2, as an agent's `--cgroup-root`.
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// The node's BPF file system, as seen from outside.
    pub fn bpffs(&self) -> &Path {
        &self.bpffs
    }

    pub fn containerd(&self) -> Result<&Daemon> {
        self.daemon("containerd")
    }

    pub fn kubelet(&self) -> Result<&Daemon> {
        self.daemon("kubelet")
    }

    /// Fails, with the end of its log, for a program of the node that has ended.
    pub fn check(&self) -> Result<()> {
        self.daemons.iter().try_for_each(Daemon::check)
    }

    fn daemon(&self, program: &str) -> Result<&Daemon> {
        let is_it = |daemon: &&Daemon| daemon.name().split(' ').next() == Some(program);
        let found = self.daemons.iter().find(is_it);
        found.with_context(|| format!("{} has no {program}", self.name))
    }

    /// A process of the node itself: in all its namespaces and in its cgroup.
    pub fn command(&self, name: &str, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        let cgroup = self.cgroup.child(Path::new("system.slice").join(name))?;
        let command = self
            .run
            .command(&format!("{}-{name}", self.name), program)
            .cgroup(&cgroup);
        command
            .mounts(Mounts::Of(self.root.pid()))
            .hostname(&self.name)
            .env("PATH", self.tools.search_path())
            .netns(&self.netns)
    }

    /// A process of the node that takes orders, outside of its pods: it is asked past the API server.
    pub fn client(&self, name: &str) -> Result<Pod> {
        Pod::on_the_host(name, self.command(name, env::current_exe()?)?)
    }

    /// Gives the node an image from an OCI archive.
    pub fn import(&self, archive: &Path) -> Result<()> {
        let mut import = self
            .command("import", self.tools.path("ctr"))?
            .args([
                "--address",
                CONTAINERD,
                "--namespace",
                NAMESPACE,
                "images",
                "import",
            ])
            .arg(archive)
            .spawn()?;
        let status = import.wait(PATIENCE)?;
        if !status.success() {
            bail!(
                "{} cannot import {}: {}",
                self.name,
                archive.display(),
                import.output()?.trim()
            );
        }
        Ok(())
    }

    /// The object by which the API server knows the node before its kubelet does, with the ranges of its pods.
    pub(super) fn object(&self) -> Value {
        object(&self.name, self.member)
    }

    fn start_containerd(&mut self) -> Result<()> {
        let file = self.settings.join("containerd.toml");
        fs::write(&file, config::containerd())?;
        let command = self
            .command("containerd", self.tools.path("containerd"))?
            .arg("--config")
            .arg(file);
        let containerd = self.start("containerd", command)?;
        // Its socket is looked for through the root of a process that sees the node's mounts.
        let socket = PathBuf::from(format!("/proc/{}/root{CONTAINERD}", self.root.pid()));
        eventually(PATIENCE, "containerd listens", || {
            if let Err(ended) = containerd.check() {
                return Ok(Err(ended));
            }
            std::os::unix::net::UnixStream::connect(&socket)?;
            Ok(Ok(()))
        })??;
        self.daemons.push(containerd);
        Ok(())
    }

    fn start(&self, program: &str, command: Command) -> Result<Daemon> {
        Daemon::start(format!("{program} of {}", self.name), command)
    }

    /// Starts the kubelet, which then makes the node ready, and kube-proxy.
    pub(super) fn start_kubelet(
        &mut self,
        fabric: &Fabric,
        authority: &Authority,
        proxy: Proxy,
    ) -> Result<()> {
        let url = addresses::api_url(fabric);
        let user = format!("system:node:{}", self.name);
        let client = authority.client(
            &user.replace(':', "-"),
            Subject {
                user: &user,
                group: Some("system:nodes"),
            },
        )?;
        let server = authority.server(
            &format!("kubelet-{}", self.name),
            &user,
            &[&self.name],
            &addresses::of_node(self.member),
        )?;
        let kubeconfig = self.settings.join("kubelet.kubeconfig");
        authority.kubeconfig(&kubeconfig, &client, &url)?;
        let resolv = self.settings.join("resolv.conf");
        fs::write(&resolv, "# There is no name server outside the cluster.\n")?;
        let file = self.settings.join("kubelet.yaml");
        let root = Path::new("/").join(
            self.cgroup
                .path()
                .file_name()
                .context("a node's cgroup has a name")?,
        );
        fs::write(
            &file,
            config::kubelet(&root, authority, &server, &resolv).to_string(),
        )?;
        let addresses = addresses::of_node(self.member)
            .map(|address| address.to_string())
            .join(",");
        let command = self
            .command("kubelet", self.tools.path("kubelet"))?
            .arg(format!("--config={}", file.display()))
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .args([
                format!("--hostname-override={}", self.name),
                format!("--node-ip={addresses}"),
            ]);
        self.daemons.push(self.start("kubelet", command)?);
        if let Proxy::KubeProxy(mode) = proxy {
            self.daemons
                .push(self.start_kube_proxy(fabric, authority, mode)?);
        }
        Ok(())
    }

    /// Starts a kube-proxy, which ends when the result is dropped.
    pub(super) fn start_kube_proxy(
        &self,
        fabric: &Fabric,
        authority: &Authority,
        mode: Mode,
    ) -> Result<Daemon> {
        let user = Subject {
            user: "system:kube-proxy",
            group: None,
        };
        let client = authority.client(&format!("kube-proxy-{}", self.name), user)?;
        let kubeconfig = self.settings.join("kube-proxy.kubeconfig");
        authority.kubeconfig(&kubeconfig, &client, &addresses::api_url(fabric))?;
        let file = self.settings.join("kube-proxy.yaml");
        fs::write(
            &file,
            config::kube_proxy(&kubeconfig, &self.name, mode).to_string(),
        )?;
        let command = self
            .command("kube-proxy", self.tools.path("kube-proxy"))?
            .arg(format!("--config={}", file.display()));
        self.start("kube-proxy", command)
    }
}

/// What a node is to the API server before its kubelet says more.
pub(super) fn object(name: &str, member: Member) -> Value {
    let ranges = addresses::pod_ranges(member);
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name },
        "spec": { "podCIDR": ranges[0], "podCIDRs": ranges },
    })
}

/// Starts the process that makes the node's mounts and keeps them; returns when they are made.
fn hold(run: &Run, cgroup: &Cgroup, name: &str, root: &Root) -> Result<(Process, ChildStdin)> {
    let cgroup = cgroup.child("system.slice/root")?;
    let mut process = run
        .command_again(&format!("{name}-root"))
        .arg(root::ROLE)
        .arg(serde_json::to_string(root)?)
        .cgroup(&cgroup)
        .mounts(Mounts::Private)
        .piped()
        .spawn()?;
    let (input, output) = process.pipes().context("the process has no pipes")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    if line != root::READY {
        bail!(
            "the mounts of {name} could not be made: {}",
            process.output()?.trim()
        );
    }
    Ok((process, input))
}
