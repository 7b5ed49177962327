// SPDX-License-Identifier: BSD-2-Clause
//! Rarer faults, drawn on top of the others.

use aoe_core::IoError;
use aoe_target::rng::Rng;
use aoe_target::{AoeFault, AtaFault, Which};

use crate::draw::FAULTY;
use crate::net::Condition;
use crate::options::{Fault, Flush, MS, NetPortOptions, Options, SEC, Sharing};

const EVERY_ERROR: [IoError; 5] = [
    IoError::Failed,
    IoError::Reserved,
    IoError::ReadOnly,
    IoError::Unsupported,
    IoError::Invalid,
];

/// Adds some of them to a third of the runs.
pub(crate) fn draw(options: &mut Options, rng: &mut Rng) {
    if !rng.chance(350_000) {
        return;
    }
    let kinds: [fn(&mut Options, &mut Rng); 7] = [
        black_hole, overtaking, errors, sizes, damage, addresses, many_small,
    ];
    for _ in 0..rng.between(1, 2) {
        if let Some(kind) = rng.pick(&kinds) {
            kind(options, rng);
        }
    }
    options.faults.sort_by_key(|(at, _)| *at);
}

/// Interfaces that are told to pause, in some of the runs: what they were given leaves late.
pub(crate) fn draw_pauses(options: &mut Options, rng: &mut Rng) {
    // Frames that were paused leave together. On a wire that reorders, too, later ones could then overtake
    // earlier ones by any time, and no order would prove anything.
    let reorders = options
        .faults
        .iter()
        .any(|(_, fault)| matches!(fault, Fault::Conditions(_, to_target, _) if !to_target.fifo));
    if !rng.chance(200_000) || reorders {
        return;
    }
    // Once each: stall, clog, delay and pause together stay below what the engine waits for.
    for netif in 0..options.netifs.len() {
        let pause = Fault::NetifPause(netif, rng.between(MS, 2 * SEC));
        options.faults.push((rng.below(FAULTY), pause));
    }
    options.faults.sort_by_key(|(at, _)| *at);
}

/// What is below the interfaces, in most of the runs: a driver that is emptied in this or that way, a vlan, a lagg, a
/// bridge; and ports that come and go by themselves.
pub(crate) fn draw_ports(options: &mut Options, rng: &mut Rng) {
    if !rng.chance(700_000) {
        return;
    }
    options.host.init_delay = *rng.pick(&[0, MS, 30 * MS]).unwrap_or(&0);
    let reorders = options
        .faults
        .iter()
        .any(|(_, fault)| matches!(fault, Fault::Conditions(_, to_target, _) if !to_target.fifo));
    let mut faults = Vec::new();
    for (number, netif) in options.netifs.iter_mut().enumerate() {
        let count = *rng.pick(&[1, 1, 2, 2, 3]).unwrap_or(&1);
        netif.ports = (0..count)
            .map(|_| NetPortOptions {
                keeps: !rng.chance(200_000),
                flush: *rng
                    .pick(&[
                        Flush::Works,
                        Flush::AfterInit,
                        Flush::AfterInit,
                        Flush::Nothing,
                    ])
                    .unwrap_or(&Flush::Works),
            })
            .collect();
        let kinds = [
            Sharing::Failover,
            Sharing::Failover,
            Sharing::RoundRobin,
            Sharing::Hash,
            Sharing::Bridge,
        ];
        netif.sharing = *rng.pick(&kinds).unwrap_or(&Sharing::Failover);
        netif.vlan = rng.chance(300_000);
        for port in 0..count {
            for _ in 0..rng.below(3) {
                let at = rng.below(FAULTY);
                // What is paused leaves together, and must not be overtaken on its way.
                if !reorders && rng.chance(500_000) {
                    let pause = Fault::PortPause(number, port, rng.between(MS, 500 * MS));
                    faults.push((at.saturating_sub(20 * MS), pause));
                }
                // For longer than anything is waited for, now and then.
                let longest = *rng.pick(&[4 * SEC, 4 * SEC, 30 * SEC]).unwrap_or(&SEC);
                faults.push((at, Fault::PortDown(number, port)));
                // No link is back before the kernel has noticed that it was gone.
                let end = at + rng.between(50 * MS, longest);
                faults.push((end, Fault::PortUp(number, port)));
            }
        }
    }
    options.faults.append(&mut faults);
    options.faults.sort_by_key(|(at, _)| *at);
}

