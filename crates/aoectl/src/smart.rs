// SPDX-License-Identifier: BSD-2-Clause
//! The pages that SMART READ DATA and SMART READ THRESHOLDS bring.
//!
//! ATA leaves the attributes to the vendors; that there are thirty of twelve bytes each, and what their first
//! bytes mean, is what every disk that has them does.

use aoe_wire::SECTOR_SIZE;

/// Bytes of an attribute, and of a threshold.
const ENTRY: usize = 12;
/// Where the entries begin, and where they end.
const ENTRIES: std::ops::Range<usize> = 2..362;
/// The attribute tells of failure, not of age.
const PREFAILURE: u16 = 1;

/// One attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Attribute {
    pub(crate) id: u8,
    pub(crate) flags: u16,
    /// From 1, the worst, to 253.
    pub(crate) value: u8,
    pub(crate) worst: u8,
    /// What the vendor counts.
    pub(crate) raw: u64,
    /// 0 if the disk has none.
    pub(crate) threshold: u8,
}

impl Attribute {
    /// Whether a threshold means that the disk is about to fail, and not just old.
    pub(crate) fn is_prefailure(self) -> bool {
        self.flags & PREFAILURE != 0
    }

    /// Whether it is at its threshold now, was once, or never.
    pub(crate) fn state(self) -> &'static str {
        // A threshold of 0 is never reached, since no value is below 1.
        if self.threshold == 0 {
            "ok"
        } else if self.value <= self.threshold {
            "failing"
        } else if self.worst <= self.threshold {
            "failed before"
        } else {
            "ok"
        }
    }

    /// What most vendors mean by its number; empty for others.
    pub(crate) fn name(self) -> &'static str {
        match self.id {
            1 => "read error rate",
            3 => "spin-up time",
            4 => "start/stop count",
            5 => "reallocated sectors",
            7 => "seek error rate",
            9 => "power-on hours",
            10 => "spin retries",
            12 => "power cycles",
            177 => "wear levelling",
            183 => "runtime bad blocks",
            184 => "end-to-end errors",
            187 => "uncorrectable errors",
            188 => "command timeouts",
            190 | 194 => "temperature",
            191 => "shocks",
            192 => "emergency retracts",
            193 => "load cycles",
            196 => "reallocation events",
            197 => "pending sectors",
            198 => "offline uncorrectable",
            199 => "interface checksum errors",
            231 => "life left",
            233 => "wear-out",
            240 => "head flying hours",
            241 => "written",
            242 => "read",
            _ => "",
        }
    }
}

/// What SMART READ DATA says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Page {
    pub(crate) revision: u16,
    pub(crate) attributes: Vec<Attribute>,
    /// The status of off-line data collection, as it is.
    pub(crate) collection: u8,
    /// The status of the last self-test, as it is.
    pub(crate) self_test: u8,
    /// How long off-line data collection takes, in seconds.
    pub(crate) collection_secs: u16,
    /// How long the short and the extended self-test take, in minutes; 0: not told.
    pub(crate) short_minutes: u8,
    pub(crate) extended_minutes: u8,
    /// The sum of all bytes is 0, as it should be.
    pub(crate) is_sound: bool,
}

impl Page {
    /// Reads the data; `thresholds` is the other page, if the disk has one.
    pub(crate) fn parse(data: &[u8; SECTOR_SIZE], thresholds: Option<&[u8; SECTOR_SIZE]>) -> Self {
        let attributes = entries(data)
            .filter_map(|entry| {
                let [id, f0, f1, value, worst, r0, r1, r2, r3, r4, r5, _] = *entry;
                (id != 0).then(|| Attribute {
                    id,
                    flags: u16::from_le_bytes([f0, f1]),
                    value,
                    worst,
                    raw: u64::from_le_bytes([r0, r1, r2, r3, r4, r5, 0, 0]),
                    threshold: thresholds.map_or(0, |page| threshold(page, id)),
                })
            })
            .collect();
        Self {
            revision: u16::from_le_bytes([data[0], data[1]]),
            attributes,
            collection: data[362],
            self_test: data[363],
            collection_secs: u16::from_le_bytes([data[364], data[365]]),
            short_minutes: data[372],
            extended_minutes: data[373],
            is_sound: is_sound(data) && thresholds.is_none_or(is_sound),
        }
    }

    /// How far the self-test is that runs, in percent left to do.
    pub(crate) fn self_test_left(&self) -> Option<u8> {
        (self.self_test >> 4 == 15).then_some((self.self_test & 15).saturating_mul(10))
    }

