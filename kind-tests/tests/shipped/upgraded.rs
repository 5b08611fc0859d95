//! All images are replaced by those of another version.

use anyhow::{Context as _, Result, ensure};
use sluice_kind_tests::echo;
use sluice_kind_tests::shop::Shop;
use sluice_testbed::cluster::{Cluster, shipped};
use sluice_testbed::load::Target;

use crate::bed::{SCENE, alone};
use crate::population::undisturbed;

pub(crate) fn no_connect_fails_while_all_images_change() -> Result<()> {
    let bed = alone()?;
    let cluster = &bed.own()?.cluster;
    for archive in shipped::images(shipped::NEXT)? {
        for node in cluster.nodes() {
            node.import(&archive)?;
        }
    }
    let shop = Shop::open(&bed, SCENE)?;
    shop.weigh(90, 10)?;
    shop.programmed()?;
    let nodes = bed.nodes()?.into_iter().map(|node| {
        let name = format!("client-{node}");
        echo::client(&bed, shop.namespace(), &name, &node)
    });
    let clients = nodes.collect::<Result<Vec<_>>>()?;
    let addresses = shop.addresses.iter().copied();
    let targets: Vec<_> = addresses
        .flat_map(|address| [Target::tcp(address), Target::udp(address)])
        .collect();
    for (version, weights) in [(shipped::NEXT, (50, 50)), (shipped::VERSION, (90, 10))] {
        let what = format!("all images became those of {version}");
        undisturbed(&what, &clients, &targets, || {
            cluster.install(version)?;
            let (stable, canary) = weights;
            shop.weigh(stable, canary)?;
            shop.programmed().map(drop)
        })?;
        runs(cluster, version)?;
    }
    Ok(())
}

/// Every container of Sluice has an image of this version.
fn runs(cluster: &Cluster, version: &str) -> Result<()> {
    let pods = cluster
        .client()
        .get(["pods", "--namespace", shipped::NAMESPACE])?;
    let pods = pods["items"].as_array().context("a list has items")?;
    ensure!(!pods.is_empty(), "there is no pod");
    let stays = pods
        .iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    for container in stays
        .flat_map(|pod| pod["spec"]["containers"].as_array())
        .flatten()
    {
        let image = container["image"].as_str().unwrap_or_default();
        ensure!(
            image.ends_with(&format!(":{version}")),
            "{image} still runs"
        );
    }
    Ok(())
}
