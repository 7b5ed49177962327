// SPDX-License-Identifier: BSD-2-Clause
//! Block requests for the engine, and what a target's disk looks like.
//!
//! GEOM looks at a disk itself when it is new, and whenever it was written to and closed ("tastes" it). It
//! waits for what it asks for, and the machine waits for it. So these requests have a limit to their waiting
//! (`limits::TASTE_SECS`), there is always room for them in the engine, and once one of them got no answer
//! the next ones, of which there are dozens, get none at once. As soon as the target answers anything again,
//! GEOM is told to look once more, as soon as the disk is not in use.

use core::fmt::{self, Display};

use aoe_core::limits::{DEFAULT_IOS, TASTE_SECS};
use aoe_core::{Completion, Full, Instant, IoError, Op, Request, State, Target};
use aoe_wire::{Identify, TargetAddr};

use crate::cell::{self, Cell, CellGuard, Disk, LastCall};
use crate::drive::{drive, drive_request};
use crate::ffi::raw::{self, aoe_disk_params, aoe_request};
use crate::ffi::{self, Errno, errno, fill_c_string};
use crate::{boot, module};

const SECTOR: u64 = 512;
const SEC_NS: u64 = 1_000_000_000;
/// The old driver's names had room for one digit of slot.
const OLD_SLOTS: u8 = 10;

/// A target that comes and goes would have GEOM look at its disk again and again, and wait each time. So it
/// does that once a minute at most.
const RETASTE_NS: u64 = 60 * SEC_NS;
/// Requests of the engine that are kept for GEOM's own: there is one at a time of them, or few.
const TASTES: u32 = 8;

/// A block request, or the errno it ends with at once.
fn translate(guard: &CellGuard<'_>, request: &aoe_request) -> Result<Request, Errno> {
    let op = match i32::from(request.ar_cmd) {
        raw::BIO_READ => Op::Read,
        raw::BIO_WRITE => Op::Write,
        raw::BIO_FLUSH => Op::Flush,
        raw::BIO_DELETE => Op::Trim,
        // Nothing here is slow on purpose.
        raw::BIO_SPEEDUP => return Err(0),
        _ => return Err(errno::EOPNOTSUPP),
    };
    let offset = u64::try_from(request.ar_offset).map_err(|_| errno::EINVAL)?;
    let length = u64::try_from(request.ar_length).map_err(|_| errno::EINVAL)?;
    if offset % SECTOR != 0 || length % SECTOR != 0 {
        return Err(errno::EINVAL);
    }
    let (lba, sectors) = if op == Op::Flush {
        (0, 0)
    } else {
        (offset / SECTOR, length / SECTOR)
    };
    let ordered = i32::from(request.ar_flags) & raw::BIO_ORDERED != 0;
    Ok(Request {
        token: request.ar_bio,
        op,
        lba,
        sectors,
        ordered,
        wait_secs: if request.ar_taste == 0 {
            0
        } else if guard.boot_target {
            boot::patience_secs(guard.lately()).max(TASTE_SECS)
        } else {
            TASTE_SECS
        },
    })
}

/// Whether the engine takes a request that is not GEOM's own.
pub(crate) fn has_room(guard: &CellGuard<'_>) -> bool {
    let most = DEFAULT_IOS as u32 - TASTES;
    guard.target.has_room() && guard.target.outstanding() < most
}

/// GEOM hands a request over. One that finds the engine full waits; none overtakes it.
pub(crate) fn submit(cell: &Cell, request: &aoe_request) {
    let (mut guard, now) = cell.lock_timed();
    let taste = request.ar_taste != 0;
    match translate(&guard, request) {
        Err(errno) => guard.finish_bio(request.ar_bio, errno),
        Ok(_) if taste && guard.taste_failed => guard.finish_bio(request.ar_bio, errno::EIO),
        Ok(_) if !taste && must_queue(&mut guard) => guard.queue_bio(request.ar_bio),
        Ok(translated) => match hand_over(&mut guard, now, translated) {
            Ok(()) => {}
            Err(Full) if guard.target.is_lent() => guard.queue_bio(request.ar_bio),
            // GEOM lets nobody through to a disk that is not open.
            Err(Full) => guard.finish_bio(request.ar_bio, errno::ENXIO),
        },
    }
    drive_request(guard);
}

