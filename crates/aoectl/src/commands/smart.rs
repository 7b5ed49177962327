// SPDX-License-Identifier: BSD-2-Clause
//! `aoectl smart`: how a disk says it is.

use super::print_to;
use crate::exchange::{Exchange, Peer, Question, ReachOne, Reply, out_of_place};
use crate::failure::Failure;
use crate::output::{Format, Table, object, print_json, print_pairs};
use crate::smart::{Attribute, Page, announced};
use anyhow::{Context, anyhow};
use aoe_wire::ata::feature;
use aoe_wire::{AtaFault, AtaReply, AtaRequest, SECTOR_SIZE};
use serde_json::{Map, Value, json};
use std::io::{self, Read as _, Write};

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("action"))]
pub(crate) struct Args {
    #[command(flatten)]
    one: ReachOne,
    /// Turn SMART on
    #[arg(long, group = "action")]
    enable: bool,
    /// Turn SMART off
    #[arg(long, group = "action")]
    disable: bool,
    /// Start a self-test, or stop the one that runs
    #[arg(long, group = "action", value_name = "KIND", value_enum)]
    test: Option<Test>,
    /// Write one sector of the log of this number to the standard output
    #[arg(long, group = "action", value_name = "NUMBER", value_parser = log_number)]
    log: Option<u8>,
    /// Write that sector, from the standard input, instead of reading it
    #[arg(long, requires = "log")]
    write: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Test {
    /// Off-line data collection
    Offline,
    /// The short self-test
    Short,
    /// The extended self-test
    Extended,
    /// The conveyance self-test
    Conveyance,
    /// Stop what runs
    Abort,
}

impl Test {
    /// Its number in the low LBA register of SMART EXECUTE OFF-LINE IMMEDIATE.
    fn code(self) -> u8 {
        match self {
            Self::Offline => 0,
            Self::Short => 1,
            Self::Extended => 2,
            Self::Conveyance => 3,
            Self::Abort => 127,
        }
    }
}

/// A number of a log, decimal or with a leading 0x.
fn log_number(text: &str) -> Result<u8, String> {
    match text.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16),
        None => text.parse(),
    }
    .map_err(|_| "want a number from 0 to 255".to_owned())
}

/// What a disk says.
struct Health {
    supported: bool,
    enabled: bool,
    healthy: Option<bool>,
    page: Option<Page>,
}

pub(crate) fn run(args: &Args, format: Format) -> Result<(), Failure> {
    let sector = args.write.then(|| sector(io::stdin().lock())).transpose()?;
    let mut exchange = Exchange::open(&args.one.reach)?;
    let peers = exchange.find(args.one.target.into())?;
    // Behind all servers of a target is the same disk.
    let Some(peer) = peers.first() else {
        return Err(exchange.not_found(args.one.target.into())?);
    };
    let mut disk = Disk {
        who: exchange.who(peer),
        exchange: &mut exchange,
        peer,
        supported: false,
        enabled: false,
    };
    disk.identify()?;
    if let (Some(number), Some(sector)) = (args.log, &sector) {
        let request = AtaRequest::smart(feature::SMART_WRITE_LOG, 1, number);
        disk.command(request, sector, "SMART WRITE LOG")?;
    } else if let Some(number) = args.log {
        let log = disk.read(feature::SMART_READ_LOG, number, "READ LOG")?;
        let mut out = io::stdout().lock();
        return print_to(&mut out, |out| out.write_all(&log));
    } else if args.enable {
        disk.order(feature::SMART_ENABLE, 0, "ENABLE OPERATIONS")?;
    } else if args.disable {
        disk.order(feature::SMART_DISABLE, 0, "DISABLE OPERATIONS")?;
    } else if let Some(test) = args.test {
        disk.order(
            feature::SMART_OFFLINE,
            test.code(),
            "EXECUTE OFF-LINE IMMEDIATE",
        )?;
    } else {
        return show(disk, format);
    }
    Ok(())
}

/// One sector from the standard input, neither less nor more.
fn sector(from: impl io::Read) -> Result<[u8; SECTOR_SIZE], Failure> {
    let mut bytes = Vec::new();
    from.take(SECTOR_SIZE as u64 + 1)
        .read_to_end(&mut bytes)
        .context("cannot read the standard input")?;
    bytes.as_slice().try_into().map_err(|_| {
        let much = if bytes.len() > SECTOR_SIZE {
            "more"
        } else {
            "less"
        };
        Failure::Usage(format!(
            "--write: {much} than {SECTOR_SIZE} bytes in the standard input"
        ))
    })
}

