// SPDX-License-Identifier: BSD-2-Clause
//! `aoectl read`: from a target to a file.

use super::stations::find_for_reading;
use super::transfer::{self, Plan, Work, asked_length, disk_size};
use crate::cli::Read;
use crate::failure::Failure;
use crate::output::Format;
use crate::progress::Progress;
use anyhow::Context;
use aoe_core::Op;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

pub(crate) fn run(args: &Read, format: Format) -> Result<(), Failure> {
    let asked = asked_length(&args.extent)?;
    let mut driver = find_for_reading(&args.reach, args.extent.dead)?;
    let rest = disk_size(&driver, args.reach.target).saturating_sub(args.extent.offset);
    let length = Some(asked.unwrap_or(rest));
    let plan = Plan::new("read", Op::Read, &args.reach, &args.extent, length, &driver)?;
    let to_stdout = args.file == Path::new("-");
    let out: Box<dyn Write> = if to_stdout {
        Box::new(io::stdout().lock())
    } else {
        Box::new(
            File::create(&args.file)
                .with_context(|| format!("cannot create {}", args.file.display()))?,
        )
    };
    let mut sink = Sink {
        out,
        name: args.file.display().to_string(),
    };
    let progress = Progress::new("read", length);
    let figures = transfer::run(&mut driver, &plan, &mut sink, &progress)?;
    sink.out
        .flush()
        .with_context(|| format!("cannot write to {}", sink.name))?;
    drop(progress);
    if to_stdout {
        // The data went there; a program that reads them does not want this among them.
        transfer::report(
            &driver,
            &plan,
            &figures,
            format,
            [],
            &mut io::stderr().lock(),
        )
    } else {
        transfer::report(
            &driver,
            &plan,
            &figures,
            format,
            [],
            &mut io::stdout().lock(),
        )
    }
}

/// The file that is written.
struct Sink {
    out: Box<dyn Write>,
    name: String,
}

impl Work for Sink {
    fn next(&mut self, want: usize) -> Result<Option<Vec<u8>>, Failure> {
        Ok(Some(vec![0; want]))
    }

    fn done(&mut self, _at: u64, data: Vec<u8>) -> Result<(), Failure> {
        self.out
            .write_all(&data)
            .with_context(|| format!("cannot write to {}", self.name))
            .map_err(Failure::from)
    }
}
