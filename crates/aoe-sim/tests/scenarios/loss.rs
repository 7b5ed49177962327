// SPDX-License-Identifier: BSD-2-Clause
//! What lost frames cost, in figures.

use crate::common::*;

/// How the load is made.
#[derive(Copy, Clone, Debug)]
struct Load {
    /// Sectors of a request.
    sectors: u64,
    /// Requests at a time.
    depth: usize,
    requests: u64,
    op: Op,
}

const SECTORS: u64 = 1 << 15;
const SEQUENTIAL: Load = Load {
    sectors: 1024,
    depth: 2,
    requests: 30,
    op: Op::Read,
};
const SEQUENTIAL_WRITE: Load = Load {
    op: Op::Write,
    ..SEQUENTIAL
};
const DEEP: Load = Load {
    sectors: 8,
    depth: 16,
    requests: 3000,
    op: Op::Read,
};
const SHALLOW: Load = Load {
    sectors: 8,
    depth: 1,
    requests: 1500,
    op: Op::Read,
};

/// What came of it.
#[derive(Copy, Clone, Debug)]
struct Figures {
    /// Virtual nanoseconds in all.
    total: u64,
    /// Nanoseconds of the longest request.
    longest: u64,
    /// Frames lost on the way.
    lost: u64,
}

fn measure(load: Load, loss: u32, seed: u64) -> Figures {
    let mut figures = Figures {
        total: 0,
        longest: 0,
        lost: 0,
    };
    let mut options = Options::simple(seed);
    // Large enough that no sector is written twice: who waits for a copy at large is another question.
    options.disks[0].sectors = SECTORS;
    options.server().timing = Timing::in_order((10 * US, 30 * US));
    scenario(options, |world| {
        up(world);
        // The estimators see the wire as it is before anything is lost.
        for n in 0..50 {
            good(world, Op::Read, n * 8, 8);
        }
        let wire = Condition {
            loss,
            ..Condition::GOOD
        };
        world.apply(&Fault::Conditions(0, wire, wire));
        let before = world.counted().retransmits;
        let start = world.now();
        let mut open = std::collections::VecDeque::new();
        for n in 0..load.requests {
            let step = if load.depth == 2 { 1 } else { 7919 };
            let lba = n * step * load.sectors % SECTORS;
            open.push_back(world.submit(ADDR, load.op, lba, load.sectors, false));
            while open.len() >= load.depth {
                finish(world, &mut open, &mut figures);
            }
        }
        while !open.is_empty() {
            finish(world, &mut open, &mut figures);
        }
        figures.total = world.now() - start;
        figures.lost = world.counted().retransmits - before;
    });
    figures
}

fn finish(
    world: &mut World<'_>,
    open: &mut std::collections::VecDeque<u64>,
    figures: &mut Figures,
) {
    let Some(token) = open.pop_front() else {
        return;
    };
    let ended = wait(world, token, 60 * SEC);
    assert_eq!(ended.result, Ok(()));
    figures.longest = figures.longest.max(ended.at - ended.accepted);
}

/// Speed at this loss, in percent of the speed without.
fn kept(load: Load, loss: u32) -> u64 {
    let mean = |loss| {
        (1..=4)
            .map(|seed| measure(load, loss, seed).total)
            .sum::<u64>()
            / 4
    };
    mean(0) * 100 / mean(loss)
}

#[test]
fn at_a_tenth_of_a_percent_nearly_all_speed_is_kept() {
    for load in [SEQUENTIAL, SEQUENTIAL_WRITE, DEEP, SHALLOW] {
        let kept = kept(load, 1_000);
        assert!(kept >= 95, "{load:?}: {kept} %");
    }
}

#[test]
fn at_one_percent_most_speed_is_kept() {
    for (load, least) in [
        (SEQUENTIAL, 80),
        (SEQUENTIAL_WRITE, 80),
        (DEEP, 80),
        (SHALLOW, 70),
    ] {
        let kept = kept(load, 10_000);
        assert!(kept >= least, "{load:?}: {kept} %");
    }
}

#[test]
fn at_five_percent_everything_works() {
    for load in [SEQUENTIAL, SEQUENTIAL_WRITE, DEEP, SHALLOW] {
        let figures = measure(load, 50_000, 1);
        assert!(figures.longest < SEC, "{load:?}: {figures:?}");
    }
}

#[test]
fn a_lost_frame_costs_at_most_three_milliseconds() {
    for load in [SEQUENTIAL, DEEP, SHALLOW] {
        let (clean, lossy) = (measure(load, 0, 5), measure(load, 10_000, 5));
        let added = lossy.total.saturating_sub(clean.total) / lossy.lost.max(1);
        assert!(lossy.lost > 20, "{load:?}: {lossy:?}");
        assert!(
            added <= 3 * MS,
            "{load:?}: {} us a frame, {lossy:?}",
            added / US
        );
        assert!(lossy.longest < 100 * MS, "{load:?}: {lossy:?}");
    }
}
