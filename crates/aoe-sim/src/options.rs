// SPDX-License-Identifier: BSD-2-Clause
//! What a run is made of. Everything can be drawn from a seed.

use aoe_core::{IoError, Tunables};
use aoe_target::{AoeFault, AtaFault, Mac, Profile, Timing};

use crate::net::Condition;

/// Nanoseconds in a microsecond.
pub const US: u64 = 1_000;
/// Nanoseconds in a millisecond.
pub const MS: u64 = 1_000_000;
/// Nanoseconds in a second.
pub const SEC: u64 = 1_000_000_000;

/// An interface of the initiator.
#[derive(Clone, Debug)]
pub struct NetifOptions {
    /// Its MTU.
    pub mtu: u32,
    /// The segment it is plugged into.
    pub segment: usize,
    /// It is on the list of interfaces to use.
    pub listed: bool,
    /// The ports below it, at least one.
    pub ports: Vec<NetPortOptions>,
    /// How these share its frames.
    pub sharing: Sharing,
    /// It is a vlan(4) on top of that: its own flush does nothing.
    pub vlan: bool,
}

/// A port of an interface of the initiator: one driver with one transmit ring.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct NetPortOptions {
    /// The ring keeps what it is given while there is no link, and sends it when the link is back, as those of
    /// iflib(9) and vtnet(4) do. Otherwise that is lost.
    pub keeps: bool,
    /// What empties the ring while there is no link.
    pub flush: Flush,
}

impl NetPortOptions {
    /// A ring that keeps frames, and that a flush empties.
    pub const PLAIN: Self = Self {
        keeps: true,
        flush: Flush::Works,
    };
}

/// What empties the transmit ring of a port without link.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Flush {
    /// The driver's `if_qflush`.
    Works,
    /// Only its `if_init`, as with iflib(9).
    AfterInit,
    /// Nothing.
    Nothing,
}

/// How the ports of an interface share its frames.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// The first one with link has all of them: lagg(4) failover. An interface with one port is like that.
    Failover,
    /// They take turns: lagg(4) roundrobin.
    RoundRobin,
    /// The addresses decide among those with link: lagg(4) loadbalance, lacp.
    Hash,
    /// The one by which the other side was heard last, with link or without: if_bridge(4).
    Bridge,
}

/// A port of a server.
#[derive(Copy, Clone, Debug)]
pub struct PortOptions {
    /// Its MTU.
    pub mtu: u32,
    /// The segment it is plugged into.
    pub segment: usize,
}

/// A server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Shelf and slot.
    pub addr: (u16, u8),
    /// Its kind.
    pub profile: Profile,
    /// Its ports.
    pub ports: Vec<PortOptions>,
    /// Its speed and order.
    pub timing: Timing,
    /// The disk it exports.
    pub disk: usize,
    /// It is started at the beginning.
    pub alive: bool,
}

/// A disk.
#[derive(Copy, Clone, Debug)]
pub struct DiskOptions {
    /// Its size.
    pub sectors: u64,
    /// Another disk than the one the initiator saw first: it must never be written.
    pub foreign: bool,
}

/// The load on every target.
#[derive(Copy, Clone, Debug)]
pub struct WorkOptions {
    /// Requests to make in all, per target.
    pub requests: u64,
    /// Requests at a time.
    pub depth: usize,
    /// Sectors that requests fall on, from the start of the disk.
    pub region: u64,
    /// Longest request in sectors.
    pub longest: u64,
    /// Shares out of a hundred: reads, writes, trims; the rest flushes.
    pub reads: u64,
    /// See `reads`.
    pub writes: u64,
    /// See `reads`.
    pub trims: u64,
    /// Requests in a thousand that are barriers.
    pub ordered: u64,
    /// Requests start and end on 4 KiB.
    pub aligned: bool,
    /// Longest pause before a new request.
    pub think: u64,
    /// Requests in a thousand that are instead the next of a run of short ones, on sectors that follow each other.
    pub runs: u64,
}

impl WorkOptions {
    /// None: the test makes its own requests.
    pub const NONE: Self = Self {
        requests: 0,
        depth: 0,
        region: 64,
        longest: 1,
        reads: 0,
        writes: 0,
        trims: 0,
        ordered: 0,
        aligned: false,
        think: 0,
        runs: 0,
    };
}

