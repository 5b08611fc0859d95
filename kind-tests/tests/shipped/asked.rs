//! `kubectl sluice`, as a person asks it. This program is it too, under that name.

use std::env;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Result, ensure};
use sluice_kind_tests::echo;
use sluice_kind_tests::shop::{CHECKOUT, Shop};
use sluice_testbed::cluster::Access;

use crate::bed::quiet;

const NAME: &str = "kubectl-sluice";

pub(crate) fn is_the_program() -> bool {
    let name = env::args_os().next().unwrap_or_default();
    Path::new(&name).file_name() == Some(OsStr::new(NAME))
}

pub(crate) fn kubectl_sluice_shows_splits_nodes_and_where_a_connect_goes() -> Result<()> {
    let bed = quiet()?;
    let namespace = "asked";
    let shop = Shop::open(&bed, namespace)?;
    let nodes = bed.nodes()?;
    let (Some(node), Some(address)) = (nodes.last(), shop.addresses.first()) else {
        anyhow::bail!("there is no node or no address");
    };
    let _client = echo::client(&bed, namespace, "client", node)?;
    shop.weigh(90, 10)?;
    shop.programmed()?;
    let good = |args: &str| good(&bed, args);

    let splits = good("get --namespace asked")?;
    let all = format!("{0}/{0}", nodes.len());
    for expected in [
        "asked/checkout",
        "90.0%",
        "10.0%",
        "AsRequested",
        &all,
        "yes",
    ] {
        ensure!(splits.contains(expected), "{splits}");
    }
    let one = good(&format!("get {namespace}/{CHECKOUT} -o wide"))?;
    for expected in nodes.iter().map(String::as_str).chain(["ResolvedRefs"]) {
        ensure!(one.contains(expected), "{one}");
    }
    ensure!(good("get -A")?.contains("asked/checkout"));

    let explained = good(&format!("explain asked/client {address}"))?;
    let place = format!("asked/client -> {address}/TCP on node {node}");
    for expected in [
        &*place,
        "decided by  TrafficSplit asked/checkout",
        "90.0%",
        "(as wanted)",
    ] {
        ensure!(explained.contains(expected), "{explained}");
    }
    ensure!(!explained.contains("knows no pod"), "{explained}");
    for node in &nodes {
        let of_host = good(&format!("explain --node {node} host {address}"))?;
        let place = format!("host -> {address}/TCP on node {node}");
        ensure!(of_host.contains(&place), "{of_host}");
        let status = good(&format!("status --node {node}"))?;
        ensure!(status.contains(&format!("Node {node}: ready")), "{status}");
    }
    let reports = good("get reports")?;
    for node in &nodes {
        ensure!(reports.contains(node), "{reports}");
        let report = good(&format!("get report {node}"))?;
        ensure!(report.contains("TrafficSplit asked/checkout"), "{report}");
    }
    let status = good("status")?;
    for node in &nodes {
        ensure!(status.contains(node), "{status}");
    }

    for (args, expected) in [
        ("status --node nowhere", "no agent is on node nowhere"),
        ("status --agent-namespace default", "NO"),
        (
            "explain asked/nobody 10.96.0.1",
            "there is no pod asked/nobody",
        ),
        (
            "get asked/nothing",
            "there is no TrafficSplit asked/nothing",
        ),
        (
            "get lrp asked/nothing",
            "there is no LocalRedirectPolicy asked/nothing",
        ),
        ("get grants a/b", "a FrontendGrant is in no namespace"),
        ("get checkout other", "there is no kind checkout"),
    ] {
        let output = ask(&bed, args)?;
        let said = said(&output);
        ensure!(
            !output.status.success() && said.contains(expected),
            "{args}: {said}"
        );
    }
    Ok(())
}

fn good(access: &Access, args: &str) -> Result<String> {
    let output = ask(access, args)?;
    ensure!(output.status.success(), "{args}: {}", said(&output));
    Ok(String::from_utf8(output.stdout)?)
}

fn ask(access: &Access, args: &str) -> Result<Output> {
    let output = Command::new("/proc/self/exe")
        .arg0(NAME)
        .args(args.split_whitespace())
        .env_clear()
        .env("KUBECONFIG", access.kubeconfig())
        .stdin(Stdio::null())
        .output()?;
    Ok(output)
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|text| String::from_utf8_lossy(text))
        .concat()
}
