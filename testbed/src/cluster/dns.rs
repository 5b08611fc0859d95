//! The cluster's own name server, as a Deployment behind the Service `kube-dns`.

use super::addresses;
use super::images::COREDNS;
use crate::fabric::Fabric;

const OBJECTS: &str = include_str!("dns.yaml");

pub(super) fn objects(fabric: &Fabric) -> String {
    let values = [
        ("$IMAGE", COREDNS.to_owned()),
        ("$API_HOST", fabric.own().address4().to_string()),
        ("$API_PORT", addresses::API_PORT.to_string()),
        ("$DNS4", addresses::DNS4.to_string()),
        ("$DNS6", addresses::DNS6.to_string()),
    ];
    values
        .iter()
        .fold(OBJECTS.to_owned(), |text, (name, value)| {
            text.replace(name, value)
        })
}
