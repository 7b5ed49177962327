//! When a frame counts as lost.
//!
//! Two signs. A frame is *overtaken* when an answer to one that was sent later on the same path has
//! come in, and its own has had a round trip and some leeway since: that costs about one round trip.
//! Or there is *silence*: nothing is answered for longer than answers take. Then the oldest frame is sent
//! once more (a tail loss probe), and its answer makes the others overtaken. If that is not answered
//! either, the path has timed out: its oldest frame is sent again and again, ever more slowly, or, where
//! another path answers, all that is overdue goes by that one.
//!
//! Both are guesses, and each path learns how good they are ([`super::patience`]).

use super::frames::{Frame, FrameState, Sign};
use super::paths::Path;
use super::probe::ProbeKind;
use super::quarantine::NETWORK_REORDER_NS;
use super::{Instant, Target};
use crate::limits::{PATH_TIMEOUTS, PATH_TIMEOUTS_WITH_SPARE, QUESTION_ROUNDS};

impl Path {
    /// An answer to the newest copy of a frame, in flight on this path until now, came in. True if it
    /// shows that the target keeps no order.
    #[inline(always)]
    pub(super) fn note_in_order(&mut self, now: Instant, frame: &Frame) -> bool {
        let rtt = now.since(frame.last_sent);
        self.note_rtt(now, rtt);
        self.silence.note_answer();
        if frame.copies() > 1 {
            match frame.sign {
                Sign::Overtaken => self.reordering.note_right(),
                Sign::Silence => self.silence.note_right(),
                Sign::None => {}
            }
        }
        let mut unordered = false;
        if frame.seq > self.answered_seq {
            self.answered_seq = frame.seq;
            self.reordering.note_answer();
        } else if frame.copies() == 1 {
            // Two senders at once swap frames by microseconds; a target that keeps no order, by more.
            let span = self.answered_sent.since(frame.last_sent);
            unordered = span > NETWORK_REORDER_NS / 2;
            if rtt.saturating_sub(self.last_rtt) > self.reorder_ns() / 2 {
                // The next one might be taken for lost.
                self.reordering.note_wrong();
            }
        }
        self.last_rtt = rtt;
        self.note_alive_until(frame.last_sent);
        unordered
    }
}

