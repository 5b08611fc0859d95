//! The cluster itself: real kubelets run pods, kube-proxy carries Services over both families, names are found, and
//! clusters neither disturb each other nor leave anything behind.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use sluice_kind_tests::echo::{self, Echo};
use sluice_testbed::cgroup;
use sluice_testbed::cluster::{Cluster, Mode, Proxy};
use sluice_testbed::image::Image;
use sluice_testbed::load::{Load, Target};
use sluice_testbed::requirements::Host;
use sluice_testbed::run::{RunId, leftovers, sweep};
use sluice_testbed::tier::{self, Shared, Tier, eventually, test};

/// How this program is started to be killed.
const VICTIM: &str = "victim";
const PATIENCE: Duration = Duration::from_secs(60);
/// Where the two first nodes are in every list.
const NODES: [&str; 2] = ["node1", "node2"];

/// Two nodes with kube-proxy; each test has a namespace of its own in it.
static CLUSTER: Shared<Cluster> = Shared::new(|| {
    let started = Instant::now();
    let cluster = Cluster::start()
        .nodes(2)
        .proxy(Proxy::KubeProxy(Mode::Nftables))
        .up()?;
    println!(
        "a cluster of two nodes is up after {:.1} s",
        started.elapsed().as_secs_f64()
    );
    Ok(cluster)
});

/// What is compared by [`the_host_is_left_as_it_was`], from before the first cluster.
static BEFORE: OnceLock<BTreeMap<&str, Option<String>>> = OnceLock::new();

