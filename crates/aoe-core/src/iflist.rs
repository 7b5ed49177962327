//! The syntax of `net.aoe.iflist`: interface names, separated by spaces, tabs or commas.

use crate::limits::MAX_NETIFS;
use crate::list::words;

/// Longest interface name: `IFNAMSIZ` less its terminating zero.
pub const MAX_NAME: usize = 15;

/// A well-formed list of at most [`MAX_NETIFS`] different names.
#[derive(Copy, Clone, Debug)]
pub struct IfList<'a> {
    text: &'a str,
}

/// Why a list was refused.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum IfListError {
    /// A name is longer than 15 bytes.
    NameTooLong,
    /// A name holds a character that no interface name has.
    BadCharacter,
    /// The same name stands twice.
    Duplicate,
    /// More names than [`MAX_NETIFS`].
    TooMany,
}

/// Checks a list.
///
/// # Errors
/// The first fault found, in the order of the text.
pub fn parse(text: &str) -> Result<IfList<'_>, IfListError> {
    let list = IfList { text };
    for (index, name) in list.iter().enumerate() {
        if index >= MAX_NETIFS {
            return Err(IfListError::TooMany);
        }
        if name.len() > MAX_NAME {
            return Err(IfListError::NameTooLong);
        }
        if !name.bytes().all(is_name_byte) {
            return Err(IfListError::BadCharacter);
        }
        if list.iter().take(index).any(|earlier| earlier == name) {
            return Err(IfListError::Duplicate);
        }
    }
    Ok(list)
}

/// Letters, digits and the punctuation that drivers, vlans (`em0.10`) and administrators use.
const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':')
}

impl<'a> IfList<'a> {
    /// The names, in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        words(self.text)
    }

    /// Whether it names nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn names(text: &str) -> Result<Vec<&str>, IfListError> {
        parse(text).map(|list| list.iter().collect())
    }

    #[test]
    fn spaces_and_commas_separate() {
        assert_eq!(
            names("em0 em1,vtnet0.10,  igb2\n"),
            Ok(["em0", "em1", "vtnet0.10", "igb2"].into())
        );
        assert_eq!(names(" , "), Ok([].into()));
        assert!(parse("").is_ok_and(|list| list.is_empty()));
    }

    #[test]
    fn faults_are_named() {
        assert_eq!(names("em0;em1"), Err(IfListError::BadCharacter));
        assert_eq!(names("em0 em\u{e9}"), Err(IfListError::BadCharacter));
        assert_eq!(names("em0,em0"), Err(IfListError::Duplicate));
        assert_eq!(names("abcdefghijklmno"), Ok(["abcdefghijklmno"].into()));
        assert_eq!(names("abcdefghijklmnop"), Err(IfListError::NameTooLong));
        let many = (0..17)
            .map(|n| std::format!("em{n}"))
            .collect::<Vec<_>>()
            .join(" ");
        assert_eq!(names(&many), Err(IfListError::TooMany));
    }
}
