// SPDX-License-Identifier: BSD-2-Clause
//! `aoectl sancheck`: what is between here and the targets, and what is wrong with it; what aoe-sancheck(8) is on
//! Linux.
//!
//! Nothing is believed that was not tried: how much data a frame can carry is found by frames that come back. Towards
//! us these are reads of a growing number of sectors from the start of the disk; towards the target, config questions
//! that are as long as a write of so many sectors would be. Nothing is written. Whether an address has two servers is
//! looked for too ([`duplicates`]).

mod advice;
mod duplicates;

use super::print_to;
use crate::cli;
use crate::driver;
use crate::exchange::{Exchange, Peer, Question, Reach, Reply, Targets, in_words, nanos};
use crate::failure::Failure;
use crate::module;
use crate::output::{Format, Table, print_json, printable};
use crate::size;
use anyhow::Context;
use aoe_core::Links;
use aoe_os::Interface;
use aoe_wire::{
    ATA_HEADER_LEN, AddrPattern, AtaRequest, ConfigRequest, Identify, MacAddr, SECTOR_SIZE,
    TargetAddr, sectors_per_frame,
};
use clap::Args;
use duplicates::Verdict;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::time::Duration;

/// How long a frame of a certain size may take to come back, its repetitions included, in nanoseconds. It is sent
/// three times in this time: one lost frame says nothing about its size.
const PATIENCE_NS: u64 = 360_000_000;

#[derive(Debug, Args)]
pub(crate) struct Sancheck {
    /// How long to listen for targets, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = cli::seconds)]
    wait: Duration,
    /// Check these targets only
    #[arg(
        short,
        long = "target",
        value_name = "SHELF.SLOT",
        value_delimiter = ','
    )]
    targets: Vec<TargetAddr>,
    /// Print what else the targets say about themselves
    #[arg(short, long)]
    verbose: bool,
    /// Interfaces to check [default: every Ethernet interface that is up]
    #[arg(value_name = "IF")]
    interfaces: Vec<String>,
}

/// What was found out about one direction of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Passes {
    /// Frames with so many sectors come back, larger ones do not, or were not tried since none is ever sent.
    Sectors(u8),
    /// It cannot be tried, and why.
    Unknown(String),
}

impl Passes {
    /// Bytes of data, if it is known.
    fn bytes(&self) -> Option<u64> {
        match self {
            Self::Sectors(n) => Some(u64::from(*n) * size::SECTOR),
            Self::Unknown(_) => None,
        }
    }
}

/// A local interface and a server's address that see each other.
#[derive(Clone, Debug)]
struct Route {
    interface: String,
    mac: MacAddr,
    mtu: u32,
    /// Sectors of a frame that the server takes, as it says.
    offered: u8,
    /// Sectors that a frame of this interface has room for.
    room: u8,
    buffers: u16,
    firmware: u16,
    disk: Option<Identify>,
    to_target: Passes,
    from_target: Passes,
}

impl Route {
    /// What both ends agree on, in sectors.
    fn agreed(&self) -> u8 {
        self.offered.min(self.room)
    }

    /// What really goes both ways, in bytes; what could not be tried is taken for agreed.
    fn payload(&self) -> u64 {
        let agreed = u64::from(self.agreed()) * size::SECTOR;
        let there = self.to_target.bytes().unwrap_or(agreed);
        there.min(self.from_target.bytes().unwrap_or(agreed))
    }
}

/// A target and the ways to it.
#[derive(Clone, Debug)]
struct Checked {
    addr: TargetAddr,
    config: Vec<u8>,
    routes: Vec<Route>,
    verdict: Verdict,
}

impl Checked {
    fn macs(&self) -> BTreeSet<MacAddr> {
        self.routes.iter().map(|r| r.mac).collect()
    }

    fn interfaces(&self) -> BTreeSet<&str> {
        self.routes.iter().map(|r| r.interface.as_str()).collect()
    }

    /// What the module, or any initiator that uses one size for all paths, can rely on.
    fn payload(&self) -> u64 {
        self.routes.iter().map(Route::payload).min().unwrap_or(0)
    }
}

