//! The paths of a target: local interface × remote MAC.

use core::fmt;

use super::frames::List;
use super::patience::{Reordering, Silence};
use super::payload::PayloadSearch;
use super::probe::Probe;
use super::rtt::{Floor, Rtt};
use super::window::Window;
use crate::limits::{
    BURST_SHARE, DEFAULT_SECTORS, MAX_BURST, MAX_FRAME_SECTORS, MAX_PATHS, MIN_REORDER_NS,
    MIN_RTO_NS, MIN_TAIL_NS,
};
use crate::time::US;
use crate::{Instant, Link, NetifId, Op, Rings};
use aoe_wire::{ATA_HEADER_LEN, MacAddr, SECTOR_SIZE, sectors_per_frame};

/// The state of a path.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum PathState {
    /// Slot not in use.
    Unused,
    /// Heard of, not identified: carries no I/O.
    New,
    /// The same disk was seen over it: carries I/O.
    Up,
    /// In use, but something (a restart, a refused frame) asks for a new look before I/O goes on.
    Checking,
    /// It does not answer or has no link.
    Lost,
    /// Another disk answers over it: never carries I/O.
    Conflict,
}

impl PathState {
    /// Its name, as shown to people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::New => "new",
            Self::Up => "up",
            Self::Checking => "checking",
            Self::Lost => "lost",
            Self::Conflict => "conflict",
        }
    }
}

impl fmt::Display for PathState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One path and everything measured on it.
#[derive(Copy, Clone, Debug)]
pub struct Path {
    pub(crate) netif: NetifId,
    pub(crate) mac: MacAddr,
    pub(crate) state: PathState,
    /// The interface has link, as far as was heard.
    pub(crate) link_up: bool,
    /// Its frames leave in the order in which they are sent.
    pub(crate) in_order: bool,
    /// What the rings of the interface keep, as far as was heard.
    pub(crate) rings: Rings,
    /// The disk that we know was seen on it.
    pub(crate) shown: bool,
    /// It is lost and that was reported.
    pub(crate) reported: bool,
    /// Sector Count of the last config answer; 0 means 2.
    pub(crate) sector_count: u8,
    /// Time-outs in a row without an answer.
    pub(crate) timeouts: u8,
    /// How often the retransmission time-out is doubled: time-outs since a request was answered. Answers to
    /// questions do not undo it.
    pub(crate) backoff: u8,
    /// The oldest frame was sent once more, and no request was answered since.
    pub(crate) tail_probed: bool,
    /// The window was full, and not enough of it is free again for new frames to leave together.
    pub(crate) resting: bool,
    /// How far answers may overtake each other, in quarters of the shortest round trip.
    pub(crate) reordering: Reordering,
    /// How long it may be silent, in units of [`MIN_TAIL_NS`].
    pub(crate) silence: Silence,
    pub(crate) buffer_count: u16,
    pub(crate) firmware: u16,
    pub(crate) outstanding: u16,
    /// How requests were cut last: the most sectors of a frame, and those of a block.
    pub(crate) cut_payload: u16,
    pub(crate) cut_block: u16,
    /// What gets through from us to the target: writes.
    pub(crate) outbound: PayloadSearch,
    /// What gets through from the target to us: answers to reads.
    pub(crate) inbound: PayloadSearch,
    pub(crate) rtt: Rtt,
    pub(crate) floor: Floor,
    /// How long the path was silent, while something was in flight, before an answer came.
    pub(crate) gap: Rtt,
    pub(crate) window: Window,
    /// Frames whose newest copy is in flight on this path, in the order of sending.
    pub(crate) in_flight: List,
    /// Largest sequence number that was answered on this path.
    pub(crate) answered_seq: u64,
    /// When the newest of the things that were answered on this path had been sent.
    pub(crate) answered_sent: Instant,
    /// Round trip of the newest answer.
    pub(crate) last_rtt: u64,
    /// When the earliest frame that was overtaken by an answer counts as lost.
    pub(crate) overtaken_at: Option<Instant>,
    /// When anything was heard on it last.
    pub(crate) heard_at: Instant,
    /// From when on its silence counts: a request was answered then.
    pub(crate) quiet_since: Instant,
    pub(crate) identified_at: Instant,
    pub(crate) lost_since: Instant,
    pub(crate) probe: Probe,
    pub(crate) sent: u64,
    pub(crate) retransmitted: u64,
    pub(crate) lost: u64,
    pub(crate) received: u64,
}

