// SPDX-License-Identifier: BSD-2-Clause
//! Locks, and the targets behind them.
#![allow(unsafe_code)]

mod kept;
mod memory;
mod table;

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::sync::atomic::AtomicPtr;

use aoe_core::eventlog::{EventLog, EventSet, Report};
use aoe_core::{Instant, Quarantine, State, Target, Tunables};
use aoe_wire::TargetAddr;

use crate::batch::{BATCH, Batch};
use crate::ffi::{self, Errno, Mbuf, Owner, raw};
use crate::hub::Hub;
use crate::netifs::{Config, Netifs};

pub(crate) use kept::{Awaited, Epoch, LastCall, WorkThread};
pub(crate) use memory::{Buffer, give_io_back, take_io_storage};
use memory::{give_back, give_target_back, take};
pub(crate) use table::{find, for_each, for_each_in_epoch, list, unlist};

/// A value behind one of the module's own locks.
pub(crate) struct Guarded<T> {
    lock: unsafe extern "C" fn(),
    unlock: unsafe extern "C" fn(),
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only with the lock held, which C gives to one thread at a time.
unsafe impl<T: Send> Sync for Guarded<T> {}

impl<T> Guarded<T> {
    pub(crate) fn lock(&'static self) -> Guard<T> {
        // SAFETY: the lock exists from before the first call of Rust until after the last.
        unsafe { (self.lock)() };
        Guard {
            of: self,
            here: PhantomData,
        }
    }
}

/// The value, while its lock is held.
pub(crate) struct Guard<T: 'static> {
    of: &'static Guarded<T>,
    /// The thread that locked has to unlock.
    here: PhantomData<*const ()>,
}

impl<T> Deref for Guard<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.of.value.get() }
    }
}

impl<T> DerefMut for Guard<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, and the guard is borrowed exclusively.
        unsafe { &mut *self.of.value.get() }
    }
}

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        // SAFETY: this guard holds the lock.
        unsafe { (self.of.unlock)() }
    }
}

/// The configuration. First of the locks; its holder may sleep, for memory too.
pub(crate) static CONFIG: Guarded<Config> = Guarded {
    lock: raw::aoe_shim_lock_config,
    unlock: raw::aoe_shim_unlock_config,
    value: UnsafeCell::new(Config::new()),
};

/// The list of interfaces. Second of the locks; its holder may sleep, but never for memory.
pub(crate) static NETIFS: Guarded<Netifs> = Guarded {
    lock: raw::aoe_shim_lock_netifs,
    unlock: raw::aoe_shim_unlock_netifs,
    value: UnsafeCell::new(Netifs::new()),
};

/// The initiator. Third of the locks.
pub(crate) static HUB: Guarded<Hub> = Guarded {
    lock: raw::aoe_shim_lock_initiator,
    unlock: raw::aoe_shim_unlock_initiator,
    value: UnsafeCell::new(Hub::new()),
};

/// A target's timer is not set for sooner than this. While answers come the deadline moves on with each,
/// and going off only to find that costs a processor more than it is worth to a frame that is lost alone:
/// of others the answers to later frames tell.
const TIMER_WAIT_NS: u64 = 1_500_000;
/// A timer that is set too soon is put off by this much at most. One that would be put off for longer is left
/// as it is: the target is idle, and the next request's deadline would only bring it back.
const TIMER_PUT_OFF_NS: u64 = 20_000_000;

/// Where a target's disk is in its life.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Disk {
    /// Not made yet.
    None,
    /// Shown to GEOM.
    Shown,
    /// Withdrawn; GEOM's consumers are letting go.
    Leaving,
    /// GEOM will not call any more.
    Left,
}

