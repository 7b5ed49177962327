// SPDX-License-Identifier: BSD-2-Clause
//! What the fuzzer calls: functions that take any bytes and panic when something is wrong.
//!
//! They are here and not in `fuzz`, so that `cargo test` can repeat the corpus without libFuzzer. There is a
//! target for everything that strangers can put in: frames, IDENTIFY data, sequences of both with everything
//! else that happens to the engine, and the text that operators and programs give to sysctl and the tool. There
//! is no ioctl yet.
#![forbid(unsafe_code)]

mod disk;
mod engine;
mod frame;
mod hostile;
mod identify;
mod seeds;
mod text;

pub use engine::engine;
pub use frame::frame;
pub use identify::identify;
pub use seeds::seeds;
pub use text::text;

/// A function that the fuzzer calls.
pub type Target = fn(&[u8]);

/// Every target, by name.
pub const TARGETS: [(&str, Target); 5] = [
    ("frame", frame),
    ("identify", identify),
    ("engine", engine),
    ("model", model),
    ("text", text),
];

/// Steps of one run against the model: longer ones find nothing that shorter ones do not.
const MAX_STEPS: usize = 256;

/// The engine against the slow model.
pub fn model(bytes: &[u8]) {
    let (setup, mut steps) = aoe_model::decode(bytes);
    steps.truncate(MAX_STEPS);
    let report = aoe_model::run(setup, &steps);
    assert!(
        report.wrong.is_empty(),
        "{setup:?} {steps:#?}: {:#?}",
        report.wrong
    );
}

/// A mistake behind five bytes, which only a fuzzer that sees what it reaches finds in a short time.
///
/// # Panics
/// When it is found.
pub fn planted(bytes: &[u8]) {
    if let [b'A', b'o', b'E', 0x88, 0xa2, ..] = bytes {
        panic!("the planted mistake was found");
    }
}
