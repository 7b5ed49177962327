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
//! All of these say something of the target and of the wire, and nothing of this host: a port that loses its link
//! keeps in its ring what it was given, and sends it when the link is back. So the caller says what the rings below
//! an interface keep ([`Rings`]), and that decides first:
//!
//! * nothing, since they were emptied for sure: the proofs hold. Where the interface has no link, an answer by
//!   another one to the same address proves as much, and where it goes on by another port, an answer by that;
//! * perhaps something, in a port without link: nothing proves a copy dead that was sent before, and no time;
//! * it leaves now, but by another way than what is sent from now on, or nobody can know: time alone decides.
//!
//! Only copies that were sent before the change are concerned. What is sent after it goes by ports with link.
//!
//! An earlier target of the same address may have left copies behind ([`Quarantine`]). Where they went nobody knows
//! any more, so nothing at all is written before they are too old.

use super::frames::{Frame, FrameState};
use super::paths::{Path, PathState};
use super::{Instant, NetifId, Quarantine, Target};
use crate::Rings;
use crate::limits::QUESTION_ROUNDS;
use crate::quarantine::bit;
use crate::time::{MS, SEC};
use aoe_wire::MacAddr;

/// By how much the network may let a later frame overtake an earlier one.
pub(super) const NETWORK_REORDER_NS: u64 = 50 * MS;

const NEVER: Instant = Instant::from_nanos(u64::MAX);

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
    /// An earlier target of this address left copies behind; [`super::Info`] has when they are too old. Every write
    /// and every answer asks for it, so it is kept where the ghosts are.
    inherits: bool,
    /// Paths, a bit each, on which requests were not answered in time, and none was since then, as far as that was
    /// looked at: while there are ghosts. Such a station may keep copies for as long as it answers questions only.
    pub(super) owing: u8,
    /// Seconds of the clock when a request was last answered by one of these before that began: what had been sent until
    /// then is not owed, for the station carried out requests after it.
    owed_secs: u32,
}

impl Vigil {
    /// At the next answer.
    pub(super) const NOW: Self = Self {
        proof: Instant::from_nanos(0),
        awaited: 0,
        expiry: Instant::from_nanos(0),
        inherits: false,
        owing: 0,
        owed_secs: 0,
    };
    /// Without ghosts: never.
    const OVER: Self = Self {
        proof: NEVER,
        awaited: 0,
        expiry: NEVER,
        inherits: false,
        owing: 0,
        owed_secs: 0,
    };

    /// The same for the ghosts, while nothing changed for what an earlier target left behind, and for what is owed.
    pub(super) fn restart(&mut self, vigil: Self) {
        let Self {
            inherits,
            owing,
            owed_secs,
            ..
        } = *self;
        *self = Self {
            inherits,
            owing,
            owed_secs,
            ..vigil
        };
    }

    /// A request was not answered in time by this path, by which one was answered last at that time.
    pub(super) fn note_owing(&mut self, path: u8, answered: Instant) {
        let secs = u32::try_from(answered.as_nanos() / SEC).unwrap_or(u32::MAX);
        if self.owing == 0 {
            self.owed_secs = secs;
        } else if self.owing & 1 << path == 0 {
            self.owed_secs = self.owed_secs.min(secs);
        }
        self.owing |= 1 << path;
    }

    fn owed_since(&self) -> Instant {
        Instant::from_nanos(u64::from(self.owed_secs) * SEC)
    }

    fn ends(&self, now: Instant, index: u8, path: &Path) -> bool {
        path.answered_sent >= self.proof || self.awaited & (1 << index) != 0 || now >= self.expiry
    }
}

impl Path {
    /// Something that was sent at `sent_at` on this path was answered.
    pub(super) fn note_alive_until(&mut self, sent_at: Instant) {
        self.answered_sent = self.answered_sent.max(sent_at);
    }

    /// Something sent at `proof` or later was answered, and what was sent before it left before it.
    fn is_alive_since(&self, proof: Instant) -> bool {
        self.in_order && self.answered_sent >= proof
    }

