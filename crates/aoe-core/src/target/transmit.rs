//! What to send next: management messages, then lost frames, then new ones.

use super::frames::{Frame, FrameState};
use super::paths::{Path, PathState, cut_sectors};
use super::probe::ProbeKind;
use super::{FlushMode, State, Target};
use crate::limits::{MAX_PROBE_NS, MIN_PROBE_NS, TRIM_BLOCK_SECTORS};
use crate::time::MS;
use crate::{Instant, Link, Links, Op, Payload, Ticket, Transmit};
use aoe_wire::{
    ATA_HEADER_LEN, AtaRequest, Command, ConfigCommand, ConfigRequest, HEADER_LEN, Header, MacAddr,
    TargetAddr,
};

use super::tag::{question_slot, trial_slot};

/// Slots that new requests leave free, so that a frame that no longer fits its path can be split.
const SPLIT_RESERVE: u16 = 8;
/// Spreads the flows of neighbouring addresses: an odd number, 2^32 divided by the golden ratio.
const FLOW_FACTOR: u32 = 0x9E37_79B1;
/// Length of a config query without string.
const CONFIG_LEN: usize = 8;

/// SET FEATURES subcommands (ATA8-ACS 7.45): volatile write cache.
const ENABLE_WRITE_CACHE: u8 = 0x02;
const DISABLE_WRITE_CACHE: u8 = 0x82;

