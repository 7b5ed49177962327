// SPDX-License-Identifier: BSD-2-Clause
//! ATA commands, as far as targets have them.

use std::collections::BTreeMap;

use crate::identify::{Facts, MAX_LBA28, identify};
use crate::profile::{FlushStatus, Profile, Refusal};
use crate::smart;
use crate::storage::{SECTOR, Storage};

const DRDY: u8 = 0x40;
const ABRT: u8 = 0x04;
const IDNF: u8 = 0x10;

pub(crate) const IDENTIFY: u8 = 0xec;
const FLUSH: u8 = 0xe7;
const FLUSH_EXT: u8 = 0xea;
const CHECK_POWER: u8 = 0xe5;
const SET_FEATURES: u8 = 0xef;
const SMART: u8 = 0xb0;
const DSM: u8 = 0x06;
const READ: u8 = 0x20;
const READ_EXT: u8 = 0x24;
const WRITE: u8 = 0x30;
const WRITE_EXT: u8 = 0x34;

/// The registers of a command, then of its result.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Registers {
    pub(crate) lba: u64,
    pub(crate) sectors: u8,
    pub(crate) feature: u8,
    /// The command before, the status after.
    pub(crate) command: u8,
    pub(crate) error: u8,
}

impl Registers {
    fn end(&mut self, status: u8, error: u8) -> Outcome {
        self.command = status;
        self.error = error;
        Outcome::Answer
    }
}

/// What became of a command.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The registers hold the result.
    Answer,
    /// AoE error 2.
    BadArgument,
    /// No answer.
    Silence,
}

/// How an injected ATA failure picks its commands.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Which {
    /// Every ATA command but IDENTIFY.
    All,
    /// Reads only.
    Reads,
    /// Writes only.
    Writes,
    /// FLUSH only.
    Flushes,
    /// TRIM only.
    Trims,
}

impl Which {
    fn covers(self, command: u8) -> bool {
        match self {
            Self::All => command != IDENTIFY,
            Self::Reads => matches!(command, READ | READ_EXT),
            Self::Writes => matches!(command, WRITE | WRITE_EXT),
            Self::Flushes => matches!(command, FLUSH | FLUSH_EXT),
            Self::Trims => command == DSM,
        }
    }
}

/// A failure to show instead of carrying a command out.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct AtaFault {
    /// Which commands fail.
    pub which: Which,
    /// The status register.
    pub status: u8,
    /// The error register.
    pub error: u8,
    /// How many times still.
    pub times: u32,
}

/// The ATA half of a target.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    /// What the last command left in the error register.
    pub(crate) last_error: u8,
    pub(crate) write_cache: bool,
    pub(crate) smart: bool,
    pub(crate) healthy: bool,
    /// What SMART READ DATA tells of the last self-test.
    pub(crate) self_test: u8,
    /// SMART logs that hosts have written.
    pub(crate) host_logs: BTreeMap<u8, [u8; SECTOR]>,
    pub(crate) faults: Vec<AtaFault>,
    /// Sectors for which no command is answered.
    pub(crate) mute_sectors: Vec<u64>,
    /// Sectors of which no read succeeds.
    pub(crate) bad_sectors: Vec<u64>,
}

/// A command with what it came with.
pub(crate) struct Command<'a> {
    pub(crate) profile: &'a Profile,
    /// Most sectors in a frame.
    pub(crate) limit: u32,
    /// Where data come and go; as large as the buffer allows.
    pub(crate) data: &'a mut [u8],
    /// Bytes of data the request really brought.
    pub(crate) payload: usize,
}

impl Device {
    pub(crate) fn facts(&self, sectors: u64) -> Facts {
        Facts {
            sectors,
            write_cache: self.write_cache,
            smart: self.smart,
        }
    }

    /// The disk never comes to an end with these sectors.
    fn is_mute(&self, registers: &Registers) -> bool {
        let sectors = registers.lba..registers.lba + u64::from(registers.sectors);
        Which::All.covers(registers.command)
            && self.mute_sectors.iter().any(|lba| sectors.contains(lba))
    }

