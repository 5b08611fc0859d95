//! Status as values: what would be written to an object's `status`.
//!
//! Transition times are missing on purpose: they belong to whoever writes, who has the clock and
//! the old value.

use std::cmp::Ordering;

use serde::Serialize;
pub use sluice_crds::split::VersionStatus;
use sluice_crds::{conditions::ConditionType, split::WhenUnavailable};

use crate::{
    desired::{Owner, Port, Service, Version},
    facts::{
        grant,
        split::{self, Weight},
    },
    finding::{Finding, Reason},
    key::SplitKey,
    table::{self, Shares},
    weights,
};

/// Said of a split that acts on nothing.
const IDLE: &str = "it decides on no port";

/// What would be written.
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

/// What the objects alone say of a split, from wherever they are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    pub observed_generation: Option<i64>,
    pub versions: Vec<VersionStatus>,
    pub accepted: Condition,
    /// `None` when the split does not parse, so that nobody knows what it names.
    pub resolved: Option<Condition>,
    /// Why no node can program the split.
    pub hindered: Option<(Reason, String)>,
}

/// What one node makes of a split that does not parse.
pub(crate) fn unusable(findings: &[&Finding]) -> SplitStatus {
    judge_unusable(findings).status(None)
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
    let refused = refused.map(|refused| (refused.reason, refused.detail.clone()));
    let retried = "a write failed and is retried";
    let lagging = lagging.then(|| (Reason::NodeFailed, retried.to_owned()));
    judge(key, fact, service, findings).status(refused.or(lagging))
}

/// Judges a split that does not parse.
pub fn judge_unusable(findings: &[&Finding]) -> Judged {
    let refusal = worst(findings, |_| true);
    Judged {
        observed_generation: None,
        versions: Vec::new(),
        accepted: condition(ConditionType::Accepted, refusal, Reason::Accepted),
        resolved: None,
        hindered: refusal.map(|refusal| (refusal.reason, IDLE.to_owned())),
    }
}

/// Judges a split by what its Service compiles to and by what was found about the split.
pub fn judge(
    key: &SplitKey,
    fact: &split::Fact,
    service: Option<&Service>,
    findings: &[&Finding],
) -> Judged {
    let ports = service.map_or(&[][..], |service| &service.ports);
    let own: Vec<&Port> = ports
        .iter()
        .filter(|port| matches!(&port.owner, Owner::Split(owner) if owner == key))
        .collect();
    let Sorted {
        accepted,
        resolved,
        missing,
    } = Sorted::of(findings);
    let hindered = if let Some(missing) = missing {
        Some((missing.reason, text(missing)))
    } else {
        own.is_empty().then(|| {
            let reason = accepted.or(resolved).map_or(Reason::Pending, |f| f.reason);
            (reason, IDLE.to_owned())
        })
    };
    Judged {
        observed_generation: fact.origin.generation,
        versions: versions(fact, &own),
        accepted: condition(ConditionType::Accepted, accepted, Reason::Accepted),
        resolved: Some(condition(
            ConditionType::ResolvedRefs,
            resolved,
            Reason::ResolvedRefs,
        )),
        hindered,
    }
}

/// Judges a policy that claims a frontend, by what was found about it.
pub fn judge_claim(generation: Option<i64>, findings: &[&Finding]) -> Judged {
    let Sorted {
        accepted,
        resolved,
        missing,
    } = Sorted::of(findings);
    let hindered = missing.or(accepted).or(resolved);
    Judged {
        observed_generation: generation,
        versions: Vec::new(),
        accepted: condition(ConditionType::Accepted, accepted, Reason::Accepted),
        resolved: Some(condition(
            ConditionType::ResolvedRefs,
            resolved,
            Reason::ResolvedRefs,
        )),
        hindered: hindered.map(|finding| (finding.reason, text(finding))),
    }
}

