//! The syntax of `net.aoe.boot_targets`: addresses of targets, separated by spaces, tabs or commas.

use aoe_wire::TargetAddr;

use crate::limits::MAX_BOOT_TARGETS;
use crate::list::{ListError, words};

/// A list of at most [`MAX_BOOT_TARGETS`] different addresses.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct AddrList {
    addrs: [Option<TargetAddr>; MAX_BOOT_TARGETS],
}

/// Reads a list. An address that stands twice counts once.
///
/// # Errors
/// The first fault found, in the order of the text.
pub fn parse(text: &str) -> Result<AddrList, ListError> {
    let mut list = AddrList::EMPTY;
    for word in words(text) {
        let addr = word.parse::<TargetAddr>().map_err(|_| ListError::BadWord)?;
        if list.iter().any(|earlier| earlier == addr) {
            continue;
        }
        let free = list
            .addrs
            .iter_mut()
            .find(|place| place.is_none())
            .ok_or(ListError::TooMany)?;
        *free = Some(addr);
    }
    Ok(list)
}

impl AddrList {
    /// A list of nothing.
    pub const EMPTY: Self = Self {
        addrs: [None; MAX_BOOT_TARGETS],
    };

    /// The addresses, in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = TargetAddr> + use<> {
        self.addrs.into_iter().flatten()
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
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn names(text: &str) -> Result<Vec<String>, ListError> {
        parse(text).map(|list| list.iter().map(|addr| addr.to_string()).collect())
    }

    #[test]
    fn spaces_and_commas_separate() {
        let want = ["7.0", "7.1", "65534.254"].map(String::from);
        assert_eq!(names("7.0 7.1,,\te65534.254\n"), Ok(want.into()));
        assert_eq!(names(" , "), Ok([].into()));
        assert!(parse("").is_ok_and(|list| list.is_empty()));
    }

    #[test]
    fn an_address_twice_counts_once() {
        assert_eq!(names("7.0 e7.0,7.0"), Ok(["7.0".into()].into()));
        let many = "7.0 ".repeat(MAX_BOOT_TARGETS + 1);
        assert_eq!(names(&many), Ok(["7.0".into()].into()));
    }

    #[test]
    fn faults_are_named() {
        for bad in [
            "7", "7.", "7.0.0", "65535.0", "7.255", "7.0;", "em0", "7.0 x",
        ] {
            assert_eq!(names(bad), Err(ListError::BadWord), "{bad}");
        }
        let text = |count: usize| {
            (0..count)
                .map(|slot| std::format!("7.{slot}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            names(&text(MAX_BOOT_TARGETS)).map(|list| list.len()),
            Ok(MAX_BOOT_TARGETS)
        );
        assert_eq!(names(&text(MAX_BOOT_TARGETS + 1)), Err(ListError::TooMany));
    }
}