    fn fault(&mut self, command: u8) -> Option<AtaFault> {
        let at = self
            .faults
            .iter()
            .position(|f| f.times > 0 && f.which.covers(command))?;
        let fault = self.faults.get_mut(at)?;
        fault.times -= 1;
        Some(*fault)
    }

    /// Carries a command out.
    pub(crate) fn execute<S: Storage>(
        &mut self,
        storage: &mut S,
        registers: &mut Registers,
        command: Command<'_>,
    ) -> Outcome {
        // vblade answers a FLUSH with the error register it finds.
        registers.error = self.last_error;
        let outcome = if self.is_mute(registers) {
            Outcome::Silence
        } else if let Some(fault) = self.fault(registers.command) {
            registers.end(fault.status, fault.error)
        } else {
            self.dispatch(storage, registers, command)
        };
        self.last_error = registers.error;
        outcome
    }

    fn dispatch<S: Storage>(
        &mut self,
        storage: &mut S,
        registers: &mut Registers,
        command: Command<'_>,
    ) -> Outcome {
        let profile = command.profile;
        match registers.command {
            IDENTIFY => {
                if profile.identify_count && registers.sectors != 1 {
                    return Outcome::BadArgument;
                }
                let data = identify(profile, self.facts(storage.sectors()));
                if let Some(place) = command.data.get_mut(..SECTOR) {
                    place.copy_from_slice(&data);
                }
                registers.sectors = 0;
                registers.end(DRDY, 0)
            }
            FLUSH if profile.flush => flush(storage, registers, profile),
            FLUSH_EXT if profile.flush_ext => flush(storage, registers, profile),
            CHECK_POWER if profile.check_power => {
                registers.sectors = 0xff;
                registers.end(DRDY, 0)
            }
            SET_FEATURES if profile.features => self.set_features(storage, registers, profile),
            SMART if profile.smart => self.smart(registers, command),
            DSM if profile.trim_blocks > 0 => trim(storage, registers, command),
            READ | WRITE => {
                registers.lba &= MAX_LBA28;
                self.transfer(storage, registers, command)
            }
            READ_EXT | WRITE_EXT if profile.lba48 => self.transfer(storage, registers, command),
            _ => registers.end(profile.abort_status, ABRT),
        }
    }

    fn transfer<S: Storage>(
        &mut self,
        storage: &mut S,
        registers: &mut Registers,
        command: Command<'_>,
    ) -> Outcome {
        let profile = command.profile;
        let count = usize::from(registers.sectors);
        let len = count * SECTOR;
        if u32::from(registers.sectors) > command.limit || len > command.data.len() {
            return refuse(registers, profile);
        }
        let end = registers.lba.checked_add(u64::from(registers.sectors));
        if end.is_none_or(|end| end > storage.sectors()) {
            return registers.end(profile.abort_status, IDNF);
        }
        let writes = matches!(registers.command, WRITE | WRITE_EXT);
        if writes && command.payload < len {
            return refuse(registers, profile);
        }
        let Some(data) = command.data.get_mut(..len) else {
            return refuse(registers, profile);
        };
        let done = if writes {
            if profile.read_only {
                return registers.end(profile.abort_status, ABRT);
            }
            storage.write(registers.lba, data)
        } else if self
            .bad_sectors
            .iter()
            .any(|bad| (registers.lba..end.unwrap_or(0)).contains(bad))
        {
            Err(crate::storage::MediumError)
        } else {
            storage.read(registers.lba, data)
        };
        if done.is_err() {
            let (status, error) = profile.medium_error;
            return registers.end(status, error);
        }
        registers.sectors = 0;
        registers.end(DRDY, 0)
    }

    fn set_features<S: Storage>(
        &mut self,
        storage: &mut S,
        registers: &mut Registers,
        profile: &Profile,
    ) -> Outcome {
        match registers.feature {
            on_off @ (0x02 | 0x82) => {
                self.write_cache = on_off == 0x02;
                if storage.set_write_cache(self.write_cache).is_err() {
                    return registers.end(profile.abort_status, ABRT);
                }
            }
            // Look-ahead changes nothing that can be seen.
            0xaa | 0x55 => {}
            _ => return registers.end(profile.abort_status, ABRT),
        }
        registers.end(DRDY, 0)
    }