/// Judges a grant that parses.
pub fn judge_grant(fact: &grant::Fact, findings: &[&Finding]) -> Judged {
    Judged {
        observed_generation: fact.origin.generation,
        versions: Vec::new(),
        accepted: condition(
            ConditionType::Accepted,
            Sorted::of(findings).accepted,
            Reason::Accepted,
        ),
        resolved: None,
        hindered: None,
    }
}

impl Judged {
    /// The status, given what stands in the way where it shall be programmed.
    pub fn status(self, obstacle: Option<(Reason, String)>) -> SplitStatus {
        let programmed = match self.hindered.or(obstacle) {
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
        };
        let conditions = [Some(self.accepted), self.resolved, Some(programmed)];
        SplitStatus {
            observed_generation: self.observed_generation,
            versions: self.versions,
            conditions: conditions.into_iter().flatten().collect(),
        }
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

/// The first finding of each kind of consequence.
struct Sorted<'a> {
    accepted: Option<&'a Finding>,
    resolved: Option<&'a Finding>,
    missing: Option<&'a Finding>,
}

impl<'a> Sorted<'a> {
    fn of(findings: &[&'a Finding]) -> Self {
        Self {
            accepted: worst(findings, Finding::refuses),
            resolved: worst(findings, |finding| {
                let aside = matches!(
                    finding.reason,
                    Reason::UnknownField | Reason::FeatureMissing
                );
                !aside && !finding.refuses()
            }),
            missing: worst(findings, |finding| finding.reason == Reason::FeatureMissing),
        }
    }
}

fn worst<'a>(findings: &[&'a Finding], matters: impl Fn(&Finding) -> bool) -> Option<&'a Finding> {
    let findings = findings.iter().copied();
    findings.filter(|finding| matters(finding)).min()
}

/// Each version as it stands on the port where it has the fewest ready endpoints.
fn versions(fact: &split::Fact, ports: &[&Port]) -> Vec<VersionStatus> {
    let standings: Vec<_> = ports.iter().map(|port| standing(port, None)).collect();
    let versions = fact.versions.iter().enumerate();
    let versions = versions.map(|(i, version)| {
        let standings = standings.iter().filter_map(|versions| versions.get(i));
        let fewest = standings.min_by_key(|status| status.ready);
        fewest.cloned().unwrap_or_else(|| VersionStatus {
            name: version.name.to_string(),
            weight: version.weight.get(),
            effective: 0,
            share: percent(0, 0),
            ready: 0,
            reason: Reason::Pending,
        })
    });
    versions.collect()
}

/// What each version was asked to get on one port from callers of this class, and what it gets.
pub(crate) fn standing(port: &Port, class: Option<usize>) -> Vec<VersionStatus> {
    let shares = table::of_port(port, class);
    let asked = port.asked(class);
    let changes = weights::changes(&port.versions, &asked);
    let versions = port.versions.iter().zip(&shares.entries);
    let versions = versions.zip(asked.iter().zip(changes));
    let versions = versions.map(|((version, share), (asked, change))| VersionStatus {
        name: version.name.to_string(),
        weight: asked.get(),
        effective: if share.slots == 0 {
            0
        } else {
            change.effective
        },
        share: percent(share.slots, shares.length),
        ready: u32::try_from(version.ready()).unwrap_or(u32::MAX),
        reason: reason(version, *asked, change.by, &shares, port.when_unavailable),
    });
    versions.collect()
}

fn reason(
    version: &Version,
    asked: Weight,
    change: Ordering,
    shares: &Shares,
    when_unavailable: WhenUnavailable,
) -> Reason {
    match (version.is_available(), when_unavailable) {
        _ if asked == Weight::ZERO => Reason::AsRequested,
        _ if version.awaited => Reason::Pending,
        (false, WhenUnavailable::Redistribute) if shares.length > 0 => Reason::Redistributed,
        (false, _) => Reason::NoReadyEndpoints,
        (true, _) if change == Ordering::Less => Reason::CappedByReadiness,
        (true, _) if change == Ordering::Greater => Reason::Redistributed,
        (true, _) if shares.rounded => Reason::Rounded,
        (true, _) => Reason::AsRequested,
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
