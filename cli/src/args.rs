//! The command line. An option is here only if it acts.

use std::{net::SocketAddr, process};

use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind};

use crate::{
    output::Output,
    verbs::{explain, get},
};

/// Shows where connects go and why, as a node's agent knows it and as its kernel holds it.
///
/// Put it on PATH and it is `kubectl sluice` too.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-sluice",
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        kubectl-sluice status                                  is this node well?\n  \
        kubectl-sluice get                                     every split, and the share of each version\n  \
        kubectl-sluice get shop/checkout                       one of them, with its conditions\n  \
        kubectl-sluice explain host 10.96.0.10:80              where a connect of this host goes, and why\n  \
        kubectl-sluice -n shop explain cart 10.96.0.10         for the pod shop/cart, every port\n  \
        kubectl-sluice --admin 192.0.2.7:9876 get -o json      another node's agent, for a program\n\n\
        Exit code: 0 if all is well; 1 if the node is not ready, if `explain` found the kernel's maps to\n\
        differ from what is wanted, or if there was no answer; 2 for a wrong command line."
)]
pub struct Args {
    /// The admin address of the agent to ask.
    #[arg(
        long,
        env = "SLUICE_ADMIN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:9876",
        global = true
    )]
    pub admin: SocketAddr,

    /// The namespace of names that are given without one [default: `default`]; `get` without a name
    /// and `status` look at all namespaces if it is not given.
    #[arg(
        short,
        long,
        env = "SLUICE_NAMESPACE",
        value_name = "NAMESPACE",
        global = true
    )]
    pub namespace: Option<String>,

    /// The form of the answer.
    #[arg(
        short,
        long,
        env = "SLUICE_OUTPUT",
        value_enum,
        default_value_t,
        global = true
    )]
    pub output: Output,

    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Explain(explain::Question),
    Get(get::Question),
    /// Is the node well: its self-test, files that could not be read, objects with problems, room in
    /// the maps.
    ///
    /// Exits with 1 if the node is not ready.
    #[command(after_help = "Examples:\n  \
            kubectl-sluice status\n  \
            kubectl-sluice status -n shop     only objects of this namespace")]
    Status,
}

/// Ends the program: with the help that was asked for, or with what is wrong in one sentence.
pub fn refuse(error: &clap::Error) -> ! {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
        // An environment variable counts as an argument, and nothing was typed all the same.
        ErrorKind::MissingSubcommand => {
            eprint!("{}", Args::command().render_help());
            process::exit(error.exit_code());
        }
        _ => {
            eprintln!("{}", sentence(&error.to_string()));
            process::exit(error.exit_code());
        }
    }
}

/// The complaint without the lines on usage that follow it.
fn sentence(text: &str) -> String {
    let complaint = text.split("\n\nUsage:").next().unwrap_or(text);
    let complaint = complaint
        .split("\n\nFor more information")
        .next()
        .unwrap_or(complaint);
    let complaint = complaint.replace("\n\n  tip:", ";");
    let words: Vec<_> = complaint.split_whitespace().collect();
    format!("{} (see --help)", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(args: &[&str]) -> String {
        let args = ["kubectl-sluice"].iter().chain(args);
        sentence(&Args::try_parse_from(args).unwrap_err().to_string())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_wrong_command_line_is_one_sentence() {
        insta::assert_snapshot!(
            [
                complaint(&["--kubeconfig", "x", "status"]),
                complaint(&["stat"]),
                complaint(&["explain"]),
                complaint(&["explain", "host", "checkout"]),
                complaint(&["explain", "host", "10.0.0.1:0"]),
                complaint(&["explain", "a/b/c", "10.0.0.1"]),
                complaint(&["get", "Shop/checkout"]),
                complaint(&["--admin", "node-1", "status"]),
                complaint(&["status", "-o", "xml"]),
            ]
            .join("\n")
        );
    }
}
