// SPDX-License-Identifier: BSD-2-Clause
//! A received frame on its way to its target.

use aoe_core::{Admission, Claim, DropReason, Handled, NetifId, Quarantine, Received};
use aoe_wire::{ATA_HEADER_LEN, CONFIG_HEADER_LEN, CONFIG_STRING_MAX, Command, HEADER_LEN, Header};

use crate::cell::{self, Buffer, Cell, CellGuard, Epoch, HUB};
use crate::disk;
use crate::drive::{Teller, drive, drive_and_tell};
use crate::ffi::raw::{
    AOE_CONSUME, AOE_COUNT_DROPS, AOE_COUNT_FRAMES_IN, AOE_COUNT_NO_MEMORY, AOE_COUNT_REFUSED,
    AOE_PASS, aoe_verdict,
};
use crate::ffi::{self, Mbuf};
use crate::{hub, report};

/// A received frame: its first bytes, its length, and all of it.
pub(crate) struct Frame<'f> {
    pub(crate) netif: NetifId,
    pub(crate) start: &'f [u8],
    pub(crate) len: usize,
    pub(crate) mbuf: Mbuf<'f>,
    /// Who may tell GEOM of requests that it ends.
    pub(crate) teller: Teller,
}

/// The counter of a reason to drop a frame.
pub(crate) const fn drop_counter(reason: DropReason) -> u32 {
    AOE_COUNT_DROPS + reason.index() as u32
}

fn dropped(reason: DropReason) -> aoe_verdict {
    ffi::count(drop_counter(reason));
    AOE_CONSUME
}

/// A frame with the EtherType of AoE came in by a listed interface.
pub(crate) fn input(frame: &Frame<'_>, epoch: &Epoch) -> aoe_verdict {
    let Ok((header, arg)) = Header::split(frame.start) else {
        return dropped(DropReason::Short);
    };
    if !header.is_response() {
        // For a target on this machine, if for anybody.
        ffi::count(AOE_COUNT_REFUSED);
        return AOE_PASS;
    }
    ffi::count(AOE_COUNT_FRAMES_IN);
    hub::note_answer(frame.netif);
    if header.command == Command::ATA || frame.start.len() >= frame.len {
        return deliver(frame, &header, arg, epoch);
    }
    // Other answers are wanted whole; the longest that means anything is a config answer.
    let len = frame.len.min(CONFIG_HEADER_LEN + CONFIG_STRING_MAX);
    let Some(mut whole) = Buffer::try_new(len) else {
        ffi::count(AOE_COUNT_NO_MEMORY);
        return AOE_CONSUME;
    };
    if !frame.mbuf.copy_to(0, &mut whole) {
        return dropped(DropReason::Short);
    }
    deliver(
        frame,
        &header,
        whole.get(HEADER_LEN..).unwrap_or(&[]),
        epoch,
    )
}

fn deliver(frame: &Frame<'_>, header: &Header, arg: &[u8], epoch: &Epoch) -> aoe_verdict {
    let Ok(addr) = header.responder() else {
        return dropped(DropReason::BadAddress);
    };
    let rx = Received {
        netif: frame.netif,
        header,
        arg,
        len: frame.len,
    };
    let cell = match cell::find(addr, epoch) {
        Some(cell) => cell,
        None => match admit(&rx, epoch) {
            Ok(Some(cell)) => cell,
            Ok(None) => return AOE_CONSUME,
            Err(reason) => return dropped(reason),
        },
    };
    let (mut guard, now) = cell.lock_timed();
    let late = guard.target.counters().late_answers;
    match guard.target.handle_frame(now, &rx) {
        Handled::Done => drive_and_tell(guard, frame.teller),
        Handled::Dropped(reason) => {
            if guard.target.counters().late_answers != late {
                // To a request that was given up.
                disk::note_answer(&mut guard);
            }
            // The answer may still have meant that a copy of a frame is dead.
            drive_and_tell(guard, frame.teller);
            return dropped(reason);
        }
        Handled::CopyData(claim) => copy_data(guard, claim, frame),
        Handled::CopyIdentify(claim) => copy_identify(guard, claim, frame),
        Handled::Widen(slots) => widen(guard, slots, &rx),
        Handled::KeepConfig(bytes) => keep_config(guard, bytes, arg),
    }
    AOE_CONSUME
}

