// SPDX-License-Identifier: BSD-2-Clause
//! Frames on their way out: the engine's form turned into C's, some at a time.
#![allow(unsafe_code)]

use core::mem::MaybeUninit;

use aoe_core::{Payload, Ticket, Transmit};
use aoe_wire::SECTOR_SIZE;

use crate::ffi;
use crate::ffi::raw::{self, aoe_frame};

/// Frames that C takes at a time.
pub(crate) const BATCH: usize = raw::AOE_BATCH as usize;
const _: () = assert!(raw::AOE_HEADER_MAX as usize == aoe_wire::ATA_HEADER_LEN);

/// Up to `N` frames, and the tickets to give back once they are sent.
pub(crate) struct Batch<const N: usize> {
    frames: [MaybeUninit<aoe_frame>; N],
    tickets: [Option<Ticket>; N],
    used: usize,
    /// What [`ffi::changes`] was before the first of them was polled.
    changes: u32,
}

impl<const N: usize> Batch<N> {
    const SMALL_ENOUGH: () = assert!(N <= BATCH);

    pub(crate) const fn new() -> Self {
        Self {
            frames: [const { MaybeUninit::uninit() }; N],
            tickets: [None; N],
            used: 0,
            changes: 0,
        }
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.used == N
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Frames will be polled. Those that are when the ports of an interface change are not sent: they would be in the
    /// ring of another port than the engine thinks.
    pub(crate) fn begin(&mut self) {
        if self.used == 0 {
            self.changes = ffi::changes();
        }
    }

    /// Adds a frame; there must be room.
    pub(crate) fn push(&mut self, frame: &Transmit) {
        if let (Some(slot), Some(ticket)) = (
            self.frames.get_mut(self.used),
            self.tickets.get_mut(self.used),
        ) {
            slot.write(convert(frame));
            *ticket = frame.ticket;
            self.used += 1;
        }
    }

    /// Builds and sends the frames. No lock may be held.
    pub(crate) fn send(&self) {
        const { Self::SMALL_ENOUGH };
        // SAFETY: the first `used` frames were written, and `used` never exceeds AOE_BATCH. The
        // tokens in them name requests that the engine pinned until their tickets are given back.
        unsafe {
            raw::aoe_shim_net_send(self.frames.as_ptr().cast(), self.used as u32, self.changes)
        }
    }

    /// Empties the batch and names the tickets to give back.
    pub(crate) fn finish(&mut self) -> impl Iterator<Item = Ticket> {
        let used = core::mem::take(&mut self.used);
        self.tickets.iter().take(used).copied().flatten()
    }
}

fn convert(frame: &Transmit) -> aoe_frame {
    let mut out = aoe_frame {
        af_bio: 0,
        af_lba: 0,
        af_sectors: 0,
        af_offset: 0,
        af_len: 0,
        af_flow: frame.flow,
        af_netif: frame.netif.0,
        af_payload: raw::AOE_PAYLOAD_NONE as u8,
        af_header_len: frame.header_len,
        af_again: u8::from(frame.again),
        af_header: frame.header,
    };
    match frame.payload {
        Payload::None => {}
        Payload::Io { token, offset, len } => {
            out.af_payload = raw::AOE_PAYLOAD_BIO as u8;
            out.af_bio = token;
            out.af_offset = offset;
            out.af_len = len;
        }
        Payload::Trim { lba, sectors } => {
            out.af_payload = raw::AOE_PAYLOAD_TRIM as u8;
            out.af_lba = lba;
            out.af_sectors = sectors;
            out.af_len = SECTOR_SIZE as u32;
        }
    }
    out
}
