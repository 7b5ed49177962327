// SPDX-License-Identifier: BSD-2-Clause
//! The target: a frame goes in, the answer comes out.

use std::collections::BTreeMap;

use crate::access::MacList;
use crate::ata::{AtaFault, Command, Device, IDENTIFY, Outcome, Registers};
use crate::frame::{
    AOE_HEADER, ATA_HEADER, Buffer, CONFIG_HEADER, ETHERTYPE, FLAG_RESPONSE, MASK_HEADER,
    MIN_FRAME, RESERVE_HEADER, aoe_error,
};
use crate::profile::{CountReply, OtherVersion, Profile, ReserveScope, SectorLimit, Style};
use crate::storage::{SECTOR, Storage};
use crate::strict::{self, Violation};
use crate::{Address, Mac, Port};

pub(crate) const ATA: u8 = 0;
pub(crate) const CONFIG: u8 = 1;
pub(crate) const MASK: u8 = 2;
pub(crate) const RESERVE: u8 = 3;
pub(crate) const MAX_CONFIG: usize = 1024;
const AFLAG_WRITE: u8 = 0x01;

/// An AoE error to answer instead of carrying ATA commands out.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct AoeFault {
    /// The error code.
    pub code: u8,
    /// How many times still.
    pub times: u32,
    /// IDENTIFY is answered with the error, too.
    pub identify: bool,
}

/// A target without time: it answers at once.
///
/// Every copy of a request is carried out, because no target suppresses duplicates.
#[derive(Debug)]
pub struct Model<S> {
    pub(crate) profile: Profile,
    addr: Address,
    pub(crate) storage: S,
    pub(crate) device: Device,
    pub(crate) config: Vec<u8>,
    pub(crate) masks: MacList,
    pub(crate) reserved: MacList,
    pub(crate) buffer: Buffer,
    /// The sector limit of each port, as of its last config query (vblade computes it anew in each).
    limits: BTreeMap<Mac, u32>,
    aoe_fault: Option<AoeFault>,
    reply_mac: Option<Mac>,
    violations: Vec<Violation>,
}

impl<S: Storage> Model<S> {
    /// A target at this address, as it is right after its start.
    pub fn new(profile: Profile, addr: Address, mut storage: S) -> Self {
        // A medium without a cache says so by doing nothing here.
        let _ = storage.set_write_cache(profile.write_cache);
        let device = Device {
            last_error: 0,
            write_cache: profile.write_cache,
            smart: true,
            healthy: true,
            self_test: 0,
            host_logs: BTreeMap::new(),
            faults: Vec::new(),
            mute_sectors: Vec::new(),
            bad_sectors: Vec::new(),
        };
        Self {
            profile,
            addr,
            storage,
            device,
            config: Vec::new(),
            masks: MacList::default(),
            reserved: MacList::default(),
            buffer: Buffer::new(),
            limits: BTreeMap::new(),
            aoe_fault: None,
            reply_mac: None,
            violations: Vec::new(),
        }
    }

    /// Its kind.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Its kind, to be changed under running initiators (another identity, read-only, counts).
    pub fn profile_mut(&mut self) -> &mut Profile {
        &mut self.profile
    }

    /// The medium.
    #[must_use]
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// The medium, to be looked into and changed behind the target's back.
    pub fn storage_mut(&mut self) -> &mut S {
        &mut self.storage
    }

    /// Where it answers.
    #[must_use]
    pub fn addr(&self) -> Address {
        self.addr
    }

    /// The config string.
    #[must_use]
    pub fn config(&self) -> &[u8] {
        &self.config
    }

    /// Gives it a config string, cut to what the protocol allows.
    pub fn set_config(&mut self, config: &[u8]) {
        self.config = config.iter().take(MAX_CONFIG).copied().collect();
    }

    /// Lets only these addresses talk to it; everyone when empty.
    pub fn set_masks(&mut self, macs: &[Mac]) {
        self.masks = MacList::new(macs);
    }

    /// The addresses that may talk to it.
    #[must_use]
    pub fn masks(&self) -> &[Mac] {
        self.masks.macs()
    }

