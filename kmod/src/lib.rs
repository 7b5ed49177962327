// SPDX-License-Identifier: BSD-2-Clause
//! The Rust half of the kernel module: what runs the engine `aoe-core` inside FreeBSD.
//!
//! Unsafe code lives in five files: `ffi` (calls of C), `entry` (calls by C), `cell` (memory,
//! locks and the table of targets), `batch` (frames on their way out), `panic`. Everything else
//! is ordinary safe Rust:
//!
//! * `drive` runs one target's engine: it moves what the engine wants done to where it is done;
//! * `input` gives a received frame to the right target;
//! * `disk` turns block requests into the engine's, and a target into a disk;
//! * `work` does, in a thread that may sleep, what the engine's events call for;
//! * `netifs` keeps the list of interfaces;
//! * `hub` runs the initiator: discovery, and which addresses may become targets;
//! * `boot` lets the root mount wait for disks;
//! * `module` loads, unloads and shuts down;
//! * `sysctl`, `show` and `report` talk to people, `notify` to devd(8).
//!
//! Locks, in this order: the configuration (may sleep, for memory too), the list of interfaces (may
//! sleep, but never for memory), the hub, one target. None of the last two is held while a frame is
//! sent, a request's data are copied, or GEOM is called.
//!
//! A target ends in the work thread, and only there. A reference to one borrows from what keeps it until
//! then: the net epoch, the configuration lock, or a call that is waited for (`cell::kept`). A call that
//! lets go of the target itself, as GEOM's last one for a disk, gets the locked target and no reference.
//! The module's threads are asked to do something with the target's lock held, since they may end it
//! once that is free. `kmod/checks/refused.py` sees the compiler refuse everything else.
#![no_std]
#![deny(unsafe_code)]

mod batch;
mod boot;
mod cell;
mod disk;
mod drive;
mod entry;
mod ffi;
mod hub;
mod input;
mod module;
mod netifs;
mod notify;
mod panic;
mod ports;
mod report;
mod show;
mod sysctl;
mod text;
mod work;
