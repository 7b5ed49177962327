// SPDX-License-Identifier: BSD-2-Clause
//! The simulated world: a clock, a queue of events, wires, servers, and one initiator.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;

use aoe_core::{Claim, Initiator, InterfaceChange, PortSet, Ports, Transmit};
use aoe_target::rng::Rng;
use aoe_target::{Address, Mac, Model, Port, Server};

use crate::activity::Activity;
use crate::disk::{Disk, DiskHandle, SharedDisk};
use crate::host::Slot;
use crate::ledger::{Ledger, Trouble};
use crate::memory::Loan;
use crate::net::{End, Segment};
use crate::options::{Fault, Options, Sharing};
use crate::pcap::Pcap;
use crate::ports::NetPort;
use crate::watch::Watch;
use crate::work::Run;

/// Shelf and slot.
pub type Addr = (u16, u8);

/// A switch does not keep a frame for longer.
const SWITCH_DELAY: u64 = 40_000_000;
/// More events than this at one instant are a livelock.
const STEPS_AT_ONCE: u32 = 20_000;
/// More events than this in one run are one, too.
const STEPS: u64 = 20_000_000;

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum What {
    ToHost(usize, Rc<[u8]>),
    ToServer(usize, usize, Rc<[u8]>),
    TargetTimer(Addr, u64),
    InitiatorTimer(u64),
    Drain(Addr),
    Send(Addr, Box<Transmit>, u32),
    Commit(Addr, Claim, Rc<[u8]>, bool),
    Server(usize),
    Work(Addr),
    Fault(Fault),
    Notice(usize, usize),
    Initialised(usize, usize),
    Look(usize),
    Unpause(usize, usize),
    Repeat(usize, Rc<[u8]>),
}

#[derive(Debug)]
struct Entry {
    at: u64,
    seq: u64,
    what: What,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        // The earliest is the greatest: the heap gives the greatest first.
        (other.at, other.seq).cmp(&(self.at, self.seq))
    }
}

/// An interface of the initiator.
#[derive(Clone, Debug)]
pub struct Netif {
    /// Its address.
    pub mac: Mac,
    /// Its MTU.
    pub mtu: u32,
    /// Where it is plugged in.
    pub segment: usize,
    /// It is on the list.
    pub listed: bool,
    /// It has link, as far as the kernel has noticed: with several ports, one of them has.
    pub up: bool,
    /// Its ports, as the engine was told of them.
    pub(crate) told: Ports,
    /// Ports whose drivers are being initialised again.
    pub(crate) in_init: PortSet,
    /// How often the engine was told of its ports. A frame that was polled before a change is not sent after it.
    pub(crate) changes: u32,
    /// It will be looked at once more within a second.
    pub(crate) looks_again: bool,
    /// The ports below it.
    pub ports: Vec<NetPort>,
    pub(crate) sharing: Sharing,
    pub(crate) vlan: bool,
    /// Whose turn it is.
    pub(crate) turn: usize,
    /// By which port an address was heard last.
    pub(crate) learned: BTreeMap<Mac, usize>,
}

/// A frame that left the initiator.
#[derive(Clone, Debug)]
pub struct Sent {
    /// When it left.
    pub at: u64,
    /// By which interface.
    pub netif: usize,
    /// By which of its ports.
    pub port: usize,
    /// The frame.
    pub frame: Rc<[u8]>,
}

/// The whole world. Memory for the engine is lent by the caller ([`Loan::new`]).
#[derive(Debug)]
pub struct World<'p> {
    pub(crate) now: u64,
    queue: BinaryHeap<Entry>,
    next_seq: u64,
    steps: u64,
    steps_at_once: u32,
    /// The run's options.
    pub options: Options,
    pub(crate) rng: Rng,
    /// Interfaces of the initiator.
    pub netifs: Vec<Netif>,
    /// Wires.
    pub segments: Vec<Segment>,
    /// Servers.
    pub servers: Vec<Server<DiskHandle>>,
    server_ports: Vec<Vec<usize>>,
    server_armed: Vec<Option<u64>>,
    /// Disks.
    pub disks: Vec<SharedDisk>,
    pub(crate) ledgers: BTreeMap<Addr, Rc<RefCell<Ledger>>>,
    pub(crate) initiator: Initiator,
    pub(crate) initiator_timer: (u64, Option<u64>),
    pub(crate) slots: BTreeMap<Addr, Slot<'p>>,
    pub(crate) loans: Vec<Loan<'p>>,
    pub(crate) watch: Watch,
    pub(crate) next_token: u64,
    pub(crate) run: Run,
    pub(crate) results: BTreeMap<u64, crate::host::Ended>,
    /// What went wrong.
    pub trouble: Trouble,
    pub(crate) last_fault: u64,
    /// Counters of the targets that are gone.
    pub(crate) buried: crate::Counted,
    /// Some fault has happened.
    pub(crate) disturbed: bool,
    /// No more targets are made.
    pub(crate) ending: bool,
    /// Drivers that were initialised again.
    pub inits: u64,
    /// The module is there.
    pub(crate) loaded: bool,
    /// For how long requests wait that are submitted from now on; 0: as the options say.
    pub wait_secs: u8,
    /// Frames that the initiator sent, when asked for.
    pub log: Option<Vec<Sent>>,
    pcap: Option<Pcap>,
    pub(crate) drops: BTreeMap<&'static str, u64>,
    pub(crate) activity: Activity,
}

