// SPDX-License-Identifier: BSD-2-Clause
//! A station that saw the tags of what was sent to itself, and forges answers to what is sent to another one.

use std::rc::Rc;

use crate::common::*;

/// The station of the forger, which nobody believes to have the disk.
const FORGER: [u8; 6] = [2, 7, 7, 7, 0, 1];
/// Slots of the table of frames, and of questions behind them.
const FRAMES: u32 = 496;
const SLOTS: u32 = 384;

/// Tags as they were once: slot, copy and generation, XORed with a secret, and mixed by a permutation
/// that everybody knows.
mod old {
    const MASK: u32 = 0x7FFF_FFFF;
    const FACTOR: u32 = 0x4589_5A4D;

    fn plain(slot: u32, generation: u32) -> u32 {
        slot | generation << 13
    }

    fn inverse() -> u32 {
        (0..4).fold(FACTOR, |found, _| {
            found.wrapping_mul(2_u32.wrapping_sub(FACTOR.wrapping_mul(found)))
        })
    }

    fn mix(bits: u32) -> u32 {
        (0..3).fold(bits, |bits, _| {
            let bits = bits.wrapping_mul(FACTOR) & MASK;
            bits ^ bits >> 16
        })
    }

    fn unmix(bits: u32) -> u32 {
        (0..3).fold(bits, |bits, _| {
            (bits ^ bits >> 16).wrapping_mul(inverse()) & MASK
        })
    }

    /// The secret, of a tag of which slot and generation are known.
    pub(super) fn secret(tag: u32, slot: u32, generation: u32) -> u32 {
        unmix(tag) ^ plain(slot, generation)
    }

    pub(super) fn tag(secret: u32, slot: u32, generation: u32) -> u32 {
        mix(plain(slot, generation) ^ secret)
    }
}

/// The tags that the old scheme gives to the first frames of every slot, the first question to path `path` having had
/// this one.
fn by_the_old_scheme(question: u32, path: u32) -> impl Iterator<Item = u32> {
    let secret = old::secret(question, FRAMES + path, 1);
    (1..10)
        .flat_map(move |generation| (0..SLOTS).map(move |slot| old::tag(secret, slot, generation)))
}

/// What may come after a tag where there is an order in tags: the same with any one byte or the slot changed.
fn near(tag: u32) -> impl Iterator<Item = u32> {
    let bytes = (0..4).flat_map(move |byte| (0..256).map(move |to| tag ^ to << (8 * byte)));
    let slots = (0..SLOTS).map(move |slot| tag & 0x003F_FFFF | slot << 22);
    bytes.chain(slots).filter(|tag| tag >> 31 == 0)
}

/// What may come later from the slot of a tag if only counts change: the same with any turn.
fn later_of_its_slot(tag: u32) -> impl Iterator<Item = u32> {
    (0..64).map(move |turn| tag ^ turn << 16)
}

/// An answer to a read of two sectors, of which the data are the forger's.
fn forged(tag: u32) -> Rc<[u8]> {
    let mut frame = netif_mac(0).to_vec();
    frame.extend_from_slice(&port_mac(0, 0));
    frame.extend_from_slice(&[0x88, 0xa2, 0x18, 0, 0, 7, 0, 0]);
    frame.extend_from_slice(&tag.to_be_bytes());
    frame.extend_from_slice(&[0x40, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0]);
    frame.resize(36 + 1024, 0xbb);
    frame.into()
}

/// Reads are in flight to the true station, and all of these answers come in before its own. Each is counted as one to
/// nothing; that no data of theirs were taken the checkers see to.
fn forge(world: &mut World<'_>, tags: &[u32]) {
    for lba in 0..16 {
        world.submit(ADDR, Op::Read, lba * 8, 8, false);
    }
    let before = world.dropped("unknown_tag");
    for &tag in tags {
        world.frame_in(0, &forged(tag));
    }
    assert_eq!(
        world.dropped("unknown_tag") - before,
        tags.len() as u64,
        "some forged answer was taken for one"
    );
    world.run_for(SEC);
}

/// Announces the forger's station, and returns the tag of the question that it is asked then.
fn announce(world: &mut World<'_>) -> u32 {
    let mut frame = vec![0xff; 6];
    frame.extend_from_slice(&FORGER);
    frame.extend_from_slice(&[0x88, 0xa2, 0x18, 0, 0, 7, 0, 1, 0, 0, 0, 0]);
    frame.extend_from_slice(&[0, 16, 0x40, 0x14, 2, 0x10, 0, 0]);
    frame.resize(60, 0);
    forget(world);
    world.frame_in(0, &frame.into());
    world.run_for(10 * MS);
    let asked = seen(world).into_iter().filter(|sent| sent.dst == FORGER);
    let asked: Vec<_> = asked.collect();
    assert_eq!(asked[0].command, IDENTIFY);
    asked[0].tag
}

#[test]
fn a_station_that_announced_itself_once_cannot_forge_answers_for_another() {
    scenario(Options::simple(1), |world| {
        up(world);
        good(world, Op::Write, 0, 128);
        let question = announce(world);
        let tags: Vec<u32> = by_the_old_scheme(question, 1)
            .chain(near(question))
            .collect();
        forge(world, &tags);
        good(world, Op::Read, 0, 128);
    });
}

#[test]
fn a_station_that_carried_io_cannot_forge_answers_for_another_later() {
    scenario(two_paths(Options::simple(2)), |world| {
        world.run_until(10 * SEC, |world| {
            world.slot(ADDR).is_some_and(|slot| slot.identified)
        });
        up(world);
        // What went by the second path is what the forger saw.
        let its_own = |world: &World<'_>| {
            let sent = seen(world).into_iter();
            sent.filter(|sent| sent.netif == 1).collect::<Vec<_>>()
        };
        let first = its_own(world).into_iter();
        let first = first.filter(|sent| sent.command == IDENTIFY && sent.class == 0);
        let question = first.map(|sent| sent.tag).next().expect("it was asked");
        forget(world);
        for _ in 0..8 {
            good(world, Op::Write, 0, 512);
        }
        let io: Vec<_> = its_own(world)
            .into_iter()
            .filter(|sent| sent.command == WRITE_EXT)
            .collect();
        // Each slot was used more than once.
        assert!(io.len() > 800, "{}", io.len());
        world.apply(&Fault::NetifDown(1));
        world.run_for(SEC);
        let last = io.iter().rev().take(SLOTS as usize).map(|sent| sent.tag);
        let later = last.clone().flat_map(later_of_its_slot);
        let later = later.chain(last.take(8).flat_map(near));
        let paths = 0..2;
        let tags: Vec<u32> = paths
            .flat_map(|path| by_the_old_scheme(question, path))
            .chain(later)
            .collect();
        forge(world, &tags);
        good(world, Op::Read, 0, 128);
    });
}
