//! Of rivals the oldest has it all, then the first by name; the loser takes over when it goes.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};
use sluice_crds::conditions::Reason;
use sluice_model::{
    index::ClaimKey,
    key::{GrantKey, Subject},
};

use crate::world::{World, at, balancing, balancing_key, grant, on, redirect, redirect_key};

#[test]
fn the_older_has_it_by_service_or_by_address_and_the_loser_takes_over() {
    let mut world = World::new();
    world.set(grant("a", "a", &["10.96.0.0/24"], &[]));
    // The Service's cluster address is 10.96.0.20, and it has port 80.
    world.set(redirect("shop", "by-service", 2, &on("web")));
    world.set(redirect(
        "shop",
        "by-address",
        1,
        &at("10.96.0.20", &[80, 81]),
    ));
    world.set(redirect("shop", "beside", 3, &at("10.96.0.20", &[82])));
    let (by_service, by_address) = (
        redirect_key("shop", "by-service"),
        redirect_key("shop", "by-address"),
    );
    let (reason, message) = world.verdict(&by_service);
    assert_eq!(reason, Reason::Conflicted);
    assert!(
        message.contains("LocalRedirectPolicy shop/by-address"),
        "{message}"
    );
    assert_eq!(world.verdict(&by_address).0, Reason::Accepted);
    assert_eq!(
        world.verdict(&redirect_key("shop", "beside")).0,
        Reason::Accepted
    );
    world.remove(by_address.into());
    assert_eq!(world.verdict(&by_service).0, Reason::Accepted);
}

#[test]
fn an_address_that_a_user_wrote_into_a_service_is_taken_from_nobody() {
    let mut world = World::new();
    world.set(grant("b", "b", &["192.0.2.0/24"], &[]));
    // The shop's Service has 192.0.2.20:80 as an external address, and its policy is the older one.
    world.set(redirect("shop", "by-service", 1, &on("web")));
    world.set(redirect("bank", "granted", 2, &at("192.0.2.20", &[80])));
    for key in [
        redirect_key("shop", "by-service"),
        redirect_key("bank", "granted"),
    ] {
        assert_eq!(world.verdict(&key).0, Reason::Accepted, "{key:?}");
    }
    // Nor by being written there later.
    world.set(redirect("bank", "other", 3, &at("192.0.2.77", &[80])));
    world.set(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "clusterIPs": ["10.96.0.20"], "externalIPs": ["192.0.2.77"],
            "ports": [{"name": "main", "port": 80}],
        },
    }));
    assert_eq!(
        world.verdict(&redirect_key("bank", "other")).0,
        Reason::Accepted
    );
}

#[test]
fn across_namespaces_all_kinds_compete_and_within_one_each_with_its_own() {
    let mut world = World::new();
    world.set(grant("a", "a", &["192.0.2.0/24"], &[]));
    world.set(grant("b", "b", &["192.0.2.0/24"], &[]));
    let at = at("192.0.2.77", &[53]);
    world.set(redirect("shop", "first", 1, &at));
    world.set(balancing("bank", "other", 2, &at));
    world.set(balancing("shop", "behind", 3, &at));
    world.set(redirect("shop", "second", 4, &at));
    let (first, second) = (
        redirect_key("shop", "first"),
        redirect_key("shop", "second"),
    );
    let (other, behind) = (
        balancing_key("bank", "other"),
        balancing_key("shop", "behind"),
    );
    assert_eq!(world.verdict(&first).0, Reason::Accepted);
    assert_eq!(world.verdict(&behind).0, Reason::Accepted);
    assert_eq!(world.verdict(&second).0, Reason::Conflicted);
    let (reason, message) = world.verdict(&other);
    assert_eq!(reason, Reason::Conflicted);
    assert!(
        message.contains("LocalRedirectPolicy shop/first"),
        "{message}"
    );
    // The next oldest has it, whatever its kind.
    world.remove(first.into());
    assert_eq!(world.verdict(&other).0, Reason::Accepted);
    assert_eq!(world.verdict(&behind).0, Reason::Conflicted);
    assert_eq!(world.verdict(&second).0, Reason::Conflicted);
}

#[test]
fn whoever_lost_all_keeps_nothing_from_the_next() {
    let mut world = World::new();
    world.set(grant("a", "a", &["192.0.2.0/24"], &[]));
    world.set(redirect("shop", "first", 1, &at("192.0.2.77", &[1])));
    world.set(redirect("shop", "second", 2, &at("192.0.2.77", &[1, 2])));
    world.set(redirect("shop", "third", 3, &at("192.0.2.77", &[2])));
    let verdict = |world: &mut World, name| world.verdict(&redirect_key("shop", name)).0;
    assert_eq!(verdict(&mut world, "second"), Reason::Conflicted);
    assert_eq!(verdict(&mut world, "third"), Reason::Accepted);
    world.remove(redirect_key("shop", "first").into());
    assert_eq!(verdict(&mut world, "second"), Reason::Accepted);
    assert_eq!(verdict(&mut world, "third"), Reason::Conflicted);
}

