// SPDX-License-Identifier: BSD-2-Clause
//! The loop that read, write and verify share: requests in flight, in order at both ends.

use super::{print_to, view};
use crate::cli::{Extent, Reach};
use crate::driver::{Completed, Driver, now};
use crate::failure::Failure;
use crate::output::{Format, object, print_json};
use crate::progress::Progress;
use crate::size;
use anyhow::anyhow;
use aoe_core::{Event, Instant, IoError, Op, State};
use aoe_wire::TargetAddr;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

/// Longest sleep of the loop, in nanoseconds; everything that matters ends it earlier.
const NAP_NS: u64 = 1_000_000_000;

/// One end of a transfer: the file.
pub(crate) trait Work {
    /// The buffer of the next request, of at most `want` bytes and whole sectors: filled for a write, of
    /// the right length for a read. `None` when there is nothing more to do.
    fn next(&mut self, want: usize) -> Result<Option<Vec<u8>>, Failure>;

    /// The buffer of a request that succeeded, in the order of [`Work::next`]. `at` is its place on the target, in bytes.
    fn done(&mut self, at: u64, data: Vec<u8>) -> Result<(), Failure>;
}

/// What is to be done on the target.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The word for it, in messages.
    pub(crate) what: &'static str,
    pub(crate) addr: TargetAddr,
    pub(crate) op: Op,
    /// First byte on the target.
    pub(crate) start: u64,
    /// Number of bytes, when it is known beforehand; a part of the last sector counts as the whole.
    pub(crate) length: Option<u64>,
    pub(crate) block: u64,
    pub(crate) depth: usize,
    /// How long the target is waited for, in seconds.
    pub(crate) dead: u32,
}

impl Plan {
    /// Makes a plan of the arguments, and checks that it lies on the target.
    pub(crate) fn new(
        what: &'static str,
        op: Op,
        reach: &Reach,
        extent: &Extent,
        length: Option<u64>,
        driver: &Driver,
    ) -> Result<Self, Failure> {
        let plan = Self {
            what,
            addr: reach.target,
            op,
            start: extent.offset,
            length: length.map(|bytes| bytes.next_multiple_of(size::SECTOR)),
            block: extent.block,
            depth: usize::from(extent.depth),
            dead: extent.dead,
        };
        let size = disk_size(driver, plan.addr);
        if plan.start > size || plan.length.is_some_and(|l| l > size - plan.start) {
            return Err(Failure::Usage(format!(
                "target {} has {size} bytes; {} from byte {} on do not lie on it",
                plan.addr,
                plan.length
                    .map_or("bytes".to_owned(), |l| format!("{l} bytes")),
                plan.start,
            )));
        }
        Ok(plan)
    }
}

/// The size of the target's disk in bytes.
pub(crate) fn disk_size(driver: &Driver, addr: TargetAddr) -> u64 {
    driver
        .target(addr)
        .map_or(0, |target| view::bytes(target.sectors()))
}

/// The number of bytes that `--length` or `--count` ask for.
pub(crate) fn asked_length(extent: &Extent) -> Result<Option<u64>, Failure> {
    match (extent.length, extent.count) {
        (Some(length), _) => Ok(Some(length)),
        (None, Some(count)) => match count.checked_mul(extent.block) {
            Some(length) => Ok(Some(length)),
            None => Err(Failure::Usage(format!(
                "--count: {count} blocks of {} bytes are more than any target has",
                extent.block
            ))),
        },
        (None, None) => Ok(None),
    }
}

/// What a transfer did.
#[derive(Debug)]
pub(crate) struct Figures {
    begin: Instant,
    bytes: u64,
    requests: u64,
    elapsed_ns: u64,
    latency_sum_ns: u64,
    latency_max_ns: u64,
}

impl Figures {
    fn new() -> Self {
        Self {
            begin: now(),
            bytes: 0,
            requests: 0,
            elapsed_ns: 0,
            latency_sum_ns: 0,
            latency_max_ns: 0,
        }
    }

    fn count(&mut self, done: &Completed, len: usize) {
        let latency = done.ended.since(done.completion.submitted);
        self.bytes += len as u64;
        self.requests += 1;
        self.latency_sum_ns += latency;
        self.latency_max_ns = self.latency_max_ns.max(latency);
    }

    fn seconds(&self) -> f64 {
        // A transfer of nothing takes no time; the rates are then 0 and not infinite.
        (self.elapsed_ns as f64 / 1e9).max(1e-9)
    }

    fn megabytes_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.seconds()
    }

    fn iops(&self) -> f64 {
        self.requests as f64 / self.seconds()
    }

    fn latency_mean_ns(&self) -> u64 {
        self.latency_sum_ns / self.requests.max(1)
    }
}

