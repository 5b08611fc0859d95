//! What Sluice's programs share that is not pure: the way to the API server, watches of it and writes
//! to it; logs, metrics, the admin address, and how a program is asked to end.

pub mod admin;
pub mod apply;
pub mod client;
pub mod metrics;
pub mod pause;
pub mod shutdown;
pub mod telemetry;
pub mod watch;
