//! What an answer means.

use super::frames::{Answered, Frame, FrameState, Sign};
use super::paths::PathState;
use super::probe::ProbeKind;
use super::{FlushMode, Target};
use crate::limits::{MAX_FRAMES, MAX_PROBE_NS, MAX_REFUSALS};
use crate::{Claim, DropReason, Event, Handled, Instant, IoError, Op, Received, Ticket};
use aoe_wire::{ATA_HEADER_LEN, AoeError, AtaFault, AtaReply, Command, SECTOR_SIZE, opcode};

use super::tag::{Tag, generation_bits};

/// What is to be done with a frame that was answered.
enum Verdict {
    /// The target did it.
    Done,
    /// Copy the data, then it is done.
    Data,
    /// It did not, and never will.
    Failed(IoError),
    /// It may if it is asked again a little later.
    Later,
    /// It may if it is asked again when the path was looked at anew.
    Recheck(ProbeKind),
    /// It may if it is asked with another command.
    Again,
    /// It says no. A bad word is believed when it comes a second time, as the answer to a copy sent after
    /// the first: a damaged header can look like one.
    Doubtful,
    /// The answer cannot be one to this frame.
    Mismatch(DropReason),
}

impl Target<'_> {
    /// Takes a frame that came in for this target.
    pub fn handle_frame(&mut self, now: Instant, rx: &Received<'_>) -> Handled {
        if !rx.header.is_response() {
            return Handled::Dropped(DropReason::NotResponse);
        }
        if rx.header.addr() != Some(self.addr) {
            return Handled::Dropped(DropReason::BadAddress);
        }
        match rx.header.command {
            Command::ATA => self.handle_ata(now, rx),
            Command::CONFIG => self.handle_config(now, rx),
            _ => Handled::Dropped(DropReason::IgnoredCommand),
        }
    }

    /// The data of a read were copied.
    pub fn commit(&mut self, now: Instant, claim: Claim) {
        let Ticket { slot, generation } = claim.ticket;
        if self.ios.get(slot).generation() != generation {
            return;
        }
        let done = self
            .ios
            .note_done(slot, u64::from(claim.len) / SECTOR_SIZE as u64);
        if self.ios.unpin(slot, generation) || done {
            self.wake_waiting(now);
        }
    }

    fn handle_ata(&mut self, now: Instant, rx: &Received<'_>) -> Handled {
        let Some(path) = self.paths.find(rx.netif, rx.header.src) else {
            return Handled::Dropped(DropReason::UnknownPath);
        };
        let Some(tag) = self.key.decode(rx.header.tag) else {
            return Handled::Dropped(DropReason::UnknownTag);
        };
        if usize::from(tag.slot) >= MAX_FRAMES {
            return self.handle_probe_answer(now, rx, path, tag);
        }
        let Some(answered) = self.frames.find(tag) else {
            self.info.counters.late_answers += 1;
            return Handled::Dropped(DropReason::UnknownTag);
        };
        let frame = *self.frames.get(answered.index);
        if frame.state == FrameState::Ghost {
            return self.note_ghost_answered(now, path, answered);
        }
        let verdict = self.judge_answer(rx, &frame, answered.newest);
        match verdict {
            Verdict::Mismatch(reason) => self.note_mismatch(now, answered.index, reason),
            Verdict::Failed(_) | Verdict::Again => self.hear_refusal(now, path, answered, verdict),
            Verdict::Done | Verdict::Data => {
                self.note_came_through(now, path, &frame);
                self.note_answered(now, path, answered);
                self.carry_out(now, answered.index, verdict)
            }
            verdict => {
                self.note_answered(now, path, answered);
                self.carry_out(now, answered.index, verdict)
            }
        }
    }

    /// A damaged byte can look like a refusal, so one is believed when it is heard twice; and only the
    /// newest copy's is the target's last word.
    fn hear_refusal(
        &mut self,
        now: Instant,
        path: u8,
        answered: Answered,
        verdict: Verdict,
    ) -> Handled {
        let frame = *self.frames.get(answered.index);
        if !answered.newest || frame.state != FrameState::InFlight {
            return self.note_old_refusal(now, path, answered);
        }
        self.frames.at(answered.index).doubted = true;
        self.note_answered(now, path, answered);
        let verdict = if frame.doubted {
            verdict
        } else {
            Verdict::Doubtful
        };
        self.carry_out(now, answered.index, verdict)
    }

    /// The answer to a management message.
    fn handle_probe_answer(
        &mut self,
        now: Instant,
        rx: &Received<'_>,
        path_index: u8,
        tag: Tag,
    ) -> Handled {
        let path = self.paths.get(path_index);
        let probe = path.probe;
        if usize::from(tag.slot) != MAX_FRAMES + usize::from(path_index) {
            return Handled::Dropped(DropReason::UnknownTag);
        }
        if probe.identified != 0 && generation_bits(probe.identified) == tag.generation {
            return self.second_identify(rx, path_index, probe.identified);
        }
        if !probe.waiting || generation_bits(probe.generation) != tag.generation {
            return Handled::Dropped(DropReason::UnknownTag);
        }
        if rx.header.is_error().is_some() {
            return self.note_probe_refused(now, path_index);
        }
        let Ok(reply) = AtaReply::parse(rx.arg) else {
            return Handled::Dropped(DropReason::Short);
        };
        match probe.kind {
            ProbeKind::Identify if reply.failed() => self.note_probe_refused(now, path_index),
            ProbeKind::Identify if rx.len < ATA_HEADER_LEN + SECTOR_SIZE => {
                Handled::Dropped(DropReason::Short)
            }
            ProbeKind::Identify => Handled::CopyIdentify(Claim {
                token: 0,
                offset: 0,
                len: SECTOR_SIZE as u32,
                ticket: Ticket {
                    slot: u16::from(path_index),
                    generation: probe.generation,
                },
            }),
            // A target that does not know the command is left as it is; there is nothing to retry.
            ProbeKind::WriteCache => {
                self.note_probe_answered(now, path_index);
                Handled::Done
            }
            ProbeKind::Config => Handled::Dropped(DropReason::Mismatch),
        }
    }

    /// One IDENTIFY was answered twice. The network may have doubled the answer, or two targets share
    /// one MAC address: what the second one says will tell.
    fn second_identify(&self, rx: &Received<'_>, path: u8, generation: u32) -> Handled {
        let whole = rx.len >= ATA_HEADER_LEN + SECTOR_SIZE;
        let good = AtaReply::parse(rx.arg).is_ok_and(|reply| !reply.failed());
        if whole && good && rx.header.is_error().is_none() {
            copy_identify(path, generation)
        } else {
            Handled::Dropped(DropReason::UnknownTag)
        }
    }

    fn note_ghost_answered(&mut self, now: Instant, path: u8, answered: Answered) -> Handled {
        self.frames.note_answered(answered);
        self.paths.at(path).note_heard(now);
        self.info.counters.late_answers += 1;
        if self.release_ghosts(now) {
            self.wake_waiting(now);
        }
        Handled::Done
    }

    /// What the answer says, judged by our own record of the request and not by what it repeats.
    ///
    /// A frame that is too large may be refused once for every copy that was sent before the first
    /// refusal came, and once by every path: each may have to be asked what it takes now. Only a refusal
    /// of what was sent after all that is the last word.
    fn judge_answer(&self, rx: &Received<'_>, frame: &Frame, newest: bool) -> Verdict {
        let sent_since = newest && frame.state == FrameState::InFlight;
        let first_refusal =
            frame.refusals == 0 || frame.refusals < self.paths_in_use() || !sent_since;
        let op = self.ios.get(frame.io).op;
        if let Some(error) = rx.header.is_error() {
            return judge_aoe_error(error, first_refusal);
        }
        let Ok(reply) = AtaReply::parse(rx.arg) else {
            return Verdict::Mismatch(DropReason::Short);
        };
        let failed = match op {
            Op::Flush => reply.flush_failed(self.flush_opcode()),
            _ => reply.failed(),
        };
        if failed {
            return self.judge_fault(op, reply.fault(), frame, first_refusal);
        }
        if op != Op::Read {
            return Verdict::Done;
        }
        let needed = ATA_HEADER_LEN + frame.sectors as usize * SECTOR_SIZE;
        if rx.len < needed {
            Verdict::Mismatch(DropReason::Short)
        } else {
            Verdict::Data
        }
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
        self.frames.note_answered(answered);
        self.frames.at(answered.index).doubted = true;
        self.paths.at(heard_on).note_heard(now);
        self.info.counters.late_answers += 1;
        Handled::Done
    }

    const fn flush_opcode(&self) -> u8 {
        match self.flush {
            FlushMode::Ext => opcode::FLUSH_EXT,
            FlushMode::Standard | FlushMode::None => opcode::FLUSH,
        }
    }

    fn judge_fault(&self, op: Op, fault: AtaFault, frame: &Frame, first_refusal: bool) -> Verdict {
        // ggaoed refuses a frame that is too large for it with ABRT, and so may its MTU change.
        let perhaps_too_large = frame.sectors > 1 && first_refusal;
        match (fault, op) {
            (AtaFault::Busy, _) => Verdict::Later,
            (AtaFault::Aborted, Op::Flush) if self.flush == FlushMode::Ext => Verdict::Again,
            (AtaFault::Aborted, Op::Flush | Op::Trim) => Verdict::Failed(IoError::Unsupported),
            (AtaFault::Aborted, Op::Write) if self.read_only => Verdict::Failed(IoError::ReadOnly),
            (AtaFault::Aborted, Op::Read | Op::Write) if perhaps_too_large => {
                Verdict::Recheck(ProbeKind::Config)
            }
            (AtaFault::Aborted, Op::Write) if !self.wrote => Verdict::Failed(IoError::ReadOnly),
            _ => Verdict::Failed(IoError::Failed),
        }
    }

    /// An answer that cannot belong to its frame counts as lost, but not for ever.
    fn note_mismatch(&mut self, now: Instant, index: u16, reason: DropReason) -> Handled {
        let frame = self.frames.at(index);
        frame.refusals = frame.refusals.saturating_add(1);
        let io = frame.io;
        if frame.refusals > MAX_REFUSALS {
            self.fail_request(io, IoError::Failed);
            self.wake_waiting(now);
        }
        Handled::Dropped(reason)
    }

    /// A frame of this size went by its path, and its answer came back.
    fn note_came_through(&mut self, now: Instant, heard_on: u8, frame: &Frame) {
        let op = self.ios.get(frame.io).op;
        if frame.path != heard_on {
            return;
        }
        if let Some(search) = self.paths.at(heard_on).search(op) {
            search.note_answered(now, frame.seq, frame.sectors);
        }
    }

    /// Books for an answer: round trip, window, and what it tells of other frames.
    fn note_answered(&mut self, now: Instant, heard_on: u8, answered: Answered) {
        let frame = *self.frames.get(answered.index);
        self.frames.note_answered(answered);
        if let Some(oldest) = self.paths.get(heard_on).in_flight.head() {
            let oldest_sent = self.frames.get(oldest).last_sent;
            self.paths.at(heard_on).note_gap(now, oldest_sent);
        }
        self.paths.at(heard_on).note_heard(now);
        let flew = frame.state == FrameState::InFlight;
        if flew {
            let path = self.paths.at(frame.path);
            let outstanding = path.outstanding;
            path.window.on_answer(outstanding);
        }
        self.unlink(answered.index);
        if flew && answered.newest {
            self.note_in_order(now, answered.index);
            self.detect_overtaken(now, frame.path);
        } else {
            self.note_late(now, answered.index, answered.copy);
        }
        if self.paths.get(heard_on).state == PathState::Lost {
            // It answers again. Whether it is the same disk must be seen before it carries I/O.
            self.ask(heard_on, ProbeKind::Identify, now);
        }
    }

    /// Does what the verdict says. The frame is in no list.
    fn carry_out(&mut self, now: Instant, index: u16, verdict: Verdict) -> Handled {
        let frame = *self.frames.get(index);
        let io = *self.ios.get(frame.io);
        match verdict {
            Verdict::Done => {
                if io.op == Op::Write {
                    self.wrote = true;
                    self.read_only = false;
                }
                self.retire(index);
                if self
                    .ios
                    .note_done(frame.io, u64::from(frame.sectors).max(1))
                {
                    self.wake_waiting(now);
                }
            }
            Verdict::Data => {
                self.retire(index);
                self.ios.at(frame.io).pin();
                self.release_proven(now);
                return Handled::CopyData(Claim {
                    token: io.token,
                    offset: u32::try_from(frame.offset * SECTOR_SIZE as u64).unwrap_or(u32::MAX),
                    len: frame.sectors * SECTOR_SIZE as u32,
                    ticket: Ticket {
                        slot: frame.io,
                        generation: io.generation(),
                    },
                });
            }
            Verdict::Failed(error) => {
                self.note_failure(now, io.op, error, frame.path);
                self.retire(index);
                self.fail_request(frame.io, error);
                self.wake_waiting(now);
            }
            Verdict::Again => {
                self.flush = FlushMode::Standard;
                self.events.add(Event::FeatureLost);
                self.enqueue(index);
            }
            Verdict::Doubtful => {
                self.info.counters.refusals += 1;
                self.frames.at(index).sign = Sign::None;
                self.enqueue(index);
            }
            Verdict::Later => self.refuse(now, index, None),
            Verdict::Recheck(kind) => self.refuse(now, index, Some(kind)),
            Verdict::Mismatch(reason) => return Handled::Dropped(reason),
        }
        self.release_proven(now);
        Handled::Done
    }

    /// Releases ghosts that the newest answer proved dead.
    fn release_proven(&mut self, now: Instant) {
        if self.ghosts.head().is_some() && self.release_ghosts(now) {
            self.wake_waiting(now);
        }
    }

    /// The target would not do it now; how often it may say so is bounded.
    fn refuse(&mut self, now: Instant, index: u16, recheck: Option<ProbeKind>) {
        self.info.counters.refusals += 1;
        let frame = self.frames.at(index);
        frame.refusals = frame.refusals.saturating_add(1);
        frame.sign = Sign::None;
        let (io, path, refusals) = (frame.io, frame.path, frame.refusals);
        if refusals > MAX_REFUSALS {
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
                self.read_only = true;
                self.events.add(Event::ReadOnly);
            }
            // An address out of range, perhaps: the disk may be smaller than it was.
            (Op::Read | Op::Write, IoError::Failed) => self.ask(path, ProbeKind::Identify, now),
            _ => {}
        }
    }

    /// Ends a request with an error: its frames are taken back, copies at large are quarantined.
    pub(super) fn fail_request(&mut self, io: u16, error: IoError) {
        let generation = self.ios.get(io).generation();
        for index in self.frames.indices() {
            let frame = *self.frames.get(index);
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

const fn copy_identify(path: u8, generation: u32) -> Handled {
    Handled::CopyIdentify(Claim {
        token: 0,
        offset: 0,
        len: SECTOR_SIZE as u32,
        ticket: Ticket {
            slot: path as u16,
            generation,
        },
    })
}

/// AoE-level errors (AoEr11 section 2.4): what they say of the request.
const fn judge_aoe_error(error: AoeError, first_refusal: bool) -> Verdict {
    match error {
        // Too large for what the target takes now, perhaps: ask what it takes, cut anew, once.
        AoeError::BAD_ARGUMENT if first_refusal => Verdict::Recheck(ProbeKind::Config),
        AoeError::DEVICE_UNAVAILABLE => Verdict::Recheck(ProbeKind::Identify),
        AoeError::RESERVED => Verdict::Failed(IoError::Reserved),
        _ => Verdict::Failed(IoError::Failed),
    }
}
