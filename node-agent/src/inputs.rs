//! Where changes come from. Every input yields the same thing, so nothing behind it knows which.

use std::{fmt, path::PathBuf};

use serde::Serialize;
use sluice_model::change::Change;

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

/// Something that a person has to correct, named by file, document and line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub file: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(document) = self.document {
            write!(f, " (document {document})")?;
        }
        write!(f, ": {}", self.text)
    }
}
