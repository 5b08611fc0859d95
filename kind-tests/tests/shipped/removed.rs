//! The way back: nothing of Sluice remains, and kube-proxy serves the Services.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use sluice_kind_tests::echo;
use sluice_kind_tests::shop::Shop;
use sluice_testbed::bpf;
use sluice_testbed::cluster::{Cluster, Mode, shipped};
use sluice_testbed::load::Target;
use sluice_testbed::tier::eventually;

use crate::bed::{PATIENCE, SCENE, alone};
use crate::rights;

/// What an installation could leave behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Pins in the nodes' BPF file systems.
    pins: BTreeSet<String>,
    /// Programs on the nodes' cgroups: where, and the program's number.
    programs: BTreeSet<String>,
    /// Network links of the nodes, but for those that the pods' plugin makes.
    links: BTreeSet<String>,
    /// Objects outside of namespaces: webhook configurations, CRDs, roles, namespaces.
    objects: BTreeSet<String>,
}

impl Listing {
    pub(crate) fn of(cluster: &Cluster) -> Result<Self> {
        let mut listing = Self {
            pins: BTreeSet::new(),
            programs: BTreeSet::new(),
            links: BTreeSet::new(),
            objects: objects(cluster)?,
        };
        for node in cluster.nodes() {
            below(node.bpffs(), &mut |path| {
                listing.pins.insert(path.display().to_string());
                Ok(())
            })?;
            for program in bpf::programs_on(node.cgroup().path())? {
                listing
                    .programs
                    .insert(format!("{}: {program}", node.name()));
            }
            let links = node
                .netns()
                .run(|| Ok(fs::read_to_string("/proc/thread-self/net/dev")?))?;
            let names = links.lines().filter_map(|line| line.split_once(':'));
            let names = names.map(|(name, _)| name.trim());
            let of_pods = |name: &&str| name.starts_with("veth") || name.starts_with("cni");
            for name in names.filter(|name| !of_pods(name)) {
                listing.links.insert(format!("{}: {name}", node.name()));
            }
        }
        Ok(listing)
    }
}

pub(crate) fn what_is_removed_leaves_nothing_and_kube_proxy_takes_over() -> Result<()> {
    let bed = alone()?;
    let own = bed.own()?;
    let cluster = &own.cluster;
    let shop = Shop::open(&bed, SCENE)?;
    shop.weigh(90, 10)?;
    shop.programmed()?;
    let with = Listing::of(cluster)?;
    ensure!(
        with.pins != own.before.pins && with.programs != own.before.programs,
        "an installation leaves no traces: {with:?}"
    );

    rights::remember(cluster)?;
    cluster.uninstall()?;
    eventually(PATIENCE, "all is as before the installation", || {
        let now = Listing::of(cluster)?;
        ensure!(now.pins == own.before.pins, "{:?}", now.pins);
        ensure!(now.programs == own.before.programs, "{:?}", now.programs);
        ensure!(now.links == own.before.links, "{:?}", now.links);
        let added: Vec<_> = now.objects.difference(&own.before.objects).collect();
        // The tests' own namespaces are none of Sluice's.
        let added: Vec<_> = added
            .iter()
            .filter(|object| object.contains("sluice"))
            .collect();
        ensure!(added.is_empty(), "{added:?}");
        Ok(())
    })?;

    let kube_proxies = cluster.start_kube_proxy(Mode::Nftables)?;
    for node in cluster.nodes() {
        let name = format!("client-{}", node.name());
        let client = echo::client(&bed, shop.namespace(), &name, node.name())?;
        for address in &shop.addresses {
            for target in [Target::tcp(*address), Target::udp(*address)] {
                let answer =
                    eventually(PATIENCE, "the Service answers", || client.connect(target))?;
                // Without a split it is the Service's own endpoints that do.
                ensure!(answer.version == "v0", "{target}: {answer:?}");
            }
        }
    }
    drop(kube_proxies);
    cluster.install(shipped::VERSION)?;
    shop.weigh(90, 10)?;
    shop.programmed().map(drop)
}

fn objects(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let kinds = "validatingwebhookconfigurations,mutatingwebhookconfigurations,\
        validatingadmissionpolicies,validatingadmissionpolicybindings,\
        customresourcedefinitions,clusterroles,clusterrolebindings,namespaces,priorityclasses";
    let names = cluster.kubectl(["get", kinds, "--output=name"])?;
    Ok(names.lines().map(str::to_owned).collect())
}

fn below(folder: &Path, each: &mut impl FnMut(&Path) -> Result<()>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        each(&path)?;
        if path.is_dir() {
            below(&path, each)?;
        }
    }
    Ok(())
}
