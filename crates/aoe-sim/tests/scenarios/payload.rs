// SPDX-License-Identifier: BSD-2-Clause
//! Switches that throw large frames away.

use crate::common::*;

fn jumbo() -> Options {
    mtu(Options::simple(1), 9000)
}

/// A wire that carries nothing longer than MTU 1500 allows.
fn narrow() -> Condition {
    Condition {
        drop_longer: Some(1514),
        ..Condition::GOOD
    }
}

fn payload(world: &World<'_>, netif: usize) -> u32 {
    let slot = world.slot(ADDR).unwrap();
    let mut paths = slot.target().paths();
    paths
        .find(|path| usize::from(path.netif().0) == netif)
        .unwrap()
        .payload_sectors()
}

fn reduced(world: &World<'_>) -> usize {
    let events = &world.slot(ADDR).unwrap().events;
    events
        .iter()
        .filter(|(_, event)| *event == Event::PayloadReduced)
        .count()
}

/// How long a request of 128 KiB takes.
fn time(world: &mut World<'_>, op: Op) -> u64 {
    let ended = good(world, op, 0, 256);
    ended.at - ended.accepted
}

#[test]
fn large_answers_that_vanish_are_stepped_around() {
    scenario(jumbo(), |world| {
        up(world);
        good(world, Op::Read, 0, 256);
        assert_eq!(payload(world, 0), 16);
        world.apply(&Fault::Conditions(0, Condition::GOOD, narrow()));
        let took = time(world, Op::Read);
        assert!(took < SEC, "{} ms", took / MS);
        assert_eq!((payload(world, 0), reduced(world)), (2, 1));
        // From here on there is nothing to find out but whether it has become better.
        world.run_for(100 * MS);
        assert!(time(world, Op::Read) < 20 * MS);
        // The other direction carries large frames as before.
        assert!(time(world, Op::Write) < 20 * MS);
        assert_eq!((payload(world, 0), reduced(world)), (16, 1));
    });
}

#[test]
fn large_writes_that_vanish_are_stepped_around() {
    scenario(jumbo(), |world| {
        up(world);
        world.apply(&Fault::Conditions(0, narrow(), Condition::GOOD));
        let took = time(world, Op::Write);
        assert!(took < SEC, "{} ms", took / MS);
        assert_eq!((payload(world, 0), reduced(world)), (2, 1));
        assert!(time(world, Op::Read) < 20 * MS);
        assert_eq!(payload(world, 0), 16);
    });
}

#[test]
fn a_repaired_switch_carries_large_frames_again() {
    scenario(jumbo(), |world| {
        up(world);
        world.apply(&Fault::Conditions(0, narrow(), narrow()));
        good(world, Op::Read, 0, 256);
        assert_eq!(payload(world, 0), 2);
        // Trials in vain, ever rarer: none of them costs more than a time-out.
        for _ in 0..100 {
            world.run_for(SEC);
            assert!(time(world, Op::Read) < 50 * MS);
        }
        world.apply(&Fault::Conditions(0, Condition::GOOD, Condition::GOOD));
        world.run_for(61 * SEC);
        for _ in 0..8 {
            good(world, Op::Read, 0, 256);
        }
        assert_eq!((payload(world, 0), reduced(world)), (16, 1));
    });
}

#[test]
fn a_single_large_frame_is_enough_to_notice() {
    for (op, call_time) in [Op::Read, Op::Write].into_iter().zip([0, US]) {
        let mut options = jumbo();
        options.host.call_time = call_time;
        scenario(options, |world| {
            up(world);
            good(world, op, 0, 16);
            world.apply(&Fault::Conditions(0, narrow(), narrow()));
            let ended = good(world, op, 0, 16);
            assert!(ended.at - ended.accepted < 500 * MS, "{op:?}");
            assert_eq!((payload(world, 0), reduced(world)), (2, 1));
        });
    }
}

