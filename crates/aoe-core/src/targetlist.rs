// SPDX-License-Identifier: BSD-2-Clause
//! The syntax of `net.aoe.targets`: which addresses may become targets. Patterns as `7.*`, `8.0-15` or `*`, separated
//! by spaces, tabs or commas.

use core::fmt;

use aoe_wire::address::decimal;
use aoe_wire::{SHELF_ANY, SLOT_ANY, TargetAddr};

use crate::limits::MAX_TARGET_PATTERNS;
use crate::list::{ListError, words};

/// The first and the last of the numbers that a pattern allows.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct Range<T> {
    first: T,
    last: T,
}

/// Addresses: a range of shelves, and in each of them a range of slots.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct Pattern {
    shelves: Range<u16>,
    slots: Range<u8>,
}

const LAST_SHELF: u16 = SHELF_ANY - 1;
const LAST_SLOT: u8 = SLOT_ANY - 1;

impl Pattern {
    const ALL: Self = Self {
        shelves: Range {
            first: 0,
            last: LAST_SHELF,
        },
        slots: Range {
            first: 0,
            last: LAST_SLOT,
        },
    };

    fn parse(word: &str) -> Option<Self> {
        if word == "*" {
            return Some(Self::ALL);
        }
        let (shelves, slots) = word.split_once('.')?;
        Some(Self {
            shelves: Range::parse(shelves, LAST_SHELF)?,
            slots: Range::parse(slots, LAST_SLOT)?,
        })
    }

    fn allows(self, addr: TargetAddr) -> bool {
        self.shelves.holds(addr.shelf()) && self.slots.holds(addr.slot())
    }
}

impl<T: Copy + Default + PartialOrd + TryFrom<u16> + fmt::Display> Range<T> {
    fn parse(text: &str, most: T) -> Option<Self> {
        if text == "*" {
            let first = T::default();
            return Some(Self { first, last: most });
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| T::try_from(decimal(text.as_bytes())?).ok();
        let (first, last) = (number(first)?, number(last)?);
        (first <= last && last <= most).then_some(Self { first, last })
    }

    fn holds(self, value: T) -> bool {
        self.first <= value && value <= self.last
    }

    fn write(self, f: &mut fmt::Formatter<'_>, most: T) -> fmt::Result {
        if self.first == T::default() && self.last == most {
            return f.write_str("*");
        }
        write!(f, "{}", self.first)?;
        if self.first == self.last {
            return Ok(());
        }
        write!(f, "-{}", self.last)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return f.write_str("*");
        }
        self.shelves.write(f, LAST_SHELF)?;
        f.write_str(".")?;
        self.slots.write(f, LAST_SLOT)
    }
}

/// A list of at most [`MAX_TARGET_PATTERNS`] patterns. What none of them names may not become a target.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct TargetList {
    patterns: [Pattern; MAX_TARGET_PATTERNS],
    len: u8,
}
const _: () = assert!(MAX_TARGET_PATTERNS <= u8::MAX as usize);

/// Reads a list. A list of nothing allows nothing.
///
/// # Errors
/// The first fault found, in the order of the text.
pub fn parse(text: &str) -> Result<TargetList, ListError> {
    let mut list = TargetList::NONE;
    for word in words(text) {
        let pattern = Pattern::parse(word).ok_or(ListError::BadWord)?;
        let place = list.patterns.get_mut(usize::from(list.len));
        *place.ok_or(ListError::TooMany)? = pattern;
        list.len += 1;
    }
    Ok(list)
}

impl TargetList {
    /// Every address.
    pub const ALL: Self = Self {
        patterns: [Pattern::ALL; MAX_TARGET_PATTERNS],
        len: 1,
    };

    /// No address.
    pub const NONE: Self = Self {
        patterns: [Pattern::ALL; MAX_TARGET_PATTERNS],
        len: 0,
    };

    fn iter(&self) -> impl Iterator<Item = &Pattern> {
        self.patterns.iter().take(usize::from(self.len))
    }

    /// Whether this address may become a target.
    #[must_use]
    pub fn allows(&self, addr: TargetAddr) -> bool {
        self.iter().any(|pattern| pattern.allows(addr))
    }
}

impl fmt::Display for TargetList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for pattern in self.iter() {
            write!(f, "{separator}{pattern}")?;
            separator = " ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn allowed<'a>(list: &str, addrs: &[&'a str]) -> Vec<&'a str> {
        let list = parse(list).unwrap();
        let allows = |addr: &&&str| list.allows(addr.parse().unwrap());
        addrs.iter().filter(allows).copied().collect()
    }

    #[test]
    fn a_pattern_allows_what_lies_in_both_its_ranges() {
        let all = [
            "0.0",
            "7.0",
            "7.254",
            "8.0",
            "8.15",
            "8.16",
            "9.1",
            "65534.254",
        ];
        assert_eq!(allowed("*", &all), all);
        assert_eq!(allowed("*.*", &all), all);
        assert_eq!(allowed("", &all), [""; 0]);
        assert_eq!(allowed("7.*", &all), ["7.0", "7.254"]);
        assert_eq!(allowed("8.0-15", &all), ["8.0", "8.15"]);
        assert_eq!(allowed("7.* 8.0-15", &all), ["7.0", "7.254", "8.0", "8.15"]);
        assert_eq!(allowed("*.0", &all), ["0.0", "7.0", "8.0"]);
        assert_eq!(allowed("8-9.1-15,\t0.0\n", &all), ["0.0", "8.15", "9.1"]);
        assert_eq!(allowed("65534.254", &all), ["65534.254"]);
    }

    #[test]
    fn a_list_is_written_as_it_is_read() {
        for text in ["*", "", "7.*", "*.3", "7.* 8.0-15", "1-9.0 65534.254"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse(" *.*,0-65534.0-254 ").unwrap().to_string(), "* *");
        assert_eq!(parse("07.003-003").unwrap().to_string(), "7.3");
        assert_eq!(parse("*"), Ok(TargetList::ALL));
    }

    #[test]
    fn faults_are_named() {
        for bad in [
            "7", ".", "7.", ".0", "7.0.0", "65535.0", "7.255", "7.0;", "em0", "7.0 x", "9-8.0",
            "7.3-2", "7.-1", "7.1-", "+7.0", "7.0-255", "**", "7.*-3", "e7.0", "7 .0", "70000.0",
            "é.0",
        ] {
            assert_eq!(parse(bad), Err(ListError::BadWord), "{bad}");
        }
        assert!(parse(&"7.0 ".repeat(MAX_TARGET_PATTERNS)).is_ok());
        assert_eq!(
            parse(&"7.0 ".repeat(MAX_TARGET_PATTERNS + 1)),
            Err(ListError::TooMany)
        );
    }
}
