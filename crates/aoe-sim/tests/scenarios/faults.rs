// SPDX-License-Identifier: BSD-2-Clause
//! Errors, loss, order, and limits.

use crate::common::*;
use aoe_core::{BadAnswer, FailedCommand};
use aoe_wire::AoeError;

fn aoe_error(world: &mut World<'_>, code: u8, times: u32) {
    let fault = AoeFault {
        code,
        times,
        identify: false,
    };
    world.servers[0].model_mut().set_aoe_fault(Some(fault));
}

fn ata_error(world: &mut World<'_>, which: Which, status: u8, error: u8, times: u32) {
    let fault = AtaFault {
        which,
        status,
        error,
        times,
    };
    world.servers[0].model_mut().add_ata_fault(fault);
}

fn allowing(error: IoError) -> Options {
    let mut options = Options::simple(1);
    options.allowed.push(error);
    options
}

#[test]
fn unknown_command_and_unsupported_version_fail_the_request() {
    for code in [1, 5] {
        scenario(allowing(IoError::Failed), |world| {
            up(world);
            aoe_error(world, code, 2);
            bad(world, Op::Read, 0, 2, IoError::Failed);
            good(world, Op::Read, 0, 2);
            // Once is not believed.
            aoe_error(world, code, 1);
            good(world, Op::Read, 0, 2);
        });
    }
}

#[test]
fn a_bad_argument_asks_for_the_config_and_is_tried_once_more() {
    scenario(Options::simple(1), |world| {
        up(world);
        forget(world);
        aoe_error(world, 2, 1);
        good(world, Op::Write, 0, 2);
        let asked = seen(world)
            .iter()
            .any(|f| f.class == 1 && f.dst == port_mac(0, 0));
        assert!(asked, "the config was asked for");
    });
    scenario(allowing(IoError::Failed), |world| {
        up(world);
        aoe_error(world, 2, u32::MAX);
        bad(world, Op::Write, 0, 2, IoError::Failed);
    });
}

#[test]
fn a_target_that_takes_less_than_before_gets_smaller_frames() {
    for name in ["vblade", "ggaoed", "kvblade", "ideal"] {
        scenario(mtu(with(Profile::by_name(name).unwrap()), 9000), |world| {
            up(world);
            good(world, Op::Write, 0, 64);
            world.apply(&Fault::ServerMtu(0, 1500));
            // Somebody else asks, and so the target computes its limit anew.
            let mut query = vec![0_u8; 60];
            query[..24].copy_from_slice(&[
                2, 0, 0, 1, 0, 0, 2, 9, 9, 9, 9, 9, 0x88, 0xa2, 0x10, 0, 0, 7, 0, 1, 0, 0, 0, 1,
            ]);
            let now = world.now();
            world.servers[0].receive(now, 0, &query);
            world.poll_server(0);
            forget(world);
            let ended = good(world, Op::Write, 0, 64);
            assert!(
                ended.at - ended.accepted < 5 * SEC,
                "{name} needed {} ms",
                (ended.at - ended.accepted) / MS
            );
            good(world, Op::Read, 0, 64);
            let last = *commands(world, READ_EXT).last().unwrap();
            assert!(last.count <= 2, "{name}: {last:?}");
        });
    }
}

#[test]
fn an_unavailable_device_is_waited_for() {
    scenario(Options::simple(1), |world| {
        up(world);
        aoe_error(world, 3, u32::MAX);
        let write = world.submit(ADDR, Op::Write, 0, 16, false);
        world.run_for(8 * SEC);
        assert_eq!(world.ended(write), None);
        world.servers[0].model_mut().set_aoe_fault(None);
        assert_eq!(wait(world, write, 5 * SEC).result, Ok(()));
    });
}

#[test]
fn a_reserved_target_says_so() {
    let mut options = allowing(IoError::Reserved);
    options.allowed.push(IoError::Failed);
    scenario(options, |world| {
        up(world);
        world.servers[0]
            .model_mut()
            .set_reserved(&[[2, 9, 9, 9, 9, 9]]);
        bad(world, Op::Write, 0, 2, IoError::Reserved);
        bad(world, Op::Read, 0, 2, IoError::Reserved);
        assert!(world.slot(ADDR).unwrap().saw(Event::Reserved));
        assert_eq!(
            world.slot(ADDR).unwrap().target().state(),
            State::Up,
            "IDENTIFY still works"
        );
        world.servers[0].model_mut().set_reserved(&[netif_mac(0)]);
        good(world, Op::Write, 0, 2);
    });
}