/// Requests between [`Work::next`] and [`Work::done`].
struct Flight {
    /// Place of the next request, in bytes from the start of the plan.
    issued: u64,
    /// Everything below was given to [`Work::done`].
    taken: u64,
    /// Place of each request in flight, by token.
    places: HashMap<u64, u64>,
    /// Buffers that wait for one before them.
    ready: BTreeMap<u64, Vec<u8>>,
    /// A buffer that found the target's table full.
    refused: Option<Vec<u8>>,
    /// There is nothing more to issue.
    ended: bool,
}

/// Moves everything. On failure the first error is returned; later requests may have been done or not.
pub(crate) fn run(
    driver: &mut Driver,
    plan: &Plan,
    work: &mut dyn Work,
    progress: &Progress,
) -> Result<Figures, Failure> {
    let mut figures = Figures::new();
    let mut flight = Flight {
        issued: 0,
        taken: 0,
        places: HashMap::new(),
        ready: BTreeMap::new(),
        refused: None,
        ended: false,
    };
    driver.use_disk(plan.addr);
    loop {
        issue(driver, plan, work, &mut flight)?;
        if flight.ended && flight.places.is_empty() {
            break;
        }
        driver.step(now().after(NAP_NS))?;
        tell_news(driver, plan, progress);
        while let Some(done) = driver.poll_completed() {
            let Some(place) = flight.places.remove(&done.token) else {
                continue;
            };
            if let Err(error) = done.completion.result {
                return Err(explain(driver, plan, plan.start + place, error));
            }
            figures.count(&done, done.data.len());
            flight.ready.insert(place, done.data);
        }
        while let Some(data) = flight.ready.remove(&flight.taken) {
            let len = data.len() as u64;
            work.done(plan.start + flight.taken, data)?;
            flight.taken += len;
        }
        progress.set(flight.taken);
    }
    figures.elapsed_ns = now().since(figures.begin);
    Ok(figures)
}

/// Starts requests until enough are in flight, or wait for their turn at the other end.
fn issue(
    driver: &mut Driver,
    plan: &Plan,
    work: &mut dyn Work,
    flight: &mut Flight,
) -> Result<(), Failure> {
    let busy = |flight: &Flight| {
        flight.places.len() >= plan.depth
            || flight.places.len() + flight.ready.len() >= 2 * plan.depth
    };
    while !flight.ended && !busy(flight) {
        let rest = plan.length.map_or(plan.block, |l| l - flight.issued);
        let want = usize::try_from(rest.min(plan.block)).unwrap_or(usize::MAX);
        let next = match flight.refused.take() {
            Some(buffer) => Some(buffer),
            None if want == 0 => None,
            None => work.next(want)?,
        };
        let Some(buffer) = next else {
            flight.ended = true;
            break;
        };
        let len = buffer.len() as u64;
        let at = plan.start + flight.issued;
        if at + len > disk_size(driver, plan.addr) {
            return Err(Failure::Failed(anyhow!(
                "target {} ends before the data do, at byte {at}",
                plan.addr
            )));
        }
        match driver.submit(plan.addr, plan.op, at / size::SECTOR, buffer) {
            Ok(token) => {
                flight.places.insert(token, flight.issued);
                flight.issued += len;
            }
            Err(buffer) => {
                flight.refused = Some(buffer);
                break;
            }
        }
    }
    Ok(())
}

/// Makes what was written durable. False when the target has no way to do that.
pub(crate) fn flush(
    driver: &mut Driver,
    plan: &Plan,
    progress: &Progress,
) -> Result<bool, Failure> {
    if !driver.target(plan.addr).is_some_and(|t| t.can_flush()) {
        return Ok(false);
    }
    let Ok(token) = driver.submit(plan.addr, Op::Flush, 0, Vec::new()) else {
        return Err(Failure::Failed(anyhow!(
            "target {} took no flush",
            plan.addr
        )));
    };
    loop {
        driver.step(now().after(NAP_NS))?;
        tell_news(driver, plan, progress);
        while let Some(done) = driver.poll_completed() {
            if done.token != token {
                continue;
            }
            return match done.completion.result {
                Ok(()) => Ok(true),
                Err(IoError::Unsupported) => Ok(false),
                Err(error) => Err(explain(driver, plan, plan.start, error)),
            };
        }
    }
}

