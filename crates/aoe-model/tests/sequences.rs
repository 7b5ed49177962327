// SPDX-License-Identifier: BSD-2-Clause
//! The engine against the model: random sequences of steps, each followed by a calm time.
//!
//! A failing sequence is made as short as it can be and printed as steps; `replay` at the end of this file
//! is the place for those that found something.

use std::cell::RefCell;

use aoe_model::{Report, STEP_LEN, Setup, Step, decode, encode, run};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

/// Sequences of each kind.
const CASES: u32 = 4000;

fn steps(most: usize) -> impl Strategy<Value = (Setup, Vec<Step>)> {
    let setup = any::<[u8; STEP_LEN]>().prop_map(Setup::decode);
    let step = any::<[u8; STEP_LEN]>().prop_map(Step::decode);
    (setup, prop::collection::vec(step, 1..most))
}

/// A different seed every day would find more and could not be repeated. `AOE_MODEL_SEED` gives another one,
/// `AOE_MODEL_CASES` more sequences.
fn runner(kind: u8) -> TestRunner {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let cases = number("AOE_MODEL_CASES").and_then(|cases| u32::try_from(cases).ok());
    let config = Config {
        cases: cases.unwrap_or(CASES),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let mut seed = [kind; 32];
    seed[..8].copy_from_slice(&number("AOE_MODEL_SEED").unwrap_or(1).to_le_bytes());
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}

/// What it takes for a copy of a write to be late: little else than writes of few sectors, time, and frames that
/// arrive one by one.
fn late_copies() -> impl Strategy<Value = (Setup, Vec<Step>)> {
    let setup = any::<[u8; STEP_LEN]>().prop_map(|[flags, tables, _, _]| {
        // Neither windows nor tables of one.
        Setup::decode([flags, tables | 6, 0, 0])
    });
    let millis = prop::sample::select(vec![5, 20, 250, 1000, 8000]);
    let step = prop_oneof![
        4 => (0..3_u8, 1..3_u8).prop_map(|(lba, sectors)| Step::Write { lba, sectors, ordered: false }),
        1 => (0..3_u8).prop_map(|lba| Step::Trim { lba, sectors: 1, ordered: false }),
        6 => any::<u8>().prop_map(Step::Deliver),
        1 => any::<u8>().prop_map(Step::Lose),
        1 => (0..2_u8).prop_map(Step::LinkDown),
        2 => (0..2_u8).prop_map(Step::LinkUp),
        3 => millis.prop_map(|millis| Step::Wait { millis, late: false }),
    ];
    (setup, prop::collection::vec(step, 1..60))
}

fn compare(kind: u8, steps: impl Strategy<Value = (Setup, Vec<Step>)>) -> Report {
    let sum = RefCell::new(Report::default());
    let result = runner(kind).run(&steps, |(setup, steps)| {
        let report = run(setup, &steps);
        let mut sum = sum.borrow_mut();
        sum.accepted += report.accepted;
        sum.worked += report.worked;
        sum.retransmits += report.retransmits;
        sum.quarantine_waits += report.quarantine_waits;
        sum.refused += report.refused;
        prop_assert!(report.wrong.is_empty(), "wrong");
        Ok(())
    });
    if let Err(TestError::Fail(_, (setup, steps))) = &result {
        println!("{setup:?}");
        steps.iter().for_each(|step| println!("    {step:?},"));
        run(*setup, steps)
            .wrong
            .iter()
            .for_each(|wrong| println!("{wrong}"));
        println!("bytes: {:?}", encode(*setup, steps));
    }
    assert!(result.is_ok(), "the engine does not do what the model says");
    sum.into_inner()
}

#[test]
fn short_sequences_end_as_the_model_says() {
    let sum = compare(1, steps(12));
    assert!(sum.worked > 2000, "{sum:?}");
}

#[test]
fn sequences_end_as_the_model_says() {
    let sum = compare(2, steps(60));
    println!("{sum:?}");
    // Runs in which nothing happens prove nothing.
    assert!(sum.worked * 2 > sum.accepted, "{sum:?}");
    assert!(
        sum.retransmits > 1000 && sum.quarantine_waits > 50 && sum.refused > 1000,
        "{sum:?}"
    );
}

#[test]
fn long_sequences_end_as_the_model_says() {
    let sum = compare(3, steps(250));
    assert!(sum.worked > 2000, "{sum:?}");
}

#[test]
fn late_copies_overwrite_nothing() {
    let sum = compare(4, late_copies());
    println!("{sum:?}");
    assert!(sum.quarantine_waits > 100, "{sum:?}");
}

/// What was found, by the bytes that were printed.
#[test]
fn replay() {
    let found: [&[u8]; 2] = [
        &[0, 0, 0, 0],
        // A frame that found no slot to be split with kept those waiting whose slots it needed.
        &[
            22, 18, 5, 0, 19, 2, 0, 0, 0, 0, 3, 0, 0, 4, 13, 0, 14, 2, 15, 0, 4, 14, 0, 0, 3, 0, 0,
            0,
        ],
    ];
    for bytes in found {
        let (setup, steps) = decode(bytes);
        let report = run(setup, &steps);
        assert!(
            report.wrong.is_empty(),
            "{setup:?} {steps:#?}: {:#?}",
            report.wrong
        );
    }
}
