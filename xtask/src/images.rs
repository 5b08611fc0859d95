//! `xtask images`: what Sluice ships, as OCI archives in `target/images`.
//!
//! Each image is one program and the libraries that it loads. Debug information stays behind, so what is written depends
//! only on the code and the compiler, and the same input gives the same digest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sluice_image::Image;

use crate::process::{output, succeeds};
use crate::setup::{self, Need, Purpose};
use crate::workspace::Workspace;

/// The image's repository is this and its component's name.
const REPOSITORY: &str = "sluice.dev";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version that tests upgrade to: the same programs under another name.
const NEXT: &str = "next";
/// Nobody's id on any machine; the manifests ask for it too.
const NOBODY: u32 = 65532;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build without optimising, which is quick; the archives are then in target/images/dev.
    #[arg(long)]
    dev: bool,
    /// The images' tag, by default this version; several give several archives of each image.
    #[arg(long = "tag", value_name = "TAG", default_value = VERSION)]
    tags: Vec<String>,
}

struct Component {
    name: &'static str,
    title: &'static str,
    /// As whom it runs; root where the kernel wants that.
    user: Option<u32>,
}

const COMPONENTS: [Component; 3] = [
    Component {
        name: "node-agent",
        title: "Sluice node agent",
        user: None,
    },
    Component {
        name: "operator",
        title: "Sluice operator",
        user: Some(NOBODY),
    },
    Component {
        name: "webhook",
        title: "Sluice admission webhook",
        user: Some(NOBODY),
    },
];

impl Args {
    /// What a person needs for a cluster of the testbed.
    pub(crate) fn dev() -> Args {
        Args {
            dev: true,
            tags: vec![VERSION.to_owned()],
        }
    }
}

/// Where the archives are.
pub(crate) fn folder(workspace: &Workspace, dev: bool) -> PathBuf {
    let folder = if dev { "images/dev" } else { "images" };
    workspace.target.join(folder)
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    setup::run(
        workspace,
        &[Need::Packages(Purpose::Build), Need::BpfLinker],
    )?;
    let mut cargo = workspace.cargo();
    if args.dev {
        // The whole workspace's features, as everywhere: so that nothing is compiled twice.
        cargo.args(["build", "--workspace", "--bins"]);
    } else {
        cargo.args(["build", "--release", "--locked"]);
        for component in &COMPONENTS {
            cargo.args(["--package", &component.program()]);
        }
    }
    if !succeeds(&mut cargo)? {
        bail!("the programs of the images cannot be built; the reason is above");
    }
    for archive in write(workspace, args)? {
        println!("{}", archive.display());
    }
    Ok(())
}

/// Writes what tests of clusters need, from the programs of the last build.
pub(crate) fn for_tests(workspace: &Workspace) -> Result<()> {
    let tags = [VERSION, NEXT].map(str::to_owned).into();
    write(workspace, &Args { dev: true, tags }).map(drop)
}

fn write(workspace: &Workspace, args: &Args) -> Result<Vec<PathBuf>> {
    let profile = if args.dev { "debug" } else { "release" };
    let programs = workspace.target.join(profile);
    let folder = folder(workspace, args.dev);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut archives = Vec::new();
    for component in &COMPONENTS {
        let program = stripped(&programs.join(component.program()), &folder)?;
        for tag in &args.tags {
            archives.push(component.write(&program, tag, &folder)?);
        }
        fs::remove_file(&program).with_context(|| format!("removing {}", program.display()))?;
    }
    Ok(archives)
}

impl Component {
    fn program(&self) -> String {
        format!("sluice-{}", self.name)
    }

    /// Writes the archive `NAME-TAG.tar`; whoever reads one while it is replaced has the old or the new one.
    fn write(&self, program: &Path, tag: &str, folder: &Path) -> Result<PathBuf> {
        let inside = format!("/{}", self.program());
        let mut image = Image::named(format!("{REPOSITORY}/{}:{tag}", self.name))
            .program(program, &inside)?
            .entrypoint([inside])
            .label("org.opencontainers.image.title", self.title)
            .label("org.opencontainers.image.version", tag)
            .label("org.opencontainers.image.licenses", "Apache-2.0");
        if let Some(user) = self.user {
            image = image.user(user);
        }
        let archive = folder.join(format!("{}-{tag}.tar", self.name));
        let fresh = folder.join(format!(".{}-{tag}.{}", self.name, std::process::id()));
        image.write(&fresh)?;
        fs::rename(&fresh, &archive)
            .with_context(|| format!("cannot write {}", archive.display()))?;
        Ok(archive)
    }
}

/// A copy of the program without debug information.
fn stripped(program: &Path, folder: &Path) -> Result<PathBuf> {
    let name = program.file_name().context("a program has a name")?;
    let copy = folder.join(format!(".{}.{}", name.display(), std::process::id()));
    output(
        Command::new("objcopy")
            .arg("--strip-debug")
            .args([program, &copy]),
    )?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_name_the_images_of_this_version_and_no_others() {
        let config = Workspace::find().unwrap().root.join("config");
        let named = |kustomization: &str| {
            let text = fs::read_to_string(config.join(kustomization)).unwrap();
            let (_, images) = text.split_once("images:\n").unwrap();
            images.trim_end().to_owned()
        };
        for component in &COMPONENTS {
            let name = component.name;
            assert_eq!(
                named(&format!("{name}/kustomization.yaml")),
                format!("- name: {REPOSITORY}/{name}\n  newTag: {VERSION}")
            );
        }
        assert_eq!(
            named("overlays/cleanup/kustomization.yaml"),
            format!("- name: {REPOSITORY}/node-agent\n  newTag: {VERSION}")
        );
    }
}