/// The frame came by a new path, for which the target has no slot. Without memory it is left alone until
/// the next beacon finds it again.
#[inline(never)]
fn widen(mut guard: CellGuard<'_>, slots: usize, rx: &Received<'_>) {
    if !guard.widen(slots) {
        ffi::count(AOE_COUNT_NO_MEMORY);
        return drive(guard);
    }
    let now = guard.lately();
    match guard.target.handle_frame(now, rx) {
        Handled::KeepConfig(bytes) => return keep_config(guard, bytes, rx.arg),
        Handled::Dropped(reason) => ffi::count(drop_counter(reason)),
        // It is an answer to a beacon, so there is nothing to copy, and the slot is there.
        _ => {}
    }
    drive(guard);
}

/// The frame has a config string for which the target has no room. Without memory the old one stays.
#[inline(never)]
fn keep_config(mut guard: CellGuard<'_>, bytes: usize, arg: &[u8]) {
    if !guard.keep_config(bytes, arg) {
        ffi::count(AOE_COUNT_NO_MEMORY);
    }
    drive(guard);
}

/// Few data are copied at once: to give the lock away and to take it again costs more.
const COPIED_UNDER_LOCK: u32 = 2048;

/// More go to the request without the lock; the engine keeps the request until the claim is back.
fn copy_data(mut guard: CellGuard<'_>, claim: Claim, frame: &Frame<'_>) {
    let cell = guard.cell();
    // The engine has checked the frame's length, so the copy does not fail.
    if claim.len <= COPIED_UNDER_LOCK {
        let _ = cell.copy_data(&claim, &frame.mbuf);
    } else {
        drop(guard);
        let _ = cell.copy_data(&claim, &frame.mbuf);
        guard = cell.lock();
    }
    let now = guard.lately();
    guard.target.commit(now, claim);
    drive_and_tell(guard, frame.teller);
}

/// Not inlined: its table does not belong on the stack of every frame.
#[inline(never)]
fn copy_identify(guard: CellGuard<'_>, claim: Claim, frame: &Frame<'_>) {
    let cell = guard.cell();
    drop(guard);
    let mut table = [0; 512];
    // As above; a table of zeros would be refused.
    let _ = frame.mbuf.copy_to(ATA_HEADER_LEN, &mut table);
    let mut guard = cell.lock();
    let now = guard.lately();
    guard.target.commit_identify(now, claim, &table);
    drive(guard);
}

/// An address without target: makes one if the initiator says so. `None`: no memory now, and the
/// next beacon will find it again. Not inlined, for the sake of the stack either.
#[inline(never)]
fn admit<'e>(rx: &Received<'_>, epoch: &'e Epoch) -> Result<Option<&'e Cell>, DropReason> {
    let mut hub = HUB.lock();
    if hub.closing {
        return Err(DropReason::UnknownTarget);
    }
    // Another receive queue may have brought the same answer.
    if let Some(cell) = rx.header.addr().and_then(|addr| cell::find(addr, epoch)) {
        return Ok(Some(cell));
    }
    match hub.initiator.admit(rx) {
        Admission::Ignore(reason) => {
            let refused = rx.header.addr();
            let refused = refused.and_then(|addr| Some((addr, hub.note_refused(addr, reason)?)));
            drop(hub);
            if let Some((addr, refusal)) = refused {
                report::refused(addr, rx.header.src, refusal);
            }
            Err(reason)
        }
        Admission::Create(addr, left) => match Cell::try_new(addr, hub.tunables, left) {
            Some(cell) => Ok(Some(cell::list(cell, &hub, epoch))),
            None => {
                let now = hub.now();
                hub.initiator
                    .target_removed(now, addr, false, Quarantine::NONE);
                ffi::count(AOE_COUNT_NO_MEMORY);
                Ok(None)
            }
        },
    }
}
