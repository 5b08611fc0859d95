//! Policies other than splits, as tables: what each asks for in a few words, and what was observed.

use std::fmt::Write as _;

use super::conditions::{self, counted, none};
use crate::{
    answer::policy::{
        Address, Balancing, Expression, Frontend, Grant, Group, Policy, Protocol, Range, Redirect,
        Selector,
    },
    output::{self, Look},
};

pub fn redirects(policies: &[Policy<Redirect>], look: Look) -> String {
    let mut table = look.table(&[
        "REDIRECT",
        "FRONTEND",
        "PODS",
        "FALLBACK",
        "NODES",
        "PROGRAMMED",
    ]);
    for policy in policies {
        table.add_row([
            policy.name(),
            frontend(&policy.spec.frontend),
            selector(&policy.spec.backend.pods),
            policy.spec.fallback.clone(),
            counted(policy.status.nodes.as_ref()),
            outcome(policy, "Programmed"),
        ]);
    }
    output::lines(&table, 0)
}

/// A row per group.
pub fn balancings(policies: &[Policy<Balancing>], look: Look) -> String {
    let mut header = vec!["BALANCING", "FRONTEND"];
    header.extend(GROUP);
    header.extend(["NODES", "PROGRAMMED"]);
    let mut table = look.table(&header);
    for policy in policies {
        let mut place = [policy.name(), frontend(&policy.spec.frontend)];
        let end = [
            counted(policy.status.nodes.as_ref()),
            outcome(policy, "Programmed"),
        ];
        for group in &policy.spec.backends {
            table.add_row(place.iter().chain(&row(group)).chain(&end));
            place.fill(String::new());
        }
    }
    output::lines(&table, 0)
}

pub fn grants(grants: &[Policy<Grant>], look: Look) -> String {
    let mut table = look.table(&["GRANT", "NAMESPACES", "ADDRESSES", "PORTS", "IN FORCE"]);
    for grant in grants {
        table.add_row([
            grant.name(),
            selector(&grant.spec.namespaces),
            grant.spec.addresses.join(" "),
            ports(&grant.spec.ports),
            outcome(grant, "Accepted"),
        ]);
    }
    output::lines(&table, 0)
}

pub fn redirect(policy: &Policy<Redirect>, look: Look) -> String {
    let Redirect {
        frontend: wanted,
        backend,
        fallback,
    } = &policy.spec;
    let mut text = head("LocalRedirectPolicy", policy);
    let _ = writeln!(text, "  frontend    {}", frontend(wanted));
    let _ = writeln!(
        text,
        "  backend     pods of the client's node: {}",
        selector(&backend.pods)
    );
    let _ = writeln!(text, "  fallback    {fallback}\n");
    text + &conditions::table(&policy.status.conditions, look)
}

pub fn balancing(policy: &Policy<Balancing>, look: Look) -> String {
    let Balancing {
        frontend: wanted,
        backends,
        selection,
        balancing,
        when_unavailable,
    } = &policy.spec;
    let mut text = head("BalancingPolicy", policy);
    let _ = writeln!(text, "  frontend    {}", frontend(wanted));
    let _ = writeln!(
        text,
        "  selection   {selection}, then {balancing}, whenUnavailable: {when_unavailable}\n"
    );
    let mut table = look.table(&GROUP);
    for group in backends {
        table.add_row(row(group));
    }
    text += &output::lines(&table, 2);
    text.push('\n');
    text + &conditions::table(&policy.status.conditions, look)
}

pub fn grant(grant: &Policy<Grant>, look: Look) -> String {
    let mut text = head("FrontendGrant", grant);
    let _ = writeln!(text, "  namespaces  {}", selector(&grant.spec.namespaces));
    let _ = writeln!(text, "  addresses   {}", grant.spec.addresses.join(" "));
    let _ = writeln!(text, "  ports       {}\n", ports(&grant.spec.ports));
    text + &conditions::table(&grant.status.conditions, look)
}

const GROUP: [&str; 4] = ["GROUP", "PRIORITY", "WEIGHT", "BACKENDS"];

fn row(group: &Group) -> [String; 4] {
    let servers = group.addresses.iter();
    let servers = servers.map(|server| address(&server.ip, server.port));
    let backends = match &group.pods {
        Some(pods) => format!("pods {}", selector(pods)),
        None => servers.collect::<Vec<_>>().join(" "),
    };
    [
        group.name.clone(),
        group.priority.to_string(),
        group.weight.to_string(),
        backends,
    ]
}

fn head<S>(kind: &str, policy: &Policy<S>) -> String {
    let mut text = format!("{kind} {}\n", policy.name());
    let generation = policy.metadata.generation;
    let about = match policy.status.observed_generation {
        None => " (not observed yet)".to_owned(),
        Some(observed) if policy.is_outdated() => {
            format!(" (what was observed is of {observed})")
        }
        Some(_) => String::new(),
    };
    let _ = writeln!(text, "  generation  {generation}{about}");
    text
}

/// Whether the condition holds; if not, why not.
fn outcome<S>(policy: &Policy<S>, kind: &str) -> String {
    if policy.status.observed_generation.is_none() {
        return "not observed".to_owned();
    }
    if policy.is_outdated() {
        return "outdated".to_owned();
    }
    let condition = policy
        .condition(kind)
        .or_else(|| policy.condition("Accepted"));
    match condition {
        Some(condition) if condition.kind == kind && condition.status == "True" => "yes".to_owned(),
        Some(condition) => condition.reason.clone(),
        None => none(),
    }
}

fn frontend(frontend: &Frontend) -> String {
    if let Some(service) = &frontend.service {
        return match service.ports.as_slice() {
            [] => format!("Service {}", service.name),
            ports => format!("Service {}, {}", service.name, ports.join(" ")),
        };
    }
    let Some(Address { ip, ports }) = &frontend.address else {
        return none();
    };
    let ports = ports.iter().map(|port| {
        let Protocol(protocol) = &port.protocol;
        format!("{}/{protocol}", address(ip, port.port))
    });
    ports.collect::<Vec<_>>().join(" ")
}

/// With brackets where they are needed.
fn address(ip: &str, port: u16) -> String {
    match ip.contains(':') {
        true => format!("[{ip}]:{port}"),
        false => format!("{ip}:{port}"),
    }
}

/// As kubectl writes it.
fn selector(selector: &Selector) -> String {
    let labels = selector.match_labels.iter();
    let labels = labels.map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.match_expressions.iter().map(expression);
    let all: Vec<_> = labels.chain(expressions).collect();
    match all.as_slice() {
        [] => "all".to_owned(),
        all => all.join(","),
    }
}

fn expression(expression: &Expression) -> String {
    let Expression {
        key,
        operator,
        values,
    } = expression;
    let values = values.join(",");
    match operator.as_str() {
        "Exists" => key.clone(),
        "DoesNotExist" => format!("!{key}"),
        "In" => format!("{key} in ({values})"),
        "NotIn" => format!("{key} notin ({values})"),
        operator => format!("{key} {operator} ({values})"),
    }
}

fn ports(ranges: &[Range]) -> String {
    if ranges.is_empty() {
        return "all".to_owned();
    }
    let ranges = ranges.iter().map(|range| {
        let mut text = range.port.to_string();
        if let Some(end) = range.end_port.filter(|end| *end != range.port) {
            let _ = write!(text, "-{end}");
        }
        if let Some(protocol) = &range.protocol {
            let _ = write!(text, "/{protocol}");
        }
        text
    });
    ranges.collect::<Vec<_>>().join(" ")
}
