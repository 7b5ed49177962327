// SPDX-License-Identifier: BSD-2-Clause
//! A whole run out of one number.

use crate::more;
use aoe_core::{IoError, Tunables};
use aoe_target::rng::Rng;
use aoe_target::{Profile, SectorLimit, Timing};

use crate::net::Condition;
use crate::options::{
    DiskOptions, Fault, HostOptions, MS, NetPortOptions, NetifOptions, Options, PortOptions, SEC,
    ServerOptions, Sharing, US, WorkOptions,
};

/// Faults happen within this time.
pub(crate) const FAULTY: u64 = 12 * SEC;

impl Options {
    /// The run that belongs to this seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut options = Self::draw_plain(seed);
        // All faults are over at last.
        let calm = options.faults.pop();
        more::draw_ports(&mut options, &mut Rng::new(seed ^ 0x706f_7274));
        more::draw_removals(&mut options, &mut Rng::new(seed ^ 0x7265_6d6f));
        let last = options.faults.iter().map(|(at, _)| *at).max().unwrap_or(0);
        let calm = calm.map(|(at, calm)| (at.max(last), calm));
        options.faults.extend(calm);
        options
    }

    /// The same with interfaces that have one port each, which a flush empties, and with targets that nobody takes
    /// away: what the seed meant before there was more.
    #[must_use]
    pub fn draw_plain(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x6165_6f5f_7369_6d00);
        let mut options = Self::simple(seed);
        draw_network(&mut options, &mut rng);
        draw_servers(&mut options, &mut rng);
        options.work = draw_work(&mut rng);
        options.host = draw_host(&mut rng);
        options.tunables = Tunables {
            write_cache: *rng
                .pick(&[None, None, Some(true), Some(false)])
                .unwrap_or(&None),
            ..Tunables::default()
        };
        if rng.chance(100_000) {
            options.tunables.dead_secs = 3;
            options.allowed.push(IoError::Failed);
        }
        draw_faults(&mut options, &mut rng);
        // From numbers of their own, so that older seeds keep what they had.
        more::draw(&mut options, &mut Rng::new(seed ^ 0x6d6f_7265));
        more::draw_pauses(&mut options, &mut Rng::new(seed ^ 0x7061_7573));
        more::draw_access(&mut options, &mut Rng::new(seed ^ 0x6163_6365));
        more::draw_replays(&mut options, &mut Rng::new(seed ^ 0x7265_706c));
        more::draw_calls(&mut options, &mut Rng::new(seed ^ 0x6361_6c6c));
        more::draw_memory(&mut options, &mut Rng::new(seed ^ 0x6d65_6d6f));
        more::draw_runs(&mut options, &mut Rng::new(seed ^ 0x7275_6e73));
        more::draw_hangs(&mut options, &mut Rng::new(seed ^ 0x6861_6e67));
        let last = options.faults.iter().map(|(at, _)| *at).max().unwrap_or(0);
        options.faults.push((last.max(FAULTY), Fault::Calm));
        options
    }
}

fn draw_network(options: &mut Options, rng: &mut Rng) {
    options.segments = usize::from(rng.chance(500_000)) + 1;
    let count = rng.between(1, 3);
    let mtus = [1500, 1500, 4200, 9000];
    let common = *rng.pick(&mtus).unwrap_or(&1500);
    options.netifs = (0..count)
        .map(|number| NetifOptions {
            mtu: if rng.chance(200_000) {
                *rng.pick(&mtus).unwrap_or(&1500)
            } else {
                common
            },
            segment: usize::try_from(number).unwrap_or(0) % options.segments,
            listed: number == 0 || !rng.chance(100_000),
            ports: vec![NetPortOptions::PLAIN],
            sharing: Sharing::Failover,
            vlan: false,
        })
        .collect();
}

fn draw_profile(rng: &mut Rng, addr: (u16, u8)) -> (Profile, Timing) {
    let service = *rng
        .pick(&[(10 * US, 30 * US), (50 * US, 200 * US), (100 * US, 2 * MS)])
        .unwrap_or(&(10 * US, 30 * US));
    let workers = usize::try_from(rng.between(2, 8)).unwrap_or(2);
    let reordering = Timing::reordering(service, workers);
    let (mut profile, timing) = match rng.below(4) {
        0 => (Profile::vblade(), Timing::in_order(service)),
        1 => (Profile::ggaoed(), reordering),
        2 => (Profile::kvblade(), reordering),
        _ if rng.chance(500_000) => (Profile::ideal(), reordering),
        _ => (Profile::ideal(), Timing::in_order(service)),
    };
    profile.serial = format!("{}.{}:sim", addr.0, addr.1);
    if rng.chance(300_000) {
        profile.buffer_count = *rng.pick(&[0, 1, 2, 3, 8, 200]).unwrap_or(&1);
    }
    if rng.chance(100_000) {
        profile.advertised_sectors = Some(0);
        profile.sector_limit = SectorLimit::Fixed(2);
    }
    if profile.name == "ideal" {
        if rng.chance(200_000) {
            profile.lba48 = false;
            profile.flush_ext = false;
        }
        profile.physical_shift = u8::try_from(*rng.pick(&[0, 0, 3, 4]).unwrap_or(&0)).unwrap_or(0);
        profile.write_cache = rng.chance(700_000);
    } else {
        profile.claims_flush_ext = rng.chance(150_000);
        profile.claims_trim = rng.chance(150_000);
    }
    (profile, timing)
}

