//! Sequence: what a node's callers get is never more than one connection away from the shares asked for.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use serde_json::json;
use sluice_testbed::load::Load;
use sluice_testbed::tier::{self, is_long};

use crate::bed::{ALONE, lent, pods, quiet, version};

/// Sixteen of these are a schedule that needs no rounding.
const MOST: u64 = 256;

pub(crate) fn every_prefix_is_within_one_connection_of_the_ideal() -> Result<()> {
    let bed = quiet()?;
    let (sets, connects) = if is_long() { (50, 10_000) } else { (6, 2_000) };
    let mut random = Rng::with_seed(tier::seed()?);
    let mut worst: f64 = 0.0;
    for number in 0..sets {
        let weights = match number {
            0 => vec![90, 10],
            _ => any(&mut random),
        };
        // A Service of its own: its schedule starts with the first of these connects.
        let spec = json!({ "versions": lent(0, &weights) });
        let split = bed.split(&format!("exact-{number}"), &spec)?;
        for address in &split.addresses {
            let load = Load::on([*address]).times(connects).in_order();
            let running = bed.clients.iter().map(|client| client.start_load(&load));
            for load in running.collect::<Result<Vec<_>>>()? {
                let report = load.finish()?;
                ensure!(report.failures.is_empty(), "{report}");
                let furthest = furthest(&report.order, &weights);
                let furthest = furthest.with_context(|| format!("{weights:?} at {address}"))?;
                worst = worst.max(furthest);
            }
        }
    }
    println!(
        "{sets} sets of weights, {connects} connects for each node and family; furthest from the ideal: {worst:.4}"
    );
    Ok(())
}

/// Two to sixteen versions; some get nothing, but not all.
fn any(random: &mut Rng) -> Vec<u64> {
    let number = random.usize(2..=ALONE);
    let weight = |random: &mut Rng| match random.u8(..4) {
        0 => 0,
        _ => random.u64(1..=MOST),
    };
    let mut weights: Vec<_> = (0..number).map(|_| weight(random)).collect();
    weights[random.usize(..number)] = random.u64(1..=MOST);
    weights
}

/// Follows connects in their order: how far any prefix was from the ideal of any version. Within a version pods take turns.
fn furthest(order: &[String], weights: &[u64]) -> Result<f64> {
    let sum: u64 = weights.iter().sum();
    let names: BTreeMap<_, _> = (0..weights.len()).map(|v| (version(v), v)).collect();
    let mut counts = vec![0_u64; weights.len()];
    let mut by_pod = vec![BTreeMap::<_, u64>::new(); weights.len()];
    let mut furthest = 0;
    for (connects, name) in (1..).zip(order) {
        let version = name.split_once(':').and_then(|(_, port)| names.get(port));
        let version = *version.with_context(|| format!("{name} is of no version"))?;
        counts[version] += 1;
        *by_pod[version].entry(name).or_default() += 1;
        for (count, weight) in counts.iter().zip(weights) {
            let away = (count * sum).abs_diff(connects * weight);
            ensure!(
                away <= sum,
                "after {connects} connects {counts:?} of {weights:?}"
            );
            furthest = furthest.max(away);
        }
    }
    for (number, (count, by_pod)) in counts.iter().zip(&by_pod).enumerate() {
        let most = by_pod.values().copied().max().unwrap_or(0);
        let least = by_pod.values().copied().min();
        let least = least.filter(|_| by_pod.len() == pods(number)).unwrap_or(0);
        ensure!(
            most - least <= 1,
            "{count} connects of v{number}: {by_pod:?}"
        );
    }
    Ok(furthest as f64 / sum as f64)
}
