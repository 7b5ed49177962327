// SPDX-License-Identifier: BSD-2-Clause
//! Offsets of an AoE frame, and the buffer in which an answer is made of its request.
//!
//! The target takes its bytes apart by itself, without the initiator's `aoe-wire`: a mistake in a layout
//! would otherwise be made on both sides, and no test between them could see it.

use crate::Mac;

/// Length of the Ethernet and AoE headers.
pub(crate) const AOE_HEADER: usize = 24;
/// Length up to the data of an ATA command.
pub(crate) const ATA_HEADER: usize = 36;
/// Length up to the config string.
pub(crate) const CONFIG_HEADER: usize = 32;
/// Length up to the first MAC mask directive.
pub(crate) const MASK_HEADER: usize = 28;
/// Length up to the first reserved MAC.
pub(crate) const RESERVE_HEADER: usize = 26;
/// Least length of an Ethernet frame without its check sequence.
pub(crate) const MIN_FRAME: usize = 60;
/// The Ethernet type.
pub(crate) const ETHERTYPE: [u8; 2] = [0x88, 0xa2];
/// The flag of an answer.
pub(crate) const FLAG_RESPONSE: u8 = 0x08;
/// The flag of an error answer.
pub(crate) const FLAG_ERROR: u8 = 0x04;

/// Errors of the AoE header.
pub mod aoe_error {
    /// Unrecognised command code.
    pub const BAD_COMMAND: u8 = 1;
    /// Bad argument parameter.
    pub const BAD_ARGUMENT: u8 = 2;
    /// Device unavailable.
    pub const UNAVAILABLE: u8 = 3;
    /// Config string present.
    pub const CONFIG_PRESENT: u8 = 4;
    /// Unsupported version.
    pub const BAD_VERSION: u8 = 5;
    /// Target is reserved.
    pub const RESERVED: u8 = 6;
}

/// A receive buffer in which the answer is made in place, as vblade does it: what a short request did not
/// overwrite is still there, and may go out.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
}

impl Buffer {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; 65_536 + ATA_HEADER],
        }
    }

    pub(crate) fn load(&mut self, frame: &[u8], keep_stale: bool) {
        let len = frame.len().min(self.bytes.len());
        if let (Some(head), Some(source)) = (self.bytes.get_mut(..len), frame.get(..len)) {
            head.copy_from_slice(source);
        }
        if !keep_stale {
            // Longer answers overwrite all that they send.
            self.bytes
                .iter_mut()
                .take(MIN_FRAME)
                .skip(len)
                .for_each(|byte| *byte = 0);
        }
    }

    pub(crate) fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    pub(crate) fn set(&mut self, at: usize, value: u8) {
        if let Some(byte) = self.bytes.get_mut(at) {
            *byte = value;
        }
    }

    pub(crate) fn be16(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.byte(at), self.byte(at + 1)])
    }

    pub(crate) fn put(&mut self, at: usize, data: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at.saturating_add(data.len())) {
            place.copy_from_slice(data);
        }
    }

    pub(crate) fn slice(&self, at: usize, len: usize) -> &[u8] {
        self.bytes.get(at..at.saturating_add(len)).unwrap_or(&[])
    }

    pub(crate) fn slice_mut(&mut self, at: usize, len: usize) -> &mut [u8] {
        self.bytes
            .get_mut(at..at.saturating_add(len))
            .unwrap_or_default()
    }

    pub(crate) fn mac(&self, at: usize) -> Mac {
        let mut mac = [0; 6];
        mac.copy_from_slice(self.slice(at, 6));
        mac
    }

    pub(crate) fn error(&mut self, code: u8) {
        self.set(14, self.byte(14) | FLAG_ERROR);
        self.set(15, code);
    }
}
