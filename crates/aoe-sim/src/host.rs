// SPDX-License-Identifier: BSD-2-Clause
//! The caller of the engine: does what the contract of `aoe-core` allows, in every order that it allows.

use std::collections::VecDeque;
use std::rc::Rc;

use aoe_core::{
    Admission, Claim, Event, Handled, Instant, IoError, Link, Links, NetifId, Op, Payload,
    Quarantine, Received, Target, Transmit,
};
use aoe_target::rng::Rng;
use aoe_wire::{ATA_HEADER_LEN, HEADER_LEN, Header, MIN_FRAME_LEN, MacAddr, TargetAddr};

use crate::ledger::Open;
use crate::memory::Loan;
use crate::options::{MS, Plant, US};
use crate::reports::Reports;
use crate::world::{Addr, Netif, What, World};

/// How a request ended.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// With which result.
    pub result: Result<(), IoError>,
    /// When it was accepted.
    pub accepted: u64,
    /// When it ended.
    pub at: u64,
}

/// A target as its owner sees it.
#[derive(Debug)]
pub struct Slot<'p> {
    pub(crate) target: Target<'p>,
    pub(crate) memory: Loan<'p>,
    /// The disk is open.
    pub(crate) open: bool,
    /// It was identified.
    pub identified: bool,
    pub(crate) closing: bool,
    /// Frames being built and answers being copied.
    pub(crate) borrowed: u32,
    /// Requests that found the engine full.
    pub(crate) waiting: VecDeque<(u64, Open)>,
    timer: (u64, Option<u64>),
    drain_pending: bool,
    last_send: u64,
    /// Requests made by the load.
    pub(crate) made: u64,
    pub(crate) work_pending: bool,
    pub(crate) completions: u64,
    identify: Option<[u8; 512]>,
    /// Every event, with its time.
    pub events: Vec<(u64, Event)>,
    /// What is to be reported of it, and what was.
    pub reports: Reports,
}

impl<'p> Slot<'p> {
    /// The engine's target.
    #[must_use]
    pub fn target(&self) -> &Target<'p> {
        &self.target
    }

    /// Requests that wait because the engine was full.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Reads what is to be reported to the end; says what the reader gets wrong by it.
    pub fn read_reports(&mut self) -> Option<String> {
        self.reports.read(&self.target)
    }

    /// Whether an event was reported.
    #[must_use]
    pub fn saw(&self, event: Event) -> bool {
        self.events.iter().any(|(_, seen)| *seen == event)
    }
}

struct HostLinks<'a> {
    netifs: &'a [Netif],
    /// Interfaces whose frames leave in order, a bit each.
    in_order: u32,
    /// Interfaces that may be used as far as their ports are concerned.
    settled: u32,
    lie: bool,
}

impl Links for HostLinks<'_> {
    fn link(&self, id: NetifId) -> Option<Link> {
        let netif = self.netifs.get(usize::from(id.0))?;
        let usable = netif.listed && netif.up && self.settled & 1 << id.0 != 0;
        (self.lie || usable).then_some(Link {
            mtu: netif.mtu,
            mac: MacAddr(netif.mac),
            in_order: self.in_order & 1 << id.0 != 0,
        })
    }
}

fn wire_addr(addr: Addr) -> Option<TargetAddr> {
    TargetAddr::new(addr.0, addr.1)
}

impl<'p> World<'p> {
    /// Now, as the engine is told.
    #[must_use]
    pub fn instant(&self) -> Instant {
        Instant::from_nanos(self.now)
    }

    /// Interfaces of which this is true, a bit each.
    fn those(&self, test: impl Fn(&Self, usize) -> bool) -> u32 {
        let all = 0..self.netifs.len();
        all.filter(|netif| test(self, *netif))
            .fold(0, |set, netif| set | 1 << netif)
    }

    pub(crate) fn planted(&self, plant: Plant) -> bool {
        self.options.plant == Some(plant)
    }