/// Targets that the operator takes away, and that are found again, in some of the runs. Where another disk has
/// the same address that one might be found.
pub(crate) fn draw_removals(options: &mut Options, rng: &mut Rng) {
    let alone = options.disks.iter().all(|disk| !disk.foreign);
    if !alone || !rng.chance(150_000) {
        return;
    }
    options.allowed.push(IoError::Gone);
    // What is lost of this is made good by the next beacon.
    options.patience = options.patience.max(70 * SEC);
    for _ in 0..rng.between(1, 3) {
        let server = usize::try_from(rng.below(options.servers.len() as u64)).unwrap_or(0);
        let at = rng.between(SEC, FAULTY);
        options.faults.push((at, Fault::Remove(server)));
        let again = at + rng.between(MS, SEC);
        options.faults.push((again, Fault::Discover));
    }
    options.faults.sort_by_key(|(at, _)| *at);
}

/// Disks that hang for a while behind servers that go on answering questions, in some of the runs. vblade does
/// one thing after the other: its disk cannot hang without it.
pub(crate) fn draw_hangs(options: &mut Options, rng: &mut Rng) {
    if !rng.chance(200_000) {
        return;
    }
    for server in 0..options.servers.len() {
        let kind = options
            .servers
            .get(server)
            .map(|server| server.profile.name);
        if kind == Some("vblade") || rng.chance(300_000) {
            continue;
        }
        let begin = rng.below(FAULTY);
        let end = begin + rng.between(10 * MS, 20 * SEC);
        options.faults.push((begin, Fault::Hang(server, true)));
        options.faults.push((end, Fault::Hang(server, false)));
        // What the disk was given is carried out late.
        options.overtime = options.overtime.max(25 * SEC);
        options.patience = options.patience.max(60 * SEC);
        if options.tunables.dead_secs != 0 {
            options.allowed.push(IoError::Failed);
        }
    }
    options.faults.sort_by_key(|(at, _)| *at);
}

/// Servers that shut the initiator out for a while, by mask or by reservation, in some of the runs.
pub(crate) fn draw_access(options: &mut Options, rng: &mut Rng) {
    if !rng.chance(150_000) {
        return;
    }
    let stranger = vec![[2, 0, 0, 9, 9, 9]];
    let server = usize::try_from(rng.below(options.servers.len() as u64)).unwrap_or(0);
    let (begin, end) = (rng.below(FAULTY / 2), rng.between(FAULTY / 2, FAULTY));
    let pair = if rng.chance(500_000) {
        // Nobody says when a mask is lifted; where no path is left, the next beacon finds it out.
        options.patience = options.patience.max(70 * SEC);
        [
            Fault::Mask(server, stranger),
            Fault::Mask(server, Vec::new()),
        ]
    } else {
        options.allowed.push(IoError::Reserved);
        [
            Fault::Reserve(server, stranger),
            Fault::Reserve(server, Vec::new()),
        ]
    };
    options.faults.extend([begin, end].into_iter().zip(pair));
    options.faults.sort_by_key(|(at, _)| *at);
}

/// Answers that come again long after, in some of the runs.
pub(crate) fn draw_replays(options: &mut Options, rng: &mut Rng) {
    if !rng.chance(150_000) {
        return;
    }
    let chance = *rng.pick(&[1_000, 20_000, 300_000]).unwrap_or(&1_000);
    on_wires(options, rng, |_, to_host| to_host.replay = chance);
    options.faults.sort_by_key(|(at, _)| *at);
}

/// Calls that take their time, in half of the runs.
pub(crate) fn draw_calls(options: &mut Options, rng: &mut Rng) {
    options.host.call_time = *rng.pick(&[0, 0, 10, 200]).unwrap_or(&0);
}

