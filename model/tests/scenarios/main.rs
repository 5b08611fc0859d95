//! Scenario files: manifests in; findings, image and connects out.
//!
//! A `*.scenario` file is a title and then sections, each under a line `-- verb arguments --`.
//! Steps change the world and end with a pass:
//!
//! - `apply`: manifests that are there from now on
//! - `delete`: objects that are gone, one `Kind namespace/name` a line
//! - `relist`: manifests that are all there is
//! - `restart`: a new process beside the same maps, told all there is
//! - `capacity NAME N...`: how much a map holds (before the first other step)
//!
//! Questions print what is, to be compared with what the file says:
//!
//! - `findings`, `image`, `writes` (of the last pass)
//! - `connect ADDRESS/PROTOCOL [N [from the host]]`: where N connects of a pod of node-1, or of the
//!   node itself, end up, by the kernel's own `front` and `choose`
//! - `status NAMESPACE/NAME [of the cluster]`: what would be a split's status, by node-1 or seen from no node
//! - `explain ADDRESS/PROTOCOL`
//!
//! `SLUICE_UPDATE=1` writes the answers into the files; then read the difference.

#[path = "../support/kernel.rs"]
mod kernel;
mod run;
mod text;

use std::{env, fs, path::Path, process::ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let files = match fs::read_dir(&folder) {
        Ok(files) => files,
        Err(error) => {
            eprintln!("{}: {error}", folder.display());
            return ExitCode::FAILURE;
        }
    };
    let mut trials: Vec<Trial> = files
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "scenario")
        })
        .map(|path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            Trial::test(name.replace('-', "_"), move || check(&path))
        })
        .collect();
    trials.sort_by(|a, b| a.name().cmp(b.name()));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn check(path: &Path) -> Result<(), Failed> {
    let file = fs::read_to_string(path)?;
    let scenario = text::parse(&file)?;
    let played = run::play(&scenario)?;
    let answered = text::print(&scenario, &played.answers);
    if answered == file {
        return Ok(());
    }
    if env::var_os("SLUICE_UPDATE").is_some() {
        fs::write(path, answered)?;
        return Ok(());
    }
    let difference = text::difference(&file, &answered);
    Err(format!("{difference}\nthe image:\n{}", played.image).into())
}
