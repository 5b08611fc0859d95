//! P4: an endpoint is replaced; from the write to the API server until a connect reaches the new one.
//!
//! The Service that changes has one endpoint, among all the others that do not change. The arms take turns, block by
//! block; the one that is not measured stands still, and catches up before its own block. Each change is one by
//! itself: before it an arm is left alone until it could write to the kernel at once.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Value, json};
use sluice_testbed::process::Process;
use sluice_testbed::tier::eventually;

use crate::arm::{Arm, Seat};
use crate::caller::Caller;
use crate::clock::Moment;
use crate::life::ARMS;
use crate::logged::passes;
use crate::population::{NAMESPACE, slice};
use crate::progress::tell;
use crate::server::NAMED;
use crate::stage::{Stage, rest};

const NAME: &str = "changing";
const SERVICE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 1, 1), 80);
/// Its endpoints are from here on, one after the other, and none of them twice.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 190, 0, 0);
/// Where kubectl lets requests in, in the control plane's namespace.
const PROXY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8001);
const PATIENCE: Duration = Duration::from_secs(300);
/// The agent deletes what was replaced, after a grace period of the kernel.
const AFTER_SLUICE: Duration = Duration::from_millis(100);
/// kube-proxy lets a second pass between two writes to the kernel, unless it is told otherwise.
const AFTER_KUBE_PROXY: Duration = Duration::from_millis(1_100);

/// How often it is changed: blocks, and of each arm's block the changes.
struct Form {
    blocks: u32,
    sluice: u32,
    kube_proxy: u32,
}

const FULL: Form = Form {
    blocks: 3,
    sluice: 70,
    kube_proxy: 5,
};

const QUICK: Form = Form {
    blocks: 2,
    sluice: 25,
    kube_proxy: 3,
};

#[derive(Debug, Serialize)]
pub(crate) struct Found {
    pub(crate) services: u32,
    /// Milliseconds from the write to the first connect.
    pub(crate) to_connect: BTreeMap<Arm, Vec<f64>>,
    /// Milliseconds of the agent's passes, from a watch event that was heard to the write that put it in force.
    pub(crate) inside: Vec<f64>,
    /// The same, to the last delete of what was replaced.
    pub(crate) to_the_end: Vec<f64>,
}

pub(crate) fn run(stage: &mut Stage, quick: bool) -> Result<Found> {
    let form = if quick { QUICK } else { FULL };
    let mut writer = Writer::open(stage)?;
    let mut found = Found {
        services: stage.count(),
        to_connect: BTreeMap::new(),
        inside: Vec::new(),
        to_the_end: Vec::new(),
    };
    for seat in &mut stage.seats {
        catch_up(seat, &writer)?;
    }
    for _ in 0..form.blocks {
        for arm in ARMS {
            for seat in stage.seats.iter().filter(|seat| seat.arm != arm) {
                seat.freeze()?;
            }
            let (times, pause) = match arm {
                Arm::Sluice => (form.sluice, AFTER_SLUICE),
                _ => (form.kube_proxy, AFTER_KUBE_PROXY),
            };
            let seat = stage.seat(arm)?;
            seat.thaw()?;
            catch_up(seat, &writer)?;
            rest()?;
            let logged = seat.log()?.len();
            for _ in 0..times {
                thread::sleep(pause);
                let took = change(seat, &mut writer)?;
                found.to_connect.entry(arm).or_default().push(took);
            }
            if arm == Arm::Sluice {
                let log = seat.log()?;
                for pass in passes(&log[logged..]) {
                    found.inside.push(pass.in_force.as_secs_f64() * 1e3);
                    found.to_the_end.push(pass.took.as_secs_f64() * 1e3);
                }
            }
        }
    }
    for seat in &stage.seats {
        seat.thaw()?;
    }
    tell(format!("change: measured at {} Services", found.services));
    Ok(found)
}

/// Milliseconds.
fn change(seat: &mut Seat, writer: &mut Writer) -> Result<f64> {
    let address = writer.next();
    seat.client.begin_to_await(SERVICE, address, PATIENCE)?;
    let began = Moment::now()?;
    writer.write(address)?;
    let reached = seat.client.answered()?;
    let reached = reached.with_context(|| format!("{} does not follow a change", seat.arm))?;
    Ok(reached.since(began).as_secs_f64() * 1e3)
}

/// Waits until an arm leads to the endpoint that there is now.
fn catch_up(seat: &mut Seat, writer: &Writer) -> Result<()> {
    let current = writer.current();
    seat.client.begin_to_await(SERVICE, current, PATIENCE)?;
    let reached = seat.client.answered()?;
    reached.with_context(|| format!("{} does not catch up", seat.arm))?;
    Ok(())
}

/// Writes the endpoint of the Service that changes, over one connection that stays open.
struct Writer {
    caller: Caller,
    _proxy: Process,
    written: u32,
}

impl Writer {
    /// Makes the Service with its first endpoint, or finds it as it was left.
    fn open(stage: &Stage) -> Result<Self> {
        let api = &stage.api;
        api.access().apply(&service().to_string())?;
        let proxy = api
            .run()
            .command("kubectl-proxy", api.tools().path("kubectl"));
        let proxy = proxy
            .netns(stage.netns())?
            .env("KUBECONFIG", api.kubeconfig())
            .args(["proxy", &format!("--port={}", PROXY.port())])
            .spawn()?;
        let caller = eventually(PATIENCE, "kubectl proxy listens", || {
            Caller::open(stage.netns(), PROXY)
        })?;
        let mut writer = Self {
            caller,
            _proxy: proxy,
            written: 0,
        };
        let first = writer.next();
        writer.write(first)?;
        Ok(writer)
    }

    /// An address that was not an endpoint before.
    fn next(&mut self) -> Ipv4Addr {
        self.written += 1;
        self.current()
    }

    fn current(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(FIRST.to_bits() + self.written)
    }

    fn write(&mut self, address: Ipv4Addr) -> Result<()> {
        let path = format!(
            "/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices/{NAME}?fieldManager=sluice-bench&force=true"
        );
        let body = slice(NAME, &[address], NAMED).to_string();
        self.caller
            .call("PATCH", &path, "application/apply-patch+yaml", body)
            .map(drop)
            .context("changing the endpoint")
    }
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "namespace": NAMESPACE, "name": NAME },
        "spec": {
            "clusterIP": SERVICE.ip(),
            "ports": [{ "name": "http", "port": SERVICE.port(), "targetPort": NAMED }],
        },
    })
}
