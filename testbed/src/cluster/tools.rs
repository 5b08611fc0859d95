//! Where the programs of a cluster are: those that the set-up builds, and those of Debian's packages.

use std::env;
use std::path::{Path, PathBuf};

use crate::requirements::Missing;

/// Names the folder with the built programs; without it they are looked for beside this program.
const FOLDER: &str = "SLUICE_TOOLS";

const BUILT: [&str; 11] = [
    "containerd",
    "containerd-shim-runc-v2",
    "coredns",
    "ctr",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
];

const INSTALLED: [(&str, &str); 3] = [
    ("runc", "runc"),
    ("nft", "nftables"),
    ("conntrack", "conntrack"),
];

/// Debian's place for CNI plugins.
pub(super) const CNI_PLUGINS: &str = "/usr/lib/cni";

/// The programs of a cluster.
#[derive(Debug, Clone)]
pub struct Tools {
    folder: PathBuf,
}

impl Tools {
    /// Finds all programs, or says which set-up is missing.
    pub fn find() -> Result<Self, Missing> {
        let tools = Self { folder: folder()? };
        for name in BUILT {
            if !tools.path(name).exists() {
                return Err(Missing(format!(
                    "needs {name}, which is not in {}: run make setup",
                    tools.folder.display()
                )));
            }
        }
        for (name, package) in INSTALLED {
            if !is_on_path(name) {
                return Err(package_missing(name, package));
            }
        }
        if !Path::new(CNI_PLUGINS).join("bridge").exists() {
            return Err(package_missing(
                "the CNI plugins",
                "containernetworking-plugins",
            ));
        }
        Ok(tools)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder that holds the programs, for a PATH.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A PATH on which these programs come first.
    pub(super) fn search_path(&self) -> String {
        let rest = env::var("PATH").unwrap_or_default();
        format!("{}:{rest}:/usr/sbin:/sbin", self.folder.display())
    }
}

fn folder() -> Result<PathBuf, Missing> {
    if let Some(folder) = env::var_os(FOLDER).filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    let program = env::current_exe()
        .map_err(|error| Missing(format!("needs to know its own place: {error}")))?;
    let beside = program
        .ancestors()
        .skip(1)
        .map(|folder| folder.join("tools"));
    beside
        .into_iter()
        .find(|tools| tools.join("kubectl").exists())
        .ok_or_else(|| {
            Missing(format!(
                "needs the programs of Kubernetes: run make setup, or name their folder by {FOLDER}"
            ))
        })
}

fn is_on_path(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(name).exists())
}

fn package_missing(what: &str, package: &str) -> Missing {
    Missing(format!(
        "needs {what}: run make setup, or install the Debian package {package}"
    ))
}
