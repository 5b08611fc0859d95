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

/// Writes the archives into `folder`.
pub(super) fn write(folder: &Path, tools: &Tools) -> Result<Vec<PathBuf>> {
    // Not "self": the loader, which is asked for the libraries, would look at itself.
    let own = format!("/proc/{}/exe", std::process::id());
    let images = [
        Image::named(PAUSE)
            .program(&own, PROGRAM)?
            .entrypoint([PROGRAM, "pause"]),
        Image::named(TESTBED)
            .program(&own, PROGRAM)?
            .entrypoint([PROGRAM]),
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
