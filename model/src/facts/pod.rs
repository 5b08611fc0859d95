//! Pod: a caller. Its readiness is not here, since EndpointSlices say who can serve.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1::Pod;

use super::{OPT_OUT, Parsed, address, misread, opts_out};
use crate::{
    finding::Finding,
    key::{Name, NodeKey, PodKey},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Kubelet puts it into the names of the pod's cgroups.
    pub uid: String,
    pub node: Option<NodeKey>,
    pub addresses: Vec<IpAddr>,
    pub host_network: bool,
    /// It ran to its end and connects to nothing any more.
    pub finished: bool,
    /// It asked that its connects be left alone.
    pub opted_out: bool,
    pub labels: BTreeMap<String, String>,
    pub service_account: Arc<str>,
}

pub fn parse(key: &PodKey, object: &Pod) -> Parsed<Fact> {
    let labels = object.metadata.labels.as_ref();
    let mut findings = misread(key.clone(), labels, &[OPT_OUT]);
    let spec = object.spec.as_ref();
    let status = object.status.as_ref();
    let mut addresses = Vec::new();
    let texts = status.and_then(|status| status.pod_ips.as_deref());
    for (i, pod_ip) in texts.unwrap_or_default().iter().enumerate() {
        match address(&pod_ip.ip) {
            Ok(ip) => addresses.push(ip),
            Err((reason, detail)) => findings
                .push(Finding::new(key.clone(), reason, detail).at(format!("status.podIPs[{i}]"))),
        }
    }
    let account = spec.and_then(|spec| spec.service_account_name.as_deref());
    let account = account.filter(|name| !name.is_empty());
    let phase = status.and_then(|status| status.phase.as_deref());
    Parsed {
        fact: Some(Fact {
            uid: object.metadata.uid.clone().unwrap_or_default(),
            node: spec
                .and_then(|spec| spec.node_name.as_deref())
                .and_then(|name| Name::parse("", name))
                .map(NodeKey),
            addresses,
            host_network: spec.and_then(|spec| spec.host_network).unwrap_or(false),
            finished: matches!(phase, Some("Succeeded" | "Failed")),
            opted_out: opts_out(labels),
            service_account: account.unwrap_or("default").into(),
            labels: labels.cloned().unwrap_or_default(),
        }),
        findings,
    }
}
