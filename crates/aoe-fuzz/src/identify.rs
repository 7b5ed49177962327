// SPDX-License-Identifier: BSD-2-Clause
//! IDENTIFY data: what is derived of them makes sense, and the engine takes them.

use aoe_core::{Op, State};
use aoe_wire::{IdString, Identify};

use crate::disk;
use crate::hostile::{Hostile, reply};

/// Takes the first 512 bytes for IDENTIFY data; what is missing is zero. If there is a 513th byte and it is odd,
/// the checksum is made to fit, which no fuzzer finds by itself.
///
/// # Panics
/// When something is wrong.
pub fn identify(bytes: &[u8]) {
    let mut table = [0; 512];
    table
        .iter_mut()
        .zip(bytes)
        .for_each(|(to, from)| *to = *from);
    if bytes.get(512).is_some_and(|byte| byte % 2 == 1) {
        disk::set_checksum(&mut table);
    }
    let parsed = Identify::parse(&table);
    if let Ok(identity) = &parsed {
        is_sane(identity);
    }
    let usable = parsed
        .ok()
        .filter(|identity| identity.logical_sector == 512);
    the_engine_takes_it(&table, usable.as_ref());
}

fn is_sane(identity: &Identify) {
    assert!(identity.sectors > 0);
    assert!(identity.sectors < 1 << if identity.lba48 { 48 } else { 28 });
    assert!(identity.lba48 || !identity.flush_ext);
    assert!(identity.write_cache_supported || !identity.write_cache_enabled);
    assert!(identity.trim || !identity.trim_reads_zero);
    assert!(identity.trim_blocks > 0);
    assert!(matches!(identity.rotation, 0 | 1 | 0x0401..=0xfffe));
    let (logical, physical) = (identity.logical_sector, identity.physical_sector);
    assert!(physical >= logical);
    // With sectors of gigabytes, which the engine refuses, both are as large as they can be.
    assert!(identity.alignment < physical.max(1) || logical != 512);
    assert!(identity.same_disk(identity));
    assert!(identity.wwn != Some(0));
    string(&identity.serial);
    string(&identity.model);
    string(&identity.firmware);
}

fn string<const N: usize>(text: &IdString<N>) {
    let shown = text.as_str();
    assert!(shown.len() <= N && shown.bytes().all(|byte| matches!(byte, b' '..=b'~')));
    assert_eq!(shown.trim(), shown);
    assert_eq!(text.is_empty(), shown.is_empty());
}

/// A target that answers with these data becomes a disk of their size, or none at all.
fn the_engine_takes_it(table: &[u8; 512], identity: Option<&Identify>) {
    let mut memory = disk::Memory::new(2, 24, 4);
    let mut hostile = Hostile::new(memory.lend(), 7);
    hostile.config(0, 0, 0, reply(16, 0x4019, 17));
    hostile.answer_last_identify(table);
    let target = hostile.target();
    assert_eq!(target.state() == State::Up, identity.is_some());
    let Some(identity) = identity else {
        return;
    };
    assert_eq!(target.sectors(), identity.sectors);
    assert_eq!(target.can_flush(), identity.flush || identity.flush_ext);
    assert_eq!(
        target.trim_max_sectors() > 0,
        identity.trim && identity.lba48
    );
    let last = identity.sectors - 1;
    for (op, lba, sectors) in [
        (Op::Read, 0, identity.sectors.min(64)),
        (Op::Write, last, 1),
        (Op::Trim, 0, identity.sectors),
        (Op::Read, last, 2),
    ] {
        hostile.submit(op, lba, sectors, false);
    }
    hostile.end();
}
