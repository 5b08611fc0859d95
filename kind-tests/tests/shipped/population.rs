//! Clients that connect at a fixed rate while something is done to the system.

use anyhow::{Context as _, Result, ensure};
use sluice_testbed::cluster::Pod;
use sluice_testbed::load::{Load, Report, Target};

/// Tries per second of each client.
const RATE: f64 = 200.0;

/// Does something while all clients connect; the first failure of any of them fails it.
pub(crate) fn undisturbed<T>(
    what: &str,
    clients: &[Pod],
    targets: &[Target],
    deed: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let load = Load::on(targets.iter().copied())
        .until_stopped()
        .rate(RATE)
        .threads(2);
    let loads = clients
        .iter()
        .map(|client| client.start_load(&load))
        .collect::<Result<Vec<_>>>()?;
    let done = deed().with_context(|| what.to_owned());
    let mut report = Report::default();
    for load in loads {
        report.merge(load.stop()?);
    }
    ensure!(report.failures.is_empty(), "{what}: {report}");
    let done = done?;
    ensure!(report.tries > 0, "{what}: nobody has tried");
    println!(
        "{what}: {} connects in {:.1} s, none failed; slowest answers: p99 {:?}",
        report.tries,
        report.elapsed.as_secs_f64(),
        report.answers.quantile(0.99)
    );
    Ok(done)
}
