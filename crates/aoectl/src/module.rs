// SPDX-License-Identifier: BSD-2-Clause
//! The kernel module, as its `net.aoe` tree shows it, and as that tree is told what to do.
//!
//! Names and types are read from the same table as the module makes its tree from, so that a key of ours is
//! always a variable of the module, and the manual page describes both.

use crate::failure::Failure;
use anyhow::{Context, anyhow};
use aoe_os::sysctl;
use aoe_wire::TargetAddr;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Columns: node, type, unit, default, access, meaning.
const TABLE: &str = include_str!("../../../sysctl-docs/net.aoe.tsv");
const ROOT: &str = "net.aoe";
const TARGET: &str = "net.aoe.target.<shelf>.<slot>";
const PATH: &str = "net.aoe.target.<shelf>.<slot>.path.<n>";
/// What is readable but says nothing of its own: tables for people of what is given here one by one, an old name
/// of another variable, and one that is for writing.
const NOT_VALUES: [&str; 4] = ["interfaces", "devices", "maxwait", "discover"];

/// The type of a variable.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Text,
    /// Signed, 32 bits.
    Int,
    /// Unsigned, 64 bits.
    Number,
}

/// A variable, by its place in the table.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Leaf {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// It can be written and what it reads is no value, as `remove`.
    is_action: bool,
}

/// The variables directly below a node of the table.
fn leaves(node: &'static str) -> impl Iterator<Item = Leaf> {
    TABLE.lines().skip(1).filter_map(move |line| {
        let mut columns = line.split('\t');
        let name = columns.next()?.strip_prefix(node)?.strip_prefix('.')?;
        let kind = match columns.next()? {
            "string" => Kind::Text,
            "int" => Kind::Int,
            "u64" => Kind::Number,
            _ => return None,
        };
        let access = columns.nth(2)?;
        (!name.contains('.')).then_some(Leaf {
            name,
            kind,
            is_action: access == "rw",
        })
    })
}

/// The nodes below the root that have variables of their own and are no list.
fn groups() -> impl Iterator<Item = &'static str> {
    TABLE.lines().skip(1).filter_map(|line| {
        let (node, rest) = line.split_once('\t')?;
        let name = node.strip_prefix("net.aoe.")?;
        (rest.starts_with("node\t") && !name.contains('.') && name != "target").then_some(node)
    })
}

/// The variables of a target that have a value.
pub(crate) fn target_leaves() -> impl Iterator<Item = Leaf> {
    leaves(TARGET).filter(|leaf| !leaf.is_action)
}

/// The variables of a path.
pub(crate) fn path_leaves() -> impl Iterator<Item = Leaf> {
    leaves(PATH)
}

/// Whether the module is loaded. The driver of version 1.2 had a `net.aoe` too, without this name.
pub(crate) fn is_loaded() -> bool {
    version().is_ok_and(|v| v.is_some())
}

/// Its version; `None` if it is not loaded.
pub(crate) fn version() -> Result<Option<String>, Failure> {
    known(sysctl::read_string("net.aoe.version"))
        .context("cannot read net.aoe.version")
        .map_err(Failure::from)
}

/// Refuses a command that is about the module when there is none.
pub(crate) fn require(command: &str) -> Result<(), Failure> {
    if is_loaded() {
        return Ok(());
    }
    Err(Failure::Failed(anyhow!(
        "{command}: the aoe(4) kernel module is not loaded, and this command works with nothing else"
    )))
}

/// Takes the absence of a variable for an answer.
fn known<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// A variable's value; `None` if there is no such variable (any more).
fn value(name: &str, kind: Kind) -> Result<Option<Value>, Failure> {
    let read = match kind {
        Kind::Text => sysctl::read_string(name).map(Value::from),
        Kind::Number => sysctl::read_number(name).map(Value::from),
        Kind::Int => sysctl::read_number(name).and_then(|bits| {
            u32::try_from(bits)
                .map(|bits| Value::from(bits.cast_signed()))
                .map_err(|_| io::ErrorKind::InvalidData.into())
        }),
    };
    known(read)
        .with_context(|| format!("cannot read {name}"))
        .map_err(Failure::from)
}

/// The values of some variables of a node. What an older module does not have is left out.
fn values(
    node: &str,
    leaves: impl Iterator<Item = Leaf>,
    into: &mut Map<String, Value>,
) -> Result<(), Failure> {
    for leaf in leaves {
        if let Some(value) = value(&format!("{node}.{}", leaf.name), leaf.kind)? {
            into.insert(leaf.name.to_owned(), value);
        }
    }
    Ok(())
}

