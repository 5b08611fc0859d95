//! Splits that tell callers apart, on real sockets: sticky ones, and classes with weights of their own.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use serde_json::{Value, json};
use sluice_node_agent::program::Refusal;
use sluice_testbed::{
    Errno,
    errno::Code,
    load::{Load, Target},
    pod::Pod,
    tier::{self, is_long},
};

use crate::{
    bed::{Bed, at},
    callers::{find_pods, object},
    crowd::{self, Crowd},
    told::Told,
};

const SERVICE: &str = "198.18.0.1";
const PORT: u16 = 80;
const VERSIONS: usize = 10;

/// The Service that is split, and one for each version, with one backend each.
fn objects(backends: &[String]) -> Vec<Value> {
    let service = |name: &str, ip: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": PORT}]},
        })
    };
    let mut objects = vec![service("web", SERVICE)];
    for (version, address) in backends.iter().enumerate() {
        let name = format!("v{version}");
        objects.push(service(&name, "None"));
        objects.push(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": name},
            },
            "ports": [{"port": PORT}], "endpoints": [{"addresses": [address]}],
        }));
    }
    objects
}

fn split(weights: &[u32], more: &Value) -> Value {
    let versions = weights.iter().enumerate();
    let versions = versions.map(|(i, weight)| {
        let name = format!("v{i}");
        json!({"name": name, "service": name, "weight": weight})
    });
    let mut spec = json!({"service": "web", "versions": versions.collect::<Vec<_>>()});
    if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
        "metadata": {"name": "web", "namespace": "shop"}, "spec": spec,
    })
}

/// That a version has no endpoint.
fn nobody(version: &str) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": version, "namespace": "shop", "labels": {"kubernetes.io/service-name": version},
        },
        "ports": [{"port": PORT}], "endpoints": [],
    })
}

/// Weights of which at least one is not 0; some are as they were.
fn weights(rng: &mut Rng, before: &[u32]) -> Vec<u32> {
    loop {
        let weights: Vec<u32> = before
            .iter()
            .map(|weight| match rng.u8(..4) {
                0 => 0,
                1 => rng.u32(1..=100),
                _ => *weight,
            })
            .collect();
        if weights.iter().any(|weight| *weight > 0) {
            return weights;
        }
    }
}

/// The version that each client is led to.
fn versions_of(crowd: &Crowd, backends: &[String]) -> Result<Vec<usize>> {
    let target = Target::tcp(at(SERVICE, PORT)?);
    let version = |client: &Pod| {
        let name = client.connect(target)?.name;
        let (address, _) = name.split_once(':').context("an address")?;
        let version = backends.iter().position(|backend| *backend == address);
        version.with_context(|| format!("{name} is none of {backends:?}"))
    };
    crowd.clients().iter().map(version).collect()
}

pub(crate) fn two_hundred_clients_of_a_sticky_split_move_only_as_shares_do() -> Result<()> {
    let changes = if is_long() { 1_000 } else { 40 };
    let (crowd, _turn) = crowd::turn()?;
    let backends: Vec<String> = (0..VERSIONS)
        .map(|number| crowd.backend(number).ip().to_string())
        .collect();
    let mut rng = Rng::with_seed(tier::seed()?);
    let mut told = Told::start(&crowd.bed)?;
    told.apply(&objects(&backends))?;
    let sticky = json!({"selection": "Sticky"});
    let mut old = vec![1; VERSIONS];
    told.apply(&[split(&old, &sticky)])?;
    let mut before = versions_of(&crowd, &backends)?;
    ensure!(versions_of(&crowd, &backends)? == before, "nothing changed");
    let mut moved = 0;
    for _ in 0..changes {
        let new = weights(&mut rng, &old);
        told.apply(&[split(&new, &sticky)])?;
        let after = versions_of(&crowd, &backends)?;
        // The new share less the old one, in parts of the product of both sums.
        let sum = |weights: &[u32]| weights.iter().copied().map(i64::from).sum::<i64>();
        let rise = |version: usize| {
            i64::from(new[version]) * sum(&old) - i64::from(old[version]) * sum(&new)
        };
        for (from, to) in before.iter().zip(&after) {
            ensure!(
                from == to || rise(*to) > 0 || rise(*from) < 0,
                "a client went from {from} to {to} when weights went from {old:?} to {new:?}"
            );
            ensure!(new[*to] > 0, "a client is at {to} of {new:?}");
            moved += usize::from(from != to);
        }
        (old, before) = (new, after);
    }
    println!(
        "{changes} changes of weights, {moved} moves of {} clients",
        before.len()
    );
    Ok(())
}

