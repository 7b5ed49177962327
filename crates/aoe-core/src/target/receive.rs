//! What an answer means.

use super::frames::{Answered, Frame, FrameState, Sign};
use super::paths::PathState;
use super::probe::ProbeKind;
use super::{FlushMode, Target};
use crate::limits::{MAX_FRAMES, MAX_PROBE_NS, MAX_REFUSALS};
use crate::{
    BadAnswer, Claim, DropReason, Event, FailedCommand, Handled, Instant, IoError, Op, Received,
    Ticket,
};
use aoe_wire::{ATA_HEADER_LEN, AoeError, AtaFault, AtaReply, Command, SECTOR_SIZE, opcode};

use super::tag::{Tag, Word, question_slot, trial_slot};

/// What an answer says of the frame that it belongs to.
enum Verdict {
    /// The target did it; the data of a read are there.
    Good,
    /// The target did not do it.
    Refused(Refusal),
    /// The answer cannot be one to this frame.
    Mismatch(DropReason),
}

/// What is to be done with a frame that was refused.
enum Refusal {
    /// It fails, now and always.
    Failed(IoError),
    /// It may be done if it is asked for again a little later.
    Later,
    /// It may be done if it is asked for again when the path was looked at anew.
    Recheck(ProbeKind),
    /// It may be done if it is asked for with another command.
    Again,
    /// A bad word is believed when it comes a second time, as the answer to a copy sent after the first: a
    /// damaged header can look like one.
    Doubtful,
}

