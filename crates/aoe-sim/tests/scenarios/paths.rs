// SPDX-License-Identifier: BSD-2-Clause
//! Several paths, lost paths, no path: I/O goes on, waits, or fails when it is told to.

use crate::common::*;
use aoe_core::limits::MAX_PATHS;

fn frames_by_netif(world: &World<'_>, command: u8) -> [usize; 2] {
    [0, 1].map(|netif| {
        commands(world, command)
            .iter()
            .filter(|f| f.netif == netif)
            .count()
    })
}

#[test]
fn both_paths_carry_data() {
    scenario(two_paths(Options::simple(1)), |world| {
        up(world);
        forget(world);
        for _ in 0..4 {
            world.submit(ADDR, Op::Read, 0, 64, false);
        }
        good(world, Op::Read, 0, 64);
        let [first, second] = frames_by_netif(world, READ_EXT);
        assert!(first > 40 && second > 40, "{first} and {second}");
    });
}

#[test]
fn two_paths_of_different_mtu_each_carry_what_fits() {
    let mut options = two_paths(mtu(Options::simple(1), 9000));
    options.netifs[1].mtu = 1500;
    scenario(options, |world| {
        up(world);
        forget(world);
        for _ in 0..4 {
            good(world, Op::Write, 0, 256);
            good(world, Op::Read, 0, 256);
        }
        for frame in commands(world, WRITE_EXT) {
            assert!(
                usize::from(frame.count) <= if frame.netif == 0 { 16 } else { 2 },
                "{frame:?}"
            );
        }
        let [first, second] = frames_by_netif(world, WRITE_EXT);
        assert!(first > 0 && second > 0);
    });
}

/// The longest time from acceptance to the end of requests made one after another for a second.
fn longest_gap(world: &mut World<'_>, mut disturb: impl FnMut(&mut World<'_>)) -> u64 {
    let mut longest = 0;
    for round in 0..200 {
        if round == 50 {
            disturb(world);
        }
        let op = if round % 2 == 0 { Op::Write } else { Op::Read };
        // No sector is written twice: what waits for a copy at large is another scenario.
        let ended = good(world, op, round * 8, 8);
        longest = longest.max(ended.at - ended.accepted);
    }
    longest
}

#[test]
fn a_path_whose_wire_is_cut_costs_no_error_and_little_time() {
    scenario(two_paths(Options::simple(1)), |world| {
        up(world);
        let gap = longest_gap(world, |world| {
            world.apply(&Fault::Conditions(0, cut(), cut()))
        });
        assert!(gap < 200 * MS, "{} ms", gap / MS);
        assert_eq!(world.slot(ADDR).unwrap().target().state(), State::Up);
        // It comes back by itself.
        forget(world);
        world.apply(&Fault::Calm);
        world.run_for(3 * SEC);
        forget(world);
        for _ in 0..4 {
            world.submit(ADDR, Op::Read, 0, 64, false);
        }
        good(world, Op::Read, 0, 64);
        let [first, second] = frames_by_netif(world, READ_EXT);
        assert!(first > 0 && second > 0, "{first} and {second}");
    });
}

#[test]
fn a_path_whose_link_goes_down_is_left_at_once() {
    scenario(two_paths(Options::simple(1)), |world| {
        up(world);
        let gap = longest_gap(world, |world| world.apply(&Fault::NetifDown(0)));
        assert!(gap < 20 * MS, "{} ms", gap / MS);
    });
}

#[test]
fn a_path_whose_interface_leaves_is_left_at_once() {
    scenario(two_paths(Options::simple(1)), |world| {
        up(world);
        let gap = longest_gap(world, |world| world.apply(&Fault::NetifGone(0)));
        assert!(gap < 20 * MS, "{} ms", gap / MS);
        assert_eq!(world.slot(ADDR).unwrap().target().paths().count(), 1);
        world.apply(&Fault::NetifUp(0));
        world.run_for(SEC);
        assert_eq!(world.slot(ADDR).unwrap().target().paths().count(), 2);
    });
}

/// The numbers of the target's paths with the interface of each.
fn numbers(world: &World<'_>) -> Vec<(u8, u8)> {
    let target = world.slot(ADDR).unwrap().target();
    let list: Vec<(u8, u8)> = target
        .numbered_paths()
        .map(|(number, path)| (number, path.netif().0))
        .collect();
    // Both ways to read them agree, for every number that there may be.
    for number in 0..MAX_PATHS as u8 {
        let netif = target.path(number).map(|path| path.netif().0);
        let listed = list.iter().find(|(n, _)| *n == number);
        assert_eq!(netif, listed.map(|(_, netif)| *netif), "{number}");
    }
    list
}

#[test]
fn a_path_keeps_its_number_when_one_before_it_goes() {
    scenario(two_paths(Options::simple(1)), |world| {
        up(world);
        let before = numbers(world);
        let [(first, netif), (second, other)] = before[..] else {
            panic!("{before:?}");
        };
        world.apply(&Fault::NetifGone(netif.into()));
        world.run_for(SEC);
        assert_eq!(numbers(world), [(second, other)]);
        assert!(world.slot(ADDR).unwrap().target().path(first).is_none());
        // The number that is free is the newcomer's.
        world.apply(&Fault::NetifUp(netif.into()));
        world.run_for(SEC);
        assert_eq!(numbers(world), before);
    });
}

