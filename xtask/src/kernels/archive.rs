//! Debian's cloud kernels, fetched through a second configuration of apt.
//!
//! The configuration is made from the machine's own sources with the suite replaced, has folders of
//! its own, and never touches the machine's. Kernels of stable suites follow the suite, looked up
//! once a week; the newest kernel is pinned, so that a run today and one next month test the same.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use super::releases::Release;
use crate::cache::{Cache, Site, make_folder};
use crate::key::Key;
use crate::process::{Logged, output};
use crate::progress::Progress;
use crate::setup::{Build, Cached, provide};
use crate::workspace::Workspace;

/// Depends on the current kernel of a suite.
const CURRENT: &str = "linux-image-cloud-amd64";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Part of the key: to be changed when [`Fetch`] makes something else of the same packages.
const RECIPE: &str = "image, base, binary, modules; depmod";
const LOOK_UP_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// An unpacked kernel.
pub(super) struct Kernel {
    pub(super) image: PathBuf,
    /// The folder with `modules.dep`.
    pub(super) modules: PathBuf,
}

pub(super) fn fetch(workspace: &Workspace, release: &Release) -> Result<Kernel> {
    let apt = Apt {
        folder: workspace.cache.join("apt").join(release.suite),
        suite: release.suite,
    };
    let cache = Cache::new(&workspace.cache);
    let package = package(&apt, release, |package| cache.has(&key(package)))?;
    let entry = provide(&Cached {
        cache,
        key: key(&package),
        build: Fetch { apt, package },
    })?;
    unpacked(&entry)
}

fn key(package: &str) -> Key {
    Key::new(package).text(RECIPE)
}

/// The kernel among the files of its packages, where `depmod` has run. It is in `/boot`, or since
/// the packages are split beside the modules.
fn unpacked(folder: &Path) -> Result<Kernel> {
    let modules = only_entry(&folder.join("lib/modules"), "")?;
    let beside = modules.join("vmlinuz");
    let image = if beside.is_file() {
        beside
    } else {
        only_entry(&folder.join("boot"), "vmlinuz-")?
    };
    Ok(Kernel { image, modules })
}

/// The package of the release's kernel: the pin, or what the suite had when it was last looked up.
fn package(apt: &Apt, release: &Release, is_cached: impl Fn(&str) -> bool) -> Result<String> {
    if let Some(pinned) = release.pinned {
        return Ok(pinned.to_owned());
    }
    let note = apt.folder.join("current");
    let known = fs::read_to_string(&note)
        .ok()
        .map(|text| text.trim().to_owned())
        .filter(|package| is_cached(package));
    if let Some(known) = &known
        && is_recent(&note)
    {
        return Ok(known.clone());
    }
    let current = apt.update().and_then(|()| apt.current());
    match (current, known) {
        (Ok(current), _) => {
            fs::write(&note, &current)
                .with_context(|| format!("cannot write {}", note.display()))?;
            Ok(current)
        }
        (Err(error), Some(known)) => {
            eprintln!(
                "kernels: the archive cannot be asked, so {known} of the cache is used ({error:#})"
            );
            Ok(known)
        }
        (Err(error), None) => Err(error),
    }
}

fn is_recent(file: &Path) -> bool {
    let modified = fs::metadata(file).and_then(|data| data.modified());
    modified.is_ok_and(|then| {
        SystemTime::now()
            .duration_since(then)
            .is_ok_and(|age| age < LOOK_UP_AFTER)
    })
}

/// apt for another suite than the machine's.
struct Apt {
    folder: PathBuf,
    suite: &'static str,
}

impl Apt {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (name, value) in [
            (
                "Dir::Etc::SourceList",
                self.folder.join("sources.list").display().to_string(),
            ),
            ("Dir::Etc::SourceParts", "-".to_owned()),
            (
                "Dir::State::Lists",
                self.folder.join("lists").display().to_string(),
            ),
            (
                "Dir::Cache",
                self.folder.join("cache").display().to_string(),
            ),
            ("Acquire::Languages", "none".to_owned()),
            // A suite that is no longer maintained has a release file that is no longer renewed.
            ("Acquire::Check-Valid-Until", "false".to_owned()),
            (
                "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled",
                "false".to_owned(),
            ),
            ("APT::Sandbox::User", "root".to_owned()),
        ] {
            command.args(["-o", &format!("{name}={value}")]);
        }
        command
    }

    fn update(&self) -> Result<()> {
        for folder in ["lists/partial", "cache/archives/partial"] {
            make_folder(&self.folder.join(folder))?;
        }
        let file = self.folder.join("sources.list");
        fs::write(&file, self.sources()?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        output(self.command("apt-get").arg("update"))?;
        Ok(())
    }

    /// The machine's own Debian sources with this suite in place of the machine's.
    fn sources(&self) -> Result<String> {
        let release =
            fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
        let own = release
            .lines()
            .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        let own =
            own.context("/etc/os-release names no codename: fetching kernels needs Debian")?;
        let format = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
        let targets = output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            format,
            "Created-By: Packages",
        ]))?;
        let sources = sources(&targets, own, self.suite);
        if sources.is_empty() {
            bail!(
                "apt has no source for {own}: add Debian's main archive to /etc/apt/sources.list.d"
            );
        }
        Ok(sources)
    }

    fn current(&self) -> Result<String> {
        let depends = output(self.command("apt-cache").args(["depends", CURRENT]))?;
        let mut images =
            dependencies(&depends).filter(|package| package.starts_with("linux-image-"));
        images
            .next()
            .map(str::to_owned)
            .with_context(|| format!("{} has no {CURRENT}", self.suite))
    }

    /// Newer Debian kernels are split: the image depends on packages with the kernel itself and
    /// with its modules.
    fn parts(&self, package: &str) -> Result<Vec<String>> {
        let Ok(depends) = output(self.command("apt-cache").args(["depends", package])) else {
            let current = self.current()?;
            bail!(
                "{package} has left the archive, which now has {current}: move the pin in xtask/src/kernels/archive.rs to that"
            );
        };
        let is_part = |name: &&str| {
            let kinds = ["linux-base-", "linux-binary-", "linux-modules-"];
            kinds.iter().any(|kind| name.starts_with(kind))
        };
        let parts = dependencies(&depends).filter(is_part).map(str::to_owned);
        Ok([package.to_owned()].into_iter().chain(parts).collect())
    }
}

