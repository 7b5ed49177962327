// SPDX-License-Identifier: BSD-2-Clause
//! Measuring with the engine of this program, over raw Ethernet.

use super::{Bench, Figures, Frames, Places, Run, noise, plan};
use crate::cli::Reach;
use crate::commands::stations::{find_for_reading, find_for_writing};
use crate::commands::transfer::disk_size;
use crate::driver::{Driver, now};
use crate::failure::Failure;
use anyhow::anyhow;
use aoe_core::{IoError, Op, State, Target};
use aoe_wire::TargetAddr;
use std::collections::HashSet;
use std::time::Duration;

/// How long a silent target is waited for, in seconds, before the measurement fails.
const DEAD_SECS: u32 = 10;
/// Longest sleep of the loop, in nanoseconds.
const NAP_NS: u64 = 100_000_000;

pub(super) fn measure(args: &Bench, addr: TargetAddr) -> Result<(String, Vec<Figures>), Failure> {
    let reach = Reach {
        interfaces: args.interfaces.clone(),
        timeout: args.timeout,
        choice: args.choice.clone(),
        target: addr,
    };
    let mut driver = if args.write {
        find_for_writing(&reach, DEAD_SECS, args.offset)?
    } else {
        find_for_reading(&reach, DEAD_SECS)?
    };
    let what = format!("target {addr}");
    let runs = plan(args, &what, disk_size(&driver, addr))?;
    driver.use_disk(addr);
    let mut figures = Vec::new();
    for run in runs {
        figures.push(one(&mut driver, addr, run)?);
    }
    let subject = format!("{what} by {} (this program)", args.interfaces.join(", "));
    Ok((subject, figures))
}

/// Frames sent and sent again so far.
fn frames(driver: &Driver, addr: TargetAddr) -> Frames {
    driver
        .target(addr)
        .map_or(Frames { sent: 0, again: 0 }, |t| {
            let counters = t.counters();
            Frames {
                sent: counters.frames_sent,
                again: counters.retransmits,
            }
        })
}

/// Requests of one kind for so long as wanted. Those in flight at the end are waited for and counted, with the time
/// that they take.
fn one(driver: &mut Driver, addr: TargetAddr, run: Run) -> Result<Figures, Failure> {
    let seed = aoe_os::random_seed().unwrap_or_else(|_| aoe_os::monotonic_nanos());
    let mut places = Places::new(run, seed);
    let len = usize::try_from(run.block).map_err(|e| anyhow!("--block: {e}"))?;
    let (op, fresh) = match run.write {
        true => (Op::Write, noise(len, seed)),
        false => (Op::Read, vec![0; len]),
    };
    let before = frames(driver, addr);
    let mut buffers: Vec<Vec<u8>> = vec![fresh; usize::from(run.depth)];
    let mut flight = HashSet::new();
    let mut latencies = Vec::new();
    let begin = now();
    let end = begin.after(u64::try_from(run.duration.as_nanos()).unwrap_or(u64::MAX));
    loop {
        while now() < end
            && let Some(buffer) = buffers.pop()
        {
            let lba = places.take() / crate::size::SECTOR;
            match driver.submit(addr, op, lba, buffer) {
                Ok(token) => {
                    flight.insert(token);
                }
                Err(buffer) => {
                    buffers.push(buffer);
                    break;
                }
            }
        }
        if flight.is_empty() && (now() >= end || driver.target(addr).is_none()) {
            break;
        }
        driver.step(now().after(NAP_NS))?;
        while driver.poll_news().is_some() {}
        while let Some(done) = driver.poll_completed() {
            if !flight.remove(&done.token) {
                continue;
            }
            if let Err(error) = done.completion.result {
                return Err(explain(driver, addr, run, error));
            }
            latencies.push(done.ended.since(done.completion.submitted));
            buffers.push(done.data);
        }
    }
    let elapsed = Duration::from_nanos(now().since(begin));
    let after = frames(driver, addr);
    latencies.sort_unstable();
    if latencies.is_empty() {
        return Err(Failure::NoAnswer(format!("bench: target {addr} has left")));
    }
    Ok(Figures {
        run,
        elapsed,
        latencies,
        frames: Some(Frames {
            sent: after.sent - before.sent,
            again: after.again - before.again,
        }),
    })
}

fn explain(driver: &Driver, addr: TargetAddr, run: Run, error: IoError) -> Failure {
    let what = if run.write { "a write" } else { "a read" };
    let state = driver.target(addr).map(Target::state);
    if error == IoError::Failed && matches!(state, Some(State::Dead | State::Down)) {
        return Failure::NoAnswer(format!(
            "bench: target {addr} has been silent for {DEAD_SECS} s"
        ));
    }
    let why = match error {
        IoError::Failed => "the target reported an error",
        IoError::Expired => "the target did not answer in time",
        IoError::Reserved => "the target is reserved by another initiator",
        IoError::ReadOnly => "the target refuses writes",
        IoError::Unsupported => "the target cannot do this",
        IoError::Invalid => "the range does not lie on the target any more",
        IoError::Gone => "the target has left",
    };
    Failure::Failed(anyhow!("bench: target {addr}: {what} failed: {why}"))
}
