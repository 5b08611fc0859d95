//! An agent's ordinary life: edits, mistakes, starts and ends.

use std::fs;

use anyhow::{Result, ensure};
use sluice_node_abi::values::Port;
use sluice_node_agent::{maps::kernel::Kernel, program::Pins};
use sluice_testbed::{
    Errno,
    errno::Code,
    load::{Load, Report},
    tier::eventually,
};

use crate::bed::{Bed, PATIENCE, SERVICE, Shop, service, slice, split};

fn connects(shop: &Shop, times: u64) -> Result<Report> {
    let address: std::net::SocketAddr = format!("{SERVICE}:80").parse()?;
    shop.client
        .load(&Load::on([address]).times(times).threads(4))
}

/// The shares of 1,000 connects, once the kernel has taken the last edit.
fn shares(shop: &Shop) -> Result<(u64, u64)> {
    let report = connects(shop, 1_000)?;
    ensure!(report.failures.is_empty(), "{:?}", report.failures);
    Ok((report.of_version("v1"), report.of_version("v2")))
}

/// Waits until the status shows these shares for the two versions.
fn await_shares(shop: &Shop, expected: [&str; 2]) -> Result<()> {
    eventually(PATIENCE, "the shares in the status", || {
        let status = shop.bed.status()?;
        let versions = &status["splits"][0]["status"]["versions"];
        let found = [&versions[0]["share"], &versions[1]["share"]];
        ensure!(found == expected, "{versions}");
        Ok(())
    })
}

pub(crate) fn an_edited_split_takes_effect_exactly() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.bed.ready_agent()?;
    await_shares(&shop, ["90.0%", "10.0%"])?;
    ensure!(shares(&shop)? == (900, 100));
    shop.bed
        .write("split.yaml", &[split(&[("v1", 1), ("v2", 1)])])?;
    await_shares(&shop, ["50.0%", "50.0%"])?;
    ensure!(shares(&shop)? == (500, 500));
    Ok(())
}

pub(crate) fn a_namespace_named_as_the_self_tests_disturbs_nothing() -> Result<()> {
    let shop = Shop::open()?;
    let address = "10.96.0.200";
    let mut taken = [
        service("other", address),
        slice("self-test", &["192.0.2.1".parse()?]),
    ];
    for object in &mut taken {
        object["metadata"]["namespace"] = "sluice-self-test".into();
    }
    shop.bed.write("taken.yaml", &taken)?;
    let _agent = shop.bed.ready_agent()?;
    let image = shop.bed.image()?.to_string();
    ensure!(image.contains(SERVICE), "{image}");
    ensure!(!image.contains(address), "{image}");
    Ok(())
}

pub(crate) fn a_version_that_goes_leaves_its_share_to_the_others_and_none_left_refuses()
-> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.bed.ready_agent()?;
    await_shares(&shop, ["90.0%", "10.0%"])?;
    shop.endpoints(true, false)?;
    await_shares(&shop, ["100.0%", "0.0%"])?;
    ensure!(shares(&shop)? == (1_000, 0));
    shop.endpoints(false, false)?;
    await_shares(&shop, ["0.0%", "0.0%"])?;
    let report = connects(&shop, 20)?;
    let refused = report
        .failures
        .iter()
        .filter(|f| f.code == Code::from(Errno::ECONNREFUSED));
    ensure!(refused.count() == 20, "{:?}", report.failures);
    Ok(())
}

pub(crate) fn a_bad_file_is_named_and_disturbs_nothing() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.bed.ready_agent()?;
    await_shares(&shop, ["90.0%", "10.0%"])?;
    let text = split(&[("v1", 1), ("v2", 1)]).to_string();
    shop.bed.write_text(
        "split.yaml",
        &format!("# edited\n{}", &text[..text.len() / 2]),
    )?;
    eventually(PATIENCE, "the problem in the status", || {
        let status = shop.bed.status()?;
        let problem = &status["input"]["problems"][0];
        let file = problem["file"].as_str().unwrap_or_default();
        ensure!(
            file.ends_with("split.yaml") && problem["line"].is_u64(),
            "{status}"
        );
        Ok(())
    })?;
    ensure!(shares(&shop)? == (900, 100));
    // The others still act.
    shop.endpoints(true, false)?;
    await_shares(&shop, ["100.0%", "0.0%"])
}

pub(crate) fn a_second_agent_on_the_node_is_refused() -> Result<()> {
    let shop = Shop::open()?;
    let _first = shop.bed.ready_agent()?;
    let command = shop
        .bed
        .node
        .command("second", env!("CARGO_BIN_EXE_sluice-node-agent"))?;
    let mut second = command
        .args([
            "--node-name",
            "node-1",
            "--admin",
            "127.0.0.1:0",
            "--manifests",
        ])
        .arg(&shop.bed.manifests)
        .arg("--state")
        .arg(shop.bed.state())
        .arg("--cgroup-root")
        .arg(shop.bed.node.cgroup().path())
        .arg("--bpffs")
        .arg(shop.bed.node.bpffs())
        .spawn()?;
    let ended = second.wait(PATIENCE)?;
    let said = second.output()?;
    ensure!(
        ended.code() == Some(1) && said.contains("another agent holds"),
        "{ended}: {said}"
    );
    Ok(())
}

