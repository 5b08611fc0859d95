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

/// Those about one object, of findings in their order: there may be very many, and somebody looks for each object's.
pub fn about<'a>(findings: &'a [Finding], subject: &Subject) -> &'a [Finding] {
    let start = findings.partition_point(|finding| finding.subject < *subject);
    let rest = findings.get(start..).unwrap_or_default();
    let end = rest.partition_point(|finding| finding.subject == *subject);
    rest.get(..end).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::{Finding, Reason, about};
    use crate::key::{SplitKey, Subject};

    #[test]
    fn those_about_one_object_are_found_among_many() {
        let subject = |name: &str| Subject::from(SplitKey::parse("shop", name).expect("a name"));
        let names = ["a", "b", "b", "c"];
        let findings = names.map(|name| Finding::new(subject(name), Reason::Invalid, ""));
        let count = |name| about(&findings, &subject(name)).len();
        assert_eq!(
            ["0", "a", "b", "bb", "c", "d"].map(count),
            [0, 1, 2, 0, 1, 0]
        );
        assert!(
            about(&findings, &subject("b"))
                .iter()
                .all(|found| found.subject == subject("b"))
        );
        assert_eq!(about(&[], &subject("a")), []);
    }
}
