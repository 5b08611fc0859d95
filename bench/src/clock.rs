//! The monotonic clock, which all processes of a machine share: one reads when it begins, another when it is done.

use std::time::Duration;

use anyhow::Result;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Moment(Duration);

impl Moment {
    pub(crate) fn now() -> Result<Self> {
        Ok(Self(clock_gettime(ClockId::CLOCK_MONOTONIC)?.into()))
    }

    /// Zero if it was earlier.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
