// SPDX-License-Identifier: BSD-2-Clause
//! The command line.

use crate::commands::{
    bench, config, flush, interfaces, mask, ping, reserve, revalidate, sancheck, smart, stat, watch,
};
use crate::exchange::station;
use crate::output::Format;
use crate::size;
use aoe_core::limits::MAX_SETTING_SECS;
use aoe_wire::{MacAddr, TargetAddr};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// Works with ATA-over-Ethernet targets
#[derive(Debug, Parser)]
#[command(
    name = "aoectl",
    version,
    max_term_width = 100,
    after_help = "Exit status: 0 done, 1 failed, 2 wrong usage, 3 target not found or silent, 4 verify found a difference, a config string does not fit, or sancheck found a duplicate."
)]
pub(crate) struct Cli {
    /// How to print results: text, json, or json,pretty
    #[arg(long, global = true, value_name = "OPTIONS", default_value = "text")]
    pub(crate) libxo: Format,
    /// Print as the tool of aoetools did by whose name this program was called
    #[arg(skip)]
    pub(crate) classic: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask who is there, and list the targets that answer
    Discover(Discover),
    /// Show everything about one target
    Identify(Identify),
    /// Copy from a target to a file
    Read(Read),
    /// Copy a file to a target, overwriting what is there
    Write(Write),
    /// Compare a target with a file
    Verify(Verify),
    /// Ask a target again and again, and tell how long it takes to answer
    Ping(ping::Args),
    /// Show, test or set the config string of a target
    Config(config::Args),
    /// Show or change the list of stations that a target listens to
    Mask(mask::Args),
    /// Show or change for whom a target is reserved
    Reserve(reserve::Args),
    /// Show what a disk says of its health
    Smart(smart::Args),
    /// List the targets with their state, one line each
    Stat(stat::Stat),
    /// Show or change which interfaces the kernel module uses
    Interfaces(interfaces::Interfaces),
    /// Make the kernel module forget targets that are down
    Flush(flush::Flush),
    /// Have the kernel module ask targets again what they are
    Revalidate(revalidate::Revalidate),
    /// Show what the targets of the kernel module are doing, again and again
    Watch(watch::Watch),
    /// Look for what is wrong with the network: MTUs, links, paths, frames that do not get through
    Sancheck(sancheck::Sancheck),
    /// Measure how fast a target is
    Bench(bench::Bench),
    /// Show the versions of this program, of the kernel module and of the protocol
    Version,
}

#[derive(Debug, Args)]
pub(crate) struct Discover {
    /// Interfaces to ask on [default: every Ethernet interface that is up]
    #[arg(value_name = "IF")]
    pub(crate) interfaces: Vec<String>,
    /// How long to listen for answers, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) wait: Duration,
    /// Have the kernel module ask on its interfaces, and list what it has then
    #[arg(long, conflicts_with = "interfaces")]
    pub(crate) module: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Reach {
    /// Interface to reach it by; several (repeated, or with commas) are several paths
    #[arg(
        short,
        long = "interface",
        value_name = "IF",
        required = true,
        value_delimiter = ','
    )]
    pub(crate) interfaces: Vec<String>,
    /// How long to look for the target, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// Address of the target
    #[arg(value_name = "SHELF.SLOT")]
    pub(crate) target: TargetAddr,
}

/// Which of the disks is meant that answer at one address.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Choice {
    /// Reach it at this Ethernet address only
    #[arg(long, value_name = "MAC", value_parser = station)]
    pub(crate) mac: Option<MacAddr>,
    /// Reach the disk with this serial number only
    #[arg(long, value_name = "SERIAL")]
    pub(crate) serial: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Identify {
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct Extent {
    /// Where on the target to begin, in bytes
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = size::parse_sectors)]
    pub(crate) offset: u64,
    /// How much, in bytes [default: the whole file; for read: up to the end of the target]
    #[arg(long, value_name = "BYTES", value_parser = size::parse_sectors, conflicts_with = "count")]
    pub(crate) length: Option<u64>,
    /// How much, in blocks
    #[arg(long, value_name = "BLOCKS")]
    pub(crate) count: Option<u64>,
    /// Size of one request, in bytes; at most 1g
    #[arg(long, value_name = "BYTES", default_value = "128k", value_parser = block)]
    pub(crate) block: u64,
    /// Requests in flight at a time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) depth: u16,
    /// How long a silent target is waited for, in seconds; 0 for ever
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
        value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_SETTING_SECS)))]
    pub(crate) dead: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Read {
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// Where to write what is read; - is the standard output
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) extent: Extent,
}