/// Tells the operator what he has to know while he waits.
fn tell_news(driver: &mut Driver, plan: &Plan, progress: &Progress) {
    while let Some((addr, event)) = driver.poll_news() {
        let text = match event {
            Event::Down if plan.dead == 0 => "does not answer; waiting for it",
            Event::Down => &format!("does not answer; waiting {} s for it", plan.dead),
            Event::Up => "answers again",
            Event::PathUp => "a path came into use",
            Event::PathDown => "a path was lost",
            Event::Resized => "has another size now",
            Event::Conflict => "another disk answers at this address; it is not used",
            Event::PayloadRefused => "refused a frame as too large; asking for its limit again",
            Event::PayloadReduced => "large frames are lost on the way; using smaller ones",
            Event::Stalled => "is there, but has not answered a request for 10 s",
            Event::Resumed => "answers requests again",
            Event::FeatureLost => "does not support something that it announced",
            _ => continue,
        };
        progress.say(&format!("target {addr}: {text}"));
    }
}

/// Says why a request failed.
fn explain(driver: &Driver, plan: &Plan, at: u64, error: IoError) -> Failure {
    let Plan { what, addr, .. } = plan;
    let state = driver.target(*addr).map(|t| t.state());
    if error == IoError::Failed && matches!(state, Some(State::Dead | State::Down)) {
        return Failure::NoAnswer(format!(
            "{what}: target {addr} has been silent for {} s, at byte {at}",
            plan.dead
        ));
    }
    let target = driver.target(*addr);
    let why = match error {
        IoError::Failed => match target.and_then(|t| t.failed_command()) {
            Some(command) => &format!("the target reported an error: {command}"),
            None => "the target reported an error",
        },
        IoError::Expired => "the target did not answer in time",
        IoError::Reserved => "the target is reserved by another initiator",
        IoError::ReadOnly => "the target refuses writes",
        IoError::Unsupported => "the target cannot do this",
        IoError::Invalid => "the range does not lie on the target",
        IoError::Gone => "the target has left",
    };
    Failure::Failed(anyhow!("{what}: target {addr}, at byte {at}: {why}"))
}

/// Prints what was done and how fast. `more` are further results of the command.
pub(crate) fn report<const N: usize>(
    driver: &Driver,
    plan: &Plan,
    figures: &Figures,
    format: Format,
    more: [(&'static str, Value); N],
    out: &mut dyn Write,
) -> Result<(), Failure> {
    print_to(out, |out| match format {
        Format::Json { pretty } => {
            print_json(out, pretty, report_json(driver, plan, figures, more))
        }
        Format::Text => report_text(driver, plan, figures, out),
    })
}

fn report_json<const N: usize>(
    driver: &Driver,
    plan: &Plan,
    figures: &Figures,
    more: [(&'static str, Value); N],
) -> Value {
    let counts = driver.counts();
    let mut transfer = object([
        ("operation", json!(plan.what)),
        ("address", json!(plan.addr.to_string())),
        ("offset", json!(plan.start)),
        ("bytes", json!(figures.bytes)),
        ("requests", json!(figures.requests)),
        ("seconds", json!(figures.elapsed_ns as f64 / 1e9)),
        (
            "megabytes_per_second",
            json!(figures.megabytes_per_second()),
        ),
        ("iops", json!(figures.iops())),
        ("latency_mean_ns", json!(figures.latency_mean_ns())),
        ("latency_max_ns", json!(figures.latency_max_ns)),
        ("frames_sent", json!(counts.sent)),
        ("frames_received", json!(counts.received)),
        ("send_errors", json!(counts.send_errors)),
    ]);
    transfer.extend(object(more));
    if let Some(target) = driver.target(plan.addr) {
        let target = Value::Object(view::target_json(driver, target));
        json!({ "transfer": transfer, "target": [target] })
    } else {
        json!({ "transfer": transfer })
    }
}

fn report_text(
    driver: &Driver,
    plan: &Plan,
    figures: &Figures,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(
        out,
        "{} {}: {} bytes ({}) from byte {} in {:.3} s: {:.1} MB/s, {:.0} IOPS",
        plan.what,
        plan.addr,
        figures.bytes,
        size::human(figures.bytes),
        plan.start,
        figures.elapsed_ns as f64 / 1e9,
        figures.megabytes_per_second(),
        figures.iops(),
    )?;
    let (sent, resent) = driver.target(plan.addr).map_or((0, 0), |t| {
        t.paths().fold((0, 0), |(sent, resent), p| {
            (sent + p.sent(), resent + p.retransmitted())
        })
    });
    writeln!(
        out,
        "latency {} mean, {} max; {sent} frames sent, {resent} of them again",
        size::human_time(figures.latency_mean_ns()),
        size::human_time(figures.latency_max_ns),
    )
}
