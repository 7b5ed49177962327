// SPDX-License-Identifier: BSD-2-Clause
//! Why a frame cannot be read, a message not written, or a text not understood.

use core::fmt;

/// Why a received frame is dropped. One drop counter for each variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WireError {
    /// Shorter than the Ethernet and AoE headers.
    ShortFrame,
    /// The EtherType is not 0x88A2.
    NotAoe,
    /// Shorter than the fixed part of the command's argument.
    ShortArgument,
    /// A response from a wildcard shelf or slot.
    BadAddress,
    /// The config string is longer than 1024 bytes or than the frame.
    ConfigLength,
    /// A mask or reserve list is longer than the frame.
    ListLength,
    /// A subcommand that the protocol does not define.
    BadSubcommand,
    /// Fewer data bytes than the sectors asked for.
    ShortData,
}

impl WireError {
    /// Every variant, in the order of [`WireError::index`].
    pub const ALL: [Self; 8] = [
        Self::ShortFrame,
        Self::NotAoe,
        Self::ShortArgument,
        Self::BadAddress,
        Self::ConfigLength,
        Self::ListLength,
        Self::BadSubcommand,
        Self::ShortData,
    ];

    /// The position of this variant in [`WireError::ALL`], for an array of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::ShortFrame => 0,
            Self::NotAoe => 1,
            Self::ShortArgument => 2,
            Self::BadAddress => 3,
            Self::ConfigLength => 4,
            Self::ListLength => 5,
            Self::BadSubcommand => 6,
            Self::ShortData => 7,
        }
    }

    /// The name of the drop counter.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ShortFrame => "short_frame",
            Self::NotAoe => "not_aoe",
            Self::ShortArgument => "short_argument",
            Self::BadAddress => "bad_address",
            Self::ConfigLength => "config_length",
            Self::ListLength => "list_length",
            Self::BadSubcommand => "bad_subcommand",
            Self::ShortData => "short_data",
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ShortFrame => "frame shorter than its headers",
            Self::NotAoe => "EtherType is not AoE",
            Self::ShortArgument => "frame shorter than the command's argument",
            Self::BadAddress => "response from a wildcard address",
            Self::ConfigLength => "config string longer than allowed or than the frame",
            Self::ListLength => "address list longer than the frame",
            Self::BadSubcommand => "unknown subcommand",
            Self::ShortData => "fewer data bytes than asked for",
        })
    }
}

impl core::error::Error for WireError {}

/// Why a message cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EmitError {
    /// The buffer is too small.
    NoRoom,
    /// A string of more than 1024 bytes or a list of more than 255 entries.
    TooLong,
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRoom => "buffer too small for the message",
            Self::TooLong => "string or list longer than the protocol allows",
        })
    }
}

impl core::error::Error for EmitError {}

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextError {
    /// Not six groups of one or two hexadecimal digits with colons between them.
    Mac,
    /// Not `shelf.slot` with a shelf of 0 to 65534 and a slot of 0 to 254.
    Addr,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mac => "not an Ethernet address (like 02:00:00:00:00:01)",
            Self::Addr => "not an AoE address (shelf.slot, shelf 0-65534, slot 0-254)",
        })
    }
}

impl core::error::Error for TextError {}
