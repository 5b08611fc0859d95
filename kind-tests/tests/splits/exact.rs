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
                let furthest = furthest(0, &report.order, &weights);
                let furthest = furthest.with_context(|| format!("{weights:?} at {address}"))?;
                worst = worst.max(furthest);
                take_turns(&report.order, weights.len())?;
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

/// Follows connects in their order: how far any prefix was from the ideal of any of the versions from `first` on.
pub(crate) fn furthest(first: usize, order: &[String], weights: &[u64]) -> Result<f64> {
    let sum: u64 = weights.iter().sum();
    let mut counts = vec![0_u64; weights.len()];
    let mut furthest = 0;
    for (connects, name) in (1..).zip(order) {
        let met = (0..weights.len()).find(|v| name.ends_with(&format!(":{}", version(first + v))));
        counts[met.with_context(|| format!("{name} is of no version"))?] += 1;
        for (count, weight) in counts.iter().zip(weights) {
            let away = (count * sum).abs_diff(connects * weight);
            ensure!(
                away <= sum,
                "after {connects} connects {counts:?} of {weights:?}"
            );
            furthest = furthest.max(away);
        }
    }
    Ok(furthest as f64 / sum as f64)
}

/// The pods of each version were met equally often, but for one connect.
fn take_turns(order: &[String], versions: usize) -> Result<()> {
    for number in 0..versions {
        let ending = format!(":{}", version(number));
        let mut met = BTreeMap::<_, u64>::new();
        for name in order.iter().filter(|name| name.ends_with(&ending)) {
            *met.entry(name).or_default() += 1;
        }
        let most = met.values().copied().max().unwrap_or(0);
        let least = met.values().copied().min();
        let least = least.filter(|_| met.len() == pods(number)).unwrap_or(0);
        ensure!(most - least <= 1, "connects of v{number}: {met:?}");
    }
    Ok(())
}