/// Whether others wait already, or the engine has no room for one more.
fn must_queue(guard: &mut CellGuard<'_>) -> bool {
    guard.first_queued().is_some() || (guard.target.is_lent() && !has_room(guard))
}

/// Gives a request to the engine, behind the last one if they go as one.
fn hand_over(guard: &mut CellGuard<'_>, now: Instant, request: Request) -> Result<(), Full> {
    if let Some(first) = guard.target.join(now, &request) {
        guard.join_bio(first, request.token);
        return Ok(());
    }
    guard.target.submit(now, request)
}

/// Ends a request, and those that were joined to it.
pub(crate) fn finish(guard: &mut CellGuard<'_>, done: &Completion) {
    note_taste(guard, done);
    if !done.is_joined() {
        guard.finish_bio(done.token, errno_of(done.result));
        return;
    }
    let mut first = 0;
    let mut next = Some(done.token);
    while let Some(bio) = next {
        let (length, behind) = guard.next_bio(bio);
        let sectors = length / SECTOR;
        guard.finish_bio(bio, errno_of(done.part(first, sectors)));
        first += sectors;
        next = behind;
    }
}

/// What the end of a request tells of GEOM's own looks at the disk.
fn note_taste(guard: &mut CellGuard<'_>, done: &Completion) {
    match done.result {
        Ok(()) => note_answer(guard),
        Err(IoError::Failed | IoError::Expired) if guard.is_taste(done.token) => {
            let waited = guard.lately().since(done.submitted) >= u64::from(TASTE_SECS) * SEC_NS;
            guard.taste_failed |= waited || guard.target.state() != State::Up;
        }
        Err(_) => {}
    }
}

/// The target has answered something: what GEOM could not read before it can read now.
pub(crate) fn note_answer(guard: &mut CellGuard<'_>) {
    if core::mem::take(&mut guard.taste_failed) {
        let next = guard.retasted_at.map(|last| last.after(RETASTE_NS));
        guard.retaste_at = Some(next.unwrap_or_default());
    }
}

/// Has GEOM look at the disk again when the time has come. Called whenever something happens, which is every
/// few seconds while the target answers.
pub(crate) fn retaste_in_time(guard: &mut CellGuard<'_>) {
    if guard.retaste_at.is_some_and(|at| at <= guard.lately()) {
        guard.retaste_at = None;
        guard.retasted_at = Some(guard.lately());
        guard.retaste = true;
        guard.ask_work();
    }
}

/// Looks whether the disk may be opened for writing. The work thread tells GEOM.
pub(crate) fn note_read_only(guard: &mut CellGuard<'_>) {
    let read_only = guard.target.is_read_only();
    if guard.read_only != read_only {
        guard.read_only = read_only;
        guard.read_only_news = true;
        guard.ask_work();
    }
}

/// The errno of a request's end. The one place where the engine's errors become the kernel's.
const fn errno_of(result: Result<(), IoError>) -> Errno {
    match result {
        Ok(()) => 0,
        Err(IoError::Failed | IoError::Expired) => errno::EIO,
        Err(IoError::Reserved) => errno::EBUSY,
        Err(IoError::ReadOnly) => errno::EROFS,
        Err(IoError::Unsupported) => errno::EOPNOTSUPP,
        Err(IoError::Invalid) => errno::EINVAL,
        Err(IoError::Gone) => errno::ENXIO,
    }
}

/// Gives waiting requests to the engine; false when none went.
pub(crate) fn submit_queued(guard: &mut CellGuard<'_>) -> bool {
    let mut went = false;
    while has_room(guard) {
        let Some(request) = guard.first_queued() else {
            break;
        };
        // Out of its queue first: the engine may end it, and with that its link, at once.
        guard.unqueue_bio();
        let now = guard.lately();
        match translate(guard, &request) {
            Err(errno) => guard.finish_bio(request.ar_bio, errno),
            Ok(translated) => {
                if let Err(Full) = hand_over(guard, now, translated) {
                    // It said that it has room: its books are broken, and so is the request.
                    guard.finish_bio(request.ar_bio, errno::EIO);
                }
            }
        }
        went = true;
    }
    went
}

