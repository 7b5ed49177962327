// SPDX-License-Identifier: BSD-2-Clause
//! The hand that moves engine, wire and target, and shows the model what happens.

use std::collections::{BTreeMap, BTreeSet};

use aoe_core::{
    Completion, Event, Frame, Handled, Info, Instant, InterfaceChange, Io, IoError, IoStorage,
    Link, Links, NetifId, Op, Path, PathState, Payload, Received, Request, Rings, State, Target,
    Transmit, Tunables,
};
use aoe_wire::{ATA_HEADER_LEN, Command, FrameText, Header, MIN_FRAME_LEN, MacAddr, TargetAddr};

use crate::judge::{Judge, Piece, piece};
use crate::model::{Asked, Model};
use crate::plain::PlainTarget;
use crate::{DISK_SECTORS, Setup, Step, stamp};

mod calm;
mod happen;

const US: u64 = 1_000;
const MS: u64 = 1_000_000;
const SEC: u64 = 1_000_000_000;
/// No frame is on its way for longer: the assumption on which the engine's guard against late copies rests.
const LIFETIME: u64 = 10 * SEC;
const BEACON_TAG: u32 = 0x0BEA_C000;

/// A mistake made on purpose between engine and model, to see that it is found.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Mistake {
    /// A completion is lost.
    LoseCompletion,
    /// A completion is reported twice.
    DoubleCompletion,
    /// A completion is kept back until the next one was reported.
    ReorderCompletions,
    /// A write is reported as complete when it is accepted.
    CompleteEarly,
    /// A request that worked is reported as failed.
    FalseError,
    /// An error is reported as success.
    FalseSuccess,
    /// A read gets what the sectors held some time ago.
    StaleRead,
    /// A read gets the data of the sector beside it.
    SwapData,
    /// The network delivers every write once more, a while later.
    LateCopies,
    /// Barriers are not passed on to the engine.
    IgnoreOrdered,
    /// A FLUSH is reported as done and not passed on.
    SkipFlush,
    /// A request is refused as full at the engine's first free slot.
    FalseFull,
    /// The engine is not told that a link is down.
    IgnoreLinkDown,
    /// The engine is shown a larger buffer count than the target has.
    WideWindow,
    /// The engine is shown a larger MTU than the interface has.
    WideMtu,
    /// The engine's timer never runs.
    NoTimer,
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was wrong; nothing, when empty.
    pub wrong: Vec<String>,
    /// Requests that were accepted.
    pub accepted: u64,
    /// Requests that ended without error.
    pub worked: u64,
    /// Frames that were sent again.
    pub retransmits: u64,
    /// Requests that waited for late copies of earlier ones.
    pub quarantine_waits: u64,
    /// Requests that the engine had no room for.
    pub refused: u64,
}

#[derive(Copy, Clone, Debug)]
struct Net {
    listed: bool,
    up: bool,
    mtu: u16,
}

/// The interfaces as the engine may ask for them.
#[derive(Copy, Clone)]
struct Nets {
    nets: [Net; 2],
    mistake: Option<Mistake>,
}

impl Nets {
    fn truth(&self, id: NetifId) -> Option<Link> {
        let net = self
            .nets
            .get(usize::from(id.0))
            .filter(|net| net.listed && net.up)?;
        Some(Link {
            mtu: u32::from(net.mtu),
            mac: host_mac(id.0),
            in_order: true,
        })
    }
}

impl Links for Nets {
    fn link(&self, id: NetifId) -> Option<Link> {
        let mut link = self.truth(id);
        match self.mistake {
            Some(Mistake::IgnoreLinkDown) => {
                link = link.or(Some(Link {
                    mtu: 1500,
                    mac: host_mac(id.0),
                    in_order: true,
                }));
            }
            Some(Mistake::WideMtu) => {
                link = link.map(|link| Link {
                    mtu: link.mtu + 4096,
                    ..link
                });
            }
            _ => {}
        }
        link
    }
}