impl Target<'_> {
    /// An older copy was answered although it had been taken for lost: that was too early.
    #[cold]
    pub(super) fn note_late(&mut self, now: Instant, index: u16, copy: u16) {
        let frame = self.frames.get(index);
        self.info.counters.late_answers += 1;
        let path = self.paths.at(frame.path);
        if copy == 0 && !frame.is_split() {
            path.note_rtt(now, now.since(frame.first_sent));
        }
        match frame.sign {
            Sign::Overtaken => path.reordering.note_wrong(),
            Sign::Silence => path.silence.note_wrong(),
            Sign::None => {}
        }
    }

    /// Finds the overtaken frames of a path.
    #[inline]
    pub(super) fn detect_overtaken(&mut self, now: Instant, path_index: u8) {
        let path = self.paths.traffic(path_index);
        path.overtaken_at = None;
        if let Some(oldest) = path.in_flight.head()
            && self.frames.get(oldest).seq < path.answered_seq
        {
            self.resend_overtaken(now, path_index);
        }
    }

    /// The frames of a path are in the order of sending, so the first that is not overtaken, or not lost
    /// yet, ends the search.
    #[cold]
    fn resend_overtaken(&mut self, now: Instant, path_index: u8) {
        while let Some(index) = self.paths.get(path_index).in_flight.head() {
            let frame = self.frames.get(index);
            let path = self.paths.get(path_index);
            if frame.seq >= path.answered_seq {
                return;
            }
            let wait = path.last_rtt.saturating_add(path.reorder_ns());
            let lost_at = frame.last_sent.after(wait);
            if lost_at > now {
                self.paths.at(path_index).overtaken_at = Some(lost_at);
                return;
            }
            self.info.counters.overtaken += 1;
            self.note_size_overtaken(now, index);
            self.take_for_lost(now, index, Sign::Overtaken);
        }
    }

    /// The oldest frame of the path was not answered in time, nor was anything else.
    pub(super) fn note_silence(&mut self, now: Instant, path_index: u8) {
        let path = self.paths.get(path_index);
        if let Some(index) = path.in_flight.head()
            && self.frames.get(index).seq < path.answered_seq
        {
            // It is overtaken too, which the copy that is sent now would make forgotten.
            self.note_size_overtaken(now, index);
        }
        let path = self.paths.at(path_index);
        if path.may_probe_tail() {
            path.tail_probed = true;
            if let Some(index) = path.in_flight.head() {
                self.info.counters.tail_probes += 1;
                self.note_size_lost(now, index);
                self.unlink(index);
                self.frames.at(index).sign = Sign::Silence;
                self.enqueue(index);
            }
        } else {
            self.note_timeout(now, path_index);
        }
    }

    fn note_timeout(&mut self, now: Instant, path_index: u8) {
        self.info.counters.timeouts += 1;
        self.silent_rounds = self.silent_rounds.saturating_add(1);
        let rounds = self.silent_rounds;
        if rounds > QUESTION_ROUNDS {
            self.start_silence_anew(now);
        }
        // While no path brings an answer to a request, one is as good as the other.
        let spare = rounds <= PATH_TIMEOUTS_WITH_SPARE
            && self
                .paths
                .indices()
                .any(|other| other != path_index && self.paths.get(other).answers());
        let answered = self.paths.get(path_index).quiet_since;
        self.vigil.note_owing(path_index, answered);
        let path = self.paths.at(path_index);
        let overdue = path.rto_after(0);
        path.timeouts = path.timeouts.saturating_add(1);
        path.backoff = path.timeouts.max(rounds);
        let limit = if spare {
            PATH_TIMEOUTS_WITH_SPARE
        } else {
            PATH_TIMEOUTS
        };
        if path.timeouts >= limit {
            self.lose_path(now, path_index);
            return;
        }
        // Is it the path that is silent, or only what was asked of it? The question leaves after the frame
        // that is sent again now, so that its answer overtakes that one.
        if spare && path.probe.is_idle() {
            path.probe.ask(ProbeKind::Config, now);
        }
        path.probe.ask_behind = !spare && rounds > 1;
        while let Some(index) = self.paths.get(path_index).in_flight.head() {
            self.take_for_lost(now, index, Sign::Silence);
            let next = self.paths.get(path_index).in_flight.head();
            let next_is_overdue =
                next.is_some_and(|next| self.frames.get(next).last_sent.after(overdue) <= now);
            // Once questions prove nothing any more, the frames wait for their turn in the queue, not in the
            // window: that must have room for the one that is sent.
            let all_wait = rounds == QUESTION_ROUNDS + 1;
            if !(all_wait || spare && next_is_overdue) {
                return;
            }
        }
    }

    /// A frame is sent again for the silence of a target that answers questions. All others wait for their
    /// turn, whatever path they are on and however long they have been waiting.
    fn start_silence_anew(&mut self, now: Instant) {
        for index in self.paths.indices() {
            self.paths.traffic(index).quiet_since = now;
        }
    }

    /// A request was answered.
    #[inline(always)]
    pub(super) fn end_silence(&mut self, now: Instant) {
        if self.is_silent() {
            self.end_stall(now);
        }
        self.silent_rounds = 0;
    }

    /// A frame in flight is taken for lost and will be sent again.
    fn take_for_lost(&mut self, now: Instant, index: u16, sign: Sign) {
        self.note_size_lost(now, index);
        self.unlink(index);
        let frame = self.frames.at(index);
        frame.sign = sign;
        let path = frame.path;
        let path = self.paths.at(path);
        path.lost += 1;
        path.window.on_loss();
        self.enqueue(index);
    }

    /// A frame did not come through, whatever the reason.
    fn note_size_lost(&mut self, now: Instant, index: u16) {
        let frame = self.frames.get(index);
        let op = self.ios.get(frame.io).op;
        if let Some(search) = self.paths.at(frame.path).search(op) {
            search.note_lost(now, frame.seq);
        }
    }

    /// A question that was sent as number `seq` was answered. That the frame before it was not may be for its
    /// size, for all that is known; nothing is sent again for it.
    #[cold]
    pub(super) fn note_question_overtook(&mut self, now: Instant, path_index: u8, seq: u64) {
        let mut last = None;
        let mut next = self.paths.get(path_index).in_flight.head();
        while let Some(index) = next.filter(|&index| self.frames.get(index).seq < seq) {
            last = Some(index);
            next = self.frames.after(index);
        }
        if let Some(index) = last {
            self.note_size_overtaken(now, index);
        }
    }

    /// A frame did not come through, and the path is alive.
    fn note_size_overtaken(&mut self, now: Instant, index: u16) {
        let frame = self.frames.get(index);
        let op = self.ios.get(frame.io).op;
        let next_seq = self.tags.next_seq();
        if let Some(search) = self.paths.at(frame.path).search(op) {
            search.note_overtaken(now, (frame.seq, frame.sectors), next_seq);
        }
    }

    /// Everything in flight on a path must be sent again, by whatever path.
    pub(super) fn requeue_all(&mut self, now: Instant, path_index: u8) {
        while let Some(index) = self.paths.get(path_index).in_flight.head() {
            self.note_size_lost(now, index);
            self.unlink(index);
            self.frames.at(index).sign = Sign::None;
            self.paths.at(path_index).lost += 1;
            self.enqueue(index);
        }
        self.paths.at(path_index).overtaken_at = None;
    }

    /// Puts a frame that is in no list last in the queue for sending.
    pub(super) fn enqueue(&mut self, index: u16) {
        self.frames.at(index).state = FrameState::Queued;
        self.frames.push_back(&mut self.queued, index);
    }

    /// Takes a frame out of the list that its state puts it in.
    pub(super) fn unlink(&mut self, index: u16) {
        let frame = self.frames.get(index);
        let list = match frame.state {
            FrameState::InFlight => {
                let path = self.paths.traffic(frame.path);
                path.note_arrival();
                &mut path.in_flight
            }
            FrameState::Queued => &mut self.queued,
            FrameState::Delayed => &mut self.delayed,
            FrameState::Ghost => &mut self.ghosts,
            FrameState::Free => return,
        };
        self.frames.remove(list, index);
    }
}
