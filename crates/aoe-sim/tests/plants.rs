// SPDX-License-Identifier: BSD-2-Clause
//! Every checker can fail: a mistake is planted for each, and must be found, in the words of that checker.

use aoe_core::{IoError, Op};
use aoe_sim::net::Condition;
use aoe_sim::options::{DiskOptions, Flush, MS, NetPortOptions, SEC, Sharing, WorkOptions};
use aoe_sim::world::{netif_mac, port_mac};
use aoe_sim::{Fault, Options, Plant, World, loans, pools, report};
use aoe_target::{Profile, Timing};

/// A run that is fine without the planted mistake.
fn busy(seed: u64) -> Options {
    let mut options = Options::simple(seed);
    options.server().profile = Profile::ideal();
    options.server().timing = Timing::reordering((20_000, 400_000), 6);
    options.work = WorkOptions {
        requests: 400,
        depth: 16,
        region: 32,
        longest: 8,
        reads: 40,
        writes: 45,
        trims: 3,
        ordered: 50,
        aligned: false,
        think: MS,
        runs: 0,
    };
    options.host.send_delay = 20_000;
    options.host.commit_delay = 20_000;
    options
}

fn run(options: Options) -> Vec<String> {
    let mut pools = pools(&options);
    let mut world = World::new(options, loans(&mut pools));
    world.run();
    report(&world).trouble
}

/// With the mistake the words are found, without it nothing is.
fn found(mut options: Options, plant: Plant, words: &[&str]) {
    let clean = run(options.clone());
    assert!(clean.is_empty(), "without the mistake: {clean:#?}");
    options.plant = Some(plant);
    let trouble = run(options);
    let first = trouble
        .first()
        .unwrap_or_else(|| panic!("{plant:?} was not found"));
    assert!(
        words.iter().any(|words| first.contains(words)),
        "{plant:?} was found as: {first}"
    );
}

/// Writes to few sectors, over and over again, by two interfaces; the first has one port, or two that share its
/// frames.
fn rewriting(sharing: Option<Sharing>, flush: Flush) -> Options {
    let mut options = Options::simple(20);
    options.work = WorkOptions {
        requests: 2000,
        depth: 16,
        region: 16,
        longest: 2,
        reads: 10,
        writes: 90,
        trims: 0,
        ordered: 0,
        aligned: false,
        think: 30 * MS,
        runs: 0,
    };
    let port = NetPortOptions { keeps: true, flush };
    options.netifs[0].ports = vec![port];
    let second = options.netifs[0].clone();
    options.netifs.push(second);
    if let Some(sharing) = sharing {
        options.netifs[0].ports.push(port);
        options.netifs[0].sharing = sharing;
    }
    options
}

/// The same by the first interface only.
fn by_one(sharing: Sharing, flush: Flush) -> Options {
    let mut options = rewriting(Some(sharing), flush);
    options.netifs.truncate(1);
    options
}

/// A port fills its ring for so long, loses its link, and gets it back, several times.
fn pulled(port: usize, times: u64, span: u64) -> Vec<(u64, Fault)> {
    let mut faults = Vec::new();
    for round in 0..times {
        let at = 100 * MS + round * (span + 300 * MS);
        faults.push((at, Fault::PortPause(0, port, 3600 * SEC)));
        faults.push((at + span, Fault::PortDown(0, port)));
        faults.push((at + span + 200 * MS, Fault::PortUp(0, port)));
    }
    faults
}

const OLD: &[&str] = &["which newer data have replaced", "possible:"];

#[test]
fn a_flush_that_did_nothing_is_found() {
    let mut options = rewriting(None, Flush::AfterInit);
    options.faults = pulled(0, 10, 50 * MS);
    found(options, Plant::BelieveFlush, OLD);
    // The address of the server leads to the second port.
    for (sharing, port) in [(Sharing::Failover, 0), (Sharing::Hash, 1)] {
        let mut options = by_one(sharing, Flush::AfterInit);
        options.faults = pulled(port, 3, 50 * MS);
        found(options, Plant::BelieveFlush, OLD);
    }
}

#[test]
fn a_lagg_whose_ports_nobody_follows_is_found() {
    let mut options = by_one(Sharing::Failover, Flush::Nothing);
    options.faults = pulled(0, 3, 50 * MS);
    found(options, Plant::IgnorePorts, OLD);
}

