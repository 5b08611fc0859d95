//! The first promise: shares are exact, and a status that says so can be relied on.

use anyhow::{Result, ensure};
use sluice_kind_tests::echo;
use sluice_kind_tests::shop::{CANARY, STABLE, Shop};
use sluice_testbed::load::Load;

use crate::bed::quiet;

const CONNECTS: u64 = 1_000;

pub(crate) fn a_split_is_exact_as_soon_as_it_is_programmed() -> Result<()> {
    let bed = quiet()?;
    let shop = Shop::open(&bed, "exact")?;
    let mut clients = Vec::new();
    for node in bed.nodes()? {
        let name = format!("client-{node}");
        clients.push(echo::client(&bed, shop.namespace(), &name, &node)?);
    }
    for (stable, canary) in [(90, 10), (1, 3), (0, 1)] {
        shop.weigh(stable, canary)?;
        // From here on no connect of any node may see what was before.
        let split = shop.programmed()?;
        for client in &clients {
            for address in &shop.addresses {
                let report = client.load(&Load::on([*address]).times(CONNECTS))?;
                ensure!(report.failures.is_empty(), "{report}");
                for (version, weight) in [(STABLE, stable), (CANARY, canary)] {
                    let exact = CONNECTS * weight / (stable + canary);
                    let got = report.of_version(version);
                    ensure!(
                        got.abs_diff(exact) <= 1,
                        "{address}: {version} has {got} of {CONNECTS} and not {exact}: {report}\n{:#}",
                        split["status"]
                    );
                }
            }
        }
        let effective: Vec<_> = ["stable", "canary"]
            .iter()
            .filter_map(|name| {
                let versions = split["status"]["versions"].as_array()?;
                let version = versions.iter().find(|version| version["name"] == *name)?;
                version["effective"].as_u64()
            })
            .collect();
        ensure!(effective == [stable, canary], "{:#}", split["status"]);
    }
    Ok(())
}
