//! Debian packages: only what is missing is installed, and lists are fetched only when an install
//! fails without them.
//!
//! apt takes its lock for packages but not for lists, so a lock of our own keeps two set-ups on one
//! machine apart.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::{Step, Tool};
use crate::cache::lock;
use crate::process::{Logged, on_path, output};
use crate::progress::Progress;
use crate::requirements;

const LOCK: &str = "/run/lock/sluice-packages.lock";
const LOG: &str = "/var/log/sluice-packages.log";

/// What packages are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Build,
    Cluster,
    Lint,
    Kernels,
    /// The programs whose connects are compared, directly and through a Service.
    Clients,
}

impl Purpose {
    fn packages(self) -> &'static [&'static str] {
        match self {
            // rustc-web is a rustc with a precompiled core for bpfel-unknown-none; bpf-linker
            // builds against LLVM 22.
            Purpose::Build => &[
                "gcc",
                "g++",
                "libc6-dev",
                "make",
                "git",
                "pkg-config",
                "rustc-web",
                "cargo-web",
                "libstd-rust-web-dev-bpf",
                "rust-web-src",
                "llvm-22-dev",
                "zlib1g-dev",
                "libzstd-dev",
            ],
            Purpose::Cluster => &[
                "conntrack",
                "containernetworking-plugins",
                "ethtool",
                "iproute2",
                "iptables",
                "mount",
                "nftables",
                "runc",
            ],
            Purpose::Clients => &[
                "bind9-dnsutils",
                "curl",
                "dnsmasq-base",
                "musl-tools",
                "nodejs",
                "openjdk-17-jdk-headless",
                "python3",
            ],
            Purpose::Lint => &["shellcheck"],
            Purpose::Kernels => &["binutils", "kmod", "qemu-system-x86", "xz-utils"],
        }
    }
}

pub(super) struct Packages {
    wanted: Vec<&'static str>,
}

impl Packages {
    pub(super) fn new(purposes: &[Purpose]) -> Packages {
        let mut wanted: Vec<_> = purposes
            .iter()
            .flat_map(|purpose| purpose.packages())
            .copied()
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        Packages { wanted }
    }

    fn missing(&self) -> Result<Vec<&'static str>> {
        if on_path("dpkg-query").is_none() || on_path("apt-get").is_none() {
            bail!(
                "the set-up installs Debian packages and this machine has no apt: use Debian 12, or provide the programs of {} on PATH",
                self.wanted.join(", ")
            );
        }
        // dpkg-query exits with 1 when it does not know one of the names, which is an answer here
        // and not a failure.
        let known = Command::new("dpkg-query")
            .args(["-W", "-f=${Package} ${db:Status-Abbrev}\n"])
            .args(&self.wanted)
            .output()?;
        Ok(missing(
            &self.wanted,
            &String::from_utf8_lossy(&known.stdout),
        ))
    }
}

impl Step for Packages {
    fn title(&self) -> String {
        "Debian packages".to_owned()
    }

    fn is_done(&self) -> Result<bool> {
        Ok(self.missing()?.is_empty())
    }

    fn carry_out(&self, progress: &Progress) -> Result<()> {
        if !requirements::is_root() {
            bail!(
                "these Debian packages are missing and only root can install them: apt-get install {}",
                self.missing()?.join(" ")
            );
        }
        let _lock = lock(Path::new(LOCK), || {
            progress.doing("another run is installing packages: waiting for that");
        })?;
        let missing = self.missing()?;
        if missing.is_empty() {
            return Ok(());
        }
        let log = Logged::new(Path::new(LOG), progress).counting(is_one_piece);
        // An install that was interrupted leaves packages half configured, and apt refuses to go on
        // before they are finished.
        log.run(Command::new("dpkg").args(["--configure", "-a"]))?;
        if install(&log, progress, &missing).is_err() {
            progress.doing("fetching the lists of packages");
            log.run(apt_get().arg("update"))?;
            install(&log, progress, &missing)?;
        }
        Ok(())
    }

    fn tools(&self) -> Result<Vec<Tool>> {
        Ok(Vec::new())
    }
}

fn install(log: &Logged<'_>, progress: &Progress, missing: &[&str]) -> Result<()> {
    let simulated = output(
        apt_get()
            .args(["install", "--simulate", "--no-install-recommends"])
            .args(missing),
    )?;
    let packages = simulated
        .lines()
        .filter(|line| line.starts_with("Inst "))
        .count();
    progress.out_of(2 * packages);
    log.run(
        apt_get()
            .args(["install", "--yes", "--no-install-recommends"])
            .args(missing),
    )?;
    Ok(())
}

/// apt prints one line when it unpacks a package and one when it configures it.
fn is_one_piece(line: &str) -> bool {
    line.starts_with("Unpacking ") || line.starts_with("Setting up ")
}

fn apt_get() -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C")
        .args(["-o", "DPkg::Lock::Timeout=600"]);
    apt
}

/// Those of `wanted` that are not fully installed according to lines of `package status`.
fn missing<'a>(wanted: &[&'a str], known: &str) -> Vec<&'a str> {
    let installed: Vec<_> = known
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, status)| status.trim_end() == "ii")
        .map(|(package, _)| package)
        .collect();
    wanted
        .iter()
        .copied()
        .filter(|package| !installed.contains(package))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_removed_and_half_installed_packages_are_missing() {
        let known = "make ii \nrunc un \nnftables iU \nqemu-system-x86 rc \n";
        let wanted = ["make", "runc", "nftables", "qemu-system-x86", "shellcheck"];
        assert_eq!(
            missing(&wanted, known),
            ["runc", "nftables", "qemu-system-x86", "shellcheck"]
        );
    }

    #[test]
    fn a_package_that_two_purposes_want_is_asked_for_once() {
        let once = Packages::new(&[Purpose::Build]);
        let twice = Packages::new(&[Purpose::Build, Purpose::Build]);
        assert_eq!(once.wanted, twice.wanted);
    }
}
