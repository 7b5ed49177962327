// SPDX-License-Identifier: BSD-2-Clause
//! The kernel's variables by name.

use crate::check;
use std::ffi::{CStr, CString};
use std::io;
use std::ptr;

/// The node of sysctl(3) about the tree itself, and what it can be asked (`sys/sysctl.h`).
const CTL_SYSCTL: libc::c_int = 0;
const CTL_SYSCTL_NAME: libc::c_int = 1;
const CTL_SYSCTL_NEXT: libc::c_int = 2;
/// Most numbers in the place of a variable (`CTL_MAXNAME`).
const MAX_DEPTH: usize = 24;
/// A question has two numbers before the place that it is about.
const QUESTION: usize = 2;
/// Room for a full name.
const MAX_NAME_LEN: usize = 1024;

/// Most attempts to read a value that grows between being asked for its length and being read.
const TRIES: usize = 8;

/// The value of `name` as it is in the kernel.
///
/// # Errors
///
/// Those of sysctlbyname(3), `NotFound` when there is no such name.
pub fn read(name: &str) -> io::Result<Vec<u8>> {
    let name = CString::new(name)?;
    let mut len = 0;
    for _ in 0..TRIES {
        // SAFETY: the name ends with zero; with a null value only the length is stored.
        check(unsafe {
            libc::sysctlbyname(name.as_ptr(), ptr::null_mut(), &raw mut len, ptr::null(), 0)
        })?;
        // Some room, since a table may have grown by the time it is read.
        len += len / 8 + 64;
        let mut value = vec![0_u8; len];
        // SAFETY: the name ends with zero, and `len` is the length of the buffer, which the kernel respects.
        let result = check(unsafe {
            libc::sysctlbyname(
                name.as_ptr(),
                value.as_mut_ptr().cast(),
                &raw mut len,
                ptr::null(),
                0,
            )
        });
        match result {
            Ok(_) => {
                value.truncate(len);
                return Ok(value);
            }
            Err(e) if e.raw_os_error() == Some(libc::ENOMEM) => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ENOMEM))
}

/// The value of a variable that is text.
///
/// # Errors
///
/// As [`read`], and `InvalidData` when it is not text.
pub fn read_string(name: &str) -> io::Result<String> {
    let mut value = read(name)?;
    if let Some(end) = value.iter().position(|&b| b == 0) {
        value.truncate(end);
    }
    String::from_utf8(value).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// The value of a variable that is an unsigned number of 8, 16, 32 or 64 bits.
///
/// # Errors
///
/// As [`read`], and `InvalidData` when it has another length.
pub fn read_number(name: &str) -> io::Result<u64> {
    let value = read(name)?;
    match *value.as_slice() {
        [a] => Ok(u64::from(a)),
        [a, b] => Ok(u64::from(u16::from_ne_bytes([a, b]))),
        [a, b, c, d] => Ok(u64::from(u32::from_ne_bytes([a, b, c, d]))),
        [a, b, c, d, e, f, g, h] => Ok(u64::from_ne_bytes([a, b, c, d, e, f, g, h])),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{name} is not a number"),
        )),
    }
}

/// Sets a variable to these bytes: text, with its zero or without, or a number in the machine's order.
///
/// # Errors
///
/// Those of sysctlbyname(3).
pub fn write(name: &str, value: &[u8]) -> io::Result<()> {
    let name = CString::new(name)?;
    // SAFETY: the name ends with zero, and the pointer and the length are those of one living slice.
    check(unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            ptr::null_mut(),
            ptr::null_mut(),
            value.as_ptr().cast(),
            value.len(),
        )
    })?;
    Ok(())
}

/// The full names of all variables below the node `prefix`, in the order of the tree.
///
/// Those that come or go meanwhile may be in the list or not.
///
/// # Errors
///
/// Those of sysctl(3), `NotFound` when there is no such node.
pub fn names(prefix: &str) -> io::Result<Vec<String>> {
    let top = place_of(prefix)?;
    let mut place = top.clone();
    let mut found = Vec::new();
    while let Some(next) = next_after(&place)? {
        if !next.starts_with(&top) {
            break;
        }
        match name_of(&next) {
            Ok(name) => found.push(name),
            // It left between the two questions.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        place = next;
    }
    Ok(found)
}

/// The place of a name in the tree.
fn place_of(name: &str) -> io::Result<Vec<libc::c_int>> {
    let name = CString::new(name)?;
    let mut place = vec![0; MAX_DEPTH];
    let mut len = place.len();
    // SAFETY: the name ends with zero, and `len` is the number of integers that there is room for.
    check(unsafe { libc::sysctlnametomib(name.as_ptr(), place.as_mut_ptr(), &raw mut len) })?;
    place.truncate(len);
    Ok(place)
}

/// The place of the next variable behind this one; `None` at the end of the tree.
fn next_after(place: &[libc::c_int]) -> io::Result<Option<Vec<libc::c_int>>> {
    let mut next = vec![0; MAX_DEPTH];
    let mut len = size_of_val(next.as_slice());
    let room = next.as_mut_ptr().cast();
    match ask(CTL_SYSCTL_NEXT, place, room, &mut len) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    }
    next.truncate(len / size_of::<libc::c_int>());
    Ok(Some(next))
}

/// The full name of the variable at this place.
fn name_of(place: &[libc::c_int]) -> io::Result<String> {
    let mut name = vec![0_u8; MAX_NAME_LEN];
    let mut len = name.len();
    ask(CTL_SYSCTL_NAME, place, name.as_mut_ptr().cast(), &mut len)?;
    name.truncate(len);
    CStr::from_bytes_until_nul(&name)
        .ok()
        .and_then(|name| name.to_str().ok())
        .map(str::to_owned)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Asks the tree about a place. `answer` must have room for `len` bytes; their number is stored in `len`.
fn ask(
    question: libc::c_int,
    place: &[libc::c_int],
    answer: *mut libc::c_void,
    len: &mut usize,
) -> io::Result<()> {
    let mut mib = Vec::with_capacity(QUESTION + place.len());
    mib.extend([CTL_SYSCTL, question]);
    mib.extend(place);
    let count = libc::c_uint::try_from(mib.len()).map_err(io::Error::other)?;
    // SAFETY: `mib` holds `count` integers; the callers, both above, pass a buffer of `len` bytes that lives.
    check(unsafe { libc::sysctl(mib.as_ptr(), count, answer, len, ptr::null(), 0) })?;
    Ok(())
}