impl Path {
    /// What every slot of a lent table must hold.
    pub const EMPTY: Self = Self {
        netif: NetifId(0),
        mac: MacAddr([0; 6]),
        state: PathState::Unused,
        link_up: false,
        in_order: false,
        rings: Rings::Empty,
        shown: false,
        reported: false,
        sector_count: 0,
        timeouts: 0,
        backoff: 0,
        tail_probed: false,
        resting: false,
        reordering: Reordering::EMPTY,
        silence: Silence::EMPTY,
        buffer_count: 0,
        firmware: 0,
        outstanding: 0,
        cut_payload: 0,
        cut_block: 0,
        outbound: PayloadSearch::EMPTY,
        inbound: PayloadSearch::EMPTY,
        rtt: Rtt::EMPTY,
        floor: Floor::EMPTY,
        gap: Rtt::EMPTY,
        window: Window::EMPTY,
        in_flight: List::EMPTY,
        answered_seq: 0,
        answered_sent: Instant::from_nanos(0),
        last_rtt: 0,
        overtaken_at: None,
        heard_at: Instant::from_nanos(0),
        quiet_since: Instant::from_nanos(0),
        identified_at: Instant::from_nanos(0),
        lost_since: Instant::from_nanos(0),
        probe: Probe::EMPTY,
        sent: 0,
        retransmitted: 0,
        lost: 0,
        received: 0,
    };

    /// The local interface.
    #[must_use]
    pub const fn netif(&self) -> NetifId {
        self.netif
    }

    /// The remote MAC address.
    #[must_use]
    pub const fn mac(&self) -> MacAddr {
        self.mac
    }

    /// Its state.
    #[must_use]
    pub const fn state(&self) -> PathState {
        self.state
    }

    /// It is more than a candidate: something is known of the disk behind it.
    pub(crate) const fn is_known(&self) -> bool {
        !matches!(self.state, PathState::Unused | PathState::New)
    }

    /// It is of no use, and no ring that it is known by keeps anything.
    pub(crate) const fn is_spare(&self) -> bool {
        matches!(self.state, PathState::New | PathState::Conflict)
            && !matches!(self.rings, Rings::Held)
    }

    /// It carries I/O, or fell silent too short a time ago for that to be reported.
    #[must_use]
    pub const fn in_service(&self) -> bool {
        match self.state {
            PathState::Up | PathState::Checking | PathState::Lost => !self.reported,
            PathState::Unused | PathState::New | PathState::Conflict => false,
        }
    }

    /// Sectors per frame of a long request, in whole physical blocks, when the last frame was cut; 0
    /// before the first.
    #[must_use]
    pub fn payload_sectors(&self) -> u32 {
        let payload = u32::from(self.cut_payload);
        cut_sectors(0, u64::MAX, payload, self.cut_block)
    }

    /// Smoothed round-trip time in nanoseconds, 0 before the first sample.
    #[must_use]
    pub const fn srtt_ns(&self) -> u64 {
        self.rtt.srtt()
    }

    /// Retransmission time-out in force, in nanoseconds.
    #[must_use]
    pub fn rto_ns(&self) -> u64 {
        self.rto_after(self.backoff)
    }

    /// Frames that may be in flight on it.
    #[must_use]
    pub fn window(&self) -> u16 {
        self.window.limit()
    }

    /// Frames in flight on it.
    #[must_use]
    pub const fn outstanding(&self) -> u16 {
        self.outstanding
    }

    /// Messages the target said it can queue.
    #[must_use]
    pub const fn buffer_count(&self) -> u16 {
        self.buffer_count
    }

