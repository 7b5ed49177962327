// SPDX-License-Identifier: BSD-2-Clause
//! Bytes as a sequence of everything that can happen to the engine.

use aoe_core::{
    Admission, Initiator, Instant, InterfaceChange, Link, Links, NetifId, Op, Received, Rings,
    Target, Tunables,
};
use aoe_wire::{Command, ConfigReply, ETHERTYPE, Header, MacAddr, opcode};

use crate::disk;
use crate::hostile::{Hostile, NETIFS, Sent, reply, server};

/// Bytes from first to last; there are always more, and those are zero.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn pair(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn long(&mut self) -> u64 {
        (0..8).fold(0, |sum, _| sum << 8 | u64::from(self.byte()))
    }

    /// Mostly a small number, of which the first byte says how small.
    fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..=200 => u64::from(small),
            201..=230 => u64::from(self.pair()),
            231..=245 => u64::from(self.pair()) << 16,
            _ => self.long(),
        }
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (first, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        first
    }
}

const START: Instant = Instant::from_nanos(0);
const CHANGES: [InterfaceChange; 8] = [
    InterfaceChange::Up,
    InterfaceChange::Down(Rings::Empty, START),
    InterfaceChange::Gone,
    InterfaceChange::Changed,
    InterfaceChange::Rewired(Rings::Empty, START),
    InterfaceChange::Rewired(Rings::Held, START),
    InterfaceChange::Rewired(Rings::Unknown, START),
    InterfaceChange::Down(Rings::Held, START),
];
const OPS: [Op; 4] = [Op::Write, Op::Read, Op::Flush, Op::Trim];
const BUFFERS: [u16; 8] = [16, 0, 1, 2, 7, 128, 1024, 65535];
const SECTORS: [u8; 8] = [2, 0, 1, 8, 16, 17, 127, 255];
const FIRMWARES: [u16; 3] = [0x4019, 0x0100, 0x4001];
const MTUS: [u16; 6] = [1500, 9000, 0, 21, 600, 65535];
/// Things that one run can hold; libFuzzer keeps inputs short by itself.
const MAX_THINGS: usize = 400;

/// Takes bytes for a sequence of requests, frames, time and commands.
///
/// # Panics
/// When something is wrong.
pub fn engine(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let [paths, frames, ios, start] = [(); 4].map(|()| bytes.byte());
    let ios = 1 + usize::from(ios % 16);
    let mut memory = disk::Memory::new(
        1 + usize::from(paths % 9),
        16 + usize::from(frames % 64),
        ios,
    );
    let mut hostile = Hostile::new(memory.lend(), u64::from(start) << 3);
    let mut initiator = Initiator::new();
    if start % 2 == 0 {
        // Most of what is interesting comes after this.
        let firmware = FIRMWARES[usize::from(start / 2 % 3)];
        hostile.config(0, 0, 0, reply(16, firmware, 2));
        hostile.answer_last_identify(disk::table(start / 8, 200).as_bytes());
    }
    for _ in 0..MAX_THINGS {
        if bytes.0.is_empty() {
            break;
        }
        thing(&mut hostile, &mut initiator, &mut bytes);
    }
    hostile.end();
}