    fn smart(&mut self, registers: &mut Registers, command: Command<'_>) -> Outcome {
        let (profile, data) = (command.profile, command.data);
        let key = registers.lba & 0xff_ff00;
        let known = key == 0xc2_4f00 && (self.smart || registers.feature == 0xd8);
        let [parameter, ..] = registers.lba.to_le_bytes();
        let page = match registers.feature {
            0xd0 if known => Some(smart::data(self.healthy, self.self_test)),
            0xd1 if known => Some(smart::thresholds()),
            0xd5 if known => smart::log(parameter).or_else(|| {
                let written = self.host_logs.get(&parameter);
                written
                    .copied()
                    .or(smart::HOST_LOGS.contains(&parameter).then_some([0; SECTOR]))
            }),
            _ => None,
        };
        match registers.feature {
            0xd8 | 0xd9 if known => self.smart = registers.feature == 0xd8,
            0xda if known => {
                let answer = if self.healthy { 0xc2_4f00 } else { 0x2c_f400 };
                registers.lba = (registers.lba & !0xff_ff00) | answer;
            }
            // The tests take no time here; one that is to be stopped has ended before.
            0xd4 if known && matches!(parameter, 0..=2 | 127) => self.self_test = 0,
            0xd6 if known && smart::HOST_LOGS.contains(&parameter) && registers.sectors == 1 => {
                if command.payload < SECTOR {
                    return refuse(registers, profile);
                }
                let Some(log) = data.first_chunk() else {
                    return refuse(registers, profile);
                };
                self.host_logs.insert(parameter, *log);
                registers.sectors = 0;
            }
            _ => {
                let place = data.get_mut(..SECTOR).filter(|_| registers.sectors == 1);
                let (Some(page), Some(place)) = (page, place) else {
                    return registers.end(profile.abort_status, ABRT);
                };
                place.copy_from_slice(&page);
                registers.sectors = 0;
            }
        }
        registers.end(DRDY, 0)
    }
}

fn refuse(registers: &mut Registers, profile: &Profile) -> Outcome {
    match profile.refusal {
        Refusal::AoeError => Outcome::BadArgument,
        Refusal::Silence => Outcome::Silence,
        Refusal::Abort => registers.end(profile.abort_status, ABRT),
    }
}

fn flush<S: Storage>(storage: &mut S, registers: &mut Registers, profile: &Profile) -> Outcome {
    if profile.flush_works && storage.flush().is_err() {
        let (status, error) = profile.medium_error;
        return registers.end(status, error);
    }
    match profile.flush_status {
        FlushStatus::Ready => registers.end(DRDY, 0),
        FlushStatus::Zero => {
            registers.command = 0;
            Outcome::Answer
        }
        FlushStatus::Command => {
            registers.error = 0;
            Outcome::Answer
        }
    }
}

fn trim<S: Storage>(storage: &mut S, registers: &mut Registers, command: Command<'_>) -> Outcome {
    let profile = command.profile;
    let len = usize::from(registers.sectors) * SECTOR;
    if registers.feature & 1 == 0
        || registers.sectors == 0
        || u16::from(registers.sectors) > profile.trim_blocks
        || profile.read_only
    {
        return registers.end(profile.abort_status, ABRT);
    }
    if command.payload < len || u32::from(registers.sectors) > command.limit {
        return refuse(registers, profile);
    }
    let ranges: Vec<(u64, u64)> = command
        .data
        .get(..len)
        .unwrap_or_default()
        .chunks_exact(8)
        .filter_map(|entry| entry.try_into().ok().map(u64::from_le_bytes))
        .map(|entry| (entry & 0xffff_ffff_ffff, entry >> 48))
        .filter(|(_, count)| *count > 0)
        .collect();
    // ATA: a range beyond the end aborts the command; nothing is said about the others, so none is done.
    if ranges
        .iter()
        .any(|(lba, count)| lba + count > storage.sectors())
    {
        return registers.end(profile.abort_status, IDNF);
    }
    for (lba, count) in ranges {
        if storage.trim(lba, count).is_err() {
            let (status, error) = profile.medium_error;
            return registers.end(status, error);
        }
    }
    registers.sectors = 0;
    registers.end(DRDY, 0)
}
