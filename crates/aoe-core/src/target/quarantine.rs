//! Copies of writes that may still strike.
//!
//! A target executes every copy that reaches it, whenever that is. When a write is complete but some
//! copy of it was not answered, a newer write to the same sectors waits until that copy is proven
//! dead. The proofs:
//!
//! * every copy was answered: each was executed, or refused, before the answer left;
//! * the target keeps order, and on each path that a copy went by something was answered that was
//!   sent a good while after the copy: what the target or the path had queued before it has gone by.
//!   A target that works on several requests at once may, after a stall, take the newest first,
//!   however much later it was sent: for such a one this proves nothing (simulator seed 2292);
//! * a long time has passed since the copy could last leave this host; how long, the operator may say.
//!
//! An interface that goes down may keep frames and send them when it is up again. The caller empties
//! it before it says so, as far as the driver lets it; what a driver does not give away is the
//! residue of risk, and time runs anew from the day the interface is up.

use super::frames::FrameState;
use super::paths::{Path, PathState};
use super::{Instant, Target};
use crate::time::{MS, SEC};

/// By how much the network may let a later frame overtake an earlier one.
pub(super) const NETWORK_REORDER_NS: u64 = 50 * MS;

impl Path {
    /// Something that was sent at `sent_at` on this path was answered.
    pub(super) fn note_alive_until(&mut self, sent_at: Instant) {
        self.answered_sent = self.answered_sent.max(sent_at);
    }
}

impl Target<'_> {
    /// The frame's part of the request is over. Its slot becomes free, or a ghost.
    pub(super) fn retire(&mut self, index: u16) {
        let frame = self.frames.get(index);
        if !frame.modifies || frame.copies() == 0 || frame.is_answered() {
            self.frames.release(index);
            return;
        }
        self.info.counters.quarantined += 1;
        self.frames.push_back(&mut self.ghosts, index).state = FrameState::Ghost;
    }

    /// Whether a write must wait for copies of an earlier one. If so, their death is asked after.
    pub(super) fn is_quarantined(&mut self, now: Instant, io_index: u16) -> bool {
        let io = *self.ios.get(io_index);
        if !io.modifies() || self.ghosts.head().is_none() {
            return false;
        }
        let mut next = self.ghosts.head();
        while let Some(index) = next {
            let ghost = *self.frames.get(index);
            let own = ghost.io == io_index && ghost.io_generation == io.generation();
            if !own && ghost.overlaps(io.lba, io.sectors) {
                self.ask_after(now, index);
                return true;
            }
            next = self.frames.after(index);
        }
        false
    }

    /// Sees to it that something later than the ghost is answered on each of its paths.
    fn ask_after(&mut self, now: Instant, index: u16) {
        if self.unordered {
            return;
        }
        let ghost = *self.frames.get(index);
        let when = now.max(ghost.last_sent.after(NETWORK_REORDER_NS));
        for used in self.paths.indices() {
            if ghost.paths_used & (1 << used) == 0 {
                continue;
            }
            let mac = self.paths.get(used).mac;
            for index in self.paths.indices() {
                let path = self.paths.at(index);
                if path.mac == mac && path.state == PathState::Up {
                    path.probe.ask_also(when);
                }
            }
        }
    }

    /// Releases the ghosts that are proven dead; true if there were any.
    pub(super) fn release_ghosts(&mut self, now: Instant) -> bool {
        self.ghosts_checked = now;
        let mut released = false;
        let mut next = self.ghosts.head();
        while let Some(index) = next {
            next = self.frames.after(index);
            if self.is_dead(now, index) {
                self.unlink(index);
                self.frames.release(index);
                released = true;
            }
        }
        released
    }

    fn is_dead(&self, now: Instant, index: u16) -> bool {
        let ghost = self.frames.get(index);
        if ghost.is_answered() {
            return true;
        }
        if !self.unordered && !ghost.orphaned {
            let proof = ghost.last_sent.after(NETWORK_REORDER_NS);
            let mut paths = self
                .paths
                .indices()
                .filter(|path| ghost.paths_used & (1 << path) != 0);
            if paths.all(|path| self.is_alive_since(path, proof)) {
                return true;
            }
        }
        now.since(ghost.last_sent) >= u64::from(self.tunables.quarantine_secs) * SEC
    }

    /// Something sent at `proof` or later was answered on this very path: what had left by it before
    /// has gone by. Another interface proves as much only when this one has no link and was emptied:
    /// a paused or clogged one may hold the copy while answers come in by others.
    fn is_alive_since(&self, index: u8, proof: Instant) -> bool {
        let used = self.paths.get(index);
        used.answered_sent >= proof
            || (!used.link_up
                && self
                    .paths
                    .any(|other| other.mac == used.mac && other.answered_sent >= proof))
    }

    /// When to look again whether time alone has proven a ghost dead.
    pub(super) fn quarantine_deadline(&self) -> Option<Instant> {
        self.ghosts.head().map(|_| self.ghosts_checked.after(SEC))
    }

    /// Copies that a path's interface held may have left until now.
    pub(super) fn restart_quarantine(&mut self, now: Instant, path_index: u8, orphan: bool) {
        let bit = 1 << path_index;
        for index in self.frames.indices() {
            let frame = self.frames.at(index);
            if frame.state == FrameState::Free || frame.paths_used & bit == 0 {
                continue;
            }
            if frame.state == FrameState::Ghost {
                frame.last_sent = now;
            }
            if orphan {
                frame.paths_used &= !bit;
                frame.orphaned = true;
            }
        }
    }
}
