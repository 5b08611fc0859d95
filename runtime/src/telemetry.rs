//! Logs: lines on stderr, for people or for programs.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use tracing_subscriber::{EnvFilter, filter::ParseError};

/// What a command line says about logs.
#[derive(Args, Clone, Debug)]
pub struct Logs {
    /// Which log lines to show, as `tracing` filters read: `info`, `debug`, `sluice_runtime=trace`.
    #[arg(
        long,
        env = "SLUICE_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log: String,

    /// The form of log lines.
    #[arg(long, env = "SLUICE_LOG_FORMAT", value_enum, default_value_t = Format::Text)]
    pub log_format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Debug, thiserror::Error)]
#[error("{filter:?} is not a log filter (--log)")]
pub struct NoFilter {
    filter: String,
    source: ParseError,
}

impl Logs {
    /// Once in a process, before anything is logged.
    pub fn start(&self) -> Result<(), NoFilter> {
        let filter = EnvFilter::try_new(&self.log).map_err(|source| NoFilter {
            filter: self.log.clone(),
            source,
        })?;
        let logs = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal());
        match self.log_format {
            Format::Text => logs.init(),
            Format::Json => logs.json().init(),
        }
        Ok(())
    }
}
