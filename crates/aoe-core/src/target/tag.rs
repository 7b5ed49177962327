//! The 31 bits by which an answer finds its request.
//!
//! ```text
//!   30            13 12      9 8         0
//!  ┌────────────────┬─────────┬───────────┐
//!  │   generation   │  copy   │   slot    │   mixed with a secret of the target
//!  └────────────────┴─────────┴───────────┘
//! ```
//!
//! Slots are used in turn, so their generations hardly differ: without the mixing, one damaged byte would
//! make the tag of one frame that of another in flight, and its data would be taken for the other's.
//! With it, any damage changes all bits, and the generation gives it away (but for one in millions).
//!
//! Every copy of a frame has a tag of its own, and all of them lead to the same slot. Bit 31 stays
//! zero: that half belongs to user-space tools on the same wire.

const SLOT_BITS: u32 = 9;
const COPY_BITS: u32 = 4;
const GENERATION_BITS: u32 = 18;

/// How many copies of one frame can be told apart.
pub(crate) const COPIES: u16 = 1 << COPY_BITS;

/// A tag, taken apart.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Tag {
    pub(crate) slot: u16,
    /// The low bits of the copy's number.
    pub(crate) copy: u16,
    /// The low bits of the slot's generation.
    pub(crate) generation: u32,
}

/// The secret that tags are mixed with, so that who does not see the wire cannot guess one.
#[derive(Copy, Clone, Debug)]
pub(crate) struct TagKey {
    secret: u32,
    /// A number that tells this target from others and does not give the secret away.
    flow: u32,
}

impl TagKey {
    pub(crate) const fn new(seed: u64) -> Self {
        let secret = ((seed ^ (seed >> 32)) as u32) & MASK;
        Self {
            secret,
            flow: mix(secret),
        }
    }

    /// The number of the flow that the frames of a path belong to.
    pub(crate) const fn flow(self, path: u8) -> u32 {
        self.flow.wrapping_add(path as u32)
    }

    pub(crate) const fn encode(self, tag: Tag) -> u32 {
        let slot = tag.slot as u32 & ((1 << SLOT_BITS) - 1);
        let copy = tag.copy as u32 & ((1 << COPY_BITS) - 1);
        let generation = generation_bits(tag.generation);
        mix((slot | copy << SLOT_BITS | generation << (SLOT_BITS + COPY_BITS)) ^ self.secret)
    }

    /// `None` for a tag of the half that is not ours.
    pub(crate) const fn decode(self, wire: u32) -> Option<Tag> {
        if wire & 0x8000_0000 != 0 {
            return None;
        }
        let bits = unmix(wire) ^ self.secret;
        Some(Tag {
            slot: (bits & ((1 << SLOT_BITS) - 1)) as u16,
            copy: ((bits >> SLOT_BITS) & ((1 << COPY_BITS) - 1)) as u16,
            generation: bits >> (SLOT_BITS + COPY_BITS),
        })
    }
}

/// 31 bits.
const MASK: u32 = 0x7FFF_FFFF;
/// An odd number and its inverse modulo 2^31; of the first, bits are set all over.
const FACTOR: u32 = 0x4589_5A4D;
const INVERSE: u32 = inverse(FACTOR);

/// Newton's iteration: each step doubles the number of right bits, of which an odd number has three.
const fn inverse(odd: u32) -> u32 {
    let mut found = odd;
    let mut step = 0;
    while step < 4 {
        found = found.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(found)));
        step += 1;
    }
    found & MASK
}

/// A permutation of the numbers of 31 bits, in which every bit depends on every other.
const fn mix(mut bits: u32) -> u32 {
    let mut round = 0;
    while round < 3 {
        bits = bits.wrapping_mul(FACTOR) & MASK;
        bits ^= bits >> 16;
        round += 1;
    }
    bits
}

/// Its inverse. A shift by more than half of the bits is its own.
const fn unmix(mut bits: u32) -> u32 {
    let mut round = 0;
    while round < 3 {
        bits ^= bits >> 16;
        bits = bits.wrapping_mul(INVERSE) & MASK;
        round += 1;
    }
    bits
}

/// The part of a generation that a tag carries.
pub(crate) const fn generation_bits(generation: u32) -> u32 {
    generation & ((1 << GENERATION_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_damaged_tag_is_not_that_of_a_frame_in_flight() {
        let mut taken = 0;
        let mut tried = 0;
        for generation in [1, 2, 70_000] {
            let key = TagKey::new(0x0123_4567_89AB_CDEF);
            for slot in 0..496 {
                let tag = Tag {
                    slot,
                    copy: 0,
                    generation,
                };
                let wire = key.encode(tag);
                for byte in 0..4 {
                    for damage in 1..=255 {
                        tried += 1;
                        let found = key.decode(wire ^ damage << (8 * byte));
                        // Generations of slots in use differ by one at most.
                        taken += u32::from(found.is_some_and(|found| {
                            usize::from(found.slot) < 496
                                && found.copy < 2
                                && found.generation.abs_diff(generation) <= 1
                        }));
                    }
                }
            }
        }
        assert!(taken <= 5, "{taken} of {tried}");
    }

    proptest! {
        #[test]
        fn a_tag_comes_back_as_it_went(seed: u64, slot in 0u16..512, copy in 0u16..16, generation in 0u32..1 << 18) {
            let key = TagKey::new(seed);
            let tag = Tag { slot, copy, generation };
            let wire = key.encode(tag);
            prop_assert_eq!(wire >> 31, 0);
            prop_assert_eq!(key.decode(wire), Some(tag));
            prop_assert_eq!(key.decode(wire | 0x8000_0000), None);
        }
    }
}
