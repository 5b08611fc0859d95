//! etcd, the API server, the controllers and the scheduler, in the fabric's namespace.
//!
//! The namespace is private, so each listens on its ordinary port.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::addresses;
use super::certificates::{Authority, Identity, Subject};
use super::kubectl::Kubectl;
use super::tools::Tools;
use crate::fabric::Fabric;
use crate::process::{Command, Process};
use crate::tier::eventually;

mod api_server;

const PATIENCE: Duration = Duration::from_secs(90);
const ETCD: &str = "http://127.0.0.1:2379";

/// What starting each program takes.
pub(super) struct ControlPlane<'a> {
    pub(super) fabric: &'a Fabric,
    pub(super) tools: &'a Tools,
    pub(super) authority: &'a Authority,
}

impl ControlPlane<'_> {
    /// Starts etcd and the API server, and waits until that answers.
    pub(super) fn start_api(&self, kubectl: &Kubectl) -> Result<Vec<Process>> {
        let etcd = self.start_etcd()?;
        let mut api = self.start_api_server()?;
        let address = SocketAddr::new(self.fabric.own().address4().into(), addresses::API_PORT);
        eventually(PATIENCE, "the API server is ready", || {
            if !api.is_running()? {
                return Ok(Err(anyhow!(
                    "the API server has ended: {}",
                    last_lines(&api)
                )));
            }
            // Cheaper than kubectl, which is only asked once somebody listens.
            self.fabric
                .netns()
                .run(|| Ok(TcpStream::connect(address)?))?;
            kubectl.run(["get", "--raw", "/readyz"]).map(Ok)
        })??;
        Ok(vec![etcd, api])
    }

    /// Starts the controllers and the scheduler; nobody needs to wait for them.
    pub(super) fn start_controllers(&self) -> Result<Vec<Process>> {
        let controllers = "kube-controller-manager";
        let scheduler = "kube-scheduler";
        let controllers_config = self.kubeconfig(controllers)?;
        let scheduler_config = self.kubeconfig(scheduler)?;
        let tokens = self.authority.token_key();
        let plugins = self.fabric.run().folder().join("volume-plugins");
        let controllers = self
            .command(controllers)?
            .args(config_flags(&controllers_config))
            .args([
                "--leader-elect=false",
                "--use-service-account-credentials=true",
                "--bind-address=127.0.0.1",
            ])
            // Each node's ranges are given to it when it is made.
            .args(["--allocate-node-cidrs=false"])
            .arg(format!(
                "--service-cluster-ip-range={}",
                addresses::service_ranges()
            ))
            .arg(flag("service-account-private-key-file", &tokens))
            .arg(flag("root-ca-file", &self.authority.certificate()))
            .arg(flag(
                "cluster-signing-cert-file",
                &self.authority.certificate(),
            ))
            .arg(flag("cluster-signing-key-file", &self.authority.key()))
            // It makes this folder, by default below /usr.
            .arg(flag("flex-volume-plugin-dir", &plugins))
            .spawn()?;
        let scheduler = self
            .command(scheduler)?
            .args(config_flags(&scheduler_config))
            .args(["--leader-elect=false", "--bind-address=127.0.0.1"])
            .spawn()?;
        Ok(vec![controllers, scheduler])
    }

    fn start_etcd(&self) -> Result<Process> {
        let data = self.fabric.run().folder().join("etcd");
        fs::create_dir(&data)?;
        self.command("etcd")?
            .args(["--name=etcd", "--unsafe-no-fsync", "--log-level=warn"])
            .arg(flag("data-dir", &data))
            .args([
                format!("--listen-client-urls={ETCD}"),
                format!("--advertise-client-urls={ETCD}"),
            ])
            .spawn()
    }

    fn start_api_server(&self) -> Result<Process> {
        self.command("kube-apiserver")?
            .arg(format!("--etcd-servers={ETCD}"))
            .args(api_server::serving(self.fabric, self.authority)?)
            .args(api_server::trusting(self.authority))
            .args(api_server::reaching(self.authority)?)
            .spawn()
    }

    fn command(&self, program: &str) -> Result<Command> {
        self.fabric
            .run()
            .command(program, self.tools.path(program))
            .netns(self.fabric.netns())
    }

    fn kubeconfig(&self, program: &str) -> Result<PathBuf> {
        let subject = format!("system:{program}");
        let identity = self.authority.client(
            program,
            Subject {
                user: &subject,
                group: None,
            },
        )?;
        let path = self
            .fabric
            .run()
            .folder()
            .join(format!("{program}.kubeconfig"));
        self.authority
            .kubeconfig(&path, &identity, &addresses::api_url(self.fabric))?;
        Ok(path)
    }
}

fn config_flags(kubeconfig: &Path) -> [String; 3] {
    [
        "kubeconfig",
        "authentication-kubeconfig",
        "authorization-kubeconfig",
    ]
    .map(|name| flag(name, kubeconfig))
}

fn identity_flags(certificate: &str, key: &str, identity: &Identity) -> [String; 2] {
    [
        flag(certificate, &identity.certificate),
        flag(key, &identity.key),
    ]
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

fn last_lines(process: &Process) -> String {
    let output = process.output().unwrap_or_default();
    let lines: Vec<_> = output.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
