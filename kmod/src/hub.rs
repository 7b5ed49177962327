// SPDX-License-Identifier: BSD-2-Clause
//! The initiator: discovery, and which addresses may become targets.

use core::sync::atomic::{AtomicU16, Ordering};

use aoe_core::limits::{MAX_NETIFS, QUARANTINE_SECS};
use aoe_core::targetlist::TargetList;
use aoe_core::{DropReason, Initiator, Instant, InterfaceChange, NetifId, Tunables};
use aoe_wire::TargetAddr;

use crate::batch::Batch;
use crate::cell::{Guard, HUB};
use crate::drive::KernelLinks;
use crate::{ffi, netifs};

/// Beacons sent at a time.
const BEACONS: usize = 4;
/// Time between two looks at the listed interfaces. Most changes are announced; what is not (an
/// MTU, a driver that starts running only after its announcement) is seen by this.
const WATCH_NS: u64 = 1_000_000_000;

/// Interfaces by which answers came in since the initiator was last told, a bit each: a frame to a known
/// target comes by without the hub's lock.
static HEARD: AtomicU16 = AtomicU16::new(0);
const _: () = assert!(MAX_NETIFS == u16::BITS as usize);

/// An answer came in by this interface.
pub(crate) fn note_answer(id: NetifId) {
    let bit = 1_u16.checked_shl(u32::from(id.0)).unwrap_or(0);
    if HEARD.load(Ordering::Relaxed) & bit != bit {
        HEARD.fetch_or(bit, Ordering::Relaxed);
    }
}

/// Addresses of which the console says that they are not used. Strangers cannot fill the log: it names some,
/// and then says that there are more.
const REFUSED_NAMED: usize = 4;

/// Of which refused addresses the console was told since the settings changed.
struct Refused {
    named: [Option<TargetAddr>; REFUSED_NAMED],
    more: bool,
    full: bool,
}

/// What the console is to be told of an address that does not become a target.
#[derive(Copy, Clone)]
pub(crate) enum Refusal {
    /// `net.aoe.targets` does not name it.
    NotAllowed,
    /// Nor many others.
    More,
    /// There are as many targets as `net.aoe.max_targets` says.
    Full(u32),
}

impl Refused {
    const NONE: Self = Self {
        named: [None; REFUSED_NAMED],
        more: false,
        full: false,
    };

    /// Remembers an address; whether the console is to be told.
    fn note(&mut self, addr: TargetAddr) -> Option<Refusal> {
        if self.named.contains(&Some(addr)) {
            return None;
        }
        if let Some(place) = self.named.iter_mut().find(|place| place.is_none()) {
            *place = Some(addr);
            return Some(Refusal::NotAllowed);
        }
        (!core::mem::replace(&mut self.more, true)).then_some(Refusal::More)
    }
}

/// What the hub's lock guards.
pub(crate) struct Hub {
    pub(crate) initiator: Initiator,
    /// What the operator decided, for targets to come.
    pub(crate) tunables: Tunables,
    /// No timer is armed any more, and no target admitted.
    pub(crate) closing: bool,
    refused: Refused,
    armed: Option<Instant>,
    watch: Option<Instant>,
    clock: Instant,
}

impl Hub {
    pub(crate) const fn new() -> Self {
        Self {
            initiator: Initiator::new(),
            tunables: Tunables {
                dead_secs: 0,
                write_cache: None,
                quarantine_secs: QUARANTINE_SECS,
            },
            closing: false,
            refused: Refused::NONE,
            armed: None,
            watch: None,
            clock: Instant::from_nanos(0),
        }
    }

    pub(crate) fn now(&mut self) -> Instant {
        self.clock = self.clock.max(ffi::now());
        self.clock
    }

    /// An address did not become a target; whether the console is to be told.
    pub(crate) fn note_refused(&mut self, addr: TargetAddr, reason: DropReason) -> Option<Refusal> {
        match reason {
            DropReason::NotAllowed => self.refused.note(addr),
            DropReason::Full if self.initiator.is_full() => {
                let told = core::mem::replace(&mut self.refused.full, true);
                (!told).then_some(Refusal::Full(self.initiator.max_targets()))
            }
            _ => None,
        }
    }