/// What a target's lock guards.
pub(crate) struct Inner {
    pub(crate) target: Target<'static>,
    /// Events of the engine that the work thread has not acted on yet.
    pub(crate) events: EventSet,
    pub(crate) disk: Disk,
    /// The size that GEOM knows, in sectors.
    pub(crate) shown_sectors: u64,
    /// The disk is open.
    pub(crate) open: bool,
    /// The machine waits for its disk when it boots.
    pub(crate) boot_target: bool,
    /// GEOM looked at the disk and got no answer. Until something is answered it gets none at once.
    pub(crate) taste_failed: bool,
    /// When GEOM may look at the disk again, after that; when it did so last; and that the work thread is to
    /// let it do so now.
    pub(crate) retaste_at: Option<Instant>,
    pub(crate) retasted_at: Option<Instant>,
    pub(crate) retaste: bool,
    /// Opens for writing are refused, and the work thread has yet to tell GEOM so.
    pub(crate) read_only: bool,
    pub(crate) read_only_news: bool,
    /// It is being removed: no timer is armed, nothing is opened.
    pub(crate) closing: bool,
    /// The work thread is to remove it.
    pub(crate) remove: bool,
    /// The engine's books were found broken, and that was said.
    pub(crate) broken: bool,
    /// The state that the probe of its changes has seen.
    state: State,
    /// For which time the timer is set.
    armed: Option<Instant>,
    /// Numbers of paths that have nodes in the sysctl tree, a bit each.
    pub(crate) path_nodes: u32,
    /// The node of the target in the sysctl tree.
    pub(crate) node: Option<ffi::Node>,
    clock: Instant,
    sending: bool,
    /// Requests ended of which nobody was asked to tell GEOM.
    untold: bool,
}

/// One target.
pub(crate) struct Cell {
    addr: TargetAddr,
    shim: NonNull<raw::aoe_cell>,
    next: AtomicPtr<Self>,
    inner: UnsafeCell<Inner>,
    log: UnsafeCell<EventLog>,
    batch: UnsafeCell<Batch<BATCH>>,
}

// SAFETY: `inner` and `log` are reached with the target's lock only, `batch` by the one thread that made
// itself the sender under it; the rest is constant or atomic.
unsafe impl Sync for Cell {}

impl Cell {
    /// Makes a target, without sleeping.
    pub(crate) fn try_new(
        addr: TargetAddr,
        tunables: Tunables,
        left: Quarantine,
    ) -> Option<Unlisted> {
        let info = take(1, false)?.first_mut()?;
        // SAFETY: allocates without sleeping.
        let memory = unsafe { raw::aoe_shim_mem_alloc(size_of::<Self>(), 0) };
        let mut target = Target::new(addr, ffi::random(), tunables, info);
        target.inherit(left);
        let Some(place) = NonNull::new(memory).map(NonNull::cast::<Self>) else {
            give_target_back(target);
            return None;
        };
        // SAFETY: C stores the pointer, and hands it out only after this target was listed.
        let shim =
            unsafe { raw::aoe_shim_cell_create(place.as_ptr().cast(), addr.shelf(), addr.slot()) };
        let Some(shim) = NonNull::new(shim) else {
            // SAFETY: from the allocation above, not used yet.
            unsafe { raw::aoe_shim_mem_free(place.as_ptr().cast()) };
            give_target_back(target);
            return None;
        };
        // SAFETY: memory of the right size that nobody else uses.
        unsafe { Self::write(place, addr, shim, target) };
        Some(Unlisted(place))
    }

    /// # Safety
    /// `place` must be memory for a cell that nobody uses.
    #[inline(never)]
    unsafe fn write(
        place: NonNull<Self>,
        addr: TargetAddr,
        shim: NonNull<raw::aoe_cell>,
        target: Target<'static>,
    ) {
        let cell = place.as_ptr();
        // SAFETY: fields of memory that the caller gives; written one by one, so that the large
        // ones are never on the stack. A batch without frames is all zeros but for its tickets.
        unsafe {
            (&raw mut (*cell).addr).write(addr);
            (&raw mut (*cell).shim).write(shim);
            (&raw mut (*cell).next).write(AtomicPtr::new(core::ptr::null_mut()));
            (&raw mut (*cell).batch).write(UnsafeCell::new(Batch::new()));
            (&raw mut (*cell).log).write(UnsafeCell::new(EventLog::EMPTY));
            (&raw mut (*cell).inner).write(UnsafeCell::new(Inner {
                target,
                events: EventSet::NONE,
                disk: Disk::None,
                shown_sectors: 0,
                open: false,
                boot_target: false,
                taste_failed: false,
                retaste_at: None,
                retasted_at: None,
                retaste: false,
                read_only: false,
                read_only_news: false,
                closing: false,
                remove: false,
                broken: false,
                state: State::Probing,
                armed: None,
                path_nodes: 0,
                node: None,
                clock: Instant::from_nanos(0),
                sending: false,
                untold: false,
            }));
        }
    }

    pub(crate) const fn addr(&self) -> TargetAddr {
        self.addr
    }