#[test]
fn an_unreadable_sector_fails_its_request_only() {
    let mut options = with(Profile::ideal());
    options.allowed.push(IoError::Failed);
    scenario(options, |world| {
        up(world);
        world.servers[0].model_mut().add_bad_sector(9);
        forget(world);
        bad(world, Op::Read, 8, 8, IoError::Failed);
        assert_eq!(
            commands(world, READ_EXT)
                .iter()
                .filter(|f| f.lba == 8)
                .count(),
            2,
            "asked once more, lest it was misheard, and not again"
        );
        good(world, Op::Read, 0, 8);
        good(world, Op::Write, 8, 8);
    });
}

/// What the target said of the command that failed last.
fn failed(world: &World<'_>) -> Option<FailedCommand> {
    world.slot(ADDR).unwrap().target().failed_command()
}

/// How often a failed command was reported.
fn reported(world: &World<'_>) -> usize {
    let events = &world.slot(ADDR).unwrap().events;
    let failed = events.iter().filter(|(_, e)| *e == Event::CommandFailed);
    failed.count()
}

#[test]
fn a_failed_command_is_kept_with_its_place_and_what_the_target_said() {
    let mut options = with(Profile::ideal());
    options.allowed.push(IoError::Failed);
    scenario(options, |world| {
        up(world);
        assert_eq!(failed(world), None);
        world.servers[0].model_mut().add_bad_sector(77);
        bad(world, Op::Read, 64, 32, IoError::Failed);
        let what = failed(world).unwrap();
        assert!(
            what.op == Op::Read && what.lba <= 77 && 77 < what.lba + u64::from(what.sectors),
            "{what:?}"
        );
        assert!(what.sectors < 32, "the frame and not the request: {what:?}");
        let BadAnswer::Ata { status, error } = what.answer else {
            panic!("{what:?}");
        };
        assert!(status & 1 != 0 && error == 0x40, "{what:?}");
        assert_eq!(reported(world), 1);
        // What succeeds changes nothing.
        good(world, Op::Write, 0, 8);
        assert_eq!(failed(world), Some(what));
    });
}

#[test]
fn an_error_that_is_said_once_is_no_failed_command() {
    scenario(Options::simple(1), |world| {
        up(world);
        ata_error(world, Which::Reads, 0x51, 0x40, 1);
        good(world, Op::Read, 0, 2);
        aoe_error(world, 1, 1);
        good(world, Op::Read, 0, 2);
        assert_eq!((failed(world), reported(world)), (None, 0));
    });
}

#[test]
fn every_way_to_fail_says_why() {
    scenario(allowing(IoError::Failed), |world| {
        up(world);
        for (code, times) in [(1, 2), (5, 2), (99, 2), (2, u32::MAX)] {
            aoe_error(world, code, times);
            bad(world, Op::Write, 6, 2, IoError::Failed);
            let what = failed(world).unwrap();
            assert_eq!((what.op, what.lba, what.sectors), (Op::Write, 6, 2));
            assert_eq!(what.answer, BadAnswer::Aoe(AoeError(code)), "{what:?}");
            world.servers[0].model_mut().set_aoe_fault(None);
        }
        let before = reported(world);
        assert_eq!(before, 4);
        // Asked again and again, and busy every time.
        ata_error(world, Which::Reads, 0x80, 0, u32::MAX);
        bad(world, Op::Read, 0, 2, IoError::Failed);
        let (status, error) = (0x80, 0);
        assert_eq!(
            failed(world).unwrap().answer,
            BadAnswer::Ata { status, error }
        );
        assert_eq!(reported(world), before + 1);
    });
}

