//! The custom resources of `sluice.dev/v1alpha1`: Rust types, their OpenAPI schemas and CEL rules.
//!
//! No client and no behaviour. Doc comments of fields are what `kubectl explain` prints. A field
//! is here from the moment that something acts on it.

pub mod conditions;
pub mod report;
pub mod split;

pub use report::{NodeReport, NodeReportSpec, NodeReportStatus};
pub use split::{TrafficSplit, TrafficSplitSpec, TrafficSplitStatus};

pub const GROUP: &str = "sluice.dev";
pub const VERSION: &str = "v1alpha1";
