//! What is done, one thing at a time for each object: a status is written, a group's Service made, changed or removed.

use std::fmt;

use k8s_openapi::api::core::v1::Service;
use sluice_crds::{BalancingPolicy, FrontendGrant, LocalRedirectPolicy, TrafficSplit};
use sluice_model::key::{Kind, ServiceKey, Subject};
use sluice_runtime::apply::{Applied, ApplyError, Writer};

use crate::{
    events::{self, Events},
    groups::Deed,
    leader::Leadership,
    view::{self, Wanted},
};

/// What has to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// The status of a policy.
    Status(Subject),
    /// The Service of a group.
    Group(ServiceKey),
}

/// What is to be done about it.
#[derive(Clone, Debug)]
pub enum Order {
    Status(Box<Wanted>),
    Group(Deed),
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was there already.
    Nothing,
    /// These fields were written; the object's new version.
    Written {
        fields: Vec<String>,
        version: String,
    },
    Removed,
}

/// What it is done with.
#[derive(Clone)]
pub struct Hands {
    pub leadership: Leadership,
    pub writer: Writer,
    pub events: Events,
}

impl Hands {
    /// `None` if the lease was lost before anything was sent.
    pub async fn carry_out(&self, work: &Work, order: &Order) -> Option<Result<Done, ApplyError>> {
        if !self.leadership.may_write() {
            return None;
        }
        Some(match (work, order) {
            (Work::Status(policy), Order::Status(wanted)) => self.status(policy, wanted).await,
            (_, Order::Group(Deed::Write(service))) => {
                let applied = self.writer.object::<Service>(service, None).await;
                applied.map(Done::from)
            }
            (_, Order::Group(Deed::Remove(seen))) => {
                let removed = self.writer.remove::<Service>(seen).await;
                removed.map(|()| Done::Removed)
            }
            (Work::Group(_), Order::Status(_)) => Ok(Done::Nothing),
        })
    }

    async fn status(&self, policy: &Subject, wanted: &Wanted) -> Result<Done, ApplyError> {
        let Wanted { meta, status, seen } = wanted;
        let before = view::conditions(seen);
        let seen = Some(seen);
        let writer = &self.writer;
        let applied = match policy.kind {
            Kind::TrafficSplit => writer.status::<TrafficSplit>(meta, status, seen).await,
            Kind::LocalRedirectPolicy => {
                let applied = writer.status::<LocalRedirectPolicy>(meta, status, seen);
                applied.await
            }
            Kind::BalancingPolicy => writer.status::<BalancingPolicy>(meta, status, seen).await,
            Kind::FrontendGrant => writer.status::<FrontendGrant>(meta, status, seen).await,
            _ => return Ok(Done::Nothing),
        };
        if let Ok(Applied::Written { .. }) = applied {
            let happenings = events::between(&before, status.conditions());
            self.events.publish(policy.kind, meta, happenings).await;
        }
        applied.map(Done::from)
    }
}

impl From<Applied> for Done {
    fn from(applied: Applied) -> Self {
        match applied {
            Applied::Unchanged => Self::Nothing,
            Applied::Written { fields, version } => Self::Written { fields, version },
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(policy) => write!(f, "the status of {policy}"),
            Self::Group(service) => write!(f, "{service:?}"),
        }
    }
}