fn show(mut disk: Disk<'_>, format: Format) -> Result<(), Failure> {
    let health = disk.health()?;
    let who = disk.who;
    let (exchange, peer) = (disk.exchange, disk.peer);
    let mut out = io::stdout().lock();
    print_to(&mut out, |out| match format {
        Format::Json { pretty } => {
            let row = Value::Object(health_json(exchange, peer, &health));
            print_json(out, pretty, json!({ "answer": [row] }))
        }
        Format::Text => print_text(peer, &health, out),
    })?;
    if health.page.as_ref().is_some_and(|page| !page.is_sound) {
        eprintln!("aoectl: {who}: the checksum of a SMART page is wrong");
    }
    match health.healthy {
        Some(false) => Err(Failure::Failed(anyhow!(
            "{who}: the disk expects to fail: a SMART threshold is exceeded"
        ))),
        _ => Ok(()),
    }
}

/// The disk behind one server.
struct Disk<'a> {
    exchange: &'a mut Exchange,
    peer: &'a Peer,
    who: String,
    supported: bool,
    enabled: bool,
}

impl Disk<'_> {
    /// Sends a command; what went wrong with it is a failure that names it.
    fn command(
        &mut self,
        request: AtaRequest,
        data: &[u8],
        name: &str,
    ) -> Result<(AtaReply, Vec<u8>), Failure> {
        match self
            .exchange
            .ask(self.peer, &Question::Ata(request, data))?
        {
            Reply::Ata(reply, data) if reply.fault() == AtaFault::None => Ok((reply, data)),
            Reply::Ata(reply, _) => Err(self.explain(reply.fault(), name)),
            other => Err(out_of_place(&self.who, &other)),
        }
    }

    fn explain(&self, fault: AtaFault, name: &str) -> Failure {
        let why = match fault {
            AtaFault::Aborted if name.starts_with("IDENTIFY") => "",
            AtaFault::Aborted if !self.supported => {
                "; it does not announce SMART, which targets in software seldom have"
            }
            AtaFault::Aborted if !self.enabled => "; SMART is turned off (--enable turns it on)",
            _ => "",
        };
        Failure::Failed(anyhow!("{}: {name}: {fault}{why}", self.who))
    }

    /// One sector of an answer.
    fn sector(&self, data: &[u8], name: &str) -> Result<[u8; SECTOR_SIZE], Failure> {
        data.first_chunk().copied().ok_or_else(|| {
            Failure::Failed(anyhow!(
                "{}: {name}: the answer has {} bytes of data, not {SECTOR_SIZE}",
                self.who,
                data.len()
            ))
        })
    }

    fn identify(&mut self) -> Result<(), Failure> {
        let name = "IDENTIFY DEVICE";
        let (_, data) = self.command(AtaRequest::identify(), &[], name)?;
        (self.supported, self.enabled) = announced(&self.sector(&data, name)?);
        Ok(())
    }

    fn read(&mut self, what: u8, log: u8, name: &str) -> Result<[u8; SECTOR_SIZE], Failure> {
        let name = format!("SMART {name}");
        let (_, data) = self.command(AtaRequest::smart(what, 1, log), &[], &name)?;
        self.sector(&data, &name)
    }

    fn order(&mut self, what: u8, parameter: u8, name: &str) -> Result<AtaReply, Failure> {
        let request = AtaRequest::smart(what, 0, parameter);
        let (reply, _) = self.command(request, &[], &format!("SMART {name}"))?;
        Ok(reply)
    }

    fn health(&mut self) -> Result<Health, Failure> {
        let status = self.order(feature::SMART_STATUS, 0, "RETURN STATUS")?;
        // A disk may know the status and no pages, or no thresholds: later standards have dropped both.
        let data = optional(self.read(feature::SMART_READ_DATA, 0, "READ DATA"))?;
        let limits = optional(self.read(
            feature::SMART_READ_THRESHOLDS,
            0,
            "READ ATTRIBUTE THRESHOLDS",
        ))?;
        Ok(Health {
            supported: self.supported,
            enabled: self.enabled,
            healthy: status.smart_healthy(),
            page: data.map(|data| Page::parse(&data, limits.as_ref())),
        })
    }
}

