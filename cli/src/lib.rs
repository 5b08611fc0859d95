//! `kubectl-sluice`: what becomes of a connect, what each version of a split gets, how nodes do.
//!
//! A verb asks once, `watch` again and again, and shows the answer: as text for people, or as the document that was sent. What
//! is asked for is in the API, or an agent knows it; all that is computed was computed there, and this
//! program only words it.

pub mod agent;
pub mod answer;
pub mod args;
pub mod cluster;
pub mod kind;
pub mod name;
pub mod output;
pub mod target;
pub mod verbs;
pub mod way;

use std::{
    error::Error,
    io::{self, ErrorKind, Write},
    ops::ControlFlow,
    process::ExitCode,
};

use clap::Parser;
use tokio::runtime;

use crate::{
    agent::AgentError,
    args::{Args, Verb},
    cluster::ClusterError,
    output::Shown,
    way::Way,
};

/// What went wrong, in a sentence.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("the agent at {agent} knows no TrafficSplit {name}")]
    NoSuchSplit { agent: String, name: String },
    #[error("{0} (see --help)")]
    Unclear(String),
    #[error("the agent at {agent} has no list of any {kind}: name a cluster with --kubeconfig")]
    OfClusters { kind: &'static str, agent: String },
    #[error("cannot write the answer")]
    Write(#[source] io::Error),
    #[error("cannot start")]
    Start(#[source] io::Error),
}

/// The whole program.
pub fn main() -> ExitCode {
    let args = Args::try_parse().unwrap_or_else(|error| args::refuse(&error));
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let shown = match runtime {
        Ok(runtime) => runtime.block_on(run(args)),
        Err(error) => Err(Failure::Start(error)),
    };
    match shown {
        Ok(shown) if shown.is_fine => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("error: {}", with_causes(&failure));
            match failure {
                Failure::Unclear(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

async fn run(args: Args) -> Result<Shown, Failure> {
    let Args { way, scope, verb } = args;
    let way = Way::find(way.admin, way.named()).await?;
    let shown = match verb {
        Verb::Watch(question) => return verbs::watch::run(way, &scope, &question, print).await,
        Verb::Explain(question) => verbs::explain::run(way, &scope, &question).await?,
        Verb::Get(question) => verbs::get::run(&way, &scope, &question).await?,
        Verb::Status(question) => verbs::status::run(way, &scope, &question).await?,
    };
    print(&shown.text).map(|_| shown)
}

/// Whoever reads may have seen enough (`| head`), which is no failure and ends what goes on.
fn print(text: &str) -> Result<ControlFlow<()>, Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes());
    match written.and_then(|()| stdout.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(Failure::Write(error)),
    }
}

/// A cause that a text repeats already is not said again.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.ends_with(&reason) {
            text = format!("{text}: {reason}");
        }
        cause = error.source();
    }
    text
}
