// SPDX-License-Identifier: BSD-2-Clause
//! `aoectl write`: from a file to a target.

use super::stations::find_for_writing;
use super::transfer::{self, Plan, Work, asked_length};
use crate::cli::Write;
use crate::failure::Failure;
use crate::output::Format;
use crate::progress::Progress;
use crate::size::{SECTOR, human};
use anyhow::{Context, anyhow};
use aoe_core::Op;
use serde_json::json;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

pub(crate) fn run(args: &Write, format: Format) -> Result<(), Failure> {
    let asked = asked_length(&args.extent)?;
    let mut source = Source::open(&args.file, args.pad)?;
    let length = source.check_length(asked)?;
    if !args.yes {
        return Err(Failure::Usage(format!(
            "write: this overwrites {} of target {} from byte {} on; say --yes if that is meant",
            length.map_or("part".to_owned(), human),
            args.reach.target,
            args.extent.offset
        )));
    }
    let mut driver = find_for_writing(&args.reach, args.extent.dead, args.extent.offset)?;
    let plan = Plan::new(
        "write",
        Op::Write,
        &args.reach,
        &args.extent,
        length,
        &driver,
    )?;
    let progress = Progress::new("write", length);
    let figures = transfer::run(&mut driver, &plan, &mut source, &progress)?;
    let flushed = transfer::flush(&mut driver, &plan, &progress)?;
    drop(progress);
    if let (Some(asked), true) = (asked, source.at_end)
        && source.read_bytes < asked
    {
        return Err(Failure::Failed(anyhow!(
            "{} has only {} bytes of the {asked} that were asked for; they were written",
            source.name,
            source.read_bytes
        )));
    }
    if !flushed {
        eprintln!(
            "aoectl: target {} cannot flush; when the data are durable is its own affair",
            plan.addr
        );
    }
    let more = [("flushed", json!(flushed))];
    transfer::report(
        &driver,
        &plan,
        &figures,
        format,
        more,
        &mut io::stdout().lock(),
    )
}

/// A file, or the standard input, that is read in pieces of whole sectors.
pub(crate) struct Source {
    input: Box<dyn Read>,
    pub(crate) name: String,
    /// Its length, when it is a regular file.
    length: Option<u64>,
    pad: bool,
    pub(crate) at_end: bool,
    pub(crate) read_bytes: u64,
}

impl Source {
    /// Opens it. With `pad`, a last sector that is not whole is filled with zeros.
    pub(crate) fn open(path: &Path, pad: bool) -> Result<Self, Failure> {
        let mut length = None;
        let (input, name): (Box<dyn Read>, _) = if path == Path::new("-") {
            (Box::new(io::stdin().lock()), "standard input".to_owned())
        } else {
            let name = path.display().to_string();
            let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
            let about = file
                .metadata()
                .with_context(|| format!("cannot stat {name}"))?;
            if about.is_dir() {
                return Err(Failure::Usage(format!("{name} is a directory")));
            }
            if about.is_file() {
                length = Some(about.len());
            }
            (Box::new(file), name)
        };
        Ok(Self {
            input,
            name,
            length,
            pad,
            at_end: false,
            read_bytes: 0,
        })
    }

    /// The number of bytes to move, if it is known, given how many were asked for.
    pub(crate) fn check_length(&self, asked: Option<u64>) -> Result<Option<u64>, Failure> {
        match (self.length, asked) {
            (Some(length), Some(asked)) if length < asked => Err(Failure::Usage(format!(
                "{} has {length} bytes, but {asked} are asked for",
                self.name
            ))),
            (Some(length), None) if length % SECTOR != 0 && !self.pad => {
                Err(self.not_whole(length))
            }
            (length, asked) => Ok(asked.or(length)),
        }
    }

    fn not_whole(&self, length: u64) -> Failure {
        Failure::Usage(format!(
            "{} has {length} bytes, which is not a multiple of 512; --pad fills the last sector with zeros",
            self.name
        ))
    }

    /// Reads up to `want` bytes; fewer only at the end of the file.
    pub(crate) fn read(&mut self, want: usize) -> Result<Vec<u8>, Failure> {
        let mut data = Vec::with_capacity(want);
        let limit = u64::try_from(want).unwrap_or(u64::MAX);
        (&mut self.input)
            .take(limit)
            .read_to_end(&mut data)
            .with_context(|| format!("cannot read {}", self.name))?;
        self.at_end |= data.len() < want;
        self.read_bytes += data.len() as u64;
        Ok(data)
    }
}

impl Work for Source {
    fn next(&mut self, want: usize) -> Result<Option<Vec<u8>>, Failure> {
        if self.at_end {
            return Ok(None);
        }
        let mut data = self.read(want)?;
        if data.is_empty() {
            return Ok(None);
        }
        let whole = data.len().next_multiple_of(SECTOR as usize);
        if whole != data.len() && !self.pad {
            return Err(self.not_whole(self.read_bytes));
        }
        data.resize(whole, 0);
        Ok(Some(data))
    }

    fn done(&mut self, _at: u64, _data: Vec<u8>) -> Result<(), Failure> {
        Ok(())
    }
}
