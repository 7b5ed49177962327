//! Requests that are not answered though the target answers questions.
//!
//! A target may be there and answer Config queries and IDENTIFY while its disk hangs: a RAID that waits for
//! a drive, a disk that spins up. Its paths are up then, so that nothing else in this crate calls it
//! silent. What tells is the age of a frame: the time since its first copy was sent.
//!
//! Slow is not dead. While the operator does not set `dead_secs`, such a request waits, and one copy a second
//! at most is sent of what waits longest. With `dead_secs` the requests fail when that time is over, as they
//! do when no path answers. The target is dead from then on, until it answers a single read, of a sector
//! that it owed an answer for; after that its identity is looked at again before I/O goes on.

use super::frames::FrameState;
use super::paths::PathState;
use super::probe::ProbeKind;
use super::tag::Word;
use super::{Earliest, State, Target};
use crate::limits::{
    DOWN_AFTER_NS, MAX_TRIAL_SECS, MIN_PROBE_NS, PATIENCE_WITH_SLOW, QUESTION_ROUNDS,
    STALL_REPORT_NS, WAITING_NS,
};
use crate::time::SEC;
use crate::{Event, Instant, IoError};

/// Requests that have waited for long.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Waiting {
    /// How many were accepted more than [`WAITING_NS`] ago.
    pub requests: u32,
    /// Nanoseconds since the oldest of them was accepted; 0 without one.
    pub oldest_ns: u64,
}

/// What a target that answers questions owes.
#[derive(Copy, Clone, Debug)]
pub(super) struct Stall {
    /// When to look at the frames next: once a second while there are requests.
    pub(super) check_at: Instant,
    /// The frames that are unanswered for longest when they were looked at last, and since when the target
    /// has answered none of these.
    oldest: Oldest,
    stuck_since: Instant,
    /// [`Event::Stalled`] was reported, and no end of it yet.
    reported: bool,
    /// Requests failed because of their age: the target is dead though its paths are up.
    pub(super) dead: bool,
    /// Seconds to the next trial, and how many were made. They are made for a dead target, or while old copies wait
    /// for what they show.
    trial_wait: u8,
    trials: u8,
    /// What the tags of this time's trials have beside the slot.
    pub(super) word: Word,
}

/// The unanswered frames of which the first copy was sent first. Several may have left at once.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct Oldest {
    since: Instant,
    /// Their sectors. Fewer than before: some of them were answered.
    sectors: u32,
    /// The first sector of one of them: what a trial reads.
    lba: u64,
}

impl Oldest {
    const NONE: Self = Self {
        since: Earliest::NEVER,
        sectors: 0,
        lba: 0,
    };

    fn is_none(&self) -> bool {
        self.since == Earliest::NEVER
    }
}

impl Stall {
    pub(super) const NONE: Self = Self {
        check_at: Earliest::NEVER,
        oldest: Oldest::NONE,
        stuck_since: Instant::from_nanos(0),
        reported: false,
        dead: false,
        trial_wait: 0,
        trials: 0,
        word: Word::NONE,
    };

    /// What a trial reads: of a dead target a sector that it owes.
    pub(super) const fn lba(&self) -> u64 {
        if self.dead { self.oldest.lba } else { 0 }
    }

    /// A request was accepted: the frames are looked at from now on.
    #[inline(always)]
    pub(super) fn watch(&mut self, now: Instant) {
        if self.check_at == Earliest::NEVER {
            self.check_at = now.after(SEC);
        }
    }

    const fn is_tried(&self) -> bool {
        self.dead || self.trials != 0
    }

    /// Whether an answer to a trial that had this word is of interest.
    pub(super) fn awaits(&self, word: Word) -> bool {
        self.is_tried() && self.word == word
    }
}

