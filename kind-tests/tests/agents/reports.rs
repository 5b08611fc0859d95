//! What agents say of themselves in the API.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluice_crds::conditions::Reason;
use sluice_crds::report::{NodeReportStatus, PolicyReport};
use sluice_kind_tests::echo::Echo;
use sluice_testbed::cluster::{Cluster, Node};
use sluice_testbed::tier::eventually;

use crate::bed::{self, PATIENCE, bed};

pub(crate) fn a_split_is_programmed_once_every_kernel_holds_its_generation() -> Result<()> {
    let bed = bed()?;
    let cluster = &bed.cluster;
    let namespace = "reported";
    cluster.namespace(namespace)?;
    echo(namespace, "checkout", 1).roll_out(cluster)?;
    echo(namespace, "checkout-v1", 2).roll_out(cluster)?;

    apply(cluster, namespace, "checkout-v1", 1)?;
    let first = generation_and_uid(cluster, namespace)?;
    everywhere(cluster, namespace, &first, |entry| {
        entry.programmed && entry.reason == Reason::Programmed && entry.backends == 2
    })?;

    // Nothing of what the split names is there: it is written that it refuses.
    apply(cluster, namespace, "nobody", 2)?;
    let second = generation_and_uid(cluster, namespace)?;
    ensure!(second.0 > first.0 && second.1 == first.1, "{second:?}");
    everywhere(cluster, namespace, &second, |entry| entry.backends == 0)?;

    cluster.kubectl(["delete", "trafficsplit", "checkout", "-n", namespace])?;
    everywhere_gone(cluster, namespace)?;
    apply(cluster, namespace, "checkout-v1", 1)?;
    let third = generation_and_uid(cluster, namespace)?;
    ensure!(third.0 == first.0 && third.1 != first.1, "{third:?}");
    everywhere(cluster, namespace, &third, |entry| entry.programmed)
}

pub(crate) fn a_report_goes_with_its_node_and_comes_back_when_it_is_taken_away() -> Result<()> {
    let bed = bed()?;
    let cluster = &bed.cluster;
    let node = &cluster.nodes()[0];
    let uid = |of: &str| -> Result<Value> {
        Ok(cluster.client().get([of, node.name()])?["metadata"]["uid"].clone())
    };
    let report = eventually(PATIENCE, "a report", || {
        cluster.client().get(["nodereport", node.name()])
    })?;
    let owner = &report["metadata"]["ownerReferences"][0];
    ensure!(
        owner["kind"] == "Node" && owner["uid"] == uid("node")?,
        "{report}"
    );

    let namespace = "taken";
    cluster.namespace(namespace)?;
    cluster.kubectl(["delete", "nodereport", node.name()])?;
    echo(namespace, "checkout", 1).roll_out(cluster)?;
    apply(cluster, namespace, "checkout", 1)?;
    let generation_and_uid = generation_and_uid(cluster, namespace)?;
    everywhere(cluster, namespace, &generation_and_uid, |entry| {
        entry.programmed
    })?;
    ensure!(uid("nodereport")? != report["metadata"]["uid"], "it is new");
    Ok(())
}

pub(crate) fn an_agent_that_steers_nothing_says_so() -> Result<()> {
    let bed = bed()?;
    let cluster = &bed.cluster;
    let node = &cluster.nodes()[1];
    let name = "outsider";
    // The agent itself is outside of this part of the tree.
    let apart = node.cgroup().child("apart")?;
    let _agent = bed::agent(cluster, node, name, &bed::api_server(cluster))?
        .args(["--bpffs", "/sys/fs/bpf/apart", "--admin", "127.0.0.1:0"])
        .arg("--cgroup-root")
        .arg(apart.path())
        .spawn()?;
    let report = eventually(PATIENCE, "its report", || report(cluster, name))?;
    ensure!(
        !report.ready && report.message.contains("was not translated"),
        "{report:?}"
    );
    let object = cluster.client().get(["nodereport", name])?;
    ensure!(object["metadata"]["ownerReferences"].is_null(), "{object}");
    Ok(())
}

fn echo<'a>(namespace: &'a str, name: &'a str, replicas: u8) -> Echo<'a> {
    Echo {
        namespace,
        name,
        version: "v1",
        replicas,
        node: None,
    }
}

fn apply(cluster: &Cluster, namespace: &str, version: &str, weight: u32) -> Result<()> {
    let split = json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "TrafficSplit",
        "metadata": {"name": "checkout", "namespace": namespace},
        "spec": {"service": "checkout", "versions": [
            {"name": "only", "service": version, "weight": weight},
        ]},
    });
    cluster.apply(&split.to_string())
}

fn generation_and_uid(cluster: &Cluster, namespace: &str) -> Result<(i64, String)> {
    let split = ["trafficsplit", "checkout", "--namespace", namespace];
    let meta = &cluster.client().get(split)?["metadata"];
    Ok((
        meta["generation"].as_i64().context("a generation")?,
        meta["uid"].as_str().context("a UID")?.to_owned(),
    ))
}

/// Waits until every node's report has an entry of this generation and UID, and checks it.
fn everywhere(
    cluster: &Cluster,
    namespace: &str,
    (generation, uid): &(i64, String),
    right: impl Fn(&PolicyReport) -> bool,
) -> Result<()> {
    for node in cluster.nodes() {
        eventually(PATIENCE, "the split is reported", || {
            let report = report(cluster, node.name())?;
            let entry = entry(&report, namespace).with_context(|| format!("{report:?}"))?;
            ensure!(
                report.ready && entry.generation == *generation && entry.uid == *uid,
                "{report:?}"
            );
            ensure!(right(entry), "{entry:?}");
            Ok(())
        })?;
    }
    Ok(())
}

fn everywhere_gone(cluster: &Cluster, namespace: &str) -> Result<()> {
    let is_gone = |node: &Node| {
        eventually(PATIENCE, "the split is gone from the report", || {
            let report = report(cluster, node.name())?;
            ensure!(entry(&report, namespace).is_none(), "{report:?}");
            Ok(())
        })
    };
    cluster.nodes().iter().try_for_each(is_gone)
}

fn report(cluster: &Cluster, name: &str) -> Result<NodeReportStatus> {
    let object = cluster.client().get(["nodereport", name])?;
    serde_json::from_value(object["status"].clone()).with_context(|| object.to_string())
}

fn entry<'a>(report: &'a NodeReportStatus, namespace: &str) -> Option<&'a PolicyReport> {
    let mut entries = report.policies.iter();
    entries.find(|entry| entry.namespace == namespace && entry.name == "checkout")
}