fn draw_servers(options: &mut Options, rng: &mut Rng) {
    options.servers.clear();
    options.disks.clear();
    for number in 0..rng.between(1, 2) {
        let addr = (
            u16::try_from(number).unwrap_or(0) * 300 + 7,
            u8::try_from(number * 13).unwrap_or(0),
        );
        let (profile, timing) = draw_profile(rng, addr);
        if profile.claims_flush_ext || profile.claims_trim {
            options.allowed.push(IoError::Unsupported);
        }
        let ports: Vec<PortOptions> = (0..rng.between(1, 2))
            .map(|_| PortOptions {
                mtu: *rng.pick(&[1500, 1500, 4200, 9000]).unwrap_or(&1500),
                segment: usize::try_from(rng.below(options.segments as u64)).unwrap_or(0),
            })
            .collect();
        // Somebody must be reachable by the first interface.
        let disk = options.disks.len();
        options.disks.push(DiskOptions {
            sectors: 2048,
            foreign: false,
        });
        let mut server = ServerOptions {
            addr,
            profile,
            ports,
            timing,
            disk,
            alive: true,
        };
        if let Some(port) = server.ports.first_mut() {
            port.segment = 0;
        }
        let twin = rng.chance(200_000).then(|| server.clone());
        let rival = rng.chance(150_000).then(|| server.clone());
        options.servers.push(server);
        options.servers.extend(twin);
        if let Some(mut rival) = rival {
            // It comes up later, so that the initiator knows the right one.
            rival.alive = false;
            rival.profile.serial = "RIVAL".into();
            rival.disk = options.disks.len();
            options.disks.push(DiskOptions {
                sectors: 2048,
                foreign: true,
            });
            options.servers.push(rival);
        }
    }
}

fn draw_work(rng: &mut Rng) -> WorkOptions {
    let mixes = [(50, 45, 2), (10, 85, 2), (80, 15, 1), (30, 40, 15)];
    let (reads, writes, trims) = *rng.pick(&mixes).unwrap_or(&(50, 45, 2));
    WorkOptions {
        requests: rng.between(100, 500),
        depth: usize::try_from(*rng.pick(&[1, 2, 8, 32, 64]).unwrap_or(&8)).unwrap_or(8),
        region: *rng.pick(&[4, 16, 64, 512, 2048]).unwrap_or(&64),
        longest: *rng.pick(&[1, 2, 8, 40, 256]).unwrap_or(&8),
        reads,
        writes,
        trims,
        ordered: *rng.pick(&[0, 0, 20, 100]).unwrap_or(&0),
        aligned: rng.chance(500_000),
        think: *rng.pick(&[0, MS, 20 * MS, 60 * MS]).unwrap_or(&0),
        runs: 0,
    }
}

fn draw_host(rng: &mut Rng) -> HostOptions {
    HostOptions {
        batch: usize::try_from(*rng.pick(&[1, 2, 8, 16, 64]).unwrap_or(&16)).unwrap_or(16),
        batch_pause: *rng.pick(&[0, 5 * US, 100 * US]).unwrap_or(&0),
        call_time: 0,
        send_delay: *rng.pick(&[0, 5 * US, 50 * US, 10 * MS]).unwrap_or(&0),
        commit_delay: *rng.pick(&[0, 5 * US, 50 * US, 10 * MS]).unwrap_or(&0),
        timer_delay: *rng.pick(&[0, 100 * US, MS, 10 * MS]).unwrap_or(&0),
        frames: usize::try_from(*rng.pick(&[64, 128, 384, 496]).unwrap_or(&384)).unwrap_or(384),
        ios: usize::try_from(*rng.pick(&[1, 4, 16, 256]).unwrap_or(&256)).unwrap_or(256),
        short: 0,
        close: 0,
        notice_delay: if rng.chance(500_000) { 20 * MS } else { 0 },
        follow: true,
        init_delay: 0,
        join: false,
    }
}

