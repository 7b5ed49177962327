// SPDX-License-Identifier: BSD-2-Clause
//! Whole frames, for tools and for the target's side.

use core::fmt;

use crate::aoe::{AoeError, Command, Header};
use crate::ata::{AtaReply, AtaRequest};
use crate::config::{ConfigReply, ConfigRequest};
use crate::error::{EmitError, WireError};
use crate::mask::{MaskReply, MaskRequest};
use crate::reserve::{ReserveReply, ReserveRequest};
use crate::writer::Writer;
use crate::{ATA_HEADER_LEN, HEADER_LEN, MIN_FRAME_LEN};

/// A frame and all that it says.
///
/// A response with the error flag is always [`Message::Error`], since servers fill the rest of it
/// in different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Issue ATA Command.
    AtaRequest {
        /// Header.
        header: Header,
        /// Registers.
        request: AtaRequest,
        /// All that follows, padding too.
        data: &'a [u8],
    },
    /// Answer to an ATA command.
    AtaReply {
        /// Header.
        header: Header,
        /// Registers.
        reply: AtaReply,
        /// All that follows, padding too.
        data: &'a [u8],
    },
    /// Query Config Information.
    ConfigRequest {
        /// Header.
        header: Header,
        /// Argument.
        request: ConfigRequest<'a>,
    },
    /// Answer to a config query, or an announcement.
    ConfigReply {
        /// Header.
        header: Header,
        /// Argument.
        reply: ConfigReply<'a>,
    },
    /// MAC Mask List.
    MaskRequest {
        /// Header.
        header: Header,
        /// Argument.
        request: MaskRequest<'a>,
    },
    /// Answer to a mask request.
    MaskReply {
        /// Header.
        header: Header,
        /// Argument.
        reply: MaskReply<'a>,
    },
    /// Reserve / Release.
    ReserveRequest {
        /// Header.
        header: Header,
        /// Argument.
        request: ReserveRequest<'a>,
    },
    /// Answer to a reserve request.
    ReserveReply {
        /// Header.
        header: Header,
        /// Argument.
        reply: ReserveReply<'a>,
    },
    /// A response with the error flag, to any command.
    Error {
        /// Header.
        header: Header,
        /// Error code.
        error: AoeError,
        /// The argument as it came: of config and reserve the current state, else an echo.
        argument: &'a [u8],
    },
    /// A vendor's own command.
    Vendor {
        /// Header.
        header: Header,
        /// All that follows.
        argument: &'a [u8],
    },
    /// A command that the protocol does not define.
    Unknown {
        /// Header.
        header: Header,
        /// All that follows.
        argument: &'a [u8],
    },
}

impl<'a> Message<'a> {
    /// Reads a frame, from the destination address on.
    ///
    /// # Errors
    /// What is wrong with the frame; see [`WireError`].
    pub fn parse(frame: &'a [u8]) -> Result<Self, WireError> {
        let (header, argument) = Header::split(frame)?;
        if let Some(error) = header.is_error() {
            return Ok(Self::Error {
                header,
                error,
                argument,
            });
        }
        match header.command {
            command if command.is_vendor() => Ok(Self::Vendor { header, argument }),
            Command::ATA | Command::CONFIG | Command::MASK | Command::RESERVE => {
                if header.is_response() {
                    Self::parse_reply(header, argument)
                } else {
                    Self::parse_request(header, argument)
                }
            }
            _ => Ok(Self::Unknown { header, argument }),
        }
    }

    fn parse_request(header: Header, argument: &'a [u8]) -> Result<Self, WireError> {
        Ok(match header.command {
            Command::ATA => {
                let request = AtaRequest::parse(argument)?;
                Self::AtaRequest {
                    header,
                    request,
                    data: behind_registers(argument),
                }
            }
            Command::CONFIG => Self::ConfigRequest {
                header,
                request: ConfigRequest::parse(argument)?,
            },
            Command::MASK => Self::MaskRequest {
                header,
                request: MaskRequest::parse(argument)?,
            },
            _ => Self::ReserveRequest {
                header,
                request: ReserveRequest::parse(argument)?,
            },
        })
    }

    fn parse_reply(header: Header, argument: &'a [u8]) -> Result<Self, WireError> {
        header.responder()?;
        Ok(match header.command {
            Command::ATA => {
                let reply = AtaReply::parse(argument)?;
                Self::AtaReply {
                    header,
                    reply,
                    data: behind_registers(argument),
                }
            }
            Command::CONFIG => Self::ConfigReply {
                header,
                reply: ConfigReply::parse(argument)?,
            },
            Command::MASK => Self::MaskReply {
                header,
                reply: MaskReply::parse(argument)?,
            },
            _ => Self::ReserveReply {
                header,
                reply: ReserveReply::parse(argument)?,
            },
        })
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        match self {
            Self::AtaRequest { header, .. }
            | Self::AtaReply { header, .. }
            | Self::ConfigRequest { header, .. }
            | Self::ConfigReply { header, .. }
            | Self::MaskRequest { header, .. }
            | Self::MaskReply { header, .. }
            | Self::ReserveRequest { header, .. }
            | Self::ReserveReply { header, .. }
            | Self::Error { header, .. }
            | Self::Vendor { header, .. }
            | Self::Unknown { header, .. } => header,
        }
    }

