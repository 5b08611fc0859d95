//! What kernel programs count besides verdicts, and the name that metrics give it.

/// The discriminant is the index in `TALLIES`, a per-CPU array of u64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Tally {
    /// A socket sent datagrams to more frontends than it can remember, and forgot one that was in
    /// use: an answer from there would show the backend's address.
    PairForgotten = 0,
}

impl Tally {
    pub const ALL: [Self; 1] = [Self::PairForgotten];

    pub const fn name(self) -> &'static str {
        match self {
            Self::PairForgotten => "pairs_forgotten",
        }
    }

    /// What it means.
    pub const fn text(self) -> &'static str {
        match self {
            Self::PairForgotten => {
                "Services that a socket forgot while it used them, since it sent datagrams to too many"
            }
        }
    }
}
