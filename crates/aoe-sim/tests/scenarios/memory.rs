// SPDX-License-Identifier: BSD-2-Clause
//! What a target has of its caller's memory, and when.

use aoe_core::limits::MAX_IDLE_BYTES;
use aoe_core::{Frame, Io, Path};

use crate::common::*;

/// What the tables of an open disk take.
fn of_io(world: &World<'_>) -> usize {
    let host = &world.options.host;
    host.frames * size_of::<Frame>() + host.ios * size_of::<Io>()
}

#[test]
fn an_idle_target_holds_less_than_a_kibibyte() {
    scenario(Options::simple(1), |world| {
        up(world);
        good(world, Op::Write, 0, 64);
        let open = world.held(ADDR);
        assert!(open > MAX_IDLE_BYTES, "{open}");
        world.close_disk(ADDR);
        let idle = world.held(ADDR);
        assert!(idle < MAX_IDLE_BYTES, "{idle}");
        assert_eq!(open - idle, of_io(world));
        world.run_for(120 * SEC);
        assert_eq!(world.held(ADDR), idle, "time and beacons change nothing");
        good(world, Op::Read, 0, 64);
        assert_eq!(world.held(ADDR), open);
    });
}

#[test]
fn memory_with_a_ghost_in_it_is_kept_until_that_is_dead() {
    let mut options = with(Profile::ggaoed());
    options.server().timing = Timing::reordering((20 * US, 80 * US), 4);
    scenario(options, |world| {
        up(world);
        let idle = world.held(ADDR) - of_io(world);
        // The first copy is lost, so that it is never answered; the second is.
        world.apply(&Fault::Conditions(0, cut(), Condition::GOOD));
        let write = world.submit(ADDR, Op::Write, 0, 2, false);
        world.run_for(MS);
        world.apply(&Fault::Conditions(0, Condition::GOOD, Condition::GOOD));
        assert_eq!(wait(world, write, 30 * SEC).result, Ok(()));
        let slot = world.slot(ADDR).unwrap();
        assert_eq!(slot.target().counters().quarantined, 1);
        world.close_disk(ADDR);
        world.run_for(5 * SEC);
        assert_eq!(world.held(ADDR), idle + of_io(world), "a copy is at large");
        assert!(!world.slot(ADDR).unwrap().saw(Event::Unused));
        world.run_for(20 * SEC);
        assert_eq!(world.held(ADDR), idle);
    });
}

#[test]
fn an_answer_from_before_a_close_is_not_taken_for_one_to_a_newer_request() {
    scenario(Options::simple(1), |world| {
        up(world);
        for round in 0..8 {
            let old = if round == 0 {
                Vec::new()
            } else {
                seen(world).iter().map(|frame| frame.tag).collect()
            };
            good(world, Op::Write, 8 * round, 8);
            let new: Vec<u32> = commands(world, WRITE_EXT)
                .iter()
                .rev()
                .take(4)
                .map(|frame| frame.tag)
                .collect();
            assert_eq!(new.len(), 4);
            assert!(new.iter().all(|tag| !old.contains(tag)), "{old:?} {new:?}");
            world.close_disk(ADDR);
            assert!(!world.slot(ADDR).unwrap().target().is_lent());
        }
    });
}

#[test]
fn a_second_path_is_lent_a_table_and_a_third_a_larger_one() {
    scenario(two_paths(Options::simple(1)), |world| {
        up(world);
        assert_eq!(world.slot(ADDR).unwrap().target().paths().count(), 2);
        world.close_disk(ADDR);
        let two = world.held(ADDR);
        assert!(two < MAX_IDLE_BYTES + size_of::<Path>(), "{two}");
    });
    let mut options = two_paths(Options::simple(1));
    options.segments = 1;
    for netif in &mut options.netifs {
        netif.segment = 0;
    }
    for port in &mut options.server().ports {
        port.segment = 0;
    }
    scenario(options, |world| {
        up(world);
        assert_eq!(world.slot(ADDR).unwrap().target().paths().count(), 4);
        world.close_disk(ADDR);
        let four = world.held(ADDR);
        assert!(four < MAX_IDLE_BYTES + 3 * size_of::<Path>(), "{four}");
        good(world, Op::Read, 0, 256);
    });
}

#[test]
fn without_memory_a_path_waits_for_the_next_beacon() {
    let mut options = two_paths(Options::simple(1));
    options.host.short = 1_000_000;
    options.beacon_secs = 10;
    scenario(options, |world| {
        up(world);
        assert_eq!(world.slot(ADDR).unwrap().target().paths().count(), 1);
        assert!(world.dropped("full") > 0, "it is counted");
        good(world, Op::Write, 0, 64);
        world.options.host.short = 0;
        world.run_for(60 * SEC);
        assert_eq!(world.slot(ADDR).unwrap().target().paths().count(), 2);
        good(world, Op::Read, 0, 64);
    });
}

#[test]
fn a_config_string_takes_what_it_is_long() {
    scenario(Options::simple(1), |world| {
        up(world);
        world.close_disk(ADDR);
        let held = world.held(ADDR);
        for (len, room) in [
            (0, 0),
            (5, 32),
            (32, 32),
            (33, 1024),
            (1024, 1024),
            (7, 1024),
        ] {
            world.apply(&Fault::Config(0, vec![b'x'; len]));
            world.apply(&Fault::Discover);
            world.run_for(SEC);
            let target = world.slot(ADDR).unwrap().target();
            assert_eq!(target.config_string(), vec![b'x'; len]);
            assert_eq!(world.held(ADDR) - held, room, "a string of {len}");
        }
        let slot = world.slot(ADDR).unwrap();
        let changes = slot
            .events
            .iter()
            .filter(|(_, e)| *e == Event::ConfigChanged);
        assert_eq!(changes.count(), 5);
    });
}

#[test]
fn without_memory_the_old_config_string_stays_and_the_new_one_is_taken_later() {
    scenario(Options::simple(1), |world| {
        up(world);
        world.options.host.short = 1_000_000;
        world.apply(&Fault::Config(0, b"new".to_vec()));
        world.apply(&Fault::Discover);
        world.run_for(SEC);
        let shown = |world: &World<'_>| {
            let target = world.slot(ADDR).unwrap().target();
            target.config_string().to_vec()
        };
        assert_eq!(shown(world), b"");
        good(world, Op::Read, 0, 8);
        world.options.host.short = 0;
        world.apply(&Fault::Discover);
        world.run_for(SEC);
        assert_eq!(shown(world), b"new");
    });
}