    /// Reserves it for these addresses; for no one when empty.
    pub fn set_reserved(&mut self, macs: &[Mac]) {
        self.reserved = MacList::new(macs);
    }

    /// Makes ATA commands fail.
    pub fn add_ata_fault(&mut self, fault: AtaFault) {
        self.device.faults.push(fault);
    }

    /// Ends all injected failures.
    pub fn clear_faults(&mut self) {
        self.device.faults.clear();
        self.device.mute_sectors.clear();
        self.device.bad_sectors.clear();
        self.aoe_fault = None;
    }

    /// Leaves commands for a sector unanswered.
    pub fn add_mute_sector(&mut self, lba: u64) {
        self.device.mute_sectors.push(lba);
    }

    /// Makes reads of a sector fail.
    pub fn add_bad_sector(&mut self, lba: u64) {
        self.device.bad_sectors.push(lba);
    }

    /// Answers ATA commands with an AoE error.
    pub fn set_aoe_fault(&mut self, fault: Option<AoeFault>) {
        self.aoe_fault = fault;
    }

    /// Turns SMART on or off, as a host would.
    pub fn set_smart(&mut self, on: bool) {
        self.device.smart = on;
    }

    /// Whether SMART says that the disk is well.
    pub fn set_healthy(&mut self, healthy: bool) {
        self.device.healthy = healthy;
    }

    /// Answers come from this address instead of the port's.
    pub fn set_reply_mac(&mut self, mac: Option<Mac>) {
        self.reply_mac = mac;
    }

    /// What initiators did against the rules (strict targets only).
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// A new process: what was only in memory is gone.
    pub fn restart(&mut self) {
        if !self.profile.persistent {
            self.config.clear();
            self.masks = MacList::default();
            self.reserved = MacList::default();
        }
        self.device.last_error = 0;
        self.device.write_cache = self.profile.write_cache;
        let _ = self.storage.set_write_cache(self.profile.write_cache);
        self.limits.clear();
        self.buffer = Buffer::new();
    }

    /// The unsolicited config answers sent at start: one to everyone, or one to each address of the mask list.
    #[must_use]
    pub fn advertisement(&self, port: &Port) -> Vec<Vec<u8>> {
        let Some(version) = self.profile.advertise else {
            return Vec::new();
        };
        let everyone = [[0xff; 6]];
        // ggaoed looks at the list of its configuration file here, not at that of the mask commands; and tells its string.
        let ggaoed = self.profile.style == Style::Ggaoed;
        let config = if ggaoed { &self.config[..] } else { &[] };
        let to = if ggaoed || self.masks.macs().is_empty() {
            &everyone[..]
        } else {
            self.masks.macs()
        };
        to.iter()
            .map(|dst| {
                let mut frame = Vec::with_capacity(MIN_FRAME);
                frame.extend_from_slice(dst);
                frame.extend_from_slice(&self.reply_mac.unwrap_or(port.mac));
                frame.extend_from_slice(&ETHERTYPE);
                frame.extend_from_slice(&[(version << 4) | FLAG_RESPONSE, 0]);
                frame.extend_from_slice(&self.addr.shelf.to_be_bytes());
                frame.extend_from_slice(&[self.addr.slot, CONFIG, 0, 0, 0, 0]);
                frame.extend_from_slice(&self.profile.buffer_count.to_be_bytes());
                frame.extend_from_slice(&self.profile.firmware.to_be_bytes());
                frame.extend_from_slice(&[self.advertised(port.mtu), 0x10]);
                let length = u16::try_from(config.len()).unwrap_or(0);
                frame.extend_from_slice(&length.to_be_bytes());
                frame.extend_from_slice(config);
                if self.profile.pad && frame.len() < MIN_FRAME {
                    frame.resize(MIN_FRAME, 0);
                }
                frame
            })
            .collect()
    }

    fn advertised(&self, mtu: u32) -> u8 {
        let limit = sector_limit(&self.profile, mtu);
        self.profile
            .advertised_sectors
            .unwrap_or(u8::try_from(limit).unwrap_or(u8::MAX))
    }

