//! What people do with a cluster: workloads, Services, names, kubectl.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use sluice_kind_tests::echo::{self, Echo};
use sluice_testbed::cgroup;
use sluice_testbed::load::{Load, Target};
use sluice_testbed::tier::eventually;

use crate::{NODES, PATIENCE, cluster};

pub(crate) fn a_deployment_rolls_out_on_two_kubelets() -> Result<()> {
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
    let nodes: BTreeSet<_> = running.pods.values().map(|pod| pod.node.as_str()).collect();
    ensure!(nodes == BTreeSet::from(NODES), "pods are on {nodes:?}");

    // The processes are where a kubelet puts them, below the cgroup of their node.
    for pod in running.pods.values() {
        let node = cluster.node(&pod.node)?;
        let place = node
            .cgroup()
            .path()
            .join(format!("kubepods/besteffort/pod{}", pod.uid));
        ensure!(
            !cgroup::processes(&place)?.is_empty(),
            "nothing runs in {}",
            place.display()
        );
    }
    Ok(())
}

pub(crate) fn a_service_is_reached_from_the_other_node_over_both_families() -> Result<()> {
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

pub(crate) fn a_service_is_found_by_its_name() -> Result<()> {
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

pub(crate) fn kubectl_logs_exec_and_delete_work() -> Result<()> {
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
