//! Bad splits: which layer refuses each, and what becomes of those that get past it.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use sluice_kind_tests::echo::{self, Echo};
use sluice_kind_tests::shop::{CHECKOUT, STABLE, Shop, condition, split};
use sluice_testbed::cluster::{Access, shipped};
use sluice_testbed::load::Load;
use sluice_testbed::tier::eventually;

use crate::bed::{PART_OF_SLUICE, PATIENCE, alone, quiet};

mod table;

use table::{Layer, TABLE};

/// Both kinds.
const WEBHOOKS: &str = "validatingwebhookconfigurations,mutatingwebhookconfigurations";

pub(crate) fn each_bad_split_is_refused_by_its_layer_with_the_field() -> Result<()> {
    let bed = quiet()?;
    let namespace = "refused";
    owned_service(&bed, namespace)?;
    let mut wrong = Vec::new();
    for row in TABLE {
        let object = row.object(namespace)?;
        match create(&bed, &object) {
            Ok(_) => wrong.push(format!("{}: it was taken", row.what)),
            Err(refusal) => {
                let refusal = format!("{refusal:#}");
                if !refusal.contains(row.says) {
                    wrong.push(format!("{}: not with {:?}: {refusal}", row.what, row.says));
                }
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} bad splits, each refused with its field", TABLE.len());
    Ok(())
}

pub(crate) fn a_missing_service_is_a_warning() -> Result<()> {
    let bed = quiet()?;
    let namespace = "missing";
    bed.namespace(namespace)?;
    let gone = ["delete", "trafficsplits", "--all", "--namespace", namespace];
    bed.kubectl(gone)?;
    let split = split(namespace, "early", "nowhere", 1, 1);
    let output = bed
        .client()
        .command(["create", "--output=name", "--filename", "-"])
        .stdin(std::process::Stdio::from(written(&split)?))
        .output()?;
    let warnings = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{warnings}");
    ensure!(
        warnings.contains("Warning: spec.service: there is no Service missing/nowhere"),
        "{warnings}"
    );
    eventually(PATIENCE, "the split says what it lacks", || {
        let split = stored(&bed, namespace, "early")?;
        says(&split, "Accepted", "True", "Accepted")?;
        says(&split, "ResolvedRefs", "False", "ServiceNotFound")?;
        let programmed = condition(&split, "Programmed").context("it has the condition")?;
        ensure!(programmed["status"] == "False", "{programmed}");
        Ok(())
    })
}

pub(crate) fn what_is_stored_without_the_webhook_does_not_act_and_says_so() -> Result<()> {
    let bed = alone()?;
    let cluster = &bed.own()?.cluster;
    let namespace = "unguarded";
    let shop = Shop::open(&bed, namespace)?;
    shop.weigh(1, 0)?;
    shop.programmed()?;
    let node = bed.nodes()?.swap_remove(0);
    let client = echo::client(&bed, namespace, "client", &node)?;

    let webhooks = [
        "get",
        WEBHOOKS,
        "--output=name",
        "--selector",
        PART_OF_SLUICE,
    ];
    ensure!(!bed.kubectl(webhooks)?.is_empty(), "there is no webhook");
    bed.kubectl(["delete", WEBHOOKS, "--selector", PART_OF_SLUICE])?;
    let mut names = Vec::new();
    for row in TABLE {
        let object = row.object(namespace)?;
        if row.layer == Layer::Webhook {
            // An API server may still have the configuration for a moment.
            eventually(PATIENCE, "it is stored", || create(&bed, &object))?;
            names.push(row.name());
        } else {
            ensure!(create(&bed, &object).is_err(), "{}: it was taken", row.what);
        }
    }
    ensure!(!names.is_empty(), "the table has nothing for the webhook");
    for name in &names {
        eventually(PATIENCE, "it says that it does not act", || {
            let split = stored(&bed, namespace, name)?;
            says(&split, "Accepted", "False", "Conflicted")?;
            let programmed = condition(&split, "Programmed");
            ensure!(
                programmed.is_none_or(|programmed| programmed["status"] == "False"),
                "{split:#}"
            );
            Ok(())
        })?;
    }
    // The one that was there first decides as before.
    shop.programmed()?;
    let report = client.load(&Load::on(shop.addresses.iter().copied()).times(100))?;
    ensure!(report.of_version(STABLE) == 100, "{report}");

    cluster.install(shipped::VERSION)?;
    bed.kubectl(["delete", "trafficsplits", "--namespace", namespace, "--all"])?;
    shop.weigh(1, 0)?;
    webhook_refuses(&bed, namespace)
}

/// A Service whose every port has a split already.
fn owned_service(access: &Access, namespace: &str) -> Result<()> {
    access.namespace(namespace)?;
    let echo = Echo {
        namespace,
        name: CHECKOUT,
        version: STABLE,
        replicas: 0,
        node: None,
    };
    echo.make(access)?;
    access.apply(&split(namespace, CHECKOUT, CHECKOUT, 1, 1).to_string())?;
    webhook_refuses(access, namespace)
}

/// Waits until the webhook is asked, and knows of what is stored.
fn webhook_refuses(access: &Access, namespace: &str) -> Result<()> {
    let row = TABLE.iter().find(|row| row.layer == Layer::Webhook);
    let row = row.context("the table has one")?;
    let object = row.object(namespace)?.to_string();
    eventually(PATIENCE, "the webhook refuses", || {
        let dry = ["create", "--dry-run=server", "--filename", "-"];
        match access.client().run_with(&object, dry) {
            Ok(_) => bail!("it does not"),
            Err(refusal) => {
                ensure!(format!("{refusal:#}").contains(row.says), "{refusal:#}");
                Ok(())
            }
        }
    })
}

fn create(access: &Access, object: &Value) -> Result<String> {
    access
        .client()
        .run_with(&object.to_string(), ["create", "--filename", "-"])
}

fn stored(access: &Access, namespace: &str, name: &str) -> Result<Value> {
    access
        .client()
        .get(["trafficsplit", name, "--namespace", namespace])
}

fn says(object: &Value, kind: &str, status: &str, reason: &str) -> Result<()> {
    let condition = condition(object, kind).with_context(|| format!("no {kind}: {object:#}"))?;
    ensure!(
        condition["status"] == status && condition["reason"] == reason,
        "{condition:#}"
    );
    Ok(())
}

/// A file with this content, to be read by a program.
fn written(object: &Value) -> Result<std::fs::File> {
    use std::io::{Seek as _, Write as _};
    let mut file = tempfile::tempfile()?;
    write!(file, "{}", json!(object))?;
    file.rewind()?;
    Ok(file)
}
