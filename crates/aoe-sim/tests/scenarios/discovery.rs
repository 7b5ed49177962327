// SPDX-License-Identifier: BSD-2-Clause
//! How targets and their paths are found, and which are not used.

use crate::common::*;

#[test]
fn a_beacon_finds_a_target_that_has_been_silent() {
    let mut options = Options::simple(1);
    options.server().profile.advertise = None;
    scenario(options, |world| {
        up(world);
        let frames = seen(world);
        let first = frames.first().unwrap();
        assert_eq!(
            (first.class, first.dst, first.addr),
            (1, [0xff; 6], (0xffff, 0xff))
        );
        assert!(
            first.at <= SEC + MS,
            "the beacon leaves when the interface comes up"
        );
        good(world, Op::Write, 0, 2);
        good(world, Op::Read, 0, 2);
    });
}

#[test]
fn an_advertisement_of_version_zero_is_enough() {
    let mut options = Options::simple(1);
    options.beacon_secs = 0;
    options.server().alive = false;
    scenario(options, |world| {
        world.run_for(SEC);
        assert!(world.slot(ADDR).is_none());
        forget(world);
        world.apply(&Fault::Start(0));
        assert_eq!(world.servers[0].model().profile().advertise, Some(0));
        up(world);
        assert!(
            seen(world).iter().all(|frame| frame.dst != [0xff; 6]),
            "nobody asked"
        );
        good(world, Op::Read, 0, 8);
    });
}

#[test]
fn a_path_carries_data_only_after_identify_over_it() {
    scenario(two_paths(Options::simple(1)), |world| {
        up(world);
        good(world, Op::Write, 0, 64);
        assert_eq!(world.slot(ADDR).unwrap().target().paths().count(), 2);
        for port in 0..2 {
            let to = |class, command| {
                seen(world)
                    .into_iter()
                    .find(|f| {
                        f.dst == port_mac(0, port) && f.class == class && f.command == command
                    })
                    .map(|f| f.at)
            };
            let (asked, written) = (to(0, IDENTIFY).unwrap(), to(0, WRITE_EXT).unwrap());
            assert!(
                asked < written,
                "port {port}: IDENTIFY at {asked}, data at {written}"
            );
        }
    });
}

/// Runs until the target is up; the time that took.
fn time_to_come_up(world: &mut World<'_>, limit: u64) -> Option<u64> {
    let start = world.now();
    let is_up = |world: &World<'_>| {
        let slot = world.slot(ADDR);
        slot.is_some_and(|slot| slot.identified && slot.target().state() == State::Up)
    };
    world.run_until(limit, is_up).then(|| world.now() - start)
}

#[test]
fn a_disk_is_there_within_three_seconds_of_frames_that_pass() {
    // Every loss from a beacon to the next one, and one that is longer than anybody waits.
    for silence in (1..240).map(|quarter| quarter * 250 * MS) {
        let mut options = Options::simple(1);
        options.server().profile.advertise = None;
        scenario(options, |world| {
            world.apply(&Fault::Conditions(0, cut(), cut()));
            world.run_for(silence - MS);
            assert!(world.slot(ADDR).is_none());
            world.apply(&Fault::Conditions(0, Condition::GOOD, Condition::GOOD));
            let took = time_to_come_up(world, 60 * SEC);
            let ok = took.is_some_and(|took| took <= 3 * SEC);
            assert!(ok || silence > 57 * SEC, "{silence} -> {took:?}");
            assert!(took.is_some(), "the next beacon finds it in any case");
        });
    }
}

#[test]
fn an_interface_whose_link_comes_late_is_asked_at_once() {
    let mut options = Options::simple(1);
    options.server().profile.advertise = None;
    scenario(options, |world| {
        world.apply(&Fault::NetifDown(0));
        world.run_for(20 * SEC);
        assert!(world.slot(ADDR).is_none());
        world.apply(&Fault::NetifUp(0));
        let took = time_to_come_up(world, 60 * SEC);
        assert!(took.is_some_and(|took| took < 100 * MS), "{took:?}");
    });
}

