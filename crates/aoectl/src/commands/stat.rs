// SPDX-License-Identifier: BSD-2-Clause
//! `aoectl stat`: the targets, one line each; what aoe-stat(8) is on Linux.

use super::{discover, print_to, view};
use crate::cli;
use crate::driver;
use crate::failure::Failure;
use crate::module;
use crate::output::{Format, Table, print_json};
use crate::size;
use aoe_wire::TargetAddr;
use clap::Args;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct Stat {
    /// Ask on these interfaces, not the kernel module [default: the module if it is loaded, else every interface
    /// that is up]
    #[arg(short, long = "interface", value_name = "IF", value_delimiter = ',')]
    interfaces: Vec<String>,
    /// Show targets too that answer on the module's interfaces and that it does not use, as net.aoe.targets has it
    #[arg(short, long)]
    all: bool,
    /// How long to listen for answers, in seconds, when the network is asked
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = cli::seconds)]
    wait: Duration,
    /// Show these targets only
    #[arg(value_name = "SHELF.SLOT")]
    targets: Vec<TargetAddr>,
}

pub(crate) fn run(args: &Stat, format: Format, classic: bool) -> Result<(), Failure> {
    if args.interfaces.is_empty() && module::is_loaded() {
        if args.all {
            return print_all(args, format, classic);
        }
        module::check_named("stat", &args.targets)?;
        return print_module(&args.targets, format, classic);
    }
    let (driver, interfaces) = discover::look(&args.interfaces, args.wait)?;
    let targets: Vec<Map<String, Value>> = driver
        .targets()
        .filter(|t| args.targets.is_empty() || args.targets.contains(&t.addr()))
        .map(|t| view::target_json(&driver, t))
        .collect();
    for wanted in &args.targets {
        if driver.target(*wanted).is_none() {
            return Err(Failure::NoAnswer(format!(
                "stat: target {wanted} does not answer on {}",
                interfaces.join(", ")
            )));
        }
    }
    let content = json!({ "source": "network", "target": targets });
    print(&content, &targets, format, classic)?;
    if targets.is_empty() {
        return Err(Failure::NoAnswer(format!(
            "no target answers on {}",
            interfaces.join(", ")
        )));
    }
    Ok(())
}

/// Prints what the kernel module has. That it has nothing is an answer.
pub(crate) fn print_module(
    only: &[TargetAddr],
    format: Format,
    classic: bool,
) -> Result<(), Failure> {
    let targets = module::targets(only)?;
    let content = json!({
        "source": "module",
        "module": module::settings()?,
        "target": targets,
    });
    print(&content, &targets, format, classic)
}

/// Prints what the module has, and what else answers on its interfaces.
fn print_all(args: &Stat, format: Format, classic: bool) -> Result<(), Failure> {
    let listed = module::interface_list()?;
    let up: Vec<String> = driver::all_up()?
        .into_iter()
        .filter(|name| listed.contains(name))
        .collect();
    let mut others = Vec::new();
    if !up.is_empty() {
        let (driver, _) = discover::look(&up, args.wait)?;
        for target in driver.targets() {
            others.push((target.addr(), view::target_json(&driver, target)));
        }
    }
    // Looked at last: one that has become the module's meanwhile is shown as that.
    let used = module::addresses()?;
    let mut targets = module::targets(&args.targets)?;
    for (addr, mut target) in others {
        if used.contains(&addr) || !(args.targets.is_empty() || args.targets.contains(&addr)) {
            continue;
        }
        target.insert("state".to_owned(), json!(NOT_USED));
        targets.push(target);
    }
    let shown = |addr: &&TargetAddr| {
        let addr = json!(addr.to_string());
        targets.iter().any(|t| t.get("address") == Some(&addr))
    };
    if let Some(missing) = args.targets.iter().find(|addr| !shown(addr)) {
        return Err(Failure::NoAnswer(format!(
            "stat: the kernel module has no target {missing}, and none answers on {}",
            up.join(", ")
        )));
    }
    let content = json!({
        "source": "module",
        "module": module::settings()?,
        "target": targets,
    });
    print(&content, &targets, format, classic)
}

/// The state of a target that the module does not use.
const NOT_USED: &str = "not used";

fn print(
    content: &Value,
    targets: &[Map<String, Value>],
    format: Format,
    classic: bool,
) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    print_to(&mut out, |out| match format {
        Format::Json { pretty } => print_json(out, pretty, content.clone()),
        Format::Text if classic => print_classic(targets, out),
        Format::Text => {
            let mut table = Table::new(&[
                "TARGET",
                "STATE",
                ">SIZE",
                ">PAYLOAD",
                ">OUTSTANDING",
                ">ERRORS",
                "PATHS",
            ]);
            for target in targets {
                table.row(row(target));
            }
            match targets {
                [] => Ok(()),
                _ => table.print(out),
            }
        }
    })
}

