//! What is counted, for scrapes. Labels are closed sets: nothing that a caller sends becomes one.

use std::{fmt, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use sluice_model::key::Kind;

const SECONDS: [f64; 10] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0,
];

pub struct Metrics {
    registry: Registry,
    requests: Family<Labels, Counter>,
    seconds: Family<Way, Histogram>,
    connections: Gauge,
    questions: Gauge,
    pub connections_refused: Counter,
    pub handshakes_failed: Counter,
    pub not_after: Gauge,
    pub certificates_taken: Counter,
    pub certificates_broken: Counter,
}

/// What a review is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Review {
    Validate,
    Mutate,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    Allowed,
    /// Allowed with warnings.
    Warned,
    Denied,
    Patched,
    /// Nothing that a webhook is asked.
    Unreadable,
    /// Too much at once.
    Busy,
    /// The question was too long in coming.
    TooSlow,
    /// A fault of the webhook.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    review: Review,
    /// Empty if it is none of ours.
    kind: String,
    verdict: Ending,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Way {
    review: Review,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("sluice_webhook");
        let seconds = || Histogram::new(SECONDS);
        let metrics = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(seconds),
            connections: Gauge::default(),
            questions: Gauge::default(),
            connections_refused: Counter::default(),
            handshakes_failed: Counter::default(),
            not_after: Gauge::default(),
            certificates_taken: Counter::default(),
            certificates_broken: Counter::default(),
            registry: Registry::default(),
        };
        registry.register(
            "requests",
            "Reviews, by how they ended",
            metrics.requests.clone(),
        );
        let help = "Time from the whole question to its answer";
        registry.register("request_seconds", help, metrics.seconds.clone());
        let help = "Connections that are open";
        registry.register("connections", help, metrics.connections.clone());
        let help = "Questions that are being read and worked on";
        registry.register("questions", help, metrics.questions.clone());
        let help = "Connections that were closed at once, since there were too many";
        registry.register(
            "connections_refused",
            help,
            metrics.connections_refused.clone(),
        );
        let help = "Connections on which no TLS came about";
        registry.register("handshakes_failed", help, metrics.handshakes_failed.clone());
        let help = "When the certificate in use ends, in seconds since 1970; 0 without one";
        registry.register(
            "certificate_not_after_seconds",
            help,
            metrics.not_after.clone(),
        );
        let help = "Certificates that were taken into use";
        registry.register(
            "certificates_taken",
            help,
            metrics.certificates_taken.clone(),
        );
        let help = "Certificates that could not be used; the one before stays in use";
        registry.register(
            "certificates_broken",
            help,
            metrics.certificates_broken.clone(),
        );
        Self {
            registry,
            ..metrics
        }
    }
}

impl Metrics {
    pub fn ended(&self, review: Review, kind: Option<Kind>, verdict: Ending) {
        let labels = Labels {
            review,
            kind: kind.map_or(String::new(), |kind| kind.to_string()),
            verdict,
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// One more connection is open, until what this gives is dropped.
    pub fn connected(&self) -> Open {
        Open::count(&self.connections)
    }

    /// One more question is being read and worked on, until what this gives is dropped.
    pub fn asked(&self) -> Open {
        Open::count(&self.questions)
    }

    pub fn took(&self, review: Review, time: Duration) {
        let histogram = self.seconds.get_or_create(&Way { review });
        histogram.observe(time.as_secs_f64());
    }

    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

/// Something that goes on.
pub struct Open(Gauge);

impl Open {
    fn count(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Review {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Mutate => "mutate",
        }
    }
}

impl Ending {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Warned => "warned",
            Self::Denied => "denied",
            Self::Patched => "patched",
            Self::Unreadable => "unreadable",
            Self::Busy => "busy",
            Self::TooSlow => "too_slow",
            Self::Failed => "failed",
        }
    }
}

impl EncodeLabelValue for Review {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.name().encode(encoder)
    }
}

impl EncodeLabelValue for Ending {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.name().encode(encoder)
    }
}
