//! Whether the target takes writes. AoE does not tell it beforehand; the answers to writes do.

use crate::limits::READ_ONLY_AFTER;

/// What the answers to writes have told since the target was last silent.
#[derive(Copy, Clone, Debug)]
pub(super) struct Writes {
    /// Failures in a row after which one that has no reason means that all writes are refused. While no
    /// write was carried out the first one does.
    left: u8,
    /// They are refused.
    read_only: bool,
}

impl Writes {
    pub(super) const UNKNOWN: Self = Self {
        left: 1,
        read_only: false,
    };

    #[inline(always)]
    pub(super) const fn note_taken(&mut self) {
        *self = Self {
            left: READ_ONLY_AFTER,
            read_only: false,
        };
    }

    pub(super) const fn note_failed(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    pub(super) const fn note_read_only(&mut self) {
        self.read_only = true;
    }

    pub(super) const fn is_read_only(self) -> bool {
        self.read_only
    }

    /// Whether a write that is refused without a reason now means that all are.
    pub(super) const fn refusal_is_general(self) -> bool {
        self.read_only || self.left <= 1
    }
}
