// SPDX-License-Identifier: BSD-2-Clause
//! The table of targets. It is read in the net epoch, without a lock.
#![allow(unsafe_code)]

use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, Ordering};

use aoe_wire::TargetAddr;

use super::{Cell, Epoch, Guard, Unlisted};
use crate::hub::Hub;
use crate::netifs::Config;

/// With as many targets as may be (65,536) eight in each: a few comparisons beside the two thousand
/// instructions of a frame.
const BUCKET_BITS: u32 = 13;
const BUCKETS: usize = 1 << BUCKET_BITS;
static TABLE: [AtomicPtr<Cell>; BUCKETS] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; BUCKETS];

fn bucket(addr: TargetAddr) -> &'static AtomicPtr<Cell> {
    // Multiplication by 2^32 over the golden ratio (Knuth, TAOCP 6.4): runs of shelves and slots, as
    // operators number them, are spread evenly.
    let key = u32::from(addr.shelf()) << 8 | u32::from(addr.slot());
    let hash = key.wrapping_mul(0x9E37_79B1) >> (u32::BITS - BUCKET_BITS);
    &TABLE[hash as usize % BUCKETS]
}

/// Finds a target. Takes no lock.
pub(crate) fn find<'e>(addr: TargetAddr, _epoch: &Epoch<'e>) -> Option<&'e Cell> {
    let mut next = bucket(addr).load(Ordering::Acquire);
    // SAFETY: what is in the table, or was when the epoch was entered, stays until it ends.
    while let Some(cell) = unsafe { next.as_ref() } {
        if cell.addr == addr {
            return Some(cell);
        }
        next = cell.next.load(Ordering::Acquire);
    }
    None
}

/// Puts a target into the table; from here on it is found. The hub's lock orders the changes.
pub(crate) fn list<'e>(cell: Unlisted, _hub: &Guard<Hub>, _epoch: &Epoch<'e>) -> &'e Cell {
    // SAFETY: the cell was written completely.
    let cell_ref: &'e Cell = unsafe { &*cell.0.as_ptr() };
    let head = bucket(cell_ref.addr);
    cell_ref
        .next
        .store(head.load(Ordering::Relaxed), Ordering::Relaxed);
    head.store(cell.0.as_ptr(), Ordering::Release);
    cell_ref
}

/// Takes a target out of the table. Those who found it before may still use it.
pub(crate) fn unlist(cell: &Cell, _config: &Guard<Config>, _hub: &Guard<Hub>) -> Unlisted {
    let wanted = core::ptr::from_ref(cell).cast_mut();
    let mut link = bucket(cell.addr);
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
