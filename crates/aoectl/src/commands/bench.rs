// SPDX-License-Identifier: BSD-2-Clause
//! `aoectl bench`: how fast a target is, by the engine of this program or by the disk that the kernel has of it.

mod device;
mod engine;

use super::print_to;
use crate::cli;
use crate::exchange::some_seconds;
use crate::failure::Failure;
use crate::output::{Format, Table, object, print_json};
use crate::size;
use aoe_wire::TargetAddr;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Measure over raw Ethernet by these interfaces [default: by the disk that the kernel has of the target]
    #[arg(short, long = "interface", value_name = "IF", value_delimiter = ',')]
    interfaces: Vec<String>,
    /// Measure this disk or file, and no target by its address
    #[arg(long, value_name = "FILE", conflicts_with_all = ["interfaces", "target"])]
    device: Option<PathBuf>,
    /// How long to look for the target, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = cli::seconds)]
    timeout: Duration,
    /// How long to measure, in seconds, for each pattern and operation
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = some_seconds)]
    seconds: Duration,
    /// Patterns to measure
    #[arg(long, value_name = "PATTERN", value_enum, default_value = "both")]
    pattern: Which,
    /// Size of one sequential request, in bytes; at most 1g
    #[arg(long, value_name = "BYTES", default_value = "128k", value_parser = cli::block)]
    block: u64,
    /// Size of one random request, in bytes; at most 1g
    #[arg(long, value_name = "BYTES", default_value = "4k", value_parser = cli::block)]
    random_block: u64,
    /// Requests in flight at a time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    depth: u16,
    /// Where to begin, in bytes
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = size::parse_sectors)]
    offset: u64,
    /// Stay within so many bytes [default: up to the end]
    #[arg(long, value_name = "BYTES", value_parser = size::parse_some_sectors)]
    length: Option<u64>,
    /// Measure writing too, which overwrites what is there; wants --yes
    #[arg(long)]
    write: bool,
    /// Say that the data may be lost; nothing is written without it
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    choice: cli::Choice,
    /// Address of the target
    #[arg(value_name = "SHELF.SLOT", required_unless_present = "device")]
    target: Option<TargetAddr>,
}

/// Which patterns are asked for.
#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
enum Which {
    Sequential,
    Random,
    Both,
}

/// Where a request begins.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Pattern {
    Sequential,
    Random,
}

impl Pattern {
    fn name(self) -> &'static str {
        match self {
            Self::Sequential => "sequential",
            Self::Random => "random",
        }
    }
}

/// One measurement to be made.
#[derive(Copy, Clone, Debug)]
struct Run {
    pattern: Pattern,
    write: bool,
    block: u64,
    depth: u16,
    /// First byte.
    start: u64,
    /// Whole blocks between the first and the last byte that may be touched.
    blocks: u64,
    duration: Duration,
}

/// Places of requests, one after the other. Random ones are made by xorshift64*, which is good enough to be hard to
/// foresee for a disk.
struct Places {
    run: Run,
    next: u64,
    state: u64,
}

impl Places {
    fn new(run: Run, seed: u64) -> Self {
        Self {
            run,
            next: 0,
            // It stays at zero for ever if it begins there.
            state: seed | 1,
        }
    }

    fn random(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// The first byte of the next request.
    fn take(&mut self) -> u64 {
        let block = match self.run.pattern {
            Pattern::Sequential => {
                let block = self.next;
                self.next = (self.next + 1) % self.run.blocks;
                block
            }
            // The upper bits are the better ones.
            Pattern::Random => (self.random() >> 8) % self.run.blocks,
        };
        self.run.start + block * self.run.block
    }
}

/// What was measured.
#[derive(Debug)]
struct Figures {
    run: Run,
    elapsed: Duration,
    /// Of each request, in nanoseconds.
    latencies: Vec<u64>,
    frames: Option<Frames>,
}

/// What went over the wire meanwhile.
#[derive(Copy, Clone, Debug)]
struct Frames {
    sent: u64,
    again: u64,
}

impl Figures {
    fn seconds(&self) -> f64 {
        self.elapsed.as_secs_f64().max(1e-9)
    }

