//! Clusters and the machine that they are on: beside each other, beside the host, and after a kill.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::thread;

use anyhow::{Context as _, Result, ensure};
use sluice_kind_tests::echo::{self, Echo};
use sluice_testbed::cgroup;
use sluice_testbed::cluster::{Cluster, Mode, Proxy};
use sluice_testbed::load::{Load, Target};
use sluice_testbed::requirements::Host;
use sluice_testbed::run::{RunId, leftovers, sweep};
use sluice_testbed::tier::eventually;

use crate::{CLUSTER, NODES, PATIENCE, cluster};

/// How this program is started to be killed.
pub(crate) const VICTIM: &str = "victim";

/// What is compared by [`the_host_is_left_as_it_was`], from before the first cluster.
static BEFORE: OnceLock<BTreeMap<&str, Option<String>>> = OnceLock::new();

pub(crate) fn look_at_the_host() {
    BEFORE.get_or_init(host);
}

/// Raises a cluster with a pod, says so, and waits to be killed.
pub(crate) fn be_a_victim() -> ExitCode {
    match raise_and_wait() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
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

pub(crate) fn what_a_killed_cluster_leaves_is_gone_after_one_sweep() -> Result<()> {
    let mut victim = Command::new("/proc/self/exe")
        .arg(VICTIM)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(victim.stdout.take().context("a victim speaks")?).read_line(&mut line)?;
    let id: RunId = line.trim().parse().context("the victim ended before")?;
    let before = processes(id)?;
    victim.kill()?;
    victim.wait()?;
    // A sandbox, a container, and a shim live on without the programs that started them.
    ensure!(
        before.len() >= 8,
        "a cluster has more processes than {before:?}"
    );

    sweep()?;
    let left = leftovers()?.remove(&id).unwrap_or_default();
    ensure!(left.is_empty(), "left are {left:?}");
    // They are dead, but it takes the machine's first process to bury them.
    eventually(PATIENCE, "the processes are gone", || {
        let alive: Vec<_> = before
            .iter()
            .filter(|pid| Path::new(&format!("/proc/{pid}")).exists())
            .collect();
        ensure!(alive.is_empty(), "processes are left: {alive:?}");
        Ok(())
    })?;
    println!(
        "a killed cluster left {} processes, and the sweep nothing",
        before.len()
    );
    Ok(())
}

fn raise_and_wait() -> Result<()> {
    let cluster = Cluster::start().proxy(Proxy::None).up()?;
    let _client = echo::client(&cluster, "default", "client", NODES[0])?;
    println!("{}", cluster.run().id());
    loop {
        thread::park();
    }
}

/// The processes in all cgroups of a run.
fn processes(id: RunId) -> Result<BTreeSet<i32>> {
    let host = Host::find()?;
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(&host.cgroup2)? {
        let entry = entry?;
        if RunId::of_name(&entry.file_name()) == Some(id) {
            found.extend(cgroup::processes(&entry.path())?);
        }
    }
    Ok(found)
}
