// SPDX-License-Identifier: BSD-2-Clause
//! What the kinds of targets do differently, seen from outside.

use aoe_target::{
    Address, AoeFault, AtaFault, Mac, MemStorage, Model, Port, Profile, SECTOR, Server, Timing,
    Which,
};

const ME: Mac = [2, 0, 0, 0, 0, 1];
const PORT: Port = Port {
    mac: [2, 0, 0, 0, 0, 0x73],
    mtu: 1500,
};
const ADDR: Address = Address { shelf: 7, slot: 3 };

fn model(profile: Profile) -> Model<MemStorage> {
    Model::new(profile, ADDR, MemStorage::new(64))
}

fn request(command: u8, arg: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend_from_slice(&PORT.mac);
    frame.extend_from_slice(&ME);
    frame.extend_from_slice(&[0x88, 0xa2, 0x10, 0, 0, 7, 3, command, 1, 2, 3, 4]);
    frame.extend_from_slice(arg);
    if frame.len() < 60 {
        frame.resize(60, 0);
    }
    frame
}

fn ata(command: u8, aflags: u8, count: u8, lba: u64, feature: u8, data: &[u8]) -> Vec<u8> {
    let mut arg = vec![aflags, feature, count, command];
    arg.extend_from_slice(&lba.to_le_bytes()[..6]);
    arg.extend_from_slice(&[0, 0]);
    arg.extend_from_slice(data);
    request(0, &arg)
}

/// (AoE error or 0, status, error register, sector count, length)
type Told = (u8, u8, u8, u8, usize);

fn told(reply: &[u8]) -> Told {
    let error = if reply[14] & 4 != 0 { reply[15] } else { 0 };
    (error, reply[27], reply[25], reply[26], reply.len())
}

fn ask(model: &mut Model<MemStorage>, frame: &[u8]) -> Option<Told> {
    model.handle(&PORT, frame).map(|reply| told(&reply))
}

#[test]
fn flush_is_answered_as_each_of_them_does() {
    for (profile, command, aflags, expected) in [
        (Profile::vblade(), 0xe7, 0, (0, 0x00, 0, 0, 60)),
        (Profile::vblade(), 0xea, 0x40, (0, 0x41, 4, 0, 60)),
        (Profile::ggaoed(), 0xe7, 0, (0, 0xe7, 0, 0, 60)),
        (Profile::ggaoed(), 0xea, 0x40, (0, 0xea, 0, 0, 60)),
        (Profile::kvblade(), 0xe7, 0, (0, 0x40, 0, 0, 60)),
        (Profile::kvblade(), 0xea, 0x40, (0, 0x01, 4, 0, 60)),
        (Profile::ideal(), 0xea, 0x40, (0, 0x40, 0, 0, 60)),
    ] {
        let name = profile.name;
        assert_eq!(
            ask(&mut model(profile), &ata(command, aflags, 0, 0, 0, &[])),
            Some(expected),
            "{name}"
        );
    }
}

#[test]
fn too_many_sectors_are_refused_as_each_of_them_does() {
    let read = ata(0x24, 0x40, 3, 0, 0, &[]);
    assert_eq!(
        ask(&mut model(Profile::vblade()), &read).map(|told| told.0),
        Some(2)
    );
    assert_eq!(
        ask(&mut model(Profile::ggaoed()), &read).map(|told| (told.0, told.1)),
        Some((0, 0x41))
    );
    assert_eq!(ask(&mut model(Profile::kvblade()), &read), None);
    assert_eq!(
        ask(&mut model(Profile::ideal()), &read).map(|told| told.0),
        Some(2)
    );
}

