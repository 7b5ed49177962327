// SPDX-License-Identifier: BSD-2-Clause
//! `aoectl config`: the string that a target keeps for its clients (AoEr11 3.2).

use super::print_to;
use crate::exchange::{
    Config, Exchange, Peer, Question, Reach, ReachOne, Reply, Targets, out_of_place,
};
use crate::failure::Failure;
use crate::output::{Format, Table, object, print_json, printable};
use anyhow::{Context, anyhow};
use aoe_wire::{AoeError, CONFIG_STRING_MAX, ConfigCommand, ConfigRequest};
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{self, Read as _};

/// How long a target may take to say that a string is its own. Silence means that it is not, so the question is
/// asked several times in this time, in nanoseconds.
const SILENCE_NS: u64 = 700_000_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show the config string, and what else the target says of itself
    Read(Read),
    /// Ask whether the config string is STRING; status 4 if it is not
    Test(Compare),
    /// Ask whether the config string begins with STRING; status 4 if it does not
    Prefix(Compare),
    /// Store STRING, if there is no other yet
    Set(Store),
    /// Store STRING, whatever is there
    Fset(Store),
}

#[derive(Debug, clap::Args)]
struct Read {
    #[command(flatten)]
    reach: Reach,
    /// Address of the target; * for any shelf or slot, or "all"
    #[arg(value_name = "SHELF.SLOT")]
    target: Targets,
    /// Write the bytes of the string to the standard output, and nothing else
    #[arg(long)]
    raw: bool,
}

#[derive(Debug, clap::Args)]
struct Compare {
    #[command(flatten)]
    reach: Reach,
    /// Address of the target; * for any shelf or slot, or "all"
    #[arg(value_name = "SHELF.SLOT")]
    target: Targets,
    #[command(flatten)]
    string: Text,
}

#[derive(Debug, clap::Args)]
struct Store {
    #[command(flatten)]
    one: ReachOne,
    #[command(flatten)]
    string: Text,
}

#[derive(Debug, clap::Args)]
struct Text {
    /// The string; @FILE: what is in the file, @-: in the standard input, @@...: text that begins with @
    #[arg(value_name = "STRING")]
    string: String,
    /// STRING is written in hexadecimal digits
    #[arg(long)]
    hex: bool,
}

impl Text {
    /// The bytes that are meant.
    fn bytes(&self) -> Result<Vec<u8>, Failure> {
        let bytes = match self.string.strip_prefix('@') {
            Some("-") => read_some(io::stdin().lock()).context("STRING: the standard input")?,
            Some(text) if text.starts_with('@') => text.as_bytes().to_vec(),
            Some("") => return Err(Failure::Usage("STRING: @ wants the name of a file".into())),
            Some(name) => File::open(name)
                .and_then(read_some)
                .with_context(|| format!("STRING: {name}"))?,
            None => self.string.as_bytes().to_vec(),
        };
        let bytes = if self.hex { unhex(&bytes)? } else { bytes };
        if bytes.len() > CONFIG_STRING_MAX {
            return Err(Failure::Usage(format!(
                "STRING: too long: a config string has at most {CONFIG_STRING_MAX} bytes"
            )));
        }
        Ok(bytes)
    }
}

/// All of a file, but no more than is needed to see that it is too long, with each byte as two digits and a space.
fn read_some(from: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(4 * CONFIG_STRING_MAX as u64)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads pairs of hexadecimal digits, with white space between them or not.
fn unhex(text: &[u8]) -> Result<Vec<u8>, Failure> {
    let digits: Option<Vec<u8>> = text
        .iter()
        .filter(|b| !b.is_ascii_whitespace())
        .map(|b| {
            char::from(*b)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        })
        .collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => Ok(digits
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| (byte << 4) | digit))
            .collect()),
        _ => Err(Failure::Usage(
            "STRING: --hex wants an even number of hexadecimal digits".into(),
        )),
    }
}

pub(crate) fn run(args: &Args, format: Format) -> Result<(), Failure> {
    match &args.what {
        What::Read(args) => read(args, format),
        What::Test(args) => compare(args, ConfigCommand::Test, format),
        What::Prefix(args) => compare(args, ConfigCommand::TestPrefix, format),
        What::Set(args) => store(args, ConfigCommand::Set, format),
        What::Fset(args) => store(args, ConfigCommand::ForceSet, format),
    }
}

fn read(args: &Read, format: Format) -> Result<(), Failure> {
    let mut exchange = Exchange::open(&args.reach)?;
    let peers = exchange.find(args.target)?;
    if args.raw {
        return print_raw(&exchange, &peers);
    }
    let rows: Vec<Row> = peers.into_iter().map(Row::from).collect();
    print(&exchange, &rows, format)
}

