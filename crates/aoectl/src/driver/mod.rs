// SPDX-License-Identifier: BSD-2-Clause
//! The engine's world in user space: sockets, a clock, memory and an event loop.
//!
//! What the kernel module does with mbufs, bios and callouts is done here with raw sockets, vectors and
//! ppoll(2). Nothing about the protocol is decided here.

mod memory;
mod ports;

use anyhow::{Context, Result};
use aoe_core::limits::MAX_TARGETS;
use aoe_core::{
    Admission, Completion, DropReason, Event, Handled, Initiator, Instant, NetifId, Op, Payload,
    Received, Request, Target, Ticket, Transmit, Tunables,
};
use aoe_wire::{
    ATA_HEADER_LEN, HEADER_LEN, Header, MIN_FRAME_LEN, MacAddr, SECTOR_SIZE, TargetAddr,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use memory::Memory;
pub(crate) use ports::{Ports, all_up};

/// Frames taken from one interface before the engine is asked what to send.
const RECEIVE_BATCH: usize = 64;
/// Frames sent for one target before the interfaces are looked at for answers.
const TRANSMIT_BATCH: usize = 64;
/// How often the interfaces are looked at, in nanoseconds: their state, address and MTU.
const REFRESH_NS: u64 = 200_000_000;
/// How often targets are asked for again while there is work, in seconds: a path may appear.
const BEACON_SECS: u32 = 10;

/// A request that ended.
#[derive(Debug)]
pub(crate) struct Completed {
    /// What [`Driver::submit`] returned.
    pub(crate) token: u64,
    /// How it ended.
    pub(crate) completion: Completion,
    /// The buffer, filled if it was a read.
    pub(crate) data: Vec<u8>,
    /// When it ended.
    pub(crate) ended: Instant,
}

/// Frames seen by this driver.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) send_errors: u64,
    pub(crate) malformed: u64,
    pub(crate) drops: [u64; DropReason::ALL.len()],
}

/// One target and what the driver remembers about it.
struct Entry {
    target: Target<'static>,
    identified: bool,
}

/// Interfaces, targets, and the requests in flight.
pub(crate) struct Driver {
    ports: Ports,
    initiator: Initiator,
    targets: BTreeMap<TargetAddr, Entry>,
    /// When set, other targets are not taken up.
    only: Option<TargetAddr>,
    /// When set, other stations are not heard.
    stations: Option<BTreeSet<(NetifId, MacAddr)>>,
    /// Addresses that announced themselves, taken up or not.
    seen: BTreeSet<TargetAddr>,
    tunables: Tunables,
    data: HashMap<u64, Vec<u8>>,
    next_token: u64,
    completed: VecDeque<Completed>,
    news: VecDeque<(TargetAddr, Event)>,
    memory: Memory,
    next_refresh: Instant,
    receive_buffer: Vec<u8>,
    transmit_buffer: Vec<u8>,
    counts: Counts,
}

/// The engine's time.
pub(crate) fn now() -> Instant {
    Instant::from_nanos(aoe_os::monotonic_nanos())
}

impl Driver {
    /// A driver on these interfaces. With `only`, one target is talked to and no other.
    pub(crate) fn open(
        interfaces: &[String],
        only: Option<TargetAddr>,
        dead_secs: u32,
    ) -> Result<Self> {
        let mut driver = Self {
            ports: Ports::open(interfaces)?,
            initiator: Initiator::new(),
            targets: BTreeMap::new(),
            only,
            stations: None,
            seen: BTreeSet::new(),
            tunables: Tunables {
                dead_secs,
                ..Tunables::default()
            },
            data: HashMap::new(),
            next_token: 1,
            completed: VecDeque::new(),
            news: VecDeque::new(),
            memory: Memory::default(),
            next_refresh: now(),
            receive_buffer: vec![0; aoe_os::MAX_FRAME_LEN],
            transmit_buffer: Vec::with_capacity(aoe_os::MAX_FRAME_LEN),
            counts: Counts::default(),
        };
        driver.initiator.set_max_targets(MAX_TARGETS as u32);
        driver.initiator.set_beacon_secs(now(), BEACON_SECS);
        driver.refresh(now());
        Ok(driver)
    }

