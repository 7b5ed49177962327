// SPDX-License-Identifier: BSD-2-Clause
//! `aoectl identify`: everything about one target.

use super::{print_to, view};
use crate::cli::Identify;
use crate::driver::Driver;
use crate::failure::Failure;
use crate::output::{Format, print_json, print_pairs, printable};
use crate::size;
use aoe_core::Target;
use serde_json::{Value, json};
use std::io::{self, Write};

pub(crate) fn run(args: &Identify, format: Format) -> Result<(), Failure> {
    let driver = super::stations::find_for_reading(&args.reach, 1)?;
    let Some(target) = driver.target(args.reach.target) else {
        return Err(Failure::NoAnswer(format!(
            "target {} has left",
            args.reach.target
        )));
    };
    let mut out = io::stdout().lock();
    print_to(&mut out, |out| match format {
        Format::Json { pretty } => {
            let target = Value::Object(view::target_json(&driver, target));
            print_json(out, pretty, json!({ "target": [target] }))
        }
        Format::Text => print_text(&driver, target, out),
    })
}

fn print_text(driver: &Driver, target: &Target<'_>, out: &mut dyn Write) -> io::Result<()> {
    let sectors = target.sectors();
    let mut pairs = vec![
        ("target", target.addr().to_string()),
        ("state", target.state().to_string()),
        (
            "size",
            format!(
                "{} ({sectors} sectors of 512 bytes)",
                size::human(view::bytes(sectors))
            ),
        ),
    ];
    if let Some(disk) = target.identity() {
        pairs.extend([
            ("model", disk.model.to_string()),
            ("serial", disk.serial.to_string()),
            ("firmware", disk.firmware.to_string()),
            ("physical sector", format!("{} bytes", disk.physical_sector)),
            ("48-bit addresses", yes_no(disk.lba48)),
            ("rotation", rotation(disk.rotation)),
        ]);
        if let Some(wwn) = disk.wwn {
            pairs.push(("wwn", format!("0x{wwn:016x}")));
        }
    }
    pairs.extend([
        ("flush", yes_no(target.can_flush())),
        ("trim", yes_no(target.can_trim())),
        ("config string", printable(target.config_string())),
    ]);
    let place = view::conflict(driver.ports(), target);
    if !place.is_empty() {
        pairs.push(("conflict", format!("another disk, from {place}")));
    }
    print_pairs(out, &pairs)?;
    writeln!(out)?;
    view::path_table(driver.ports(), target).print(out)
}

fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

/// Word 217 in words.
fn rotation(word: u16) -> String {
    match word {
        0 => "not said".to_owned(),
        1 => "none".to_owned(),
        rpm => format!("{rpm} rpm"),
    }
}
