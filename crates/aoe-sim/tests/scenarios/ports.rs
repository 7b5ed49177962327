// SPDX-License-Identifier: BSD-2-Clause
//! Copies of writes that wait in the ring of a port: lagg(4), vlan(4), if_bridge(4), and targets that are made
//! anew meanwhile. A ring keeps them for as long as its port has no link, and sends them when the link is back.

use crate::common::*;
use aoe_sim::options::{Flush, NetPortOptions, Sharing};

/// For longer than any scenario.
const EVER: u64 = 3600 * SEC;

/// A port whose ring keeps what it has, and what empties it.
fn port(flush: Flush) -> NetPortOptions {
    NetPortOptions { keeps: true, flush }
}

/// The servers that people have: one keeps order, one does not.
fn kinds() -> [Options; 2] {
    let mut unordered = with(Profile::ggaoed());
    unordered.server().timing = Timing::reordering((20 * US, 200 * US), 4);
    [with(Profile::vblade()), unordered]
}

/// One interface over two ports.
fn over_two(mut options: Options, sharing: Sharing, flush: Flush) -> Options {
    options.netifs[0].ports = vec![port(flush); 2];
    options.netifs[0].sharing = sharing;
    options
}

/// Two paths, each by an interface of this kind.
fn pair(options: Options, sharing: Sharing, vlan: bool, flush: Flush) -> Options {
    let mut options = two_paths(options);
    for netif in &mut options.netifs {
        netif.ports = vec![port(flush)];
        netif.sharing = sharing;
        netif.vlan = vlan;
    }
    options
}

/// Writes of which copies wait in the ring of a port that is told to pause for so long.
fn fill_ring(world: &mut World<'_>, netif: usize, port: usize, pause: u64) -> Vec<u64> {
    good(world, Op::Write, 0, 16);
    world.apply(&Fault::PortPause(netif, port, pause));
    let writes = (0..8)
        .map(|place| world.submit(ADDR, Op::Write, place * 2, 2, false))
        .collect();
    world.run_for(30 * MS);
    let waiting = world.netifs[netif].ports[port].waiting();
    assert!(waiting > 0, "no copy waits: the scenario shows nothing");
    writes
}

fn all_good(world: &mut World<'_>, writes: Vec<u64>) {
    for write in writes {
        assert_eq!(wait(world, write, 60 * SEC).result, Ok(()));
    }
    world.run_for(200 * MS);
}

/// Makes the newest of the writes to sectors of which older copies wait in some ring, and gives how long it took.
/// When it ended, or after so long, `set_free` lets the ring send what it has.
fn overwrite(world: &mut World<'_>, patience: u64, set_free: impl FnOnce(&mut World<'_>)) -> u64 {
    let begin = world.now();
    let new = world.submit(ADDR, Op::Write, 0, 16, false);
    world.run_until(patience, |world| world.ended(new).is_some());
    set_free(world);
    let ended = wait(world, new, 60 * SEC);
    assert_eq!(ended.result, Ok(()));
    world.run_for(20 * SEC);
    good(world, Op::Read, 0, 16);
    ended.at - begin
}

/// The port in use loses its link and gets it back: how long the newest write took.
fn lagg_fails_over(options: Options) -> u64 {
    // As the address of the server has it.
    let port = usize::from(options.netifs[0].sharing == Sharing::Hash);
    let mut took = 0;
    scenario(options, |world| {
        up(world);
        let writes = fill_ring(world, 0, port, EVER);
        world.apply(&Fault::PortDown(0, port));
        all_good(world, writes);
        took = overwrite(world, 30 * SEC, |world| {
            world.apply(&Fault::PortUp(0, port))
        });
    });
    took
}

#[test]
fn what_waits_in_a_port_of_a_lagg_that_went_on_by_another_overwrites_nothing_newer() {
    for sharing in [Sharing::Failover, Sharing::Hash] {
        for options in kinds() {
            lagg_fails_over(over_two(options, sharing, Flush::AfterInit));
        }
    }
}

