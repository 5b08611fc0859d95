//! What a tenant may not claim, whoever let the object in: parser and compiler alone decide.

use serde_json::{Value, json};
use sluice_crds::conditions::Reason::{self, *};
use sluice_model::{
    compile,
    key::{NodeKey, ServiceKey},
};

use crate::world::{
    World, at, balancing, balancing_key, balancing_to, grant, on, redirect, redirect_key,
};

/// A grant of everything, so that nothing is refused for want of one.
const ALL: &[&str] = &["0.0.0.0/0", "::/0"];

struct Attack {
    namespace: &'static str,
    granted: &'static [&'static str],
    ports: &'static [u16],
    frontend: Value,
    verdict: Reason,
}

fn attack(granted: &'static [&'static str], ip: &str, verdict: Reason) -> Attack {
    Attack {
        namespace: "shop",
        granted,
        ports: &[],
        frontend: at(ip, &[53]),
        verdict,
    }
}

/// With everything granted.
fn reserved() -> Vec<Attack> {
    let never = [
        // Of one host, of no host, or of many.
        "127.0.0.1",
        "127.0.0.53",
        "127.255.255.255",
        "::1",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "239.255.255.250",
        "ff02::1",
        "ff0e::1",
        "255.255.255.255",
        // Nodes.
        "172.18.0.2",
        "203.0.113.2",
        "fd00:18::2",
        "FD00:18:0:0::2",
        "fd00:0018::0002",
        // Services of others, the API server, DNS.
        "10.96.0.30",
        "fd00:96::30",
        "10.96.0.1",
        "172.20.0.9",
        "10.96.0.10",
        // Of others, and served by nobody here: by another proxy, as headless, by SCTP, by a load balancer.
        "10.96.0.31",
        "10.96.0.32",
        "10.96.0.33",
        "192.0.2.34",
        "192.0.2.35",
        "2001:db8:34::1",
    ];
    let forms = [
        // What could be read as another address than it is compared as.
        "::ffff:10.96.0.30",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "::FFFF:172.18.0.2",
        "0:0:0:0:0:ffff:10.96.0.1",
        "010.96.0.30",
        "10.96.0.030",
        "0x0a.96.0.30",
        "10.96.30",
        "10.6291486",
        "168820766",
        "10.96.0.30.",
        "10.96.0.30/32",
        "10.96.0.30:53",
        "[fd00:96::30]",
        "fe80::1%eth0",
        "::1%lo",
        "fd00:96::30%0",
        " 10.96.0.30",
        "10.96.0.30 ",
        "10.96.0.30\n",
        "10.96.0.30\0",
        "10。96。0。30",
        "１０.96.0.30",
        "10,96,0,30",
        "",
        "localhost",
        "vault.bank",
        "*",
        "10.96.0.256",
        "10.96.0.-1",
        "1::2::3",
        "12345::1",
    ];
    let never = never.map(|ip| attack(ALL, ip, AddressReserved));
    let forms = forms.map(|ip| attack(ALL, ip, Invalid));
    never.into_iter().chain(forms).collect()
}

