// SPDX-License-Identifier: BSD-2-Clause
//! Reserve / Release (AoEr11 3.4): the list of the stations that may use a target.

use core::fmt;

use crate::error::{EmitError, WireError};
use crate::ether::MacAddr;
use crate::writer::Writer;

/// What a reserve request asks for (AoEr11 3.4, RCmd).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReserveCommand(pub u8);

impl ReserveCommand {
    /// Read the list.
    pub const READ: Self = Self(0);
    /// Replace the list, if it is empty or names the requester.
    pub const SET: Self = Self(1);
    /// Replace the list.
    pub const FORCE_SET: Self = Self(2);
}

impl fmt::Display for ReserveCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::READ => f.write_str("read"),
            Self::SET => f.write_str("set"),
            Self::FORCE_SET => f.write_str("force-set"),
            Self(code) => write!(f, "subcommand {code}"),
        }
    }
}

/// A list of Ethernet addresses: bytes of a frame, or addresses to put into one.
#[derive(Clone, Copy)]
pub struct MacList<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Wire(&'a [u8]),
    Macs(&'a [MacAddr]),
}

impl<'a> MacList<'a> {
    /// No address.
    pub const EMPTY: Self = Self(Source::Wire(&[]));

    /// A list to send.
    #[must_use]
    pub const fn new(macs: &'a [MacAddr]) -> Self {
        Self(Source::Macs(macs))
    }

    /// How many addresses there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.0 {
            Source::Wire(bytes) => bytes.len() / 6,
            Source::Macs(macs) => macs.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The addresses, in the order of the list.
    pub fn iter(&self) -> impl Iterator<Item = MacAddr> + use<'a> {
        // Exactly one of the two is not empty.
        let (bytes, macs): (&'a [u8], &'a [MacAddr]) = match self.0 {
            Source::Wire(bytes) => (bytes, &[]),
            Source::Macs(macs) => (&[], macs),
        };
        let parsed = bytes
            .chunks_exact(6)
            .filter_map(|mac| mac.first_chunk::<6>());
        parsed.map(|mac| MacAddr(*mac)).chain(macs.iter().copied())
    }
}

impl PartialEq for MacList<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for MacList<'_> {}

impl fmt::Debug for MacList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Display for MacList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        let mut space = "";
        for mac in self.iter() {
            write!(f, "{space}{mac}")?;
            space = " ";
        }
        f.write_str("]")
    }
}

/// The argument of a reserve message, which is the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserve<'a> {
    /// What is asked for, or was.
    pub command: ReserveCommand,
    /// The stations to reserve for (none: release), or the list as it is now.
    pub macs: MacList<'a>,
}

/// The argument of a reserve request.
pub type ReserveRequest<'a> = Reserve<'a>;
/// The argument of a reserve response; a refused request brings the current list.
pub type ReserveReply<'a> = Reserve<'a>;

impl<'a> Reserve<'a> {
    /// The request for the list.
    pub const READ: Self = Self {
        command: ReserveCommand::READ,
        macs: MacList::EMPTY,
    };

    /// Reads the argument (offset 24 of the frame on).
    ///
    /// # Errors
    /// [`WireError::ShortArgument`] below 2 bytes; [`WireError::ListLength`] when the list is
    /// longer than what follows.
    pub fn parse(argument: &'a [u8]) -> Result<Self, WireError> {
        let ([command, count], rest) = argument
            .split_first_chunk::<2>()
            .ok_or(WireError::ShortArgument)?;
        let bytes = rest
            .get(..usize::from(*count) * 6)
            .ok_or(WireError::ListLength)?;
        Ok(Self {
            command: ReserveCommand(*command),
            macs: MacList(Source::Wire(bytes)),
        })
    }

    /// Writes the argument and returns its length.
    ///
    /// # Errors
    /// [`EmitError::TooLong`] for more than 255 addresses, [`EmitError::NoRoom`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        let count = u8::try_from(self.macs.len()).map_err(|_| EmitError::TooLong)?;
        let mut writer = Writer::new(out);
        writer.put(&[self.command.0, count])?;
        for mac in self.macs.iter() {
            writer.put(&mac.0)?;
        }
        Ok(writer.written())
    }
}

impl fmt::Display for Reserve<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.command, self.macs)
    }
}
