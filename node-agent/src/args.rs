//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use sluice_runtime::{client::Way, telemetry::Logs};

use crate::program::{Refusal, Sizes};

/// Where an agent pins if it is told nothing else.
const BPFFS: &str = "/sys/fs/bpf/sluice";

/// Keeps one node's kernel sending each connect where Services and TrafficSplits say.
///
/// Programs and maps are pinned: they go on while the agent is stopped, crashed or being replaced.
#[derive(Debug, Parser)]
#[command(
    name = "sluice-node-agent",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Example: sluice-node-agent --node-name node-1 --kubeconfig /etc/sluice/kubeconfig\n\
                  Or:      sluice-node-agent --node-name edge-1 --manifests /etc/sluice/manifests\n\
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
// Options that come from elsewhere would leave the group empty, and it would never be there.
#[group(args = ["node_name"])]
pub struct Run {
    /// This node's name, as reports and metrics show it.
    #[arg(long, env = "SLUICE_NODE_NAME", value_name = "NAME")]
    pub node_name: String,

    #[command(flatten)]
    pub way: Way,

    /// A directory of manifests (Services, EndpointSlices, TrafficSplits, Pods; YAML or JSON) instead
    /// of a cluster. It is watched; a file counts once its writer has closed it.
    #[arg(
        long,
        env = "SLUICE_MANIFESTS",
        value_name = "DIR",
        conflicts_with_all = ["kubeconfig", "api_server"]
    )]
    pub manifests: Option<PathBuf>,

    /// Where the last good content of each manifest is kept over restarts.
    #[arg(
        long,
        env = "SLUICE_STATE",
        value_name = "DIR",
        default_value = "/var/lib/sluice"
    )]
    pub state: PathBuf,

    /// The cgroup v2 folder below which connects are steered. Found by itself when not given.
    #[arg(long, env = "SLUICE_CGROUP_ROOT", value_name = "DIR")]
    pub cgroup_root: Option<PathBuf>,

    /// Where programs and maps are pinned, on a BPF file system.
    #[arg(
        long,
        env = "SLUICE_BPFFS",
        value_name = "DIR",
        default_value = BPFFS
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

    /// How long at least between two writes of this node's NodeReport.
    #[arg(long, env = "SLUICE_REPORT_EVERY", value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub report_every: Duration,

    /// How to refuse a connect that has no backend, instead of the best way that the kernel has.
    #[arg(long, env = "SLUICE_REFUSAL", value_enum)]
    pub refusal: Option<Refusal>,

    #[command(flatten)]
    pub sizes: Sizes,

    #[command(flatten)]
    pub logs: Logs,
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

    /// Mount a BPF file system for this node, unless it has one. Needs root.
    Mount {
        /// Where programs and maps are to be pinned below.
        #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf")]
        bpffs: PathBuf,
    },

    /// Take Sluice off this node: detach its programs, then remove its maps and folders.
    ///
    /// Refused while an agent runs. Connections that are established go on. Needs root; may be repeated.
    Cleanup(Cleanup),

    /// Have the programs of this node leave every new connect alone, or steer again. Needs root.
    ///
    /// It acts at once, whether an agent runs or not, and stays over restarts and upgrades. Switched off, the
    /// agent goes on keeping the maps, and is not ready.
    Switch(Switch),
}

/// What `switch` works on.
#[derive(Clone, Debug, Group)]
pub struct Switch {
    #[arg(value_enum)]
    pub to: Position,

    /// Where the agent has pinned its programs and maps.
    #[arg(long, env = "SLUICE_BPFFS", value_name = "DIR", default_value = BPFFS)]
    pub bpffs: PathBuf,
}

/// Whether connects are steered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Position {
    Off,
    On,
}

/// What `cleanup` works on.
#[derive(Clone, Debug, Group)]
pub struct Cleanup {
    /// Where the agent has pinned its programs and maps.
    #[arg(long, env = "SLUICE_BPFFS", value_name = "DIR", default_value = BPFFS)]
    pub bpffs: PathBuf,

    /// Also remove what an agent on manifests has kept here over restarts.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,

    /// Stay until SIGTERM when all is done: for a DaemonSet, whose pods do not end by themselves.
    #[arg(long)]
    pub stay: bool,

    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
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
        let args = Args::try_parse_from(["agent", "--node-name", "n", "--manifests", "d"]);
        assert!(args.is_ok_and(|args| args.run.is_some() && args.verb.is_none()));
    }

    #[test]
    fn there_is_one_input() {
        let parse = |more: &[&str]| {
            let args = [&["agent", "--node-name", "n"], more].concat();
            Args::try_parse_from(args)
        };
        assert!(parse(&[]).is_ok());
        assert!(
            parse(&[
                "--kubeconfig",
                "k",
                "--api-server",
                "https://192.0.2.1:6443"
            ])
            .is_ok()
        );
        assert!(parse(&["--manifests", "d", "--kubeconfig", "k"]).is_err());
        assert!(parse(&["--manifests", "d", "--api-server", "https://192.0.2.1"]).is_err());
        assert!(parse(&["--api-server", "192.0.2.1"]).is_err());
    }

    #[test]
    fn times_are_positive_seconds() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "soon", "1e99", "NaN"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
