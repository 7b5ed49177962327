// SPDX-License-Identifier: BSD-2-Clause
//! The comparison can fail: mistakes are made on purpose between engine and model, and random sequences
//! must find each, and be made short.

use aoe_model::{Mistake, STEP_LEN, Setup, Step, run, run_with};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

/// The shortest sequence that shows the mistake, and what it shows.
fn shortest(mistake: Mistake) -> (Setup, Vec<Step>, Vec<String>) {
    let setup = any::<[u8; STEP_LEN]>().prop_map(Setup::decode);
    let step = any::<[u8; STEP_LEN]>().prop_map(Step::decode);
    let config = Config {
        cases: 2000,
        failure_persistence: None,
        max_shrink_iters: 1000,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let sequences = (setup, prop::collection::vec(step, 1..60));
    let result = TestRunner::new_with_rng(config, rng).run(&sequences, |(setup, steps)| {
        prop_assert!(run_with(setup, &steps, Some(mistake)).wrong.is_empty());
        Ok(())
    });
    let Err(TestError::Fail(_, (setup, steps))) = result else {
        panic!("{mistake:?} was not found");
    };
    let wrong = run_with(setup, &steps, Some(mistake)).wrong;
    (setup, steps, wrong)
}

/// The mistake is found, said in one of these ways, by at most so many steps, and not without the mistake.
fn found(mistake: Mistake, most: usize, words: &[&str]) {
    let (setup, steps, wrong) = shortest(mistake);
    println!("{mistake:?}: {setup:?} {steps:?}");
    let first = wrong.first().expect("what failed once fails again");
    println!("{first}");
    assert!(
        words.iter().any(|words| first.contains(words)),
        "{mistake:?} was found as: {first}"
    );
    assert!(steps.len() <= most, "{} steps are left", steps.len());
    assert!(
        run(setup, &steps).wrong.is_empty(),
        "it is found without the mistake, too"
    );
}

#[test]
fn completions_that_are_lost_doubled_early_or_late() {
    found(Mistake::LoseCompletion, 3, &["never done", "full with"]);
    found(Mistake::DoubleCompletion, 3, &["not open"]);
    found(
        Mistake::CompleteEarly,
        2,
        &["holds", "no open request", "not lent", "returned"],
    );
    found(
        Mistake::ReorderCompletions,
        6,
        &["was started before", "full with", "without room"],
    );
}

#[test]
fn results_that_are_not_true() {
    found(Mistake::FalseError, 3, &["without a reason"]);
    found(
        Mistake::FalseSuccess,
        2,
        &["not Invalid", "holds", "ended as"],
    );
    found(Mistake::FalseFull, 1, &["full with"]);
}

#[test]
fn data_that_are_not_right() {
    found(Mistake::StaleRead, 4, &["returned"]);
    found(Mistake::SwapData, 4, &["returned"]);
    found(Mistake::LateCopies, 12, &["of the disk holds"]);
}

#[test]
fn orders_that_are_not_kept() {
    found(Mistake::IgnoreOrdered, 2, &["was started before"]);
    found(Mistake::SkipFlush, 3, &["is durable as", "without room"]);
}

#[test]
fn frames_that_must_not_be_sent() {
    found(Mistake::IgnoreLinkDown, 3, &["which is not to be used"]);
    found(Mistake::WideWindow, 3, &["under way to"]);
    found(Mistake::WideMtu, 4, &["in one frame", "for an MTU"]);
}

#[test]
fn a_timer_that_does_not_run() {
    found(Mistake::NoTimer, 6, &["never done", "is Down", "state is"]);
}
