//! From a command line to a running agent.

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::{CommandFactory, error::ErrorKind};
use sluice_runtime::client::{ClientError, Way};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::info;
use tracing_subscriber::EnvFilter;

use crate::{
    admin,
    agent::{self, Agent, Attach, drive, status::Node},
    args::{Args, LogFormat, Run, Verb},
    features::{self, Features},
    inputs::{Input, News, cluster::Cluster, files::Files},
    maps::kernel::Kernel,
    node,
    program::{AttachError, Pins, Programs, Refusal},
};

/// The whole program.
pub fn run(args: &Args) -> Result<ExitCode> {
    match (&args.verb, &args.run) {
        (Some(Verb::Features { output }), _) => features::command(*output),
        (None, Some(run)) => {
            log_to_stderr(run)?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(serve(run))?;
            Ok(ExitCode::SUCCESS)
        }
        (None, None) => {
            let text = "nothing to do: --node-name and an input, or a verb";
            Args::command()
                .error(ErrorKind::MissingRequiredArgument, text)
                .exit()
        }
    }
}

async fn serve(run: &Run) -> Result<()> {
    let features = Features::probe()?;
    features.sufficient()?;
    let cgroup_root = node::cgroup_root(run.cgroup_root.as_deref())?;
    let world = World::open(run).await?;
    let listener = TcpListener::bind(run.admin)
        .await
        .with_context(|| format!("cannot listen on {} (--admin)", run.admin))?;
    let _lock = node::hold(&run.bpffs)?;

    let pins = Pins::new(&run.bpffs);
    let refusal = run.refusal.unwrap_or_else(|| Refusal::fitting(&features));
    let programs = Programs::load(&pins, refusal)?;
    let agent = Agent::start(Kernel::open(&pins)?)?;
    info!(
        node = run.node_name,
        kernel = features.kernel,
        cgroup_root = %cgroup_root.display(),
        pins = %run.bpffs.display(),
        admin = %listener.local_addr()?,
        ?refusal,
        "starting",
    );

    let node = Node {
        name: run.node_name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        features,
        refusal,
        cgroup_root: cgroup_root.clone(),
        pins: run.bpffs.clone(),
    };
    let (handle, questions) = agent::handle();
    let (stop, stopped) = watch::channel(false);
    let stopping = |mut stopped: watch::Receiver<bool>| async move {
        // An error means that nobody can say "stop" any more, which is the same thing.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let admin = axum::serve(listener, admin::router(handle, node))
        .with_graceful_shutdown(stopping(stopped.clone()));
    let programs = OnCgroup {
        programs,
        cgroup_root,
    };
    let work = drive(
        agent,
        world,
        programs,
        questions,
        run.check_every,
        stopping(stopped),
    );
    let signal = async {
        let outcome = terminated().await;
        info!("ending; the kernel goes on as it is");
        let _ = stop.send(true);
        outcome
    };
    let (signal, served, ()) = tokio::join!(signal, admin.into_future(), work);
    signal.context("cannot wait for signals")?;
    served.context("the admin endpoints")?;
    Ok(())
}

/// Where the objects are.
enum World {
    Files(Box<Files>),
    Cluster(Cluster),
}

impl World {
    async fn open(run: &Run) -> Result<Self> {
        if let Some(manifests) = &run.manifests {
            return Ok(Self::Files(Files::open(manifests, &run.state)?.into()));
        }
        let way = Way {
            kubeconfig: run.kubeconfig.clone(),
            api_server: run.api_server.clone(),
        };
        let server = match way.open().await {
            Err(ClientError::Nowhere) => bail!("{}, or give --manifests", ClientError::Nowhere),
            server => server?,
        };
        info!(server = %server.url, "watching a cluster");
        Ok(Self::Cluster(Cluster::watch(&server, &run.node_name)))
    }
}

impl Input for World {
    async fn next(&mut self) -> News {
        match self {
            Self::Files(files) => files.next().await,
            Self::Cluster(cluster) => cluster.next().await,
        }
    }
}

/// The programs and where they belong.
struct OnCgroup {
    programs: Programs,
    cgroup_root: PathBuf,
}

impl Attach for OnCgroup {
    fn attach(&mut self) -> Result<usize, AttachError> {
        self.programs.attach(&self.cgroup_root)
    }
}

async fn terminated() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn log_to_stderr(run: &Run) -> Result<()> {
    let filter = EnvFilter::try_new(&run.log)
        .with_context(|| format!("{:?} is not a log filter (--log)", run.log))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match run.log_format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
    Ok(())
}
