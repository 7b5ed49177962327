// SPDX-License-Identifier: BSD-2-Clause
//! What the console is told. Each cause is limited in its rate, by C.

use core::fmt::{self, Arguments, Display, Write};

use aoe_core::{Event, Instant, PathState, State, Target};

use crate::cell::Cell;
use crate::ffi;
use crate::ffi::raw::{
    AOE_CAUSE_EVENT, AOE_CAUSE_MODULE, AOE_CAUSE_NETIF, AOE_CAUSE_REMOVED, AOE_CAUSE_SHRINK,
    AOE_CAUSE_TARGET,
};
use crate::netifs::Netifs;
use crate::notify;
use crate::show::Size;
use crate::text::Text;
use crate::work::Events;

/// Longest line.
const LINE: usize = 256;
/// Something that goes on and on is said once in this time, for one target.
const REPEAT_NS: u64 = 60_000_000_000;

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

/// About an interface.
pub(crate) fn netif(name: &str, what: &dyn Display) {
    print(AOE_CAUSE_NETIF, format_args!("{name}: {what}"));
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

/// The engine found its own books wrong and failed the target's requests.
pub(crate) fn broken(cell: &Cell) {
    print(
        AOE_CAUSE_TARGET,
        format_args!(
            "aoe{}: internal error, its I/O fails; please report this",
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

/// What happened to a target. The one place from which the world outside is told of it.
pub(crate) fn events(netifs: &Netifs, cell: &Cell, events: Events) {
    // What is true now is said last.
    let came_back = events.has(Event::Up)
        && (events.has(Event::Down) || events.has(Event::Dead))
        && cell.lock().target.state() == State::Up;
    for event in Event::ALL {
        if event == Event::Up && came_back {
            continue;
        }
        if events.has(event) && may_say(cell, event) {
            say(netifs, cell, event, events);
        }
    }
    if came_back {
        say(netifs, cell, Event::Up, events);
    }
    if [Event::PathUp, Event::PathDown, Event::Conflict]
        .into_iter()
        .any(|event| events.has(event))
    {
        notify::paths(netifs, cell);
    }
}

/// What the target does with every request is not said every time.
fn may_say(cell: &Cell, event: Event) -> bool {
    if !matches!(
        event,
        Event::Reserved | Event::ReadOnly | Event::FeatureLost | Event::PayloadRefused
    ) {
        return true;
    }
    let mut guard = cell.lock();
    let now = guard.now();
    if guard.said == 0 || now.since(guard.said_since) >= REPEAT_NS {
        guard.said = 0;
        guard.said_since = now;
    }
    let bit = 1 << event.index();
    let new = guard.said & bit == 0;
    guard.said |= bit;
    new
}

fn say(netifs: &Netifs, cell: &Cell, event: Event, all: Events) {
    if is_news(event, all) {
        let mut room = [0; LINE];
        let mut text = Text::new(&mut room);
        {
            let (guard, now) = cell.lock_timed();
            // Text has no error but being full.
            let _ = describe(&mut text, netifs, &guard.target, event, now);
        }
        ffi::print(AOE_CAUSE_EVENT + event.index() as u32, text.as_bytes());
    }
    if !(event == Event::ConfigChanged && all.has(Event::Identified)) {
        notify::event(netifs, cell, event);
    }
}

/// Leaves out what another event of the same moment says already.
const fn is_news(event: Event, all: Events) -> bool {
    match event {
        Event::Up => !all.has(Event::Identified),
        Event::PathUp => !all.has(Event::Identified) && !all.has(Event::Up),
        Event::PathDown => !all.has(Event::Down),
        Event::ConfigChanged | Event::Unused | Event::Forget => false,
        _ => true,
    }
}

fn describe(
    text: &mut Text<'_>,
    netifs: &Netifs,
    target: &Target<'_>,
    event: Event,
    now: Instant,
) -> fmt::Result {
    write!(text, "aoe{}: ", target.addr())?;
    match event {
        Event::Identified => match target.identity() {
            Some(identify) => write!(
                text,
                "<{} {}> serial {:?}, {}",
                identify.model,
                identify.firmware,
                identify.serial.as_str(),
                Size(target.sectors())
            ),
            None => Ok(()),
        },
        Event::Up => text.write_str("answers again, I/O goes on"),
        Event::Down => text.write_str("does not answer, I/O is held"),
        Event::Dead => text.write_str("does not answer, I/O fails until it does"),
        Event::Resized => write!(text, "has {} now", Size(target.sectors())),
        Event::Conflict => match target.conflict() {
            Some((netif, mac)) => write!(
                text,
                "another disk under this address at {mac} on {}; not used",
                netifs.name(netif)
            ),
            None => text.write_str("another disk under this address; not used"),
        },
        Event::PathUp => paths(text, netifs, target, "path came up"),
        Event::PathDown => paths(text, netifs, target, "path lost"),
        Event::Reserved => text.write_str("is reserved by another host"),
        Event::ReadOnly => text.write_str("refuses writes"),
        Event::FeatureLost => text.write_str("does not support what it said it does"),
        Event::PayloadRefused => text.write_str("refused a frame as too large; asking again"),
        Event::PayloadReduced => {
            text.write_str("large frames are lost on the way; using smaller ones")
        }
        Event::Stalled => stalled(text, target, now),
        Event::Resumed => text.write_str("answers requests again"),
        Event::ConfigChanged | Event::Unused | Event::Forget => Ok(()),
    }
}

/// A target that is there and does not do what it is asked for.
fn stalled(text: &mut Text<'_>, target: &Target<'_>, now: Instant) -> fmt::Result {
    let waiting = target.waiting(now);
    write!(
        text,
        "is up, but {} requests wait, the oldest for {} s",
        waiting.requests,
        waiting.oldest_ns / 1_000_000_000
    )
}

/// A change of paths, with those that are left.
fn paths(text: &mut Text<'_>, netifs: &Netifs, target: &Target<'_>, what: &str) -> fmt::Result {
    write!(text, "{what}, now")?;
    let mut some = false;
    for path in target.paths().filter(|path| path.state() == PathState::Up) {
        some = true;
        write!(text, " {}>{}", netifs.name(path.netif()), path.mac())?;
    }
    if some {
        Ok(())
    } else {
        text.write_str(" none")
    }
}