#[test]
fn a_lagg_that_is_used_before_its_change_was_told_is_found() {
    let mut options = rewriting(Some(Sharing::Failover), Flush::Nothing);
    options.host.notice_delay = 20 * MS;
    options.work.requests = 6000;
    options.faults = pulled(0, 12, 150 * MS);
    found(options, Plant::LookLate, OLD);
}

#[test]
fn a_frame_that_was_made_before_its_lagg_changed_and_sent_after_that_is_found() {
    let mut options = by_one(Sharing::Failover, Flush::Nothing);
    options.host.send_delay = 40 * MS;
    options.work.requests = 250_000;
    for round in 0..12 {
        let at = 100 * MS + round * 40 * SEC;
        options.faults.push((at, Fault::PortDown(0, 0)));
        // It is back, and keeps what it is given from now on: what was polled before that, too.
        let back = at + 2 * SEC;
        options.faults.push((back, Fault::PortUp(0, 0)));
        options
            .faults
            .push((back, Fault::PortPause(0, 0, 3600 * SEC)));
        options.faults.push((back + 30 * MS, Fault::PortDown(0, 0)));
        options.faults.push((back + 36 * SEC, Fault::PortUp(0, 0)));
    }
    found(options, Plant::SendStale, OLD);
}

#[test]
fn a_port_that_is_back_and_nobody_said_so_is_found() {
    let mut options = by_one(Sharing::Failover, Flush::Nothing);
    for port in &mut options.netifs[0].ports {
        // What nobody can know: there is nothing in the ring that would be answered.
        port.keeps = false;
    }
    options.faults = pulled(0, 3, 50 * MS);
    found(options, Plant::IgnoreReturn, &["is stuck"]);
}

#[test]
fn an_order_that_ports_in_turns_do_not_keep_is_found() {
    let mut options = by_one(Sharing::RoundRobin, Flush::AfterInit);
    options.faults = vec![(100 * MS, Fault::PortPause(0, 0, 2 * SEC))];
    found(options, Plant::ClaimOrder, OLD);
}

fn removed() -> Options {
    let mut options = rewriting(None, Flush::AfterInit);
    options.allowed.push(IoError::Gone);
    options.faults = vec![
        (100 * MS, Fault::PortPause(0, 0, 2 * SEC)),
        (130 * MS, Fault::Remove(0)),
        (150 * MS, Fault::Discover),
    ];
    options
}

#[test]
fn a_target_that_knows_nothing_of_the_one_before_it_is_found() {
    found(removed(), Plant::ForgetRemoved, OLD);
}

#[test]
fn a_module_that_does_not_wait_for_its_copies_is_found() {
    for plant in [None, Some(Plant::HastyUnload)] {
        let mut options = removed();
        options.work.requests = 0;
        options.faults.truncate(1);
        options.plant = plant;
        let mut pools = pools(&options);
        let mut world = World::new(options, loans(&mut pools));
        world.run_for(120 * MS);
        for lba in 0..8 {
            world.submit((7, 0), Op::Write, lba, 1, false);
        }
        world.run_for(5 * MS);
        while !world.unload_module() {
            world.run_for(SEC);
        }
        world.load_module();
        world.run_for(500 * MS);
        for lba in 0..8 {
            world.submit((7, 0), Op::Write, lba, 1, false);
        }
        world.run_for(30 * SEC);
        let trouble = world.trouble.list();
        let found = |line: &String| OLD.iter().any(|words| line.contains(words));
        assert_eq!(trouble.iter().any(found), plant.is_some(), "{trouble:#?}");
        assert_eq!(trouble.is_empty(), plant.is_none(), "{trouble:#?}");
    }
}

/// An answer to a read of two sectors by the first server, of which the data are a forger's.
fn forged(tag: [u8; 4]) -> std::rc::Rc<[u8]> {
    let mut frame = netif_mac(0).to_vec();
    frame.extend_from_slice(&port_mac(0, 0));
    frame.extend_from_slice(&[0x88, 0xa2, 0x18, 0, 0, 7, 0, 0]);
    frame.extend_from_slice(&tag);
    frame.extend_from_slice(&[0x40, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0]);
    frame.resize(36 + 1024, 0xbb);
    frame.into()
}