/// First open of the disk. GEOM opens one disk at a time, and waits for memory itself meanwhile, so that
/// it can be waited for here: what I/O needs is there before the first request.
pub(crate) fn open(cell: &Cell) -> Result<(), Errno> {
    let (mut guard, mut now) = cell.lock_timed();
    let mut io = None;
    if !guard.target.is_lent() {
        drop(guard);
        io = cell::take_io_storage();
        (guard, now) = cell.lock_timed();
    }
    let result = if guard.closing || module::is_closing() {
        Err(errno::ENXIO)
    } else {
        io = io.and_then(|io| guard.target.lend(io));
        guard.open = true;
        guard.target.set_in_use(now, true);
        Ok(())
    };
    drive(guard);
    if let Some(io) = io {
        cell::give_io_back(io);
    }
    result
}

/// Last close of the disk.
pub(crate) fn close(cell: &Cell) {
    let mut guard = cell.lock();
    guard.open = false;
    let now = guard.now();
    guard.target.set_in_use(now, false);
    if guard.shown_sectors != guard.target.sectors() {
        // A shrink had to wait for this.
        guard.ask_work();
    }
    drive(guard);
}

/// GEOM has let go of the disk. The work thread may end the target as soon as it sees that.
pub(crate) fn gone(target: LastCall) {
    target.lock(|guard| {
        guard.disk = Disk::Left;
        guard.ask_work();
    });
}

/// A size in bytes, as GEOM counts.
pub(crate) fn bytes(sectors: u64) -> i64 {
    i64::try_from(sectors.saturating_mul(SECTOR)).unwrap_or(i64::MAX)
}

/// What names the disk beyond its address: its serial, unless that says nothing.
struct Ident<'i>(TargetAddr, &'i Identify);

impl Display for Ident<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.1.has_own_serial() {
            write!(f, "{}", self.1.serial)
        } else {
            write!(f, "e{}", self.0)
        }
    }
}

/// Fills in what the disk of this target is made of; false while it is not identified.
pub(crate) fn describe(target: &Target<'_>, params: &mut aoe_disk_params) -> bool {
    let Some(identify) = target.identity() else {
        return false;
    };
    let addr = target.addr();
    let (shelf, slot) = (addr.shelf(), addr.slot());
    *params = ffi::NO_DISK;
    params.ad_mediasize = bytes(target.sectors());
    if identify.physical_sector > 512 {
        params.ad_stripesize = i64::from(identify.physical_sector);
        params.ad_stripeoffset = i64::from(identify.alignment);
    }
    params.ad_delmaxsize = bytes(target.trim_max_sectors());
    params.ad_unit = u32::from(slot);
    params.ad_rotation_rate = identify.rotation;
    params.ad_can_flush = u8::from(target.can_flush());
    params.ad_can_delete = u8::from(target.can_trim());
    fill_c_string(&mut params.ad_name, format_args!("aoe{shelf}."));
    fill_c_string(&mut params.ad_alias, format_args!("etherd/e{shelf}."));
    if slot < OLD_SLOTS {
        if shelf == 0 {
            fill_c_string(&mut params.ad_old_alias, format_args!("aoed"));
        } else {
            fill_c_string(&mut params.ad_old_alias, format_args!("aoed{shelf}"));
        }
    }
    fill_c_string(
        &mut params.ad_ident,
        format_args!("{}", Ident(addr, identify)),
    );
    fill_c_string(&mut params.ad_descr, format_args!("{}", identify.model));
    fill_c_string(&mut params.ad_physpath, format_args!("aoe/{addr}"));
    if let Some(wwn) = identify.wwn {
        fill_c_string(&mut params.ad_lunid, format_args!("{wwn:016x}"));
    }
    true
}
