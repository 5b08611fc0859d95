//! What befalls the API server, its store and the way to it, while a process of the node connects to a Service that nobody
//! touches: not one connect fails, the agent notices what it cannot hear, and hears it again.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, ensure};
use kube::CustomResourceExt as _;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sluice_crds::TrafficSplit;
use sluice_testbed::cluster::{self, Cluster, Node};
use sluice_testbed::http;
use sluice_testbed::load::Load;
use sluice_testbed::process::Process;
use sluice_testbed::tier::eventually;

use crate::bed::{Bed, PATIENCE, SERVER, alone};

const NAMESPACE: &str = "befallen";
const RATE: f64 = 100.0;
/// Longer than a watch may be silent, and longer than any pause between tries.
const LONG: Duration = Duration::from_secs(120);
const ETCD: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2379);

pub(crate) fn an_api_server_that_is_frozen_is_noticed_and_heard_again() -> Result<()> {
    let (bed, _alone) = alone()?;
    let api_server = &bed.cluster.control_plane().api_server;
    undisturbed(&bed, "the API server is frozen", || {
        api_server.freeze()?;
        let noticed = until_behind(&bed);
        api_server.thaw()?;
        println!("frozen: noticed after {:.1} s", noticed?.as_secs_f64());
        println!("thawed: heard after {:.1} s", until_heard(&bed)?);
        Ok(())
    })
}

pub(crate) fn an_api_server_that_is_killed_is_heard_again() -> Result<()> {
    let (bed, _alone) = alone()?;
    let api_server = &bed.cluster.control_plane().api_server;
    undisturbed(&bed, "the API server is killed", || {
        api_server.kill()?;
        let noticed = until_behind(&bed);
        api_server.restart()?;
        println!("killed: noticed after {:.1} s", noticed?.as_secs_f64());
        bed.cluster.answers(PATIENCE)?;
        println!("ready again: heard after {:.1} s", until_heard(&bed)?);
        Ok(())
    })
}

/// No reset and no error tells of it: the packets vanish.
pub(crate) fn a_silent_watch_is_noticed_and_replaced() -> Result<()> {
    let (bed, _alone) = alone()?;
    undisturbed(&bed, "a watch is silent", || {
        let cut = bed.cluster.cut(node(&bed))?;
        let noticed = until_behind(&bed)?;
        drop(cut);
        println!("cut: noticed after {:.1} s", noticed.as_secs_f64());
        println!("mended: heard after {:.1} s", until_heard(&bed)?);
        Ok(())
    })
}

pub(crate) fn an_etcd_that_is_killed_is_got_over() -> Result<()> {
    let (bed, _alone) = alone()?;
    let etcd = &bed.cluster.control_plane().etcd;
    undisturbed(&bed, "etcd is killed", || {
        etcd.kill()?;
        ensure!(
            bed.cluster
                .kubectl(["get", "--raw", "/readyz", "--request-timeout=5s"])
                .is_err(),
            "nobody misses etcd"
        );
        etcd.restart()?;
        bed.cluster.answers(PATIENCE)?;
        println!("etcd runs again: heard after {:.1} s", until_heard(&bed)?);
        Ok(())
    })
}

