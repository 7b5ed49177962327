// SPDX-License-Identifier: BSD-2-Clause
//! Where frames leave. What the driver has no room for is tried again, in order, and nothing is lost uncounted.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind};

use aoe_os::{BATCH, WireSocket};

/// Frames that may wait for the driver.
const MOST_PENDING: usize = 16_384;
/// When a full driver is asked again.
const RETRY_NS: u64 = 50_000;

/// What happened, in frames.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sent {
    /// Sent.
    pub(crate) forwarded: u64,
    /// Times that the driver was full.
    pub(crate) retries: u64,
    /// Lost because the interface is down or the frame too long for it.
    pub(crate) refused: u64,
    /// Lost because too many waited for the driver.
    pub(crate) overflowed: u64,
}

/// Why the socket took no frame.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Trouble {
    /// It will say when it does.
    SocketFull,
    /// The driver has no room, and will not say when it has.
    DriverFull,
    /// It never will take this one.
    Refused,
}

impl Trouble {
    fn of(error: &Error) -> Self {
        match (error.kind(), error.raw_os_error()) {
            (ErrorKind::WouldBlock | ErrorKind::Interrupted, _) => Self::SocketFull,
            // By its number, because the library has no name for it.
            (_, Some(105)) => Self::DriverFull,
            _ => Self::Refused,
        }
    }
}

/// The sending half of an interface.
#[derive(Debug, Default)]
pub(crate) struct Outlet {
    pub(crate) sent: Sent,
    pending: VecDeque<Vec<u8>>,
    retry_at: u64,
    wants_room: bool,
}

impl Outlet {
    /// Sends frames behind those that wait already.
    pub(crate) fn send(&mut self, socket: &WireSocket, now: u64, frames: &[&[u8]]) {
        let mut rest = frames;
        if self.pending.is_empty() {
            while !rest.is_empty() {
                match self.attempt(socket, now, rest) {
                    0 => break,
                    taken => rest = rest.get(taken..).unwrap_or(&[]),
                }
            }
        }
        for frame in rest {
            if self.pending.len() >= MOST_PENDING {
                self.sent.overflowed += 1;
            } else {
                self.pending.push_back(frame.to_vec());
            }
        }
    }

    /// Tries again what waits.
    pub(crate) fn flush(&mut self, socket: &WireSocket, now: u64) {
        while !self.pending.is_empty() {
            let pending = std::mem::take(&mut self.pending);
            let frames: Vec<&[u8]> = pending.iter().take(BATCH).map(Vec::as_slice).collect();
            let taken = self.attempt(socket, now, &frames);
            self.pending = pending;
            self.pending.drain(..taken);
            if taken == 0 {
                return;
            }
        }
    }

    /// One system call; how many of the frames need not be looked at again.
    fn attempt(&mut self, socket: &WireSocket, now: u64, frames: &[&[u8]]) -> usize {
        match socket.send(frames) {
            Ok(taken) => {
                self.wants_room = false;
                self.sent.forwarded += taken as u64;
                taken
            }
            Err(error) => match Trouble::of(&error) {
                Trouble::SocketFull => {
                    self.wants_room = true;
                    0
                }
                Trouble::DriverFull => {
                    self.wants_room = false;
                    self.retry_at = now + RETRY_NS;
                    self.sent.retries += 1;
                    0
                }
                Trouble::Refused => {
                    self.sent.refused += 1;
                    1
                }
            },
        }
    }

    /// When waiting frames are to be tried again without being told.
    pub(crate) fn next_due(&self) -> Option<u64> {
        (!self.pending.is_empty() && !self.wants_room).then_some(self.retry_at)
    }

    /// Whether the socket is to be watched for room.
    pub(crate) fn wants_room(&self) -> bool {
        self.wants_room && !self.pending.is_empty()
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }
}
