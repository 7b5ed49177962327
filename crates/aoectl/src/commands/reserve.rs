// SPDX-License-Identifier: BSD-2-Clause
//! `aoectl reserve`: the stations whose commands a target carries out (AoEr11 3.4).

use super::mask;
use crate::exchange::{self, Exchange, Peer, Question, ReachOne, Reply, out_of_place, station};
use crate::failure::Failure;
use crate::output::Format;
use anyhow::{Context, anyhow};
use aoe_core::Links;
use aoe_wire::{AoeError, MacAddr, MacList, ReserveCommand, ReserveRequest, TargetAddr};
use std::collections::BTreeSet;

/// Most stations of one request.
const MAX_STATIONS: usize = 255;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show the stations that the target is reserved for
    Read(Read),
    /// Reserve the target, unless it is reserved for others
    Set(Set),
    /// Reserve the target, whoever it is reserved for
    Fset(Set),
    /// End the reservation of this machine
    Release(Release),
}

#[derive(Debug, clap::Args)]
struct Read {
    #[command(flatten)]
    one: ReachOne,
}

#[derive(Debug, clap::Args)]
struct Set {
    #[command(flatten)]
    one: ReachOne,
    /// Ethernet addresses of the stations [default: those of the interfaces named by -i]
    #[arg(value_name = "MAC", value_delimiter = ',', value_parser = station)]
    macs: Vec<MacAddr>,
    /// Do it even if none of the stations is this machine
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
struct Release {
    #[command(flatten)]
    one: ReachOne,
    /// End the reservation of others, too
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args, format: Format) -> Result<(), Failure> {
    match &args.what {
        What::Read(args) => ask_all(
            Exchange::open(&args.one.reach)?,
            args.one.target,
            ReserveRequest::READ,
            format,
        ),
        What::Set(args) => set(args, ReserveCommand::SET, format),
        What::Fset(args) => set(args, ReserveCommand::FORCE_SET, format),
        What::Release(args) => {
            let command = if args.force {
                ReserveCommand::FORCE_SET
            } else {
                ReserveCommand::SET
            };
            let request = ReserveRequest {
                command,
                macs: MacList::EMPTY,
            };
            ask_all(
                Exchange::open(&args.one.reach)?,
                args.one.target,
                request,
                format,
            )
        }
    }
}

fn set(args: &Set, command: ReserveCommand, format: Format) -> Result<(), Failure> {
    let exchange = Exchange::open(&args.one.reach)?;
    let own = own_macs(&args.one.reach.interfaces)?;
    let macs = if args.macs.is_empty() {
        own.clone()
    } else {
        args.macs.clone()
    };
    if macs.len() > MAX_STATIONS {
        return Err(Failure::Usage(format!(
            "MAC: {} addresses; a reservation takes {MAX_STATIONS}",
            macs.len()
        )));
    }
    if !args.yes && !macs.iter().any(|mac| own.contains(mac)) {
        return Err(Failure::Usage(format!(
            "MAC: none of these is the address of {}, so the target would not work for this machine any more; \
             --yes does it all the same",
            args.one.reach.interfaces.join(", ")
        )));
    }
    let macs = in_order(macs);
    let request = ReserveRequest {
        command,
        macs: MacList::new(&macs),
    };
    ask_all(exchange, args.one.target, request, format)
}

/// Each address once, and in the order in which ggaoed 1.1 looks for them: it takes them for numbers, the last byte
/// weighing most, and finds not all of a list that does not rise. Other targets care for no order.
fn in_order(mut macs: Vec<MacAddr>) -> Vec<MacAddr> {
    macs.sort_by_key(|mac| {
        let mut bytes = mac.0;
        bytes.reverse();
        bytes
    });
    macs.dedup();
    macs
}

/// The addresses of the interfaces, also of those that are down: they are paths once they are up.
fn own_macs(names: &[String]) -> Result<Vec<MacAddr>, Failure> {
    let all = aoe_os::interfaces().context("cannot list the interfaces")?;
    Ok(all
        .into_iter()
        .filter(|interface| names.contains(&interface.name))
        .map(|interface| interface.mac)
        .collect())
}

/// Puts the same request to all servers of the target.
fn ask_all(
    mut exchange: Exchange,
    target: TargetAddr,
    request: ReserveRequest<'_>,
    format: Format,
) -> Result<(), Failure> {
    let mut lists = Vec::new();
    for peer in exchange.find(target.into())? {
        let list = ask(&mut exchange, &peer, request)?;
        lists.push((peer, list));
    }
    mask::print_lists(&exchange, &lists, "reserved", "nobody", format)
}

fn ask(
    exchange: &mut Exchange,
    peer: &Peer,
    request: ReserveRequest<'_>,
) -> Result<Vec<MacAddr>, Failure> {
    let who = exchange.who(peer);
    let wanted: BTreeSet<MacAddr> = request.macs.iter().collect();
    let is_wanted = |list: &[MacAddr]| list.iter().copied().collect::<BTreeSet<_>>() == wanted;
    let list = match exchange.ask(peer, &Question::Reserve(request))? {
        Reply::Reserved(list) => list,
        Reply::Error(AoeError::RESERVED) => {
            match exchange.ask(peer, &Question::Reserve(ReserveRequest::READ))? {
                // A first copy of the request was carried out, and gave it to others.
                Reply::Reserved(list) if is_wanted(&list) => list,
                Reply::Reserved(list) => {
                    let own = exchange.ports().link(peer.netif).map(|link| link.mac);
                    return Err(taken(&who, Some(&list), own));
                }
                _ => return Err(taken(&who, None, None)),
            }
        }
        other => return Err(out_of_place(&who, &other)),
    };
    if request.command == ReserveCommand::READ || is_wanted(&list) {
        return Ok(list);
    }
    Err(Failure::Failed(anyhow!(
        "{who} says that it did it, but is reserved for {}",
        names(&list)
    )))
}

/// A refusal, with those who are in the way as the target tells them on being read: what comes with the refusal is its
/// list with vblade, and what it was asked with ggaoed.
fn taken(who: &str, list: Option<&[MacAddr]>, own: Option<MacAddr>) -> Failure {
    let mut text = list.map_or(String::new(), |list| format!(", for {}", names(list)));
    if let (Some(list), Some(own)) = (list, own)
        && list.contains(&own)
    {
        // ggaoed 1.1 compares the address that the request was sent to, not the one that it came from.
        text += &format!(
            "; {own} is this machine, so it should not refuse: fset and release --force override it"
        );
    }
    Failure::Failed(anyhow!(
        "{who} refuses: {}{text}",
        exchange::in_words(AoeError::RESERVED)
    ))
}

fn names(list: &[MacAddr]) -> String {
    if list.is_empty() {
        return "nobody".to_owned();
    }
    let list: Vec<String> = list.iter().map(ToString::to_string).collect();
    list.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NINE: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    #[test]
    fn a_refusal_names_the_holders() {
        let other = MacAddr([2, 0, 0, 0, 0, 1]);
        assert_eq!(
            taken("t", Some(&[NINE]), Some(other)).to_string(),
            "t refuses: error 6: target is reserved, for 02:00:00:00:00:09"
        );
        let own = taken("t", Some(&[NINE]), Some(NINE)).to_string();
        assert!(own.contains("is this machine"), "{own}");
        assert_eq!(
            taken("t", None, None).to_string(),
            "t refuses: error 6: target is reserved"
        );
    }

    #[test]
    fn lists_rise_by_their_last_bytes() {
        let mac = |first, last| MacAddr([first, 0, 0, 0, 0, last]);
        let list = vec![mac(2, 9), mac(6, 1), mac(2, 9), mac(2, 1)];
        assert_eq!(in_order(list), [mac(2, 1), mac(6, 1), mac(2, 9)]);
    }
}
