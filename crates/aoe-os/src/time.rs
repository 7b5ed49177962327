// SPDX-License-Identifier: BSD-2-Clause
//! Time and chance.

use std::fs::File;
use std::io::{self, Read};
use std::sync::OnceLock;
use std::time::Instant;

/// Nanoseconds since the first call, on a clock that never runs backwards.
#[must_use]
pub fn monotonic_nanos() -> u64 {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    let elapsed = EPOCH.get_or_init(Instant::now).elapsed();
    // 2^64 nanoseconds are 584 years.
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

/// A seed that nobody on the wire can guess, from the kernel's generator.
///
/// # Errors
///
/// When `/dev/urandom` cannot be read, as in a jail without devfs.
pub fn random_seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// A key that nobody on the wire can guess, as [`random_seed`] is.
///
/// # Errors
///
/// Those of [`random_seed`].
pub fn random_key() -> io::Result<u128> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u128::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_forward() {
        let a = monotonic_nanos();
        std::thread::sleep(std::time::Duration::from_millis(2));
        let b = monotonic_nanos();
        assert!(b - a >= 2_000_000, "{a} {b}");
    }

    #[test]
    fn seeds_differ() {
        assert_ne!(random_seed().unwrap(), random_seed().unwrap());
        let keys = [random_key().unwrap(), random_key().unwrap()];
        assert_ne!(keys[0], keys[1]);
        assert!(
            keys.iter()
                .all(|key| key >> 64 != key & u128::from(u64::MAX))
        );
    }
}
