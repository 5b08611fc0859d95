//! Why a connect goes where it goes, in words and numbers that a person asks for.

use std::net::IpAddr;

use serde::Serialize;
use sluice_crds::split::{Selection, WhenUnavailable};

use crate::{
    caller::Caller,
    condition::{self, VersionStatus},
    desired::{Backend, Desired, Owner, Port, Whose},
    facts::service::{Balancing, Reach},
    key::{Family, Frontend, ServiceKey},
    table,
};

/// What becomes of connects to one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub frontend: Frontend,
    pub verdict: Verdict,
    /// The rule that decides; `None` for an address that is not ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// Not an address of ours: left alone.
    Passed,
    /// Sent to a backend.
    Translated,
    /// Some are sent to a backend, some are refused.
    PartlyRefused,
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    pub service: ServiceKey,
    /// The name of the Service's port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub port: String,
    pub owner: Owner,
    /// The classes of callers that the owner tells apart, in its order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// The class that this caller is in, whose weights these are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    pub selection: Selection,
    pub when_unavailable: WhenUnavailable,
    #[serde(skip_serializing_if = "is_default")]
    pub balancing: Balancing,
    /// For how many seconds after its last connect a client gets the same backend again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity_seconds: Option<u32>,
    /// Which endpoints can be chosen.
    #[serde(skip_serializing_if = "is_default")]
    pub reach: Reach,
    pub versions: Vec<VersionRule>,
    /// The part of the connects that is refused.
    pub refused: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionRule {
    #[serde(flatten)]
    pub status: VersionStatus,
    /// The Service that lends the endpoints.
    pub service: ServiceKey,
    /// Nothing is ready: these still serve while they terminate.
    pub draining: bool,
    /// Addresses, in the order of the version's slots.
    pub backends: Vec<String>,
}

/// Explains this caller's connect to this address by the wanted dataplane.
pub fn explain(desired: &Desired, caller: Caller, frontend: Frontend) -> Explanation {
    let Some((service, port)) = find(desired, caller, frontend) else {
        return Explanation {
            frontend,
            verdict: Verdict::Passed,
            rule: None,
        };
    };
    let treatment = caller
        .cgroup
        .and_then(|cgroup| desired.callers.get(&cgroup));
    let class = port.class_of(treatment);
    let shares = table::of_port(port, class);
    let refused = shares.entries.iter().filter(|share| share.refuses);
    let refused: u32 = refused.map(|share| share.slots).sum();
    let verdict = match refused {
        _ if shares.length == 0 => Verdict::Refused,
        0 => Verdict::Translated,
        _ => Verdict::PartlyRefused,
    };
    let classes = port.classes.iter();
    let classes: Vec<_> = classes.map(|class| class.name.to_string()).collect();
    let versions = port.versions.iter().zip(condition::standing(port, class));
    let versions = versions.map(|(version, status)| VersionRule {
        status,
        service: version.service.clone(),
        draining: version.draining,
        backends: version.backends.iter().map(Backend::to_string).collect(),
    });
    Explanation {
        frontend,
        verdict,
        rule: Some(Rule {
            service: service.clone(),
            port: port.name.to_string(),
            owner: port.owner.clone(),
            class: class.and_then(|class| classes.get(class).cloned()),
            classes,
            selection: port.selection,
            when_unavailable: port.when_unavailable,
            balancing: port.balancing,
            affinity_seconds: port.affinity,
            reach: port.id.reach,
            versions: versions.collect(),
            refused: match verdict {
                Verdict::Refused => condition::percent(1, 1),
                _ => condition::percent(refused, shares.length),
            },
        }),
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The Service and the port that answer this caller at this address.
pub fn find(desired: &Desired, caller: Caller, frontend: Frontend) -> Option<(&ServiceKey, &Port)> {
    let frontend = Frontend {
        ip: frontend.ip.to_canonical(),
        ..frontend
    };
    let has_opted_out = |cgroup| desired.callers.get(&cgroup).is_some_and(|t| t.opted_out);
    if caller.cgroup.is_some_and(has_opted_out) {
        return None;
    }
    if !frontend.is_on_every_node()
        && let Some(found) = with(desired, frontend)
    {
        return Some(found);
    }
    let whose = whose(desired, caller, frontend.ip)?;
    let Frontend { ip, port, protocol } = frontend;
    let on_every_node = Frontend::on_every_node(Family::of(ip), port, protocol);
    let (service, port) = with(desired, on_every_node)?;
    (whose == Whose::Own || port.on_nodes == Reach::Cluster).then_some((service, port))
}

/// The node that answers at this address, if it is one's. Loopback is the own node's, for callers in its
/// network, and so is the unspecified address, by which sockets mean loopback.
fn whose(desired: &Desired, caller: Caller, ip: IpAddr) -> Option<Whose> {
    if ip.is_loopback() || ip.is_unspecified() {
        return caller.in_host_network.then_some(Whose::Own);
    }
    desired.nodes.get(&ip).copied()
}

fn with(desired: &Desired, frontend: Frontend) -> Option<(&ServiceKey, &Port)> {
    desired.services.iter().find_map(|(key, service)| {
        let mut ports = service.ports.iter();
        let port = ports.find(|port| port.frontends.contains(&frontend))?;
        Some((key, port))
    })
}