impl Target<'_> {
    /// The requests that have waited for more than [`WAITING_NS`] since they were accepted.
    #[must_use]
    pub fn waiting(&self, now: Instant) -> Waiting {
        let mut waiting = Waiting::default();
        let mut next = self.ios.oldest();
        while let Some(index) = next {
            let age = now.since(self.ios.get(index).submitted());
            if age >= WAITING_NS {
                waiting.requests += 1;
                waiting.oldest_ns = waiting.oldest_ns.max(age);
            }
            next = self.ios.after(index);
        }
        waiting
    }

    /// A sector is read now and then of which nobody has asked: it shows whether requests are carried out again.
    #[must_use]
    pub const fn is_tried(&self) -> bool {
        self.stall.is_tried()
    }

    /// Ends waiting: what is held fails now, as if `dead_secs` had passed. Nothing happens while a path
    /// answers and every frame was answered within two seconds, or did so two seconds ago.
    pub fn fail_held(&mut self, now: Instant) {
        self.fail_unanswered(now, DOWN_AFTER_NS);
    }

    /// Ends waiting if the target is down, or what is unanswered for longest has been so for `longest`
    /// nanoseconds: what is held fails now, and what comes until the target answers. True if it did.
    pub fn fail_unanswered(&mut self, now: Instant, longest: u64) -> bool {
        self.refresh_state(now);
        if self.no_path {
            let silent_for = now.since(self.no_path_changed);
            if self.state == State::Up && silent_for < longest.min(DOWN_AFTER_NS) {
                return false;
            }
        } else {
            self.look_at_oldest(now);
            if self.stall.oldest.is_none() || now.since(self.stall.stuck_since) < longest {
                return false;
            }
            self.begin_trials(now);
        }
        let silent = !self.stall.dead;
        self.become_state(State::Down, silent.then_some(Event::Down));
        self.become_state(State::Dead, Some(Event::Dead));
        self.fail_all(now, IoError::Failed);
        true
    }

    /// The unanswered frames that were sent first. Frames are sent again, and split; their age is that of
    /// the first copy.
    fn oldest_unanswered(&self) -> Oldest {
        let mut oldest = Oldest::NONE;
        for index in self.frames.indices() {
            let frame = self.frames.get(index);
            let over = matches!(frame.state, FrameState::Free | FrameState::Ghost);
            if over || !frame.was_sent() || frame.first_sent > oldest.since {
                continue;
            }
            let before = if frame.first_sent == oldest.since {
                oldest.sectors
            } else {
                0
            };
            oldest = Oldest {
                since: frame.first_sent,
                sectors: before.saturating_add(frame.sectors.max(1)),
                lba: frame.lba,
            };
        }
        oldest
    }

    /// Sees whether the target has answered any of what it owed for longest. One that works through its
    /// requests in their order, however slowly, always has; one that leaves a single request out has not,
    /// whatever else it answers.
    fn look_at_oldest(&mut self, now: Instant) {
        let oldest = self.oldest_unanswered();
        let before = self.stall.oldest;
        let same = oldest.since == before.since && oldest.sectors >= before.sectors;
        if !same {
            // Where others were unanswered before, this one came to be the oldest at some time since then.
            self.stall.stuck_since = if before.is_none() { oldest.since } else { now };
        }
        self.stall.oldest = oldest;
    }

    /// When requests fail that have been stuck since then. Paths that came back a moment ago get the time to
    /// answer; but paths that come and go do not put it off for more than the same time again.
    fn stall_dead_at(&self) -> Option<Instant> {
        let wait = u64::from(self.tunables.dead_secs) * SEC;
        let since = self.stall.stuck_since;
        let grace = self.no_path_changed.after(DOWN_AFTER_NS);
        let latest = since.after(wait).after(wait);
        (wait != 0).then(|| since.after(wait).max(grace.min(latest)))
    }

    /// Looks at what is unanswered, once a second while there is anything.
    pub(super) fn time_stall(&mut self, now: Instant) {
        if self.stall.check_at > now {
            return;
        }
        // A machine that slept, or whose timer was late, has not listened meanwhile.
        let late = now.since(self.stall.check_at);
        if late > SEC {
            self.stall.stuck_since = self.stall.stuck_since.after(late);
        }
        let mut next = now.after(SEC);
        let mut limited = false;
        if self.stall.dead {
            self.ask_trial(now);
        } else {
            limited = self.expire_requests(now);
            self.look_at_oldest(now);
            limited |= self.ask_what_owes(now);
            let stuck = !self.stall.oldest.is_none() && !self.no_path;
            let age = now.since(self.stall.stuck_since);
            self.note_stalled(stuck && age >= STALL_REPORT_NS);
            if let Some(at) = self.stall_dead_at().filter(|_| stuck) {
                if at <= now {
                    self.fail_unanswered(now, 0);
                }
                next = next.min(at.max(now.after(MIN_PROBE_NS)));
            }
        }
        // While no path answers, that is what counts; the look goes on when one is there again.
        let owed = self.ios.outstanding() != 0 && !self.no_path;
        let watched = owed || limited || self.stall.dead;
        self.stall.check_at = if watched { next } else { Earliest::NEVER };
    }

    /// Ends requests that were accepted with a limit to their waiting, when that is over. True if there are
    /// some for which it is not.
    fn expire_requests(&mut self, now: Instant) -> bool {
        let times = if self.no_path { 1 } else { PATIENCE_WITH_SLOW };
        let mut next = self.ios.oldest();
        let (mut some, mut left) = (false, false);
        while let Some(index) = next {
            next = self.ios.after(index);
            let io = self.ios.get(index);
            if io.is_expired(now, times) {
                self.fail_request(index, IoError::Expired);
                some = true;
            } else {
                left |= io.wait_secs != 0;
            }
        }
        if some {
            self.wake_waiting(now);
        }
        left
    }

    fn note_stalled(&mut self, stalled: bool) {
        if stalled && !self.stall.reported {
            self.events.add(Event::Stalled);
        } else if !stalled && self.stall.reported && self.state == State::Up {
            self.events.add(Event::Resumed);
        }
        self.stall.reported = stalled;
    }

    /// The target is dead for what it does not answer, and is asked for a sector from now on.
    fn begin_trials(&mut self, now: Instant) {
        self.stall.dead = true;
        self.stall.reported = false;
        self.start_trials();
        self.stall.check_at = now.after(SEC);
        self.refresh_state(now);
    }

    fn start_trials(&mut self) {
        self.stall.trials = 0;
        self.stall.trial_wait = 0;
        self.stall.word = self.tags.question(self.stall.word);
    }

    /// Old copies do not age while whoever has them answers questions only. What waits for their end may be all that
    /// there is to do, so that nothing else would show that requests are carried out again: a trial does.
    /// True if so: the look goes on then, also for a target that is idle. It has the memory of what it cannot forget.
    fn ask_what_owes(&mut self, now: Instant) -> bool {
        let silent = self.is_silent() && self.stall.oldest.is_none();
        let asks = silent || self.paths.indices().any(|index| self.must_be_tried(index));
        if !asks {
            self.stall.trials = 0;
            return false;
        }
        if self.stall.trials == 0 {
            self.start_trials();
        }
        self.ask_trial(now);
        true
    }

    /// Questions are answered, and no requests.
    pub(super) const fn is_silent(&self) -> bool {
        self.silent_rounds > QUESTION_ROUNDS
    }

    /// A ghost waits for what a trial by this path shows.
    fn must_be_tried(&self, index: u8) -> bool {
        self.vigil.owing & 1 << index != 0 && self.has_ghost_by(index)
    }

    /// Sends the read that shows whether a dead target carries out requests again, ever more rarely. All
    /// copies have one tag, so that the answer to any of them counts, however late.
    fn ask_trial(&mut self, now: Instant) {
        if self.stall.trial_wait != 0 {
            self.stall.trial_wait -= 1;
            return;
        }
        let Some(index) = self.trial_path() else {
            return;
        };
        let probe = &mut self.paths.at(index).probe;
        probe.ask(ProbeKind::Trial, now);
        if !self.stall.dead {
            // A station that answers neither is silent, and its copies age.
            probe.ask_also(now);
        }
        self.stall.trial_wait = self.stall.trials.min(MAX_TRIAL_SECS);
        self.stall.trials = self.stall.trials.checked_add(1).unwrap_or(MAX_TRIAL_SECS);
    }

    /// The path for the next trial. They take turns, and one trial leaves at a time: a target may have room for
    /// a single command.
    fn trial_path(&self) -> Option<u8> {
        let is_ready = |index: &u8| {
            let path = self.paths.get(*index);
            // A request that is under way shows as much, and a target may have room for one.
            let idle = path.outstanding == 0 && self.queued.is_empty();
            let wanted = self.is_silent() || self.must_be_tried(*index);
            (self.stall.dead || wanted && idle) && path.carries() && path.probe.is_idle()
        };
        let count = self.paths.indices().filter(is_ready).count();
        let turn = usize::from(self.stall.trials).checked_rem(count)?;
        self.paths.indices().filter(is_ready).nth(turn)
    }

    /// The trial was answered: requests are carried out again. Where the target was dead another disk may be there.
    #[cold]
    #[inline(never)]
    pub(super) fn note_trial_answered(&mut self, now: Instant, path: u8) {
        self.end_owing(now, path);
        if !self.stall.dead {
            self.stall.trials = 0;
            self.end_silence(now);
            self.wake_waiting(now);
            return;
        }
        self.stall.dead = false;
        self.stall.trials = 0;
        self.stall.oldest = Oldest::NONE;
        self.end_silence(now);
        for index in self.paths.indices() {
            self.check_path(now, index, ProbeKind::Identify);
        }
        self.refresh_state(now);
    }

    /// Requests are answered after a time in which only questions were. The target may have kept copies of
    /// writes until now: for them the quarantine begins anew.
    #[cold]
    pub(super) fn end_stall(&mut self, now: Instant) {
        for index in self.paths.indices() {
            self.restart_quarantine(now, index, Instant::default());
        }
        self.info.inherited.end_stall(now);
    }

    /// Paths in use count only while the target carries out requests.
    pub(super) fn has_path_in_use(&self) -> bool {
        !self.stall.dead
            && self
                .paths
                .any(|path| matches!(path.state, PathState::Up | PathState::Checking))
    }
}