    /// Firmware version of the config answer.
    #[must_use]
    pub const fn firmware(&self) -> u16 {
        self.firmware
    }

    /// I/O frames sent on it, retransmissions included.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// I/O frames of which an earlier copy had been sent.
    #[must_use]
    pub const fn retransmitted(&self) -> u64 {
        self.retransmitted
    }

    /// I/O frames that were sent on it and taken for lost.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Answers that came in by it.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// It is there and its interface has link: probes can be sent.
    pub(crate) fn can_probe(&self) -> bool {
        self.state != PathState::Unused && self.link_up
    }

    /// It carries I/O.
    pub(crate) fn carries(&self) -> bool {
        self.state == PathState::Up && self.link_up
    }

    /// It carries I/O, and what was sent on it last was answered in time.
    pub(crate) fn answers(&self) -> bool {
        self.carries() && self.timeouts == 0
    }

    /// Most sectors that the target takes in one frame (AoEr11 section 3.2).
    pub(crate) fn accepted_sectors(&self) -> u32 {
        u32::from(if self.sector_count == 0 {
            DEFAULT_SECTORS
        } else {
            self.sector_count
        })
    }

    /// Most sectors that should fit one frame on this path, at least one.
    pub(crate) fn promised_sectors(&self, link: Link) -> u32 {
        u32::from(sectors_per_frame(link.mtu))
            .min(self.accepted_sectors())
            .clamp(1, MAX_FRAME_SECTORS)
    }

    /// Most sectors for a frame that is sent on this path now.
    pub(crate) fn frame_sectors(&self, now: Instant, link: Link, op: Op) -> u32 {
        let promised = self.promised_sectors(link);
        match op {
            Op::Read => self.inbound.sectors(now, promised),
            Op::Write => self.outbound.sectors(now, promised),
            Op::Flush | Op::Trim => promised,
        }
    }

    /// The search that a frame with this much data in this direction is part of.
    pub(crate) fn search(&mut self, op: Op) -> Option<&mut PayloadSearch> {
        match op {
            Op::Read => Some(&mut self.inbound),
            Op::Write => Some(&mut self.outbound),
            Op::Flush | Op::Trim => None,
        }
    }

    /// A frame of this size leaves.
    pub(crate) fn note_size_sent(
        &mut self,
        now: Instant,
        link: Link,
        op: Op,
        seq: u64,
        sectors: u32,
    ) {
        if self.search(op).is_some_and(|search| search.is_limited()) {
            let promised = self.promised_sectors(link);
            if let Some(search) = self.search(op) {
                search.note_sent(now, seq, sectors, promised);
            }
        }
    }

    /// An answer of this length came to a frame that is forgotten.
    #[cold]
    pub(crate) fn note_late_length(&mut self, now: Instant, len: usize) {
        let sectors = len.saturating_sub(ATA_HEADER_LEN) / SECTOR_SIZE;
        self.inbound
            .note_late(now, u32::try_from(sectors).unwrap_or(0));
    }

    /// The retransmission time-out after so many in a row.
    pub(crate) fn rto_after(&self, timeouts: u8) -> u64 {
        let floor = MIN_RTO_NS.max(2 * self.patience_ns());
        self.rtt.rto(floor, timeouts)
    }

    fn patience_ns(&self) -> u64 {
        MIN_TAIL_NS * self.silence.factor()
    }

    /// How long the path may be silent before something is done: first the oldest frame is sent once
    /// more, to provoke an answer; after that the time-out counts.
    #[inline(always)]
    pub(crate) fn silence_ns(&self) -> u64 {
        match self.gap.expected() {
            Some(expected) if self.may_probe_tail() => {
                let wait = expected.max(self.patience_ns());
                // No time-out is shorter than that.
                if wait <= MIN_RTO_NS {
                    wait
                } else {
                    wait.min(self.rto_ns())
                }
            }
            _ => self.rto_ns(),
        }
    }