/// The string alone, if there is only one.
fn print_raw(exchange: &Exchange, peers: &[Peer]) -> Result<(), Failure> {
    let mut strings = peers.iter().map(|peer| &peer.config.string);
    let Some(string) = strings.next() else {
        return Ok(());
    };
    if let Some(other) = peers.iter().find(|p| p.config.string != *string) {
        return Err(Failure::Failed(anyhow!(
            "--raw: there are several strings: {} has another",
            exchange.who(other)
        )));
    }
    let mut out = io::stdout().lock();
    print_to(&mut out, |out| out.write_all(string))
}

fn compare(args: &Compare, command: ConfigCommand, format: Format) -> Result<(), Failure> {
    let string = args.string.bytes()?;
    let mut exchange = Exchange::open(&args.reach)?;
    let peers = exchange.find(args.target)?;
    let request = ConfigRequest {
        command,
        string: &string,
    };
    let patience = SILENCE_NS.max(exchange.timeout_ns() / 4);
    let fits = exchange.gather_peers(args.target, request, patience)?;
    let rows: Vec<Row> = peers
        .iter()
        .map(|peer| Row {
            matches: Some(fits.iter().any(|f| is_same(f, peer))),
            peer: peer.clone(),
        })
        .collect();
    print(&exchange, &rows, format)?;
    let fitting = fits.len();
    if fitting >= rows.len() || (fitting > 0 && !args.target.is_one()) {
        return Ok(());
    }
    // A target that has gone says as little as one with another string.
    let still = exchange.gather_peers(args.target, ConfigRequest::READ, exchange.timeout_ns())?;
    let Some(one) = still.first() else {
        return Err(exchange.not_found(args.target)?);
    };
    if still.len() > 1 || !args.target.is_one() {
        return Err(Failure::Mismatch(format!(
            "{fitting} of {} servers have a config string that fits \"{}\"",
            rows.len(),
            printable(&string)
        )));
    }
    Err(mismatch(&exchange.who(one), command, &one.config, &string))
}

/// The answers of one server: a target may answer one question by another port than the next.
fn is_same(a: &Peer, b: &Peer) -> bool {
    (a.addr, a.netif, a.mac) == (b.addr, b.netif, b.mac)
}

/// What silence means, as far as what the target says on being read tells.
fn mismatch(who: &str, command: ConfigCommand, config: &Config, string: &[u8]) -> Failure {
    let have = printable(&config.string);
    let (fits, verb) = match command {
        ConfigCommand::TestPrefix => (config.string.starts_with(string), "does not begin with"),
        _ => (config.string == string, "is not"),
    };
    if fits {
        return Failure::Failed(anyhow!(
            "{who} does not answer {command}, though its config string \"{have}\" fits"
        ));
    }
    Failure::Mismatch(format!(
        "{who}: its config string \"{have}\" {verb} \"{}\"",
        printable(string)
    ))
}

fn store(args: &Store, command: ConfigCommand, format: Format) -> Result<(), Failure> {
    let string = args.string.bytes()?;
    let mut exchange = Exchange::open(&args.one.reach)?;
    let peers = exchange.find(args.one.target.into())?;
    let request = ConfigRequest {
        command,
        string: &string,
    };
    let mut rows = Vec::new();
    for peer in peers {
        let who = exchange.who(&peer);
        let config = match exchange.ask(&peer, &Question::Config(request))? {
            Reply::Config(config) => config,
            Reply::Error(AoeError::CONFIG_PRESENT) => {
                let config = exchange.ask(&peer, &Question::Config(ConfigRequest::READ))?;
                present(&who, &string, config)?
            }
            other => return Err(out_of_place(&who, &other)),
        };
        if config.string != string {
            return Err(Failure::Failed(anyhow!(
                "{who} says that it did it, but its config string is \"{}\"",
                printable(&config.string)
            )));
        }
        rows.push(Row::from(Peer { config, ..peer }));
    }
    print(&exchange, &rows, format)
}

/// A refusal because of a string that is there, and what the target then says on being read: what comes with the
/// refusal is its string with vblade, and what it was asked with ggaoed. If it is the string that is wanted (a second
/// copy of the request meets what the first has stored), everything is as it should be.
fn present(who: &str, wanted: &[u8], reply: Reply) -> Result<Config, Failure> {
    let text = match reply {
        Reply::Config(config) if config.string == wanted => return Ok(config),
        Reply::Config(config) => format!(" (\"{}\")", printable(&config.string)),
        _ => String::new(),
    };
    Err(Failure::Failed(anyhow!(
        "{who} refuses: {}{text}; fset replaces it",
        crate::exchange::in_words(AoeError::CONFIG_PRESENT)
    )))
}

/// One server, and whether its string is the one that was asked for.
struct Row {
    peer: Peer,
    matches: Option<bool>,
}

impl From<Peer> for Row {
    fn from(peer: Peer) -> Self {
        Self {
            peer,
            matches: None,
        }
    }
}

