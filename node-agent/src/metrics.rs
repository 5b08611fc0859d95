//! Numbers of the agent and of the kernel, in the format that Prometheus reads.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use sluice_node_abi::verdict::Verdict;

use crate::agent::Done;

/// What the agent counts about itself.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub passes: u64,
    pub compiled: u64,
    pub written: u64,
    pub failed: u64,
    pub drift: u64,
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

    pub(crate) fn drifted(&mut self, places: usize) {
        self.drift += places as u64;
    }
}

/// One scrape's worth of numbers.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub counts: Counts,
    pub verdicts: Vec<(Verdict, u64)>,
    pub ready: bool,
    pub problems: u64,
    pub findings: u64,
    pub services: u64,
    pub unsettled: u64,
}

impl Sample {
    /// As text; an error only if a name is not valid.
    pub fn encode(self) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("sluice_agent");
        registry.register_collector(Box::new(self));
        let mut out = String::new();
        text::encode(&mut out, &registry)?;
        Ok(out)
    }
}

impl Collector for Sample {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Self {
            counts,
            verdicts,
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
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(
                name,
                help,
                None,
                counter.metric_type(),
            )?)?;
        }
        let busy = ConstCounter::new(counts.busy);
        let help = "Seconds spent in passes";
        busy.encode(encoder.encode_descriptor("pass_seconds", help, None, busy.metric_type())?)?;
        let gauges = [
            (
                "ready",
                "Whether the inputs have listed and a connect of the agent's own was translated",
                i64::from(*ready),
            ),
            (
                "input_problems",
                "Manifests that could not be taken, watches that are behind",
                signed(*problems),
            ),
            ("findings", "Problems with objects", signed(*findings)),
            ("services", "Services with frontends", signed(*services)),
            (
                "unsettled",
                "Places in the maps that are not as wanted",
                signed(*unsettled),
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let help = "Connects by what was decided about them";
        let mut family = encoder.encode_descriptor("connects", help, None, MetricType::Counter)?;
        for (verdict, count) in verdicts {
            let labels = [("verdict", verdict.name())];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
