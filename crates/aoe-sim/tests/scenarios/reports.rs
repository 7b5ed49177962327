// SPDX-License-Identifier: BSD-2-Clause
//! What the operator is told, and when it was true. In every scenario a reader checks that he knows the state, the
//! size and the paths after what was reported; here is what it says in detail.

use crate::common::*;
use aoe_core::eventlog::{Detail, Entry, Feature, Report};
use aoe_core::limits::{EVENT_LOG_ROOM, MAX_FAILURES_REPORTED};

/// What was reported since the last time, without its times.
fn reports(world: &mut World<'_>) -> Vec<Report> {
    let slot = world.slot_mut(ADDR).unwrap();
    std::mem::take(&mut slot.reports.seen)
}

fn entries(world: &mut World<'_>) -> Vec<Entry> {
    reports(world)
        .into_iter()
        .map(|report| match report {
            Report::Event(entry) => entry,
            Report::Missed(n) => panic!("{n} events were missed"),
        })
        .collect()
}

/// The events with the number that belongs to each: paths in use, requests outstanding.
fn short(entries: &[Entry]) -> Vec<(Event, u32)> {
    entries
        .iter()
        .map(|entry| match entry.detail {
            Detail::Path { in_use, .. } => (entry.event, in_use.into()),
            Detail::Outstanding(n) => (entry.event, n),
            _ => (entry.event, 0),
        })
        .collect()
}

#[test]
fn each_line_says_what_was_true_at_its_event() {
    scenario(two_paths(Options::simple(1)), |world| {
        up(world);
        let found = entries(world);
        assert_eq!(
            short(&found),
            [
                (Event::Identified, 0),
                (Event::PathUp, 1),
                (Event::PathUp, 2)
            ]
        );
        assert!(found[1].minor && !found[2].minor, "{found:?}");
        world.apply(&Fault::NetifDown(0));
        world.run_for(2 * SEC);
        world.apply(&Fault::NetifDown(1));
        let reads: Vec<u64> = (0..3)
            .map(|n| world.submit(ADDR, Op::Read, 8 * n, 2, false))
            .collect();
        world.run_for(5 * SEC);
        world.apply(&Fault::NetifUp(1));
        for token in reads {
            assert_eq!(wait(world, token, 5 * SEC).result, Ok(()));
        }
        world.apply(&Fault::NetifUp(0));
        world.run_for(2 * SEC);
        let found = entries(world);
        assert_eq!(
            short(&found),
            [
                (Event::PathDown, 1),
                (Event::PathDown, 0),
                (Event::Down, 3),
                (Event::Up, 3),
                (Event::PathUp, 1),
                (Event::PathUp, 2),
            ]
        );
        let minor: Vec<bool> = found.iter().map(|entry| entry.minor).collect();
        assert_eq!(minor, [false, false, false, false, true, false]);
    });
}

#[test]
fn a_target_that_comes_back_without_io_had_none_outstanding() {
    scenario(Options::simple(1), |world| {
        up(world);
        entries(world);
        world.apply(&Fault::Kill(0));
        // Nothing but questions notices that.
        world.run_for(60 * SEC);
        world.apply(&Fault::Start(0));
        world.run_for(3 * SEC);
        assert_eq!(
            short(&entries(world)),
            [
                (Event::PathDown, 0),
                (Event::Down, 0),
                (Event::Up, 0),
                (Event::PathUp, 1)
            ]
        );
    });
}

#[test]
fn a_path_that_leaves_while_its_loss_is_not_yet_reported_is_reported_lost() {
    scenario(two_paths(Options::simple(1)), |world| {
        up(world);
        entries(world);
        world.apply(&Fault::NetifDown(0));
        world.run_for(100 * MS);
        assert_eq!(short(&entries(world)), []);
        world.apply(&Fault::NetifGone(0));
        world.run_for(100 * MS);
        assert_eq!(short(&entries(world)), [(Event::PathDown, 1)]);
    });
}

