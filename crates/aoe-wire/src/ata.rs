// SPDX-License-Identifier: BSD-2-Clause
//! Issue ATA Command (AoEr11 3.1): the registers of an ATA device in 12 bytes.

use core::fmt;
use core::ops::BitOr;

use crate::error::WireError;
use crate::writer::Fields;
use crate::{ATA_HEADER_LEN, HEADER_LEN};

/// Length of the ATA argument.
const ARGUMENT_LEN: usize = ATA_HEADER_LEN - HEADER_LEN;
/// The highest value of a 28-bit LBA field; no sector has it, because a 28-bit capacity is at most
/// this number.
const LBA28_MAX: u64 = 0x0FFF_FFFF;
/// The highest value of a 48-bit LBA field; no sector has it either.
pub(crate) const LBA48_MAX: u64 = 0xFFFF_FFFF_FFFF;

/// ATA commands, by their number in the command register.
pub mod opcode {
    /// DATA SET MANAGEMENT; with feature bit 0 it is TRIM.
    pub const DSM: u8 = 0x06;
    /// READ SECTORS, 28-bit.
    pub const READ: u8 = 0x20;
    /// READ SECTORS EXT, 48-bit.
    pub const READ_EXT: u8 = 0x24;
    /// READ LOG EXT.
    pub const READ_LOG_EXT: u8 = 0x2F;
    /// WRITE SECTORS, 28-bit.
    pub const WRITE: u8 = 0x30;
    /// WRITE SECTORS EXT, 48-bit.
    pub const WRITE_EXT: u8 = 0x34;
    /// READ VERIFY SECTORS, 28-bit.
    pub const READ_VERIFY: u8 = 0x40;
    /// SMART; the feature register says what.
    pub const SMART: u8 = 0xB0;
    /// STANDBY IMMEDIATE.
    pub const STANDBY_IMMEDIATE: u8 = 0xE0;
    /// IDLE IMMEDIATE.
    pub const IDLE_IMMEDIATE: u8 = 0xE1;
    /// STANDBY.
    pub const STANDBY: u8 = 0xE2;
    /// IDLE.
    pub const IDLE: u8 = 0xE3;
    /// CHECK POWER MODE; the answer is in the count register.
    pub const CHECK_POWER: u8 = 0xE5;
    /// SLEEP.
    pub const SLEEP: u8 = 0xE6;
    /// FLUSH CACHE, 28-bit.
    pub const FLUSH: u8 = 0xE7;
    /// FLUSH CACHE EXT, 48-bit.
    pub const FLUSH_EXT: u8 = 0xEA;
    /// IDENTIFY DEVICE.
    pub const IDENTIFY: u8 = 0xEC;
    /// SET FEATURES; the feature register says which.
    pub const SET_FEATURES: u8 = 0xEF;

    /// The name of a command, if this crate knows it.
    #[must_use]
    pub const fn name(opcode: u8) -> Option<&'static str> {
        Some(match opcode {
            DSM => "dsm",
            READ => "read",
            READ_EXT => "read-ext",
            READ_LOG_EXT => "read-log-ext",
            WRITE => "write",
            WRITE_EXT => "write-ext",
            READ_VERIFY => "read-verify",
            SMART => "smart",
            STANDBY_IMMEDIATE => "standby-immediate",
            IDLE_IMMEDIATE => "idle-immediate",
            STANDBY => "standby",
            IDLE => "idle",
            CHECK_POWER => "check-power",
            SLEEP => "sleep",
            FLUSH => "flush",
            FLUSH_EXT => "flush-ext",
            IDENTIFY => "identify",
            SET_FEATURES => "set-features",
            _ => return None,
        })
    }

    /// Whether the command uses the 48-bit registers. Servers go by this, not by the E flag.
    #[must_use]
    pub const fn is_ext(opcode: u8) -> bool {
        matches!(
            opcode,
            DSM | READ_EXT | READ_LOG_EXT | WRITE_EXT | FLUSH_EXT
        )
    }
}

