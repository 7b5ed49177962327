// SPDX-License-Identifier: BSD-2-Clause
//! `aoe-relay`: stands between an initiator and a target, and is the bad wire that is asked for.
//!
//! Every frame that comes in by one interface leaves by the other; those of AoE may be lost, repeated,
//! delayed, overtaken, damaged, cut off or held up on the way. A socket takes commands while traffic runs and
//! answers with what happened to how many frames, the relay's own losses included, which should be none.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod command;
#[cfg(target_os = "linux")]
mod control;
#[cfg(target_os = "linux")]
mod faults;
#[cfg(target_os = "linux")]
mod lane;
#[cfg(target_os = "linux")]
mod outlet;
#[cfg(target_os = "linux")]
mod relay;

use anyhow::Result;

#[cfg(target_os = "linux")]
mod program {
    use std::path::PathBuf;

    use anyhow::{Context, Result};
    use aoe_os::random_seed;
    use clap::Parser;

    use crate::command::Command;
    use crate::relay::Relay;

    /// Forwards Ethernet frames between two interfaces, with faults.
    #[derive(Parser, Debug)]
    #[command(version, after_help = crate::COMMANDS)]
    struct Arguments {
        /// Interface where the initiator is.
        #[arg(long, value_name = "INTERFACE")]
        initiator: String,
        /// Interface where the target is.
        #[arg(long, value_name = "INTERFACE")]
        target: String,
        /// Socket to be told things by.
        #[arg(long, value_name = "PATH")]
        control: Option<PathBuf>,
        /// Faults from the beginning, as in --set "both loss=1%".
        #[arg(long, value_name = "SETTINGS")]
        set: Vec<String>,
        /// Decides which frames have which fate; drawn if it is not given.
        #[arg(long)]
        seed: Option<u64>,
        /// Let other programs on these interfaces see what is sent, at the risk of losses that nobody counts.
        #[arg(long)]
        visible: bool,
    }

    pub(crate) fn main() -> Result<()> {
        let arguments = Arguments::parse();
        let seed = match arguments.seed {
            Some(seed) => seed,
            None => random_seed().context("no random numbers")?,
        };
        let names = [arguments.initiator.as_str(), arguments.target.as_str()];
        let control = arguments.control.as_deref();
        let mut relay = Relay::open(names, control, seed, arguments.visible)?;
        for line in &arguments.set {
            let command = Command::parse_set(line);
            command
                .and_then(|command| relay.execute(&command))
                .with_context(|| format!("--set {line:?}"))?;
        }
        println!("{} <-> {}, seed {seed}", names[0], names[1]);
        relay.run()
    }
}

/// The second half of the help text.
#[cfg(target_os = "linux")]
const COMMANDS: &str = "\
Commands, one a line, by the socket; each is answered by a line of JSON:
  set both|to-target|to-initiator NAME=VALUE...   change faults
  clear                                           no faults any more
  status                                          counters and faults
  reset                                           the same, and count from zero
  seed NUMBER                                     begin the random numbers anew

Faults (CHANCE: 1%, 250ppm, 0; TIME: 100us, 2ms, 1.5s; TIMES: a TIME or TIME..TIME):
  loss=CHANCE
  duplicate=CHANCE        towards a target at once, towards the initiator after
  duplicate-delay=TIMES   this time (0..10ms)
  delay=TIMES             order is kept
  reorder=CHANCE          kept back for reorder-delay, so that later frames overtake
  reorder-delay=TIMES     (2ms)
  corrupt=CHANCE          one byte gets another value
  corrupt-bytes=WHICH     header (the default), no-tag, payload, all, or offsets: 14-19,24
  longest=BYTES|off       longer frames (with their Ethernet header) vanish
  cut=on|off|TIME         everything is lost
  clog=on|off|TIME        everything is held, and goes on in order
  frames=aoe|all          whose faults these are; other frames pass untouched";

#[cfg(target_os = "linux")]
fn main() -> Result<()> {
    program::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> Result<()> {
    anyhow::bail!("aoe-relay needs packet sockets, which only Linux has")
}
