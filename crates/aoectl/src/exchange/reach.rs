// SPDX-License-Identifier: BSD-2-Clause
//! What the operator says of whom to ask, and how.

use crate::cli;
use aoe_wire::{AddrPattern, MacAddr, TargetAddr};
use clap::Args;
use std::fmt;
use std::time::Duration;

/// How a target is reached.
#[derive(Debug, Args)]
pub(crate) struct Reach {
    /// Interface to ask on; several (repeated, or with commas) are all asked
    #[arg(
        short,
        long = "interface",
        value_name = "IF",
        required = true,
        value_delimiter = ','
    )]
    pub(crate) interfaces: Vec<String>,
    /// Ask only the server with this Ethernet address
    #[arg(long, value_name = "MAC", value_parser = station)]
    pub(crate) mac: Option<MacAddr>,
    /// How long to wait for an answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = some_seconds)]
    pub(crate) timeout: Duration,
}

/// How one target is reached.
#[derive(Debug, Args)]
pub(crate) struct ReachOne {
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// Address of the target
    #[arg(value_name = "SHELF.SLOT")]
    pub(crate) target: TargetAddr,
}

/// Seconds, more than none.
pub(crate) fn some_seconds(text: &str) -> Result<Duration, String> {
    match cli::seconds(text)? {
        Duration::ZERO => Err("must be more than 0".to_owned()),
        time => Ok(time),
    }
}

/// The Ethernet address of one station.
pub(crate) fn station(text: &str) -> Result<MacAddr, String> {
    let mac: MacAddr = text.parse().map_err(|e| format!("{e}"))?;
    if mac.is_unicast() {
        Ok(mac)
    } else {
        Err("not the address of one station, but of a group or of none".to_owned())
    }
}

/// One target, or those that a pattern names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Targets(pub(crate) AddrPattern);

impl Targets {
    /// Whether it names one target only.
    pub(crate) fn is_one(self) -> bool {
        self.0.shelf.is_some() && self.0.slot.is_some()
    }
}

impl From<TargetAddr> for Targets {
    fn from(addr: TargetAddr) -> Self {
        Self(addr.into())
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == AddrPattern::ANY {
            f.write_str("all")
        } else {
            fmt::Display::fmt(&self.0, f)
        }
    }
}

impl std::str::FromStr for Targets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = "want SHELF.SLOT (shelf 0-65534, slot 0-254), with * for all of either, or all";
        if text == "all" {
            return Ok(Self(AddrPattern::ANY));
        }
        let (shelf, slot) = text.split_once('.').ok_or(wrong)?;
        // The address parser judges the numbers; a wildcard is a number that it takes.
        let number = |part: &str| if part == "*" { "0" } else { part }.to_owned();
        let addr: TargetAddr = format!("{}.{}", number(shelf), number(slot))
            .parse()
            .map_err(|_| wrong)?;
        Ok(Self(AddrPattern {
            shelf: (shelf != "*").then_some(addr.shelf()),
            slot: (slot != "*").then_some(addr.slot()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read() {
        let one: Targets = "e7.3".parse().unwrap();
        assert!(one.is_one());
        assert_eq!(one, TargetAddr::new(7, 3).unwrap().into());
        for (text, shown) in [
            ("7.*", "7.*"),
            ("*.3", "*.3"),
            ("*.*", "all"),
            ("all", "all"),
        ] {
            let targets: Targets = text.parse().unwrap();
            assert!(!targets.is_one());
            assert_eq!(targets.to_string(), shown);
        }
        for wrong in [
            "", "7", "7.255", "65535.0", "7.", ".*", "7.3.1", "**.1", "al",
        ] {
            assert!(wrong.parse::<Targets>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn stations_are_single() {
        assert_eq!(station("2:0:0:0:0:9"), Ok(MacAddr([2, 0, 0, 0, 0, 9])));
        for wrong in [
            "02:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "01:00:00:00:00:01",
            "0:0:0:0:0:0",
        ] {
            assert!(station(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_not_zero() {
        assert!(some_seconds("0").is_err());
        assert!(some_seconds("nan").is_err());
        assert_eq!(some_seconds("0.25"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn command_lines_are_judged() {
        use clap::Parser;
        use clap::error::ErrorKind::{
            ArgumentConflict, DisplayHelpOnMissingArgumentOrSubcommand as NoSubcommand,
            MissingRequiredArgument, ValueValidation,
        };
        let parse = |line: &str| cli::Cli::try_parse_from(line.split(' '));
        for (line, kind) in [
            ("aoectl ping 7.0", MissingRequiredArgument),
            ("aoectl ping -i em0 all", ValueValidation),
            ("aoectl ping -i em0 7.0 --interval 0", ValueValidation),
            ("aoectl config", NoSubcommand),
            ("aoectl config set -i em0 all x", ValueValidation),
            ("aoectl config set -i em0 7.0", MissingRequiredArgument),
            ("aoectl config test -i em0 7 x", ValueValidation),
            ("aoectl mask add -i em0 7.0", MissingRequiredArgument),
            ("aoectl mask add -i em0 7.0 33:33:0:0:0:1", ValueValidation),
            ("aoectl reserve set -i em0 7.0 em0", ValueValidation),
            ("aoectl smart -i em0 7.0 --write", MissingRequiredArgument),
            ("aoectl smart -i em0 7.0 --log 6 --enable", ArgumentConflict),
            ("aoectl smart -i em0 --mac 0:0:0:0:0:0 7.0", ValueValidation),
        ] {
            assert_eq!(parse(line).unwrap_err().kind(), kind, "{line}");
        }
        for line in [
            "aoectl ping -i em0,em1 -c 0 -q --identify 7.0",
            "aoectl config prefix -i em0 *.* x --hex --libxo json",
            "aoectl mask delete -i em0 7.0 2:0:0:0:0:1,2:0:0:0:0:2 2:0:0:0:0:3",
            "aoectl reserve fset -i em0 -i em1 e7.0",
            "aoectl smart -i em0 7.0 --test short --timeout 10",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }
}
