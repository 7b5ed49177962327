// SPDX-License-Identifier: BSD-2-Clause
//! Loading, unloading, shutting down.

use core::sync::atomic::{AtomicBool, Ordering};

use aoe_core::limits::{BEACON_SECS, BOOT_WAIT_SECS, DEFAULT_TARGETS, QUARANTINE_SECS};
use aoe_core::targetlist::{self, TargetList};
use aoe_core::{Instant, Tunables, addrlist, settings};

use crate::boot;
use crate::cell::{self, CONFIG, Cell, Guard, HUB, NETIFS};
use crate::drive::drive;
use crate::ffi::raw::aoe_tunables;
use crate::ffi::{self, Errno, errno};
use crate::netifs::{self, Config};
use crate::text::Text;
use crate::{hub, report, sysctl};

/// GEOM tastes new disks, which holds them open for a moment. An unload waits for so long.
const TASTE_MSECS: u32 = 1_000;
const TASTE_STEP_MSECS: u32 = 20;
/// When the machine goes down, a request that has been unanswered for so long fails: as long as da(4) waits
/// for a disk. Disks that spin up answer within this time.
pub(crate) const SHUTDOWN_STALL_NS: u64 = 60_000_000_000;
/// Room for the list of interfaces, each with a separator.
const LIST: usize = (netifs::NAME + 1) * aoe_core::limits::MAX_NETIFS;
/// How long an unload waits for the targets to go. Nothing is open then, so it is a moment.
const GONE_SECS: i32 = 60;

/// How long an unload waits for copies of writes that may still be on their way, and how often it looks.
const COPIES_MSECS: u32 = 30_000;
const COPIES_STEP_MSECS: u32 = 50;
/// How long targets may take that leave while an unload is given up.
const LEAVE_SECS: i32 = 2;

/// Disks are not opened any more.
static CLOSING: AtomicBool = AtomicBool::new(false);
/// The machine goes down: targets that do not answer fail their I/O instead of holding it.
static SHUTTING_DOWN: AtomicBool = AtomicBool::new(false);
/// Whether they are to. Not behind the configuration lock, whose holder may wait for memory that only
/// the end of I/O gives back.
static FAIL_ON_SHUTDOWN: AtomicBool = AtomicBool::new(true);

pub(crate) fn is_closing() -> bool {
    CLOSING.load(Ordering::Acquire)
}

pub(crate) fn is_shutting_down() -> bool {
    SHUTTING_DOWN.load(Ordering::Acquire)
}

pub(crate) fn fail_on_shutdown() -> bool {
    FAIL_ON_SHUTDOWN.load(Ordering::Acquire)
}

pub(crate) fn set_fail_on_shutdown(on: bool) {
    FAIL_ON_SHUTDOWN.store(on, Ordering::Release);
}

/// The tunables that are lists.
pub(crate) struct Lists<'l> {
    pub(crate) iflist: &'l str,
    pub(crate) boot_targets: &'l str,
    pub(crate) targets: &'l str,
}

/// Starts, with what the loader was told. What fails leaves nothing behind.
pub(crate) fn load(lists: &Lists<'_>, set: &aoe_tunables) -> Result<(), Errno> {
    let &Lists {
        iflist,
        boot_targets,
        targets,
    } = lists;
    let mut config = CONFIG.lock();
    set_fail_on_shutdown(tunable(
        "fail_on_shutdown",
        set.at_fail_on_shutdown,
        settings::flag,
        true,
    ));
    config.beacon_secs = tunable(
        "beacon_secs",
        set.at_beacon_secs,
        settings::beacon_secs,
        BEACON_SECS,
    );
    config.boot.wait_secs = tunable(
        "boot_wait_secs",
        set.at_boot_wait_secs,
        settings::boot_wait_secs,
        BOOT_WAIT_SECS,
    );
    note_restart(target_tunables(set));
    match addrlist::parse(boot_targets) {
        Ok(list) => config.boot.targets = list,
        Err(_) => report::tunable(format_args!(
            "net.aoe.boot_targets=\"{boot_targets}\" is not valid; ignored"
        )),
    }
    allow(targets, set.at_max_targets);
    boot::warn_of_unallowed(&config);
    sysctl::create(&mut config)?;
    ffi::fault()?;
    // From here on nothing fails: timers and interfaces come last.
    boot::load();
    hub::set_beacon_secs(config.beacon_secs);
    match netifs::set_list(&mut config, iflist) {
        Ok(()) => {}
        Err(errno::EINVAL) => report::tunable(format_args!(
            "net.aoe.iflist=\"{iflist}\" is not valid; ignored"
        )),
        Err(errno) => report::module(format_args!(
            "net.aoe.iflist=\"{iflist}\" cannot be used, error {errno}"
        )),
    }
    Ok(())
}

