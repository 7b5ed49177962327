// SPDX-License-Identifier: BSD-2-Clause
//! `aoectl verify`: compare a target with a file.

use super::stations::find_for_reading;
use super::transfer::{self, Plan, Work, asked_length};
use super::write::Source;
use crate::cli::Verify;
use crate::failure::Failure;
use crate::output::Format;
use crate::progress::Progress;
use crate::size::SECTOR;
use anyhow::anyhow;
use aoe_core::Op;
use serde_json::json;
use std::collections::VecDeque;
use std::io;

pub(crate) fn run(args: &Verify, format: Format) -> Result<(), Failure> {
    let asked = asked_length(&args.extent)?;
    // The end of a file that is no whole sector is compared as far as it goes.
    let source = Source::open(&args.file, true)?;
    let length = source.check_length(asked)?;
    let mut driver = find_for_reading(&args.reach, args.extent.dead)?;
    let plan = Plan::new(
        "verify",
        Op::Read,
        &args.reach,
        &args.extent,
        length,
        &driver,
    )?;
    let mut comparison = Comparison {
        source,
        expected: VecDeque::new(),
        first: None,
        differing: 0,
        compared: 0,
    };
    let progress = Progress::new("verify", length);
    let figures = transfer::run(&mut driver, &plan, &mut comparison, &progress)?;
    drop(progress);
    let Comparison {
        source,
        first,
        differing,
        compared,
        ..
    } = comparison;
    if let Some(asked) = asked.filter(|asked| source.read_bytes < *asked) {
        return Err(Failure::Failed(anyhow!(
            "{} has only {} bytes of the {asked} that were asked for",
            source.name,
            source.read_bytes
        )));
    }
    let more = [
        ("equal", json!(first.is_none())),
        ("sectors_compared", json!(compared)),
        ("sectors_differing", json!(differing)),
        ("first_difference", json!(first)),
    ];
    transfer::report(
        &driver,
        &plan,
        &figures,
        format,
        more,
        &mut io::stdout().lock(),
    )?;
    match first {
        None => Ok(()),
        Some(byte) => Err(Failure::Mismatch(format!(
            "verify: target {} differs from {}: first at byte {byte}; {differing} of {compared} sectors differ",
            plan.addr, source.name
        ))),
    }
}

/// The file, and what was found while comparing.
struct Comparison {
    source: Source,
    /// What the file says about each request in flight, in order.
    expected: VecDeque<Vec<u8>>,
    /// Place of the first byte that differs, on the target.
    first: Option<u64>,
    differing: u64,
    compared: u64,
}

impl Work for Comparison {
    fn next(&mut self, want: usize) -> Result<Option<Vec<u8>>, Failure> {
        if self.source.at_end {
            return Ok(None);
        }
        let expected = self.source.read(want)?;
        if expected.is_empty() {
            return Ok(None);
        }
        let whole = expected.len().next_multiple_of(SECTOR as usize);
        self.expected.push_back(expected);
        Ok(Some(vec![0; whole]))
    }

    fn done(&mut self, at: u64, data: Vec<u8>) -> Result<(), Failure> {
        let expected = self.expected.pop_front().unwrap_or_default();
        let sectors = expected.chunks(SECTOR as usize);
        self.compared += sectors.len() as u64;
        if data.starts_with(&expected) {
            return Ok(());
        }
        for (index, (want, have)) in sectors.zip(data.chunks(SECTOR as usize)).enumerate() {
            let Some(byte) = want.iter().zip(have).position(|(w, h)| w != h) else {
                continue;
            };
            self.differing += 1;
            let place = at + index as u64 * SECTOR + byte as u64;
            self.first = self.first.or(Some(place));
        }
        Ok(())
    }
}