#[test]
fn a_size_in_between_is_found() {
    scenario(jumbo(), |world| {
        up(world);
        let narrow = Condition {
            drop_longer: Some(36 + 9 * 512),
            ..Condition::GOOD
        };
        world.apply(&Fault::Conditions(0, narrow, narrow));
        good(world, Op::Read, 0, 256);
        world.run_for(2 * SEC);
        for _ in 0..8 {
            good(world, Op::Read, 0, 256);
        }
        assert_eq!(payload(world, 0), 8);
    });
}

#[test]
fn only_the_path_with_the_narrow_switch_is_reduced() {
    scenario(two_paths(jumbo()), |world| {
        up(world);
        world.apply(&Fault::Conditions(1, narrow(), narrow()));
        let mut longest = 0;
        for n in 0..40 {
            let ended = good(world, Op::Read, n * 8 % 1024, 256);
            longest = longest.max(ended.at - ended.accepted);
        }
        assert!(longest < SEC, "{} ms", longest / MS);
        assert_eq!(payload(world, 0), 16);
    });
}

#[test]
fn loss_alone_reduces_nothing() {
    let lossy = Condition {
        loss: 50_000,
        ..Condition::GOOD
    };
    for seed in 1..6 {
        let mut options = mtu(Options::simple(seed), 9000);
        options.disks[0].sectors = 1 << 15;
        scenario(options, |world| {
            up(world);
            world.apply(&Fault::Conditions(0, lossy, lossy));
            for n in 0..2000 {
                good(world, Op::Read, n * 8 % 8192, 8);
            }
            assert_eq!(reduced(world), 0);
        });
    }
}

#[test]
fn an_outage_reduces_nothing() {
    scenario(jumbo(), |world| {
        up(world);
        for round in 0..5 {
            world.apply(&Fault::Conditions(0, cut(), cut()));
            let token = world.submit(ADDR, Op::Read, 0, 256, false);
            world.run_for((1 + round) * 300 * MS);
            world.apply(&Fault::Conditions(0, Condition::GOOD, Condition::GOOD));
            assert_eq!(wait(world, token, 10 * SEC).result, Ok(()));
        }
        assert_eq!((payload(world, 0), reduced(world)), (16, 0));
    });
}

#[test]
fn a_switch_that_becomes_narrow_again_is_stepped_around_again() {
    scenario(jumbo(), |world| {
        up(world);
        for round in 0..3 {
            world.apply(&Fault::Conditions(0, narrow(), narrow()));
            for lba in 0..4 {
                good(world, Op::Write, lba * 128, 128);
            }
            good(world, Op::Read, 0, 512);
            assert_eq!(payload(world, 0), 2, "round {round}");
            world.apply(&Fault::Conditions(0, Condition::GOOD, Condition::GOOD));
            world.run_for(61 * SEC);
            for _ in 0..8 {
                good(world, Op::Write, 0, 128);
                good(world, Op::Read, 0, 128);
            }
            assert_eq!(payload(world, 0), 16, "round {round}");
        }
    });
}

#[test]
fn a_lone_large_frame_after_a_deep_queue_is_enough_as_well() {
    let mut options = jumbo();
    options.server().timing = Timing::in_order((60 * US, 80 * US));
    scenario(options, |world| {
        up(world);
        // Round trips are long then, and the time between two answers is short.
        for _ in 0..4 {
            let tokens: Vec<u64> = (0..8)
                .map(|n| world.submit(ADDR, Op::Read, n * 128, 128, false))
                .collect();
            for token in tokens {
                assert_eq!(wait(world, token, SEC).result, Ok(()));
            }
        }
        world.apply(&Fault::Conditions(0, narrow(), narrow()));
        let ended = good(world, Op::Read, 0, 16);
        assert!(
            ended.at - ended.accepted < 500 * MS,
            "{} ms",
            (ended.at - ended.accepted) / MS
        );
        assert_eq!((payload(world, 0), reduced(world)), (2, 1));
    });
}
