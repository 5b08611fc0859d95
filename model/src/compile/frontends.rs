//! The addresses that a Service's port answers at.
//!
//! An address, port and protocol belongs to one Service. Where two claim it, what cluster and cloud
//! gave out comes before what somebody wrote into a Service; then the older Service has it, then
//! the first by name.

use crate::{
    facts::service::{Claim, Fact, Reach, ServicePortFact},
    finding::{Finding, Reason},
    index::Snapshot,
    key::{Created, Family, Frontend, ServiceKey},
};

/// The frontends of one port and family.
#[derive(Default)]
pub(super) struct Frontends {
    /// Where callers inside of the cluster connect to.
    pub(super) internal: Vec<Frontend>,
    /// Where arrivals from outside connect to, and callers inside may.
    pub(super) external: Vec<Frontend>,
}

impl Frontends {
    /// The frontends by the endpoints that their callers reach. Where that is not the same, they are
    /// ports of their own.
    pub(super) fn by_reach(mut self, internal: Reach) -> Vec<(Reach, Vec<Frontend>)> {
        let mut ports = Vec::with_capacity(1);
        match internal {
            Reach::Cluster => self.external.append(&mut self.internal),
            Reach::Local => ports.push((Reach::Local, self.internal)),
        }
        self.external.sort_unstable();
        ports.push((Reach::Cluster, self.external));
        ports.retain(|(_, frontends)| !frontends.is_empty());
        ports
    }
}

pub(super) fn of(
    snapshot: Snapshot<'_>,
    key: &ServiceKey,
    fact: &Fact,
    port: &ServicePortFact,
    family: Family,
    findings: &mut Vec<Finding>,
) -> Frontends {
    let mut frontends = Frontends::default();
    for (claim, frontend) in fact.claims_of(port) {
        if Family::of(frontend.ip) != family {
            continue;
        }
        let own = (claim, fact.created, key);
        if let Some(owner) = winner_over(snapshot, own, frontend) {
            let detail = format!("{frontend} belongs to Service {owner}, which comes first");
            findings.push(Finding::new(key.clone(), Reason::Conflicted, detail));
            continue;
        }
        match claim {
            Claim::Cluster => frontends.internal.push(frontend),
            Claim::LoadBalancer | Claim::ExternalIp | Claim::NodePort => {
                frontends.external.push(frontend);
            }
        }
    }
    frontends.internal.sort_unstable();
    frontends
}

/// The frontends of one port that are this Service's own. An external address is not among them: a user can
/// write any into a Service, and would take it from those to whom it was granted.
pub(super) fn owned<'a>(
    snapshot: Snapshot<'a>,
    key: &'a ServiceKey,
    fact: &'a Fact,
    port: &'a ServicePortFact,
) -> impl Iterator<Item = Frontend> {
    let claims = fact.claims_of(port);
    let owned = claims.filter(move |(claim, frontend)| {
        *claim != Claim::ExternalIp
            && winner_over(snapshot, (*claim, fact.created, key), *frontend).is_none()
    });
    owned.map(|(_, frontend)| frontend)
}

/// The Service that has a frontend which this one claims too.
fn winner_over<'a>(
    snapshot: Snapshot<'a>,
    own: (Claim, Created, &ServiceKey),
    frontend: Frontend,
) -> Option<&'a ServiceKey> {
    let claimants = snapshot.claimants(&frontend);
    let others = claimants.filter(|(key, _)| *key != own.2);
    let claims =
        others.filter_map(|(key, fact)| Some((fact.claim_to(frontend)?, fact.created, key)));
    claims
        .min()
        .filter(|first| *first < own)
        .map(|(_, _, key)| key)
}
