//! What the agent could not write it writes later, though it hears of nothing more.

use std::{future::pending, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::json;
use sluice_model::{
    change::Change,
    facts,
    image::Entry,
    key::{Kind, NodeKey},
    plan::Op,
};
use sluice_node_agent::{
    agent::{self, Agent, Attach, drive},
    callers::Tree,
    inputs::{Input, News, View},
    maps::{Maps as _, MapsError},
    program::{AttachError, Refusal},
};
use tokio::{sync::watch, time::timeout};

use crate::{bed::Bed, callers::object, flaky::Flaky};

const PATIENCE: Duration = Duration::from_secs(120);
/// Only a failure makes the agent write again.
const NEVER: Duration = Duration::from_secs(86_400);

/// Of its pods' cgroups the agent is told beside its inputs.
pub(crate) fn a_caller_that_could_not_be_written_is_written_later() -> Result<()> {
    const FAILURES: usize = 3;
    let bed = Bed::start(Refusal::SetRetval)?;
    let client = bed.node.pod("client").start()?;
    let tree = Tree::read(bed.node.cgroup().path());
    let mut left = FAILURES;
    let fails = move |op: &Op| {
        let fails = matches!(op, Op::Put(Entry::Caller(..))) && left > 0;
        left -= usize::from(fails);
        fails
    };
    let own = NodeKey::parse("", bed.node.name()).context("the name of a node")?;
    let agent = Agent::start(Flaky::new(bed.own_maps()?, fails))?.on_node(own);
    let nothing = |kind| Change::Relisted(kind, Default::default());
    let mut changes: Vec<_> = Kind::ALL.map(nothing).into();
    let object = object(&client, &json!({"sluice.dev/opt-out": "true"}), false);
    changes.push(facts::parse(object).map_err(|error| anyhow!("{error:?}"))?);

    let (handle, questions) = agent::handle();
    let (turns, mut turned) = watch::channel(());
    let input = Once::of(changes);
    let driven = drive(agent, input, Nowhere, questions, turns, NEVER, pending());
    let written = async {
        while !handle.ask(|agent| agent.has_outcome()).await? {
            turned.changed().await?;
        }
        // Nothing more comes by itself, so the first failure is that of the pass that this asks for.
        handle.ask(move |agent| agent.find_callers(&tree)).await?;
        loop {
            let held = handle.ask(|agent| {
                let flaky = agent.maps();
                Ok::<_, MapsError>((flaky.failures, flaky.read()?.callers.len()))
            });
            let (failures, callers) = held.await??;
            if callers == 1 {
                ensure!(failures == FAILURES, "{failures} writes failed");
                return Ok(());
            }
            turned.changed().await?;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    runtime.block_on(async {
        tokio::select! {
            () = driven => bail!("the agent has ended"),
            written = timeout(PATIENCE, written) => written.context("it is not written")?,
        }
    })
}

/// All that there is, at once.
struct Once(Option<News>);

impl Once {
    fn of(changes: Vec<Change>) -> Self {
        Self(Some(News {
            changes,
            view: View::Whole,
            problems: Vec::new(),
        }))
    }
}

impl Input for Once {
    async fn next(&mut self) -> News {
        match self.0.take() {
            Some(news) => news,
            None => pending().await,
        }
    }
}

/// Programs that are where they belong.
struct Nowhere;

impl Attach for Nowhere {
    fn attach(&mut self) -> Result<usize, AttachError> {
        Ok(0)
    }
}
