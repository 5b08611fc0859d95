//! Session affinity: a client gets the backend again that it had, for a time after its last connect.
//!
//! Pure over [`Memory`]. What is remembered is a hint: it is used only while the backend is still the
//! port's, so one that is not ready any more is left at once, and nobody has to clean up.

use sluice_node_abi::values::Affinity;

use crate::choose::{Choice, Refusal, Tables, choose};

const SECOND: u64 = 1_000_000_000;

/// What is remembered of this client at this port.
pub trait Memory: Tables {
    fn recall(&self) -> Option<Affinity>;
    fn remember(&self, affinity: &Affinity);
    /// Boot-time clock, nanoseconds.
    fn now(&self) -> u64;
    /// Whether the table `root` can choose this backend. May say no when it is too much to find out.
    fn holds(&self, root: u32, backend: u32) -> bool;
}

/// Chooses by the table `root`, the caller's, of a port's word of this generation, or keeps to what the client had.
#[inline(always)]
pub fn select<M: Memory>(memory: &M, root: u32, generation: u32) -> Result<Choice, Refusal> {
    let seconds = memory.table(root).map_or(0, |table| table.affinity);
    if seconds == 0 {
        return choose(memory, root);
    }
    let now = memory.now();
    if let Some(mut had) = memory.recall()
        && now.saturating_sub(had.last) <= u64::from(seconds) * SECOND
        && is_good(memory, &mut had, root, generation)
    {
        had.last = now;
        memory.remember(&had);
        return Ok(Choice {
            group: had.group,
            backend: had.backend,
        });
    }
    let choice = choose(memory, root)?;
    let chosen = memory.backend(choice.backend).ok_or(Refusal::Dangling)?;
    memory.remember(&Affinity {
        backend: choice.backend,
        backend_generation: chosen.generation,
        group: choice.group,
        port_generation: generation,
        last: now,
    });
    Ok(choice)
}

/// Whether the backend is still the port's. Looked at in full only once after each change of it.
#[inline(always)]
fn is_good<M: Memory>(memory: &M, had: &mut Affinity, root: u32, generation: u32) -> bool {
    let alive = memory
        .backend(had.backend)
        .is_some_and(|backend| backend.generation == had.backend_generation);
    if !alive {
        return false;
    }
    if had.port_generation != generation {
        if !memory.holds(root, had.backend) {
            return false;
        }
        had.port_generation = generation;
        had.group = 0;
    }
    true
}