#[derive(Debug, Args)]
pub(crate) struct Write {
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// What to write; - is the standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) extent: Extent,
    /// Say that the data on the target may be lost; nothing is written without it
    #[arg(long)]
    pub(crate) yes: bool,
    /// Fill the last sector with zeros when FILE ends inside it
    #[arg(long)]
    pub(crate) pad: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// What to compare the target with; - is the standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) extent: Extent,
}

/// Longest request: what one buffer may reasonably take.
const MAX_BLOCK: u64 = 1 << 30;

pub(crate) fn block(text: &str) -> Result<u64, String> {
    match size::parse_some_sectors(text)? {
        bytes if bytes > MAX_BLOCK => Err("must not be more than 1g".to_owned()),
        bytes => Ok(bytes),
    }
}

/// Seconds, with a fraction if need be; at most a day.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|s| *s <= 86_400.0)
        .and_then(|s| Duration::try_from_secs_f64(s).ok())
        .ok_or_else(|| "want a number of seconds from 0 to 86400, like 0.5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    fn refusal(line: &str) -> ErrorKind {
        Cli::try_parse_from(line.split(' ')).unwrap_err().kind()
    }

    #[test]
    fn definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_write_is_read() {
        let line =
            "aoectl write -i em0,em1 7.0 disk.img --offset 3s --block 1m --yes --libxo=json,pretty";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let Command::Write(write) = cli.command else {
            panic!("not a write");
        };
        assert_eq!(write.reach.interfaces, ["em0", "em1"]);
        assert_eq!(Some(write.reach.target), TargetAddr::new(7, 0));
        assert_eq!(write.extent.offset, 1536);
        assert_eq!(write.extent.block, 1 << 20);
        assert!(write.yes && !write.pad);
        assert_eq!(write.extent.dead, 60);
        assert_eq!(cli.libxo, Format::Json { pretty: true });
    }

    #[test]
    fn the_longest_wait_is_read() {
        let line = "aoectl read -i em0 7.0 f --dead 1000000000";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let Command::Read(read) = cli.command else {
            panic!("not a read");
        };
        assert_eq!(read.extent.dead, MAX_SETTING_SECS);
    }

    #[test]
    fn nonsense_is_refused() {
        for (line, kind) in [
            (
                "aoectl",
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
            ),
            ("aoectl read 7.0 f", ErrorKind::MissingRequiredArgument),
            ("aoectl read -i em0 7 f", ErrorKind::ValueValidation),
            ("aoectl read -i em0 65535.0 f", ErrorKind::ValueValidation),
            ("aoectl read -i em0 7.255 f", ErrorKind::ValueValidation),
            (
                "aoectl read -i em0 7.0 f --offset 100",
                ErrorKind::ValueValidation,
            ),
            (
                "aoectl read -i em0 7.0 f --block 0",
                ErrorKind::ValueValidation,
            ),
            (
                "aoectl read -i em0 7.0 f --block 2g",
                ErrorKind::ValueValidation,
            ),
            (
                "aoectl read -i em0 7.0 f --depth 0",
                ErrorKind::ValueValidation,
            ),
            (
                "aoectl read -i em0 7.0 f --length 1k --count 1",
                ErrorKind::ArgumentConflict,
            ),
            (
                "aoectl read -i em0 7.0 f --dead 1000000001",
                ErrorKind::ValueValidation,
            ),
            ("aoectl discover --wait nan", ErrorKind::ValueValidation),
            ("aoectl discover --wait 86401", ErrorKind::ValueValidation),
            (
                "aoectl ping -i em0 7.0 --interval 86401",
                ErrorKind::ValueValidation,
            ),
            ("aoectl discover --libxo xml", ErrorKind::ValueValidation),
        ] {
            assert_eq!(refusal(line), kind, "{line}");
        }
    }
}
