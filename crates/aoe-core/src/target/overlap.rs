//! Which of the accepted requests change the same sectors.
//!
//! A new write must be compared with all that are not done, and there can be hundreds. So they hang in
//! chains. Requests of about one size are a class; for each class the disk is divided into parts that are at
//! least as long as its requests, and those that begin in one part are in one chain. What a new request
//! overlaps begins in a part that it touches, or in the one before. A chain's head is in the slot of the
//! chain's number, next to a request that has nothing to do with it.

use super::frames::NIL;
use super::io::{Io, Ios};

/// Classes: up to 4 KiB, 16 KiB, and so on up to 4 MiB, and one for all that are longer.
const CLASSES: u8 = 7;

/// How many active requests of each class change the disk.
pub(super) type Classes = [u16; CLASSES as usize];

/// The logarithm of the sectors in a part of the disk, for a class.
const fn part_bits(class: u8) -> u8 {
    // To the last class all of the disk is one part.
    if class + 1 == CLASSES {
        63
    } else {
        3 + 2 * class
    }
}

const fn class_of(sectors: u64) -> u8 {
    let bits = u64::BITS - sectors.saturating_sub(1).leading_zeros();
    let class = bits.saturating_sub(2) / 2;
    if class < CLASSES as u32 {
        class as u8
    } else {
        CLASSES - 1
    }
}

impl Io {
    pub(super) const fn overlaps(&self, other: &Self) -> bool {
        self.lba < other.lba.saturating_add(other.sectors)
            && other.lba < self.lba.saturating_add(self.sectors)
    }
}

impl Ios<'_> {
    /// Whether a request shares sectors with any other that changes the disk. `None` when that is not
    /// found out with less work than by looking at each of them.
    pub(super) fn overlaps_any(&self, index: u16) -> Option<bool> {
        let io = self.get(index);
        let mut work = 0;
        for (class, &count) in (0..).zip(&self.classes) {
            if count == 0 {
                continue;
            }
            let bits = part_bits(class);
            let first = io.lba.saturating_sub((1 << bits) - 1) >> bits;
            let last = io.lba.saturating_add(io.sectors).saturating_sub(1) >> bits;
            work += last - first;
            if work > self.modifying() {
                return None;
            }
            for part in first..=last {
                if self.chain_overlaps(self.chain_number(class, part), index) {
                    return Some(true);
                }
            }
        }
        Some(false)
    }

    fn chain_overlaps(&self, number: u16, index: u16) -> bool {
        let io = self.get(index);
        let mut next = self.get(number).chain_head;
        while next != NIL {
            let other = self.get(next);
            if other.overlaps(io) && next != index {
                return true;
            }
            next = other.chain;
        }
        false
    }

    /// The number of the chain for a part of the disk.
    fn chain_number(&self, class: u8, part: u64) -> u16 {
        // Multiplied by the golden ratio, neighbours fall far from each other.
        let name = part.wrapping_mul(8) | u64::from(class);
        let mixed = name.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        ((mixed * self.len()) >> 32) as u16
    }

    /// Counts a request that changes the disk, and returns the number of its chain.
    fn class_chain(&mut self, index: u16, change: impl Fn(u16) -> u16) -> u16 {
        let io = self.get(index);
        let (class, lba) = (class_of(io.sectors), io.lba);
        if let Some(count) = self.classes.get_mut(usize::from(class)) {
            *count = change(*count);
        }
        self.chain_number(class, lba >> part_bits(class))
    }

    /// Takes a request that changes the disk into its chain.
    pub(super) fn chain(&mut self, index: u16) {
        let number = self.class_chain(index, |count| count + 1);
        let next = core::mem::replace(&mut self.at(number).chain_head, index);
        self.at(index).chain = next;
    }

    /// Takes a request out of its chain.
    pub(super) fn unchain(&mut self, index: u16) {
        let number = self.class_chain(index, |count| count.wrapping_sub(1));
        let after = self.get(index).chain;
        let mut link = &mut self.at(number).chain_head;
        while *link != index {
            if *link == NIL {
                self.break_books();
                return;
            }
            let before = *link;
            link = &mut self.at(before).chain;
        }
        *link = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Instant, Op, Request};
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn request() -> impl Strategy<Value = Request> {
        let lba = prop_oneof![0u64..400, 0u64..1 << 48];
        let sectors = prop_oneof![1u64..20, 1u64..3000, (0u32..24).prop_map(|bits| 1 << bits)];
        let op = prop_oneof![
            Just(Op::Write),
            Just(Op::Write),
            Just(Op::Trim),
            Just(Op::Read)
        ];
        (lba, sectors, op).prop_map(|(lba, sectors, op)| Request {
            token: 0,
            op,
            lba,
            sectors,
            ordered: false,
            wait_secs: 0,
        })
    }

    fn touches(a: &Request, b: &Request) -> bool {
        a.lba < b.lba + b.sectors && b.lba < a.lba + a.sectors
    }

    #[test]
    fn a_part_is_as_long_as_the_longest_request_of_its_class() {
        for n in 0..CLASSES - 1 {
            let longest = 1 << part_bits(n);
            assert_eq!(class_of(longest), n);
            assert_eq!(class_of(longest + 1), n + 1);
        }
        assert_eq!(class_of(0), 0);
        assert_eq!(class_of(u64::MAX), CLASSES - 1);
    }

    proptest! {
        #[test]
        fn a_request_waits_for_exactly_those_that_it_overlaps(
            steps in prop::collection::vec((request(), any::<prop::sample::Index>(), any::<bool>()), 1..200),
        ) {
            let mut slots = vec![Io::EMPTY; 24];
            let mut ios = Ios::unlent();
            ios.lend(&mut slots);
            let mut active: Vec<(u16, Request)> = Vec::new();
            for (request, choice, ends) in steps {
                if let Some(index) = ios.accept(Instant::default(), &request) {
                    let expected = request.op != Op::Read
                        && active.iter().any(|(_, other)| other.op != Op::Read && touches(&request, other));
                    prop_assert_eq!(ios.must_wait(index), expected);
                    active.push((index, request));
                }
                if ends {
                    let (index, request) = active.remove(choice.index(active.len()));
                    prop_assert!(ios.note_done(index, request.sectors));
                    ios.pop_done();
                }
            }
            prop_assert!(!ios.is_broken());
        }
    }
}