/// Goes on without a page that the disk does not give, and says so; silence ends everything.
fn optional(
    page: Result<[u8; SECTOR_SIZE], Failure>,
) -> Result<Option<[u8; SECTOR_SIZE]>, Failure> {
    match page {
        Ok(page) => Ok(Some(page)),
        Err(Failure::Failed(error)) => {
            eprintln!("aoectl: {error:#}");
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

fn verdict(healthy: Option<bool>) -> &'static str {
    match healthy {
        Some(true) => "healthy",
        Some(false) => "expects to fail",
        None => "not told",
    }
}

fn print_text(peer: &Peer, health: &Health, out: &mut dyn Write) -> io::Result<()> {
    let yes_no = |value: bool| if value { "yes" } else { "no" }.to_owned();
    let mut pairs = vec![
        ("target", peer.addr.to_string()),
        ("health", verdict(health.healthy).to_owned()),
        ("SMART announced", yes_no(health.supported)),
        ("SMART enabled", yes_no(health.enabled)),
    ];
    let Some(page) = &health.page else {
        return print_pairs(out, &pairs);
    };
    let self_test = match page.self_test_left() {
        Some(left) => format!("{}, {left}% left", page.self_test_text()),
        None => page.self_test_text().to_owned(),
    };
    pairs.extend([
        ("self-test", self_test),
        ("short self-test", minutes(page.short_minutes)),
        ("extended self-test", minutes(page.extended_minutes)),
        ("off-line collection", page.collection_text().to_owned()),
    ]);
    print_pairs(out, &pairs)?;
    if page.attributes.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let mut table = Table::new(&[
        ">ID", ">VALUE", ">WORST", ">LIMIT", "KIND", "STATE", ">RAW", "NAME",
    ]);
    for attribute in &page.attributes {
        table.row(vec![
            attribute.id.to_string(),
            attribute.value.to_string(),
            attribute.worst.to_string(),
            attribute.threshold.to_string(),
            kind(*attribute).to_owned(),
            attribute.state().to_owned(),
            attribute.raw.to_string(),
            attribute.name().to_owned(),
        ]);
    }
    table.print(out)
}

fn kind(attribute: Attribute) -> &'static str {
    if attribute.is_prefailure() {
        "failure"
    } else {
        "age"
    }
}

fn minutes(minutes: u8) -> String {
    match minutes {
        0 => String::new(),
        // The short field says that another, longer one holds the time.
        255 => "255 minutes or more".to_owned(),
        1 => "1 minute".to_owned(),
        _ => format!("{minutes} minutes"),
    }
}

fn health_json(exchange: &Exchange, peer: &Peer, health: &Health) -> Map<String, Value> {
    let mut map = object([
        ("address", json!(peer.addr.to_string())),
        ("interface", json!(exchange.ports().name(peer.netif))),
        ("mac", json!(peer.mac.to_string())),
        ("supported", json!(health.supported)),
        ("enabled", json!(health.enabled)),
        ("healthy", json!(health.healthy)),
    ]);
    let Some(page) = &health.page else {
        return map;
    };
    let attributes: Vec<Value> = page
        .attributes
        .iter()
        .map(|a| Value::Object(attribute_json(*a)))
        .collect();
    map.extend(object([
        ("revision", json!(page.revision)),
        ("checksum_ok", json!(page.is_sound)),
        ("self_test_status", json!(page.self_test)),
        ("self_test", json!(page.self_test_text())),
        ("self_test_left_percent", json!(page.self_test_left())),
        ("short_test_minutes", json!(page.short_minutes)),
        ("extended_test_minutes", json!(page.extended_minutes)),
        ("collection_status", json!(page.collection)),
        ("collection", json!(page.collection_text())),
        ("collection_secs", json!(page.collection_secs)),
        ("attribute", json!(attributes)),
    ]));
    map
}

fn attribute_json(attribute: Attribute) -> Map<String, Value> {
    object([
        ("id", json!(attribute.id)),
        ("name", json!(attribute.name())),
        ("flags", json!(attribute.flags)),
        ("kind", json!(kind(attribute))),
        ("value", json!(attribute.value)),
        ("worst", json!(attribute.worst)),
        ("threshold", json!(attribute.threshold)),
        ("state", json!(attribute.state())),
        ("raw", json!(attribute.raw)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_have_numbers() {
        assert_eq!(log_number("0x80"), Ok(0x80));
        assert_eq!(log_number("6"), Ok(6));
        for wrong in ["", "0x", "256", "-1", "six"] {
            assert!(log_number(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sectors_are_whole() {
        assert_eq!(sector(&[7; 512][..]).unwrap(), [7; 512]);
        for (wrong, word) in [(&[7; 511][..], "less"), (&[7; 513], "more")] {
            let error = sector(wrong).unwrap_err();
            assert!(
                matches!(&error, Failure::Usage(text) if text.contains(word)),
                "{error}"
            );
        }
    }

    #[test]
    fn tests_have_the_numbers_of_ata() {
        let codes = [
            Test::Offline,
            Test::Short,
            Test::Extended,
            Test::Conveyance,
            Test::Abort,
        ]
        .map(Test::code);
        assert_eq!(codes, [0, 1, 2, 3, 127]);
    }
}