#[test]
fn a_reader_who_is_late_gets_the_first_events_a_count_and_what_is_so_then() {
    let mut options = two_paths(Options::simple(1));
    options.tunables.dead_secs = 3;
    options.allowed.push(IoError::Failed);
    scenario(options, |world| {
        up(world);
        entries(world);
        world.slot_mut(ADDR).unwrap().reports.at_once = false;
        for _ in 0..10 {
            world.apply(&Fault::NetifDown(0));
            world.run_for(2 * SEC);
            world.apply(&Fault::NetifUp(0));
            world.run_for(SEC);
        }
        world.apply(&Fault::Resize(0, 4096));
        world.run_for(130 * SEC);
        world.apply(&Fault::Kill(0));
        io(world, Op::Read, 0, 8);
        world.apply(&Fault::NetifGone(1));
        world.run_for(SEC);
        assert_eq!(world.slot(ADDR).unwrap().target().state(), State::Dead);
        assert_eq!(reports(world), []);
        let trouble = world.slot_mut(ADDR).unwrap().read_reports();
        assert_eq!(trouble, None);
        let found = reports(world);
        let gap = found
            .iter()
            .position(|report| matches!(report, Report::Missed(_)));
        assert_eq!(gap, Some(EVENT_LOG_ROOM), "{found:?}");
        let Report::Missed(missed) = found[EVENT_LOG_ROOM] else {
            panic!("{found:?}");
        };
        // Twenty of the flaps, of which some found room, and what came then.
        assert!((12..20).contains(&missed), "{missed}: {found:?}");
        let rest: Vec<Entry> = found[EVENT_LOG_ROOM + 1..]
            .iter()
            .map(|report| match report {
                Report::Event(entry) => *entry,
                Report::Missed(_) => panic!("{found:?}"),
            })
            .collect();
        assert_eq!(
            short(&rest),
            [
                (Event::Resized, 0),
                (Event::Dead, 0),
                (Event::PathDown, 1),
                (Event::PathDown, 0)
            ]
        );
        let (sectors, before) = (4096, 2048);
        assert_eq!(rest[0].detail, Detail::Size { sectors, before });
        // From then on it is a log like any other.
        world.slot_mut(ADDR).unwrap().reports.at_once = true;
        world.apply(&Fault::Start(0));
        world.run_for(3 * SEC);
        assert_eq!(short(&entries(world)), [(Event::Up, 0), (Event::PathUp, 1)]);
    });
}

/// How many failed commands were reported.
fn failures(world: &mut World<'_>) -> usize {
    let found = entries(world);
    let failed = |entry: &&Entry| entry.event == Event::CommandFailed;
    found.iter().filter(failed).count()
}

#[test]
fn the_same_failure_is_reported_once_a_minute_and_of_different_ones_some() {
    let mut options = with(Profile::ideal());
    options.allowed.push(IoError::Failed);
    scenario(options, |world| {
        up(world);
        for lba in 100..110 {
            world.servers[0].model_mut().add_bad_sector(lba);
        }
        let read_all = |world: &mut World<'_>| {
            for lba in 100..110 {
                bad(world, Op::Read, lba, 1, IoError::Failed);
            }
        };
        read_all(world);
        assert_eq!(failures(world), 1, "ten sectors, one cause");
        read_all(world);
        assert_eq!(failures(world), 0, "within the minute");
        world.run_for(61 * SEC);
        read_all(world);
        assert_eq!(failures(world), 1, "a minute later");
        // Causes that differ: not all of them.
        for code in 90..90 + 2 * MAX_FAILURES_REPORTED as u8 {
            let fault = AoeFault {
                code,
                times: 2,
                identify: false,
            };
            world.servers[0].model_mut().set_aoe_fault(Some(fault));
            bad(world, Op::Write, 0, 2, IoError::Failed);
        }
        assert_eq!(failures(world), MAX_FAILURES_REPORTED - 1);
    });
}

#[test]
fn a_feature_that_turns_out_missing_is_named() {
    let lost = |world: &mut World<'_>| -> Vec<Feature> {
        let details = entries(world).into_iter().map(|entry| entry.detail);
        let lost = details.filter_map(|detail| match detail {
            Detail::Lost(feature) => Some(feature),
            _ => None,
        });
        lost.collect()
    };
    let mut profile = Profile::vblade();
    profile.claims_flush_ext = true;
    let mut options = with(profile);
    options.allowed.push(IoError::Unsupported);
    scenario(options, |world| {
        up(world);
        good(world, Op::Flush, 0, 0);
        assert_eq!(lost(world), [Feature::FlushExt]);
        let fault = AtaFault {
            which: Which::Flushes,
            status: 0x41,
            error: 0x04,
            times: u32::MAX,
        };
        world.servers[0].model_mut().add_ata_fault(fault);
        bad(world, Op::Flush, 0, 0, IoError::Unsupported);
        assert_eq!(lost(world), [Feature::Flush]);
        bad(world, Op::Flush, 0, 0, IoError::Unsupported);
        assert_eq!(lost(world), []);
    });
}