/// Values of the feature register.
pub mod feature {
    /// DATA SET MANAGEMENT: TRIM.
    pub const TRIM: u8 = 0x01;
    /// SET FEATURES: enable the write cache.
    pub const WRITE_CACHE_ON: u8 = 0x02;
    /// SET FEATURES: disable the write cache.
    pub const WRITE_CACHE_OFF: u8 = 0x82;
    /// SET FEATURES: enable read look-ahead.
    pub const LOOK_AHEAD_ON: u8 = 0xAA;
    /// SET FEATURES: disable read look-ahead.
    pub const LOOK_AHEAD_OFF: u8 = 0x55;
    /// SMART: read the attribute values.
    pub const SMART_READ_DATA: u8 = 0xD0;
    /// SMART: read the attribute thresholds.
    pub const SMART_READ_THRESHOLDS: u8 = 0xD1;
    /// SMART: start a self-test.
    pub const SMART_OFFLINE: u8 = 0xD4;
    /// SMART: read a log.
    pub const SMART_READ_LOG: u8 = 0xD5;
    /// SMART: write a log.
    pub const SMART_WRITE_LOG: u8 = 0xD6;
    /// SMART: enable.
    pub const SMART_ENABLE: u8 = 0xD8;
    /// SMART: disable.
    pub const SMART_DISABLE: u8 = 0xD9;
    /// SMART: say whether a threshold is exceeded.
    pub const SMART_STATUS: u8 = 0xDA;
}

/// Bits of the status register.
pub mod status {
    /// Busy; no other bit means anything.
    pub const BSY: u8 = 0x80;
    /// Device ready. Never required: servers answer without it.
    pub const DRDY: u8 = 0x40;
    /// Device fault.
    pub const DF: u8 = 0x20;
    /// Data request.
    pub const DRQ: u8 = 0x08;
    /// Error; the error register says which.
    pub const ERR: u8 = 0x01;
    /// Any of these means that the command failed.
    pub const FAILED: u8 = BSY | DF | DRQ | ERR;
}

/// Bits of the error register.
pub mod error_bit {
    /// Interface checksum error.
    pub const ICRC: u8 = 0x80;
    /// Uncorrectable data.
    pub const UNC: u8 = 0x40;
    /// No such sector.
    pub const IDNF: u8 = 0x10;
    /// Command aborted: not known, not allowed, or not possible now.
    pub const ABRT: u8 = 0x04;
}

/// AFlags, the first byte of the argument (AoEr11 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct AtaFlags(pub u8);

impl AtaFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// The command uses the 48-bit registers.
    pub const EXT: Self = Self(0x40);
    /// Bit 4 of the device register. Nobody looks at it; never set.
    pub const DEVICE: Self = Self(0x10);
    /// The server may answer a write before the data are safe. Never set.
    pub const ASYNC: Self = Self(0x02);
    /// Data travel from the client to the server in this request.
    pub const WRITE: Self = Self(0x01);

    /// Whether every flag of `other` is set here.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for AtaFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The argument of an ATA request, without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AtaRequest {
    /// AFlags.
    pub flags: AtaFlags,
    /// Feature register.
    pub feature: u8,
    /// Sector count register. Servers read 0 as no sectors, where ATA reads it as 256.
    pub count: u8,
    /// Command register, one of [`opcode`].
    pub command: u8,
    /// LBA registers, least significant first. Of a 28-bit command the high half of the fourth
    /// byte stands for the device register.
    pub lba: [u8; 6],
}

/// The obsolete bits of the device register that old disks want to see set.
const DEVICE_OBSOLETE: u8 = 0xA0;
/// The same with the bit that chooses LBA addressing.
const DEVICE_LBA: u8 = 0xE0;