fn main() -> ExitCode {
    sluice_testbed::entry();
    if env::args().nth(1).as_deref() == Some(VICTIM) {
        return match be_a_victim() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    BEFORE.get_or_init(host);
    tier::main(
        Tier::Cluster,
        vec![
            test!(a_deployment_rolls_out_on_two_kubelets),
            test!(a_service_is_reached_from_the_other_node_over_both_families),
            test!(a_service_is_found_by_its_name),
            test!(kubectl_logs_exec_and_delete_work),
            test!(the_host_is_left_as_it_was),
            test!(two_clusters_side_by_side_do_not_meet),
            test!(a_cluster_in_the_background_is_used_and_removed_by_verbs),
            test!(what_a_killed_cluster_leaves_is_gone_after_one_sweep),
        ],
    )
}

/// The shared cluster with a new namespace.
fn cluster(namespace: &str) -> Result<Arc<Cluster>> {
    let cluster = CLUSTER.get()?;
    cluster.namespace(namespace)?;
    Ok(cluster)
}

fn a_deployment_rolls_out_on_two_kubelets() -> Result<()> {
    let namespace = "rollout";
    let cluster = cluster(namespace)?;
    let echo = Echo {
        namespace,
        name: "echo",
        version: "v1",
        replicas: 3,
        node: None,
    };
    let running = echo.roll_out(&cluster)?;
    let nodes: BTreeSet<_> = running.pods.values().map(String::as_str).collect();
    ensure!(nodes == BTreeSet::from(NODES), "pods are on {nodes:?}");

    // The processes are where a kubelet puts them: below the cgroup of their node.
    for node in cluster.nodes() {
        let pods = node.cgroup().child("kubepods")?;
        ensure!(
            !pods.processes()?.is_empty(),
            "nothing runs in {}",
            pods.path().display()
        );
    }
    Ok(())
}

fn a_service_is_reached_from_the_other_node_over_both_families() -> Result<()> {
    let namespace = "service";
    let cluster = cluster(namespace)?;
    let [near, far] = NODES;
    let echo = Echo {
        namespace,
        name: "echo",
        version: "v1",
        replicas: 3,
        node: Some(far),
    };
    let running = echo.roll_out(&cluster)?;
    let client = echo::client(&cluster, namespace, "client", near)?;
    ensure!(running.addresses.iter().any(SocketAddr::is_ipv4));
    ensure!(running.addresses.iter().any(SocketAddr::is_ipv6));
    for address in running.addresses {
        for target in [Target::tcp(address), Target::udp(address)] {
            // kube-proxy writes its rules some time after the endpoints are known.
            eventually(PATIENCE, "the Service answers", || client.connect(target))?;
            // It chooses at random: with so many tries, each server is found.
            let report = client.load(&Load::on([target]).times(200))?;
            ensure!(
                report.failures.is_empty(),
                "{target}: {:?}",
                report.failures
            );
            ensure!(
                report.names.keys().eq(running.pods.keys()),
                "{target}: {:?} and not {:?}",
                report.names,
                running.pods
            );
        }
    }
    Ok(())
}

fn a_service_is_found_by_its_name() -> Result<()> {
    let namespace = "names";
    let cluster = cluster(namespace)?;
    let [near, far] = NODES;
    let echo = Echo {
        namespace,
        name: "echo",
        version: "v1",
        replicas: 1,
        node: Some(far),
    };
    let running = echo.roll_out(&cluster)?;
    let client = echo::client(&cluster, namespace, "client", near)?;
    let expected: BTreeSet<_> = running.addresses.iter().map(SocketAddr::ip).collect();
    for name in ["echo", "echo.names", "echo.names.svc.cluster.local"] {
        // The name server learns of a new Service by its own watch.
        let found = eventually(PATIENCE, "the name is known", || {
            cluster.kubectl([
                "exec",
                "--namespace",
                namespace,
                "client",
                "--",
                "/sluice-testbed",
                "resolve",
                name,
            ])
        })?;
        let found = found
            .lines()
            .map(str::parse)
            .collect::<Result<BTreeSet<IpAddr>, _>>()?;
        ensure!(
            found == expected,
            "{name} is {found:?} and not {expected:?}"
        );
    }
    for address in running.addresses {
        ensure!(running.pods.contains_key(&client.connect(address)?.name));
    }
    Ok(())
}

fn kubectl_logs_exec_and_delete_work() -> Result<()> {
    let namespace = "kubectl";
    let cluster = cluster(namespace)?;
    drop(echo::client(&cluster, namespace, "client", NODES[0])?);
    let in_namespace =
        |args: &[&str]| cluster.kubectl([&["--namespace", namespace], args].concat());
    let logs = in_namespace(&["logs", "client"])?;
    ensure!(logs == "client serves\n", "the log says {logs:?}");
    let version = in_namespace(&["exec", "client", "--", "/sluice-testbed", "--version"])?;
    ensure!(
        version.starts_with("sluice-testbed "),
        "the program says {version:?}"
    );
    in_namespace(&["delete", "pod", "client", "--timeout=60s"])?;
    let pods = in_namespace(&["get", "pods", "--output", "name"])?;
    ensure!(pods.is_empty(), "there still is {pods}");
    Ok(())
}

fn two_clusters_side_by_side_do_not_meet() -> Result<()> {
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

fn a_cluster_in_the_background_is_used_and_removed_by_verbs() -> Result<()> {
    let own = Image::named("sluice.test/own:1");
    let own = own
        .program(env::current_exe()?, "/own")?
        .entrypoint(["/own", "--help"]);
    let archive = env::temp_dir().join(format!("sluice-own-image-{}.tar", std::process::id()));
    own.write(&archive)?;
    let up = verb(&[
        "cluster",
        "--detach",
        "--nodes",
        "1",
        "--image",
        &archive.display().to_string(),
    ]);
    fs::remove_file(&archive)?;
    let up = up?;
    let id: RunId = up
        .split_once("cluster of run ")
        .and_then(|(_, rest)| rest.split(' ').next())
        .context(up.clone())?
        .parse()?;
    let result = use_from_a_shell(id);
    let down = verb(&["cluster-down", "--run", &id.to_string()])?;
    result?;
    ensure!(down.contains("is removed"), "{down}");
    ensure!(!id.folder().exists(), "the run's folder remains");
    ensure!(
        verb(&["cluster-env", "--run", &id.to_string()]).is_err(),
        "a removed cluster is still known"
    );
    Ok(())
}

/// Runs a pod of the image `sluice.test/own:1` by kubectl, as a person would.
fn use_from_a_shell(id: RunId) -> Result<()> {
    let script = verb(&["cluster-env", "--run", &id.to_string()])?
        + r#"
        set -e
        kubectl run own --image=sluice.test/own:1 --image-pull-policy=Never --restart=Never >/dev/null
        kubectl wait pod/own --for=jsonpath='{.status.phase}'=Succeeded --timeout=60s >/dev/null
        kubectl logs own
        "#;
    let said = output(Command::new("sh").arg("-c").arg(script))?;
    ensure!(
        said.contains("--test-threads"),
        "the image's program says {said:?}"
    );
    Ok(())
}

/// What a verb of the testbed's program prints. This program has them too, under that name.
fn verb(words: &[&str]) -> Result<String> {
    output(
        Command::new("/proc/self/exe")
            .arg0("sluice-testbed")
            .args(words),
    )
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let (said, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(
        output.status.success(),
        "{command:?} failed: {errors}{said}"
    );
    Ok(said.into_owned())
}

fn the_host_is_left_as_it_was() -> Result<()> {
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

fn what_a_killed_cluster_leaves_is_gone_after_one_sweep() -> Result<()> {
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

/// Raises a cluster with a pod, says so, and waits to be killed.
fn be_a_victim() -> Result<()> {
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
