//! What operator and agents say of a policy.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize as _;
use serde_json::Value;
use sluice_crds::conditions::Reason;
use sluice_crds::report::{NodeReportStatus, PolicyReport};
use sluice_kind_tests::api::{Api, SLUICE};
use sluice_kind_tests::shop::condition;

use super::pairs::{Kind, Policy};

/// What one agent says.
pub(super) struct Report {
    node: String,
    /// By UID.
    entries: BTreeMap<String, PolicyReport>,
}

/// Whether the operator says that the policy has what it claims.
pub(super) fn owns(api: &Api, policy: &Policy) -> Result<()> {
    let object = api.get(&policy.path())?;
    says(&object, "Accepted", "True", "Accepted")?;
    match policy.kind {
        Kind::Split => says(&object, "Programmed", "True", "Programmed"),
        Kind::Redirect | Kind::Balancing => Ok(()),
    }
}

/// Whether the operator says that it lost to that one.
pub(super) fn is_named_as(api: &Api, loser: &Policy, winner: &Policy) -> Result<()> {
    let object = api.get(&loser.path())?;
    says(&object, "Accepted", "False", "Conflicted")?;
    let accepted = condition(&object, "Accepted").context("it has the condition")?;
    let message = accepted["message"].as_str().unwrap_or_default();
    let first = format!("{winner} comes first");
    ensure!(message.contains(&first), "{loser}: {message}, not {first}");
    Ok(())
}

fn says(object: &Value, kind: &str, status: &str, reason: &str) -> Result<()> {
    let condition = condition(object, kind);
    let holds = condition.is_some_and(|condition| {
        condition["status"] == status
            && condition["reason"] == reason
            && condition["observedGeneration"] == object["metadata"]["generation"]
    });
    ensure!(holds, "not {kind}={status}, {reason}: {object:#}");
    Ok(())
}

/// Of every node.
pub(super) fn reports(api: &Api) -> Result<Vec<Report>> {
    let list = api.get(&format!("{SLUICE}/nodereports"))?;
    let items = list["items"].as_array().context("a list has items")?;
    let reports = items.iter().map(|report| {
        let node = &report["metadata"]["name"];
        let said = NodeReportStatus::deserialize(&report["status"])?;
        let entries = said.policies.into_iter();
        Ok(Report {
            node: node.as_str().context("a name")?.to_owned(),
            entries: entries.map(|entry| (entry.uid.clone(), entry)).collect(),
        })
    });
    let reports: Vec<_> = reports.collect::<Result<_>>()?;
    ensure!(reports.len() > 1, "{} nodes report", reports.len());
    Ok(reports)
}

impl Report {
    fn entry(&self, uid: &str, policy: &Policy) -> Result<&PolicyReport> {
        let entry = self.entries.get(uid);
        entry.with_context(|| format!("{} does not know {policy}", self.node))
    }

    /// Whether it lets the policy have what it claims.
    pub(super) fn owner(&self, uid: &str, policy: &Policy) -> Result<()> {
        let entry = self.entry(uid, policy)?;
        let acts = match policy.kind {
            Kind::Split => entry.programmed && entry.reason == Reason::Programmed,
            Kind::Redirect | Kind::Balancing => entry.reason != Reason::Conflicted,
        };
        ensure!(acts, "{}: {entry:?}", self.node);
        Ok(())
    }

    /// Whether it treats the policy as the loser. Of a split, the winner is the one that is programmed.
    pub(super) fn conflicted(&self, uid: &str, loser: &Policy, winner: &Policy) -> Result<()> {
        let entry = self.entry(uid, loser)?;
        ensure!(
            !entry.programmed && entry.reason == Reason::Conflicted,
            "{}: {entry:?}",
            self.node
        );
        let names = match loser.kind {
            Kind::Split => true,
            Kind::Redirect | Kind::Balancing => {
                entry.message.contains(&format!("{winner} comes first"))
            }
        };
        ensure!(names, "{}: {entry:?}, not {winner}", self.node);
        Ok(())
    }
}