/// Callers that join requests, in half of the runs, and loads for which they can do so.
pub(crate) fn draw_runs(options: &mut Options, rng: &mut Rng) {
    options.host.join = rng.chance(500_000);
    if !options.host.join {
        return;
    }
    options.work.runs = *rng.pick(&[0, 0, 900, 980]).unwrap_or(&0);
    if options.work.runs > 0 {
        options.work.think = 0;
        options.work.depth = options.work.depth.max(24);
        options.work.aligned = false;
        if rng.chance(500_000) {
            let ports = options.servers.iter_mut().flat_map(|s| &mut s.ports);
            let mtus = ports.map(|port| &mut port.mtu);
            for mtu in mtus.chain(options.netifs.iter_mut().map(|netif| &mut netif.mtu)) {
                *mtu = 9000;
            }
        }
    }
    if rng.chance(100_000) {
        options.allowed.push(IoError::Failed);
        for server in 0..options.servers.len() {
            let bad = Fault::BadSector(server, rng.below(64));
            options.faults.push((rng.below(FAULTY), bad));
        }
        options.faults.sort_by_key(|(at, _)| *at);
    }
}

/// Callers that close the disk as soon as nothing is to be done, and some that are short of memory.
pub(crate) fn draw_memory(options: &mut Options, rng: &mut Rng) {
    options.host.close = *rng.pick(&[0, 0, 100_000, 900_000]).unwrap_or(&0);
    options.host.short = *rng.pick(&[0, 0, 0, 500_000]).unwrap_or(&0);
    if !rng.chance(250_000) {
        return;
    }
    for _ in 0..4 {
        let server = usize::try_from(rng.below(options.servers.len() as u64)).unwrap_or(0);
        let len = *rng.pick(&[0, 1, 32, 33, 500, 1024]).unwrap_or(&0);
        let letter = u8::try_from(rng.between(33, 126)).unwrap_or(b'a');
        let at = rng.below(FAULTY);
        let change = Fault::Config(server, vec![letter; len]);
        options
            .faults
            .extend([(at, change), (at + MS, Fault::Discover)]);
    }
    options.faults.sort_by_key(|(at, _)| *at);
}

/// What changes the wires without taking away what they do already.
fn on_wires(options: &mut Options, rng: &mut Rng, change: impl Fn(&mut Condition, &mut Condition)) {
    let mut any = false;
    for (_, fault) in &mut options.faults {
        if let Fault::Conditions(_, to_target, to_host) = fault {
            change(to_target, to_host);
            any = true;
        }
    }
    if !any {
        let (mut to_target, mut to_host) = (Condition::GOOD, Condition::GOOD);
        change(&mut to_target, &mut to_host);
        let segment = usize::try_from(rng.below(options.segments as u64)).unwrap_or(0);
        let fault = Fault::Conditions(segment, to_target, to_host);
        options.faults.push((rng.below(FAULTY / 2), fault));
    }
}

/// A switch that swallows large frames, in one direction or both.
fn black_hole(options: &mut Options, rng: &mut Rng) {
    let longest = *rng.pick(&[1514, 4096, 8000]).unwrap_or(&1514);
    let both = rng.chance(500_000);
    on_wires(options, rng, |to_target, to_host| {
        to_target.drop_longer = Some(longest);
        to_host.drop_longer = both.then_some(longest);
    });
}

/// Frames overtake each other on the way to the target, by less than the engine reckons with.
fn overtaking(options: &mut Options, rng: &mut Rng) {
    let chance = *rng.pick(&[1_000, 20_000, 200_000]).unwrap_or(&1_000);
    let longest = *rng.pick(&[MS / 10, 5 * MS, 30 * MS]).unwrap_or(&MS);
    on_wires(options, rng, |to_target, _| {
        to_target.fifo = false;
        to_target.spike = chance;
        to_target.spike_delay = (0, longest);
    });
}

