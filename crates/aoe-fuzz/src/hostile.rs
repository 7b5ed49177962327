// SPDX-License-Identifier: BSD-2-Clause
//! The engine in the hands of somebody who keeps its contract and nothing else: frames of any kind come in, data
//! are copied late, timers run late, interfaces come and go. What must hold even then is checked at every call.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::disk::{Loan, Rest};
use aoe_core::eventlog::{EventLog, EventSet};
use aoe_core::limits::{EVENT_LOG_ROOM, MAX_PATHS};
use aoe_core::{
    Claim, DropReason, Event, Handled, Instant, InterfaceChange, Link, Links, NetifId, Op, Payload,
    Received, Request, State, Target, Ticket, Transmit, Tunables,
};
use aoe_wire::{
    ATA_HEADER_LEN, AtaRequest, Command, ConfigReply, Header, MIN_FRAME_LEN, MacAddr, Message,
    TargetAddr, opcode,
};

const MS: u64 = 1_000_000;
/// Calls of the engine after which the log of its events is read.
const CALLS_UNREAD: u32 = 64;

/// A frame that was sent, as far as an answer needs it.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) netif: u8,
    pub(crate) header: Header,
    /// Its ATA command, if it has one.
    pub(crate) request: Option<AtaRequest>,
}

/// The interfaces, as somebody sets them.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Net {
    pub(crate) up: bool,
    pub(crate) mtu: u16,
}

/// What a target says of itself.
pub(crate) fn reply(buffer_count: u16, firmware: u16, sector_count: u8) -> ConfigReply<'static> {
    ConfigReply {
        buffer_count,
        firmware,
        sector_count,
        version: 1,
        command: 0,
        string: &[],
    }
}

pub(crate) const NETIFS: usize = 3;

struct Nets([Net; NETIFS]);

impl Links for Nets {
    fn link(&self, id: NetifId) -> Option<Link> {
        let net = self.0.get(usize::from(id.0)).filter(|net| net.up)?;
        Some(Link {
            mtu: u32::from(net.mtu),
            mac: host(id.0),
            in_order: true,
        })
    }
}

fn host(netif: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, netif])
}

pub(crate) fn server(number: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, number])
}

/// Everything that is between engine and world.
pub(crate) struct Hostile<'s> {
    target: Target<'s>,
    memory: Rest<'s>,
    ios: usize,
    /// The disk is open.
    in_use: bool,
    pub(crate) now: u64,
    pub(crate) nets: [Net; NETIFS],
    /// Lengths of open requests in bytes, by token.
    open: BTreeMap<u64, u64>,
    next_token: u64,
    /// Where the last request ends.
    end: u64,
    /// The last frames that were sent, the newest last.
    pub(crate) sent: VecDeque<Sent>,
    claims: VecDeque<Claim>,
    identifies: VecDeque<Claim>,
    tickets: VecDeque<Ticket>,
    /// Buffer counts that the engine was told.
    told: BTreeMap<MacAddr, u16>,
    state: State,
    log: EventLog,
    /// Calls since the log was read.
    unread: u32,
    identified: bool,
    gone: bool,
    /// Frames that one drain may send; the rest goes with the next one.
    pub(crate) batch: usize,
    /// Data are copied and tickets given back at once.
    pub(crate) prompt: bool,
}

impl<'s> Hostile<'s> {
    pub(crate) fn new(loan: Loan<'s>, seed: u64) -> Self {
        let addr = TargetAddr::new(7, 3).unwrap_or_else(|| unreachable!("7.3 is an address"));
        Self {
            target: Target::new(addr, seed.into(), Tunables::default(), loan.info),
            ios: loan.rest.io.as_ref().map_or(0, |io| io.ios.len()),
            memory: loan.rest,
            in_use: false,
            now: 1,
            nets: [Net {
                up: true,
                mtu: 1500,
            }; NETIFS],
            open: BTreeMap::new(),
            next_token: 1,
            end: 0,
            sent: VecDeque::new(),
            claims: VecDeque::new(),
            identifies: VecDeque::new(),
            tickets: VecDeque::new(),
            told: BTreeMap::new(),
            state: State::Probing,
            log: EventLog::EMPTY,
            unread: 0,
            identified: false,
            gone: false,
            batch: 1000,
            prompt: true,
        }
    }