/// The address of an interface of the initiator.
#[must_use]
pub fn netif_mac(netif: usize) -> Mac {
    [2, 0, 0, 0, 0, u8::try_from(netif).unwrap_or(0xff)]
}

/// The address of a server's port.
#[must_use]
pub fn port_mac(server: usize, port: usize) -> Mac {
    [
        2,
        0,
        0,
        1,
        u8::try_from(server).unwrap_or(0xff),
        u8::try_from(port).unwrap_or(0xff),
    ]
}

impl<'p> World<'p> {
    /// A world as the options say, at time zero, with memory for as many targets as there are loans.
    #[must_use]
    pub fn new(options: Options, loans: Vec<Loan<'p>>) -> Self {
        let trouble = Trouble::default();
        let mut ledgers = BTreeMap::new();
        for server in &options.servers {
            ledgers
                .entry(server.addr)
                .or_insert_with(|| Rc::new(RefCell::new(Ledger::new(trouble.clone()))));
        }
        let disks: Vec<SharedDisk> = options
            .disks
            .iter()
            .enumerate()
            .map(|(number, disk)| {
                let owner = options.servers.iter().find(|server| server.disk == number);
                let ledger = owner.and_then(|server| ledgers.get(&server.addr)).cloned();
                Disk::shared(
                    disk.sectors,
                    ledger.filter(|_| !disk.foreign),
                    trouble.clone(),
                )
            })
            .collect();
        let mut rng = Rng::new(options.seed);
        let netifs = options
            .netifs
            .iter()
            .enumerate()
            .map(|(number, netif)| Netif {
                mac: netif_mac(number),
                mtu: netif.mtu,
                segment: netif.segment,
                listed: netif.listed,
                up: true,
                told: Ports::new(),
                in_init: PortSet::NONE,
                changes: 0,
                looks_again: false,
                ports: netif.ports.iter().map(NetPort::new).collect(),
                sharing: netif.sharing,
                vlan: netif.vlan,
                turn: 0,
                learned: BTreeMap::new(),
            })
            .collect();
        let segments = (0..options.segments).map(|_| Segment::default()).collect();
        let mut world = Self {
            now: SEC_ZERO,
            queue: BinaryHeap::new(),
            next_seq: 0,
            steps: 0,
            steps_at_once: 0,
            rng: rng.fork(),
            netifs,
            segments,
            servers: Vec::new(),
            server_ports: Vec::new(),
            server_armed: Vec::new(),
            disks,
            ledgers,
            initiator: Initiator::new(),
            initiator_timer: (0, None),
            slots: BTreeMap::new(),
            loans,
            watch: Watch::default(),
            next_token: 1,
            run: Run::OVER,
            results: BTreeMap::new(),
            trouble,
            last_fault: 0,
            buried: crate::Counted::default(),
            disturbed: false,
            ending: false,
            inits: 0,
            loaded: true,
            wait_secs: 0,
            log: options.log.then(Vec::new),
            pcap: None,
            drops: BTreeMap::new(),
            activity: Activity::default(),
            options,
        };
        world.build_servers(&mut rng);
        world.begin();
        world
    }

    fn build_servers(&mut self, rng: &mut Rng) {
        for (number, server) in self.options.servers.clone().into_iter().enumerate() {
            let ports: Vec<Port> = server
                .ports
                .iter()
                .enumerate()
                .map(|(port, options)| Port {
                    mac: port_mac(number, port),
                    mtu: options.mtu,
                })
                .collect();
            let addr = Address {
                shelf: server.addr.0,
                slot: server.addr.1,
            };
            let Some(disk) = self.disks.get(server.disk) else {
                continue;
            };
            let model = Model::new(server.profile, addr, DiskHandle(disk.clone()));
            let mut built = Server::new(model, ports, server.timing, rng.bits());
            if !server.alive {
                built.kill();
            }
            self.servers.push(built);
            self.server_ports
                .push(server.ports.iter().map(|port| port.segment).collect());
            self.server_armed.push(None);
        }
    }

