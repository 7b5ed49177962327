// SPDX-License-Identifier: BSD-2-Clause
//! Booting from AoE. Nobody has run ifconfig(8) when the root file system is mounted, so a preloaded
//! module brings its interfaces up itself; and the root mount is held until the disks of
//! `net.aoe.boot_targets` are there, or a time has passed.
//!
//! Until it is mounted only these targets become disks. GEOM looks at every new disk and waits for what it
//! reads there, and the root mount waits for GEOM: another target that falls silent at that moment would
//! keep a machine from starting that has no use for it.

use core::fmt::{self, Display};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aoe_core::Instant;
use aoe_core::addrlist::AddrList;
use aoe_core::limits::BOOT_WAIT_SECS;
use aoe_wire::TargetAddr;

use crate::cell::{self, CONFIG, Disk, Guard, NETIFS};
use crate::ffi;
use crate::netifs::{self, Config};
use crate::{hub, report};

const SEC_NS: u64 = 1_000_000_000;

/// The root file system is not mounted yet.
static BOOTING: AtomicBool = AtomicBool::new(false);
/// The root mount, or what looks for further file systems after it, is held.
static HOLDING: AtomicBool = AtomicBool::new(false);

/// Until when GEOM's own looks at the disks of boot targets are waited for.
static PATIENT_UNTIL: AtomicU64 = AtomicU64::new(0);

/// What is waited for. Guarded by the configuration lock.
pub(crate) struct Boot {
    pub(crate) targets: AddrList,
    /// Longest wait; 0 is none.
    pub(crate) wait_secs: u32,
    /// The root mount is held, and until when.
    held_until: Option<Instant>,
}

impl Boot {
    pub(crate) const fn new() -> Self {
        Self {
            targets: AddrList::EMPTY,
            wait_secs: BOOT_WAIT_SECS,
            held_until: None,
        }
    }
}

/// The module starts, by the boot loader or later.
pub(crate) fn load() {
    BOOTING.store(!ffi::boot_is_over(), Ordering::Release);
}

/// Says which boot targets `net.aoe.targets` does not name: they will not come.
pub(crate) fn warn_of_unallowed(config: &Guard<Config>) {
    for addr in config.boot.targets.iter() {
        if !hub::allows(addr) {
            report::tunable(format_args!(
                "net.aoe.boot_targets: {addr} is not in net.aoe.targets"
            ));
        }
    }
}

/// The root is about to be mounted, and the devices of the machine are there. Sleeps.
pub(crate) fn start() {
    raise(true);
    let mut config = CONFIG.lock();
    if config.boot.targets.is_empty() || config.boot.wait_secs == 0 {
        return;
    }
    if NETIFS.lock().iter().next().is_none() {
        report::module(format_args!(
            "net.aoe.boot_targets is set, net.aoe.iflist is not; not waiting"
        ));
        return;
    }
    let wait = u64::from(config.boot.wait_secs).saturating_mul(SEC_NS);
    config.boot.held_until = Some(ffi::now().after(wait));
    PATIENT_UNTIL.store(ffi::now().after(wait).as_nanos(), Ordering::Relaxed);
    HOLDING.store(true, Ordering::Release);
    ffi::boot_hold();
    check(&mut config);
    hub::discover();
}

/// The machine still boots, or something that boots is waited for: [`tick`] is called every second.
pub(crate) fn is_booting() -> bool {
    BOOTING.load(Ordering::Acquire) || HOLDING.load(Ordering::Acquire)
}

/// The root is mounted: what was found becomes disks. What boot targets are still missing is waited for by
/// the start-up scripts, which heed the hold too. Sleeps.
pub(crate) fn booted() {
    BOOTING.store(false, Ordering::Release);
    PATIENT_UNTIL.store(0, Ordering::Relaxed);
    let config = CONFIG.lock();
    cell::for_each(&config, |cell| cell.lock().ask_work());
}

/// Whether the machine waits for this target when it boots.
pub(crate) fn is_target(config: &Guard<Config>, addr: TargetAddr) -> bool {
    config.boot.targets.iter().any(|boot| boot == addr)
}

/// Whether a target may become a disk now.
pub(crate) fn may_show(config: &Guard<Config>, addr: TargetAddr) -> bool {
    !BOOTING.load(Ordering::Acquire) || is_target(config, addr)
}

/// For how many seconds from now the machine would wait for its boot targets.
pub(crate) fn patience_secs(now: Instant) -> u8 {
    let until = Instant::from_nanos(PATIENT_UNTIL.load(Ordering::Relaxed));
    u8::try_from(until.since(now) / SEC_NS).unwrap_or(u8::MAX)
}

/// A second has passed, or an interface changed; in the work thread, without locks.
pub(crate) fn tick() {
    if BOOTING.load(Ordering::Acquire) {
        // One that has just arrived.
        raise(false);
    }
    if !HOLDING.load(Ordering::Acquire) {
        return;
    }
    let mut config = CONFIG.lock();
    check(&mut config);
    if config.boot.held_until.is_some() {
        // A switch that has just seen a link drops frames for a while; whoever boots wants to go on.
        hub::discover();
    }
}

/// Lets the root be mounted when nothing is missing any more, or it took too long.
pub(crate) fn check(config: &mut Guard<Config>) {
    let Some(until) = config.boot.held_until else {
        return;
    };
    let missing = Missing::find(config);
    if missing.is_none() {
        end(config);
    } else if until <= ffi::now() {
        report::module(format_args!(
            "net.aoe.boot_targets:{missing} not there after {} seconds; booting on",
            config.boot.wait_secs
        ));
        end(config);
    }
}

/// The module goes, or nothing is waited for any more.
pub(crate) fn end(config: &mut Guard<Config>) {
    if config.boot.held_until.take().is_some() {
        HOLDING.store(false, Ordering::Release);
        ffi::boot_release();
    }
}

/// Sets the listed interfaces up. Drivers have locks of their own, so it is done without ours.
fn raise(say: bool) {
    for id in netifs::ids() {
        let present = NETIFS.lock().present(id);
        let Some((name, ifp)) = present else {
            continue;
        };
        if let Err(errno) = ifp.raise()
            && say
        {
            let name = core::str::from_utf8(&name).unwrap_or("?");
            let name = name.trim_end_matches('\0');
            report::netif(name, &format_args!("does not come up, error {errno}"));
        }
    }
}

/// The targets without a disk.
struct Missing(AddrList, [bool; aoe_core::limits::MAX_BOOT_TARGETS]);

impl Missing {
    fn find(config: &Guard<Config>) -> Self {
        let targets = config.boot.targets;
        let mut there = [false; _];
        cell::for_each(config, |cell| {
            let at = targets.iter().position(|addr| addr == cell.addr());
            if let Some(place) = at.and_then(|at| there.get_mut(at)) {
                *place = cell.lock().disk == Disk::Shown;
            }
        });
        Self(targets, there)
    }

    fn iter(&self) -> impl Iterator<Item = TargetAddr> {
        self.0
            .iter()
            .zip(self.1)
            .filter_map(|(addr, there)| (!there).then_some(addr))
    }

    fn is_none(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|addr| write!(f, " {addr}"))
    }
}
