//! Whether the target takes writes. AoE does not tell it beforehand; the answers to writes do.

use crate::limits::READ_ONLY_AFTER;

/// What the answers to writes have told since the target was last silent.
#[derive(Copy, Clone, Debug)]
pub(super) struct Writes {
    /// One was carried out: a refused one may mean something else than a read-only export.
    taken: bool,
    /// So many failed since, one after the other.
    failed: u8,
    /// They are refused.
    read_only: bool,
}

impl Writes {
    pub(super) const UNKNOWN: Self = Self {
        taken: false,
        failed: 0,
        read_only: false,
    };

    #[inline(always)]
    pub(super) const fn note_taken(&mut self) {
        *self = Self {
            taken: true,
            failed: 0,
            read_only: false,
        };
    }

    pub(super) const fn note_failed(&mut self) {
        self.failed = self.failed.saturating_add(1);
    }

    pub(super) const fn note_read_only(&mut self) {
        self.read_only = true;
    }

    pub(super) const fn is_read_only(self) -> bool {
        self.read_only
    }

    /// Whether a write that is refused without a reason now means that all are.
    pub(super) const fn refusal_is_general(self) -> bool {
        self.read_only || !self.taken || self.failed >= READ_ONLY_AFTER - 1
    }
}