    /// The next thing to do about silence is the tail loss probe.
    pub(crate) fn may_probe_tail(&self) -> bool {
        self.backoff == 0 && !self.tail_probed && self.gap.expected().is_some()
    }

    /// What one more frame has to wait for its answer, compared with other paths.
    pub(crate) fn wait_ns(&self) -> u64 {
        // Nine bits of frames and 33 of nanoseconds at most, so nothing is lost on the left.
        let wait = (u64::from(self.outstanding) + 1) * self.rtt.srtt().max(US);
        wait << (2 * self.timeouts.min(8))
    }

    /// Remembers how long requests are cut.
    pub(crate) fn show_payload(&mut self, payload: u32, block: u16) {
        self.cut_payload = u16::try_from(payload).unwrap_or(u16::MAX);
        self.cut_block = block;
    }

    /// How long after its round trip a frame that was overtaken may still be on its way.
    pub(crate) fn reorder_ns(&self) -> u64 {
        let quarter = (self.floor.get() / 4).max(MIN_REORDER_NS);
        quarter.saturating_mul(self.reordering.factor())
    }

    /// One more frame is in flight on it.
    pub(crate) fn note_departure(&mut self) {
        self.outstanding += 1;
        self.resting |= self.outstanding >= self.window();
    }

    /// One frame less is in flight on it. While the rest of a full window is, answers are sure to come,
    /// and new frames leave some at a time: that costs less than each by itself.
    pub(crate) fn note_arrival(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
        if self.resting {
            let window = self.window();
            let together = (window / BURST_SHARE).min(MAX_BURST);
            self.resting = window.saturating_sub(self.outstanding) < together;
        }
    }

    /// An answer came `rtt` after what it answers was sent.
    pub(crate) fn note_rtt(&mut self, now: Instant, rtt: u64) {
        self.rtt.sample(rtt);
        self.floor.sample(now, rtt);
    }

    /// An answer comes in, the oldest frame in flight having been sent at `oldest_sent`: how long was it
    /// silent? What a tail loss probe had to provoke says nothing about that.
    pub(crate) fn note_gap(&mut self, now: Instant, oldest_sent: Instant) {
        if !self.tail_probed && self.backoff == 0 {
            self.gap
                .sample(now.since(self.quiet_since.max(oldest_sent)));
        }
    }

    /// An answer to something sent by this path came in.
    pub(crate) fn note_heard(&mut self, now: Instant) {
        self.heard_at = now;
        self.timeouts = 0;
        self.received += 1;
        if self.outstanding == 0 {
            // No request is left that the time-outs were about.
            self.backoff = 0;
            self.tail_probed = false;
        }
    }

    /// An answer to a request came in.
    pub(crate) fn note_request_answered(&mut self, now: Instant) {
        self.heard_at = now;
        self.quiet_since = now;
        self.timeouts = 0;
        self.backoff = 0;
        self.tail_probed = false;
        self.received += 1;
    }
}

/// Cuts `remaining` sectors from `lba` on to one frame of at most `payload`. Where the frame does not
/// end the request it ends on a physical block of `block` sectors, a power of two, so that no block is
/// written in two halves.
pub(crate) fn cut_sectors(lba: u64, remaining: u64, payload: u32, block: u16) -> u32 {
    if remaining <= u64::from(payload) {
        return u32::try_from(remaining).unwrap_or(u32::MAX);
    }
    let end = lba.saturating_add(u64::from(payload));
    let excess = (end & u64::from(block.wrapping_sub(1))) as u32;
    if excess < payload {
        payload - excess
    } else {
        payload
    }
}

/// A place for a new path.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// This slot.
    Slot(u8),
    /// None before a table of so many slots is lent.
    Wanted(usize),
    /// None.
    None,
}

/// The slots, by number: one of our own, which is all that most targets need, and lent ones.
#[derive(Debug)]
pub(crate) struct Paths<'s> {
    first: Path,
    more: &'s mut [Path],
    /// Slots from here on are unused.
    used: u8,
    /// Some path may have a question to send, now or later.
    asking: bool,
    broken: bool,
}

