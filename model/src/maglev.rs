//! A table of fixed length in which every backend has an equal part, and that hardly changes when one
//! comes or goes: Maglev's (NSDI 2016).
//!
//! Each backend has an order of its own in which it would like the slots, and they take turns. The order
//! depends on address and port alone, so every node fills the same table, whatever ids there are.

use std::net::IpAddr;

use sluice_node_abi::slots::spread;

use crate::{desired::Backend, hash::fnv};

/// A prime, so that every step through the slots passes all of them. With 100 backends the parts
/// differ by one slot in 163. It never changes with the number of backends: that would move everybody.
pub const SLOTS: usize = 16_381;

/// The index of the backend of each slot. Empty without backends.
pub fn fill(backends: &[Backend]) -> Vec<usize> {
    if backends.is_empty() {
        return Vec::new();
    }
    let mut wishes: Vec<Wishes> = backends.iter().map(Wishes::of).collect();
    let mut slots = vec![None; SLOTS];
    let mut free = SLOTS;
    for turn in (0..backends.len()).cycle() {
        if free == 0 {
            break;
        }
        // Every backend wishes for every slot once, so while one is free it is found.
        let wish = wishes[turn].find(|slot| slots[*slot].is_none());
        if let Some(slot) = wish {
            slots[slot] = Some(turn);
            free -= 1;
        }
    }
    slots.into_iter().flatten().collect()
}

/// The slots in the order in which one backend would like them.
struct Wishes {
    next: usize,
    step: usize,
    left: usize,
}

impl Wishes {
    fn of(backend: &Backend) -> Self {
        let slots = SLOTS as u64;
        let start = spread(hash(backend));
        Self {
            next: (start % slots) as usize,
            step: (spread(start) % (slots - 1) + 1) as usize,
            left: SLOTS,
        }
    }
}

impl Iterator for Wishes {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let wish = self.next;
        self.next = (self.next + self.step) % SLOTS;
        Some(wish)
    }
}

fn hash(backend: &Backend) -> u64 {
    let octets = match backend.ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    let port = backend.port.get().to_be_bytes();
    fnv(octets.into_iter().chain(port))
}

#[cfg(test)]
mod tests {
    use super::{SLOTS, fill};
    use crate::{desired::Backend, key::Port};

    fn backends(count: u8) -> Vec<Backend> {
        (0..count)
            .map(|i| Backend {
                ip: [10, 0, 7, i].into(),
                port: Port::new(8080).expect("a port"),
            })
            .collect()
    }

    #[test]
    fn every_backend_has_an_equal_part() {
        for count in [1, 2, 3, 7, 100, 255] {
            let slots = fill(&backends(count));
            assert_eq!(slots.len(), SLOTS);
            let parts: Vec<usize> = (0..usize::from(count))
                .map(|i| slots.iter().filter(|slot| **slot == i).count())
                .collect();
            let (least, most) = (parts.iter().min(), parts.iter().max());
            assert!(most <= least.map(|least| least + 1).as_ref(), "{parts:?}");
        }
        assert!(fill(&[]).is_empty());
    }

    #[test]
    fn few_slots_move_when_a_backend_goes() {
        let all = backends(100);
        let before = fill(&all);
        let mut fewer = all.clone();
        fewer.remove(50);
        let after = fill(&fewer);
        let moved = (0..SLOTS).filter(|slot| {
            let old = all[before[*slot]];
            old != all[50] && old != fewer[after[*slot]]
        });
        let share = moved.count() as f64 / SLOTS as f64;
        assert!(share < 0.03, "{share} moved without need");
    }
}
