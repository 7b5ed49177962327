// SPDX-License-Identifier: BSD-2-Clause
//! IDENTIFY DEVICE data: what a disk says about itself.
//!
//! All words are little-endian in the frame. Feature words are believed bit by bit and never by
//! the ATA version in word 80, which software targets leave 0.

use core::fmt;

use crate::SECTOR_SIZE;

/// Why IDENTIFY data describe no disk that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdentifyError {
    /// Word 0 says that this is not an ATA disk.
    NotAta,
    /// The disk knows neither 28-bit nor 48-bit addresses.
    NoLba,
    /// The disk has no sectors.
    ZeroCapacity,
    /// The 48-bit capacity is below the 28-bit one, so at least one of them is wrong.
    CapacityConflict,
    /// Word 255 has a checksum and it does not fit.
    Checksum,
}

impl fmt::Display for IdentifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAta => "not an ATA disk",
            Self::NoLba => "disk without LBA addressing",
            Self::ZeroCapacity => "disk without sectors",
            Self::CapacityConflict => "48-bit capacity below the 28-bit capacity",
            Self::Checksum => "wrong checksum",
        })
    }
}

impl core::error::Error for IdentifyError {}

/// A text of the IDENTIFY data, with the bytes in reading order.
///
/// Two are equal when all their bytes are, also those that are not shown.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdString<const N: usize>([u8; N]);

impl<const N: usize> IdString<N> {
    /// Reads the text at byte `start`; each word has its first character in the high byte.
    fn parse(table: &[u8; SECTOR_SIZE], start: usize) -> Self {
        let mut text = [0; N];
        let mut words = table.chunks_exact(2).skip(start / 2);
        // Not `zip`: for chunks it divides by their size, and an optimiser for size keeps that.
        for to in text.chunks_exact_mut(2) {
            if let ([first, second], Some([low, high])) = (to, words.next()) {
                *first = *high;
                *second = *low;
            }
        }
        Self(text)
    }

    /// All bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }

    /// The text for people: without spaces and zeros around it, up to the first byte that is not
    /// a printable ASCII character.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let mut text: &[u8] = &self.0;
        while let [b' ' | 0, rest @ ..] = text {
            text = rest;
        }
        if let Some(printable) = text.split(|byte| !matches!(byte, b' '..=b'~')).next() {
            text = printable;
        }
        while let [rest @ .., b' '] = text {
            text = rest;
        }
        // Only ASCII is left, so the empty text stands for nothing here.
        core::str::from_utf8(text).unwrap_or("")
    }

    /// Whether there is nothing to show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_str().is_empty()
    }
}

impl<const N: usize> fmt::Display for IdString<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for IdString<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// What an initiator needs to know of IDENTIFY DEVICE data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identify {
    /// Words 10-19. Not unique with every server: see [`Identify::has_own_serial`].
    pub serial: IdString<20>,
    /// Words 27-46.
    pub model: IdString<40>,
    /// Words 23-26.
    pub firmware: IdString<8>,
    /// Capacity in units of 512 bytes: words 100-103, or 60-61 without 48-bit addresses.
    pub sectors: u64,
    /// World wide name, words 108-111, if word 87 says that there is one.
    pub wwn: Option<u64>,
    /// Bytes of a logical sector, words 117-118; 512 unless word 106 says otherwise. AoE knows no
    /// other, so another value is a contradiction that the caller has to handle.
    pub logical_sector: u32,
    /// Bytes of a physical sector, word 106.
    pub physical_sector: u32,
    /// Bytes from the start of the disk to the first start of a physical sector, word 209.
    pub alignment: u32,
    /// Blocks of ranges of one TRIM command, word 105; at least 1.
    pub trim_blocks: u16,
    /// Word 217: 0 unknown, 1 does not rotate, else rotations per minute.
    pub rotation: u16,
    /// The disk takes 48-bit commands and has a 48-bit capacity; words 83, 86.
    pub lba48: bool,
    /// FLUSH CACHE (0xE7) is there; words 83, 86.
    pub flush: bool,
    /// FLUSH CACHE EXT (0xEA) is there, and 48-bit commands too; words 83, 86.
    pub flush_ext: bool,
    /// The disk has a write cache; word 82.
    pub write_cache_supported: bool,
    /// The write cache is on; word 85.
    pub write_cache_enabled: bool,
    /// SMART is there; word 82.
    pub smart_supported: bool,
    /// TRIM is there; word 169.
    pub trim: bool,
    /// Trimmed sectors read as zeros, always; word 69.
    pub trim_reads_zero: bool,
    /// Word 0 says ATA disk. Clear for CompactFlash only, which takes the same commands.
    pub ata: bool,
}

/// Word `N`. The number is a constant, so the compiler sees that it is inside.
const fn word<const N: usize>(table: &[u8; SECTOR_SIZE]) -> u16 {
    u16::from_le_bytes([table[2 * N], table[2 * N + 1]])
}