/// How the caller of the engine behaves.
#[derive(Copy, Clone, Debug)]
pub struct HostOptions {
    /// Frames taken from the engine at a time.
    pub batch: usize,
    /// Pause before the next batch.
    pub batch_pause: u64,
    /// What a call of the engine takes: the next one is told a later time.
    pub call_time: u64,
    /// Longest time from a frame's poll to its leaving.
    pub send_delay: u64,
    /// Longest time from an answer to its commit.
    pub commit_delay: u64,
    /// Longest time by which a timer is late.
    pub timer_delay: u64,
    /// Frames lent to a target.
    pub frames: usize,
    /// Requests lent to a target.
    pub ios: usize,
    /// How often in a million times there is no memory when a target asks for some.
    pub short: u32,
    /// How often in a million times the disk is closed when nothing is to be done, to be opened again for
    /// the next request.
    pub close: u32,
    /// Longest time from the loss of a link until the caller has noticed, emptied the interface, and told
    /// the engine. Until then the interface keeps what it is given, and sends it when the link is back.
    pub notice_delay: u64,
    /// The caller knows the ports below an interface, and follows them. Otherwise a stack of interfaces is one
    /// into which it cannot look.
    pub follow: bool,
    /// Longest time that it takes to initialise a driver again.
    pub init_delay: u64,
    /// Whether it joins requests.
    pub join: bool,
}

/// A deliberate mistake, to prove that the checkers see it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Plant {
    /// A completion is reported twice.
    CompleteTwice,
    /// A completion is swallowed.
    LoseCompletion,
    /// Data of an answer are copied to the wrong place.
    SwapData,
    /// Barriers are submitted as ordinary requests.
    IgnoreOrdered,
    /// Requests complete while the engine still waits for an answer.
    CompleteEarly,
    /// A frame that was sent is sent once more a second later.
    RepeatWrites,
    /// A flush succeeds without being sent.
    SkipFlush,
    /// Config answers promise more buffers than there are.
    OpenWindow,
    /// The engine is told that every interface is up.
    IgnoreDown,
    /// Config answers of another disk are taken for the first one's.
    MergeConflict,
    /// The timer of a target never fires.
    LoseTimer,
    /// Data pinned by a ticket are reused before the frame was built.
    ReuseData,
    /// Timers fire over and over again.
    SpinTimer,
    /// The timer of a target fires every ten milliseconds, whatever it asked for.
    EagerTimer,
    /// What the engine offers back is not taken.
    KeepMemory,
    /// The engine is told that a ring was emptied, though the driver's flush did nothing.
    BelieveFlush,
    /// The engine is not told when a lagg or a bridge goes on by another port.
    IgnorePorts,
    /// An interface is used while the links of its ports are other than the engine was told.
    LookLate,
    /// A frame that was polled before the ports of its interface changed is sent after that.
    SendStale,
    /// The engine is not told when one of several ports has its link again.
    IgnoreReturn,
    /// The engine is told that all interfaces send in order.
    ClaimOrder,
    /// A target that is found again is not told what the one before it left behind.
    ForgetRemoved,
    /// All targets have the same seed.
    SameSeed,
    /// The module is unloaded though copies of its writes may be in the network.
    HastyUnload,
}

