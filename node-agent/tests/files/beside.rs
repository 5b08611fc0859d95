//! A proxy of packets on the same node, as kube-proxy is: what was translated at the socket its rules never see.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use sluice_node_abi::maps::Setting;
use sluice_node_agent::{maps::kernel::Kernel, program::Pins};
use sluice_testbed::{load::Load, tier::eventually};

use crate::bed::{Bed, PATIENCE, SERVICE, Shop, at};

/// The Service's address is somebody else's by its rules, for pods and for the node itself.
pub(crate) fn rules_for_packets_find_nothing_to_do() -> Result<()> {
    let shop = Shop::open()?;
    let other = shop
        .bed
        .node
        .pod("other")
        .version("other")
        .port(80)
        .start()?;
    let host = shop.bed.node.pod("host").on_the_host().start()?;
    lead_astray(&shop.bed, other.address4())?;
    let clients = [&shop.client, &host];
    let led_astray = || -> Result<()> {
        for client in clients {
            let report = client.load(&Load::on([at(SERVICE)?]).times(20))?;
            ensure!(report.of_version("other") == 20, "{report}");
        }
        Ok(())
    };
    led_astray()?;

    let _agent = shop.bed.ready_agent()?;
    let mut steered = 0;
    for client in clients {
        let report = client.load(&Load::on([at(SERVICE)?]).times(500).threads(2))?;
        ensure!(report.failures.is_empty(), "{report}");
        ensure!(report.of_version("other") == 0, "{report}");
        steered += report.of_version("v1") + report.of_version("v2");
    }
    ensure!(steered == 1_000, "{steered}");

    // The rules are still there: it is the programs that keep connects from them.
    let maps = Kernel::open(&Pins::new(shop.bed.node.bpffs()))?;
    maps.set(Setting::Off, 1)?;
    led_astray()?;
    maps.set(Setting::Off, 0)?;
    eventually(PATIENCE, "steered connects", || {
        let report = shop.client.load(&Load::on([at(SERVICE)?]).times(20))?;
        ensure!(report.of_version("other") == 0, "{report}");
        Ok(())
    })
}

fn lead_astray(bed: &Bed, to: Ipv4Addr) -> Result<()> {
    let chain = |hook: &str| {
        format!(
            "chain {hook} {{
                type nat hook {hook} priority -100
                ip daddr {SERVICE} tcp dport 80 dnat to {to}
            }}"
        )
    };
    let (pods, host) = (chain("prerouting"), chain("output"));
    let rules = format!("table ip proxy {{\n{pods}\n{host}\n}}");
    let mut nft = bed.node.command("nft", "nft")?.args([&rules]).spawn()?;
    let status = nft.wait(PATIENCE)?;
    ensure!(status.success(), "{}", nft.output()?);
    Ok(())
}