fn draw_condition(rng: &mut Rng) -> Condition {
    let mut condition = Condition::GOOD;
    condition.delay = *rng
        .pick(&[(5 * US, 20 * US), (20 * US, 60 * US), (100 * US, MS)])
        .unwrap_or(&condition.delay);
    if rng.chance(600_000) {
        condition.loss = *rng.pick(&[1_000, 10_000, 50_000, 200_000]).unwrap_or(&0);
    }
    if rng.chance(300_000) {
        condition.duplicate = *rng.pick(&[1_000, 50_000]).unwrap_or(&0);
    }
    if rng.chance(300_000) {
        condition.spike = *rng.pick(&[1_000, 20_000]).unwrap_or(&0);
        condition.spike_delay = *rng
            .pick(&[(MS, 20 * MS), (10 * MS, 2 * SEC)])
            .unwrap_or(&(MS, 2 * MS));
    }
    condition
}

fn draw_faults(options: &mut Options, rng: &mut Rng) {
    let mut faults = Vec::new();
    for (number, server) in options.servers.iter().enumerate() {
        if !server.alive {
            faults.push((rng.between(SEC, FAULTY), Fault::Start(number)));
        }
    }
    if !rng.chance(150_000) {
        for segment in 0..options.segments {
            draw_wire_faults(&mut faults, rng, segment);
        }
        for netif in 0..options.netifs.len() {
            draw_netif_faults(&mut faults, rng, netif);
        }
        for server in 0..options.servers.len() {
            draw_server_faults(&mut faults, rng, server);
        }
    }
    if options
        .servers
        .iter()
        .any(|server| server.timing.workers > 1)
    {
        // The second of two copies that the network made may wait in such a target until after a newer
        // write. It looks like the only one; nobody can guard against it.
        for (_, fault) in &mut faults {
            if let Fault::Conditions(_, to_target, _) = fault {
                to_target.duplicate = 0;
            }
        }
    }
    faults.sort_by_key(|(at, _)| *at);
    options.faults = faults;
}

fn draw_wire_faults(faults: &mut Vec<(u64, Fault)>, rng: &mut Rng, segment: usize) {
    for _ in 0..rng.below(4) {
        let at = rng.below(FAULTY);
        let mut to_host = draw_condition(rng);
        to_host.fifo = rng.chance(700_000);
        let mut to_target = draw_condition(rng);
        if rng.chance(150_000) {
            to_target.cut = true;
            to_host.cut = rng.chance(500_000);
            let end = at + rng.between(10 * MS, 3 * SEC);
            faults.push((
                end,
                Fault::Conditions(segment, Condition::GOOD, Condition::GOOD),
            ));
        }
        faults.push((at, Fault::Conditions(segment, to_target, to_host)));
    }
    if rng.chance(200_000) {
        let clog = Fault::Clog(segment, rng.between(10 * MS, 4 * SEC));
        faults.push((rng.below(FAULTY / 2), clog));
    }
}

fn draw_netif_faults(faults: &mut Vec<(u64, Fault)>, rng: &mut Rng, netif: usize) {
    for _ in 0..rng.below(3) {
        let at = rng.below(FAULTY);
        match rng.below(6) {
            0 | 1 => {
                faults.push((at, Fault::NetifDown(netif)));
                faults.push((at + rng.between(MS, 4 * SEC), Fault::NetifUp(netif)));
            }
            2 => {
                faults.push((at, Fault::NetifGone(netif)));
                faults.push((at + rng.between(MS, 4 * SEC), Fault::NetifUp(netif)));
            }
            3 => faults.push((
                at,
                Fault::NetifMtu(netif, *rng.pick(&[1500, 4200, 9000]).unwrap_or(&1500)),
            )),
            _ => {}
        }
    }
}

fn draw_server_faults(faults: &mut Vec<(u64, Fault)>, rng: &mut Rng, server: usize) {
    if rng.chance(300_000) {
        let stall = Fault::Stall(server, rng.between(10 * MS, 6 * SEC));
        faults.push((rng.below(FAULTY / 2), stall));
    }
    for _ in 0..rng.below(3) {
        let at = rng.below(FAULTY);
        match rng.below(5) {
            0 => {
                faults.push((at, Fault::Kill(server)));
                faults.push((at + rng.between(MS, 5 * SEC), Fault::Start(server)));
            }
            1 => {
                let count = *rng.pick(&[0, 1, 2, 16, 64]).unwrap_or(&16);
                faults.push((at, Fault::BufferCount(server, count)));
            }
            2 => {
                let mtu = *rng.pick(&[1500, 4200, 9000]).unwrap_or(&1500);
                faults.push((at, Fault::ServerMtu(server, mtu)));
            }
            3 => faults.push((at, Fault::Revalidate)),
            _ => {}
        }
    }
}
