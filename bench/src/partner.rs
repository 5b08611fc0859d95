//! A process of our own elsewhere (another namespace, another cgroup) that takes orders, one at a time.
//!
//! It is this very program in another role. Orders and answers are lines of JSON on its standard input and output.

use std::fmt::Display;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::marker::PhantomData;
use std::process::{ChildStdin, ChildStdout};

use anyhow::{Context as _, Result, anyhow};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sluice_testbed::process::{Command, Process};

/// The owner's end; dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Partner<Order, Told> {
    process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    tongue: PhantomData<fn(Order) -> Told>,
}

impl<Order: Serialize, Told: DeserializeOwned> Partner<Order, Told> {
    pub(crate) fn start(command: Command) -> Result<Self> {
        let mut process = command.piped().spawn()?;
        let (input, output) = process.pipes().context("the process has no pipes")?;
        Ok(Self {
            process,
            input,
            output: BufReader::new(output),
            tongue: PhantomData,
        })
    }

    /// Gives an order and waits for the answer.
    pub(crate) fn ask(&mut self, order: &Order) -> Result<Told> {
        self.begin(order)?;
        self.finish()
    }

    /// Gives an order; [`Partner::finish`] has to follow.
    pub(crate) fn begin(&mut self, order: &Order) -> Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        let name = self.process.name();
        self.input
            .write_all(&line)
            .with_context(|| format!("{name} has ended"))
    }

    pub(crate) fn finish(&mut self) -> Result<Told> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let name = self.process.name();
        let told: Result<Told, String> = serde_json::from_str(&line)
            .with_context(|| format!("{name} has ended: {:?}", self.process.output()))?;
        told.map_err(|error| anyhow!("{name}: {error}"))
    }
}

/// The other end: carries out orders until the owner goes.
pub(crate) fn serve<Order: DeserializeOwned, Told: Serialize>(
    mut work: impl FnMut(Order) -> Result<Told>,
) -> Result<()> {
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let order: Order = serde_json::from_str(&line?)?;
        let told = work(order).map_err(|error| text(&error));
        let mut line = serde_json::to_vec(&told)?;
        line.push(b'\n');
        output.write_all(&line)?;
        output.flush()?;
    }
    Ok(())
}

fn text(error: &dyn Display) -> String {
    format!("{error:#}")
}
