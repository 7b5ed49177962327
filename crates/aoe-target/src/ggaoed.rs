// SPDX-License-Identifier: BSD-2-Clause
//! Frames as ggaoed 1.1 takes them in and answers them; `tests/ggaoed11.txt` has what a real one did.
//!
//! It keeps the header of a request and what follows it apart. With an AoE error it sends the general header back and, right
//! behind it, what had followed the header of the command: the argument of the error is not the command's.

use crate::ata::{Command, IDENTIFY, Registers};
use crate::frame::{
    AOE_HEADER, ATA_HEADER, CONFIG_HEADER, MASK_HEADER, MIN_FRAME, RESERVE_HEADER, aoe_error,
};
use crate::model::{ATA, CONFIG, MASK, MAX_CONFIG, Model, RESERVE};
use crate::storage::{SECTOR, Storage};
use crate::{Mac, Port};

const AFLAG_EXT: u8 = 0x40;
const DRDY: u8 = 0x40;
const ERR: u8 = 0x01;
const ABRT: u8 = 0x04;
const IDNF: u8 = 0x10;
const FLUSH: u8 = 0xe7;
const FLUSH_EXT: u8 = 0xea;
const CHECK_POWER: u8 = 0xe5;
const MAX_LBA28: u64 = 0x0fff_ffff;

/// The length of an answer, if there is one, or the code of an error.
type Told = Result<Option<usize>, u8>;

impl<S: Storage> Model<S> {
    pub(crate) fn handle_as_ggaoed(&mut self, port: &Port, frame: &[u8]) -> Option<Vec<u8>> {
        self.buffer.load(frame, false);
        // The longest frame it reads is as long as the MTU, Ethernet header included.
        if frame.len() > usize::try_from(port.mtu).unwrap_or(usize::MAX)
            || self.buffer.byte(14) >> 4 != 1
        {
            return None;
        }
        let header = match self.buffer.byte(19) {
            ATA => ATA_HEADER,
            CONFIG => CONFIG_HEADER,
            MASK => MASK_HEADER,
            RESERVE => RESERVE_HEADER,
            // Of a command that it does not know it takes nothing for a header.
            _ => return Some(self.refuse(port, aoe_error::BAD_COMMAND, frame)),
        };
        // For a short one it makes an answer, too, but to nobody: no address is in it, nor the Ethernet type.
        let payload = frame.get(header..)?;
        let told = match self.buffer.byte(19) {
            ATA => self.ata_as_ggaoed(port, frame),
            CONFIG => self.config_as_ggaoed(port, payload),
            MASK => self.mask_as_ggaoed(payload),
            _ => self.reserve_as_ggaoed(payload),
        };
        self.buffer.set(15, 0);
        match told {
            Ok(len) => len.map(|len| self.answer(port, len)),
            Err(code) => Some(self.refuse(port, code, payload)),
        }
    }

    fn refuse(&mut self, port: &Port, code: u8, payload: &[u8]) -> Vec<u8> {
        self.buffer.error(code);
        let mut reply = self.answer(port, AOE_HEADER);
        reply.truncate(AOE_HEADER);
        reply.extend_from_slice(payload);
        if reply.len() < MIN_FRAME {
            reply.resize(MIN_FRAME, 0);
        }
        reply
    }

    fn end_ata(&mut self, status: u8, error: u8, len: usize) -> Told {
        self.buffer.set(25, error);
        self.buffer.set(27, status);
        Ok(Some(len))
    }

    /// How it refuses a read or write by itself, before the disk sees it: status and error register.
    fn not_for_the_disk(&self, command: u8, lba: u64, payload: usize, limit: u32) -> Option<u8> {
        let count = self.buffer.byte(26);
        let writes = is_write(command);
        let len = usize::from(count) * SECTOR;
        if u32::from(count) > limit || (writes && payload < len) {
            return Some(ABRT);
        }
        let end = lba.checked_add(u64::from(count));
        if end.is_none_or(|end| end > self.storage.sectors()) {
            return Some(IDNF);
        }
        // The kernel transfers nothing then, and it takes that for the end of the disk.
        (count == 0).then_some(ABRT)
    }

    fn ata_as_ggaoed(&mut self, port: &Port, frame: &[u8]) -> Told {
        let limit = self.limit(port);
        let (aflags, count) = (self.buffer.byte(24), self.buffer.byte(26));
        let command = self.buffer.byte(27);
        let transfers = is_read(command) || is_write(command);
        if !transfers && !matches!(command, IDENTIFY | FLUSH | FLUSH_EXT | CHECK_POWER) {
            let more = self.profile.smart || self.profile.features || self.profile.trim_blocks > 0;
            // What it does not have is lent to it by options only.
            return if more {
                Ok(self.ata(port, frame))
            } else {
                self.end_ata(self.profile.abort_status, ABRT, ATA_HEADER)
            };
        }
        if is_write(command) && self.profile.read_only {
            return self.end_ata(DRDY | ERR, ABRT, ATA_HEADER);
        }
        if let Some(code) = self.barred(frame, limit) {
            return Err(code);
        }
        if command == IDENTIFY && count != 1 {
            return Err(aoe_error::BAD_ARGUMENT);
        }
        // The flag decides, not the command.
        let mask = if aflags & AFLAG_EXT == 0 {
            MAX_LBA28
        } else {
            u64::MAX
        };
        let lba = self.lba() & mask;
        let payload = frame.len() - ATA_HEADER;
        if transfers && let Some(error) = self.not_for_the_disk(command, lba, payload, limit) {
            return self.end_ata(DRDY | ERR, error, ATA_HEADER);
        }
        self.carry_out(lba, payload, limit)
    }

