// SPDX-License-Identifier: BSD-2-Clause
//! `aoectl mask`: the stations that a target listens to at all (AoEr11 3.3).

use super::print_to;
use crate::exchange::{Exchange, Peer, Question, ReachOne, Reply, out_of_place, station};
use crate::failure::Failure;
use crate::output::{Format, Table, object, print_json};
use anyhow::anyhow;
use aoe_core::Links;
use aoe_wire::{
    DirectiveCommand, MacAddr, MaskCommand, MaskDirective, MaskError, MaskList, MaskRequest,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io;

/// Most directives of one request.
const MAX_DIRECTIVES: usize = 255;
/// What vblade 25 says its firmware is.
const VBLADE_25: u16 = 0x4019;
/// How many addresses the list of a vblade 25 can really hold: a third one is written over the second. Nor can it
/// delete one: it crashes, does nothing, or makes a new address of two.
const VBLADE_25_ROOM: usize = 2;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show the stations that the target listens to; none in the list means all
    Read(Read),
    /// Add stations to the list
    Add(Edit),
    /// Delete stations from the list
    Delete(Edit),
}

#[derive(Debug, clap::Args)]
struct Read {
    #[command(flatten)]
    one: ReachOne,
}

#[derive(Debug, clap::Args)]
struct Edit {
    #[command(flatten)]
    one: ReachOne,
    /// Ethernet addresses of the stations
    #[arg(value_name = "MAC", required = true, value_delimiter = ',', value_parser = station)]
    macs: Vec<MacAddr>,
    /// Do it even if the target will not listen to this machine afterwards, or is known to fail at it
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(args: &Args, format: Format) -> Result<(), Failure> {
    match &args.what {
        What::Read(args) => {
            let mut exchange = Exchange::open(&args.one.reach)?;
            let mut lists = Vec::new();
            for peer in exchange.find(args.one.target.into())? {
                let list = read(&mut exchange, &peer)?;
                lists.push((peer, list));
            }
            print(&exchange, &lists, format)
        }
        What::Add(args) => edit(args, DirectiveCommand::ADD, format),
        What::Delete(args) => edit(args, DirectiveCommand::DELETE, format),
    }
}

fn read(exchange: &mut Exchange, peer: &Peer) -> Result<Vec<MacAddr>, Failure> {
    match exchange.ask(peer, &Question::Mask(MaskRequest::READ))? {
        Reply::Masks(list) => Ok(list),
        other => Err(out_of_place(&exchange.who(peer), &other)),
    }
}

fn edit(args: &Edit, command: DirectiveCommand, format: Format) -> Result<(), Failure> {
    if args.macs.len() > MAX_DIRECTIVES {
        return Err(Failure::Usage(format!(
            "MAC: {} addresses; one request takes {MAX_DIRECTIVES}",
            args.macs.len()
        )));
    }
    let mut exchange = Exchange::open(&args.one.reach)?;
    // All servers are looked at before anything is changed.
    let mut wanted = Vec::new();
    for peer in exchange.find(args.one.target.into())? {
        let before = read(&mut exchange, &peer)?;
        let list = check(&exchange, &peer, &before, args, command)?;
        wanted.push((peer, list));
    }
    let directives: Vec<MaskDirective> = args
        .macs
        .iter()
        .map(|mac| MaskDirective { command, mac: *mac })
        .collect();
    let request = MaskRequest {
        command: MaskCommand::EDIT,
        list: MaskList::new(&directives),
    };
    let mut lists = Vec::new();
    for (peer, wanted) in wanted {
        let list = apply(&mut exchange, &peer, request, &wanted)?;
        lists.push((peer, list));
    }
    print(&exchange, &lists, format)
}

/// The list as it will be, if the change may be asked for.
fn check(
    exchange: &Exchange,
    peer: &Peer,
    before: &[MacAddr],
    args: &Edit,
    command: DirectiveCommand,
) -> Result<Vec<MacAddr>, Failure> {
    let who = exchange.who(peer);
    let deletes = command == DirectiveCommand::DELETE;
    if deletes && let Some(mac) = args.macs.iter().find(|mac| !before.contains(mac)) {
        return Err(Failure::Failed(anyhow!(
            "MAC: {mac} is not in the mask list of {who}"
        )));
    }
    let after = after(before, &args.macs, command);
    if args.yes {
        return Ok(after);
    }
    if peer.config.firmware == VBLADE_25 && (deletes || after.len() > VBLADE_25_ROOM) {
        let what = if deletes {
            "crashes or garbles its mask list when an address is deleted"
        } else {
            "garbles its mask list when it gets more than two addresses"
        };
        return Err(Failure::Usage(format!(
            "{who} looks like vblade 25 (firmware 0x{VBLADE_25:04x}), which {what}; --yes asks it all the same"
        )));
    }
    let own = exchange.ports().link(peer.netif).map(|link| link.mac);
    if !after.is_empty() && !own.is_some_and(|own| after.contains(&own)) {
        return Err(Failure::Usage(format!(
            "MAC: {who} would not listen to {} any more, whose address{} would not be in its list; --yes does it \
             all the same",
            exchange.ports().name(peer.netif),
            own.map(|mac| format!(" {mac}")).unwrap_or_default()
        )));
    }
    Ok(after)
}

/// The list as it should be after the change.
fn after(before: &[MacAddr], macs: &[MacAddr], command: DirectiveCommand) -> Vec<MacAddr> {
    let mut list = before.to_vec();
    if command == DirectiveCommand::ADD {
        list.extend(macs.iter().filter(|mac| !before.contains(mac)));
    } else {
        list.retain(|mac| !macs.contains(mac));
    }
    list
}

fn apply(
    exchange: &mut Exchange,
    peer: &Peer,
    request: MaskRequest<'_>,
    wanted: &[MacAddr],
) -> Result<Vec<MacAddr>, Failure> {
    let who = exchange.who(peer);
    let list = match exchange.ask(peer, &Question::Mask(request)) {
        Ok(Reply::Masks(list)) => list,
        Ok(Reply::MaskFailed(error, index)) => {
            let mac = request.list.iter().nth(usize::from(index)).map(|d| d.mac);
            return Err(Failure::Failed(anyhow!(
                "{who} stopped at directive {} ({}): {}; those before it are done",
                u16::from(index) + 1,
                mac.map_or("which was not sent".to_owned(), |mac| mac.to_string()),
                in_words(error)
            )));
        }
        Ok(other) => return Err(out_of_place(&who, &other)),
        Err(Failure::NoAnswer(text)) => {
            return Err(Failure::NoAnswer(format!(
                "{text}; whether its list was changed is not known"
            )));
        }
        Err(failure) => return Err(failure),
    };
    let set = |list: &[MacAddr]| list.iter().copied().collect::<BTreeSet<_>>();
    if set(&list) == set(wanted) {
        return Ok(list);
    }
    let list: Vec<String> = list.iter().map(ToString::to_string).collect();
    Err(Failure::Failed(anyhow!(
        "{who} says that it did it, but its list is not what it should be now: {}",
        list.join(", ")
    )))
}

/// A mask error with the words that the specification has for it.
fn in_words(error: MaskError) -> String {
    let words = match error {
        MaskError::UNSPECIFIED => "unspecified error",
        MaskError::BAD_DIRECTIVE => "bad DCmd directive",
        MaskError::LIST_FULL => "mask list full",
        _ => "not in the specification",
    };
    format!("mask error {}: {words}", error.0)
}

fn print(
    exchange: &Exchange,
    lists: &[(Peer, Vec<MacAddr>)],
    format: Format,
) -> Result<(), Failure> {
    print_lists(exchange, lists, "mask", "all", format)
}

/// Prints lists of stations, one for each server; for people, `none` stands for an empty one.
pub(super) fn print_lists(
    exchange: &Exchange,
    lists: &[(Peer, Vec<MacAddr>)],
    key: &str,
    none: &str,
    format: Format,
) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    print_to(&mut out, |out| match format {
        Format::Json { pretty } => {
            let rows: Vec<Value> = lists
                .iter()
                .map(|(peer, list)| {
                    let macs: Vec<String> = list.iter().map(ToString::to_string).collect();
                    Value::Object(object([
                        ("address", json!(peer.addr.to_string())),
                        ("interface", json!(exchange.ports().name(peer.netif))),
                        ("mac", json!(peer.mac.to_string())),
                        (key, json!(macs)),
                    ]))
                })
                .collect();
            print_json(out, pretty, json!({ "answer": rows }))
        }
        Format::Text => {
            let heading = key.to_uppercase();
            let mut table = Table::new(&["TARGET", "INTERFACE", "MAC", &heading]);
            for (peer, list) in lists {
                let macs: Vec<String> = list.iter().map(ToString::to_string).collect();
                table.row(vec![
                    peer.addr.to_string(),
                    exchange.ports().name(peer.netif).to_owned(),
                    peer.mac.to_string(),
                    if macs.is_empty() {
                        none.to_owned()
                    } else {
                        macs.join(" ")
                    },
                ]);
            }
            table.print(out)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn macs(list: &[u8]) -> Vec<MacAddr> {
        list.iter().map(|n| MacAddr([2, 0, 0, 0, 0, *n])).collect()
    }

    #[test]
    fn the_result_of_a_change_is_known_before() {
        let (add, delete) = (DirectiveCommand::ADD, DirectiveCommand::DELETE);
        assert_eq!(after(&macs(&[1, 2]), &macs(&[2, 3]), add), macs(&[1, 2, 3]));
        assert_eq!(after(&macs(&[1, 2]), &macs(&[2, 3]), delete), macs(&[1]));
        assert_eq!(after(&macs(&[]), &macs(&[9]), add), macs(&[9]));
    }

    #[test]
    fn errors_have_words() {
        assert_eq!(in_words(MaskError(3)), "mask error 3: mask list full");
        assert_eq!(
            in_words(MaskError(7)),
            "mask error 7: not in the specification"
        );
    }
}