#[test]
fn what_has_an_event_of_its_own_is_kept_but_not_reported_twice() {
    let mut options = allowing(IoError::ReadOnly);
    options.server().profile.read_only = true;
    scenario(options, |world| {
        up(world);
        bad(world, Op::Write, 0, 8, IoError::ReadOnly);
        assert_eq!(failed(world).unwrap().op, Op::Write);
        assert_eq!(reported(world), 0);
    });
}

#[test]
fn a_busy_device_is_asked_again() {
    scenario(Options::simple(1), |world| {
        up(world);
        for (status, which) in [(0x80, Which::Reads), (0xd0, Which::Writes)] {
            ata_error(world, which, status, 0, 3);
        }
        let write = good(world, Op::Write, 0, 2);
        let read = good(world, Op::Read, 0, 2);
        for ended in [write, read] {
            assert!(ended.at - ended.accepted < 2 * SEC);
        }
    });
}

#[test]
fn a_device_that_stays_busy_fails_the_request_in_the_end() {
    scenario(allowing(IoError::Failed), |world| {
        up(world);
        ata_error(world, Which::Reads, 0x80, 0, u32::MAX);
        bad(world, Op::Read, 0, 2, IoError::Failed);
        good(world, Op::Write, 0, 2);
    });
}

#[test]
fn a_read_only_export_refuses_writes_and_serves_reads() {
    let mut options = allowing(IoError::ReadOnly);
    options.server().profile.read_only = true;
    scenario(options, |world| {
        up(world);
        good(world, Op::Read, 0, 8);
        bad(world, Op::Write, 0, 8, IoError::ReadOnly);
        assert!(world.slot(ADDR).unwrap().saw(Event::ReadOnly));
        good(world, Op::Read, 0, 8);
    });
}

fn read_only(world: &mut World<'_>, on: bool) {
    world.servers[0].model_mut().profile_mut().read_only = on;
}

fn is_read_only(world: &World<'_>) -> bool {
    world.slot(ADDR).unwrap().target().is_read_only()
}

fn either() -> Options {
    let mut options = allowing(IoError::ReadOnly);
    options.allowed.push(IoError::Failed);
    options
}

#[test]
fn an_export_that_took_writes_is_called_read_only_when_it_has_refused_three() {
    scenario(either(), |world| {
        up(world);
        good(world, Op::Write, 0, 8);
        read_only(world, true);
        for _ in 0..2 {
            bad(world, Op::Write, 0, 8, IoError::Failed);
            assert!(!is_read_only(world));
        }
        assert!(!world.slot(ADDR).unwrap().saw(Event::ReadOnly));
        bad(world, Op::Write, 8, 8, IoError::ReadOnly);
        assert!(world.slot(ADDR).unwrap().saw(Event::ReadOnly));
        assert!(is_read_only(world));
        good(world, Op::Read, 0, 8);
        bad(world, Op::Write, 8, 8, IoError::ReadOnly);
        read_only(world, false);
        good(world, Op::Write, 0, 8);
        assert!(!is_read_only(world), "it takes writes again");
    });
}

#[test]
fn a_write_that_is_taken_between_two_refused_ones_makes_no_export_read_only() {
    scenario(either(), |world| {
        up(world);
        for _ in 0..6 {
            good(world, Op::Write, 0, 8);
            for _ in 0..2 {
                // Believed when it is heard twice.
                ata_error(world, Which::Writes, 0x41, 4, 2);
                bad(world, Op::Write, 16, 1, IoError::Failed);
            }
        }
        assert!(!is_read_only(world));
    });
}

#[test]
fn the_first_write_tells_when_a_target_was_away_or_is_looked_at_anew() {
    scenario(either(), |world| {
        up(world);
        good(world, Op::Write, 0, 8);
        world.apply(&Fault::Kill(0));
        let read = world.submit(ADDR, Op::Read, 0, 8, false);
        world.run_for(10 * SEC);
        assert!(world.ended(read).is_none());
        read_only(world, true);
        world.apply(&Fault::Start(0));
        wait(world, read, 30 * SEC);
        bad(world, Op::Write, 0, 8, IoError::ReadOnly);
        assert!(is_read_only(world));
        world.apply(&Fault::Revalidate);
        assert!(!is_read_only(world), "the operator asks for another try");
        bad(world, Op::Write, 0, 8, IoError::ReadOnly);
        assert!(is_read_only(world));
        world.apply(&Fault::Kill(0));
        let read = world.submit(ADDR, Op::Read, 0, 8, false);
        world.run_for(10 * SEC);
        world.apply(&Fault::Start(0));
        wait(world, read, 30 * SEC);
        assert!(!is_read_only(world), "it may have been exported anew");
    });
}