    /// The interfaces.
    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Counters of frames.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The targets that were taken up, by address.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Target<'static>> {
        self.targets.values().map(|entry| &entry.target)
    }

    /// One target.
    pub(crate) fn target(&self, addr: TargetAddr) -> Option<&Target<'static>> {
        self.targets.get(&addr).map(|entry| &entry.target)
    }

    /// Addresses that announced themselves.
    pub(crate) fn seen(&self) -> &BTreeSet<TargetAddr> {
        &self.seen
    }

    /// Hears these stations only, each on its interface; `None` hears all.
    pub(crate) fn hear(&mut self, stations: Option<BTreeSet<(NetifId, MacAddr)>>) {
        self.stations = stations;
    }

    /// Forgets every target, and asks again who is there; from now on it hears these stations only, if some are given.
    /// The interfaces stay open. What ended or happened meanwhile is of no interest any more.
    pub(crate) fn start_again(&mut self, stations: Option<BTreeSet<(NetifId, MacAddr)>>) {
        let now = now();
        let known: Vec<TargetAddr> = self.targets.keys().copied().collect();
        for addr in known {
            self.forget(addr, now);
        }
        self.completed.clear();
        self.news.clear();
        self.hear(stations);
        self.initiator.discover(now);
    }

    /// Asks every target on every interface to announce itself.
    pub(crate) fn discover(&mut self) {
        self.initiator.discover(now());
    }

    /// Says that the target's disk is in use, so that it takes requests, and is kept however long it stays
    /// silent.
    pub(crate) fn use_disk(&mut self, addr: TargetAddr) {
        if let Some(entry) = self.targets.get_mut(&addr) {
            self.memory.open(&mut entry.target);
            entry.target.set_in_use(now(), true);
        }
    }

    /// Starts a request; the number that its completion will carry is returned. When the target has no
    /// room for it, or is not there, or not in use, the buffer comes back.
    ///
    /// For a read, `data` is the buffer that is filled; for a write, what is written; both are whole sectors.
    pub(crate) fn submit(
        &mut self,
        addr: TargetAddr,
        op: Op,
        lba: u64,
        data: Vec<u8>,
    ) -> std::result::Result<u64, Vec<u8>> {
        let Some(entry) = self.targets.get_mut(&addr) else {
            return Err(data);
        };
        let token = self.next_token;
        let request = Request {
            token,
            op,
            lba,
            sectors: (data.len() / SECTOR_SIZE) as u64,
            ordered: false,
            wait_secs: 0,
        };
        if entry.target.submit(now(), request).is_err() {
            return Err(data);
        }
        self.next_token += 1;
        self.data.insert(token, data);
        Ok(token)
    }

    /// The next request that ended.
    pub(crate) fn poll_completed(&mut self) -> Option<Completed> {
        self.completed.pop_front()
    }

    /// The next thing that happened to a target.
    pub(crate) fn poll_news(&mut self) -> Option<(TargetAddr, Event)> {
        self.news.pop_front()
    }

    /// Lets the engine work. Returns when something was received, completed or happened, or at `until`.
    pub(crate) fn step(&mut self, until: Instant) -> Result<()> {
        let start = now();
        if start >= self.next_refresh || self.ports.is_suspect() {
            self.refresh(start);
        }
        let received = self.receive();
        self.expire(now());
        let unfinished = self.drain(now());
        if received || unfinished || !self.completed.is_empty() || !self.news.is_empty() {
            return Ok(());
        }
        let wake = self.next_wake().min(until);
        let sleep = Duration::from_nanos(wake.since(now()));
        aoe_os::wait(self.ports.sockets(), Some(sleep)).context("cannot wait for frames")?;
        Ok(())
    }

    /// Tells the engine what became of the interfaces.
    fn refresh(&mut self, now: Instant) {
        self.next_refresh = now.after(REFRESH_NS);
        for (id, change) in self.ports.refresh() {
            log::debug!("{}: {change:?}", self.ports.name(id));
            self.initiator.handle_interface(now, id, change);
            for entry in self.targets.values_mut() {
                entry.target.handle_interface(now, id, change);
            }
        }
    }

    fn next_wake(&self) -> Instant {
        self.targets
            .values()
            .filter_map(|entry| entry.target.poll_timeout())
            .chain(self.initiator.poll_timeout())
            .fold(self.next_refresh, Instant::min)
    }

    fn expire(&mut self, now: Instant) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.initiator.poll_timeout()) {
            self.initiator.handle_timeout(now);
        }
        for entry in self.targets.values_mut() {
            if due(entry.target.poll_timeout()) {
                entry.target.handle_timeout(now);
            }
        }
    }

    /// Takes what has come in. True if there was anything.
    fn receive(&mut self) -> bool {
        let mut any = false;
        let mut buffer = std::mem::take(&mut self.receive_buffer);
        for id in self.ports.ids() {
            for _ in 0..RECEIVE_BATCH {
                let Some(len) = self.ports.receive(id, &mut buffer) else {
                    break;
                };
                any = true;
                self.counts.received += 1;
                self.handle(id, buffer.get(..len).unwrap_or(&buffer));
            }
        }
        self.receive_buffer = buffer;
        any
    }

    /// Gives one frame to the target it is from, which may be a new one.
    fn handle(&mut self, netif: NetifId, frame: &[u8]) {
        log::trace!(
            "{} < {}",
            self.ports.name(netif),
            aoe_wire::FrameText(frame)
        );
        let Ok(header) = Header::parse(frame) else {
            self.counts.malformed += 1;
            return;
        };
        let received = Received {
            netif,
            header: &header,
            arg: frame.get(HEADER_LEN..).unwrap_or_default(),
            len: frame.len(),
        };
        let Some(addr) = header.addr().filter(|_| header.is_response()) else {
            let reason = match header.is_response() {
                true => DropReason::BadAddress,
                false => DropReason::NotResponse,
            };
            return self.count_drop(reason);
        };
        let wanted = |stations: &BTreeSet<_>| stations.contains(&(netif, header.src));
        if !self.stations.as_ref().is_none_or(wanted) {
            return self.count_drop(DropReason::UnknownPath);
        }
        let now = now();
        self.initiator.note_answer(now, netif);
        if !self.targets.contains_key(&addr) && !self.admit(addr, &received) {
            return;
        }
        let Some(entry) = self.targets.get_mut(&addr) else {
            return;
        };
        let handled = self.memory.hand_in(&mut entry.target, now, &received);
        match handled {
            Handled::Done | Handled::Widen(_) | Handled::KeepConfig(_) => {}
            Handled::Dropped(reason) => self.count_drop(reason),
            Handled::CopyData(claim) => {
                let from = frame.get(ATA_HEADER_LEN..).unwrap_or_default();
                let to = self.data.get_mut(&claim.token);
                copy_at(to, claim.offset, claim.len, from);
                entry.target.commit(now, claim);
            }
            Handled::CopyIdentify(claim) => {
                let data = frame
                    .get(ATA_HEADER_LEN..)
                    .and_then(<[u8]>::first_chunk::<SECTOR_SIZE>);
                entry
                    .target
                    .commit_identify(now, claim, data.unwrap_or(&[0; SECTOR_SIZE]));
            }
        }
    }

    /// Decides whether a frame from an address without target makes one.
    fn admit(&mut self, addr: TargetAddr, received: &Received<'_>) -> bool {
        if received.header.command == aoe_wire::Command::CONFIG {
            self.seen.insert(addr);
        }
        if self.only.is_some_and(|only| only != addr) {
            return false;
        }
        match self.initiator.admit(received) {
            Admission::Ignore(reason) => {
                self.count_drop(reason);
                false
            }
            Admission::Create(addr, quarantine) => {
                let seed =
                    aoe_os::random_key().unwrap_or_else(|_| u128::from(aoe_os::monotonic_nanos()));
                let mut target = Target::new(addr, seed, self.tunables, self.memory.info());
                target.inherit(quarantine);
                self.targets.insert(
                    addr,
                    Entry {
                        target,
                        identified: false,
                    },
                );
                true
            }
        }
    }

    fn count_drop(&mut self, reason: DropReason) {
        if let Some(count) = self.counts.drops.get_mut(reason.index()) {
            *count += 1;
        }
    }

    /// Does what the engine wants done. True when there is more to send than one batch.
    fn drain(&mut self, now: Instant) -> bool {
        let mut unfinished = false;
        let mut forgotten = Vec::new();
        while let Some(transmit) = self.initiator.poll_transmit(now, &self.ports) {
            send(
                &mut self.ports,
                &mut self.transmit_buffer,
                &mut self.counts,
                &transmit,
                &self.data,
            );
        }
        for (addr, entry) in &mut self.targets {
            let mut room = TRANSMIT_BATCH;
            while room > 0 {
                let Some(transmit) = entry.target.poll_transmit(now, &self.ports) else {
                    break;
                };
                room -= 1;
                let ticket = send(
                    &mut self.ports,
                    &mut self.transmit_buffer,
                    &mut self.counts,
                    &transmit,
                    &self.data,
                );
                if let Some(ticket) = ticket {
                    entry.target.transmitted(now, ticket);
                }
            }
            unfinished |= room == 0;
            while let Some(completion) = entry.target.poll_completion() {
                self.completed.push_back(Completed {
                    token: completion.token,
                    data: self.data.remove(&completion.token).unwrap_or_default(),
                    completion,
                    ended: now,
                });
            }
            while let Some(event) = entry.target.poll_event() {
                log::debug!("{addr}: {event:?}");
                match event {
                    Event::Identified => {
                        entry.identified = true;
                        self.initiator.target_identified();
                    }
                    Event::Forget => forgotten.push(*addr),
                    _ => {}
                }
                self.news.push_back((*addr, event));
            }
        }
        for addr in forgotten {
            self.forget(addr, now);
        }
        unfinished
    }

    /// Removes a target that nobody uses any more.
    fn forget(&mut self, addr: TargetAddr, now: Instant) {
        let Some(mut entry) = self.targets.remove(&addr) else {
            return;
        };
        entry.target.abort(now);
        while let Some(completion) = entry.target.poll_completion() {
            let data = self.data.remove(&completion.token).unwrap_or_default();
            self.completed.push_back(Completed {
                token: completion.token,
                completion,
                data,
                ended: now,
            });
        }
        let left = entry.target.left_behind(now);
        let addr = entry.target.addr();
        self.memory.put(entry.target.reclaim());
        self.initiator
            .target_removed(now, addr, entry.identified, left);
    }
}