    fn requests(&self) -> u64 {
        self.latencies.len() as u64
    }

    fn bytes(&self) -> u64 {
        self.requests() * self.run.block
    }

    /// The latency that so many of a thousand requests do not exceed. They must have been sorted.
    fn latency(&self, thousandths: usize) -> u64 {
        let last = self.latencies.len().saturating_sub(1);
        let index = (self.latencies.len() * thousandths / 1000).min(last);
        self.latencies.get(index).copied().unwrap_or(0)
    }

    fn mean(&self) -> u64 {
        self.latencies.iter().sum::<u64>() / self.requests().max(1)
    }

    fn operation(&self) -> &'static str {
        if self.run.write { "write" } else { "read" }
    }
}

pub(crate) fn run(args: &Bench, format: Format) -> Result<(), Failure> {
    if args.write && !args.yes {
        let what = match (&args.device, args.target) {
            (Some(device), _) => device.display().to_string(),
            (None, Some(addr)) => format!("target {addr}"),
            (None, None) => String::new(),
        };
        return Err(Failure::Usage(format!(
            "bench: --write overwrites what is on {what}; say --yes if that is meant"
        )));
    }
    let (subject, figures) = match (&args.device, args.target) {
        (Some(device), _) => device::measure(args, device)?,
        (None, Some(addr)) if args.interfaces.is_empty() => {
            device::measure(args, &device::of_target(addr)?)?
        }
        (None, Some(addr)) => engine::measure(args, addr)?,
        (None, None) => {
            return Err(Failure::Usage("bench: no target is named".to_owned()));
        }
    };
    print(&subject, &figures, format)
}

/// The measurements that are asked for, on something of `size` bytes.
fn plan(args: &Bench, what: &str, size: u64) -> Result<Vec<Run>, Failure> {
    let room = size.checked_sub(args.offset).ok_or_else(|| {
        Failure::Usage(format!(
            "bench: --offset: {what} has {size} bytes, and {} is beyond its end",
            args.offset
        ))
    })?;
    let length = args.length.unwrap_or(room);
    if length > room {
        return Err(Failure::Usage(format!(
            "bench: --length: {what} has {size} bytes; {length} from byte {} on do not lie on it",
            args.offset
        )));
    }
    let mut runs = Vec::new();
    for (pattern, block, option) in [
        (Pattern::Sequential, args.block, "--block"),
        (Pattern::Random, args.random_block, "--random-block"),
    ] {
        match (args.pattern, pattern) {
            (Which::Sequential, Pattern::Random) | (Which::Random, Pattern::Sequential) => continue,
            _ => {}
        }
        if length < block {
            return Err(Failure::Usage(format!(
                "bench: {option}: one request has {block} bytes, but there are only {length} to measure on {what}"
            )));
        }
        for write in [false, true] {
            if write && !args.write {
                continue;
            }
            runs.push(Run {
                pattern,
                write,
                block,
                depth: args.depth,
                start: args.offset,
                blocks: length / block,
                duration: args.seconds,
            });
        }
    }
    Ok(runs)
}

/// Bytes that no target can compress or recognise.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let run = Run {
        pattern: Pattern::Random,
        write: true,
        block: 1,
        depth: 1,
        start: 0,
        blocks: 1,
        duration: Duration::ZERO,
    };
    let mut source = Places::new(run, seed);
    let mut data = Vec::with_capacity(len + 8);
    while data.len() < len {
        data.extend(source.random().to_ne_bytes());
    }
    data.truncate(len);
    data
}