#[test]
fn a_target_that_is_killed_and_comes_back_after_20_s_has_lost_nothing() {
    scenario(Options::simple(1), |world| {
        up(world);
        good(world, Op::Write, 0, 64);
        let tokens: Vec<u64> = (0..40)
            .map(|n| world.submit(ADDR, Op::Write, n % 8 * 8, 8, false))
            .collect();
        world.run_for(MS);
        world.apply(&Fault::Kill(0));
        let read = world.submit(ADDR, Op::Read, 0, 64, false);
        world.run_for(20 * SEC);
        assert_eq!(world.ended(read), None, "it waits");
        assert!(world.slot(ADDR).unwrap().saw(Event::Down));
        world.apply(&Fault::Start(0));
        let ended = wait(world, read, 3 * SEC);
        assert_eq!(ended.result, Ok(()));
        for token in tokens {
            assert_eq!(wait(world, token, 20 * SEC).result, Ok(()));
        }
        assert!(world.slot(ADDR).unwrap().saw(Event::Up));
    });
}

#[test]
fn after_dead_secs_io_fails_and_the_disk_comes_back_when_the_target_does() {
    let mut options = Options::simple(1);
    options.tunables.dead_secs = 5;
    options.allowed.push(IoError::Failed);
    scenario(options, |world| {
        up(world);
        good(world, Op::Write, 0, 16);
        world.apply(&Fault::Kill(0));
        let at = world.now();
        let write = world.submit(ADDR, Op::Write, 0, 16, false);
        let ended = wait(world, write, 20 * SEC);
        assert_eq!(ended.result, Err(IoError::Failed));
        let after = ended.at - at;
        assert!((5 * SEC..7 * SEC).contains(&after), "{} ms", after / MS);
        assert!(world.slot(ADDR).unwrap().saw(Event::Dead));
        let later = io(world, Op::Read, 0, 8);
        assert_eq!(later.result, Err(IoError::Failed));
        assert!(later.at - later.accepted < MS, "later I/O fails at once");
        world.apply(&Fault::Start(0));
        world.run_for(3 * SEC);
        assert_eq!(world.slot(ADDR).unwrap().target().state(), State::Up);
        good(world, Op::Write, 0, 16);
        good(world, Op::Read, 0, 16);
    });
}

#[test]
fn the_operator_can_end_the_waiting() {
    let mut options = Options::simple(1);
    options.allowed.push(IoError::Failed);
    scenario(options, |world| {
        up(world);
        world.apply(&Fault::Kill(0));
        let write = world.submit(ADDR, Op::Write, 0, 16, false);
        world.run_for(60 * SEC);
        assert_eq!(world.ended(write), None, "held for ever by default");
        world.apply(&Fault::FailHeld);
        assert_eq!(world.ended(write).unwrap().result, Err(IoError::Failed));
        world.apply(&Fault::Start(0));
        world.run_for(3 * SEC);
        good(world, Op::Write, 0, 16);
    });
}

#[test]
fn answers_from_another_address_of_the_target_are_taken() {
    scenario(two_paths(Options::simple(1)), |world| {
        up(world);
        // Both addresses are known; the target answers from the second, whichever was asked.
        world.servers[0]
            .model_mut()
            .set_reply_mac(Some(port_mac(0, 1)));
        for netif in [0, 1] {
            world.apply(&Fault::NetifDown(1 - netif));
            let ended = world.submit(ADDR, Op::Read, 0, 8, false);
            world.run_for(SEC);
            let _ = world.ended(ended);
            world.apply(&Fault::NetifUp(1 - netif));
            world.run_for(SEC);
        }
        world.servers[0].model_mut().set_reply_mac(None);
        world.run_for(5 * SEC);
        good(world, Op::Read, 0, 8);
    });
}

#[test]
fn a_write_that_a_dead_link_kept_does_not_overwrite_a_newer_one() {
    let mut options = two_paths(Options::simple(1));
    options.host.notice_delay = 5 * MS;
    // Frames take their time from the engine to the wire.
    options.host.send_delay = 90 * US;
    scenario(options, |world| {
        up(world);
        for round in 0..30 {
            let old = world.submit(ADDR, Op::Write, 0, 32, false);
            // The link goes while the frames are on their way to the interface's queue.
            world.apply(&Fault::NetifDown(round % 2));
            assert_eq!(wait(world, old, 40 * SEC).result, Ok(()));
            let new = world.submit(ADDR, Op::Write, 0, 32, false);
            world.run_for(300 * MS);
            world.apply(&Fault::NetifUp(round % 2));
            assert_eq!(wait(world, new, 40 * SEC).result, Ok(()));
            good(world, Op::Read, 0, 32);
        }
    });
}