#[test]
fn a_port_that_lagg_gives_back_its_frames_to_overtakes_nothing() {
    for options in kinds() {
        let options = over_two(options, Sharing::Failover, Flush::AfterInit);
        scenario(options, |world| {
            up(world);
            world.apply(&Fault::PortDown(0, 0));
            world.run_for(SEC);
            // The spare port is slow when the first one comes back.
            let writes = fill_ring(world, 0, 1, 3 * SEC);
            world.apply(&Fault::PortUp(0, 0));
            all_good(world, writes);
            overwrite(world, SEC, |_| {});
        });
    }
}

#[test]
fn the_answer_by_one_port_of_a_lagg_in_turns_proves_nothing_of_another() {
    for options in kinds() {
        let options = over_two(options, Sharing::RoundRobin, Flush::AfterInit);
        scenario(options, |world| {
            up(world);
            let writes = fill_ring(world, 0, 0, 3 * SEC);
            all_good(world, writes);
            overwrite(world, SEC, |_| {});
        });
    }
}

fn pulled_and_put_back(options: Options) -> u64 {
    let mut took = 0;
    scenario(options, |world| {
        up(world);
        let writes = fill_ring(world, 0, 0, EVER);
        world.apply(&Fault::NetifDown(0));
        all_good(world, writes);
        took = overwrite(world, 30 * SEC, |world| world.apply(&Fault::NetifUp(0)));
    });
    took
}

#[test]
fn what_waits_below_a_vlan_overwrites_nothing_newer() {
    for options in kinds() {
        pulled_and_put_back(pair(options, Sharing::Failover, true, Flush::AfterInit));
    }
}

#[test]
fn what_waits_below_a_bridge_overwrites_nothing_newer() {
    for options in kinds() {
        pulled_and_put_back(pair(options, Sharing::Bridge, false, Flush::AfterInit));
    }
    for flush in [Flush::AfterInit, Flush::Nothing] {
        for options in kinds() {
            lagg_fails_over(two_bridged(options, flush));
        }
    }
}

/// A bridge with two members, and another interface.
fn two_bridged(options: Options, flush: Flush) -> Options {
    over_two(two_paths(options), Sharing::Bridge, flush)
}

#[test]
fn what_nothing_throws_away_overwrites_nothing_newer() {
    for options in kinds() {
        pulled_and_put_back(pair(options, Sharing::Failover, false, Flush::Nothing));
    }
}

/// Waits until the target is there again, found by the second interface.
fn found_again(world: &mut World<'_>) {
    world.run_for(10 * MS);
    world.apply(&Fault::Discover);
    up(world);
}

fn with_gone(mut options: Options) -> Options {
    options.allowed.push(IoError::Gone);
    options
}

#[test]
fn a_target_that_was_removed_and_found_again_knows_what_may_still_come() {
    for options in kinds() {
        scenario(with_gone(two_paths(options)), |world| {
            up(world);
            fill_ring(world, 0, 0, 3 * SEC);
            world.remove(ADDR);
            found_again(world);
            overwrite(world, SEC, |_| {});
        });
    }
}

#[test]
fn a_target_that_was_forgotten_and_found_again_knows_what_may_still_come() {
    for options in kinds() {
        let options = pair(options, Sharing::Failover, true, Flush::Nothing);
        scenario(with_gone(options), |world| {
            up(world);
            let writes = fill_ring(world, 0, 0, EVER);
            world.apply(&Fault::NetifDown(0));
            all_good(world, writes);
            world.apply(&Fault::Kill(0));
            world.close_disk(ADDR);
            let gone = world.run_until(400 * SEC, |world| world.slot(ADDR).is_none());
            assert!(gone);
            world.apply(&Fault::Start(0));
            found_again(world);
            overwrite(world, 5 * SEC, |world| world.apply(&Fault::NetifUp(0)));
        });
    }
}

