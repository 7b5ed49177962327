// SPDX-License-Identifier: BSD-2-Clause
//! Shelf and slot: the address of a target, and the patterns that requests may carry.

use core::fmt;
use core::str::FromStr;

use crate::error::TextError;

/// The shelf ("major") that means all shelves, in requests only (AoEr11 2.4).
pub const SHELF_ANY: u16 = 0xFFFF;
/// The slot ("minor") that means all slots, in requests only (AoEr11 2.4).
pub const SLOT_ANY: u8 = 0xFF;

/// The address of one target: never a wildcard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetAddr {
    shelf: u16,
    slot: u8,
}

impl TargetAddr {
    /// Makes an address of shelf 0 to 65534 and slot 0 to 254; the wildcards above are refused.
    #[must_use]
    pub const fn new(shelf: u16, slot: u8) -> Option<Self> {
        if shelf == SHELF_ANY || slot == SLOT_ANY {
            return None;
        }
        Some(Self { shelf, slot })
    }

    /// The shelf, which the protocol calls major.
    #[must_use]
    pub const fn shelf(self) -> u16 {
        self.shelf
    }

    /// The slot, which the protocol calls minor.
    #[must_use]
    pub const fn slot(self) -> u8 {
        self.slot
    }
}

impl fmt::Display for TargetAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.shelf, self.slot)
    }
}

impl fmt::Debug for TargetAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A decimal number of at most 65535, without a sign.
#[must_use]
pub fn decimal(text: &[u8]) -> Option<u16> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u16, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value.checked_mul(10)?.checked_add(u16::from(digit))
    })
}

impl FromStr for TargetAddr {
    type Err = TextError;

    /// Reads `7.0`, and `e7.0` as other systems name it.
    fn from_str(text: &str) -> Result<Self, TextError> {
        let digits = match text.as_bytes() {
            [b'e', rest @ ..] => rest,
            all => all,
        };
        let mut parts = digits.split(|byte| *byte == b'.').map(decimal);
        let (Some(Some(shelf)), Some(Some(slot)), None) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(TextError::Addr);
        };
        let slot = u8::try_from(slot).map_err(|_| TextError::Addr)?;
        Self::new(shelf, slot).ok_or(TextError::Addr)
    }
}

/// The targets that a request is for. Shelf and slot are wild independently; `None` is wild.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddrPattern {
    /// The shelf, or all of them.
    pub shelf: Option<u16>,
    /// The slot, or all of them.
    pub slot: Option<u8>,
}

impl AddrPattern {
    /// Every target.
    pub const ANY: Self = Self {
        shelf: None,
        slot: None,
    };

    /// The pattern that these header fields say.
    #[must_use]
    pub const fn from_wire(shelf: u16, slot: u8) -> Self {
        Self {
            shelf: if shelf == SHELF_ANY {
                None
            } else {
                Some(shelf)
            },
            slot: if slot == SLOT_ANY { None } else { Some(slot) },
        }
    }

    /// The header fields that say this pattern.
    #[must_use]
    pub const fn to_wire(self) -> (u16, u8) {
        let shelf = match self.shelf {
            Some(shelf) => shelf,
            None => SHELF_ANY,
        };
        let slot = match self.slot {
            Some(slot) => slot,
            None => SLOT_ANY,
        };
        (shelf, slot)
    }

    /// Whether a target of this address is meant.
    #[must_use]
    pub fn matches(self, addr: TargetAddr) -> bool {
        self.shelf.is_none_or(|shelf| shelf == addr.shelf())
            && self.slot.is_none_or(|slot| slot == addr.slot())
    }
}

impl From<TargetAddr> for AddrPattern {
    fn from(addr: TargetAddr) -> Self {
        Self {
            shelf: Some(addr.shelf()),
            slot: Some(addr.slot()),
        }
    }
}

impl fmt::Display for AddrPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shelf {
            Some(shelf) => write!(f, "{shelf}.")?,
            None => f.write_str("*.")?,
        }
        match self.slot {
            Some(slot) => write!(f, "{slot}"),
            None => f.write_str("*"),
        }
    }
}
