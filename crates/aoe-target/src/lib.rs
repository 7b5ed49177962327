// SPDX-License-Identifier: BSD-2-Clause
//! An ATA-over-Ethernet target as a sans-IO model, with the quirks of real targets as options.
//!
//! [`Model`] answers a frame at once; [`Server`] puts it into time, with a queue, an order of execution,
//! stalls and restarts. Neither has a clock or a socket: the simulator and the `aoe-target` program bring them.
#![forbid(unsafe_code)]

mod access;
mod ata;
mod frame;
mod ggaoed;
mod identify;
mod model;
mod profile;
pub mod rng;
mod server;
mod smart;
mod storage;
mod strict;
mod wire;

pub use access::{EditError, MacList};
pub use ata::{AtaFault, Which};
pub use frame::aoe_error;
pub use identify::{Facts, MAX_LBA28, identify};
pub use model::{AoeFault, Model};
pub use profile::{
    CountReply, FlushStatus, OtherVersion, Profile, Refusal, ReserveScope, SectorLimit, Style,
};
pub use server::{Outgoing, Server, Timing};
pub use storage::{FileStorage, MediumError, MemStorage, SECTOR, Storage};
pub use strict::Violation;
pub use wire::{Wire, WireCounts, WireFaults};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Where a target answers.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    /// The major number.
    pub shelf: u16,
    /// The minor number.
    pub slot: u8,
}

/// A network port of a target.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// Its address.
    pub mac: Mac,
    /// Bytes that fit behind its 14-byte Ethernet header.
    pub mtu: u32,
}
