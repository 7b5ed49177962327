// SPDX-License-Identifier: BSD-2-Clause
//! The engine in a simulated world: virtual time, bad wires, quirky targets, and a book in which everything
//! that must not happen is found.
//!
//! A run is decided by one number ([`Options::draw`]); what went wrong is in [`World::trouble`].
#![forbid(unsafe_code)]

pub mod activity;
pub mod disk;
mod draw;
mod faults;
pub mod host;
pub mod ledger;
pub mod memory;
mod more;
pub mod net;
pub mod options;
pub mod pcap;
pub mod ports;
pub mod reports;
mod requests;
mod watch;
mod work;
pub mod world;

pub use activity::{Activity, Counts};
pub use host::{Ended, Slot};
pub use memory::{Loan, Pool};
pub use options::{Fault, Options, Plant};
pub use world::{Addr, World};

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// What went wrong; nothing, when empty.
    pub trouble: Vec<String>,
    /// Virtual nanoseconds that passed.
    pub virtual_ns: u64,
    /// Events that happened.
    pub steps: u64,
    /// Requests that ended.
    pub requests: usize,
    /// Requests among them that ended with an error (one that was allowed).
    pub failed: usize,
    /// What the engine counted, over all targets.
    pub counted: Counted,
}

/// Sums of the engine's counters, to see that a run was worth it.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Counted {
    /// I/O frames sent.
    pub frames: u64,
    /// Sent again.
    pub retransmits: u64,
    /// Time-outs.
    pub timeouts: u64,
    /// Frames found lost because later ones were answered.
    pub overtaken: u64,
    /// Answers that came too late.
    pub late: u64,
    /// Writes with copies at large.
    pub quarantined: u64,
    /// Requests that waited for those.
    pub quarantine_waits: u64,
    /// Other disks seen.
    pub conflicts: u64,
    /// Requests that went in a frame with the one before.
    pub joined: u64,
}

impl Counted {
    /// Adds another sum.
    pub fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.retransmits += other.retransmits;
        self.timeouts += other.timeouts;
        self.overtaken += other.overtaken;
        self.late += other.late;
        self.quarantined += other.quarantined;
        self.quarantine_waits += other.quarantine_waits;
        self.conflicts += other.conflicts;
        self.joined += other.joined;
    }

    pub(crate) fn of(counters: &aoe_core::Counters) -> Self {
        Self {
            frames: counters.frames_sent,
            retransmits: counters.retransmits,
            timeouts: counters.timeouts,
            overtaken: counters.overtaken,
            late: counters.late_answers,
            quarantined: counters.quarantined,
            quarantine_waits: counters.quarantine_waits,
            conflicts: counters.conflicts,
            joined: counters.joined,
        }
    }
}

/// Memory for as many targets as the options name, and some to spare.
#[must_use]
pub fn pools(options: &Options) -> Vec<Pool> {
    let spare = options.servers.len() + 1;
    (0..spare)
        .map(|_| Pool::new(options.host.frames, options.host.ios))
        .collect()
}

/// Lends all of it.
pub fn loans(pools: &mut [Pool]) -> Vec<Loan<'_>> {
    pools.iter_mut().map(Pool::lend).collect()
}

/// Runs the load that the options describe, to the end.
#[must_use]
pub fn run(options: Options) -> Report {
    let mut pools = pools(&options);
    let mut world = World::new(options, loans(&mut pools));
    world.run();
    report(&world)
}

/// What a world came to.
#[must_use]
pub fn report(world: &World<'_>) -> Report {
    Report {
        trouble: world.trouble.list(),
        virtual_ns: world.now(),
        steps: world.steps(),
        requests: world.requests(),
        failed: world.failed(),
        counted: world.counted(),
    }
}
