//! What the API server is told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use super::{flag, identity_flags};
use crate::cluster::certificates::{Authority, Subject};
use crate::cluster::{addresses, audit};
use crate::fabric::Fabric;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const NAMES: [&str; 5] = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];
/// As whom it calls the servers of its extensions.
const FRONT_PROXY: &str = "front-proxy-client";

/// Where it listens, under which names, and what it hands out.
pub(super) fn serving(fabric: &Fabric, authority: &Authority) -> Result<Vec<String>> {
    let own = fabric.own();
    let reached_at: [IpAddr; 5] = [
        Ipv4Addr::LOCALHOST.into(),
        Ipv6Addr::LOCALHOST.into(),
        own.address4().into(),
        own.address6().into(),
        addresses::API_SERVICE.into(),
    ];
    let server = authority.server("kube-apiserver", "kube-apiserver", &NAMES, &reached_at)?;
    let mut flags = vec![
        format!("--secure-port={}", addresses::API_PORT),
        format!("--advertise-address={}", own.address4()),
        format!("--service-cluster-ip-range={}", addresses::service_ranges()),
        format!("--service-account-issuer={ISSUER}"),
        flag("service-account-signing-key-file", &authority.token_key()),
        "--allow-privileged=true".to_owned(),
    ];
    flags.extend(identity_flags(
        "tls-cert-file",
        "tls-private-key-file",
        &server,
    ));
    flags.extend(audit::flags(fabric.run())?);
    Ok(flags)
}

/// Whom it believes, and what they may do.
pub(super) fn trusting(authority: &Authority) -> Vec<String> {
    vec![
        flag("client-ca-file", &authority.certificate()),
        flag("service-account-key-file", &authority.token_public_key()),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        flag("requestheader-client-ca-file", &authority.certificate()),
        format!("--requestheader-allowed-names={FRONT_PROXY}"),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
    ]
}

/// How it reaches kubelets, webhooks and extensions.
pub(super) fn reaching(authority: &Authority) -> Result<Vec<String>> {
    let kubelets = Subject {
        user: "kube-apiserver-kubelet-client",
        group: Some("system:masters"),
    };
    let kubelets = authority.client("kubelet-client", kubelets)?;
    let extensions = Subject {
        user: FRONT_PROXY,
        group: None,
    };
    let extensions = authority.client(FRONT_PROXY, extensions)?;
    let mut flags = vec![
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        flag("kubelet-certificate-authority", &authority.certificate()),
        // It is outside the nodes, where only the pods' own addresses lead to them.
        "--enable-aggregator-routing=true".to_owned(),
    ];
    flags.extend(identity_flags(
        "kubelet-client-certificate",
        "kubelet-client-key",
        &kubelets,
    ));
    flags.extend(identity_flags(
        "proxy-client-cert-file",
        "proxy-client-key-file",
        &extensions,
    ));
    Ok(flags)
}
