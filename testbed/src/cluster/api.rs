//! etcd and the API server alone: objects for programs on light nodes, which come and go in milliseconds.
//!
//! There are no controllers, so whoever makes a Service makes its EndpointSlices too, and nothing changes by itself.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::certificates::{Authority, Subject};
use super::control_plane::{ETCD, Starter};
use super::forwarder::Forwarder;
use super::node::{config, object};
use super::{Access, Mode, Tools, addresses, raise};
use crate::daemon::Daemon;
use crate::fabric::Fabric;
use crate::node::Node;
use crate::process::Command;
use crate::run::Run;

/// A running API server; dropping it ends it. The order of the fields is the order in which they end.
#[derive(Debug)]
pub struct Api {
    access: Access,
    _door: Forwarder,
    server: Daemon,
    etcd: Daemon,
    kubeconfig: PathBuf,
    authority: Authority,
    tools: Tools,
    url: String,
    run: Run,
}

impl Api {
    /// Starts both in the fabric's namespace; when this returns, the API server is ready.
    pub fn start(fabric: &Fabric) -> Result<Self> {
        let tools = Tools::find()?;
        let authority = Authority::create(fabric.run().folder().join("certificates"))?;
        let server = SocketAddr::new(fabric.own().address4().into(), addresses::API_PORT);
        let door = Forwarder::open(fabric.netns(), server)?;
        let kubectl = raise::admin(fabric, &tools, &authority, &door)?;
        let starter = Starter {
            fabric,
            tools: &tools,
            authority: &authority,
        };
        let (etcd, server) = starter.start_api(&kubectl)?;
        let subject = Subject {
            user: "inside",
            group: Some("system:masters"),
        };
        let inside = authority.client("inside", subject)?;
        let kubeconfig = fabric.run().folder().join("inside.kubeconfig");
        let url = addresses::api_url(fabric);
        authority.kubeconfig(&kubeconfig, &inside, &url)?;
        Ok(Self {
            access: Access::own(kubectl, fabric.run().clone()),
            _door: door,
            server,
            etcd,
            kubeconfig,
            authority,
            tools,
            url,
            run: fabric.run().clone(),
        })
    }

    /// The way in from the host.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// A kubeconfig that works, and may do everything, in the fabric and on its nodes.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The API server's address in the fabric and on its nodes.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where etcd serves clients, without encryption, in the fabric's namespace.
    pub fn etcd(&self) -> SocketAddr {
        ETCD
    }

    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The programs, the API server first.
    pub fn daemons(&self) -> [&Daemon; 2] {
        [&self.server, &self.etcd]
    }

    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// Makes the objects of light nodes, with the ranges and addresses that kube-proxy waits for.
    pub fn register<'n>(&self, nodes: impl IntoIterator<Item = &'n Node>) -> Result<()> {
        for node in nodes {
            let object = object(node.name(), node.member());
            self.access.apply(&object.to_string())?;
            let addresses = addresses::of_node(node.member());
            let addresses =
                addresses.map(|address| json!({ "type": "InternalIP", "address": address }));
            let status = json!({ "status": { "addresses": addresses } }).to_string();
            let words = ["patch", "node", node.name(), "--subresource=status"];
            let how = ["--type=merge", "--patch", &status];
            self.access.kubectl([&words[..], &how].concat())?;
        }
        Ok(())
    }

    /// A folder with `tls.crt` and `tls.key`, as a Secret is mounted, for a server that is called by this address.
    pub fn serving(&self, name: &str, address: IpAddr) -> Result<PathBuf> {
        let identity = self.authority.server(name, name, &[], &[address])?;
        let folder = self.run.folder().join(name);
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        fs::rename(identity.certificate, folder.join("tls.crt"))?;
        fs::rename(identity.key, folder.join("tls.key"))?;
        Ok(folder)
    }

    /// The certificate of the authority that signs what [`Api::serving`] gives, as PEM.
    pub fn authority(&self) -> Result<String> {
        Ok(fs::read_to_string(self.authority.certificate())?)
    }

    /// kube-proxy for a light node, to be started.
    pub fn kube_proxy(&self, node: &Node, mode: Mode) -> Result<Command> {
        let user = Subject {
            user: "system:kube-proxy",
            group: None,
        };
        let name = format!("kube-proxy-{}", node.name());
        let client = self.authority.client(&name, user)?;
        let folder = self.run.folder();
        let kubeconfig = folder.join(format!("{name}.kubeconfig"));
        self.authority.kubeconfig(&kubeconfig, &client, &self.url)?;
        let file = folder.join(format!("{name}.yaml"));
        fs::write(
            &file,
            config::kube_proxy(&kubeconfig, node.name(), mode).to_string(),
        )
        .with_context(|| format!("writing {}", file.display()))?;
        let command = node.command("kube-proxy", self.tools.path("kube-proxy"))?;
        Ok(command
            .env("PATH", self.tools.search_path())
            .arg(format!("--config={}", file.display())))
    }
}
