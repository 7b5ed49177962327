// SPDX-License-Identifier: BSD-2-Clause
//! What devd(8) is told, by way of devctl(4): system AOE, subsystem TARGET, a type, and variables.

use core::fmt::{self, Display, Write};

use aoe_core::limits::MAX_PATHS;
use aoe_core::{Event, NetifId, Target};
use aoe_wire::{MacAddr, TargetAddr};

use crate::cell::Cell;
use crate::ffi::{self, raw};
use crate::netifs::{self, Netifs};
use crate::text::Text;

/// The type of an event's notice. Paths have notices of their own.
const fn kind(event: Event) -> Option<&'static str> {
    match event {
        Event::Identified => Some("ADDED"),
        Event::Up => Some("UP"),
        Event::Down => Some("DOWN"),
        Event::Dead => Some("DEAD"),
        Event::Resized => Some("RESIZED"),
        Event::Conflict => Some("CONFLICT"),
        Event::ConfigChanged => Some("CONFIG_CHANGED"),
        Event::Reserved => Some("RESERVED"),
        Event::ReadOnly => Some("READ_ONLY"),
        Event::FeatureLost => Some("FEATURE_LOST"),
        Event::PayloadRefused => Some("PAYLOAD_REFUSED"),
        Event::PayloadReduced => Some("PAYLOAD_REDUCED"),
        Event::Stalled => Some("STALLED"),
        Event::Resumed => Some("RESUMED"),
        Event::PathUp | Event::PathDown | Event::Unused | Event::Forget => None,
    }
}

/// A text from elsewhere as the value of a variable. A rule may hand it to a shell, and devd(8) does
/// not undo every way to quote: what could have a meaning to either becomes a question mark. Quotes
/// are there where they have to be.
struct Value<'v>(&'v str);

impl Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
        if !self.0.is_empty() && self.0.chars().all(word) {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for c in self.0.chars() {
            let plain = word(c) || " ,+/@".contains(c);
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
pub(crate) fn event(netifs: &Netifs, cell: &Cell, event: Event) {
    let Some(kind) = kind(event) else { return };
    send(cell.addr(), kind, |text| {
        let guard = cell.lock();
        match event {
            Event::Identified => identity(text, &guard.target),
            Event::Resized => write!(
                text,
                " size={} old_size={}",
                bytes(guard.target.sectors()),
                bytes(guard.shown_sectors)
            ),
            Event::Conflict => match guard.target.conflict() {
                Some((netif, mac)) => path(text, netifs.name(netif), mac),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    });
}

const fn bytes(sectors: u64) -> u64 {
    sectors.saturating_mul(512)
}

fn identity(text: &mut Text<'_>, target: &Target<'_>) -> fmt::Result {
    let Some(identify) = target.identity() else {
        return Ok(());
    };
    write!(
        text,
        " size={} model={} serial={} firmware={}",
        bytes(target.sectors()),
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

/// A path as it was told of. Its interface may have left the list since, with its name.
#[derive(Copy, Clone)]
struct ToldPath {
    netif: NetifId,
    mac: MacAddr,
    name: [u8; netifs::NAME],
}

/// The paths that devd knows to be there.
#[derive(Copy, Clone)]
pub(crate) struct ToldPaths([Option<ToldPath>; MAX_PATHS]);

impl ToldPaths {
    pub(crate) const NONE: Self = Self([None; MAX_PATHS]);

    /// Compares with the paths that are there now. Returns one that devd must be told of, and
    /// whether it is there.
    fn next(&mut self, netifs: &Netifs, target: &Target<'_>) -> Option<(ToldPath, bool)> {
        let is = |told: &ToldPath, netif, mac| told.netif == netif && told.mac == mac;
        for place in &mut self.0 {
            if let Some(told) = *place
                && !target
                    .paths()
                    .any(|path| path.in_service() && is(&told, path.netif(), path.mac()))
            {
                *place = None;
                return Some((told, false));
            }
        }
        let known = *self;
        let new = target.paths().find(|path| {
            let mut told = known.0.iter().flatten();
            path.in_service() && !told.any(|told| is(told, path.netif(), path.mac()))
        })?;
        let told = ToldPath {
            netif: new.netif(),
            mac: new.mac(),
            name: netifs.name_bytes(new.netif()),
        };
        // There are as many places as paths.
        *self.0.iter_mut().find(|place| place.is_none())? = Some(told);
        Some((told, true))
    }
}

/// Tells of every path that came or went since the last time. Events say that there was a change,
/// and several changes may be one event.
#[inline(never)]
pub(crate) fn paths(netifs: &Netifs, cell: &Cell) {
    loop {
        let next = {
            let mut guard = cell.lock();
            let mut told = guard.told_paths;
            let next = told.next(netifs, &guard.target);
            guard.told_paths = told;
            next
        };
        let Some((told, there)) = next else { break };
        let kind = if there { "PATH_UP" } else { "PATH_LOST" };
        let name = core::str::from_utf8(&told.name).unwrap_or("?");
        let name = name.trim_end_matches('\0');
        send(cell.addr(), kind, |text| path(text, name, told.mac));
    }
}
