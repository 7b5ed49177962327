// SPDX-License-Identifier: BSD-2-Clause
//! What the scenarios share.

pub(crate) use aoe_core::{Event, IoError, Op, State};
pub(crate) use aoe_sim::net::Condition;
pub(crate) use aoe_sim::options::{MS, SEC, US};
pub(crate) use aoe_sim::world::{netif_mac, port_mac};
pub(crate) use aoe_sim::{Ended, Fault, Options, World, loans, pools};
pub(crate) use aoe_target::{AoeFault, AtaFault, Profile, SectorLimit, Timing, Which};

/// The target of most scenarios.
pub(crate) const ADDR: (u16, u8) = (7, 0);

/// A frame that the initiator sent, taken apart.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) at: u64,
    pub(crate) netif: usize,
    pub(crate) dst: [u8; 6],
    pub(crate) addr: (u16, u8),
    /// The AoE command.
    pub(crate) class: u8,
    pub(crate) tag: u32,
    /// The ATA command; only in ATA frames.
    pub(crate) command: u8,
    pub(crate) aflags: u8,
    pub(crate) feature: u8,
    pub(crate) count: u8,
    pub(crate) lba: u64,
    pub(crate) lba3: u8,
    pub(crate) len: usize,
}

/// Runs a scenario in a world in which frames are logged; every checker must be content at the end.
pub(crate) fn scenario(mut options: Options, test: impl FnOnce(&mut World<'_>)) {
    options.log = true;
    let mut pools = pools(&options);
    let mut world = World::new(options, loans(&mut pools));
    test(&mut world);
    let trouble = world.trouble.list();
    assert!(trouble.is_empty(), "{trouble:#?}");
    world.check_disks();
    let trouble = world.trouble.list();
    assert!(trouble.is_empty(), "{trouble:#?}");
}

/// Options with this one server profile.
pub(crate) fn with(profile: Profile) -> Options {
    let mut options = Options::simple(1);
    options.server().profile = profile;
    options
}

/// Gives both ends this MTU.
pub(crate) fn mtu(mut options: Options, mtu: u32) -> Options {
    for netif in &mut options.netifs {
        netif.mtu = mtu;
    }
    for server in &mut options.servers {
        for port in &mut server.ports {
            port.mtu = mtu;
        }
    }
    options
}

/// Two interfaces on two segments, and a target with a port on each.
pub(crate) fn two_paths(mut options: Options) -> Options {
    options.segments = 2;
    let mut second = options.netifs[0].clone();
    second.segment = 1;
    options.netifs.push(second);
    let mut port = options.servers[0].ports[0];
    port.segment = 1;
    options.servers[0].ports.push(port);
    options
}

/// Waits until the target is there and up.
pub(crate) fn up(world: &mut World<'_>) {
    let up = world.run_until(10 * SEC, |world| {
        world
            .slot(ADDR)
            .is_some_and(|slot| slot.identified && slot.target().state() == State::Up)
    });
    assert!(up, "the target did not come up");
    // All paths that there are.
    world.run_for(200 * MS);
}

/// Forgets the frames so far.
pub(crate) fn forget(world: &mut World<'_>) {
    world.log = Some(Vec::new());
}

/// The frames since the last [`forget`].
pub(crate) fn seen(world: &World<'_>) -> Vec<Seen> {
    let log = world.log.as_deref().unwrap_or_default();
    log.iter()
        .map(|sent| {
            let frame = &sent.frame;
            let mut lba = [0; 8];
            lba[..6].copy_from_slice(&frame[28..34]);
            Seen {
                at: sent.at,
                netif: sent.netif,
                dst: frame[..6].try_into().unwrap(),
                addr: (u16::from_be_bytes([frame[16], frame[17]]), frame[18]),
                class: frame[19],
                tag: u32::from_be_bytes(frame[20..24].try_into().unwrap()),
                command: frame[27],
                aflags: frame[24],
                feature: frame[25],
                count: frame[26],
                lba: u64::from_le_bytes(lba),
                lba3: frame[31],
                len: frame.len(),
            }
        })
        .collect()
}

/// The ATA frames with this command.
pub(crate) fn commands(world: &World<'_>, command: u8) -> Vec<Seen> {
    seen(world)
        .into_iter()
        .filter(|f| f.class == 0 && f.command == command)
        .collect()
}

/// Makes a request and waits for its end.
pub(crate) fn io(world: &mut World<'_>, op: Op, lba: u64, sectors: u64) -> Ended {
    let token = world.submit(ADDR, op, lba, sectors, false);
    wait(world, token, 30 * SEC)
}

/// Waits for the end of a request.
pub(crate) fn wait(world: &mut World<'_>, token: u64, nanos: u64) -> Ended {
    world.run_until(nanos, |world| world.ended(token).is_some());
    world.ended(token).unwrap_or_else(|| {
        panic!("request {token} did not end: {:#?}", world.trouble.list());
    })
}

/// Makes a request that must succeed.
pub(crate) fn good(world: &mut World<'_>, op: Op, lba: u64, sectors: u64) -> Ended {
    let ended = io(world, op, lba, sectors);
    assert_eq!(ended.result, Ok(()), "{op:?} {lba}+{sectors}");
    ended
}

/// Makes a request that must fail like this.
pub(crate) fn bad(world: &mut World<'_>, op: Op, lba: u64, sectors: u64, error: IoError) {
    assert_eq!(
        io(world, op, lba, sectors).result,
        Err(error),
        "{op:?} {lba}+{sectors}"
    );
}

/// A wire on which everything is lost.
pub(crate) fn cut() -> Condition {
    Condition {
        cut: true,
        ..Condition::GOOD
    }
}

pub(crate) const READ: u8 = 0x20;
pub(crate) const READ_EXT: u8 = 0x24;
pub(crate) const WRITE: u8 = 0x30;
pub(crate) const WRITE_EXT: u8 = 0x34;
pub(crate) const FLUSH: u8 = 0xe7;
pub(crate) const FLUSH_EXT: u8 = 0xea;
pub(crate) const DSM: u8 = 0x06;
pub(crate) const IDENTIFY: u8 = 0xec;
