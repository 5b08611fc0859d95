//! LocalRedirectPolicy and BalancingPolicy: they parse, their address is not reserved, and no stored policy of
//! their kind has what they claim.
//!
//! As with splits the compiler decides, on a small index of all that the claim can meet: its rivals,
//! theirs, and so on, with their Services, the addresses' holders, nodes and grants. One that claims
//! more than before counts as the youngest.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::{DynamicObject, ObjectMeta};
use sluice_model::{
    change::{Change, Object},
    compile::claims,
    facts::frontend::Frontend,
    finding::Finding,
    index::{ClaimKey, Index, Snapshot},
    key::{Created, GrantKey, Kind, NamespaceKey, ServiceKey},
};
use sluice_runtime::watch::read;

use super::{Verdict, named, whole};

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
    let before = match &old {
        Some(old) => findings(old, cluster),
        None => Vec::new(),
    };
    if !old.is_some_and(|old| claims_no_more(&new, &old)) {
        become_youngest(&mut new);
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
        let mut index = around(cluster, &key, frontend);
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

/// Of the cluster, all that this claim can meet.
fn around(cluster: Snapshot<'_>, own: &ClaimKey, frontend: &Frontend) -> Index {
    let mut met = BTreeMap::from([(own.clone(), frontend)]);
    let mut waiting = vec![frontend];
    let mut seen = BTreeSet::new();
    while let Some(frontend) = waiting.pop() {
        // Who names the same meets the same.
        if !seen.insert((frontend.service(), frontend.ip())) {
            continue;
        }
        for rival in cluster.rivals(frontend) {
            if rival.is_like(own)
                && !met.contains_key(rival)
                && let Some((frontend, _)) = cluster.claim(rival)
            {
                met.insert(rival.clone(), frontend);
                waiting.push(frontend);
            }
        }
    }
    let mut index = Index::awaiting([]);
    let mut set = |object| index.apply(Change::Set(object));
    for (i, grant) in cluster.grants().enumerate() {
        if let Some(key) = GrantKey::parse("", &format!("grant-{i}")) {
            set(Object::Grant(key, whole(grant.clone())));
        }
    }
    for (key, node) in cluster.nodes() {
        let is_met =
            |frontend: &&Frontend| frontend.ip().is_some_and(|ip| node.addresses.contains(&ip));
        if met.values().any(is_met) {
            set(Object::Node(key.clone(), whole(node.clone())));
        }
    }
    let namespaces: BTreeSet<&str> = met.keys().map(|key| key.name().namespace()).collect();
    for name in namespaces {
        if let (Some(key), Some(fact)) = (NamespaceKey::parse("", name), cluster.namespace(name)) {
            set(Object::Namespace(key, whole(fact.clone())));
        }
    }
    for (key, service) in services(cluster, met.values().copied()) {
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

/// The Services that these frontends are, or whose addresses they are.
fn services<'a>(
    cluster: Snapshot<'a>,
    frontends: impl Iterator<Item = &'a Frontend>,
) -> BTreeMap<&'a ServiceKey, &'a sluice_model::facts::service::Fact> {
    let mut services = BTreeMap::new();
    for frontend in frontends {
        let named = frontend.service();
        services.extend(named.and_then(|key| Some((key, cluster.service(key)?))));
        let at = frontend.ip().into_iter();
        services.extend(at.flat_map(|ip| cluster.holders(ip)));
    }
    services
}