    /// Tells the initiator by which interfaces answers came in.
    fn take_answers(&mut self, now: Instant) {
        let heard = HEARD.swap(0, Ordering::Relaxed);
        for id in netifs::ids() {
            if heard & (1_u16.checked_shl(u32::from(id.0)).unwrap_or(0)) != 0 {
                self.initiator.note_answer(now, id);
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        [self.initiator.poll_timeout(), self.watch]
            .into_iter()
            .flatten()
            .min()
    }
}

/// Sends what beacons are due, sets the timer, and lets the lock go.
fn drive(mut guard: Guard<Hub>) {
    loop {
        let mut batch = Batch::<BEACONS>::new();
        batch.begin();
        let now = guard.now();
        let links = KernelLinks::new();
        while !batch.is_full() {
            match guard.initiator.poll_transmit(now, &links) {
                Some(frame) => batch.push(&frame),
                None => break,
            }
        }
        if batch.is_empty() {
            break;
        }
        drop(guard);
        batch.send();
        guard = HUB.lock();
    }
    let Some(at) = guard.next_timeout() else {
        return;
    };
    if !guard.closing && guard.armed.is_none_or(|armed| at < armed) {
        guard.armed = Some(at);
        ffi::arm_initiator(at);
    }
}

/// The timer went off.
pub(crate) fn timeout() {
    let mut guard = HUB.lock();
    guard.armed = None;
    let now = guard.now();
    if guard.watch.is_some_and(|at| at <= now) {
        guard.watch = Some(now.after(WATCH_NS));
        ffi::ask_netif_work();
    }
    guard.take_answers(now);
    guard.initiator.handle_timeout(now);
    drive(guard);
}

/// An interface changed.
pub(crate) fn handle_interface(id: NetifId, change: InterfaceChange) {
    let mut guard = HUB.lock();
    let now = guard.now();
    // What was heard so far was heard before the change.
    guard.take_answers(now);
    guard.initiator.handle_interface(now, id, change);
    drive(guard);
}

/// A target that is no more left writes behind that may be in this interface.
pub(crate) fn may_hold_writes(id: NetifId) -> bool {
    let mut guard = HUB.lock();
    let now = guard.now();
    guard.initiator.may_hold_writes(now, id)
}

/// Copies of writes that targets left behind may still be on their way.
pub(crate) fn is_quarantined() -> bool {
    let mut guard = HUB.lock();
    let now = guard.now();
    guard.initiator.is_quarantined(now)
}

/// Some of these will be too old in a while.
pub(crate) fn is_quarantine_ageing() -> bool {
    let mut guard = HUB.lock();
    let now = guard.now();
    guard.initiator.is_quarantine_ageing(now)
}

/// Sends a beacon everywhere.
pub(crate) fn discover() {
    let mut guard = HUB.lock();
    let now = guard.now();
    guard.initiator.discover(now);
    drive(guard);
}

/// Whether an address may become a target.
pub(crate) fn allows(addr: TargetAddr) -> bool {
    HUB.lock().initiator.allowed().allows(addr)
}

/// Sets which addresses may.
pub(crate) fn set_allowed(list: &TargetList) {
    let mut guard = HUB.lock();
    guard.initiator.set_allowed(list);
    guard.refused = Refused::NONE;
}

/// Sets how many targets there may be.
pub(crate) fn set_max_targets(most: u32) {
    let mut guard = HUB.lock();
    guard.initiator.set_max_targets(most);
    guard.refused.full = false;
}

/// Sets the seconds between beacons.
pub(crate) fn set_beacon_secs(secs: u32) {
    let mut guard = HUB.lock();
    let now = guard.now();
    guard.initiator.set_beacon_secs(now, secs);
    drive(guard);
}

/// Starts or stops looking at the interfaces from time to time.
pub(crate) fn set_watch(on: bool) {
    let mut guard = HUB.lock();
    let now = guard.now();
    guard.watch = on.then(|| now.after(WATCH_NS));
    drive(guard);
}

/// Stops the timer for good; sleeps. Nothing of it can fail, and nothing undoes it.
pub(crate) fn close() {
    HUB.lock().closing = true;
    ffi::stop_initiator();
}
