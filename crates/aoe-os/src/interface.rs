// SPDX-License-Identifier: BSD-2-Clause
//! The list of Ethernet interfaces.

use crate::sys;
use aoe_wire::MacAddr;
use std::ffi::CStr;
use std::io;
use std::ptr;

/// Longest name of an interface in bytes, without the terminating zero.
pub const MAX_NAME: usize = 15;

/// An Ethernet interface as it is at this moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its own address.
    pub mac: MacAddr,
    /// Bytes that fit behind the Ethernet header of a frame sent by a [`crate::RawSocket`].
    pub mtu: u32,
    /// Up, and with a link.
    pub is_up: bool,
}

/// The Ethernet interfaces of this machine (on Linux: of this network namespace), in the kernel's order.
///
/// # Errors
///
/// Those of getifaddrs(3).
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let addresses = Addresses::ask()?;
    let mut found = Vec::new();
    let mut next = addresses.first;
    while !next.is_null() {
        // SAFETY: getifaddrs made a list of valid entries that ends with null; it lives until
        // `addresses` is dropped, and nothing writes to it.
        let entry = unsafe { &*next };
        next = entry.ifa_next;
        if entry.ifa_addr.is_null() || entry.ifa_name.is_null() {
            continue;
        }
        // SAFETY: `ifa_name` of such an entry is a string that ends with zero and lives as long.
        let name = unsafe { CStr::from_ptr(entry.ifa_name) };
        let Ok(name) = name.to_str() else { continue };
        // SAFETY: the entry and everything that it points to belong to the living list.
        if let Some(interface) = unsafe { sys::link_level(entry, name) } {
            found.push(interface);
        }
    }
    Ok(found)
}

/// The list that getifaddrs(3) makes, given back when dropped.
struct Addresses {
    first: *mut libc::ifaddrs,
}

impl Addresses {
    fn ask() -> io::Result<Self> {
        let mut first = ptr::null_mut();
        // SAFETY: `first` is a valid place for the pointer that getifaddrs stores.
        crate::check(unsafe { libc::getifaddrs(&raw mut first) })?;
        Ok(Self { first })
    }
}

impl Drop for Addresses {
    fn drop(&mut self) {
        // SAFETY: the list came from getifaddrs and is freed once, here.
        unsafe { libc::freeifaddrs(self.first) };
    }
}

/// The name as the kernel's structures hold it: padded with zeros.
///
/// # Errors
///
/// When it is empty, too long, or has a zero inside.
pub(crate) fn padded_name(name: &str) -> io::Result<[libc::c_char; MAX_NAME + 1]> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() > MAX_NAME || bytes.contains(&0) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{name:?} is not the name of an interface (1 to {MAX_NAME} bytes)"),
        ));
    }
    let mut padded = [0; MAX_NAME + 1];
    for (to, from) in padded.iter_mut().zip(bytes) {
        // A C char is signed on some machines; its bits are what counts.
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    Ok(padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(padded_name("").is_err());
        assert!(padded_name("a\0b").is_err());
        assert!(padded_name("sixteen-bytes-xx").is_err());
        let name = padded_name("fifteen-bytes-x").unwrap();
        assert_eq!(name[15], 0);
        assert_eq!(name[0], b'f' as libc::c_char);
    }

    #[test]
    fn the_loopback_is_no_ethernet() {
        let all = interfaces().unwrap();
        assert!(all.iter().all(|i| i.name != "lo" && i.name != "lo0"));
    }
}
