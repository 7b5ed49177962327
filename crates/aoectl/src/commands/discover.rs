// SPDX-License-Identifier: BSD-2-Clause
//! `aoectl discover`: who is there.

use super::{print_to, view};
use crate::cli::Discover;
use crate::driver::{self, Driver, now};
use crate::failure::Failure;
use crate::module;
use crate::output::{Format, Table, print_json, printable};
use crate::size;
use aoe_core::{State, Target};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::time::Duration;

/// Times that the question is asked while listening: any frame may get lost.
const BEACONS: u64 = 3;
/// How long targets that announced themselves may take to be identified after the listening time, in nanoseconds.
const GRACE_NS: u64 = 1_000_000_000;

pub(crate) fn run(args: &Discover, format: Format, classic: bool) -> Result<(), Failure> {
    if args.module {
        module::require("discover --module")?;
        module::discover()?;
        if classic {
            // aoe-discover(8) neither waits nor prints.
            return Ok(());
        }
        std::thread::sleep(args.wait);
        return super::stat::print_module(&[], format, classic);
    }
    let (driver, interfaces) = look(&args.interfaces, args.wait)?;
    let mut out = io::stdout().lock();
    print_to(&mut out, |out| print(&driver, format, out))?;
    if driver.targets().next().is_none() {
        return Err(Failure::NoAnswer(format!(
            "no target answers on {}",
            interfaces.join(", ")
        )));
    }
    Ok(())
}

/// Asks on these interfaces, or on all that are up, and listens for so long. Who answered is in the driver; the
/// names of the interfaces that were used come with it.
pub(crate) fn look(named: &[String], wait: Duration) -> Result<(Driver, Vec<String>), Failure> {
    let interfaces = match named {
        [] => driver::all_up()?,
        named => named.to_vec(),
    };
    // A target that falls silent while it is asked has to be listed as it is, so nothing is held for long.
    let mut driver = Driver::open(&interfaces, None, 1)?;
    warn_of_dead_interfaces(&driver)?;
    listen(&mut driver, wait)?;
    Ok((driver, interfaces))
}

/// Tells of interfaces that nothing can be sent on; if that is true of all, there is no use in asking.
fn warn_of_dead_interfaces(driver: &Driver) -> Result<(), Failure> {
    let mut any_up = false;
    for (name, up) in driver.ports().states() {
        any_up |= up;
        if !up {
            eprintln!("aoectl: interface {name} is down or has no link");
        }
    }
    if any_up {
        Ok(())
    } else {
        Err(Failure::NoAnswer("no interface to ask on".to_owned()))
    }
}

fn listen(driver: &mut Driver, wait: Duration) -> Result<(), Failure> {
    let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
    let begin = now();
    // The first question goes out when an interface is opened.
    for beacon in 1..=BEACONS {
        let until = begin.after(wait / BEACONS * beacon);
        while now() < until {
            driver.step(until)?;
            while driver.poll_news().is_some() {}
        }
        if beacon < BEACONS {
            driver.discover();
        }
    }
    let until = now().after(GRACE_NS);
    while now() < until && driver.targets().any(|t| t.state() == State::Probing) {
        driver.step(until)?;
        while driver.poll_news().is_some() {}
    }
    Ok(())
}

fn print(driver: &Driver, format: Format, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Json { pretty } => {
            let targets: Vec<Value> = driver
                .targets()
                .map(|t| Value::Object(view::target_json(driver, t)))
                .collect();
            print_json(out, pretty, json!({ "target": targets }))
        }
        Format::Text => {
            let mut table = Table::new(&[
                "TARGET", "STATE", ">SIZE", "MODEL", "SERIAL", "CONFIG", "PATHS",
            ]);
            for target in driver.targets() {
                table.row(row(driver, target));
            }
            if driver.targets().next().is_some() {
                table.print(out)?;
            }
            for target in driver.targets() {
                let place = view::conflict(driver.ports(), target);
                if !place.is_empty() {
                    eprintln!(
                        "aoectl: target {}: another disk answers at this address, from {place}",
                        target.addr()
                    );
                }
            }
            Ok(())
        }
    }
}

fn row(driver: &Driver, target: &Target<'_>) -> Vec<String> {
    let disk = target.identity();
    vec![
        target.addr().to_string(),
        target.state().to_string(),
        disk.map(|_| size::human(view::bytes(target.sectors())))
            .unwrap_or_default(),
        disk.map(|d| d.model.to_string()).unwrap_or_default(),
        disk.map(|d| d.serial.to_string()).unwrap_or_default(),
        printable(target.config_string()),
        view::path_list(driver.ports(), target),
    ]
}