    pub(crate) fn lock(&self) -> CellGuard<'_> {
        // SAFETY: the C half exists as long as this one.
        unsafe { raw::aoe_shim_lock_cell(self.shim.as_ptr()) };
        CellGuard {
            cell: self,
            here: PhantomData,
        }
    }

    /// Locks, and says what time it is. The clock is read before: others need not wait for it.
    pub(crate) fn lock_timed(&self) -> (CellGuard<'_>, Instant) {
        let read = ffi::now();
        let mut guard = self.lock();
        let now = guard.pass(read);
        (guard, now)
    }

    /// The owner of this target's sysctl nodes.
    pub(crate) const fn owner(&self) -> Owner {
        // SAFETY: the nodes are removed in `Unlisted::destroy`, before the C half.
        unsafe { Owner::cell(self.shim) }
    }

    /// Makes the disk.
    pub(crate) fn create_disk(
        &self,
        params: &raw::aoe_disk_params,
        _here: &WorkThread,
    ) -> Result<(), Errno> {
        // SAFETY: in the work thread; C copies what it keeps.
        ffi::check(unsafe { raw::aoe_shim_disk_create(self.shim.as_ptr(), params) })
    }

    /// Tells GEOM another size, while the disk is shown.
    pub(crate) fn resize_disk(&self, bytes: i64, _here: &WorkThread) {
        // SAFETY: in the work thread, and the disk was created.
        unsafe { raw::aoe_shim_disk_resize(self.shim.as_ptr(), bytes) }
    }

    /// Tells GEOM what the disk cannot do any more; without locks, while the disk is shown.
    pub(crate) fn restrict_disk(&self, can_flush: bool, can_delete: bool, _here: &WorkThread) {
        // SAFETY: in the work thread, and the disk was created.
        unsafe {
            raw::aoe_shim_disk_restrict(self.shim.as_ptr(), can_flush.into(), can_delete.into());
        }
    }

    /// Tells GEOM whether the disk may be opened for writing, while it is shown.
    pub(crate) fn set_disk_read_only(&self, on: bool, _here: &WorkThread) {
        // SAFETY: in the work thread, and the disk was created.
        unsafe { raw::aoe_shim_disk_set_read_only(self.shim.as_ptr(), i32::from(on)) }
    }

    /// Lets GEOM look at the disk again, unless it is in use, while it is shown.
    pub(crate) fn retaste_disk(&self, _here: &WorkThread) {
        // SAFETY: in the work thread, and the disk was created.
        unsafe { raw::aoe_shim_disk_retaste(self.shim.as_ptr()) }
    }

    /// Withdraws the disk.
    pub(crate) fn withdraw_disk(&self, _here: &WorkThread) {
        // SAFETY: in the work thread, and the disk was created.
        unsafe { raw::aoe_shim_disk_gone(self.shim.as_ptr()) }
    }

    /// Frees the disk, after GEOM said that it is gone.
    pub(crate) fn destroy_disk(&self, _here: &WorkThread) {
        // SAFETY: in the work thread, and `aoe_rs_disk_gone` was called.
        unsafe { raw::aoe_shim_disk_destroy(self.shim.as_ptr()) }
    }

    /// Copies data of a frame to a request, as a claim of this target's engine says.
    pub(crate) fn copy_data(&self, claim: &aoe_core::Claim, frame: &Mbuf<'_>) -> bool {
        // SAFETY: a claim names a request that the engine keeps until the claim is committed, and
        // a range inside it.
        unsafe {
            frame.copy_to_bio(
                aoe_wire::ATA_HEADER_LEN,
                claim.token,
                claim.offset,
                claim.len,
            )
        }
    }
}

/// A target that is in no table: it was just made, or was taken out.
pub(crate) struct Unlisted(NonNull<Cell>);

impl Unlisted {
    /// Ends the target. Sleeps, and must be called without any lock. No reference to the target outlives
    /// the work thread's proof.
    pub(crate) fn destroy(self, _here: WorkThread) {
        let place = self.0.as_ptr();
        // SAFETY: the cell exists until the end of this function.
        let shim = unsafe { (*place).shim.as_ptr() };
        // SAFETY: the C half exists. Its sysctl handlers are waited for first, then those who
        // found the target in the table, then its timer and tasks, which need the former to start.
        unsafe {
            raw::aoe_shim_sysctl_remove(shim);
            ffi::epoch_wait();
            raw::aoe_shim_cell_drain(shim);
        }
        // SAFETY: nobody else knows the target any more. The value is moved out field by field.
        unsafe {
            let inner = (&raw const (*place).inner).read().into_inner();
            give_target_back(inner.target);
            raw::aoe_shim_mem_free(place.cast());
            raw::aoe_shim_cell_destroy(shim);
        }
    }
}