/// The registers of a 48-bit address. Past the end of the format the highest value stands, which
/// is no disk's sector, so a server refuses it instead of touching a wrong one.
const fn lba48_registers(lba: u64) -> [u8; 6] {
    let lba = if lba > LBA48_MAX { LBA48_MAX } else { lba };
    let [b0, b1, b2, b3, b4, b5, _, _] = lba.to_le_bytes();
    [b0, b1, b2, b3, b4, b5]
}

/// The registers of a 28-bit address, with the same rule.
const fn lba28_registers(lba: u64) -> [u8; 6] {
    let lba = if lba > LBA28_MAX { LBA28_MAX } else { lba };
    let [b0, b1, b2, b3, ..] = lba.to_le_bytes();
    [b0, b1, b2, b3 | DEVICE_LBA, 0, 0]
}

/// The registers of a 28-bit command that has no address.
const NO_ADDRESS: [u8; 6] = [0, 0, 0, DEVICE_OBSOLETE, 0, 0];

impl AtaRequest {
    /// Reads `count` sectors (1 to 255) from `lba`.
    ///
    /// An address that the form cannot express is sent as the highest one it can, which is past
    /// the end of every disk of that form.
    #[must_use]
    pub const fn read(lba: u64, count: u8, lba48: bool) -> Self {
        if lba48 {
            Self {
                flags: AtaFlags::EXT,
                feature: 0,
                count,
                command: opcode::READ_EXT,
                lba: lba48_registers(lba),
            }
        } else {
            Self {
                flags: AtaFlags::NONE,
                feature: 0,
                count,
                command: opcode::READ,
                lba: lba28_registers(lba),
            }
        }
    }

    /// Writes `count` sectors (1 to 255) to `lba`. Addresses as in [`AtaRequest::read`].
    #[must_use]
    pub const fn write(lba: u64, count: u8, lba48: bool) -> Self {
        if lba48 {
            Self {
                flags: AtaFlags(AtaFlags::EXT.0 | AtaFlags::WRITE.0),
                feature: 0,
                count,
                command: opcode::WRITE_EXT,
                lba: lba48_registers(lba),
            }
        } else {
            Self {
                flags: AtaFlags::WRITE,
                feature: 0,
                count,
                command: opcode::WRITE,
                lba: lba28_registers(lba),
            }
        }
    }

    /// Asks for the 512 bytes of IDENTIFY DEVICE. Servers want a count of 1.
    #[must_use]
    pub const fn identify() -> Self {
        Self {
            count: 1,
            ..Self::simple(opcode::IDENTIFY, 0)
        }
    }

    /// Flushes the disk's write cache.
    #[must_use]
    pub const fn flush(ext: bool) -> Self {
        if ext {
            Self {
                flags: AtaFlags::EXT,
                feature: 0,
                count: 0,
                command: opcode::FLUSH_EXT,
                lba: [0; 6],
            }
        } else {
            Self::simple(opcode::FLUSH, 0)
        }
    }

    /// Asks for the power mode. The count must be 0: with another, vblade 25 does not answer.
    #[must_use]
    pub const fn check_power() -> Self {
        Self::simple(opcode::CHECK_POWER, 0)
    }

    /// SET FEATURES with one of [`feature`].
    #[must_use]
    pub const fn set_features(feature: u8) -> Self {
        Self::simple(opcode::SET_FEATURES, feature)
    }

    /// TRIM with `blocks` blocks of ranges as data; see [`crate::emit_trim_range`].
    #[must_use]
    pub const fn trim(blocks: u8) -> Self {
        Self {
            flags: AtaFlags(AtaFlags::EXT.0 | AtaFlags::WRITE.0),
            feature: feature::TRIM,
            count: blocks,
            command: opcode::DSM,
            lba: [0; 6],
        }
    }

    /// SMART with one of [`feature`]. `log` is the number of a log or self-test, else 0.
    #[must_use]
    pub const fn smart(feature: u8, count: u8, log: u8) -> Self {
        let flags = if feature == feature::SMART_WRITE_LOG {
            AtaFlags::WRITE
        } else {
            AtaFlags::NONE
        };
        Self {
            flags,
            feature,
            count,
            command: opcode::SMART,
            lba: [log, SMART_HEALTHY.0, SMART_HEALTHY.1, DEVICE_OBSOLETE, 0, 0],
        }
    }