fn host_mac(netif: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, netif])
}

/// A frame on its way.
#[derive(Clone, Debug)]
struct Flying {
    to_target: bool,
    netif: u8,
    sent: u64,
    serial: u64,
    /// A copy that the network made by mistake.
    copy: bool,
    bytes: Vec<u8>,
}

/// Everything.
#[derive(Debug)]
pub struct World<'s> {
    setup: Setup,
    mistake: Option<Mistake>,
    now: u64,
    target: Target<'s>,
    /// Memory that the target has not asked for yet.
    paths: Option<&'s mut [Path]>,
    io: Option<IoStorage<'s>>,
    nets: [Net; 2],
    wire: Vec<Flying>,
    serial: u64,
    plain: PlainTarget,
    judge: Judge,
    model: Model,
    /// Data of open requests.
    buffers: BTreeMap<u64, Vec<u8>>,
    next_token: u64,
    kept_back: Option<Completion>,
    kept_copies: Vec<Flying>,
    /// What the disk held before its last change.
    before: Vec<[u8; 512]>,
    tunables: Tunables,
    open: bool,
    state: State,
    /// Sizes that the disk had.
    sizes: BTreeSet<u64>,
    identified: bool,
    aborted: bool,
    failed_held: bool,
    /// A request has waited for as long as it may: it may fail, and the target is dead then.
    overdue: bool,
    /// When requests were accepted.
    accepted_at: BTreeMap<u64, u64>,
    /// When a path was last seen in use.
    reachable_at: u64,
    /// How much had happened when the disk was looked at last.
    looked_at: u64,
    report: Report,
    /// Everything is told on the standard error output.
    tell: bool,
}

/// Runs the steps, then a calm time.
#[must_use]
pub fn run(setup: Setup, steps: &[Step]) -> Report {
    run_with(setup, steps, None)
}

/// The same with a mistake.
#[must_use]
pub fn run_with(setup: Setup, steps: &[Step], mistake: Option<Mistake>) -> Report {
    let mut paths = [Path::EMPTY; aoe_core::limits::MAX_PATHS - 1];
    let mut info = Info::EMPTY;
    let mut frames = vec![Frame::EMPTY; usize::from(setup.frames)];
    let mut ios = vec![Io::EMPTY; usize::from(setup.requests)];
    let io = IoStorage {
        frames: &mut frames,
        ios: &mut ios,
    };
    let mut world = World::new(setup, mistake, &mut info, &mut paths, io);
    for (number, step) in steps.iter().enumerate() {
        world.step(*step);
        if !world.model.wrong.is_empty() {
            world.say_where(&format!("step {number}, {step:?}"));
            return world.finish();
        }
    }
    world.calm();
    world.say_where("the calm time");
    world.finish()
}

impl<'s> World<'s> {
    /// A target that was identified just now.
    fn new(
        setup: Setup,
        mistake: Option<Mistake>,
        info: &'s mut Info,
        paths: &'s mut [Path],
        io: IoStorage<'s>,
    ) -> Self {
        let addr = TargetAddr::new(7, 3).unwrap_or_else(|| unreachable!("7.3 is an address"));
        let tunables = Tunables::default();
        let net = |listed| Net {
            listed,
            up: listed,
            mtu: 1500,
        };
        let mut world = Self {
            setup,
            mistake,
            now: SEC,
            target: Target::new(addr, 0x5eed_0000_1234_5678, tunables, info),
            paths: Some(paths),
            io: Some(io),
            nets: [net(true), net(setup.two_links)],
            wire: Vec::new(),
            serial: 0,
            plain: PlainTarget::new(addr, setup),
            judge: Judge::default(),
            model: Model::new(DISK_SECTORS, usize::from(setup.requests)),
            buffers: BTreeMap::new(),
            next_token: 1,
            kept_back: None,
            kept_copies: Vec::new(),
            before: vec![[0; 512]; DISK_SECTORS as usize],
            tunables,
            open: false,
            state: State::Probing,
            sizes: BTreeSet::from([DISK_SECTORS]),
            identified: false,
            aborted: false,
            failed_held: false,
            overdue: false,
            accepted_at: BTreeMap::new(),
            reachable_at: SEC,
            looked_at: 0,
            report: Report::default(),
            tell: std::env::var_os("AOE_MODEL_TELL").is_some(),
        };
        for netif in 0..world.links() {
            world.beacon(netif);
        }
        world.deliver_all();
        if !world.identified {
            world
                .model
                .fault("the target was not identified at the start");
        }
        world
    }

