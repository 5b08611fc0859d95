//! dnsmasq in a pod: a real name server, which says in its log who asked for what.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpStream},
};

use anyhow::{Context, Result};
use sluice_testbed::{pod::Pod, process::Process, tier::eventually};

use super::programs;
use crate::bed::{Bed, PATIENCE};

pub(super) const DNS: u16 = 53;
/// Every name below this one has these two addresses.
pub(super) const ZONE: &str = "zoo.test";
pub(super) const ADDRESSES: [&str; 2] = ["192.0.2.10", "2001:db8::10"];
/// Names below this one do not exist.
pub(super) const NOWHERE: &str = "nowhere.test";
/// Has more text than an answer over UDP holds without EDNS.
pub(super) const LONG: &str = "long.text.test";

pub(super) struct NameServer {
    process: Process,
}

impl NameServer {
    pub(super) fn start(bed: &Bed, pod: &Pod) -> Result<Self> {
        let program = programs::find("dnsmasq")?;
        let text = ["a", "b", "c"].map(|letter| letter.repeat(250)).join(",");
        let command = bed
            .fabric
            .run()
            .command(&format!("dns-{}", pod.name()), program);
        let command = command
            .args(["--keep-in-foreground", "--log-facility=-", "--log-queries"])
            .args([
                "--user=root",
                "--group=root",
                "--conf-file=/dev/null",
                "--pid-file",
            ])
            .args(["--no-resolv", "--no-hosts", "--cache-size=0"])
            .args(ADDRESSES.map(|address| format!("--address=/{ZONE}/{address}")))
            .arg(format!("--local=/{NOWHERE}/"))
            .arg(format!("--txt-record={LONG},{text}"))
            .cgroup(pod.container_cgroup())
            .netns(pod.netns())?;
        let server = Self {
            process: command.spawn()?,
        };
        eventually(PATIENCE, "a name server", || {
            let open = pod
                .netns()
                .run(|| Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, DNS))?));
            open.map(drop)
                .with_context(|| server.process.output().unwrap_or_default())
        })?;
        Ok(server)
    }

    /// Who asked for this name, and for what of it: `query[A] name from address`.
    pub(super) fn asked(&self, name: &str) -> Result<BTreeSet<String>> {
        let log = self.process.output()?;
        let queries = log
            .lines()
            .filter_map(|line| line.find("query[").map(|at| &line[at..]));
        let of_name = queries.filter(|query| query.split(' ').nth(1) == Some(name));
        Ok(of_name.map(str::to_owned).collect())
    }
}