    /// It has no link and its ring is empty: other paths to the same address are as good.
    fn is_emptied(&self) -> bool {
        !self.link_up && self.rings == Rings::Empty
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
        let ghost = self.frames.push_back(&mut self.ghosts, index);
        ghost.state = FrameState::Ghost;
        ghost.first_sent = ghost.last_sent;
        self.vigil = self.vigil_for(index, self.vigil);
    }

    /// Whether a write must wait for copies of an earlier one. If so, their death is asked after.
    pub(super) fn is_quarantined(&mut self, now: Instant, io_index: u16) -> bool {
        let io = *self.ios.get(io_index);
        if !io.modifies() || (self.ghosts.is_empty() && !self.vigil.inherits) {
            return false;
        }
        if self.vigil.inherits && !self.end_inherited(now) {
            return true;
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
    #[inline(always)]
    pub(super) fn release_proven(&mut self, now: Instant, path_index: u8) {
        if !self.ghosts.is_empty() {
            self.look_at_ghosts(now, path_index);
        }
    }

    #[inline(never)]
    fn look_at_ghosts(&mut self, now: Instant, path_index: u8) {
        self.ghosts_checked = now;
        if self.vigil.owing != 0 {
            self.end_owing(now, path_index);
        }
        let path = self.paths.get(path_index);
        if self.vigil.ends(now, path_index, path) && self.release_ghosts(now) {
            self.wake_waiting(now);
        }
    }

    /// Releases the ghosts that are proven dead; true if there were any.
    pub(super) fn release_ghosts(&mut self, now: Instant) -> bool {
        self.ghosts_checked = now;
        self.vigil.restart(Vigil::OVER);
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
        if self.unordered || ghost.is_orphaned() || ghost.is_held() {
            return vigil;
        }
        let proof = ghost.last_sent.after(NETWORK_REORDER_NS);
        let mut silent = 0;
        for (index, path) in self.paths.numbered() {
            if ghost.paths_used & (1 << index) != 0 && !self.is_proven_by(index, proof) {
                if !path.in_order && !path.is_emptied() {
                    // Time alone can tell.
                    return vigil;
                }
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
        if ghost.is_held() {
            return NEVER;
        }
        let wait = u64::from(self.tunables.quarantine_secs) * SEC;
        ghost.last_sent.after(wait)
    }

    fn is_dead(&self, now: Instant, index: u16) -> bool {
        let ghost = self.frames.get(index);
        if ghost.is_answered() {
            return true;
        }
        if ghost.is_held() {
            return false;
        }
        if !self.unordered && !ghost.is_orphaned() {
            let proof = ghost.last_sent.after(NETWORK_REORDER_NS);
            let mut paths = self
                .paths
                .indices()
                .filter(|path| ghost.paths_used & (1 << path) != 0);
            if paths.all(|path| self.is_proven_by(path, proof)) {
                return true;
            }
        }
        // While only questions are answered the target, or this station of it, may keep the copy for as long as that
        // lasts.
        !self.is_silent()
            && now >= self.expiry(ghost)
            && (self.vigil.owing == 0 || !self.is_owed(now, ghost))
    }

    /// By one of its paths questions are answered, and requests are not since it was sent. A station that answers neither
    /// is silent, and its copies age from when it was heard last.
    #[cold]
    #[inline(never)]
    fn is_owed(&self, now: Instant, ghost: &Frame) -> bool {
        let owing = ghost.paths_used & self.vigil.owing;
        let wait = u64::from(self.tunables.quarantine_secs) * SEC;
        let mut paths = self.paths.numbered();
        owing != 0
            && ghost.handed_over() >= self.vigil.owed_since()
            && paths.any(|(index, path)| {
                let heard = path.heard_at > ghost.last_sent && now < path.heard_at.after(wait);
                owing & (1 << index) != 0 && heard
            })
    }

    /// A request was answered by this path, or a trial. Its station may have kept copies until now.
    #[cold]
    #[inline(never)]
    pub(super) fn end_owing(&mut self, now: Instant, path_index: u8) {
        if self.vigil.owing & 1 << path_index != 0 {
            self.vigil.owing &= !(1 << path_index);
            self.restart_quarantine(now, path_index, self.vigil.owed_since());
        }
    }

    /// There is a ghost of which a copy went by this path.
    pub(super) fn has_ghost_by(&self, path_index: u8) -> bool {
        let mut next = self.ghosts.head();
        while let Some(index) = next {
            if self.frames.get(index).paths_used & (1 << path_index) != 0 {
                return true;
            }
            next = self.frames.after(index);
        }
        false
    }

    /// Something sent at `proof` or later was answered on this very path: what had left by it before
    /// has gone by. Another interface proves as much only when this one has no link and was emptied:
    /// a paused or clogged one may hold the copy while answers come in by others.
    fn is_proven_by(&self, index: u8, proof: Instant) -> bool {
        let used = self.paths.get(index);
        used.is_alive_since(proof)
            || (used.is_emptied()
                && self
                    .paths
                    .any(|other| other.mac == used.mac && other.is_alive_since(proof)))
    }

    /// Takes over what an earlier target of this address left behind ([`crate::Admission::Create`]).
    pub fn inherit(&mut self, quarantine: Quarantine) {
        self.info.inherited = quarantine;
        self.vigil.inherits = !quarantine.is_none();
        if quarantine.is_stalled() {
            // Until it answers a request.
            self.silent_rounds = QUESTION_ROUNDS + 1;
        }
    }

    /// What an earlier target left behind ends when it is too old. True when there is nothing of that.
    #[cold]
    pub(super) fn end_inherited(&mut self, now: Instant) -> bool {
        if self.info.inherited.is_over(now) {
            self.info.inherited = Quarantine::NONE;
            self.vigil.inherits = false;
        }
        !self.vigil.inherits
    }

    /// What the next target of this address must wait for when this one is taken away.
    pub fn left_behind(&mut self, now: Instant) -> Quarantine {
        let mut left = Quarantine::NONE;
        if !self.end_inherited(now) {
            left = self.info.inherited;
        }
        for index in self.frames.indices() {
            let frame = self.frames.get(index);
            let sent = frame.state != FrameState::Free && frame.modifies() && frame.copies() > 0;
            if !sent || self.is_dead(now, index) {
                continue;
            }
            let (mut by, mut held) = (0, 0);
            for (number, path) in self.paths.numbered() {
                if frame.paths_used & (1 << number) == 0 {
                    continue;
                }
                let bit = bit(path.netif).unwrap_or(0);
                by |= bit;
                if path.rings == Rings::Held && frame.is_held() {
                    held |= bit;
                }
            }
            left.add(frame.last_sent, self.tunables.quarantine_secs, by, held);
            if self.is_owed(now, frame) {
                left.set_stalled();
            }
        }
        if self.is_silent() || self.stall.dead {
            left.set_stalled();
        }
        left
    }

    /// When to look again whether time alone has proven a ghost dead.
    pub(super) fn quarantine_deadline(&self) -> Option<Instant> {
        if self.vigil.inherits {
            return self.inherited_deadline();
        }
        self.ghosts_deadline()
    }

    fn ghosts_deadline(&self) -> Option<Instant> {
        // No time proves what rings keep.
        let ages = !self.ghosts.is_empty() && self.vigil.expiry != NEVER;
        ages.then(|| self.ghosts_checked.after(SEC))
    }

    #[cold]
    fn inherited_deadline(&self) -> Option<Instant> {
        let own = self.info.inherited.expiry();
        [own, self.ghosts_deadline()].into_iter().flatten().min()
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

    /// Copies that a path's interface was given since then may have left until now.
    pub(super) fn restart_quarantine(&mut self, now: Instant, path_index: u8, since: Instant) {
        self.vigil.restart(Vigil::NOW);
        let bit = 1 << path_index;
        for index in self.frames.indices() {
            let frame = self.frames.at(index);
            // Of one in flight the time that its answer takes is to be known.
            let rests = !matches!(frame.state, FrameState::Free | FrameState::InFlight);
            if rests && frame.paths_used & bit != 0 && frame.handed_over() >= since {
                frame.last_sent = now;
            }
        }
    }

    /// A path is gone for good: of what went by it nothing is known any more but when it left at the latest.
    pub(super) fn orphan_path(&mut self, now: Instant, path_index: u8) {
        self.restart_quarantine(now, path_index, Instant::default());
        let bit = 1 << path_index;
        // Its number may be another one's next.
        self.vigil.owing &= !bit;
        for index in self.frames.indices() {
            let frame = self.frames.at(index);
            if frame.state != FrameState::Free && frame.paths_used & bit != 0 {
                frame.orphan(path_index);
            }
        }
        self.end_hold(path_index);
    }

    /// What the rings of a path's interface keep from now on of all that it was given since then.
    pub(super) fn note_rings(
        &mut self,
        now: Instant,
        path_index: u8,
        rings: Rings,
        since: Instant,
    ) {
        self.paths.at(path_index).rings = rings;
        if rings != Rings::Held {
            self.restart_quarantine(now, path_index, since);
            self.end_hold(path_index);
            return;
        }
        self.vigil.restart(Vigil::NOW);
        let bit = 1 << path_index;
        for index in self.frames.indices() {
            let frame = self.frames.at(index);
            let used = frame.state != FrameState::Free && frame.paths_used & bit != 0;
            if used && frame.handed_over() >= since {
                frame.set_held(true);
            }
        }
    }

    /// The rings of a path's interface keep nothing any more; those of others may.
    fn end_hold(&mut self, path_index: u8) {
        let held = |(_, path): &(u8, &Path)| path.rings == Rings::Held;
        let others = self.paths.numbered().filter(held);
        let others = others.fold(0, |set, (index, _)| set | 1 << index) & !(1_u8 << path_index);
        for index in self.frames.indices() {
            let frame = self.frames.at(index);
            if frame.is_held() && frame.paths_used & others == 0 {
                frame.set_held(false);
            }
        }
    }

    /// Frames in flight on other paths of which older copies went by this one: no answer proves anything of those.
    pub(super) fn end_order_elsewhere(&mut self, path_index: u8) {
        for index in self.frames.indices() {
            let frame = self.frames.at(index);
            let elsewhere = frame.state == FrameState::InFlight && frame.path != path_index;
            if elsewhere && frame.paths_used & (1 << path_index) != 0 {
                frame.set_orphaned();
            }
        }
    }

    /// What was sent on a path until now leaves by another way than what is sent from now on.
    pub(super) fn end_order(&mut self, path_index: u8) {
        for index in self.frames.indices() {
            let frame = self.frames.at(index);
            if frame.state != FrameState::Free && frame.paths_used & (1 << path_index) != 0 {
                frame.set_orphaned();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Info, Tunables};
    use aoe_wire::TargetAddr;

    #[test]
    fn what_was_inherited_lasts_whatever_else_is_looked_at_again() {
        let mut info = Info::EMPTY;
        let addr = TargetAddr::new(7, 0).expect("an address");
        let mut target = Target::new(addr, 1, Tunables::default(), &mut info);
        let mut left = Quarantine::NONE;
        let at = |secs| Instant::from_nanos(secs * SEC);
        left.add(at(100), 15, 1, 0);
        assert_eq!(target.quarantine_deadline(), None);
        target.inherit(left);
        assert_eq!(target.quarantine_deadline(), Some(at(115)));
        target.set_tunables(at(101), Tunables::default());
        target.release_ghosts(at(102));
        target.handle_interface(at(103), NetifId(1), crate::InterfaceChange::Up);
        assert_eq!(target.quarantine_deadline(), Some(at(115)));
        assert!(!target.end_inherited(at(114)));
        assert!(target.end_inherited(at(115)));
        assert_eq!(target.quarantine_deadline(), None);
    }
}