    const fn simple(command: u8, feature: u8) -> Self {
        Self {
            flags: AtaFlags::NONE,
            feature,
            count: 0,
            command,
            lba: NO_ADDRESS,
        }
    }

    /// The address, read as 48 or 28 bits as the command wants it.
    #[must_use]
    pub const fn address(&self) -> u64 {
        let [b0, b1, b2, b3, b4, b5] = self.lba;
        if opcode::is_ext(self.command) {
            u64::from_le_bytes([b0, b1, b2, b3, b4, b5, 0, 0])
        } else {
            u64::from_le_bytes([b0, b1, b2, b3 & 0x0F, 0, 0, 0, 0])
        }
    }

    /// The reply of a device that leaves the other registers as they were sent.
    #[must_use]
    pub const fn reply(&self, status: u8, error: u8, count: u8) -> AtaReply {
        AtaReply {
            flags: self.flags,
            error,
            count,
            status,
            lba: self.lba,
        }
    }

    /// Writes the argument; the two reserved bytes are zero.
    pub fn emit(&self, out: &mut [u8; ARGUMENT_LEN]) {
        let mut fields = Fields::new(out);
        fields.put([self.flags.0, self.feature, self.count, self.command]);
        fields.put(self.lba);
        fields.put([0; 2]);
    }

    /// The argument as it is sent.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ARGUMENT_LEN] {
        let mut out = [0; ARGUMENT_LEN];
        self.emit(&mut out);
        out
    }

    /// Reads the argument of a request (offset 24 of the frame on). Reserved bytes are ignored.
    ///
    /// # Errors
    /// [`WireError::ShortArgument`] below 12 bytes.
    pub fn parse(argument: &[u8]) -> Result<Self, WireError> {
        let ([flags, feature, count, command, l0, l1, l2, l3, l4, l5, _, _], _) = argument
            .split_first_chunk::<ARGUMENT_LEN>()
            .ok_or(WireError::ShortArgument)?;
        Ok(Self {
            flags: AtaFlags(*flags),
            feature: *feature,
            count: *count,
            command: *command,
            lba: [*l0, *l1, *l2, *l3, *l4, *l5],
        })
    }
}

impl fmt::Display for AtaRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match opcode::name(self.command) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "0x{:02x}", self.command)?,
        }
        write!(f, " lba {} count {}", self.address(), self.count)?;
        if self.feature != 0 {
            write!(f, " feature 0x{:02x}", self.feature)?;
        }
        write!(f, " flags 0x{:02x}", self.flags.0)
    }
}

/// Why a disk did not do what it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AtaFault {
    /// It did it.
    None,
    /// ABRT: the command is not known, not allowed or not possible.
    Aborted,
    /// IDNF: beyond the end of the disk.
    NotFound,
    /// UNC: the data cannot be read.
    Uncorrectable,
    /// DF, without an error that says more.
    DeviceFault,
    /// BSY or DRQ: the device is not ready for the answer; worth another try later.
    Busy,
    /// ERR with an error that has no meaning here.
    Other,
}

impl fmt::Display for AtaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no error",
            Self::Aborted => "command aborted",
            Self::NotFound => "address not found",
            Self::Uncorrectable => "uncorrectable data",
            Self::DeviceFault => "device fault",
            Self::Busy => "device busy",
            Self::Other => "unknown error",
        })
    }
}

/// LBA registers 1 and 2 of a SMART command, and of the answer of a healthy disk.
const SMART_HEALTHY: (u8, u8) = (0x4F, 0xC2);
/// The same registers in the answer of a disk that expects to fail.
const SMART_FAILING: (u8, u8) = (0xF4, 0x2C);

