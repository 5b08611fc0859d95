//! The folder of manifests: what a cluster's API server would hold, as files.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sluice_testbed::pod::Pod;

pub(crate) const ADDRESS_V4: &str = "10.96.0.10";
pub(crate) const ADDRESS_V6: &str = "fd00:96::a";
pub(crate) const PORT: u16 = 80;

const SERVICES: &str = "\
# The Service that clients use, and a headless one for each version, which lends its endpoints.
apiVersion: v1
kind: Service
metadata: {name: checkout, namespace: shop}
spec:
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, 'fd00:96::a']
  ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: checkout-v1, namespace: shop}
spec: {clusterIP: None, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: checkout-v2, namespace: shop}
spec: {clusterIP: None, ports: [{name: http, port: 80}]}
";

#[derive(Debug)]
pub(crate) struct Manifests {
    folder: PathBuf,
}

impl Manifests {
    pub(crate) fn create(folder: PathBuf) -> Result<Self> {
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        let manifests = Self { folder };
        manifests.write("services.yaml", SERVICES)?;
        Ok(manifests)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The split's file, where a person would edit.
    pub(crate) fn split(&self, weights: [u32; 2]) -> Result<()> {
        let [v1, v2] = weights;
        self.write(
            "checkout.yaml",
            &format!(
                "\
apiVersion: sluice.dev/v1alpha1
kind: TrafficSplit
metadata: {{name: checkout, namespace: shop}}
spec:
  service: checkout
  versions:
  - {{name: v1, service: checkout-v1, weight: {v1}}}
  - {{name: v2, service: checkout-v2, weight: {v2}}}
"
            ),
        )
    }

    /// Which pods are ready, per version and family.
    pub(crate) fn endpoints(&self, v1: &[&Pod], v2: &[&Pod]) -> Result<()> {
        let mut documents = Vec::new();
        for (service, pods) in [("checkout-v1", v1), ("checkout-v2", v2)] {
            let of = |address: fn(&Pod) -> IpAddr| pods.iter().map(|pod| address(pod)).collect();
            documents.push(slice(service, "IPv4", of(|pod| pod.address4().into())));
            documents.push(slice(service, "IPv6", of(|pod| pod.address6().into())));
        }
        self.write("endpoints.yaml", &documents.join("---\n"))
    }

    /// A pod as a caller.
    pub(crate) fn caller(&self, pod: &Pod) -> Result<()> {
        let (name, uid) = (pod.name(), pod.uid());
        self.write(
            "client.yaml",
            &format!(
                "\
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, uid: {uid}}}
spec: {{nodeName: node-1, containers: []}}
"
            ),
        )
    }

    /// Beside, then renamed into place: no reader sees a half of it.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        let (beside, file) = (self.folder.join(format!(".{name}")), self.folder.join(name));
        fs::write(&beside, text)
            .and_then(|()| fs::rename(&beside, &file))
            .with_context(|| format!("writing {}", file.display()))
    }
}

fn slice(service: &str, family: &str, addresses: Vec<IpAddr>) -> String {
    let mut text = format!(
        "\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {service}-{}
  namespace: shop
  labels: {{kubernetes.io/service-name: {service}}}
addressType: {family}
ports: [{{name: http, port: {PORT}}}]
endpoints:",
        family.to_lowercase()
    );
    if addresses.is_empty() {
        text.push_str(" []\n");
    } else {
        text.push('\n');
    }
    for address in addresses {
        text.push_str(&format!("- addresses: ['{address}']\n"));
    }
    text
}
