// SPDX-License-Identifier: BSD-2-Clause
//! Sectors that say who wrote them.

/// What a sector holds.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// Zeros: never written, or trimmed.
    Blank,
    /// What the write of this token put there.
    Of(u64),
    /// Something that nobody ever wrote there.
    Garbage,
}

/// The 512 bytes that the write `token` puts into sector `lba`.
#[must_use]
pub fn stamp(token: u64, lba: u64) -> [u8; 512] {
    let mut sector = [0; 512];
    for (index, word) in sector.chunks_exact_mut(8).enumerate() {
        // Every word differs, so that shifted data are garbage.
        let value = match index {
            0 => token,
            1 => lba,
            _ => token
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .wrapping_add(lba << 8 | index as u64),
        };
        word.copy_from_slice(&value.to_le_bytes());
    }
    sector
}

/// What `sector`, found at `lba`, holds.
#[must_use]
pub fn content(sector: &[u8], lba: u64) -> Content {
    if sector == [0; 512] {
        return Content::Blank;
    }
    let token = sector.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    match token {
        Some(token) if stamp(token, lba) == sector => Content::Of(token),
        _ => Content::Garbage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sector_says_who_wrote_it_and_where() {
        assert_eq!(content(&stamp(7, 3), 3), Content::Of(7));
        assert_eq!(content(&stamp(7, 3), 4), Content::Garbage);
        assert_eq!(content(&[0; 512], 4), Content::Blank);
        assert_eq!(content(&[0xcc; 512], 4), Content::Garbage);
        let mut torn = stamp(7, 3);
        torn[511] ^= 1;
        assert_eq!(content(&torn, 3), Content::Garbage);
    }
}
