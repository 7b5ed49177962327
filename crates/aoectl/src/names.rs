// SPDX-License-Identifier: BSD-2-Clause
//! The names of aoetools: called as `aoe-stat`, the program takes the arguments of aoe-stat(8), and so on.
//!
//! Each tool's arguments are read in its own style and said anew in ours, so that there is one way in which things
//! are done.

use crate::cli::Cli;
use crate::{driver, module};
use aoe_wire::{SHELF_ANY, SLOT_ANY, TargetAddr};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// aoeping waits for ever; a day comes close.
const FOR_EVER: u32 = 86_400;

/// Print aoe device status report
#[derive(Debug, Parser)]
#[command(name = "aoe-stat")]
struct Stat {
    /// Show these devices only, like e7.0
    #[arg(value_name = "DEVICE")]
    devices: Vec<TargetAddr>,
}

/// Tell the aoe driver to discover AoE devices
#[derive(Debug, Parser)]
#[command(name = "aoe-discover")]
struct Discover {}

/// Restrict the aoe driver to specified network interfaces, or show them
#[derive(Debug, Parser)]
#[command(name = "aoe-interfaces")]
struct Interfaces {
    /// Clear the list
    #[arg(short, conflicts_with = "names")]
    clear: bool,
    /// Interfaces
    #[arg(value_name = "DEV")]
    names: Vec<String>,
}

/// Flush the down devices out of the aoe driver
#[derive(Debug, Parser)]
#[command(name = "aoe-flush")]
struct Flush {
    /// Forget all unused devices
    #[arg(short, conflicts_with = "devices")]
    all: bool,
    /// Devices to forget, like e7.0
    #[arg(value_name = "DEV")]
    devices: Vec<TargetAddr>,
}

/// Revalidate the disk size of an aoe device
#[derive(Debug, Parser)]
#[command(name = "aoe-revalidate")]
struct Revalidate {
    /// The device, like e7.0
    #[arg(value_name = "DEV", required = true)]
    devices: Vec<TargetAddr>,
}

/// Verify storage network capabilities
#[derive(Debug, Parser)]
#[command(name = "aoe-sancheck")]
struct Sancheck {
    /// Print more
    #[arg(short)]
    verbose: bool,
}

/// Print AoE-related software version information
#[derive(Debug, Parser)]
#[command(name = "aoe-version")]
struct Version {}

/// Manipulate AoE configuration strings
#[derive(Debug, Parser)]
#[command(
    name = "aoecfg",
    override_usage = "aoecfg [-c CMD] [-s CFGSTR] [-t TIMEOUT] [SHELF SLOT] [NETIF]"
)]
struct Aoecfg {
    /// The configuration command
    #[arg(short = 'c', value_name = "CMD", value_enum, default_value = "read")]
    command: ConfigCommand,
    /// The config string
    #[arg(short = 's', value_name = "CFGSTR")]
    string: Option<String>,
    /// How long to wait, in seconds
    #[arg(short, value_name = "TIMEOUT")]
    timeout: Option<u32>,
    /// Shelf and slot [default: all]; the network interface [default: all that are up]
    #[arg(value_name = "SHELF SLOT] [NETIF", num_args = 0..=3)]
    place: Vec<String>,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
enum ConfigCommand {
    Read,
    Test,
    Prefix,
    Set,
    Fset,
}

/// Simple communication with an AoE device
#[derive(Debug, Parser)]
#[command(name = "aoeping", arg_required_else_help = true)]
struct Aoeping {
    /// Identify the device, as raw hexadecimal digits
    #[arg(short = 'i', conflicts_with = "fields")]
    raw: bool,
    /// Identify the device, and print what is in it
    #[arg(short = 'I')]
    fields: bool,
    /// Be verbose
    #[arg(short)]
    verbose: bool,
    /// Timeout in seconds [default: none]
    #[arg(short = 's', value_name = "SECONDS")]
    timeout: Option<u32>,
    /// Perform a SMART command: read_data, offline_immediate:N, read_log:N, write_log:N, enable, disable, return_status
    #[arg(short = 'S', value_name = "COMMAND", conflicts_with_all = ["raw", "fields"])]
    smart: Option<String>,
    /// Number of the first tag
    #[arg(short, value_name = "TAG")]
    tag: Option<u32>,
    #[arg(value_name = "SHELF")]
    shelf: u16,
    #[arg(value_name = "SLOT")]
    slot: u8,
    #[arg(value_name = "NETIF")]
    interface: String,
}

/// Reads the command line of whatever name the program was called by. Ends the process when it is wrong.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Cli {
    let args: Vec<OsString> = args.collect();
    let name = args
        .first()
        .map(Path::new)
        .and_then(Path::file_name)
        .and_then(OsStr::to_str)
        .unwrap_or_default();
    match translate(name, &args) {
        None => Cli::parse_from(&args),
        Some(Err(error)) => error.exit(),
        Some(Ok(words)) => {
            let mut cli = Cli::parse_from(std::iter::once("aoectl".to_owned()).chain(words));
            cli.classic = true;
            cli
        }
    }
}