/// A target, locked.
pub(crate) struct CellGuard<'a> {
    cell: &'a Cell,
    here: PhantomData<*const ()>,
}

impl Deref for CellGuard<'_> {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        // SAFETY: the lock is held.
        unsafe { &*self.cell.inner.get() }
    }
}

impl DerefMut for CellGuard<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        // SAFETY: the lock is held, and the guard is borrowed exclusively.
        unsafe { &mut *self.cell.inner.get() }
    }
}

impl Drop for CellGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: this guard holds the lock.
        unsafe { raw::aoe_shim_unlock_cell(self.cell.shim.as_ptr()) }
    }
}

impl<'a> CellGuard<'a> {
    pub(crate) const fn cell(&self) -> &'a Cell {
        self.cell
    }

    /// Asks the work thread to look at this target. It may end the target as soon as the lock is free.
    pub(crate) fn ask_work(&self) {
        // SAFETY: the lock is held, which who ends the target takes first.
        unsafe { raw::aoe_shim_cell_work(self.cell.shim.as_ptr()) }
    }

    /// Asks a thread of the module to go on sending.
    pub(crate) fn ask_send(&self) {
        // SAFETY: the lock is held, which who ends the target takes first.
        unsafe { raw::aoe_shim_cell_send(self.cell.shim.as_ptr()) }
    }

    /// The time. Two processors' clocks may differ by a little: for one target it never goes back.
    pub(crate) fn now(&mut self) -> Instant {
        self.pass(ffi::now())
    }

    fn pass(&mut self, read: Instant) -> Instant {
        self.clock = self.clock.max(read);
        self.clock
    }

    /// The time that was read last for this target: a clock may cost as much to read as a frame to
    /// send, so it is read once for what belongs together.
    pub(crate) fn lately(&self) -> Instant {
        self.clock
    }

    /// Lends the engine a table of so many paths, without sleeping.
    pub(crate) fn widen(&mut self, slots: usize) -> bool {
        let Some(table) = take(slots, false) else {
            return false;
        };
        give_back(self.target.widen(table));
        true
    }

    /// Lends the engine room for the config string of a frame, without sleeping.
    pub(crate) fn keep_config(&mut self, bytes: usize, arg: &[u8]) -> bool {
        let Some(room) = take(bytes, false) else {
            return false;
        };
        give_back(self.target.keep_config(room, arg));
        true
    }

    /// Takes events of the engine in: for the work thread, and what is to be reported of them.
    #[cold]
    pub(crate) fn note_events(&mut self, events: EventSet) {
        // SAFETY: the lock is held, and the guard is borrowed exclusively; nothing else lends the log.
        let log = unsafe { &mut *self.cell.log.get() };
        log.note(self.clock, &self.target, events);
        self.events.add_all(events);
    }

    /// The next thing to report.
    pub(crate) fn next_report(&mut self) -> Option<Report> {
        // SAFETY: as in `note_events`.
        let log = unsafe { &mut *self.cell.log.get() };
        log.pop(&self.target)
    }

    /// Shows a change of state to who traces it.
    pub(crate) fn trace_state(&mut self) {
        let now = self.target.state();
        let before = core::mem::replace(&mut self.state, now);
        if before != now {
            let (from, to) = (before.name(), now.name());
            // SAFETY: the C half exists; pointers and lengths of slices, which C copies.
            unsafe {
                raw::aoe_shim_probe_state(
                    self.cell.shim.as_ptr(),
                    from.as_ptr().cast(),
                    from.len(),
                    to.as_ptr().cast(),
                    to.len(),
                );
            }
        }
    }

    /// Sets the timer for something that is due then, [`TIMER_WAIT_NS`] from now at the soonest.
    pub(crate) fn arm(&mut self, due: Instant) {
        let at = due.max(self.clock.after(TIMER_WAIT_NS));
        let stands = |armed: Instant| {
            let put_off = armed < due && due < armed.after(TIMER_PUT_OFF_NS);
            armed <= at && !put_off
        };
        if self.closing || self.armed.is_some_and(stands) {
            return;
        }
        self.armed = Some(at);
        // SAFETY: the C half exists; not called while it is being drained (`closing`).
        unsafe { raw::aoe_shim_time_arm_cell(self.cell.shim.as_ptr(), at.as_nanos()) }
    }

    /// The timer went off.
    pub(crate) fn disarm(&mut self) {
        self.armed = None;
    }

    /// Ends a request. GEOM is told when the lock is free, by [`CellGuard::tell`] or a thread.
    pub(crate) fn finish_bio(&mut self, bio: u64, errno: Errno) {
        self.untold = true;
        // SAFETY: the lock is held; the engine, or the caller who never gave it away, hands the
        // request over for good.
        unsafe { raw::aoe_shim_bio_done(self.cell.shim.as_ptr(), bio, errno) }
    }

    /// The second request goes behind the first from now on.
    pub(crate) fn join_bio(&mut self, first: u64, bio: u64) {
        // SAFETY: the lock is held; the engine has the first one, and did not begin it.
        unsafe { raw::aoe_shim_bio_join(self.cell.shim.as_ptr(), first, bio) }
    }

    /// The length of a request in bytes, and the request that was joined to it.
    pub(crate) fn next_bio(&mut self, bio: u64) -> (u64, Option<u64>) {
        let mut length = 0;
        // SAFETY: the lock is held, and the request has not ended.
        let next = unsafe { raw::aoe_shim_bio_next(self.cell.shim.as_ptr(), bio, &raw mut length) };
        (length, (next != 0).then_some(next))
    }

    /// Whether GEOM itself looks at the disk with this request.
    pub(crate) fn is_taste(&mut self, bio: u64) -> bool {
        // SAFETY: the lock is held, and the request has not ended.
        unsafe { raw::aoe_shim_bio_is_taste(bio) != 0 }
    }

    /// Tells GEOM of the requests that ended, without the lock. No other may be held.
    pub(crate) fn tell(mut self) {
        if core::mem::take(&mut self.untold) {
            let shim = self.cell.shim.as_ptr();
            core::mem::forget(self);
            // SAFETY: the lock is held, and is given up in the place of this guard. The caller keeps
            // the target: by the net epoch, the configuration, or because C waits for it.
            unsafe { raw::aoe_shim_bio_tell(shim) }
        }
    }

    /// Has a thread of the module do it.
    pub(crate) fn tell_later(&mut self) {
        if core::mem::take(&mut self.untold) {
            // SAFETY: the C half exists as long as this one.
            unsafe { raw::aoe_shim_bio_tell_later(self.cell.shim.as_ptr()) }
        }
    }

    /// Puts a request at the end of those that wait for room in the engine.
    pub(crate) fn queue_bio(&mut self, bio: u64) {
        // SAFETY: the lock is held, and the request is in no queue.
        unsafe { raw::aoe_shim_bio_wait(self.cell.shim.as_ptr(), bio) }
    }

    /// The first request that waits.
    pub(crate) fn first_queued(&mut self) -> Option<raw::aoe_request> {
        let mut request = raw::aoe_request {
            ar_bio: 0,
            ar_offset: 0,
            ar_length: 0,
            ar_cmd: 0,
            ar_flags: 0,
            ar_taste: 0,
        };
        // SAFETY: the lock is held; C fills the structure when it returns a request.
        let some =
            unsafe { raw::aoe_shim_bio_first(self.cell.shim.as_ptr(), &raw mut request) } != 0;
        some.then_some(request)
    }

    /// Takes the first request that waits out of its queue.
    pub(crate) fn unqueue_bio(&mut self) {
        // SAFETY: the lock is held.
        unsafe { raw::aoe_shim_bio_take(self.cell.shim.as_ptr()) }
    }

    /// Makes the caller the one who sends this target's frames, unless somebody is.
    pub(crate) fn become_sender(&mut self) -> Option<Sender<'a>> {
        if core::mem::replace(&mut self.sending, true) {
            None
        } else {
            Some(Sender { cell: self.cell })
        }
    }

    /// Ends what [`CellGuard::become_sender`] began.
    pub(crate) fn end_sending(&mut self, sender: Sender<'a>) {
        let Sender { cell: _ } = sender;
        self.sending = false;
    }
}

/// The right to send a target's frames. One at a time has it, so frames leave in their order.
pub(crate) struct Sender<'a> {
    cell: &'a Cell,
}

impl Sender<'_> {
    pub(crate) fn batch(&mut self) -> &mut Batch<BATCH> {
        // SAFETY: there is one sender at a time, and it is borrowed exclusively.
        unsafe { &mut *self.cell.batch.get() }
    }
}
