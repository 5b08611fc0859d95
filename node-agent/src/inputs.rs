//! Where changes come from. Every input yields the same thing, so nothing behind it knows which.

use std::{fmt, path::PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use sluice_model::{change::Change, key::Kind};

pub mod cluster;
pub mod files;

/// A source of news.
pub trait Input {
    /// Waits for the next news. May be dropped while it waits without losing any.
    fn next(&mut self) -> impl Future<Output = News>;
}

/// What an input tells the agent.
#[derive(Clone, Debug)]
pub struct News {
    pub changes: Vec<Change>,
    pub view: View,
    /// Everything that is wrong now.
    pub problems: Vec<Problem>,
}

/// How much of the world an input has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum View {
    /// Everything: what is not there does not exist.
    Whole,
    /// Some of it could never be read: what nobody has asked for may belong to it.
    Partial,
}

/// Why the world cannot be seen as it is, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    #[serde(flatten)]
    pub place: Place,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Place {
    /// Something that a person has to correct.
    File {
        file: PathBuf,
        #[serde(skip_serializing_if = "Option::is_none")]
        document: Option<usize>,
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<usize>,
    },
    /// A watch that is behind: this kind was last known to be up to date then, if ever.
    Watch {
        watch: Kind,
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                file,
                document,
                line,
            } => {
                write!(f, "{}", file.display())?;
                if let Some(line) = line {
                    write!(f, ":{line}")?;
                }
                if let Some(document) = document {
                    write!(f, " (document {document})")?;
                }
                Ok(())
            }
            Self::Watch { watch, since } => {
                write!(f, "watch of {watch}")?;
                match since {
                    Some(since) => write!(f, ", as of {since:.0}"),
                    None => write!(f, ", which has not listed"),
                }
            }
        }
    }
}
