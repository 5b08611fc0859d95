//! The images that every cluster has: the sandbox, the name server, and the testbed's own program.

use std::path::{Path, PathBuf};

use anyhow::Result;
use sluice_image::Image;

use super::tools::Tools;

/// Keeps the namespaces of a pod.
pub(super) const PAUSE: &str = "sluice.test/pause:1";
pub(super) const COREDNS: &str = "sluice.test/coredns:1";
/// This program, whose verbs are the commands: `serve`, `load`, ….
pub const TESTBED: &str = "sluice.test/testbed:1";

/// The program's path inside its image.
pub(super) const PROGRAM: &str = "/sluice-testbed";

/// Writes the archive of [`TESTBED`] alone.
pub fn write_testbed(file: &Path) -> Result<()> {
    own(TESTBED)?.entrypoint([PROGRAM]).write(file)
}

/// Writes the archives into `folder`.
pub(super) fn write(folder: &Path, tools: &Tools) -> Result<Vec<PathBuf>> {
    let images = [
        own(PAUSE)?.entrypoint([PROGRAM, "pause"]),
        own(TESTBED)?.entrypoint([PROGRAM]),
        Image::named(COREDNS)
            .program(tools.path("coredns"), "/coredns")?
            .entrypoint(["/coredns"]),
    ];
    images
        .iter()
        .enumerate()
        .map(|(number, image)| {
            let archive = folder.join(format!("{number}.tar"));
            image.write(&archive)?;
            Ok(archive)
        })
        .collect()
}

/// An image with this program in it.
fn own(name: &str) -> Result<Image> {
    // Not "self": the loader, which is asked for the libraries, would look at itself.
    let program = format!("/proc/{}/exe", std::process::id());
    Image::named(name).program(program, PROGRAM)
}
