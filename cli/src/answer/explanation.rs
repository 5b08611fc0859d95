//! The answer of `/explain`.

use serde::Deserialize;

use super::split::Version;

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answers {
    pub node: String,
    pub caller: String,
    pub caller_known: bool,
    pub answers: Vec<Answer>,
}

/// What becomes of connects to one address, port and protocol.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub frontend: String,
    pub verdict: Verdict,
    pub rule: Option<Rule>,
    /// What the live maps do.
    pub kernel: String,
    /// Where that is not what is wanted.
    pub difference: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Verdict {
    Passed,
    Translated,
    PartlyRefused,
    Refused,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    pub service: String,
    #[serde(default)]
    pub port: String,
    /// `Service`, or the policy that decides, by kind and name.
    pub owner: String,
    /// The classes of callers that the policy tells apart, in its order, and the one that this caller is in.
    #[serde(default)]
    pub classes: Vec<String>,
    pub class: Option<String>,
    pub selection: String,
    pub when_unavailable: String,
    pub versions: Vec<VersionRule>,
    pub refused: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionRule {
    #[serde(flatten)]
    pub status: Version,
    pub service: String,
    pub draining: bool,
    pub backends: Vec<String>,
}
