//! What the tests of the cluster tier share: workloads, as objects of a real cluster; and programs beside the tests.

pub mod echo;
pub mod roles;
pub mod shop;