#[test]
fn a_module_that_is_loaded_again_knows_what_may_still_come() {
    for options in kinds() {
        scenario(with_gone(two_paths(options)), |world| {
            up(world);
            fill_ring(world, 0, 0, 3 * SEC);
            let mut tries = 0;
            while !world.unload_module() {
                tries += 1;
                assert!(tries < 100, "it never unloads");
                world.run_for(SEC);
            }
            world.run_for(10 * MS);
            world.load_module();
            up(world);
            overwrite(world, SEC, |_| {});
        });
    }
}

/// A lost write to a server that keeps order costs a newer one what it always does, when the ring was emptied;
/// any other costs it the quarantine.
#[test]
fn an_emptied_ring_costs_a_newer_write_no_more_than_a_lost_frame() {
    let [ordered, unordered] = kinds();
    let lagg = |options| over_two(options, Sharing::Failover, Flush::AfterInit);
    let took = lagg_fails_over(lagg(ordered.clone()));
    assert!(took < 100 * MS, "{} ms", took / MS);
    let took = lagg_fails_over(lagg(unordered));
    assert!((10 * SEC..16 * SEC).contains(&took), "{} ms", took / MS);
    // A driver takes its time to begin anew.
    let mut slow = lagg(ordered);
    slow.host.init_delay = 500 * MS;
    let took = lagg_fails_over(slow);
    assert!(took < 600 * MS, "{} ms", took / MS);
}

/// No time proves what a ring without link keeps: the range stays closed until the link is back, and the copies are
/// answered. All else goes on.
#[test]
fn what_a_ring_keeps_keeps_its_sectors_closed_and_no_others() {
    for options in kinds() {
        let options = over_two(options, Sharing::Failover, Flush::Nothing);
        scenario(options, |world| {
            up(world);
            let writes = fill_ring(world, 0, 0, EVER);
            world.apply(&Fault::PortDown(0, 0));
            all_good(world, writes);
            let new = world.submit(ADDR, Op::Write, 0, 16, false);
            for round in 0..60 {
                world.run_for(10 * SEC);
                let ended = good(world, Op::Write, 64 + round, 1);
                assert!(ended.at - ended.accepted < 20 * MS);
            }
            assert_eq!(world.ended(new), None);
            world.apply(&Fault::PortUp(0, 0));
            assert_eq!(wait(world, new, SEC).result, Ok(()));
            world.run_for(20 * SEC);
        });
    }
}

/// A driver carries more than our frames, and to initialise it again costs all of them.
#[test]
fn a_driver_is_initialised_again_only_for_writes() {
    let options = over_two(Options::simple(1), Sharing::Failover, Flush::AfterInit);
    scenario(options, |world| {
        up(world);
        for _ in 0..5 {
            good(world, Op::Write, 0, 16);
            world.submit(ADDR, Op::Read, 0, 16, false);
            world.apply(&Fault::PortDown(0, 0));
            good(world, Op::Read, 0, 16);
            world.apply(&Fault::PortUp(0, 0));
            world.run_for(SEC);
        }
        assert_eq!(world.inits, 0);
        fill_ring(world, 0, 0, EVER);
        world.apply(&Fault::PortDown(0, 0));
        assert_eq!(world.inits, 1);
        world.run_for(20 * SEC);
    });
}

/// Into a stack that the caller does not know it cannot look: time decides, whatever is answered.
#[test]
fn below_a_stack_that_nobody_knows_only_time_proves_anything() {
    let mut options = over_two(Options::simple(1), Sharing::Failover, Flush::AfterInit);
    options.host.follow = false;
    scenario(options, |world| {
        up(world);
        let writes = fill_ring(world, 0, 0, EVER);
        world.apply(&Fault::PortDown(0, 0));
        all_good(world, writes);
        let took = overwrite(world, 5 * SEC, |world| world.apply(&Fault::PortUp(0, 0)));
        assert!(took > 4 * SEC, "{} ms", took / MS);
    });
}

