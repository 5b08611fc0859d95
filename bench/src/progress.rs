//! What a person sees meanwhile: lines on standard error, each with the time since the start.

use std::fmt::Display;
use std::sync::LazyLock;
use std::time::Instant;

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Starts the clock of the lines.
pub(crate) fn begin() {
    LazyLock::force(&STARTED);
}

pub(crate) fn tell(what: impl Display) {
    eprintln!("[{:>5.0} s] {what}", STARTED.elapsed().as_secs_f64());
}