/// Lines of a `sources.list` for `suite`, from lines `URI RELEASE COMPONENT` of the machine whose
/// suite is `own`.
fn sources(targets: &str, own: &str, suite: &str) -> String {
    let mut lines = Vec::new();
    for target in targets.lines() {
        let words: Vec<_> = target.split_whitespace().collect();
        let [uri, release, "main"] = words[..] else {
            continue;
        };
        let kind = match release.strip_prefix(own) {
            Some("") => "",
            // The development suite has no security archive.
            Some("-security") if suite != "sid" => "-security",
            _ => continue,
        };
        let line = format!("deb [signed-by={KEYRING}] {uri} {suite}{kind} main\n");
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.concat()
}

/// The packages on lines `Depends: NAME` of `apt-cache depends`.
fn dependencies(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
}

struct Fetch {
    apt: Apt,
    package: String,
}

impl Build for Fetch {
    fn title(&self) -> String {
        self.package.clone()
    }

    fn build(&self, site: &Site, log: &Path, progress: &Progress) -> Result<()> {
        let log = Logged::new(log, progress);
        progress.doing("looking it up");
        self.apt.update()?;
        log.run(
            self.apt
                .command("apt-get")
                .arg("download")
                .args(self.apt.parts(&self.package)?)
                .current_dir(&site.work),
        )?;
        for file in fs::read_dir(&site.work)? {
            let file = file?.path();
            if file.extension().is_some_and(|extension| extension == "deb") {
                log.run(Command::new("dpkg-deb").arg("-x").args([&file, &site.out]))?;
            }
        }
        // Where /lib is a link to /usr/lib, packages have their modules below the latter.
        if !site.out.join("lib").exists() {
            symlink("usr/lib", site.out.join("lib")).context("cannot link lib")?;
        }
        let modules = only_entry(&site.out.join("lib/modules"), "")?;
        let version = modules.file_name().context("the modules have no version")?;
        // Sbin is not on the PATH of every user.
        log.run(
            Command::new("/sbin/depmod")
                .arg("-b")
                .arg(&site.out)
                .arg(version),
        )?;
        unpacked(&site.out)?;
        Ok(())
    }

    fn provides(&self) -> Vec<(String, PathBuf)> {
        Vec::new()
    }
}

/// The one entry of `folder` whose name starts with `prefix`.
fn only_entry(folder: &Path, prefix: &str) -> Result<PathBuf> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut found = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path());
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        _ => bail!("{} should have one entry {prefix}*", folder.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "http://d.example/debian/ bookworm main\nhttp://d.example/debian/ bookworm-updates main\nhttp://d.example/security/ bookworm-security main\nhttp://other.example/ stable main\nhttp://d.example/debian/ bookworm contrib\n";

    #[test]
    fn sources_of_another_suite_come_from_the_machines_own() {
        assert_eq!(
            sources(TARGETS, "bookworm", "trixie"),
            format!(
                "deb [signed-by={KEYRING}] http://d.example/debian/ trixie main\ndeb [signed-by={KEYRING}] http://d.example/security/ trixie-security main\n"
            )
        );
        assert_eq!(
            sources(TARGETS, "bookworm", "sid"),
            format!("deb [signed-by={KEYRING}] http://d.example/debian/ sid main\n")
        );
        assert_eq!(
            sources("http://other.example/ stable main", "bookworm", "sid"),
            ""
        );
    }

    #[test]
    fn dependencies_are_read_from_what_apt_cache_prints() {
        let text = "linux-image-x\n  PreDepends: linux-base\n |Depends: dracut\n  Depends: linux-modules-x\n  Suggests: doc\n";
        assert_eq!(dependencies(text).collect::<Vec<_>>(), ["linux-modules-x"]);
    }
}
