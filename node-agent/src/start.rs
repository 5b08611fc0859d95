//! From a command line to a running agent.

use std::{error::Error, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::{CommandFactory, error::ErrorKind};
use sluice_model::key::NodeKey;
use sluice_node_abi::maps::{self, Setting};
use sluice_runtime::{
    admin::Admin,
    client::{ClientError, Server},
    pause::Pause,
    shutdown::Shutdown,
};
use tokio::{sync::watch, time::sleep};
use tracing::{error, info, warn};

use crate::{
    admin,
    agent::{self, Agent, Attach, Ended, Handle, drive, status::Node},
    args::{Args, Run, Verb},
    bpf, bpffs,
    callers::{Callers, Tree},
    cleanup,
    features::{self, Feature, Features},
    inputs::{Input, News, cluster::Cluster, files::Files},
    maps::kernel::Kernel,
    node,
    program::{AttachError, Pins, Programs, Refusal},
    report::Writer,
    sockets::{Sockets, Storage},
    switch,
};

/// The whole program.
pub fn run(args: &Args) -> Result<ExitCode> {
    match (&args.verb, &args.run) {
        (Some(Verb::Features { output }), _) => features::command(*output),
        (Some(Verb::Mount { bpffs }), _) => bpffs::command(bpffs),
        (Some(Verb::Switch(options)), _) => switch::command(options),
        (Some(Verb::Cleanup(options)), _) => cleanup::command(options),
        (None, Some(run)) => {
            run.logs.start()?;
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
    let own_node = NodeKey::parse("", &run.node_name)
        .with_context(|| format!("{:?} cannot be the name of a node", run.node_name))?;
    let features = Features::probe()?;
    features.sufficient()?;
    let cgroup_root = node::cgroup_root(run.cgroup_root.as_deref())?;
    let (world, server) = World::open(run).await?;
    let admin = Admin::listen(run.admin).await?;
    let shutdown = Shutdown::on_signal().context("cannot wait for signals")?;
    let _lock = node::hold(&run.bpffs)?;

    let pins = Pins::new(&run.bpffs);
    let refusal = run.refusal.unwrap_or_else(|| Refusal::fitting(&features));
    let found = pins.prepare(run.sizes)?;
    if !found.missing.is_empty() {
        warn!(
            missing = ?found.missing,
            "some of the pinned maps are gone, so all are made anew; until they are filled connects go on by the old ones",
        );
    }
    if !found.resized.is_empty() {
        info!(
            resized = ?found.resized,
            "the pinned maps have other sizes than these options give, so all are made anew; until they are filled connects go on by the old ones",
        );
    }
    let mut programs = Programs::load(&pins, refusal, run.sizes)?;
    let maps = Kernel::open(&pins)?;
    maps.go_on_from(&found)?;
    let network = node::network_cookie().context("cannot tell the host's network namespace")?;
    maps.set(Setting::HostNetwork, network)?;
    let mut agent = Agent::start(maps)?.on_node(own_node);
    let tree = Tree::read(&cgroup_root);
    agent.maps().set(Setting::CallerLevels, tree.setting())?;
    agent.find_callers(&tree);
    info!(
        node = run.node_name,
        kernel = features.kernel,
        cgroup_root = %cgroup_root.display(),
        pins = %run.bpffs.display(),
        admin = %admin.address()?,
        ?refusal,
        "starting",
    );

    let node = Node {
        name: run.node_name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        boot: node::boot().context("cannot tell this start of the machine from others")?,
        features,
        refusal,
        cgroup_root: cgroup_root.clone(),
        pins: run.bpffs.clone(),
    };
    let (handle, questions) = agent::handle();
    let (turns, turned) = watch::channel(());
    let storage = storage_in_sockets(&mut programs, &pins, &node);
    let sockets = storage.map(|storage| {
        let (handle, root) = (handle.clone(), cgroup_root.clone());
        Sockets::new(handle, turned.clone(), root, storage, run.check_every)
    });
    let sockets = async {
        let Some(sockets) = sockets else { return };
        tokio::select! {
            () = shutdown.clone().asked() => {}
            () = sockets.run() => {}
        }
    };
    let callers = follow_callers(handle.clone(), cgroup_root.clone(), shutdown.clone());
    let report = async {
        let Some(server) = server else { return };
        let (handle, node) = (handle.clone(), node.clone());
        let writer = Writer::new(handle, turned, server.client, node, run.report_every);
        tokio::select! {
            () = shutdown.clone().asked() => {}
            () = writer.run() => {}
        }
    };
    let router = admin::router(handle.clone(), node.clone());
    let admin = admin.serve(router, shutdown.clone());
    let programs = OnCgroup {
        programs,
        cgroup_root,
    };
    let work = drive(
        agent,
        world,
        programs,
        questions,
        turns,
        run.check_every,
        shutdown.clone().asked(),
    );
    let (served, (), (), (), ()) = tokio::join!(admin, work, report, sockets, callers);
    info!("ended; the kernel goes on as it is");
    Ok(served?)
}

/// What it takes to end sockets whose backend has gone, where the kernel can.
fn storage_in_sockets(programs: &mut Programs, pins: &Pins, node: &Node) -> Option<Storage> {
    let consequence = "UDP sockets may stay with a backend that has gone";
    for needed in [Feature::SocketDestroy, Feature::TypeInformation] {
        if !node.features.has(needed) {
            warn!("{consequence}: this kernel lacks {needed}");
            return None;
        }
    }
    let map = bpf::open_pinned(&pins.map(maps::SOCKETS)).map_err(anyhow::Error::from);
    let storage = map.and_then(|map| {
        let survey = programs.survey()?.into();
        Ok(Storage { map, survey })
    });
    match storage {
        Ok(storage) => Some(storage),
        Err(error) => {
            warn!("{consequence}: {error:#}");
            None
        }
    }
}

/// Tells the agent where pods are in the tree of cgroups, until the end.
async fn follow_callers(handle: Handle<Kernel>, root: PathBuf, shutdown: Shutdown) {
    let mut callers = match Callers::watch(&root) {
        Ok(callers) => callers,
        Err(error) => {
            error!(%error, "cannot watch the cgroups: pods that opt out are not left alone");
            return;
        }
    };
    let mut stop = std::pin::pin!(shutdown.asked());
    loop {
        let told = tokio::select! {
            () = &mut stop => return,
            told = async { tell(&handle, callers.next().await).await } => told,
        };
        if let Err(Ended) = told {
            return;
        }
    }
}

/// Tries until the maps have it.
async fn tell(handle: &Handle<Kernel>, tree: Tree) -> Result<(), Ended> {
    let mut pause = Pause::default();
    loop {
        let tree = tree.clone();
        let told = handle.ask(move |agent| {
            agent.find_callers(&tree);
            agent.maps().set(Setting::CallerLevels, tree.setting())
        });
        let Err(error) = told.await? else {
            return Ok(());
        };
        let again_in = pause.longer();
        error!(
            error = &error as &dyn Error,
            ?again_in,
            "cannot tell callers apart"
        );
        sleep(again_in).await;
    }
}

/// Where the objects are.
enum World {
    Files(Box<Files>),
    Cluster(Box<Cluster>),
}

impl World {
    /// With the API server, where there is one to report to.
    async fn open(run: &Run) -> Result<(Self, Option<Server>)> {
        if let Some(manifests) = &run.manifests {
            let files = Files::open(manifests, &run.state)?;
            return Ok((Self::Files(files.into()), None));
        }
        let server = match run.way.open().await {
            Err(ClientError::Nowhere) => bail!("{}, or give --manifests", ClientError::Nowhere),
            server => server?,
        };
        info!(server = %server.url, "watching a cluster");
        let cluster = Cluster::watch(&server, &run.node_name);
        Ok((Self::Cluster(cluster.into()), Some(server)))
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
