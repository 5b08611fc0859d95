//! The verbs of the program, one file each: its arguments and what it does.

pub(crate) mod load;
pub(crate) mod serve;
pub(crate) mod sweep;