/// The arguments in our words, if the name is one of aoetools'.
fn translate(name: &str, args: &[OsString]) -> Option<Result<Vec<String>, clap::Error>> {
    Some(match name {
        "aoe-stat" => Stat::try_parse_from(args).map(|a| with("stat", &a.devices)),
        "aoe-discover" => Discover::try_parse_from(args).map(|_| discover()),
        "aoe-interfaces" => Interfaces::try_parse_from(args).map(interfaces),
        "aoe-flush" => Flush::try_parse_from(args).map(|a| match a.all {
            true => words(&["flush", "--all"]),
            false => with("flush", &a.devices),
        }),
        "aoe-revalidate" => {
            Revalidate::try_parse_from(args).map(|a| with("revalidate", &a.devices))
        }
        "aoe-sancheck" => Sancheck::try_parse_from(args).map(|a| match a.verbose {
            true => words(&["sancheck", "--verbose"]),
            false => words(&["sancheck"]),
        }),
        "aoe-version" => Version::try_parse_from(args).map(|_| words(&["version"])),
        "aoecfg" => Aoecfg::try_parse_from(args).and_then(aoecfg),
        "aoeping" => Aoeping::try_parse_from(args).and_then(aoeping),
        _ => return None,
    })
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

fn with(command: &str, targets: &[TargetAddr]) -> Vec<String> {
    let mut list = words(&[command]);
    list.extend(targets.iter().map(ToString::to_string));
    list
}

/// Without a module there is still the network.
fn discover() -> Vec<String> {
    match module::is_loaded() {
        true => words(&["discover", "--module"]),
        false => words(&["discover"]),
    }
}

fn interfaces(args: Interfaces) -> Vec<String> {
    let mut list = words(&["interfaces"]);
    if args.clear {
        list.push("clear".to_owned());
    } else if !args.names.is_empty() {
        list.extend(words(&["set", "--"]));
        list.extend(args.names);
    }
    list
}

/// The error of a tool whose arguments do not fit together.
fn wrong<T: CommandFactory>(text: impl std::fmt::Display) -> clap::Error {
    T::command().error(ErrorKind::ValueValidation, text)
}

fn aoecfg(args: Aoecfg) -> Result<Vec<String>, clap::Error> {
    let (target, interface) = match args.place.as_slice() {
        [] => ("all".to_owned(), None),
        [netif] => ("all".to_owned(), Some(netif)),
        [shelf, slot] => (pattern(shelf, slot)?, None),
        [shelf, slot, netif] => (pattern(shelf, slot)?, Some(netif)),
        [_, _, _, extra, ..] => {
            return Err(wrong::<Aoecfg>(format!("{extra} is one argument too many")));
        }
    };
    let interface = match interface {
        Some(name) => name.clone(),
        None => driver::all_up()
            .map_err(|e| wrong::<Aoecfg>(format!("NETIF: {e:#}")))?
            .join(","),
    };
    let command = match args.command {
        ConfigCommand::Read => "read",
        ConfigCommand::Test => "test",
        ConfigCommand::Prefix => "prefix",
        ConfigCommand::Set => "set",
        ConfigCommand::Fset => "fset",
    };
    let mut list = words(&["config", command, "-i", &interface]);
    if let Some(timeout) = args.timeout {
        list.extend(["--timeout".to_owned(), timeout.to_string()]);
    }
    list.push(target);
    match (args.command, args.string) {
        (ConfigCommand::Read, None) => {}
        (ConfigCommand::Read, Some(_)) => {
            return Err(wrong::<Aoecfg>("-s: read takes no config string"));
        }
        (_, None) => {
            return Err(wrong::<Aoecfg>(format!(
                "-s: {command} wants a config string"
            )));
        }
        (_, Some(string)) => {
            list.push("--".to_owned());
            // To us a leading @ names a file, and two are one.
            list.push(match string.starts_with('@') {
                true => format!("@{string}"),
                false => string,
            });
        }
    }
    Ok(list)
}

/// Shelf and slot as aoecfg takes them, where all bits set stand for any.
fn pattern(shelf: &str, slot: &str) -> Result<String, clap::Error> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(hex) => u16::from_str_radix(hex, 16).ok(),
        None => text.parse::<u16>().ok(),
    };
    let part = |what: &str, text: &str, any: u16| match number(text) {
        Some(n) if n == any => Ok("*".to_owned()),
        Some(n) if n < any => Ok(n.to_string()),
        _ => Err(wrong::<Aoecfg>(format!(
            "{what}: want a number from 0 to {any}, not {text}"
        ))),
    };
    Ok(format!(
        "{}.{}",
        part("SHELF", shelf, SHELF_ANY)?,
        part("SLOT", slot, u16::from(SLOT_ANY))?
    ))
}

