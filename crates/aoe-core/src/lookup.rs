// SPDX-License-Identifier: BSD-2-Clause
//! Which target a frame is for.
//!
//! The caller keeps the table and its chains, for it knows how long a target stays; this says in which chain an
//! address belongs, and finds it there.

use aoe_wire::TargetAddr;

const BUCKET_BITS: u32 = 13;
/// Chains of a table. With as many targets as may be ([`crate::limits::MAX_TARGETS`]) there are eight in
/// each: a few comparisons beside the thousand instructions of a frame and its answer.
pub const BUCKETS: usize = 1 << BUCKET_BITS;

/// A target in a chain.
pub trait Entry: Copy {
    /// Its address.
    fn addr(self) -> TargetAddr;
    /// What comes behind it.
    fn next(self) -> Option<Self>;
}

/// The chain in which an address belongs, less than [`BUCKETS`].
#[must_use]
pub const fn bucket(addr: TargetAddr) -> usize {
    // Multiplication by 2^32 over the golden ratio (Knuth, TAOCP 6.4): runs of shelves and slots, as operators
    // number them, are spread evenly. By 257, as with 256 the shelves of targets that all are slot 0
    // would have no low bits, and the longest chain would be twice as long.
    let key = addr.shelf() as u32 * 257 + addr.slot() as u32;
    let hash = key.wrapping_mul(0x9E37_79B1) >> (u32::BITS - BUCKET_BITS);
    hash as usize
}

/// The target of this address in a chain that begins with `first`.
pub fn find<E: Entry>(first: Option<E>, addr: TargetAddr) -> Option<E> {
    let mut next = first;
    while let Some(entry) = next {
        if entry.addr() == addr {
            return Some(entry);
        }
        next = entry.next();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    /// The longest chain of a table with these targets.
    fn longest(targets: impl Iterator<Item = (u16, u8)>) -> usize {
        let mut chains = vec![0; BUCKETS];
        for (shelf, slot) in targets {
            let addr = TargetAddr::new(shelf, slot).expect("an address");
            chains[bucket(addr)] += 1;
        }
        chains.into_iter().max().unwrap_or(0)
    }

    #[test]
    fn addresses_as_operators_number_them_are_spread_evenly() {
        let grid = |shelves: u16, step: u16, slots: u8, slot_step: u8| {
            let of = move |shelf| (0..slots).map(move |slot| (shelf * step, slot * slot_step));
            longest((0..shelves).flat_map(of))
        };
        for (shelves, step, slots, slot_step) in [
            (256, 1, 255, 1),
            (65_535, 1, 1, 1),
            (4096, 1, 16, 1),
            (6553, 10, 10, 1),
            (655, 100, 100, 1),
            (255, 256, 255, 1),
            (2600, 1, 25, 10),
        ] {
            let longest = grid(shelves, step, slots, slot_step);
            assert!(longest <= 12, "{shelves} x {slots}: {longest}");
        }
    }

    #[derive(Copy, Clone)]
    struct Listed<'t> {
        chain: &'t [TargetAddr],
    }

    impl Entry for Listed<'_> {
        fn addr(self) -> TargetAddr {
            self.chain[0]
        }
        fn next(self) -> Option<Self> {
            first(&self.chain[1..])
        }
    }

    fn first(chain: &[TargetAddr]) -> Option<Listed<'_>> {
        (!chain.is_empty()).then_some(Listed { chain })
    }

    #[test]
    fn what_is_in_a_chain_is_found_and_nothing_else() {
        let chain: Vec<TargetAddr> = (0..5).filter_map(|slot| TargetAddr::new(7, slot)).collect();
        for addr in &chain {
            let found = find(first(&chain), *addr).map(Listed::addr);
            assert_eq!(found, Some(*addr));
        }
        let other = TargetAddr::new(8, 0).expect("an address");
        assert!(find(first(&chain), other).is_none());
        assert!(find(first(&[]), other).is_none());
    }
}
