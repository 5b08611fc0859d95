//! The command line. An option is here only if it acts.

use std::{net::SocketAddr, path::PathBuf, process};

use clap::{Args as Group, CommandFactory, Parser, Subcommand, error::ErrorKind};

use crate::{
    cluster::Named,
    output::Output,
    verbs::{explain, get, status, watch},
};

/// Shows how connections are split, where a connect goes and why, and how the nodes do.
///
/// It asks the cluster of the kubeconfig, as kubectl does; or one agent, named with --admin. Where
/// there is no kubeconfig it asks the agent of this machine. Put it on PATH and it is
/// `kubectl sluice` too.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-sluice",
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        kubectl-sluice get -A                                  every split, and the share of each version\n  \
        kubectl-sluice get shop/checkout -o wide               one of them, its conditions, and each node\n  \
        kubectl-sluice get lrp -A                              the same of another kind\n  \
        kubectl-sluice explain shop/cart 10.96.0.10:80         where a connect of this pod goes, and why\n  \
        kubectl-sluice -n shop explain cart 10.96.0.10         every port of the address\n  \
        kubectl-sluice watch shop/checkout                     shares as asked, as they act, and as measured\n  \
        kubectl-sluice status                                  are the nodes well?\n  \
        kubectl-sluice status --node node-1                    one of them in detail\n  \
        kubectl-sluice --admin 127.0.0.1:9876 status           an agent in no cluster\n\n\
        Exit code: 0 if all is well; 1 if a node is not ready, if `explain` found the kernel's maps to\n\
        differ from what is wanted, or if there was no answer; 2 for a wrong command line."
)]
pub struct Args {
    #[command(flatten)]
    pub way: Whom,

    #[command(flatten)]
    pub scope: Scope,

    #[command(subcommand)]
    pub verb: Verb,
}

/// Whom to ask.
#[derive(Clone, Debug, Group)]
pub struct Whom {
    /// The admin address of one agent, to ask it and no cluster.
    #[arg(
        long,
        env = "SLUICE_ADMIN",
        value_name = "ADDRESS:PORT",
        conflicts_with_all = ["kubeconfig", "context"],
        global = true
    )]
    pub admin: Option<SocketAddr>,

    /// The kubeconfig of the cluster to ask [default: what KUBECONFIG names, else ~/.kube/config].
    #[arg(long, value_name = "FILE", global = true)]
    pub kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig [default: its current one].
    #[arg(long, value_name = "NAME", global = true)]
    pub context: Option<String>,

    /// The namespace of the agents' pods.
    #[arg(
        long,
        env = "SLUICE_AGENT_NAMESPACE",
        value_name = "NAMESPACE",
        default_value = "sluice-system",
        global = true
    )]
    pub agent_namespace: String,
}

/// Which objects, and in which form.
#[derive(Clone, Debug, Group)]
pub struct Scope {
    /// The namespace of names that are given without one [default: the context's, else `default`].
    /// `get` without a name looks at this namespace only; an agent outside of clusters is asked for
    /// all of them if none is given.
    #[arg(
        short,
        long,
        env = "SLUICE_NAMESPACE",
        value_name = "NAMESPACE",
        global = true
    )]
    pub namespace: Option<String>,

    /// Look at all namespaces.
    #[arg(short = 'A', long, global = true)]
    pub all_namespaces: bool,

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
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Explain(explain::Question),
    Get(get::Question),
    Status(status::Question),
    Watch(watch::Question),
}

impl Whom {
    pub fn named(self) -> Named {
        Named {
            kubeconfig: self.kubeconfig,
            context: self.context,
            agents: self.agent_namespace,
        }
    }
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
                complaint(&["--kubeconfig", "x", "--admin", "127.0.0.1:1", "status"]),
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