pub(crate) fn run(args: &Sancheck, format: Format) -> Result<(), Failure> {
    let all = aoe_os::interfaces().context("cannot list the interfaces")?;
    let names = match args.interfaces.as_slice() {
        [] => driver::all_up()?,
        named => named.to_vec(),
    };
    let reach = Reach {
        interfaces: names.clone(),
        mac: None,
        timeout: args.wait,
    };
    let mut exchange = Exchange::open(&reach)?;
    let used: Vec<Interface> = all
        .into_iter()
        .filter(|i| names.contains(&i.name))
        .collect();
    let targets = check(args, &mut exchange)?;
    let mut general = advice::of_interfaces(&used, &targets);
    if module::is_loaded() {
        general.extend(advice::of_list(&module::interface_list()?, &targets));
    }
    print(args, &used, &targets, &general, format)?;
    let duplicates: Vec<String> = targets
        .iter()
        .filter(|target| !target.verdict.findings.is_empty())
        .map(|target| target.addr.to_string())
        .collect();
    let mut missing = None;
    for wanted in &args.targets {
        if targets.iter().all(|t| t.addr != *wanted) {
            missing = Some(exchange.not_found((*wanted).into())?);
            break;
        }
    }
    if !duplicates.is_empty() {
        if let Some(missing) = missing {
            eprintln!("aoectl: {missing}");
        }
        return Err(Failure::Mismatch(format!(
            "duplicates were found at {}",
            duplicates.join(", ")
        )));
    }
    if let Some(missing) = missing {
        return Err(missing);
    }
    if targets.is_empty() {
        return Err(Failure::NoAnswer(format!(
            "no target answers on {}",
            names.join(", ")
        )));
    }
    Ok(())
}

/// Finds the targets and tries the ways to them, one after the other.
fn check(args: &Sancheck, exchange: &mut Exchange) -> Result<Vec<Checked>, Failure> {
    let all = Targets(AddrPattern::ANY);
    let mut peers = exchange.gather_peers(all, ConfigRequest::READ, nanos(args.wait))?;
    peers.retain(|peer| args.targets.is_empty() || args.targets.contains(&peer.addr));
    let mut targets: BTreeMap<TargetAddr, Checked> = BTreeMap::new();
    for peer in &peers {
        let route = try_route(exchange, peer)?;
        let target = targets.entry(peer.addr).or_insert_with(|| Checked {
            addr: peer.addr,
            config: peer.config.string.clone(),
            routes: Vec::new(),
            verdict: Verdict::default(),
        });
        target.routes.push(route);
    }
    duplicates::look(exchange, &peers, &mut targets)?;
    Ok(targets.into_values().collect())
}

fn try_route(exchange: &mut Exchange, peer: &Peer) -> Result<Route, Failure> {
    let mtu = exchange.ports().link(peer.netif).map_or(0, |link| link.mtu);
    // Old servers say 0 and mean 2.
    let offered = match peer.config.sectors {
        0 => 2,
        some => some,
    };
    let mut route = Route {
        interface: exchange.ports().name(peer.netif).to_owned(),
        mac: peer.mac,
        mtu,
        offered,
        room: sectors_per_frame(mtu),
        buffers: peer.config.buffers,
        firmware: peer.config.firmware,
        disk: None,
        to_target: Passes::Sectors(0),
        from_target: Passes::Sectors(0),
    };
    let agreed = route.agreed();
    route.to_target = largest(agreed, |sectors| ask_long(exchange, peer, sectors))?;
    match identify(exchange, peer)? {
        Ok(disk) => {
            // A disk may be smaller than a frame.
            let most = u8::try_from(disk.sectors).map_or(agreed, |n| n.min(agreed));
            route.from_target = largest(most, |sectors| {
                read_back(exchange, peer, sectors, disk.lba48)
            })?;
            route.disk = Some(disk);
        }
        Err(why) => route.from_target = Passes::Unknown(why),
    }
    Ok(route)
}

/// How one frame fared.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Fate {
    CameBack,
    Lost,
    /// Something came back, but it says no.
    Refused(String),
}

/// The largest number of sectors up to `most` whose frame comes back. The largest of all is tried first, since
/// mostly nothing is wrong.
fn largest(most: u8, mut one: impl FnMut(u8) -> Result<Fate, Failure>) -> Result<Passes, Failure> {
    match one(most)? {
        Fate::CameBack => return Ok(Passes::Sectors(most)),
        Fate::Refused(why) => return Ok(Passes::Unknown(why)),
        Fate::Lost => {}
    }
    let (mut good, mut bad) = (0, most);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        match one(middle)? {
            Fate::CameBack => good = middle,
            Fate::Lost => bad = middle,
            Fate::Refused(why) => return Ok(Passes::Unknown(why)),
        }
    }
    Ok(Passes::Sectors(good))
}

