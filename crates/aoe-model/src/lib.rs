// SPDX-License-Identifier: BSD-2-Clause
//! What an initiator must do, as seen from outside, and a world in which the engine is compared with it.
//!
//! * [`Model`] is the slow and obvious side. It knows what was asked, what the disk holds and what the
//!   network did, never how the engine works, and says what was wrong.
//! * [`PlainTarget`] is a disk that executes one frame after the other.
//! * [`World`] is the hand that moves everything. A [`Step`] does one thing: a request, one frame delivered
//!   or lost, time, a link. A sequence of steps, after a [`Setup`], is a run; [`run`] does one and ends it
//!   with a calm time, after which everything must be done.
//!
//! A step is four bytes, so that a failing sequence of the property test, a file of the fuzzing corpus and a
//! line in a report are the same thing.
#![forbid(unsafe_code)]

mod content;
mod judge;
mod model;
mod plain;
mod setup;
mod step;
mod world;

pub use content::{Content, content, stamp};
pub use model::{Asked, Model};
pub use plain::{Fault, PlainTarget};
pub use setup::Setup;
pub use step::{STEP_LEN, Step};
pub use world::{Mistake, Report, World, run, run_with};

/// Sectors of the disk before it is resized.
pub const DISK_SECTORS: u64 = 48;
/// Sectors that the disk can have at most.
pub const MAX_DISK_SECTORS: u64 = 64;

/// Takes bytes for a setup and the steps after it, as the fuzzer and its corpus have them.
#[must_use]
pub fn decode(bytes: &[u8]) -> (Setup, Vec<Step>) {
    let (setup, steps) = bytes.split_at(bytes.len().min(STEP_LEN));
    let mut first = [0; STEP_LEN];
    first
        .iter_mut()
        .zip(setup)
        .for_each(|(to, from)| *to = *from);
    let steps = steps.chunks_exact(STEP_LEN).map(|chunk| {
        let mut bytes = [0; STEP_LEN];
        bytes
            .iter_mut()
            .zip(chunk)
            .for_each(|(to, from)| *to = *from);
        Step::decode(bytes)
    });
    (Setup::decode(first), steps.collect())
}

/// The bytes that [`decode`] takes for these.
#[must_use]
pub fn encode(setup: Setup, steps: &[Step]) -> Vec<u8> {
    let mut bytes = setup.encode().to_vec();
    bytes.extend(steps.iter().flat_map(|step| step.encode()));
    bytes
}
