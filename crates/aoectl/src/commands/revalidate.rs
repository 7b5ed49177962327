// SPDX-License-Identifier: BSD-2-Clause
//! `aoectl revalidate`: the kernel module asks targets again what they are; what aoe-revalidate(8) is on Linux.

use super::print_to;
use crate::failure::Failure;
use crate::module::{self, Told};
use crate::output::{Format, print_json};
use aoe_wire::TargetAddr;
use clap::Args;
use serde_json::{Value, json};
use std::io;

#[derive(Debug, Args)]
pub(crate) struct Revalidate {
    /// Every target
    #[arg(short, long, conflicts_with = "targets")]
    all: bool,
    /// Targets to ask
    #[arg(value_name = "SHELF.SLOT", required_unless_present = "all")]
    targets: Vec<TargetAddr>,
}

pub(crate) fn run(args: &Revalidate, format: Format) -> Result<(), Failure> {
    module::require("revalidate")?;
    module::check_named("revalidate", &args.targets)?;
    let targets = match args.all {
        true => module::addresses()?,
        false => args.targets.clone(),
    };
    let mut asked = Vec::new();
    for addr in targets {
        match module::tell(addr, "revalidate")? {
            Told::Done => asked.push(addr),
            Told::Busy | Told::Gone if args.all => {}
            Told::Busy | Told::Gone => {
                return Err(Failure::NoAnswer(format!(
                    "revalidate: target {addr} has just left"
                )));
            }
        }
    }
    let mut out = io::stdout().lock();
    print_to(&mut out, |out| match format {
        Format::Json { pretty } => {
            let list: Vec<Value> = asked.iter().map(|a| json!(a.to_string())).collect();
            print_json(out, pretty, json!({ "revalidated": list }))
        }
        Format::Text => Ok(()),
    })
}