impl<'s> Paths<'s> {
    pub(crate) fn new() -> Self {
        Self {
            first: Path::EMPTY,
            more: &mut [],
            used: 0,
            asking: false,
            broken: false,
        }
    }

    /// Takes a larger table for all slots but the first, and gives back the one that it is in place of. A
    /// table that is not larger is given back itself.
    pub(crate) fn widen(&mut self, table: &'s mut [Path]) -> &'s mut [Path] {
        if table.len() <= self.more.len() {
            return table;
        }
        table.fill(Path::EMPTY);
        for (to, from) in table.iter_mut().zip(self.more.iter()) {
            *to = *from;
        }
        core::mem::replace(&mut self.more, table)
    }

    pub(crate) fn reclaim(self) -> &'s mut [Path] {
        self.more
    }

    pub(crate) const fn is_broken(&self) -> bool {
        self.broken
    }

    /// The numbers of all slots that may be in use.
    pub(crate) fn indices(&self) -> core::ops::Range<u8> {
        0..self.used
    }

    /// All slots that may be in use.
    fn in_use(&self) -> impl Iterator<Item = &Path> {
        let first = (self.used != 0).then_some(&self.first);
        let more = usize::from(self.used).saturating_sub(1);
        first.into_iter().chain(self.more.iter().take(more))
    }

    /// The same with their numbers.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (u8, &Path)> {
        (0..).zip(self.in_use())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Path> {
        self.in_use().filter(|path| path.state != PathState::Unused)
    }

    /// The first path when no other slot may be in use.
    pub(crate) fn only(&self) -> Option<&Path> {
        (self.used == 1).then_some(&self.first)
    }

    pub(crate) fn get(&self, index: u8) -> &Path {
        match usize::from(index).checked_sub(1) {
            None => &self.first,
            Some(index) => self.more.get(index).unwrap_or(&Path::EMPTY),
        }
    }

    /// The path for everything that may be done to it, questions included.
    pub(crate) fn at(&mut self, index: u8) -> &mut Path {
        self.asking = true;
        self.traffic(index)
    }

    /// The path for what is noted of the frames on it. Nothing may be asked of it on the way: whether a
    /// question is due would not be looked at.
    ///
    /// A number without slot is a fault of the engine. From then on there are no paths any more, so that
    /// nothing is sent or taken in by books that are wrong, and the first slot can stand in for the missing.
    pub(crate) fn traffic(&mut self, index: u8) -> &mut Path {
        match usize::from(index).checked_sub(1) {
            None => &mut self.first,
            Some(index) => match self.more.get_mut(index) {
                Some(path) => path,
                None => {
                    self.broken = true;
                    self.used = 0;
                    &mut self.first
                }
            },
        }
    }

    pub(crate) fn find(&self, netif: NetifId, mac: MacAddr) -> Option<u8> {
        let is_it =
            |path: &Path| path.state != PathState::Unused && path.netif == netif && path.mac == mac;
        if self.used == 0 {
            None
        } else if is_it(&self.first) {
            Some(0)
        } else {
            let mut more = (1..).zip(self.more.iter());
            more.find(|(_, path)| is_it(path)).map(|(index, _)| index)
        }
    }

    /// A slot for a new path: an unused one, else, when there are as many as may be, the one that has
    /// been useless for longest. The number of slots doubles each time that it does not suffice.
    pub(crate) fn room(&mut self) -> Room {
        if self.broken {
            return Room::None;
        }
        let unused = self
            .indices()
            .find(|&index| self.get(index).state == PathState::Unused);
        if let Some(index) = unused {
            return Room::Slot(index);
        }
        let slots = 1 + self.more.len();
        if usize::from(self.used) < slots.min(MAX_PATHS) {
            self.used += 1;
            return Room::Slot(self.used - 1);
        }
        if slots < MAX_PATHS {
            return Room::Wanted((2 * slots).min(MAX_PATHS) - 1);
        }
        self.indices()
            .filter(|&index| self.get(index).is_spare())
            .min_by_key(|&index| self.get(index).heard_at)
            .map_or(Room::None, Room::Slot)
    }

