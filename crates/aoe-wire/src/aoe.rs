// SPDX-License-Identifier: BSD-2-Clause
//! The Ethernet and AoE header (AoEr11 2).

use core::fmt;

use crate::address::{AddrPattern, TargetAddr};
use crate::error::WireError;
use crate::ether::MacAddr;
use crate::writer::Fields;
use crate::{ETHERTYPE, HEADER_LEN, VERSION};

/// What a message is about (AoEr11 2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Command(pub u8);

impl Command {
    /// Issue ATA Command (AoEr11 3.1).
    pub const ATA: Self = Self(0);
    /// Query Config Information (AoEr11 3.2).
    pub const CONFIG: Self = Self(1);
    /// MAC Mask List (AoEr11 3.3).
    pub const MASK: Self = Self(2);
    /// Reserve / Release (AoEr11 3.4).
    pub const RESERVE: Self = Self(3);

    /// Whether the command is one of a vendor's own (0xF0 to 0xFF), to be ignored by others.
    #[must_use]
    pub const fn is_vendor(self) -> bool {
        self.0 >= 0xF0
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ATA => f.write_str("ata"),
            Self::CONFIG => f.write_str("config"),
            Self::MASK => f.write_str("mask"),
            Self::RESERVE => f.write_str("reserve"),
            Self(code) if self.is_vendor() => write!(f, "vendor 0x{code:02x}"),
            Self(code) => write!(f, "command 0x{code:02x}"),
        }
    }
}

/// The error code of a response (AoEr11 2.3).
///
/// Not an ATA failure: that comes in a response without error, in the ATA status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AoeError(pub u8);

impl AoeError {
    /// The server does not know the command.
    pub const UNKNOWN_COMMAND: Self = Self(1);
    /// Some value in the argument is unacceptable.
    pub const BAD_ARGUMENT: Self = Self(2);
    /// The server can no longer reach its disk.
    pub const DEVICE_UNAVAILABLE: Self = Self(3);
    /// "Set" of a config string was refused because there is another one.
    pub const CONFIG_PRESENT: Self = Self(4);
    /// The server does not know the protocol version.
    pub const UNSUPPORTED_VERSION: Self = Self(5);
    /// The target is reserved by other stations.
    pub const RESERVED: Self = Self(6);

    /// What it means, if the protocol says so.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::UNKNOWN_COMMAND => "unrecognised command",
            Self::BAD_ARGUMENT => "bad argument",
            Self::DEVICE_UNAVAILABLE => "device unavailable",
            Self::CONFIG_PRESENT => "config string present",
            Self::UNSUPPORTED_VERSION => "unsupported version",
            Self::RESERVED => "target is reserved",
            Self(_) => return None,
        })
    }
}

impl fmt::Display for AoeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "error {}", self.0),
        }
    }
}

/// The header of every AoE frame: Ethernet's 14 bytes and AoE's 10 (AoEr11 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Destination, all ones for discovery.
    pub dst: MacAddr,
    /// Source.
    pub src: MacAddr,
    /// Protocol version, four bits. A vblade announces itself with 0, so nobody checks it here.
    pub version: u8,
    /// [`Header::RESPONSE`] and [`Header::ERROR`], four bits.
    pub flags: u8,
    /// Error code, meaningful only in a response with [`Header::ERROR`].
    pub error: u8,
    /// Shelf, 0xFFFF for all (in requests).
    pub shelf: u16,
    /// Slot, 0xFF for all (in requests).
    pub slot: u8,
    /// Command.
    pub command: Command,
    /// Chosen by the client, returned unchanged by the server; 0 when nobody asked.
    pub tag: u32,
}

impl Header {
    /// Flag R: the message is a response.
    pub const RESPONSE: u8 = 0x08;
    /// Flag E: the response carries an error code.
    pub const ERROR: u8 = 0x04;

    /// Reads the header at the start of a frame.
    ///
    /// Neither the version nor the address is judged: announcements come with version 0, and
    /// requests with wildcards.
    ///
    /// # Errors
    /// [`WireError::NotAoe`] for another EtherType, [`WireError::ShortFrame`] below 24 bytes.
    pub fn parse(frame: &[u8]) -> Result<Self, WireError> {
        Self::split(frame).map(|(header, _)| header)
    }

    /// Reads the header and returns the argument behind it.
    ///
    /// # Errors
    /// As [`Header::parse`].
    pub fn split(frame: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let ([_, _, _, _, _, _, _, _, _, _, _, _, e0, e1], _) = frame
            .split_first_chunk::<14>()
            .ok_or(WireError::ShortFrame)?;
        if u16::from_be_bytes([*e0, *e1]) != ETHERTYPE {
            return Err(WireError::NotAoe);
        }
        let (bytes, argument) = frame.split_first_chunk().ok_or(WireError::ShortFrame)?;
        let header = Self::from_bytes(bytes).ok_or(WireError::ShortFrame)?;
        Ok((header, argument))
    }