impl Target<'_> {
    /// Takes a frame that came in for this target.
    pub fn handle_frame(&mut self, now: Instant, rx: &Received<'_>) -> Handled {
        if !rx.header.is_response() {
            return Handled::Dropped(DropReason::NotResponse);
        }
        if rx.header.shelf != self.addr.shelf() || rx.header.slot != self.addr.slot() {
            return Handled::Dropped(DropReason::BadAddress);
        }
        match rx.header.command {
            Command::ATA => self.handle_ata(now, rx),
            Command::CONFIG if rx.header.is_error().is_some() => {
                Handled::Dropped(DropReason::Mismatch)
            }
            // By value: a header that nobody points to need not be in memory.
            Command::CONFIG => {
                let asked = (rx.header.src, rx.header.tag);
                self.handle_config(now, rx.netif, asked, rx.arg)
            }
            _ => Handled::Dropped(DropReason::IgnoredCommand),
        }
    }

    /// The data of a read were copied.
    pub fn commit(&mut self, now: Instant, claim: Claim) {
        let Ticket { slot, generation } = claim.ticket;
        let sectors = u64::from(claim.len) / SECTOR_SIZE as u64;
        if self.ios.note_copied(slot, generation, sectors) {
            self.wake_waiting(now);
        }
    }

    fn handle_ata(&mut self, now: Instant, rx: &Received<'_>) -> Handled {
        let Some(path) = self.paths.find(rx.netif, rx.header.src) else {
            return Handled::Dropped(DropReason::UnknownPath);
        };
        let Some(tag) = Tag::parse(rx.header.tag) else {
            return Handled::Dropped(DropReason::UnknownTag);
        };
        if usize::from(tag.slot) >= MAX_FRAMES {
            let refused = rx.header.is_error();
            return self.handle_probe_answer(now, (refused, rx.arg, rx.len), path, tag);
        }
        let Some((answered, frame)) = self.frames.find(tag) else {
            self.info.counters.late_answers += 1;
            self.paths.traffic(path).note_late_length(now, rx.len);
            return Handled::Dropped(DropReason::UnknownTag);
        };
        if frame.state == FrameState::Ghost {
            return self.note_ghost_answered(now, path, answered);
        }
        let op = self.ios.get(frame.io).op;
        let verdict = self.judge_answer(rx, frame, op, answered.newest);
        match verdict {
            Verdict::Good => {
                self.note_came_through(now, path, answered.index, op);
                self.note_answered(now, path, answered);
                if op == Op::Read {
                    self.claim_data(now, answered)
                } else {
                    self.note_done(now, answered.index, answered.path, op)
                }
            }
            Verdict::Refused(refusal) => {
                let answer = BadAnswer::of(rx.header, rx.arg);
                self.hear_refusal(now, path, answered, refusal, answer)
            }
            Verdict::Mismatch(reason) => self.note_mismatch(now, answered.index, reason),
        }
    }

    /// A damaged byte can look like a refusal, so one that ends the frame, or the command, is believed when
    /// it is heard twice; and only the newest copy's is the target's last word.
    #[cold]
    fn hear_refusal(
        &mut self,
        now: Instant,
        path: u8,
        answered: Answered,
        refusal: Refusal,
        answer: BadAnswer,
    ) -> Handled {
        let mut refusal = refusal;
        if matches!(refusal, Refusal::Failed(_) | Refusal::Again) {
            let frame = self.frames.at(answered.index);
            if !answered.newest || frame.state != FrameState::InFlight {
                return self.note_old_refusal(now, path, answered);
            }
            if !frame.doubt() {
                refusal = Refusal::Doubtful;
            }
        }
        self.note_answered(now, path, answered);
        self.bear_refusal(now, answered.index, refusal, answer);
        self.release_proven(now, answered.path);
        Handled::Done
    }

    /// The answer to a management message.
    #[cold]
    fn handle_probe_answer(
        &mut self,
        now: Instant,
        (refused, argument, len): (Option<AoeError>, &[u8], usize),
        path_index: u8,
        tag: Tag,
    ) -> Handled {
        let path = self.paths.get(path_index);
        let probe = path.probe;
        if tag.slot == trial_slot(path_index) {
            return self.hear_trial(now, path_index, tag, (refused, argument));
        }
        if tag.slot != question_slot(path_index) {
            return Handled::Dropped(DropReason::UnknownTag);
        }
        if probe.identified == tag.word {
            // The network may have doubled the answer, or two targets share one MAC address: what the
            // second one says will tell.
            let whole = len >= ATA_HEADER_LEN + SECTOR_SIZE;
            let good = AtaReply::parse(argument).is_ok_and(|reply| !reply.failed());
            if whole && good && refused.is_none() {
                return copy_identify(path_index, probe.identified);
            }
            return Handled::Dropped(DropReason::UnknownTag);
        }
        if !probe.waiting || probe.word != tag.word {
            return Handled::Dropped(DropReason::UnknownTag);
        }
        if refused.is_some() {
            return self.note_probe_refused(now, path_index);
        }
        let Ok(reply) = AtaReply::parse(argument) else {
            return Handled::Dropped(DropReason::Short);
        };
        match probe.kind {
            ProbeKind::Identify if reply.failed() => self.note_probe_refused(now, path_index),
            ProbeKind::Identify if len < ATA_HEADER_LEN + SECTOR_SIZE => {
                Handled::Dropped(DropReason::Short)
            }
            ProbeKind::Identify => Handled::CopyIdentify(Claim {
                token: 0,
                offset: 0,
                len: SECTOR_SIZE as u32,
                ticket: Ticket {
                    slot: u16::from(path_index),
                    generation: probe.word.number(),
                },
            }),
            // A target that does not know the command is left as it is; there is nothing to retry.
            ProbeKind::WriteCache => {
                self.note_probe_answered(now, path_index);
                Handled::Done
            }
            ProbeKind::Config | ProbeKind::Trial => Handled::Dropped(DropReason::Mismatch),
        }
    }

    /// Any answer but "busy" and "the disk is away" shows that requests are carried out.
    #[cold]
    #[inline(never)]
    fn hear_trial(
        &mut self,
        now: Instant,
        path: u8,
        tag: Tag,
        (refused, argument): (Option<AoeError>, &[u8]),
    ) -> Handled {
        if !self.stall.awaits(tag.word) {
            return Handled::Dropped(DropReason::UnknownTag);
        }
        let carried_out = match (refused, AtaReply::parse(argument)) {
            (Some(error), _) => error != AoeError::DEVICE_UNAVAILABLE,
            (None, Ok(reply)) => !reply.failed() || reply.fault() != AtaFault::Busy,
            (None, Err(_)) => return Handled::Dropped(DropReason::Short),
        };
        self.paths.at(path).note_heard(now);
        if carried_out {
            self.note_trial_answered(now, path);
        }
        Handled::Done
    }

    #[cold]
    fn note_ghost_answered(&mut self, now: Instant, path: u8, answered: Answered) -> Handled {
        let frame = self.frames.note_answered(answered);
        let (is_dead, sectors) = (frame.is_answered(), frame.sectors);
        let heard_on = self.paths.traffic(path);
        heard_on.note_request_answered(now);
        heard_on.outbound.note_late(now, sectors);
        self.end_silence(now);
        self.info.counters.late_answers += 1;
        if is_dead {
            self.unlink(answered.index);
            self.frames.release(answered.index);
            self.wake_waiting(now);
        }
        self.release_proven(now, answered.path);
        Handled::Done
    }

    /// What the answer says, judged by our own record of the request and not by what it repeats.
    ///
    /// A frame that is too large may be refused once for every copy that was sent before the first
    /// refusal came, and once by every path: each may have to be asked what it takes now. Only a refusal
    /// of what was sent after all that is the last word.
    fn judge_answer(&self, rx: &Received<'_>, frame: &Frame, op: Op, newest: bool) -> Verdict {
        let is_first_refusal = || {
            let sent_since = newest && frame.state == FrameState::InFlight;
            frame.refusals == 0 || frame.refusals < self.paths_in_use() || !sent_since
        };
        if let Some(error) = rx.header.is_error() {
            return Verdict::Refused(judge_aoe_error(error, is_first_refusal()));
        }
        let Ok(reply) = AtaReply::parse(rx.arg) else {
            return Verdict::Mismatch(DropReason::Short);
        };
        let failed = match op {
            Op::Flush => reply.flush_failed(self.flush_opcode()),
            _ => reply.failed(),
        };
        if failed {
            let refusal = self.judge_fault(op, reply.fault(), frame, is_first_refusal());
            return Verdict::Refused(refusal);
        }
        let needed = ATA_HEADER_LEN + frame.sectors as usize * SECTOR_SIZE;
        if op == Op::Read && rx.len < needed {
            return Verdict::Mismatch(DropReason::Short);
        }
        Verdict::Good
    }

    /// How many paths carry I/O, or are just being looked at; at least one.
    fn paths_in_use(&self) -> u8 {
        let used = self
            .paths
            .iter()
            .filter(|path| matches!(path.state, PathState::Up | PathState::Checking))
            .count();
        u8::try_from(used).unwrap_or(u8::MAX).max(1)
    }

    /// An older copy was refused, and a newer one is out or about to leave: its answer will tell.
    fn note_old_refusal(&mut self, now: Instant, heard_on: u8, answered: Answered) -> Handled {
        self.frames.note_answered(answered).doubt();
        self.paths.at(heard_on).note_request_answered(now);
        self.end_silence(now);
        self.info.counters.late_answers += 1;
        Handled::Done
    }

    fn flush_opcode(&self) -> u8 {
        self.flush_command().unwrap_or(opcode::FLUSH)
    }

    #[cold]
    fn judge_fault(&self, op: Op, fault: AtaFault, frame: &Frame, first_refusal: bool) -> Refusal {
        // ggaoed refuses a frame that is too large for it with ABRT, and so may its MTU change.
        let perhaps_too_large = frame.sectors > 1 && first_refusal;
        match (fault, op) {
            (AtaFault::Busy, _) => Refusal::Later,
            (AtaFault::Aborted, Op::Flush) if self.flush == FlushMode::Ext => Refusal::Again,
            (AtaFault::Aborted, Op::Flush | Op::Trim) => Refusal::Failed(IoError::Unsupported),
            (AtaFault::Aborted, Op::Write) if self.writes.is_read_only() => {
                Refusal::Failed(IoError::ReadOnly)
            }
            (AtaFault::Aborted, Op::Read | Op::Write) if perhaps_too_large => {
                Refusal::Recheck(ProbeKind::Config)
            }
            (AtaFault::Aborted, Op::Write) if self.writes.refusal_is_general() => {
                Refusal::Failed(IoError::ReadOnly)
            }
            _ => Refusal::Failed(IoError::Failed),
        }
    }

    /// An answer that cannot belong to its frame counts as lost, but not for ever.
    #[cold]
    fn note_mismatch(&mut self, now: Instant, index: u16, reason: DropReason) -> Handled {
        let frame = self.frames.at(index);
        frame.refusals = frame.refusals.saturating_add(1);
        let io = frame.io;
        if frame.refusals > MAX_REFUSALS {
            self.note_failed_command(index, IoError::Failed, BadAnswer::Mismatch);
            self.fail_request(io, IoError::Failed);
            self.wake_waiting(now);
        }
        Handled::Dropped(reason)
    }

    /// A frame of this size went by its path, and its answer came back.
    #[inline(always)]
    fn note_came_through(&mut self, now: Instant, heard_on: u8, index: u16, op: Op) {
        let frame = self.frames.get(index);
        if frame.path == heard_on
            && let Some(search) = self.paths.traffic(heard_on).search(op)
            && search.note_answered(now, frame.seq, frame.sectors)
        {
            self.events.add(Event::PayloadReduced);
        }
    }

    /// Books for an answer: round trip, window, and what it tells of other frames.
    #[inline(always)]
    fn note_answered(&mut self, now: Instant, heard_on: u8, answered: Answered) {
        let path = self.paths.traffic(heard_on);
        if let Some(oldest) = path.in_flight.head() {
            path.note_gap(now, self.frames.get(oldest).last_sent);
        }
        path.note_request_answered(now);
        let was_lost = path.state == PathState::Lost;
        self.end_silence(now);
        if answered.flew {
            self.note_landed(now, answered);
        } else {
            self.unlink(answered.index);
            self.frames.note_answered(answered);
            self.note_late(now, answered.index, answered.copy);
        }
        if was_lost {
            // It answers again. Whether it is the same disk must be seen before it carries I/O.
            self.ask(heard_on, ProbeKind::Identify, now);
        }
    }

    /// A frame in flight is not in flight any more.
    #[inline(always)]
    fn note_landed(&mut self, now: Instant, answered: Answered) {
        let path = self.paths.traffic(answered.path);
        path.window.on_answer(path.outstanding);
        path.note_arrival();
        let frame = self.frames.remove(&mut path.in_flight, answered.index);
        frame.note_answered(answered.copy);
        if answered.newest {
            self.unordered |= path.note_in_order(now, frame);
            self.detect_overtaken(now, answered.path);
        } else {
            self.note_late(now, answered.index, answered.copy);
        }
    }

    /// The data of a read are there. Its frame, which is in no list, leaves no ghost.
    #[inline(always)]
    fn claim_data(&mut self, now: Instant, answered: Answered) -> Handled {
        let frame = self.frames.release(answered.index);
        let io = self.ios.at(frame.io);
        let claim = Claim {
            token: io.token,
            offset: frame.offset * SECTOR_SIZE as u32,
            len: frame.sectors * SECTOR_SIZE as u32,
            ticket: Ticket {
                slot: frame.io,
                generation: io.pin(),
            },
        };
        self.release_proven(now, answered.path);
        Handled::CopyData(claim)
    }

    /// What a frame that is in no list asked for was done.
    fn note_done(&mut self, now: Instant, index: u16, path: u8, op: Op) -> Handled {
        if op == Op::Write {
            self.writes.note_taken();
        }
        let frame = self.frames.get(index);
        let (io, sectors) = (frame.io, frame.sectors);
        self.retire(index);
        if self.ios.note_done(io, u64::from(sectors).max(1)) {
            self.wake_waiting(now);
        }
        self.release_proven(now, path);
        Handled::Done
    }

    /// Does what a refusal asks for. The frame is in no list.
    fn bear_refusal(&mut self, now: Instant, index: u16, refusal: Refusal, answer: BadAnswer) {
        match refusal {
            Refusal::Failed(error) => {
                let frame = self.frames.get(index);
                let (io, path) = (frame.io, frame.path);
                self.note_failure(now, self.ios.get(io).op, error, path);
                self.note_failed_command(index, error, answer);
                if self.fail_part(now, index, error) {
                    return;
                }
                self.retire(index);
                self.fail_request(io, error);
                self.wake_waiting(now);
            }
            Refusal::Again => {
                self.flush = FlushMode::Standard;
                self.events.add(Event::FeatureLost);
                self.enqueue(index);
            }
            Refusal::Doubtful => {
                self.info.counters.refusals += 1;
                self.frames.at(index).sign = Sign::None;
                self.enqueue(index);
            }
            Refusal::Later => self.refuse(now, index, None, answer),
            Refusal::Recheck(kind) => self.refuse(now, index, Some(kind), answer),
        }
    }

    /// The target would not do it now; how often it may say so is bounded.
    fn refuse(&mut self, now: Instant, index: u16, recheck: Option<ProbeKind>, answer: BadAnswer) {
        self.info.counters.refusals += 1;
        let frame = self.frames.at(index);
        frame.refusals = frame.refusals.saturating_add(1);
        frame.sign = Sign::None;
        let (io, path, refusals) = (frame.io, frame.path, frame.refusals);
        if refusals > MAX_REFUSALS {
            self.note_failed_command(index, IoError::Failed, answer);
            self.retire(index);
            self.fail_request(io, IoError::Failed);
            self.wake_waiting(now);
            return;
        }
        let Some(kind) = recheck else {
            // The time of the answer, from which the delay counts.
            let frame = self.frames.at(index);
            frame.state = FrameState::Delayed;
            frame.last_sent = now;
            self.frames.push_back(&mut self.delayed, index);
            return;
        };
        self.enqueue(index);
        if kind == ProbeKind::Config {
            self.check_path(now, path, ProbeKind::Config);
        } else {
            self.lose_path(now, path);
            self.paths.at(path).probe.due = Some(now.after(MAX_PROBE_NS));
        }
    }

    /// Keeps what a target said to the command of a frame that fails its request, or its part of it.
    fn note_failed_command(&mut self, index: u16, error: IoError, answer: BadAnswer) {
        if error == IoError::Failed && self.has_several_parts(index) {
            // Each of them is asked for alone.
            return;
        }
        let frame = self.frames.get(index);
        self.info.failed = Some(FailedCommand {
            op: self.ios.get(frame.io).op,
            lba: frame.lba,
            sectors: frame.sectors,
            answer,
        });
        if error == IoError::Failed {
            self.events.add(Event::CommandFailed);
        }
    }

    /// What a failure tells beyond the request that failed.
    fn note_failure(&mut self, now: Instant, op: Op, error: IoError, path: u8) {
        match (op, error) {
            (Op::Flush, IoError::Unsupported) => {
                self.flush = FlushMode::None;
                self.events.add(Event::FeatureLost);
            }
            (Op::Trim, IoError::Unsupported) => {
                self.trim = false;
                self.events.add(Event::FeatureLost);
            }
            (_, IoError::Reserved) => self.events.add(Event::Reserved),
            (_, IoError::ReadOnly) => {
                self.writes.note_read_only();
                self.events.add(Event::ReadOnly);
            }
            // An address out of range, perhaps: the disk may be smaller than it was.
            (Op::Read | Op::Write, IoError::Failed) => {
                if op == Op::Write {
                    self.writes.note_failed();
                }
                self.ask(path, ProbeKind::Identify, now);
            }
            _ => {}
        }
    }

    /// Ends a request with an error: its frames are taken back, copies at large are quarantined.
    pub(super) fn fail_request(&mut self, io: u16, error: IoError) {
        let generation = self.ios.get(io).generation();
        for index in self.frames.indices() {
            let frame = self.frames.get(index);
            let live = !matches!(frame.state, FrameState::Free | FrameState::Ghost);
            if live && frame.io == io && frame.io_generation == generation {
                self.unlink(index);
                self.retire(index);
            }
        }
        self.ios.fail(io, error);
        self.ios.sweep_ready();
    }

    /// Lets waiting requests start that nothing stands in the way of any more.
    pub(super) fn wake_waiting(&mut self, now: Instant) {
        if !self.ios.has_waiting() {
            return;
        }
        let mut next = self.ios.next_waiting(None);
        while let Some(index) = next {
            if !self.ios.must_wait(index) && !self.is_quarantined(now, index) {
                self.ios.make_ready(index);
            }
            next = self.ios.next_waiting(Some(index));
        }
    }
}

const fn copy_identify(path: u8, word: Word) -> Handled {
    Handled::CopyIdentify(Claim {
        token: 0,
        offset: 0,
        len: SECTOR_SIZE as u32,
        ticket: Ticket {
            slot: path as u16,
            generation: word.number(),
        },
    })
}

/// AoE-level errors (AoEr11 section 2.4): what they say of the request.
const fn judge_aoe_error(error: AoeError, first_refusal: bool) -> Refusal {
    match error {
        // Too large for what the target takes now, perhaps: ask what it takes, cut anew, once.
        AoeError::BAD_ARGUMENT if first_refusal => Refusal::Recheck(ProbeKind::Config),
        AoeError::DEVICE_UNAVAILABLE => Refusal::Recheck(ProbeKind::Identify),
        AoeError::RESERVED => Refusal::Failed(IoError::Reserved),
        _ => Refusal::Failed(IoError::Failed),
    }
}
