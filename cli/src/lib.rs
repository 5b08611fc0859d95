//! `kubectl-sluice`: what becomes of a connect, what each version of a split gets, how a node does.
//!
//! A verb asks an agent's admin endpoint once and shows the answer: as text for people, or as the
//! agent's own document. All that is computed is computed by the agent; this program only words it.

pub mod agent;
pub mod answer;
pub mod args;

pub mod name;
pub mod output;
pub mod target;
pub mod verbs;

use std::{
    error::Error,
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use clap::Parser;

use crate::{
    agent::{Agent, AgentError},
    args::{Args, Verb},
    output::Shown,
};

/// What went wrong, in a sentence.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error("the agent at {agent} knows no TrafficSplit {name}")]
    NoSuchSplit { agent: String, name: String },
    #[error("cannot write the answer")]
    Write(#[from] io::Error),
}

/// The whole program.
pub fn main() -> ExitCode {
    let args = Args::try_parse().unwrap_or_else(|error| args::refuse(&error));
    match run(&args) {
        Ok(shown) if shown.is_fine => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("error: {}", with_causes(&failure));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<Shown, Failure> {
    let Args {
        admin,
        namespace,
        output,
        verb,
    } = args;
    let agent = Agent::at(*admin);
    let namespace = namespace.as_deref();
    let shown = match verb {
        Verb::Explain(question) => verbs::explain::run(&agent, namespace, question, *output)?,
        Verb::Get(question) => verbs::get::run(&agent, namespace, question, *output)?,
        Verb::Status => verbs::status::run(&agent, namespace, *output)?,
    };
    print(&shown.text)?;
    Ok(shown)
}

/// Whoever reads may have seen enough (`| head`), which is no failure.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
