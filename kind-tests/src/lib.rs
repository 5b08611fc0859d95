//! What the tests of the cluster tier share: workloads, as objects of a real cluster.

pub mod echo;
pub mod shop;
