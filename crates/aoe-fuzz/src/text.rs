// SPDX-License-Identifier: BSD-2-Clause
//! Text that people give: the interface list, addresses, sizes; and text that is shown to them.

use std::fmt::Write;

use aoe_core::limits::{MAX_BOOT_TARGETS, MAX_NETIFS};
use aoe_core::{addrlist, iflist};
use aoe_wire::{MacAddr, TargetAddr};

// Of the module and the tool, which are no libraries, the files that depend on nothing.
#[allow(dead_code, reason = "it is a part of the module")]
#[path = "../../../kmod/src/text.rs"]
mod kmod_text;
#[allow(dead_code, reason = "it is a part of the tool")]
#[path = "../../aoectl/src/size.rs"]
mod size;

/// Takes any bytes for text.
///
/// # Panics
/// When something is wrong.
pub fn text(bytes: &[u8]) {
    escaped(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    interfaces(text);
    addresses(text);
    if let Ok(addr) = text.parse::<TargetAddr>() {
        assert!(addr.shelf() != 0xffff && addr.slot() != 0xff);
        assert_eq!(addr.to_string().parse(), Ok(addr));
    }
    if let Ok(mac) = text.parse::<MacAddr>() {
        assert_eq!(mac.to_string().parse(), Ok(mac));
    }
    if let Ok(bytes) = size::parse(text) {
        assert!(!size::human(bytes).is_empty() && !size::human_time(bytes).is_empty());
        let sectors = size::parse_sectors(text);
        assert_eq!(sectors.is_ok(), bytes % 512 == 0);
        assert_eq!(
            size::parse_some_sectors(text).is_ok(),
            sectors.is_ok() && bytes > 0
        );
        assert_eq!(size::parse(&bytes.to_string()), Ok(bytes));
    }
}

fn addresses(text: &str) {
    let Ok(list) = addrlist::parse(text) else {
        return;
    };
    let addrs: Vec<TargetAddr> = list.iter().collect();
    assert!(addrs.len() <= MAX_BOOT_TARGETS);
    assert_eq!(list.is_empty(), addrs.is_empty());
    for (index, addr) in addrs.iter().enumerate() {
        assert!(!addrs[..index].contains(addr));
    }
    let shown: Vec<String> = addrs.iter().map(TargetAddr::to_string).collect();
    assert_eq!(addrlist::parse(&shown.join(",")), Ok(list));
}

fn interfaces(text: &str) {
    let Ok(list) = iflist::parse(text) else {
        return;
    };
    let names: Vec<&str> = list.iter().collect();
    assert!(names.len() <= MAX_NETIFS);
    assert_eq!(list.is_empty(), names.is_empty());
    for (index, name) in names.iter().enumerate() {
        assert!((1..=iflist::MAX_NAME).contains(&name.len()));
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b',')
        );
        assert!(!names[..index].contains(name));
    }
    // What is shown can be set again, and is the same then.
    let shown = names.join(" ");
    let again = iflist::parse(&shown).expect("what is shown can be set");
    assert!(again.iter().eq(names));
}

/// The module's formatting into a buffer that may be too small.
fn escaped(bytes: &[u8]) {
    let whole = bytes.escape_ascii().to_string();
    let first = bytes.first().map_or(0, |byte| usize::from(*byte));
    for room in [0, 1, first, whole.len(), whole.len() + 3] {
        let mut buffer = vec![0xee; room];
        let mut text = kmod_text::Text::new(&mut buffer);
        text.push_escaped(bytes)
            .and_then(|()| write!(text, "{first}"))
            .expect("it is cut off, not refused");
        let wanted = format!("{whole}{first}");
        assert_eq!(text.wanted(), wanted.len());
        assert_eq!(
            text.as_bytes(),
            &wanted.as_bytes()[..room.min(wanted.len())]
        );
    }
}