/// With what stands beside each granted.
fn not_granted() -> Vec<Attack> {
    let of = |namespace, ports, frontend, verdict| Attack {
        namespace,
        granted: &["192.0.2.64/26"],
        ports,
        frontend,
        verdict,
    };
    vec![
        attack(&[], "192.0.2.77", AddressNotGranted),
        attack(&["192.0.2.64/26"], "192.0.2.63", AddressNotGranted),
        attack(&["192.0.2.64/26"], "192.0.2.64", Accepted),
        attack(&["192.0.2.64/26"], "192.0.2.127", Accepted),
        attack(&["192.0.2.64/26"], "192.0.2.128", AddressNotGranted),
        attack(&["192.0.2.64/26"], "2001:db8::1", AddressNotGranted),
        attack(&["2001:db8::/64"], "2001:db8::1", Accepted),
        attack(&["2001:db8::/64"], "2001:db8:0:1::1", AddressNotGranted),
        attack(&["::/0"], "192.0.2.77", AddressNotGranted),
        attack(&["0.0.0.0/0"], "2001:db8::1", AddressNotGranted),
        attack(&["169.254.0.0/16"], "169.254.169.254", Accepted),
        attack(&[], "169.254.169.254", AddressNotGranted),
        // A grant that names DNS names it alone.
        attack(&["10.96.0.10/32"], "10.96.0.10", Accepted),
        attack(&["10.96.0.8/30"], "10.96.0.10", AddressReserved),
        attack(&["10.96.0.30/32"], "10.96.0.30", AddressReserved),
        attack(&["10.96.0.1/32"], "10.96.0.1", AddressReserved),
        attack(&["172.18.0.2/32"], "172.18.0.2", AddressReserved),
        // Its own Service's addresses, and an external one that anybody can write into a Service.
        attack(&["10.96.0.20/32"], "10.96.0.20", Accepted),
        attack(&[], "10.96.0.20", AddressNotGranted),
        attack(&["192.0.2.30/32"], "192.0.2.30", Accepted),
        attack(&[], "192.0.2.30", AddressNotGranted),
        // Of others, or of no team, and ports.
        of("bank", &[], at("192.0.2.77", &[53]), AddressNotGranted),
        of("default", &[], at("192.0.2.77", &[53]), AddressNotGranted),
        of("nowhere", &[], at("192.0.2.77", &[53]), AddressNotGranted),
        of("shop", &[53], at("192.0.2.77", &[53]), Accepted),
        of("shop", &[53], at("192.0.2.77", &[54]), AddressNotGranted),
        of(
            "shop",
            &[53],
            at("192.0.2.77", &[53, 54]),
            AddressNotGranted,
        ),
        of("shop", &[53], at("192.0.2.77", &[0]), Invalid),
        of("shop", &[], at("192.0.2.77", &[]), Invalid),
        of("shop", &[], json!({}), Invalid),
        of("shop", &[], on("web"), Accepted),
        of("shop", &[], on("bank/vault"), Invalid),
        of("shop", &[], on("vault.bank"), Invalid),
        of("shop", &[], on("../bank/vault"), Invalid),
        of("default", &[], on("kubernetes"), AddressReserved),
        of("kube-system", &[], on("kube-dns"), Accepted),
    ]
}

#[test]
fn no_tenant_claims_what_is_not_theirs() {
    let mut wrong = Vec::new();
    let mut rows = 0;
    for Attack {
        namespace,
        granted,
        ports,
        frontend,
        verdict,
    } in reserved().into_iter().chain(not_granted())
    {
        let mut world = World::new();
        if !granted.is_empty() {
            world.set(grant("a", "a", granted, ports));
        }
        world.set(redirect(namespace, "r", 1, &frontend));
        world.set(balancing(namespace, "b", 1, &frontend));
        for key in [redirect_key(namespace, "r"), balancing_key(namespace, "b")] {
            rows += 1;
            let (found, message) = world.verdict(&key);
            if found != verdict {
                wrong.push(format!(
                    "{key:?} {frontend}: {found:?} {message}, not {verdict:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(rows >= 120, "{rows} rows");
}

#[test]
fn a_grant_counts_from_when_it_is_there_until_it_is_not() {
    let mut world = World::new();
    let key = redirect_key("shop", "r");
    world.set(redirect("shop", "r", 1, &at("192.0.2.77", &[53])));
    assert_eq!(world.verdict(&key).0, AddressNotGranted);
    world.set(grant("a", "a", &["192.0.2.0/24"], &[]));
    assert_eq!(world.verdict(&key).0, Accepted);
    world.set(grant("a", "b", &["192.0.2.0/24"], &[]));
    assert_eq!(world.verdict(&key).0, AddressNotGranted);
    world.set(json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "shop", "labels": {"team": "b"}},
    }));
    assert_eq!(world.verdict(&key).0, Accepted);
    // A grant that cannot be read grants nothing.
    world.set(grant("a", "b", &["192.0.2.1/24"], &[]));
    assert_eq!(world.verdict(&key).0, AddressNotGranted);
}

#[test]
fn what_becomes_a_nodes_or_a_services_is_taken_back() {
    let mut world = World::new();
    world.set(grant("a", "a", ALL, &[]));
    let key = redirect_key("shop", "r");
    world.set(redirect("shop", "r", 1, &at("10.96.0.77", &[53])));
    assert_eq!(world.verdict(&key).0, Accepted);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "new", "namespace": "bank"},
        "spec": {"clusterIP": "10.96.0.77", "ports": [{"port": 1}]},
    });
    world.set(service);
    let (reason, message) = world.verdict(&key);
    assert_eq!(reason, AddressReserved);
    assert!(message.contains("Service bank/new"), "{message}");
    let service = ServiceKey::parse("bank", "new").expect("a name");
    world.remove(service.into());
    assert_eq!(world.verdict(&key).0, Accepted);
    world.set(json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "node2"},
        "status": {"addresses": [{"type": "InternalIP", "address": "10.96.0.77"}]},
    }));
    assert_eq!(world.verdict(&key).0, AddressReserved);
}

