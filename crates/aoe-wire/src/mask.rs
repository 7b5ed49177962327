// SPDX-License-Identifier: BSD-2-Clause
//! MAC Mask List (AoEr11 3.3): the list of the stations that a target listens to at all.

use core::fmt;

use crate::error::{EmitError, WireError};
use crate::ether::MacAddr;
use crate::writer::Writer;

/// What a mask request asks for (AoEr11 3.3, MCmd).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaskCommand(pub u8);

impl MaskCommand {
    /// Read the list.
    pub const READ: Self = Self(0);
    /// Apply the directives, then answer with the list.
    pub const EDIT: Self = Self(1);
}

impl fmt::Display for MaskCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::READ => f.write_str("read"),
            Self::EDIT => f.write_str("edit"),
            Self(code) => write!(f, "subcommand {code}"),
        }
    }
}

/// Why an edit stopped (AoEr11 3.3, MError). The header of such a response has no error flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaskError(pub u8);

impl MaskError {
    /// It did not.
    pub const NONE: Self = Self(0);
    /// For a reason without a number.
    pub const UNSPECIFIED: Self = Self(1);
    /// A directive has an unknown command.
    pub const BAD_DIRECTIVE: Self = Self(2);
    /// The list is full.
    pub const LIST_FULL: Self = Self(3);
}

impl fmt::Display for MaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => f.write_str("no error"),
            Self::UNSPECIFIED => f.write_str("unspecified error"),
            Self::BAD_DIRECTIVE => f.write_str("bad directive"),
            Self::LIST_FULL => f.write_str("list full"),
            Self(code) => write!(f, "mask error {code}"),
        }
    }
}

/// What a directive does with its address (AoEr11 3.3, DCmd).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DirectiveCommand(pub u8);

impl DirectiveCommand {
    /// Nothing; every entry of a response has this.
    pub const NONE: Self = Self(0);
    /// Add the address to the list.
    pub const ADD: Self = Self(1);
    /// Delete the address from the list.
    pub const DELETE: Self = Self(2);
}

/// One entry of a mask message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaskDirective {
    /// What to do.
    pub command: DirectiveCommand,
    /// With which station.
    pub mac: MacAddr,
}

impl MaskDirective {
    /// An entry as responses have it.
    #[must_use]
    pub const fn entry(mac: MacAddr) -> Self {
        Self {
            command: DirectiveCommand::NONE,
            mac,
        }
    }
}

impl fmt::Display for MaskDirective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.command {
            DirectiveCommand::NONE => {}
            DirectiveCommand::ADD => f.write_str("+")?,
            DirectiveCommand::DELETE => f.write_str("-")?,
            DirectiveCommand(code) => write!(f, "?{code}:")?,
        }
        self.mac.fmt(f)
    }
}

/// A list of directives: bytes of a frame, or directives to put into one.
#[derive(Clone, Copy)]
pub struct MaskList<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Wire(&'a [u8]),
    Directives(&'a [MaskDirective]),
}

impl<'a> MaskList<'a> {
    /// No directive.
    pub const EMPTY: Self = Self(Source::Wire(&[]));

    /// A list to send.
    #[must_use]
    pub const fn new(directives: &'a [MaskDirective]) -> Self {
        Self(Source::Directives(directives))
    }

    fn parse(bytes: &'a [u8], count: u8) -> Result<Self, WireError> {
        let bytes = bytes
            .get(..usize::from(count) * 8)
            .ok_or(WireError::ListLength)?;
        Ok(Self(Source::Wire(bytes)))
    }

    /// How many directives there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.0 {
            Source::Wire(bytes) => bytes.len() / 8,
            Source::Directives(directives) => directives.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The directives, in the order of the list.
    pub fn iter(&self) -> impl Iterator<Item = MaskDirective> + use<'a> {
        // Exactly one of the two is not empty.
        let (bytes, directives): (&'a [u8], &'a [MaskDirective]) = match self.0 {
            Source::Wire(bytes) => (bytes, &[]),
            Source::Directives(directives) => (&[], directives),
        };
        let parsed = bytes
            .chunks_exact(8)
            .filter_map(|entry| entry.first_chunk::<8>());
        let parsed = parsed.map(|&[_, command, m0, m1, m2, m3, m4, m5]| MaskDirective {
            command: DirectiveCommand(command),
            mac: MacAddr([m0, m1, m2, m3, m4, m5]),
        });
        parsed.chain(directives.iter().copied())
    }

    fn emit(&self, writer: &mut Writer<'_>) -> Result<(), EmitError> {
        for directive in self.iter() {
            writer.put(&[0, directive.command.0])?;
            writer.put(&directive.mac.0)?;
        }
        Ok(())
    }
}

