//! How large a frame really gets through.
//!
//! What interface and target promise need not hold in between: a switch with a smaller MTU throws
//! large frames away in silence, perhaps in one direction only. Small frames then come and go while
//! large ones are lost again and again. After a few rounds of that the path falls back to frames that every
//! Ethernet carries, and later finds its way up again with single larger frames (as RFC 8899 does it;
//! real requests are the probes, and a lost one is sent again, smaller).

use crate::Instant;
use crate::limits::{
    BASE_PAYLOAD, DEFAULT_PHYSICAL_SECTORS, LARGE_LOST_ROUNDS, MAX_PAYLOAD_RETRY_SECS,
    MIN_PAYLOAD_RETRY_SECS,
};
use crate::time::SEC;

/// The search in one direction of one path. Sizes are in sectors, of which a frame has 255 at most.
#[derive(Copy, Clone, Debug)]
pub(crate) struct PayloadSearch {
    /// Larger frames are not sent, but for one at a time; `None`: nothing is known against any size.
    limit: Option<u8>,
    /// Rounds in a row in which large frames were lost while smaller ones came through.
    rounds: u8,
    /// The smallest size lost in these rounds.
    suspect: u8,
    /// Frames sent before this sequence number belong to a round that was counted.
    counted_until: u64,
    /// When a larger frame may be tried (again).
    retry_at: Instant,
    /// How long to wait after the next trial that fails.
    retry_wait_secs: u8,
    /// The sequence number of the last trial.
    trial: u64,
    /// What it was to show: this size gets through.
    tried: u8,
    /// That is all that is promised.
    tried_all: bool,
    /// The path fell back, and no smaller frame has come through since: nothing may come through.
    doubtful: bool,
}

impl PayloadSearch {
    pub(crate) const EMPTY: Self = Self {
        limit: None,
        rounds: 0,
        suspect: 0,
        counted_until: 0,
        retry_at: Instant::from_nanos(0),
        retry_wait_secs: MIN_PAYLOAD_RETRY_SECS,
        trial: 0,
        tried: 0,
        tried_all: false,
        doubtful: false,
    };

    /// Something is known against some size.
    pub(crate) const fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// The size of a frame to be sent now, where `promised` should be possible.
    pub(crate) fn sectors(&self, now: Instant, promised: u32) -> u32 {
        let Some(limit) = self.limit.map(u32::from) else {
            return promised;
        };
        let next = if self.retry_at <= now && !self.doubtful {
            2 * limit
        } else {
            limit
        };
        next.min(promised)
    }

    /// A frame of this size leaves, where `promised` should be possible.
    pub(crate) fn note_sent(&mut self, now: Instant, seq: u64, sectors: u32, promised: u32) {
        let limit = self.limit.map(u32::from);
        let Some(limit) = limit.filter(|&limit| sectors > limit) else {
            return;
        };
        self.trial = seq;
        self.tried = narrow((2 * limit).min(promised));
        self.tried_all = u32::from(self.tried) == promised;
        // One at a time; should it vanish from the books with its request, there will be another.
        self.retry_at = now.after(u64::from(MIN_PAYLOAD_RETRY_SECS) * SEC);
    }

    /// The frame with this sequence number and size came through. True when that shows that the path fell
    /// back for a reason: a smaller frame came through, and no larger one has.
    pub(crate) fn note_answered(&mut self, now: Instant, seq: u64, sectors: u32) -> bool {
        if self.rounds > 0 && sectors >= u32::from(self.suspect) {
            self.rounds = 0;
        }
        let Some(limit) = self.limit.map(u32::from) else {
            return false;
        };
        if sectors <= limit {
            return core::mem::take(&mut self.doubtful);
        }
        self.note_large_came_through(now, seq, sectors);
        false
    }

    /// A frame of this size came through, which was cut in smaller ones since: if it is a large one, the path
    /// fell back for nothing. The target answered nothing for a while, of any size.
    pub(crate) fn note_late(&mut self, now: Instant, sectors: u32) {
        if self.doubtful && self.limit.is_some_and(|limit| sectors > u32::from(limit)) {
            self.doubtful = false;
            self.retry_at = now;
        }
    }

    /// A frame larger than the limit came through.
    fn note_large_came_through(&mut self, now: Instant, seq: u64, sectors: u32) {
        self.doubtful = false;
        self.retry_at = now;
        if seq != self.trial {
            // It was on its way when the path fell back: a sign of hope, nothing more.
            return;
        }
        // Frames end on blocks of the disk, so the one that was sent may be a little smaller.
        let tried = u32::from(self.tried);
        let whole_blocks = match tried % DEFAULT_PHYSICAL_SECTORS {
            odd if odd < tried => tried - odd,
            _ => tried,
        };
        if sectors >= whole_blocks {
            self.retry_wait_secs = MIN_PAYLOAD_RETRY_SECS;
            self.limit = (!self.tried_all).then_some(self.tried);
        }
    }

    /// A frame was lost, or is taken back. If it was the trial, the next one comes later.
    pub(crate) fn note_lost(&mut self, now: Instant, seq: u64) {
        if self.trial == seq && self.limit.is_some() {
            self.put_off(now);
        }
    }

    /// A frame was lost and something that was sent later by the same path came through. `next_seq` is the
    /// number of the next frame to be sent.
    pub(crate) fn note_overtaken(
        &mut self,
        now: Instant,
        (seq, sectors): (u64, u32),
        next_seq: u64,
    ) {
        let usual = self.limit.map_or(u32::MAX, u32::from);
        if sectors <= BASE_PAYLOAD || sectors > usual || seq < self.counted_until {
            return;
        }
        self.counted_until = next_seq;
        self.suspect = if self.rounds == 0 {
            narrow(sectors)
        } else {
            self.suspect.min(narrow(sectors))
        };
        self.rounds += 1;
        if self.rounds < LARGE_LOST_ROUNDS {
            return;
        }
        self.rounds = 0;
        self.limit = Some(narrow(BASE_PAYLOAD));
        self.trial = u64::MAX;
        self.doubtful = true;
        self.put_off(now);
    }

    fn put_off(&mut self, now: Instant) {
        self.retry_at = now.after(u64::from(self.retry_wait_secs) * SEC);
        self.retry_wait_secs = (self.retry_wait_secs * 2).min(MAX_PAYLOAD_RETRY_SECS);
    }
}

/// The size of a frame in one byte.
fn narrow(sectors: u32) -> u8 {
    u8::try_from(sectors).unwrap_or(u8::MAX)
}