/// A bed with one server that stands for all versions.
fn bed_of(versions: usize) -> Result<(Bed, Pod, Vec<String>)> {
    let bed = Bed::start(Refusal::SetRetval)?;
    let server = bed.node.pod("server").addresses(u8::try_from(versions)?);
    let server = server.named_by_address().port(PORT).start()?;
    let addresses = server.addresses().iter();
    let backends = addresses.map(|(v4, _)| v4.to_string()).collect();
    Ok((bed, server, backends))
}

fn class(name: &str, from: &Value, version: usize) -> Value {
    json!({"name": name, "from": [from], "weights": {format!("v{version}"): 1}})
}

pub(crate) fn callers_get_the_weights_of_the_first_class_that_they_are_in() -> Result<()> {
    let (bed, _server, backends) = bed_of(4)?;
    let start = |name: &str| bed.node.pod(name).start();
    let clients = [start("client-1")?, start("client-2")?];
    let agent = bed.node.pod("agent").host_network().start()?;
    let host = bed.node.pod("host").on_the_host().start()?;
    let mut told = Told::start(&bed)?;
    told.apply(&objects(&backends))?;
    let team = |team: &str| json!({"pods": {"matchLabels": {"team": team}}});
    let callers = json!({"callers": [
        class("qa", &team("qa"), 1),
        class("beta", &json!({"namespaces": {"matchLabels": {"ring": "beta"}}}), 2),
        class("robots", &json!({"serviceAccounts": ["robot"]}), 3),
    ]});
    told.apply(&[split(&[1, 0, 0, 0], &callers)])?;
    let target = Target::tcp(at(SERVICE, PORT)?);
    let at_version = |client: &Pod| -> Result<usize> {
        let name = client.connect(target)?.name;
        let version = backends
            .iter()
            .position(|address| name.starts_with(&format!("{address}:")));
        version.with_context(|| name.clone())
    };
    let are_at = |versions: [usize; 4]| -> Result<()> {
        let found = [&clients[0], &clients[1], &agent, &host].map(at_version);
        let found = found.into_iter().collect::<Result<Vec<_>>>()?;
        ensure!(found == versions, "{found:?} instead of {versions:?}");
        Ok(())
    };
    are_at([0; 4])?;
    find_pods(&mut told, &bed)?;
    are_at([0; 4])?;
    told.apply(&[object(&clients[0], &json!({"team": "qa"}), false)])?;
    are_at([1, 0, 0, 0])?;
    told.apply(&[object(&agent, &json!({"team": "qa"}), true)])?;
    are_at([1, 0, 1, 0])?;
    let mut robot = object(&clients[1], &json!({"team": "dev"}), false);
    robot["spec"]["serviceAccountName"] = "robot".into();
    told.apply(&[robot])?;
    are_at([1, 3, 1, 0])?;
    let shop = |ring: &str| {
        let meta = json!({"name": "shop", "labels": {"ring": ring}});
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    };
    told.apply(&[shop("beta")])?;
    are_at([1, 2, 1, 0])?;
    told.apply(&[object(&clients[0], &json!({}), false)])?;
    are_at([2, 2, 1, 0])?;
    told.apply(&[shop("stable")])?;
    are_at([0, 3, 1, 0])?;
    told.apply(&[object(
        &agent,
        &json!({"sluice.dev/opt-out": "true", "team": "qa"}),
        true,
    )])?;
    ensure!(at_version(&agent).is_err(), "it opted out");

    // Weights and classes change in one write; a class that nobody can serve is refused, alone.
    let callers = json!({"callers": [class("robots", &json!({"serviceAccounts": ["robot"]}), 1)]});
    told.apply(&[split(&[0, 0, 1, 0], &callers)])?;
    ensure!((at_version(&clients[0])?, at_version(&clients[1])?) == (2, 1));
    told.apply(&[nobody("v1")])?;
    ensure!(at_version(&clients[0])? == 2);
    let refused = clients[1].try_connect(target)?.err();
    ensure!(
        refused == Some(Code::from(Errno::ECONNREFUSED)),
        "{refused:?}"
    );
    Ok(())
}

