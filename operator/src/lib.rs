//! The operator: says in the status of each TrafficSplit what became of it.
//!
//! ```text
//! watches ─> view (index, compiler, rollup of NodeReports) ─> touched policies ─> queue
//!                                                                                │ only the leader
//!              events <── server-side apply, where something differs <── status ─┤
//!                                     headless Services, server-side apply <── groups ─┘
//! ```
//!
//! One task owns all of it; another one keeps the webhook's certificates. It shows what nodes reported, never what anyone intended, and writes
//! nothing to what users write.

pub mod accept;
pub mod admin;
pub mod args;
pub mod certificates;
pub mod events;
pub mod groups;
pub mod inputs;
pub mod leader;
pub mod operator;
pub mod queue;
pub mod selector;
mod start;
pub mod status;
pub mod view;
pub mod work;

pub use start::run;
