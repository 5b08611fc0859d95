//! Numbers of the agent and of the kernel, in the format that Prometheus reads.

use std::{collections::BTreeMap, fmt};

use sluice_node_abi::{tally::Tally, verdict::Verdict};
use sluice_runtime::metrics::{self, Numbers};

use crate::{agent::Done, chosen::Choices, sockets::Look};

/// What the agent counts about itself.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub passes: u64,
    pub compiled: u64,
    pub written: u64,
    pub failed: u64,
    pub drift: u64,
    pub reports: u64,
    pub reports_failed: u64,
    pub sockets: Look,
    /// Seconds spent in passes.
    pub busy: f64,
}

impl Counts {
    pub(crate) fn passed(&mut self, done: &Done) {
        self.passes += 1;
        self.compiled += done.compiled as u64;
        self.written += done.written as u64;
        self.failed += done.failed.len() as u64;
        self.busy += done.took.as_secs_f64();
    }

    pub(crate) fn reported(&mut self, written: bool) {
        if written {
            self.reports += 1;
        } else {
            self.reports_failed += 1;
        }
    }

    pub(crate) fn looked(&mut self, look: Look) {
        self.sockets.looks += look.looks;
        self.sockets.ended_udp += look.ended_udp;
        self.sockets.ended_tcp += look.ended_tcp;
        self.sockets.shifted += look.shifted;
        self.sockets.failed += look.failed;
    }

    pub(crate) fn drifted(&mut self, places: usize) {
        self.drift += places as u64;
    }
}

/// One scrape's worth of numbers.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub counts: Counts,
    pub verdicts: Vec<(Verdict, u64)>,
    pub tallies: Vec<(Tally, u64)>,
    pub choices: Vec<Choices>,
    pub ready: bool,
    pub problems: u64,
    pub findings: u64,
    pub services: u64,
    pub unsettled: u64,
}

impl metrics::Sample for Sample {
    fn write(&self, numbers: &mut Numbers<'_>) -> fmt::Result {
        let Self {
            counts,
            verdicts,
            tallies,
            choices,
            ready,
            problems,
            findings,
            services,
            unsettled,
        } = self;
        let counters = [
            ("passes", "Turns from changes to map writes", counts.passes),
            (
                "services_compiled",
                "Services compiled, over all passes",
                counts.compiled,
            ),
            ("map_writes", "Map operations done", counts.written),
            (
                "map_writes_failed",
                "Map operations that failed and were tried again",
                counts.failed,
            ),
            (
                "drift_repairs",
                "Places in the maps that somebody else had changed",
                counts.drift,
            ),
            (
                "report_writes",
                "Writes of the NodeReport that the API server took",
                counts.reports,
            ),
            (
                "report_writes_failed",
                "Writes of the NodeReport that failed and were tried again",
                counts.reports_failed,
            ),
            (
                "socket_looks",
                "Looks at all sockets for those whose backend has gone",
                counts.sockets.looks,
            ),
            (
                "connections_shifted",
                "TCP connections that were ended because the weights of a split had changed",
                counts.sockets.shifted,
            ),
            (
                "socket_looks_failed",
                "Sockets and network namespaces that could not be looked after, and were tried again",
                counts.sockets.failed,
            ),
        ];
        for (name, help, value) in counters {
            numbers.counter(name, help, value)?;
        }
        numbers.counter("pass_seconds", "Seconds spent in passes", counts.busy)?;
        let gauges = [
            (
                "ready",
                "Whether the inputs have listed and a connect of the agent's own was translated",
                u64::from(*ready),
            ),
            (
                "input_problems",
                "Manifests that could not be taken, watches that are behind",
                *problems,
            ),
            ("findings", "Problems with objects", *findings),
            ("services", "Services with frontends", *services),
            (
                "unsettled",
                "Places in the maps that are not as wanted",
                *unsettled,
            ),
        ];
        for (name, help, value) in gauges {
            numbers.gauge(name, help, value)?;
        }
        let ended = [
            ("udp", counts.sockets.ended_udp),
            ("tcp", counts.sockets.ended_tcp),
        ];
        let help = "Sockets that were ended because their backend had gone";
        numbers.counters("sockets_ended", help, "protocol", ended)?;
        for (tally, count) in tallies {
            numbers.counter(tally.name(), tally.text(), *count)?;
        }
        let help = "Connects for which a version of a split was chosen";
        numbers.labelled("version_connects", help, by_version(choices))?;
        let help = "Connects by what was decided about them";
        let verdicts = verdicts.iter();
        let verdicts = verdicts.map(|(verdict, count)| (verdict.name(), *count));
        numbers.counters("connects", help, "verdict", verdicts)
    }
}

/// Over all ports and classes: labels come from names in specs, of which there are few.
fn by_version(choices: &[Choices]) -> BTreeMap<[(&'static str, String); 3], u64> {
    let mut sums = BTreeMap::new();
    for choice in choices {
        let labels = [
            ("namespace", choice.split.0.namespace().to_owned()),
            ("split", choice.split.0.name().to_owned()),
            ("version", choice.version.clone()),
        ];
        *sums.entry(labels).or_default() += choice.chosen;
    }
    sums
}