/// Words `N` and `N + 1`, low word first.
const fn double<const N: usize>(table: &[u8; SECTOR_SIZE]) -> u32 {
    u32::from_le_bytes([
        table[2 * N],
        table[2 * N + 1],
        table[2 * N + 2],
        table[2 * N + 3],
    ])
}

const fn bit(word: u16, number: u32) -> bool {
    word.wrapping_shr(number) & 1 != 0
}

/// A word whose bits 15-14 are 01 holds what it is said to hold; else nothing is known.
const fn valid(word: u16) -> u16 {
    if word >> 14 == 0b01 { word } else { 0 }
}

/// The weaker rule for words 83 and 86: hand-written targets forget bit 14, but a word of ones is
/// one that the disk does not have.
const fn plausible(word: u16) -> u16 {
    if bit(word, 15) { 0 } else { word }
}

/// CompactFlash has bit 15 of word 0 set, as ATAPI has, but it is a disk.
const COMPACT_FLASH: u16 = 0x848A;
/// The largest number of sectors that 28 bits can address.
const LBA28_SECTORS: u64 = 0x0FFF_FFFF;
/// The largest number of sectors that 48 bits can address.
const LBA48_SECTORS: u64 = 0xFFFF_FFFF_FFFF;

/// Capacity, and whether 48-bit commands are to be used.
fn capacity(table: &[u8; SECTOR_SIZE], feature_48: bool) -> Result<(u64, bool), IdentifyError> {
    let lba28 = u64::from(double::<60>(table));
    let low = u64::from(double::<100>(table));
    let high = u64::from(word::<102>(table));
    // Word 103 stands for addresses that no command can carry.
    let lba48 = ((high << 32) | low).min(LBA48_SECTORS);
    if feature_48 && lba48 != 0 {
        if lba28 <= LBA28_SECTORS && lba48 < lba28 {
            return Err(IdentifyError::CapacityConflict);
        }
        return Ok((lba48, true));
    }
    if lba28 == 0 {
        let addresses = feature_48 || bit(word::<49>(table), 9);
        return Err(if addresses {
            IdentifyError::ZeroCapacity
        } else {
            IdentifyError::NoLba
        });
    }
    Ok((lba28.min(LBA28_SECTORS), false))
}

/// Logical sector, physical sector and alignment, in bytes (words 106, 117-118, 209).
fn geometry(table: &[u8; SECTOR_SIZE]) -> (u32, u32, u32) {
    let sizes = valid(word::<106>(table));
    let logical = if bit(sizes, 12) {
        double::<117>(table).saturating_mul(2)
    } else {
        512
    };
    let ratio = if bit(sizes, 13) {
        1_u32 << (sizes & 0x0F)
    } else {
        1
    };
    // The word counts logical sectors into the physical one; GEOM wants the way to the next start.
    let index = u32::from(valid(word::<209>(table)) & 0x3FFF);
    let offset = ratio.wrapping_sub(index) & (ratio - 1);
    (
        logical,
        logical.saturating_mul(ratio),
        logical.saturating_mul(offset),
    )
}

fn checksum_fits(table: &[u8; SECTOR_SIZE]) -> bool {
    let sum = table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    word::<255>(table) & 0xFF != 0xA5 || sum == 0
}

fn world_wide_name(table: &[u8; SECTOR_SIZE]) -> Option<u64> {
    if !bit(valid(word::<87>(table)), 8) {
        return None;
    }
    let name = (u64::from(word::<108>(table)) << 48)
        | (u64::from(word::<109>(table)) << 32)
        | (u64::from(word::<110>(table)) << 16)
        | u64::from(word::<111>(table));
    (name != 0).then_some(name)
}

const fn rotation(rate: u16) -> u16 {
    match rate {
        1 | 0x0401..=0xFFFE => rate,
        _ => 0,
    }
}

impl Identify {
    /// Reads the 512 bytes that IDENTIFY DEVICE returns.
    ///
    /// # Errors
    /// See [`IdentifyError`].
    pub fn parse(table: &[u8; SECTOR_SIZE]) -> Result<Self, IdentifyError> {
        if !checksum_fits(table) {
            return Err(IdentifyError::Checksum);
        }
        let kind = word::<0>(table);
        if bit(kind, 15) && kind != COMPACT_FLASH {
            return Err(IdentifyError::NotAta);
        }
        // What is supported and what is enabled; a software target may fill either.
        let features = plausible(word::<83>(table)) | plausible(word::<86>(table));
        let (sectors, lba48) = capacity(table, bit(features, 10))?;
        let (logical_sector, physical_sector, alignment) = geometry(table);
        let supported = if valid(word::<83>(table)) == 0 {
            0
        } else {
            word::<82>(table)
        };
        let enabled = if valid(word::<87>(table)) == 0 {
            0
        } else {
            word::<85>(table)
        };
        let trim = bit(word::<169>(table), 0);
        let after_trim = word::<69>(table);
        Ok(Self {
            serial: IdString::parse(table, 20),
            model: IdString::parse(table, 54),
            firmware: IdString::parse(table, 46),
            sectors,
            wwn: world_wide_name(table),
            logical_sector,
            physical_sector,
            alignment,
            trim_blocks: word::<105>(table).max(1),
            rotation: rotation(word::<217>(table)),
            lba48,
            flush: bit(features, 12),
            flush_ext: bit(features, 13) && lba48,
            write_cache_supported: bit(supported, 5),
            write_cache_enabled: bit(supported, 5) && bit(enabled, 5),
            smart_supported: bit(supported, 0),
            trim,
            trim_reads_zero: trim && bit(after_trim, 14) && bit(after_trim, 5),
            ata: !bit(kind, 15),
        })
    }