    fn links(&self) -> u8 {
        if self.setup.two_links { 2 } else { 1 }
    }

    fn instant(&self) -> Instant {
        Instant::from_nanos(self.now)
    }

    fn say_where(&mut self, place: &str) {
        for wrong in &mut self.model.wrong {
            *wrong = format!("{place}: {wrong}");
        }
    }

    fn finish(self) -> Report {
        Report {
            wrong: self.model.wrong,
            retransmits: self.target.counters().retransmits,
            quarantine_waits: self.target.counters().quarantine_waits,
            ..self.report
        }
    }

    fn nets(&self) -> Nets {
        Nets {
            nets: self.nets,
            mistake: self.mistake,
        }
    }

    fn planted(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// The address of the target's port that an interface reaches.
    fn port(&self, netif: u8) -> MacAddr {
        let port = if self.setup.two_ports { netif } else { 0 };
        MacAddr([2, 0, 0, 0, 0, port])
    }

    fn put(&mut self, to_target: bool, netif: u8, bytes: Vec<u8>) {
        self.serial += 1;
        let (sent, serial) = (self.now, self.serial);
        self.tell(if to_target { "sent" } else { "answered" }, netif, &bytes);
        self.wire.push(Flying {
            to_target,
            netif,
            sent,
            serial,
            copy: false,
            bytes,
        });
    }

    fn tell(&self, what: &str, netif: u8, frame: &[u8]) {
        if self.tell {
            eprintln!(
                "{:>14} us {what} {netif}: {}",
                self.now / US,
                FrameText(frame)
            );
        }
    }

    /// The target answers the beacon on an interface.
    fn beacon(&mut self, netif: u8) {
        if self.plain.running {
            let frame = self.plain.config(self.port(netif), BEACON_TAG);
            self.put(false, netif, frame);
        }
    }

    /// Does all that the engine asks for.
    fn settle(&mut self) {
        for _ in 0..1000 {
            let transmits = self.collect();
            let completions: Vec<Completion> =
                std::iter::from_fn(|| self.target.poll_completion()).collect();
            let events: Vec<Event> = std::iter::from_fn(|| self.target.poll_event()).collect();
            if transmits.is_empty() && completions.is_empty() && events.is_empty() {
                self.look();
                return;
            }
            // A frame that was made after a completion, in one drain, may depend on it.
            for done in completions {
                self.completed(done);
            }
            for transmit in transmits {
                self.send(&transmit);
            }
            for event in events {
                self.event(event);
            }
        }
        self.model.fault("the engine does not come to rest");
    }

    fn collect(&mut self) -> Vec<Transmit> {
        let nets = self.nets();
        let now = self.instant();
        let mut transmits = Vec::new();
        while let Some(transmit) = self.target.poll_transmit(now, &nets) {
            if self.state == State::Removed {
                self.model
                    .fault("something is sent for a disk that was removed");
            }
            let target = &self.target;
            self.judge.sent(
                &mut self.model,
                &transmit,
                nets.truth(transmit.netif),
                |mac| {
                    let paths = target.paths().filter(|path| path.mac() == mac);
                    paths.map(|path| u32::from(path.outstanding())).sum()
                },
            );
            transmits.push(transmit);
            if transmits.len() > 2000 {
                self.model.fault("the engine sends without end");
                break;
            }
        }
        transmits
    }

    /// A target is asked for a sector, to see whether it carries out requests again.
    fn is_trial(&self, piece: &Piece) -> bool {
        self.target.is_tried() && piece.op == Op::Read && piece.sectors == 1
    }

    /// Builds a frame and puts it on the wire.
    fn send(&mut self, transmit: &Transmit) {
        if let Some(piece) = piece(transmit)
            && !self.is_trial(&piece)
        {
            self.model
                .started(piece.token, piece.op, piece.lba, piece.sectors);
        }
        let header = transmit
            .header
            .get(..usize::from(transmit.header_len))
            .unwrap_or_default();
        let mut bytes = header.to_vec();
        match transmit.payload {
            Payload::None => {}
            Payload::Io { token, offset, len } => {
                let (offset, len) = (offset as usize, len as usize);
                let data = self
                    .buffers
                    .get(&token)
                    .and_then(|data| data.get(offset..offset + len));
                match data {
                    Some(data) => bytes.extend_from_slice(data),
                    None => self
                        .model
                        .fault(format!("a frame of data {token}+{offset} that is not lent")),
                }
            }
            Payload::Trim { lba, sectors } => {
                let mut block = [0; 512];
                if aoe_wire::emit_trim_range(&mut block, lba, sectors) != sectors {
                    self.model.fault(format!(
                        "a TRIM of {sectors} sectors does not fit its frame"
                    ));
                }
                bytes.extend_from_slice(&block);
            }
        }
        bytes.resize(bytes.len().max(MIN_FRAME_LEN), 0);
        self.put(true, transmit.netif.0, bytes);
        if let Some(ticket) = transmit.ticket {
            self.target.transmitted(self.instant(), ticket);
        }
    }

    fn completed(&mut self, done: Completion) {
        match self.mistake {
            Some(Mistake::LoseCompletion) if done.token % 4 == 3 => return,
            Some(Mistake::DoubleCompletion) if done.token % 4 == 3 => self.complete(done),
            Some(Mistake::CompleteEarly) if !self.model.open.contains_key(&done.token) => return,
            Some(Mistake::ReorderCompletions) => {
                let earlier = self.kept_back.replace(done);
                if let Some(earlier) = earlier {
                    self.complete(earlier);
                }
                return;
            }
            _ => {}
        }
        self.complete(done);
    }

    fn complete(&mut self, done: Completion) {
        let result = match (self.mistake, done.result) {
            (Some(Mistake::FalseError), Ok(())) if done.token % 4 == 3 => Err(IoError::Failed),
            (Some(Mistake::FalseSuccess), Err(_)) => Ok(()),
            (_, result) => result,
        };
        let data = self.buffers.remove(&done.token).unwrap_or_default();
        self.model
            .complete(done.token, result, &data, &self.plain.durable);
        self.report.worked += u64::from(result.is_ok());
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Identified if self.identified => {
                self.model.fault("identified for the first time twice")
            }
            Event::Identified => {
                self.identified = true;
                self.use_disk(true);
            }
            Event::Unused => self.take_back(),
            Event::Forget => {
                if self.identified && (self.open || !self.model.open.is_empty()) {
                    self.model.fault("a disk in use is to be forgotten");
                }
                self.abort();
            }
            Event::Conflict if self.sizes.len() == 1 => {
                self.model.fault("the disk conflicts with itself")
            }
            _ => {}
        }
    }