    /// Whether a frame is for this target at all: what the packet filter and the mask list let through.
    #[must_use]
    pub fn accepts(&self, frame: &[u8]) -> bool {
        let Some(head) = frame.first_chunk::<AOE_HEADER>() else {
            return false;
        };
        let [.., t0, t1, flags, _, major0, major1, minor, _, _, _, _, _] = *head;
        let shelf = u16::from_be_bytes([major0, major1]);
        let source = head
            .get(6..12)
            .and_then(|mac| mac.try_into().ok())
            .unwrap_or([0; 6]);
        [t0, t1] == ETHERTYPE
            && flags & FLAG_RESPONSE == 0
            && (shelf == self.addr.shelf || shelf == 0xffff)
            && (minor == self.addr.slot || minor == 0xff)
            && self.masks.admits(source)
    }

    /// Carries a frame out; the answer, if there is one, is to be sent from the same port.
    pub fn handle(&mut self, port: &Port, frame: &[u8]) -> Option<Vec<u8>> {
        if !self.accepts(frame) {
            return None;
        }
        if self.profile.style == Style::Ggaoed {
            return self.handle_as_ggaoed(port, frame);
        }
        self.buffer.load(frame, self.profile.stale_buffer);
        let version = self.buffer.byte(14) >> 4;
        let len = if version != 1 && self.profile.other_version != OtherVersion::Serve {
            if self.profile.other_version == OtherVersion::Silence {
                return None;
            }
            self.buffer.set(14, 0x10 | (self.buffer.byte(14) & 0x0f));
            self.buffer.error(aoe_error::BAD_VERSION);
            frame.len()
        } else {
            self.command(port, frame)?
        };
        Some(self.answer(port, len))
    }

    fn command(&mut self, port: &Port, frame: &[u8]) -> Option<usize> {
        let len = frame.len();
        let command = self.buffer.byte(19);
        let least = match command {
            ATA => ATA_HEADER,
            CONFIG => CONFIG_HEADER,
            MASK => MASK_HEADER,
            RESERVE => RESERVE_HEADER,
            _ => AOE_HEADER,
        };
        if len < least {
            return None;
        }
        match command {
            ATA => self.ata(port, frame),
            CONFIG => self.query_config(port, len),
            MASK if self.profile.revision_11 => Some(self.mask(len)),
            RESERVE if self.profile.revision_11 => Some(self.reserve(len)),
            _ if self.profile.revision_11 => {
                self.buffer.error(aoe_error::BAD_COMMAND);
                Some(len)
            }
            _ => None,
        }
    }

    pub(crate) fn answer(&mut self, port: &Port, len: usize) -> Vec<u8> {
        let requester = self.buffer.mac(6);
        self.buffer.put(0, &requester);
        self.buffer.put(6, &self.reply_mac.unwrap_or(port.mac));
        self.buffer.put(16, &self.addr.shelf.to_be_bytes());
        self.buffer.set(18, self.addr.slot);
        self.buffer.set(14, self.buffer.byte(14) | FLAG_RESPONSE);
        let mut reply = self.buffer.slice(0, len).to_vec();
        if self.profile.pad && reply.len() < MIN_FRAME {
            reply.resize(MIN_FRAME, 0);
        }
        reply
    }

    pub(crate) fn limit(&mut self, port: &Port) -> u32 {
        let now = sector_limit(&self.profile, port.mtu);
        if self.profile.style == Style::Ggaoed {
            return now;
        }
        *self.limits.entry(port.mac).or_insert(now)
    }

    fn reserved_for_others(&self, command: u8) -> bool {
        let scope = match self.profile.reserve_scope {
            ReserveScope::AllButIdentify => command != IDENTIFY,
            ReserveScope::ReadWrite => matches!(command, 0x20 | 0x24 | 0x30 | 0x34),
        };
        let source = self.buffer.mac(6);
        let admits = if self.profile.style == Style::Ggaoed {
            self.reserved.macs().is_empty() || self.reserved.is_found_by_halves(source)
        } else {
            self.reserved.admits(source)
        };
        scope && !admits
    }

