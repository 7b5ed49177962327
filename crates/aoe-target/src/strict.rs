// SPDX-License-Identifier: BSD-2-Clause
//! Rules that an initiator must keep, checked by strict targets.

/// A rule that a request broke.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Violation {
    /// Shorter than the Ethernet minimum.
    Runt,
    /// An ATA command to a wildcard or broadcast address.
    Wildcard,
    /// A flag, error, reserved or unused field is not zero.
    NotZero,
    /// The E flag does not fit the command.
    Extended,
    /// The W flag does not fit the command.
    Direction,
    /// The sector count is zero, or not the one the command wants.
    Count,
    /// More sectors than the target takes.
    TooLarge,
    /// The data are not as long as the sector count says.
    DataLength,
    /// The Device register or the upper LBA bytes do not fit the command.
    Device,
}

/// Checks an ATA request of an initiator.
pub(crate) fn check(frame: &[u8], limit: u32) -> Result<(), Violation> {
    let Some(head) = frame.first_chunk::<36>() else {
        return Err(Violation::Runt);
    };
    if frame.len() < 60 {
        return Err(Violation::Runt);
    }
    let [
        dst,
        ..,
        flags,
        error,
        major0,
        major1,
        minor,
        _,
        _,
        _,
        _,
        _,
        aflags,
        feature,
        count,
        command,
        _,
        _,
        _,
        l3,
        l4,
        l5,
        r0,
        r1,
    ] = *head;
    if dst & 1 != 0 || [major0, major1] == [0xff, 0xff] || minor == 0xff {
        return Err(Violation::Wildcard);
    }
    if flags != 0x10 || error != 0 || aflags & !0x41 != 0 || [r0, r1] != [0, 0] {
        return Err(Violation::NotZero);
    }
    let extended = matches!(command, 0x24 | 0x34 | 0xea | 0x06);
    if extended != (aflags & 0x40 != 0) {
        return Err(Violation::Extended);
    }
    let writes = matches!(command, 0x30 | 0x34 | 0x06) || (command, feature) == (0xb0, 0xd6);
    if writes != (aflags & 1 != 0) {
        return Err(Violation::Direction);
    }
    check_count(command, count, limit)?;
    if command != 0x06 && command != 0xef && command != 0xb0 && feature != 0 {
        return Err(Violation::NotZero);
    }
    let wanted = if writes {
        36 + usize::from(count) * 512
    } else {
        60
    };
    if frame.len() != wanted.max(60) {
        return Err(Violation::DataLength);
    }
    if !extended && ([l4, l5] != [0, 0] || l3 & 0xa0 != 0xa0) {
        return Err(Violation::Device);
    }
    Ok(())
}

fn check_count(command: u8, count: u8, limit: u32) -> Result<(), Violation> {
    match command {
        0x20 | 0x24 | 0x30 | 0x34 | 0x06 if count == 0 => Err(Violation::Count),
        0x20 | 0x24 | 0x30 | 0x34 | 0x06 if u32::from(count) > limit => Err(Violation::TooLarge),
        0xec if count != 1 => Err(Violation::Count),
        0xe7 | 0xea | 0xe5 if count != 0 => Err(Violation::Count),
        _ => Ok(()),
    }
}
