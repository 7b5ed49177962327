// SPDX-License-Identifier: BSD-2-Clause
//! ATA over Ethernet frames: bytes to values and back.
//!
//! Everything here is a pure function of its arguments: no allocation, no state, no clock. Section
//! numbers in the documentation are those of the AoE protocol definition, revision 11 ("AoEr11");
//! "word" numbers are those of the ATA IDENTIFY DEVICE data.
//!
//! No byte sequence makes a `parse` function panic and no value makes an `emit` function panic.
//! The code reaches that without index expressions on input: it takes fixed-size chunks and
//! matches them as arrays, so that the compiler can see that every access is inside.
//!
//! ```
//! use aoe_wire::{AtaRequest, Command, Header, MacAddr, Message, TargetAddr};
//!
//! let addr: TargetAddr = "7.3".parse().unwrap();
//! let server = MacAddr([2, 0, 0, 0, 0, 1]);
//! let client = MacAddr([2, 0, 0, 0, 0, 2]);
//! let message = Message::AtaRequest {
//!     header: Header::request(server, client, addr, Command::ATA, 42),
//!     request: AtaRequest::read(8, 2, true),
//!     data: &[],
//! };
//! let mut frame = [0; 60];
//! assert_eq!(message.emit(&mut frame), Ok(60));
//! assert_eq!(frame[12..14], [0x88, 0xa2]);
//! ```
#![no_std]
#![forbid(unsafe_code)]

pub mod address;
pub mod aoe;
pub mod ata;
pub mod config;
pub mod error;
pub mod ether;
pub mod frame;
pub mod identify;
pub mod mask;
pub mod reserve;
pub mod trim;
mod writer;

pub use address::{AddrPattern, SHELF_ANY, SLOT_ANY, TargetAddr};
pub use aoe::{AoeError, Command, Header};
pub use ata::{AtaFault, AtaFlags, AtaReply, AtaRequest, error_bit, opcode, status};
pub use config::{ConfigCommand, ConfigReply, ConfigRequest};
pub use error::{EmitError, TextError, WireError};
pub use ether::MacAddr;
pub use frame::{FrameText, Message};
pub use identify::{IdString, Identify, IdentifyError, IdentifyTable};
pub use mask::{
    DirectiveCommand, MaskCommand, MaskDirective, MaskError, MaskList, MaskReply, MaskRequest,
};
pub use reserve::{MacList, Reserve, ReserveCommand, ReserveReply, ReserveRequest};
pub use trim::{TrimRanges, emit_trim_range};

/// The EtherType of AoE (AoEr11 2).
pub const ETHERTYPE: u16 = 0x88A2;
/// The protocol version that is sent (AoEr11 2.2).
pub const VERSION: u8 = 1;
/// AoE moves data in units of 512 bytes, whatever the disk's own sector is (AoEr11 3).
pub const SECTOR_SIZE: usize = 512;
/// Ethernet and AoE header together (AoEr11 2); the argument follows.
pub const HEADER_LEN: usize = 24;
/// Header with the ATA argument (AoEr11 3.1); data follows.
pub const ATA_HEADER_LEN: usize = 36;
/// Header with the fixed part of a Query Config argument (AoEr11 3.2); the string follows.
pub const CONFIG_HEADER_LEN: usize = 32;
/// Header with the fixed part of a MAC Mask List argument (AoEr11 3.3); directives follow.
pub const MASK_HEADER_LEN: usize = 28;
/// Header with the fixed part of a Reserve/Release argument (AoEr11 3.4); addresses follow.
pub const RESERVE_HEADER_LEN: usize = 26;
/// The shortest Ethernet frame without its checksum; requests are padded to it.
pub const MIN_FRAME_LEN: usize = 60;
/// The longest config string (AoEr11 3.2).
pub const CONFIG_STRING_MAX: usize = 1024;

/// How many sectors of data fit a frame on a link of this MTU, at most 255.
///
/// The MTU counts what follows the 14 bytes of Ethernet header, so 22 bytes of it are headers. (`vblade`
/// and Linux take off 36; what a target accepts is limited by what it advertises.)
#[must_use]
pub const fn sectors_per_frame(mtu: u32) -> u8 {
    let sectors = mtu.saturating_sub(ATA_HEADER_LEN as u32 - 14) / SECTOR_SIZE as u32;
    if sectors > u8::MAX as u32 {
        u8::MAX
    } else {
        sectors as u8
    }
}

/// Checks that a frame of `frame_len` bytes holds `sectors` sectors behind its ATA argument.
///
/// A longer frame is in order: links pad, and targets pad.
///
/// # Errors
/// [`WireError::ShortData`] when it does not.
pub const fn check_data_len(frame_len: usize, sectors: u8) -> Result<(), WireError> {
    if frame_len < ATA_HEADER_LEN + sectors as usize * SECTOR_SIZE {
        return Err(WireError::ShortData);
    }
    Ok(())
}
