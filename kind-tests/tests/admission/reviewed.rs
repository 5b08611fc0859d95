//! What the webhook adds to the schema.

use anyhow::{Result, bail, ensure};
use serde_json::json;
use sluice_testbed::tier::eventually;

use crate::bed::{PATIENCE, bed, spec, split};

pub(crate) fn a_left_out_service_is_filled_in_and_git_sees_no_difference() -> Result<()> {
    let bed = bed()?;
    let cluster = &bed.cluster;
    let namespace = "filled";
    bed.namespace(namespace)?;
    let mut short = split(namespace, "checkout", &spec("checkout"));
    let fields = short["spec"].as_object_mut();
    fields.and_then(|fields| fields.remove("service"));
    let manifest = short.to_string();
    let client = cluster.client();
    // By the client and by the server, each twice: the second time nothing is to be done.
    for way in [
        &["apply", "--filename", "-"][..],
        &[
            "apply",
            "--server-side",
            "--force-conflicts",
            "--filename",
            "-",
        ],
    ] {
        client.run_with(&manifest, way)?;
        let before = client.get(["split", "checkout", "--namespace", namespace])?;
        ensure!(before["spec"]["service"] == "checkout", "{before:#}");
        let said = client.run_with(&manifest, way)?;
        let after = client.get(["split", "checkout", "--namespace", namespace])?;
        let versions = [&before, &after].map(|split| &split["metadata"]["resourceVersion"]);
        ensure!(versions[0] == versions[1], "{said}: {before:#} {after:#}");
        // kubectl diff fails if there is a difference.
        let shown = [&["diff"], &way[1..]].concat();
        client.run_with(&manifest, shown)?;
    }
    Ok(())
}

pub(crate) fn what_was_stored_before_the_webhook_can_be_changed() -> Result<()> {
    let bed = bed()?;
    let cluster = &bed.cluster;
    let namespace = "before";
    bed.namespace(namespace)?;
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "checkout", "namespace": namespace},
        "spec": {"ports": [{"port": 80}]},
    });
    cluster.apply(&service.to_string())?;
    bed.create(&split(namespace, "first", &spec("checkout")), &[])?;
    bed.break_glass(namespace, true)?;
    let late = split(namespace, "late", &spec("checkout"));
    eventually(PATIENCE, "the broken glass", || bed.create(&late, &[]))?;
    bed.break_glass(namespace, false)?;

    // The webhook is asked again when it denies the like of it.
    let like = split(namespace, "like", &spec("checkout"));
    let denied = eventually(PATIENCE, "a denial", || {
        match bed.create(&like, &["--dry-run=server"]) {
            Ok(said) => bail!("it was taken: {said}"),
            Err(error) => Ok(format!("{error:#}")),
        }
    })?;
    for part in [
        "trafficsplits.validate.sluice.dev",
        "TrafficSplit before/first",
    ] {
        ensure!(denied.contains(part), "{denied}");
    }
    let late = ["split", "late", "--namespace", namespace];
    let said = cluster.kubectl([&["label"], &late[..], &["team=shop"]].concat())?;
    ensure!(said.contains("labeled"), "{said}");
    let change = r#"{"spec": {"selection": "Random"}}"#;
    cluster.kubectl([&["patch"], &late[..], &["--type=merge", "--patch", change]].concat())?;
    let worse = r#"{"spec": {"service": "other", "ports": []}}"#;
    cluster.kubectl([&["patch"], &late[..], &["--type=merge", "--patch", worse]].concat())?;
    // Back to where the other one is: that would be worse than now.
    let back = r#"{"spec": {"service": "checkout"}}"#;
    let back =
        cluster.kubectl([&["patch"], &late[..], &["--type=merge", "--patch", back]].concat());
    ensure!(back.is_err(), "it took the ports of the other");
    cluster.kubectl([&["delete"], &late[..]].concat())?;
    Ok(())
}

pub(crate) fn certificates_change_while_splits_are_applied() -> Result<()> {
    let bed = bed()?;
    let namespace = "certified";
    bed.namespace(namespace)?;
    for round in 0..10 {
        bed.certify()?;
        let split = split(
            namespace,
            &format!("split-{round}"),
            &spec(&format!("service-{round}")),
        );
        let said = bed.create(&split, &[])?;
        ensure!(
            said.contains("there is no Service certified/service-"),
            "{said}"
        );
    }
    Ok(())
}
