// SPDX-License-Identifier: BSD-2-Clause
//! Questions as frames, and frames as answers.

use crate::failure::Failure;
use anyhow::anyhow;
use aoe_wire::{
    AoeError, AtaReply, AtaRequest, Command, ConfigReply, ConfigRequest, Header, MacAddr,
    MaskError, MaskReply, MaskRequest, Message, ReserveRequest,
};

/// Room for the longest question: a mask edit with 255 directives.
const QUESTION_ROOM: usize = 4096;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question<'a> {
    Config(ConfigRequest<'a>),
    Mask(MaskRequest<'a>),
    Reserve(ReserveRequest<'a>),
    /// Registers, and the data that go with them.
    Ata(AtaRequest, &'a [u8]),
}

impl Question<'_> {
    pub(crate) fn command(&self) -> Command {
        match self {
            Self::Config(_) => Command::CONFIG,
            Self::Mask(_) => Command::MASK,
            Self::Reserve(_) => Command::RESERVE,
            Self::Ata(..) => Command::ATA,
        }
    }

    /// The frame that asks, padded to what Ethernet wants.
    pub(super) fn frame(&self, header: Header) -> Result<Vec<u8>, Failure> {
        let message = match *self {
            Self::Config(request) => Message::ConfigRequest { header, request },
            Self::Mask(request) => Message::MaskRequest { header, request },
            Self::Reserve(request) => Message::ReserveRequest { header, request },
            Self::Ata(request, data) => Message::AtaRequest {
                header,
                request,
                data,
            },
        };
        let mut frame = vec![0; QUESTION_ROOM];
        let len = message
            .emit(&mut frame)
            .map_err(|e| anyhow!("cannot build the request: {e}"))?;
        frame.truncate(len);
        Ok(frame)
    }
}

/// A config answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Config {
    pub(crate) buffers: u16,
    pub(crate) firmware: u16,
    pub(crate) sectors: u8,
    pub(crate) version: u8,
    pub(crate) string: Vec<u8>,
}

impl From<ConfigReply<'_>> for Config {
    fn from(reply: ConfigReply<'_>) -> Self {
        Self {
            buffers: reply.buffer_count,
            firmware: reply.firmware,
            sectors: reply.sector_count,
            version: reply.version,
            string: reply.string.to_vec(),
        }
    }
}

/// What a target answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    Config(Config),
    /// The mask list.
    Masks(Vec<MacAddr>),
    /// A mask edit stopped at the directive of this number, counted from 0.
    MaskFailed(MaskError, u8),
    /// The stations that a target is reserved for.
    Reserved(Vec<MacAddr>),
    /// Registers, and all that followed them.
    Ata(AtaReply, Vec<u8>),
    /// An error. What comes with it is looked at by nobody: it is the answer with vblade, the question with ggaoed.
    Error(AoeError),
}

impl Reply {
    pub(super) fn read(frame: &[u8]) -> Option<(Header, Self)> {
        let message = Message::parse(frame)
            .inspect_err(|e| log::debug!("an answer is ignored: {e}"))
            .ok()?;
        let reply = match message {
            Message::ConfigReply { reply, .. } => Self::Config(reply.into()),
            Message::MaskReply { reply, .. } => match reply {
                MaskReply::List { list, .. } => Self::Masks(list.iter().map(|d| d.mac).collect()),
                MaskReply::Failed { error, index, .. } => Self::MaskFailed(error, index),
            },
            Message::ReserveReply { reply, .. } => Self::Reserved(reply.macs.iter().collect()),
            Message::AtaReply { reply, data, .. } => Self::Ata(reply, data.to_vec()),
            Message::Error { error, .. } => Self::Error(error),
            _ => return None,
        };
        Some((*message.header(), reply))
    }
}

/// The failure that an error answer is.
pub(crate) fn refusal(who: &str, error: AoeError) -> Failure {
    Failure::Failed(anyhow!("{who} refuses: {}", in_words(error)))
}

/// An error code with the words that the specification has for it.
pub(crate) fn in_words(error: AoeError) -> String {
    let words = match error {
        AoeError::UNKNOWN_COMMAND => "unrecognized command code",
        AoeError::BAD_ARGUMENT => "bad argument parameter",
        AoeError::DEVICE_UNAVAILABLE => "device unavailable",
        AoeError::CONFIG_PRESENT => "config string present",
        AoeError::UNSUPPORTED_VERSION => "unsupported version",
        AoeError::RESERVED => "target is reserved",
        _ => "not in the specification",
    };
    format!("error {}: {words}", error.0)
}

/// A reply of another kind than the question asks for, which a target should not send.
pub(crate) fn out_of_place(who: &str, reply: &Reply) -> Failure {
    match reply {
        Reply::Error(error) => refusal(who, *error),
        _ => Failure::Failed(anyhow!("{who} answers another question than was asked")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(flags: u8, error: u8, command: Command) -> Header {
        Header {
            dst: MacAddr([2, 0, 0, 0, 0, 1]),
            src: MacAddr([2, 0, 0, 0, 0, 2]),
            version: 1,
            flags,
            error,
            shelf: 7,
            slot: 3,
            command,
            tag: 5,
        }
    }

    #[test]
    fn requests_are_no_answers() {
        let mut frame = [0; 64];
        let message = Message::ConfigRequest {
            header: header(0, 0, Command::CONFIG),
            request: ConfigRequest::READ,
        };
        let len = message.emit(&mut frame).unwrap();
        assert_eq!(Reply::read(&frame[..len]), None);
        assert_eq!(Reply::read(&frame[..10]), None);
    }

    #[test]
    fn errors_have_the_words_of_the_specification() {
        assert_eq!(in_words(AoeError(6)), "error 6: target is reserved");
        assert_eq!(in_words(AoeError(99)), "error 99: not in the specification");
    }
}
