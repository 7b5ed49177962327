// SPDX-License-Identifier: BSD-2-Clause
//! Runs the engine under a steady load, for `scripts/cost` to count instructions in `accept`, `send`, `find`
//! and `receive` of [`load`]: what the kernel asks of it.
#![forbid(unsafe_code)]

mod load;

use clap::{Parser, ValueEnum};

use load::{Load, Run};

/// Runs the engine under a steady load and says how many frames and requests went through it.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// What the requests do
    #[arg(value_enum, default_value = "read")]
    op: Direction,
    /// Sectors of a request
    #[arg(long, default_value_t = 8)]
    sectors: u32,
    /// Requests at a time
    #[arg(long, default_value_t = 16)]
    depth: usize,
    /// MTU of the interfaces
    #[arg(long, default_value_t = 1500)]
    mtu: u32,
    /// Interfaces, each with a path of its own
    #[arg(long, default_value_t = 1)]
    paths: u8,
    /// Requests in all
    #[arg(long, default_value_t = 10_000)]
    requests: u64,
    /// Of so many frames one is lost on its way to the target; 0 for none
    #[arg(long, default_value_t = 0)]
    lose: u64,
    /// Targets that are known
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    targets: u32,
    /// Say how many bytes the target has, at rest and with its disk open
    #[arg(long)]
    memory: bool,
}

#[derive(Copy, Clone, ValueEnum)]
enum Direction {
    Read,
    Write,
}

fn main() {
    let args = Args::parse();
    let load = Load {
        writes: matches!(args.op, Direction::Write),
        sectors: args.sectors,
        depth: args.depth,
        mtu: args.mtu,
        paths: args.paths,
        requests: args.requests,
        lose: args.lose,
        targets: args.targets as usize,
    };
    if args.memory {
        let (idle, busy) = load::memory(&load);
        println!("idle {idle} open {busy}");
        return;
    }
    let Run {
        requests,
        sent,
        received,
    } = load::run(&load);
    println!("requests {requests} sent {sent} received {received}");
}
