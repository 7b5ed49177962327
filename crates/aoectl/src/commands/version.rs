// SPDX-License-Identifier: BSD-2-Clause
//! `aoectl version`: the versions of what works together.

use super::print_to;
use crate::failure::Failure;
use crate::module;
use crate::output::{Format, print_json, print_pairs};
use serde_json::json;
use std::io::{self, Write};

/// This program's.
const TOOL: &str = env!("CARGO_PKG_VERSION");
/// Of the protocol's description.
const REVISION: u32 = 11;

pub(crate) fn run(format: Format, classic: bool) -> Result<(), Failure> {
    let module = module::version()?;
    let mut out = io::stdout().lock();
    print_to(&mut out, |out| match format {
        Format::Json { pretty } => {
            let versions = json!({
                "aoectl": TOOL,
                "module": module,
                "protocol": aoe_wire::VERSION,
                "revision": REVISION,
            });
            print_json(out, pretty, json!({ "version": versions }))
        }
        Format::Text if classic => print_classic(module.as_deref(), out),
        Format::Text => print_pairs(
            out,
            &[
                ("aoectl", TOOL.to_owned()),
                (
                    "kernel module",
                    module.unwrap_or_else(|| "not loaded".to_owned()),
                ),
                (
                    "protocol",
                    format!("AoE {} (AoEr{REVISION})", aoe_wire::VERSION),
                ),
            ],
        ),
    })
}

/// The lines of aoe-version(8) of aoetools. Nobody knows what is installed but not loaded.
fn print_classic(module: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
    for (what, version) in [
        ("aoetools", TOOL),
        ("installed aoe driver", module.unwrap_or("(unknown)")),
        ("running aoe driver", module.unwrap_or("(none)")),
    ] {
        writeln!(out, "{what:>22}:\t{version}")?;
    }
    Ok(())
}