fn thing(hostile: &mut Hostile<'_>, initiator: &mut Initiator, bytes: &mut Bytes<'_>) {
    match bytes.byte() % 24 {
        0..=3 => {
            let flags = bytes.byte();
            let op = OPS[usize::from(flags % 4)];
            let sectors = if op == Op::Flush { 0 } else { bytes.number() };
            if (192..224).contains(&flags) {
                hostile.follow(op, sectors);
            } else {
                hostile.submit(op, bytes.number(), sectors, flags >= 224);
            }
        }
        4..=8 => answer(hostile, bytes),
        9 => config(hostile, bytes),
        10 => identify(hostile, bytes),
        11 => {
            let (netif, frame) = any_frame(hostile, bytes);
            hostile.receive(netif, &frame);
            admit(hostile, initiator, netif, &frame);
        }
        12..=14 => time(hostile, initiator, bytes),
        15 => {
            let (id, change) = (bytes.byte(), CHANGES[usize::from(bytes.byte() % 8)]);
            hostile.interface(id % 5, change);
            initiator.handle_interface(Instant::from_nanos(hostile.now), NetifId(id), change);
        }
        16 => {
            let net = bytes.byte();
            let one = &mut hostile.nets[usize::from(net) % NETIFS];
            one.up = net < 192;
            one.mtu = MTUS[usize::from(bytes.byte()) % MTUS.len()];
            hostile.drain();
        }
        17 => {
            let (dead, cache) = (bytes.byte(), bytes.byte());
            let write_cache = [None, Some(true), Some(false)][usize::from(cache % 3)];
            let tunables = Tunables {
                dead_secs: u32::from(dead % 8),
                write_cache,
                quarantine_secs: u32::from(dead / 8),
            };
            hostile.call(|target, now| target.set_tunables(now, tunables));
        }
        18 => hostile.call(Target::revalidate),
        19 => match bytes.byte() {
            0..=15 => hostile.abort(),
            16..=100 => hostile.call(Target::fail_held),
            byte => hostile.use_disk(byte % 2 == 0),
        },
        20 => {
            let count = usize::from(bytes.byte() % 8);
            if count == 7 {
                hostile.turn_around();
            }
            hostile.give_back(count);
            hostile.drain();
        }
        21 => {
            let how = bytes.byte();
            hostile.prompt = how.is_multiple_of(2);
            hostile.batch = if how % 4 < 2 {
                1000
            } else {
                1 + usize::from(how / 4 % 8)
            };
            hostile.drain();
        }
        22 => {
            let table = a_table(bytes);
            hostile.commit_identify(&table);
        }
        _ => hostile.drain(),
    }
}

fn a_sent(hostile: &Hostile<'_>, bytes: &mut Bytes<'_>) -> Option<Sent> {
    let back = usize::from(bytes.byte() % 64);
    hostile
        .sent
        .iter()
        .rev()
        .nth(back)
        .or(hostile.sent.front())
        .copied()
}

/// A frame that was sent is answered: rightly when the bytes are zero.
fn answer(hostile: &mut Hostile<'_>, bytes: &mut Bytes<'_>) {
    let Some(mut sent) = a_sent(hostile, bytes) else {
        return;
    };
    let how = bytes.byte();
    let Some(request) = sent.request else {
        let (buffers, sectors) = (
            BUFFERS[usize::from(how % 8)],
            SECTORS[usize::from(how / 8 % 8)],
        );
        let mac = sent.header.dst.0[5];
        hostile.config(
            sent.netif,
            mac,
            sent.header.tag,
            reply(buffers, 0x4019, sectors),
        );
        return;
    };
    let reads = matches!(request.command, opcode::READ | opcode::READ_EXT);
    let length = if reads {
        usize::from(request.count) * 512
    } else {
        0
    };
    match how {
        0..=191 => {
            let table = disk::table(0, 200);
            let data = vec![0; length];
            let is_identify = request.command == opcode::IDENTIFY;
            hostile.answer(
                &sent,
                0x40,
                0,
                if is_identify { table.as_bytes() } else { &data },
            );
        }
        192..=207 => {
            let (status, error) = (bytes.byte(), bytes.byte());
            hostile.answer(&sent, status, error, &[]);
        }
        208..=223 => {
            let short = vec![0; usize::from(bytes.byte())];
            hostile.answer(&sent, 0x40, 0, &short);
        }
        224..=239 => {
            // It comes in by another interface, or from another address.
            sent.netif = bytes.byte() % 4;
            sent.header.dst = server(bytes.byte() % 4);
            hostile.answer(&sent, 0x40, 0, &vec![0; length]);
        }
        _ => {
            let error = aoe_wire::AoeError(bytes.byte() % 8);
            let header = sent
                .header
                .error_reply(sent.header.dst, hostile.target().addr(), error);
            let mut frame = header.to_bytes().to_vec();
            frame.extend(request.to_bytes());
            frame.resize(60, 0);
            hostile.receive(sent.netif, &frame);
        }
    }
}

fn config(hostile: &mut Hostile<'_>, bytes: &mut Bytes<'_>) {
    let (place, counts, tag) = (bytes.byte(), bytes.byte(), bytes.byte());
    let (buffers, sectors) = (
        BUFFERS[usize::from(counts % 8)],
        SECTORS[usize::from(counts / 8 % 8)],
    );
    let tag = match tag {
        0..=99 => 0,
        100..=199 => hostile.sent.back().map_or(0, |sent| sent.header.tag),
        _ => 0x0bea_c000,
    };
    let string = bytes.take(usize::from(counts >> 6) * 3);
    let firmware = FIRMWARES[usize::from(place / 16 % 3)];
    let reply = ConfigReply {
        string,
        ..reply(buffers, firmware, sectors)
    };
    hostile.config(place % 4, place / 4 % 4, tag, reply);
}

