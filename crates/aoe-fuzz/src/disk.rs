// SPDX-License-Identifier: BSD-2-Clause
//! Disks that answer, and memory for the engine.

use aoe_core::{Frame, Info, Io, IoStorage, Path, TargetStorage};
use aoe_wire::IdentifyTable;

/// The data of one of a few disks.
pub(crate) fn table(number: u8, sectors: u64) -> IdentifyTable {
    let serial: &[u8] = if number & 1 == 0 { b"FIRST" } else { b"SECOND" };
    let model: &[u8] = if number & 2 == 0 {
        b"Coraid EtherDrive vblade"
    } else {
        b"Some disk"
    };
    let features = if number & 4 == 0 { 0x7400 } else { 0x5000 };
    IdentifyTable::new()
        .word(49, 0x0200)
        .word(82, 0x0020)
        .word(83, features)
        .word(84, 0x4000)
        .word(85, u16::from(number & 8) << 2)
        .word(86, features & 0x3fff)
        .word(87, 0x4000)
        .word(106, if number & 16 == 0 { 0 } else { 0x6003 })
        .word(169, 1)
        .serial(serial)
        .model(model)
        .capacity(sectors)
}

/// Makes the checksum of IDENTIFY data fit.
pub(crate) fn set_checksum(table: &mut [u8; 512]) {
    table[510] = 0xa5;
    table[511] = 0;
    table[511] = table.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
}

/// Memory for one target.
pub(crate) struct Memory {
    paths: Vec<Path>,
    info: Info,
    frames: Vec<Frame>,
    ios: Vec<Io>,
}

impl Memory {
    pub(crate) fn new(paths: usize, frames: usize, ios: usize) -> Self {
        Self {
            paths: vec![Path::EMPTY; paths],
            info: Info::EMPTY,
            frames: vec![Frame::EMPTY; frames],
            ios: vec![Io::EMPTY; ios],
        }
    }

    pub(crate) fn lend(&mut self) -> (TargetStorage<'_>, IoStorage<'_>) {
        (
            TargetStorage {
                paths: &mut self.paths,
                info: &mut self.info,
            },
            IoStorage {
                frames: &mut self.frames,
                ios: &mut self.ios,
            },
        )
    }
}
