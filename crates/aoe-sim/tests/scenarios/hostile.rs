// SPDX-License-Identifier: BSD-2-Clause
//! Frames that nobody asked for: damaged, cut off, forged, random. They are counted, and that is all.

use std::rc::Rc;

use aoe_target::rng::Rng;
use aoe_target::{Address, MemStorage, Model, Port};

use crate::common::*;

/// Real answers of a target to a request of ours, one of each kind.
fn answers() -> Vec<Vec<u8>> {
    let port = Port {
        mac: port_mac(0, 0),
        mtu: 1500,
    };
    let addr = Address {
        shelf: ADDR.0,
        slot: ADDR.1,
    };
    let mut model = Model::new(Profile::vblade(), addr, MemStorage::new(2048));
    model.set_config(b"hello");
    let request = |command: u8, tag: [u8; 4], arg: &[u8]| {
        let mut frame = port.mac.to_vec();
        frame.extend_from_slice(&netif_mac(0));
        frame.extend_from_slice(&[0x88, 0xa2, 0x10, 0, 0, 7, 0, command]);
        frame.extend_from_slice(&tag);
        frame.extend_from_slice(arg);
        frame.resize(frame.len().max(60), 0);
        frame
    };
    let tag = [0x12, 0x34, 0x56, 0x78];
    let mut answers = model.advertisement(&port);
    for frame in [
        request(0, tag, &[0, 0, 1, 0xec]),
        request(0, tag, &[0x40, 0, 2, 0x24]),
        request(0, tag, &[0x40, 0, 3, 0x24]),
        request(0, tag, &[0, 0, 0, 0xe7]),
        request(1, tag, &[0; 8]),
        request(2, tag, &[0; 4]),
        request(3, tag, &[0; 2]),
        request(0x55, tag, &[]),
        request(0xf0, tag, &[]),
    ] {
        answers.extend(model.handle(&port, &frame));
    }
    assert_eq!(answers.len(), 10);
    answers
}

/// The target as it was: up, with its one path, its size and its data.
fn unharmed(world: &mut World<'_>) {
    world.run_for(90 * SEC);
    let slot = world.slot(ADDR).unwrap();
    assert_eq!(
        (slot.target().state(), slot.target().sectors()),
        (State::Up, 2048)
    );
    assert_eq!(
        slot.target().paths().count(),
        1,
        "{:?}",
        slot.target().paths().collect::<Vec<_>>()
    );
    assert!(
        world
            .slots()
            .all(|(addr, slot)| *addr == ADDR || !slot.identified)
    );
    good(world, Op::Read, 0, 64);
    good(world, Op::Write, 0, 64);
}

/// Keeps the disk at work while frames come in.
fn under_attack(frames: impl Iterator<Item = Vec<u8>>) {
    scenario(Options::simple(1), |world| {
        up(world);
        good(world, Op::Write, 0, 64);
        for (n, frame) in frames.enumerate() {
            if n % 8 == 0 {
                let lba = u64::try_from(n).unwrap() % 256;
                world.submit(
                    ADDR,
                    if n % 16 == 0 { Op::Write } else { Op::Read },
                    lba,
                    8,
                    false,
                );
            }
            let frame: Rc<[u8]> = frame.into();
            world.frame_in(0, &frame);
            world.run_for(20 * US);
        }
        unharmed(world);
    });
}

#[test]
fn answers_with_every_byte_of_the_header_altered() {
    let altered = answers().into_iter().flat_map(|answer| {
        (0..36.min(answer.len())).flat_map(move |at| {
            let answer = answer.clone();
            [0x01, 0x08, 0x80, 0xff].into_iter().map(move |mask| {
                let mut frame = answer.clone();
                frame[at] ^= mask;
                frame
            })
        })
    });
    under_attack(altered);
}

#[test]
fn answers_cut_off_at_every_length() {
    let cut = answers()
        .into_iter()
        .flat_map(|answer| (0..answer.len().min(120)).map(move |len| answer[..len].to_vec()));
    under_attack(cut);
}

#[test]
fn random_bytes_behind_a_right_header() {
    let mut rng = Rng::new(7);
    let frames = (0..4000).map(move |_| {
        let mut frame = netif_mac(0).to_vec();
        frame.extend_from_slice(&port_mac(0, 0));
        frame.extend_from_slice(&[0x88, 0xa2, 0x18, 0, 0, 7, 0]);
        let len = rng.below(1100);
        frame.extend((0..len).map(|_| rng.bits().to_le_bytes()[0]));
        frame
    });
    under_attack(frames);
}

#[test]
fn random_bytes() {
    let mut rng = Rng::new(8);
    let frames = (0..4000).map(move |_| {
        let len = rng.below(200);
        let mut frame: Vec<u8> = (0..len).map(|_| rng.bits().to_le_bytes()[0]).collect();
        if let Some(kind) = frame.get_mut(12..14) {
            kind.copy_from_slice(&[0x88, 0xa2]);
        }
        frame
    });
    under_attack(frames);
}

#[test]
fn forged_answers_with_guessed_tags_change_nothing() {
    let mut rng = Rng::new(9);
    let frames = (0..20_000).map(move |_| {
        let mut frame = netif_mac(0).to_vec();
        frame.extend_from_slice(&port_mac(0, 0));
        frame.extend_from_slice(&[0x88, 0xa2, 0x18, 0, 0, 7, 0, 0]);
        frame.extend_from_slice(&rng.bits().to_le_bytes()[..4]);
        frame.extend_from_slice(&[0x40, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0]);
        frame.resize(36 + 1024, 0xbb);
        frame
    });
    under_attack(frames);
}

#[test]
fn a_flood_of_forged_targets_is_bounded_and_goes_away() {
    let mut options = Options::simple(1);
    // Memory for a few; the rest is refused.
    options.servers.push(options.servers[0].clone());
    options.servers[1].alive = false;
    scenario(options, |world| {
        up(world);
        let mut forged = answers().swap_remove(0);
        for n in 0..5000_u16 {
            forged[16..18].copy_from_slice(&(n + 100).to_be_bytes());
            let frame: Rc<[u8]> = forged.clone().into();
            world.frame_in(0, &frame);
            if n % 16 == 0 {
                good(world, Op::Read, 0, 8);
            }
        }
        unharmed(world);
        assert_eq!(
            world.slots().count(),
            1,
            "what never identified itself is forgotten"
        );
    });
}

#[test]
fn a_flood_of_forged_paths_leaves_the_real_one_alone() {
    scenario(Options::simple(1), |world| {
        up(world);
        let mut forged = answers().swap_remove(0);
        for n in 0..3000_u16 {
            forged[6..12].copy_from_slice(&[2, 7, 7, 7, n.to_be_bytes()[0], n.to_be_bytes()[1]]);
            let frame: Rc<[u8]> = forged.clone().into();
            world.frame_in(0, &frame);
            if n % 16 == 0 {
                good(world, Op::Write, 0, 8);
            }
        }
        // Candidates push each other out; a path in use is never pushed out.
        unharmed(world);
    });
}

#[test]
fn damaged_headers_of_answers_change_nothing() {
    let damaged = Condition {
        corrupt: 20_000,
        ..Condition::GOOD
    };
    for seed in 1..5 {
        let mut options = Options::simple(seed);
        options.disks[0].sectors = 1 << 14;
        scenario(options, |world| {
            up(world);
            world.apply(&Fault::Conditions(0, Condition::GOOD, damaged));
            for n in 0..60 {
                good(world, Op::Write, n * 100 % 8000, 100);
                good(world, Op::Read, n * 100 % 8000, 100);
            }
        });
    }
}