fn aoeping(args: Aoeping) -> Result<Vec<String>, clap::Error> {
    let Some(addr) = TargetAddr::new(args.shelf, args.slot) else {
        return Err(wrong::<Aoeping>(
            "SHELF SLOT: want a shelf from 0 to 65534 and a slot from 0 to 254",
        ));
    };
    if args.tag.is_some() {
        return Err(wrong::<Aoeping>(
            "-t: tags are chosen by this program; it cannot be told one",
        ));
    }
    if args.raw {
        return Err(wrong::<Aoeping>(
            "-i: the raw data are not printed by this program; -I shows what is in them",
        ));
    }
    let mut list = match (&args.smart, args.fields) {
        (Some(smart), _) => smart_command(smart)?,
        (None, true) => words(&["identify"]),
        (None, false) => words(&["ping", "--count", "1"]),
    };
    let timeout = args.timeout.unwrap_or(FOR_EVER).to_string();
    list.extend(words(&["--timeout", &timeout, "-i", &args.interface]));
    list.push(addr.to_string());
    Ok(list)
}

fn smart_command(text: &str) -> Result<Vec<String>, clap::Error> {
    let (name, parameter) = match text.split_once(':') {
        Some((name, number)) => (name, Some(number)),
        None => (text, None),
    };
    let list: &[&str] = match (name, parameter) {
        ("read_data" | "return_status", None) => &[],
        ("enable", None) => &["--enable"],
        ("disable", None) => &["--disable"],
        ("offline_immediate", None | Some("0")) => &["--test", "offline"],
        ("offline_immediate", Some("1")) => &["--test", "short"],
        ("offline_immediate", Some("2")) => &["--test", "extended"],
        ("offline_immediate", Some("3")) => &["--test", "conveyance"],
        ("offline_immediate", Some("127")) => &["--test", "abort"],
        ("read_log", Some(number)) => &["--log", number],
        ("write_log", Some(number)) => &["--write", "--log", number],
        _ => {
            return Err(wrong::<Aoeping>(format!(
                "-S: {text}: want read_data, offline_immediate:N (0, 1, 2, 3, 127), read_log:N, write_log:N, \
                 enable, disable or return_status"
            )));
        }
    };
    let mut all = words(&["smart"]);
    all.extend(words(list));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words for a command line, with the error's text.
    fn say(line: &str) -> Result<String, String> {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let name = line.split(' ').next().unwrap();
        translate(name, &args)
            .expect("no such tool")
            .map(|words| words.join(" "))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn definitions_are_consistent() {
        for command in [
            Stat::command(),
            Discover::command(),
            Interfaces::command(),
            Flush::command(),
            Revalidate::command(),
            Sancheck::command(),
            Version::command(),
            Aoecfg::command(),
            Aoeping::command(),
        ] {
            command.debug_assert();
        }
    }

    #[test]
    fn old_words_become_ours() {
        for (old, ours) in [
            ("aoe-stat", "stat"),
            ("aoe-stat e7.0", "stat 7.0"),
            ("aoe-interfaces", "interfaces"),
            ("aoe-interfaces -c", "interfaces clear"),
            ("aoe-interfaces em0 em1", "interfaces set -- em0 em1"),
            ("aoe-flush", "flush"),
            ("aoe-flush -a", "flush --all"),
            ("aoe-flush e7.0 e3.2", "flush 7.0 3.2"),
            ("aoe-revalidate e1.9", "revalidate 1.9"),
            ("aoe-sancheck", "sancheck"),
            ("aoe-sancheck -v", "sancheck --verbose"),
            ("aoe-version", "version"),
            ("aoecfg em0", "config read -i em0 all"),
            ("aoecfg 7 3 em0", "config read -i em0 7.3"),
            (
                "aoecfg -t 2 0xffff 255 em0",
                "config read -i em0 --timeout 2 *.*",
            ),
            (
                "aoecfg -c test -s @x 7 3 em0",
                "config test -i em0 7.3 -- @@x",
            ),
            ("aoecfg -c fset -s x 7 3 em0", "config fset -i em0 7.3 -- x"),
            (
                "aoeping 7 3 em0",
                "ping --count 1 --timeout 86400 -i em0 7.3",
            ),
            ("aoeping -I -s 3 7 3 em0", "identify --timeout 3 -i em0 7.3"),
            (
                "aoeping -s 3 -S read_log:1 7 3 em0",
                "smart --log 1 --timeout 3 -i em0 7.3",
            ),
            (
                "aoeping -s 3 -S write_log:9 7 3 em0",
                "smart --write --log 9 --timeout 3 -i em0 7.3",
            ),
            (
                "aoeping -v -s 3 -S offline_immediate:2 7 3 em0",
                "smart --test extended --timeout 3 -i em0 7.3",
            ),
        ] {
            assert_eq!(say(old).as_deref(), Ok(ours), "{old}");
            let words = ours.split(' ').filter(|w| !w.is_empty());
            let cli = Cli::try_parse_from(std::iter::once("aoectl").chain(words));
            assert!(cli.is_ok(), "{ours}: {}", cli.unwrap_err());
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (old, word) in [
            ("aoe-stat sda", "sda"),
            ("aoe-discover em0", "em0"),
            ("aoe-interfaces -c em0", "-c"),
            ("aoe-flush -a e7.0", "-a"),
            ("aoe-flush 7", "'7'"),
            ("aoe-revalidate", "DEV"),
            ("aoe-sancheck em0", "em0"),
            ("aoe-version 1", "'1'"),
            ("aoecfg -c write 7 3 em0", "write"),
            ("aoecfg -c set 7 3 em0", "-s"),
            ("aoecfg -s x 7 3 em0", "-s"),
            ("aoecfg 65536 3 em0", "SHELF"),
            ("aoecfg 7 256 em0", "SLOT"),
            ("aoecfg 7 3 em0 em1", "em1"),
            ("aoeping 7 3", "NETIF"),
            ("aoeping 65535 3 em0", "SHELF"),
            ("aoeping -t 5 7 3 em0", "-t"),
            ("aoeping -i 7 3 em0", "-I"),
            ("aoeping -S erase 7 3 em0", "erase"),
        ] {
            let text = say(old).expect_err(old);
            assert!(text.contains(word), "{old}: {text}");
        }
    }

    #[test]
    fn other_names_are_ours() {
        for name in ["aoectl", "", "aoe", "aoe-mkdevs"] {
            assert!(translate(name, &[]).is_none(), "{name}");
        }
    }
}