impl Target<'_> {
    /// The next frame to send, `None` when there is nothing to send or no window is open.
    pub fn poll_transmit<L: Links>(&mut self, now: Instant, links: &L) -> Option<Transmit> {
        if self.state == State::Removed {
            return None;
        }
        if self.paths.may_ask()
            && let Some(probe) = self.poll_probe(now, links)
        {
            return Some(probe);
        }
        let again = if self.queued.is_empty() {
            None
        } else {
            self.poll_queued(now, links)
        };
        let next = match again {
            Some(next) => next,
            None => self.poll_ready(now, links)?,
        };
        Some(self.send(now, next))
    }

    /// The management message of a path that is due.
    #[cold]
    fn poll_probe<L: Links>(&mut self, now: Instant, links: &L) -> Option<Transmit> {
        for index in self.paths.indices() {
            let path = self.paths.get(index);
            if !path.probe.is_due(now) || !path.can_probe() {
                continue;
            }
            if path.probe.waiting {
                self.note_probe_unanswered(now, index);
            }
            let path = self.paths.get(index);
            if path.state == PathState::Unused || !path.probe.is_due(now) {
                continue;
            }
            let Some(link) = links.link(path.netif) else {
                self.paths.at(index).probe.due = Some(now.after(MIN_PROBE_NS));
                continue;
            };
            return Some(self.send_probe(now, index, link));
        }
        self.paths.note_questions();
        None
    }

    fn send_probe(&mut self, now: Instant, index: u8, link: Link) -> Transmit {
        let seq = self.tags.take_seq();
        let path = self.paths.at(index);
        path.in_order = link.in_order;
        let wait = (path.rto_ns().max(20 * MS) << path.probe.tries.min(6)).min(MAX_PROBE_NS);
        let probe = &mut path.probe;
        probe.word = self.tags.question(probe.word);
        probe.tries = probe.tries.saturating_add(1);
        probe.waiting = true;
        probe.sent_at = now;
        probe.seq = seq;
        probe.due = Some(now.after(wait));
        let tag = probe.word.tag(question_slot(index));
        let (kind, mac) = (probe.kind, path.mac);
        let command = match kind {
            ProbeKind::Trial => return self.send_trial(index, link),
            ProbeKind::Config => return self.config_query(index, link, mac, tag),
            ProbeKind::Identify => AtaRequest::identify(),
            ProbeKind::WriteCache => {
                let enable = self.tunables.write_cache == Some(true);
                let feature = if enable {
                    ENABLE_WRITE_CACHE
                } else {
                    DISABLE_WRITE_CACHE
                };
                AtaRequest::set_features(feature)
            }
        };
        let message = Message {
            flow: flow(self.addr, index),
            addr: self.addr,
            link,
            tag,
            again: false,
        };
        message.with(self.paths.get(index), &command)
    }

    /// All trials have one tag, so that the answer to any of them counts. They leave the path to other
    /// questions at once.
    fn send_trial(&mut self, index: u8, link: Link) -> Transmit {
        self.paths.at(index).probe.settle();
        let tag = self.stall.word.tag(trial_slot(index));
        let message = Message {
            flow: flow(self.addr, index),
            addr: self.addr,
            link,
            tag,
            again: false,
        };
        let command = AtaRequest::read(self.stall.lba(), 1, self.lba48);
        message.with(self.paths.get(index), &command)
    }

    fn config_query(&self, index: u8, link: Link, mac: MacAddr, tag: u32) -> Transmit {
        let header = Header::request(mac, link.mac, self.addr, Command::CONFIG, tag);
        config_transmit(self.paths.get(index).netif, flow(self.addr, index), &header)
    }

    /// A frame that was taken for lost, or whose path went away.
    #[cold]
    fn poll_queued<L: Links>(&mut self, now: Instant, links: &L) -> Option<Next> {
        let mut next = self.queued.head();
        // A frame that must be split and finds no slot to split with must not keep those behind it waiting:
        // theirs are the slots that it needs.
        let (index, path, link, op, payload) = loop {
            let index = next?;
            let frame = self.frames.get(index);
            let (path, link) = if frame.copies() > 0 && self.paths.get(frame.path).answers() {
                self.same_path(links, frame.path)?
            } else {
                self.pick_path(links, |_| true)?
            };
            let io = self.ios.get(frame.io);
            let op = io.op;
            let payload = self.paths.get(path).frame_sectors(now, link, op);
            let limit = io.frame_limit(frame.offset);
            if let Some(index) = self.fit(index, payload.min(limit)) {
                break (index, path, link, op, payload);
            }
            next = self.frames.after(index);
        };
        if matches!(op, Op::Read | Op::Write) {
            self.paths.at(path).show_payload(payload, self.block);
        }
        self.frames.remove(&mut self.queued, index);
        Some(Next { index, path, link })
    }

    /// Makes sure that the first queued frame fits `payload`, splitting it if it does not, and
    /// returns the frame to send; `None` when there is no slot to split with.
    ///
    /// A frame of which copies are at large keeps its slot, so that their answers are not taken for
    /// answers of the smaller one: the sectors move to a new slot.
    fn fit(&mut self, index: u16, payload: u32) -> Option<u16> {
        let frame = *self.frames.get(index);
        let op = self.ios.get(frame.io).op;
        if !matches!(op, Op::Read | Op::Write) || frame.sectors <= payload {
            return Some(index);
        }
        let needed = if frame.copies() > 0 { 2 } else { 1 };
        if self.frames.free_count() < needed {
            return None;
        }
        let mut rest = index;
        if frame.copies() > 0 {
            self.tags.prepare();
            (rest, _) = self.frames.allocate(&mut self.tags)?;
            self.part_of(rest, &frame, 0, frame.sectors);
            self.frames.remove(&mut self.queued, index);
            self.frames.push_front(&mut self.queued, rest);
        }
        let sectors = cut_sectors(frame.lba, u64::from(frame.sectors), payload, self.block);
        self.tags.prepare();
        let (first, _) = self.frames.allocate(&mut self.tags)?;
        self.part_of(first, &frame, 0, sectors);
        self.part_of(rest, &frame, sectors, frame.sectors - sectors);
        self.frames.push_front(&mut self.queued, first);
        if rest != index {
            self.retire(index);
        }
        Some(first)
    }

    /// Makes slot `index` the part of `whole` that starts `skip` sectors into it.
    fn part_of(&mut self, index: u16, whole: &Frame, skip: u32, sectors: u32) {
        let frame = self.frames.at(index);
        frame.state = FrameState::Queued;
        frame.set_modifies(whole.modifies());
        frame.set_split(whole.first_sent);
        frame.refusals = whole.refusals;
        frame.io = whole.io;
        frame.io_generation = whole.io_generation;
        frame.path = whole.path;
        frame.offset = whole.offset + skip;
        frame.lba = whole.lba + u64::from(skip);
        frame.sectors = sectors;
    }

    /// The next frame of the first request that may start.
    #[inline(always)]
    fn poll_ready<L: Links>(&mut self, now: Instant, links: &L) -> Option<Next> {
        let io_index = self.ios.first_ready()?;
        if self.frames.free_count() <= SPLIT_RESERVE {
            return None;
        }
        self.tags.prepare();
        let (path_index, link) = self.pick_path(links, |path| !path.resting)?;
        let path = self.paths.traffic(path_index);
        let io = self.ios.at(io_index);
        let (index, frame) = self.frames.allocate(&mut self.tags)?;
        frame.io = io_index;
        frame.io_generation = io.generation();
        frame.set_modifies(io.modifies());
        frame.offset = u32::try_from(io.cut).unwrap_or(u32::MAX);
        frame.lba = io.lba.saturating_add(io.cut);
        let left = io.length() - io.cut;
        frame.sectors = match io.op {
            Op::Flush => 0,
            Op::Trim => u32::try_from(left.min(TRIM_BLOCK_SECTORS)).unwrap_or(u32::MAX),
            Op::Read | Op::Write => {
                let payload = path.frame_sectors(now, link, io.op);
                path.show_payload(payload, self.block);
                cut_sectors(frame.lba, left, payload, self.block)
            }
        };
        if io.note_cut(u64::from(frame.sectors).max(1)) {
            self.ios.leave_ready();
        }
        Some(Next {
            index,
            path: path_index,
            link,
        })
    }

    /// A frame that was sent before goes by its old path as long as that one answers, since order on
    /// a path keeps a late copy from overtaking.
    fn same_path<L: Links>(&self, links: &L, before: u8) -> Option<(u8, Link)> {
        let path = self.paths.get(before);
        if !self.takes_more(path) {
            return None;
        }
        links.link(path.netif).map(|link| (before, link))
    }

    /// The path for one more frame, of those with room that are `ready`.
    fn pick_path<L: Links>(&self, links: &L, ready: impl Fn(&Path) -> bool) -> Option<(u8, Link)> {
        let can_take = |path: &Path| ready(path) && self.takes_more(path);
        match self.paths.only() {
            Some(path) if path.carries() && can_take(path) => {
                links.link(path.netif).map(|link| (0, link))
            }
            Some(_) => None,
            None => self.choose_path(links, can_take),
        }
    }

    /// Of several paths the one that will answer first. A silent path carries nothing while another one
    /// answers.
    fn choose_path<L: Links>(
        &self,
        links: &L,
        can_take: impl Fn(&Path) -> bool,
    ) -> Option<(u8, Link)> {
        let mut some_answer = false;
        let mut least = u64::MAX;
        let mut best = None;
        for (index, path) in self.paths.numbered() {
            let answers = path.answers();
            if !path.carries() || (some_answer && !answers) {
                continue;
            }
            let Some(link) = links.link(path.netif) else {
                continue;
            };
            if answers && !some_answer {
                some_answer = true;
                least = u64::MAX;
                best = None;
            }
            let wait = path.wait_ns();
            if wait < least && can_take(path) {
                least = wait;
                best = Some((index, link));
            }
        }
        best
    }

    /// Whether a path that carries I/O can take one more frame now.
    fn takes_more(&self, path: &Path) -> bool {
        // One path alone keeps to the target's buffers by its window.
        path.outstanding < path.window()
            && (self.paths.only().is_some()
                || self.paths.outstanding_to(path.mac) < u32::from(path.window.buffers()))
    }

    /// Sends one copy of a frame that is in no list.
    #[inline(always)]
    fn send(&mut self, now: Instant, next: Next) -> Transmit {
        let Next {
            index,
            path: path_index,
            link,
        } = next;
        let seq = self.tags.take_seq();
        let path = self.paths.traffic(path_index);
        let frame = self.frames.push_back(&mut path.in_flight, index);
        let io = self.ios.at(frame.io);
        let again = frame.copies() > 0;
        frame.note_sent(now, path_index, seq);
        path.note_departure();
        path.sent += 1;
        self.info.counters.frames_sent += 1;
        if again {
            path.retransmitted += 1;
            self.info.counters.retransmits += 1;
        }
        if core::mem::take(&mut path.probe.ask_behind) && path.probe.is_idle() {
            // That questions are to be looked for is noted while one is to be asked behind a frame.
            path.probe.ask(ProbeKind::Config, now);
        }
        path.note_size_sent(now, link, io.op, seq, frame.sectors);
        let message = Message {
            flow: flow(self.addr, path_index),
            addr: self.addr,
            link,
            tag: frame.tag(index),
            again,
        };
        let lba48 = self.lba48;
        let (mut payload, mut ticket) = (Payload::None, None);
        let command = match io.op {
            Op::Read => AtaRequest::read(frame.lba, sector_count(frame), lba48),
            Op::Write => {
                payload = Payload::Io {
                    token: io.token,
                    offset: frame.offset * 512,
                    len: frame.sectors * 512,
                };
                ticket = Some(Ticket {
                    slot: frame.io,
                    generation: io.pin(),
                });
                AtaRequest::write(frame.lba, sector_count(frame), lba48)
            }
            Op::Flush => AtaRequest::flush(self.flush == FlushMode::Ext),
            Op::Trim => {
                payload = trimmed(frame);
                AtaRequest::trim(1)
            }
        };
        message.carrying(path, &command, payload, ticket)
    }
}

