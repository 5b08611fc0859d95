//! A client that keeps its backend, and until when.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use sluice_testbed::load::{Load, Report, Target};
use sluice_testbed::tier::eventually;

use crate::bed::{Caller, PATIENCE, PODS, quiet};
use crate::objects::{PORT, Server, both, service, tcp};
use crate::sight::answered_by;

/// How long a client is remembered after its last connect.
const TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) fn affinity_keeps_each_client_and_is_switched_on_and_off() -> Result<()> {
    let bed = quiet()?;
    let store = |affinity: &str| {
        let spec = json!({ "type": "NodePort", "sessionAffinity": affinity });
        bed.over("pods", "affine", spec)
    };
    for _ in 0..2 {
        let stored = store("ClientIP")?;
        // One port's addresses of one family share what a client has.
        let ports = bed.at_nodes(stored.node_port("tcp")?);
        for cluster_address in stored.at(PORT)? {
            let same = ports.iter().copied();
            let same = same.filter(|address| address.is_ipv4() == cluster_address.is_ipv4());
            let targets: Vec<_> = same.chain([cluster_address]).collect();
            for side in [&bed.near, &bed.far] {
                for caller in side.all() {
                    kept(caller, &tcp(&targets))?;
                }
            }
        }
        let off = store("None")?;
        let mut targets = both(&off.at(PORT)?);
        targets.extend(tcp(&ports));
        for caller in bed.near.all() {
            answered_by(caller, &targets, &PODS)?;
        }
    }
    Ok(())
}

/// One server has answered all tries at all these addresses.
fn kept(caller: &Caller, targets: &[Target]) -> Result<()> {
    let tries = 10 * u64::try_from(targets.len())?;
    let what = format!("{} keeps its server at {targets:?}", caller.name);
    eventually(PATIENCE, &what, || {
        let report = caller.load(&Load::on(targets.iter().copied()).times(tries))?;
        ensure!(
            report.failures.is_empty() && report.names.len() == 1,
            "{report}"
        );
        Ok(())
    })
}

/// Tries that follow each other sooner than the time-out see one server, however long they go on; those that are further
/// apart see several. How far apart they were is read from their times, since a busy machine may delay any.
pub(crate) fn affinity_ends_a_while_after_the_last_connect() -> Result<()> {
    let bed = quiet()?;
    let namespace = "timed";
    bed.cluster.namespace(namespace)?;
    let nodes = bed.cluster.nodes().iter();
    // Answers in a row are told apart by their version, which is the server's port.
    let servers = nodes.zip([("first", 1080), ("second", 1180)]);
    let servers = servers.map(|(node, (name, first_port))| {
        let mut server = Server::on(node.name(), namespace, name);
        server.first_port = first_port;
        server.named = Some(("web", 0));
        server
    });
    let store = |affinity: &str| {
        let mut spec = json!({
            "type": "NodePort",
            "ports": [{ "name": "tcp", "port": PORT, "targetPort": "web-tcp" }],
            "sessionAffinity": affinity,
        });
        if affinity == "ClientIP" {
            let seconds = json!({ "timeoutSeconds": TIMEOUT.as_secs() });
            spec["sessionAffinityConfig"] = json!({ "clientIP": seconds });
        }
        bed.service(&service(namespace, "timed", "pods", spec))
    };
    let stored = store("None")?;
    bed.pods(namespace, &servers.collect::<Vec<_>>())?;
    let asked = [
        (&bed.near.pod, stored.at(PORT)?[0]),
        (
            &bed.near.host_pod,
            bed.at_nodes(stored.node_port("tcp")?)[0],
        ),
    ];
    // A client that connects before there are two would keep the one.
    for (caller, address) in asked {
        answered_by(caller, &tcp(&[address]), &["first", "second"])?;
    }
    store("ClientIP")?;
    for (caller, address) in asked {
        kept(caller, &tcp(&[address]))?;
    }

    let lively = |address| {
        Load::on([address])
            .stretches()
            .rate(20.0)
            .lasting(2 * TIMEOUT)
    };
    let started = asked.map(|(caller, address)| caller.start_load(&lively(address)));
    for load in started {
        let report = load?.finish()?;
        ensure!(report.failures.is_empty(), "{report}");
        let early = pauses(&report).find(|pause| *pause < TIMEOUT / 2);
        ensure!(early.is_none(), "another server after {early:?}: {report}");
        println!(
            "{} tries, {} stretches",
            report.tries,
            report.stretches.len()
        );
    }
    // One after the other: both take turns from one counter, and in step with each other each would always get the same.
    for (caller, address) in asked {
        let seldom = 1.0 / (1.5 * TIMEOUT.as_secs_f64());
        let load = Load::on([address]).stretches().rate(seldom).times(3);
        let report = caller.start_load(&load)?.finish()?;
        ensure!(report.failures.is_empty(), "{report}");
        ensure!(report.stretches.len() > 1, "{:?}", report.stretches);
        let pauses: Vec<_> = pauses(&report).collect();
        println!("another server after {pauses:?}");
    }
    Ok(())
}

/// From the last try that one server answered to the first that another did.
fn pauses(report: &Report) -> impl Iterator<Item = Duration> {
    let pairs = report.stretches.windows(2);
    pairs.map(|pair| pair[1].first.saturating_sub(pair[0].last))
}