/// While the agent stands still a Service goes, the store forgets the time before, and the API server starts without a
/// memory of it: where the agent left off nobody can go on.
pub(crate) fn a_version_that_is_too_old_is_listed_anew() -> Result<()> {
    let (bed, _alone) = alone()?;
    let cluster = &bed.cluster;
    let agent = &bed.agents[0];
    undisturbed(&bed, "a version is too old", || {
        let goes = Plain::apply(cluster, NAMESPACE, "goes", "192.0.2.77", 8080)?;
        bed.await_image_of(node(&bed), "what is to go", |image| image.contains(&goes))?;
        let relists = || Ok::<_, Error>(agent.output()?.matches("lists anew").count());
        let before = relists()?;
        agent.signal(Signal::SIGSTOP)?;
        let forgotten = (|| {
            let of = ["--namespace", NAMESPACE];
            cluster.kubectl([&["delete", "service", "goes"][..], &of].concat())?;
            cluster.kubectl([&["delete", "endpointslice", "goes-1"][..], &of].concat())?;
            compact(cluster)?;
            cluster.control_plane().api_server.restart()?;
            cluster.answers(PATIENCE)
        })();
        agent.signal(Signal::SIGCONT)?;
        forgotten?;
        println!("too old: heard after {:.1} s", until_heard(&bed)?);
        bed.await_image_of(node(&bed), "what went is gone", |image| {
            !image.contains(&goes)
        })?;
        let relists = relists()? - before;
        ensure!(relists > 0, "no version was too old");
        println!("{relists} kinds were listed anew");
        Ok(())
    })
}

pub(crate) fn a_kind_that_is_removed_takes_its_splits_and_brings_them_back() -> Result<()> {
    let (bed, _alone) = alone()?;
    let cluster = &bed.cluster;
    let crd = TrafficSplit::crd();
    let split = json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
        "metadata": {"name": "halves", "namespace": NAMESPACE},
        "spec": {"service": "whole", "versions": [
            {"name": "half", "service": "half", "weight": 1},
        ]},
    });
    undisturbed(&bed, "the CRD is removed", || {
        Plain::apply(cluster, NAMESPACE, "whole", "192.0.2.1", 8080)?;
        Plain::apply(cluster, NAMESPACE, "half", "192.0.2.2", 8080)?;
        let splits = |expected: usize| {
            eventually(LONG, "the splits in force", || {
                let status = bed.status(node(&bed))?;
                let splits = status["splits"].as_array().context("splits")?;
                ensure!(splits.len() == expected, "{status}");
                ensure!(
                    status["ready"] == true && status["lagging"] == json!([]),
                    "{status}"
                );
                Ok(())
            })
        };
        cluster.apply(&split.to_string())?;
        splits(1)?;
        cluster.kubectl(["delete", "crd", "trafficsplits.sluice.dev"])?;
        splits(0)?;
        cluster.apply(&serde_json::to_string(&crd)?)?;
        cluster.kubectl([
            "wait",
            "--for=condition=Established",
            "crd/trafficsplits.sluice.dev",
        ])?;
        eventually(PATIENCE, "the kind takes objects", || {
            cluster.apply(&split.to_string())
        })?;
        splits(1)
    })
}

/// Lets something happen while a process of the node connects all the time.
fn undisturbed(bed: &Bed, what: &str, happen: impl FnOnce() -> Result<()>) -> Result<()> {
    let node = node(bed);
    let calm = Calm::set_up(bed, node)?;
    let load = Load::on([calm.address])
        .until_stopped()
        .rate(RATE)
        .threads(2);
    let load = calm.client.start_load(&load)?;
    let outcome = happen();
    let report = load.stop()?;
    outcome?;
    ensure!(
        report.failures.is_empty() && report.tries > 0,
        "{what}: {report}"
    );
    println!(
        "{what}: {} connects in {:.0} s, none failed",
        report.tries,
        report.elapsed.as_secs_f64()
    );
    bed.cluster.check()
}

/// A Service that nobody touches, a server behind it, and who connects.
struct Calm {
    address: SocketAddr,
    client: cluster::Pod,
    _server: Process,
}

impl Calm {
    const PORT: u16 = 7;