    /// Opens or closes the disk. An open one has the memory for I/O.
    fn use_disk(&mut self, open: bool) {
        if open {
            self.lend();
        }
        self.open = open;
        self.target.set_in_use(self.instant(), open);
    }

    /// Lends the memory for I/O, if it is not lent.
    fn lend(&mut self) {
        if let Some(io) = self.io.take()
            && self.target.lend(io).is_some()
        {
            self.model.fault("memory that was given back is there");
        }
    }

    /// Hands a frame in, with the memory that it takes.
    fn hand_in(&mut self, received: &Received<'_>) -> Handled {
        let now = self.instant();
        let handled = self.target.handle_frame(now, received);
        let Handled::Widen(slots) = handled else {
            return handled;
        };
        match self.paths.take() {
            Some(table) if table.len() >= slots => {
                if !self.target.widen(table).is_empty() {
                    self.model.fault("a table that is asked for is not taken");
                }
            }
            _ => self
                .model
                .fault("more paths are asked for than there may be"),
        }
        self.target.handle_frame(now, received)
    }

    fn take_back(&mut self) {
        let at_rest = !self.open && self.model.open.is_empty();
        match self.target.take_back() {
            Some(io) if at_rest => self.io = Some(io),
            Some(_) => self.model.fault("memory in use is given back"),
            None if at_rest => self.model.fault("memory that is offered is kept"),
            None => {}
        }
    }

