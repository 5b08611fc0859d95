//! From a command line to a running operator.

use std::fs;

use anyhow::{Context, Result};
use sluice_runtime::{admin::Admin, apply::Writer, shutdown::Shutdown};
use tracing::info;

use crate::{
    admin,
    args::Args,
    certificates::Keeper,
    events::Events,
    inputs,
    leader::Candidate,
    operator::{self, Operator},
};

/// The name under which changes of status are made.
const MANAGER: &str = "sluice-operator";

/// The whole program.
pub fn run(args: &Args) -> Result<()> {
    args.logs.start()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: &Args) -> Result<()> {
    let server = args.way.open().await?;
    let admin = Admin::listen(args.admin).await?;
    let shutdown = Shutdown::on_signal().context("cannot wait for signals")?;
    let identity = identity()?;
    info!(
        server = %server.url,
        namespace = args.namespace,
        admin = %admin.address()?,
        identity,
        "starting",
    );

    let (candidate, leadership) = Candidate::new(&server, &args.namespace, &identity);
    let (keeper, expiries) = Keeper::new(&server, &args.namespace, leadership.clone());
    let writer = Writer::new(server.client.clone(), MANAGER);
    let events = Events::new(server.client.clone(), &identity);
    let watches = inputs::watch(&server, args.nodes.clone());
    let (handle, questions) = operator::handle();
    let operator = Operator::new(writer, events, leadership);
    let (served, (), (), ()) = tokio::join!(
        admin.serve(admin::router(handle, expiries), shutdown.clone()),
        operator.run(watches, questions, shutdown.clone()),
        keeper.run(shutdown.clone()),
        candidate.run(shutdown),
    );
    Ok(served?)
}

/// Another one for each process, also on the same host.
fn identity() -> Result<String> {
    let host =
        fs::read_to_string("/proc/sys/kernel/hostname").context("cannot read the host's name")?;
    let suffix: String = std::iter::repeat_with(fastrand::alphanumeric)
        .take(8)
        .collect();
    Ok(format!("{}_{}", host.trim(), suffix.to_lowercase()))
}
