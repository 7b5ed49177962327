//! Short requests that follow each other on the disk share a frame.
//!
//! One that was accepted and not begun can be made longer by the next one, if that goes on where it ends:
//! from then on the engine has one request, of which it keeps only where each part ends. There is never
//! more of it than one frame holds, so that no part waits longer for the others than for its own frame. When
//! the target cannot do the frame, each part is asked for alone, and only those that fail then do fail.

use super::Target;
use super::frames::Sign;
use super::io::{Io, IoState, Ios};
use crate::{Instant, IoError, Op, Request};

/// Where the parts of a joined request end, by sectors from its beginning, and which sectors failed. A
/// request with all bits clear is a single one.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Parts {
    ends: u32,
    bad: u32,
}

impl Parts {
    pub(crate) const NONE: Self = Self { ends: 0, bad: 0 };
    /// Sectors of the longest joined request.
    const MOST: u64 = u32::BITS as u64;

    pub(crate) const fn is_none(&self) -> bool {
        self.ends == 0
    }

    /// The bits of these sectors.
    pub(crate) const fn bits(first: u64, sectors: u64) -> u32 {
        let Some(end) = first.checked_add(sectors) else {
            return 0;
        };
        if first >= end || end > Self::MOST {
            return 0;
        }
        (u32::MAX >> (Self::MOST - sectors)) << first
    }

    /// Sectors from this one to the end of its part.
    const fn rest(&self, first: u64) -> u64 {
        if first >= Self::MOST {
            return u64::MAX;
        }
        (self.ends >> first).trailing_zeros() as u64 + 1
    }

    /// The sectors that failed.
    pub(crate) const fn bad(&self) -> u32 {
        self.bad
    }

    /// Some of these sectors failed.
    const fn has_failed(&self, first: u64, sectors: u64) -> bool {
        self.bad & Self::bits(first, sectors) != 0
    }

    /// The part that this sector is in: its first sector, and its length.
    const fn around(&self, sector: u64) -> (u64, u64) {
        if sector >= Self::MOST {
            return (sector, 0);
        }
        let before = self.ends & Self::bits(0, sector);
        let first = (u32::BITS - before.leading_zeros()) as u64;
        (first, sector - first + self.rest(sector))
    }
}

impl Io {
    /// Makes it longer by a part. There is room in its bits: [`Ios::joinable`].
    const fn append(&mut self, sectors: u64) {
        self.parts.ends |= Parts::bits(self.sectors.wrapping_sub(1), 1);
        self.sectors += sectors;
        self.remaining += sectors;
        self.requests += 1;
        self.parts.ends |= Parts::bits(self.sectors.wrapping_sub(1), 1);
    }

    /// Takes its last part away again.
    const fn take_last(&mut self, sectors: u64) {
        self.parts.ends &= !Parts::bits(self.sectors.wrapping_sub(1), 1);
        self.sectors -= sectors;
        self.remaining -= sectors;
        self.requests -= 1;
        if self.parts.ends.count_ones() == 1 {
            self.parts = Parts::NONE;
        }
    }

    /// These sectors of it failed, and with them the part that they are in. True when nothing else of that
    /// did before.
    fn lose(&mut self, first: u64, sectors: u64) -> bool {
        let (begin, len) = self.parts.around(first);
        let new = !self.parts.has_failed(begin, len);
        if new {
            self.requests -= 1;
            self.bad_sectors += u8::try_from(len).unwrap_or(0);
        }
        self.parts.bad |= Parts::bits(first, sectors);
        new
    }

    /// How much of it may go in one frame, from this sector on.
    pub(super) fn frame_limit(&self, offset: u32) -> u32 {
        if self.alone {
            u32::try_from(self.parts.rest(u64::from(offset))).unwrap_or(u32::MAX)
        } else {
            u32::MAX
        }
    }
}

impl Ios<'_> {
    /// The request that this one can be joined to: the last one, not begun, and all of it in one frame with
    /// this one.
    fn joinable(&self, request: &Request, longest: impl FnOnce() -> u64) -> Option<u16> {
        let index = self.newest;
        let io = self.get(index);
        let begun = io.state != IoState::Ready || io.cut != 0 || io.has_failed();
        let alike = io.op == request.op && io.wait_secs == request.wait_secs;
        if begun || !alike || !matches!(io.op, Op::Read | Op::Write) {
            return None;
        }
        let follows = io.lba.checked_add(io.sectors) == Some(request.lba);
        if !follows || self.ordered != 0 || request.ordered {
            return None;
        }
        let sectors = io.sectors.checked_add(request.sectors)?;
        (sectors <= longest().min(Parts::MOST)).then_some(index)
    }

    fn resize(&mut self, index: u16, change: impl FnOnce(&mut Io)) {
        let modifies = self.get(index).modifies();
        if modifies {
            self.unchain(index);
        }
        change(self.at(index));
        if modifies {
            self.chain(index);
        }
    }

    /// It changes sectors that another request changes as well, or perhaps does.
    fn may_overlap(&self, index: u16) -> bool {
        self.get(index).modifies()
            && self.modifying() > 1
            && self.overlaps_any(index) != Some(false)
    }
}

impl Target<'_> {
    /// Joins a request to the one that was accepted last, if that is not begun and this one goes on where
    /// it ends, and both fit in one frame. Gives the token of that one: its data are from now on its own
    /// with this request's behind them, and its completion is this one's, too
    /// ([`crate::Completion::part`]). `None` when this is not so: [`Target::submit`] it.
    pub fn join(&mut self, now: Instant, request: &Request) -> Option<u64> {
        let payloads = self.paths.iter().map(|path| u64::from(path.cut_payload));
        let index = self.ios.joinable(request, || payloads.max().unwrap_or(0))?;
        if self.refusal(request).is_some() {
            return None;
        }
        self.ios.resize(index, |io| io.append(request.sectors));
        if self.ios.may_overlap(index) || self.is_quarantined(now, index) {
            self.ios.resize(index, |io| io.take_last(request.sectors));
            return None;
        }
        self.info.counters.joined += 1;
        Some(self.ios.get(index).token)
    }

    /// A frame has several parts of a joined request. When it fails they are asked for alone.
    pub(super) fn has_several_parts(&self, index: u16) -> bool {
        let frame = self.frames.get(index);
        let parts = &self.ios.get(frame.io).parts;
        !parts.is_none() && u64::from(frame.sectors) > parts.rest(u64::from(frame.offset))
    }

    /// The target cannot do a frame, which is in no list. If it is of a joined request, that need not
    /// be the end of it: true when the frame was taken care of.
    #[cold]
    pub(super) fn fail_part(&mut self, now: Instant, index: u16, error: IoError) -> bool {
        let several = self.has_several_parts(index);
        let frame = self.frames.get(index);
        let (io_index, first, sectors) =
            (frame.io, u64::from(frame.offset), u64::from(frame.sectors));
        let io = self.ios.at(io_index);
        if io.parts.is_none() || error != IoError::Failed {
            return false;
        }
        if several {
            io.alone = true;
            let frame = self.frames.at(index);
            frame.refusals = 0;
            frame.sign = Sign::None;
            self.enqueue(index);
            return true;
        }
        self.info.counters.errors += u64::from(io.lose(first, sectors));
        self.retire(index);
        if self.ios.note_done(io_index, sectors) {
            self.wake_waiting(now);
        }
        true
    }
}
