// SPDX-License-Identifier: BSD-2-Clause
//! A virtual hour of each state in which a machine spends its years: what the engine holds stays the same, and
//! what it does by itself stays below a bound that has a reason.

use std::rc::Rc;

use aoe_core::limits::{
    FORGET_NS, IDENTIFY_TRIES, KEEPALIVE_NS, MAX_CONFIG_STRING, MAX_IDLE_BYTES, MAX_PATHS,
    MAX_PROBE_NS, MAX_TARGETS, MAX_UNIDENTIFIED, MIN_RECHECK_NS, REIDENTIFY_NS,
};
use aoe_core::{Frame, Io, Path};
use aoe_sim::{Counts, Pool};
use aoe_target::{Address, MemStorage, Model, Port};

use crate::common::*;

const MINUTE: u64 = 60 * SEC;
const HOUR: u64 = 60 * MINUTE;

/// Questions that a path in use that nobody uses is asked in an hour: its config whenever it was not heard of
/// for ten seconds, and its identity once a minute.
const QUESTIONS: u64 = HOUR / KEEPALIVE_NS + HOUR / REIDENTIFY_NS;
/// Questions that a path is asked in an hour that does not answer: one a second, and those before the time
/// between two has grown to that.
const LOST_QUESTIONS: u64 = HOUR / MAX_PROBE_NS + 10;
/// Beacons in an hour on one interface: one a minute, and those that follow the first.
const BEACONS: u64 = 60 + 6;
/// Things that happen once to a target or a path, and take a timer: lost, reported, down, dead, forgotten.
const TURNS: u64 = 8;

/// Most that a target may hold while its disk is closed.
const IDLE_BYTES: usize = MAX_IDLE_BYTES + (MAX_PATHS - 1) * size_of::<Path>() + MAX_CONFIG_STRING;

/// Runs an hour, and a quarter of one before it for everything to come to rest. What is held afterwards is
/// what was held before. The counts are those of the hour.
fn an_hour(world: &mut World<'_>, mut minute: impl FnMut(&mut World<'_>, u64)) -> Counts {
    minutes(world, 0..15, &mut minute);
    let before = (world.lent(), world.slots().count());
    world.count_anew();
    minutes(world, 15..75, &mut minute);
    let after = (world.lent(), world.slots().count());
    assert_eq!(after, before, "bytes that are lent, and targets");
    world.activity().of_all()
}