#[test]
fn growth_is_seen_by_itself() {
    scenario(Options::simple(1), |world| {
        up(world);
        world.apply(&Fault::Resize(0, 4096));
        world.run_for(130 * SEC);
        let slot = world.slot(ADDR).unwrap();
        assert_eq!(slot.target().sectors(), 4096);
        assert!(slot.saw(Event::Resized));
        good(world, Op::Write, 4000, 96);
    });
}

#[test]
fn growth_is_seen_on_demand_and_on_two_paths() {
    scenario(two_paths(Options::simple(1)), |world| {
        up(world);
        world.apply(&Fault::Resize(0, 4096));
        world.apply(&Fault::Revalidate);
        world.run_for(5 * SEC);
        assert_eq!(world.slot(ADDR).unwrap().target().sectors(), 4096);
        assert_eq!(world.slot(ADDR).unwrap().target().paths().count(), 2);
        forget(world);
        good(world, Op::Write, 2048, 128);
        for netif in [0, 1] {
            assert!(
                commands(world, WRITE_EXT).iter().any(|f| f.netif == netif),
                "both paths are used"
            );
        }
    });
}

#[test]
fn growth_is_seen_where_every_frame_comes_twice_and_the_other_path_is_gone() {
    let doubled = Condition {
        duplicate: 1_000_000,
        ..Condition::GOOD
    };
    scenario(two_paths(Options::simple(1)), |world| {
        up(world);
        world.apply(&Fault::Conditions(0, doubled, doubled));
        // The path that is left quarrels with the one that cannot answer any more.
        world.apply(&Fault::Conditions(1, cut(), cut()));
        world.apply(&Fault::Resize(0, 4096));
        world.apply(&Fault::Revalidate);
        world.run_for(20 * SEC);
        assert_eq!(world.slot(ADDR).unwrap().target().sectors(), 4096);
        good(world, Op::Write, 4000, 96);
    });
}

#[test]
fn after_a_shrink_only_what_lies_beyond_the_end_fails() {
    let mut options = allowing(IoError::Failed);
    options.allowed.push(IoError::Invalid);
    scenario(options, |world| {
        up(world);
        good(world, Op::Write, 0, 64);
        world.apply(&Fault::Resize(0, 1024));
        let beyond = io(world, Op::Read, 1500, 8);
        assert!(beyond.result.is_err());
        good(world, Op::Read, 0, 64);
        world.run_for(5 * SEC);
        assert_eq!(
            world.slot(ADDR).unwrap().target().sectors(),
            1024,
            "IDNF makes it look again"
        );
        bad(world, Op::Read, 1500, 8, IoError::Invalid);
        good(world, Op::Write, 1000, 24);
    });
}

/// Loses exactly one frame towards the target while a deep load runs; how late is the latest request?
fn latest_with_one_loss(profile: Profile) -> (u64, u64) {
    let mut latest = 0;
    let mut usual = 0;
    scenario(with(profile), |world| {
        up(world);
        for _ in 0..50 {
            good(world, Op::Read, 0, 32);
        }
        let clean = good(world, Op::Read, 0, 64);
        usual = clean.at - clean.accepted;
        let tokens: Vec<u64> = (0..8)
            .map(|n| world.submit(ADDR, Op::Read, n * 64, 64, false))
            .collect();
        world.apply(&Fault::Conditions(0, cut(), Condition::GOOD));
        // Long enough for one frame or two, not for a window.
        world.run_for(60 * US);
        world.apply(&Fault::Conditions(0, Condition::GOOD, Condition::GOOD));
        let accepted = world.now();
        for token in tokens {
            latest = latest.max(wait(world, token, 5 * SEC).at - accepted);
        }
    });
    (latest, usual)
}