    fn begin(&mut self) {
        for (at, fault) in self.options.faults.clone() {
            let at = self.now + at;
            self.last_fault = self.last_fault.max(at);
            self.schedule(at, What::Fault(fault));
        }
        for server in 0..self.servers.len() {
            self.poll_server(server);
        }
        for netif in 0..self.netifs.len() {
            // The engine is told below that it is up.
            let _ = self.update_ports(netif);
        }
        self.start_initiator();
    }

    /// An initiator that knows nothing but its interfaces.
    pub(crate) fn start_initiator(&mut self) {
        self.initiator = Initiator::new();
        let now = self.instant();
        self.initiator
            .set_beacon_secs(now, self.options.beacon_secs);
        for netif in 0..self.netifs.len() {
            if self.is_usable(netif) {
                self.tell_interface(netif, InterfaceChange::Up);
            }
        }
        self.drain_initiator();
    }

    /// Records every frame of every wire from now on.
    pub fn set_pcap(&mut self, pcap: Pcap) {
        self.pcap = Some(pcap);
    }

    /// Ends the recording.
    ///
    /// # Errors
    /// Something could not be written.
    pub fn finish_pcap(&mut self) -> std::io::Result<()> {
        self.pcap.take().map_or(Ok(()), Pcap::finish)
    }