/// Something that happens to the world.
#[derive(Clone, PartialEq, Debug)]
pub enum Fault {
    /// A segment behaves differently from now on.
    Conditions(usize, Condition, Condition),
    /// A segment passes nothing on for so long, and then everything.
    Clog(usize, u64),
    /// An interface loses its link.
    NetifDown(usize),
    /// An interface has its link (again); it comes back when it was gone.
    NetifUp(usize),
    /// An interface passes nothing on for so long (its peer says pause), and then everything.
    NetifPause(usize, u64),
    /// One port of an interface passes nothing on for so long, and then everything.
    PortPause(usize, usize, u64),
    /// One port of an interface loses its link.
    PortDown(usize, usize),
    /// One port of an interface has its link (again).
    PortUp(usize, usize),
    /// An interface is taken off the list.
    NetifGone(usize),
    /// An interface has another MTU.
    NetifMtu(usize, u32),
    /// A server does nothing for so long.
    Stall(usize, u64),
    /// The disk of a server hangs, or works again; questions are answered meanwhile.
    Hang(usize, bool),
    /// A server dies.
    Kill(usize),
    /// A server starts (again).
    Start(usize),
    /// A server's ports have another MTU.
    ServerMtu(usize, u32),
    /// A server advertises, and has, another buffer count.
    BufferCount(usize, u16),
    /// ATA commands of a server fail.
    Ata(usize, AtaFault),
    /// Reads of a sector fail.
    BadSector(usize, u64),
    /// ATA commands of a server are answered with an AoE error.
    Aoe(usize, AoeFault),
    /// A server answers from the address of another of its ports, or from the right one again.
    ReplyFrom(usize, Option<usize>),
    /// An interface has another address.
    NetifMac(usize, Mac),
    /// Only these addresses may talk to a server: to everyone else it is silent. Nobody named: all may.
    Mask(usize, Vec<Mac>),
    /// A server is reserved for these addresses; for nobody, when there are none.
    Reserve(usize, Vec<Mac>),
    /// A server has another config string, and says so when it is asked.
    Config(usize, Vec<u8>),
    /// A disk has another size.
    Resize(usize, u64),
    /// The operator takes the target of a server away.
    Remove(usize),
    /// The operator ends all waiting.
    FailHeld,
    /// A beacon is asked for.
    Discover,
    /// Every target is asked to look again.
    Revalidate,
    /// All segments are good, all interfaces up, all servers alive.
    Calm,
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where all numbers come from.
    pub seed: u64,
    /// Interfaces.
    pub netifs: Vec<NetifOptions>,
    /// Servers.
    pub servers: Vec<ServerOptions>,
    /// Disks.
    pub disks: Vec<DiskOptions>,
    /// Number of segments.
    pub segments: usize,
    /// The load.
    pub work: WorkOptions,
    /// The caller.
    pub host: HostOptions,
    /// What the operator decided.
    pub tunables: Tunables,
    /// Faults, in the order of time.
    pub faults: Vec<(u64, Fault)>,
    /// Errors that a request may end with.
    pub allowed: Vec<IoError>,
    /// A deliberate mistake.
    pub plant: Option<Plant>,
    /// The load ends this long after the last fault.
    pub overtime: u64,
    /// Most virtual time from then on between two completions.
    pub patience: u64,
    /// Frames that the initiator sends are kept in [`crate::World::log`].
    pub log: bool,
    /// Beacon interval.
    pub beacon_secs: u32,
}

impl Options {
    /// One vblade on one wire, no load, no faults.
    #[must_use]
    pub fn simple(seed: u64) -> Self {
        Self {
            seed,
            netifs: vec![NetifOptions {
                mtu: 1500,
                segment: 0,
                listed: true,
                ports: vec![NetPortOptions::PLAIN],
                sharing: Sharing::Failover,
                vlan: false,
            }],
            servers: vec![ServerOptions {
                addr: (7, 0),
                profile: Profile::vblade(),
                ports: vec![PortOptions {
                    mtu: 1500,
                    segment: 0,
                }],
                timing: Timing::in_order((20 * US, 80 * US)),
                disk: 0,
                alive: true,
            }],
            disks: vec![DiskOptions {
                sectors: 2048,
                foreign: false,
            }],
            segments: 1,
            work: WorkOptions::NONE,
            host: HostOptions {
                batch: 16,
                batch_pause: 10 * US,
                call_time: 0,
                send_delay: 0,
                commit_delay: 0,
                timer_delay: 0,
                frames: 384,
                ios: 256,
                short: 0,
                close: 0,
                notice_delay: 0,
                follow: true,
                init_delay: 0,
                join: false,
            },
            tunables: Tunables::default(),
            faults: Vec::new(),
            allowed: Vec::new(),
            plant: None,
            overtime: 5 * SEC,
            patience: 40 * SEC,
            log: false,
            beacon_secs: 60,
        }
    }

    /// The first server, in a run that has one.
    ///
    /// # Panics
    /// There is none.
    pub fn server(&mut self) -> &mut ServerOptions {
        self.servers.first_mut().expect("every run has a server")
    }
}