/// Whatever was sent before this machine started may still be on its way.
fn note_restart(tunables: Tunables) {
    let mut hub = HUB.lock();
    hub.tunables = tunables;
    let boot = Instant::from_nanos(0);
    hub.initiator.note_restart(boot, tunables.quarantine_secs);
}

/// What may become a target. A list that is not valid allows nothing: whoever wrote it wanted a limit. Not inlined:
/// the list does not belong on the stack of all that follows.
#[inline(never)]
fn allow(targets: &str, most: i64) {
    match targetlist::parse(targets) {
        Ok(list) => hub::set_allowed(&list),
        Err(_) => {
            report::tunable(format_args!(
                "net.aoe.targets=\"{targets}\" is not valid; no target is used until it is set"
            ));
            hub::set_allowed(&TargetList::NONE);
        }
    }
    let most = tunable("max_targets", most, settings::max_targets, DEFAULT_TARGETS);
    hub::set_max_targets(most);
}

/// What holds for every target.
fn target_tunables(set: &aoe_tunables) -> Tunables {
    let maxwait = tunable("maxwait", set.at_maxwait, settings::dead_secs, 0);
    Tunables {
        dead_secs: if set.at_has_dead_secs != 0 {
            tunable("dead_secs", set.at_dead_secs, settings::dead_secs, 0)
        } else {
            maxwait
        },
        write_cache: tunable("wc", set.at_wc, settings::write_cache, None),
        quarantine_secs: tunable(
            "quarantine_secs",
            set.at_quarantine_secs,
            settings::quarantine_secs,
            QUARANTINE_SECS,
        ),
    }
}

/// The meaning of a tunable. One that is not allowed is said, and the default taken in its place.
fn tunable<T>(name: &str, value: i64, meaning: fn(i64) -> Option<T>, default: T) -> T {
    meaning(value).unwrap_or_else(|| {
        if value == i64::MIN {
            report::tunable(format_args!("net.aoe.{name} is not a number; ignored"));
        } else {
            report::tunable(format_args!(
                "net.aoe.{name}={value} is out of range; ignored"
            ));
        }
        default
    })
}

fn any_open(config: &Guard<Config>) -> bool {
    let mut open = false;
    cell::for_each(config, |cell| open |= cell.lock().open);
    open
}

/// Whether the module could be unloaded now.
pub(crate) fn check() -> Result<(), Errno> {
    let mut waited = 0;
    while any_open(&CONFIG.lock()) {
        if waited >= TASTE_MSECS {
            return Err(errno::EBUSY);
        }
        ffi::pause(TASTE_STEP_MSECS);
        waited += TASTE_STEP_MSECS;
    }
    Ok(())
}

/// Takes everything down, unless a disk is open. On success nothing runs any more; on an error the module
/// works on.
pub(crate) fn unload() -> Result<(), Errno> {
    check()?;
    ffi::fault()?;
    let mut room = [0; LIST];
    let mut list = Text::new(&mut room);
    close_gate(&mut list)?;
    if let Err(errno) = take_down().and_then(|()| wait_for_copies()) {
        reopen(core::str::from_utf8(list.as_bytes()).unwrap_or(""));
        return Err(errno);
    }
    boot::end(&mut CONFIG.lock());
    hub::close();
    Ok(())
}

