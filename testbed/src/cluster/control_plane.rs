//! etcd, the API server, the controllers and the scheduler, in the fabric's namespace.
//!
//! The namespace is private, so each listens on its ordinary port.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::addresses;
use super::certificates::{Authority, Identity, Subject};
use super::kubectl::Kubectl;
use super::tools::Tools;
use crate::daemon::Daemon;
use crate::fabric::Fabric;
use crate::process::Command;
use crate::tier::eventually;

mod api_server;

const PATIENCE: Duration = Duration::from_secs(90);
/// How long one question to a server that may be frozen waits.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);
pub(super) const ETCD: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2379);

/// The running programs, to each of which things may happen on purpose. The API server ends before its store.
#[derive(Debug)]
pub struct ControlPlane {
    pub controller_manager: Daemon,
    pub scheduler: Daemon,
    pub api_server: Daemon,
    pub etcd: Daemon,
}

/// What starting each program takes.
#[derive(Clone, Copy)]
pub(super) struct Starter<'a> {
    pub(super) fabric: &'a Fabric,
    pub(super) tools: &'a Tools,
    pub(super) authority: &'a Authority,
}

impl ControlPlane {
    pub(super) fn daemons(&self) -> [&Daemon; 4] {
        let Self {
            controller_manager,
            scheduler,
            api_server,
            etcd,
        } = self;
        [controller_manager, scheduler, api_server, etcd]
    }
}

impl Starter<'_> {
    /// Starts etcd and the API server, and waits until that answers.
    pub(super) fn start_api(&self, kubectl: &Kubectl) -> Result<(Daemon, Daemon)> {
        let etcd = self.start_etcd()?;
        let api = self.start_api_server()?;
        eventually(PATIENCE, "the API server is ready", || {
            if let Err(ended) = api.check() {
                return Ok(Err(ended));
            }
            answers(self.fabric, kubectl).map(Ok)
        })??;
        Ok((etcd, api))
    }

    /// Starts the controllers and the scheduler; nobody needs to wait for them.
    pub(super) fn start_controllers(&self) -> Result<(Daemon, Daemon)> {
        let controllers = "kube-controller-manager";
        let scheduler = "kube-scheduler";
        let controllers_config = self.kubeconfig(controllers)?;
        let scheduler_config = self.kubeconfig(scheduler)?;
        let tokens = self.authority.token_key();
        let plugins = self.fabric.run().folder().join("volume-plugins");
        let controllers_command = self
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
            .arg(flag("flex-volume-plugin-dir", &plugins));
        let scheduler_command = self
            .command(scheduler)?
            .args(config_flags(&scheduler_config))
            .args(["--leader-elect=false", "--bind-address=127.0.0.1"]);
        Ok((
            Daemon::start(controllers, controllers_command)?,
            Daemon::start(scheduler, scheduler_command)?,
        ))
    }

    fn start_etcd(&self) -> Result<Daemon> {
        let data = self.fabric.run().folder().join("etcd");
        fs::create_dir(&data)?;
        let command = self
            .command("etcd")?
            .args(["--name=etcd", "--unsafe-no-fsync", "--log-level=warn"])
            .arg(flag("data-dir", &data))
            .args([
                format!("--listen-client-urls=http://{ETCD}"),
                format!("--advertise-client-urls=http://{ETCD}"),
            ]);
        Daemon::start("etcd", command)
    }

    fn start_api_server(&self) -> Result<Daemon> {
        let program = "kube-apiserver";
        let command = self
            .command(program)?
            .arg(format!("--etcd-servers=http://{ETCD}"))
            .args(api_server::serving(self.fabric, self.authority)?)
            .args(api_server::trusting(self.authority))
            .args(api_server::reaching(self.authority)?);
        Daemon::start(program, command)
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

/// Asks whether the API server is ready.
pub(super) fn answers(fabric: &Fabric, kubectl: &Kubectl) -> Result<()> {
    let address = SocketAddr::new(fabric.own().address4().into(), addresses::API_PORT);
    // Cheaper than kubectl, which is only asked once somebody listens.
    fabric
        .netns()
        .run(|| Ok(TcpStream::connect_timeout(&address, PROBE_PATIENCE)?))?;
    let timeout = format!("--request-timeout={}s", PROBE_PATIENCE.as_secs());
    kubectl.run(["get", "--raw", "/readyz", &timeout]).map(drop)
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
