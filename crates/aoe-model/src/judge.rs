// SPDX-License-Identifier: BSD-2-Clause
//! What may be sent, and what an answer excuses.

use std::collections::{BTreeMap, HashMap};

use aoe_core::{IoError, Link, Op, Payload, Transmit};
use aoe_wire::{AoeError, AtaReply, AtaRequest, Command, Header, MacAddr, Message, opcode};

use crate::model::Model;

/// The part of a request that a frame is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    pub(crate) op: Op,
    pub(crate) lba: u64,
    pub(crate) sectors: u64,
    /// The request, where the frame says so.
    pub(crate) token: Option<u64>,
}

/// What the initiator was told, and what it sent.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    /// Buffer count and sector count by address.
    told: BTreeMap<MacAddr, (u16, u8)>,
    /// I/O frames sent to an address since the initiator learned anything at all.
    burst: BTreeMap<MacAddr, u32>,
    tags: HashMap<u32, Piece>,
    /// An aborted FLUSH or TRIM was answered.
    pub(crate) flush_aborted: bool,
    pub(crate) trim_aborted: bool,
}

/// What an I/O frame asks for; `None` for the messages of the initiator's own.
pub(crate) fn piece(transmit: &Transmit) -> Option<Piece> {
    let header = Header::parse(&transmit.header).ok()?;
    if header.command != Command::ATA {
        return None;
    }
    let request = AtaRequest::parse(transmit.header.get(24..)?).ok()?;
    let (op, lba, sectors) = match request.command {
        opcode::READ | opcode::READ_EXT => (Op::Read, request.address(), u64::from(request.count)),
        opcode::WRITE | opcode::WRITE_EXT => {
            (Op::Write, request.address(), u64::from(request.count))
        }
        opcode::FLUSH | opcode::FLUSH_EXT => (Op::Flush, 0, 0),
        opcode::DSM => match transmit.payload {
            Payload::Trim { lba, sectors } => (Op::Trim, lba, sectors),
            _ => return None,
        },
        _ => return None,
    };
    let token = match transmit.payload {
        Payload::Io { token, .. } => Some(token),
        _ => None,
    };
    Some(Piece {
        op,
        lba,
        sectors,
        token,
    })
}

impl Judge {
    /// A frame is to be sent. `link` is its interface as it is now, `outstanding` how many I/O frames the
    /// initiator says are under way to its address.
    pub(crate) fn sent(
        &mut self,
        model: &mut Model,
        transmit: &Transmit,
        link: Option<Link>,
        outstanding: impl FnOnce(MacAddr) -> u32,
    ) {
        let Ok(header) = Header::parse(&transmit.header) else {
            model.fault("sent something that is not AoE");
            return;
        };
        let Some(link) = link else {
            model.fault(format!(
                "sent on interface {}, which is not to be used: {header}",
                transmit.netif.0
            ));
            return;
        };
        if header.src != link.mac || header.is_response() || header.tag >> 31 != 0 {
            model.fault(format!("sent {header}"));
        }
        let data = match transmit.payload {
            Payload::None => 0,
            Payload::Io { len, .. } => len,
            Payload::Trim { .. } => 512,
        };
        if u32::from(transmit.header_len) + data > link.mtu + 14 {
            model.fault(format!(
                "{data} bytes of data in a frame for an MTU of {}",
                link.mtu
            ));
        }
        let Some(piece) = piece(transmit) else {
            return;
        };
        let Some((buffers, limit)) = self.told.get(&header.dst).copied() else {
            model.fault(format!(
                "I/O is sent to {}, which was never heard of",
                header.dst
            ));
            return;
        };
        let buffers = u32::from(buffers.clamp(1, 128));
        let limit = if limit == 0 { 2 } else { u64::from(limit) };
        let moves = matches!(piece.op, Op::Read | Op::Write);
        let fits = limit
            .min(u64::from(link.mtu.saturating_sub(22) / 512))
            .max(1);
        if moves && !(1..=fits).contains(&piece.sectors) {
            model.fault(format!("{piece:?} in one frame, where {fits} sectors fit"));
        }
        let burst = self.burst.entry(header.dst).or_default();
        *burst += 1;
        let most = (*burst).max(outstanding(header.dst));
        if most > buffers {
            model.fault(format!(
                "{most} frames under way to {}, which buffers {buffers}",
                header.dst
            ));
        }
        // Reads that ask a dead target whether it works again share a tag; nothing else does.
        if self
            .tags
            .insert(header.tag, piece)
            .is_some_and(|before| before != piece)
        {
            model.fault(format!("tag {:#x} has two meanings", header.tag));
        }
    }

    /// The initiator may have learned something: what it took for under way may be so no longer.
    pub(crate) fn news(&mut self) {
        self.burst.clear();
    }

    /// The initiator is shown a frame.
    pub(crate) fn heard(&mut self, model: &mut Model, frame: &[u8]) {
        self.news();
        match Message::parse(frame) {
            Ok(Message::ConfigReply { header, reply }) => {
                self.told
                    .insert(header.src, (reply.buffer_count, reply.sector_count));
            }
            Ok(Message::AtaReply { header, reply, .. }) => self.ata(model, header.tag, &reply),
            Ok(Message::Error { header, error, .. }) => {
                let result = match error {
                    AoeError::RESERVED => IoError::Reserved,
                    _ => IoError::Failed,
                };
                self.excuse(model, header.tag, result);
            }
            other => model.fault(format!("the plain target said {other:?}")),
        }
    }

    fn ata(&mut self, model: &mut Model, tag: u32, reply: &AtaReply) {
        let Some(piece) = self.tags.get(&tag).filter(|_| reply.failed()) else {
            return;
        };
        let op = piece.op;
        self.excuse(model, tag, IoError::Failed);
        if reply.error & 0x04 != 0 {
            match op {
                Op::Flush => self.flush_aborted = true,
                Op::Trim => self.trim_aborted = true,
                Op::Read | Op::Write => {}
            }
            let result = match op {
                Op::Flush | Op::Trim => IoError::Unsupported,
                Op::Write => IoError::ReadOnly,
                Op::Read => IoError::Failed,
            };
            self.excuse(model, tag, result);
        }
    }

    /// Requests that the frame of this tag can have been a part of may fail.
    fn excuse(&self, model: &mut Model, tag: u32, error: IoError) {
        if let Some(piece) = self.tags.get(&tag) {
            model.excuse(error, |asked| {
                asked.op == piece.op
                    && (piece.op == Op::Flush || asked.touches(piece.lba, piece.sectors))
            });
        }
    }
}
