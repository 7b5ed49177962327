// SPDX-License-Identifier: BSD-2-Clause
//! How requests become frames, for every kind of target.

use crate::common::*;

/// The (lba, count) of every frame of a command, in the order of the sectors.
fn cuts(world: &World<'_>, command: u8) -> Vec<(u64, u8)> {
    let mut cuts: Vec<(u64, u8)> = commands(world, command)
        .iter()
        .map(|f| (f.lba, f.count))
        .collect();
    cuts.sort_unstable();
    cuts
}

fn sizes(bytes: u32, expected: u8) {
    scenario(mtu(Options::simple(1), bytes), |world| {
        up(world);
        forget(world);
        good(world, Op::Write, 0, 64);
        good(world, Op::Read, 0, 64);
        for command in [WRITE_EXT, READ_EXT] {
            let frames = cuts(world, command);
            assert!(
                frames.iter().all(|(_, count)| *count == expected),
                "{frames:?}"
            );
            assert_eq!(frames.len(), 64 / usize::from(expected));
        }
    });
}

#[test]
fn two_sectors_fit_a_standard_frame() {
    sizes(1500, 2);
}

#[test]
fn eight_sectors_fit_an_mtu_of_4200() {
    sizes(4200, 8);
}

#[test]
fn sixteen_of_the_seventeen_that_fit_a_jumbo_frame_are_used() {
    sizes(9000, 16);
}

#[test]
fn the_first_frame_of_a_crooked_request_ends_on_a_physical_block() {
    scenario(mtu(with(Profile::ideal()), 9000), |world| {
        up(world);
        forget(world);
        good(world, Op::Write, 5, 40);
        assert_eq!(cuts(world, WRITE_EXT), [(5, 11), (16, 16), (32, 13)]);
    });
}

#[test]
fn a_sector_count_of_zero_means_two() {
    let mut profile = Profile::vblade();
    profile.advertised_sectors = Some(0);
    profile.sector_limit = SectorLimit::Fixed(2);
    scenario(mtu(with(profile), 9000), |world| {
        up(world);
        forget(world);
        good(world, Op::Write, 0, 16);
        assert!(cuts(world, WRITE_EXT).iter().all(|(_, count)| *count == 2));
    });
}

#[test]
fn the_smaller_of_interface_and_target_counts() {
    let mut options = mtu(Options::simple(1), 9000);
    options.netifs[0].mtu = 1500;
    scenario(options, |world| {
        up(world);
        forget(world);
        good(world, Op::Read, 0, 16);
        assert!(cuts(world, READ_EXT).iter().all(|(_, count)| *count == 2));
        world.apply(&Fault::NetifMtu(0, 9000));
        forget(world);
        good(world, Op::Read, 0, 16);
        assert_eq!(
            cuts(world, READ_EXT),
            [(0, 16)],
            "the MTU is asked when a frame is cut"
        );
    });
}

#[test]
fn a_disk_without_48_bits_gets_28_bit_commands() {
    let mut profile = Profile::ideal();
    profile.lba48 = false;
    profile.flush_ext = false;
    scenario(with(profile), |world| {
        up(world);
        forget(world);
        good(world, Op::Write, 2046, 2);
        good(world, Op::Read, 2046, 2);
        good(world, Op::Flush, 0, 0);
        let write = commands(world, WRITE)[0];
        assert_eq!((write.aflags, write.lba3 & 0xf0), (0x01, 0xe0));
        let read = commands(world, READ)[0];
        assert_eq!((read.aflags, read.lba & 0x0fff_ffff), (0, 2046));
        assert_eq!(commands(world, FLUSH).len(), 1);
        assert!(world.servers[0].model().violations().is_empty());
    });
}

#[test]
fn a_48_bit_disk_gets_48_bit_commands() {
    scenario(with(Profile::ideal()), |world| {
        up(world);
        forget(world);
        good(world, Op::Write, 8, 2);
        good(world, Op::Flush, 0, 0);
        assert_eq!(commands(world, WRITE_EXT)[0].aflags, 0x41);
        assert_eq!(commands(world, FLUSH_EXT)[0].aflags, 0x40);
        assert!(world.servers[0].model().violations().is_empty());
    });
}

