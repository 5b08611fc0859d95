//! Clusters and the machine that they are on: beside each other, and beside the host.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use sluice_kind_tests::echo::{self, Echo};
use sluice_testbed::cluster::{Cluster, Mode, Proxy};
use sluice_testbed::load::{Load, Target};
use sluice_testbed::tier::eventually;

use crate::{CLUSTER, NODES, PATIENCE, cluster};

/// What is compared by [`the_host_is_left_as_it_was`], from before the first cluster.
static BEFORE: OnceLock<BTreeMap<&str, Option<String>>> = OnceLock::new();

pub(crate) fn look_at_the_host() {
    BEFORE.get_or_init(host);
}

pub(crate) fn two_clusters_side_by_side_do_not_meet() -> Result<()> {
    let namespace = "twins";
    let first = cluster(namespace)?;
    let node = NODES[0];
    let echo = |version| Echo {
        namespace,
        name: "echo",
        version,
        replicas: 1,
        node: Some(node),
    };
    let in_first = echo("first").roll_out(&first)?;
    let client_of_first = echo::client(&first, namespace, "client", node)?;
    let targets = in_first.addresses.iter().copied().map(Target::tcp);
    let load = Load::on(targets).until_stopped().rate(200.0);
    let whole_time = client_of_first.start_load(&load)?;

    let second = Cluster::start()
        .proxy(Proxy::KubeProxy(Mode::Iptables))
        .up()?;
    second.namespace(namespace)?;
    let in_second = echo("second").roll_out(&second)?;
    let client_of_second = echo::client(&second, namespace, "client", node)?;
    for address in in_second.addresses {
        for target in [Target::tcp(address), Target::udp(address)] {
            // kube-proxy writes its rules some time after the endpoints are known.
            let answer = eventually(PATIENCE, "the Service answers", || {
                client_of_second.connect(target)
            })?;
            ensure!(answer.version == "second", "{target} is {answer:?}");
        }
    }
    drop(second);

    let report = whole_time.stop()?;
    ensure!(
        report.failures.is_empty(),
        "{} of {} tries failed: {:?}",
        report.failures.len(),
        report.tries,
        report.failures.first()
    );
    ensure!(
        report.versions.keys().eq(["first"]),
        "answers came from {:?}",
        report.versions
    );
    println!(
        "{} connects in one cluster while another came and went",
        report.tries
    );
    Ok(())
}

pub(crate) fn the_host_is_left_as_it_was() -> Result<()> {
    // While two kubelets, containerds and kube-proxies run.
    let _cluster = CLUSTER.get()?;
    let before = BEFORE.get().context("it was not looked at")?;
    let now = host();
    for (what, value) in before {
        ensure!(
            now.get(what) == Some(value),
            "{what} was {value:?} and is {:?}",
            now.get(what)
        );
    }
    Ok(())
}

/// What kubelets, containerd and kube-proxy change on a machine that is theirs.
fn host() -> BTreeMap<&'static str, Option<String>> {
    let settings = [
        "/proc/sys/kernel/keys/root_maxbytes",
        "/proc/sys/kernel/keys/root_maxkeys",
        "/proc/sys/kernel/panic",
        "/proc/sys/kernel/panic_on_oops",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/net/ipv4/conf/all/route_localnet",
        "/proc/sys/net/netfilter/nf_conntrack_max",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/vm/panic_on_oom",
        "/etc/machine-id",
    ];
    let folders = [
        "/etc/cni",
        "/opt/containerd",
        "/run/containerd",
        "/run/netns",
        "/usr/libexec/kubernetes",
        "/var/lib/cni",
        "/var/lib/containerd",
        "/var/lib/kubelet",
        "/var/log/containers",
        "/var/log/pods",
    ];
    let settings = settings
        .into_iter()
        .map(|path| (path, fs::read_to_string(path).ok()));
    let folders = folders
        .into_iter()
        .map(|path| (path, Path::new(path).exists().then(|| names(path))));
    settings.chain(folders).collect()
}

fn names(folder: &str) -> String {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().display().to_string())
        .collect();
    names.sort();
    names.join(" ")
}