    /// Virtual nanoseconds since the start.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Events so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Requests that ended so far.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.results.len()
    }

    /// Requests that ended with an error so far.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.results
            .values()
            .filter(|ended| ended.result.is_err())
            .count()
    }

    /// What the targets counted, those that are gone included.
    #[must_use]
    pub fn counted(&self) -> crate::Counted {
        let mut sum = self.buried;
        for slot in self.slots.values() {
            sum.add(&crate::Counted::of(slot.target().counters()));
        }
        sum
    }

    pub(crate) fn schedule(&mut self, at: u64, what: What) {
        self.next_seq += 1;
        self.queue.push(Entry {
            at: at.max(self.now),
            seq: self.next_seq,
            what,
        });
    }

    /// What an interface was given is lost with its link, but for what a switch already has. A delay of
    /// one sender's frames only is a delay in its interface: a switch would hold the others' with them.
    pub(crate) fn empty_wire(&mut self, mac: Mac) {
        let beyond = self.now + SWITCH_DELAY;
        self.queue.retain(|entry| match &entry.what {
            What::ToServer(_, _, frame) => entry.at <= beyond || frame.get(6..12) != Some(&mac),
            _ => true,
        });
    }

    /// The next event happens. False when nothing is left to happen, or too much did.
    pub fn step(&mut self) -> bool {
        let Some(entry) = self.queue.pop() else {
            return false;
        };
        self.steps += 1;
        if entry.at > self.now {
            self.now = entry.at;
            self.steps_at_once = 0;
            for ledger in self.ledgers.values() {
                ledger.borrow_mut().now = self.now;
            }
        }
        self.steps_at_once += 1;
        if self.steps_at_once > STEPS_AT_ONCE || self.steps > STEPS {
            self.trouble
                .note(self.now, "livelock: too many steps without progress");
            return false;
        }
        self.happen(entry.what);
        true
    }

    fn happen(&mut self, what: What) {
        match what {
            What::ToHost(netif, frame) => self.frame_in(netif, &frame),
            What::ToServer(server, port, frame) => {
                if let Some(one) = self.servers.get_mut(server) {
                    one.receive(self.now, port, &frame);
                }
                self.poll_server(server);
            }
            What::TargetTimer(addr, generation) => self.target_timer(addr, generation),
            What::InitiatorTimer(generation) => self.timer_of_initiator(generation),
            What::Drain(addr) => self.drain_again(addr),
            What::Send(addr, transmit, changes) => self.build_and_send(addr, &transmit, changes),
            What::Commit(addr, claim, frame, identify) => {
                self.commit(addr, claim, &frame, identify);
            }
            What::Server(server) => {
                if let Some(armed) = self.server_armed.get_mut(server) {
                    *armed = None;
                }
                self.poll_server(server);
            }
            What::Work(addr) => self.work(addr),
            What::Fault(fault) => self.apply(&fault),
            What::Unpause(netif, port) => self.unpause(netif, port),
            What::Notice(netif, port) => self.notice(netif, port),
            What::Initialised(netif, port) => self.initialised(netif, port),
            What::Look(netif) => self.look_regularly(netif),
            What::Repeat(netif, frame) => self.send(netif, &frame),
        }
    }

    /// Runs for this long.
    pub fn run_for(&mut self, nanos: u64) {
        let end = self.now + nanos;
        while self.queue.peek().is_some_and(|entry| entry.at <= end) && self.trouble.is_empty() {
            if !self.step() {
                return;
            }
        }
        self.now = self.now.max(end);
        for ledger in self.ledgers.values() {
            ledger.borrow_mut().now = self.now;
        }
    }

    /// Runs until the condition holds; false when it does not within this time.
    pub fn run_until(&mut self, nanos: u64, mut condition: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + nanos;
        while !condition(self) {
            let next = self.queue.peek().map(|entry| entry.at);
            if next.is_none_or(|at| at > end) || !self.trouble.is_empty() || !self.step() {
                return condition(self);
            }
        }
        true
    }

    fn capture(&mut self, frame: &[u8]) {
        if let Some(pcap) = self.pcap.as_mut() {
            pcap.record(self.now, frame);
        }
    }

    /// A frame leaves a port of an interface of the initiator.
    pub(crate) fn wire_from_host(&mut self, netif: usize, port: usize, frame: &Rc<[u8]>) {
        self.capture(frame);
        if let Some(log) = self.log.as_mut() {
            log.push(Sent {
                at: self.now,
                netif,
                port,
                frame: frame.clone(),
            });
        }
        let Some(segment) = self.netifs.get(netif).map(|netif| netif.segment) else {
            return;
        };
        let Some(dst) = frame.first_chunk::<6>().copied() else {
            return;
        };
        let from = End::Host(netif, port);
        for server in 0..self.servers.len() {
            for port in 0..self.server_ports.get(server).map_or(0, Vec::len) {
                let here = self
                    .server_ports
                    .get(server)
                    .and_then(|ports| ports.get(port));
                let mac = self
                    .servers
                    .get(server)
                    .and_then(|s| s.ports().get(port))
                    .map(|p| p.mac);
                if here != Some(&segment) || (Some(dst) != mac && dst[0] & 1 == 0) {
                    continue;
                }
                let to = End::Server(server, port);
                for (at, frame) in self.pass(segment, from, to, frame) {
                    self.schedule(at, What::ToServer(server, port, frame));
                }
            }
        }
    }

    fn pass(
        &mut self,
        segment: usize,
        from: End,
        to: End,
        frame: &Rc<[u8]>,
    ) -> Vec<(u64, Rc<[u8]>)> {
        let Some(wire) = self.segments.get_mut(segment) else {
            return Vec::new();
        };
        let arrivals = wire.pass(self.now, &mut self.rng, from, to, frame.len());
        arrivals
            .into_iter()
            .map(|(at, damaged)| {
                (
                    at,
                    if damaged {
                        self.damage(frame)
                    } else {
                        frame.clone()
                    },
                )
            })
            .collect()
    }

    /// Changes one byte of the header, but not of the tag: no initiator could tell such an answer from
    /// that to another request.
    fn damage(&mut self, frame: &Rc<[u8]>) -> Rc<[u8]> {
        let mut copy = frame.to_vec();
        let at = self.rng.below(32);
        let at = usize::try_from(if at < 20 { at } else { at + 4 }).unwrap_or(0);
        let mask = u8::try_from(self.rng.between(1, 255)).unwrap_or(1);
        if let Some(byte) = copy.get_mut(at) {
            *byte ^= mask;
        }
        copy.into()
    }

    /// Lets a server do what it has to do.
    pub fn poll_server(&mut self, server: usize) {
        let now = self.now;
        while let Some(out) = self.servers.get_mut(server).and_then(|one| one.poll(now)) {
            let frame: Rc<[u8]> = out.frame.into();
            self.wire_from_server(server, out.port, &frame);
        }
        let next = self.servers.get(server).and_then(Server::poll_timeout);
        let Some(armed) = self.server_armed.get_mut(server) else {
            return;
        };
        if let Some(at) = next
            && armed.is_none_or(|armed| at < armed)
        {
            *armed = Some(at);
            self.schedule(at, What::Server(server));
        }
    }

    fn wire_from_server(&mut self, server: usize, port: usize, frame: &Rc<[u8]>) {
        self.capture(frame);
        let Some(segment) = self
            .server_ports
            .get(server)
            .and_then(|ports| ports.get(port))
            .copied()
        else {
            return;
        };
        let Some(dst) = frame.first_chunk::<6>().copied() else {
            return;
        };
        for netif in 0..self.netifs.len() {
            let Some(one) = self.netifs.get(netif) else {
                continue;
            };
            if one.segment != segment || (one.mac != dst && dst[0] & 1 == 0) {
                continue;
            }
            let (from, to) = (End::Server(server, port), End::Host(netif, 0));
            for (at, frame) in self.pass(segment, from, to, frame) {
                self.schedule(at, What::ToHost(netif, frame));
            }
        }
    }

    /// Something may be sent on it.
    #[must_use]
    pub fn is_usable(&self, netif: usize) -> bool {
        self.netifs
            .get(netif)
            .is_some_and(|one| one.listed && one.up)
    }
}

/// The clock does not start at zero, so that "never" and "at the start" differ.
const SEC_ZERO: u64 = 1_000_000_000;
