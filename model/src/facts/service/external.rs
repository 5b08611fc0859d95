//! The addresses of a Service that come from outside of the cluster: what load balancers gave it,
//! and what somebody wrote into `externalIPs`.
//!
//! Only callers on this node are served here, so source ranges, which are about arrivals from
//! outside, do not matter.

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::{Claim, address};
use crate::{facts::ip::is_link_local, finding::Reason, key::Family};

/// The largest number of addresses of one Service, counted with each of its ports.
const MAX_FRONTENDS: usize = 65_536;

/// Addresses of a family in which the Service has no cluster address lead nowhere.
pub(super) fn parse(
    object: &Service,
    spec: &ServiceSpec,
    cluster: &[IpAddr],
    note: &mut impl FnMut(String, Reason, String),
) -> Vec<(Claim, IpAddr)> {
    let mut found = Vec::new();
    let mut seen: BTreeSet<IpAddr> = cluster.iter().copied().collect();
    let mut take = |claim: Claim, field: String, text: &str| {
        let ip = match reachable(text) {
            Ok(ip) => ip,
            Err((reason, detail)) => return note(field, reason, detail),
        };
        if cluster.iter().all(|own| Family::of(*own) != Family::of(ip)) {
            let family = Family::of(ip);
            let detail = format!("the Service has no {family} cluster IP, so {ip} leads nowhere");
            return note(field, Reason::Invalid, detail);
        }
        if seen.insert(ip) {
            found.push((claim, ip));
        }
    };
    if spec.type_.as_deref() == Some("LoadBalancer") {
        let status = object.status.as_ref();
        let ingress = status.and_then(|status| status.load_balancer.as_ref()?.ingress.as_deref());
        for (i, ingress) in ingress.unwrap_or_default().iter().enumerate() {
            // A proxy wants to see the traffic itself: its address is only a name for it.
            if ingress.ip_mode.as_deref() == Some("Proxy") {
                continue;
            }
            if let Some(text) = ingress.ip.as_deref().filter(|text| !text.is_empty()) {
                let field = format!("status.loadBalancer.ingress[{i}].ip");
                take(Claim::LoadBalancer, field, text);
            }
        }
    }
    for (i, text) in spec.external_ips.iter().flatten().enumerate() {
        take(Claim::ExternalIp, format!("spec.externalIPs[{i}]"), text);
    }
    found
}

/// Takes away those that are too many for so many ports: users write both lists, everybody keeps what they
/// make together, and the API server bounds neither.
pub(super) fn bound(
    addresses: &mut Vec<(Claim, IpAddr)>,
    cluster: usize,
    ports: usize,
    note: &mut impl FnMut(String, Reason, String),
) {
    let Some(room) = MAX_FRONTENDS.checked_div(ports) else {
        return;
    };
    let room = room.saturating_sub(cluster);
    if addresses.len() > room {
        let detail = format!("with {ports} ports the first {room} are used, the others are not");
        note(
            "spec.externalIPs".to_owned(),
            Reason::CapacityExceeded,
            detail,
        );
        addresses.truncate(room);
    }
}

/// Kubernetes refuses loopback and link-local addresses here too.
fn reachable(text: &str) -> Result<IpAddr, (Reason, String)> {
    let ip = address(text)?;
    if ip.is_loopback() || is_link_local(ip) {
        let detail = format!("{ip} is of one host or link only");
        return Err((Reason::AddressReserved, detail));
    }
    Ok(ip)
}