/// The target refuses things.
fn errors(options: &mut Options, rng: &mut Rng) {
    options.allowed.extend(EVERY_ERROR);
    for _ in 0..rng.between(1, 4) {
        let at = rng.below(FAULTY);
        let server = usize::try_from(rng.below(options.servers.len() as u64)).unwrap_or(0);
        let times = u32::try_from(rng.between(1, 30)).unwrap_or(1);
        let fault = if rng.chance(500_000) {
            let code = *rng.pick(&[1, 2, 3, 5, 6, 77]).unwrap_or(&1);
            Fault::Aoe(
                server,
                AoeFault {
                    code,
                    times,
                    identify: rng.chance(200_000),
                },
            )
        } else {
            let which = [
                Which::All,
                Which::Reads,
                Which::Writes,
                Which::Flushes,
                Which::Trims,
            ];
            let registers = [
                (0x41, 0x04),
                (0x41, 0x10),
                (0x41, 0x40),
                (0x01, 0x04),
                (0x80, 0),
                (0x61, 0),
            ];
            let (status, error) = *rng.pick(&registers).unwrap_or(&(0x41, 0x04));
            let which = *rng.pick(&which).unwrap_or(&Which::All);
            Fault::Ata(
                server,
                AtaFault {
                    which,
                    status,
                    error,
                    times,
                },
            )
        };
        options.faults.push((at, fault));
    }
}

/// Disks grow and shrink, but not into where the load is.
fn sizes(options: &mut Options, rng: &mut Rng) {
    options.work.region = options.work.region.min(512);
    // A path may say one thing, another path another, until both have looked again.
    options.allowed.extend([IoError::Failed, IoError::Invalid]);
    for _ in 0..rng.between(1, 3) {
        let disk = usize::try_from(rng.below(options.disks.len() as u64)).unwrap_or(0);
        let sectors = *rng.pick(&[1024, 1025, 2048, 4096]).unwrap_or(&2048);
        options
            .faults
            .push((rng.below(FAULTY), Fault::Resize(disk, sectors)));
        if rng.chance(500_000) {
            options.faults.push((rng.below(FAULTY), Fault::Revalidate));
        }
    }
}

/// Headers of answers arrive with a wrong byte. (On real wires the frame check finds that.)
fn damage(options: &mut Options, rng: &mut Rng) {
    options.allowed.extend(EVERY_ERROR);
    let chance = *rng.pick(&[1_000, 10_000, 100_000]).unwrap_or(&1_000);
    on_wires(options, rng, |_, to_host| to_host.corrupt = chance);
}

/// Addresses change under way.
fn addresses(options: &mut Options, rng: &mut Rng) {
    for _ in 0..rng.between(1, 3) {
        let at = rng.below(FAULTY);
        if rng.chance(500_000) {
            let netif = rng.below(options.netifs.len() as u64);
            let last = u8::try_from(rng.between(0x10, 0xff)).unwrap_or(0x10);
            let mac = [2, 0, 0, 0, last, u8::try_from(netif).unwrap_or(0)];
            options.faults.push((
                at,
                Fault::NetifMac(usize::try_from(netif).unwrap_or(0), mac),
            ));
        } else {
            let server = usize::try_from(rng.below(options.servers.len() as u64)).unwrap_or(0);
            options.faults.push((at, Fault::ReplyFrom(server, Some(1))));
            let end = at + rng.between(MS, 3 * SEC);
            options.faults.push((end, Fault::ReplyFrom(server, None)));
        }
    }
}

/// Interfaces flap fast.
fn many_small(options: &mut Options, rng: &mut Rng) {
    let mut at = rng.below(FAULTY / 2);
    for _ in 0..rng.between(5, 40) {
        let netif = usize::try_from(rng.below(options.netifs.len() as u64)).unwrap_or(0);
        let gone = rng.chance(200_000);
        let fault = if gone {
            Fault::NetifGone(netif)
        } else {
            Fault::NetifDown(netif)
        };
        options.faults.push((at, fault));
        at += rng.below(20 * MS);
        options.faults.push((at, Fault::NetifUp(netif)));
        at += rng.below(50 * MS);
    }
}
