//! Everything that a benchmark stands on: a control plane, the server, and a node for each arm.
//!
//! ```text
//!  node of an arm                                  fabric                 the server's node
//!  pod (client) ── veth ── rules or programs ── veth ── bridge ── veth ── one process, every endpoint's address
//! ```

use std::net::SocketAddrV4;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use sluice_testbed::cluster::Api;
use sluice_testbed::fabric::Fabric;
use sluice_testbed::netns::Netns;

use crate::arm::{Arm, Seat};
use crate::population::{ENDPOINTS, NAMESPACE, Population};
use crate::processor;
use crate::progress::tell;
use crate::server::Server;
use crate::store;

/// The agent watches these kinds too.
pub(crate) const CRDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/crd");

/// The order of the fields is the order in which they end.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) seats: Vec<Seat>,
    pub(crate) server: Server,
    pub(crate) api: Api,
    pub(crate) population: Population,
    count: u32,
    fabric: Fabric,
}

impl Stage {
    /// Starts the control plane and makes the arms' nodes; nothing carries Services yet.
    pub(crate) fn set(arms: &[Arm], population: Population, agent: &Path) -> Result<Self> {
        let fabric = Fabric::start()?;
        let server_node = fabric.node("server")?;
        let server = Server::start(&server_node, ENDPOINTS)?;
        let api = Api::start(&fabric)?;
        api.access()
            .kubectl(["apply", "--server-side", "--kustomize", CRDS])?;
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE },
        });
        api.access().apply(&namespace.to_string())?;
        let seats = arms
            .iter()
            .map(|arm| Seat::make(&fabric, *arm, &server_node))
            .collect::<Result<Vec<_>>>()?;
        api.register(seats.iter().map(Seat::node))?;
        let mut stage = Self {
            seats,
            server,
            api,
            population,
            count: 0,
            fabric,
        };
        for seat in &mut stage.seats {
            seat.equip(&stage.api, agent)?;
        }
        tell("etcd and the API server are ready");
        Ok(stage)
    }

    /// Adds Services until there are so many.
    pub(crate) fn grow(&mut self, count: u32) -> Result<()> {
        let objects: Vec<_> = self.population.objects(self.count..count).collect();
        store::put(self.netns(), &self.api, &objects).context("filling the API server's store")?;
        self.count = count;
        Ok(())
    }

    /// Where clients connect to the Services that there are.
    pub(crate) fn services(&self) -> Vec<SocketAddrV4> {
        let service = |number| self.population.service(number);
        (0..self.count).map(service).collect()
    }

    /// All their endpoints.
    pub(crate) fn endpoints(&self) -> Vec<SocketAddrV4> {
        self.population.all_endpoints(0..self.count)
    }

    /// Where the control plane is.
    pub(crate) fn netns(&self) -> &Netns {
        self.fabric.netns()
    }

    /// How many Services there are.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn seat(&mut self, arm: Arm) -> Result<&mut Seat> {
        self.seats
            .iter_mut()
            .find(|seat| seat.arm == arm)
            .with_context(|| format!("there is no node for {arm}"))
    }
}

/// How often the machine is looked at while it comes to rest.
const GLANCE: Duration = Duration::from_millis(500);
const AT_REST: f64 = 0.1;
const GLANCES: u32 = 20;

/// Waits until the machine is idle, for ten seconds at most; says how busy it still is, from 0 to 1.
pub(crate) fn rest() -> Result<f64> {
    let mut busy = 1.0;
    for _ in 0..GLANCES {
        busy = processor::busy_during(GLANCE)?;
        if busy < AT_REST {
            break;
        }
    }
    Ok(busy)
}