/// A question as long as a write of so many sectors, with a short answer.
fn ask_long(exchange: &mut Exchange, peer: &Peer, sectors: u8) -> Result<Fate, Failure> {
    exchange.set_frame_len(ATA_HEADER_LEN + usize::from(sectors) * SECTOR_SIZE);
    let reply = exchange.try_ask(peer, &Question::Config(ConfigRequest::READ), PATIENCE_NS);
    exchange.set_frame_len(0);
    Ok(match reply? {
        Some(Reply::Config(_)) => Fate::CameBack,
        Some(Reply::Error(error)) => Fate::Refused(in_words(error)),
        Some(_) => Fate::Refused("it answers another question than was asked".to_owned()),
        None => Fate::Lost,
    })
}

/// A short question with an answer of so many sectors.
fn read_back(
    exchange: &mut Exchange,
    peer: &Peer,
    sectors: u8,
    lba48: bool,
) -> Result<Fate, Failure> {
    let read = AtaRequest::read(0, sectors, lba48);
    let reply = exchange.try_ask(peer, &Question::Ata(read, &[]), PATIENCE_NS)?;
    Ok(match reply {
        Some(Reply::Ata(reply, _)) if reply.failed() => {
            Fate::Refused(format!("the disk reports: {}", reply.fault()))
        }
        Some(Reply::Ata(_, data)) if data.len() < usize::from(sectors) * SECTOR_SIZE => {
            Fate::Refused("an answer is shorter than its data".to_owned())
        }
        Some(Reply::Ata(..)) => Fate::CameBack,
        Some(Reply::Error(error)) => Fate::Refused(in_words(error)),
        Some(_) => Fate::Refused("it answers another question than was asked".to_owned()),
        None => Fate::Lost,
    })
}

/// What the disk says it is, or why it does not.
fn identify(exchange: &mut Exchange, peer: &Peer) -> Result<Result<Identify, String>, Failure> {
    let question = Question::Ata(AtaRequest::identify(), &[]);
    Ok(match exchange.try_ask(peer, &question, PATIENCE_NS)? {
        Some(Reply::Ata(reply, _)) if reply.failed() => {
            Err(format!("the disk refuses IDENTIFY: {}", reply.fault()))
        }
        Some(Reply::Ata(_, data)) => match data.first_chunk::<SECTOR_SIZE>() {
            Some(table) => Identify::parse(table).map_err(|e| format!("IDENTIFY data: {e}")),
            None => Err("its IDENTIFY data are cut off".to_owned()),
        },
        Some(Reply::Error(error)) => Err(in_words(error)),
        Some(_) => Err("it answers another question than was asked".to_owned()),
        None => Err("it does not answer IDENTIFY".to_owned()),
    })
}

fn print(
    args: &Sancheck,
    used: &[Interface],
    targets: &[Checked],
    general: &[String],
    format: Format,
) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    print_to(&mut out, |out| match format {
        Format::Json { pretty } => {
            let interfaces: Vec<Value> = used.iter().map(interface_json).collect();
            let targets: Vec<Value> = targets.iter().map(target_json).collect();
            let content = json!({ "interface": interfaces, "target": targets, "advice": general });
            print_json(out, pretty, content)
        }
        Format::Text => {
            interface_table(used).print(out)?;
            for line in general {
                writeln!(out, "  {line}")?;
            }
            for target in targets {
                writeln!(out)?;
                print_target(args, target, out)?;
            }
            Ok(())
        }
    })
}

fn interface_table(used: &[Interface]) -> Table {
    let mut table = Table::new(&["INTERFACE", "STATE", ">MTU", ">ROOM", "ADDRESS"]);
    for interface in used {
        table.row(vec![
            interface.name.clone(),
            if interface.is_up { "up" } else { "down" }.to_owned(),
            interface.mtu.to_string(),
            room_of(interface).to_string(),
            interface.mac.to_string(),
        ]);
    }
    table
}

/// Bytes of data that a frame of this interface has room for.
fn room_of(interface: &Interface) -> u64 {
    u64::from(sectors_per_frame(interface.mtu)) * size::SECTOR
}