#[test]
fn the_count_of_an_answer_is_what_each_of_them_puts_there() {
    for (profile, good, out_of_range) in [
        (Profile::vblade(), 0, 2),
        (Profile::ggaoed(), 2, 2),
        (Profile::kvblade(), 0, 0),
    ] {
        let name = profile.name;
        let mut model = model(profile);
        let count = |told: Option<Told>| told.map(|told| told.3);
        assert_eq!(
            count(ask(&mut model, &ata(0x24, 0x40, 2, 0, 0, &[]))),
            Some(good),
            "{name}"
        );
        assert_eq!(
            count(ask(&mut model, &ata(0x24, 0x40, 2, 63, 0, &[]))),
            Some(out_of_range),
            "{name}"
        );
    }
}

#[test]
fn other_versions_are_served_ignored_or_refused() {
    let mut frame = request(1, &[0; 8]);
    frame[14] = 0x20;
    let answer = |profile| {
        model(profile)
            .handle(&PORT, &frame)
            .map(|reply| (reply[14], reply[15]))
    };
    assert_eq!(answer(Profile::vblade()), Some((0x28, 0)));
    assert_eq!(answer(Profile::ggaoed()), None);
    assert_eq!(answer(Profile::ideal()), Some((0x1c, 5)));
}

#[test]
fn kvblade_knows_no_masks_and_always_says_ccmd_0() {
    let mut model = model(Profile::kvblade());
    for command in [2, 3, 0x55] {
        assert_eq!(model.handle(&PORT, &request(command, &[0; 8])), None);
    }
    let reply = model
        .handle(&PORT, &request(1, &[0, 0, 0, 0, 0, 4, 0, 1, b'x']))
        .unwrap();
    assert_eq!((reply[29], &reply[30..33]), (0x10, &[0, 1, b'x'][..]));
}

#[test]
fn an_ideal_disk_trims_caches_and_reports() {
    let mut model = model(Profile::ideal());
    let write = ata(0x34, 0x41, 2, 8, 0, &[7; 2 * SECTOR]);
    assert_eq!(ask(&mut model, &write), Some((0, 0x40, 0, 0, 60)));
    assert_eq!(model.storage().volatile().count(), 2);
    assert_eq!(
        ask(&mut model, &ata(0xea, 0x40, 0, 0, 0, &[])),
        Some((0, 0x40, 0, 0, 60))
    );
    assert_eq!(model.storage().durable(9), Some(&[7; SECTOR][..]));
    let mut ranges = [0; SECTOR];
    ranges[..8].copy_from_slice(&((1_u64 << 48) | 9).to_le_bytes());
    assert_eq!(
        ask(&mut model, &ata(0x06, 0x41, 1, 0, 1, &ranges)),
        Some((0, 0x40, 0, 0, 60))
    );
    let read = model.handle(&PORT, &ata(0x24, 0x40, 2, 8, 0, &[])).unwrap();
    assert_eq!((read[36], read[36 + SECTOR]), (7, 0));
    ranges[..8].copy_from_slice(&((2_u64 << 48) | 63).to_le_bytes());
    let beyond = ask(&mut model, &ata(0x06, 0x41, 1, 0, 1, &ranges));
    assert_eq!(beyond.map(|told| (told.1, told.2)), Some((0x41, 0x10)));
    // SET FEATURES: the cache goes off, and what is written then is durable at once.
    assert_eq!(
        ask(&mut model, &ata(0xef, 0, 0, 0xa000_0000, 0x82, &[])),
        Some((0, 0x40, 0, 0, 60))
    );
    assert!(ask(&mut model, &write).is_some());
    assert_eq!(model.storage().volatile().count(), 0);
    // SMART RETURN STATUS.
    for (healthy, expected) in [(true, [0x4f, 0xc2]), (false, [0xf4, 0x2c])] {
        model.set_healthy(healthy);
        let reply = model
            .handle(&PORT, &ata(0xb0, 0, 0, 0xa0c2_4f00, 0xda, &[]))
            .unwrap();
        assert_eq!((reply[27], &reply[29..31]), (0x40, &expected[..]));
    }
    assert!(model.violations().is_empty(), "{:?}", model.violations());
}

