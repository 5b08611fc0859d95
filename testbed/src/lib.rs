//! Nodes, pods and clusters for tests and for playing, from namespaces and cgroups.
//!
//! A [`Run`] owns everything that is made on the machine; its id is part of every name, so that what a killed run
//! leaves can be found and removed by the next one. On it stand a [`fabric::Fabric`] that joins nodes, and nodes
//! with pods. Programs that use the testbed call [`entry`] first: pods are this very binary, executed again.

pub mod bpf;
pub mod cgroup;
pub mod errno;
pub mod fabric;
pub mod link;
pub mod mount;
pub mod netns;
pub mod process;
pub mod requirements;
pub mod run;
pub mod serve;
pub mod tier;

pub use nix::errno::Errno;
pub use run::Run;
