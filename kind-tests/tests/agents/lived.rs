//! What the agents of a cluster carry.

use anyhow::{Result, ensure};
use serde_json::json;
use sluice_kind_tests::echo::{self, Echo};
use sluice_testbed::load::{Load, Target};
use sluice_testbed::tier::eventually;

use crate::bed::{PATIENCE, bed};

pub(crate) fn a_service_is_reached_without_kube_proxy() -> Result<()> {
    let bed = bed()?;
    let cluster = &bed.cluster;
    let namespace = "plain";
    cluster.namespace(namespace)?;
    let web = Echo {
        namespace,
        name: "web",
        version: "v1",
        replicas: 3,
        node: None,
    };
    let web = web.roll_out(cluster)?;
    for node in cluster.nodes() {
        let name = format!("client-{}", node.name());
        let client = echo::client(cluster, namespace, &name, node.name())?;
        for address in &web.addresses {
            for target in [Target::tcp(*address), Target::udp(*address)] {
                eventually(PATIENCE, "all servers answer", || {
                    let report = client.load(&Load::on([target]).times(30))?;
                    let names: Vec<_> = report.names.keys().collect();
                    let pods: Vec<_> = web.pods.keys().collect();
                    ensure!(report.failures.is_empty() && names == pods, "{report:?}");
                    Ok(())
                })?;
            }
        }
    }
    Ok(())
}

pub(crate) fn a_split_that_is_edited_is_exact_each_time() -> Result<()> {
    let bed = bed()?;
    let cluster = &bed.cluster;
    let namespace = "shop";
    cluster.namespace(namespace)?;
    let version = |name, version, replicas| Echo {
        namespace,
        name,
        version,
        replicas,
        node: None,
    };
    let front = version("checkout", "v0", 1).roll_out(cluster)?;
    version("checkout-v1", "v1", 2).roll_out(cluster)?;
    version("checkout-v2", "v2", 1).roll_out(cluster)?;
    let client = echo::client(cluster, namespace, "shopper", "node1")?;

    for (stable, canary) in [(90, 10), (50, 50), (0, 100)] {
        let split = json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
            "metadata": {"name": "checkout", "namespace": namespace},
            "spec": {"service": "checkout", "versions": [
                {"name": "stable", "service": "checkout-v1", "weight": stable},
                {"name": "canary", "service": "checkout-v2", "weight": canary},
            ]},
        });
        cluster.apply(&split.to_string())?;
        for address in &front.addresses {
            // A count that begins before the edit has arrived is not exact; one that begins later is.
            eventually(PATIENCE, "exact shares", || {
                let report = client.load(&Load::on([*address]).times(1_000).threads(4))?;
                let shares = (report.of_version("v1"), report.of_version("v2"));
                ensure!(report.failures.is_empty(), "{:?}", report.failures);
                ensure!(
                    shares == (stable * 10, canary * 10),
                    "{address}: {shares:?}"
                );
                Ok(())
            })?;
        }
    }
    Ok(())
}