/// Everything about the module that is about no single target.
pub(crate) fn settings() -> Result<Map<String, Value>, Failure> {
    let mut map = Map::new();
    let own = leaves(ROOT).filter(|leaf| !NOT_VALUES.contains(&leaf.name));
    values(ROOT, own, &mut map)?;
    for group in groups() {
        let mut inner = Map::new();
        values(group, leaves(group), &mut inner)?;
        let name = group.rsplit('.').next().unwrap_or(group);
        map.insert(name.to_owned(), Value::Object(inner));
    }
    Ok(map)
}

/// The name of a variable of a target.
fn target_name(addr: TargetAddr, leaf: &str) -> String {
    format!("net.aoe.target.{}.{}.{leaf}", addr.shelf(), addr.slot())
}

/// Reads the place of a target's variable: its address, and the number of the path if it is one of a path.
fn place(name: &str) -> Option<(TargetAddr, Option<u32>)> {
    let mut words = name.strip_prefix("net.aoe.target.")?.split('.');
    let addr = TargetAddr::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?)?;
    let path = match words.next()? {
        "path" => Some(words.next()?.parse().ok()?),
        _ => None,
    };
    Some((addr, path))
}

/// The addresses of the targets that the module has, and the numbers of their paths.
fn list() -> Result<BTreeMap<TargetAddr, BTreeSet<u32>>, Failure> {
    let names = known(sysctl::names("net.aoe.target"))
        .context("cannot list net.aoe.target")?
        .unwrap_or_default();
    let mut list: BTreeMap<TargetAddr, BTreeSet<u32>> = BTreeMap::new();
    for (addr, path) in names.iter().filter_map(|name| place(name)) {
        list.entry(addr).or_default().extend(path);
    }
    Ok(list)
}

/// The targets with all their values, by address: those named, or all. A target that leaves meanwhile is left out.
pub(crate) fn targets(only: &[TargetAddr]) -> Result<Vec<Map<String, Value>>, Failure> {
    let mut found = Vec::new();
    for (addr, paths) in list()? {
        if !only.is_empty() && !only.contains(&addr) {
            continue;
        }
        let mut map = Map::new();
        map.insert("address".to_owned(), json!(addr.to_string()));
        let node = target_name(addr, "");
        let node = node.trim_end_matches('.');
        values(node, target_leaves(), &mut map)?;
        if !map.contains_key("state") {
            continue;
        }
        let mut list = Vec::new();
        for number in paths {
            let place = format!("{node}.path.{number}");
            let name = format!("{place}.name");
            let path = unmixed(
                || value(&name, Kind::Text),
                || {
                    let mut path = Map::new();
                    values(&place, path_leaves(), &mut path)?;
                    Ok(path)
                },
            )?;
            list.extend(path.map(Value::Object));
        }
        map.insert("path".to_owned(), Value::Array(list));
        found.push(map);
    }
    Ok(found)
}

/// How often a path is read whose number another path gets at the same time, before it is left out.
const PATH_TRIES: usize = 8;

/// The values of one path. They are read one by one, and another path may get the number meanwhile: then they are read
/// again. `None` if no path has the number. A module of another version may lack the name.
fn unmixed(
    mut name: impl FnMut() -> Result<Option<Value>, Failure>,
    mut values: impl FnMut() -> Result<Map<String, Value>, Failure>,
) -> Result<Option<Map<String, Value>>, Failure> {
    for _ in 0..PATH_TRIES {
        let before = name()?;
        if before == Some(json!("")) {
            break;
        }
        let path = values()?;
        if name()? == before {
            return Ok(Some(path).filter(|path| !path.is_empty()));
        }
    }
    Ok(None)
}

/// The addresses of the targets. One that was just removed has its node for a moment longer, without a state.
pub(crate) fn addresses() -> Result<Vec<TargetAddr>, Failure> {
    let mut there = Vec::new();
    for addr in list()?.into_keys() {
        if state(addr)?.is_some() {
            there.push(addr);
        }
    }
    Ok(there)
}

/// The state of a target; `None` if the module does not have it.
pub(crate) fn state(addr: TargetAddr) -> Result<Option<String>, Failure> {
    let name = target_name(addr, "state");
    known(sysctl::read_string(&name))
        .with_context(|| format!("cannot read {name}"))
        .map_err(Failure::from)
}

/// Checks that the module has all of these targets.
pub(crate) fn check_named(command: &str, wanted: &[TargetAddr]) -> Result<(), Failure> {
    let have = addresses()?;
    match wanted.iter().find(|addr| !have.contains(addr)) {
        None => Ok(()),
        Some(addr) => {
            let others: Vec<String> = have.iter().take(8).map(ToString::to_string).collect();
            let others = match others.as_slice() {
                [] => "it has none".to_owned(),
                some => format!("it has {}", some.join(", ")),
            };
            Err(Failure::NoAnswer(format!(
                "{command}: the kernel module has no target {addr}; {others}"
            )))
        }
    }
}