    fn from_bytes(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        // Field by field, as they are written: loads of single bytes would be put together again.
        let (dst, rest) = bytes.split_first_chunk()?;
        let (src, rest) = rest.split_first_chunk()?;
        let (_ethertype, rest) = rest.split_first_chunk::<2>()?;
        let ([version_flags, error], rest) = rest.split_first_chunk()?;
        let (shelf, rest) = rest.split_first_chunk()?;
        let ([slot, command], rest) = rest.split_first_chunk()?;
        let (tag, _) = rest.split_first_chunk()?;
        Some(Self {
            dst: MacAddr(*dst),
            src: MacAddr(*src),
            version: version_flags >> 4,
            flags: version_flags & 0x0F,
            error: *error,
            shelf: u16::from_be_bytes(*shelf),
            slot: *slot,
            command: Command(*command),
            tag: u32::from_be_bytes(*tag),
        })
    }

    /// Writes the header. Only the low four bits of version and flags have a place in it.
    pub fn emit(&self, out: &mut [u8; HEADER_LEN]) {
        // Field by field: an array made of single bytes is also stored byte by byte.
        let mut fields = Fields::new(out);
        fields.put(self.dst.0);
        fields.put(self.src.0);
        fields.put(ETHERTYPE.to_be_bytes());
        fields.put([(self.version << 4) | (self.flags & 0x0F), self.error]);
        fields.put(self.shelf.to_be_bytes());
        fields.put([self.slot, self.command.0]);
        fields.put(self.tag.to_be_bytes());
    }

    /// The header as it is sent.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        self.emit(&mut out);
        out
    }

    /// A request to one target.
    #[must_use]
    pub const fn request(
        dst: MacAddr,
        src: MacAddr,
        addr: TargetAddr,
        command: Command,
        tag: u32,
    ) -> Self {
        Self {
            dst,
            src,
            version: VERSION,
            flags: 0,
            error: 0,
            shelf: addr.shelf(),
            slot: addr.slot(),
            command,
            tag,
        }
    }

    /// A config query to every target that `pattern` names.
    ///
    /// Only this command takes wildcards here: targets would execute an ATA command sent to all
    /// of them.
    #[must_use]
    pub const fn query(dst: MacAddr, src: MacAddr, pattern: AddrPattern, tag: u32) -> Self {
        let (shelf, slot) = pattern.to_wire();
        Self {
            dst,
            src,
            version: VERSION,
            flags: 0,
            error: 0,
            shelf,
            slot,
            command: Command::CONFIG,
            tag,
        }
    }

    /// The config query that finds every target on the link.
    #[must_use]
    pub const fn discover(src: MacAddr, tag: u32) -> Self {
        Self::query(MacAddr::BROADCAST, src, AddrPattern::ANY, tag)
    }

    /// The response of the target `addr`, at the interface `src`, to this request.
    #[must_use]
    pub const fn reply(&self, src: MacAddr, addr: TargetAddr) -> Self {
        Self {
            dst: self.src,
            src,
            flags: Self::RESPONSE,
            error: 0,
            shelf: addr.shelf(),
            slot: addr.slot(),
            ..*self
        }
    }

    /// The response with an error code to this request.
    #[must_use]
    pub const fn error_reply(&self, src: MacAddr, addr: TargetAddr, error: AoeError) -> Self {
        let reply = self.reply(src, addr);
        Self {
            flags: Self::RESPONSE | Self::ERROR,
            error: error.0,
            ..reply
        }
    }

    /// The unsolicited config response of a target that comes up (tag 0).
    #[must_use]
    pub const fn announcement(dst: MacAddr, src: MacAddr, addr: TargetAddr) -> Self {
        let request = Self::request(dst, src, addr, Command::CONFIG, 0);
        Self {
            flags: Self::RESPONSE,
            ..request
        }
    }

    /// Whether this is a response.
    #[must_use]
    pub const fn is_response(&self) -> bool {
        self.flags & Self::RESPONSE != 0
    }

    /// The error code of a response that carries one.
    #[must_use]
    pub const fn is_error(&self) -> Option<AoeError> {
        if self.is_response() && self.flags & Self::ERROR != 0 {
            Some(AoeError(self.error))
        } else {
            None
        }
    }

    /// The address, unless a part of it is wild.
    #[must_use]
    pub const fn addr(&self) -> Option<TargetAddr> {
        TargetAddr::new(self.shelf, self.slot)
    }

    /// The address that a response comes from.
    ///
    /// # Errors
    /// [`WireError::BadAddress`] when it is a wildcard, which no target may have.
    pub const fn responder(&self) -> Result<TargetAddr, WireError> {
        match self.addr() {
            Some(addr) => Ok(addr),
            None => Err(WireError::BadAddress),
        }
    }

    /// The targets that a request is for.
    #[must_use]
    pub const fn pattern(&self) -> AddrPattern {
        AddrPattern::from_wire(self.shelf, self.slot)
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_response() {
            "response"
        } else {
            "request"
        };
        write!(f, "{} > {} {} ", self.src, self.dst, self.pattern())?;
        write!(f, "tag 0x{:08x} {} {kind}", self.tag, self.command)?;
        if self.version != VERSION {
            write!(f, " version {}", self.version)?;
        }
        match self.is_error() {
            Some(error) => write!(f, " error: {error}"),
            None => Ok(()),
        }
    }
}
