// SPDX-License-Identifier: BSD-2-Clause
//! `aoectl flush`: the kernel module forgets targets; what aoe-flush(8) is on Linux.

use super::print_to;
use crate::failure::Failure;
use crate::module::{self, Told};
use crate::output::{Format, print_json};
use anyhow::anyhow;
use aoe_wire::TargetAddr;
use clap::Args;
use serde_json::{Value, json};
use std::io;
use std::time::{Duration, Instant};

/// How long a removal is waited for: the disk has to leave GEOM first.
const PATIENCE: Duration = Duration::from_secs(10);
const NAP: Duration = Duration::from_millis(20);

#[derive(Debug, Args)]
pub(crate) struct Flush {
    /// Forget every target whose disk is not in use, also those that are up
    #[arg(short, long, conflicts_with = "targets")]
    all: bool,
    /// Forget these, in whatever state they are [default: those that are down]
    #[arg(value_name = "SHELF.SLOT")]
    targets: Vec<TargetAddr>,
}

pub(crate) fn run(args: &Flush, format: Format) -> Result<(), Failure> {
    module::require("flush")?;
    module::check_named("flush", &args.targets)?;
    let mut asked = Vec::new();
    let mut kept = Vec::new();
    for addr in candidates(args)? {
        match module::tell(addr, "remove")? {
            Told::Done => asked.push(addr),
            Told::Busy => kept.push(addr),
            Told::Gone => {}
        }
    }
    let late = wait_gone(&asked)?;
    print(&asked, &kept, format)?;
    if let Some(addr) = late {
        return Err(Failure::Failed(anyhow!(
            "flush: target {addr} has not left within {} s; its disk may have been opened meanwhile",
            PATIENCE.as_secs()
        )));
    }
    match kept.first() {
        // Without names, what is in use was not meant.
        Some(addr) if !args.targets.is_empty() => Err(Failure::Failed(anyhow!(
            "flush: target {addr} is busy: its disk is open (mounted, imported or read); close it first"
        ))),
        _ => Ok(()),
    }
}

fn candidates(args: &Flush) -> Result<Vec<TargetAddr>, Failure> {
    if !args.targets.is_empty() {
        return Ok(args.targets.clone());
    }
    let mut found = Vec::new();
    for addr in module::addresses()? {
        let state = module::state(addr)?;
        if state.is_some_and(|state| args.all || matches!(state.as_str(), "down" | "dead")) {
            found.push(addr);
        }
    }
    Ok(found)
}

/// Waits until the targets have left; one that has not is returned. A target that answers a beacon meanwhile comes
/// back as a new one.
fn wait_gone(asked: &[TargetAddr]) -> Result<Option<TargetAddr>, Failure> {
    let end = Instant::now() + PATIENCE;
    for addr in asked {
        let mut was_leaving = false;
        loop {
            match module::state(*addr)?.as_deref() {
                None | Some("probing") => break,
                Some("removed") => was_leaving = true,
                Some(_) if was_leaving => break,
                Some(_) => {}
            }
            if Instant::now() >= end {
                return Ok(Some(*addr));
            }
            std::thread::sleep(NAP);
        }
    }
    Ok(None)
}

fn print(asked: &[TargetAddr], kept: &[TargetAddr], format: Format) -> Result<(), Failure> {
    let list = |addrs: &[TargetAddr]| -> Vec<Value> {
        addrs.iter().map(|addr| json!(addr.to_string())).collect()
    };
    let mut out = io::stdout().lock();
    print_to(&mut out, |out| match format {
        Format::Json { pretty } => print_json(
            out,
            pretty,
            json!({ "flushed": list(asked), "busy": list(kept) }),
        ),
        Format::Text => {
            for addr in asked {
                writeln!(out, "target {addr}: forgotten")?;
            }
            for addr in kept {
                writeln!(out, "target {addr}: kept, its disk is open")?;
            }
            Ok(())
        }
    })
}