    /// The six bytes of the LBA registers.
    pub(crate) fn lba(&self) -> u64 {
        let mut lba = [0; 8];
        lba.iter_mut()
            .zip(self.buffer.slice(28, 6))
            .for_each(|(to, from)| *to = *from);
        u64::from_le_bytes(lba)
    }

    /// The error with which a command is refused that is not carried out.
    pub(crate) fn barred(&mut self, frame: &[u8], limit: u32) -> Option<u8> {
        let command = self.buffer.byte(27);
        if self.profile.strict
            && let Err(violation) = strict::check(frame, limit)
        {
            self.violations.push(violation);
            return Some(aoe_error::BAD_ARGUMENT);
        }
        if self.reserved_for_others(command) {
            return Some(aoe_error::RESERVED);
        }
        if let Some(fault) = self.aoe_fault.as_mut()
            && fault.times > 0
            && (fault.identify || command != IDENTIFY)
        {
            fault.times -= 1;
            return Some(fault.code);
        }
        None
    }

    pub(crate) fn ata(&mut self, port: &Port, frame: &[u8]) -> Option<usize> {
        let limit = self.limit(port);
        let len = frame.len();
        let command = self.buffer.byte(27);
        if let Some(code) = self.barred(frame, limit) {
            self.buffer.error(code);
            return Some(MIN_FRAME);
        }
        let asked = self.buffer.byte(26);
        let mut registers = Registers {
            lba: self.lba(),
            sectors: asked,
            feature: self.buffer.byte(25),
            command,
            error: 0,
        };
        let before = registers.lba;
        let room = usize::from(u8::MAX) * SECTOR;
        let outcome = self.device.execute(
            &mut self.storage,
            &mut registers,
            Command {
                profile: &self.profile,
                limit,
                data: self.buffer.slice_mut(ATA_HEADER, room.min(65_536)),
                payload: len - ATA_HEADER,
            },
        );
        match outcome {
            Outcome::Silence => return None,
            Outcome::BadArgument => {
                self.buffer.error(aoe_error::BAD_ARGUMENT);
                return Some(MIN_FRAME);
            }
            Outcome::Answer => {}
        }
        if registers.lba != before && self.profile.smart {
            let bytes = registers.lba.to_le_bytes();
            self.buffer.put(28, bytes.get(..6).unwrap_or_default());
        }
        self.finish_ata(asked, registers)
    }

    /// The length of the answer follows from what was asked and what is left undone, as in vblade: a CHECK
    /// POWER with a sector count gets no answer, because its length would be negative.
    fn finish_ata(&mut self, asked: u8, registers: Registers) -> Option<usize> {
        let len = if self.buffer.byte(24) & AFLAG_WRITE == 0 && asked > 0 {
            let done = asked.checked_sub(registers.sectors)?;
            ATA_HEADER + usize::from(done) * SECTOR
        } else {
            MIN_FRAME
        };
        let shown = match self.profile.count_reply {
            CountReply::Remaining => registers.sectors,
            CountReply::Echo if registers.sectors == 0xff => 0xff,
            CountReply::Echo => asked,
            CountReply::Zero => 0,
        };
        self.buffer.set(25, registers.error);
        self.buffer.set(26, shown);
        self.buffer.set(27, registers.command);
        Some(len)
    }

