// SPDX-License-Identifier: BSD-2-Clause
//! `sim`: runs the simulation for one seed or many, and says which seeds went wrong.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::BufWriter;
use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use aoe_sim::pcap::Pcap;
use aoe_sim::{Counted, Options, Report, World, loans, pools, report};
use clap::Parser;

/// Runs the engine in a simulated world.
#[derive(Parser, Debug)]
#[command(version)]
struct Arguments {
    /// Run this seed only, and tell about it
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Run the seeds from A to before B
    #[arg(long, value_name = "A..B", value_parser = parse_range, default_value = "0..1000")]
    seeds: Range<u64>,
    /// Write every frame to this capture file (with --seed)
    #[arg(long, value_name = "FILE", requires = "seed")]
    pcap: Option<PathBuf>,
    /// Print the options of the run (with --seed)
    #[arg(long, requires = "seed")]
    show: bool,
    /// Go on after a seed that went wrong
    #[arg(long)]
    keep_going: bool,
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("write it as A..B")?;
    let number = |text: &str| {
        text.parse::<u64>()
            .map_err(|error| format!("{text}: {error}"))
    };
    Ok(number(from)?..number(to)?)
}

fn one(seed: u64, arguments: &Arguments) -> Result<Report> {
    let options = Options::draw(seed);
    if arguments.show {
        println!("{options:#?}");
    }
    let mut memory = pools(&options);
    let mut world = World::new(options, loans(&mut memory));
    if let Some(path) = &arguments.pcap {
        let file =
            File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        world.set_pcap(Pcap::new(Box::new(BufWriter::new(file)))?);
    }
    world.run();
    world.finish_pcap().context("cannot write the capture")?;
    let report = report(&world);
    if arguments.seed.is_some() {
        println!(
            "seed {seed}: {} requests, {} failed, in {:.3} virtual seconds, {} steps",
            report.requests,
            report.failed,
            std::time::Duration::from_nanos(report.virtual_ns).as_secs_f64(),
            report.steps
        );
    }
    for line in &report.trouble {
        println!("seed {seed}: {line}");
    }
    Ok(report)
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let seeds = arguments
        .seed
        .map_or_else(|| arguments.seeds.clone(), |seed| seed..seed + 1);
    let count = seeds.end.saturating_sub(seeds.start);
    let mut bad = Vec::new();
    let mut sum = Counted::default();
    let (mut requests, mut failed, mut nanos) = (0, 0, 0);
    for seed in seeds {
        let report = one(seed, &arguments)?;
        requests += report.requests;
        failed += report.failed;
        nanos += report.virtual_ns;
        sum.add(&report.counted);
        if !report.trouble.is_empty() {
            bad.push(seed);
            if !arguments.keep_going {
                break;
            }
        }
    }
    println!(
        "{requests} requests, {failed} failed, in {} virtual seconds; {sum:?}",
        nanos / 1_000_000_000
    );
    if bad.is_empty() {
        println!("{count} seeds, nothing wrong");
        return Ok(());
    }
    bail!(
        "{} seeds went wrong, to be repeated with --seed: {bad:?}",
        bad.len()
    );
}
