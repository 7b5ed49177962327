// SPDX-License-Identifier: BSD-2-Clause
//! Ethernet addresses.

use core::fmt;
use core::str::FromStr;

use crate::error::TextError;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// The address of every station on the link.
    pub const BROADCAST: Self = Self([0xFF; 6]);
    /// The address of no station.
    pub const ZERO: Self = Self([0; 6]);

    /// Whether this names a group of stations; broadcast is one.
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        let [first, ..] = self.0;
        first & 1 != 0
    }

    /// Whether this can be the address of one station: neither a group nor all zero.
    #[must_use]
    pub const fn is_unicast(self) -> bool {
        !self.is_multicast() && !matches!(self.0, [0, 0, 0, 0, 0, 0])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<[u8; 6]> for MacAddr {
    fn from(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }
}

impl FromStr for MacAddr {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let mut bytes = [0; 6];
        let mut groups = text.as_bytes().split(|byte| *byte == b':');
        for byte in &mut bytes {
            *byte = hex_group(groups.next().unwrap_or(&[])).ok_or(TextError::Mac)?;
        }
        match groups.next() {
            Some(_) => Err(TextError::Mac),
            None => Ok(Self(bytes)),
        }
    }
}

/// One or two hexadecimal digits.
fn hex_group(group: &[u8]) -> Option<u8> {
    match *group {
        [low] => hex_digit(low),
        [high, low] => Some((hex_digit(high)? << 4) | hex_digit(low)?),
        _ => None,
    }
}

const fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