#[test]
fn identify_shows_what_there_is() {
    let words = |profile: Profile| {
        let mut model = model(profile);
        let reply = model
            .handle(&PORT, &ata(0xec, 0, 1, 0xa000_0000, 0, &[]))
            .unwrap();
        move |word: usize| u16::from_le_bytes([reply[36 + 2 * word], reply[37 + 2 * word]])
    };
    let vblade = words(Profile::vblade());
    assert_eq!(
        (vblade(47), vblade(83), vblade(86), vblade(93)),
        (0x8000, 0x5400, 0x1400, 0x400b)
    );
    assert_eq!((vblade(60), vblade(100), vblade(169)), (64, 64, 0));
    let ideal = words(Profile::ideal());
    assert_eq!(
        (ideal(83) & 0x2400, ideal(85) & 0x20, ideal(106), ideal(169)),
        (0x2400, 0x20, 0x6003, 1)
    );
    let mut small = Profile::ideal();
    small.lba48 = false;
    small.flush_ext = false;
    let small = words(small);
    assert_eq!((small(83) & 0x2400, small(60), small(100)), (0, 64, 0));
}

#[test]
fn read_only_and_injected_failures_are_shown() {
    let mut profile = Profile::vblade();
    profile.read_only = true;
    let write = ata(0x34, 0x41, 1, 5, 0, &[1; SECTOR]);
    assert_eq!(ask(&mut model(profile), &write), Some((0, 0x41, 4, 1, 60)));
    let mut model = model(Profile::vblade());
    model.add_ata_fault(AtaFault {
        which: Which::Reads,
        status: 0x80,
        error: 0,
        times: 1,
    });
    let read = ata(0x24, 0x40, 1, 0, 0, &[]);
    assert_eq!(ask(&mut model, &read).map(|told| told.1), Some(0x80));
    assert_eq!(ask(&mut model, &read).map(|told| told.1), Some(0x40));
    model.set_aoe_fault(Some(AoeFault {
        code: 3,
        times: 1,
        identify: false,
    }));
    assert_eq!(ask(&mut model, &read).map(|told| told.0), Some(3));
    assert_eq!(ask(&mut model, &read).map(|told| told.0), Some(0));
    model.set_reserved(&[[2, 9, 9, 9, 9, 9]]);
    assert_eq!(ask(&mut model, &read).map(|told| told.0), Some(6));
    model.set_masks(&[[2, 9, 9, 9, 9, 9]]);
    assert_eq!(ask(&mut model, &read), None);
}

fn server(timing: Timing) -> Server<MemStorage> {
    let mut server = Server::new(model(Profile::vblade()), vec![PORT], timing, 1);
    let hello = server.poll(0).unwrap();
    assert_eq!((hello.frame.len(), hello.frame[14]), (32, 0x08));
    server
}

#[test]
fn a_server_takes_its_time_and_drops_what_it_cannot_queue() {
    let mut server = server(Timing::in_order((1000, 1000)));
    for _ in 0..20 {
        server.receive(0, 0, &ata(0x24, 0x40, 1, 0, 0, &[]));
    }
    // One in work and 15 in the queue.
    assert_eq!((server.queued(), server.dropped()), (16, 4));
    assert_eq!(server.poll(999), None);
    assert_eq!(server.poll_timeout(), Some(1000));
    let answered = (1..=20).filter(|n| server.poll(n * 1000).is_some()).count();
    assert_eq!((answered, server.executed()), (16, 16));
}

#[test]
fn a_stalled_server_keeps_and_a_killed_one_loses() {
    let mut server = server(Timing::in_order((1000, 1000)));
    let read = ata(0x24, 0x40, 1, 0, 0, &[]);
    server.stall(1_000_000);
    server.receive(0, 0, &read);
    assert_eq!(server.poll(999_999), None);
    assert!(server.poll(1_001_000).is_some());
    server.receive(2_000_000, 0, &read);
    server.kill();
    server.receive(2_000_000, 0, &read);
    assert_eq!((server.poll(9_000_000), server.queued()), (None, 0));
    server.start();
    assert_eq!(
        server.poll(9_000_000).unwrap().frame[19],
        1,
        "it announces itself"
    );
}