pub(crate) fn ten_classes_keep_each_its_schedule_whoever_comes_between() -> Result<()> {
    const CLASSES: usize = 10;
    let connects = if is_long() { 20_000 } else { 2_000 };
    let (bed, _server, backends) = bed_of(4)?;
    let mut rng = Rng::with_seed(tier::seed()?);
    let clients = (0..=CLASSES)
        .map(|number| bed.node.pod(format!("client-{number}")).start())
        .collect::<Result<Vec<_>>>()?;
    let weights: Vec<Vec<u32>> = (0..=CLASSES)
        .map(|_| (0..backends.len()).map(|_| rng.u32(1..12)).collect())
        .collect();
    // The last client is in none of them.
    let classes = (0..CLASSES).map(|number| {
        let weights = weights[number].iter().enumerate();
        let weights: BTreeMap<String, u32> = weights
            .map(|(i, weight)| (format!("v{i}"), *weight))
            .collect();
        let team = json!({"pods": {"matchLabels": {"team": format!("t{number}")}}});
        json!({"name": format!("c{number}"), "from": [team], "weights": weights})
    });
    let callers = json!({"callers": classes.collect::<Vec<_>>()});
    let mut told = Told::start(&bed)?;
    told.apply(&objects(&backends))?;
    let pods = clients.iter().enumerate();
    let pods: Vec<Value> = pods
        .map(|(i, pod)| object(pod, &json!({"team": format!("t{i}")}), false))
        .collect();
    told.apply(&pods)?;
    find_pods(&mut told, &bed)?;
    told.apply(&[split(&weights[CLASSES], &callers)])?;

    let target = Target::tcp(at(SERVICE, PORT)?);
    let mut counts = vec![vec![0_u64; backends.len()]; clients.len()];
    for _ in 0..connects {
        let class = rng.usize(..clients.len());
        let name = clients[class].connect(target)?.name;
        let version = backends
            .iter()
            .position(|address| name.starts_with(&format!("{address}:")));
        counts[class][version.with_context(|| name.clone())?] += 1;
        let sum: u64 = weights[class].iter().copied().map(u64::from).sum();
        let total: u64 = counts[class].iter().sum();
        for (count, weight) in counts[class].iter().zip(&weights[class]) {
            let apart = (count * sum).abs_diff(total * u64::from(*weight));
            ensure!(
                apart <= sum,
                "class {class}: {:?} of {:?}",
                counts[class],
                weights[class]
            );
        }
    }
    let counted = told.agent.choices();
    for (class, counts) in counts.iter().enumerate() {
        let name = (class < CLASSES).then(|| format!("c{class}"));
        let own = counted.iter().filter(|choices| choices.class == name);
        let own: Vec<u64> = own.map(|choices| choices.chosen).collect();
        ensure!(
            own == *counts,
            "class {class}: counted {own:?}, connected {counts:?}"
        );
    }
    println!("{connects} connects of {} classes", clients.len());
    Ok(())
}

