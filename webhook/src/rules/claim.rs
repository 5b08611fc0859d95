//! LocalRedirectPolicy and BalancingPolicy: they parse, their address is not reserved, and no stored policy that
//! they compete with has what they claim.
//!
//! As with splits the compiler decides, on a small index of all that the claim can meet: its rivals,
//! theirs, and so on, with their Services, the addresses' holders, nodes and grants. One that claims
//! more than before counts as the youngest.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use kube::core::{DynamicObject, ObjectMeta};
use sluice_model::{
    change::{Change, Object},
    compile::claims,
    facts::{balancing, frontend::Frontend},
    finding::Finding,
    index::{ClaimKey, Index, Snapshot},
    key::{Created, GrantKey, Kind, NamespaceKey},
};
use sluice_runtime::watch::read;

use super::{Verdict, is_excused, named, whole};

pub(super) fn judge(
    kind: Kind,
    old: Option<&DynamicObject>,
    new: &DynamicObject,
    cluster: Option<Snapshot<'_>>,
) -> Verdict {
    let Some(mut new) = parse(kind, new) else {
        return Verdict::default();
    };
    let old = old.and_then(|old| parse(kind, old));
    let mut before = match &old {
        Some(old) => findings(old, cluster),
        None => Vec::new(),
    };
    if !old.is_some_and(|old| claims_no_more(&new, &old)) {
        become_youngest(&mut new);
        before.retain(is_excused);
    }
    Verdict::of(findings(&new, cluster), &before)
}

fn parse(kind: Kind, object: &DynamicObject) -> Option<Object> {
    let object = named(object);
    match kind {
        Kind::LocalRedirectPolicy => read::redirect(&object),
        Kind::BalancingPolicy => read::balancing(&object),
        _ => None,
    }
}

fn claim(object: &Object) -> Option<(ClaimKey, &Frontend)> {
    match object {
        Object::Redirect(key, parsed) => {
            let fact = parsed.fact.as_ref()?;
            Some((ClaimKey::Redirect(key.clone()), &fact.frontend))
        }
        Object::Balancing(key, parsed) => {
            let fact = parsed.fact.as_ref()?;
            Some((ClaimKey::Balancing(key.clone()), &fact.frontend))
        }
        _ => None,
    }
}

fn claims_no_more(new: &Object, old: &Object) -> bool {
    match (claim(new), claim(old)) {
        (
            Some((_, Frontend::Service { service, ports })),
            Some((
                _,
                Frontend::Service {
                    service: had,
                    ports: before,
                },
            )),
        ) => {
            let fewer = || ports.iter().all(|port| before.contains(port));
            service == had && (before.is_empty() || !ports.is_empty() && fewer())
        }
        (
            Some((_, Frontend::Address { ip, ports })),
            Some((
                _,
                Frontend::Address {
                    ip: had,
                    ports: before,
                },
            )),
        ) => ip == had && ports.iter().all(|port| before.contains(port)),
        _ => false,
    }
}

fn become_youngest(object: &mut Object) {
    let origin = match object {
        Object::Redirect(_, parsed) => parsed.fact.as_mut().map(|fact| &mut fact.origin),
        Object::Balancing(_, parsed) => parsed.fact.as_mut().map(|fact| &mut fact.origin),
        _ => None,
    };
    if let Some(origin) = origin {
        origin.created = Created::of(&ObjectMeta::default());
    }
}

/// What is wrong with the policy by itself and beside what else is there.
fn findings(object: &Object, cluster: Option<Snapshot<'_>>) -> Vec<Finding> {
    let mut findings = object.findings().to_vec();
    if let (Some((key, frontend)), Some(cluster)) = (claim(object), cluster) {
        let met = met(cluster, &key, frontend);
        let mut index = around(cluster, &key, &met, backends(object));
        index.apply(Change::Set(object.clone()));
        let judged = index
            .snapshot()
            .map(|all| claims::judge(all, [key.clone()]));
        findings.extend(
            judged
                .and_then(|mut judged| judged.remove(&key))
                .into_iter()
                .flatten(),
        );
    }
    findings
}

/// The backends of a policy that are addresses.
fn backends(object: &Object) -> impl Iterator<Item = IpAddr> {
    let fact = match object {
        Object::Balancing(_, parsed) => parsed.fact.as_ref(),
        _ => None,
    };
    let addresses = fact.into_iter().flat_map(balancing::Fact::addresses);
    addresses.map(|address| address.ip)
}

/// This claim and all others that it can meet.
fn met<'a>(
    cluster: Snapshot<'a>,
    own: &ClaimKey,
    frontend: &'a Frontend,
) -> BTreeMap<ClaimKey, &'a Frontend> {
    let mut met = BTreeMap::from([(own.clone(), frontend)]);
    let mut waiting = vec![frontend];
    let mut seen = BTreeSet::new();
    while let Some(frontend) = waiting.pop() {
        // Who names the same meets the same.
        if !seen.insert((frontend.service(), frontend.ip())) {
            continue;
        }
        for rival in cluster.rivals(frontend) {
            if !met.contains_key(rival)
                && let Some((frontend, _)) = cluster.claim(rival)
            {
                met.insert(rival.clone(), frontend);
                waiting.push(frontend);
            }
        }
    }
    met
}

/// What decides among these claims, and over the backends of the own one.
fn around(
    cluster: Snapshot<'_>,
    own: &ClaimKey,
    met: &BTreeMap<ClaimKey, &Frontend>,
    backends: impl Iterator<Item = IpAddr>,
) -> Index {
    let mut index = Index::awaiting([]);
    let mut set = |object| index.apply(Change::Set(object));
    for (i, grant) in cluster.grants().enumerate() {
        if let Some(key) = GrantKey::parse("", &format!("grant-{i}")) {
            set(Object::Grant(key, whole(grant.clone())));
        }
    }
    let mut addresses: BTreeSet<IpAddr> = met.values().filter_map(|met| met.ip()).collect();
    addresses.extend(backends);
    for key in met.keys().filter(|key| *key != own) {
        if let ClaimKey::Balancing(key) = key {
            let policy = cluster.balancing(key).into_iter();
            let backends = policy.flat_map(balancing::Fact::addresses);
            addresses.extend(backends.map(|address| address.ip));
        }
    }
    for (key, node) in addresses.iter().flat_map(|ip| cluster.nodes_at(*ip)) {
        set(Object::Node(key.clone(), whole(node.clone())));
    }
    let namespaces: BTreeSet<&str> = met.keys().map(|key| key.name().namespace()).collect();
    for name in namespaces {
        if let (Some(key), Some(fact)) = (NamespaceKey::parse("", name), cluster.namespace(name)) {
            set(Object::Namespace(key, whole(fact.clone())));
        }
    }
    let named = met.values().filter_map(|met| met.service());
    let named = named.filter_map(|key| Some((key, cluster.service(key)?)));
    let at = addresses.iter().flat_map(|ip| cluster.holders(*ip));
    let services: BTreeMap<_, _> = named.chain(at).collect();
    for (key, service) in services {
        set(Object::Service(key.clone(), whole(service.clone())));
    }
    for key in met.keys().filter(|key| *key != own) {
        let fact = match key {
            ClaimKey::Redirect(key) => {
                let fact = cluster.redirect(key).cloned();
                fact.map(|fact| Object::Redirect(key.clone(), whole(fact)))
            }
            ClaimKey::Balancing(key) => {
                let fact = cluster.balancing(key).cloned();
                fact.map(|fact| Object::Balancing(key.clone(), whole(fact)))
            }
        };
        if let Some(fact) = fact {
            set(fact);
        }
    }
    index
}
