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
//! * a long time has passed since the copy could last leave this host; how long, the operator may say. It
//!   does not count while the target answers questions and no requests, since it may keep the copy then.
//!
//! An interface that goes down may keep frames and send them when it is up again. The caller empties
//! it before it says so, as far as the driver lets it; what a driver does not give away is the
//! residue of risk, and time runs anew from the day the interface is up.

use super::frames::{Frame, FrameState};
use super::paths::{Path, PathState};
use super::{Instant, NetifId, Target};
use crate::limits::QUESTION_ROUNDS;
use crate::time::{MS, SEC};
use aoe_wire::MacAddr;

/// By how much the network may let a later frame overtake an earlier one.
pub(super) const NETWORK_REORDER_NS: u64 = 50 * MS;

/// When to look again whether ghosts are dead: at the first answer for which one of these holds. Else an
/// answer proves nothing new, and is not made to wait while hundreds of ghosts are looked at.
#[derive(Copy, Clone, Debug)]
pub(super) struct Vigil {
    /// The answered frame was sent then, or later.
    proof: Instant,
    /// It was sent by one of these paths, a bit each: ghosts lack only the proof by them.
    awaited: u8,
    /// It is then, or later: a ghost is too old to strike.
    expiry: Instant,
}

impl Vigil {
    /// At the next answer.
    pub(super) const NOW: Self = Self {
        proof: Instant::from_nanos(0),
        awaited: 0,
        expiry: Instant::from_nanos(0),
    };
    /// Without ghosts: never.
    const OVER: Self = Self {
        proof: Instant::from_nanos(u64::MAX),
        awaited: 0,
        expiry: Instant::from_nanos(u64::MAX),
    };

    fn ends(&self, now: Instant, index: u8, path: &Path) -> bool {
        path.answered_sent >= self.proof || self.awaited & (1 << index) != 0 || now >= self.expiry
    }
}

impl Path {
    /// Something that was sent at `sent_at` on this path was answered.
    pub(super) fn note_alive_until(&mut self, sent_at: Instant) {
        self.answered_sent = self.answered_sent.max(sent_at);
    }
}

impl Target<'_> {
    /// The frame's part of the request is over. Its slot becomes free, or a ghost.
    #[inline(always)]
    pub(super) fn retire(&mut self, index: u16) {
        let frame = self.frames.get(index);
        if !frame.modifies() || frame.copies() == 0 || frame.is_answered() {
            self.frames.release(index);
        } else {
            self.quarantine(index);
        }
    }

    #[cold]
    fn quarantine(&mut self, index: u16) {
        self.info.counters.quarantined += 1;
        self.frames.push_back(&mut self.ghosts, index).state = FrameState::Ghost;
        self.vigil = self.vigil_for(index, self.vigil);
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

    /// Releases the ghosts that the answer to something sent by this path proved dead.
    pub(super) fn release_proven(&mut self, now: Instant, path_index: u8) {
        if self.ghosts.is_empty() {
            return;
        }
        self.ghosts_checked = now;
        let path = self.paths.get(path_index);
        if self.vigil.ends(now, path_index, path) && self.release_ghosts(now) {
            self.wake_waiting(now);
        }
    }

    /// Releases the ghosts that are proven dead; true if there were any.
    pub(super) fn release_ghosts(&mut self, now: Instant) -> bool {
        self.ghosts_checked = now;
        self.vigil = Vigil::OVER;
        let mut released = false;
        let mut next = self.ghosts.head();
        while let Some(index) = next {
            next = self.frames.after(index);
            if self.is_dead(now, index) {
                self.unlink(index);
                self.frames.release(index);
                released = true;
            } else {
                self.vigil = self.vigil_for(index, self.vigil);
            }
        }
        released
    }

    /// The vigil for one more ghost.
    fn vigil_for(&self, index: u16, mut vigil: Vigil) -> Vigil {
        let ghost = self.frames.get(index);
        vigil.expiry = vigil.expiry.min(self.expiry(ghost));
        if self.unordered || ghost.is_orphaned() {
            return vigil;
        }
        let proof = ghost.last_sent.after(NETWORK_REORDER_NS);
        let mut silent = 0;
        for (index, path) in self.paths.numbered() {
            if ghost.paths_used & (1 << index) != 0 && !self.is_alive_since(index, proof) {
                silent |= 1 << index;
                // What is proven by another interface in place of one without link.
                if !path.link_up {
                    silent |= self.paths_to(path.mac);
                }
            }
        }
        if silent & ghost.paths_used == ghost.paths_used {
            vigil.proof = vigil.proof.min(proof);
        } else {
            vigil.awaited |= silent;
        }
        vigil
    }

    /// The paths to one remote MAC, a bit each.
    fn paths_to(&self, mac: MacAddr) -> u8 {
        let to_it = self.paths.numbered().filter(|(_, path)| path.mac == mac);
        to_it.fold(0, |set, (index, _)| set | 1 << index)
    }

    /// From when on a ghost is too old to strike.
    fn expiry(&self, ghost: &Frame) -> Instant {
        let wait = u64::from(self.tunables.quarantine_secs) * SEC;
        ghost.last_sent.after(wait)
    }

    fn is_dead(&self, now: Instant, index: u16) -> bool {
        let ghost = self.frames.get(index);
        if ghost.is_answered() {
            return true;
        }
        if !self.unordered && !ghost.is_orphaned() {
            let proof = ghost.last_sent.after(NETWORK_REORDER_NS);
            let mut paths = self
                .paths
                .indices()
                .filter(|path| ghost.paths_used & (1 << path) != 0);
            if paths.all(|path| self.is_alive_since(path, proof)) {
                return true;
            }
        }
        // While only questions are answered the target may keep the copy for as long as that lasts.
        self.silent_rounds <= QUESTION_ROUNDS && now >= self.expiry(ghost)
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

    /// A copy of a write may be in the queues of this interface: one that was sent by it was not answered, or
    /// nothing is answered by it at all, so that a copy may be there for longer than it counts.
    #[must_use]
    pub fn may_hold_writes(&self, id: NetifId) -> bool {
        let mut used = 0;
        for (index, path) in self.paths.numbered().filter(|(_, path)| path.netif == id) {
            if matches!(path.state, PathState::Lost | PathState::Checking) {
                return true;
            }
            used |= 1 << index;
        }
        used != 0
            && self.frames.indices().any(|index| {
                let frame = self.frames.get(index);
                let by_it = frame.paths_used & used != 0 || frame.is_orphaned();
                frame.state != FrameState::Free && frame.modifies() && by_it && !frame.is_answered()
            })
    }

    /// Copies that a path's interface held may have left until now.
    pub(super) fn restart_quarantine(&mut self, now: Instant, path_index: u8, orphan: bool) {
        self.vigil = Vigil::NOW;
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
                frame.orphan(path_index);
            }
        }
    }
}
