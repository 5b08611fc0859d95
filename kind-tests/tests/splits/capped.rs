//! capByReadiness: a version gets what its ready pods can carry beside those of the version with the largest weight.

use anyhow::{Result, ensure};
use serde_json::json;
use sluice_testbed::load::Load;
use sluice_testbed::tier::eventually;

use crate::bed::{ALONE, PATIENCE, pods, quiet, version};

/// Six pods.
const HOLDER: usize = ALONE + 7;
/// One pod, and five.
const FEW: usize = ALONE + 2;
const ENOUGH: usize = ALONE + 6;
const CONNECTS: u64 = 1_200;

pub(crate) fn no_version_gets_more_than_its_ready_pods_can_carry() -> Result<()> {
    let bed = quiet()?;
    ensure!([HOLDER, FEW, ENOUGH].map(pods) == [6, 1, 5]);
    let spec = |other: usize, weight: u64| {
        let versions = [(HOLDER, 50), (other, weight)].map(
            |(number, weight)| json!({ "name": format!("v{number}"), "service": format!("v{number}"), "weight": weight }),
        );
        json!({ "versions": versions, "capByReadiness": true })
    };
    let split = bed.split("capped", &spec(FEW, 50))?;
    for (other, weight, part, reason) in [
        (FEW, 50, CONNECTS / 6, "CappedByReadiness"),
        (ENOUGH, 50, CONNECTS / 2, "AsRequested"),
        (FEW, 10, CONNECTS / 6, "AsRequested"),
    ] {
        split.set(&spec(other, weight))?;
        // Where the first status was right already there may be another one to come.
        eventually(PATIENCE, "the status says what is capped", || {
            let stored = split.programmed()?;
            let said = &stored["status"]["versions"][1];
            ensure!(
                said["reason"] == reason && said["ready"] == pods(other),
                "{:#}",
                stored["status"]
            );
            Ok(())
        })?;
        for client in &bed.clients {
            for address in &split.addresses {
                let report = client.load(&Load::on([*address]).times(CONNECTS))?;
                let got = report.of_version(&version(other));
                ensure!(
                    report.failures.is_empty() && got.abs_diff(part) <= 1,
                    "{got} of {part}: {report}"
                );
            }
        }
    }
    Ok(())
}
