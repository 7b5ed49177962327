//! Time as a value: nanoseconds since a point the caller chose, never read here.

use core::num::NonZeroU64;

/// A point in monotonic time, in nanoseconds. The caller's epoch itself counts as the first nanosecond
/// after it, so that "at no time" needs no memory of its own.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Instant(NonZeroU64);

impl Default for Instant {
    fn default() -> Self {
        Self(NonZeroU64::MIN)
    }
}

/// Nanoseconds in a microsecond.
pub(crate) const US: u64 = 1_000;
/// Nanoseconds in a millisecond.
pub(crate) const MS: u64 = 1_000_000;
/// Nanoseconds in a second.
pub(crate) const SEC: u64 = 1_000_000_000;

impl Instant {
    /// The point `nanos` nanoseconds after the caller's epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        match NonZeroU64::new(nanos) {
            Some(nanos) => Self(nanos),
            None => Self(NonZeroU64::MIN),
        }
    }

    /// Nanoseconds since the caller's epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0.get()
    }

    /// This point moved `nanos` nanoseconds into the future; the far end of time stays where it is.
    #[must_use]
    pub const fn after(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Nanoseconds from `earlier` to this point, 0 when `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.get().saturating_sub(earlier.0.get())
    }
}
