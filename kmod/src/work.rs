// SPDX-License-Identifier: BSD-2-Clause
//! What a target's events call for, in a thread that may sleep.

use aoe_core::eventlog::EventSet;
use aoe_core::{Event, State};

use crate::cell::{self, CONFIG, Cell, Disk, Guard, HUB, NETIFS, Unlisted, WorkThread};
use crate::drive::{drive, go_on};
use crate::netifs::Config;
use crate::{boot, disk, ffi, hub, module, report, sysctl};

/// Works for one target. Returns it when it is to be destroyed, which has to happen without locks.
pub(crate) fn run(cell: &Cell, here: &WorkThread) -> Option<Unlisted> {
    let mut config = CONFIG.lock();
    let Sight {
        events,
        disk,
        remove,
        ready,
        retaste,
        read_only,
    } = look(cell);
    if disk == Disk::Left {
        cell.destroy_disk(here);
        report::removed(cell);
        return Some(leave(cell, &config));
    }
    if !events.is_empty() && !remove {
        report::events(&NETIFS.lock(), cell);
    }
    let wanted = disk == Disk::None && ready && !remove && !config.closing;
    if wanted && boot::may_show(&config, cell.addr()) {
        show(cell, &config, here);
        boot::check(&mut config);
    }
    if events.has_any(&[Event::PathUp, Event::Conflict]) {
        sysctl::add_paths(cell);
    }
    if disk == Disk::Shown {
        resize(cell, events.has(Event::Resized), here);
        if let Some(read_only) = read_only {
            cell.set_disk_read_only(read_only, here);
        }
        if retaste {
            cell.retaste_disk(here);
        }
    }
    let mut remove = remove;
    if events.has(Event::Unused) {
        take_back(cell);
        // The operator has forbidden it while it was in use.
        remove |= !hub::allows(cell.addr());
    }
    if events.has(Event::Down) && module::is_shutting_down() {
        module::fail_unanswered(cell, module::SHUTDOWN_STALL_NS);
    }
    if remove || events.has(Event::Forget) {
        return withdraw(cell, &config, here);
    }
    if disk == Disk::Shown && events.has(Event::FeatureLost) {
        // GEOM's own lock, which may be held for long, is waited for without ours.
        drop(config);
        restrict(cell, here);
    }
    None
}

/// What there is to do for a target.
struct Sight {
    events: EventSet,
    disk: Disk,
    /// It is to be removed.
    remove: bool,
    /// It is identified, and answers.
    ready: bool,
    /// GEOM is to look at its disk again.
    retaste: bool,
    /// GEOM is to know whether its disk may be opened for writing.
    read_only: Option<bool>,
}

/// Takes the events, and looks what there is to do.
fn look(cell: &Cell) -> Sight {
    let mut guard = cell.lock();
    if guard.target.is_broken() && !guard.broken {
        guard.broken = true;
        report::broken(cell);
    }
    Sight {
        events: core::mem::take(&mut guard.events),
        disk: guard.disk,
        remove: guard.remove,
        retaste: core::mem::take(&mut guard.retaste),
        read_only: core::mem::take(&mut guard.read_only_news).then_some(guard.read_only),
        ready: guard.target.identity().is_some() && guard.target.state() == State::Up,
    }
}

/// Gives an identified target its sysctl nodes and its disk.
fn show(cell: &Cell, config: &Guard<Config>, here: &WorkThread) {
    let mut params = ffi::NO_DISK;
    {
        let mut guard = cell.lock();
        if !disk::describe(&guard.target, &mut params) {
            return;
        }
        guard.shown_sectors = guard.target.sectors();
        guard.disk = Disk::Shown;
        guard.boot_target = boot::is_target(config, cell.addr());
    }
    HUB.lock().initiator.target_identified();
    sysctl::add_target(cell, config);
    // C has no way to fail but running out of memory that it waits for.
    let _ = cell.create_disk(&params, here);
    go_on(cell);
}

/// Frees the memory of a disk's I/O, unless somebody has opened it again.
fn take_back(cell: &Cell) {
    let io = cell.lock().target.take_back();
    if let Some(io) = io {
        cell::give_io_back(io);
    }
}

/// Tells GEOM of another size. Growth at once; a disk that is open does not shrink, since that
/// would throw its users off without asking them: they get errors beyond the new end.
fn resize(cell: &Cell, news: bool, here: &WorkThread) {
    let (old, new, open) = {
        let mut guard = cell.lock();
        let (old, new, open) = (guard.shown_sectors, guard.target.sectors(), guard.open);
        if new != 0 && (new > old || !open) {
            guard.shown_sectors = new;
        }
        (old, new, open)
    };
    if new == old || new == 0 {
        return;
    }
    if new < old && open {
        if !news {
            return;
        }
        report::shrunk(cell, old, new);
    } else {
        cell.resize_disk(disk::bytes(new), here);
    }
}

/// Tells GEOM of what the target has turned out not to do.
fn restrict(cell: &Cell, here: &WorkThread) {
    let (can_flush, can_delete) = {
        let guard = cell.lock();
        (guard.target.can_flush(), guard.target.can_trim())
    };
    cell.restrict_disk(can_flush, can_delete, here);
}

/// Removes a target that nobody has open. With a disk it goes on when GEOM has let go.
fn withdraw(cell: &Cell, config: &Guard<Config>, here: &WorkThread) -> Option<Unlisted> {
    let disk = {
        let mut guard = cell.lock();
        // GEOM's last call for the disk may have come since its state was looked at; that asks for work.
        if guard.open || matches!(guard.disk, Disk::Leaving | Disk::Left) {
            guard.remove = false;
            return None;
        }
        guard.closing = true;
        let now = guard.now();
        guard.target.abort(now);
        let disk = guard.disk;
        if disk == Disk::Shown {
            guard.disk = Disk::Leaving;
        }
        drive(guard);
        disk
    };
    if disk == Disk::Shown {
        cell.withdraw_disk(here);
        None
    } else {
        Some(leave(cell, config))
    }
}

/// Takes a target out of the table and off the initiator's books.
fn leave(cell: &Cell, config: &Guard<Config>) -> Unlisted {
    let (had_disk, addr, left) = {
        let mut guard = cell.lock();
        guard.closing = true;
        let now = guard.now();
        let had_disk = guard.disk != Disk::None;
        (had_disk, guard.target.addr(), guard.target.left_behind(now))
    };
    let mut hub = HUB.lock();
    let now = hub.now();
    hub.initiator.target_removed(now, addr, had_disk, left);
    cell::unlist(cell, config, &hub)
}