    pub(crate) fn target(&self) -> &Target<'s> {
        &self.target
    }

    fn instant(&self) -> Instant {
        Instant::from_nanos(self.now)
    }

    /// Calls the engine, then does what it asks for.
    pub(crate) fn call(&mut self, call: impl FnOnce(&mut Target<'s>, Instant)) {
        let now = self.instant();
        call(&mut self.target, now);
        self.drain();
    }

    pub(crate) fn submit(&mut self, op: Op, lba: u64, sectors: u64, ordered: bool) {
        let request = self.request(op, lba, sectors, ordered);
        self.hand_over(request);
    }

    /// A request that goes on where the last one ends, joined to it if that can be.
    pub(crate) fn follow(&mut self, op: Op, sectors: u64) {
        let request = self.request(op, self.end, sectors, false);
        let now = self.instant();
        match self.target.join(now, &request) {
            Some(first) => {
                let length = self.open.get_mut(&first);
                *length.expect("joined to a request that is not open") += sectors * 512;
                self.drain();
            }
            None => self.hand_over(request),
        }
    }

    fn request(&mut self, op: Op, lba: u64, sectors: u64, ordered: bool) -> Request {
        let token = self.next_token;
        self.next_token += 1;
        self.end = lba.saturating_add(sectors);
        Request {
            token,
            op,
            lba,
            sectors,
            ordered,
            wait_secs: 0,
        }
    }

    fn hand_over(&mut self, request: Request) {
        let Request { token, sectors, .. } = request;
        if self.identified {
            self.lend();
        }
        let room = self.memory.io.is_none() && self.open.len() < self.ios;
        assert_eq!(self.target.has_room(), room);
        let now = self.instant();
        let accepted = self.target.submit(now, request).is_ok();
        assert_eq!(
            accepted,
            room,
            "full or not with {} of {} requests open",
            self.open.len(),
            self.ios
        );
        if accepted {
            self.open.insert(token, sectors.saturating_mul(512));
        }
        self.drain();
    }

    /// A frame comes in. Of an ATA answer `contiguous` bytes of the argument are shown at once.
    pub(crate) fn receive(&mut self, netif: u8, frame: &[u8]) {
        let Ok((header, argument)) = Header::split(frame) else {
            return;
        };
        let arg = match header.command {
            Command::ATA => argument.get(..12).unwrap_or(argument),
            _ => argument,
        };
        let received = Received {
            netif: NetifId(netif),
            header: &header,
            arg,
            len: frame.len(),
        };
        let now = self.instant();
        let handled = self.hand_in(now, &received);
        if header.command == Command::CONFIG
            && matches!(handled, Handled::Done | Handled::Dropped(DropReason::Full))
            && let Ok(reply) = ConfigReply::parse(arg)
        {
            self.told.insert(header.src, reply.buffer_count);
        }
        match handled {
            Handled::Done | Handled::Dropped(_) | Handled::Widen(_) | Handled::KeepConfig(_) => {}
            Handled::CopyData(claim) => {
                assert!(
                    frame.len() >= ATA_HEADER_LEN + claim.len as usize,
                    "a claim beyond the frame"
                );
                let length = self
                    .open
                    .get(&claim.token)
                    .expect("data for a request that is not open");
                assert!(
                    u64::from(claim.offset) + u64::from(claim.len) <= *length,
                    "data beyond the request"
                );
                self.claims.push_back(claim);
            }
            Handled::CopyIdentify(claim) => {
                let data = frame
                    .get(ATA_HEADER_LEN..)
                    .and_then(|data| data.first_chunk::<512>());
                let data = data.expect("IDENTIFY data beyond the frame");
                if self.prompt {
                    self.target.commit_identify(now, claim, data);
                } else {
                    self.identifies.push_back(claim);
                }
            }
        }
        if self.prompt {
            self.give_back(usize::MAX);
        }
        self.drain();
    }

    /// Hands a frame in, with the memory that it takes as long as there is some.
    fn hand_in(&mut self, now: Instant, received: &Received<'_>) -> Handled {
        loop {
            match self.target.handle_frame(now, received) {
                Handled::Widen(slots) => {
                    let Some(table) = self.memory.table(slots) else {
                        return Handled::Dropped(DropReason::Full);
                    };
                    let old = self.target.widen(table);
                    assert!(old.len() < slots, "a table that is asked for is taken");
                    self.memory.put_table(old);
                }
                Handled::KeepConfig(bytes) => {
                    if let Some(room) = self.memory.room(bytes) {
                        let old = self.target.keep_config(room, received.arg);
                        assert!(old.len() < bytes, "room that is asked for is taken");
                        let string = ConfigReply::parse(received.arg).map(|config| config.string);
                        assert_eq!(Ok(self.target.config_string()), string);
                        self.memory.put_room(old);
                    }
                    return Handled::Done;
                }
                handled => return handled,
            }
        }
    }

    /// Lends the memory for I/O, if it is not lent.
    fn lend(&mut self) {
        if let Some(io) = self.memory.io.take() {
            assert!(self.target.lend(io).is_none(), "it was given back");
        }
    }

    /// The disk is opened or closed.
    pub(crate) fn use_disk(&mut self, open: bool) {
        if open && self.identified {
            self.lend();
        }
        self.in_use = open;
        self.call(|target, now| target.set_in_use(now, open));
    }

    /// Copies data and gives tickets back, so many of each, the oldest first.
    pub(crate) fn give_back(&mut self, count: usize) {
        let now = self.instant();
        for _ in 0..count.min(self.claims.len()) {
            if let Some(claim) = self.claims.pop_front() {
                self.target.commit(now, claim);
            }
        }
        for _ in 0..count.min(self.tickets.len()) {
            if let Some(ticket) = self.tickets.pop_front() {
                self.target.transmitted(now, ticket);
            }
        }
    }

    /// The newest claims and tickets go first, for once.
    pub(crate) fn turn_around(&mut self) {
        self.claims.make_contiguous().reverse();
        self.tickets.make_contiguous().reverse();
    }

    /// IDENTIFY data that were claimed some time ago are there now.
    pub(crate) fn commit_identify(&mut self, data: &[u8; 512]) {
        if let Some(claim) = self.identifies.pop_front() {
            self.call(|target, now| target.commit_identify(now, claim, data));
        }
    }

    pub(crate) fn drain(&mut self) {
        let nets = Nets(self.nets);
        let now = self.instant();
        for _ in 0..self.batch {
            let Some(transmit) = self.target.poll_transmit(now, &nets) else {
                break;
            };
            self.check(&transmit);
        }
        if self.prompt {
            self.give_back(usize::MAX);
        }
        let mut ended = BTreeSet::new();
        while let Some(done) = self.target.poll_completion() {
            assert!(
                self.open.remove(&done.token).is_some(),
                "request {} ended twice",
                done.token
            );
            assert!(ended.insert(done.token));
            assert!(
                self.claims.iter().all(|claim| claim.token != done.token),
                "its data are being copied"
            );
        }
        let mut events = Vec::new();
        while let Some(event) = self.target.poll_event() {
            events.push(event);
        }
        self.report(&events);
        for event in events {
            self.event(event);
        }
        self.look();
    }

    /// Events are taken down at once, and read after some more calls; reading comes to an end.
    fn report(&mut self, events: &[Event]) {
        let mut set = EventSet::NONE;
        for event in events {
            set.add(*event);
        }
        self.log
            .note(Instant::from_nanos(self.now), &self.target, set);
        self.unread += 1;
        if self.unread == CALLS_UNREAD {
            self.unread = 0;
            let most = 2 * EVENT_LOG_ROOM + 2 * MAX_PATHS;
            let read = std::iter::from_fn(|| self.log.pop(&self.target)).take(most + 1);
            assert!(read.count() <= most, "the log has no end");
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Identified => {
                assert!(!self.identified, "identified for the first time twice");
                self.identified = true;
                self.lend();
            }
            Event::Unused => {
                let at_rest = !self.in_use && self.open.is_empty();
                let io = self.target.take_back();
                assert_eq!(
                    io.is_some(),
                    at_rest,
                    "memory is given back at rest, and only then"
                );
                self.memory.io = io.or(self.memory.io.take());
            }
            Event::Forget => {
                assert!(
                    self.open.is_empty(),
                    "a disk with open requests is to be forgotten"
                );
                self.abort();
            }
            _ => {}
        }
    }

    pub(crate) fn abort(&mut self) {
        self.gone = true;
        self.call(Target::abort);
    }

    /// What the engine shows of itself.
    fn look(&mut self) {
        let target = &self.target;
        assert!(!target.is_broken(), "the engine's books are broken");
        assert_eq!(target.outstanding() as usize, self.open.len());
        assert_eq!(target.is_idle(), self.open.is_empty());
        assert_eq!(target.identity().is_some(), self.identified);
        assert!(target.config_string().len() <= 1024);
        assert!(target.paths().count() <= 8);
        for path in target.paths() {
            assert!(path.window() >= 1 && path.window() <= 128 && path.outstanding() <= 128);
            assert!(
                path.rto_ns() >= MS && path.rto_ns() <= 60_000 * MS,
                "{}",
                path.rto_ns()
            );
        }
        let (before, after) = (self.state, target.state());
        self.state = after;
        let allowed = match (before, after) {
            (before, after) if before == after => true,
            // Two moves of the table in one call.
            (State::Up, State::Dead) | (State::Dead, State::Down) => true,
            (_, State::Removed) => self.gone,
            (before, after) => before.may_become(after),
        };
        assert!(allowed, "{before} became {after}");
    }

    /// A frame is to be sent.
    fn check(&mut self, transmit: &Transmit) {
        assert!(
            self.state != State::Removed,
            "sent for a disk that was removed"
        );
        let net = self.nets[usize::from(transmit.netif.0)];
        assert!(net.up, "sent on an interface that is not to be used");
        let mut bytes = transmit.header[..usize::from(transmit.header_len)].to_vec();
        match transmit.payload {
            Payload::None => {}
            Payload::Io { token, offset, len } => {
                let length = self
                    .open
                    .get(&token)
                    .expect("a frame of a request that is not open");
                assert!(
                    u64::from(offset) + u64::from(len) <= *length,
                    "a frame of more than the request"
                );
                assert!(len > 0 && transmit.ticket.is_some(), "{transmit:?}");
                bytes.resize(bytes.len() + len as usize, 0);
            }
            Payload::Trim { lba, sectors } => {
                let mut block = [0; 512];
                assert_eq!(aoe_wire::emit_trim_range(&mut block, lba, sectors), sectors);
                bytes.extend(block);
            }
        }
        bytes.resize(bytes.len().max(MIN_FRAME_LEN), 0);
        assert!(
            bytes.len() <= usize::from(net.mtu) + 14 || bytes.len() <= ATA_HEADER_LEN + 512,
            "too large"
        );
        let message = Message::parse(&bytes).expect("what is sent can be read");
        let header = *message.header();
        assert!(
            !header.is_response() && header.src == host(transmit.netif.0) && header.tag >> 31 == 0
        );
        assert_eq!(header.addr(), Some(self.target.addr()));
        let request = match message {
            Message::AtaRequest { request, .. } => Some(request),
            _ => None,
        };
        let own = [opcode::IDENTIFY, opcode::SET_FEATURES];
        if request.is_some_and(|request| !own.contains(&request.command)) {
            self.check_window(header.dst);
        }
        self.sent.push_back(Sent {
            netif: transmit.netif.0,
            header,
            request,
        });
        if self.sent.len() > 64 {
            self.sent.pop_front();
        }
        self.tickets.extend(transmit.ticket);
    }

    fn check_window(&self, mac: MacAddr) {
        let told = self
            .told
            .get(&mac)
            .expect("I/O to an address that was never heard of");
        let paths = self.target.paths().filter(|path| path.mac() == mac);
        let outstanding: u32 = paths.map(|path| u32::from(path.outstanding())).sum();
        assert!(
            outstanding <= u32::from(*told).clamp(1, 128),
            "{outstanding} frames for {told} buffers"
        );
    }

    /// Time passes, and timers run `late` or not.
    pub(crate) fn pass(&mut self, nanos: u64, late: bool) {
        let until = self.now.saturating_add(nanos);
        let mut runs = 0;
        while !late && let Some(at) = self.target.poll_timeout() {
            if at.as_nanos() > until || runs == 200 {
                break;
            }
            runs += 1;
            self.now = self.now.max(at.as_nanos());
            self.call(Target::handle_timeout);
        }
        self.now = until;
        self.call(Target::handle_timeout);
        self.comes_to_rest();
    }

    /// At one moment a timer runs a few times, not for ever.
    fn comes_to_rest(&mut self) {
        if self.batch < 1000 {
            return;
        }
        for _ in 0..100 {
            if self
                .target
                .poll_timeout()
                .is_none_or(|at| at.as_nanos() > self.now)
            {
                return;
            }
            self.call(Target::handle_timeout);
        }
        panic!("the timer wants to run again and again");
    }

    /// The address `mac` says how it is.
    pub(crate) fn config(&mut self, netif: u8, mac: u8, tag: u32, reply: ConfigReply<'_>) {
        let header = Header {
            tag,
            ..Header::announcement(host(netif), server(mac), self.target.addr())
        };
        let mut frame = vec![0; MIN_FRAME_LEN + reply.string.len()];
        let message = Message::ConfigReply { header, reply };
        let len = message.emit(&mut frame).unwrap_or(0);
        self.receive(netif, &frame[..len]);
    }

    /// The answer to a frame that was sent, with this status and so much data.
    pub(crate) fn answer(&mut self, sent: &Sent, status: u8, error: u8, data: &[u8]) {
        let header = sent.header.reply(sent.header.dst, self.target.addr());
        let Some(request) = sent.request else {
            return;
        };
        let message = Message::AtaReply {
            header,
            reply: request.reply(status, error, 0),
            data,
        };
        let mut frame = vec![0; MIN_FRAME_LEN + data.len()];
        let len = message.emit(&mut frame).unwrap_or(0);
        self.receive(sent.netif, &frame[..len]);
    }

    pub(crate) fn answer_last_identify(&mut self, table: &[u8; 512]) {
        let is_identify = |sent: &&Sent| {
            sent.request
                .is_some_and(|request| request.command == opcode::IDENTIFY)
        };
        if let Some(sent) = self.sent.iter().rev().find(is_identify).copied() {
            self.answer(&sent, 0x40, 0, table);
        }
    }

    pub(crate) fn interface(&mut self, id: u8, change: InterfaceChange) {
        self.call(|target, now| target.handle_interface(now, NetifId(id), change));
    }

    /// Everything that is out comes back, and the disk is removed: then nothing is open, and the memory is whole.
    pub(crate) fn end(mut self) {
        self.batch = 1000;
        self.prompt = true;
        self.abort();
        self.give_back(usize::MAX);
        self.drain();
        assert!(
            self.open.is_empty(),
            "requests outlive their disk: {:?}",
            self.open
        );
        assert_eq!(self.target.poll_timeout(), None);
        self.memory.put_all(self.target.reclaim());
    }
}