#[test]
fn flush_of_vblade_succeeds_though_its_answer_looks_odd() {
    scenario(with(Profile::vblade()), |world| {
        up(world);
        good(world, Op::Flush, 0, 0);
        // An aborted command leaves its mark in the error register of the next flush.
        let fault = AtaFault {
            which: Which::Reads,
            status: 0x41,
            error: 0x10,
            times: 2,
        };
        world.servers[0].model_mut().add_ata_fault(fault);
        world.options.allowed.push(IoError::Failed);
        bad(world, Op::Read, 0, 1, IoError::Failed);
        world.options.allowed.clear();
        good(world, Op::Flush, 0, 0);
        assert_eq!(commands(world, FLUSH).len(), 2);
    });
}

#[test]
fn flush_of_ggaoed_succeeds_though_its_status_is_the_command() {
    let mut profile = Profile::ggaoed();
    scenario(with(profile.clone()), |world| {
        up(world);
        good(world, Op::Flush, 0, 0);
        assert_eq!(commands(world, FLUSH_EXT).len(), 1);
    });
    profile.flush_ext = false;
    scenario(with(profile), |world| {
        up(world);
        good(world, Op::Flush, 0, 0);
        assert_eq!(commands(world, FLUSH).len(), 1);
    });
}

#[test]
fn an_aborted_flush_ext_falls_back_to_flush() {
    let mut profile = Profile::vblade();
    profile.claims_flush_ext = true;
    scenario(with(profile), |world| {
        up(world);
        good(world, Op::Flush, 0, 0);
        assert_eq!(
            (
                commands(world, FLUSH_EXT).len(),
                commands(world, FLUSH).len()
            ),
            (2, 1)
        );
        assert!(world.slot(ADDR).unwrap().saw(Event::FeatureLost));
        good(world, Op::Flush, 0, 0);
        assert_eq!(commands(world, FLUSH_EXT).len(), 2, "it is not tried again");
    });
}

#[test]
fn a_target_that_aborts_every_flush_is_unsupported_once() {
    let mut profile = Profile::vblade();
    profile.claims_flush_ext = true;
    let mut options = with(profile);
    options.allowed.push(IoError::Unsupported);
    scenario(options, |world| {
        let fault = AtaFault {
            which: Which::Flushes,
            status: 0x41,
            error: 0x04,
            times: u32::MAX,
        };
        world.servers[0].model_mut().add_ata_fault(fault);
        up(world);
        assert!(world.slot(ADDR).unwrap().target().can_flush());
        bad(world, Op::Flush, 0, 0, IoError::Unsupported);
        assert!(!world.slot(ADDR).unwrap().target().can_flush());
        forget(world);
        bad(world, Op::Flush, 0, 0, IoError::Unsupported);
        assert!(seen(world).is_empty(), "nothing is sent any more");
        good(world, Op::Write, 0, 2);
    });
}

#[test]
fn a_flush_makes_the_cache_durable() {
    scenario(with(Profile::ideal()), |world| {
        up(world);
        good(world, Op::Write, 0, 16);
        assert!(
            world.disks[0].borrow().medium.volatile().count() > 0,
            "the cache is on"
        );
        good(world, Op::Flush, 0, 0);
        assert_eq!(world.disks[0].borrow().medium.volatile().count(), 0);
    });
}

#[test]
fn the_write_cache_is_switched_when_the_operator_says_so() {
    for (wanted, at_start) in [(true, false), (false, true)] {
        let mut profile = Profile::ideal();
        profile.write_cache = at_start;
        let mut options = with(profile);
        options.tunables.write_cache = Some(wanted);
        scenario(options, |world| {
            up(world);
            let sent = commands(world, 0xef);
            assert_eq!(sent.len(), 1);
            assert_eq!(sent[0].feature, if wanted { 0x02 } else { 0x82 });
            good(world, Op::Write, 0, 8);
            assert_eq!(
                world.disks[0].borrow().medium.volatile().count() > 0,
                wanted
            );
        });
    }
}