#[test]
fn a_seed_that_comes_twice_is_found() {
    for plant in [None, Some(Plant::SameSeed)] {
        let mut options = Options::simple(21);
        options.allowed.push(IoError::Gone);
        options.log = true;
        options.plant = plant;
        let mut pools = pools(&options);
        let mut world = World::new(options, loans(&mut pools));
        let read = |world: &mut World<'_>| {
            for lba in 0..32 {
                world.submit((7, 0), Op::Read, lba * 8, 8, false);
            }
        };
        world.run_for(SEC);
        read(&mut world);
        world.run_for(SEC);
        // A forger sees all that is sent to a target, and nothing of what is sent to the one that is found after it.
        let log = world.log.take().unwrap_or_default();
        let tags = log.iter().filter_map(|sent| sent.frame[20..].first_chunk());
        let tags: Vec<[u8; 4]> = tags.copied().collect();
        assert!(tags.len() > 128, "{}", tags.len());
        world.apply(&Fault::Remove(0));
        world.run_for(SEC);
        world.apply(&Fault::Discover);
        world.run_for(SEC);
        read(&mut world);
        for tag in tags {
            world.frame_in(0, &forged(tag));
        }
        world.run_for(SEC);
        let trouble = world.trouble.list();
        let found = |line: &String| line.contains("returned Garbage");
        assert_eq!(trouble.iter().any(found), plant.is_some(), "{trouble:#?}");
        assert_eq!(trouble.is_empty(), plant.is_none(), "{trouble:#?}");
    }
}

#[test]
fn a_second_completion_is_found() {
    found(busy(1), Plant::CompleteTwice, &["twice, or never accepted"]);
}

#[test]
fn a_lost_completion_is_found() {
    found(
        busy(2),
        Plant::LoseCompletion,
        &["is stuck", "across a barrier", "was sent before"],
    );
    // And where nothing depends on it, it is still found.
    let mut options = busy(2);
    options.work.ordered = 0;
    options.work.reads = 100;
    options.work.writes = 0;
    options.work.trims = 0;
    found(options, Plant::LoseCompletion, &["is stuck"]);
}

#[test]
fn swapped_data_are_found() {
    found(busy(3), Plant::SwapData, &["returned Garbage"]);
}

#[test]
fn an_ignored_barrier_is_found() {
    found(
        busy(4),
        Plant::IgnoreOrdered,
        &["across a barrier", "was sent before"],
    );
}

#[test]
fn an_early_completion_is_found() {
    found(
        busy(5),
        Plant::CompleteEarly,
        &[
            "which newer data have replaced",
            "possible:",
            "sent for no open",
        ],
    );
}

#[test]
fn a_late_copy_of_a_write_is_found() {
    let mut options = busy(6);
    options.work.think = 20 * MS;
    found(
        options,
        Plant::RepeatWrites,
        &["which newer data have replaced"],
    );
}

#[test]
fn a_flush_that_was_not_sent_is_found() {
    let mut options = busy(7);
    options.work.ordered = 0;
    found(options, Plant::SkipFlush, &["would lose"]);
}

#[test]
fn more_frames_than_the_target_buffers_are_found() {
    let mut options = busy(8);
    options.server().profile.buffer_count = 4;
    // The checker reads the true count; the engine is shown another one.
    found(options, Plant::OpenWindow, &["commands in flight"]);
}

#[test]
fn a_frame_on_a_dead_interface_is_found() {
    let mut options = busy(9);
    options.faults = vec![(50 * MS, Fault::NetifDown(0)), (3 * SEC, Fault::NetifUp(0))];
    options.beacon_secs = 1;
    found(options, Plant::IgnoreDown, &["which is not to be used"]);
}

#[test]
fn a_write_to_another_disk_is_found() {
    let mut options = busy(10);
    let mut rival = options.servers[0].clone();
    rival.profile.serial = "RIVAL".into();
    rival.disk = 1;
    options.disks.push(DiskOptions {
        sectors: 2048,
        foreign: true,
    });
    rival.alive = false;
    options.servers.push(rival);
    options.work.think = 20 * MS;
    options.faults = vec![(100 * MS, Fault::Start(1))];
    found(
        options,
        Plant::MergeConflict,
        &["not ours", "possible:", "would lose Write"],
    );
}

