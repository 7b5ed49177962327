// SPDX-License-Identifier: BSD-2-Clause
//! `aoectl watch`: what the kernel module's targets are doing, as rates.

use super::print_to;
use super::stat::{number, path_text, paths, text};
use crate::failure::Failure;
use crate::module::{self, Kind, Leaf};
use crate::output::{Format, Table, print_json};
use crate::size;
use aoe_wire::TargetAddr;
use clap::Args;
use serde_json::{Map, Value, json};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Numbers that are no counters: what they are now is of interest, not how they grow.
const GAUGES: [&str; 10] = [
    "size",
    "outstanding",
    "waiting",
    "oldest_ms",
    "payload",
    "srtt_us",
    "rto_us",
    "window",
    "buffers",
    "firmware",
];
/// Puts the cursor to the upper left and clears what is behind it.
const HOME: &str = "\x1b[H\x1b[J";

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Seconds from one report to the next
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,
    /// Number of reports; 0 goes on until interrupted
    #[arg(long, value_name = "N", default_value_t = 0)]
    count: u64,
    /// Show the paths of each target too
    #[arg(long)]
    paths: bool,
    /// Watch these targets only
    #[arg(value_name = "SHELF.SLOT")]
    targets: Vec<TargetAddr>,
}

fn interval(text: &str) -> Result<Duration, String> {
    match crate::cli::seconds(text)? {
        short if short < Duration::from_millis(100) => Err("must not be less than 0.1".to_owned()),
        time => Ok(time),
    }
}

/// The module's targets at one moment.
struct Sample {
    at: Instant,
    targets: Vec<Map<String, Value>>,
}

impl Sample {
    fn take(only: &[TargetAddr]) -> Result<Self, Failure> {
        Ok(Self {
            at: Instant::now(),
            targets: module::targets(only)?,
        })
    }

    /// The same target in this sample.
    fn find(&self, other: &Map<String, Value>) -> Option<&Map<String, Value>> {
        self.targets
            .iter()
            .find(|t| t.get("address") == other.get("address"))
    }
}

pub(crate) fn run(args: &Watch, format: Format) -> Result<(), Failure> {
    module::require("watch")?;
    module::check_named("watch", &args.targets)?;
    let begin = Instant::now();
    let mut before = Sample::take(&args.targets)?;
    let mut due = before.at;
    let mut reports = 0;
    while args.count == 0 || reports < args.count {
        // Of the time that reading and printing take nothing adds up.
        due += args.interval;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if !module::is_loaded() {
            return Err(Failure::NoAnswer(
                "watch: the kernel module was unloaded".to_owned(),
            ));
        }
        let now = Sample::take(&args.targets)?;
        report(args, format, &before, &now, begin)?;
        before = now;
        reports += 1;
    }
    Ok(())
}

fn report(
    args: &Watch,
    format: Format,
    before: &Sample,
    now: &Sample,
    begin: Instant,
) -> Result<(), Failure> {
    let elapsed = (now.at - before.at).as_secs_f64().max(1e-9);
    let targets: Vec<Map<String, Value>> = now
        .targets
        .iter()
        .map(|target| with_rates(before.find(target), target, elapsed))
        .collect();
    let since = (now.at - begin).as_secs_f64();
    let mut out = io::stdout().lock();
    let is_terminal = out.is_terminal();
    print_to(&mut out, |out| match format {
        Format::Json { pretty } => {
            let content = json!({ "seconds": since, "interval": elapsed, "target": targets });
            print_json(out, pretty, content)
        }
        Format::Text if is_terminal => {
            write!(out, "{HOME}")?;
            writeln!(out, "{since:.0} s\n")?;
            target_table(&targets).print(out)?;
            if args.paths {
                writeln!(out)?;
                path_table(&targets).print(out)?;
            }
            Ok(())
        }
        Format::Text => print_lines(args, &targets, since, out),
    })
}

fn is_counter(leaf: &Leaf) -> bool {
    leaf.kind == Kind::Number && !GAUGES.contains(&leaf.name)
}

/// A target with its rates, and its paths with theirs.
fn with_rates(
    before: Option<&Map<String, Value>>,
    now: &Map<String, Value>,
    elapsed: f64,
) -> Map<String, Value> {
    let mut map = now.clone();
    let leaves = module::target_leaves().filter(is_counter);
    map.insert("rate".to_owned(), rates(before, now, leaves, elapsed));
    let old: Vec<&Map<String, Value>> = before.into_iter().flat_map(paths).collect();
    let list: Vec<Value> = paths(now)
        .map(|path| {
            let same = |key| move |old: &&&Map<String, Value>| old.get(key) == path.get(key);
            let before = old.iter().filter(same("interface")).find(same("mac"));
            let mut map = path.clone();
            let leaves = module::path_leaves().filter(is_counter);
            map.insert(
                "rate".to_owned(),
                rates(before.copied(), path, leaves, elapsed),
            );
            Value::Object(map)
        })
        .collect();
    map.insert("path".to_owned(), Value::Array(list));
    map
}

/// How fast counters grow, per second. What was not there before has grown from nothing; what is less than before
/// belongs to a newcomer of the same name.
fn rates(
    before: Option<&Map<String, Value>>,
    now: &Map<String, Value>,
    leaves: impl Iterator<Item = Leaf>,
    elapsed: f64,
) -> Value {
    let mut map = Map::new();
    for leaf in leaves.filter(|leaf| now.contains_key(leaf.name)) {
        let value = number(now, leaf.name);
        let old = before.map_or(0, |old| number(old, leaf.name));
        let grown = value.checked_sub(old).unwrap_or(value);
        map.insert(leaf.name.to_owned(), json!(grown as f64 / elapsed));
    }
    Value::Object(map)
}

