//! The agent of one node: keeps the kernel's maps as the objects want them.
//!
//! ```text
//! inputs ─> News ─> agent (index, pass, observed image) ─> maps ─> kernel
//!                     ^ questions
//!                   admin (health, metrics, explain), report (a NodeReport), sockets (ends stale ones)
//! ```

pub mod admin;
pub mod agent;
pub mod args;
pub mod bpf;
pub mod bpffs;
pub mod callers;
pub mod chosen;
pub mod cleanup;
pub mod diag;
pub mod features;
pub mod inputs;
pub mod maps;
mod memory;
pub mod metrics;
pub mod node;
pub mod object;
pub mod program;
pub mod report;
pub mod sockets;
mod start;
pub mod switch;

pub use start::run;
