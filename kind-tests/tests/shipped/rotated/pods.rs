//! The webhook's pods: which certificates they have taken, and that their kubelets look at their files.

use std::collections::BTreeMap;
use std::mem;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sluice_kind_tests::api::{Api, merge};
use sluice_testbed::cluster::{Cluster, shipped};
use sluice_testbed::http;

const SELECTOR: &str = "app.kubernetes.io/name%3Dsluice-webhook";
const ADMIN: u16 = 9877;
const TAKEN: &str = "sluice_webhook_certificates_taken_total ";

pub(super) struct Pods<'a> {
    cluster: &'a Cluster,
    api: Api,
}

struct Pod {
    name: String,
    version: String,
    address: IpAddr,
}

impl<'a> Pods<'a> {
    pub(super) fn of(cluster: &'a Cluster) -> Result<Self> {
        let api = Api::of(cluster)?;
        Ok(Self { cluster, api })
    }

    /// How many certificates each pod has taken since it started; without those that do not answer.
    pub(super) fn taken(&self) -> Result<BTreeMap<String, u64>> {
        let netns = self.cluster.fabric().netns();
        let counts = self.staying()?.into_iter().map(|pod| {
            let at = SocketAddr::new(pod.address, ADMIN);
            let answer = netns.run(|| http::get(at, "/metrics")?.good());
            // One that is about to start or has just gone.
            let Ok(metrics) = answer else {
                return Ok(None);
            };
            let mut lines = metrics.lines();
            let count = lines.find_map(|line| line.strip_prefix(TAKEN));
            let count = count.with_context(|| format!("no {TAKEN}in {metrics}"))?;
            Ok(Some((pod.name, count.parse()?)))
        });
        counts.filter_map(Result::transpose).collect()
    }

    /// Changes all pods, so that their kubelets look at them.
    pub(super) fn let_kubelets_look(&self) -> Result<()> {
        for pod in self.staying()? {
            let path = format!("{}/{}", collection(), pod.name);
            let look = json!({"metadata": {"annotations": {"sluice.test/looked-at": pod.version}}});
            // A pod that has gone meanwhile has no files.
            self.api.ask(merge(&path, &look)?)?;
        }
        Ok(())
    }

    /// Those that were told to end and have not yet.
    pub(super) fn going(&self) -> Result<Vec<String>> {
        let pods = self.list()?;
        let going = pods.iter().map(|pod| &pod["metadata"]);
        let going = going.filter(|meta| !meta["deletionTimestamp"].is_null());
        Ok(going.map(|meta| meta["name"].to_string()).collect())
    }

    /// Those that have an address and were not told to end.
    fn staying(&self) -> Result<Vec<Pod>> {
        let pods = self.list()?;
        let staying = pods.iter().filter_map(|pod| {
            let meta = &pod["metadata"];
            let address = pod["status"]["podIP"].as_str()?;
            meta["deletionTimestamp"].is_null().then(|| {
                let text = |field: &str| meta[field].as_str().unwrap_or_default().to_owned();
                Ok(Pod {
                    name: text("name"),
                    version: text("resourceVersion"),
                    address: address.parse()?,
                })
            })
        });
        staying.collect()
    }

    fn list(&self) -> Result<Vec<Value>> {
        let path = format!("{}?labelSelector={SELECTOR}", collection());
        let mut list = self.api.get(&path)?;
        let pods = list["items"].as_array_mut().context("a list has items")?;
        Ok(mem::take(pods))
    }
}

fn collection() -> String {
    format!("/api/v1/namespaces/{}/pods", shipped::NAMESPACE)
}
