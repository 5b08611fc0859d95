//! The command line.

use std::net::SocketAddr;

use clap::Parser;
use sluice_runtime::{client::Way, telemetry::Logs};

use crate::selector::Selector;

/// Says in the status of each TrafficSplit what became of it, and keeps the webhook's certificates.
///
/// Connects do not need it: while it is away only status stands still. Several may run; one leads.
#[derive(Debug, Parser)]
#[command(
    name = "sluice-operator",
    version,
    after_help = "Example: sluice-operator --kubeconfig ~/.kube/config --namespace sluice-system"
)]
pub struct Args {
    #[command(flatten)]
    pub way: Way,

    /// The namespace of the operator's lease and of the webhook's certificates.
    #[arg(
        long,
        env = "SLUICE_NAMESPACE",
        value_name = "NS",
        default_value = "sluice-system"
    )]
    pub namespace: String,

    /// Where health and metrics are served.
    #[arg(
        long,
        env = "SLUICE_ADMIN",
        value_name = "ADDR",
        default_value = "127.0.0.1:9877"
    )]
    pub admin: SocketAddr,

    /// Which nodes should carry Sluice: a split is programmed when all of these say so. Written as
    /// for kubectl: `key=value`, `key!=value`, `key`, `!key`, with commas between; empty for all.
    #[arg(
        long,
        env = "SLUICE_NODES",
        value_name = "SELECTOR",
        default_value = "kubernetes.io/os=linux"
    )]
    pub nodes: Selector,

    #[command(flatten)]
    pub logs: Logs,
}
