//! Callers with weights of their own, and clients that keep their version.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use serde_json::{Value, json};
use sluice_model::key::Family;
use sluice_testbed::cluster::{Pod, TESTBED};
use sluice_testbed::load::Load;
use sluice_testbed::tier::{self, eventually, is_long};

use crate::bed::{ALONE, Bed, NAMESPACE, PATIENCE, apply, await_count, lent, quiet, version};
use crate::exact::furthest;

/// Each with a pod, in turn on either node.
const CLASSES: usize = 10;
/// The versions from [`ALONE`] on.
const VERSIONS: usize = 8;

/// Pods with a label that says of which class they are.
fn crowd(bed: &Bed, label: &str) -> Result<Vec<Pod>> {
    let nodes = bed.cluster.nodes();
    let name = |number: usize| format!("{label}-{number}");
    let pods = (0..CLASSES).map(|number| {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name(number),
                "namespace": NAMESPACE,
                "labels": { label: number.to_string() },
            },
            "spec": {
                "nodeName": nodes[number % nodes.len()].name(),
                "terminationGracePeriodSeconds": 1,
                "containers": [{ "name": "client", "image": TESTBED, "imagePullPolicy": "Never", "args": ["serve"] }],
            },
        })
    });
    apply(&bed.cluster, pods)?;
    (0..CLASSES)
        .map(|number| {
            let name = name(number);
            bed.cluster
                .ready(NAMESPACE, &format!("pod/{name}"), PATIENCE)?;
            bed.cluster.pod(NAMESPACE, &name)
        })
        .collect()
}

fn weights(random: &mut Rng) -> Vec<u64> {
    let mut weights: Vec<_> = (0..VERSIONS).map(|_| random.u64(..=64)).collect();
    weights[random.usize(..VERSIONS)] = 64;
    weights
}

/// All classes connect at once; what one does takes no step of another's schedule.
pub(crate) fn each_class_of_callers_has_its_own_shares_exactly() -> Result<()> {
    let bed = quiet()?;
    let connects = if is_long() { 10_000 } else { 500 };
    let mut random = Rng::with_seed(tier::seed()?);
    let pods = crowd(&bed, "class")?;
    let by_class: Vec<_> = pods.iter().map(|_| weights(&mut random)).collect();
    let everybody = weights(&mut random);
    let spec = json!({ "versions": lent(ALONE, &everybody), "callers": classes(&by_class) });
    let split = bed.split("callers", &spec)?;
    // That a node has the split does not say that it knows these pods.
    let nodes = bed.cluster.nodes();
    let known = Family::ALL.len() * CLASSES / nodes.len();
    for node in nodes {
        await_count(node, "a node knows its callers", known, |image| {
            image.classes.len()
        })?;
    }
    let mut worst: f64 = 0.0;
    for address in &split.addresses {
        let load = Load::on([*address]).times(connects).in_order();
        let callers = pods.iter().zip(&by_class);
        let callers = callers.chain(bed.clients.iter().map(|client| (client, &everybody)));
        let running = callers.map(|(pod, weights)| Ok((pod.start_load(&load)?, weights)));
        for (load, weights) in running.collect::<Result<Vec<_>>>()? {
            let report = load.finish()?;
            ensure!(report.failures.is_empty(), "{report}");
            let away = furthest(ALONE, &report.order, weights);
            worst = worst.max(away.with_context(|| format!("{weights:?} at {address}"))?);
        }
    }
    println!(
        "{CLASSES} classes and everybody else, {connects} connects each; furthest from the ideal: {worst:.4}"
    );
    // A label that changes while the pod runs counts for its next connects.
    let only = ALONE + 5;
    let mut spec = spec;
    spec["callers"][1]["weights"] = json!({ format!("v{only}"): 1 });
    split.set(&spec)?;
    split.programmed()?;
    let label = ["label", "pod", "class-0", "class=1", "--overwrite"];
    let there = ["--namespace", NAMESPACE];
    bed.cluster.kubectl([&label[..], &there].concat())?;
    eventually(PATIENCE, "the pod is of another class", || {
        let report = pods[0].load(&Load::on([split.addresses[0]]).times(20))?;
        ensure!(report.of_version(&version(only)) == 20, "{report}");
        Ok(())
    })
}

/// A class for the pods of each label, with these weights of the versions from [`ALONE`] on.
fn classes(by_class: &[Vec<u64>]) -> Value {
    let classes = by_class.iter().enumerate().map(|(number, weights)| {
        let weights = (ALONE..).zip(weights);
        let weights = weights.map(|(version, weight)| (format!("v{version}"), json!(weight)));
        json!({
            "name": format!("class-{number}"),
            "from": [{ "pods": { "matchLabels": { "class": number.to_string() } } }],
            "weights": Value::Object(weights.collect()),
        })
    });
    classes.collect()
}

/// Which version each pod has, all of whose connects meet the same.
fn kept(pods: &[Pod], address: std::net::SocketAddr) -> Result<Vec<String>> {
    let loads = pods
        .iter()
        .map(|pod| pod.start_load(&Load::on([address]).times(30)));
    let loads = loads.collect::<Result<Vec<_>>>()?;
    let versions = loads.into_iter().map(|load| {
        let report = load.finish()?;
        ensure!(
            report.failures.is_empty() && report.versions.len() == 1,
            "{report}"
        );
        report.versions.into_keys().next().context("it has one")
    });
    versions.collect()
}

pub(crate) fn a_sticky_client_moves_only_with_a_share() -> Result<()> {
    let bed = quiet()?;
    let pods = crowd(&bed, "sticky")?;
    let spec = |weights: &[u64]| json!({ "versions": lent(ALONE, weights), "selection": "Sticky" });
    // Each raises or lowers one version, or takes one away.
    let steps: [[u64; 4]; 6] = [
        [50, 50, 0, 0],
        [50, 50, 100, 0],
        [50, 50, 400, 0],
        [50, 0, 400, 0],
        [50, 0, 400, 900],
        [50, 0, 0, 900],
    ];
    let split = bed.split("sticky", &spec(&steps[0]))?;
    let address = split.addresses[0];
    let mut before = kept(&pods, address)?;
    let mut moved = 0;
    for pair in steps.windows(2) {
        let (old, new) = (pair[0], pair[1]);
        split.set(&spec(&new))?;
        split.programmed()?;
        let after = kept(&pods, address)?;
        let change = |by: fn(&u64, &u64) -> bool| -> BTreeSet<String> {
            let changed = (0..old.len()).filter(|v| by(&old[*v], &new[*v]));
            changed.map(|v| version(ALONE + v)).collect()
        };
        let (rose, fell) = (change(|old, new| new > old), change(|old, new| new < old));
        for (old, new) in before.iter().zip(&after).filter(|(old, new)| old != new) {
            ensure!(
                rose.contains(new) || fell.contains(old),
                "{old} to {new}, where {rose:?} rose and {fell:?} fell"
            );
            moved += 1;
        }
        before = after;
    }
    println!(
        "{CLASSES} clients over {} changes of weights: {moved} moves, all with a share",
        steps.len() - 1
    );
    ensure!(moved > 0, "nobody has moved");
    Ok(())
}