    /// Gives the command to the disk.
    fn carry_out(&mut self, lba: u64, payload: usize, limit: u32) -> Told {
        let (feature, count, command) = (
            self.buffer.byte(25),
            self.buffer.byte(26),
            self.buffer.byte(27),
        );
        let carried_out = match command {
            0x20 if self.profile.lba48 => 0x24,
            0x30 if self.profile.lba48 => 0x34,
            _ => command,
        };
        let mut registers = Registers {
            lba,
            sectors: count,
            feature,
            command: carried_out,
            error: 0,
        };
        let outcome = self.device.execute(
            &mut self.storage,
            &mut registers,
            Command {
                profile: &self.profile,
                limit,
                data: self
                    .buffer
                    .slice_mut(ATA_HEADER, (usize::from(u8::MAX) * SECTOR).min(65_536)),
                payload,
            },
        );
        if outcome == crate::ata::Outcome::Silence {
            return Ok(None);
        }
        if command == CHECK_POWER && registers.command & ERR == 0 {
            self.buffer.set(26, 0xff);
        }
        let is_flush = matches!(command, FLUSH | FLUSH_EXT) && registers.command == command;
        // Neither status nor error register of a FLUSH is touched.
        let error = if is_flush { feature } else { registers.error };
        let brings = command == IDENTIFY || is_read(command);
        let data = if brings && registers.command & ERR == 0 {
            usize::from(count) * SECTOR
        } else {
            0
        };
        self.end_ata(registers.command, error, ATA_HEADER + data)
    }

    fn config_as_ggaoed(&mut self, port: &Port, payload: &[u8]) -> Told {
        let asked = usize::from(self.buffer.be16(30));
        let ccmd = self.buffer.byte(29) & 0x0f;
        let Some(string) = payload.get(..asked).filter(|_| asked <= MAX_CONFIG) else {
            return Err(aoe_error::BAD_ARGUMENT);
        };
        match ccmd {
            3 if !self.config.is_empty() && self.config != string => Err(aoe_error::CONFIG_PRESENT),
            0..=4 => Ok(self.query_config(port, CONFIG_HEADER + payload.len())),
            _ => Err(aoe_error::BAD_ARGUMENT),
        }
    }

    fn mask_as_ggaoed(&mut self, payload: &[u8]) -> Told {
        let (mcmd, count) = (self.buffer.byte(25), self.buffer.byte(27));
        if payload.len() < usize::from(count) * 8 || mcmd > 1 {
            return Err(aoe_error::BAD_ARGUMENT);
        }
        self.buffer.set(24, 0);
        self.buffer.set(26, 0);
        for index in 0..if mcmd == 1 { count } else { 0 } {
            let at = MASK_HEADER + usize::from(index) * 8;
            let (directive, mac) = (self.buffer.byte(at + 1), self.buffer.mac(at + 2));
            if let Err(error) = self.masks.edit(directive, mac, self.profile.max_masks) {
                self.buffer.put(26, &[error.code(), index]);
                // Behind it goes what was asked.
                return Ok(Some(MASK_HEADER + payload.len()));
            }
            self.masks.sort();
        }
        let macs = self.masks.macs().to_vec();
        for (index, mac) in macs.iter().enumerate() {
            let at = MASK_HEADER + index * 8;
            self.buffer.put(at, &[0, 0]);
            self.buffer.put(at + 2, mac);
        }
        self.buffer
            .set(27, u8::try_from(macs.len()).unwrap_or(u8::MAX));
        Ok(Some(MASK_HEADER + macs.len() * 8))
    }

    fn reserve_as_ggaoed(&mut self, payload: &[u8]) -> Told {
        let (rcmd, count) = (self.buffer.byte(24), usize::from(self.buffer.byte(25)));
        if payload.len() < count * 6 || rcmd > 2 {
            return Err(aoe_error::BAD_ARGUMENT);
        }
        // It looks for the address that the request was sent to, its own, instead of the sender's.
        let holder = self.buffer.mac(0);
        if rcmd == 1
            && !self.reserved.macs().is_empty()
            && !self.reserved.is_found_by_halves(holder)
        {
            return Err(aoe_error::RESERVED);
        }
        if rcmd != 0 {
            let macs: Vec<Mac> = (0..count)
                .map(|i| self.buffer.mac(RESERVE_HEADER + i * 6))
                .collect();
            self.set_reserved(&macs);
        }
        let macs = self.reserved.macs().to_vec();
        self.buffer
            .set(25, u8::try_from(macs.len()).unwrap_or(u8::MAX));
        for (index, mac) in macs.iter().enumerate() {
            self.buffer.put(RESERVE_HEADER + index * 6, mac);
        }
        Ok(Some(RESERVE_HEADER + macs.len() * 6))
    }
}

const fn is_read(command: u8) -> bool {
    matches!(command, 0x20 | 0x24)
}

const fn is_write(command: u8) -> bool {
    matches!(command, 0x30 | 0x34)
}
