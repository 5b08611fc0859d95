//! One file per verb: its arguments, what it asks, and how the answer reads.

pub mod explain;
pub mod get;
pub mod status;
pub mod watch;