#[test]
fn one_lost_frame_costs_round_trips_and_no_timer_tick() {
    let (latest, usual) = latest_with_one_loss(Profile::vblade());
    assert!(
        latest < 8 * usual + 5 * MS,
        "latest {} us, usual {} us",
        latest / US,
        usual / US
    );
}

#[test]
fn at_one_percent_loss_every_request_is_quick() {
    let mut options = Options::simple(1);
    options.server().timing = Timing::in_order((10 * US, 30 * US));
    scenario(options, |world| {
        up(world);
        for _ in 0..50 {
            good(world, Op::Read, 0, 32);
        }
        let lossy = Condition {
            loss: 10_000,
            ..Condition::GOOD
        };
        world.apply(&Fault::Conditions(0, lossy, lossy));
        let mut longest = 0;
        let start = world.now();
        for round in 0..2000_u64 {
            let op = if round % 3 == 0 { Op::Write } else { Op::Read };
            let ended = good(world, op, round * 8 % 2048, 8);
            longest = longest.max(ended.at - ended.accepted);
        }
        let mean = (world.now() - start) / 2000;
        assert!(longest < 100 * MS, "longest {} us", longest / US);
        assert!(mean < MS, "mean {} us", mean / US);
    });
}

#[test]
fn a_lost_last_frame_is_found_by_a_deadline_of_milliseconds() {
    scenario(Options::simple(1), |world| {
        up(world);
        for _ in 0..50 {
            good(world, Op::Read, 0, 2);
        }
        world.apply(&Fault::Conditions(0, cut(), cut()));
        let read = world.submit(ADDR, Op::Read, 0, 2, false);
        world.run_for(MS);
        world.apply(&Fault::Conditions(0, Condition::GOOD, Condition::GOOD));
        let ended = wait(world, read, SEC);
        assert!(
            ended.at - ended.accepted < 10 * MS,
            "{} us",
            (ended.at - ended.accepted) / US
        );
    });
}

#[test]
fn a_stalled_target_executes_old_copies_late_and_nothing_is_overwritten() {
    for profile in [Profile::vblade(), Profile::ideal()] {
        scenario(two_paths(with(profile)), |world| {
            up(world);
            for round in 0..10 {
                good(world, Op::Write, 0, 16);
                // Copies of this write pile up at the target, on both paths.
                world.apply(&Fault::Stall(0, 2 * SEC));
                let old = world.submit(ADDR, Op::Write, 0, 16, false);
                world.run_for(100 * MS + round * 50 * MS);
                let new = world.submit(ADDR, Op::Write, 0, 16, false);
                let newest = world.submit(ADDR, Op::Write, 4, 4, false);
                for token in [old, new, newest] {
                    assert_eq!(wait(world, token, 60 * SEC).result, Ok(()));
                }
                good(world, Op::Read, 0, 16);
            }
        });
    }
}

#[test]
fn a_reordering_target_may_take_the_newest_first_and_nothing_is_overwritten() {
    let mut options = with(Profile::kvblade());
    // Two workers, and a queue from which they take anything.
    options.server().timing = Timing::reordering((5 * MS, 40 * MS), 2);
    scenario(options, |world| {
        up(world);
        for _ in 0..12 {
            // Copies of the first write, and questions sent seconds later, pile up in the queue.
            world.apply(&Fault::Stall(0, 6 * SEC));
            let old = world.submit(ADDR, Op::Write, 0, 16, false);
            world.run_for(100 * MS);
            let new = world.submit(ADDR, Op::Write, 0, 16, false);
            for token in [old, new] {
                assert_eq!(wait(world, token, 60 * SEC).result, Ok(()));
            }
            good(world, Op::Read, 0, 16);
        }
    });
}

#[test]
fn the_operator_says_how_long_unproven_copies_close_a_range() {
    for secs in [1, 4] {
        let mut options = with(Profile::kvblade());
        options.server().timing = Timing::reordering((US, 300 * US), 2);
        options.tunables.quarantine_secs = secs;
        scenario(options, |world| {
            up(world);
            // One write is lost, so its first copy is never answered.
            world.apply(&Fault::Conditions(0, cut(), cut()));
            let old = world.submit(ADDR, Op::Write, 0, 2, false);
            world.run_for(MS);
            world.apply(&Fault::Conditions(0, Condition::GOOD, Condition::GOOD));
            assert_eq!(wait(world, old, SEC).result, Ok(()));
            let ended = good(world, Op::Write, 0, 2);
            let waited = ended.at - ended.accepted;
            let wanted = u64::from(secs) * SEC;
            assert!(
                (wanted - SEC / 2..wanted + 2 * SEC).contains(&waited),
                "{waited} ns for {secs} s"
            );
        });
    }
}

