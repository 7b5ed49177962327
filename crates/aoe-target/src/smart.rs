// SPDX-License-Identifier: BSD-2-Clause
//! What SMART tells of a disk.

use crate::storage::SECTOR;

/// Attributes of the disk: number, flags, value, worst, raw value, threshold.
const ATTRIBUTES: [(u8, u16, u8, u8, u64, u8); 6] = [
    (1, 0x000f, 118, 99, 0, 6),
    (5, 0x0033, 100, 100, 0, 36),
    (9, 0x0032, 99, 99, 1234, 0),
    (12, 0x0032, 100, 100, 56, 20),
    (194, 0x0022, 66, 55, 34, 0),
    (197, 0x0012, 100, 100, 0, 0),
];
/// Value and raw value of the reallocated sectors of a disk that is about to fail.
const FAILING: (u8, u64) = (30, 4711);
const REALLOCATED: u8 = 5;
/// Bytes of an attribute or a threshold in its page.
const ENTRY: usize = 12;

/// Logs for hosts to write what they like.
pub(crate) const HOST_LOGS: std::ops::RangeInclusive<u8> = 0x80..=0x9f;

/// A page whose bytes have the sum 0.
fn seal(mut page: [u8; SECTOR]) -> [u8; SECTOR] {
    let sum = page.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    if let Some(last) = page.last_mut() {
        *last = last.wrapping_sub(sum);
    }
    page
}

/// A page of the structure's revision 16 with these entries.
fn page(entries: impl Iterator<Item = [u8; ENTRY]>) -> [u8; SECTOR] {
    let mut page = [0; SECTOR];
    let (head, rest) = page.split_at_mut(2);
    head.copy_from_slice(&16_u16.to_le_bytes());
    for (to, from) in rest.chunks_exact_mut(ENTRY).zip(entries) {
        to.copy_from_slice(&from);
    }
    page
}

/// The page of SMART READ DATA. `self_test` is what is told of the last self-test.
pub(crate) fn data(healthy: bool, self_test: u8) -> [u8; SECTOR] {
    let mut page = page(ATTRIBUTES.iter().map(|(id, flags, value, worst, raw, _)| {
        let (value, worst, raw) = if !healthy && *id == REALLOCATED {
            (FAILING.0, FAILING.0, FAILING.1)
        } else {
            (*value, *worst, *raw)
        };
        let [f0, f1] = flags.to_le_bytes();
        let [r0, r1, r2, r3, r4, r5, _, _] = raw.to_le_bytes();
        [*id, f0, f1, value, worst, r0, r1, r2, r3, r4, r5, 0]
    }));
    if let Some(tail) = page.get_mut(362..374) {
        // Collection completed, self-test, seconds for the collection, vendor's, what it can do off-line (run
        // short and extended tests), SMART saved over power, error log, vendor's, minutes for the tests.
        tail.copy_from_slice(&[
            0x02, self_test, 0x2c, 0x01, 0, 0x11, 0x03, 0, 0x01, 0, 1, 90,
        ]);
    }
    seal(page)
}

/// The page of SMART READ THRESHOLDS.
pub(crate) fn thresholds() -> [u8; SECTOR] {
    seal(page(ATTRIBUTES.iter().map(|(id, .., threshold)| {
        [*id, *threshold, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    })))
}

/// One sector of a log: the directory, or an empty log of errors or of self-tests.
pub(crate) fn log(number: u8) -> Option<[u8; SECTOR]> {
    let mut log = [0; SECTOR];
    match number {
        0 => {
            // Revision 1, then the sectors of each log as words.
            for (at, value) in [(0, 1), (2, 1), (12, 1)] {
                if let Some(byte) = log.get_mut(at) {
                    *byte = value;
                }
            }
            Some(log)
        }
        1 | 6 => {
            if let Some(revision) = log.first_mut() {
                *revision = 1;
            }
            Some(seal(log))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_the_sum_zero() {
        let sum = |page: [u8; SECTOR]| page.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        for page in [data(true, 0), data(false, 0), thresholds()] {
            assert_eq!(sum(page), 0);
        }
        assert_eq!(log(6).map(sum), Some(0));
        assert_eq!(log(9), None);
    }

    #[test]
    fn a_failing_disk_is_below_its_threshold() {
        let (good, bad, limits) = (data(true, 0), data(false, 0), thresholds());
        // The second entry are the reallocated sectors.
        assert_eq!((good[14], limits[14]), (5, 5));
        assert!(good[17] > limits[15] && bad[17] <= limits[15]);
    }
}
