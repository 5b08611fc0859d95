//! What the compiler made of the atomic adds.
//!
//! With a relaxed order LLVM 22 compiles a fetching add whose result *is* used to an add without
//! fetch and takes a constant for the result. Nothing warns; every connect would get slot 0.

use anyhow::{Result, ensure};
use object::{Object, ObjectSection};

/// `BPF_STX | BPF_ATOMIC | BPF_DW`
const ATOMIC_64: u8 = 0xdb;
const ADD: i32 = 0;
const FETCHING_ADD: i32 = 1;

/// A connect counts its socket up and an earlier choice of it down, and forgets it in two places.
const SOCKET_COUNTS: usize = 4;
/// A choice counts the version, of a sticky table apart from others.
const VERSION_COUNTS: usize = 2;

/// `choose` draws at two levels, so each copy of it has two fetching adds; the plain adds
/// count sockets and versions, whose sums nobody uses.
pub(crate) fn every_counter_of_a_choice_is_a_fetching_add() -> Result<()> {
    let file = object::File::parse(sluice_node_agent::object::bytes()?)?;
    let mut looked_at = 0;
    for section in file.sections() {
        let name = section.name()?;
        let fetching = count(section.data()?, FETCHING_ADD);
        let plain = count(section.data()?, ADD);
        match name {
            "cgroup/connect4" | "cgroup/connect6" | "cgroup/sendmsg4" | "cgroup/sendmsg6" => {
                ensure!(
                    fetching >= 2,
                    "{name} draws without fetching: {fetching} fetching adds"
                );
                ensure!(
                    plain <= SOCKET_COUNTS + VERSION_COUNTS,
                    "{name} has {plain} plain adds; only sockets and versions are counted so"
                );
                looked_at += 1;
            }
            _ => ensure!(fetching == 0, "{name} draws"),
        }
    }
    ensure!(
        looked_at == 4,
        "the object has {looked_at} programs that draw"
    );
    Ok(())
}

fn count(code: &[u8], operation: i32) -> usize {
    let atomic_of = |instruction: &&[u8]| {
        let immediate = instruction
            .last_chunk::<4>()
            .map(|bytes| i32::from_le_bytes(*bytes));
        instruction[0] == ATOMIC_64 && immediate == Some(operation)
    };
    code.chunks_exact(8).filter(atomic_of).count()
}
