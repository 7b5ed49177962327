//! The 31 bits by which an answer finds its request.
//!
//! ```text
//!   30            13 12      9 8         0
//!  ┌────────────────┬─────────┬───────────┐
//!  │   generation   │  copy   │   slot    │   xor a secret of the target
//!  └────────────────┴─────────┴───────────┘
//! ```
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
pub(crate) struct TagKey(u32);

impl TagKey {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(((seed ^ (seed >> 32)) as u32) & 0x7FFF_FFFF)
    }

    pub(crate) const fn encode(self, tag: Tag) -> u32 {
        let slot = tag.slot as u32 & ((1 << SLOT_BITS) - 1);
        let copy = tag.copy as u32 & ((1 << COPY_BITS) - 1);
        let generation = generation_bits(tag.generation);
        (slot | copy << SLOT_BITS | generation << (SLOT_BITS + COPY_BITS)) ^ self.0
    }

    /// `None` for a tag of the half that is not ours.
    pub(crate) const fn decode(self, wire: u32) -> Option<Tag> {
        if wire & 0x8000_0000 != 0 {
            return None;
        }
        let bits = wire ^ self.0;
        Some(Tag {
            slot: (bits & ((1 << SLOT_BITS) - 1)) as u16,
            copy: ((bits >> SLOT_BITS) & ((1 << COPY_BITS) - 1)) as u16,
            generation: bits >> (SLOT_BITS + COPY_BITS),
        })
    }
}

/// The part of a generation that a tag carries.
pub(crate) const fn generation_bits(generation: u32) -> u32 {
    generation & ((1 << GENERATION_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
