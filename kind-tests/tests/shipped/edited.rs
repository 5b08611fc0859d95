//! How soon connects follow an edit.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use sluice_kind_tests::echo;
use sluice_kind_tests::shop::{CANARY, CHECKOUT, STABLE, Shop};
use sluice_testbed::load::{Load, Stretch};
use sluice_testbed::tier::{eventually, is_long};

use crate::bed::{PATIENCE, alone};

/// Half a millisecond between connects.
const RATE: f64 = 2_000.0;
/// What the design aims at.
const AIM: f64 = 250.0;

/// Times are printed and not judged. What is: once a connect has seen an edit, none sees what was before it.
pub(crate) fn edits_reach_connects() -> Result<()> {
    let bed = alone()?;
    let edits = if is_long() { 200 } else { 20 };
    // Not the shop of the others: what kubectl patch has written is its own, and apply leaves it alone.
    let shop = Shop::open(&bed, "edited")?;
    let node = bed.nodes()?.swap_remove(0);
    let client = echo::client(&bed, shop.namespace(), "client", &node)?;
    let address = *shop.addresses.first().context("it has an address")?;
    shop.weigh(1, 0)?;
    shop.programmed()?;

    let running = client.start_load(&Load::on([address]).until_stopped().rate(RATE).stretches())?;
    let mut returns = Vec::new();
    for edit in 1..=edits {
        let (version, stable, canary) = match edit % 2 {
            1 => (CANARY, 0, 1),
            _ => (STABLE, 1, 0),
        };
        let seen = running.so_far()?.of_version(version);
        let weights = serde_json::json!([
            { "op": "replace", "path": "/spec/versions/0/weight", "value": stable },
            { "op": "replace", "path": "/spec/versions/1/weight", "value": canary },
        ]);
        let patch = ["patch", "trafficsplit", CHECKOUT, "--type=json", "--patch"];
        let there = ["--namespace", shop.namespace()];
        bed.kubectl([&patch[..], &[&weights.to_string()], &there].concat())?;
        returns.push(SystemTime::now().duration_since(UNIX_EPOCH)?);
        eventually(PATIENCE, "a connect sees the edit", || {
            ensure!(running.so_far()?.of_version(version) > seen, "none has");
            Ok(())
        })?;
    }
    let report = running.stop()?;
    ensure!(report.failures.is_empty(), "{report}");
    let stretches = &report.stretches;
    ensure!(
        stretches.len() == edits + 1,
        "{} stretches of {edits} edits: {stretches:?}",
        stretches.len()
    );
    tell(&returns, stretches);
    Ok(())
}

fn tell(returns: &[Duration], stretches: &[Stretch]) {
    let before = stretches.iter().zip(returns);
    let old: Vec<_> = before.map(|(old, write)| since(*write, old.last)).collect();
    let after = stretches.iter().skip(1).zip(returns);
    let new: Vec<_> = after.map(|(new, write)| since(*write, new.first)).collect();
    let late = old.iter().filter(|late| **late > AIM).count();
    println!(
        "{} edits by kubectl, milliseconds since it returned (below zero: before that)\n  \
         last connect of the old table:  {}\n  \
         first connect of the new table: {}\n  \
         {late} edits had a connect of the old table after {AIM} ms",
        returns.len(),
        quantiles(old),
        quantiles(new)
    );
}

/// In milliseconds, below zero if `at` was earlier.
fn since(write: Duration, at: Duration) -> f64 {
    (at.as_secs_f64() - write.as_secs_f64()) * 1_000.0
}

fn quantiles(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (share * (times.len() - 1) as f64).round() as usize;
        times.get(place).copied().unwrap_or(f64::NAN)
    };
    let named = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)];
    named
        .map(|(name, share)| format!("{name} {:.1}", at(share)))
        .join("  ")
}
