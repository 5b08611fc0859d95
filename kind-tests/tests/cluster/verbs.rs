//! A cluster in the background, as a person raises, uses and removes it.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use sluice_image::Image;
use sluice_testbed::run::RunId;

pub(crate) fn a_cluster_in_the_background_is_used_and_removed_by_verbs() -> Result<()> {
    let own = Image::named("sluice.test/own:1");
    let own = own
        .program(env::current_exe()?, "/own")?
        .entrypoint(["/own", "--help"]);
    let archive = env::temp_dir().join(format!("sluice-own-image-{}.tar", std::process::id()));
    own.write(&archive)?;
    let up = verb(&[
        "cluster",
        "--detach",
        "--nodes",
        "1",
        "--image",
        &archive.display().to_string(),
    ]);
    fs::remove_file(&archive)?;
    let up = up?;
    let id: RunId = up
        .split_once("cluster of run ")
        .and_then(|(_, rest)| rest.split(' ').next())
        .context(up.clone())?
        .parse()?;
    let result = use_from_a_shell(id);
    let down = verb(&["cluster-down", "--run", &id.to_string()])?;
    result?;
    ensure!(down.contains("is removed"), "{down}");
    ensure!(!id.folder().exists(), "the run's folder remains");
    ensure!(
        verb(&["cluster-env", "--run", &id.to_string()]).is_err(),
        "a removed cluster is still known"
    );
    Ok(())
}

/// Runs a pod of the image `sluice.test/own:1` by kubectl, as a person would.
fn use_from_a_shell(id: RunId) -> Result<()> {
    let script = verb(&["cluster-env", "--run", &id.to_string()])?
        + r#"
        set -e
        kubectl run own --image=sluice.test/own:1 --image-pull-policy=Never --restart=Never >/dev/null
        kubectl wait pod/own --for=jsonpath='{.status.phase}'=Succeeded --timeout=60s >/dev/null
        kubectl logs own
        "#;
    let said = output(Command::new("sh").arg("-c").arg(script))?;
    ensure!(
        said.contains("--test-threads"),
        "the image's program says {said:?}"
    );
    Ok(())
}

/// What a verb of the testbed's program prints. This program has them too, under that name.
fn verb(words: &[&str]) -> Result<String> {
    output(
        Command::new("/proc/self/exe")
            .arg0("sluice-testbed")
            .args(words),
    )
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let (said, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(
        output.status.success(),
        "{command:?} failed: {errors}{said}"
    );
    Ok(said.into_owned())
}
