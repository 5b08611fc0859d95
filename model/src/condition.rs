//! Status as values: what would be written to an object's `status`.
//!
//! Transition times are missing on purpose: they belong to whoever writes, who has the clock and
//! the old value.

use serde::Serialize;
pub use sluice_crds::split::VersionStatus;
use sluice_crds::{conditions::ConditionType, split::WhenUnavailable};

use crate::{
    desired::{Owner, Port, Service, Version},
    facts::split,
    finding::{Finding, Reason},
    key::SplitKey,
    table::{self, Share, Shares},
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SplitStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    pub versions: Vec<VersionStatus>,
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: ConditionType,
    pub status: bool,
    pub reason: Reason,
    pub message: String,
}

/// A split that does not parse.
pub(crate) fn unusable(findings: &[&Finding]) -> SplitStatus {
    let refusal = worst(findings, |_| true);
    SplitStatus {
        observed_generation: None,
        versions: Vec::new(),
        conditions: vec![condition(
            ConditionType::Accepted,
            refusal,
            Reason::Accepted,
        )],
    }
}

/// What one node makes of a split: `Programmed` speaks of that node alone.
pub(crate) fn of_split(
    key: &SplitKey,
    fact: &split::Fact,
    service: Option<&Service>,
    findings: &[&Finding],
    refused: Option<&Finding>,
    lagging: bool,
) -> SplitStatus {
    let ports = service.map_or(&[][..], |service| &service.ports);
    let own: Vec<&Port> = ports
        .iter()
        .filter(|port| matches!(&port.owner, Owner::Split(owner) if owner == key))
        .collect();
    let accepted = worst(findings, |reason| {
        matches!(reason, Reason::Invalid | Reason::Conflicted)
    });
    let resolved = worst(findings, |reason| {
        !matches!(
            reason,
            Reason::Invalid | Reason::Conflicted | Reason::UnknownField | Reason::FeatureMissing
        )
    });
    let missing = worst(findings, |reason| reason == Reason::FeatureMissing);
    let programmed = if let Some(missing) = missing {
        Some((missing.reason, text(missing)))
    } else if own.is_empty() {
        let reason = accepted.or(resolved).map_or(Reason::Pending, |f| f.reason);
        Some((reason, "it decides on no port".to_owned()))
    } else if let Some(refused) = refused {
        Some((refused.reason, refused.detail.clone()))
    } else {
        lagging.then(|| {
            (
                Reason::NodeFailed,
                "a write failed and is retried".to_owned(),
            )
        })
    };
    SplitStatus {
        observed_generation: fact.generation,
        versions: versions(fact, &own),
        conditions: vec![
            condition(ConditionType::Accepted, accepted, Reason::Accepted),
            condition(ConditionType::ResolvedRefs, resolved, Reason::ResolvedRefs),
            match programmed {
                None => Condition {
                    kind: ConditionType::Programmed,
                    status: true,
                    reason: Reason::Programmed,
                    message: String::new(),
                },
                Some((reason, message)) => Condition {
                    kind: ConditionType::Programmed,
                    status: false,
                    reason,
                    message,
                },
            },
        ],
    }
}

fn condition(kind: ConditionType, problem: Option<&Finding>, fine: Reason) -> Condition {
    match problem {
        None => Condition {
            kind,
            status: true,
            reason: fine,
            message: String::new(),
        },
        Some(finding) => Condition {
            kind,
            status: false,
            reason: finding.reason,
            message: text(finding),
        },
    }
}

fn text(finding: &Finding) -> String {
    match finding.field.as_str() {
        "" => finding.detail.clone(),
        field => format!("{field}: {}", finding.detail),
    }
}

fn worst<'a>(findings: &[&'a Finding], matters: impl Fn(Reason) -> bool) -> Option<&'a Finding> {
    let findings = findings.iter().copied();
    findings.filter(|finding| matters(finding.reason)).min()
}

/// Each version as it stands on the port where it has the fewest ready endpoints.
fn versions(fact: &split::Fact, ports: &[&Port]) -> Vec<VersionStatus> {
    let shares: Vec<Shares> = ports
        .iter()
        .map(|port| table::shares(&port.versions, port.when_unavailable))
        .collect();
    let standing = |i: usize| {
        let standings = ports.iter().zip(&shares).filter_map(|(port, shares)| {
            Some(version_status(
                port.versions.get(i)?,
                *shares.entries.get(i)?,
                shares,
                port.when_unavailable,
            ))
        });
        standings.min_by_key(|status| status.ready)
    };
    let versions = fact.versions.iter().enumerate();
    versions
        .map(|(i, version)| {
            standing(i).unwrap_or_else(|| VersionStatus {
                name: version.name.to_string(),
                weight: version.weight.get(),
                effective: 0,
                share: percent(0, 0),
                ready: 0,
                reason: Reason::Pending,
            })
        })
        .collect()
}

/// What a version was asked to get on one port, and what it gets.
pub(crate) fn version_status(
    version: &Version,
    share: Share,
    shares: &Shares,
    when_unavailable: WhenUnavailable,
) -> VersionStatus {
    let weight = version.weight.get();
    let reason = match (version.is_available(), when_unavailable) {
        _ if weight == 0 => Reason::AsRequested,
        (false, WhenUnavailable::Redistribute) if shares.length > 0 => Reason::Redistributed,
        (false, _) => Reason::NoReadyEndpoints,
        (true, _) if shares.rounded => Reason::Rounded,
        (true, _) => Reason::AsRequested,
    };
    VersionStatus {
        name: version.name.to_string(),
        weight,
        effective: if share.slots == 0 { 0 } else { weight },
        share: percent(share.slots, shares.length),
        ready: u32::try_from(version.ready()).unwrap_or(u32::MAX),
        reason,
    }
}

/// A share with as many digits as tell it from nothing and from everything.
pub(crate) fn percent(part: u32, whole: u32) -> String {
    if whole == 0 {
        return "0.0%".to_owned();
    }
    let percent = 100.0 * f64::from(part) / f64::from(whole);
    if part > 0 && percent < 0.1 || part < whole && percent > 99.9 {
        format!("{percent:.2}%")
    } else {
        format!("{percent:.1}%")
    }
}
