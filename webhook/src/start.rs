//! From a command line to a running webhook.

use std::{sync::Arc, time::SystemTime};

use anyhow::{Context, Result};
use sluice_runtime::{
    admin::{self, Admin},
    shutdown::Shutdown,
};
use tokio::net::TcpListener;
use tracing::info;

use crate::{
    args::Args, limits::Limits, metrics::Metrics, router::router, server::Server, store::Store,
    tls::Certificates, vitals::Health,
};

/// The whole program.
pub fn run(args: &Args) -> Result<()> {
    args.logs.start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: &Args) -> Result<()> {
    let shutdown = Shutdown::on_signal().context("cannot wait for signals")?;
    let admin = Admin::listen(args.admin).await?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {} (--listen)", args.listen))?;
    let api_server = args.way.open().await?;

    let metrics = Arc::new(Metrics::default());
    let store = Store::default();
    let callers = args.client_ca.clone();
    let callers = callers.map(|file| (file, args.client_name.clone()));
    let certificates = Certificates::new(args.cert_dir.clone(), callers, Arc::clone(&metrics));
    let reasons = certificates.watch()?;
    certificates.reload(SystemTime::now());
    let router = router(&store, &metrics, &Limits::default());
    let server = Server::new(router, certificates.server_config()?, Arc::clone(&metrics));
    info!(
        listen = %listener.local_addr()?,
        admin = %admin.address()?,
        api_server = %api_server.url,
        certificates = %args.cert_dir.display(),
        "starting",
    );

    let health = Health {
        store: store.clone(),
        certificates: Arc::clone(&certificates),
        metrics,
        shutdown: shutdown.clone(),
    };
    let admin = admin.serve(admin::router().with_state(health), shutdown.clone());
    let work = server.serve(listener, shutdown.asked(), args.linger);
    tokio::select! {
        (served, ()) = async { tokio::join!(admin, work) } => Ok(served?),
        () = store.follow(&api_server) => Ok(()),
        () = certificates.follow(reasons) => Ok(()),
    }
}
