//! The one entry point for tasks; the Makefile and CI only call it.

fn main() {}