/// The number of the flow that the frames of a path belong to. It comes of the address alone: drivers see it.
const fn flow(addr: TargetAddr, path: u8) -> u32 {
    let target = (addr.shelf() as u32) << 8 | addr.slot() as u32;
    target.wrapping_mul(FLOW_FACTOR).wrapping_add(path as u32)
}

/// A frame that is to be sent, in no list, and the way that it takes.
struct Next {
    index: u16,
    path: u8,
    link: Link,
}

/// What an ATA message has beside its command.
struct Message {
    /// Frames of one path belong to one transmit queue: order on a path is what proves copies dead.
    flow: u32,
    addr: TargetAddr,
    link: Link,
    tag: u32,
    again: bool,
}

impl Message {
    fn with(&self, path: &Path, command: &AtaRequest) -> Transmit {
        self.carrying(path, command, Payload::None, None)
    }

    /// The message with data behind it.
    fn carrying(
        &self,
        path: &Path,
        command: &AtaRequest,
        payload: Payload,
        ticket: Option<Ticket>,
    ) -> Transmit {
        let header = Header::request(path.mac, self.link.mac, self.addr, Command::ATA, self.tag);
        Transmit {
            netif: path.netif,
            header_len: ATA_HEADER_LEN as u8,
            flow: self.flow,
            header: ata_header(&header, command),
            payload,
            again: self.again,
            ticket,
        }
    }
}

