//! How a node finds out whether an address is usable.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use sluice_crds::balancing::{
    self as crds, INTERVAL_BOUNDS, MAX_COUNT, ONE_CHECK, TIMEOUT_BELOW, TIMEOUT_BOUNDS, TcpCheck,
};

use crate::facts::{amount::span, faults::Faults};

const INTERVAL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
const MAX_PATH: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub probe: Probe,
    pub interval: Duration,
    pub timeout: Duration,
    pub unhealthy_after: u8,
    pub healthy_after: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    Tcp,
    /// The path that is asked for.
    Http(Arc<str>),
}

/// `None` if a fault leaves nothing to be asked.
pub(super) fn parse(check: &crds::Check, field: &str, faults: &mut Faults) -> Option<Check> {
    let crds::Check {
        tcp,
        http,
        interval,
        timeout,
        unhealthy_after,
        healthy_after,
    } = check;
    let mut time = |text: &str, name: &str, bounds: &RangeInclusive<Duration>, said: &str| {
        let time = span(text).filter(|time| bounds.contains(time));
        if time.is_none() {
            let detail = format!("{text:?} is not a time such as 5s, {said}");
            faults.note(format!("{field}.{name}"), detail);
        }
        time
    };
    let interval = time(interval, "interval", &INTERVAL, INTERVAL_BOUNDS);
    let timeout = time(timeout, "timeout", &TIMEOUT, TIMEOUT_BOUNDS);
    if let (Some(interval), Some(timeout)) = (interval, timeout)
        && timeout > interval
    {
        faults.note(format!("{field}.timeout"), TIMEOUT_BELOW);
    }
    for (count, name) in [
        (unhealthy_after, "unhealthyAfter"),
        (healthy_after, "healthyAfter"),
    ] {
        if !(1..=MAX_COUNT).contains(count) {
            let detail = format!("{count} is not from 1 to {MAX_COUNT}");
            faults.note(format!("{field}.{name}"), detail);
        }
    }
    let probe = match (tcp, http) {
        (Some(TcpCheck {}), None) => Probe::Tcp,
        (None, Some(http)) => {
            if !is_path(&http.path) {
                let detail = format!("{:?} is not a path such as /healthz", http.path);
                faults.note(format!("{field}.http.path"), detail);
            }
            Probe::Http(http.path.as_str().into())
        }
        (Some(_), Some(_)) | (None, None) => {
            faults.note(field, ONE_CHECK);
            return None;
        }
    };
    Some(Check {
        probe,
        interval: interval?,
        timeout: timeout?,
        unhealthy_after: *unhealthy_after,
        healthy_after: *healthy_after,
    })
}

fn is_path(text: &str) -> bool {
    text.len() <= MAX_PATH
        && text.starts_with('/')
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}