#[test]
fn trim_names_its_sectors_and_they_read_as_zero() {
    scenario(with(Profile::ideal()), |world| {
        up(world);
        assert!(world.slot(ADDR).unwrap().target().can_trim());
        good(world, Op::Write, 0, 64);
        forget(world);
        good(world, Op::Trim, 8, 40);
        let trim = commands(world, DSM)[0];
        assert_eq!(
            (trim.aflags, trim.feature, trim.count, trim.len),
            (0x41, 1, 1, 36 + 512)
        );
        // The book checks what is read.
        good(world, Op::Read, 0, 64);
        assert!(world.servers[0].model().violations().is_empty());
    });
}

#[test]
fn a_trim_that_the_target_aborts_is_unsupported_from_then_on() {
    let mut profile = Profile::vblade();
    profile.claims_trim = true;
    let mut options = with(profile);
    options.allowed.push(IoError::Unsupported);
    scenario(options, |world| {
        up(world);
        assert!(world.slot(ADDR).unwrap().target().can_trim());
        bad(world, Op::Trim, 0, 8, IoError::Unsupported);
        assert!(!world.slot(ADDR).unwrap().target().can_trim());
        forget(world);
        bad(world, Op::Trim, 0, 8, IoError::Unsupported);
        assert!(commands(world, DSM).is_empty());
        good(world, Op::Write, 0, 8);
    });
}

#[test]
fn requests_beyond_the_end_are_refused_without_a_frame() {
    let mut options = Options::simple(1);
    options.allowed.push(IoError::Invalid);
    scenario(options, |world| {
        up(world);
        forget(world);
        bad(world, Op::Read, 2048, 1, IoError::Invalid);
        bad(world, Op::Write, 2047, 2, IoError::Invalid);
        bad(world, Op::Read, 0, 0, IoError::Invalid);
        assert!(seen(world).is_empty());
        good(world, Op::Read, 2047, 1);
    });
}

#[test]
fn every_kind_of_target_reads_what_was_written() {
    for name in ["vblade", "ggaoed", "kvblade", "ideal"] {
        for bytes in [1500, 4200, 9000] {
            scenario(mtu(with(Profile::by_name(name).unwrap()), bytes), |world| {
                up(world);
                // A beacon may come on top of a full window; there are several at the start.
                world.run_for(20 * SEC);
                let before = world.servers[0].dropped();
                for (lba, sectors) in [(0, 256), (3, 1), (7, 100), (2000, 48)] {
                    good(world, Op::Write, lba, sectors);
                    good(world, Op::Read, lba, sectors);
                }
                good(world, Op::Read, 0, 2048);
                good(world, Op::Flush, 0, 0);
                assert_eq!(world.servers[0].dropped(), before, "{name} at {bytes}");
                assert!(world.servers[0].model().violations().is_empty());
            });
        }
    }
}

#[test]
fn buffer_counts_of_nought_and_one_work() {
    for count in [0, 1, 2] {
        let mut profile = Profile::vblade();
        profile.buffer_count = count;
        scenario(with(profile), |world| {
            up(world);
            // A question to the target may come on top of a full window, but there is none now.
            let before = world.servers[0].dropped();
            for _ in 0..8 {
                world.submit(ADDR, Op::Write, 0, 32, false);
            }
            good(world, Op::Read, 0, 32);
            assert_eq!(world.servers[0].dropped(), before);
        });
    }
}

