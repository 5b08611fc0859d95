//! Health and metrics.

use std::{fmt, time::Duration};

use axum::Router;
use sluice_runtime::{
    admin::{self, Refused, Vitals},
    apply::ApplyError,
    metrics::{self, Numbers},
};
use tokio::{sync::watch, time::timeout};

use crate::{certificates::Expiries, operator::Handle, work::Done};

/// An operator that does not answer for this long is not alive.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct Health {
    operator: Handle,
    expiries: watch::Receiver<Expiries>,
}

#[derive(Debug)]
struct Numbered {
    sample: Sample,
    expiries: Expiries,
}

/// How it is going.
#[derive(Clone, Debug)]
pub struct Sample {
    pub complete: Result<(), String>,
    pub leads: bool,
    pub behind: u64,
    pub policies: u64,
    pub nodes: u64,
    pub queued: u64,
    /// Of writes of status, and of groups.
    pub statuses: Counts,
    pub groups: Counts,
}

/// What became of what was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Written,
    Removed,
    /// It was there already.
    Unchanged,
    /// The object had changed meanwhile.
    Outdated,
    /// The object was gone.
    Missing,
    Refused,
    Unanswered,
}

#[derive(Clone, Debug, Default)]
pub struct Counts([u64; Fate::ALL.len()]);

pub fn router(operator: Handle, expiries: watch::Receiver<Expiries>) -> Router {
    admin::router().with_state(Health { operator, expiries })
}

impl Health {
    async fn sample(&self) -> Result<Sample, Refused> {
        match timeout(PATIENCE, self.operator.sample()).await {
            Ok(Some(sample)) => Ok(sample),
            Ok(None) => Err(Refused::unavailable("the operator is ending")),
            Err(_) => Err(Refused::unavailable("the operator is stuck")),
        }
    }
}

impl Vitals for Health {
    async fn alive(&self) -> Result<(), Refused> {
        self.sample().await.map(drop)
    }

    /// A standby is ready too.
    async fn ready(&self) -> Result<(), Refused> {
        self.sample().await?.complete.map_err(Refused::unavailable)
    }

    async fn metrics(&self) -> Result<String, Refused> {
        let sample = self.sample().await?;
        let expiries = *self.expiries.borrow();
        let numbered = Numbered { sample, expiries };
        metrics::encode("sluice_operator", numbered).map_err(Refused::unavailable)
    }
}

impl metrics::Sample for Numbered {
    fn write(&self, numbers: &mut Numbers<'_>) -> fmt::Result {
        let Self { sample, expiries } = self;
        let Sample {
            complete,
            leads,
            behind,
            policies,
            nodes,
            queued,
            statuses,
            groups,
        } = sample;
        for (name, help, value) in [
            (
                "ready",
                "Whether all inputs have listed",
                u64::from(complete.is_ok()),
            ),
            (
                "leader",
                "Whether this one leads and writes",
                u64::from(*leads),
            ),
            ("watches_behind", "Watches that are not up to date", *behind),
            ("policies", "Policies and grants that there are", *policies),
            ("nodes", "Nodes that should carry Sluice", *nodes),
            (
                "queued",
                "Policies and groups that are to be looked at",
                *queued,
            ),
        ] {
            numbers.gauge(name, help, value)?;
        }
        let help = "Statuses looked at, by what became of the write";
        let counts = Fate::ALL.map(|fate| (fate.name(), statuses.of(fate)));
        numbers.counters("status_writes", help, "outcome", counts)?;
        let help = "Headless Services of groups looked at, by what became of the write";
        let counts = Fate::ALL.map(|fate| (fate.name(), groups.of(fate)));
        numbers.counters("group_writes", help, "outcome", counts)?;
        let help = "When the webhook's certificates expire, in seconds since 1970";
        let expiries = [
            ("authority", expiries.authority),
            ("serving", expiries.serving),
        ];
        let expiries = expiries
            .into_iter()
            .filter_map(|(which, time)| Some((which, time?.as_second())));
        numbers.gauges("certificate_expiry_seconds", help, "certificate", expiries)
    }
}

impl Fate {
    const ALL: [Self; 7] = [
        Self::Written,
        Self::Removed,
        Self::Unchanged,
        Self::Outdated,
        Self::Missing,
        Self::Refused,
        Self::Unanswered,
    ];

    pub fn of(outcome: &Result<Done, ApplyError>) -> Self {
        match outcome {
            Ok(Done::Nothing) => Self::Unchanged,
            Ok(Done::Written { .. }) => Self::Written,
            Ok(Done::Removed) => Self::Removed,
            Err(ApplyError::Outdated { .. }) => Self::Outdated,
            Err(ApplyError::Missing { .. }) => Self::Missing,
            Err(ApplyError::Refused { .. } | ApplyError::Json { .. }) => Self::Refused,
            Err(ApplyError::Unreachable { .. } | ApplyError::Unanswered { .. }) => Self::Unanswered,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Removed => "removed",
            Self::Unchanged => "unchanged",
            Self::Outdated => "outdated",
            Self::Missing => "missing",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
        }
    }
}

impl Counts {
    pub fn note(&mut self, fate: Fate) {
        self.0[fate as usize] += 1;
    }

    fn of(&self, fate: Fate) -> u64 {
        self.0[fate as usize]
    }
}
