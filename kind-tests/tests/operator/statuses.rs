//! What status says, and when it is written.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sluice_testbed::tier::eventually;

use crate::bed::{Bed, NODE, PATIENCE, bed, condition, find, is_programmed, message};

const SERVICES: [&str; 3] = ["checkout", "checkout-v1", "checkout-v2"];
const UNCHANGED: &str = "sluice_operator_status_writes_total{outcome=\"unchanged\"}";
const WRITTEN: &str = "sluice_operator_status_writes_total{outcome=\"written\"}";

pub(crate) fn a_status_says_what_became_of_the_split() -> Result<()> {
    let bed = bed()?;
    let namespace = "said";
    bed.cluster.namespace(namespace)?;
    let mut turn = bed.turn();
    let _operator = turn.leader()?;

    bed.split(namespace, "checkout", [90, 10])?;
    let split = bed.await_split(
        namespace,
        "checkout",
        "the missing Service is named",
        |split| condition(split, "ResolvedRefs") == ("False", "ServiceNotFound"),
    )?;
    ensure!(
        condition(&split, "Accepted") == ("True", "Accepted"),
        "{split:#}"
    );
    ensure!(
        condition(&split, "Programmed") == ("False", "ServiceNotFound"),
        "{split:#}"
    );
    ensure!(
        message(&split, "ResolvedRefs").contains("there is no Service said/checkout"),
        "{split:#}"
    );

    bed.services(namespace, &SERVICES)?;
    let split = bed.await_split(namespace, "checkout", "it is programmed", is_programmed)?;
    ensure!(
        condition(&split, "ResolvedRefs") == ("True", "ResolvedRefs"),
        "{split:#}"
    );
    let nodes = json!({"desired": 1, "programmed": 1, "failed": 0, "oldestGeneration": 1});
    ensure!(split["status"]["nodes"] == nodes, "{split:#}");
    let versions = json!([
        {"name": "stable", "weight": 90, "effective": 90, "share": "90.0%", "ready": 1, "reason": "AsRequested"},
        {"name": "canary", "weight": 10, "effective": 10, "share": "10.0%", "ready": 1, "reason": "AsRequested"},
    ]);
    ensure!(split["status"]["versions"] == versions, "{split:#}");
    let accepted = find(&split, "Accepted").cloned();

    bed.split(namespace, "checkout", [0, 10])?;
    let edited = bed.await_split(namespace, "checkout", "the edit is programmed", |split| {
        split["metadata"]["generation"] == 2 && is_programmed(split)
    })?;
    ensure!(
        edited["status"]["versions"][0]["share"] == "0.0%",
        "{edited:#}"
    );
    let time = |condition: Option<&Value>| condition.map(|c| c["lastTransitionTime"].clone());
    ensure!(
        time(find(&edited, "Accepted")) == time(accepted.as_ref()),
        "what stays true keeps its time: {edited:#}"
    );
    events(&bed, namespace, "Programmed")
}

pub(crate) fn a_loser_is_told_and_takes_over_when_the_winner_goes() -> Result<()> {
    let bed = bed()?;
    let namespace = "rivals";
    bed.cluster.namespace(namespace)?;
    bed.services(namespace, &SERVICES)?;
    let mut turn = bed.turn();
    let _operator = turn.leader()?;

    bed.split(namespace, "a", [1, 1])?;
    bed.await_split(namespace, "a", "the first is programmed", is_programmed)?;
    bed.split(namespace, "b", [1, 1])?;
    let loser = bed.await_split(namespace, "b", "the second is refused", |split| {
        condition(split, "Accepted") == ("False", "Conflicted")
    })?;
    ensure!(
        message(&loser, "Accepted").contains("TrafficSplit rivals/a"),
        "{loser:#}"
    );
    ensure!(
        condition(&loser, "Programmed") == ("False", "Conflicted"),
        "{loser:#}"
    );
    events(&bed, namespace, "Conflicted")?;

    bed.cluster
        .kubectl(["delete", "trafficsplit", "a", "--namespace", namespace])?;
    bed.await_split(namespace, "b", "the second takes over", |split| {
        condition(split, "Accepted") == ("True", "Accepted") && is_programmed(split)
    })?;
    Ok(())
}

