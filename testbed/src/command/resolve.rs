//! `resolve`: what the resolver of this machine, or container, makes of a name.

use std::collections::BTreeSet;
use std::net::ToSocketAddrs as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

/// Print the addresses of a name, one per line, as the resolver finds them.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    name: String,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let found = (args.name.as_str(), 0).to_socket_addrs();
    let found = found.with_context(|| format!("looking for {}", args.name))?;
    for address in found.map(|address| address.ip()).collect::<BTreeSet<_>>() {
        println!("{address}");
    }
    Ok(ExitCode::SUCCESS)
}
