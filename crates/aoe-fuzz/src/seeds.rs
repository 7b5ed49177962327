// SPDX-License-Identifier: BSD-2-Clause
//! Inputs to start from: what was measured, and sequences that people would write down.

use aoe_core::Op;
use aoe_model::{Setup, Step, encode};

use crate::disk;

/// The inputs of a target, by name.
#[must_use]
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let mut seeds = match target {
        "frame" => frames(),
        "identify" => identify_data(),
        "engine" => engine(),
        "model" => model(),
        "text" => text(),
        _ => Vec::new(),
    };
    for (number, (name, _)) in seeds.iter_mut().enumerate() {
        *name = format!("seed-{number:02}-{name}");
    }
    seeds
}

fn named(name: &str, bytes: &[u8]) -> (String, Vec<u8>) {
    (name.to_owned(), bytes.to_vec())
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks_exact(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect()
}

/// Exchanges with vblade 25: name, bytes 14 and 15, command, argument, length.
#[rustfmt::skip]
const MEASURED: [(&str, &str, u8, &str, usize); 26] = [
    ("announcement", "0800", 1, "0010 4019 02 10 0000", 32),
    ("config-answer", "1800", 1, "0010 4019 02 10 0000", 32),
    ("config-version-2", "2800", 1, "0010 4019 02 10 0000", 32),
    ("config-set", "1800", 1, "0010 4019 02 13 0005 68656c6c6f", 37),
    ("config-refused", "1c04", 1, "0010 4019 02 13 0005 68656c6c6f", 37),
    ("config-ccmd-9", "1c02", 1, "0010 4019 02 19 0000", 32),
    ("config-query", "1000", 1, "0000 0000 00 00 0000", 60),
    ("config-force-set", "1000", 1, "0000 0000 00 04 0002 796f", 60),
    ("identify", "1000", 0, "00 00 01 ec 000000a00000 0000", 60),
    ("identify-answer", "1800", 0, "00 00 00 40 000000000000 0000", 548),
    ("flush", "1000", 0, "00 00 00 e7 000000a00000 0000", 60),
    ("flush-answer-zero", "1800", 0, "00 00 00 00 000000000000 0000", 60),
    ("flush-ext-aborted", "1800", 0, "00 04 00 41 000000000000 0000", 60),
    ("check-power", "1800", 0, "00 00 ff 40 000000000000 0000", 60),
    ("read-answer", "1800", 0, "40 00 00 40 000000000000 0000", 548),
    ("read-past-end", "1800", 0, "40 10 01 41 ff1f00000000 0000", 36),
    ("read-too-long", "1c02", 0, "40 00 03 24 000000000000 0000", 60),
    ("write", "1000", 0, "41 00 01 34 050000000000 0000", 548),
    ("write-answer", "1800", 0, "41 00 00 40 050000000000 0000", 60),
    ("trim", "1000", 0, "41 01 01 06 000000000000 0000 0500000000000800", 548),
    ("unknown-command", "1c01", 0x55, "", 60),
    ("mask-empty", "1800", 2, "00 00 00 00", 28),
    ("mask-add", "1000", 2, "00 01 00 01 00 01 020000000009", 60),
    ("mask-bad-directive", "1800", 2, "00 01 02 00", 28),
    ("reserve-answer", "1800", 3, "01 01 020000000009", 32),
    ("reserved", "1c06", 0, "40 00 01 24 000000000000 0000", 60),
];

fn frames() -> Vec<(String, Vec<u8>)> {
    let frame = |(name, head, command, argument, len): (&str, &str, u8, &str, usize)| {
        let mut bytes = hex("020000000002 020000000001 88a2");
        bytes.extend(hex(head));
        bytes.extend(hex("0007 03"));
        bytes.push(command);
        bytes.extend(hex("11223344"));
        bytes.extend(hex(argument));
        bytes.resize(len, 0);
        named(name, &bytes)
    };
    MEASURED.into_iter().map(frame).collect()
}

fn identify_data() -> Vec<(String, Vec<u8>)> {
    // vblade fills only a few words.
    let mut vblade = aoe_wire::IdentifyTable::new();
    for (word, value) in [
        (47, 0x8000),
        (49, 0x0200),
        (50, 0x4000),
        (83, 0x5400),
        (84, 0x4000),
        (86, 0x1400),
        (87, 0x4000),
        (93, 0x400b),
    ] {
        vblade = vblade.word(word, value);
    }
    let vblade = vblade
        .model(b"Coraid EtherDrive vblade")
        .firmware(b"V25")
        .serial(b"7.3:target")
        .capacity(8192);
    let mut short = vblade.as_bytes().to_vec();
    short.truncate(210);
    let mut summed = disk::table(16, 1 << 33).as_bytes().to_vec();
    summed.push(1);
    vec![
        named("vblade", &short),
        named("full-disk", &summed),
        named("small-disk", &disk::table(5, 100).as_bytes()[..340]),
    ]
}

/// A request, as `engine` reads it from bytes.
fn request(op: Op, lba: u8, sectors: u8) -> Vec<u8> {
    match op {
        Op::Write => vec![0, 0, sectors, lba],
        Op::Read => vec![0, 1, sectors, lba],
        Op::Flush => vec![0, 2, lba],
        Op::Trim => vec![0, 3, sectors, lba],
    }
}

/// What `engine` reads from bytes, written down. Each begins with a disk that was identified.
#[rustfmt::skip]
fn engine() -> Vec<(String, Vec<u8>)> {
    let start = [2, 32, 8, 0];
    let right = [4, 0, 0];
    let with = |things: &[&[u8]]| [&start[..], &things.concat()].concat();
    let (write, read) = (request(Op::Write, 8, 4), request(Op::Read, 8, 4));
    let (flush, trim) = (request(Op::Flush, 0, 0), request(Op::Trim, 8, 200));
    vec![
        named("write-read", &with(&[&write, &right, &[4, 1, 0], &read, &right, &[4, 1, 0]])),
        named("flush-trim", &with(&[&write, &flush, &right, &[4, 1, 0], &right, &trim, &right])),
        named("lost", &with(&[&write, &[12, 3, 10, 12, 3, 200], &right, &[12, 6, 20], &read, &[12, 7, 9]])),
        named("second-path", &with(&[
            &[9, 5, 16, 0], &[10, 0, 200, 0, 0], &write, &right, &[15, 0, 1], &[12, 5, 9], &right,
        ])),
        named("conflict", &with(&[
            &[9, 5, 0, 0], &[10, 1, 200, 0, 0], &[12, 6, 9], &[9, 5, 0, 0], &[10, 0, 200, 0, 0],
        ])),
        named("resized", &with(&[&[18], &[10, 0, 100, 0, 0], &read, &right, &write])),
        named("errors", &with(&[
            &read, &[4, 0, 200, 0x41, 0x40], &write, &[4, 0, 192, 0x80, 0], &[12, 3, 60], &[4, 0, 255, 2],
        ])),
        named("dead", &with(&[&[17, 1, 0], &write, &[12, 6, 9], &write, &[19, 20], &[19, 0]])),
        named("late-copies", &with(&[&[21, 1], &write, &right, &[20, 1], &read, &right, &[20, 7], &[21, 0]])),
    ]
}

fn model() -> Vec<(String, Vec<u8>)> {
    let setup = |byte| Setup::decode([byte, 7, 0, 0]);
    let write = |lba, sectors| Step::Write {
        lba,
        sectors,
        ordered: false,
    };
    let read = |lba, sectors| Step::Read {
        lba,
        sectors,
        ordered: false,
    };
    let wait = |millis| Step::Wait {
        millis,
        late: false,
    };
    let overlap = [write(0, 8), write(4, 8), read(0, 16), Step::DeliverAll];
    let late = [
        write(0, 2),
        wait(250),
        Step::Deliver(1),
        Step::Deliver(1),
        write(0, 2),
        Step::DeliverAll,
    ];
    let barrier = [
        write(0, 4),
        Step::Flush { ordered: true },
        write(0, 4),
        Step::DeliverAll,
        read(0, 4),
    ];
    let paths = [
        write(0, 8),
        Step::LinkDown(0),
        wait(10),
        Step::DeliverAll,
        Step::LinkUp(0),
        write(2, 8),
    ];
    let resize = [
        write(8, 8),
        Step::Resize(20),
        Step::Revalidate,
        Step::DeliverAll,
        read(16, 8),
    ];
    let dead = [
        Step::Tunables {
            dead_secs: 1,
            write_cache: None,
        },
        Step::Power(false),
        write(0, 1),
        wait(8000),
    ];
    let sequences: [(&str, u8, &[Step]); 8] = [
        ("overlap", 0, &overlap),
        ("late-copies", 0, &late),
        ("late-copies-in-order", 1, &late),
        ("barrier", 16, &barrier),
        ("paths", 2, &paths),
        ("paths-and-ports", 6, &paths),
        ("resize", 2, &resize),
        ("dead", 0, &dead),
    ];
    sequences
        .iter()
        .map(|(name, byte, steps)| named(name, &encode(setup(*byte), steps)))
        .collect()
}

fn text() -> Vec<(String, Vec<u8>)> {
    let many = "em0 em1 em2 em3 em4 em5 em6 em7 em8 em9 em10 em11 em12 em13 em14 em15";
    [
        "em0,em1 vtnet0.10\tigb2",
        many,
        "abcdefghijklmno",
        "7.3",
        "65534.254",
        "02:00:5e:10:00:ff",
        "0x1fs",
        "128k",
        "15p",
    ]
    .into_iter()
    .enumerate()
    .map(|(number, text)| named(&format!("text-{number}"), text.as_bytes()))
    .collect()
}
