// SPDX-License-Identifier: BSD-2-Clause
//! Memory of the module's malloc type, above all what the engine is lent.
#![allow(unsafe_code)]

use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use aoe_core::{Frame, Info, Io, IoStorage, Path, Target, limits};

use crate::ffi::raw;

/// Types that the engine is lent slices of.
pub(super) trait Blank: Copy {
    const BLANK: Self;
}

impl Blank for Path {
    const BLANK: Self = Self::EMPTY;
}
impl Blank for Info {
    const BLANK: Self = Self::EMPTY;
}
impl Blank for Frame {
    const BLANK: Self = Self::EMPTY;
}
impl Blank for Io {
    const BLANK: Self = Self::EMPTY;
}
impl Blank for u8 {
    const BLANK: Self = 0;
}

/// Memory of the module's malloc type for `len` values, each made in its place.
pub(super) fn take<T: Blank>(len: usize, wait: bool) -> Option<&'static mut [T]> {
    let bytes = size_of::<T>().checked_mul(len)?;
    // SAFETY: allocates; with `wait` only from contexts that may sleep.
    let memory = unsafe { raw::aoe_shim_mem_alloc(bytes, i32::from(wait)) };
    let first = NonNull::new(memory)?.cast::<T>();
    for index in 0..len {
        // SAFETY: inside the allocation, which malloc aligns for every type of this size.
        unsafe { first.add(index).write(T::BLANK) };
    }
    // SAFETY: `len` values that were just written and that nobody else knows of.
    Some(unsafe { core::slice::from_raw_parts_mut(first.as_ptr(), len) })
}

/// Gives memory of [`take`] back; an empty slice stands for none.
pub(super) fn give_back<T: Blank>(slice: &'static mut [T]) {
    if slice.is_empty() {
        return;
    }
    // SAFETY: the reference is exclusive and comes from `take`; the values need no drop.
    unsafe { raw::aoe_shim_mem_free(slice.as_mut_ptr().cast()) }
}

/// Memory for the I/O of a target whose disk is open; sleeps until there is some.
pub(crate) fn take_io_storage() -> Option<IoStorage<'static>> {
    let frames = take(limits::DEFAULT_FRAMES, true)?;
    let Some(ios) = take(limits::DEFAULT_IOS, true) else {
        give_back(frames);
        return None;
    };
    Some(IoStorage { frames, ios })
}

pub(crate) fn give_io_back(io: IoStorage<'static>) {
    give_back(io.frames);
    give_back(io.ios);
}

pub(super) fn give_target_back(target: Target<'static>) {
    let storage = target.reclaim();
    give_back(core::slice::from_mut(storage.info));
    give_back(storage.paths);
    give_back(storage.config);
    if let Some(io) = storage.io {
        give_io_back(io);
    }
}

/// A buffer that comes from the module's malloc type, without waiting for it.
pub(crate) struct Buffer(&'static mut [u8]);

impl Buffer {
    pub(crate) fn try_new(len: usize) -> Option<Self> {
        // SAFETY: allocates without sleeping; the memory is zeroed.
        let memory = unsafe { raw::aoe_shim_mem_alloc(len, 0) };
        let first = NonNull::new(memory)?.cast::<u8>();
        // SAFETY: `len` zeroed bytes that nobody else knows of.
        Some(Self(unsafe {
            core::slice::from_raw_parts_mut(first.as_ptr(), len)
        }))
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: from `try_new`, and nobody can refer to it any more.
        unsafe { raw::aoe_shim_mem_free(self.0.as_mut_ptr().cast()) }
    }
}
