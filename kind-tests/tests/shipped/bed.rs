//! The cluster that the tests share, and the right to disturb it.

use std::env;
use std::ops::Deref;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sluice_kind_tests::common::{Alone, Common, Quiet};
use sluice_testbed::cluster::{Access, Cluster, Proxy, shipped};

use crate::removed::Listing;

/// Names the kubeconfig of a cluster of somebody else.
pub(crate) const FOREIGN: &str = "SLUICE_TEST_KUBECONFIG";
/// The namespace of the tests that disturb: one after the other, they use the same shop.
pub(crate) const SCENE: &str = "scene";
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A label of all that is installed.
pub(crate) const PART_OF_SLUICE: &str = "app.kubernetes.io/part-of=sluice";

/// A label of the agents' pods.
pub(crate) const AGENTS: &str = "app.kubernetes.io/name=sluice-node-agent";

static BED: Common<Bed> = Common::new(Bed::make);

pub(crate) enum Bed {
    Own(Box<Own>),
    Foreign(Access),
}

pub(crate) struct Own {
    pub(crate) cluster: Cluster,
    /// What was there before Sluice was.
    pub(crate) before: Listing,
}

/// For a test that leaves the others in peace; it has namespaces of its own.
pub(crate) fn quiet() -> Result<Quiet<Bed>> {
    BED.quiet()
}

/// For a test that disturbs others.
pub(crate) fn alone() -> Result<Alone<Bed>> {
    BED.alone()
}

impl Bed {
    fn make() -> Result<Self> {
        if let Some(kubeconfig) = env::var_os(FOREIGN).filter(|path| !path.is_empty()) {
            return Ok(Self::Foreign(Access::foreign(kubeconfig)));
        }
        let started = Instant::now();
        let mut cluster = Cluster::start().nodes(2).proxy(Proxy::None);
        for image in shipped::images(shipped::VERSION)? {
            cluster = cluster.image(image);
        }
        let cluster = cluster.up()?;
        let before = Listing::of(&cluster)?;
        cluster
            .install(shipped::VERSION)
            .with_context(|| said(&cluster))?;
        println!(
            "a cluster with Sluice on both nodes is up after {:.1} s",
            started.elapsed().as_secs_f64()
        );
        Ok(Self::Own(Box::new(Own { cluster, before })))
    }

    /// The cluster that the testbed has raised.
    pub(crate) fn own(&self) -> Result<&Own> {
        match self {
            Self::Own(own) => Ok(own),
            Self::Foreign(_) => bail!("this cluster is somebody else's"),
        }
    }

    /// The names of the nodes that have an agent.
    pub(crate) fn nodes(&self) -> Result<Vec<String>> {
        let list = ["pods", "--namespace", shipped::NAMESPACE];
        let pods = self
            .client()
            .get([&list[..], &["--selector", AGENTS]].concat())?;
        let pods = pods["items"].as_array().context("a list has items")?;
        let names = pods
            .iter()
            .map(|pod| pod["spec"]["nodeName"].as_str().map(str::to_owned));
        let mut names: Vec<_> = names
            .collect::<Option<_>>()
            .context("a pod is on no node")?;
        names.sort();
        Ok(names)
    }
}

/// What the pods of Sluice say, for whoever has to find out why one is not ready.
fn said(access: &Access) -> String {
    let there = ["--namespace", shipped::NAMESPACE];
    let pods = access.kubectl([&["get", "pods", "--output=wide"][..], &there].concat());
    let logs = [
        "logs",
        "--prefix",
        "--tail=10",
        "--selector",
        PART_OF_SLUICE,
    ];
    let logs = access.kubectl([&logs[..], &there].concat());
    [pods, logs]
        .map(|text| text.unwrap_or_else(|error| format!("{error:#}")))
        .join("\n")
}

impl Deref for Bed {
    type Target = Access;

    fn deref(&self) -> &Access {
        match self {
            Self::Own(own) => &own.cluster,
            Self::Foreign(access) => access,
        }
    }
}