/// A rate, per second.
fn rate(map: &Map<String, Value>, name: &str) -> f64 {
    map.get("rate")
        .and_then(|rates| rates.get(name))
        .and_then(Value::as_f64)
        .unwrap_or(0.0)
}

fn target_table(targets: &[Map<String, Value>]) -> Table {
    let mut table = Table::new(&[
        "TARGET",
        "STATE",
        ">READ MB/s",
        ">READS/s",
        ">WRITE MB/s",
        ">WRITES/s",
        ">FLUSHES/s",
        ">RESENT/s",
        ">ERRORS/s",
        ">OUTSTANDING",
    ]);
    for target in targets {
        table.row(vec![
            text(target, "address"),
            text(target, "state"),
            format!("{:.1}", rate(target, "bytes_read") / 1e6),
            format!("{:.0}", rate(target, "reads")),
            format!("{:.1}", rate(target, "bytes_written") / 1e6),
            format!("{:.0}", rate(target, "writes")),
            format!("{:.0}", rate(target, "flushes")),
            format!("{:.0}", rate(target, "retransmits")),
            format!("{:.0}", rate(target, "errors")),
            text(target, "outstanding"),
        ]);
    }
    table
}

fn path_table(targets: &[Map<String, Value>]) -> Table {
    let mut table = Table::new(&[
        "TARGET",
        "PATH",
        ">SENT/s",
        ">RECEIVED/s",
        ">RESENT/s",
        ">LOST/s",
        ">RTT",
        ">WINDOW",
        ">OUTSTANDING",
    ]);
    for target in targets {
        for path in paths(target) {
            table.row(vec![
                text(target, "address"),
                path_text(path),
                format!("{:.0}", rate(path, "sent")),
                format!("{:.0}", rate(path, "received")),
                format!("{:.0}", rate(path, "retransmitted")),
                format!("{:.0}", rate(path, "lost")),
                size::human_time(number(path, "srtt_us").saturating_mul(1000)),
                text(path, "window"),
                text(path, "outstanding"),
            ]);
        }
    }
    table
}

/// One line for each target, and for each path if they are wanted; every line stands for itself.
fn print_lines(
    args: &Watch,
    targets: &[Map<String, Value>],
    since: f64,
    out: &mut dyn Write,
) -> io::Result<()> {
    for target in targets {
        let addr = text(target, "address");
        writeln!(
            out,
            "{since:.1} {addr} {} read {:.1} MB/s {:.0}/s write {:.1} MB/s {:.0}/s resent {:.0}/s errors {:.0}/s \
             outstanding {}",
            text(target, "state"),
            rate(target, "bytes_read") / 1e6,
            rate(target, "reads"),
            rate(target, "bytes_written") / 1e6,
            rate(target, "writes"),
            rate(target, "retransmits"),
            rate(target, "errors"),
            text(target, "outstanding"),
        )?;
        for path in paths(target).filter(|_| args.paths) {
            writeln!(
                out,
                "{since:.1} {addr} path {} sent {:.0}/s received {:.0}/s resent {:.0}/s lost {:.0}/s rtt {} window {}",
                path_text(path),
                rate(path, "sent"),
                rate(path, "received"),
                rate(path, "retransmitted"),
                rate(path, "lost"),
                size::human_time(number(path, "srtt_us").saturating_mul(1000)),
                text(path, "window"),
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(reads: u64, sent: u64) -> Map<String, Value> {
        json!({
            "address": "7.0", "state": "up", "outstanding": 2, "reads": reads, "bytes_read": reads * 1_000_000,
            "path": [{ "interface": "em0", "mac": "m", "state": "up", "sent": sent, "srtt_us": 100, "window": 4 }],
        })
        .as_object()
        .unwrap()
        .clone()
    }

    #[test]
    fn gauges_are_in_the_table() {
        for name in GAUGES {
            let mut leaves = module::target_leaves().chain(module::path_leaves());
            assert!(
                leaves.any(|l| l.name == name && l.kind == Kind::Number),
                "{name}"
            );
        }
    }

    #[test]
    fn rates_are_growth_per_second() {
        let map = with_rates(Some(&target(10, 100)), &target(30, 160), 2.0);
        assert_eq!(rate(&map, "reads"), 10.0);
        assert_eq!(rate(&map, "bytes_read"), 10e6);
        assert_eq!(rate(&map, "size"), 0.0);
        let path = paths(&map).next().unwrap();
        assert_eq!(rate(path, "sent"), 30.0);
        assert_eq!(path.get("window"), Some(&json!(4)));
        assert!(path["rate"].get("window").is_none());
    }

    #[test]
    fn newcomers_begin_at_nothing() {
        assert_eq!(rate(&with_rates(None, &target(4, 8), 2.0), "reads"), 2.0);
        let again = with_rates(Some(&target(100, 100)), &target(4, 8), 2.0);
        assert_eq!(rate(&again, "reads"), 2.0);
        assert_eq!(rate(paths(&again).next().unwrap(), "sent"), 4.0);
    }

    #[test]
    fn intervals_are_checked() {
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "0.01", "-1", "x", "1e9"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lines_stand_for_themselves() {
        let args = Watch {
            interval: Duration::from_secs(1),
            count: 1,
            paths: true,
            targets: Vec::new(),
        };
        let rated = with_rates(Some(&target(0, 0)), &target(5, 7), 1.0);
        let mut out = Vec::new();
        print_lines(&args, &[rated], 3.0, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = out.lines().collect();
        assert!(
            lines[0].starts_with("3.0 7.0 up read 5.0 MB/s 5/s write 0.0 MB/s"),
            "{out}"
        );
        assert!(lines[1].starts_with("3.0 7.0 path em0>m sent 7/s"), "{out}");
    }
}