/// The Sector Count of a read or write.
fn sector_count(frame: &Frame) -> u8 {
    u8::try_from(frame.sectors).unwrap_or(u8::MAX)
}

const fn trimmed(frame: &Frame) -> Payload {
    Payload::Trim {
        lba: frame.lba,
        sectors: frame.sectors as u64,
    }
}

/// The bytes of an ATA message without its data.
fn ata_header(header: &Header, command: &AtaRequest) -> [u8; ATA_HEADER_LEN] {
    let mut bytes = [0; ATA_HEADER_LEN];
    if let Some((head, argument)) = bytes.split_first_chunk_mut::<HEADER_LEN>() {
        header.emit(head);
        if let Some(argument) = argument.first_chunk_mut() {
            command.emit(argument);
        }
    }
    bytes
}

/// A config query with this header: the discover beacon, or the question to one path.
pub(crate) fn config_transmit(netif: crate::NetifId, flow: u32, header: &Header) -> Transmit {
    let mut bytes = [0; ATA_HEADER_LEN];
    if let Some((head, argument)) = bytes.split_first_chunk_mut::<HEADER_LEN>() {
        header.emit(head);
        let query = ConfigRequest {
            command: ConfigCommand::Read,
            string: &[],
        };
        // Without a string the argument has eight bytes, and there are twelve.
        let _ = query.emit(argument);
    }
    Transmit {
        netif,
        header_len: (HEADER_LEN + CONFIG_LEN) as u8,
        flow,
        header: bytes,
        payload: Payload::None,
        again: false,
        ticket: None,
    }
}