#[derive(Clone, Debug)]
enum Step {
    Set(Value),
    Gone(Subject),
}

fn step() -> impl Strategy<Value = Step> {
    let names = select(vec!["a", "b", "c", "d"]);
    let namespaces = select(vec!["shop", "bank"]);
    let ips = select(vec!["192.0.2.20", "192.0.2.30", "192.0.2.77", "10.96.0.20"]);
    let ports = vec(select(vec![80_u16, 443, 1]), 1..3).prop_map(|mut ports| {
        ports.sort_unstable();
        ports.dedup();
        ports
    });
    let frontend = prop_oneof![
        (ips, ports).prop_map(|(ip, ports)| at(ip, &ports)),
        select(vec!["web", "vault", "missing"]).prop_map(on),
    ];
    let policy = (namespaces, names, 0..3_u32, frontend, any::<bool>()).prop_map(
        |(namespace, name, second, frontend, redirects)| {
            let make = if redirects { redirect } else { balancing };
            Step::Set(make(namespace, name, second, &frontend))
        },
    );
    let names = select(vec!["a", "b", "c", "d"]);
    let gone = (select(vec!["shop", "bank"]), names, any::<bool>()).prop_map(
        |(namespace, name, redirects)| {
            let key = if redirects {
                redirect_key
            } else {
                balancing_key
            };
            Step::Gone(key(namespace, name).into())
        },
    );
    let granting = (
        select(vec!["a", "b"]),
        select(vec!["192.0.2.0/24", "192.0.2.77/32"]),
    )
        .prop_map(|(team, range)| Step::Set(grant(team, team, &[range], &[])));
    let ungranting = select(vec!["a", "b"])
        .prop_map(|team| Step::Gone(GrantKey::parse("", team).expect("a name").into()));
    let service = (
        select(vec!["shop", "bank"]),
        select(vec!["192.0.2.20", "192.0.2.77"]),
        0..2_u8,
    )
        .prop_map(|(namespace, external, second)| {
            let (name, ip) = match namespace {
                "shop" => ("web", "10.96.0.20"),
                _ => ("vault", "10.96.0.30"),
            };
            Step::Set(json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {
                    "name": name, "namespace": namespace,
                    "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
                },
                "spec": {
                    "clusterIP": ip, "externalIPs": [external],
                    "ports": [{"name": "main", "port": 80}],
                },
            }))
        });
    prop_oneof![6 => policy, 2 => gone, 1 => granting, 1 => ungranting, 1 => service]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_judged_step_by_step_is_what_is_judged_from_nothing(
        steps in vec(vec(step(), 1..4), 1..12),
    ) {
        let mut world = World::new();
        for step in steps {
            for step in step {
                match step {
                    Step::Set(manifest) => world.set(manifest),
                    Step::Gone(subject) => world.remove(subject),
                }
            }
            world.pass();
            prop_assert_eq!(world.judgements(), &world.anew());
        }
    }

    #[test]
    fn who_wins_does_not_depend_on_who_is_told_of_first(
        steps in vec(step(), 1..12), seed in any::<u64>(),
    ) {
        let last = |steps: &[Step]| -> Vec<Value> {
            let mut kept: Vec<Value> = Vec::new();
            for step in steps {
                if let Step::Set(manifest) = step {
                    let same = |other: &Value| {
                        other["kind"] == manifest["kind"]
                            && other["metadata"]["name"] == manifest["metadata"]["name"]
                            && other["metadata"]["namespace"] == manifest["metadata"]["namespace"]
                    };
                    kept.retain(|other| !same(other));
                    kept.push(manifest.clone());
                }
            }
            kept
        };
        let mut manifests = last(&steps);
        let mut one = World::new();
        manifests.iter().for_each(|manifest| one.set(manifest.clone()));
        let length = manifests.len().max(1);
        manifests.rotate_left(usize::try_from(seed % length as u64).unwrap_or_default());
        manifests.reverse();
        let mut other = World::new();
        manifests.iter().for_each(|manifest| other.set(manifest.clone()));
        one.pass();
        other.pass();
        prop_assert_eq!(one.judgements(), other.judgements());
        let keys: Vec<ClaimKey> = one.index.snapshot().expect("all is there").claims().collect();
        let owners = keys.iter().filter(|key| one.verdict(key).0 == Reason::Accepted);
        prop_assert!(owners.count() > 0 || keys.is_empty() || all_are_refused(&mut other, &keys));
    }
}

/// Nobody loses to nobody: where none is accepted, none lost to another.
fn all_are_refused(world: &mut World, keys: &[ClaimKey]) -> bool {
    keys.iter()
        .all(|key| world.verdict(key).0 != Reason::Conflicted)
}