/// Each minute, with what happens in it.
fn minutes(
    world: &mut World<'_>,
    numbers: std::ops::Range<u64>,
    happens: &mut impl FnMut(&mut World<'_>, u64),
) {
    for number in numbers {
        let end = world.now() + MINUTE;
        happens(world, number);
        assert!(
            world.now() <= end,
            "what happens takes longer than a minute"
        );
        world.run_for(end - world.now());
        forget(world);
    }
}

fn at_most(what: &str, number: u64, bound: u64) {
    println!("{what}: {number}, at most {bound}");
    assert!(number <= bound, "{what}: {number}, at most {bound}");
}

fn nothing(_: &mut World<'_>, _: u64) {}

#[test]
fn idle_with_the_disk_closed_and_open() {
    for open in [false, true] {
        scenario(Options::simple(1), |world| {
            up(world);
            good(world, Op::Write, 0, 64);
            if !open {
                world.close_disk(ADDR);
            }
            let counts = an_hour(world, nothing);
            at_most("timers", counts.timers, QUESTIONS);
            at_most("frames", counts.sent, QUESTIONS);
            at_most(
                "timers of the initiator",
                world.activity().initiator_timers,
                BEACONS,
            );
            at_most("beacons", world.activity().beacons, BEACONS);
            at_most("answers", counts.received, QUESTIONS + BEACONS);
            good(world, Op::Read, 0, 64);
        });
    }
}

#[test]
fn idle_with_two_paths() {
    scenario(two_paths(Options::simple(1)), |world| {
        up(world);
        world.close_disk(ADDR);
        let counts = an_hour(world, nothing);
        at_most("timers", counts.timers, 2 * QUESTIONS);
        at_most("frames", counts.sent, 2 * QUESTIONS);
        at_most("beacons", world.activity().beacons, 2 * BEACONS);
    });
}

#[test]
fn idle_on_a_wire_that_loses_a_third() {
    let mut options = Options::simple(1);
    options.host.timer_delay = 10 * MS;
    scenario(options, |world| {
        up(world);
        let loss = Condition {
            loss: 333_000,
            ..Condition::GOOD
        };
        world.apply(&Fault::Conditions(0, loss, loss));
        let counts = an_hour(world, nothing);
        // Four of nine questions are answered, so that each is asked twice and a quarter on average. One that
        // is not answered is asked again sooner than the next one is due, lost path or not.
        let bound = 3 * QUESTIONS;
        at_most("timers", counts.timers, bound);
        at_most("frames", counts.sent, bound);
    });
}

#[test]
fn down_with_the_disk_open() {
    for dead_secs in [0, 30] {
        let mut options = Options::simple(1);
        options.tunables.dead_secs = dead_secs;
        options.allowed = vec![IoError::Failed];
        scenario(options, |world| {
            up(world);
            good(world, Op::Write, 0, 64);
            world.apply(&Fault::Kill(0));
            let read = world.submit(ADDR, Op::Read, 0, 8, false);
            let counts = an_hour(world, nothing);
            assert_eq!(world.ended(read).is_some(), dead_secs != 0);
            at_most("timers", counts.timers, LOST_QUESTIONS + TURNS);
            at_most("frames", counts.sent, LOST_QUESTIONS);
            world.apply(&Fault::Start(0));
            world.run_for(5 * SEC);
            assert!(world.ended(read).is_some());
            good(world, Op::Read, 0, 64);
        });
    }
}

#[test]
fn without_a_link() {
    scenario(Options::simple(1), |world| {
        up(world);
        good(world, Op::Write, 0, 64);
        world.apply(&Fault::NetifDown(0));
        let counts = an_hour(world, nothing);
        at_most("timers", counts.timers, TURNS);
        at_most("frames", counts.sent, 0);
        at_most(
            "timers of the initiator",
            world.activity().initiator_timers,
            0,
        );
        world.apply(&Fault::NetifUp(0));
        world.run_for(SEC);
        good(world, Op::Read, 0, 64);
    });
}

#[test]
fn nothing_is_left_of_a_target_that_was_forgotten() {
    scenario(Options::simple(1), |world| {
        up(world);
        world.close_disk(ADDR);
        world.apply(&Fault::Kill(0));
        world.run_for(FORGET_NS + MINUTE);
        assert_eq!(world.slots().count(), 0);
        let counts = an_hour(world, nothing);
        assert_eq!(counts, Counts::default());
        assert_eq!(world.lent(), 0);
    });
}

/// Its number of timers is that of a target that was always there: nothing of the old one goes on.
#[test]
fn targets_that_come_and_go() {
    scenario(Options::simple(1), |world| {
        up(world);
        world.close_disk(ADDR);
        let counts = an_hour(world, |world, minute| match minute % 15 {
            1 => world.apply(&Fault::Kill(0)),
            13 => world.apply(&Fault::Start(0)),
            // GEOM opens a new disk, looks at it, and closes it.
            14 => world.close_disk(ADDR),
            _ => {}
        });
        assert_eq!(world.activity().admitted, 4);
        // A quarter of the time it is there. It is asked once a second for the five minutes in which it is
        // silent and not yet forgotten; a target that is new is asked who it is.
        let silent = 4 * (FORGET_NS / MAX_PROBE_NS + 20);
        at_most("timers", counts.timers, QUESTIONS / 3 + silent + 4 * TURNS);
        at_most("frames", counts.sent, QUESTIONS / 3 + silent);
    });
}

#[test]
fn links_that_flap() {
    for seed in 1..4 {
        let mut options = two_paths(Options::simple(seed));
        options.host.notice_delay = 100 * MS;
        scenario(options, |world| {
            up(world);
            world.close_disk(ADDR);
            let flaps = 20;
            let counts = an_hour(world, |world, _| {
                for _ in 0..flaps {
                    world.apply(&Fault::NetifDown(0));
                    world.run_for(SEC);
                    world.apply(&Fault::NetifUp(0));
                    world.run_for(SEC / 2);
                }
            });
            // Each time the path is asked who it is and what it takes. A link that comes up begins the row of
            // beacons anew: one by itself, and two on both interfaces until the next one.
            let flaps = 60 * flaps;
            at_most("timers", counts.timers, 2 * QUESTIONS + 3 * flaps);
            at_most("frames", counts.sent, 2 * QUESTIONS + 3 * flaps);
            at_most("beacons", world.activity().beacons, 2 * BEACONS + 5 * flaps);
            world.run_for(MINUTE);
            assert_eq!(world.slot(ADDR).unwrap().target().paths().count(), 2);
            good(world, Op::Read, 0, 64);
        });
    }
}

/// The longest load of all tests: what is held does not depend on how much was done.
#[test]
fn under_a_steady_load() {
    let mut options = Options::simple(1);
    options.host.join = true;
    options.host.send_delay = 20 * US;
    scenario(options, |world| {
        up(world);
        let counts = an_hour(world, |world, minute| {
            for n in 0..300 {
                let lba = (minute * 7 + n * 13) % 2000;
                let op = if n % 3 == 0 { Op::Write } else { Op::Read };
                world.submit(ADDR, op, lba, 1 + n % 40, n % 50 == 0);
                world.run_for(50 * MS);
            }
        });
        let requests = 60 * 300;
        // A request takes at most 21 frames of two sectors. None is lost, so there is no time-out, and next to
        // no tail loss probe. In the 15 seconds of load in each minute, and once after them, there is a look at
        // what is unanswered, once a second.
        at_most(
            "timers",
            counts.timers,
            QUESTIONS + requests / 100 + 60 * 16,
        );
        at_most("frames", counts.sent, QUESTIONS + requests * 21);
    });
}

#[test]
fn under_load_on_a_wire_that_loses_some() {
    scenario(Options::simple(1), |world| {
        up(world);
        let loss = Condition {
            loss: 20_000,
            ..Condition::GOOD
        };
        world.apply(&Fault::Conditions(0, loss, loss));
        an_hour(world, |world, minute| {
            for n in 0..100 {
                let op = if n % 2 == 0 { Op::Write } else { Op::Read };
                world.submit(ADDR, op, (minute * 7 + n * 13) % 2000, 16, false);
                world.run_for(100 * MS);
            }
            world.run_for(20 * SEC);
            assert!(world.slot(ADDR).unwrap().target().is_idle());
        });
        assert!(world.counted().quarantined > 0, "no copy was at large");
    });
}

#[test]
fn disks_that_are_opened_and_closed() {
    scenario(Options::simple(1), |world| {
        up(world);
        world.close_disk(ADDR);
        let closed = world.lent();
        let counts = an_hour(world, |world, _| {
            for n in 0..50 {
                // Four frames of two sectors.
                good(world, Op::Read, n * 8, 8);
                world.close_disk(ADDR);
                assert_eq!(world.lent(), closed);
                world.run_for(SEC);
            }
        });
        // After each use there is one look at what is unanswered.
        at_most("timers", counts.timers, QUESTIONS + 60 + 60 * 50);
        at_most("frames", counts.sent, QUESTIONS + 60 * 50 * 4);
    });
}

// -- a hostile hour ---------------------------------------------------------------------------------------------------

/// What a stranger says to be a target.
fn announcement(mac: [u8; 6], addr: (u16, u8), config: &[u8]) -> Rc<[u8]> {
    let mut frame = vec![0xff; 6];
    frame.extend_from_slice(&mac);
    frame.extend_from_slice(&[0x88, 0xa2, 0x18, 0]);
    frame.extend_from_slice(&addr.0.to_be_bytes());
    frame.extend_from_slice(&[addr.1, 1, 0, 0, 0, 0, 0, 16, 0x40, 0x19, 2, 0x10]);
    frame.extend_from_slice(&u16::try_from(config.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(config);
    frame.resize(frame.len().max(60), 0);
    frame.into()
}

fn forged_mac(number: u64) -> [u8; 6] {
    let bytes = number.to_be_bytes();
    [2, 7, bytes[4], bytes[5], bytes[6], bytes[7]]
}

/// A world in which more targets can be made than the initiator admits; each has little for I/O.
fn crowded(mut options: Options, test: impl FnOnce(&mut World<'_>)) {
    options.log = true;
    options.host.frames = 32;
    options.host.ios = 16;
    let mut pools: Vec<Pool> = (0..MAX_UNIDENTIFIED + 100)
        .map(|_| Pool::new(options.host.frames, options.host.ios))
        .collect();
    let mut world = World::new(options, loans(&mut pools));
    // Those without a disk have a bound of their own.
    world.set_max_targets(MAX_TARGETS as u32);
    test(&mut world);
    let trouble = world.trouble.list();
    assert!(trouble.is_empty(), "{trouble:#?}");
}

/// Bytes of the tables that an open disk takes.
fn of_io(world: &World<'_>) -> usize {
    let host = &world.options.host;
    host.frames * size_of::<Frame>() + host.ios * size_of::<Io>()
}

/// After the attack: nothing of it is left, and what the real target needs is what it needed before.
fn as_before(world: &mut World<'_>, held: usize) {
    world.run_for(15 * MINUTE);
    assert_eq!(world.slots().count(), 1, "only the real target is left");
    assert_eq!(world.lent(), held);
    assert_eq!(world.slot(ADDR).unwrap().target().state(), State::Up);
    world.count_anew();
    world.run_for(HOUR);
    at_most("timers", world.activity().of(ADDR).timers, QUESTIONS);
    good(world, Op::Read, 0, 64);
}

#[test]
fn ever_new_targets_are_announced() {
    crowded(Options::simple(1), |world| {
        up(world);
        let held = world.lent();
        let mut told = 0_u64;
        for minute in 0..60 {
            // Some all the time, and in every tenth minute more at once than there is room for.
            let (at_once, pause) = if minute % 10 == 0 {
                (200, SEC)
            } else {
                (1, SEC)
            };
            for _ in 0..60 {
                for _ in 0..at_once {
                    let addr = u16::try_from(told % 60_000 + 100).unwrap();
                    let frame = announcement(forged_mac(told), (addr, 3), b"");
                    told += 1;
                    world.frame_in(0, &frame);
                }
                world.run_for(pause);
            }
            forget(world);
            good(world, Op::Read, 0, 8);
        }
        let (activity, all) = (world.activity().clone(), world.activity().of_all());
        assert_eq!(
            activity.most_targets,
            MAX_UNIDENTIFIED + 1,
            "the table was never full"
        );
        assert!(world.dropped("full") > 0, "none was refused");
        at_most("targets", activity.admitted, told + 1);
        let tries = u64::from(IDENTIFY_TRIES);
        at_most(
            "frames",
            all.sent,
            activity.admitted * tries + 2 * QUESTIONS,
        );
        at_most(
            "timers",
            all.timers,
            activity.admitted * (tries + 1) + 2 * QUESTIONS,
        );
        let most = held + MAX_UNIDENTIFIED * IDLE_BYTES;
        at_most("bytes", activity.most_bytes as u64, most as u64);
        as_before(world, held);
    });
}

#[test]
fn ever_new_addresses_of_one_target_are_announced() {
    crowded(Options::simple(1), |world| {
        up(world);
        let of_one_path = world.lent();
        world.count_anew();
        let mut told = 0;
        for _ in 0..HOUR / SEC {
            for _ in 0..10 {
                world.frame_in(0, &announcement(forged_mac(told), ADDR, b""));
                told += 1;
                world.run_for(SEC / 10);
            }
            if told % 1000 == 0 {
                good(world, Op::Write, 0, 8);
                forget(world);
            }
            assert!(world.lent() <= of_one_path + (MAX_PATHS - 1) * size_of::<Path>());
        }
        let counts = world.activity().of(ADDR);
        // Each is asked who it is until a newer one takes its place, seven tenths of a second later: at once,
        // and 200 and 600 ms after that.
        let bound = QUESTIONS + told * 3 + 4 * (HOUR / SEC * 10 / 1000);
        at_most("frames", counts.sent, bound);
        at_most("timers", counts.timers, bound);
        assert_eq!(world.slot(ADDR).unwrap().target().paths().count(), 1);
        let held = world.lent();
        as_before(world, held);
    });
}

/// Answers what the engine asked of strangers since it was looked at last, as our own target would.
fn impersonate(world: &mut World<'_>, model: &mut Model<MemStorage>) {
    let asked: Vec<Vec<u8>> = world
        .log
        .as_deref()
        .unwrap_or_default()
        .iter()
        .map(|sent| sent.frame.to_vec())
        .filter(|frame| frame[..2] == [2, 7])
        .collect();
    forget(world);
    for frame in asked {
        let port = Port {
            mac: frame[..6].try_into().unwrap(),
            mtu: 1500,
        };
        if let Some(answer) = model.handle(&port, &frame) {
            world.frame_in(0, &answer.into());
        }
    }
}

/// Strangers under ever new addresses that answer IDENTIFY for `answers`: as the target, or as another disk.
/// The counts of an hour.
fn impostors(serial: Option<&str>, answers: u64, test: impl FnOnce(&World<'_>, Counts, u64)) {
    crowded(Options::simple(1), |world| {
        up(world);
        let of_one_path = world.lent();
        world.count_anew();
        let mut profile = Profile::vblade();
        if let Some(serial) = serial {
            profile.serial = serial.into();
        }
        let (shelf, slot) = ADDR;
        let mut model = Model::new(profile, Address { shelf, slot }, MemStorage::new(2048));
        let begin = world.now();
        let strangers = HOUR / SEC;
        for number in 0..strangers {
            world.frame_in(0, &announcement(forged_mac(number), ADDR, b""));
            for _ in 0..10 {
                world.run_for(SEC / 10);
                if world.now() < begin + answers {
                    impersonate(world, &mut model);
                }
            }
            assert!(world.lent() <= of_one_path + (MAX_PATHS - 1) * size_of::<Path>());
            if number % 100 == 0 {
                forget(world);
            }
        }
        let counts = world.activity().of(ADDR);
        test(world, counts, strangers);
        // The real one answers to the end.
        let target = world.slot(ADDR).unwrap().target();
        assert_eq!(target.state(), State::Up);
        let real = target.paths().find(|path| path.mac().0 == port_mac(0, 0));
        assert_eq!(real.unwrap().state(), aoe_core::PathState::Up);
    });
}

#[test]
fn ever_new_addresses_that_answer_as_the_target() {
    impostors(None, HOUR, |world, counts, _| {
        // The first of them take the places that there are, and are asked as any path.
        let bound = MAX_PATHS as u64 * (QUESTIONS + 2);
        at_most("frames", counts.sent, bound);
        at_most("timers", counts.timers, bound);
        let target = world.slot(ADDR).unwrap().target();
        assert_eq!(target.paths().count(), MAX_PATHS);
    });
}

#[test]
fn ever_new_addresses_that_answer_as_the_target_and_fall_silent() {
    impostors(None, 10 * MINUTE, |world, counts, _| {
        // Each is asked for as long as it keeps its place.
        let lost = (MAX_PATHS as u64 - 1) * (LOST_QUESTIONS + TURNS);
        at_most("frames", counts.sent, lost + QUESTIONS);
        at_most("timers", counts.timers, lost + QUESTIONS);
        let target = world.slot(ADDR).unwrap().target();
        assert_eq!(target.paths().count(), MAX_PATHS);
    });
}

#[test]
fn ever_new_addresses_that_answer_as_another_disk() {
    impostors(Some("IMPOSTOR"), HOUR, |world, counts, strangers| {
        // Each is asked once who it is, and shows to be another disk.
        at_most("frames", counts.sent, strangers + QUESTIONS);
        at_most("timers", counts.timers, strangers + QUESTIONS);
        assert!(world.counted().conflicts >= strangers);
    });
}

#[test]
fn ever_new_config_strings_are_announced() {
    crowded(Options::simple(1), |world| {
        up(world);
        let before = world.lent();
        world.count_anew();
        for n in 0..HOUR / SEC * 4 {
            let config = n.to_be_bytes().repeat(usize::try_from(n % 129).unwrap());
            world.frame_in(0, &announcement(port_mac(0, 0), ADDR, &config));
            world.run_for(SEC / 4);
            assert!(world.lent() <= before + MAX_CONFIG_STRING);
            if n % 100 == 0 {
                forget(world);
            }
        }
        let counts = world.activity().of(ADDR);
        // An announcement is a sign of a restart: the target is asked who it is.
        let bound = QUESTIONS + HOUR / SEC * 4;
        at_most("frames", counts.sent, bound);
        at_most("timers", counts.timers, bound);
        let open = of_io(world);
        world.close_disk(ADDR);
        at_most(
            "bytes when it is closed",
            world.lent() as u64,
            (before - open + MAX_CONFIG_STRING) as u64,
        );
    });
}

/// The fastest that anybody can make us ask who a target is: once in ten milliseconds by an announcement, and once
/// because that was put off for so long before.
#[test]
fn a_flood_of_announcements_of_a_real_target() {
    crowded(Options::simple(1), |world| {
        up(world);
        let before = world.lent();
        world.count_anew();
        let seconds = 600;
        for n in 0..seconds * 1000 {
            world.frame_in(0, &announcement(port_mac(0, 0), ADDR, b""));
            world.run_for(MS);
            if n % 1000 == 0 {
                good(world, Op::Read, 0, 8);
                forget(world);
            }
        }
        let counts = world.activity().of(ADDR);
        let bound = seconds * (2 * SEC / MIN_RECHECK_NS + 4);
        at_most("frames", counts.sent, bound);
        at_most("timers", counts.timers, bound);
        assert_eq!(world.lent(), before);
    });
}
