//! The 31 bits by which an answer finds its request.
//!
//! ```text
//!   31 30          22 21        16 15              0
//!  ┌──┬──────────────┬────────────┬─────────────────┐
//!  │ 0│     slot     │    turn    │     secret      │
//!  └──┴──────────────┴────────────┴─────────────────┘
//! ```
//!
//! Bit 31 stays zero: that half belongs to user-space tools on the same wire. The slot says where to look, and
//! the 22 bits behind it must be those that are kept there. So nothing is taken apart when an answer comes in,
//! and there is no key with which a tag could be made.
//!
//! # What a tag gives away
//!
//! Each use of a slot has a *secret* of its own: 16 bits of the output of SipHash-1-3 under a key of 128 bits that the
//! target alone has (Aumasson, Bernstein: "SipHash: a fast short-input PRF", INDOCRYPT 2012; its input is a number
//! that never comes twice, as in counter mode, section 6.5 of NIST SP 800-38A). As long as SipHash is a pseudorandom
//! function, whoever was sent any number of frames knows nothing of the secret of another one. Questions have
//! inputs that frames never have, and so a stream of their own.
//!
//! This is the lesson of RFC 5452, section 9.2 (identifiers of DNS): the whole field is to be unpredictable,
//! and knowledge of earlier values must not help. Here it holds for 16 bits whatever the forger saw. Of the *turn* he knows
//! something if he was sent a frame of the same slot a moment ago; it begins at random. Which slots are in flight he
//! has to guess. So a forged answer names a frame in flight once in 2^31 / (frames in flight), and once in 2^16
//! at worst. That does not stop a flood, nor anybody who sees the frames themselves.
//!
//! # What is not taken for something else
//!
//! * *Answers that come late.* The turn is counted on with each use of the slot, so that a tag
//!   cannot come back before the slot was used 64 times. Slots take turns, too: with those that are lent by
//!   default this is more than 16,000 frames later. An answer that is later than that names a newer frame
//!   of its slot once in 2^22.
//! * *Other copies.* A copy's 22 bits are those of the copy before it plus [`STEP`], so that each has a tag of its own
//!   and all lead to the same slot. One who was sent a copy knows the tags of the others: he could have answered
//!   for the frame with the one that he has.
//! * *Damage.* A damaged byte in turn or secret names no other copy, since the tags of two copies of a frame differ in two
//!   bytes at least. One in the slot's number names a frame in flight once in 2^22 / (share of the
//!   slots that are in flight).
//!
//! # Why not a permutation
//!
//! Slot, copy and a count were mixed by a permutation once, which is undone when the answer comes in. One
//! of 31 bits that withstands known pairs takes several rounds of a real pseudorandom function in each direction
//! (NIST SP 800-38G has ten for its FF1); here a call of such a function makes four tags, and to receive one takes a comparison.

use crate::limits::{MAX_FRAMES, MAX_PATHS};

const SLOT_SHIFT: u32 = 22;
/// Turn and secret.
const WORD_MASK: u32 = (1 << SLOT_SHIFT) - 1;
const SECRET_BITS: u32 = 16;
const SECRET_MASK: u32 = (1 << SECRET_BITS) - 1;

/// What a copy's word is more than that of the copy before it. It is odd, so that copies can be counted back.
const STEP: u32 = (1 << SECRET_BITS) + 0x2B4D;
const STEP_INVERSE: u32 = inverse(STEP);

/// Of how many copies of one frame it is kept which were answered.
pub(crate) const COPIES: u16 = 16;

/// Paths have two numbers behind those of frames: for questions, and for trials.
const _: () = assert!(MAX_FRAMES + 2 * MAX_PATHS <= 1 << (31 - SLOT_SHIFT));

/// Turn and secret, as they are kept where an answer to them is awaited.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Word(u32);

impl Word {
    /// What nothing has that was sent: no tag has this bit.
    pub(crate) const NONE: Self = Self(1 << 31);

    /// That of the next copy.
    pub(crate) const fn next_copy(self) -> Self {
        Self(self.0.wrapping_add(STEP) & WORD_MASK)
    }

