//! The cluster itself: real kubelets run pods, kube-proxy carries Services over both families, names are found, and
//! clusters neither disturb each other nor leave anything behind.

use std::env;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use sluice_testbed::cluster::{Cluster, Mode, Proxy};
use sluice_testbed::tier::{self, Shared, Tier, test};

use befallen::a_cluster_gets_over_what_befalls_its_programs;
use killed::a_cluster_killed_while_it_is_raised_leaves_nothing;
use killed::what_a_killed_cluster_leaves_is_gone_after_one_sweep;
use machine::the_host_is_left_as_it_was;
use machine::two_clusters_side_by_side_do_not_meet;
use verbs::a_cluster_in_the_background_is_used_and_removed_by_verbs;
use workloads::a_deployment_rolls_out_on_two_kubelets;
use workloads::a_service_is_found_by_its_name;
use workloads::a_service_is_reached_from_the_other_node_over_both_families;
use workloads::kubectl_logs_exec_and_delete_work;

mod befallen;
mod killed;
mod machine;
mod verbs;
mod workloads;

const PATIENCE: Duration = Duration::from_secs(60);
/// The names of the shared cluster's nodes.
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

fn main() -> ExitCode {
    sluice_testbed::entry();
    if env::args().nth(1).as_deref() == Some(killed::VICTIM) {
        return killed::be_a_victim();
    }
    machine::look_at_the_host();
    tier::main(
        Tier::Cluster,
        vec![
            test!(a_deployment_rolls_out_on_two_kubelets),
            test!(a_service_is_reached_from_the_other_node_over_both_families),
            test!(a_service_is_found_by_its_name),
            test!(kubectl_logs_exec_and_delete_work),
            test!(the_host_is_left_as_it_was),
            test!(a_cluster_gets_over_what_befalls_its_programs),
            test!(two_clusters_side_by_side_do_not_meet),
            test!(a_cluster_in_the_background_is_used_and_removed_by_verbs),
            test!(what_a_killed_cluster_leaves_is_gone_after_one_sweep),
            test!(a_cluster_killed_while_it_is_raised_leaves_nothing),
        ],
    )
}

/// The shared cluster with a new namespace.
fn cluster(namespace: &str) -> Result<Arc<Cluster>> {
    let cluster = CLUSTER.get()?;
    cluster.namespace(namespace)?;
    Ok(cluster)
}