fn print_target(args: &Sancheck, target: &Checked, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "target {}: {} by {} ({}), payload {}",
        target.addr,
        plural(target.macs().len(), "address", "addresses"),
        plural(target.interfaces().len(), "interface", "interfaces"),
        target
            .interfaces()
            .into_iter()
            .collect::<Vec<_>>()
            .join(", "),
        target.payload(),
    )?;
    let mut table = Table::new(&[
        "INTERFACE",
        "MAC",
        ">MTU",
        ">OFFERED",
        ">TO TARGET",
        ">FROM TARGET",
    ]);
    let bytes = |passes: &Passes| passes.bytes().map_or("?".to_owned(), |b| b.to_string());
    for route in &target.routes {
        table.row(vec![
            route.interface.clone(),
            route.mac.to_string(),
            route.mtu.to_string(),
            (u64::from(route.offered) * size::SECTOR).to_string(),
            bytes(&route.to_target),
            bytes(&route.from_target),
        ]);
    }
    table.print(out)?;
    if args.verbose {
        writeln!(out, "  config string: {}", printable(&target.config))?;
        for route in &target.routes {
            let disk = route.disk.as_ref().map_or("no disk".to_owned(), |disk| {
                format!(
                    "{}, serial {}, {} sectors",
                    disk.model, disk.serial, disk.sectors
                )
            });
            writeln!(
                out,
                "  {} by {}: {} buffers, firmware 0x{:04x}, {disk}",
                route.mac, route.interface, route.buffers, route.firmware
            )?;
        }
    }
    for finding in &target.verdict.findings {
        writeln!(out, "  DUPLICATE: {}", finding.text)?;
    }
    for line in target
        .verdict
        .unknown
        .iter()
        .chain(&advice::of_target(target))
    {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn interface_json(interface: &Interface) -> Value {
    json!({
        "name": interface.name,
        "state": if interface.is_up { "up" } else { "down" },
        "mtu": interface.mtu,
        "room": room_of(interface),
        "mac": interface.mac.to_string(),
    })
}

fn target_json(target: &Checked) -> Value {
    let paths: Vec<Value> = target
        .routes
        .iter()
        .map(|route| {
            json!({
                "interface": route.interface,
                "mac": route.mac.to_string(),
                "mtu": route.mtu,
                "offered": u64::from(route.offered) * size::SECTOR,
                "to_target": route.to_target.bytes(),
                "from_target": route.from_target.bytes(),
                "buffers": route.buffers,
                "firmware": route.firmware,
                "model": route.disk.as_ref().map(|d| d.model.to_string()),
                "serial": route.disk.as_ref().map(|d| d.serial.to_string()),
                "size": route.disk.as_ref().map(|d| d.sectors.saturating_mul(size::SECTOR)),
            })
        })
        .collect();
    let findings: Vec<Value> = target
        .verdict
        .findings
        .iter()
        .map(|finding| json!({ "kind": finding.kind.name(), "text": finding.text }))
        .collect();
    json!({
        "address": target.addr.to_string(),
        "config": printable(&target.config),
        "addresses": target.macs().len(),
        "interfaces": target.interfaces().len(),
        "payload": target.payload(),
        "path": paths,
        "finding": findings,
        "unknown": target.verdict.unknown,
        "advice": advice::of_target(target),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of a search in a network that passes up to `limit` sectors, and the number of tries.
    fn search(most: u8, limit: u8) -> (Passes, usize) {
        let mut tries = 0;
        let found = largest(most, |sectors| {
            tries += 1;
            assert!((1..=most).contains(&sectors), "{sectors} of {most}");
            Ok(match sectors <= limit {
                true => Fate::CameBack,
                false => Fate::Lost,
            })
        });
        (found.unwrap(), tries)
    }

    #[test]
    fn every_limit_is_found() {
        for most in 1..=255 {
            assert_eq!(search(most, most), (Passes::Sectors(most), 1));
            for limit in 0..most {
                let (found, tries) = search(most, limit);
                assert_eq!(found, Passes::Sectors(limit), "{limit} of {most}");
                assert!(tries <= 10, "{tries} tries");
            }
        }
    }

    #[test]
    fn a_refusal_is_no_limit() {
        let found = largest(17, |_| Ok(Fate::Refused("reserved".to_owned()))).unwrap();
        assert_eq!(found, Passes::Unknown("reserved".to_owned()));
        assert_eq!(found.bytes(), None);
    }
}
