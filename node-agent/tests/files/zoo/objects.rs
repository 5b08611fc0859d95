//! The Services of the zoo: one address of each family, and all ports at the number that the server has, so that
//! directly and through a Service differ in nothing but the address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};
use sluice_testbed::pod::Pod;

use super::{ECHO, Family, HTTP, name_server::DNS};

const PORTS: [(&str, u16, &str); 4] = [
    ("http", HTTP, "TCP"),
    ("echo", ECHO, "UDP"),
    ("dns", DNS, "UDP"),
    ("dns-tcp", DNS, "TCP"),
];

pub(super) fn address(number: u8, family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(198, 18, 7, number + 1).into(),
        Family::V6 => Ipv6Addr::new(0xfd5e, 7, 0, 0, 0, 0, 0, u16::from(number) + 1).into(),
    }
}

/// A Service, and what its pod is reached at if it has one.
pub(super) fn service(number: u8, pod: Option<&Pod>) -> Vec<Value> {
    let name = format!("server-{number}");
    let (v4, v6) = (address(number, Family::V4), address(number, Family::V6));
    let ports = PORTS.map(|(name, port, protocol)| {
        json!({"name": name, "port": port, "targetPort": port, "protocol": protocol})
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "zoo", "name": name},
        "spec": {"clusterIP": v4, "clusterIPs": [v4, v6], "ports": ports},
    });
    let slices = pod.into_iter().flat_map(|pod| {
        let v4 = slice(&name, "IPv4", pod.address4().into());
        [v4, slice(&name, "IPv6", pod.address6().into())]
    });
    [service].into_iter().chain(slices).collect()
}

fn slice(service: &str, family: &str, address: IpAddr) -> Value {
    let ports = PORTS
        .map(|(name, port, protocol)| json!({"name": name, "port": port, "protocol": protocol}));
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "namespace": "zoo", "name": format!("{service}-{}", family.to_lowercase()),
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": family,
        "endpoints": [{"addresses": [address]}],
        "ports": ports,
    })
}
