//! The Services of a benchmark: how many, with how many endpoints each, and their objects as the API server stores them.
//!
//! Endpoints are all different addresses, so that no arm profits from a small set of them; all are the one server's.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Range;

use serde_json::{Value, json};

pub(crate) const NAMESPACE: &str = "bench";
/// The server's addresses: the endpoints of all Services are in here.
pub(crate) const ENDPOINTS: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 160, 0, 0), 11);
/// Beyond the part of the API server's range that is for Services that name their address.
const SERVICES: Ipv4Addr = Ipv4Addr::new(10, 97, 0, 0);
const PORT: u16 = 80;

/// What [`Object::key`] begins with.
const REGISTRY: &str = "/registry";

/// Services of one kind; numbers count from zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Population {
    pub(crate) endpoints: u32,
    pub(crate) server_port: u16,
}

/// An object in the API server's store.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object {
    pub(crate) key: String,
    pub(crate) value: Value,
}

impl Population {
    /// Where clients connect to a Service.
    pub(crate) fn service(self, number: u32) -> SocketAddrV4 {
        SocketAddrV4::new(offset(SERVICES, number), PORT)
    }

    pub(crate) fn endpoint(self, number: u32, which: u32) -> SocketAddrV4 {
        let address = offset(ENDPOINTS.0, 1 + number * self.endpoints + which);
        SocketAddrV4::new(address, self.server_port)
    }

    /// All endpoints of these Services: where a client without any Service connects to.
    pub(crate) fn all_endpoints(self, numbers: Range<u32>) -> Vec<SocketAddrV4> {
        let of = |number| (0..self.endpoints).map(move |which| self.endpoint(number, which));
        numbers.flat_map(of).collect()
    }

    /// What there is in the API server's store for each of these Services.
    pub(crate) fn objects(self, numbers: Range<u32>) -> impl Iterator<Item = [Object; 3]> {
        numbers.map(move |number| {
            [
                self.address_object(number),
                self.service_object(number),
                self.slice_object(number),
            ]
        })
    }

    /// The claim of the Service's address; without it the API server would set about making one.
    fn address_object(self, number: u32) -> Object {
        let address = self.service(number).ip().to_string();
        Object {
            key: format!("{REGISTRY}/ipaddresses/{address}"),
            value: json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
                "metadata": {
                    "name": address, "uid": uid(0, number), "creationTimestamp": CREATED,
                    "labels": {
                        "ipaddress.kubernetes.io/ip-family": "IPv4",
                        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
                    },
                },
                "spec": { "parentRef": {
                    "group": "", "resource": "services", "namespace": NAMESPACE, "name": name(number),
                } },
            }),
        }
    }

    fn service_object(self, number: u32) -> Object {
        let (name, address) = (name(number), self.service(number).ip().to_string());
        Object {
            key: format!("{REGISTRY}/services/specs/{NAMESPACE}/{name}"),
            value: json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {
                    "namespace": NAMESPACE, "name": name, "uid": uid(1, number), "creationTimestamp": CREATED,
                },
                "spec": {
                    "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address],
                    "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
                    "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
                    "ports": [{ "name": "http", "port": PORT, "protocol": "TCP", "targetPort": self.server_port }],
                },
                "status": { "loadBalancer": {} },
            }),
        }
    }

    fn slice_object(self, number: u32) -> Object {
        let addresses: Vec<_> = (0..self.endpoints)
            .map(|which| *self.endpoint(number, which).ip())
            .collect();
        let mut value = slice(&name(number), &addresses, self.server_port);
        value["metadata"]["uid"] = uid(2, number).into();
        value["metadata"]["creationTimestamp"] = CREATED.into();
        Object {
            key: format!("{REGISTRY}/endpointslices/{NAMESPACE}/{}", name(number)),
            value,
        }
    }
}

/// A slice with the Service's own name.
pub(crate) fn slice(service: &str, addresses: &[Ipv4Addr], port: u16) -> Value {
    let endpoint = |address| json!({ "addresses": [address], "conditions": { "ready": true } });
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "namespace": NAMESPACE, "name": service,
            "labels": { "kubernetes.io/service-name": service },
        },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": port, "protocol": "TCP" }],
        "endpoints": addresses.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

/// All objects are of one moment, and nothing looks at it.
const CREATED: &str = "2026-01-01T00:00:00Z";

fn name(number: u32) -> String {
    format!("service-{number}")
}

fn uid(kind: u32, number: u32) -> String {
    format!("{kind:08x}-0000-4000-8000-{number:012x}")
}

fn offset(first: Ipv4Addr, by: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(first.to_bits() + by)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_endpoint_is_another_address_of_the_server() {
        let population = Population {
            endpoints: 10,
            server_port: 8080,
        };
        let all = population.all_endpoints(0..10_000);
        let distinct: BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), 100_000);
        let prefix = |address: Ipv4Addr| address.to_bits() >> (32 - u32::from(ENDPOINTS.1));
        assert!(
            all.iter()
                .all(|endpoint| prefix(*endpoint.ip()) == prefix(ENDPOINTS.0))
        );
    }

    #[test]
    fn a_service_has_an_address_object_and_slice_of_its_own() {
        let population = Population {
            endpoints: 2,
            server_port: 8080,
        };
        let keys: BTreeSet<_> = population
            .objects(0..1_000)
            .flatten()
            .map(|object| object.key)
            .collect();
        assert_eq!(keys.len(), 3_000);
        assert!(keys.contains("/registry/ipaddresses/10.97.3.231"));
        assert!(keys.contains("/registry/services/specs/bench/service-999"));
        assert!(keys.contains("/registry/endpointslices/bench/service-999"));
    }
}
