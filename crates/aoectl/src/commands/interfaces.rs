// SPDX-License-Identifier: BSD-2-Clause
//! `aoectl interfaces`: which interfaces the kernel module uses; what aoe-interfaces(8) is on Linux.

use super::print_to;
use crate::failure::Failure;
use crate::module::{self, Listed};
use crate::output::{Format, Table, print_json};
use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::io;

#[derive(Debug, Args)]
pub(crate) struct Interfaces {
    #[command(subcommand)]
    change: Option<Change>,
}

#[derive(Debug, Subcommand)]
enum Change {
    /// Use these and no others
    Set(Names),
    /// Use these too
    Add(Names),
    /// Use these no longer
    Remove(Names),
    /// Use none
    Clear,
}

#[derive(Debug, Args)]
struct Names {
    /// Take names of interfaces that are not there yet; they are used when they arrive
    #[arg(long)]
    absent: bool,
    /// Names of interfaces
    #[arg(value_name = "IF", required = true, value_delimiter = ',')]
    names: Vec<String>,
}

pub(crate) fn run(args: &Interfaces, format: Format, classic: bool) -> Result<(), Failure> {
    let Some(change) = &args.change else {
        return match (module::is_loaded(), classic) {
            (_, true) => print_classic(),
            (true, _) => print_listed(format),
            (false, _) => print_all(format),
        };
    };
    module::require("interfaces")?;
    let before = module::interface_list()?;
    let after = changed(&before, change)?;
    if after != before {
        module::set_interface_list(&after)?;
    }
    match (format, classic) {
        (_, true) => Ok(()),
        _ => print_listed(format),
    }
}

/// The list after a change.
fn changed(before: &[String], change: &Change) -> Result<Vec<String>, Failure> {
    let mut after = before.to_vec();
    match change {
        Change::Clear => after.clear(),
        Change::Set(args) => {
            check(args)?;
            after.clone_from(&args.names);
        }
        Change::Add(args) => {
            check(args)?;
            let new = args.names.iter().filter(|name| !before.contains(name));
            after.extend(new.cloned());
        }
        Change::Remove(args) => {
            if let Some(name) = args.names.iter().find(|name| !before.contains(name)) {
                return Err(Failure::Usage(format!(
                    "interfaces: {name} is not among those that the module uses ({})",
                    in_words(before)
                )));
            }
            after.retain(|name| !args.names.contains(name));
        }
    }
    // What the module would refuse, in words.
    aoe_core::iflist::parse(&after.join(" ")).map_err(|error| {
        use aoe_core::iflist::IfListError as E;
        let names = after.join(" ");
        Failure::Usage(match error {
            E::NameTooLong => format!("interfaces: a name in \"{names}\" is longer than 15 bytes"),
            E::BadCharacter => {
                format!("interfaces: \"{names}\" has a character that no interface's name has")
            }
            E::Duplicate => format!("interfaces: \"{names}\" has a name twice"),
            E::TooMany => format!("interfaces: \"{names}\" has more than 16 names"),
        })
    })?;
    Ok(after)
}

fn in_words(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        some => some.join(", "),
    }
}

/// A name that is no interface is more often a slip than an intention.
fn check(args: &Names) -> Result<(), Failure> {
    if args.absent {
        return Ok(());
    }
    let there = aoe_os::interfaces().context("cannot list the interfaces")?;
    match args
        .names
        .iter()
        .find(|name| there.iter().all(|i| i.name != **name))
    {
        None => Ok(()),
        Some(name) => {
            let have: Vec<String> = there.into_iter().map(|i| i.name).collect();
            Err(Failure::Usage(format!(
                "interfaces: there is no Ethernet interface {name} (there is {}); --absent takes it all the same",
                in_words(&have)
            )))
        }
    }
}

/// Only the names, on one line; nothing at all for an empty list, as its predecessor.
fn print_classic() -> Result<(), Failure> {
    module::require("aoe-interfaces")?;
    let names = module::interface_list()?;
    let mut out = io::stdout().lock();
    print_to(&mut out, |out| writeln!(out, "{}", names.join(" ")))
}

/// Those in `net.aoe.iflist`.
fn print_listed(format: Format) -> Result<(), Failure> {
    print("module", &module::listed_interfaces()?, format)
}

/// Without the module: all that could be used.
fn print_all(format: Format) -> Result<(), Failure> {
    let there = aoe_os::interfaces().context("cannot list the interfaces")?;
    let rows: Vec<Listed> = there
        .into_iter()
        .map(|i| Listed {
            name: i.name,
            state: if i.is_up { "up" } else { "down" }.to_owned(),
            mtu: i.mtu.to_string(),
            mac: i.mac.to_string(),
            ports: String::new(),
        })
        .collect();
    print("system", &rows, format)
}

fn print(source: &str, rows: &[Listed], format: Format) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    print_to(&mut out, |out| match format {
        Format::Json { pretty } => {
            let list: Vec<Value> = rows.iter().map(as_json).collect();
            print_json(out, pretty, json!({ "source": source, "interface": list }))
        }
        Format::Text => {
            let mut columns = vec!["INTERFACE", "STATE", ">MTU", "ADDRESS"];
            let with_ports = rows.iter().any(|row| !row.ports.is_empty());
            columns.extend(with_ports.then_some("PORTS"));
            let mut table = Table::new(&columns);
            for row in rows {
                let mut cells = vec![
                    row.name.clone(),
                    row.state.clone(),
                    row.mtu.clone(),
                    row.mac.clone(),
                ];
                cells.extend(with_ports.then(|| row.ports.clone()));
                table.row(cells);
            }
            match rows {
                [] => Ok(()),
                _ => table.print(out),
            }
        }
    })
}

fn as_json(row: &Listed) -> Value {
    json!({
        "name": row.name,
        "state": row.state,
        "mtu": row.mtu.parse::<u32>().ok(),
        "mac": row.mac,
        "ports": row.ports,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn absent(list: &[&str]) -> Names {
        Names {
            absent: true,
            names: names(list),
        }
    }

    #[test]
    fn lists_change() {
        let before = names(&["em0", "em1"]);
        let after = |change| changed(&before, &change).unwrap();
        assert_eq!(after(Change::Set(absent(&["em2"]))), ["em2"]);
        assert_eq!(
            after(Change::Add(absent(&["em1", "em2"]))),
            ["em0", "em1", "em2"]
        );
        assert_eq!(after(Change::Remove(absent(&["em0"]))), ["em1"]);
        assert!(after(Change::Clear).is_empty());
    }

    #[test]
    fn wrong_lists_are_refused_with_the_name() {
        let before = names(&["em0"]);
        let many: Vec<String> = (0..17).map(|n| format!("em{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (change, word) in [
            (Change::Remove(absent(&["em7"])), "em7"),
            (Change::Set(absent(&["em0;em1"])), "em0;em1"),
            (Change::Set(absent(&["em0", "em0"])), "twice"),
            (
                Change::Set(absent(&["a-name-that-is-too-long"])),
                "15 bytes",
            ),
            (Change::Set(absent(&many)), "16"),
            (
                Change::Set(Names {
                    absent: false,
                    names: names(&["nosuchif0"]),
                }),
                "nosuchif0",
            ),
        ] {
            let Err(Failure::Usage(text)) = changed(&before, &change) else {
                panic!("{change:?} was taken");
            };
            assert!(text.contains(word), "{text}");
        }
    }
}
