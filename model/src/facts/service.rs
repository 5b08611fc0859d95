//! Service: its addresses and ports, how its endpoints are chosen, or why it is left alone.

mod external;
mod given;
mod ports;
mod selects;
mod traffic;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::{Parsed, address, group::POLICY};
use crate::{
    finding::{Finding, Reason},
    key::{Created, Family, Frontend, Port, Protocol, ServiceKey},
};

pub(super) use ports::parse_protocol;
pub use selects::Selects;
pub use traffic::{Balancing, Reach, Traffic};

const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
const HEADLESS: &str = "service.kubernetes.io/headless";
/// What becomes of TCP connections whose backend has gone.
pub const ON_BACKEND_GONE: &str = "sluice.dev/on-backend-gone";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub created: Created,
    /// TCP connections end when their backend goes. Those of UDP sockets do in any case.
    pub cuts: bool,
    pub exposure: Exposure,
    /// Addresses from outside of the cluster that lead here too, of the families of its cluster
    /// addresses. Empty unless it has any of those.
    pub external: Vec<(Claim, IpAddr)>,
    /// Addresses that cluster and cloud gave it, beside those that it claims something at.
    pub beside: Box<[IpAddr]>,
    pub ports: Vec<ServicePortFact>,
    pub traffic: Traffic,
    pub selects: Selects,
    /// By its label: the policy whose group it is.
    pub policy: Option<Box<str>>,
}

/// By what a Service claims a frontend. The first claim wins, so that no address that a user can
/// write into a Service takes a cluster address from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    Cluster,
    LoadBalancer,
    ExternalIp,
    NodePort,
}

/// How callers reach a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// At these addresses, at most one of each family.
    Cluster(Vec<IpAddr>),
    /// By its endpoints' own addresses.
    Headless,
    /// By another DNS name.
    ExternalName,
    /// Not yet: no address was given out.
    Pending,
    /// Somebody else serves it, or it is of a type that we do not know.
    LeftAlone,
}

/// One port of a Service. Its target is not here: EndpointSlices carry the resolved numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePortFact {
    /// Empty for the only port of a Service.
    pub name: Arc<str>,
    pub number: Port,
    pub protocol: Protocol,
    /// The port of every node that leads here too.
    pub node_port: Option<Port>,
}

impl Fact {
    /// Its cluster addresses.
    pub fn addresses(&self) -> &[IpAddr] {
        match &self.exposure {
            Exposure::Cluster(addresses) => addresses,
            _ => &[],
        }
    }

    /// The addresses of its that nobody could have written there: its cluster addresses, and those of its
    /// load balancer.
    pub fn own_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let cloud = self.external.iter();
        let cloud = cloud.filter(|(claim, _)| *claim == Claim::LoadBalancer);
        let cluster = self.addresses().iter().copied();
        cluster.chain(cloud.map(|(_, ip)| *ip))
    }

    /// Everything that this Service claims for its ports.
    pub fn claims(&self) -> impl Iterator<Item = (Claim, Frontend)> {
        self.ports.iter().flat_map(|port| self.claims_of(port))
    }

    /// How this Service claims a frontend, if it does. Looks at the ports that can mean it only: there may be
    /// very many, and addresses too.
    pub fn claim_to(&self, frontend: Frontend) -> Option<Claim> {
        let numbers = |port: &ServicePortFact| [Some(port.number), port.node_port];
        let ports = self.ports.iter().filter(|port| {
            port.protocol == frontend.protocol && numbers(port).contains(&Some(frontend.port))
        });
        let claims = ports.flat_map(|port| self.claims_of(port));
        let same = claims.filter(|(_, claimed)| *claimed == frontend);
        same.map(|(claim, _)| claim).min()
    }

    /// What this Service claims for one of its ports, first claims first.
    pub fn claims_of(&self, port: &ServicePortFact) -> impl Iterator<Item = (Claim, Frontend)> {
        let (number, protocol, node_port) = (port.number, port.protocol, port.node_port);
        let cluster = self.addresses().iter().map(|ip| (Claim::Cluster, *ip));
        let addresses = cluster.chain(self.external.iter().copied());
        let addresses = addresses.map(move |(claim, ip)| {
            let port = number;
            (claim, Frontend { ip, port, protocol })
        });
        let families = self.addresses().iter().map(|ip| Family::of(*ip));
        let on_nodes = node_port.into_iter().flat_map(move |port| {
            let families = families.clone();
            families.map(move |family| Frontend::on_every_node(family, port, protocol))
        });
        addresses.chain(on_nodes.map(|frontend| (Claim::NodePort, frontend)))
    }
}

