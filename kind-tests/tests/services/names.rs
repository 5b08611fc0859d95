//! A name server whose pods are all replaced while clients ask it, each on a socket that it keeps.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sluice_testbed::load::{Load, Manner, Report, Target};
use sluice_testbed::tier::{eventually, is_long};

use crate::bed::{Bed, PATIENCE, quiet};
use crate::objects::Service;

const NAMESPACE: &str = "kube-system";
const REPLICAS: usize = 3;
const ROLLOUTS: u32 = 2;
const LONG_ROLLOUTS: u32 = 10;
/// Of all clients together; they are fifty.
const CLIENTS: [u32; 2] = [13, 12];
/// Look-ups per second of each kind of client on each node.
const RATE: f64 = 50.0;
const NAME: &str = "kubernetes.default.svc.cluster.local";
const ADDRESS: &str = "10.96.0.1";
/// An answer that took as long was asked for again.
const SLOW: Duration = Duration::from_secs(1);

pub(crate) fn no_look_up_fails_while_the_name_servers_are_replaced() -> Result<()> {
    let bed = quiet()?;
    let deployment = "deployment/coredns";
    let scale = ["scale", deployment, "--namespace", NAMESPACE];
    let replicas = format!("--replicas={REPLICAS}");
    bed.cluster.kubectl([&scale[..], &[&replicas]].concat())?;
    bed.cluster.rolled_out(NAMESPACE, deployment, PATIENCE)?;
    let service = ["service", "kube-dns", "--namespace", NAMESPACE];
    let service = Service(bed.cluster.client().get(service)?);
    let addresses = service.at(53)?;
    let mut before = pods(&bed)?;

    let mut loads = Vec::new();
    for (side, address) in [&bed.near, &bed.far].into_iter().zip(&addresses) {
        for (manner, clients) in [Manner::Connected, Manner::Unconnected]
            .into_iter()
            .zip(CLIENTS)
        {
            let load = Load::on([Target::udp(*address)]).looking_up(NAME, manner);
            let load = load.threads(clients).rate(RATE).until_stopped();
            loads.push(side.pod.start_load(&load)?);
        }
    }
    let rollouts = if is_long() { LONG_ROLLOUTS } else { ROLLOUTS };
    let replaced = (0..rollouts).try_for_each(|_| {
        let restart = ["rollout", "restart", deployment, "--namespace", NAMESPACE];
        bed.cluster.kubectl(restart)?;
        bed.cluster.rolled_out(NAMESPACE, deployment, PATIENCE)?;
        eventually(PATIENCE, "the old name servers are gone", || {
            let now = pods(&bed)?;
            ensure!(now.len() == REPLICAS && now.is_disjoint(&before), "{now:?}");
            before = now;
            Ok(())
        })
    });
    let mut report = Report::default();
    for load in loads {
        report.merge(load.stop()?);
    }
    replaced?;
    let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| report.answers.quantile(share));
    println!(
        "{rollouts} rollouts of {REPLICAS} name servers, {} clients: {} look-ups in {:.1} s, {} failed; \
         {} questions asked again, {} look-ups took {SLOW:?} or more; p50 {p50:?}, p99 {p99:?}, slowest {most:?}",
        2 * CLIENTS.iter().sum::<u32>(),
        report.tries,
        report.elapsed.as_secs_f64(),
        report.failures.len(),
        report.retries,
        report.answers.from(SLOW),
    );
    ensure!(
        report.failures.is_empty() && report.of(ADDRESS) == report.tries && report.tries > 0,
        "{report}"
    );
    Ok(())
}

/// The names of all pods of the name server, those that end among them.
fn pods(bed: &Bed) -> Result<BTreeSet<String>> {
    let pods = [
        "pods",
        "--selector=k8s-app=kube-dns",
        "--namespace",
        NAMESPACE,
    ];
    let pods = bed.cluster.client().get(pods)?;
    let pods = pods["items"].as_array().context("a list has items")?;
    let names = pods.iter().map(|pod| pod["metadata"]["name"].as_str());
    let names = names.map(|name| name.map(str::to_owned));
    names.collect::<Option<_>>().context("a pod has a name")
}