    /// There is room for one more request.
    fn has_room(&self) -> bool {
        self.io.is_none() && self.model.open.len() < usize::from(self.setup.requests)
    }

    fn abort(&mut self) {
        self.aborted = true;
        self.model.excuse(IoError::Gone, |_| true);
        self.target.abort(self.instant());
    }

    /// Compares what the engine shows with what the book says.
    fn look(&mut self) {
        let open = self.model.open.len();
        let target = &self.target;
        let shown = [
            (target.is_broken(), "the engine's books are broken"),
            (
                target.outstanding() as usize != open,
                "the number of open requests is another",
            ),
            (target.is_idle() != (open == 0), "idle or not is wrong"),
            (
                self.identified && target.has_room() != self.has_room(),
                "room or not is wrong",
            ),
            (
                self.identified && !self.sizes.contains(&target.sectors()),
                "the disk is shown in a size that it never had",
            ),
            (
                self.identified && !target.can_flush() && !self.judge.flush_aborted,
                "flush was given up without a reason",
            ),
            (
                self.identified
                    && self.setup.lba48 != target.can_trim()
                    && !self.judge.trim_aborted,
                "trim is there or not, wrongly",
            ),
        ];
        let books = self.mistake.is_some_and(|mistake| {
            use Mistake::{CompleteEarly, LoseCompletion, ReorderCompletions, SkipFlush};
            matches!(
                mistake,
                LoseCompletion | CompleteEarly | ReorderCompletions | SkipFlush
            )
        });
        // Where completions are tampered with, the numbers differ at once; more is to be found.
        for (_, what) in shown.iter().filter(|(wrong, _)| *wrong && !books) {
            self.model.fault(*what);
        }
        self.look_at_state();
        if self.looked_at != self.model.happened() {
            self.looked_at = self.model.happened();
            self.model.look(&self.plain.disk);
        }
    }

    fn reachable(&self) -> bool {
        self.target
            .paths()
            .any(|path| matches!(path.state(), PathState::Up | PathState::Checking))
    }

    /// How long the oldest of the open requests has waited.
    fn longest_wait(&self) -> u64 {
        let open = self.model.open.keys();
        let since = open.filter_map(|token| self.accepted_at.get(token)).min();
        since.map_or(0, |since| self.now - since)
    }

    fn note_reachable(&mut self) {
        if self.reachable() {
            self.reachable_at = self.now;
            self.failed_held = false;
        }
    }

    fn look_at_state(&mut self) {
        self.note_reachable();
        let (before, after) = (self.state, self.target.state());
        self.state = after;
        if before == after {
            return;
        }
        let allowed = match after {
            State::Probing => false,
            State::Up => before != State::Removed,
            State::Down => before == State::Up,
            State::Dead => matches!(before, State::Up | State::Down),
            State::Removed => self.aborted,
        };
        if !allowed {
            self.model
                .fault(format!("the state went from {before} to {after}"));
        }
        if after == State::Dead {
            let silent = self.now - self.reachable_at;
            let patience = u64::from(self.tunables.dead_secs) * SEC;
            if !self.failed_held && !self.overdue && (patience == 0 || silent < patience) {
                self.model
                    .fault(format!("dead after {} ms of silence", silent / MS));
            }
        }
    }
}
