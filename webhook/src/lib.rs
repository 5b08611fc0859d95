//! The admission webhook: what the API server asks before it stores a policy of ours.
//!
//! ```text
//! API server ─ TLS ─> server ─> router ─> review ─> rules (pure) ─> allow, warn, deny
//!                       ^                    └────> defaults (pure) ─> patch
//!                     tls (reload)           ^
//!                                          store <─ watches of Services and splits
//! ```
//!
//! The parser is the index's own and conflicts are found by the compiler itself, so what is admitted
//! here is what agents take. Handlers do no I/O, and no object is ever logged.

pub mod args;
pub mod defaults;
pub mod limits;
pub mod metrics;
pub mod peers;
pub mod review;
pub mod router;
pub mod rules;
pub mod server;
mod start;
pub mod store;
pub mod tls;
pub mod vitals;

pub use router::router;
pub use start::run;