    /// Empties a slot. Its questions go on with other tags, so that no answer is taken for another's.
    pub(crate) fn clear(&mut self, index: u8) {
        let path = self.at(index);
        let word = path.probe.word;
        *path = Path::EMPTY;
        path.probe.word = word;
        while self.used > 0 && self.get(self.used - 1).state == PathState::Unused {
            self.used -= 1;
        }
    }

    /// Paths are in service, and each of them has at least so many frames in flight.
    pub(crate) fn all_have_in_flight(&self, frames: u16) -> bool {
        let mut some = false;
        self.iter().filter(|path| path.in_service()).all(|path| {
            some = true;
            path.outstanding >= frames
        }) && some
    }

    /// Frames in flight to one remote MAC, over whatever interface.
    pub(crate) fn outstanding_to(&self, mac: MacAddr) -> u32 {
        let of = |path: &Path| {
            if path.mac == mac {
                u32::from(path.outstanding)
            } else {
                0
            }
        };
        // In slots that are not used nothing is in flight.
        self.more
            .iter()
            .fold(of(&self.first), |sum, path| sum + of(path))
    }

    /// Whether some path may have a question to send, now or later.
    pub(crate) const fn may_ask(&self) -> bool {
        self.asking
    }

    /// Looks whether some path has.
    pub(crate) fn note_questions(&mut self) {
        let asking = self
            .in_use()
            .any(|path| !path.probe.is_idle() || path.probe.ask_behind);
        self.asking = asking;
    }