#[test]
fn every_copy_is_carried_out() {
    let mut server = server(Timing::in_order((1, 1)));
    for value in [1, 2, 1] {
        server.receive(0, 0, &ata(0x34, 0x41, 1, 5, 0, &[value; SECTOR]));
    }
    for now in 1..10 {
        server.poll(now);
    }
    assert_eq!(
        server.model().storage().durable(5),
        Some(&[1; SECTOR][..]),
        "the late copy won"
    );
}

#[test]
fn a_reordering_server_ends_frames_in_another_order() {
    let mut server = server(Timing::reordering((100, 10_000), 4));
    for lba in 0..12 {
        server.receive(0, 0, &ata(0x24, 0x40, 1, lba, 0, &[]));
    }
    let mut order = Vec::new();
    for now in 0..200_000 {
        while let Some(out) = server.poll(now) {
            order.push(out.frame[28]);
        }
    }
    assert_eq!(order.len(), 12);
    assert!(!order.is_sorted(), "{order:?}");
}

#[test]
fn ggaoed_keeps_its_lists_and_tells_its_string() {
    for (profile, kept) in [(Profile::vblade(), false), (Profile::ggaoed(), true)] {
        let name = profile.name;
        let mut model = model(profile);
        model.set_config(b"mine");
        model.set_reserved(&[ME]);
        model.set_masks(&[ME]);
        model.restart();
        let lists = (!model.config().is_empty(), !model.masks().is_empty());
        assert_eq!(lists, (kept, kept), "{name}");
        let advertisement = model.advertisement(&PORT).pop().unwrap();
        assert_eq!(&advertisement[..6], &[0xff; 6], "{name}");
        let string: &[u8] = if kept { b"mine" } else { b"" };
        assert_eq!(usize::from(advertisement[31]), string.len(), "{name}");
        assert!(advertisement[32..].starts_with(string), "{name}");
    }
}

/// What a real ggaoed 1.1 was seen to do with each of these lists.
#[test]
fn ggaoed_finds_its_holders_in_rising_lists_only() {
    let (less, more): (Mac, Mac) = ([9, 0, 0, 0, 0, 0], [2, 0, 0, 0, 0, 9]);
    let read = ata(0x24, 0x40, 1, 0, 0, &[]);
    for (list, served) in [
        (vec![ME], true),
        (vec![less, ME, more], true),
        (vec![ME, less], false),
        (vec![more, less, ME], true),
        (vec![ME, more, less], true),
        (vec![more], false),
        (vec![], true),
    ] {
        let mut model = model(Profile::ggaoed());
        model.set_reserved(&list);
        let error = if served { 0 } else { 6 };
        let told = ask(&mut model, &read).map(|told| told.0);
        assert_eq!(told, Some(error), "{list:?}");
        // Questions are answered all the same.
        let identify = ask(&mut model, &ata(0xec, 0, 1, 0, 0, &[]));
        assert_eq!(identify.map(|told| told.1), Some(0x40), "{list:?}");
    }
}

#[test]
fn ggaoed_reads_no_frame_longer_than_the_mtu() {
    let mut model = model(Profile::ggaoed());
    let write = |bytes: usize| ata(0x34, 0x41, 2, 0, 0, &vec![7; bytes]);
    assert!(ask(&mut model, &write(1500 - 36)).is_some());
    assert_eq!(ask(&mut model, &write(1500 - 35)), None);
    let port = Port {
        mtu: 65_535,
        ..PORT
    };
    let config = model.handle(&port, &request(1, &[0; 8])).unwrap();
    assert_eq!(config[28], 31);
}
