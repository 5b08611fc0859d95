//! What becomes of open connections when weights change.

use std::time::Duration;

use sluice_crds::split::{Connections, DRAIN_FITS, DRAIN_PACE, Drain, OnShift};

use crate::facts::{
    amount::{Percent, span},
    faults::Faults,
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shift {
    #[default]
    Keep,
    Drain {
        per_minute: Percent,
        jitter: Duration,
    },
    Cut,
}

pub(super) fn parse(on_shift: &OnShift, faults: &mut Faults) -> Shift {
    let OnShift { connections, drain } = on_shift;
    match (connections, drain) {
        (Connections::Keep, None) => Shift::Keep,
        (Connections::Cut, None) => Shift::Cut,
        (Connections::Drain, Some(drain)) => parse_drain(drain, faults).unwrap_or_default(),
        _ => {
            faults.note("spec.onShift", DRAIN_FITS);
            Shift::default()
        }
    }
}

fn parse_drain(drain: &Drain, faults: &mut Faults) -> Option<Shift> {
    let Drain { per_minute, jitter } = drain;
    let field = "spec.onShift.drain";
    let pace = Percent::parse(per_minute);
    let pace = pace.filter(|pace| pace.tenths() > 0);
    if pace.is_none() {
        let detail = format!("{per_minute:?} is not a part {DRAIN_PACE}, such as 20%");
        faults.note(format!("{field}.perMinute"), detail);
    }
    let parsed = jitter.as_deref().map_or(Some(Duration::ZERO), span);
    if parsed.is_none() {
        let detail = format!(
            "{:?} is not a time such as 5s",
            jitter.as_deref().unwrap_or("")
        );
        faults.note(format!("{field}.jitter"), detail);
    }
    Some(Shift::Drain {
        per_minute: pace?,
        jitter: parsed?,
    })
}
