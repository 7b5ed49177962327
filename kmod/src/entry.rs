// SPDX-License-Identifier: BSD-2-Clause
//! What C calls. Each function says what C promises; none decides anything.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::NonNull;

use aoe_core::NetifId;
use aoe_wire::{SECTOR_SIZE, emit_trim_range};

use crate::cell::{Awaited, Cell, Epoch, LastCall, WorkThread};
use crate::drive::Teller;
use crate::ffi::raw::{aoe_request, aoe_tunables, aoe_verdict, ifnet, mbuf};
use crate::ffi::{Ifnet, Mbuf, errno, errno_of};
use crate::input::{self, Frame};
use crate::text::Text;
use crate::{boot, disk, drive, hub, module, netifs, sysctl, work};

// Each function below is held against the prototype in aoe_shim.h that C calls it by.
crate::ffi::raw::check_entry_points!();

/// # Safety
/// C calls it once, before every other function, with a pointer to valid tunables.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_module_load(tunables: *const aoe_tunables) -> c_int {
    // SAFETY: as C promises.
    let tunables = unsafe { &*tunables };
    // SAFETY: C terminates all three, inside their arrays.
    let lists = unsafe {
        [
            CStr::from_ptr(tunables.at_iflist.as_ptr()),
            CStr::from_ptr(tunables.at_boot_targets.as_ptr()),
            CStr::from_ptr(tunables.at_targets.as_ptr()),
        ]
    };
    let [iflist, boot_targets, targets] = lists.map(|list| list.to_str().unwrap_or("?"));
    let lists = module::Lists {
        iflist,
        boot_targets,
        targets,
    };
    errno_of(module::load(&lists, tunables))
}

/// # Safety
/// C calls it while the module is loaded, where sleeping is allowed.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_module_boot() {
    boot::start();
}

/// # Safety
/// C calls it while the module is loaded, where sleeping is allowed.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_module_booted() {
    boot::booted();
}

/// # Safety
/// C calls it while the module is loaded, where sleeping is allowed.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_module_check() -> c_int {
    errno_of(module::check())
}

/// # Safety
/// C calls it while the module is loaded, where sleeping is allowed.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_module_unload() -> c_int {
    errno_of(module::unload())
}

/// # Safety
/// C calls it while the module is loaded, where sleeping is allowed.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_module_shutdown() {
    module::shutdown();
}

/// # Safety
/// C calls it from the timer that was armed.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_initiator_timeout() {
    hub::timeout();
}

/// # Safety
/// C calls it from the timer of the target `rs`, which it waits for before the target ends.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_target_timeout(rs: *mut c_void) {
    // SAFETY: as C promises.
    let call = unsafe { Awaited::call() };
    // SAFETY: as C promises.
    drive::timeout(unsafe { call.target(rs) });
}

/// # Safety
/// C calls it in the net epoch, from a task of the target `rs`, which it waits for before the target
/// ends.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_target_send(rs: *mut c_void) {
    // SAFETY: as C promises.
    let call = unsafe { Awaited::call() };
    // SAFETY: as C promises.
    drive::go_on(unsafe { call.target(rs) });
}

/// # Safety
/// C calls it in the work thread, the only place where a target ends.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_target_work(rs: *mut c_void) {
    // SAFETY: as C promises.
    let thread = unsafe { WorkThread::entered() };
    // SAFETY: as C promises.
    let ended = work::run(unsafe { thread.target(rs) }, &thread);
    if let Some(ended) = ended {
        ended.destroy(thread);
    }
}

/// # Safety
/// C calls it in the net epoch, for the disk of the target `rs`.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_disk_submit(rs: *mut c_void, request: *const aoe_request) {
    // SAFETY: as C promises.
    let epoch = unsafe { Epoch::entered() };
    // SAFETY: as C promises: the request names a disk, so the target was there; the epoch keeps it.
    let (cell, request) = unsafe { (epoch.target(rs), &*request) };
    disk::submit(cell, request);
}

/// # Safety
/// C calls it for a disk that is not gone, with GEOM's topology locked, without which GEOM does not let
/// go of the disk.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_disk_open(rs: *mut c_void) -> c_int {
    // SAFETY: as C promises; the target outlives its disk.
    let call = unsafe { Awaited::call() };
    // SAFETY: as above.
    errno_of(disk::open(unsafe { call.target(rs) }))
}

/// # Safety
/// As for [`aoe_rs_disk_open`].
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_disk_close(rs: *mut c_void) {
    // SAFETY: as C promises; the target outlives its disk.
    let call = unsafe { Awaited::call() };
    // SAFETY: as above.
    disk::close(unsafe { call.target(rs) });
}

/// # Safety
/// C calls it once, when GEOM has let go of the disk of the target `rs`.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_disk_gone(rs: *mut c_void) {
    // SAFETY: the work thread ends a target with a disk only after it saw, with the lock held, that this
    // call has marked the disk.
    if let Some(last) = unsafe { LastCall::of(rs) } {
        disk::gone(last);
    }
}

