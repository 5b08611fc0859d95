//! Objects that are fine, wrong, borderline and hostile, with the answer of each layer; and the same with layers gone.
//!
//! The rows are data, in `table/*.yaml`. Nothing is stored: an object that would be taken is parsed as the index
//! would parse it, so what all layers let in is exactly what agents can use.

mod bent;
mod row;
mod world;

use anyhow::{Result, ensure};
use serde_json::Value;
use sluice_model::finding::Reason;
use sluice_testbed::tier::{self, eventually};

use crate::asked::{Answer, Layer, Server};
use crate::bed::{Bed, PATIENCE, bed};
use row::{Row, Table};
use world::World;

/// Where the webhook is asked, and where it is not.
const NAMESPACE: &str = "table";
const GLASS: &str = "table-glass";
/// How many objects are put together by chance, and in the long form.
const MIXTURES: usize = 800;
const MANY_MIXTURES: usize = 20_000;
/// Where the chance of the short form comes from: what nobody has looked at yet is for the long form to find.
const SEED: u64 = 7;
/// So many of those that are answered wrong are told.
const TOLD: usize = 10;
/// The policy that rows meet.
const POLICY: &str = "validatingadmissionpolicybinding/commands.sluice.dev";

pub(crate) fn each_layer_answers_each_object_as_the_table_says() -> Result<()> {
    let bed = bed()?;
    let tables = row::tables()?;
    let count: usize = tables.iter().map(|table| table.rows.len()).sum();
    ensure!(count >= 150, "there are {count} rows");
    let world = World::create(&bed, NAMESPACE)?;
    bed.namespace(GLASS)?;
    bed.break_glass(GLASS, true)?;
    let server = Server::of(&bed)?;

    // The webhook hears of the world a moment later, and of the broken glass.
    eventually(PATIENCE, "every layer in its place", || {
        each(&tables, |table, row| with_all(&server, &world, table, row))
    })?;
    eventually(PATIENCE, "without the webhook", || {
        each(&tables, |table, row| {
            without_webhook(&server, table, row, true)
        })
    })?;
    without_policy(&bed, || {
        eventually(PATIENCE, "without webhook and policy", || {
            each(&tables, |table, row| {
                without_webhook(&server, table, row, false)
            })
        })
    })?;
    each(&tables, |table, row| alone(&world, table, row))?;
    let mixed = mixed(&server, &world, &tables)?;
    println!(
        "{count} objects, asked about with all layers, without the webhook, without the policy, and by the index alone; \
         {mixed} mixtures of them"
    );
    Ok(())
}

