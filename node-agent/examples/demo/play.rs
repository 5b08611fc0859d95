//! What is there to play with after the last step, and how.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sluice_testbed::cgroup::Cgroup;

use crate::{
    manifests::{ADDRESS_V4, PORT},
    shop::{AGENT, CLI, Shop},
};

/// Writes a script for each place where commands can be run, and says what to try.
pub(crate) fn invite(shop: &Shop) -> Result<()> {
    let folder = shop.fabric.run().folder();
    let node = shop.node.cgroup().child("system.slice/shell")?;
    let in_node = script(folder, "on-node", &node, shop.node.netns().path(), "\"$@\"")?;
    let client = shop.client.container_cgroup();
    let in_client = script(
        folder,
        "in-client",
        client,
        &netns_of(shop.client.pid()),
        "\"$@\"",
    )?;
    let agent = format!(
        "{} {}",
        shop.programs.join(AGENT).display(),
        shop.agent_args().join(" ")
    );
    let agent = script(folder, "agent", &node, shop.node.netns().path(), &agent)?;
    let cli = shop.programs.join(CLI);
    let testbed = shop.programs.join("sluice-testbed");
    let (in_node, in_client, agent) = (in_node.display(), in_client.display(), agent.display());
    let (cli, testbed) = (cli.display(), testbed.display());
    let manifests = shop.manifests.folder().display();
    let pid = shop.agent_pid().context("no agent runs")?;
    println!(
        "\n\
Everything stays until Ctrl-C. In another terminal, as root:

  {in_client} {testbed} load --times 1000 --threads 4 {ADDRESS_V4}:{PORT}
      1,000 connects of the client pod, counted by who answers
  ${{EDITOR:-vi}} {manifests}/checkout.yaml
      the split: other weights, `whenUnavailable: Reject`, `selection: Random`
  ${{EDITOR:-vi}} {manifests}/endpoints.yaml
      the ready pods
  {in_node} {cli} get
  {in_node} {cli} explain shop/client {ADDRESS_V4}:{PORT}
  {in_node} {cli} status
      what the agent makes of it; a mistake in a file is named with its line
  kill -9 {pid}; {agent}
      another agent takes over where this one was killed; meanwhile connects go on
"
    );
    Ok(())
}

/// A script that enters a cgroup and a network and runs something there.
fn script(
    folder: &Path,
    name: &str,
    cgroup: &Cgroup,
    netns: &Path,
    command: &str,
) -> Result<PathBuf> {
    let path = folder.join(name);
    let text = format!(
        "#!/bin/sh\nset -e\necho $$ > {}/cgroup.procs\nexec nsenter --net={} {command}\n",
        cgroup.path().display(),
        netns.display()
    );
    fs::write(&path, text)
        .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)))
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

fn netns_of(pid: u32) -> PathBuf {
    format!("/proc/{pid}/ns/net").into()
}
