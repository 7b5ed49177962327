// SPDX-License-Identifier: BSD-2-Clause
//! The kernel's variables by name.

use crate::check;
use std::ffi::CString;
use std::io;
use std::ptr;

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

/// Sets a variable to these bytes: text without its zero, or a number in the machine's order.
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
