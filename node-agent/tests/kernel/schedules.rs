//! Sequence: every prefix of real connects is within one of the ideal, for every version.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use sluice_model::table;
use sluice_node_abi::{keys, values::mode};
use sluice_node_agent::program::Refusal;
use sluice_testbed::{
    load::{Load, Target},
    tier::{self, is_long},
};

use crate::bed::{Bed, at};

const VERSIONS: u8 = 16;
const PREFIX: u64 = 10_000;

pub(crate) fn every_prefix_of_real_connects_is_within_one_of_the_ideal() -> Result<()> {
    let (sets, connects) = if is_long() {
        (200, PREFIX)
    } else {
        (12, 2_000)
    };
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let server = bed
        .node
        .pod("server")
        .addresses(VERSIONS)
        .named_by_address()
        .port(80)
        .start()?;
    let client = bed.node.pod("client").start()?;
    let backends: Vec<SocketAddr> = server
        .addresses()
        .iter()
        .map(|(address, _)| (*address, 80).into())
        .collect();
    let groups = backends
        .iter()
        .map(|backend| bed.group(&[*backend], keys::UDP))
        .collect::<Result<Vec<_>>>()?;

    let mut rng = Rng::with_seed(tier::seed()?);
    for set in 0..sets {
        let weights = weights(&mut rng);
        let slots: Vec<_> = table::schedule(&weights)
            .into_iter()
            .map(|version| groups[version])
            .collect();
        let table = bed.table(mode::SEQUENCE, &slots)?;
        let service = at("198.18.0.1", 1_000 + set)?;
        bed.frontend(service, keys::UDP, table)?;
        let report = client.load(&Load::on([Target::udp(service)]).times(connects).in_order())?;
        ensure!(report.failures.is_empty(), "{:?}", report.failures);
        check_prefixes(&report.order, &backends, &weights)
            .with_context(|| format!("weights {weights:?}"))?;
    }
    println!("{sets} sets of weights, each prefix of {connects} connects");
    Ok(())
}

/// 2 to 16 weights with a sum of at most 4,096.
fn weights(rng: &mut Rng) -> Vec<u32> {
    let versions = rng.usize(2..=usize::from(VERSIONS));
    let most = 4_096 / versions as u32;
    let most = [2, 12, most][rng.usize(..3)].min(most);
    (0..versions).map(|_| rng.u32(1..=most)).collect()
}

fn check_prefixes(order: &[String], backends: &[SocketAddr], weights: &[u32]) -> Result<()> {
    let sum: u64 = weights.iter().copied().map(u64::from).sum();
    let mut counts = vec![0_u64; weights.len()];
    for (length, name) in (1_u64..).zip(order) {
        let address: SocketAddr = name.parse()?;
        let version = backends
            .iter()
            .position(|backend| *backend == address)
            .context("a version")?;
        counts[version] += 1;
        for (count, weight) in counts.iter().zip(weights) {
            let apart = (count * sum).abs_diff(length * u64::from(*weight));
            ensure!(apart <= sum, "after {length} connects: {counts:?}");
        }
    }
    Ok(())
}