fn print(subject: &str, figures: &[Figures], format: Format) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    print_to(&mut out, |out| match format {
        Format::Json { pretty } => {
            let runs: Vec<Value> = figures.iter().map(as_json).collect();
            print_json(out, pretty, json!({ "subject": subject, "bench": runs }))
        }
        Format::Text => {
            writeln!(out, "{subject}")?;
            let mut table = Table::new(&[
                "PATTERN",
                "OPERATION",
                ">BLOCK",
                ">DEPTH",
                ">MB/s",
                ">IOPS",
                ">MEAN",
                ">50 %",
                ">99 %",
                ">MAX",
            ]);
            for figures in figures {
                table.row(row(figures));
            }
            table.print(out)?;
            for figures in figures {
                if let Some(Frames { sent, again }) = figures.frames
                    && again > 0
                {
                    writeln!(
                        out,
                        "{} {}: {again} of {sent} frames were sent again",
                        figures.run.pattern.name(),
                        figures.operation()
                    )?;
                }
            }
            Ok(())
        }
    })
}

fn row(figures: &Figures) -> Vec<String> {
    vec![
        figures.run.pattern.name().to_owned(),
        figures.operation().to_owned(),
        size::human(figures.run.block),
        figures.run.depth.to_string(),
        format!("{:.1}", figures.bytes() as f64 / 1e6 / figures.seconds()),
        format!("{:.0}", figures.requests() as f64 / figures.seconds()),
        size::human_time(figures.mean()),
        size::human_time(figures.latency(500)),
        size::human_time(figures.latency(990)),
        size::human_time(figures.latency(1000)),
    ]
}

fn as_json(figures: &Figures) -> Value {
    let mut map = object([
        ("pattern", json!(figures.run.pattern.name())),
        ("operation", json!(figures.operation())),
        ("block", json!(figures.run.block)),
        ("depth", json!(figures.run.depth)),
        ("seconds", json!(figures.elapsed.as_secs_f64())),
        ("requests", json!(figures.requests())),
        ("bytes", json!(figures.bytes())),
        (
            "megabytes_per_second",
            json!(figures.bytes() as f64 / 1e6 / figures.seconds()),
        ),
        ("iops", json!(figures.requests() as f64 / figures.seconds())),
        ("latency_mean_ns", json!(figures.mean())),
        ("latency_median_ns", json!(figures.latency(500))),
        ("latency_99_ns", json!(figures.latency(990))),
        ("latency_max_ns", json!(figures.latency(1000))),
    ]);
    if let Some(frames) = figures.frames {
        map.extend(object([
            ("frames_sent", json!(frames.sent)),
            ("retransmits", json!(frames.again)),
        ]));
    }
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_run(pattern: Pattern, blocks: u64) -> Run {
        Run {
            pattern,
            write: false,
            block: 4096,
            depth: 1,
            start: 1024,
            blocks,
            duration: Duration::from_secs(1),
        }
    }

    #[test]
    fn sequential_places_follow_each_other_and_begin_again() {
        let mut places = Places::new(a_run(Pattern::Sequential, 3), 1);
        let taken: Vec<u64> = (0..4).map(|_| places.take()).collect();
        assert_eq!(taken, [1024, 5120, 9216, 1024]);
    }

    #[test]
    fn random_places_are_everywhere_inside() {
        let mut places = Places::new(a_run(Pattern::Random, 16), 0);
        let mut seen = [false; 16];
        for _ in 0..1000 {
            let place = places.take();
            assert_eq!((place - 1024) % 4096, 0);
            seen[usize::try_from((place - 1024) / 4096).unwrap()] = true;
        }
        assert_eq!(seen, [true; 16]);
    }

    #[test]
    fn latencies_are_ranked() {
        let figures = Figures {
            run: a_run(Pattern::Random, 1),
            elapsed: Duration::from_secs(2),
            latencies: (1..=1000).collect(),
            frames: None,
        };
        assert_eq!((figures.latency(500), figures.latency(990)), (501, 991));
        assert_eq!((figures.latency(1000), figures.mean()), (1000, 500));
        let none = Figures {
            latencies: Vec::new(),
            ..figures
        };
        assert_eq!((none.latency(990), none.mean()), (0, 0));
    }

    #[test]
    fn noise_has_its_length_and_no_pattern() {
        let data = noise(4099, 5);
        assert_eq!(data.len(), 4099);
        assert_ne!(data[..512], data[512..1024]);
        assert_ne!(noise(64, 1), noise(64, 3));
    }
}
