//! Reject: the share of a version without backends is refused, no more and no less.

use anyhow::{Result, ensure};
use serde_json::json;
use sluice_testbed::Errno;
use sluice_testbed::load::{Load, Stage};

use crate::bed::{ALONE, lent, quiet, version};

/// The version that has backends.
const SERVED: usize = ALONE + 5;
const CONNECTS: u64 = 1_000;

pub(crate) fn the_share_of_nobody_is_refused_exactly() -> Result<()> {
    let bed = quiet()?;
    // Its Service is there and has no endpoints: the split's own.
    let mut versions = lent(SERVED, &[20]);
    if let Some(versions) = versions.as_array_mut() {
        versions.push(json!({ "name": "nobody", "service": "rejected", "weight": 80 }));
    }
    let mut spec = json!({ "versions": versions, "whenUnavailable": "Reject" });
    let split = bed.split("rejected", &spec)?;
    for client in &bed.clients {
        for address in &split.addresses {
            let report = client.load(&Load::on([*address]).times(CONNECTS))?;
            let refused = report.failures.len();
            ensure!(
                refused.abs_diff(800) <= 1
                    && report.of_version(&version(SERVED)) + refused as u64 == CONNECTS
                    && report.failures.iter().all(|failure| {
                        failure.stage == Stage::Connect && failure.code == Errno::ECONNREFUSED
                    }),
                "{address}: {report}"
            );
        }
    }
    // The same shares where the others get what nobody can.
    spec["whenUnavailable"] = json!("Redistribute");
    split.set(&spec)?;
    split.programmed()?;
    for client in &bed.clients {
        for address in &split.addresses {
            let report = client.load(&Load::on([*address]).times(CONNECTS))?;
            ensure!(report.of_version(&version(SERVED)) == CONNECTS, "{report}");
        }
    }
    Ok(())
}
