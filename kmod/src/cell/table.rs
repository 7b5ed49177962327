// SPDX-License-Identifier: BSD-2-Clause
//! The table of targets. It is read in the net epoch, without a lock.
#![allow(unsafe_code)]

use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, Ordering};

use aoe_core::lookup::{self, BUCKETS, Entry, bucket};
use aoe_wire::TargetAddr;

use super::{Cell, Epoch, Guard, Unlisted};
use crate::hub::Hub;
use crate::netifs::Config;

static TABLE: [AtomicPtr<Cell>; BUCKETS] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; BUCKETS];

fn chain(addr: TargetAddr) -> &'static AtomicPtr<Cell> {
    &TABLE[bucket(addr) % BUCKETS]
}

/// A target that was found in the table, for as long as the epoch lasts.
#[derive(Copy, Clone)]
struct Listed<'e>(&'e Cell);

impl<'e> Listed<'e> {
    fn load(link: &AtomicPtr<Cell>, _epoch: &'e Epoch) -> Option<Self> {
        // SAFETY: what is in the table, or was when the epoch was entered, stays until it ends.
        unsafe { link.load(Ordering::Acquire).as_ref() }.map(Self)
    }
}

impl Entry for Listed<'_> {
    fn addr(self) -> TargetAddr {
        self.0.addr
    }

    fn next(self) -> Option<Self> {
        // SAFETY: as in `load`; the epoch in which this was found has not ended yet.
        unsafe { self.0.next.load(Ordering::Acquire).as_ref() }.map(Self)
    }
}

/// Finds a target. Takes no lock.
pub(crate) fn find(addr: TargetAddr, epoch: &Epoch) -> Option<&Cell> {
    lookup::find(Listed::load(chain(addr), epoch), addr).map(|Listed(cell)| cell)
}

/// Puts a target into the table; from here on it is found. The hub's lock orders the changes.
pub(crate) fn list<'e>(cell: Unlisted, _hub: &Guard<Hub>, _epoch: &'e Epoch) -> &'e Cell {
    // SAFETY: the cell was written completely.
    let cell_ref: &'e Cell = unsafe { &*cell.0.as_ptr() };
    let head = chain(cell_ref.addr);
    cell_ref
        .next
        .store(head.load(Ordering::Relaxed), Ordering::Relaxed);
    head.store(cell.0.as_ptr(), Ordering::Release);
    cell_ref
}

/// Takes a target out of the table. Those who found it before may still use it.
pub(crate) fn unlist(cell: &Cell, _config: &Guard<Config>, _hub: &Guard<Hub>) -> Unlisted {
    let wanted = core::ptr::from_ref(cell).cast_mut();
    let mut link = chain(cell.addr);
    loop {
        let here = link.load(Ordering::Acquire);
        if here == wanted {
            link.store(cell.next.load(Ordering::Acquire), Ordering::Release);
            break;
        }
        // SAFETY: targets in the table stay while the configuration is held.
        match unsafe { here.as_ref() } {
            Some(other) => link = &other.next,
            None => break,
        }
    }
    Unlisted(NonNull::from(cell))
}

/// Calls `visit` for every target, in the net epoch, where nothing may sleep. One that is put into the table
/// meanwhile may be missed. Each chain has an epoch of its own, so that none lasts for long.
pub(crate) fn for_each_in_epoch(mut visit: impl FnMut(&Cell)) {
    for head in TABLE
        .iter()
        .filter(|head| !head.load(Ordering::Relaxed).is_null())
    {
        Epoch::run(&mut |epoch| {
            let mut next = Listed::load(head, epoch);
            while let Some(listed) = next {
                visit(listed.0);
                next = listed.next();
            }
        });
    }
}

/// Calls `visit` for every target. Targets leave only under the configuration lock.
pub(crate) fn for_each(_config: &Guard<Config>, mut visit: impl FnMut(&Cell)) {
    for head in &TABLE {
        let mut next = head.load(Ordering::Acquire);
        // SAFETY: targets in the table stay while the configuration is held.
        while let Some(cell) = unsafe { next.as_ref() } {
            next = cell.next.load(Ordering::Acquire);
            visit(cell);
        }
    }
}
