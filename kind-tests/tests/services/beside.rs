//! kube-proxy on the same nodes: it writes its rules, and finds nothing to do.

use anyhow::{Result, ensure};
use serde_json::json;
use sluice_testbed::cluster::{Mode, Node};
use sluice_testbed::load::{Load, Report};
use sluice_testbed::tier::eventually;

use crate::bed::{HOST_PORT, HOSTS, PATIENCE, PODS, alone};
use crate::objects::{PORT, both, ports, tcp};
use crate::sight::answered_by;

/// Where kube-proxy writes its rules.
const TABLES: [&str; 2] = ["ip kube-proxy", "ip6 kube-proxy"];
/// Tries per second of each caller.
const RATE: f64 = 100.0;
/// Two endpoints in turn have half each; drawn by chance, as kube-proxy does, that would be rare.
const EVEN: u64 = 1000;

pub(crate) fn kube_proxy_beside_sluice_changes_nothing() -> Result<()> {
    let bed = alone()?;
    let stored = bed.over("pods", "beside", json!({ "type": "NodePort" }))?;
    let addresses = [stored.at(PORT)?, bed.at_nodes(stored.node_port("tcp")?)].concat();
    for caller in bed.near.all() {
        answered_by(caller, &tcp(&addresses), &PODS)?;
    }
    let mut targets = tcp(&addresses);
    targets.extend(both(&stored.at(PORT)?));
    let load = Load::on(targets).until_stopped().rate(RATE);
    let loads = [&bed.near, &bed.far].map(|side| side.all().map(|caller| caller.start_load(&load)));
    let happened = (|| {
        let kube_proxies = bed.cluster.start_kube_proxy(Mode::Nftables)?;
        for node in bed.cluster.nodes() {
            eventually(PATIENCE, "kube-proxy has written its rules", || {
                for (table, address) in TABLES.iter().zip(stored.addresses()?) {
                    let rules = nft(node, &format!("list table {table}"))?;
                    ensure!(rules.contains(&format!(" {address} ")), "{rules}");
                }
                Ok(())
            })?;
        }
        // Services over the same endpoints take turns together, so these are others.
        let even = json!({ "ports": ports(PORT, HOST_PORT) });
        for address in bed.over("hosts", "even", even)?.at(PORT)? {
            answered_by(&bed.near.pod, &tcp(&[address]), &HOSTS)?;
            let report = bed.near.pod.load(&Load::on([address]).times(EVEN))?;
            let even = HOSTS.iter().all(|name| report.of(name) == EVEN / 2);
            ensure!(even, "{address}: {report}");
        }
        drop(kube_proxies);
        // Its rules outlive it.
        for node in bed.cluster.nodes() {
            for table in TABLES {
                nft(node, &format!("delete table {table}"))?;
            }
        }
        Ok(())
    })();
    let mut report = Report::default();
    for load in loads.into_iter().flatten() {
        report.merge(load?.stop()?);
    }
    happened?;
    ensure!(report.failures.is_empty(), "{report}");
    println!(
        "{} connects while kube-proxy came and went, none failed",
        report.tries
    );
    Ok(())
}

/// What nft says to a command on a node.
fn nft(node: &Node, command: &str) -> Result<String> {
    let mut nft = node
        .command("nft", "nft")?
        .args(command.split(' '))
        .spawn()?;
    let status = nft.wait(PATIENCE)?;
    let said = nft.output()?;
    ensure!(status.success(), "nft {command}: {said}");
    Ok(said)
}