/// The module that is loaded next knows nothing of this one's writes. So the unload waits until no copy of them can be
/// on its way any more: usually there is none, otherwise for `net.aoe.quarantine_secs`. Where that is very long, the module
/// stays, and can be unloaded later. A target that answers questions and no requests may keep some for ever, and for
/// that one nobody can wait.
fn wait_for_copies() -> Result<(), Errno> {
    let mut left = COPIES_MSECS;
    while hub::is_quarantine_ageing() {
        if left == 0 {
            report::module(format_args!(
                "writes may still be on their way; still loaded, to be unloaded later"
            ));
            return Err(errno::EBUSY);
        }
        ffi::pause(COPIES_STEP_MSECS);
        left = left.saturating_sub(COPIES_STEP_MSECS);
    }
    if hub::is_quarantined() {
        report::module(format_args!(
            "a target may still keep writes that it has not answered; it should be stopped before it is used again"
        ));
    }
    Ok(())
}

/// Disks are not opened from here on, and nothing new is taken on. Writes down which interfaces are listed.
fn close_gate(list: &mut Text<'_>) -> Result<(), Errno> {
    let mut config = CONFIG.lock();
    CLOSING.store(true, Ordering::Release);
    // An open that had passed the gate by then has set its mark under the target's lock.
    if any_open(&config) {
        CLOSING.store(false, Ordering::Release);
        return Err(errno::EBUSY);
    }
    config.closing = true;
    // Text has no error but being full, and the list was read from one that is no longer.
    let _ = NETIFS.lock().write_list(list);
    Ok(())
}

/// Takes the interfaces and the targets away.
fn take_down() -> Result<(), Errno> {
    {
        let mut config = CONFIG.lock();
        netifs::clear(&mut config)?;
        ffi::fault()?;
        cell::for_each(&config, request_removal);
    }
    ffi::fault()?;
    ffi::wait_no_cells(GONE_SECS).map_err(|_| {
        report::module(format_args!("targets do not go; still loaded"));
        errno::EBUSY
    })?;
    // GEOM's thread may not be back from the call by which it let go of the last disk.
    ffi::wait_disk_calls();
    Ok(())
}

/// Undoes [`close_gate`] and what [`take_down`] did: targets that were removed are found again, once those
/// that are on their way out do not answer for their addresses any more.
fn reopen(list: &str) {
    let _ = ffi::wait_no_cells(LEAVE_SECS);
    let mut config = CONFIG.lock();
    config.closing = false;
    CLOSING.store(false, Ordering::Release);
    if let Err(errno) = netifs::set_list(&mut config, list) {
        report::module(format_args!(
            "not unloaded, and net.aoe.iflist=\"{list}\" cannot be used again, error {errno}"
        ));
    }
}

/// Lets the work thread remove a target.
pub(crate) fn request_removal(cell: &Cell) {
    let mut guard = cell.lock();
    guard.remove = true;
    guard.ask_work();
}

/// Has the work thread remove a target whose disk is not open. From here on nobody opens it.
pub(crate) fn remove_unused(cell: &Cell) -> Result<(), Errno> {
    let mut guard = cell.lock();
    if guard.open {
        return Err(errno::EBUSY);
    }
    guard.closing = true;
    guard.remove = true;
    guard.ask_work();
    Ok(())
}

/// The machine goes down; called again every second from then on. Disks stay, since file systems, mirrors and
/// swap have yet to let go; but what waits for a target that is away now fails, or the machine would wait too.
/// So does what a target that is there has left unanswered for long.
pub(crate) fn shutdown() {
    if fail_on_shutdown() {
        SHUTTING_DOWN.store(true, Ordering::Release);
        cell::for_each_in_epoch(|cell| fail_unanswered(cell, SHUTDOWN_STALL_NS));
    }
}

/// The kernel announces a shutdown only after init has called sync(2), which may wait for a target. So
/// init is looked at, once a second.
pub(crate) fn watch_init() {
    if is_shutting_down() || ffi::init_syncs() {
        shutdown();
    }
}

/// Ends a target's wait for an answer if it is down, or has left a request unanswered for so long: what it
/// holds fails, and what comes until it answers.
pub(crate) fn fail_unanswered(cell: &Cell, longest_ns: u64) {
    let (mut guard, now) = cell.lock_timed();
    guard.target.fail_unanswered(now, longest_ns);
    drive(guard);
}
