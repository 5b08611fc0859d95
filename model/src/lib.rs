//! From Kubernetes objects to kernel maps, as a pure function.
//!
//! ```text
//! object ─> Change ─> Index ─> compile ─> Desired ─> lower ─> Image ─> plan ─> Outcome
//! ```
//!
//! Nothing here waits, looks at a clock, rolls dice or reads the environment: the same changes
//! give the same images. Problems with objects are [`finding::Finding`]s, never errors.
//!
//! [`pass::State`] is what a process keeps between passes; [`pass::State::pass`] is one turn of the
//! whole wheel.

pub mod caller;
pub mod change;
pub mod claims;
pub mod compile;
pub mod condition;
pub mod desired;
pub mod explain;
pub mod facts;
pub mod finding;
mod hash;
pub mod ids;
pub mod image;
pub mod index;
pub mod key;
pub mod lower;
pub mod maglev;
pub mod oracle;
pub mod pass;
pub mod plan;
pub mod rollup;
pub mod shift;
pub mod sticky;
pub mod table;
mod weights;
