//! The custom resources of `sluice.dev/v1alpha1`: Rust types, their OpenAPI schemas and CEL rules.
//!
//! No client and no behaviour. Doc comments of fields are what `kubectl explain` prints. What a rule
//! says when it is broken is a constant beside the type, so that the parser says the same. A field of a
//! spec is here from the moment that something acts on it, or says that it cannot yet.

mod absent;
pub mod balancing;
pub mod choice;
pub mod conditions;
pub mod frontend;
pub mod grant;
pub mod pattern;
pub mod peer;
pub mod policy;
pub mod port;
pub mod redirect;
pub mod report;
pub mod selector;
pub mod split;

pub use balancing::{BalancingPolicy, BalancingPolicySpec};
pub use grant::{FrontendGrant, FrontendGrantSpec, GrantStatus};
pub use policy::PolicyStatus;
pub use redirect::{LocalRedirectPolicy, LocalRedirectPolicySpec};
pub use report::{NodeReport, NodeReportSpec, NodeReportStatus};
pub use split::{TrafficSplit, TrafficSplitSpec, TrafficSplitStatus};

pub const GROUP: &str = "sluice.dev";
pub const VERSION: &str = "v1alpha1";
