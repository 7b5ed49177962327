// SPDX-License-Identifier: BSD-2-Clause
//! What the console is told. Each cause is limited in its rate, by C.

use core::fmt::{self, Arguments, Display, Write};

use aoe_core::Event;
use aoe_core::eventlog::{Detail, Entry, Feature, Report};
use aoe_wire::{MacAddr, TargetAddr};

use crate::cell::Cell;
use crate::ffi;
use crate::ffi::raw::{
    AOE_CAUSE_EVENT, AOE_CAUSE_MODULE, AOE_CAUSE_NETIF, AOE_CAUSE_REFUSED, AOE_CAUSE_REMOVED,
    AOE_CAUSE_SHRINK, AOE_CAUSE_TARGET, AOE_CAUSE_TUNABLE,
};
use crate::hub::Refusal;
use crate::netifs::Netifs;
use crate::notify;
use crate::show::Size;
use crate::text::{Quoted, Text};

/// Where problems are reported: `AOE_REPORT` of release.conf, which the build gives. A compiler that only
/// looks at the crate is not told.
const REPORT: &str = match option_env!("AOE_REPORT") {
    Some(place) => place,
    None => "where this module comes from",
};

/// Longest line.
const LINE: usize = 256;

fn print(cause: u32, line: Arguments<'_>) {
    let mut room = [0; LINE];
    let mut text = Text::new(&mut room);
    // Text has no error but being full.
    let _ = text.write_fmt(line);
    ffi::print(cause, text.as_bytes());
}

/// About the module itself.
pub(crate) fn module(line: Arguments<'_>) {
    print(AOE_CAUSE_MODULE, line);
}

/// About a tunable.
pub(crate) fn tunable(line: Arguments<'_>) {
    print(AOE_CAUSE_TUNABLE, line);
}

/// About an interface.
pub(crate) fn netif(name: &str, what: &dyn Display) {
    print(AOE_CAUSE_NETIF, format_args!("{name}: {what}"));
}

/// An address that announces itself does not become a target.
pub(crate) fn refused(addr: TargetAddr, mac: MacAddr, why: Refusal) {
    let say = |line| print(AOE_CAUSE_REFUSED, line);
    match why {
        Refusal::NotAllowed => say(format_args!(
            "target {addr} at {mac} is not in net.aoe.targets; not used"
        )),
        Refusal::More => say(format_args!(
            "more targets are not in net.aoe.targets; net.aoe.drops.not_allowed counts what they send"
        )),
        Refusal::Full(most) => say(format_args!(
            "target {addr} at {mac} is not used: there are {most} already, as many as net.aoe.max_targets allows"
        )),
    }
}

/// A disk that is open became smaller.
pub(crate) fn shrunk(cell: &Cell, old: u64, new: u64) {
    print(
        AOE_CAUSE_SHRINK,
        format_args!(
            "aoe{}: shrank from {} to {} sectors while open; the rest gives errors",
            cell.addr(),
            old,
            new
        ),
    );
}

/// A target that `net.aoe.targets` does not name any more is in use.
pub(crate) fn stays(addr: TargetAddr) {
    print(
        AOE_CAUSE_TARGET,
        format_args!("aoe{addr}: is not in net.aoe.targets any more, and goes when it is closed"),
    );
}

/// The engine found its own books wrong and failed the target's requests.
pub(crate) fn broken(cell: &Cell) {
    print(
        AOE_CAUSE_TARGET,
        format_args!(
            "aoe{}: internal error, its I/O fails; please report this to {REPORT}",
            cell.addr()
        ),
    );
    notify::broken(cell.addr());
}

/// The target's disk is gone.
pub(crate) fn removed(cell: &Cell) {
    let addr = cell.addr();
    print(AOE_CAUSE_REMOVED, format_args!("aoe{addr}: is removed"));
    notify::removed(addr);
}

/// Reports what happened to a target since the last time. The one place from which the world outside is
/// told of it. The lock of the interfaces' names keeps one thread's lines
/// together.
pub(crate) fn events(netifs: &Netifs, cell: &Cell) {
    loop {
        let report = cell.lock().next_report();
        match report {
            Some(Report::Event(entry)) => event(netifs, cell, &entry),
            Some(Report::Missed(count)) => missed(cell, count),
            None => break,
        }
    }
}

