//! Metrics as numbers that are asked for, not as cells that somebody has to keep: a scrape takes a
//! sample, and the sample writes itself.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeCounterValue, EncodeMetric, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

/// The type of what [`encode`] gives.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One scrape's worth of numbers.
pub trait Sample: fmt::Debug + Send + Sync + 'static {
    fn write(&self, numbers: &mut Numbers<'_>) -> fmt::Result;
}

/// Where a sample writes its numbers.
pub struct Numbers<'a>(DescriptorEncoder<'a>);

/// A sample as text. Every name gets the prefix.
pub fn encode(prefix: &str, sample: impl Sample) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix(prefix);
    registry.register_collector(Box::new(Whole(sample)));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

#[derive(Debug)]
struct Whole<S>(S);

impl<S: Sample> Collector for Whole<S> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.write(&mut Numbers(encoder))
    }
}

impl Numbers<'_> {
    /// What only grows. The name gets the ending that the format asks for.
    pub fn counter(
        &mut self,
        name: &str,
        help: &str,
        value: impl EncodeCounterValue,
    ) -> fmt::Result {
        let encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(encoder)
    }

    /// What goes up and down; a number too large for the format is shown as the largest.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder)
    }

    /// Counters that differ in several labels.
    pub fn labelled<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = ([(&'static str, String); N], u64)>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, count) in values {
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// Counters that differ in one label, whose values are a closed set.
    pub fn counters<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value, count) in values {
            let labels = [(label, value)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// Gauges that differ in one label, whose values are a closed set.
    pub fn gauges<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'v str, i64)>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (value, number) in values {
            let labels = [(label, value)];
            ConstGauge::new(number).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Numbered;

    impl Sample for Numbered {
        fn write(&self, numbers: &mut Numbers<'_>) -> fmt::Result {
            numbers.counter("writes", "Things written", 3u64)?;
            numbers.counter("busy_seconds", "Time spent", 0.5)?;
            numbers.gauge("ready", "Whether it works", u64::MAX)?;
            numbers.counters("ends", "By kind", "how", [("well", 1), ("badly", 2)])
        }
    }

    #[test]
    fn a_sample_is_open_metrics() {
        let text = encode("sluice_test", Numbered).expect("the names are valid");
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                "sluice_test_writes_total 3",
                "sluice_test_busy_seconds_total 0.5",
                "sluice_test_ready 9223372036854775807",
                "sluice_test_ends_total{how=\"well\"} 1",
                "sluice_test_ends_total{how=\"badly\"} 2",
            ]
        );
        assert!(text.ends_with("# EOF\n"));
    }
}
