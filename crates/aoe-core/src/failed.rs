//! A command that a target did not carry out, with what it said.

use core::fmt;

use crate::Op;
use aoe_wire::{AoeError, AtaReply, Header, error_bit, status};

/// What a target said in the place of doing a command.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum BadAnswer {
    /// The disk failed: its status and error registers.
    Ata {
        /// The status register.
        status: u8,
        /// The error register.
        error: u8,
    },
    /// The server refused the message.
    Aoe(AoeError),
    /// Its answers do not fit the command.
    Mismatch,
}

impl BadAnswer {
    /// What an answer says, of which it is known that it is bad.
    pub(crate) fn of(header: &Header, argument: &[u8]) -> Self {
        if let Some(error) = header.is_error() {
            return Self::Aoe(error);
        }
        match AtaReply::parse(argument) {
            Ok(reply) => Self::Ata {
                status: reply.status,
                error: reply.error,
            },
            Err(_) => Self::Mismatch,
        }
    }
}

/// A command that failed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct FailedCommand {
    /// What it was to do.
    pub op: Op,
    /// First sector; 0 for [`Op::Flush`].
    pub lba: u64,
    /// Number of sectors; 0 for [`Op::Flush`].
    pub sectors: u32,
    /// What the target said.
    pub answer: BadAnswer,
}

/// The bits of a register that are set and have names.
struct Bits(u8, &'static [(u8, &'static str)]);

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = " (";
        for (_, name) in self.1.iter().filter(|(bit, _)| self.0 & bit != 0) {
            write!(f, "{separator}{name}")?;
            separator = " ";
        }
        if separator == " " {
            f.write_str(")")?;
        }
        Ok(())
    }
}

const STATUS: [(u8, &str); 5] = [
    (status::BSY, "BSY"),
    (status::DRDY, "DRDY"),
    (status::DF, "DF"),
    (status::DRQ, "DRQ"),
    (status::ERR, "ERR"),
];
const ERROR: [(u8, &str); 4] = [
    (error_bit::ICRC, "ICRC"),
    (error_bit::UNC, "UNC"),
    (error_bit::IDNF, "IDNF"),
    (error_bit::ABRT, "ABRT"),
];

impl fmt::Display for BadAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Ata { status, error } => {
                write!(f, "ATA status {status:02x}{}", Bits(status, &STATUS))?;
                write!(f, ", error {error:02x}{}", Bits(error, &ERROR))
            }
            Self::Aoe(error) => {
                write!(f, "AoE error {}", error.0)?;
                error.name().map_or(Ok(()), |name| write!(f, " ({name})"))
            }
            Self::Mismatch => f.write_str("answers that do not fit it"),
        }
    }
}

impl fmt::Display for FailedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            op,
            lba,
            sectors,
            answer,
        } = self;
        if *op == Op::Flush {
            return write!(f, "flush failed: {answer}");
        }
        let op = op.name();
        write!(f, "{op} of {sectors} sectors at LBA {lba} failed: {answer}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn it_says_what_where_and_why() {
        let mut failed = FailedCommand {
            op: Op::Read,
            lba: 1 << 33,
            sectors: 16,
            answer: BadAnswer::Ata {
                status: 0x51,
                error: 0x40,
            },
        };
        assert_eq!(
            failed.to_string(),
            "read of 16 sectors at LBA 8589934592 failed: ATA status 51 (DRDY ERR), error 40 (UNC)"
        );
        failed.answer = BadAnswer::Ata {
            status: 0x10,
            error: 0,
        };
        assert!(
            failed
                .to_string()
                .ends_with("failed: ATA status 10, error 00")
        );
        failed.op = Op::Flush;
        failed.answer = BadAnswer::Aoe(AoeError::DEVICE_UNAVAILABLE);
        assert_eq!(
            failed.to_string(),
            "flush failed: AoE error 3 (device unavailable)"
        );
        failed.answer = BadAnswer::Aoe(AoeError(77));
        assert_eq!(failed.to_string(), "flush failed: AoE error 77");
        failed.answer = BadAnswer::Mismatch;
        assert_eq!(
            failed.to_string(),
            "flush failed: answers that do not fit it"
        );
    }
}