#[test]
fn a_copy_that_a_slow_path_holds_does_not_overwrite_newer_data() {
    scenario(two_paths(Options::simple(1)), |world| {
        up(world);
        let mut waited = 0;
        for _ in 0..10 {
            good(world, Op::Write, 0, 8);
            // The switch of one segment holds everything for 3 s, then passes it on.
            world.apply(&Fault::Clog(0, 3 * SEC));
            let old = world.submit(ADDR, Op::Write, 0, 32, false);
            assert_eq!(
                wait(world, old, 20 * SEC).result,
                Ok(()),
                "the other path serves it"
            );
            let ended = good(world, Op::Write, 0, 32);
            waited = waited.max(ended.at - ended.accepted);
            world.run_for(4 * SEC);
            good(world, Op::Read, 0, 32);
        }
        assert!(
            waited > 100 * MS,
            "no copy was at large: the scenario shows nothing"
        );
        let counters = *world.slot(ADDR).unwrap().target().counters();
        assert!(
            counters.quarantined > 0 && counters.quarantine_waits > 0,
            "{counters:?}"
        );
    });
}

#[test]
fn writes_elsewhere_do_not_wait_for_a_quarantine() {
    scenario(two_paths(Options::simple(1)), |world| {
        up(world);
        world.apply(&Fault::Clog(0, 3 * SEC));
        let old = world.submit(ADDR, Op::Write, 0, 32, false);
        assert_eq!(wait(world, old, 2 * SEC).result, Ok(()));
        let blocked = world.submit(ADDR, Op::Write, 0, 32, false);
        for round in 0..20 {
            let ended = good(world, Op::Write, 100 + round * 8, 8);
            assert!(ended.at - ended.accepted < 200 * MS);
            good(world, Op::Read, 0, 32);
        }
        assert_eq!(wait(world, blocked, 20 * SEC).result, Ok(()));
    });
}

#[test]
fn doubled_answers_and_doubled_requests_do_no_harm() {
    let doubled = Condition {
        duplicate: 500_000,
        ..Condition::GOOD
    };
    scenario(Options::simple(1), |world| {
        up(world);
        world.apply(&Fault::Conditions(0, doubled, doubled));
        for round in 0..100 {
            good(world, Op::Write, round % 16, 8);
            good(world, Op::Read, round % 16, 8);
        }
        world.run_for(SEC);
        assert!(
            world.dropped("unknown_tag") > 50,
            "the second answers are counted"
        );
    });
}

#[test]
fn overlapping_writes_reach_the_disk_in_the_order_of_acceptance() {
    let mut options = with(Profile::ggaoed());
    options.server().timing = Timing::reordering((10 * US, 500 * US), 8);
    scenario(options, |world| {
        up(world);
        let mut last = 0;
        for n in 0..40 {
            last = world.submit(ADDR, Op::Write, n % 4, 4, false);
        }
        assert_eq!(wait(world, last, 20 * SEC).result, Ok(()));
        good(world, Op::Read, 0, 8);
        // Frame by frame: the next write of a sector is sent when the one before was answered. The
        // ledger has checked the order; here, that there was something to check.
        assert!(commands(world, WRITE_EXT).len() >= 80);
    });
}

