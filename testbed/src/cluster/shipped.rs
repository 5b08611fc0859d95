//! Sluice in a cluster, as it is shipped: the images that `cargo xtask images` wrote, the manifests of `config`.
//!
//! An overlay says what no manifest can know: where the API server is, since nobody carries its Service before the
//! agents do, and which cgroups are a node's, since several nodes stand on one kernel. It changes nothing else.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{Cluster, addresses};
use crate::requirements::Missing;
use crate::run::Run;

/// The namespace of everything that Sluice installs.
pub const NAMESPACE: &str = "sluice-system";
/// The agents' DaemonSet, and the value of the label `app.kubernetes.io/name` of their pods.
pub const AGENT: &str = "sluice-node-agent";
/// The version that is installed when none is named.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version that tests upgrade to: the same programs under another name.
pub const NEXT: &str = "next";

/// Names the folder with the images; without it they are looked for beside this program.
const FOLDER: &str = "SLUICE_IMAGES";
/// Where a pod of an agent sees the root of its node's file systems.
const HOST: &str = "/host";
/// The manifests.
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config");
/// The namespace and the DaemonSet that clean nodes up.
const CLEANUP: &str = "sluice-cleanup";
const PATIENCE: Duration = Duration::from_secs(60);

/// The archives of this version, or what has to be done to have them.
pub fn images(version: &str) -> Result<Vec<PathBuf>, Missing> {
    let folder = folder()?;
    let ending = format!("-{version}.tar");
    let is_one = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with('.') && name.ends_with(&ending)
    };
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut archives: Vec<_> = entries.map(|entry| entry.path()).filter(is_one).collect();
    archives.sort();
    if archives.is_empty() {
        return Err(Missing(format!(
            "needs the images of version {version}, which are not in {}: run cargo xtask images --dev --tag {version}",
            folder.display()
        )));
    }
    Ok(archives)
}

fn folder() -> Result<PathBuf, Missing> {
    if let Some(folder) = env::var_os(FOLDER).filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    let program = env::current_exe()
        .map_err(|error| Missing(format!("needs to know its own place: {error}")))?;
    let beside = program.ancestors().skip(1);
    beside
        .map(|folder| folder.join("images/dev"))
        .find(|folder| folder.is_dir())
        .ok_or_else(|| Missing("needs the images of Sluice: run cargo xtask images --dev".into()))
}

impl Cluster {
    /// Writes the overlay that fits this cluster, for `kubectl apply -k`; its images are of this version.
    pub fn overlay(&self, version: &str) -> Result<PathBuf> {
        let folder = self.run().folder().join(format!("sluice-{version}"));
        fs::create_dir_all(&folder)?;
        let base = Path::new(CONFIG).join("overlays/replace-kube-proxy");
        let kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [relative(&folder, &base)?],
            "configMapGenerator": [{
                "name": AGENT,
                "namespace": NAMESPACE,
                "behavior": "merge",
                "literals": [format!("api-server={}", addresses::api_url(self.fabric()))],
            }],
            "images": COMPONENTS.map(|name| json!({ "name": format!("sluice.dev/{name}"), "newTag": version })),
            "patches": [{ "patch": cgroup_roots(self.run()).to_string() }],
        });
        fs::write(folder.join("kustomization.yaml"), kustomization.to_string())?;
        Ok(folder)
    }

    /// Installs Sluice, or another version of it, and waits until all of it is ready.
    pub fn install(&self, version: &str) -> Result<()> {
        let overlay = self.overlay(version)?;
        let apply = ["apply", "--server-side", "--kustomize"].map(OsStr::new);
        self.kubectl([&apply[..], &[overlay.as_os_str()]].concat())?;
        self.installed()
    }

    /// Removes Sluice: its objects, then what its agents left in the kernels of the nodes.
    pub fn uninstall(&self) -> Result<()> {
        let overlay = self.overlay(VERSION)?;
        let cleanup = Path::new(CONFIG).join("overlays/cleanup");
        let delete = ["delete", "--wait", "--ignore-not-found", "--kustomize"].map(OsStr::new);
        self.kubectl([&delete[..], &[overlay.as_os_str()]].concat())?;
        let apply = ["apply", "--server-side", "--kustomize"].map(OsStr::new);
        self.kubectl([&apply[..], &[cleanup.as_os_str()]].concat())?;
        self.rolled_out(CLEANUP, &format!("daemonset/{CLEANUP}"), PATIENCE)?;
        self.kubectl([&delete[..], &[cleanup.as_os_str()]].concat())
            .map(drop)
    }

    /// Waits until every workload of Sluice has rolled out.
    pub fn installed(&self) -> Result<()> {
        let list = ["get", "daemonsets,deployments", "--output=name"];
        let names = self.kubectl([&list[..], &["--namespace", NAMESPACE]].concat())?;
        ensure!(!names.trim().is_empty(), "{NAMESPACE} is empty");
        names.lines().try_for_each(|workload| {
            self.rolled_out(NAMESPACE, workload, PATIENCE)
                .map_err(|error| error.context(self.troubles(workload)))
        })
    }

    /// What a person would look at first when something does not become ready.
    fn troubles(&self, workload: &str) -> String {
        let asked: [&[&str]; 3] = [
            &["get", "pods", "--output=wide"],
            &["get", "events", "--field-selector=type=Warning"],
            &["logs", workload, "--all-pods", "--prefix", "--tail=10"],
        ];
        let told = asked.map(|question| {
            let question = [question, &["--namespace", NAMESPACE]].concat();
            self.kubectl(question)
                .unwrap_or_else(|error| format!("{error:#}\n"))
        });
        format!("{workload} does not become ready:\n{}", told.join("\n"))
    }
}

/// What has an image of its own.
const COMPONENTS: [&str; 3] = ["node-agent", "operator", "webhook"];

/// Gives each agent the cgroups of its node; the variable is replaced in each pod.
fn cgroup_roots(run: &Run) -> serde_json::Value {
    let root = format!(
        "{HOST}{}",
        run.host()
            .cgroup2
            .join(run.name("$(SLUICE_NODE_NAME)"))
            .display()
    );
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": { "name": AGENT, "namespace": NAMESPACE },
        "spec": { "template": { "spec": { "containers": [
            { "name": "node-agent", "args": [format!("--cgroup-root={root}")] },
        ] } } },
    })
}

/// The way from one folder to another, since a kustomization takes no other; it knows no links.
fn relative(from: &Path, to: &Path) -> Result<PathBuf> {
    let canonical = |path: &Path| {
        path.canonicalize()
            .with_context(|| format!("looking for {}", path.display()))
    };
    let (from, to) = (canonical(from)?, canonical(to)?);
    let shared = from
        .components()
        .zip(to.components())
        .take_while(|(from, to)| from == to)
        .count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    Ok(up.chain(to.components().skip(shared)).collect())
}
