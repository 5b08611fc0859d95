//! Versions by `pods`: the headless Services that the operator keeps, and what connects make of them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluice_kind_tests::echo;
use sluice_kind_tests::shop::{CHECKOUT, condition, programmed};
use sluice_testbed::cluster::{Access, Pod, TESTBED, shipped};
use sluice_testbed::load::Load;
use sluice_testbed::tier::eventually;

use crate::bed::{PATIENCE, quiet};

const NAMESPACE: &str = "grouped";
const CONNECTS: u64 = 400;

pub(crate) fn a_version_by_pods_follows_labels_and_goes_with_its_split() -> Result<()> {
    let bed = quiet()?;
    let shop = Pods::open(&bed)?;
    let node = bed.nodes()?.swap_remove(0);
    let client = echo::client(&bed, NAMESPACE, "client", &node)?;

    // Nobody is refused while the groups are being made.
    let running = client.start_load(&Load::on(shop.addresses.clone()).until_stopped())?;
    shop.split(&json!([
        version("stable", "v1", 3),
        version("canary", "v2", 1)
    ]))?;
    shop.ready("stable", 2)?;
    shop.ready("canary", 1)?;
    programmed(&bed, NAMESPACE, CHECKOUT)?;
    let report = running.stop()?;
    ensure!(report.failures.is_empty(), "{report}");
    shop.await_shares(&client, "v2", CONNECTS / 4)?;
    let groups = shop.groups()?;
    ensure!(groups.len() == 2, "{groups:?}");

    // Other labels, and the weight of all: every connect goes to the other version's pods.
    shop.split(&json!([
        version("stable", "v1", 0),
        version("canary", "v1", 1)
    ]))?;
    shop.ready("canary", 2)?;
    shop.await_shares(&client, "v1", CONNECTS)?;
    ensure!(shop.groups()? == groups, "names are kept");

    // The Service's own selector counts too.
    let patch = json!({"spec": {"selector": {"version": "v2"}}}).to_string();
    let there = ["--namespace", NAMESPACE];
    bed.kubectl(
        [
            &["patch", "service", CHECKOUT, "--patch", &patch][..],
            &there,
        ]
        .concat(),
    )?;
    shop.says("stable", "NoPodsSelected")?;
    shop.await_groups(0)?;
    let patch = json!({"spec": {"selector": {"version": null}}}).to_string();
    bed.kubectl(
        [
            &["patch", "service", CHECKOUT, "--patch", &patch][..],
            &there,
        ]
        .concat(),
    )?;
    shop.await_groups(2)?;
    shop.ready("canary", 2)?;

    shop.split(&json!([version("stable", "v1", 1)]))?;
    shop.await_groups(1)?;
    let gone: BTreeSet<_> = groups.difference(&shop.groups()?).cloned().collect();
    let canary = gone.first().context("one is gone")?;
    ensure!(gone.len() == 1 && canary.contains("-canary-"), "{gone:?}");
    a_foreign_service_is_left_alone(&shop, canary)?;

    bed.kubectl([&["delete", "trafficsplit", CHECKOUT][..], &there].concat())?;
    shop.await_groups(0)
}

/// Somebody has a Service of the group's name.
fn a_foreign_service_is_left_alone(shop: &Pods<'_>, name: &str) -> Result<()> {
    let theirs = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"clusterIP": "None", "selector": {"app": "theirs"}, "ports": [{"port": 1}]},
    });
    shop.access.apply(&theirs.to_string())?;
    let service = ["service", name, "--namespace", NAMESPACE];
    let before = shop.access.client().get(service)?;
    shop.split(&json!([
        version("stable", "v1", 1),
        version("canary", "v2", 1)
    ]))?;
    shop.says("canary", "ServiceLeftAlone")?;
    programmed(shop.access, NAMESPACE, CHECKOUT)?;
    let after = shop.access.client().get(service)?;
    ensure!(after == before, "{after:#}");
    Ok(())
}

pub(crate) fn the_operator_writes_no_service_but_those_of_groups() -> Result<()> {
    let bed = quiet()?;
    let account = format!(
        "--as=system:serviceaccount:{}:sluice-operator",
        shipped::NAMESPACE
    );
    let service = |labels: Value, address: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "guarded", "namespace": "default", "labels": labels},
            "spec": {"clusterIP": address, "ports": [{"port": 80}]},
        })
    };
    let apply = |service: &Value| {
        let apply = [
            "apply",
            "--server-side",
            "--dry-run=server",
            "--filename",
            "-",
        ];
        let args = [&apply[..], &["--field-manager=guarded", &account]].concat();
        bed.client().run_with(&service.to_string(), args)
    };
    let label = || json!({"sluice.dev/policy": "guarded"});
    apply(&service(label(), "None")).context("as for a group")?;
    for (what, service) in [
        ("no label", service(json!({}), "None")),
        ("a cluster IP", service(label(), "")),
    ] {
        let refusal = apply(&service).err().context(what)?;
        let text = format!("{refusal:#}");
        ensure!(
            text.contains("the operator makes headless Services"),
            "{what}: {text}"
        );
    }
    let delete = ["delete", "service", "kubernetes", "--dry-run=server"];
    let refusal = bed.kubectl([&delete[..], &["--namespace", "default", &account]].concat());
    let text = format!("{:#}", refusal.err().context("a foreign Service")?);
    ensure!(
        text.contains("only Services that a TrafficSplit owns"),
        "{text}"
    );
    Ok(())
}