/// Every row; what is wrong with any of them is told together.
fn each(tables: &[Table], check: impl Fn(&Table, &Row) -> Result<()>) -> Result<()> {
    let mut wrong = Vec::new();
    for table in tables {
        for row in &table.rows {
            if let Err(error) = check(table, row) {
                wrong.push(format!("{} {:?}: {error:#}", table.kind(), row.is));
            }
        }
    }
    ensure!(
        wrong.is_empty(),
        "{} rows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}

fn with_all(server: &Server, world: &World, table: &Table, row: &Row) -> Result<()> {
    let object = table.object(&[row], NAMESPACE, None)?;
    let answer = ask(server, table, row, &object, NAMESPACE)?;
    let refusals = [
        (Layer::Schema, &row.schema),
        (Layer::Policy, &row.policy),
        (Layer::Webhook, &row.webhook),
    ];
    let first = refusals
        .into_iter()
        .find_map(|(layer, says)| Some((layer, says.as_deref()?)));
    let warns = row.warns.as_deref();
    if let Some(stored) = expect(answer, first, warns)? {
        ensure!(
            world::keeps_its_meaning(&stored)?,
            "written again it means something else"
        );
        let found = world.judge(stored)?;
        ensure!(
            is_let_in(found.as_deref()),
            "all layers let in what the index refuses: {found:?}"
        );
    }
    Ok(())
}

fn without_webhook(server: &Server, table: &Table, row: &Row, policed: bool) -> Result<()> {
    if row.has_namespace() {
        // Where the webhook looks all the same.
        return Ok(());
    }
    let object = table.object(&[row], GLASS, Some("sluice.dev/break-glass"))?;
    let answer = ask(server, table, row, &object, GLASS)?;
    let unfilled = row.schema.as_deref().or(row.unfilled.as_deref());
    let policy = row.policy.as_deref().filter(|_| policed);
    let first = unfilled.map(|says| (Layer::Schema, says));
    let first = first.or(policy.map(|says| (Layer::Policy, says)));
    expect(answer, first, None).map(drop)
}

/// Objects with the changes of several rows, many of them bent: what is let in is exactly what the index accepts.
fn mixed(server: &Server, world: &World, tables: &[Table]) -> Result<usize> {
    let (seed, mixtures) = match tier::is_long() {
        true => (tier::seed()?, MANY_MIXTURES),
        false => (SEED, MIXTURES),
    };
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut asked = 0;
    let mut wrong = Vec::new();
    for _ in 0..mixtures {
        let table = &tables[chance.usize(..tables.len())];
        let rows: Vec<&Row> = (0..chance.usize(1..=3))
            .map(|_| &table.rows[chance.usize(..table.rows.len())])
            .filter(|row| !row.is_of_a_layer_alone() && !row.has_namespace())
            .collect();
        // What one has taken away, another may want to change.
        let Ok(mut text) = table.object(&rows, NAMESPACE, None) else {
            continue;
        };
        if let Ok(mut object) = serde_json::from_str(&text) {
            bent::bend(&mut object, chance.usize(..3), &mut chance);
            text = object.to_string();
        }
        asked += 1;
        let answer = server.would_create(&table.resource(NAMESPACE), text.clone())?;
        wrong.extend(disagreement(world, answer, &text)?);
    }
    let first: Vec<_> = wrong.iter().take(TOLD).collect();
    ensure!(first.is_empty(), "{} of {asked}: {first:#?}", wrong.len());
    Ok(asked)
}

/// How the API server and the index differ about an object, if they do.
fn disagreement(world: &World, answer: Answer, text: &str) -> Result<Option<String>> {
    Ok(match answer.outcome {
        Ok(stored) => {
            let found = world.judge(stored)?;
            let fine = is_let_in(found.as_deref());
            (!fine).then(|| format!("let in, and {found:?} for the index: {text}"))
        }
        Err((layer, said)) => {
            let fine = judged(world, text)?.is_none();
            fine.then(|| format!("fine for the index, and {layer:?} says {said}: {text}"))
        }
    })
}

/// What may be stored: what acts, and what acts once it was granted.
fn is_let_in(found: Option<&str>) -> bool {
    found.is_none_or(|reason| reason == Reason::AddressNotGranted.name())
}

fn judged(world: &World, text: &str) -> Result<Option<String>> {
    match serde_json::from_str(text) {
        Ok(object) => world.judge(object),
        Err(_) => Ok(Some(world::MALFORMED.to_owned())),
    }
}

/// What the index says of the object as it is written.
fn alone(world: &World, table: &Table, row: &Row) -> Result<()> {
    let text = table.object(&[row], NAMESPACE, None)?;
    let found = judged(world, &text)?;
    ensure!(
        found == row.index,
        "the index finds {found:?}, not {:?}",
        row.index
    );
    Ok(())
}

fn ask(server: &Server, table: &Table, row: &Row, object: &str, namespace: &str) -> Result<Answer> {
    let namespace = row.namespace().unwrap_or(namespace);
    server.would_create(&table.resource(namespace), object.to_owned())
}

/// What would be stored, if the answer is that one.
fn expect(
    answer: Answer,
    refusal: Option<(Layer, &str)>,
    warns: Option<&str>,
) -> Result<Option<Value>> {
    match (answer.outcome, refusal) {
        (Ok(stored), None) => {
            let told = |text: &str| answer.warnings.iter().any(|warning| warning.contains(text));
            ensure!(
                warns.is_none_or(told),
                "{warns:?} is not among {:?}",
                answer.warnings
            );
            Ok(Some(stored))
        }
        (Err((layer, said)), Some((expected, says))) => {
            ensure!(
                layer == expected && said.contains(says),
                "{layer:?} said {said:?}, not {expected:?} {says:?}"
            );
            Ok(None)
        }
        (outcome, refusal) => {
            anyhow::bail!("the answer is {outcome:?}, not {refusal:?}")
        }
    }
}

/// Takes the policy away, and puts it back whatever happens meanwhile.
fn without_policy(bed: &Bed, check: impl FnOnce() -> Result<()>) -> Result<()> {
    bed.cluster.kubectl(["delete", POLICY])?;
    let outcome = check();
    bed.apply_policies()?;
    outcome
}
