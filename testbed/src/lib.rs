//! Nodes, pods and clusters for tests and for playing, from namespaces and cgroups.
//!
//! A [`Run`] owns everything that is made on the machine; its id is part of every name, so that what a killed run
//! leaves can be found and removed by the next one. On it stand a [`fabric::Fabric`] that joins nodes, and nodes
//! with pods. Programs that use the testbed call [`entry`] first: pods are this very binary, executed again.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! sluice_testbed::entry();
//! let fabric = sluice_testbed::fabric::Fabric::start()?;
//! let (near, far) = (fabric.node("node-1")?, fabric.node("node-2")?);
//! let server = far.pod("server").version("v1").port(80).start()?;
//! let client = near.pod("client").start()?;
//! for address in server.at(80) {
//!     assert_eq!(client.connect(address)?.version, "v1");
//! }
//! # Ok(())
//! # }
//! ```

pub mod bpf;
pub mod cgroup;
pub mod cluster;
pub mod command;
pub mod daemon;
pub mod errno;
pub mod fabric;
pub mod guest;
pub mod http;
pub mod link;
pub mod load;
pub mod mount;
pub mod netns;
pub mod node;
pub mod pod;
pub mod process;
pub mod program;
pub mod requirements;
pub mod run;
pub mod serve;
pub mod tier;

use std::env;
use std::ffi::OsStr;

pub use nix::errno::Errno;
pub use run::Run;

/// Turns this process into what it was started as, a pod for instance; returns if it was started as itself.
///
/// The first thing in the `main` of every program that uses the testbed: pods are that program, executed again.
pub fn entry() {
    let mut args = env::args_os().skip(1);
    let role = args.next();
    if role.as_deref() == Some(OsStr::new(pod::ROLE)) {
        pod::become_pod(&args.next().unwrap_or_default());
    }
    if role.as_deref() == Some(OsStr::new(cluster::node::root::ROLE)) {
        cluster::node::root::become_root(&args.next().unwrap_or_default());
    }
    if role.as_deref() == Some(OsStr::new(guest::ROLE)) {
        guest::become_guest();
    }
}