    /// How many copies before this one the other was sent; a large number if it is no copy of the same frame.
    pub(crate) const fn copies_since(self, other: Self) -> u32 {
        self.0.wrapping_sub(other.0).wrapping_mul(STEP_INVERSE) & WORD_MASK
    }

    /// The tag, for this slot.
    pub(crate) const fn tag(self, slot: u16) -> u32 {
        (slot as u32) << SLOT_SHIFT | self.0
    }

    /// The number by which a claim knows it.
    pub(crate) const fn number(self) -> u32 {
        self.0
    }
}

/// A tag, taken apart.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Tag {
    pub(crate) slot: u16,
    pub(crate) word: Word,
}

impl Tag {
    /// `None` for a tag of the half that is not ours.
    pub(crate) const fn parse(wire: u32) -> Option<Self> {
        if wire & 0x8000_0000 != 0 {
            return None;
        }
        Some(Self {
            slot: (wire >> SLOT_SHIFT) as u16,
            word: Word(wire & WORD_MASK),
        })
    }
}

/// The slot of questions to a path.
pub(crate) const fn question_slot(path: u8) -> u16 {
    MAX_FRAMES as u16 + path as u16
}

/// The slot of reads that show whether requests are carried out again.
pub(crate) const fn trial_slot(path: u8) -> u16 {
    (MAX_FRAMES + MAX_PATHS) as u16 + path as u16
}

/// What the inputs of the function are for: different purposes never have the same one.
#[derive(Copy, Clone)]
enum Purpose {
    Frames = 0,
    Slots = 1,
    Questions = 2,
}

/// Where secrets come from, and the numbers in the order of sending.
#[derive(Debug)]
pub(crate) struct Tags {
    key: [u64; 2],
    /// Secrets for the next frames, the next one in the low bits; 0 when there are none.
    ready: u64,
    next_seq: u64,
}

impl Tags {
    pub(crate) const fn new(seed: u128) -> Self {
        Self {
            key: [seed as u64, (seed >> 64) as u64],
            ready: 0,
            next_seq: 1,
        }
    }

    /// A number that is larger than all before it.
    pub(crate) const fn take_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    /// The number that comes next.
    pub(crate) const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Sees to it that there is a secret for the next frame. To be called before each; apart from it because there
    /// is a place where few registers are in use.
    #[inline(always)]
    pub(crate) fn prepare(&mut self) {
        if self.ready == 0 {
            self.ready = self.random(Purpose::Frames);
        }
    }

    /// The word for the first copy of a frame, of which the slot had `before` last.
    #[inline(always)]
    pub(crate) fn frame(&mut self, before: Word) -> Word {
        debug_assert!(self.ready != 0, "nothing was prepared");
        let secret = self.ready as u32 & SECRET_MASK;
        self.ready >>= SECRET_BITS;
        Self::next_turn(before, secret)
    }

    /// The word for a slot that nothing was sent from: any.
    pub(crate) fn slot(&mut self) -> Word {
        Word(self.random(Purpose::Slots) as u32 & WORD_MASK)
    }

    /// The word for a question, of which the path asked the last one with `before`.
    pub(crate) fn question(&mut self, before: Word) -> Word {
        let random = self.random(Purpose::Questions) as u32;
        if before == Word::NONE {
            return Word(random & WORD_MASK);
        }
        Self::next_turn(before, random & SECRET_MASK)
    }

    const fn next_turn(before: Word, secret: u32) -> Word {
        let turn = before.0.wrapping_add(1 << SECRET_BITS);
        Word(turn & WORD_MASK & !SECRET_MASK | secret)
    }

    #[cold]
    #[inline(never)]
    fn random(&mut self, purpose: Purpose) -> u64 {
        let number = self.take_seq() & 0x0000_FFFF_FFFF_FFFF;
        sip_hash_1_3(self.key, (purpose as u64) << 48 | number)
    }
}

