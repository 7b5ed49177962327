//! What an operator may set, as numbers from outside: sysctls and tunables. A number that is not allowed is
//! `None`, never another number.

use crate::limits::{
    MAX_BEACON_SECS, MAX_BOOT_WAIT_SECS, MAX_QUARANTINE_SECS, MAX_SETTING_SECS, MAX_TARGETS,
    MIN_QUARANTINE_SECS,
};

/// A number from `least` to `most`.
fn within(value: i64, least: u32, most: u32) -> Option<u32> {
    let value = u32::try_from(value).ok()?;
    (least <= value && value <= most).then_some(value)
}

/// Seconds of silence after which I/O fails; 0 never.
#[must_use]
pub fn dead_secs(value: i64) -> Option<u32> {
    within(value, 0, MAX_SETTING_SECS)
}

/// Seconds for which a copy of a write keeps its range closed.
#[must_use]
pub fn quarantine_secs(value: i64) -> Option<u32> {
    within(value, MIN_QUARANTINE_SECS, MAX_QUARANTINE_SECS)
}

/// Seconds between two beacons; 0 sends them on demand.
#[must_use]
pub fn beacon_secs(value: i64) -> Option<u32> {
    within(value, 0, MAX_BEACON_SECS)
}

/// Seconds for which the root mount waits; 0 does not wait.
#[must_use]
pub fn boot_wait_secs(value: i64) -> Option<u32> {
    within(value, 0, MAX_BOOT_WAIT_SECS)
}

/// Targets that there may be at a time; 0 takes up none.
#[must_use]
pub fn max_targets(value: i64) -> Option<u32> {
    within(value, 0, MAX_TARGETS as u32)
}

/// The volatile write cache: -1 leaves it as it is, 0 turns it off, 1 on.
#[must_use]
pub const fn write_cache(value: i64) -> Option<Option<bool>> {
    match value {
        -1 => Some(None),
        0 => Some(Some(false)),
        1 => Some(Some(true)),
        _ => None,
    }
}

/// No or yes.
#[must_use]
pub const fn flag(value: i64) -> Option<bool> {
    match value {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What no number of seconds may be, at the edges of the types that it goes through.
    const NEVER: [i64; 9] = [
        i64::MIN,
        i32::MIN as i64,
        -1,
        MAX_SETTING_SECS as i64 + 1,
        i32::MAX as i64,
        1 << 31,
        u32::MAX as i64,
        1 << 32,
        i64::MAX,
    ];

    #[test]
    fn numbers_have_their_bounds() {
        type Parse = fn(i64) -> Option<u32>;
        let times: [(Parse, u32, u32); 5] = [
            (max_targets, 0, 65_536),
            (dead_secs, 0, 1_000_000_000),
            (quarantine_secs, 1, 600),
            (beacon_secs, 0, 86_400),
            (boot_wait_secs, 0, 86_400),
        ];
        for (parse, least, most) in times {
            for edge in [least, most] {
                assert_eq!(parse(edge.into()), Some(edge));
            }
            for beyond in [i64::from(least) - 1, i64::from(most) + 1] {
                assert_eq!(parse(beyond), None, "{beyond}");
            }
            for value in NEVER {
                assert_eq!(parse(value), None, "{value}");
            }
        }
    }

    #[test]
    fn choices_are_what_they_are() {
        assert_eq!(
            [-2, -1, 0, 1, 2].map(write_cache),
            [None, Some(None), Some(Some(false)), Some(Some(true)), None]
        );
        assert_eq!(
            [-1, 0, 1, 2].map(flag),
            [None, Some(false), Some(true), None]
        );
        for value in NEVER.into_iter().filter(|value| *value != -1) {
            assert_eq!(write_cache(value), None);
            assert_eq!(flag(value), None);
        }
    }

    /// The kernel's timers end at 2^31 seconds after boot; one that is set for later goes off at once, and again.
    #[test]
    fn the_clock_carries_every_time_from_any_moment_of_half_its_range() {
        const END: u64 = 1 << 31;
        for longest in [
            MAX_SETTING_SECS,
            MAX_QUARANTINE_SECS,
            MAX_BEACON_SECS,
            MAX_BOOT_WAIT_SECS,
        ] {
            assert!(END / 2 + u64::from(longest) < END);
        }
    }
}