#[test]
fn a_silent_second_interface_is_asked_though_the_first_one_is_not() {
    let mut options = two_paths(Options::simple(1));
    options.server().profile.advertise = None;
    scenario(options, |world| {
        world.apply(&Fault::Conditions(1, cut(), cut()));
        world.run_for(20 * SEC);
        let beacons = |world: &World<'_>, netif| {
            let all = seen(world);
            let of = all
                .iter()
                .filter(|f| f.dst == [0xff; 6] && f.netif == netif);
            of.count()
        };
        let (first, second) = (beacons(world, 0), beacons(world, 1));
        assert!((3..=6).contains(&first), "{first}");
        assert!((11..=13).contains(&second), "{second}");
        assert_eq!(world.slot(ADDR).unwrap().target().paths().count(), 1);
        world.apply(&Fault::Conditions(1, Condition::GOOD, Condition::GOOD));
        world.run_for(3 * SEC);
        assert_eq!(world.slot(ADDR).unwrap().target().paths().count(), 2);
        // Then it is quiet: five more at most, and the regular ones.
        forget(world);
        world.run_for(130 * SEC);
        assert!(beacons(world, 0) <= 3, "{}", beacons(world, 0));
        assert!(beacons(world, 1) <= 8, "{}", beacons(world, 1));
    });
}

/// Adds a second server at the same address, with another disk.
fn rival(options: &mut Options, alive: bool) {
    let mut rival = options.servers[0].clone();
    rival.profile.serial = "RIVAL".into();
    rival.disk = options.disks.len();
    rival.alive = alive;
    options.disks.push(aoe_sim::options::DiskOptions {
        sectors: 2048,
        foreign: true,
    });
    options.servers.push(rival);
}

#[test]
fn a_disk_of_another_size_does_not_become_ours_when_ours_dies() {
    let mut options = Options::simple(1);
    rival(&mut options, false);
    // Nothing but the size tells them apart, as with two vblades of one host.
    options.servers[1].profile.serial = options.servers[0].profile.serial.clone();
    options.disks[1].sectors = 1024;
    scenario(options, |world| {
        up(world);
        good(world, Op::Write, 0, 16);
        world.apply(&Fault::Start(1));
        world.run_for(5 * SEC);
        assert!(world.slot(ADDR).unwrap().saw(Event::Conflict));
        world.apply(&Fault::Kill(0));
        let held = world.submit(ADDR, Op::Write, 0, 16, false);
        world.run_for(60 * SEC);
        assert_eq!(world.disks[1].borrow().writes, 0);
        world.apply(&Fault::Start(0));
        assert_eq!(wait(world, held, 60 * SEC).result, Ok(()));
        assert_eq!(world.disks[1].borrow().writes, 0);
    });
}

#[test]
fn another_disk_at_the_same_address_is_a_conflict_and_never_written() {
    let mut options = Options::simple(1);
    rival(&mut options, false);
    scenario(options, |world| {
        up(world);
        good(world, Op::Write, 0, 16);
        world.apply(&Fault::Start(1));
        world.run_for(5 * SEC);
        let slot = world.slot(ADDR).unwrap();
        assert!(slot.saw(Event::Conflict));
        let (netif, mac) = slot.target().conflict().unwrap();
        assert_eq!((netif.0, mac.0), (0, port_mac(1, 0)));
        forget(world);
        for round in 0..20 {
            good(world, Op::Write, round * 16, 16);
            good(world, Op::Read, round * 16, 16);
        }
        let to_rival: Vec<Seen> = seen(world)
            .into_iter()
            .filter(|f| f.dst == port_mac(1, 0))
            .collect();
        assert!(
            to_rival
                .iter()
                .all(|f| f.command == IDENTIFY || f.class == 1),
            "{to_rival:?}"
        );
        assert_eq!(world.disks[1].borrow().writes, 0);
    });
}

