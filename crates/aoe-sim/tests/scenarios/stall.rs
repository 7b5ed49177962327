// SPDX-License-Identifier: BSD-2-Clause
//! Targets that answer questions while their disk hangs, or takes very long.

use crate::common::*;

/// A target that answers questions itself while its disk hangs. vblade could not.
fn hanging(seed: u64) -> Options {
    let mut options = Options::simple(seed);
    options.server().profile = Profile::ggaoed();
    options
}

/// Requests to a disk that hangs, with these options, for a minute. Returns how many frames of I/O left in
/// each second.
fn a_minute_of_silence(options: Options, depth: u64, op: Op, sectors: u64) -> Vec<usize> {
    let mut seconds = vec![0; 60];
    scenario(options, |world| {
        up(world);
        for n in 0..50 {
            good(world, op, n % 16 * sectors, sectors);
        }
        world.apply(&Fault::Hang(0, true));
        forget(world);
        let begin = world.now();
        let tokens: Vec<_> = (0..depth)
            .map(|n| world.submit(ADDR, op, n % 16 * sectors, sectors, false))
            .collect();
        world.run_for(60 * SEC);
        for frame in seen(world) {
            if frame.class == 0 && frame.command != IDENTIFY {
                let second = usize::try_from((frame.at - begin) / SEC).unwrap();
                *seconds.get_mut(second).unwrap() += 1;
            }
        }
        let slot = world.slot(ADDR).unwrap();
        assert_eq!(slot.target().state(), State::Up);
        let waiting = slot.target().waiting(world.instant());
        assert_eq!(u64::from(waiting.requests), depth);
        assert!((59 * SEC..62 * SEC).contains(&waiting.oldest_ns));
        assert_eq!(count(world, Event::Stalled), 1);
        assert_eq!(
            count(world, Event::PayloadReduced),
            0,
            "{} paths, {depth} x {sectors} {op:?}",
            world.slot(ADDR).unwrap().target().paths().count()
        );
        world.apply(&Fault::Hang(0, false));
        let back = world.now();
        for token in tokens {
            assert_eq!(wait(world, token, 10 * SEC).result, Ok(()));
        }
        let took = world.now() - back;
        assert!(took < 3 * SEC, "{} ms", took / MS);
        for n in 0..20 {
            good(world, op, n % 16 * sectors, sectors);
        }
        world.run_for(2 * SEC);
        assert_eq!(count(world, Event::Resumed), 1);
        assert_eq!(
            count(world, Event::PayloadReduced),
            0,
            "{} paths, {depth} x {sectors} {op:?}",
            world.slot(ADDR).unwrap().target().paths().count()
        );
    });
    seconds
}

fn count(world: &World<'_>, wanted: Event) -> usize {
    let events = &world.slot(ADDR).unwrap().events;
    events.iter().filter(|(_, event)| *event == wanted).count()
}

fn jumbo(mut options: Options) -> Options {
    options = mtu(options, 9000);
    options.server().profile.buffer_count = 128;
    options
}

#[test]
fn a_hung_disk_is_not_flooded() {
    for (name, options) in [
        ("one path", hanging(1)),
        ("MTU 9000", jumbo(hanging(2))),
        ("two paths", two_paths(hanging(3))),
        ("two paths, MTU 9000", two_paths(jumbo(hanging(4)))),
    ] {
        for (depth, sectors, op) in [
            (1, 8, Op::Read),
            (1, 8, Op::Write),
            (1, 64, Op::Read),
            (16, 8, Op::Write),
            (16, 64, Op::Read),
        ] {
            let seconds = a_minute_of_silence(options.clone(), depth, op, sectors);
            // The back-off has ended by then. A frame may be cut in pieces of two sectors at that time.
            let later: usize = seconds[5..].iter().sum();
            assert!(
                later <= 70,
                "{name}, {depth} x {sectors} {op:?}: {seconds:?}"
            );
            let most = seconds[5..].iter().max().unwrap();
            assert!(
                *most <= 16,
                "{name}, {depth} x {sectors} {op:?}: {seconds:?}"
            );
        }
    }
}

#[test]
fn each_time_out_of_a_hung_disk_is_longer_than_the_one_before() {
    scenario(hanging(5), |world| {
        up(world);
        good(world, Op::Read, 0, 2);
        world.apply(&Fault::Hang(0, true));
        forget(world);
        let _ = world.submit(ADDR, Op::Read, 0, 2, false);
        world.run_for(20 * SEC);
        let sent: Vec<_> = commands(world, READ_EXT).iter().map(|f| f.at).collect();
        let gaps: Vec<_> = sent.windows(2).map(|two| two[1] - two[0]).collect();
        // In the beginning answers to questions show that copies were lost; that does not undo the back-off.
        let first = gaps.iter().position(|&gap| gap >= 100 * MS).unwrap();
        assert!(first < 16, "{gaps:?}");
        for two in gaps[first..].windows(2) {
            assert!(two[1] >= two[0], "{gaps:?}");
        }
        assert!(*gaps.last().unwrap() >= 900 * MS, "{gaps:?}");
        world.apply(&Fault::Hang(0, false));
        world.run_for(SEC);
    });
}

