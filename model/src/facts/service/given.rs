//! Addresses that cluster and cloud gave to a Service, whatever is served at them, and by whom.
//!
//! A policy of another namespace may claim none of them. Those at which the Service claims something
//! are found by that; here are the others: of a Service that is left to another proxy or called
//! headless, of one whose ports are not steered, of a load balancer that is a proxy itself.

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::Fact;
use crate::facts::address;

/// Those at which `fact` claims nothing.
pub(super) fn beside(fact: &Fact, object: &Service, spec: &ServiceSpec) -> Box<[IpAddr]> {
    let claimed: BTreeSet<IpAddr> = match fact.ports.is_empty() {
        true => BTreeSet::new(),
        false => fact.own_addresses().collect(),
    };
    let single = spec.cluster_ip.iter();
    let cluster = single.chain(spec.cluster_ips.iter().flatten());
    let status = object.status.as_ref();
    let ingress = status.and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    let cloud = ingress.into_iter().flatten();
    let cloud = cloud.filter_map(|ingress| ingress.ip.as_ref());
    let given = cluster.chain(cloud);
    let given: BTreeSet<IpAddr> = given.filter_map(|text| address(text).ok()).collect();
    given.difference(&claimed).copied().collect()
}