/// The argument of an ATA response, without its data.
///
/// Count and address of a response are no evidence of anything: one server returns the sectors
/// left undone, one the count of the request, one zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AtaReply {
    /// AFlags, normally those of the request.
    pub flags: AtaFlags,
    /// Error register; means nothing unless the status says so.
    pub error: u8,
    /// Sector count register.
    pub count: u8,
    /// Status register.
    pub status: u8,
    /// LBA registers.
    pub lba: [u8; 6],
}

impl AtaReply {
    /// Reads the argument of a response (offset 24 of the frame on).
    ///
    /// # Errors
    /// [`WireError::ShortArgument`] below 12 bytes.
    pub fn parse(argument: &[u8]) -> Result<Self, WireError> {
        let ([flags, error, count, status, l0, l1, l2, l3, l4, l5, _, _], _) = argument
            .split_first_chunk::<ARGUMENT_LEN>()
            .ok_or(WireError::ShortArgument)?;
        Ok(Self {
            flags: AtaFlags(*flags),
            error: *error,
            count: *count,
            status: *status,
            lba: [*l0, *l1, *l2, *l3, *l4, *l5],
        })
    }

    /// Writes the argument; the two reserved bytes are zero.
    pub fn emit(&self, out: &mut [u8; ARGUMENT_LEN]) {
        *out = self.to_bytes();
    }

    /// The argument as it is sent.
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; ARGUMENT_LEN] {
        let [l0, l1, l2, l3, l4, l5] = self.lba;
        [
            self.flags.0,
            self.error,
            self.count,
            self.status,
            l0,
            l1,
            l2,
            l3,
            l4,
            l5,
            0,
            0,
        ]
    }

    /// Whether the command failed. DRDY is not asked for, because good answers come without it.
    #[must_use]
    pub const fn failed(&self) -> bool {
        self.status & status::FAILED != 0
    }

    /// Whether a flush failed.
    ///
    /// ggaoed does not touch the status byte of a flush, so its good answer holds the command
    /// (0xE7 or 0xEA), which reads as a failure otherwise. vblade answers with status 0 and chance
    /// in the error register, which is success.
    #[must_use]
    pub const fn flush_failed(&self, opcode_sent: u8) -> bool {
        let untouched =
            matches!(opcode_sent, opcode::FLUSH | opcode::FLUSH_EXT) && self.status == opcode_sent;
        !untouched && self.failed()
    }

    /// What the failure is. Where several error bits are set the one that says most counts.
    #[must_use]
    pub const fn fault(&self) -> AtaFault {
        if !self.failed() {
            AtaFault::None
        } else if self.status & status::BSY != 0 {
            // While BSY is set no other bit of the registers is valid.
            AtaFault::Busy
        } else if self.status & status::ERR != 0 && self.error & error_bit::UNC != 0 {
            AtaFault::Uncorrectable
        } else if self.status & status::ERR != 0 && self.error & error_bit::IDNF != 0 {
            AtaFault::NotFound
        } else if self.status & status::DF != 0 {
            AtaFault::DeviceFault
        } else if self.status & status::ERR != 0 && self.error & error_bit::ABRT != 0 {
            AtaFault::Aborted
        } else if self.status & status::ERR != 0 {
            AtaFault::Other
        } else {
            AtaFault::Busy
        }
    }

    /// What SMART RETURN STATUS answered: whether the disk expects to live, if it said either.
    #[must_use]
    pub const fn smart_healthy(&self) -> Option<bool> {
        let [_, low, high, ..] = self.lba;
        match (low, high) {
            SMART_HEALTHY => Some(true),
            SMART_FAILING => Some(false),
            _ => None,
        }
    }
}

impl fmt::Display for AtaReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "status 0x{:02x} error 0x{:02x} ",
            self.status, self.error
        )?;
        write!(f, "count {} flags 0x{:02x}", self.count, self.flags.0)?;
        match self.fault() {
            AtaFault::None => Ok(()),
            fault => write!(f, " ({fault})"),
        }
    }
}
