//! What a kernel program decided about a connect, and the name that metrics give it.

/// One variant per outcome; the discriminant is the index in `VERDICTS`, a per-CPU array of u64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Verdict {
    /// Not an address of ours: left alone.
    Passed = 0,
    /// Sent to a backend.
    Translated = 1,
    /// A frontend of ours without a usable backend: ECONNREFUSED.
    Refused = 2,
    /// A row pointed at a row that is not there; refused. Counted apart, because it is our bug.
    Dangling = 3,
    /// The socket had no room for its state (memory); refused rather than sent where its peer name
    /// would be a lie.
    NoStorage = 4,
}

impl Verdict {
    pub const ALL: [Self; 5] = [
        Self::Passed,
        Self::Translated,
        Self::Refused,
        Self::Dangling,
        Self::NoStorage,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Translated => "translated",
            Self::Refused => "refused",
            Self::Dangling => "dangling",
            Self::NoStorage => "no_storage",
        }
    }
}
