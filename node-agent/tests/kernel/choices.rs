//! Choices under load: exact, and never of two minds.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use sluice_node_abi::{
    keys,
    maps::SOCKETS,
    values::{Port, Socket, mode},
};
use sluice_node_agent::program::Refusal;
use sluice_testbed::{
    load::{Load, Report},
    pod::Pod,
    tier::eventually,
};
use zerocopy::FromBytes;

use crate::bed::{Bed, SERVICE_V4, at};

const PATIENCE: Duration = Duration::from_secs(120);

/// Two ports walk the same schedule, each by its own counter, from several threads at once: the sums of
/// full rounds are exact whoever came first.
pub(crate) fn a_schedule_is_kept_by_parallel_connects() -> Result<()> {
    const ROUNDS: u64 = 100;
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let stable = bed.node.pod("stable").version("v1").port(80).start()?;
    let canary = bed.node.pod("canary").version("v2").port(80).start()?;
    let clients = [
        bed.node.pod("client-1").start()?,
        bed.node.pod("client-2").start()?,
    ];

    let groups = [
        bed.group(&[stable.at(80)[0]], keys::TCP)?,
        bed.group(&[canary.at(80)[0]], keys::TCP)?,
    ];
    let schedule: Vec<_> = (0..10).map(|slot| groups[usize::from(slot == 4)]).collect();
    let services = [at(SERVICE_V4, 80)?, at(SERVICE_V4, 81)?];
    for service in services {
        let table = bed.table(mode::SEQUENCE, &schedule)?;
        bed.frontend(service, keys::TCP, table)?;
    }
    for service in services {
        let load = Load::on([service]).times(5 * ROUNDS).threads(2);
        let running = clients
            .iter()
            .map(|client| client.start_load(&load))
            .collect::<Result<Vec<_>>>()?;
        let mut report = Report::default();
        for load in running {
            report.merge(load.finish()?);
        }
        ensure!(report.failures.is_empty(), "{report:?}");
        let shares = (report.of_version("v1"), report.of_version("v2"));
        ensure!(shares == (9 * ROUNDS, ROUNDS), "{service}: {shares:?}");
    }
    Ok(())
}

/// Flips a port between two disjoint sets of backends while clients connect. The socket's storage
/// names the generation it was chosen by, which must be that of the set whose pod answered.
pub(crate) fn a_swap_of_a_port_is_seen_whole_by_every_connect() -> Result<()> {
    const FLIPS: u32 = 2_000;
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let node = bed.node.clone();
    let start = |name: &str, version: &str| node.pod(name).version(version).port(80).start();
    let odd = [start("odd-1", "odd")?, start("odd-2", "odd")?];
    let even = [start("even-1", "even")?, start("even-2", "even")?];
    let clients = (1..=4)
        .map(|number| node.pod(format!("client-{number}")).start())
        .collect::<Result<Vec<_>>>()?;

    let address = |pod: &Pod| pod.at(80)[0];
    let (mut groups, mut tables) = (Vec::new(), Vec::new());
    for set in [&even, &odd] {
        let group = bed.group(&set.each_ref().map(address), keys::TCP)?;
        groups.push(group);
        tables.push(bed.table(mode::SEQUENCE, &[group])?);
    }
    let service = at(SERVICE_V4, 80)?;
    let port = bed.frontend(service, keys::TCP, tables[0])?;
    // From here on the generation's last bit says which set it is.
    let swap = |generation: u32| {
        let table = tables[generation as usize % 2];
        bed.maps.ports.swap(port, Port::new(table, generation))
    };
    swap(1_000)?;

    let load = Load::on([service])
        .until_stopped()
        .rate(500.0)
        .storage(bed.pins.map(SOCKETS));
    let running = clients
        .iter()
        .map(|client| client.start_load(&load))
        .collect::<Result<Vec<_>>>()?;
    for generation in 1_001..=1_000 + FLIPS {
        // A group of the bed has the counter of its own number.
        let counter = groups[generation as usize % 2];
        let before = bed.maps.counters.read(counter)?;
        swap(generation)?;
        eventually(PATIENCE, "a connect by the new generation", || {
            ensure!(bed.maps.counters.read(counter)? > before);
            Ok(())
        })?;
    }
    let mut report = Report::default();
    for load in running {
        report.merge(load.stop()?);
    }
    ensure!(report.failures.is_empty(), "{:?}", report.failures);

    let mut generations = BTreeMap::<u32, u64>::new();
    for stored in &report.storages {
        let bytes = stored
            .value
            .as_deref()
            .context("a socket without storage")?;
        let socket = Socket::read_from_bytes(bytes)
            .ok()
            .context("a storage of another size")?;
        let set = if socket.port_generation.is_multiple_of(2) {
            "even"
        } else {
            "odd"
        };
        ensure!(
            stored.name.starts_with(set),
            "{} answered by generation {}",
            stored.name,
            socket.port_generation
        );
        *generations.entry(socket.port_generation).or_default() += stored.count;
    }
    println!(
        "{FLIPS} flips, {} connects of {} generations",
        report.tries,
        generations.len()
    );
    ensure!(
        generations.len() >= FLIPS as usize,
        "only {} generations",
        generations.len()
    );
    Ok(())
}