pub(crate) fn a_status_that_somebody_else_wrote_is_put_right() -> Result<()> {
    let bed = bed()?;
    let namespace = "meddled";
    bed.cluster.namespace(namespace)?;
    bed.services(namespace, &SERVICES)?;
    bed.split(namespace, "checkout", [90, 10])?;
    let mut turn = bed.turn();
    let _operator = turn.leader()?;
    let right = bed.await_split(namespace, "checkout", "it is programmed", is_programmed)?;

    let lies =
        json!({"status": {"versions": [], "nodes": {"desired": 9, "programmed": 9, "failed": 0}}});
    let patch = lies.to_string();
    bed.cluster.kubectl([
        "patch",
        "trafficsplit",
        "checkout",
        "--namespace",
        namespace,
        "--subresource",
        "status",
        "--type",
        "merge",
        "--patch",
        &patch,
    ])?;
    bed.await_split(namespace, "checkout", "the truth is back", |split| {
        split["status"] == right["status"]
    })?;
    Ok(())
}

pub(crate) fn a_node_whose_agent_stands_still_is_named() -> Result<()> {
    let bed = bed()?;
    let namespace = "held";
    bed.cluster.namespace(namespace)?;
    bed.services(namespace, &SERVICES)?;
    bed.split(namespace, "checkout", [90, 10])?;
    let mut turn = bed.turn();
    let _operator = turn.leader()?;
    bed.await_split(namespace, "checkout", "it is programmed", is_programmed)?;

    bed.agent.signal(Signal::SIGSTOP)?;
    let held = bed.split(namespace, "checkout", [50, 50]).and_then(|()| {
        bed.await_split(namespace, "checkout", "the node is named", |split| {
            condition(split, "Programmed") == ("False", "NodesPending")
                && message(split, "Programmed").contains(NODE)
        })
    });
    bed.agent.signal(Signal::SIGCONT)?;
    let held = held?;
    let nodes = json!({"desired": 1, "programmed": 0, "failed": 0, "oldestGeneration": 1});
    ensure!(held["status"]["nodes"] == nodes, "{held:#}");
    ensure!(held["status"]["observedGeneration"] == 2, "{held:#}");
    bed.await_split(
        namespace,
        "checkout",
        "it is programmed again",
        is_programmed,
    )?;
    Ok(())
}

pub(crate) fn nothing_is_written_when_nothing_changed() -> Result<()> {
    let bed = bed()?;
    let namespace = "quiet";
    bed.cluster.namespace(namespace)?;
    bed.services(namespace, &SERVICES)?;
    bed.split(namespace, "checkout", [90, 10])?;
    let mut turn = bed.turn();
    let mut operator = turn.leader()?;
    let split = bed.await_split(namespace, "checkout", "it is programmed", is_programmed)?;
    let version = &split["metadata"]["resourceVersion"];
    // What earlier tests left may still be on its way; then an operator has something to write.
    let (mut restarts, mut silent) = (0, 0);
    while silent < 3 {
        ensure!(restarts < 8, "each new operator writes something");
        // A new one lists everything anew, and looks at every split.
        operator.process.stop(PATIENCE)?;
        operator = turn.leader()?;
        restarts += 1;
        let policies =
            operator.await_number("sluice_operator_policies", |policies| policies > 0)?;
        operator.await_number(UNCHANGED, |unchanged| unchanged >= policies)?;
        silent = match operator.number(WRITTEN)? {
            0 => silent + 1,
            _ => 0,
        };
        let again = bed.get(namespace, "trafficsplit", "checkout")?;
        ensure!(
            again["metadata"]["resourceVersion"] == *version,
            "{again:#}"
        );
    }
    Ok(())
}

fn events(bed: &Bed, namespace: &str, reason: &str) -> Result<()> {
    eventually(PATIENCE, "an event", || {
        let events =
            bed.cluster
                .client()
                .get(["events.events.k8s.io", "--namespace", namespace])?;
        let events = events["items"].as_array().map_or(&[][..], Vec::as_slice);
        let told = events
            .iter()
            .any(|event| event["reason"] == reason && event["regarding"]["kind"] == "TrafficSplit");
        ensure!(told, "no {reason} in {events:?}");
        Ok(())
    })
}