/// A value as text, without the quotes of a string; empty if it is not there.
pub(crate) fn text(map: &Map<String, Value>, key: &str) -> String {
    match map.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

/// A value that is a number; 0 if it is not there.
pub(crate) fn number(map: &Map<String, Value>, key: &str) -> u64 {
    map.get(key).and_then(Value::as_u64).unwrap_or(0)
}

/// The paths of a target.
pub(crate) fn paths(target: &Map<String, Value>) -> impl Iterator<Item = &Map<String, Value>> {
    target
        .get("path")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
}

/// The smallest payload of the paths that are up and were used, in bytes; 0 if there is none.
fn payload(target: &Map<String, Value>) -> u64 {
    paths(target)
        .filter(|path| text(path, "state") == "up")
        .map(|path| number(path, "payload"))
        .filter(|bytes| *bytes > 0)
        .min()
        .unwrap_or(0)
}

fn row(target: &Map<String, Value>) -> Vec<String> {
    let not_zero = |value: u64, show: fn(u64) -> String| match value {
        0 => String::new(),
        some => show(some),
    };
    vec![
        text(target, "address"),
        state_text(target),
        not_zero(number(target, "size"), size::human),
        not_zero(payload(target), |bytes| bytes.to_string()),
        text(target, "outstanding"),
        text(target, "errors"),
        paths(target).map(path_text).collect::<Vec<_>>().join(" "),
    ]
}

/// The state, and how many requests wait in it for longer than they should.
fn state_text(target: &Map<String, Value>) -> String {
    let state = text(target, "state");
    match number(target, "waiting") {
        0 => state,
        requests => format!("{state} ({requests} wait)"),
    }
}

/// A path in the form that `discover` uses: `em0>00:11:22:33:44:55`, with what is not in use marked.
pub(crate) fn path_text(path: &Map<String, Value>) -> String {
    let name = format!("{}>{}", text(path, "interface"), text(path, "mac"));
    match text(path, "state").as_str() {
        "up" => name,
        other => format!("{name}({other})"),
    }
}

/// Lines as aoe-stat(8) of aoetools prints them, for scripts that read those.
fn print_classic(targets: &[Map<String, Value>], out: &mut dyn Write) -> io::Result<()> {
    let with_payload = targets.iter().any(|target| payload(target) > 0);
    let mut lines: Vec<String> = targets
        .iter()
        .map(|target| classic_line(target, with_payload))
        .collect();
    // It sorts the lines as text.
    lines.sort();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn classic_line(target: &Map<String, Value>, with_payload: bool) -> String {
    let name = format!("e{}", text(target, "address"));
    let state = match text(target, "state").as_str() {
        "up" => "up",
        "removed" => "down,closewait",
        _ => "down",
    };
    let size = match number(target, "size") {
        0 => "(NA)".to_owned(),
        // Billions of bytes, cut after three digits.
        bytes => format!(
            "{}.{:03}GB",
            bytes / 1_000_000_000,
            bytes / 1_000_000 % 1000
        ),
    };
    let mut interfaces: Vec<String> = Vec::new();
    for path in paths(target) {
        let interface = text(path, "interface");
        if !interfaces.contains(&interface) {
            interfaces.push(interface);
        }
    }
    let interfaces = interfaces.join(",");
    if with_payload {
        let payload = payload(target);
        format!("{name:>10} {size:>15} {interfaces:>10} {payload:<5} {state:<14}")
    } else {
        format!("{name:>10} {size:>15} {interfaces:>6} {state:<14}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Map<String, Value> {
        let value = json!({
            "address": "7.0", "state": "up", "size": 104_857_600_u64, "outstanding": 3, "errors": 0,
            "path": [
                { "interface": "em0", "mac": "02:00:00:00:00:01", "state": "up", "payload": 8192 },
                { "interface": "em1", "mac": "02:00:00:00:00:02", "state": "up", "payload": 1024 },
                { "interface": "em1", "mac": "02:00:00:00:00:03", "state": "lost", "payload": 512 },
            ],
        });
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_row_has_the_smallest_payload_that_is_used() {
        let row = row(&target());
        assert_eq!(&row[..4], ["7.0", "up", "100.0 MiB", "1024"]);
        assert!(row[6].contains("em0>02:00:00:00:00:01 "), "{row:?}");
        assert!(row[6].ends_with("(lost)"), "{row:?}");
    }

    #[test]
    fn requests_that_wait_are_shown_beside_the_state() {
        let mut hung = target();
        hung.insert("waiting".to_owned(), json!(3));
        assert_eq!(row(&hung)[1], "up (3 wait)");
        hung.insert("waiting".to_owned(), json!(0));
        assert_eq!(row(&hung)[1], "up");
    }

    /// The lines of the script in aoetools 36, for the same disk.
    #[test]
    fn lines_are_those_of_aoe_stat() {
        let line = classic_line(&target(), true);
        assert_eq!(
            line,
            "      e7.0         0.104GB    em0,em1 1024  up            "
        );
        let mut probing = target();
        probing.insert("size".to_owned(), json!(0));
        probing.insert("state".to_owned(), json!("probing"));
        let line = classic_line(&probing, false);
        assert_eq!(line, "      e7.0            (NA) em0,em1 down          ");
    }
}
