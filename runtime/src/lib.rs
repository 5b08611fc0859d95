//! What Sluice's programs share that is not pure: the way to the API server, and watches of it.
//!
//! Objects leave this crate as facts; nobody behind it sees a whole one.

pub mod client;
pub mod watch;