/// Builds the frame and sends it. The data have been copied after it, so the ticket is for [`Target::transmitted`].
fn send(
    ports: &mut Ports,
    frame: &mut Vec<u8>,
    counts: &mut Counts,
    transmit: &Transmit,
    data: &HashMap<u64, Vec<u8>>,
) -> Option<Ticket> {
    frame.clear();
    frame.extend(
        transmit
            .header
            .iter()
            .take(usize::from(transmit.header_len)),
    );
    match transmit.payload {
        Payload::None => {}
        Payload::Io { token, offset, len } => {
            let start = offset as usize;
            let from = data.get(&token).map(Vec::as_slice).unwrap_or_default();
            // Never shorter than its header says, whatever is asked for.
            let bytes = from.get(start..).unwrap_or_default();
            let end = frame.len() + len as usize;
            frame.extend(bytes.iter().take(len as usize));
            frame.resize(end, 0);
        }
        Payload::Trim { lba, sectors } => {
            let mut block = [0; SECTOR_SIZE];
            aoe_wire::emit_trim_range(&mut block, lba, sectors);
            frame.extend(block);
        }
    }
    if frame.len() < MIN_FRAME_LEN {
        frame.resize(MIN_FRAME_LEN, 0);
    }
    log::trace!(
        "{} > {}",
        ports.name(transmit.netif),
        aoe_wire::FrameText(frame)
    );
    match ports.send(transmit.netif, frame) {
        Ok(()) => counts.sent += 1,
        Err(_) => counts.send_errors += 1,
    }
    transmit.ticket
}

/// Copies `len` bytes to `offset` of a buffer. The engine promises that they fit; a broken promise is no reason to
/// write elsewhere.
fn copy_at(to: Option<&mut Vec<u8>>, offset: u32, len: u32, from: &[u8]) {
    let start = offset as usize;
    let range = start..start.saturating_add(len as usize);
    let to = to.and_then(|data| data.get_mut(range));
    match (to, from.get(..len as usize)) {
        (Some(to), Some(from)) => to.copy_from_slice(from),
        _ => log::error!("the engine claimed {len} bytes at {offset} that are not there"),
    }
}
