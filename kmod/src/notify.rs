// SPDX-License-Identifier: BSD-2-Clause
//! What devd(8) is told, by way of devctl(4): system AOE, subsystem TARGET, a type, and variables.

use core::fmt::{self, Display, Write};

use aoe_core::eventlog::{Detail, Entry, Feature};
use aoe_core::{BadAnswer, Event, FailedCommand, Target};
use aoe_wire::{MacAddr, TargetAddr};

use crate::cell::Cell;
use crate::ffi::{self, raw};
use crate::netifs::Netifs;
use crate::text::Text;

/// The type of an event's notice.
const fn kind(event: Event) -> Option<&'static str> {
    match event {
        Event::Identified => Some("ADDED"),
        Event::Up => Some("UP"),
        Event::Down => Some("DOWN"),
        Event::Dead => Some("DEAD"),
        Event::Resized => Some("RESIZED"),
        Event::Conflict => Some("CONFLICT"),
        Event::PathUp => Some("PATH_UP"),
        Event::PathDown => Some("PATH_LOST"),
        Event::ConfigChanged => Some("CONFIG_CHANGED"),
        Event::Reserved => Some("RESERVED"),
        Event::ReadOnly => Some("READ_ONLY"),
        Event::FeatureLost => Some("FEATURE_LOST"),
        Event::PayloadRefused => Some("PAYLOAD_REFUSED"),
        Event::PayloadReduced => Some("PAYLOAD_REDUCED"),
        Event::CommandFailed => Some("COMMAND_FAILED"),
        Event::Stalled => Some("STALLED"),
        Event::Resumed => Some("RESUMED"),
        Event::Unused | Event::Forget => None,
    }
}

/// A text from elsewhere as the value of a variable. A rule may hand it to a shell, and devd(8) does
/// not undo every way to quote: what could have a meaning to either becomes a question mark. Quotes
/// are there where they have to be.
struct Value<'v>(&'v str);

impl Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
        if !self.0.is_empty() && self.0.chars().all(word) {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for c in self.0.chars() {
            let plain = word(c) || matches!(c, ' ' | ',' | '+' | '/' | '@');
            f.write_char(if plain { c } else { '?' })?;
        }
        f.write_char('"')
    }
}

/// Tells devd of a target. What does not fit is left out as a whole.
fn send(addr: TargetAddr, kind: &str, more: impl FnOnce(&mut Text<'_>) -> fmt::Result) {
    let mut room = [0; raw::AOE_NOTICE_MAX as usize];
    let mut text = Text::new(&mut room);
    // Text has no error but being full.
    let _ = write!(text, "target={addr} disk=aoe{addr}");
    let base = text.wanted();
    let _ = more(&mut text);
    let fits = text.wanted() <= raw::AOE_NOTICE_MAX as usize;
    let bytes = text.as_bytes();
    let bytes = if fits { Some(bytes) } else { bytes.get(..base) };
    ffi::notify_target(kind, bytes.unwrap_or(&[]));
}

/// One of the engine's events.
#[inline(never)]
pub(crate) fn event(netifs: &Netifs, cell: &Cell, entry: &Entry) {
    let Some(kind) = kind(entry.event) else {
        return;
    };
    send(cell.addr(), kind, |text| match entry.detail {
        Detail::Size { sectors, .. } if entry.event == Event::Identified => {
            identity(text, &cell.lock().target, sectors)
        }
        Detail::Size { sectors, before } => {
            write!(text, " size={} old_size={}", bytes(sectors), bytes(before))
        }
        Detail::Path { netif, mac, .. } => path(text, netifs.name(netif), mac),
        Detail::Lost(lost) => write!(text, " feature={}", feature(lost)),
        Detail::Failed(command) => failed(text, &command),
        Detail::Outstanding(_) | Detail::Waiting(_) | Detail::None => Ok(()),
    });
}

const fn feature(lost: Feature) -> &'static str {
    match lost {
        Feature::FlushExt => "flush_ext",
        Feature::Flush => "flush",
        Feature::Trim => "trim",
    }
}

fn failed(text: &mut Text<'_>, command: &FailedCommand) -> fmt::Result {
    let (op, lba) = (command.op.name(), command.lba);
    write!(
        text,
        " operation={op} lba={lba} sectors={}",
        command.sectors
    )?;
    match command.answer {
        BadAnswer::Ata { status, error } => {
            write!(text, " ata_status={status:#04x} ata_error={error:#04x}")
        }
        BadAnswer::Aoe(error) => write!(text, " aoe_error={}", error.0),
        BadAnswer::Mismatch => Ok(()),
    }
}

/// More happened than could be announced; what follows is what has changed by it.
pub(crate) fn missed(addr: TargetAddr, count: u16) {
    send(addr, "MISSED", |text| write!(text, " count={count}"));
}

const fn bytes(sectors: u64) -> u64 {
    sectors.saturating_mul(512)
}

fn identity(text: &mut Text<'_>, target: &Target<'_>, sectors: u64) -> fmt::Result {
    let Some(identify) = target.identity() else {
        return Ok(());
    };
    write!(
        text,
        " size={} model={} serial={} firmware={}",
        bytes(sectors),
        Value(identify.model.as_str()),
        Value(identify.serial.as_str()),
        Value(identify.firmware.as_str())
    )
}

fn path(text: &mut Text<'_>, netif: &str, mac: MacAddr) -> fmt::Result {
    write!(text, " interface={} mac={mac}", Value(netif))
}

/// The target's disk is gone.
pub(crate) fn removed(addr: TargetAddr) {
    send(addr, "REMOVED", |_| Ok(()));
}

/// The target failed by a fault of this module.
pub(crate) fn broken(addr: TargetAddr) {
    send(addr, "BROKEN", |_| Ok(()));
}