    /// Writes the frame, padded with zeros to [`MIN_FRAME_LEN`], and returns its length.
    ///
    /// The header is written as it is: whoever builds a message has to give it the command and the
    /// flags of its variant.
    ///
    /// # Errors
    /// [`EmitError::TooLong`] for a string or list that the protocol has no room for,
    /// [`EmitError::NoRoom`] for a buffer that is too small.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        let length = self.emit_unpadded(out)?;
        let rest = out.get_mut(length..).ok_or(EmitError::NoRoom)?;
        let mut writer = Writer::new(rest);
        writer.pad_to(MIN_FRAME_LEN.saturating_sub(length))?;
        Ok(length.saturating_add(writer.written()))
    }

    /// Writes the frame without padding, as servers on virtual links do, and returns its length.
    ///
    /// # Errors
    /// As [`Message::emit`].
    pub fn emit_unpadded(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        let (head, rest) = out
            .split_first_chunk_mut::<HEADER_LEN>()
            .ok_or(EmitError::NoRoom)?;
        self.header().emit(head);
        let length = match self {
            Self::AtaRequest { request, data, .. } => put_both(rest, &request.to_bytes(), data),
            Self::AtaReply { reply, data, .. } => put_both(rest, &reply.to_bytes(), data),
            Self::ConfigRequest { request, .. } => request.emit(rest),
            Self::ConfigReply { reply, .. } => reply.emit(rest),
            Self::MaskRequest { request, .. } => request.emit(rest),
            Self::MaskReply { reply, .. } => reply.emit(rest),
            Self::ReserveRequest { request, .. } => request.emit(rest),
            Self::ReserveReply { reply, .. } => reply.emit(rest),
            Self::Error { argument, .. }
            | Self::Vendor { argument, .. }
            | Self::Unknown { argument, .. } => put_both(rest, argument, &[]),
        }?;
        Ok(length.saturating_add(HEADER_LEN))
    }
}

/// What follows the registers of an ATA argument.
fn behind_registers(argument: &[u8]) -> &[u8] {
    argument.get(ATA_HEADER_LEN - HEADER_LEN..).unwrap_or(&[])
}

fn put_both(out: &mut [u8], first: &[u8], second: &[u8]) -> Result<usize, EmitError> {
    let mut writer = Writer::new(out);
    writer.put(first)?;
    writer.put(second)?;
    Ok(writer.written())
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.header())?;
        match self {
            Self::AtaRequest { request, data, .. } => write!(f, " {request} data {}", data.len()),
            Self::AtaReply { reply, data, .. } => write!(f, " {reply} data {}", data.len()),
            Self::ConfigRequest { request, .. } => write!(f, " {request}"),
            Self::ConfigReply { reply, .. } => write!(f, " {reply}"),
            Self::MaskRequest { request, .. } => write!(f, " {request}"),
            Self::MaskReply { reply, .. } => write!(f, " {reply}"),
            Self::ReserveRequest { request, .. } => write!(f, " {request}"),
            Self::ReserveReply { reply, .. } => write!(f, " {reply}"),
            Self::Error { argument, .. } => write!(f, " argument {}", Hex(argument)),
            Self::Vendor { argument, .. } => write!(f, " argument {}", Hex(argument)),
            Self::Unknown { argument, .. } => write!(f, " argument {}", Hex(argument)),
        }
    }
}

/// Prints any bytes as one line: what the frame says, or why it says nothing.
#[derive(Clone, Copy, Debug)]
pub struct FrameText<'a>(pub &'a [u8]);

impl fmt::Display for FrameText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Message::parse(self.0) {
            Ok(message) => write!(f, "{message}"),
            Err(error) => {
                if let Ok(header) = Header::parse(self.0) {
                    write!(f, "{header} ")?;
                }
                write!(
                    f,
                    "malformed: {error}: {} bytes {}",
                    self.0.len(),
                    Hex(self.0)
                )
            }
        }
    }
}

/// Bytes in hexadecimal, the first ones only.
struct Hex<'a>(&'a [u8]);

/// Enough to show every header and the start of what follows.
const HEX_MAX: usize = 48;

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.iter().take(HEX_MAX) {
            write!(f, "{byte:02x}")?;
        }
        if self.0.len() > HEX_MAX {
            f.write_str("..")
        } else {
            Ok(())
        }
    }
}