/// What became of a command to a target.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    Done,
    /// The disk is open.
    Busy,
    /// There is no such target.
    Gone,
}

/// Sets a variable of a target that is a command, like `remove`.
pub(crate) fn tell(addr: TargetAddr, leaf: &str) -> Result<Told, Failure> {
    let name = target_name(addr, leaf);
    match sysctl::write(&name, &1_i32.to_ne_bytes()) {
        Ok(()) => Ok(Told::Done),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Told::Gone),
        Err(e) if e.kind() == io::ErrorKind::ResourceBusy => Ok(Told::Busy),
        Err(e) => Err(Failure::Failed(
            anyhow::Error::new(e).context(format!("cannot set {name}")),
        )),
    }
}

/// Has the module ask on its interfaces who is there.
pub(crate) fn discover() -> Result<(), Failure> {
    sysctl::write("net.aoe.discover", &1_i32.to_ne_bytes())
        .context("cannot set net.aoe.discover")
        .map_err(Failure::from)
}

/// The names in `net.aoe.iflist`.
pub(crate) fn interface_list() -> Result<Vec<String>, Failure> {
    let text = sysctl::read_string("net.aoe.iflist").context("cannot read net.aoe.iflist")?;
    Ok(text
        .split([' ', '\t', ',', '\n'])
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect())
}

/// Sets `net.aoe.iflist`.
pub(crate) fn set_interface_list(names: &[String]) -> Result<(), Failure> {
    // With its zero, so that an empty list is not a write of nothing.
    let text = format!("{}\0", names.join(" "));
    sysctl::write("net.aoe.iflist", text.as_bytes())
        .context("cannot set net.aoe.iflist")
        .map_err(Failure::from)
}

/// One row of `net.aoe.interfaces`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Listed {
    pub(crate) name: String,
    /// up, down or pending.
    pub(crate) state: String,
    /// Empty while the interface is not there.
    pub(crate) mtu: String,
    pub(crate) mac: String,
    /// What its frames leave by, in the module's words; empty where that is the interface itself.
    pub(crate) ports: String,
}

/// The listed interfaces and what the module thinks of them.
pub(crate) fn listed_interfaces() -> Result<Vec<Listed>, Failure> {
    let table =
        sysctl::read_string("net.aoe.interfaces").context("cannot read net.aoe.interfaces")?;
    Ok(parse_interfaces(&table))
}

