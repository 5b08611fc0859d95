//! How the demo reads at a terminal: steps, what is promised, what was measured.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

const GREEN: &str = "32";
const RED: &str = "1;31";
const BOLD: &str = "1";
const FAINT: &str = "2";

/// Counts what was promised and what was kept.
#[derive(Debug, Default)]
pub(crate) struct Story {
    steps: usize,
    checked: usize,
    broken: usize,
}

impl Story {
    pub(crate) fn begin(&self, title: &str) {
        println!("{}", painted(BOLD, title));
    }

    pub(crate) fn step(&mut self, title: &str, promise: &str) {
        self.steps += 1;
        println!();
        println!("{}", painted(BOLD, &format!("{}. {title}", self.steps)));
        println!("   {}  {promise}", painted(FAINT, "promised"));
    }

    /// A line of the story that promises nothing.
    pub(crate) fn tell(&self, what: &str) {
        println!("   {}  {what}", painted(FAINT, "        "));
    }

    /// A measured result, and whether it is what was promised.
    pub(crate) fn measure(&mut self, is_kept: bool, measured: &str) {
        self.checked += 1;
        let mark = if is_kept {
            painted(GREEN, "✓")
        } else {
            self.broken += 1;
            painted(RED, "✗")
        };
        println!(" {mark} {}  {measured}", painted(FAINT, "measured"));
    }

    /// What another program printed.
    pub(crate) fn quote(&self, command: &str, output: &str) {
        println!();
        println!("   {}", painted(BOLD, &format!("$ {command}")));
        for line in output.lines() {
            println!("{}", format!("   {line}").trim_end());
        }
        println!();
    }

    pub(crate) fn end(&self, took: Duration) {
        let Self {
            checked, broken, ..
        } = self;
        println!();
        let verdict = if self.is_kept() {
            painted(GREEN, &format!("All {checked} results are as promised"))
        } else {
            painted(
                RED,
                &format!("{broken} of {checked} results are not as promised"),
            )
        };
        println!("{verdict}, in {:.1} s.", took.as_secs_f64());
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.broken == 0
    }
}

fn painted(colour: &str, text: &str) -> String {
    if io::stdout().is_terminal() {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
