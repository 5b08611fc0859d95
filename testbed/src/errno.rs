//! Error numbers as they travel between processes and are printed in tests: by name.

use std::fmt;
use std::io;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// The number that a system call failed with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(i32);

impl Code {
    pub fn errno(self) -> Errno {
        Errno::from_raw(self.0)
    }
}

impl From<Errno> for Code {
    fn from(errno: Errno) -> Self {
        Self(errno as i32)
    }
}

impl From<&io::Error> for Code {
    fn from(error: &io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(Errno::EIO as i32))
    }
}

impl std::error::Error for Code {}

impl PartialEq<Errno> for Code {
    fn eq(&self, other: &Errno) -> bool {
        self.errno() == *other
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errno() {
            Errno::UnknownErrno => write!(f, "errno {}", self.0),
            errno => fmt::Debug::fmt(&errno, f),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