fn a_table(bytes: &mut Bytes<'_>) -> [u8; 512] {
    let (number, sectors, at, value) = (bytes.byte(), bytes.number(), bytes.byte(), bytes.byte());
    let mut table = *disk::table(number, sectors).as_bytes();
    table[2 * usize::from(at)] ^= value;
    table
}

/// The newest IDENTIFY is answered with any disk.
fn identify(hostile: &mut Hostile<'_>, bytes: &mut Bytes<'_>) {
    let table = a_table(bytes);
    hostile.answer_last_identify(&table);
}

/// Bytes that come in: as they are, or with a header of which some is right.
fn any_frame(hostile: &Hostile<'_>, bytes: &mut Bytes<'_>) -> (u8, Vec<u8>) {
    let (netif, keep) = (bytes.byte() % 4, bytes.byte());
    let count = usize::from(bytes.byte());
    let mut frame = bytes.take(count).to_vec();
    if let Some(place) = frame.get_mut(12..14) {
        place.copy_from_slice(&ETHERTYPE.to_be_bytes());
    }
    let sent = hostile
        .sent
        .iter()
        .rev()
        .nth(usize::from(keep >> 4))
        .copied();
    if let (Some(sent), Some(head)) = (sent, frame.first_chunk_mut::<24>()) {
        let right = sent
            .header
            .reply(sent.header.dst, hostile.target().addr())
            .to_bytes();
        for (bit, range) in [(1, 0..12), (2, 14..16), (4, 16..19), (8, 19..24)] {
            if keep & bit == 0 {
                head[range.clone()].copy_from_slice(&right[range]);
            }
        }
    }
    (netif, frame)
}

/// A frame from an address without a target is shown to the initiator.
fn admit(hostile: &Hostile<'_>, initiator: &mut Initiator, netif: u8, frame: &[u8]) {
    let Ok((header, argument)) = Header::split(frame) else {
        return;
    };
    let received = Received {
        netif: NetifId(netif),
        header: &header,
        arg: argument,
        len: frame.len(),
    };
    let now = Instant::from_nanos(hostile.now);
    if initiator.note_answer(now, NetifId(netif)) {
        assert!(!initiator.note_answer(now, NetifId(netif)), "no news");
    }
    if let Admission::Create(addr, left) = initiator.admit(&received) {
        assert_eq!(header.addr(), Some(addr));
        assert!(header.is_response() && header.command == Command::CONFIG);
        if hostile.now.is_multiple_of(2) {
            initiator.target_identified();
        }
        initiator.target_removed(now, addr, hostile.now.is_multiple_of(2), left);
    }
}

struct AnyLink;

impl Links for AnyLink {
    fn link(&self, id: NetifId) -> Option<Link> {
        (id.0 < 16).then_some(Link {
            mtu: 1500,
            mac: MacAddr([2, 0, 0, 0, 1, id.0]),
            in_order: true,
        })
    }
}

fn time(hostile: &mut Hostile<'_>, initiator: &mut Initiator, bytes: &mut Bytes<'_>) {
    let (scale, count) = (bytes.byte(), u64::from(bytes.byte()));
    let nanos = match scale % 8 {
        0..=2 => count * 20_000,
        3..=4 => count * 1_000_000,
        5 => count * 40_000_000,
        6 => count * 1_000_000_000,
        _ => count << 36,
    };
    hostile.pass(nanos, scale >= 192);
    let now = Instant::from_nanos(hostile.now);
    if scale == 255 {
        initiator.set_beacon_secs(now, u32::from(bytes.byte()));
    }
    initiator.handle_timeout(now);
    let beacons = std::iter::from_fn(|| initiator.poll_transmit(now, &AnyLink))
        .take(17)
        .count();
    assert!(beacons <= 16, "more beacons than interfaces");
    assert!(
        initiator.poll_timeout().is_none_or(|at| at > now),
        "the initiator's timer wants to run again and again"
    );
}