    /// The endpoints are written by hand, so that no controller finds them unready when the node is away for long.
    fn set_up(bed: &Bed, node: &Node) -> Result<Self> {
        bed.cluster.namespace(NAMESPACE)?;
        let server = node
            .command("steady", std::env::current_exe()?)?
            .args([
                SERVER,
                "--name",
                "steady",
                "--port",
                &Self::PORT.to_string(),
            ])
            .spawn()?;
        let own = node.member().address4().to_string();
        let backend = Plain::apply(&bed.cluster, NAMESPACE, "steady", &own, Self::PORT)?;
        let service = ["service", "steady", "--namespace", NAMESPACE];
        let service = bed.cluster.client().get(service)?;
        let ip = service["spec"]["clusterIP"]
            .as_str()
            .context("an address")?;
        let address = SocketAddr::new(ip.parse()?, Self::PORT);
        bed.await_image_of(node, "the steady Service", |image| image.contains(&backend))?;
        let client = node.client("caller")?;
        eventually(PATIENCE, "the steady server answers", || {
            let report = client.load(&Load::on([address]).times(3))?;
            ensure!(report.failures.is_empty(), "{report}");
            Ok(())
        })?;
        Ok(Self {
            address,
            client,
            _server: server,
        })
    }
}

/// A Service with one endpoint that is written by hand.
pub(crate) struct Plain;

impl Plain {
    /// Gives the endpoint as images show it.
    pub(crate) fn apply(
        cluster: &Cluster,
        namespace: &str,
        name: &str,
        ip: &str,
        port: u16,
    ) -> Result<String> {
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"namespace": namespace, "name": name},
                "spec": {"ports": [{"port": port}]},
            },
            {
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "namespace": namespace, "name": format!("{name}-1"),
                    "labels": {"kubernetes.io/service-name": name},
                },
                "addressType": "IPv4",
                "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}],
                "ports": [{"port": port}],
            },
        ]});
        cluster.apply(&objects.to_string())?;
        Ok(format!("{ip}:{port}"))
    }
}

fn node(bed: &Bed) -> &Node {
    &bed.cluster.nodes()[0]
}

/// How long it took until the agent said that no watch is up to date.
fn until_behind(bed: &Bed) -> Result<Duration> {
    let began = Instant::now();
    eventually(LONG, "every watch is known to be behind", || {
        let problems = problems(bed)?;
        ensure!(problems.len() >= 6, "{problems:?}");
        Ok(())
    })?;
    Ok(began.elapsed())
}

/// How many seconds it took until no watch was behind and a change arrived.
fn until_heard(bed: &Bed) -> Result<f64> {
    let began = Instant::now();
    let ip = format!("192.0.2.{}", fastrand::u8(1..=250));
    let changed = eventually(LONG, "a change is taken", || {
        Plain::apply(
            &bed.cluster,
            NAMESPACE,
            "changing",
            &ip,
            fastrand::u16(9_000..10_000),
        )
    })?;
    eventually(LONG, "no watch is behind", || {
        let problems = problems(bed)?;
        ensure!(problems.is_empty(), "{problems:?}");
        Ok(())
    })?;
    bed.await_image_of(node(bed), "the change", |image| image.contains(&changed))?;
    Ok(began.elapsed().as_secs_f64())
}

fn problems(bed: &Bed) -> Result<Vec<Value>> {
    let status = bed.status(node(bed))?;
    let problems = status["input"]["problems"].as_array();
    Ok(problems.context("problems")?.clone())
}

/// Has etcd forget all versions but the last.
fn compact(cluster: &Cluster) -> Result<()> {
    let range = ask_etcd(cluster, "/v3/kv/range", &json!({"key": "AA=="}))?;
    let revision = &range["header"]["revision"];
    ensure!(revision.is_string(), "{range}");
    let compaction = json!({"revision": revision, "physical": true});
    ask_etcd(cluster, "/v3/kv/compaction", &compaction).map(drop)
}

/// By its HTTP gateway.
fn ask_etcd(cluster: &Cluster, path: &str, question: &Value) -> Result<Value> {
    let answer = cluster
        .fabric()
        .netns()
        .run(|| http::post(ETCD, path, &question.to_string())?.good())?;
    Ok(serde_json::from_str(&answer)?)
}
