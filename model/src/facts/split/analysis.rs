//! What is measured while a rollout goes on.

use std::{collections::BTreeSet, ops::RangeInclusive, sync::Arc, time::Duration};

use sluice_crds::split::{
    self as crds, ANALYSIS_BOUNDS, AnalysisCheck, MAX_CHECKS, MAX_FAILURES, ONE_SIGNAL,
    PrometheusSignal,
};

use crate::{
    facts::{
        amount::{Decimal, span},
        faults::Faults,
        frontend::not_a_label,
    },
    key::is_label,
};

const INTERVAL: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(3600);
const MAX_SAMPLES: u32 = 1_000_000_000;
const MAX_ADDRESS: usize = 512;
const MAX_QUERY: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Analysis {
    pub interval: Duration,
    pub checks: Box<[Check]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: Arc<str>,
    pub signal: Signal,
    /// The largest value that is fine.
    pub max: Decimal,
    /// Below so many connections nothing is decided.
    pub min_samples: u32,
    /// So many values in a row above `max` are a failure.
    pub failures: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    Kernel(crds::Signal),
    Prometheus { address: Arc<str>, query: Arc<str> },
}

/// `None` if a fault leaves nothing to be measured.
pub(super) fn parse(analysis: &crds::Analysis, faults: &mut Faults) -> Option<Analysis> {
    let crds::Analysis { interval, checks } = analysis;
    let field = "spec.rollout.analysis";
    let parsed = span(interval).filter(|interval| INTERVAL.contains(interval));
    if parsed.is_none() {
        let detail = format!("{interval:?} is not a time such as 30s, {ANALYSIS_BOUNDS}");
        faults.note(format!("{field}.interval"), detail);
    }
    let field = format!("{field}.checks");
    faults.count(&field, checks.len(), 1, MAX_CHECKS);
    let mut names = BTreeSet::new();
    let mut kept = Vec::with_capacity(checks.len());
    for (i, check) in checks.iter().enumerate() {
        let field = format!("{field}[{i}]");
        let name = check.name.as_str();
        if is_label(name) {
            faults.once(&mut names, name, || format!("{field}.name"));
        } else {
            faults.note(format!("{field}.name"), not_a_label(name));
        }
        kept.extend(parse_check(check, &field, faults));
    }
    Some(Analysis {
        interval: parsed?,
        checks: kept.into(),
    })
}

fn parse_check(check: &AnalysisCheck, field: &str, faults: &mut Faults) -> Option<Check> {
    let AnalysisCheck {
        name,
        kernel,
        prometheus,
        max,
        min_samples,
        failures,
    } = check;
    let limit = Decimal::parse(max);
    if limit.is_none() {
        let detail = format!("{max:?} is not a number such as 0.01");
        faults.note(format!("{field}.max"), detail);
    }
    if *min_samples > MAX_SAMPLES {
        let detail = format!("{min_samples} is above {MAX_SAMPLES}");
        faults.note(format!("{field}.minSamples"), detail);
    }
    if !(1..=MAX_FAILURES).contains(failures) {
        let detail = format!("{failures} is not from 1 to {MAX_FAILURES}");
        faults.note(format!("{field}.failures"), detail);
    }
    let signal = match (kernel, prometheus) {
        (Some(kernel), None) => Signal::Kernel(kernel.signal),
        (None, Some(prometheus)) => {
            parse_prometheus(prometheus, &format!("{field}.prometheus"), faults)
        }
        (Some(_), Some(_)) | (None, None) => {
            faults.note(field, ONE_SIGNAL);
            return None;
        }
    };
    Some(Check {
        name: name.as_str().into(),
        signal,
        max: limit?,
        min_samples: *min_samples,
        failures: *failures,
    })
}

fn parse_prometheus(signal: &PrometheusSignal, field: &str, faults: &mut Faults) -> Signal {
    let PrometheusSignal { address, query } = signal;
    if !is_url(address) {
        let detail = format!("{address:?} is not an address such as http://prometheus:9090");
        faults.note(format!("{field}.address"), detail);
    }
    let length = query.chars().count();
    if !(1..=MAX_QUERY).contains(&length) {
        let detail = format!("a query has from 1 to {MAX_QUERY} characters, not {length}");
        faults.note(format!("{field}.query"), detail);
    }
    Signal::Prometheus {
        address: address.as_str().into(),
        query: query.as_str().into(),
    }
}

/// A scheme, a host that may have a port, and maybe a path.
fn is_url(text: &str) -> bool {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let Some(rest) = rest.filter(|_| text.len() <= MAX_ADDRESS) else {
        return false;
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let begins = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'[';
    let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:]".contains(byte);
    let host = host.as_bytes();
    host.first().is_some_and(begins)
        && host.iter().skip(1).all(goes_on)
        && path.bytes().all(|byte| byte.is_ascii_graphic())
}
