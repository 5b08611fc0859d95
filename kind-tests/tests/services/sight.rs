//! What a caller sees of an address. Endpoints and rules arrive by watches, so each sight is awaited.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use sluice_testbed::Errno;
use sluice_testbed::load::{Load, Target};
use sluice_testbed::tier::eventually;

use crate::bed::{Caller, PATIENCE};

/// How long a try may take; it is tried again.
const SHORT: Duration = Duration::from_secs(2);

/// At each of these addresses exactly these servers answer, and no try fails.
pub(crate) fn answered_by(caller: &Caller, targets: &[Target], names: &[&str]) -> Result<()> {
    let wanted = names.iter().map(|name| (*name).to_owned());
    let mut wanted: Vec<_> = wanted.collect();
    wanted.sort();
    let times = u64::try_from(2 * wanted.len())?;
    for target in targets {
        let what = format!("{} reaches {names:?} at {target}", caller.name);
        eventually(PATIENCE, &what, || {
            let report = caller.load(&Load::on([*target]).times(times).patience(SHORT))?;
            ensure!(
                report.failures.is_empty() && report.names.keys().eq(wanted.iter()),
                "{report}"
            );
            Ok(())
        })?;
    }
    Ok(())
}

/// As [`answered_by`], and the answers come from servers of these versions.
pub(crate) fn answered_by_version(
    caller: &Caller,
    target: Target,
    expected: &[(&str, &str)],
) -> Result<()> {
    let what = format!("{} reaches {expected:?} at {target}", caller.name);
    let mut wanted = expected.to_vec();
    wanted.sort_unstable();
    eventually(PATIENCE, &what, || {
        let mut seen = Vec::new();
        for _ in 0..2 * wanted.len() {
            let answer = caller.connect(target)?;
            seen.push((answer.name, answer.version));
        }
        seen.sort();
        seen.dedup();
        let same = seen.iter().map(|(name, version)| (&**name, &**version));
        ensure!(same.eq(wanted.iter().copied()), "{seen:?}");
        Ok(())
    })
}

/// Each of these addresses refuses, as a port that nobody listens on does.
pub(crate) fn refused(caller: &Caller, targets: &[Target]) -> Result<()> {
    for target in targets {
        let what = format!("{} is refused at {target}", caller.name);
        eventually(PATIENCE, &what, || match caller.try_connect(*target)? {
            Err(code) if code == Errno::ECONNREFUSED => Ok(()),
            other => bail!("{other:?}"),
        })?;
    }
    Ok(())
}

/// No server of ours answers there: the address leads nowhere, or to somebody else.
pub(crate) fn unanswered(caller: &Caller, targets: &[Target]) -> Result<()> {
    for target in targets {
        let what = format!("nobody answers {} at {target}", caller.name);
        eventually(PATIENCE, &what, || {
            let report = caller.load(&Load::on([*target]).patience(SHORT))?;
            ensure!(report.answered() == 0, "{report}");
            Ok(())
        })?;
    }
    Ok(())
}