    /// Whether any path satisfies `test`.
    pub(crate) fn any(&self, test: impl Fn(&Path) -> bool) -> bool {
        self.iter().any(test)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with_buffers(count: u16) -> Path {
        let mut path = Path::EMPTY;
        path.window.set_buffers(count);
        path
    }

    #[test]
    fn a_path_whose_window_was_full_rests_until_an_eighth_of_it_is_free() {
        let mut path = with_buffers(16);
        assert_eq!(path.window(), 16);
        for _ in 0..15 {
            path.note_departure();
        }
        path.note_arrival();
        assert!(!path.resting, "it was never full");
        path.note_departure();
        path.note_departure();
        assert!(path.resting);
        path.note_arrival();
        assert!(path.resting);
        path.note_arrival();
        assert!(!path.resting);
    }

    #[test]
    fn a_small_window_never_rests_beyond_the_next_answer() {
        for buffer_count in 0..16 {
            let mut path = with_buffers(buffer_count);
            for _ in 0..path.window() {
                path.note_departure();
            }
            path.note_arrival();
            assert!(!path.resting, "{buffer_count}");
        }
    }

    #[test]
    fn a_path_rests_no_longer_when_nothing_is_in_flight_though_its_window_shrank() {
        let mut path = with_buffers(128);
        for _ in 0..path.window() {
            path.note_departure();
        }
        for _ in 0..100 {
            path.window.on_loss();
        }
        while path.outstanding > 0 {
            path.note_arrival();
        }
        assert!(!path.resting);
    }

    /// Takes rooms for paths in use until there are no more without memory.
    fn fill(paths: &mut Paths<'_>) {
        while let Room::Slot(index) = paths.room() {
            paths.at(index).state = PathState::Up;
        }
    }

    #[test]
    fn answers_are_expected_when_every_path_in_service_has_enough_in_flight() {
        let mut table = [Path::EMPTY; 2];
        let mut paths = Paths::new();
        paths.widen(&mut table);
        assert!(!paths.all_have_in_flight(0), "there is no path");
        fill(&mut paths);
        paths.at(0).outstanding = 8;
        paths.at(1).outstanding = 7;
        paths.at(2).state = PathState::New;
        assert!(!paths.all_have_in_flight(8));
        paths.at(1).outstanding = 8;
        assert!(paths.all_have_in_flight(8));
        paths.at(2).state = PathState::Up;
        assert!(!paths.all_have_in_flight(8), "it has nothing to do");
    }

    #[test]
    fn slots_are_searched_only_as_far_as_they_are_used() {
        let mut table = [Path::EMPTY; 3];
        let mut paths = Paths::new();
        paths.widen(&mut table);
        assert_eq!(paths.indices(), 0..0);
        for index in 0..4 {
            assert_eq!(paths.room(), Room::Slot(index));
            paths.at(index).state = PathState::Up;
        }
        assert_eq!(paths.indices(), 0..4);
        paths.clear(1);
        assert_eq!(paths.indices(), 0..4);
        assert_eq!(paths.room(), Room::Slot(1));
        paths.clear(3);
        paths.clear(2);
        assert_eq!(paths.indices(), 0..1);
    }

    #[test]
    fn the_table_grows_as_it_is_asked_for_and_keeps_what_it_holds() {
        let (mut one, mut three, mut seven) =
            ([Path::EMPTY; 1], [Path::EMPTY; 3], [Path::EMPTY; 7]);
        let mut paths = Paths::new();
        fill(&mut paths);
        assert_eq!(paths.room(), Room::Wanted(1));
        assert_eq!(paths.room(), Room::Wanted(1), "to ask changes nothing");
        assert_eq!(paths.widen(&mut one).len(), 0);
        fill(&mut paths);
        paths.at(1).sent = 77;
        assert_eq!(paths.room(), Room::Wanted(3));
        assert_eq!(paths.widen(&mut three).len(), 1, "the small one comes back");
        assert_eq!(paths.get(1).sent, 77);
        fill(&mut paths);
        assert_eq!(paths.room(), Room::Wanted(7));
        let mut small = [Path::EMPTY; 2];
        assert_eq!(paths.widen(&mut small).len(), 2, "of no use");
        assert_eq!(paths.widen(&mut seven).len(), 3);
        fill(&mut paths);
        assert_eq!(paths.indices(), 0..8);
        assert_eq!(paths.get(1).sent, 77);
        assert_eq!(paths.room(), Room::None, "paths in use are not given away");
        paths.at(6).state = PathState::New;
        paths.at(3).state = PathState::Conflict;
        paths.at(6).heard_at = Instant::from_nanos(5);
        paths.at(3).heard_at = Instant::from_nanos(6);
        assert_eq!(paths.room(), Room::Slot(6));
    }

    #[test]
    fn a_number_without_slot_ends_all_paths() {
        let mut paths = Paths::new();
        fill(&mut paths);
        assert!(!paths.is_broken());
        assert_eq!(paths.get(5).state, PathState::Unused);
        assert!(!paths.is_broken(), "to look breaks nothing");
        paths.at(5).outstanding = 1;
        assert!(paths.is_broken());
        assert_eq!(paths.indices(), 0..0);
        assert_eq!(paths.iter().count(), 0);
        assert_eq!(paths.room(), Room::None);
    }

    #[test]
    fn frames_end_on_physical_blocks() {
        assert_eq!(cut_sectors(0, 256, 17, 8), 16);
        assert_eq!(cut_sectors(3, 256, 17, 8), 13);
        assert_eq!(cut_sectors(0, 17, 17, 8), 17, "what fits is not cut");
        assert_eq!(
            cut_sectors(0, 256, 2, 8),
            2,
            "a frame smaller than a block is used whole"
        );
        assert_eq!(cut_sectors(7, 256, 2, 8), 1);
        assert_eq!(cut_sectors(0, 256, 127, 128), 127);
    }

    proptest! {
        #[test]
        fn a_cut_is_never_empty_nor_too_large(
            lba in 0u64..1 << 48, remaining in 1u64..1 << 20, payload in 1u32..256, shift in 0u32..8,
        ) {
            let sectors = cut_sectors(lba, remaining, payload, 1 << shift);
            prop_assert!(sectors >= 1);
            prop_assert!(sectors <= payload);
            prop_assert!(u64::from(sectors) <= remaining);
        }
    }
}