#[test]
fn when_the_first_disk_dies_the_other_one_does_not_take_its_place() {
    let mut options = Options::simple(1);
    rival(&mut options, false);
    scenario(options, |world| {
        up(world);
        good(world, Op::Write, 0, 16);
        world.apply(&Fault::Kill(0));
        world.apply(&Fault::Start(1));
        let write = world.submit(ADDR, Op::Write, 0, 16, false);
        world.run_for(30 * SEC);
        assert_eq!(world.ended(write), None, "the write is held");
        assert_eq!(world.disks[1].borrow().writes, 0);
        world.apply(&Fault::Start(0));
        assert_eq!(wait(world, write, 5 * SEC).result, Ok(()));
        assert_eq!(world.disks[1].borrow().writes, 0);
    });
}

#[test]
fn a_second_server_with_the_same_disk_is_a_second_path() {
    let mut options = Options::simple(1);
    let twin = options.servers[0].clone();
    options.servers.push(twin);
    scenario(options, |world| {
        up(world);
        forget(world);
        good(world, Op::Write, 0, 64);
        assert!(!world.slot(ADDR).unwrap().saw(Event::Conflict));
        for server in 0..2 {
            let used = seen(world)
                .iter()
                .any(|f| f.dst == port_mac(server, 0) && f.command == WRITE_EXT);
            assert!(used, "server {server} is used");
        }
    });
}

#[test]
fn an_interface_that_is_not_listed_is_not_touched() {
    let mut options = two_paths(Options::simple(1));
    options.netifs[1].listed = false;
    scenario(options, |world| {
        up(world);
        good(world, Op::Write, 0, 64);
        world.run_for(130 * SEC);
        assert!(seen(world).iter().all(|frame| frame.netif == 0));
        assert_eq!(world.slot(ADDR).unwrap().target().paths().count(), 1);
    });
}

#[test]
fn ata_commands_are_unicast_to_one_address() {
    scenario(Options::simple(1), |world| {
        up(world);
        good(world, Op::Read, 0, 32);
        world.run_for(130 * SEC);
        for frame in seen(world).iter().filter(|frame| frame.class == 0) {
            assert_eq!((frame.addr, frame.dst), (ADDR, port_mac(0, 0)));
        }
    });
}

#[test]
fn a_target_that_comes_back_with_another_identity_is_not_trusted() {
    scenario(Options::simple(1), |world| {
        up(world);
        good(world, Op::Write, 0, 16);
        world.apply(&Fault::Kill(0));
        world.run_for(SEC);
        let writes = world.disks[0].borrow().writes;
        world.servers[0].model_mut().profile_mut().serial = "OTHER".into();
        world.apply(&Fault::Start(0));
        // The announcement arrives; who writes before that cannot know.
        world.run_for(MS);
        let write = world.submit(ADDR, Op::Write, 0, 16, false);
        world.run_for(10 * SEC);
        assert_eq!(world.ended(write), None);
        assert_eq!(
            world.disks[0].borrow().writes,
            writes,
            "not one sector was written"
        );
        assert!(world.slot(ADDR).unwrap().saw(Event::Conflict));
        // The right one returns.
        world.apply(&Fault::Kill(0));
        world.servers[0].model_mut().profile_mut().serial = Profile::vblade().serial;
        world.apply(&Fault::Start(0));
        assert_eq!(wait(world, write, 30 * SEC).result, Ok(()));
    });
}

#[test]
fn an_address_that_never_identifies_is_forgotten() {
    let mut options = Options::simple(1);
    options.beacon_secs = 0;
    scenario(options, |world| {
        // It answers config queries, but no ATA command at all.
        world.servers[0].model_mut().profile_mut().strict = false;
        world.servers[0].model_mut().set_aoe_fault(Some(AoeFault {
            code: 1,
            times: u32::MAX,
            identify: true,
        }));
        world.run_for(60 * SEC);
        assert!(world.slot(ADDR).is_none(), "it is gone");
    });
}