/// One buffer, which a read far away is in, so that what comes then has to wait; and a caller that joins.
fn behind_one(bytes: u32, test: impl FnOnce(&mut World<'_>, u64)) {
    let mut profile = Profile::vblade();
    profile.buffer_count = 1;
    let mut options = mtu(with(profile), bytes);
    options.host.join = true;
    options.tunables.dead_secs = 5;
    options.allowed.push(IoError::Failed);
    scenario(options, |world| {
        up(world);
        // What a frame holds is known once one was sent.
        good(world, Op::Read, 0, 1);
        good(world, Op::Write, 0, 1);
        forget(world);
        let first = world.submit(ADDR, Op::Read, 1000, 1, false);
        test(world, first);
    });
}

fn all_good(world: &mut World<'_>, tokens: &[u64]) {
    for token in tokens {
        assert_eq!(wait(world, *token, 30 * SEC).result, Ok(()), "{token}");
    }
}

#[test]
fn short_requests_that_follow_each_other_share_a_frame() {
    behind_one(9000, |world, first| {
        let mut tokens = vec![first];
        for lba in (0..8).step_by(2) {
            tokens.push(world.submit(ADDR, Op::Write, lba, 2, false));
        }
        for lba in 16..20 {
            tokens.push(world.submit(ADDR, Op::Read, lba, 1, false));
        }
        all_good(world, &tokens);
        assert_eq!(cuts(world, WRITE_EXT), [(0, 8)]);
        assert_eq!(cuts(world, READ_EXT), [(16, 4), (1000, 1)]);
        let counters = world.slot(ADDR).unwrap().target().counters();
        assert_eq!(counters.joined, 6);
        assert_eq!((counters.reads, counters.bytes_read), (6, 6 * 512));
        assert_eq!((counters.writes, counters.bytes_written), (5, 9 * 512));
    });
}

#[test]
fn joined_requests_fill_no_more_than_a_frame() {
    behind_one(1500, |world, first| {
        let mut tokens = vec![first];
        tokens.extend((0..5).map(|lba| world.submit(ADDR, Op::Write, lba, 1, false)));
        all_good(world, &tokens);
        assert_eq!(cuts(world, WRITE_EXT), [(0, 2), (2, 2), (4, 1)]);
    });
}

#[test]
fn requests_are_not_joined_across_others_gaps_and_barriers() {
    behind_one(9000, |world, first| {
        let mut tokens = vec![first];
        for (op, lba, ordered) in [
            (Op::Write, 0, false),
            (Op::Write, 2, false),
            (Op::Read, 3, false),
            (Op::Read, 2, false),
            (Op::Write, 3, false),
            (Op::Flush, 0, false),
            (Op::Write, 4, false),
            (Op::Write, 5, true),
            (Op::Write, 6, false),
            (Op::Write, 7, false),
            // Half of it is being written.
            (Op::Write, 0, false),
            (Op::Write, 1, false),
            (Op::Write, 2, false),
        ] {
            let sectors = u64::from(op != Op::Flush);
            tokens.push(world.submit(ADDR, op, lba, sectors, ordered));
        }
        all_good(world, &tokens);
        assert!(commands(world, WRITE_EXT).iter().all(|f| f.count == 1));
        assert!(commands(world, READ_EXT).iter().all(|f| f.count == 1));
    });
}

#[test]
fn of_joined_requests_only_that_with_the_bad_sector_fails() {
    behind_one(9000, |world, first| {
        world.apply(&Fault::BadSector(0, 5));
        let tokens: Vec<u64> = (0..10)
            .step_by(2)
            .map(|lba| world.submit(ADDR, Op::Read, lba, 2, false))
            .collect();
        all_good(world, &[first]);
        let ends: Vec<_> = tokens
            .iter()
            .map(|token| wait(world, *token, 30 * SEC).result)
            .collect();
        let failed = Err(IoError::Failed);
        assert_eq!(ends, [Ok(()), Ok(()), failed, Ok(()), Ok(())]);
        let counters = world.slot(ADDR).unwrap().target().counters();
        assert_eq!((counters.joined, counters.errors), (4, 1));
        // The frame of all of them was no failed command: only the one that failed alone is.
        let slot = world.slot(ADDR).unwrap();
        let failed = slot.target().failed_command().unwrap();
        assert_eq!((failed.lba, failed.sectors), (4, 2), "{failed:?}");
        let is_report = |(_, event): &&(u64, Event)| *event == Event::CommandFailed;
        assert_eq!(slot.events.iter().filter(is_report).count(), 1);
    });
}

#[test]
fn joined_requests_of_a_target_that_dies_all_fail() {
    behind_one(9000, |world, first| {
        world.apply(&Fault::Kill(0));
        let mut tokens = vec![first];
        tokens.extend((0..6).map(|lba| world.submit(ADDR, Op::Write, lba, 1, false)));
        for token in tokens {
            let ended = wait(world, token, 30 * SEC);
            assert_eq!(ended.result, Err(IoError::Failed));
        }
    });
}