    /// A target.
    #[must_use]
    pub fn slot(&self, addr: Addr) -> Option<&Slot<'p>> {
        self.slots.get(&addr)
    }

    /// The same, to read its reports or to leave them unread.
    pub fn slot_mut(&mut self, addr: Addr) -> Option<&mut Slot<'p>> {
        self.slots.get_mut(&addr)
    }

    /// Targets that exist.
    pub fn slots(&self) -> impl Iterator<Item = (&Addr, &Slot<'p>)> {
        self.slots.iter()
    }

    /// Frames that were of no use, by reason.
    #[must_use]
    pub fn dropped(&self, reason: &str) -> u64 {
        self.drops.get(reason).copied().unwrap_or(0)
    }

    /// A frame comes in by an interface.
    pub fn frame_in(&mut self, netif: usize, frame: &Rc<[u8]>) {
        if !self.is_usable(netif) || !self.is_settled(netif) || !self.loaded {
            return;
        }
        let Ok((header, arg)) = Header::split(frame) else {
            return;
        };
        let shown = self.shown(frame);
        let arg = shown
            .as_deref()
            .map_or(arg, |shown| shown.get(HEADER_LEN..).unwrap_or(&[]));
        let Some(addr) = header.addr().filter(|_| header.is_response()) else {
            return;
        };
        let addr = (addr.shelf(), addr.slot());
        // For an ATA answer only the argument is promised to lie contiguous.
        let cut = header.command == aoe_wire::Command::ATA && self.rng.chance(500_000);
        let arg = if cut {
            arg.get(..12).unwrap_or(arg)
        } else {
            arg
        };
        let id = NetifId(u8::try_from(netif).unwrap_or(u8::MAX));
        let received = Received {
            netif: id,
            header: &header,
            arg,
            len: frame.len(),
        };
        self.watch_in(addr, &header, frame);
        self.learn(netif, header.src.0);
        let now = self.instant();
        if self.initiator.note_answer(now, id) {
            self.drain_initiator();
        }
        self.count_received(addr);
        if !self.slots.contains_key(&addr) && (self.ending || !self.admit(addr, &received)) {
            return;
        }
        match self.hand_in(addr, &received) {
            Handled::Done | Handled::Widen(_) | Handled::KeepConfig(_) => {}
            Handled::Dropped(reason) => *self.drops.entry(reason.name()).or_default() += 1,
            Handled::CopyData(claim) => self.borrow_answer(addr, claim, frame, false),
            Handled::CopyIdentify(claim) => self.borrow_answer(addr, claim, frame, true),
        }
        self.drain(addr);
    }

    /// The frame as a planted mistake shows it to the engine.
    fn shown(&self, frame: &Rc<[u8]>) -> Option<Vec<u8>> {
        let config = frame.get(19) == Some(&1);
        if !self.planted(Plant::OpenWindow) || !config || frame.len() < 32 {
            return None;
        }
        let mut shown = frame.to_vec();
        if let Some(count) = shown.get_mut(24..26) {
            count.copy_from_slice(&[0, 64]);
        }
        Some(shown)
    }

    /// What makes a target's tags unguessable, out of one number.
    fn seed(&mut self) -> u128 {
        let mut rng = Rng::new(self.rng.bits());
        if self.planted(Plant::SameSeed) {
            rng = Rng::new(0);
        }
        u128::from(rng.bits()) << 64 | u128::from(rng.bits())
    }

    fn admit(&mut self, addr: Addr, received: &Received<'_>) -> bool {
        match self.initiator.admit(received) {
            Admission::Ignore(reason) => {
                *self.drops.entry(reason.name()).or_default() += 1;
                false
            }
            Admission::Create(created, quarantine) => {
                if Some(created) != wire_addr(addr) {
                    self.trouble
                        .note(self.now, format!("{addr:?} was admitted as {created}"));
                }
                let Some((info, memory)) = self.loans.pop().and_then(|mut memory| {
                    let info = memory.info()?;
                    Some((info, memory))
                }) else {
                    let now = self.instant();
                    self.initiator
                        .target_removed(now, created, false, Quarantine::NONE);
                    return false;
                };
                let seed = self.seed();
                let mut target = Target::new(created, seed, self.options.tunables, info);
                if !self.planted(Plant::ForgetRemoved) {
                    target.inherit(quarantine);
                }
                self.slots.insert(
                    addr,
                    Slot {
                        target,
                        memory,
                        open: false,
                        identified: false,
                        closing: false,
                        borrowed: 0,
                        waiting: VecDeque::new(),
                        timer: (0, None),
                        drain_pending: false,
                        last_send: 0,
                        made: 0,
                        work_pending: false,
                        completions: 0,
                        identify: None,
                        events: Vec::new(),
                        reports: Reports::new(),
                    },
                );
                self.count_admitted();
                true
            }
        }
    }

    fn borrow_answer(&mut self, addr: Addr, claim: Claim, frame: &Rc<[u8]>, identify: bool) {
        let len = usize::try_from(claim.len).unwrap_or(usize::MAX);
        if frame.len() < ATA_HEADER_LEN + len {
            self.trouble.note(
                self.now,
                format!("claim of {len} bytes in a frame of {}", frame.len()),
            );
            return;
        }
        let delay = self.hesitate(self.options.host.commit_delay);
        if let Some(slot) = self.slots.get_mut(&addr) {
            slot.borrowed += 1;
        }
        if delay == 0 {
            self.commit(addr, claim, frame, identify);
        } else {
            self.schedule(
                self.now + delay,
                What::Commit(addr, claim, frame.clone(), identify),
            );
        }
    }

    pub(crate) fn commit(&mut self, addr: Addr, claim: Claim, frame: &Rc<[u8]>, identify: bool) {
        let now = self.instant();
        if let Some(slot) = self.slots.get_mut(&addr) {
            slot.borrowed -= 1;
        }
        if identify {
            let data = frame
                .get(ATA_HEADER_LEN..)
                .and_then(|data| data.first_chunk::<512>());
            let merge = self.planted(Plant::MergeConflict);
            if let (Some(slot), Some(data)) = (self.slots.get_mut(&addr), data) {
                let first = *slot.identify.get_or_insert(*data);
                slot.target
                    .commit_identify(now, claim, if merge { &first } else { data });
            }
        } else {
            self.copy_answer(addr, &claim, frame);
            if let Some(slot) = self.slots.get_mut(&addr) {
                slot.target.commit(now, claim);
            }
        }
        self.drain(addr);
    }

    fn copy_answer(&mut self, addr: Addr, claim: &Claim, frame: &Rc<[u8]>) {
        let shift = usize::from(self.planted(Plant::SwapData));
        let len = usize::try_from(claim.len).unwrap_or(usize::MAX);
        let offset = usize::try_from(claim.offset).unwrap_or(usize::MAX);
        let source = frame.get(ATA_HEADER_LEN - shift..ATA_HEADER_LEN - shift + len);
        let Some(ledger) = self.ledgers.get(&addr) else {
            return;
        };
        let mut rest = source.unwrap_or_default();
        let copied = ledger
            .borrow_mut()
            .pieces(claim.token, offset, rest.len(), |open, range| {
                let (data, behind) = rest.split_at(range.len());
                rest = behind;
                if open.op == Op::Read {
                    open.data[range].copy_from_slice(data);
                }
            });
        if copied.is_none() || source.is_none() {
            self.trouble.note(
                self.now,
                format!(
                    "data copied to {}+{offset}, which is not lent (any more)",
                    claim.token
                ),
            );
        }
    }

    /// Calls every target and does what it then asks for.
    pub fn for_each_target(&mut self, mut call: impl FnMut(&mut Target<'p>, Instant)) {
        let now = self.instant();
        let addrs: Vec<Addr> = self.slots.keys().copied().collect();
        for addr in addrs {
            if let Some(slot) = self.slots.get_mut(&addr) {
                call(&mut slot.target, now);
            }
            self.drain(addr);
        }
    }

    /// Mostly a short while, seldom (when another thread has the processor) the longest time.
    fn hesitate(&mut self, longest: u64) -> u64 {
        let usual = longest.min(100 * US);
        let bound = if self.rng.chance(10_000) {
            longest
        } else {
            usual
        };
        self.rng.below(bound + 1)
    }

    /// Does what a target asks for: frames, completions, events, one timer.
    pub(crate) fn drain(&mut self, addr: Addr) {
        let mut frames = 0;
        let mut again = false;
        loop {
            if frames >= self.options.host.batch {
                again = true;
                break;
            }
            // The caller reads the clock anew, so what was due a moment later may be due by now.
            self.now += self.options.host.call_time;
            let now = self.instant();
            let links = HostLinks {
                netifs: &self.netifs,
                in_order: self.those(Self::is_in_order),
                settled: self.those(Self::is_settled),
                lie: self.options.plant == Some(Plant::IgnoreDown),
            };
            let Some(slot) = self.slots.get_mut(&addr) else {
                return;
            };
            let Some(transmit) = slot.target.poll_transmit(now, &links) else {
                break;
            };
            frames += 1;
            self.count_sent(addr);
            self.watch_out(addr, &transmit);
            self.borrow_data(addr, transmit);
        }
        let mut ended = false;
        while let Some(done) = self
            .slots
            .get_mut(&addr)
            .and_then(|slot| slot.target.poll_completion())
        {
            self.completed(addr, &done);
            ended = true;
        }
        self.watch_suspects(addr);
        self.take_events(addr);
        if self.refill(addr) {
            again = true;
        }
        if ended {
            self.close_if_idle(addr);
        }
        let Some(slot) = self.slots.get_mut(&addr) else {
            return;
        };
        if slot.target.is_broken() {
            self.trouble.note(self.now, "the engine's books are broken");
        }
        if again && !slot.drain_pending {
            slot.drain_pending = true;
            let pause = if self.options.host.batch_pause == 0 {
                0
            } else {
                self.rng.below(self.options.host.batch_pause)
            };
            self.schedule(self.now + pause, What::Drain(addr));
        }
        self.arm(addr);
        self.bury(addr);
    }

    pub(crate) fn drain_again(&mut self, addr: Addr) {
        if let Some(slot) = self.slots.get_mut(&addr) {
            slot.drain_pending = false;
        }
        self.drain(addr);
    }

    fn arm(&mut self, addr: Addr) {
        if self.planted(Plant::LoseTimer) {
            return;
        }
        let late = self.hesitate(self.options.host.timer_delay);
        let eager = self.planted(Plant::EagerTimer);
        let Some(slot) = self.slots.get_mut(&addr) else {
            return;
        };
        let mut wanted = slot.target.poll_timeout().map(Instant::as_nanos);
        if eager {
            wanted = wanted.map(|at| at.min(self.now + 10 * MS));
        }
        if slot.timer.1 == wanted {
            return;
        }
        slot.timer.0 += 1;
        slot.timer.1 = wanted;
        let generation = slot.timer.0;
        if let Some(at) = wanted {
            self.schedule(at.saturating_add(late), What::TargetTimer(addr, generation));
        }
    }

    pub(crate) fn target_timer(&mut self, addr: Addr, generation: u64) {
        let now = self.instant();
        let Some(slot) = self.slots.get_mut(&addr) else {
            return;
        };
        if slot.timer.0 != generation {
            return;
        }
        slot.timer.1 = None;
        let idle = slot.target.is_idle();
        slot.target.handle_timeout(now);
        self.count_timer(addr, idle);
        self.drain(addr);
        if self.planted(Plant::SpinTimer) {
            self.schedule(self.now, What::TargetTimer(addr, generation));
            if let Some(slot) = self.slots.get_mut(&addr) {
                slot.timer.0 = generation;
            }
        }
    }

    pub(crate) fn timer_of_initiator(&mut self, generation: u64) {
        if self.initiator_timer.0 != generation {
            return;
        }
        self.initiator_timer.1 = None;
        self.activity.initiator_timers += 1;
        let now = self.instant();
        self.initiator.handle_timeout(now);
        self.drain_initiator();
    }

    pub(crate) fn drain_initiator(&mut self) {
        let now = self.instant();
        let links = HostLinks {
            netifs: &self.netifs,
            in_order: self.those(Self::is_in_order),
            settled: self.those(Self::is_settled),
            lie: self.planted(Plant::IgnoreDown),
        };
        let mut frames = Vec::new();
        while let Some(transmit) = self.initiator.poll_transmit(now, &links) {
            frames.push(transmit);
            if frames.len() > 1000 {
                self.trouble
                    .note(self.now, "the initiator sends without end");
                break;
            }
        }
        for transmit in frames {
            self.activity.beacons += 1;
            self.watch_beacon(&transmit);
            let frame = build(&transmit, &[]);
            self.send(usize::from(transmit.netif.0), &frame);
        }
        let wanted = self.initiator.poll_timeout().map(Instant::as_nanos);
        if wanted != self.initiator_timer.1 {
            self.initiator_timer.0 += 1;
            self.initiator_timer.1 = wanted;
            if let Some(at) = wanted {
                self.schedule(at, What::InitiatorTimer(self.initiator_timer.0));
            }
        }
    }

    fn borrow_data(&mut self, addr: Addr, transmit: Transmit) {
        let delay = self.hesitate(self.options.host.send_delay);
        let early = self.planted(Plant::ReuseData);
        let now = self.instant();
        let Some(slot) = self.slots.get_mut(&addr) else {
            return;
        };
        slot.borrowed += 1;
        if early && let Some(ticket) = transmit.ticket {
            slot.target.transmitted(now, ticket);
        }
        // Frames of a target leave in the order in which they were polled: the module must see to that.
        let at = (self.now + delay).max(slot.last_send);
        slot.last_send = at;
        let changes = self.changes_of(usize::from(transmit.netif.0));
        if at == self.now {
            self.build_and_send(addr, &transmit, changes);
        } else {
            self.schedule(at, What::Send(addr, Box::new(transmit), changes));
        }
    }

    fn changes_of(&self, netif: usize) -> u32 {
        self.netifs.get(netif).map_or(0, |one| one.changes)
    }

    /// Sends a frame that was polled when its interface had changed so often.
    pub(crate) fn build_and_send(&mut self, addr: Addr, transmit: &Transmit, changes: u32) {
        let data = self.payload(addr, &transmit.payload);
        let frame = build(transmit, &data);
        let netif = usize::from(transmit.netif.0);
        if changes == self.changes_of(netif) || self.planted(Plant::SendStale) {
            self.send(netif, &frame);
        }
        if self.planted(Plant::RepeatWrites) && matches!(transmit.payload, Payload::Io { .. }) {
            self.schedule(self.now + 1_000_000_000, What::Repeat(netif, frame));
        }
        let now = self.instant();
        let early = self.planted(Plant::ReuseData);
        if let Some(slot) = self.slots.get_mut(&addr) {
            slot.borrowed -= 1;
            if let (Some(ticket), false) = (transmit.ticket, early) {
                slot.target.transmitted(now, ticket);
            }
        }
        if transmit.ticket.is_some() {
            self.schedule(self.now, What::Drain(addr));
        }
    }

    fn payload(&self, addr: Addr, payload: &Payload) -> Vec<u8> {
        match *payload {
            Payload::None => Vec::new(),
            Payload::Trim { lba, sectors } => {
                let mut block = [0; 512];
                let named = aoe_wire::emit_trim_range(&mut block, lba, sectors);
                if named != sectors {
                    self.trouble
                        .note(self.now, format!("TRIM of {sectors} sectors names {named}"));
                }
                block.to_vec()
            }
            Payload::Io { token, offset, len } => {
                let offset = usize::try_from(offset).unwrap_or(usize::MAX);
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                let mut data = Vec::new();
                let whole = self.ledgers.get(&addr).and_then(|ledger| {
                    let mut ledger = ledger.borrow_mut();
                    ledger.pieces(token, offset, len, |open, range| {
                        data.extend_from_slice(&open.data[range]);
                    })
                });
                if whole.is_none() {
                    self.trouble.note(
                        self.now,
                        format!(
                            "a frame was built from {token}+{offset}, which is not lent (any more)"
                        ),
                    );
                    data.resize(len, 0xee);
                }
                data
            }
        }
    }
}

/// The bytes of a frame.
fn build(transmit: &Transmit, data: &[u8]) -> Rc<[u8]> {
    let header = transmit
        .header
        .get(..usize::from(transmit.header_len))
        .unwrap_or(&transmit.header);
    let mut frame = Vec::with_capacity(header.len() + data.len());
    frame.extend_from_slice(header);
    frame.extend_from_slice(data);
    if frame.len() < MIN_FRAME_LEN {
        frame.resize(MIN_FRAME_LEN, 0);
    }
    frame.into()
}