/// # Safety
/// C calls it in the net epoch. `data` are `contiguous` bytes, `m` a chain of `len` bytes; neither
/// changes during the call.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_frame_input(
    netif: u32,
    data: *const u8,
    contiguous: usize,
    len: usize,
    m: *mut mbuf,
    unlocked: c_int,
) -> aoe_verdict {
    let (Ok(netif), Some(m)) = (u8::try_from(netif), NonNull::new(m)) else {
        return crate::ffi::raw::AOE_PASS;
    };
    // SAFETY: as C promises.
    let (start, mbuf, epoch) = unsafe {
        (
            core::slice::from_raw_parts(data, contiguous),
            Mbuf::new(m, len),
            Epoch::entered(),
        )
    };
    input::input(
        &Frame {
            netif: NetifId(netif),
            start,
            len,
            mbuf,
            teller: if unlocked != 0 {
                Teller::Caller
            } else {
                Teller::Thread
            },
        },
        &epoch,
    )
}

/// # Safety
/// `block` has room for a sector.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_frame_trim(lba: u64, sectors: u64, block: *mut u8) {
    // SAFETY: as C promises.
    let block = unsafe { &mut *block.cast::<[u8; SECTOR_SIZE]>() };
    emit_trim_range(block, lba, sectors);
}

/// # Safety
/// `ifp` exists during the call; `name` and `len` are a slice. Sleeping is allowed.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_netif_rename(ifp: *mut ifnet, name: *const c_char, len: usize) {
    // SAFETY: as C promises.
    let (ifp, name) = unsafe {
        (
            Ifnet::from_event(ifp),
            core::slice::from_raw_parts(name.cast::<u8>(), len),
        )
    };
    if let (Some(ifp), Ok(name)) = (ifp, core::str::from_utf8(name)) {
        netifs::rename(&ifp, name);
    }
}

/// # Safety
/// `ifp` exists during the call. Sleeping is allowed.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_netif_depart(ifp: *mut ifnet) {
    // SAFETY: as C promises.
    if let Some(ifp) = unsafe { Ifnet::from_event(ifp) } {
        netifs::depart(&ifp);
    }
}

/// # Safety
/// C calls it in the netif thread.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_netif_work() {
    netifs::refresh_all();
}

/// # Safety
/// C calls it in the work thread.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_module_work() {
    boot::tick();
}

/// The target of a sysctl node, if it has one.
///
/// # Safety
/// `rs` is null or a target that C keeps until its sysctl handlers, of which `call` is one, have ended.
unsafe fn target(rs: *mut c_void, call: &Awaited) -> Option<&Cell> {
    // SAFETY: as the caller says.
    (!rs.is_null()).then(|| unsafe { call.target(rs) })
}

/// # Safety
/// `rs` as for [`target`]; `value` has room.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_sysctl_number(rs: *mut c_void, id: u32, value: *mut i64) -> c_int {
    // SAFETY: as C promises.
    let call = unsafe { Awaited::call() };
    // SAFETY: as C promises.
    match sysctl::number(unsafe { target(rs, &call) }, id) {
        Ok(number) => {
            // SAFETY: as C promises.
            unsafe { value.write(number) };
            0
        }
        Err(errno) => errno,
    }
}

/// # Safety
/// `rs` as for [`target`].
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_sysctl_set_number(rs: *mut c_void, id: u32, value: i64) -> c_int {
    // SAFETY: as C promises.
    let call = unsafe { Awaited::call() };
    // SAFETY: as C promises.
    errno_of(sysctl::set_number(unsafe { target(rs, &call) }, id, value))
}

/// # Safety
/// `rs` as for [`target`]; `buf` has `room` bytes, written before.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_sysctl_text(
    rs: *mut c_void,
    id: u32,
    buf: *mut c_char,
    room: usize,
) -> usize {
    // SAFETY: as C promises.
    let call = unsafe { Awaited::call() };
    // SAFETY: as C promises.
    let (cell, room) = unsafe {
        (
            target(rs, &call),
            core::slice::from_raw_parts_mut(buf.cast::<u8>(), room),
        )
    };
    let mut text = Text::new(room);
    // Text has no error but being full, which `wanted` tells.
    let _ = sysctl::text(cell, id, &mut text);
    text.wanted()
}

/// # Safety
/// `text` and `len` are a slice.
#[unsafe(no_mangle)]
unsafe extern "C" fn aoe_rs_sysctl_set_text(
    _rs: *mut c_void,
    id: u32,
    text: *const c_char,
    len: usize,
) -> c_int {
    // SAFETY: as C promises.
    let bytes = unsafe { core::slice::from_raw_parts(text.cast::<u8>(), len) };
    match core::str::from_utf8(bytes) {
        Ok(text) => errno_of(sysctl::set_text(id, text)),
        Err(_) => errno::EINVAL,
    }
}
