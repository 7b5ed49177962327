// SPDX-License-Identifier: BSD-2-Clause
//! The kernel's variables by name, on a system that has no sysctl(3): none is ever there.

use std::io;

fn nothing<T>() -> io::Result<T> {
    Err(io::ErrorKind::NotFound.into())
}

/// The value of `name` as it is in the kernel.
///
/// # Errors
///
/// Always `NotFound`.
pub fn read(_name: &str) -> io::Result<Vec<u8>> {
    nothing()
}

/// The value of a variable that is text.
///
/// # Errors
///
/// Always `NotFound`.
pub fn read_string(_name: &str) -> io::Result<String> {
    nothing()
}

/// The value of a variable that is an unsigned number.
///
/// # Errors
///
/// Always `NotFound`.
pub fn read_number(_name: &str) -> io::Result<u64> {
    nothing()
}

/// Sets a variable.
///
/// # Errors
///
/// Always `NotFound`.
pub fn write(_name: &str, _value: &[u8]) -> io::Result<()> {
    nothing()
}

/// The full names of all variables below a node.
///
/// # Errors
///
/// Always `NotFound`.
pub fn names(_prefix: &str) -> io::Result<Vec<String>> {
    nothing()
}