impl PartialEq for MaskList<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for MaskList<'_> {}

impl fmt::Debug for MaskList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Display for MaskList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        let mut space = "";
        for directive in self.iter() {
            write!(f, "{space}{directive}")?;
            space = " ";
        }
        f.write_str("]")
    }
}

/// The argument of a mask request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskRequest<'a> {
    /// What is asked for.
    pub command: MaskCommand,
    /// The changes to make, in this order.
    pub list: MaskList<'a>,
}

impl<'a> MaskRequest<'a> {
    /// The request for the list.
    pub const READ: Self = Self {
        command: MaskCommand::READ,
        list: MaskList::EMPTY,
    };

    /// Reads the argument of a mask request (offset 24 of the frame on).
    ///
    /// # Errors
    /// [`WireError::ShortArgument`] below 4 bytes; [`WireError::ListLength`] when the list is
    /// longer than what follows.
    pub fn parse(argument: &'a [u8]) -> Result<Self, WireError> {
        let ([_, command, _, count], rest) = argument
            .split_first_chunk::<4>()
            .ok_or(WireError::ShortArgument)?;
        Ok(Self {
            command: MaskCommand(*command),
            list: MaskList::parse(rest, *count)?,
        })
    }

    /// Writes the argument and returns its length.
    ///
    /// # Errors
    /// [`EmitError::TooLong`] for more than 255 directives, [`EmitError::NoRoom`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        let count = u8::try_from(self.list.len()).map_err(|_| EmitError::TooLong)?;
        let mut writer = Writer::new(out);
        writer.put(&[0, self.command.0, 0, count])?;
        self.list.emit(&mut writer)?;
        Ok(writer.written())
    }
}

impl fmt::Display for MaskRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.command, self.list)
    }
}

/// The argument of a mask response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskReply<'a> {
    /// The list as it is now.
    List {
        /// What was asked for.
        command: MaskCommand,
        /// The stations that may use the target; empty means all.
        list: MaskList<'a>,
    },
    /// An edit stopped. The directives before the failing one stay applied.
    Failed {
        /// What was asked for.
        command: MaskCommand,
        /// Why it stopped, never [`MaskError::NONE`] when parsed.
        error: MaskError,
        /// The index of the failing directive.
        index: u8,
    },
}

impl<'a> MaskReply<'a> {
    /// Reads the argument of a mask response (offset 24 of the frame on).
    ///
    /// # Errors
    /// [`WireError::ShortArgument`] below 4 bytes; [`WireError::ListLength`] when the list is
    /// longer than what follows.
    pub fn parse(argument: &'a [u8]) -> Result<Self, WireError> {
        let ([_, command, error, count], rest) = argument
            .split_first_chunk::<4>()
            .ok_or(WireError::ShortArgument)?;
        let command = MaskCommand(*command);
        let error = MaskError(*error);
        if error != MaskError::NONE {
            return Ok(Self::Failed {
                command,
                error,
                index: *count,
            });
        }
        Ok(Self::List {
            command,
            list: MaskList::parse(rest, *count)?,
        })
    }

    /// Writes the argument and returns its length.
    ///
    /// # Errors
    /// [`EmitError::TooLong`] for more than 255 entries, [`EmitError::NoRoom`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        let mut writer = Writer::new(out);
        match self {
            Self::List { command, list } => {
                let count = u8::try_from(list.len()).map_err(|_| EmitError::TooLong)?;
                writer.put(&[0, command.0, 0, count])?;
                list.emit(&mut writer)?;
            }
            Self::Failed {
                command,
                error,
                index,
            } => {
                writer.put(&[0, command.0, error.0, *index])?;
            }
        }
        Ok(writer.written())
    }
}

impl fmt::Display for MaskReply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List { command, list } => write!(f, "{command} {list}"),
            Self::Failed {
                command,
                error,
                index,
            } => {
                write!(f, "{command} {error} at directive {index}")
            }
        }
    }
}