pub(crate) fn what_is_chosen_is_counted_whatever_becomes_of_weights_and_selection() -> Result<()> {
    const CONNECTS: u64 = 200;
    let (bed, _server, backends) = bed_of(2)?;
    let client = bed.node.pod("client").start()?;
    let mut told = Told::start(&bed)?;
    told.apply(&objects(&backends))?;
    let service = at(SERVICE, PORT)?;
    let connect = || client.load(&Load::on([service]).times(CONNECTS).threads(2));
    let counted = |told: &Told| -> Vec<u64> {
        let choices = told.agent.choices().into_iter();
        choices.map(|choices| choices.chosen).collect()
    };
    connect()?;
    ensure!(counted(&told).is_empty(), "a plain Service is not counted");
    let mut expected = vec![0, 0];
    let steps = [
        ([9, 1], "Sequence"),
        ([1, 1], "Sequence"),
        ([0, 1], "Sequence"),
        ([3, 1], "Random"),
        ([1, 3], "Random"),
        ([1, 1], "Sticky"),
    ];
    for (weights, selection) in steps {
        told.apply(&[split(&weights, &json!({"selection": selection}))])?;
        let report = connect()?;
        ensure!(report.failures.is_empty(), "{:?}", report.failures);
        for (sum, address) in expected.iter_mut().zip(&backends) {
            *sum += report.of(&format!("{address}:{PORT}"));
        }
        let found = counted(&told);
        ensure!(
            found == expected,
            "{weights:?} {selection}: counted {found:?}, connected {expected:?}"
        );
    }
    // What is refused was chosen too.
    let rejecting = json!({"whenUnavailable": "Reject"});
    told.apply(&[split(&[1, 4], &rejecting), nobody("v1")])?;
    let report = client.load(&Load::on([service]).times(1_000).threads(2))?;
    let refused = Code::from(Errno::ECONNREFUSED);
    let all_refused = report
        .failures
        .iter()
        .all(|failure| failure.code == refused);
    ensure!(all_refused, "{:?}", report.failures.first());
    println!("{} of 1,000 connects were refused", report.failures.len());
    ensure!(report.failures.len().abs_diff(800) <= 1);
    let found = counted(&told);
    ensure!(
        found == [expected[0] + 200, expected[1] + 800],
        "counted {found:?} after {expected:?}"
    );
    Ok(())
}

pub(crate) fn every_pod_of_a_version_has_its_turn_within_one() -> Result<()> {
    const PODS: usize = 3;
    let (bed, _server, backends) = bed_of(4 * PODS)?;
    let client = bed.node.pod("client").start()?;
    let mut rng = Rng::with_seed(tier::seed()?);
    let mut told = Told::start(&bed)?;
    let versions: Vec<&[String]> = backends.chunks(PODS).collect();
    let mut all = objects(&vec![String::new(); versions.len()]);
    for object in &mut all {
        let version = object["metadata"]["name"]
            .as_str()
            .and_then(|name| name.strip_prefix('v'));
        if let (Some(version), Some(endpoints)) = (version, object.get("endpoints")) {
            ensure!(endpoints.is_array());
            let pods = versions[version.parse::<usize>()?].iter();
            object["endpoints"] = pods.map(|pod| json!({"addresses": [pod]})).collect();
        }
    }
    told.apply(&all)?;
    for _ in 0..if is_long() { 50 } else { 10 } {
        let weights: Vec<u32> = versions.iter().map(|_| rng.u32(1..30)).collect();
        told.apply(&[split(&weights, &json!({}))])?;
        let load = Load::on([at(SERVICE, PORT)?]).times(if is_long() { 10_000 } else { 500 });
        let report = client.load(&load.in_order())?;
        ensure!(report.failures.is_empty(), "{:?}", report.failures);
        let mut counts = vec![0_u64; backends.len()];
        let sum: u64 = weights.iter().copied().map(u64::from).sum();
        for (total, name) in (1_u64..).zip(&report.order) {
            let pod = backends
                .iter()
                .position(|pod| name.starts_with(&format!("{pod}:")));
            counts[pod.with_context(|| name.clone())?] += 1;
            for (pods, weight) in counts.chunks(PODS).zip(&weights) {
                let apart = (pods.iter().sum::<u64>() * sum).abs_diff(total * u64::from(*weight));
                ensure!(
                    apart <= sum,
                    "after {total} connects: {counts:?} of {weights:?}"
                );
                let (most, least) = (pods.iter().max(), pods.iter().min());
                ensure!(most <= least.map(|least| least + 1).as_ref(), "{counts:?}");
            }
        }
    }
    Ok(())
}