#[test]
fn no_tenant_sends_connections_to_what_is_the_clusters_own() {
    let mut wrong = Vec::new();
    for (ip, verdict) in [
        ("198.51.100.8", Accepted),
        ("2001:db8::8", Accepted),
        // One that somebody wrote into a Service: anybody can.
        ("192.0.2.30", Accepted),
        ("172.18.0.2", AddressReserved),
        ("203.0.113.2", AddressReserved),
        ("FD00:18:0::2", AddressReserved),
        ("172.20.0.9", AddressReserved),
        ("10.96.0.1", AddressReserved),
        ("10.96.0.10", AddressReserved),
        ("10.96.0.20", AddressReserved),
        ("fd00:96::30", AddressReserved),
        ("10.96.0.33", AddressReserved),
        ("192.0.2.34", AddressReserved),
        ("127.0.0.1", AddressReserved),
        ("::1", AddressReserved),
        ("0.0.0.0", AddressReserved),
        ("224.0.0.1", AddressReserved),
        ("169.254.169.254", AddressReserved),
        ("fe80::1", AddressReserved),
        ("100.100.100.200", AddressReserved),
        ("168.63.129.16", AddressReserved),
        ("fd00:ec2::254", AddressReserved),
        ("FD00:0EC2::0254", AddressReserved),
        ("::ffff:169.254.169.254", Invalid),
        ("localhost", Invalid),
    ] {
        let mut world = World::new();
        world.set(balancing_to("shop", "b", ip));
        let (found, message) = world.verdict(&balancing_key("shop", "b"));
        if found != verdict {
            wrong.push(format!("{ip}: {found:?} {message}, not {verdict:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_backend_that_becomes_a_nodes_is_refused_and_keeps_nobody_from_the_frontend() {
    let mut world = World::new();
    let (first, second) = (
        balancing_key("shop", "first"),
        balancing_key("shop", "second"),
    );
    world.set(balancing_to("shop", "first", "198.51.100.9"));
    world.set(balancing("shop", "second", 2, &on("web")));
    assert_eq!(world.verdict(&first).0, Accepted);
    assert_eq!(world.verdict(&second).0, Conflicted);
    world.set(json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "node2"},
        "status": {"addresses": [{"type": "InternalIP", "address": "198.51.100.9"}]},
    }));
    let (reason, message) = world.verdict(&first);
    assert_eq!(reason, AddressReserved);
    assert!(
        message.contains("spec.backends[0].addresses[1].ip"),
        "{message}"
    );
    assert_eq!(world.verdict(&second).0, Accepted);
    world.remove(NodeKey::parse("", "node2").expect("a name").into());
    assert_eq!(world.verdict(&first).0, Accepted);
    assert_eq!(world.verdict(&second).0, Conflicted);
}

#[test]
fn very_many_rivals_are_judged_one_by_one_and_not_pair_by_pair() {
    let mut world = World::new();
    for number in 0..20_000 {
        let name = format!("r{number}");
        world.set(redirect("shop", &name, 1, &at("192.0.2.77", &[53])));
    }
    let (first, last) = (redirect_key("shop", "r0"), redirect_key("shop", "r9999"));
    assert_eq!(world.verdict(&last).0, AddressNotGranted);
    world.set(grant("a", "a", &["192.0.2.0/24"], &[]));
    assert_eq!(world.verdict(&first).0, Accepted);
    assert_eq!(world.verdict(&last).0, Conflicted);
}

#[test]
fn a_service_with_very_many_ports_and_addresses_holds_nobody_up() {
    let mut world = World::new();
    // What the API server stores of it is half a megabyte; each port at each address would be 200 million.
    let addresses: Vec<_> = (0..20_000_u32)
        .map(|i| format!("198.{}.{}.{}", i >> 16, (i >> 8) & 255, i & 255))
        .collect();
    let ports: Vec<_> = (1..=10_000)
        .map(|i| json!({"name": format!("p{i}"), "port": i}))
        .collect();
    world.set(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "large", "namespace": "shop"},
        "spec": {"clusterIP": "10.96.0.88", "externalIPs": addresses, "ports": ports},
    }));
    let key = ServiceKey::parse("shop", "large").expect("a name");
    let snapshot = world.index.snapshot().expect("nothing is awaited");
    let compiled = compile::service(snapshot, &key)
        .service
        .expect("it has ports");
    let frontends = compiled.ports.iter().map(|port| port.frontends.len());
    // The cluster address and as many others as there is room for.
    assert_eq!(frontends.sum::<usize>(), 10_000 * 6);
    let findings = world.index.findings_of(&key.into());
    assert!(
        findings
            .iter()
            .any(|finding| finding.reason == CapacityExceeded),
        "{findings:?}"
    );
}
