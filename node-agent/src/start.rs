//! From a command line to a running agent.

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{CommandFactory, error::ErrorKind};
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
    inputs::files::Files,
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
            let text = "nothing to do: --node-name and --manifests, or a verb";
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
    let files = Files::open(&run.manifests)?;
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
        files,
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
