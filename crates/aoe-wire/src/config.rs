// SPDX-License-Identifier: BSD-2-Clause
//! Query Config Information (AoEr11 3.2): discovery, keep-alive, and a string to claim a target.

use core::fmt;

use crate::CONFIG_STRING_MAX;
use crate::VERSION;
use crate::error::{EmitError, WireError};
use crate::writer::Writer;

/// What a config request asks for (AoEr11 3.2, CCmd).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConfigCommand {
    /// Answer in any case.
    Read,
    /// Answer only if the string is the server's.
    Test,
    /// Answer only if the server's string begins with this one.
    TestPrefix,
    /// Store the string if there is none, else answer with error 4.
    Set,
    /// Store the string.
    ForceSet,
}

impl ConfigCommand {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Read => 0,
            Self::Test => 1,
            Self::TestPrefix => 2,
            Self::Set => 3,
            Self::ForceSet => 4,
        }
    }

    /// The command of this number, if there is one.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Read,
            1 => Self::Test,
            2 => Self::TestPrefix,
            3 => Self::Set,
            4 => Self::ForceSet,
            _ => return None,
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Test => "test",
            Self::TestPrefix => "test-prefix",
            Self::Set => "set",
            Self::ForceSet => "force-set",
        }
    }
}

impl fmt::Display for ConfigCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The argument as both directions have it.
struct Fields<'a> {
    buffer_count: u16,
    firmware: u16,
    sector_count: u8,
    version_command: u8,
    string: &'a [u8],
}

impl<'a> Fields<'a> {
    fn parse(argument: &'a [u8]) -> Result<Self, WireError> {
        let ([b0, b1, f0, f1, sector_count, version_command, l0, l1], rest) = argument
            .split_first_chunk::<8>()
            .ok_or(WireError::ShortArgument)?;
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        if length > CONFIG_STRING_MAX {
            return Err(WireError::ConfigLength);
        }
        Ok(Self {
            buffer_count: u16::from_be_bytes([*b0, *b1]),
            firmware: u16::from_be_bytes([*f0, *f1]),
            sector_count: *sector_count,
            version_command: *version_command,
            string: rest.get(..length).ok_or(WireError::ConfigLength)?,
        })
    }

    fn emit(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        if self.string.len() > CONFIG_STRING_MAX {
            return Err(EmitError::TooLong);
        }
        let length = u16::try_from(self.string.len()).map_err(|_| EmitError::TooLong)?;
        let mut writer = Writer::new(out);
        writer.put(&self.buffer_count.to_be_bytes())?;
        writer.put(&self.firmware.to_be_bytes())?;
        writer.put(&[self.sector_count, self.version_command])?;
        writer.put(&length.to_be_bytes())?;
        writer.put(self.string)?;
        Ok(writer.written())
    }
}

/// The argument of a config response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConfigReply<'a> {
    /// How many messages the server can queue; see [`ConfigReply::window`].
    pub buffer_count: u16,
    /// Firmware version, in the vendor's own numbers.
    pub firmware: u16,
    /// The most sectors of one ATA command; see [`ConfigReply::max_sectors`].
    pub sector_count: u8,
    /// AoE version of the server, four bits.
    pub version: u8,
    /// Subcommand, four bits, as it came: one server returns 0 whatever was asked.
    pub command: u8,
    /// The config string, at most 1024 bytes.
    pub string: &'a [u8],
}

impl<'a> ConfigReply<'a> {
    /// Reads the argument of a config response (offset 24 of the frame on).
    ///
    /// # Errors
    /// [`WireError::ShortArgument`] below 8 bytes; [`WireError::ConfigLength`] when the string is
    /// longer than the protocol allows or than what follows.
    pub fn parse(argument: &'a [u8]) -> Result<Self, WireError> {
        let fields = Fields::parse(argument)?;
        Ok(Self {
            buffer_count: fields.buffer_count,
            firmware: fields.firmware,
            sector_count: fields.sector_count,
            version: fields.version_command >> 4,
            command: fields.version_command & 0x0F,
            string: fields.string,
        })
    }

    /// Writes the argument and returns its length.
    ///
    /// # Errors
    /// [`EmitError::TooLong`] for a string of more than 1024 bytes, [`EmitError::NoRoom`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        let fields = Fields {
            buffer_count: self.buffer_count,
            firmware: self.firmware,
            sector_count: self.sector_count,
            version_command: (self.version << 4) | (self.command & 0x0F),
            string: self.string,
        };
        fields.emit(out)
    }

    /// How many requests the server takes at a time: the buffer count, and 1 for a server that
    /// says 0, which some do.
    #[must_use]
    pub const fn window(&self) -> u16 {
        if self.buffer_count == 0 {
            1
        } else {
            self.buffer_count
        }
    }

    /// The most sectors of one ATA command: the sector count, and 2 for an old server's 0.
    #[must_use]
    pub const fn max_sectors(&self) -> u8 {
        if self.sector_count == 0 {
            2
        } else {
            self.sector_count
        }
    }
}

impl fmt::Display for ConfigReply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ConfigCommand::from_code(self.command) {
            Some(command) => write!(f, "{command}")?,
            None => write!(f, "subcommand {}", self.command)?,
        }
        write!(
            f,
            " buffers {} firmware 0x{:04x}",
            self.buffer_count, self.firmware
        )?;
        write!(f, " sectors {} version {}", self.sector_count, self.version)?;
        write!(f, " string \"{}\"", self.string.escape_ascii())
    }
}

/// The argument of a config request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConfigRequest<'a> {
    /// What is asked for.
    pub command: ConfigCommand,
    /// The string to compare or to store; empty for [`ConfigCommand::Read`].
    pub string: &'a [u8],
}

impl<'a> ConfigRequest<'a> {
    /// The query that every target answers.
    pub const READ: Self = Self {
        command: ConfigCommand::Read,
        string: &[],
    };

    /// Reads the argument of a config request (offset 24 of the frame on).
    ///
    /// # Errors
    /// As [`ConfigReply::parse`], and [`WireError::BadSubcommand`], which a server answers with
    /// [`crate::AoeError::BAD_ARGUMENT`].
    pub fn parse(argument: &'a [u8]) -> Result<Self, WireError> {
        let fields = Fields::parse(argument)?;
        let command = ConfigCommand::from_code(fields.version_command & 0x0F)
            .ok_or(WireError::BadSubcommand)?;
        Ok(Self {
            command,
            string: fields.string,
        })
    }

    /// Writes the argument and returns its length. The fields that only responses use are zero.
    ///
    /// # Errors
    /// [`EmitError::TooLong`] for a string of more than 1024 bytes, [`EmitError::NoRoom`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        let fields = Fields {
            buffer_count: 0,
            firmware: 0,
            sector_count: 0,
            version_command: self.command.code(),
            string: self.string,
        };
        fields.emit(out)
    }

    /// The response of a server to this request, without a string.
    #[must_use]
    pub const fn reply(&self, buffer_count: u16, firmware: u16, sectors: u8) -> ConfigReply<'a> {
        ConfigReply {
            buffer_count,
            firmware,
            sector_count: sectors,
            version: VERSION,
            command: self.command.code(),
            string: &[],
        }
    }
}

impl fmt::Display for ConfigRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} string \"{}\"",
            self.command,
            self.string.escape_ascii()
        )
    }
}