    /// The last self-test in words.
    pub(crate) fn self_test_text(&self) -> &'static str {
        match self.self_test >> 4 {
            0 => "completed without error, or never run",
            1 => "aborted by the host",
            2 => "interrupted by a reset",
            3 => "could not be completed",
            4 => "failed: element unknown",
            5 => "failed: electrical",
            6 => "failed: servo or seek",
            7 => "failed: read",
            8 => "failed: handling damage suspected",
            15 => "in progress",
            _ => "reserved",
        }
    }

    /// Off-line data collection in words. The upper bit says whether the disk does it by itself.
    pub(crate) fn collection_text(&self) -> &'static str {
        match self.collection & 0x7f {
            0 => "never started",
            2 => "completed",
            3 => "in progress",
            4 => "suspended by the host",
            5 => "aborted by the host",
            6 => "aborted by the disk",
            _ => "vendor specific",
        }
    }
}

fn entries(page: &[u8; SECTOR_SIZE]) -> impl Iterator<Item = &[u8; ENTRY]> {
    page[ENTRIES]
        .chunks_exact(ENTRY)
        .filter_map(|entry| entry.first_chunk())
}

fn threshold(page: &[u8; SECTOR_SIZE], id: u8) -> u8 {
    entries(page)
        .find(|entry| entry[0] == id)
        .map_or(0, |entry| entry[1])
}

fn is_sound(page: &[u8; SECTOR_SIZE]) -> bool {
    page.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) == 0
}

/// Word `number` of IDENTIFY data.
fn word(identify: &[u8; SECTOR_SIZE], number: usize) -> u16 {
    match identify.get(2 * number..2 * number + 2) {
        Some([low, high]) => u16::from_le_bytes([*low, *high]),
        _ => 0,
    }
}

/// Whether IDENTIFY data say that SMART is there (word 82), and that it is on (word 85). Words 83 and 87 say
/// whether those two mean anything; a disk that forgets to say so is not believed to have nothing.
pub(crate) fn announced(identify: &[u8; SECTOR_SIZE]) -> (bool, bool) {
    let bit = |number, check| word(identify, number) & 1 != 0 && word(identify, check) >> 15 == 0;
    (bit(82, 83), bit(85, 87))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> [u8; SECTOR_SIZE] {
        let mut page = [0; SECTOR_SIZE];
        page[0] = 16;
        page[2..14].copy_from_slice(&[5, 0x33, 0, 100, 36, 7, 1, 0, 0, 0, 0, 0]);
        // The second entry is free; the last one is used.
        page[350..362].copy_from_slice(&[194, 0x22, 0, 60, 45, 40, 0, 0, 0, 0, 1, 0]);
        page[362] = 0x82;
        page[363] = 0xf3;
        page[364] = 0x2c;
        page[365] = 0x01;
        page[372] = 2;
        page[373] = 255;
        seal(&mut page);
        page
    }

    fn seal(page: &mut [u8; SECTOR_SIZE]) {
        page[511] = 0;
        let sum = page.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        page[511] = sum.wrapping_neg();
    }

    #[test]
    fn a_page_is_read() {
        let mut limits = [0; SECTOR_SIZE];
        limits[2..4].copy_from_slice(&[194, 0]);
        limits[14..16].copy_from_slice(&[5, 36]);
        seal(&mut limits);
        let page = Page::parse(&page(), Some(&limits));
        assert_eq!((page.revision, page.is_sound), (16, true));
        let [first, last] = page.attributes[..] else {
            panic!("{page:?}");
        };
        assert_eq!(
            (first.id, first.value, first.worst, first.raw),
            (5, 100, 36, 263)
        );
        assert_eq!((first.threshold, first.state()), (36, "failed before"));
        assert!(first.is_prefailure() && !last.is_prefailure());
        assert_eq!((last.raw, last.state()), (40 + (1 << 40), "ok"));
        assert_eq!(last.name(), "temperature");
        assert_eq!(
            (page.self_test_text(), page.self_test_left()),
            ("in progress", Some(30))
        );
        assert_eq!(
            (page.collection_text(), page.collection_secs),
            ("completed", 300)
        );
        assert_eq!((page.short_minutes, page.extended_minutes), (2, 255));
    }

    #[test]
    fn thresholds_are_reached_from_above() {
        let mut at = Attribute {
            id: 5,
            flags: 1,
            value: 36,
            worst: 36,
            raw: 0,
            threshold: 36,
        };
        assert_eq!(at.state(), "failing");
        at.value = 37;
        assert_eq!(at.state(), "failed before");
        at.threshold = 0;
        assert_eq!(at.state(), "ok");
    }

    #[test]
    fn damage_is_seen() {
        let mut page = page();
        page[100] ^= 1;
        assert!(!Page::parse(&page, None).is_sound);
    }

    #[test]
    fn words_that_mean_nothing_are_not_believed() {
        let mut identify = [0; SECTOR_SIZE];
        assert_eq!(announced(&identify), (false, false));
        identify[2 * 82] = 1;
        identify[2 * 85] = 1;
        identify[2 * 83 + 1] = 0x40;
        identify[2 * 87 + 1] = 0x40;
        assert_eq!(announced(&identify), (true, true));
        identify[2 * 85] = 0;
        assert_eq!(announced(&identify), (true, false));
        identify.fill(0xff);
        assert_eq!(announced(&identify), (false, false));
    }
}