/// SipHash-1-3 of a message of seven bytes, the first one in the low bits.
const fn sip_hash_1_3([low, high]: [u64; 2], message: u64) -> u64 {
    let mut state = [
        low ^ 0x736F_6D65_7073_6575,
        high ^ 0x646F_7261_6E64_6F6D,
        low ^ 0x6C79_6765_6E65_7261,
        high ^ 0x7465_6462_7974_6573,
    ];
    // The last block has the length in its highest byte; here it is the only one.
    let block = 7 << 56 | message & 0x00FF_FFFF_FFFF_FFFF;
    state[3] ^= block;
    state = sip_round(state);
    state[0] ^= block;
    state[2] ^= 0xFF;
    state = sip_round(sip_round(sip_round(state)));
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

const fn sip_round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

/// The inverse of an odd number. Newton's iteration: each step doubles the number of right bits, of which an odd
/// number has three.
const fn inverse(odd: u32) -> u32 {
    let mut found = odd;
    let mut step = 0;
    while step < 4 {
        found = found.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(found)));
        step += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    const SEED: u128 = 0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210;

    #[test]
    fn the_function_is_siphash_1_3() {
        // Of the published vectors those for seven bytes: key 00, 01, .. 0f, message 00, 01, .. 06.
        let key = [0x0706_0504_0302_0100, 0x0F0E_0D0C_0B0A_0908];
        let expected = u64::from_le_bytes([0x40, 0x11, 0xB1, 0x9B, 0x98, 0x7D, 0x92, 0xD3]);
        assert_eq!(sip_hash_1_3(key, 0x0006_0504_0302_0100), expected);
        let tags = Tags::new(0x0F0E_0D0C_0B0A_0908_0706_0504_0302_0100);
        assert_eq!(tags.key, key, "all of the seed is the key");
    }

    fn frame(tags: &mut Tags, before: Word) -> Word {
        tags.prepare();
        tags.frame(before)
    }

    /// The words of a slot that is used again and again.
    fn uses(seed: u128, count: usize) -> Vec<u32> {
        let mut tags = Tags::new(seed);
        let mut word = tags.slot();
        let next = || {
            word = frame(&mut tags, word);
            Some(word.0)
        };
        core::iter::from_fn(next).take(count).collect()
    }

    #[test]
    fn a_word_comes_back_after_64_uses_of_its_slot_at_the_earliest() {
        let words = uses(SEED, 20_000);
        for window in words.windows(64) {
            let all: BTreeSet<_> = window.iter().collect();
            assert_eq!(all.len(), 64);
        }
    }

    #[test]
    fn copies_of_a_frame_have_no_word_of_the_frames_before_it() {
        let mut tags = Tags::new(SEED);
        let mut word = tags.slot();
        let mut recent = Vec::new();
        for number in 0..2000 {
            word = frame(&mut tags, word);
            for copy in 0..=number % 3 {
                if copy != 0 {
                    word = word.next_copy();
                }
                assert!(!recent.contains(&word), "frame {number}, copy {copy}");
                recent.push(word);
            }
            // A further copy counts for one or two.
            let old = recent.len().saturating_sub(31);
            recent.drain(..old);
        }
    }

    #[test]
    fn every_bit_of_a_secret_is_as_often_set_as_not_and_tells_nothing_of_the_next() {
        let words = uses(SEED, 40_000);
        // Six standard deviations of 100 each.
        let even = |count: usize, what: &str| {
            assert!(count.abs_diff(20_000) < 600, "{what}: {count} of 40000");
        };
        let ones = |test: &dyn Fn(u32, u32) -> u32| {
            let pairs = words.iter().zip(words.iter().cycle().skip(1));
            pairs.filter(|&(&a, &b)| test(a, b) & 1 == 1).count()
        };
        for bit in 0..16 {
            even(ones(&|word, _| word >> bit), "a bit");
            for other in 0..16 {
                let differ = ones(&|word, next| (word >> bit) ^ (next >> other));
                even(differ, "a bit and one of the next");
            }
        }
        let all: BTreeSet<_> = words.iter().map(|word| word & SECRET_MASK).collect();
        // 2^16 * (1 - exp(-40000 / 2^16)) are expected.
        assert!(all.len().abs_diff(29_937) < 500, "{}", all.len());
    }

    #[test]
    fn a_bit_of_the_seed_changes_half_of_the_bits() {
        let words = uses(SEED, 64);
        for bit in 0..128 {
            let others = uses(SEED ^ 1 << bit, 64);
            let pairs = words.iter().zip(&others);
            let differ: u32 = pairs
                .map(|(a, b)| ((a ^ b) & SECRET_MASK).count_ones())
                .sum();
            // Of 1024 bits; 16 is the standard deviation.
            assert!(differ.abs_diff(512) < 100, "bit {bit}: {differ}");
        }
    }

    #[test]
    fn frames_and_questions_have_streams_of_their_own() {
        let (mut asked, mut not_asked) = (Tags::new(SEED), Tags::new(SEED));
        let purposes = [Purpose::Frames, Purpose::Slots, Purpose::Questions];
        let all = BTreeSet::from(purposes.map(|purpose| {
            let mut tags = Tags::new(SEED);
            tags.random(purpose)
        }));
        assert_eq!(all.len(), 3, "one number, three purposes");
        let first = asked.question(Word::NONE);
        assert_ne!(asked.question(first), first);
        assert_ne!(asked.slot(), not_asked.slot());
        assert_eq!(asked.next_seq(), 4, "no number comes twice");
    }

    #[test]
    fn turns_begin_anywhere() {
        let begins = |begin: &dyn Fn(&mut Tags) -> Word| {
            let turns = (0..2000_u64).map(|seed| {
                let mut tags = Tags::new(u128::from(seed) << 32);
                begin(&mut tags).0 >> SECRET_BITS
            });
            turns.collect::<BTreeSet<_>>().len()
        };
        assert_eq!(begins(&|tags| tags.slot()), 64);
        assert_eq!(begins(&|tags| tags.question(Word::NONE)), 64);
    }

    #[test]
    fn a_damaged_byte_is_no_other_copy_of_the_frame() {
        for word in uses(SEED, 2000).into_iter().map(Word) {
            let wire = word.tag(77);
            for byte in 0..4 {
                for damage in 1..=255 {
                    let Some(found) = Tag::parse(wire ^ damage << (8 * byte)) else {
                        continue;
                    };
                    let [later, earlier] =
                        [found.word.copies_since(word), word.copies_since(found.word)];
                    let same = found.slot == 77;
                    assert!(
                        !same || later.min(earlier) >= u32::from(COPIES),
                        "{wire:#x}, byte {byte} ^ {damage:#x}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_damaged_tag_is_not_that_of_a_frame_in_flight() {
        let (mut taken, mut tried) = (0, 0);
        for round in 0..64 {
            let mut tags = Tags::new(SEED + round);
            let words: Vec<_> = (0..MAX_FRAMES)
                .map(|_| {
                    let unused = tags.slot();
                    frame(&mut tags, unused)
                })
                .collect();
            for (slot, word) in words.iter().enumerate() {
                let wire = word.tag(slot as u16);
                for byte in 0..4 {
                    for damage in 1..=255 {
                        tried += 1;
                        let found = Tag::parse(wire ^ damage << (8 * byte));
                        taken += u32::from(found.is_some_and(|found| {
                            // All slots are in flight, each with two copies.
                            words
                                .get(usize::from(found.slot))
                                .is_some_and(|word| word.next_copy().copies_since(found.word) < 2)
                        }));
                    }
                }
            }
        }
        // Every eighth damage or so is in the slot's number alone, and then names another frame's copy once in 2^21.
        assert!(taken <= 10, "{taken} of {tried}");
    }

    proptest! {
        #[test]
        fn a_tag_comes_back_as_it_went(seed: u128, slot in 0u16..512, copies in 0u32..16) {
            let mut tags = Tags::new(seed);
            let before = tags.slot();
            let first = frame(&mut tags, before);
            let newest = (0..copies).fold(first, |word, _| word.next_copy());
            let wire = first.tag(slot);
            prop_assert_eq!(wire >> 31, 0);
            let found = Tag::parse(wire);
            prop_assert_eq!(found, Some(Tag { slot, word: first }));
            prop_assert_eq!(newest.copies_since(first), copies);
            prop_assert_eq!(Tag::parse(wire | 0x8000_0000), None);
        }
    }
}
