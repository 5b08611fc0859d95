//! The Go modules of the testbed's clusters: Kubernetes, containerd, CoreDNS.
//!
//! The module's own folder says everything: its files are the key, its `go.mod` the versions. Go's
//! build cache is the user's, so an interrupted build goes on with what was compiled.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Build, Cached};
use crate::cache::{Cache, Site};
use crate::key::Key;
use crate::process::Logged;
use crate::progress::Progress;
use crate::requirements;
use crate::workspace::Workspace;

/// A folder with a `go.mod`, and what is built from it.
struct Definition {
    name: &'static str,
    /// Below `testbed/control-plane`; empty for that folder itself.
    folder: &'static str,
    programs: &'static [Program],
    tags: &'static str,
    /// The module in `go.mod` whose version the title shows.
    versioned_by: &'static str,
    /// Kubernetes learns its own version from the linker only.
    stamped: bool,
}

struct Program {
    package: &'static str,
    file: &'static str,
    /// Further names of the same file, for a program that looks at the name it is called by.
    names: &'static [&'static str],
}

const DEFINITIONS: [Definition; 3] = [
    Definition {
        name: "kubernetes",
        folder: "",
        programs: &[
            Program {
                package: ".",
                file: "control-plane",
                names: &[
                    "etcd",
                    "kube-apiserver",
                    "kube-controller-manager",
                    "kube-proxy",
                    "kube-scheduler",
                    "kubectl",
                    "kubelet",
                ],
            },
            // The server of Kubernetes' own tests.
            Program {
                package: "k8s.io/kubernetes/test/images/agnhost",
                file: "agnhost",
                names: &[],
            },
        ],
        tags: "",
        versioned_by: "k8s.io/kubernetes",
        stamped: true,
    },
    Definition {
        name: "containerd",
        folder: "containerd",
        programs: &[
            Program {
                package: "github.com/containerd/containerd/v2/cmd/containerd",
                file: "containerd",
                names: &[],
            },
            Program {
                package: "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
                file: "containerd-shim-runc-v2",
                names: &[],
            },
            Program {
                package: "github.com/containerd/containerd/v2/cmd/ctr",
                file: "ctr",
                names: &[],
            },
        ],
        tags: "no_btrfs,no_devmapper,no_zfs",
        versioned_by: "github.com/containerd/containerd/v2",
        stamped: false,
    },
    Definition {
        name: "coredns",
        folder: "coredns",
        programs: &[Program {
            package: ".",
            file: "coredns",
            names: &[],
        }],
        tags: "",
        versioned_by: "github.com/coredns/coredns",
        stamped: false,
    },
];

pub(super) struct Module {
    definition: &'static Definition,
    folder: PathBuf,
    version: String,
}

pub(super) fn modules(workspace: &Workspace) -> Result<Vec<Cached<Module>>> {
    DEFINITIONS
        .iter()
        .map(|definition| module(workspace, definition))
        .collect()
}

fn module(workspace: &Workspace, definition: &'static Definition) -> Result<Cached<Module>> {
    let folder = workspace
        .root
        .join("testbed/control-plane")
        .join(definition.folder);
    let version = version_of(&folder, definition.versioned_by)?;
    // A folder below with a go.mod is a module of its own.
    let mut key = Key::new(definition.name).text(definition.tags);
    for program in definition.programs {
        key = key.text(program.package).text(&program.names.join(" "));
    }
    let key = key.folder(&folder, |below| below.join("go.mod").is_file())?;
    let build = Module {
        definition,
        folder,
        version,
    };
    Ok(Cached {
        cache: Cache::new(&workspace.cache),
        key,
        build,
    })
}

fn version_of(folder: &Path, module: &str) -> Result<String> {
    let file = folder.join("go.mod");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    required(&text, module).with_context(|| format!("{} does not require {module}", file.display()))
}

/// The version of `module` that the text of a `go.mod` requires.
fn required(go_mod: &str, module: &str) -> Option<String> {
    go_mod.lines().find_map(|line| {
        let mut words = line.trim_start_matches("require").split_whitespace();
        (words.next() == Some(module))
            .then(|| words.next().map(str::to_owned))
            .flatten()
    })
}

impl Module {
    fn go(&self) -> Command {
        let mut go = Command::new("go");
        go.current_dir(&self.folder)
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off");
        go
    }

    fn linker_flags(&self) -> String {
        let mut flags = "-s -w".to_owned();
        if self.definition.stamped {
            let mut numbers = self.version.trim_start_matches('v').split('.');
            let (major, minor) = (numbers.next().unwrap_or("0"), numbers.next().unwrap_or("0"));
            for (field, value) in [
                ("gitVersion", self.version.as_str()),
                ("gitMajor", major),
                ("gitMinor", minor),
            ] {
                flags.push_str(&format!(
                    " -X k8s.io/component-base/version.{field}={value}"
                ));
            }
        }
        flags
    }
}

impl Build for Module {
    fn title(&self) -> String {
        format!("{} {}", self.definition.name, self.version)
    }

    fn build(&self, site: &Site, log: &Path, progress: &Progress) -> Result<()> {
        requirements::go()?;
        let bin = site.out.join("bin");
        crate::cache::make_folder(&bin)?;
        let packages: Vec<_> = self
            .definition
            .programs
            .iter()
            .map(|program| program.package)
            .collect();
        let listing = Logged::new(log, progress).counting(is_a_package);
        let total = listing.run(
            self.go()
                .args(["list", "-deps", "-tags", self.definition.tags])
                .args(&packages),
        )?;
        progress.out_of(total);
        for program in self.definition.programs {
            let mut build = self.go();
            build
                .args(["build", "-v", "-trimpath", "-tags", self.definition.tags])
                .args(["-ldflags", &self.linker_flags(), "-o"])
                .arg(bin.join(program.file))
                .arg(program.package);
            Logged::new(log, progress)
                .counting(is_a_package)
                .run(&mut build)?;
            for name in program.names {
                symlink(program.file, bin.join(name))
                    .with_context(|| format!("cannot link {name}"))?;
            }
        }
        Ok(())
    }

    fn provides(&self) -> Vec<(String, PathBuf)> {
        let files = self.definition.programs.iter().flat_map(|program| {
            let names: &[&str] = if program.names.is_empty() {
                std::slice::from_ref(&program.file)
            } else {
                program.names
            };
            names.iter().copied()
        });
        files
            .map(|file| (file.to_owned(), Path::new("bin").join(file)))
            .collect()
    }
}

/// `go list` and `go build -v` print one import path per line; what they say beside that begins
/// with `go: `.
fn is_a_package(line: &str) -> bool {
    !line.is_empty() && !line.contains(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    const GO_MOD: &str = "module x\n\nrequire github.com/one/line v0.1.0\n\nrequire (\n\tk8s.io/kubernetes v1.36.3\n\tk8s.io/kubernetes/extra v9.9.9 // indirect\n)\n";

    #[test]
    fn the_version_is_read_from_a_block_and_from_a_line() {
        assert_eq!(
            required(GO_MOD, "k8s.io/kubernetes").as_deref(),
            Some("v1.36.3")
        );
        assert_eq!(
            required(GO_MOD, "github.com/one/line").as_deref(),
            Some("v0.1.0")
        );
        assert_eq!(required(GO_MOD, "k8s.io"), None);
    }

    #[test]
    fn what_go_says_beside_the_packages_is_not_counted() {
        assert!(is_a_package("k8s.io/kubernetes/cmd/kubelet/app"));
        assert!(!is_a_package("go: downloading github.com/x/y v1.2.3"));
        assert!(!is_a_package(""));
    }
}