/// What is left behind by one target concerns no other, and costs reads nothing.
#[test]
fn a_target_that_is_found_again_reads_at_once_and_writes_when_it_may() {
    scenario(with_gone(two_paths(Options::simple(1))), |world| {
        up(world);
        fill_ring(world, 0, 0, 3 * SEC);
        world.remove(ADDR);
        let removed = world.now();
        found_again(world);
        let read = good(world, Op::Read, 64, 16);
        assert!(read.at - read.accepted < 20 * MS);
        let write = good(world, Op::Write, 64, 16);
        let waited = write.at - removed;
        assert!((14 * SEC..16 * SEC).contains(&waited), "{} ms", waited / MS);
        let write = good(world, Op::Write, 0, 16);
        assert!(write.at - write.accepted < 20 * MS);
        // A target that owed nothing leaves nothing.
        world.run_for(SEC);
        world.remove(ADDR);
        found_again(world);
        let write = good(world, Op::Write, 0, 16);
        assert!(write.at - write.accepted < 20 * MS);
    });
}

#[test]
fn a_link_that_flaps_for_ever_keeps_nobody_waiting_for_ever() {
    for sharing in [Sharing::Failover, Sharing::RoundRobin] {
        let mut options = over_two(with(Profile::vblade()), sharing, Flush::AfterInit);
        options.host.init_delay = MS;
        scenario(options, |world| {
            up(world);
            // A copy went by the first port and was lost with its link; its successor is answered.
            fill_ring(world, 0, 0, EVER);
            world.apply(&Fault::PortDown(0, 0));
            world.run_for(40 * MS);
            let newest = world.submit(ADDR, Op::Write, 0, 16, false);
            let begin = world.now();
            while world.now() - begin < 40 * SEC && world.ended(newest).is_none() {
                world.apply(&Fault::PortUp(0, 0));
                world.run_for(SEC);
                world.apply(&Fault::PortDown(0, 0));
                world.run_for(20 * MS);
            }
            world.apply(&Fault::PortUp(0, 0));
            let ended = wait(world, newest, SEC);
            assert_eq!(ended.result, Ok(()));
            // No link that came back released anything that was sent before the last loss but one.
            let longest = (aoe_core::limits::QUARANTINE_SECS as u64 + 3) * SEC;
            assert!(ended.at - begin < longest, "{} ns", ended.at - begin);
        });
    }
}

#[test]
fn links_that_flap_by_turns_keep_nobody_waiting_for_ever() {
    for sharing in [Sharing::Failover, Sharing::RoundRobin] {
        let mut options = over_two(with(Profile::vblade()), sharing, Flush::AfterInit);
        options.host.init_delay = MS;
        scenario(options, |world| {
            up(world);
            fill_ring(world, 0, 0, EVER);
            world.apply(&Fault::PortDown(0, 0));
            world.run_for(40 * MS);
            world.apply(&Fault::PortUp(0, 0));
            let newest = world.submit(ADDR, Op::Write, 0, 16, false);
            let begin = world.now();
            for turn in 1.. {
                if world.now() - begin > 60 * SEC || world.ended(newest).is_some() {
                    break;
                }
                world.apply(&Fault::PortDown(0, turn % 2));
                world.run_for(20 * MS);
                world.apply(&Fault::PortUp(0, turn % 2));
                world.run_for(SEC);
            }
            let ended = wait(world, newest, SEC);
            assert_eq!(ended.result, Ok(()));
            // Either port can have released its copies once after they were handed over.
            let longest = (aoe_core::limits::QUARANTINE_SECS as u64 + 5) * SEC;
            assert!(ended.at - begin < longest, "{} ns", ended.at - begin);
        });
    }
}
