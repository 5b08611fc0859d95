//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args as Group, Parser, Subcommand, ValueEnum};

use crate::program::Refusal;

/// Keeps one node's kernel sending each connect where Services and TrafficSplits say.
///
/// Programs and maps are pinned: they go on while the agent is stopped, crashed or being replaced.
#[derive(Debug, Parser)]
#[command(
    name = "sluice-node-agent",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Example: sluice-node-agent --node-name edge-1 --manifests /etc/sluice/manifests\n\
                  Then:    kubectl-sluice --admin 127.0.0.1:9876 explain host 10.96.0.10:80"
)]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,

    #[command(flatten)]
    pub run: Option<Run>,
}

/// What the agent works with.
#[derive(Clone, Debug, Group)]
pub struct Run {
    /// This node's name, as reports and metrics show it.
    #[arg(long, env = "SLUICE_NODE_NAME", value_name = "NAME")]
    pub node_name: String,

    /// A directory of manifests (Services, EndpointSlices, TrafficSplits, Pods; YAML or JSON). It is
    /// watched; a file counts once its writer has closed it.
    #[arg(long, env = "SLUICE_MANIFESTS", value_name = "DIR")]
    pub manifests: PathBuf,

    /// The cgroup v2 folder below which connects are steered. Found by itself when not given.
    #[arg(long, env = "SLUICE_CGROUP_ROOT", value_name = "DIR")]
    pub cgroup_root: Option<PathBuf>,

    /// Where programs and maps are pinned, on a BPF file system.
    #[arg(
        long,
        env = "SLUICE_BPFFS",
        value_name = "DIR",
        default_value = "/sys/fs/bpf/sluice"
    )]
    pub bpffs: PathBuf,

    /// Where health, metrics and answers are served.
    #[arg(
        long,
        env = "SLUICE_ADMIN",
        value_name = "ADDR",
        default_value = "127.0.0.1:9876"
    )]
    pub admin: SocketAddr,

    /// How often the maps, the programs and a connect of its own are checked, and put right.
    #[arg(long, env = "SLUICE_CHECK_EVERY", value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub check_every: Duration,

    /// How to refuse a connect that has no backend, instead of the best way that the kernel has.
    #[arg(long, env = "SLUICE_REFUSAL", value_enum)]
    pub refusal: Option<Refusal>,

    /// Which log lines to show, as `tracing` filters read: `info`, `debug`, `sluice_node_agent=trace`.
    #[arg(
        long,
        env = "SLUICE_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log: String,

    /// The form of log lines.
    #[arg(long, env = "SLUICE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Say what this kernel has of what Sluice uses; exits with 1 if it cannot run Sluice.
    ///
    /// Each feature is tried, not guessed from a version. Needs root.
    Features {
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "a number of seconds above 0, such as 30 or 0.5".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
    if duration.is_zero() {
        Err(wrong())
    } else {
        Ok(duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_needs_none_of_the_options_and_excludes_them() {
        assert!(Args::try_parse_from(["agent", "features"]).is_ok());
        assert!(Args::try_parse_from(["agent", "--node-name", "n", "features"]).is_err());
        assert!(Args::try_parse_from(["agent", "--node-name", "n"]).is_err());
        let args = Args::try_parse_from(["agent", "--node-name", "n", "--manifests", "d"]);
        assert!(args.is_ok_and(|args| args.run.is_some() && args.verb.is_none()));
    }

    #[test]
    fn times_are_positive_seconds() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "soon", "1e99", "NaN"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