fn parse_interfaces(table: &str) -> Vec<Listed> {
    let rows = table.lines().filter(|line| !line.trim().is_empty()).skip(1);
    rows.filter_map(|line| {
        let (line, ports) = line.split_once("  by ").unwrap_or((line, ""));
        let mut words = line.split_whitespace().map(str::to_owned);
        Some(Listed {
            name: words.next()?,
            state: words.next()?,
            mtu: words.next().unwrap_or_default(),
            mac: words.next().unwrap_or_default(),
            ports: ports.trim().to_owned(),
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(leaves: impl Iterator<Item = Leaf>) -> Vec<&'static str> {
        leaves.map(|leaf| leaf.name).collect()
    }

    #[test]
    fn every_variable_of_the_table_is_read_by_its_name() {
        let nodes = [ROOT, TARGET, PATH].into_iter().chain(groups());
        let ours: BTreeSet<String> = nodes
            .flat_map(|node| leaves(node).map(move |leaf| format!("{node}.{}", leaf.name)))
            .collect();
        let table: BTreeSet<String> = TABLE
            .lines()
            .skip(1)
            .map(|line| line.split('\t').collect::<Vec<_>>())
            .inspect(|columns| assert_eq!(columns.len(), 6, "{columns:?}"))
            .filter(|columns| columns[1] != "node")
            .map(|columns| columns[0].to_owned())
            .collect();
        assert_eq!(ours, table);
    }

    #[test]
    fn the_table_of_interfaces_names_the_ports_below() {
        let table = "\ninterface        state      MTU  address\n\
            em0              up        1500  52:54:00:a0:e0:00\n\
            lagg0            up        1500  52:54:00:a0:e0:01  by em1 (no link, keeps frames), vtnet0; in no order\n\
            vlan88           down      by em2 (no link)\n\
            em9              pending ";
        let rows = parse_interfaces(table);
        let row = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
        assert_eq!(rows.len(), 4);
        assert_eq!(row("em0").ports, "");
        assert_eq!(row("lagg0").mac, "52:54:00:a0:e0:01");
        assert_eq!(
            row("lagg0").ports,
            "em1 (no link, keeps frames), vtnet0; in no order"
        );
        assert_eq!(
            (row("vlan88").mtu.as_str(), row("vlan88").ports.as_str()),
            ("", "em2 (no link)")
        );
        assert_eq!(row("em9").state, "pending");
    }

    #[test]
    fn what_is_no_value_is_in_the_table() {
        let own = names(leaves(ROOT));
        for name in NOT_VALUES {
            assert!(own.contains(&name), "{name}");
        }
        let actions: Vec<&str> = leaves(TARGET)
            .filter(|leaf| leaf.is_action)
            .map(|leaf| leaf.name)
            .collect();
        assert_eq!(actions, ["revalidate", "fail", "remove"]);
        assert!(names(target_leaves()).contains(&"state"));
        assert!(path_leaves().all(|leaf| !leaf.is_action));
    }

    /// Reads a path while its number has these names, one reading after the other.
    fn read_path(names: &[Option<&str>]) -> (Option<Map<String, Value>>, usize) {
        let now = std::cell::Cell::new(0);
        let take = || {
            let at = now.replace(now.get() + 1);
            *names.get(at).unwrap_or_else(|| panic!("reading {at}"))
        };
        let path = unmixed(
            || Ok(take().map(Value::from)),
            || {
                let name = take();
                let known = name.filter(|name| !name.is_empty());
                Ok(known
                    .map(|name| ("mac".to_owned(), json!(name)))
                    .into_iter()
                    .collect())
            },
        );
        (path.unwrap(), now.get())
    }

    #[test]
    fn a_path_is_never_a_mixture_of_two() {
        let mac = |path: Option<Map<String, Value>>| path.map(|path| path["mac"].clone());
        let (path, _) = read_path(&[Some("a"); 3]);
        assert_eq!(mac(path), Some(json!("a")));
        // Another one gets the number in between: before the values, or after them.
        let (path, readings) = read_path(&["a", "b", "b", "b", "b", "b"].map(Some));
        assert_eq!((mac(path), readings), (Some(json!("b")), 6));
        let (path, readings) = read_path(&["a", "a", "b", "b", "b", "b"].map(Some));
        assert_eq!((mac(path), readings), (Some(json!("b")), 6));
        // Nobody has it, from the beginning or from now on; the target goes.
        assert_eq!(mac(read_path(&[Some("")]).0), None);
        assert_eq!(mac(read_path(&["a", "", "", ""].map(Some)).0), None);
        assert_eq!(
            mac(read_path(&[Some("a"), Some("a"), None, None, None, None]).0),
            None
        );
        // One that changes all the time is left out in the end.
        let names: Vec<String> = (0..3 * PATH_TRIES).map(|n| n.to_string()).collect();
        let names: Vec<Option<&str>> = names.iter().map(|name| Some(name.as_str())).collect();
        assert_eq!(mac(read_path(&names).0), None);
    }

    #[test]
    fn a_module_without_names_of_paths_is_read_once() {
        let take = |found: bool| {
            let mut values: Map<String, Value> = Map::new();
            if found {
                values.insert("mac".to_owned(), json!("a"));
            }
            unmixed(|| Ok(None), || Ok(values.clone())).unwrap()
        };
        assert!(take(true).is_some());
        assert!(take(false).is_none());
    }

    #[test]
    fn places_are_read() {
        let addr = TargetAddr::new(7, 0).unwrap();
        assert_eq!(place("net.aoe.target.7.0.state"), Some((addr, None)));
        assert_eq!(
            place("net.aoe.target.7.0.path.3.mac"),
            Some((addr, Some(3)))
        );
        for wrong in [
            "net.aoe.iflist",
            "net.aoe.target.7",
            "net.aoe.target.7.0",
            "net.aoe.target.65535.0.state",
            "net.aoe.target.x.0.state",
            "net.aoe.target.7.0.path.x.mac",
        ] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn interfaces_are_read() {
        let table = "\ninterface        state      MTU  address\n\
            em0              up        1500  52:54:00:00:00:01\nvlan10           pending ";
        let rows = parse_interfaces(table);
        assert_eq!(rows.len(), 2);
        assert_eq!(
            (rows[0].name.as_str(), rows[0].mtu.as_str()),
            ("em0", "1500")
        );
        assert_eq!(rows[0].mac, "52:54:00:00:00:01");
        assert_eq!(rows[1].state, "pending");
        assert!(rows[1].mtu.is_empty() && rows[1].mac.is_empty());
    }

    #[cfg(not(target_os = "freebsd"))]
    #[test]
    fn without_a_module_commands_say_so() {
        assert!(!is_loaded());
        let text = require("flush").unwrap_err().to_string();
        assert!(
            text.contains("flush") && text.contains("not loaded"),
            "{text}"
        );
    }
}