#[test]
fn dead_secs_ends_the_waiting_for_a_hung_disk_and_it_comes_back_by_itself() {
    for paths in [1, 2] {
        let mut options = hanging(6);
        if paths == 2 {
            options = two_paths(options);
        }
        options.tunables.dead_secs = 5;
        options.allowed.push(IoError::Failed);
        scenario(options, |world| {
            up(world);
            good(world, Op::Write, 0, 16);
            world.apply(&Fault::Hang(0, true));
            let write = world.submit(ADDR, Op::Write, 0, 16, false);
            let ended = wait(world, write, 20 * SEC);
            assert_eq!(ended.result, Err(IoError::Failed));
            let after = ended.at - ended.accepted;
            assert!((5 * SEC..7 * SEC).contains(&after), "{} ms", after / MS);
            assert_eq!(count(world, Event::Dead), 1);
            let later = io(world, Op::Read, 0, 8);
            assert_eq!(later.result, Err(IoError::Failed));
            assert!(later.at - later.accepted < MS, "later I/O fails at once");
            forget(world);
            world.run_for(60 * SEC);
            assert_eq!(world.slot(ADDR).unwrap().target().state(), State::Dead);
            let trials = commands(world, READ_EXT);
            assert!((3..=16 * paths).contains(&trials.len()), "{}", trials.len());
            assert!(trials.iter().all(|f| f.count == 1 && f.lba < 16));
            world.apply(&Fault::Hang(0, false));
            world.run_for(12 * SEC);
            assert_eq!(world.slot(ADDR).unwrap().target().state(), State::Up);
            assert_eq!(count(world, Event::Up), 1);
            world.run_for(20 * SEC);
            good(world, Op::Write, 0, 16);
            good(world, Op::Read, 0, 16);
        });
    }
}

#[test]
fn another_disk_behind_a_dead_target_is_not_taken_for_the_old_one() {
    let mut options = hanging(7);
    options.tunables.dead_secs = 3;
    options.allowed.push(IoError::Failed);
    scenario(options, |world| {
        up(world);
        world.apply(&Fault::Hang(0, true));
        let read = world.submit(ADDR, Op::Read, 0, 8, false);
        assert_eq!(wait(world, read, 10 * SEC).result, Err(IoError::Failed));
        let profile = world.servers[0].model_mut().profile_mut();
        profile.serial = "another".into();
        world.apply(&Fault::Hang(0, false));
        world.run_for(20 * SEC);
        assert_eq!(count(world, Event::Conflict), 1);
        forget(world);
        let read = world.submit(ADDR, Op::Read, 0, 8, false);
        world.run_for(SEC);
        assert!(commands(world, READ_EXT).is_empty(), "asked another disk");
        world.apply(&Fault::FailHeld);
        wait(world, read, SEC);
    });
}

#[test]
fn the_operator_ends_the_waiting_for_a_hung_disk() {
    let mut options = hanging(8);
    options.allowed.push(IoError::Failed);
    scenario(options, |world| {
        up(world);
        world.apply(&Fault::Hang(0, true));
        let write = world.submit(ADDR, Op::Write, 0, 16, false);
        world.run_for(SEC);
        world.apply(&Fault::FailHeld);
        assert_eq!(world.ended(write), None, "a second is no silence");
        world.run_for(2 * SEC);
        world.apply(&Fault::FailHeld);
        assert_eq!(world.ended(write).unwrap().result, Err(IoError::Failed));
        world.apply(&Fault::Hang(0, false));
        world.run_for(20 * SEC);
        good(world, Op::Write, 0, 16);
    });
}

#[test]
fn a_disk_that_spins_up_for_half_a_minute_loses_nothing() {
    let mut options = hanging(9);
    options.tunables.dead_secs = 60;
    scenario(options, |world| {
        up(world);
        good(world, Op::Read, 0, 8);
        world.apply(&Fault::Hang(0, true));
        let tokens: Vec<_> = (0..8)
            .map(|n| world.submit(ADDR, Op::Write, n * 8, 8, false))
            .collect();
        world.run_for(30 * SEC);
        world.apply(&Fault::Hang(0, false));
        for token in tokens {
            assert_eq!(wait(world, token, 3 * SEC).result, Ok(()));
        }
        assert_eq!(count(world, Event::Down), 0);
    });
}

#[test]
fn a_disk_that_takes_twenty_seconds_for_a_read_is_slow_and_not_dead() {
    let mut options = hanging(10);
    options.server().timing.disk_ns = Some((20 * SEC, 20 * SEC));
    options.patience = 3600 * SEC;
    scenario(options, |world| {
        up(world);
        forget(world);
        let read = world.submit(ADDR, Op::Read, 0, 2, false);
        let ended = wait(world, read, 30 * SEC);
        assert_eq!(ended.result, Ok(()));
        assert!(ended.at - ended.accepted < 21 * SEC);
        let copies = commands(world, READ_EXT).len();
        assert!(copies <= 20 + 16, "{copies}");
        assert_eq!(world.slot(ADDR).unwrap().target().state(), State::Up);
    });
}