    pub(crate) fn query_config(&mut self, port: &Port, len: usize) -> Option<usize> {
        let asked = usize::from(self.buffer.be16(30));
        let ccmd = self.buffer.byte(29) & 0x0f;
        let string = self.buffer.slice(CONFIG_HEADER, asked).to_vec();
        // The place on vblade's stack where a FLUSH finds its error register is used here.
        self.device.last_error = 0;
        // vblade compares the string's length with the frame's, headers included, and so may take in
        // what an earlier frame left behind.
        let room = if self.profile.stale_buffer {
            len
        } else {
            len - CONFIG_HEADER
        };
        if ccmd != 0 && (asked > MAX_CONFIG || asked > room) {
            return None;
        }
        match ccmd {
            0 => {}
            1 if string == self.config => {}
            2 if self.config.starts_with(&string) => {}
            1 | 2 => return None,
            3 if self.config.is_empty() || self.config == string => self.config = string,
            3 => self.buffer.error(aoe_error::CONFIG_PRESENT),
            4 => self.config = string,
            _ => self.buffer.error(aoe_error::BAD_ARGUMENT),
        }
        self.limits
            .insert(port.mac, sector_limit(&self.profile, port.mtu));
        let shown = if self.profile.echo_ccmd { ccmd } else { 0 };
        let config = std::mem::take(&mut self.config);
        self.buffer
            .put(24, &self.profile.buffer_count.to_be_bytes());
        self.buffer.put(26, &self.profile.firmware.to_be_bytes());
        self.buffer
            .put(28, &[self.advertised(port.mtu), 0x10 | shown]);
        self.buffer
            .put(30, &u16::try_from(config.len()).unwrap_or(0).to_be_bytes());
        self.buffer.put(CONFIG_HEADER, &config);
        self.config = config;
        Some(CONFIG_HEADER + self.config.len())
    }

    fn mask(&mut self, len: usize) -> usize {
        let (mcmd, count) = (self.buffer.byte(25), self.buffer.byte(27));
        self.buffer.set(26, 0);
        match mcmd {
            0 => {}
            1 => {
                for index in 0..count {
                    let at = MASK_HEADER + usize::from(index) * 8;
                    if at + 8 > len {
                        break;
                    }
                    let mac = self.buffer.mac(at + 2);
                    let directive = self.buffer.byte(at + 1);
                    if let Err(error) = self.masks.edit(directive, mac, self.profile.max_masks) {
                        self.buffer.put(26, &[error.code(), index]);
                        return MASK_HEADER;
                    }
                }
            }
            _ => {
                self.buffer.error(aoe_error::BAD_ARGUMENT);
                return MASK_HEADER;
            }
        }
        let macs = self.masks.macs().to_vec();
        for (index, mac) in macs.iter().enumerate() {
            let at = MASK_HEADER + index * 8;
            self.buffer.put(at, &[0, 0]);
            self.buffer.put(at + 2, mac);
        }
        self.buffer
            .set(27, u8::try_from(macs.len()).unwrap_or(u8::MAX));
        MASK_HEADER + macs.len() * 8
    }

    fn reserve(&mut self, len: usize) -> usize {
        let (rcmd, count) = (self.buffer.byte(24), usize::from(self.buffer.byte(25)));
        let fits = len >= RESERVE_HEADER + count * 6 && count <= self.profile.max_reserved;
        match rcmd {
            0 => {}
            1 if fits && !self.reserved.admits(self.buffer.mac(6)) => {
                self.buffer.error(aoe_error::RESERVED);
            }
            1 | 2 if fits => {
                let macs: Vec<Mac> = (0..count)
                    .map(|i| self.buffer.mac(RESERVE_HEADER + i * 6))
                    .collect();
                self.reserved = MacList::new(&macs);
            }
            _ => self.buffer.error(aoe_error::BAD_ARGUMENT),
        }
        let macs = self.reserved.macs().to_vec();
        self.buffer
            .set(25, u8::try_from(macs.len()).unwrap_or(u8::MAX));
        for (index, mac) in macs.iter().enumerate() {
            self.buffer.put(RESERVE_HEADER + index * 6, mac);
        }
        RESERVE_HEADER + macs.len() * 6
    }
}

fn sector_limit(profile: &Profile, mtu: u32) -> u32 {
    let mtu = match profile.sector_limit {
        SectorLimit::FromMtuUpTo(most) => mtu.min(most),
        _ => mtu,
    };
    let from_mtu = (mtu.saturating_sub(36) / 512).min(255);
    match profile.sector_limit {
        SectorLimit::FromMtu | SectorLimit::FromMtuUpTo(_) => from_mtu,
        SectorLimit::FromMtuRounded if from_mtu <= 8 => from_mtu,
        SectorLimit::FromMtuRounded => [64, 32, 16]
            .into_iter()
            .find(|size| *size <= from_mtu)
            .unwrap_or(8),
        SectorLimit::Fixed(sectors) => u32::from(sectors),
    }
}
