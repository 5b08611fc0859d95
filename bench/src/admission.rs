//! P7: how long the webhook takes for a review, on one processor at a fixed rate, and what it adds to a write through
//! the API server.
//!
//! The webhook is a process on a light node; the API server asks it there by its address. Writes are dry runs, which
//! go the whole way but into the store. Those that the webhook is not asked about go to a namespace that opted out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};
use sluice_testbed::cluster::Api;
use sluice_testbed::fabric::Fabric;
use sluice_testbed::node::Node;
use sluice_testbed::process::Process;
use sluice_testbed::tier::eventually;

use crate::caller::Caller;
use crate::footprint::resident;
use crate::progress::tell;
use crate::stage::{CRDS, rest};

pub(crate) use reviews::Latencies;
use reviews::Reviewer;

mod reviews;

const CONFIGURATIONS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../config/webhook/configurations.yaml"
);
const ASKED: &str = "asked";
const NOT_ASKED: &str = "not-asked";
/// The webhook's one processor; this program stays on the last.
const PROCESSOR: &str = "0";
const PORT: u16 = 9443;
const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9877);
/// What it counts of its answers.
const JUDGED: &str = "sluice_webhook_requests_total{";
const VALIDATE: &str = "review=\"validate\"";
/// Where kubectl lets requests in, in the control plane's namespace.
const PROXY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8001);
const PATIENCE: Duration = Duration::from_secs(60);
/// Reviews in a second.
pub(crate) const RATE: u32 = 1_000;

struct Form {
    /// Parts of the load; memory is looked at after each.
    parts: u32,
    seconds: u32,
    writes: u32,
}

const FULL: Form = Form {
    parts: 8,
    seconds: 5,
    writes: 400,
};

const QUICK: Form = Form {
    parts: 4,
    seconds: 3,
    writes: 100,
};

#[derive(Debug, Serialize)]
pub(crate) struct Found {
    /// Of the reviews of each part.
    pub(crate) reviews: Vec<Latencies>,
    /// MiB resident after each part.
    pub(crate) memory: Vec<f64>,
    /// Milliseconds of writes that the webhook was asked about, and of others, which took turns.
    pub(crate) asked: Vec<f64>,
    pub(crate) not_asked: Vec<f64>,
}

pub(crate) fn run(webhook: &Path, quick: bool) -> Result<Found> {
    let form = if quick { QUICK } else { FULL };
    tell("admission: reviews by the webhook");
    let fabric = Fabric::start()?;
    let node = fabric.node("webhook")?;
    let api = Api::start(&fabric)?;
    let access = api.access();
    access.kubectl(["apply", "--server-side", "--kustomize", CRDS])?;
    for (name, excluded) in [(ASKED, "false"), (NOT_ASKED, "true")] {
        let labels = json!({ "sluice.dev/break-glass": excluded });
        let metadata = json!({ "name": name, "labels": labels });
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
        access.apply(&namespace.to_string())?;
    }
    let process = start(&api, &node, webhook)?;
    rest()?;

    let mut found = Found {
        reviews: Vec::new(),
        memory: Vec::new(),
        asked: Vec::new(),
        not_asked: Vec::new(),
    };
    let at = SocketAddr::new(node.member().address4().into(), PORT);
    let reviewer = Reviewer::new(&api.authority()?, at)?;
    let count = RATE * form.seconds;
    for _ in 0..form.parts {
        let part = fabric.netns().run(|| reviewer.review(RATE, count))?;
        found.reviews.push(part);
        found.memory.push(resident(process.pid())?);
    }
    write(&fabric, &api, &node, form.writes, &mut found)?;
    tell("admission: measured");
    Ok(found)
}

