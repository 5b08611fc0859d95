//! Commands to a rollout: a verb, and which revision it is meant for or when it was given, so that
//! the same words said twice are one command.

use std::{fmt, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    finding::{Finding, Reason},
    key::Subject,
};

/// The annotation of a TrafficSplit that holds one.
pub const ANNOTATION: &str = "sluice.dev/command";

const LONGEST: usize = 63;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub verb: Verb,
    /// A revision or a time, as it was given.
    pub token: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Promote,
    Pause,
    Resume,
    Abort,
    Retry,
}

/// Said of what is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoCommand;

impl Verb {
    pub const ALL: [Self; 5] = [
        Self::Promote,
        Self::Pause,
        Self::Resume,
        Self::Abort,
        Self::Retry,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
            Self::Retry => "retry",
        }
    }
}

impl Command {
    pub fn parse(text: &str) -> Result<Self, NoCommand> {
        let (verb, token) = text.split_once('@').ok_or(NoCommand)?;
        let verb = Verb::ALL.into_iter().find(|known| known.name() == verb);
        let verb = verb.ok_or(NoCommand)?;
        if token.len() > LONGEST || !is_token(token) {
            return Err(NoCommand);
        }
        let token = token.into();
        Ok(Self { verb, token })
    }
}

/// What is wrong with an object's command, if it has one. The object acts all the same: what cannot be done
/// is not done.
pub fn fault(subject: impl Into<Subject>, meta: &ObjectMeta) -> Option<Finding> {
    let text = meta.annotations.as_ref()?.get(ANNOTATION)?;
    let fault = Command::parse(text).err()?;
    let finding = Finding::new(subject, Reason::Invalid, fault.to_string());
    Some(finding.at(format!("metadata.annotations[{ANNOTATION}]")))
}

/// Whether this can tell one release, or one moment, from the next.
pub(super) fn is_token(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    ends.iter()
        .all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:+".contains(byte))
}

impl fmt::Display for NoCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verbs = Verb::ALL.map(Verb::name).join(", ");
        write!(
            f,
            "a command is one of {verbs}, then @ and the revision or the time, such as promote@2.4.1"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, Verb};

    #[test]
    fn a_command_is_a_verb_at_something() {
        let command = Command::parse("abort@2026-01-01T10:00:00Z");
        assert_eq!(command.map(|command| command.verb), Ok(Verb::Abort));
        let long = format!("retry@{}", "a".repeat(64));
        for text in [
            "",
            "promote",
            "promote@",
            "@1",
            "Promote@1",
            "promote@-1",
            "promote@1 ",
            "stop@1",
            "promote@a/b",
            &long,
        ] {
            assert!(Command::parse(text).is_err(), "{text:?}");
        }
    }
}
