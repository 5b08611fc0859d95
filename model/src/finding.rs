//! A problem with an object. Findings become conditions, events, metric labels and denials.

use std::fmt;

use serde::Serialize;
pub use sluice_crds::conditions::Reason;

use crate::key::Subject;

/// One problem: with which object, why, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    pub subject: Subject,
    pub reason: Reason,
    /// The path of the field at fault, empty when it is the object as a whole.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    pub detail: String,
}

impl Finding {
    pub fn new(subject: impl Into<Subject>, reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            reason,
            field: String::new(),
            detail: detail.into(),
        }
    }

    /// Whether a policy with such a problem is not accepted.
    pub fn refuses(&self) -> bool {
        matches!(
            self.reason,
            Reason::Invalid
                | Reason::Conflicted
                | Reason::AddressNotGranted
                | Reason::AddressReserved
        )
    }

    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: ", self.subject, self.reason.name())?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.detail)
    }
}