#[test]
fn a_write_that_a_paused_interface_keeps_does_not_overwrite_a_newer_one() {
    // Two interfaces reach the same address of the target: the other one's answers prove nothing.
    let mut options = two_paths(Options::simple(1));
    options.netifs[1].segment = 0;
    options.servers[0].ports.truncate(1);
    scenario(options, |world| {
        up(world);
        let mut waited = 0;
        for round in 0..10 {
            world.apply(&Fault::NetifPause(round % 2, 2 * SEC));
            let old = world.submit(ADDR, Op::Write, 0, 32, false);
            assert_eq!(
                wait(world, old, SEC).result,
                Ok(()),
                "the other interface serves it"
            );
            let new = world.submit(ADDR, Op::Write, 0, 32, false);
            world.run_for(SEC);
            waited += usize::from(world.ended(new).is_none());
            assert_eq!(wait(world, new, 20 * SEC).result, Ok(()));
            world.run_for(3 * SEC);
            good(world, Op::Read, 0, 32);
        }
        assert!(
            waited > 0,
            "no copy was at large: the scenario shows nothing"
        );
    });
}

#[test]
fn a_pulled_cable_does_not_keep_its_sectors_closed() {
    let mut options = two_paths(Options::simple(1));
    options.netifs[1].segment = 0;
    options.servers[0].ports.truncate(1);
    options.host.notice_delay = 5 * MS;
    scenario(options, |world| {
        up(world);
        for round in 0..10 {
            let old = world.submit(ADDR, Op::Write, 0, 32, false);
            world.run_for(round * 20 * US);
            world.apply(&Fault::NetifDown(0));
            assert_eq!(wait(world, old, SEC).result, Ok(()));
            let new = good(world, Op::Write, 0, 32);
            assert!(
                new.at - new.accepted < 200 * MS,
                "{} ms",
                (new.at - new.accepted) / MS
            );
            world.apply(&Fault::NetifUp(0));
            world.run_for(2 * SEC);
        }
    });
}

#[test]
fn what_a_dead_link_may_hold_is_dead_when_the_interface_is_given_up() {
    scenario(two_paths(Options::simple(1)), |world| {
        up(world);
        let mut waited = 0;
        for _ in 0..10 {
            let old = world.submit(ADDR, Op::Write, 0, 32, false);
            world.apply(&Fault::NetifDown(0));
            assert_eq!(
                wait(world, old, SEC).result,
                Ok(()),
                "the other path serves it"
            );
            let new = world.submit(ADDR, Op::Write, 0, 32, false);
            world.run_for(SEC);
            waited += usize::from(world.ended(new).is_none());
            world.apply(&Fault::NetifGone(0));
            assert_eq!(wait(world, new, 20 * SEC).result, Ok(()));
            world.apply(&Fault::NetifUp(0));
            world.run_for(5 * SEC);
        }
        assert!(
            waited > 0,
            "no copy was at large: the scenario shows nothing"
        );
    });
}

#[test]
fn nothing_is_sent_on_an_interface_that_is_down() {
    scenario(two_paths(Options::simple(1)), |world| {
        up(world);
        world.apply(&Fault::NetifDown(0));
        forget(world);
        good(world, Op::Write, 0, 64);
        world.run_for(200 * SEC);
        assert!(seen(world).iter().all(|frame| frame.netif == 1));
    });
}

#[test]
fn an_interface_may_hold_writes_until_they_are_answered_on_it() {
    use aoe_core::NetifId;
    fn holds(world: &World<'_>) -> [bool; 3] {
        [0, 1, 2].map(|id| {
            let target = world.slot(ADDR).unwrap().target();
            target.may_hold_writes(NetifId(id))
        })
    }
    scenario(two_paths(Options::simple(1)), |world| {
        up(world);
        for _ in 0..8 {
            good(world, Op::Write, 0, 64);
            good(world, Op::Read, 0, 64);
        }
        assert_eq!(holds(world), [false; 3], "everything was answered");
        // What is asked on the way to the target, or answered by it, is lost on the first interface only.
        world.apply(&Fault::Conditions(0, cut(), Condition::GOOD));
        let reads: Vec<u64> = (0..8)
            .map(|place| world.submit(ADDR, Op::Read, place * 64, 64, false))
            .collect();
        world.run_for(MS);
        assert_eq!(holds(world), [false; 3], "reads are not writes");
        for read in reads {
            wait(world, read, 30 * SEC);
        }
        world.apply(&Fault::Calm);
        up(world);
        world.run_for(5 * SEC);
        world.apply(&Fault::Conditions(0, cut(), Condition::GOOD));
        let writes: Vec<u64> = (0..8)
            .map(|place| world.submit(ADDR, Op::Write, place * 64, 64, false))
            .collect();
        world.run_for(MS);
        assert_eq!(holds(world), [true, true, false], "on their way");
        for write in writes {
            assert_eq!(wait(world, write, 30 * SEC).result, Ok(()));
        }
        // The requests are done by the other interface; copies by the first one were never answered, and when
        // they do not count any more the path is silent still.
        for _ in 0..6 {
            assert!(holds(world)[0]);
            world.run_for(5 * SEC);
        }
        assert_eq!(holds(world), [true, false, false]);
        world.apply(&Fault::Calm);
        world.run_for(20 * SEC);
        assert_eq!(holds(world), [false; 3]);
    });
}