#[test]
fn a_barrier_waits_for_all_before_it_and_holds_all_after_it() {
    let mut options = with(Profile::ggaoed());
    options.server().timing = Timing::reordering((10 * US, 500 * US), 8);
    scenario(options, |world| {
        up(world);
        let before: Vec<u64> = (0..10)
            .map(|n| world.submit(ADDR, Op::Write, n * 8, 8, false))
            .collect();
        let barrier = world.submit(ADDR, Op::Write, 1000, 2, true);
        let after: Vec<u64> = (0..10)
            .map(|n| world.submit(ADDR, Op::Read, 1200 + n * 8, 8, false))
            .collect();
        let ended = |world: &mut World<'_>, token| wait(world, token, 10 * SEC).at;
        let at = ended(world, barrier);
        for token in before {
            assert!(ended(world, token) <= at);
        }
        for token in after {
            assert!(ended(world, token) >= at);
        }
        let sent = commands(world, WRITE_EXT)
            .iter()
            .find(|f| f.lba == 1000)
            .unwrap()
            .at;
        let first_after = commands(world, READ_EXT)
            .iter()
            .map(|f| f.at)
            .min()
            .unwrap();
        assert!(
            first_after > sent + 10 * US,
            "the reads waited for the barrier's answer"
        );
    });
}

#[test]
fn a_flush_waits_for_earlier_writes_and_holds_nothing() {
    let mut options = with(Profile::ideal());
    options.server().timing = Timing::in_order((MS, MS));
    scenario(options, |world| {
        up(world);
        world.submit(ADDR, Op::Write, 0, 32, false);
        let flush = world.submit(ADDR, Op::Flush, 0, 0, false);
        let read = world.submit(ADDR, Op::Read, 100, 2, false);
        let flushed = wait(world, flush, 10 * SEC).at;
        assert!(
            wait(world, read, 10 * SEC).at < flushed,
            "the read did not wait for the flush"
        );
        assert_eq!(world.disks[0].borrow().medium.volatile().count(), 0);
    });
}

#[test]
fn a_full_table_is_told_and_room_comes_with_completions() {
    let mut options = Options::simple(1);
    options.host.ios = 4;
    scenario(options, |world| {
        up(world);
        let tokens: Vec<u64> = (0..50)
            .map(|n| world.submit(ADDR, Op::Write, n * 8, 8, false))
            .collect();
        assert_eq!(world.slot(ADDR).unwrap().target().outstanding(), 4);
        assert_eq!(world.slot(ADDR).unwrap().waiting(), 46);
        let mut before = 0;
        for token in tokens {
            let ended = wait(world, token, 10 * SEC);
            assert_eq!(ended.result, Ok(()));
            assert!(ended.accepted >= before, "first come, first served");
            before = ended.accepted;
        }
    });
}

#[test]
fn a_small_frame_table_makes_progress_with_large_requests() {
    let mut options = Options::simple(1);
    options.host.frames = 16;
    options.host.ios = 2;
    scenario(options, |world| {
        up(world);
        for _ in 0..4 {
            good(world, Op::Write, 0, 1024);
            good(world, Op::Read, 0, 1024);
        }
    });
}

#[test]
fn a_removed_disk_ends_every_request_and_gives_its_memory_back() {
    scenario(allowing(IoError::Gone), |world| {
        up(world);
        world.apply(&Fault::Kill(0));
        let tokens: Vec<u64> = (0..20)
            .map(|n| world.submit(ADDR, Op::Write, n * 8, 8, false))
            .collect();
        world.run_for(3 * SEC);
        world.remove(ADDR);
        for token in tokens {
            assert_eq!(
                world.ended(token).map(|ended| ended.result),
                Some(Err(IoError::Gone))
            );
        }
        world.run_for(SEC);
        assert!(world.slot(ADDR).is_none());
        // The same address again, in the same memory.
        world.apply(&Fault::Start(0));
        up(world);
        good(world, Op::Read, 0, 8);
    });
}

#[test]
fn removal_under_load_ends_every_request_once() {
    let mut options = allowing(IoError::Gone);
    options.host.send_delay = 90 * US;
    options.host.commit_delay = 90 * US;
    scenario(options, |world| {
        for round in 0..30 {
            up(world);
            for n in 0..40 {
                let op = if n % 2 == 0 { Op::Write } else { Op::Read };
                world.submit(ADDR, op, n * 8, 8, n % 10 == 9);
            }
            world.run_for(round * 37 * US);
            world.remove(ADDR);
            assert!(
                world.run_until(SEC, |world| world.slot(ADDR).is_none()),
                "round {round}"
            );
            world.apply(&Fault::Discover);
        }
    });
}