#[test]
fn a_disk_that_works_through_its_requests_slowly_is_not_given_up() {
    let mut options = hanging(11);
    options.tunables.dead_secs = 5;
    options.server().timing.disk_ns = Some((SEC, SEC));
    options.patience = 3600 * SEC;
    scenario(options, |world| {
        up(world);
        let tokens: Vec<_> = (0..12)
            .map(|n| world.submit(ADDR, Op::Read, n * 2, 2, false))
            .collect();
        for token in tokens {
            assert_eq!(wait(world, token, 300 * SEC).result, Ok(()));
        }
        assert_eq!(count(world, Event::Dead), 0);
    });
}

#[test]
fn one_request_that_is_never_answered_counts_though_others_are() {
    let mut options = hanging(12);
    options.tunables.dead_secs = 5;
    options.allowed.push(IoError::Failed);
    scenario(options, |world| {
        up(world);
        // Reads of one sector vanish inside the target, all others are answered.
        world.servers[0].model_mut().add_mute_sector(100);
        let stuck = world.submit(ADDR, Op::Read, 100, 1, false);
        let begin = world.now();
        while world.ended(stuck).is_none() && world.now() - begin < 20 * SEC {
            let _ = io(world, Op::Read, 0, 2);
            world.run_for(100 * MS);
        }
        let ended = world.ended(stuck).expect("the request waits for ever");
        assert_eq!(ended.result, Err(IoError::Failed));
        let after = ended.at - ended.accepted;
        assert!((5 * SEC..7 * SEC).contains(&after), "{} ms", after / MS);
        world.apply(&Fault::Calm);
        world.run_for(15 * SEC);
        good(world, Op::Read, 100, 1);
    });
}

/// Makes a read that waits for ten seconds at most, and says how long it took to fail.
fn impatient(world: &mut World<'_>, lba: u64) -> u64 {
    world.wait_secs = 10;
    let read = world.submit(ADDR, Op::Read, lba, 1, false);
    world.wait_secs = 0;
    let ended = wait(world, read, 100 * SEC);
    assert_eq!(ended.result, Err(IoError::Expired));
    ended.at - ended.accepted
}

#[test]
fn a_request_with_a_limit_of_its_own_waits_longer_for_a_slow_target_than_for_a_silent_one() {
    for silent in [true, false] {
        let mut options = Options::simple(9);
        options.allowed.push(IoError::Expired);
        scenario(options, |world| {
            up(world);
            good(world, Op::Write, 0, 16);
            let fault = if silent {
                Fault::Kill(0)
            } else {
                Fault::Hang(0, true)
            };
            world.apply(&fault);
            let patient = world.submit(ADDR, Op::Read, 0, 8, false);
            let limit = if silent { 10 } else { 60 };
            let took = impatient(world, 8);
            assert!(
                (limit * SEC..(limit + 2) * SEC).contains(&took),
                "{} ms",
                took / MS
            );
            assert!(world.ended(patient).is_none(), "others go on waiting");
            world.apply(&if silent {
                Fault::Start(0)
            } else {
                Fault::Hang(0, false)
            });
            assert_eq!(wait(world, patient, 30 * SEC).result, Ok(()));
            good(world, Op::Read, 8, 1);
            let counters = world.slot(ADDR).unwrap().target().counters();
            assert_eq!((counters.expired, counters.errors), (1, 0));
        });
    }
}

#[test]
fn a_slow_disk_is_waited_for_by_a_request_with_a_limit_of_its_own() {
    scenario(Options::simple(10), |world| {
        up(world);
        good(world, Op::Write, 0, 16);
        world.apply(&Fault::Hang(0, true));
        world.wait_secs = 10;
        let read = world.submit(ADDR, Op::Read, 0, 8, false);
        world.run_for(45 * SEC);
        assert!(world.ended(read).is_none(), "it spins up");
        world.apply(&Fault::Hang(0, false));
        assert_eq!(wait(world, read, 10 * SEC).result, Ok(()));
    });
}

#[test]
fn what_one_station_keeps_while_another_answers_overwrites_nothing_newer() {
    let mut options = with(Profile::ggaoed());
    // Two stations of one disk: as of an appliance with two heads.
    options.servers.push(options.servers[0].clone());
    scenario(options, |world| {
        up(world);
        assert_eq!(world.slot(ADDR).unwrap().target().paths().count(), 2);
        good(world, Op::Write, 0, 16);
        world.apply(&Fault::Hang(1, true));
        // Some of them go to the one that hangs, are sent again, and are answered by the other.
        for place in 0..8 {
            good(world, Op::Write, place * 2, 2);
        }
        world.run_for(40 * SEC);
        let newest = world.submit(ADDR, Op::Write, 0, 16, false);
        world.run_for(30 * SEC);
        world.apply(&Fault::Hang(1, false));
        assert_eq!(wait(world, newest, 60 * SEC).result, Ok(()));
        world.run_for(5 * SEC);
        good(world, Op::Read, 0, 16);
    });
}