pub fn parse(key: &ServiceKey, object: &Service) -> Parsed<Fact> {
    let mut findings = Vec::new();
    let empty = ServiceSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&empty);
    let mut note = |field: String, reason: Reason, detail: String| {
        findings.push(Finding::new(key.clone(), reason, detail).at(field));
    };
    let cuts = cuts(object, &mut note);
    let exposure = exposure(object, spec, &mut note);
    let (cluster, mut external) = match &exposure {
        Exposure::Cluster(addresses) => (
            addresses.len(),
            external::parse(object, spec, addresses, &mut note),
        ),
        _ => (0, Vec::new()),
    };
    let traffic = traffic::parse(object, spec, &mut note);
    let ports = ports::parse(spec, &mut note);
    external::bound(&mut external, cluster, ports.len(), &mut note);
    let mut fact = Fact {
        created: Created::of(&object.metadata),
        cuts,
        exposure,
        external,
        beside: Box::default(),
        ports,
        traffic,
        selects: Selects::parse(spec.selector.as_ref()),
        policy: labels(object).and_then(|labels| Some(labels.get(POLICY)?.as_str().into())),
    };
    fact.beside = given::beside(&fact, object, spec);
    Parsed {
        fact: Some(fact),
        findings,
    }
}

fn labels(object: &Service) -> Option<&BTreeMap<String, String>> {
    object.metadata.labels.as_ref()
}

fn cuts(object: &Service, note: &mut impl FnMut(String, Reason, String)) -> bool {
    let annotations = object.metadata.annotations.as_ref();
    match annotations
        .and_then(|all| all.get(ON_BACKEND_GONE))
        .map(String::as_str)
    {
        None | Some("Keep") => false,
        Some("Cut") => true,
        Some(other) => {
            let field = format!("metadata.annotations[{ON_BACKEND_GONE}]");
            let detail = format!("{other:?} is not one of Keep, Cut; connections are kept");
            note(field, Reason::Invalid, detail);
            false
        }
    }
}

fn exposure(
    object: &Service,
    spec: &ServiceSpec,
    note: &mut impl FnMut(String, Reason, String),
) -> Exposure {
    let labelled = |label| labels(object).is_some_and(|labels| labels.contains_key(label));
    match spec.type_.as_deref().unwrap_or("ClusterIP") {
        "ClusterIP" | "NodePort" | "LoadBalancer" => {}
        "ExternalName" => return Exposure::ExternalName,
        other => {
            let detail = format!("{other:?} is not a type of Service; it is left alone");
            note("spec.type".to_owned(), Reason::Invalid, detail);
            return Exposure::LeftAlone;
        }
    }
    if labelled(PROXY_NAME) {
        return Exposure::LeftAlone;
    }
    let single = spec.cluster_ip.as_slice();
    let texts = match &spec.cluster_ips {
        Some(ips) if !ips.is_empty() => ips.as_slice(),
        _ => single,
    };
    if labelled(HEADLESS) || texts.iter().any(|text| text == "None") {
        return Exposure::Headless;
    }
    let mut addresses = Vec::<IpAddr>::with_capacity(texts.len());
    for (i, text) in texts
        .iter()
        .enumerate()
        .filter(|(_, text)| !text.is_empty())
    {
        let field = format!("spec.clusterIPs[{i}]");
        match address(text) {
            Ok(ip) if addresses.iter().any(|a| Family::of(*a) == Family::of(ip)) => {
                let detail = format!("{ip} is a second address of its family");
                note(field, Reason::Invalid, detail);
            }
            Ok(ip) => addresses.push(ip),
            Err((reason, detail)) => note(field, reason, detail),
        }
    }
    if addresses.is_empty() {
        Exposure::Pending
    } else {
        Exposure::Cluster(addresses)
    }
}
