//! `watch`: the shares of a split as they were asked for, as they act, and as connects had them just now.
//!
//! Measured is what nodes counted between two looks. A node that was not reached in one of them, or whose agent began
//! to count anew, has nothing measured for that window, and is named.

mod measured;
mod text;

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

pub use self::{
    measured::{Counted, Measured, Seen},
    text::{document, table},
};
use crate::{
    Failure,
    agent::{Agent, AgentError},
    answer::{choices::Choices, split::Split},
    args::Scope,
    name::Name,
    output::{Look, Output, Shown},
    verbs::get,
    way::Way,
};

/// What makes a terminal forget what it shows.
const ANEW: &str = "\u{1b}[H\u{1b}[2J\u{1b}[3J";

/// Show the shares of a split again and again: as asked, as they act, and as measured since the last look.
///
/// Every node's agent is asked how often it chose each version. On a terminal the answer is drawn anew; elsewhere each
/// look is appended. Forms for programs are one document a look.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
        kubectl-sluice watch shop/checkout\n  \
        kubectl-sluice watch shop/checkout --every 10 --looks 6 -o json")]
pub struct Question {
    /// The split: NAME or NAMESPACE/NAME.
    #[arg(value_name = "NAME")]
    pub name: Name,

    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub every: u64,

    /// End after so many looks [default: go on until interrupted].
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub looks: Option<u64>,
}

pub async fn run(
    way: Way,
    scope: &Scope,
    question: &Question,
    print: impl Fn(&str) -> Result<ControlFlow<()>, Failure>,
) -> Result<Shown, Failure> {
    let name = question
        .name
        .within(way.namespace(scope.namespace.as_deref()));
    let mut nodes = Nodes::new(way);
    let mut before: Option<(Instant, Seen)> = None;
    for look in 1.. {
        let now = Instant::now();
        let split = nodes.split(&name).await?;
        let seen = nodes.look(&name).await?;
        let measured = before.map(|(then, before)| Measured::between(&before, &seen, now - then));
        let text = form(scope.output, &split, &seen, measured.as_ref());
        let goes_on = print(&text)?;
        if goes_on.is_break() || question.looks.is_some_and(|looks| look >= looks) {
            break;
        }
        before = Some((now, seen));
        sleep_until(now + Duration::from_secs(question.every)).await;
    }
    Ok(Shown {
        text: String::new(),
        is_fine: true,
    })
}

fn form(output: Output, split: &Split, seen: &Seen, measured: Option<&Measured>) -> String {
    let look = Look::of_stdout();
    match (output, look) {
        (Output::Json, _) => format!("{}\n", document(split, seen, measured)),
        (Output::Yaml, _) => {
            let document = document(split, seen, measured);
            let yaml = serde_yaml::to_string(&document);
            format!("---\n{}", yaml.unwrap_or_else(|_| format!("{document}\n")))
        }
        (Output::Table | Output::Wide, Look::Terminal) => {
            format!("{ANEW}{}", table(split, seen, measured, look))
        }
        (Output::Table | Output::Wide, Look::Plain) => {
            format!("{}\n", table(split, seen, measured, look))
        }
    }
}

/// Whom to ask, kept from look to look.
struct Nodes {
    way: Way,
    agents: BTreeMap<String, Arc<Agent>>,
}

impl Nodes {
    fn new(way: Way) -> Self {
        Self {
            way,
            agents: BTreeMap::new(),
        }
    }

    async fn split(&self, name: &str) -> Result<Split, Failure> {
        Ok(match &self.way {
            Way::Cluster(cluster) => {
                let answer = get::of_cluster(cluster, name).await?;
                cluster.read(get::SPLIT, &answer.0)?
            }
            Way::Agent(agent) => agent.read(&get::of_agent(agent, name).await?)?,
        })
    }

    /// What each node has counted for this split by now, or why it does not say.
    async fn look(&mut self, name: &str) -> Result<Seen, Failure> {
        let cluster = match &self.way {
            Way::Cluster(cluster) => cluster,
            Way::Agent(agent) => {
                let counted = choices(agent, name).await?;
                return Ok(Seen::from([(agent.name().to_owned(), Ok(counted))]));
            }
        };
        let mut seen = Seen::new();
        let mut asked = JoinSet::new();
        let there = cluster.agents().await?;
        self.agents
            .retain(|node, _| there.iter().any(|(there, _)| there == node));
        for (node, _) in there {
            let known = self.agents.get(&node).cloned();
            let agent = match known {
                Some(agent) => agent,
                None => match cluster.agent_on(&node).await {
                    Ok(agent) => Arc::new(agent),
                    Err(error) => {
                        seen.insert(node, Err(error.to_string()));
                        continue;
                    }
                },
            };
            self.agents.insert(node.clone(), Arc::clone(&agent));
            let name = name.to_owned();
            asked.spawn(async move { (node, choices(&agent, &name).await) });
        }
        // A task that ends otherwise has no node to be named by; the next look asks again.
        while let Some(Ok((node, counted))) = asked.join_next().await {
            if counted.is_err() {
                // Its pod may have been replaced.
                self.agents.remove(&node);
            }
            seen.insert(node, counted.map_err(|error| error.to_string()));
        }
        Ok(seen)
    }
}

async fn choices(agent: &Agent, split: &str) -> Result<Counted, AgentError> {
    let answer = agent.ask("/choices", &[]).await?;
    let choices: Vec<Choices> = agent.read(&answer)?;
    Ok(Counted::of(split, &choices))
}
