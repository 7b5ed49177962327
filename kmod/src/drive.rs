// SPDX-License-Identifier: BSD-2-Clause
//! Runs one target's engine: after every call of it, what it wants done is done.

use core::cell;

use aoe_core::eventlog::EventSet;
use aoe_core::{Event, Link, Links, NetifId, Target};

use crate::batch::BATCH;
use crate::cell::{Cell, CellGuard, Sender};
use crate::disk;
use crate::ffi;

/// The interfaces as the kernel has them at this moment. The one that was asked for last is remembered
/// for as long as the lock is held: most targets have one path.
pub(crate) struct KernelLinks(cell::Cell<Option<(NetifId, Option<Link>)>>);

impl KernelLinks {
    pub(crate) const fn new() -> Self {
        Self(cell::Cell::new(None))
    }
}

impl Links for KernelLinks {
    fn link(&self, id: NetifId) -> Option<Link> {
        if let Some((last, link)) = self.0.get()
            && last == id
        {
            return link;
        }
        let link = ffi::netif_link(id);
        self.0.set(Some((id, link)));
        link
    }
}

/// Batches that one thread sends: a full window. What others have left to it by then is for a thread
/// of the module. On a busy target frames come in as fast as they are sent, and who called may be a
/// user's thread whose request was answered long ago.
const LAPS: u32 = 8;
const _: () = assert!(LAPS as usize * BATCH == aoe_core::limits::MAX_WINDOW as usize);

/// With so many frames in flight on every path a target has enough to do: who handed a long request
/// over leaves the rest of it to those who take the answers in. Two who send beside each other wait for
/// the lock and for the card, and keep both processors from what else there is to do.
const FED_FRAMES: u16 = 8;

/// Who tells GEOM of requests that ended.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Teller {
    /// The caller, at the end: it holds no lock, and was not called by GEOM.
    Caller,
    /// A thread of the module.
    Thread,
}

/// Drains the engine and lets the lock go: ends requests, takes in those that waited, sends frames
/// until none may go now, and sets the timer.
///
/// While one thread sends, others leave their frames to it. The caller has just read the time.
pub(crate) fn drive(guard: CellGuard<'_>) {
    drive_and_tell(guard, Teller::Thread);
}

/// [`drive`], and says who tells GEOM of the requests that this ends.
pub(crate) fn drive_and_tell(mut guard: CellGuard<'_>, teller: Teller) {
    settle(&mut guard, teller);
    let guard = send(guard, teller, |_| true);
    if teller == Teller::Caller {
        guard.tell();
    }
}

/// [`drive`], after a request was handed over: sends until the target has enough to do, a batch at
/// least.
pub(crate) fn drive_request(mut guard: CellGuard<'_>) {
    settle(&mut guard, Teller::Thread);
    drop(send(guard, Teller::Thread, |target| {
        !target.expects_answers(FED_FRAMES)
    }));
}

/// Sends a batch, and more as long as there are frames that may go and `goes_on` says so.
fn send<'c>(
    mut guard: CellGuard<'c>,
    teller: Teller,
    goes_on: impl Fn(&Target<'_>) -> bool,
) -> CellGuard<'c> {
    let Some(mut sender) = guard.become_sender() else {
        return guard;
    };
    for lap in 1.. {
        if !fill(&mut guard, &mut sender) {
            break;
        }
        let cell = guard.cell();
        drop(guard);
        sender.batch().send();
        let now;
        (guard, now) = cell.lock_timed();
        for ticket in sender.batch().finish() {
            guard.target.transmitted(now, ticket);
        }
        settle(&mut guard, teller);
        if !goes_on(&guard.target) {
            break;
        }
        if lap == LAPS {
            guard.ask_send();
            break;
        }
    }
    guard.end_sending(sender);
    if let Some(at) = guard.target.poll_timeout() {
        guard.arm(at);
    }
    guard
}

/// Collects frames to send; false when there are none.
fn fill(guard: &mut CellGuard<'_>, sender: &mut Sender<'_>) -> bool {
    let now = guard.lately();
    let batch = sender.batch();
    batch.begin();
    let links = KernelLinks::new();
    while !batch.is_full() {
        match guard.target.poll_transmit(now, &links) {
            Some(frame) => batch.push(&frame),
            None => break,
        }
    }
    !batch.is_empty()
}

/// Ends requests, gives waiting ones their turn, and notes events for the work thread.
fn settle(guard: &mut CellGuard<'_>, teller: Teller) {
    loop {
        while let Some(done) = guard.target.poll_completion() {
            disk::finish(guard, &done);
        }
        if !disk::has_room(guard) || !disk::submit_queued(guard) {
            break;
        }
    }
    if teller == Teller::Thread {
        guard.tell_later();
    }
    guard.trace_state();
    let mut events = EventSet::NONE;
    while let Some(event) = guard.target.poll_event() {
        events.add(event);
    }
    if !events.is_empty() {
        guard.note_events(events);
    }
    if events.has(Event::Up) {
        disk::note_answer(guard);
    }
    disk::retaste_in_time(guard);
    disk::note_read_only(guard);
    let broken = guard.target.is_broken() && !guard.broken;
    if !events.is_empty() || broken {
        guard.ask_work();
    }
}

/// Drives where nothing has happened but that there may be something to do.
pub(crate) fn go_on(cell: &Cell) {
    let (guard, _) = cell.lock_timed();
    drive(guard);
}

/// The timer went off.
pub(crate) fn timeout(cell: &Cell) {
    let (mut guard, now) = cell.lock_timed();
    guard.disarm();
    guard.target.handle_timeout(now);
    drive(guard);
}
