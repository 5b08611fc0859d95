//! Nodes, pods and clusters for tests and for playing, from namespaces and cgroups.
