//! The kinds that can be shown, and the words for them: those of kubectl.

use std::str::FromStr;

use kube::Resource as _;
use sluice_crds::{BalancingPolicy, FrontendGrant, LocalRedirectPolicy, NodeReport, TrafficSplit};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Split,
    Redirect,
    Balancing,
    Grant,
    Report,
}

/// Each kind with its words; the first is the one to teach.
const WORDS: [(Kind, &[&str]); 5] = [
    (
        Kind::Split,
        &["splits", "split", "trafficsplits", "trafficsplit"],
    ),
    (
        Kind::Redirect,
        &["lrp", "localredirectpolicies", "localredirectpolicy"],
    ),
    (
        Kind::Balancing,
        &["balancing", "balancingpolicies", "balancingpolicy"],
    ),
    (
        Kind::Grant,
        &["grants", "grant", "frontendgrants", "frontendgrant"],
    ),
    (
        Kind::Report,
        &["reports", "report", "nodereports", "nodereport"],
    ),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoKind;

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Split => "TrafficSplit",
            Self::Redirect => "LocalRedirectPolicy",
            Self::Balancing => "BalancingPolicy",
            Self::Grant => "FrontendGrant",
            Self::Report => "NodeReport",
        }
    }

    pub fn is_namespaced(self) -> bool {
        matches!(self, Self::Split | Self::Redirect | Self::Balancing)
    }

    /// Where the API server has them: of one namespace, or all.
    pub fn path(self, namespace: Option<&str>) -> String {
        match self {
            Self::Split => TrafficSplit::url_path(&(), namespace),
            Self::Redirect => LocalRedirectPolicy::url_path(&(), namespace),
            Self::Balancing => BalancingPolicy::url_path(&(), namespace),
            Self::Grant => FrontendGrant::url_path(&(), None),
            Self::Report => NodeReport::url_path(&(), None),
        }
    }

    /// What can be written for a kind, for a person who wrote something else.
    pub fn taught() -> String {
        let first = WORDS.map(|(_, words)| words.first().copied().unwrap_or_default());
        first.join(", ")
    }
}

impl FromStr for Kind {
    type Err = NoKind;

    fn from_str(text: &str) -> Result<Self, NoKind> {
        let mut kinds = WORDS.into_iter();
        let found = kinds.find(|(_, words)| words.contains(&text));
        found.map(|(kind, _)| kind).ok_or(NoKind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectls_words_and_short_names_are_understood() {
        for (kind, _) in WORDS {
            let plural = kind.path(None);
            let plural = plural.rsplit('/').next().unwrap();
            assert_eq!(plural.parse(), Ok(kind));
            assert_eq!(kind.name().to_lowercase().parse(), Ok(kind));
        }
        assert_eq!("split".parse(), Ok(Kind::Split));
        assert_eq!("checkout".parse::<Kind>(), Err(NoKind));
    }
}
