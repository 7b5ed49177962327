// SPDX-License-Identifier: BSD-2-Clause
//! What keeps a target while C names it.
//!
//! C gives every call the pointer that the target was made with. What keeps the target in memory, and for
//! how long, differs from call to call: each kind of promise is a type of its own here. A reference to a
//! target borrows from the promise, so that none is left when the promise ends.
//!
//! A call that promises nothing beyond its beginning ([`LastCall`]) gets no reference, only the locked
//! target: who ends targets takes that lock first.
#![allow(unsafe_code)]

use core::ffi::c_void;
use core::ptr::NonNull;

use super::{Cell, CellGuard};
use crate::ffi::raw;

/// Proof that the caller is in the net epoch: targets found now stay until it ends.
pub(crate) struct Epoch(());

impl Epoch {
    /// # Safety
    /// The caller must be in the net epoch for as long as the value exists.
    pub(crate) const unsafe fn entered() -> Self {
        Self(())
    }

    /// Calls `body` in the net epoch, where nothing may sleep.
    pub(crate) fn run(mut body: &mut dyn FnMut(&Self)) {
        type Body<'b> = &'b mut dyn FnMut(&Epoch);
        unsafe extern "C" fn inside(body: *mut c_void) {
            // SAFETY: C hands back the pointer given to it below, and is in the epoch.
            let (body, epoch) = unsafe { (&mut *body.cast::<Body<'_>>(), Epoch::entered()) };
            body(&epoch);
        }
        // SAFETY: C calls the function once, before it returns.
        unsafe { raw::aoe_shim_epoch_run(Some(inside), (&raw mut body).cast()) }
    }

    /// The target behind a pointer that C was given.
    ///
    /// # Safety
    /// `rs` must come from C, which had it from [`Cell::try_new`], and the target must not have been
    /// taken out of the table before the epoch was entered.
    pub(crate) unsafe fn target(&self, rs: *mut c_void) -> &Cell {
        // SAFETY: as the caller says; who takes it out of the table waits for the epoch to end.
        unsafe { &*rs.cast::<Cell>() }
    }
}

/// A call by C that has to end before its target does: whoever ends the target waits for it, or GEOM
/// does not let go of the disk before.
pub(crate) struct Awaited(());

impl Awaited {
    /// # Safety
    /// The value must not outlive the call.
    pub(crate) const unsafe fn call() -> Self {
        Self(())
    }

    /// The target behind a pointer that C was given.
    ///
    /// # Safety
    /// `rs` must come from C, which had it from [`Cell::try_new`]; the call is made for this target.
    pub(crate) unsafe fn target(&self, rs: *mut c_void) -> &Cell {
        // SAFETY: as the caller says.
        unsafe { &*rs.cast::<Cell>() }
    }
}

/// The work thread, the only one in which targets end: a target that it works for stays until it ends it,
/// and [`super::Unlisted::destroy`] takes this proof away with every reference that borrows from it.
pub(crate) struct WorkThread(());

impl WorkThread {
    /// # Safety
    /// The caller must be the work thread, and the value must not outlive the call for one target.
    pub(crate) const unsafe fn entered() -> Self {
        Self(())
    }

    /// The target behind a pointer that C was given.
    ///
    /// # Safety
    /// `rs` must come from C, which had it from [`Cell::try_new`]; the call is made for this target.
    pub(crate) unsafe fn target(&self, rs: *mut c_void) -> &Cell {
        // SAFETY: as the caller says; nobody else ends targets.
        unsafe { &*rs.cast::<Cell>() }
    }
}

/// A call by which C says that it lets go of a target. Nothing keeps the target once its lock is free.
pub(crate) struct LastCall(NonNull<Cell>);

impl LastCall {
    /// # Safety
    /// `rs` must come from C, which had it from [`Cell::try_new`]; and the target must not end before
    /// the closure of [`LastCall::lock`] has had its lock.
    pub(crate) unsafe fn of(rs: *mut c_void) -> Option<Self> {
        NonNull::new(rs.cast()).map(Self)
    }

    /// Locks the target for the last thing that is done with it. What the closure sees does not get out.
    pub(crate) fn lock(self, last: impl FnOnce(&mut CellGuard<'_>)) {
        // SAFETY: it exists until its lock was held and is free again.
        let mut guard = unsafe { self.0.as_ref() }.lock();
        last(&mut guard);
    }
}