    /// Whether both describe the same disk: serial, model and world wide name are equal.
    ///
    /// The capacity may differ, since disks grow. Two disks of a server that gives all of them the
    /// same serial cannot be told apart.
    #[must_use]
    pub fn same_disk(&self, other: &Self) -> bool {
        self.serial == other.serial && self.model == other.model && self.wwn == other.wwn
    }

    /// A number that two answers share when they name the same disk and the same size (FNV-1a; for
    /// telling disks apart that do not try to be taken for each other).
    #[must_use]
    pub fn digest(&self) -> u64 {
        let texts = [self.serial.as_str(), self.model.as_str()];
        let words = [self.wwn.unwrap_or(0), self.sectors];
        texts
            .iter()
            .flat_map(|text| text.bytes().chain([0]))
            .chain(words.iter().flat_map(|word| word.to_le_bytes()))
            .fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
                (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            })
    }

    /// Whether the serial tells this disk from others: not empty, and not what kvblade writes
    /// into every disk that it was given no serial for.
    #[must_use]
    pub fn has_own_serial(&self) -> bool {
        !matches!(self.serial.as_str(), "" | "SN HERE")
    }
}

/// IDENTIFY DEVICE data in the making, for targets and tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentifyTable([u8; SECTOR_SIZE]);

impl IdentifyTable {
    /// All words zero.
    #[must_use]
    pub const fn new() -> Self {
        Self([0; SECTOR_SIZE])
    }

    /// Sets word `number`.
    #[must_use]
    pub fn word(mut self, number: u8, value: u16) -> Self {
        self.set(number, value);
        self
    }

    fn set(&mut self, number: u8, value: u16) {
        if let Some(bytes) = self.0.chunks_exact_mut(2).nth(usize::from(number)) {
            for (to, from) in bytes.iter_mut().zip(value.to_le_bytes()) {
                *to = from;
            }
        }
    }

    /// Writes a text of `words` words at word `number`, cut or filled with spaces.
    #[must_use]
    pub fn text(mut self, number: u8, words: u8, text: &[u8]) -> Self {
        let mut text = text.iter().copied().chain(core::iter::repeat(b' '));
        let places = self.0.chunks_exact_mut(2).skip(usize::from(number));
        for place in places.take(usize::from(words)) {
            let first = text.next().unwrap_or(b' ');
            let second = text.next().unwrap_or(b' ');
            for (to, from) in place.iter_mut().zip([second, first]) {
                *to = from;
            }
        }
        self
    }

    /// Words 10-19.
    #[must_use]
    pub fn serial(self, text: &[u8]) -> Self {
        self.text(10, 10, text)
    }

    /// Words 23-26.
    #[must_use]
    pub fn firmware(self, text: &[u8]) -> Self {
        self.text(23, 4, text)
    }

    /// Words 27-46.
    #[must_use]
    pub fn model(self, text: &[u8]) -> Self {
        self.text(27, 20, text)
    }

    /// Words 60-61, as far as 28 bits go, and 100-103.
    #[must_use]
    pub fn capacity(mut self, sectors: u64) -> Self {
        let [a, b, c, d, ..] = sectors.min(LBA28_SECTORS).to_le_bytes();
        self.set(60, u16::from_le_bytes([a, b]));
        self.set(61, u16::from_le_bytes([c, d]));
        let [a, b, c, d, e, f, ..] = sectors.min(LBA48_SECTORS).to_le_bytes();
        self.set(100, u16::from_le_bytes([a, b]));
        self.set(101, u16::from_le_bytes([c, d]));
        self.set(102, u16::from_le_bytes([e, f]));
        self.set(103, 0);
        self
    }

    /// Word 255: signature and checksum, over all that was set before.
    #[must_use]
    pub fn checksum(mut self) -> Self {
        self.set(255, 0x00A5);
        let sum = self
            .0
            .iter()
            .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        self.set(255, u16::from_le_bytes([0xA5, sum.wrapping_neg()]));
        self
    }

    /// The 512 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; SECTOR_SIZE] {
        &self.0
    }
}

impl Default for IdentifyTable {
    fn default() -> Self {
        Self::new()
    }
}