fn print(exchange: &Exchange, rows: &[Row], format: Format) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    print_to(&mut out, |out| match format {
        Format::Json { pretty } => {
            let rows: Vec<Value> = rows
                .iter()
                .map(|row| Value::Object(row_json(exchange, row)))
                .collect();
            print_json(out, pretty, json!({ "answer": rows }))
        }
        Format::Text => table(exchange, rows).print(out),
    })
}

fn table(exchange: &Exchange, rows: &[Row]) -> Table {
    let asks = rows.iter().any(|row| row.matches.is_some());
    let mut headings = vec![
        "TARGET",
        "INTERFACE",
        "MAC",
        ">FIRMWARE",
        ">BUFFERS",
        ">SECTORS",
    ];
    if asks {
        headings.push("MATCH");
    }
    headings.push("CONFIG");
    let mut table = Table::new(&headings);
    for Row { peer, matches } in rows {
        let config = &peer.config;
        let mut cells = vec![
            peer.addr.to_string(),
            exchange.ports().name(peer.netif).to_owned(),
            peer.mac.to_string(),
            format!("0x{:04x}", config.firmware),
            config.buffers.to_string(),
            config.sectors.to_string(),
        ];
        if let Some(matches) = matches {
            cells.push(if *matches { "yes" } else { "no" }.to_owned());
        }
        cells.push(printable(&config.string));
        table.row(cells);
    }
    table
}

fn row_json(exchange: &Exchange, row: &Row) -> Map<String, Value> {
    let config = &row.peer.config;
    let hex: String = config.string.iter().map(|b| format!("{b:02x}")).collect();
    let mut map = object([
        ("address", json!(row.peer.addr.to_string())),
        ("interface", json!(exchange.ports().name(row.peer.netif))),
        ("mac", json!(row.peer.mac.to_string())),
        ("config", json!(printable(&config.string))),
        ("config_hex", json!(hex)),
        ("firmware", json!(config.firmware)),
        ("buffers", json!(config.buffers)),
        ("sector_count", json!(config.sectors)),
        ("version", json!(config.version)),
    ]);
    if let Some(matches) = row.matches {
        map.insert("match".to_owned(), json!(matches));
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(string: &str, hex: bool) -> Result<Vec<u8>, Failure> {
        let string = string.to_owned();
        Text { string, hex }.bytes()
    }

    #[test]
    fn strings_are_text_or_hexadecimal() {
        assert_eq!(text("", false).unwrap(), b"");
        assert_eq!(
            text("owner \u{e9}", false).unwrap(),
            "owner \u{e9}".as_bytes()
        );
        assert_eq!(text("@@home", false).unwrap(), b"@home");
        assert_eq!(text("00fF 7e", true).unwrap(), [0, 0xff, 0x7e]);
        assert_eq!(text("", true).unwrap(), b"");
        for wrong in ["0", "0x", "zz", "\u{e9}"] {
            assert!(
                matches!(text(wrong, true), Err(Failure::Usage(_))),
                "{wrong}"
            );
        }
    }

    #[test]
    fn strings_have_a_limit() {
        assert_eq!(text(&"x".repeat(1024), false).unwrap().len(), 1024);
        let error = text(&"x".repeat(1025), false).unwrap_err().to_string();
        assert!(
            error.contains("STRING") && error.contains("1024"),
            "{error}"
        );
        assert_eq!(text(&"00".repeat(1024), true).unwrap().len(), 1024);
        assert!(text(&"00".repeat(1025), true).is_err());
    }

    #[test]
    fn files_that_are_not_there_are_named() {
        let error = text("@/no/such/file", false).unwrap_err().to_string();
        assert!(error.contains("STRING: /no/such/file"), "{error}");
        assert!(matches!(text("@", false), Err(Failure::Usage(_))));
    }

    fn of_mine() -> Config {
        Config {
            buffers: 1,
            firmware: 1,
            sectors: 2,
            version: 1,
            string: b"mine".to_vec(),
        }
    }

    #[test]
    fn a_string_that_is_there_already_is_no_trouble() {
        let config = of_mine();
        assert!(present("t", b"mine", Reply::Config(config.clone())).is_ok());
        let error = present("t", b"yours", Reply::Config(config))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("error 4: config string present (\"mine\")"),
            "{error}"
        );
        let no = Reply::Error(AoeError::BAD_ARGUMENT);
        assert!(present("t", b"", no).is_err());
    }

    #[test]
    fn silence_is_judged_by_what_is_read() {
        let config = of_mine();
        let judge = |command, string| mismatch("t", command, &config, string);
        use ConfigCommand::{Test, TestPrefix};
        assert!(matches!(judge(Test, b"mi"), Failure::Mismatch(_)));
        assert!(matches!(judge(Test, b"mine"), Failure::Failed(_)));
        assert!(matches!(judge(TestPrefix, b"mi"), Failure::Failed(_)));
        assert!(matches!(judge(TestPrefix, b"mx"), Failure::Mismatch(_)));
    }
}
