// SPDX-License-Identifier: BSD-2-Clause
//! The 512 bytes of IDENTIFY DEVICE that a target shows.

use crate::profile::{Profile, Style};
use crate::storage::SECTOR;

/// Most sectors that 28 bits can name.
pub const MAX_LBA28: u64 = 0x0fff_ffff;

/// What can change while a target runs.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Sectors of the disk.
    pub sectors: u64,
    /// The write cache is on.
    pub write_cache: bool,
    /// SMART is on.
    pub smart: bool,
}

struct Words([u8; SECTOR]);

impl Words {
    fn set(&mut self, word: usize, value: u16) {
        if let Some(bytes) = self.0.get_mut(word * 2..word * 2 + 2) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// A number over several words, low word first.
    fn set_number(&mut self, word: usize, words: usize, value: u64) {
        for (at, pair) in (word..word + words).zip(value.to_le_bytes().chunks_exact(2)) {
            if let [low, high] = pair {
                self.set(at, u16::from_le_bytes([*low, *high]));
            }
        }
    }

    /// A string as ATA has it: blank padded, the first character of a pair in the high byte.
    fn set_string(&mut self, word: usize, words: usize, text: &str) {
        let mut bytes = text.bytes().chain(std::iter::repeat(b' '));
        for at in word..word + words {
            let high = bytes.next().unwrap_or(b' ');
            let low = bytes.next().unwrap_or(b' ');
            self.set(at, u16::from_be_bytes([high, low]));
        }
    }
}

/// The data of a target of this kind, in this state.
#[must_use]
pub fn identify(profile: &Profile, facts: Facts) -> [u8; SECTOR] {
    let mut words = Words([0; SECTOR]);
    words.set_string(10, 10, &profile.serial);
    words.set_string(23, 4, &profile.revision);
    words.set_string(27, 20, &profile.model);
    words.set(49, 0x0200);
    if profile.style == Style::Ggaoed {
        words.set(48, 1);
        let cylinders = (facts.sectors / (255 * 16)).min(16_383);
        words.set(54, u16::try_from(cylinders).unwrap_or(u16::MAX));
        words.set(55, 16);
        words.set(56, 255);
    } else {
        words.set(47, 0x8000);
        words.set(50, 0x4000);
    }
    words.set(84, 0x4000);
    words.set(87, 0x4000);
    words.set(93, 0x400b);
    words.set_number(60, 2, facts.sectors.min(MAX_LBA28));
    set_commands(&mut words, profile, facts);
    if profile.lba48 {
        // Only ggaoed fills all four words, with the same result.
        words.set_number(100, 3, facts.sectors);
    }
    if profile.features {
        set_disk_words(&mut words, profile);
    }
    if profile.trim_blocks > 0 || profile.claims_trim {
        words.set(69, (1 << 14) | (1 << 5));
        words.set(105, profile.trim_blocks.max(1));
        words.set(169, 1);
    }
    if profile.physical_shift > 0 {
        words.set(106, 0x6000 | u16::from(profile.physical_shift & 15));
        words.set(209, 0x4000);
    }
    if profile.features {
        set_checksum(&mut words);
    }
    words.0
}

fn set_commands(words: &mut Words, profile: &Profile, facts: Facts) {
    let bits = |flag: bool, bit: u16| if flag { 1 << bit } else { 0_u16 };
    let ext = profile.flush_ext || profile.claims_flush_ext;
    let commands = bits(profile.lba48, 10) | bits(profile.flush, 12) | bits(ext, 13);
    words.set(83, 0x4000 | commands);
    let marked = if profile.style == Style::Ggaoed {
        0x4000
    } else {
        0
    };
    words.set(86, marked | commands);
    let smart = profile.smart && facts.smart;
    if profile.features {
        words.set(82, 0x4000 | (1 << 6) | (1 << 5) | bits(profile.smart, 0));
        words.set(
            85,
            0x4000 | (1 << 6) | bits(facts.write_cache, 5) | bits(smart, 0),
        );
    } else if profile.smart {
        words.set(82, 1);
        words.set(85, bits(smart, 0));
    }
}

fn set_disk_words(words: &mut Words, profile: &Profile) {
    words.set(0, 0x0040);
    words.set(53, 0x0006);
    words.set(80, 0x01f0);
    words.set(84, 0x4100);
    words.set(87, 0x4100);
    // A WWN of the locally assigned kind, different for every serial number.
    let digest = profile
        .serial
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    // NAA 3 in the first four bits; unlike other numbers it has its high word first.
    let name = (digest >> 4) | (3 << 60);
    for (at, pair) in (108..112).zip(name.to_be_bytes().chunks_exact(2)) {
        if let [high, low] = pair {
            words.set(at, u16::from_be_bytes([*high, *low]));
        }
    }
    words.set(217, 1);
}

/// Word 255: signature and a byte that makes the sum of all bytes zero.
fn set_checksum(words: &mut Words) {
    words.set(255, 0x00a5);
    let sum = words
        .0
        .iter()
        .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    words.set(255, u16::from_le_bytes([0xa5, sum.wrapping_neg()]));
}