#[test]
fn a_timer_that_never_fires_is_found() {
    let mut options = busy(11);
    let lossy = Condition {
        loss: 50_000,
        ..Condition::GOOD
    };
    options.faults = vec![(0, Fault::Conditions(0, lossy, lossy)), (SEC, Fault::Calm)];
    found(options, Plant::LoseTimer, &["is stuck", "was never found"]);
}

#[test]
fn data_reused_before_the_frame_was_built_are_found() {
    let mut options = busy(12);
    // A thread that builds a frame may lose the processor for long; copies are sent meanwhile.
    options.host.send_delay = 60 * MS;
    options.work.requests = 3000;
    found(options, Plant::ReuseData, &["not lent (any more)"]);
}

#[test]
fn a_livelock_is_found() {
    found(busy(13), Plant::SpinTimer, &["livelock"]);
}

#[test]
fn a_timer_that_fires_for_nothing_is_found() {
    let plant = Plant::EagerTimer;
    found(busy(17), plant, &["times in ten seconds, and no request"]);
}

#[test]
fn memory_that_is_not_taken_back_is_found() {
    found(busy(16), Plant::KeepMemory, &["is not in use and has"]);
}

#[test]
fn an_unexpected_error_is_found() {
    let mut options = busy(14);
    options.work.requests = 0;
    let mut pools = pools(&options);
    let mut world = World::new(options, loans(&mut pools));
    world.run_for(SEC);
    world.servers[0].model_mut().profile_mut().read_only = true;
    world.submit((7, 0), Op::Write, 0, 8, false);
    world.run_for(SEC);
    let trouble = world.trouble.list();
    assert!(
        trouble.iter().any(|line| line.contains("failed: ")),
        "{trouble:#?}"
    );
}

#[test]
fn a_disk_that_changes_behind_the_book_is_found_at_the_end() {
    let mut pools = pools(&busy(15));
    let mut world = World::new(busy(15), loans(&mut pools));
    world.run();
    assert!(world.trouble.is_empty());
    let old = aoe_sim::ledger::stamp(1, 3);
    let disk = world.disks[0].clone();
    disk.borrow_mut().medium.set_durable(3, &old);
    world.check_disks();
    assert!(
        world
            .trouble
            .list()
            .iter()
            .any(|line| line.contains("at the end"))
    );
}

#[test]
fn a_frame_that_breaks_the_protocol_is_found_by_the_strict_target() {
    use aoe_target::{Address, MemStorage, Model, Port, Violation};
    let port = Port {
        mac: [2, 0, 0, 1, 0, 0],
        mtu: 1500,
    };
    let good = {
        let mut frame = vec![0_u8; 60];
        frame[..6].copy_from_slice(&port.mac);
        frame[6] = 2;
        frame[12..20].copy_from_slice(&[0x88, 0xa2, 0x10, 0, 0, 7, 0, 0]);
        frame[24..28].copy_from_slice(&[0x40, 0, 1, 0x24]);
        frame
    };
    let answer = |frame: &[u8]| {
        let addr = Address { shelf: 7, slot: 0 };
        let mut model = Model::new(Profile::ideal(), addr, MemStorage::new(64));
        let reply = model.handle(&port, frame);
        (
            reply.map(|reply| reply[15]),
            model.violations().first().copied(),
        )
    };
    assert_eq!(answer(&good), (Some(0), None));
    for (at, value, violation) in [
        (0, 3, Violation::Wildcard),
        (14, 0x11, Violation::NotZero),
        (24, 0x00, Violation::Extended),
        (24, 0x41, Violation::Direction),
        (24, 0x42, Violation::NotZero),
        (25, 1, Violation::NotZero),
        (26, 0, Violation::Count),
        (26, 3, Violation::TooLarge),
        (34, 1, Violation::NotZero),
    ] {
        let mut frame = good.clone();
        frame[at] = value;
        assert_eq!(
            answer(&frame),
            (Some(2), Some(violation)),
            "byte {at} = {value:#x}"
        );
    }
    assert_eq!(answer(&good[..50]).1, Some(Violation::Runt));
}