/// One Service over pods of two versions.
struct Pods<'a> {
    access: &'a Access,
    addresses: Vec<SocketAddr>,
}

impl<'a> Pods<'a> {
    fn open(access: &'a Access) -> Result<Self> {
        access.namespace(NAMESPACE)?;
        let items = [deployment("v1", 2), deployment("v2", 1), service()];
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        access.apply(&list.to_string())?;
        for version in ["v1", "v2"] {
            let workload = format!("deployment/{CHECKOUT}-{version}");
            access.rolled_out(NAMESPACE, &workload, PATIENCE)?;
        }
        let service = ["service", CHECKOUT, "--namespace", NAMESPACE];
        let service = access.client().get(service)?;
        let addresses = service["spec"]["clusterIPs"].as_array();
        let addresses = addresses.context("it has addresses")?.iter();
        let addresses = addresses.map(|address| {
            let address: IpAddr = address.as_str().context("an address")?.parse()?;
            Ok(SocketAddr::new(address, echo::PORT))
        });
        Ok(Self {
            access,
            addresses: addresses.collect::<Result<_>>()?,
        })
    }

    fn split(&self, versions: &Value) -> Result<()> {
        let split = json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
            "metadata": {"name": CHECKOUT, "namespace": NAMESPACE},
            "spec": {"service": CHECKOUT, "versions": versions},
        });
        self.access.apply(&split.to_string())
    }

    /// The names of the split's groups; each has an owner.
    fn groups(&self) -> Result<BTreeSet<String>> {
        let label = format!("sluice.dev/policy={CHECKOUT}");
        let list = ["services", "--namespace", NAMESPACE, "--selector", &label];
        let list = self.access.client().get(list)?;
        let groups = list["items"].as_array().context("a list has items")?.iter();
        let groups = groups.map(|group| {
            let meta = &group["metadata"];
            let owner = &meta["ownerReferences"][0];
            ensure!(
                owner["kind"] == "TrafficSplit" && owner["name"] == CHECKOUT,
                "{group:#}"
            );
            Ok(meta["name"].as_str().context("a name")?.to_owned())
        });
        groups.collect()
    }

    fn await_groups(&self, count: usize) -> Result<()> {
        eventually(PATIENCE, "so many groups", || {
            let groups = self.groups()?;
            ensure!(groups.len() == count, "{groups:?} are not {count}");
            Ok(())
        })
    }

    /// Waits until connects have this share: no status says when agents have heard of new endpoints.
    fn await_shares(&self, client: &Pod, version: &str, share: u64) -> Result<()> {
        for address in &self.addresses {
            eventually(PATIENCE, "connects have their shares", || {
                let report = client.load(&Load::on([*address]).times(CONNECTS))?;
                ensure!(report.failures.is_empty(), "{report}");
                let got = report.of_version(version);
                ensure!(
                    got.abs_diff(share) <= 1,
                    "{address}: {got} are not {share}: {report}"
                );
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Waits until the status counts so many ready endpoints of a version.
    fn ready(&self, version: &str, count: u64) -> Result<()> {
        self.await_split("endpoints are ready", |split| {
            let versions = split["status"]["versions"].as_array();
            let mut versions = versions.into_iter().flatten();
            versions.any(|status| status["name"] == version && status["ready"] == count)
        })
    }

    /// Waits until the split says what is wrong with a version.
    fn says(&self, version: &str, reason: &str) -> Result<()> {
        self.await_split("it is said what is wrong", |split| {
            let resolved = condition(split, "ResolvedRefs");
            let versions = split["spec"]["versions"].as_array();
            let mut versions = versions.into_iter().flatten();
            let place = versions.position(|spec| spec["name"] == version);
            let field = place.map(|place| format!("spec.versions[{place}].pods: "));
            resolved.is_some_and(|resolved| {
                let message = resolved["message"].as_str().unwrap_or_default();
                resolved["reason"] == reason
                    && field.is_some_and(|field| message.starts_with(&field))
            })
        })
    }

    fn await_split(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Result<()> {
        eventually(PATIENCE, what, || {
            let split = ["trafficsplit", CHECKOUT, "--namespace", NAMESPACE];
            let split = self.access.client().get(split)?;
            ensure!(holds(&split), "{split:#}");
            Ok(())
        })
    }
}

fn version(name: &str, label: &str, weight: u32) -> Value {
    json!({"name": name, "pods": {"matchLabels": {"version": label}}, "weight": weight})
}

fn deployment(version: &str, replicas: u32) -> Value {
    let labels = json!({"app": CHECKOUT, "version": version});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": format!("{CHECKOUT}-{version}"), "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "echo", "image": TESTBED, "imagePullPolicy": "Never",
                        "args": ["serve", "--version", version, "--port", "8080"],
                        "ports": [{"name": "web", "containerPort": 8080}],
                        "readinessProbe": {"tcpSocket": {"port": "web"}, "periodSeconds": 1},
                    }],
                },
            },
        },
    })
}

/// Its port is found by the name of the container's.
fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": CHECKOUT, "namespace": NAMESPACE},
        "spec": {
            "selector": {"app": CHECKOUT}, "ipFamilyPolicy": "RequireDualStack",
            "ports": [{"name": "http", "port": echo::PORT, "targetPort": "web"}],
        },
    })
}