pub(crate) fn an_agent_outside_of_its_cgroup_root_is_not_ready_and_says_why() -> Result<()> {
    let shop = Shop::open()?;
    let other = shop.bed.fabric.node("node-2")?;
    let _agent = shop.bed.agent_at(other.cgroup().path())?;
    eventually(PATIENCE, "the reason in the status", || {
        let status = shop.bed.status()?;
        let reason = status["notReadyBecause"].as_str().unwrap_or_default();
        ensure!(reason.contains("was not translated"), "{status}");
        Ok(())
    })
}

/// In a cgroup namespace, with a mount of its own: a tree whose root is the agent's own cgroup, so that even a
/// self-test would pass there while no pod is served.
pub(crate) fn an_agent_in_a_cgroup_namespace_ends_and_says_why() -> Result<()> {
    const CUT_OFF: &str = "
        for at in $(awk '/ - cgroup2 / {print $5}' /proc/self/mountinfo); do umount --lazy \"$at\"; done
        mount -t cgroup2 none \"$1\"
        shift
        exec \"$@\"";
    let bed = Bed::start()?;
    let tree = bed.fabric.run().folder().join("tree");
    fs::create_dir(&tree)?;
    let command = bed.node.command("agent", "unshare")?;
    let command = command.args(["--mount", "--cgroup", "sh", "-euc", CUT_OFF, "sh"]);
    let mut agent = command
        .arg(&tree)
        .arg(env!("CARGO_BIN_EXE_sluice-node-agent"))
        .args(["--node-name", "node-1", "--manifests"])
        .arg(&bed.manifests)
        .arg("--state")
        .arg(bed.state())
        .arg("--bpffs")
        .arg(bed.node.bpffs())
        .spawn()?;
    let ended = agent.wait(PATIENCE)?;
    let said = agent.output()?;
    ensure!(
        ended.code() == Some(1) && said.contains("is cut off at a cgroup namespace"),
        "{ended}: {said}"
    );
    Ok(())
}

pub(crate) fn an_agent_that_ends_leaves_the_kernel_at_work() -> Result<()> {
    let shop = Shop::open()?;
    let mut agent = shop.bed.ready_agent()?;
    await_shares(&shop, ["90.0%", "10.0%"])?;
    let ended = agent.stop(PATIENCE)?;
    ensure!(ended.success(), "{ended}");
    ensure!(shares(&shop)? == (900, 100));
    Ok(())
}

/// Somebody points ports at nothing and takes the programs away.
pub(crate) fn changes_from_outside_are_put_right() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.bed.ready_agent()?;
    await_shares(&shop, ["90.0%", "10.0%"])?;
    let maps = Kernel::open(&Pins::new(shop.bed.node.bpffs()))?;
    let mut ports = Vec::new();
    maps.ports.each(|id, port| ports.push((id, port)))?;
    for (id, port) in ports {
        maps.ports
            .swap(id, Port::new(port.root() + 1_000, port.generation()))?;
    }
    eventually(PATIENCE, "connects after the maps were changed", || {
        ensure!(connects(&shop, 10)?.failures.is_empty());
        Ok(())
    })?;
    fs::remove_dir_all(shop.bed.node.bpffs().join("links"))?;
    eventually(
        PATIENCE,
        "connects after the programs were taken away",
        || {
            ensure!(connects(&shop, 10)?.failures.is_empty());
            Ok(())
        },
    )?;
    let drift = shop.bed.get("/metrics")?;
    let repaired = drift
        .lines()
        .find_map(|line| line.strip_prefix("sluice_agent_drift_repairs_total "));
    ensure!(repaired.is_some_and(|count| count != "0"), "{drift}");
    Ok(())
}

pub(crate) fn a_file_broken_while_no_agent_runs_keeps_its_last_good_state() -> Result<()> {
    let shop = Shop::open()?;
    let mut agent = shop.bed.ready_agent()?;
    await_shares(&shop, ["90.0%", "10.0%"])?;
    agent.stop(PATIENCE)?;
    shop.bed.write_text("split.yaml", "kind: [")?;
    let _agent = shop.bed.ready_agent()?;
    ensure!(shares(&shop)? == (900, 100));
    ensure!(
        shop.bed.status()?["input"]["problems"]
            .as_array()
            .is_some_and(|p| p.len() == 1)
    );
    Ok(())
}

pub(crate) fn a_file_that_was_never_good_holds_back_deleting_what_it_may_mean() -> Result<()> {
    let shop = Shop::open()?;
    let mut agent = shop.bed.ready_agent()?;
    await_shares(&shop, ["90.0%", "10.0%"])?;
    agent.stop(PATIENCE)?;

    fs::remove_dir_all(shop.bed.state())?;
    shop.bed.write_text("services.yaml", "kind: [")?;
    let bed: &Bed = &shop.bed;
    bed.write(
        "more.yaml",
        &[
            service("more", "198.18.0.9"),
            slice("more", &[shop.v1.address4().into()]),
        ],
    )?;
    let _agent = bed.ready_agent()?;
    ensure!(shares(&shop)? == (900, 100));
    ensure!(
        shop.client
            .connect("198.18.0.9:80".parse::<std::net::SocketAddr>()?)?
            .name
            == "v1"
    );

    bed.write("services.yaml", &[service("checkout-v1", "198.18.0.2")])?;
    eventually(PATIENCE, "the Service that is really gone to go", || {
        let image = bed.image()?;
        ensure!(image.frontends.len() == 2, "{image}");
        Ok(())
    })
}