/// The webhook on one processor, and ready.
fn start(api: &Api, node: &Node, webhook: &Path) -> Result<Process> {
    let certificates = api.serving("webhook", node.member().address4().into())?;
    let command = node.command("webhook", "taskset")?;
    let mut process = command
        .args(["--cpu-list", PROCESSOR])
        .arg(webhook)
        .args(["--log-format", "json", "--kubeconfig"])
        .arg(api.kubeconfig())
        .arg("--cert-dir")
        .arg(certificates)
        .spawn()?;
    eventually(PATIENCE, "a webhook that is ready", || {
        ensure!(process.is_running()?, "it has ended: {}", process.output()?);
        Caller::open(node.netns(), ADMIN)?.call("GET", "/readyz", "text/plain", String::new())
    })?;
    Ok(process)
}

/// Writes through the API server, in turns asked about and not.
fn write(fabric: &Fabric, api: &Api, node: &Node, writes: u32, found: &mut Found) -> Result<()> {
    configure(api, node.member().address4().into())?;
    let proxy = api
        .run()
        .command("kubectl-proxy", api.tools().path("kubectl"));
    let _proxy = proxy
        .netns(fabric.netns())?
        .env("KUBECONFIG", api.kubeconfig())
        .args(["proxy", &format!("--port={}", PROXY.port())])
        .spawn()?;
    let mut caller = eventually(PATIENCE, "kubectl proxy listens", || {
        Caller::open(fabric.netns(), PROXY)
    })?;
    let mut admin = Caller::open(node.netns(), ADMIN)?;
    let before = judged(&mut admin)?;
    // The API server takes a moment to learn whom to ask.
    eventually(PATIENCE, "the API server asks the webhook", || {
        create(&mut caller, ASKED)?;
        ensure!(judged(&mut admin)? > before, "it does not");
        Ok(())
    })?;
    let before = judged(&mut admin)?;
    for _ in 0..writes {
        for (namespace, times) in [(ASKED, &mut found.asked), (NOT_ASKED, &mut found.not_asked)] {
            let began = Instant::now();
            create(&mut caller, namespace)?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    let judged = judged(&mut admin)? - before;
    ensure!(
        judged == u64::from(writes),
        "the webhook judged {judged} of {writes} writes"
    );
    Ok(())
}

/// How many objects the webhook has judged.
fn judged(admin: &mut Caller) -> Result<u64> {
    let metrics = admin.call("GET", "/metrics", "text/plain", String::new())?;
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with(JUDGED) && line.contains(VALIDATE));
    let counts = lines.map(|line| {
        let (_, count) = line.rsplit_once(' ').context("a line without a number")?;
        Ok(count.parse::<u64>()?)
    });
    counts.sum()
}

fn create(caller: &mut Caller, namespace: &str) -> Result<()> {
    let path = format!("/apis/sluice.dev/v1alpha1/namespaces/{namespace}/trafficsplits?dryRun=All");
    let body = split("checkout").to_string();
    caller
        .call("POST", &path, "application/json", body)
        .map(drop)
}

/// The shipped configurations, but with the webhook's address in place of its Service.
fn configure(api: &Api, address: IpAddr) -> Result<()> {
    let words = ["create", "--dry-run=client", "--output=json", "--filename"];
    let texts = api
        .access()
        .kubectl([&words[..], &[CONFIGURATIONS]].concat())?;
    let authority = STANDARD.encode(api.authority()?);
    for object in serde_json::Deserializer::from_str(&texts).into_iter::<Value>() {
        let mut object = object?;
        let hooks = object["webhooks"].as_array_mut().context("no webhooks")?;
        for hook in hooks {
            let client = &mut hook["clientConfig"];
            let path = client["service"]["path"].as_str().context("no path")?;
            let url = format!("https://{}{path}", SocketAddr::new(address, PORT));
            *client = json!({ "url": url, "caBundle": authority });
        }
        api.access().apply(&object.to_string())?;
    }
    Ok(())
}

/// An ordinary one: two versions, weights, and nothing that is refused.
fn split(name: &str) -> Value {
    let version = |name: &str, weight: u32| json!({ "name": name, "service": format!("checkout-{name}"), "weight": weight });
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
        "metadata": { "name": name },
        "spec": {
            "service": "checkout",
            "versions": [version("v1", 90), version("v2", 10)],
        },
    })
}
