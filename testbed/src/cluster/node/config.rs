//! What the programs of a real node are told.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::root;
use crate::cluster::Mode;
use crate::cluster::addresses;
use crate::cluster::certificates::{Authority, Identity};
use crate::cluster::images::PAUSE;
use crate::cluster::tools::CNI_PLUGINS;
use crate::fabric::Member;

/// Its paths are the ordinary ones, since the node's mounts are its own.
pub(super) fn containerd() -> String {
    format!(
        r#"version = 3

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE}"

[plugins."io.containerd.cri.v1.runtime"]
# The testbed may itself run where scores cannot be lowered.
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{CNI_PLUGINS}"]
conf_dir = "/etc/cni/net.d"
"#
    )
}

/// Writes what a node's `/etc` shall hold beside the host's: the network of its pods, and an id of its own.
pub(super) fn write_network(disk: &Path, member: Member) -> Result<()> {
    let etc = root::etc(disk);
    let folder = etc.join("cni/net.d");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("10-pods.conflist"), network(member).to_string())?;
    fs::write(etc.join("machine-id"), format!("{:032x}\n", member.number))?;
    Ok(())
}

/// A bridge per node. The fabric routes between nodes, so nothing is masqueraded.
fn network(member: Member) -> Value {
    let ranges: Vec<_> = addresses::pod_ranges(member)
        .into_iter()
        .map(|subnet| json!([{ "subnet": subnet }]))
        .collect();
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": true,
            "ipMasq": false,
            // A pod may be sent to itself through a Service.
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "ranges": ranges,
                "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }],
            },
        }],
    })
}

pub(super) fn kubelet(
    cgroup_root: &Path,
    authority: &Authority,
    server: &Identity,
    resolv: &Path,
) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": authority.certificate() },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": server.certificate,
        "tlsPrivateKeyFile": server.key,
        "containerRuntimeEndpoint": format!("unix://{}", super::CONTAINERD),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup_root,
        "cgroupsPerQOS": true,
        // The node shares the machine with its fellows and with whatever else runs there.
        "enforceNodeAllocatable": [],
        "failCgroupV1": false,
        "failSwapOn": false,
        "evictionHard": { "memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%" },
        "imageGCHighThresholdPercent": 100,
        "clusterDomain": "cluster.local",
        "clusterDNS": [addresses::DNS4, addresses::DNS6],
        "resolvConf": resolv,
        "volumePluginDir": "/var/lib/kubelet/plugins",
        // A test does not wait for what it knows to be there.
        "nodeStatusUpdateFrequency": "5s",
    })
}

pub(in crate::cluster) fn kube_proxy(kubeconfig: &Path, node: &str, mode: Mode) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": { "kubeconfig": kubeconfig },
        "hostnameOverride": node,
        "mode": mode.to_string(),
        "detectLocalMode": "NodeCIDR",
        // These settings are the machine's, not the node's.
        "conntrack": { "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
    })
}