fn missed(cell: &Cell, count: u16) {
    print(
        AOE_CAUSE_TARGET,
        format_args!(
            "aoe{}: {count} more changes at that moment; what follows is what they led to",
            cell.addr()
        ),
    );
    notify::missed(cell.addr(), count);
}

#[inline(never)]
fn event(netifs: &Netifs, cell: &Cell, entry: &Entry) {
    if !entry.minor {
        let mut room = [0; LINE];
        let mut text = Text::new(&mut room);
        // Text has no error but being full.
        let _ = write!(text, "aoe{}: ", cell.addr());
        let _ = describe(&mut text, netifs, cell, entry);
        let cause = AOE_CAUSE_EVENT + entry.event.index() as u32;
        ffi::print(cause, text.as_bytes());
    }
    notify::event(netifs, cell, entry);
}

/// What an event means. All that can change is the entry's.
fn describe(text: &mut Text<'_>, netifs: &Netifs, cell: &Cell, entry: &Entry) -> fmt::Result {
    match (entry.event, entry.detail) {
        (Event::Identified, Detail::Size { sectors, .. }) => identified(text, cell, sectors),
        (Event::Up, Detail::Outstanding(0)) => text.write_str("answers again"),
        (Event::Up, Detail::Outstanding(held)) => {
            write!(text, "answers again; requests held: {held}")
        }
        (Event::Down, _) => text.write_str("does not answer, I/O is held"),
        (Event::Dead, _) => text.write_str("does not answer, I/O fails until it does"),
        (Event::Resized, Detail::Size { sectors, .. }) => {
            write!(text, "has {} now", Size(sectors))
        }
        (Event::Conflict, Detail::Path { netif, mac, .. }) => write!(
            text,
            "another disk under this address at {mac} on {}; not used",
            netifs.name(netif)
        ),
        (Event::Conflict, _) => text.write_str("another disk under this address; not used"),
        (Event::PathUp, Detail::Path { netif, mac, in_use }) => write!(
            text,
            "path {}>{mac} came up, paths in use: {in_use}",
            netifs.name(netif)
        ),
        (Event::PathDown, Detail::Path { netif, mac, in_use }) => write!(
            text,
            "path {}>{mac} lost, paths in use: {in_use}",
            netifs.name(netif)
        ),
        (Event::Reserved, _) => text.write_str("is reserved by another host"),
        (Event::ReadOnly, _) => text.write_str("refuses writes"),
        (Event::FeatureLost, Detail::Lost(Feature::FlushExt)) => {
            text.write_str("refuses FLUSH CACHE EXT; FLUSH CACHE is used")
        }
        (Event::FeatureLost, Detail::Lost(Feature::Flush)) => {
            text.write_str("refuses to flush its cache; flushing is off")
        }
        (Event::FeatureLost, Detail::Lost(Feature::Trim)) => {
            text.write_str("refuses TRIM; TRIM is off")
        }
        (Event::PayloadRefused, _) => text.write_str("refused a frame as too large; asking again"),
        (Event::PayloadReduced, _) => {
            text.write_str("large frames are lost on the way; using smaller ones")
        }
        (Event::Stalled, Detail::Waiting(waiting)) => write!(
            text,
            "is up, but {} requests wait, the oldest for {} s",
            waiting.requests,
            waiting.oldest_ns / 1_000_000_000
        ),
        (Event::Resumed, _) => text.write_str("answers requests again"),
        (Event::CommandFailed, Detail::Failed(command)) => write!(text, "{command}"),
        _ => Ok(()),
    }
}

/// The names of a disk never change.
fn identified(text: &mut Text<'_>, cell: &Cell, sectors: u64) -> fmt::Result {
    let guard = cell.lock();
    let Some(identify) = guard.target.identity() else {
        return Ok(());
    };
    write!(
        text,
        "<{} {}> serial {}, {}",
        identify.model,
        identify.firmware,
        Quoted(identify.serial.as_str()),
        Size(sectors)
    )
}
