// SPDX-License-Identifier: BSD-2-Clause
//! How a command fails, and the exit status that says so.

use std::fmt;
use std::process::ExitCode;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It went wrong: status 1.
    Failed(anyhow::Error),
    /// It was asked for in a wrong way that only shows when looking closer: status 2, as with clap.
    Usage(String),
    /// The target was not found, or fell silent: status 3.
    NoAnswer(String),
    /// It was compared, and is not the same: status 4.
    Mismatch(String),
}

impl Failure {
    /// The exit status.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NoAnswer(_) => 3,
            Self::Mismatch(_) => 4,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // With its causes, on one line.
            Self::Failed(error) => write!(f, "{error:#}"),
            Self::Usage(text) | Self::NoAnswer(text) | Self::Mismatch(text) => f.write_str(text),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}
