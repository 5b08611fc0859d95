//! A caller is known by the cgroup that it is in: however deep, and wherever it is moved to.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sluice_node_agent::program::Refusal;
use sluice_testbed::{
    load::{Load, Target},
    pod::Pod,
    program::{Family, Seen, Step},
};

use crate::{
    bed::{Bed, at},
    callers::{SERVICE, find_pods, object, service},
    told::Told,
};

/// How long a connect is tried that nobody answers.
const NOBODY: std::time::Duration = std::time::Duration::from_millis(200);

fn is_steered(client: &Pod) -> Result<bool> {
    let target = Target::tcp(at(SERVICE, 80)?);
    let report = client.load(&Load::on([target]).patience(NOBODY))?;
    Ok(report.answered() == 1)
}

pub(crate) fn a_pod_is_steered_from_whatever_is_nested_in_it_and_wherever_it_moves() -> Result<()> {
    let bed = Bed::start(Refusal::SetRetval)?;
    let servers = [bed.node.pod("server").port(8080).start()?];
    let client = bed.node.pod("client").start()?;
    let opted_out = bed.node.pod("opted-out").start()?;
    let elsewhere = bed.fabric.node("node-2")?;
    let mut told = Told::start(&bed)?;
    told.apply(&service(&servers, "None"))?;
    let out = json!({"sluice.dev/opt-out": "true"});
    told.apply(&[object(&opted_out, &out, false)])?;
    find_pods(&mut told, &bed)?;
    ensure!(is_steered(&client)? && !is_steered(&opted_out)?);

    // As with a container engine inside of a pod.
    let nested = |pod: &Pod| pod.container_cgroup().child("docker/inner/deeper");
    nested(&client)?.add(client.pid())?;
    ensure!(is_steered(&client)?, "nested");
    nested(&opted_out)?.add(opted_out.pid())?;
    ensure!(!is_steered(&opted_out)?, "nested, and opted out");

    // A socket stays with the programs of the cgroup that it was made in; who calls is asked at each connect.
    let program = client.program();
    program.run(&[Step::tcp(Family::V4)])?;
    nested(&opted_out)?.add(client.pid())?;
    ensure!(!is_steered(&client)?, "in a pod that opted out");
    elsewhere.cgroup().child("kubepods")?.add(client.pid())?;
    ensure!(!is_steered(&client)?, "on another node");
    let seen = program.run(&[Step::connect(0, at(SERVICE, 80)?), Step::receive(0)])?;
    let greeting = seen[1].as_ref().ok().and_then(Seen::text);
    let greeting = greeting.with_context(|| format!("{seen:?}"))?;
    ensure!(greeting.starts_with("server"), "{greeting}");
    client.container_cgroup().add(client.pid())?;
    ensure!(is_steered(&client)?, "back where it was");
    Ok(())
}
