//! Up, down, dead; interfaces that come and go; and the one timer.

use super::frames::FrameState;
use super::paths::{Path, PathState};
use super::probe::ProbeKind;
use super::quarantine::Vigil;
use super::writes::Writes;
use super::{State, Target, Tunables};
use crate::limits::{
    BUSY_RETRY_NS, CONFLICT_FORGET_NS, DOWN_AFTER_NS, FORGET_NS, KEEPALIVE_NS, MIN_PROBE_NS,
    REIDENTIFY_NS, REPORT_LOST_NS,
};
use crate::time::SEC;
use crate::{Event, Instant, InterfaceChange, IoError, NetifId, Rings};

impl Target<'_> {
    /// An interface changed.
    pub fn handle_interface(&mut self, now: Instant, id: NetifId, change: InterfaceChange) {
        for index in self.paths.indices() {
            let path = self.paths.get(index);
            if path.state == PathState::Unused || path.netif != id {
                continue;
            }
            match change {
                InterfaceChange::Up => self.link_up(now, index),
                InterfaceChange::Down(rings, since) => self.link_down(now, index, rings, since),
                InterfaceChange::Rewired(rings, since) => self.rewire(now, index, rings, since),
                InterfaceChange::Gone => self.drop_path(now, index),
                // The MTU is asked for whenever a frame is cut, the address whenever one is sent.
                InterfaceChange::Changed => {}
            }
        }
        self.info.inherited.handle_interface(now, id, change);
    }

    fn link_up(&mut self, now: Instant, index: u8) {
        let path = self.paths.at(index);
        if path.link_up {
            return;
        }
        path.link_up = true;
        // What the interface kept in its ring leaves now, before what is sent from now on.
        self.note_rings(now, index, Rings::Empty, Instant::default());
        self.ask(index, ProbeKind::Identify, now);
    }

    fn link_down(&mut self, now: Instant, index: u8, rings: Rings, since: Instant) {
        self.paths.at(index).link_up = false;
        self.note_rings(now, index, rings, since);
        if matches!(
            self.paths.get(index).state,
            PathState::Up | PathState::Checking
        ) {
            self.lose_path(now, index);
        }
        self.paths.at(index).probe.settle();
        // What was asked to prove old copies dead was asked too early.
        self.wake_waiting(now);
    }

    /// The ports below the interface changed. Who is there must be seen, and what was asked to prove old copies
    /// dead was asked too early.
    fn rewire(&mut self, now: Instant, index: u8, rings: Rings, since: Instant) {
        let held = self.paths.get(index).rings == Rings::Held;
        if rings != Rings::Unknown && !held {
            // What is in flight is sent again, so that each newest copy is sent after the change.
            self.requeue_all(now, index);
            self.end_order_elsewhere(index);
        }
        self.note_rings(now, index, rings, since);
        if rings == Rings::Unknown {
            self.end_order(index);
        }
        if self.paths.get(index).link_up {
            self.ask(index, ProbeKind::Identify, now);
        }
        self.wake_waiting(now);
    }

    /// A path in use does not answer: what is in flight on it goes by another one, or waits.
    pub(super) fn lose_path(&mut self, now: Instant, index: u8) {
        self.requeue_all(now, index);
        let path = self.paths.at(index);
        path.state = PathState::Lost;
        path.lost_since = now;
        path.timeouts = 0;
        path.backoff = 0;
        path.tail_probed = false;
        if path.link_up {
            path.probe.ask(ProbeKind::Identify, now.after(MIN_PROBE_NS));
        } else {
            path.probe.settle();
        }
        self.refresh_state(now);
    }

    /// A path that is gone for good.
    pub(super) fn drop_path(&mut self, now: Instant, index: u8) {
        // One that has just fallen silent is in service as far as was reported.
        let was_in_service = self.paths.get(index).in_service();
        self.requeue_all(now, index);
        self.orphan_path(now, index);
        let path = self.paths.get(index);
        if self.info.conflict == Some((path.netif, path.mac)) {
            self.info.conflict = None;
        }
        self.paths.clear(index);
        if was_in_service {
            self.events.add(Event::PathDown);
        }
        self.refresh_state(now);
    }

    /// Makes a move that the table allows; any other is not made.
    pub(super) fn become_state(&mut self, next: State, event: Option<Event>) {
        if self.state.may_become(next) {
            self.state = next;
            if let Some(event) = event {
                self.events.add(event);
            }
        }
    }

    /// Derives the state from the paths.
    pub(super) fn refresh_state(&mut self, now: Instant) {
        if self.has_path_in_use() {
            self.set_no_path(now, false);
            let first = self.state == State::Probing;
            self.become_state(State::Up, (!first).then_some(Event::Up));
        } else {
            self.set_no_path(now, true);
        }
        let alone = self.paths.iter().next().is_none();
        if self.state == State::Probing && alone && !self.forgotten {
            self.forgotten = true;
            self.events.add(Event::Forget);
        }
    }

    fn set_no_path(&mut self, now: Instant, no_path: bool) {
        if self.no_path != no_path {
            self.no_path = no_path;
            self.no_path_changed = now;
            if !no_path {
                self.stall.watch(now);
            }
            // It may have been exported anew meanwhile.
            self.writes = Writes::UNKNOWN;
        }
    }

    /// Since when no path carries I/O.
    fn no_path_since(&self) -> Option<Instant> {
        self.no_path.then_some(self.no_path_changed)
    }

    /// The operator's wishes changed.
    pub fn set_tunables(&mut self, now: Instant, tunables: Tunables) {
        let cache = self.tunables.write_cache != tunables.write_cache;
        self.tunables = tunables;
        self.vigil.restart(Vigil::NOW);
        let up = self
            .paths
            .indices()
            .find(|&index| self.paths.get(index).state == PathState::Up);
        if let (true, Some(index)) = (cache, up) {
            self.want_write_cache(now, index);
        }
    }

    /// The disk was opened or closed.
    pub fn set_in_use(&mut self, now: Instant, open: bool) {
        self.in_use = open;
        self.offered &= !open;
        if !open && self.no_path {
            // Silence counts towards forgetting from the last close on.
            self.closed_at = now;
        }
        self.note_unused();
    }

    fn note_unused(&mut self) {
        if !self.offered && self.is_unused() {
            self.offered = true;
            self.events.add(Event::Unused);
        }
    }

    /// The disk is being removed: all requests, present and future, end with [`IoError::Gone`].
    pub fn abort(&mut self, now: Instant) {
        self.become_state(State::Removed, None);
        self.fail_all(now, IoError::Gone);
    }

    pub(super) fn fail_all(&mut self, now: Instant, error: IoError) {
        for index in self.frames.indices() {
            let state = self.frames.get(index).state;
            if !matches!(state, FrameState::Free | FrameState::Ghost) {
                self.unlink(index);
                self.retire(index);
            }
        }
        let mut next = self.ios.oldest();
        while let Some(index) = next {
            next = self.ios.after(index);
            self.ios.fail(index, error);
        }
        self.ios.sweep_ready();
        self.wake_waiting(now);
    }

    /// The time that [`Target::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.state == State::Removed {
            return;
        }
        if self.is_broken() {
            self.give_up(now);
        }
        for index in self.paths.indices() {
            match self.paths.get(index).state {
                PathState::Up => self.time_path_in_use(now, index),
                PathState::Lost => self.time_lost_path(now, index),
                PathState::Conflict => {
                    let path = self.paths.get(index);
                    if path.is_spare() && now.since(path.heard_at) >= CONFLICT_FORGET_NS {
                        self.drop_path(now, index);
                    }
                }
                PathState::Unused | PathState::New | PathState::Checking => {}
            }
        }
        self.resume_delayed(now);
        if self.quarantine_deadline().is_some_and(|at| at <= now) {
            self.release_ghosts(now);
            self.end_inherited(now);
            self.wake_waiting(now);
        }
        self.time_silence(now);
        self.time_stall(now);
        self.note_unused();
    }

    /// The books are wrong: nothing that they say may be trusted with data.
    fn give_up(&mut self, now: Instant) {
        self.become_state(State::Down, Some(Event::Down));
        self.become_state(State::Dead, Some(Event::Dead));
        self.fail_all(now, IoError::Failed);
        self.become_state(State::Removed, None);
    }

    fn time_path_in_use(&mut self, now: Instant, index: u8) {
        if self
            .paths
            .get(index)
            .overtaken_at
            .is_some_and(|at| at <= now)
        {
            self.detect_overtaken(now, index);
        }
        if self
            .path_timeout(self.paths.get(index))
            .is_some_and(|at| at <= now)
        {
            self.note_silence(now, index);
        }
        let path = self.paths.at(index);
        if path.state != PathState::Up || !path.probe.is_idle() {
            return;
        }
        if path.identified_at.after(REIDENTIFY_NS) <= now {
            path.probe.ask(ProbeKind::Identify, now);
        } else if path.heard_at.after(KEEPALIVE_NS) <= now {
            path.probe.ask(ProbeKind::Config, now);
        }
    }

    fn time_lost_path(&mut self, now: Instant, index: u8) {
        let path = self.paths.at(index);
        if !path.reported && path.lost_since.after(REPORT_LOST_NS) <= now {
            path.reported = true;
            self.events.add(Event::PathDown);
        }
    }

    /// When something must be done about the silence of a path.
    #[inline(always)]
    fn path_timeout(&self, path: &Path) -> Option<Instant> {
        let oldest = path.in_flight.head()?;
        // As long as requests are answered the target is at work, and what is missing is overtaken.
        let quiet_since = self.frames.get(oldest).last_sent.max(path.quiet_since);
        Some(quiet_since.after(path.silence_ns()))
    }

    fn resume_delayed(&mut self, now: Instant) {
        while let Some(index) = self.delayed.head() {
            if self.frames.get(index).last_sent.after(BUSY_RETRY_NS) > now {
                break;
            }
            self.unlink(index);
            self.enqueue(index);
        }
    }

    /// What silence on all paths leads to, by and by.
    fn time_silence(&mut self, now: Instant) {
        if self.down_at().is_some_and(|at| at <= now) {
            self.become_state(State::Down, Some(Event::Down));
        }
        if self.dead_at().is_some_and(|at| at <= now) {
            self.fail_unanswered(now, 0);
        }
        if self.forget_at().is_some_and(|at| at <= now) {
            self.forgotten = true;
            self.events.add(Event::Forget);
        }
    }

    /// When a silent target is called down.
    fn down_at(&self) -> Option<Instant> {
        let since = self.no_path_since()?;
        (self.state == State::Up).then(|| since.after(DOWN_AFTER_NS))
    }

    /// When held I/O fails.
    fn dead_at(&self) -> Option<Instant> {
        let wait = u64::from(self.tunables.dead_secs) * SEC;
        let since = self.no_path_since()?;
        let waiting = matches!(self.state, State::Up | State::Down);
        (wait != 0 && waiting).then(|| since.after(wait))
    }

    /// When a disk that nobody uses is forgotten.
    fn forget_at(&self) -> Option<Instant> {
        let since = self.no_path_since()?.max(self.closed_at);
        let silent = matches!(self.state, State::Down | State::Dead);
        // One that answers questions is there.
        let idle = !self.in_use && self.ios.outstanding() == 0 && !self.stall.dead;
        (silent && idle && !self.forgotten).then(|| since.after(FORGET_NS))
    }

    /// When [`Target::handle_timeout`] must be called next.
    #[must_use]
    #[inline(always)]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.state == State::Removed {
            return None;
        }
        if self.is_broken() {
            // Books that are wrong are closed at once.
            return Some(Instant::default());
        }
        let mut next = Earliest(self.stall.check_at);
        if self.no_path {
            next.note(self.down_at());
            next.note(self.dead_at());
            next.note(self.forget_at());
        }
        if let Some(index) = self.delayed.head() {
            let since = self.frames.get(index).last_sent;
            next.note(Some(since.after(BUSY_RETRY_NS)));
        }
        next.note(self.quarantine_deadline());
        match self.paths.only() {
            Some(path) => self.note_path_deadlines(path, &mut next),
            None => self
                .paths
                .iter()
                .for_each(|path| self.note_path_deadlines(path, &mut next)),
        }
        next.get()
    }

    #[inline(always)]
    fn note_path_deadlines(&self, path: &Path, next: &mut Earliest) {
        if path.state == PathState::Up {
            next.note(path.overtaken_at);
            next.note(self.path_timeout(path));
            match path.probe.due {
                Some(due) if path.link_up => next.note(Some(due)),
                Some(_) => {}
                None => {
                    next.note(Some(path.heard_at.after(KEEPALIVE_NS)));
                    next.note(Some(path.identified_at.after(REIDENTIFY_NS)));
                }
            }
            return;
        }
        if path.can_probe() {
            next.note(path.probe.due);
        }
        match path.state {
            PathState::Lost if !path.reported => {
                next.note(Some(path.lost_since.after(REPORT_LOST_NS)));
            }
            PathState::Conflict if path.is_spare() => {
                next.note(Some(path.heard_at.after(CONFLICT_FORGET_NS)));
            }
            _ => {}
        }
    }
}

/// The earliest of several deadlines, of which each may be missing.
pub(super) struct Earliest(Instant);

impl Earliest {
    /// Nothing is to be done at the end of time.
    pub(super) const NEVER: Instant = Instant::from_nanos(u64::MAX);

    fn note(&mut self, at: Option<Instant>) {
        if let Some(at) = at {
            self.0 = self.0.min(at);
        }
    }

    fn get(self) -> Option<Instant> {
        (self.0 != Self::NEVER).then_some(self.0)
    }
}
