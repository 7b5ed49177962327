// SPDX-License-Identifier: BSD-2-Clause
//! The operating system, as far as the tools need it: raw Ethernet, interfaces, sysctl, time, chance.
//!
//! This is the only crate outside the kernel module that holds unsafe code, and it shows none of it:
//!
//! * [`RawSocket`] sends and receives whole Ethernet frames of EtherType 0x88A2 on one interface,
//!   by a packet socket on Linux and by bpf(4) on FreeBSD. Frames that the host itself sent are never
//!   received, nor are frames for other hosts, nor frames that carry a VLAN tag.
//! * [`wait`] sleeps until one of several sockets has a frame, with nanosecond timeouts; [`wait_any`] does it for
//!   other descriptors, and tells which.
//! * `WireSocket` (Linux only) takes and gives every frame of an interface, many at a time.
//! * [`interfaces`] lists the Ethernet interfaces.
//! * [`catch_interrupts`] lets a program say what it has seen before it ends.
//! * [`sysctl`] reads, writes and lists the kernel's variables by name; other systems than FreeBSD have none.
//! * [`monotonic_nanos`] and [`random_key`] are what a sans-IO engine wants as arguments.
//!
//! All need what their system calls need: root, or `CAP_NET_RAW` on Linux.

use std::io;

mod interface;
mod poll;
mod signal;
mod time;

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod sys;

#[cfg(target_os = "freebsd")]
#[path = "bpf.rs"]
mod sys;

#[cfg(target_os = "freebsd")]
pub mod sysctl;

#[cfg(not(target_os = "freebsd"))]
#[path = "nosysctl.rs"]
pub mod sysctl;

#[cfg(target_os = "linux")]
mod wire;

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
compile_error!("raw Ethernet is implemented for Linux and FreeBSD only");

pub use interface::{Interface, MAX_NAME, interfaces};
pub use poll::{Interest, wait, wait_any};
pub use signal::{catch_interrupts, interrupted};
pub use sys::RawSocket;
pub use time::{monotonic_nanos, random_key, random_seed};
#[cfg(target_os = "linux")]
pub use wire::{BATCH, WireBatch, WireSocket, want_exact_timeouts};

/// The EtherType of ATA over Ethernet, in host order.
pub const ETHERTYPE: u16 = 0x88a2;

/// Length of an Ethernet header.
pub const ETHER_HEADER_LEN: usize = 14;

/// A buffer of this size holds every frame that can come in: the largest MTU and its header.
pub const MAX_FRAME_LEN: usize = 65_535 + ETHER_HEADER_LEN;

/// Lets a write to a closed pipe end the process silently, as other Unix tools do.
///
/// The Rust runtime ignores `SIGPIPE` before `main`, so that such a write would be an error instead.
pub fn die_on_broken_pipe() {
    // SAFETY: SIG_DFL is a valid disposition for SIGPIPE and no handler's memory is involved; called
    // before threads are started or not, signal(2) is atomic in the kernel.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

/// The result of a system call that says -1 for failure.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
