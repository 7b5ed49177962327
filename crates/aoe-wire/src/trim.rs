// SPDX-License-Identifier: BSD-2-Clause
//! The data of a TRIM: blocks of ranges (ATA, DATA SET MANAGEMENT).

use crate::SECTOR_SIZE;
use crate::ata::LBA48_MAX;

/// The most sectors that one range of a TRIM names.
const TRIM_RANGE_MAX: u64 = 65_535;

/// Fills a block of TRIM ranges for `sectors` sectors from `lba` and returns how many it covers.
///
/// A block has 64 ranges of at most 65,535 sectors; unused ones are zero, which a disk skips. A
/// range never reaches past the last 48-bit address, and one that starts there covers nothing.
pub fn emit_trim_range(block: &mut [u8; SECTOR_SIZE], lba: u64, sectors: u64) -> u64 {
    let end = lba.saturating_add(sectors).min(LBA48_MAX);
    let mut next = lba;
    for entry in block.chunks_exact_mut(8) {
        let count = end.saturating_sub(next).min(TRIM_RANGE_MAX);
        let range = if count == 0 { 0 } else { next | (count << 48) };
        for (to, from) in entry.iter_mut().zip(range.to_le_bytes()) {
            *to = from;
        }
        next = next.saturating_add(count);
    }
    next.saturating_sub(lba)
}

/// The ranges of TRIM data, as (LBA, sectors); empty ones are left out, as a disk does.
#[derive(Clone, Debug)]
pub struct TrimRanges<'a> {
    entries: core::slice::ChunksExact<'a, u8>,
}

impl<'a> TrimRanges<'a> {
    /// Reads the ranges of one or more blocks.
    #[must_use]
    pub fn new(data: &'a [u8]) -> Self {
        Self {
            entries: data.chunks_exact(8),
        }
    }
}

impl Iterator for TrimRanges<'_> {
    type Item = (u64, u16);

    fn next(&mut self) -> Option<(u64, u16)> {
        loop {
            let &[b0, b1, b2, b3, b4, b5, c0, c1] = self.entries.next()?.first_chunk::<8>()?;
            let sectors = u16::from_le_bytes([c0, c1]);
            if sectors != 0 {
                return Some((u64::from_le_bytes([b0, b1, b2, b3, b4, b5, 0, 0]), sectors));
            }
        }
    }
}
