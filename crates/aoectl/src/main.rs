// SPDX-License-Identifier: BSD-2-Clause
//! `aoectl`: works with ATA-over-Ethernet targets from the command line.
//!
//! `discover`, `identify`, `read`, `write` and `verify` run the initiator engine of the kernel module,
//! `aoe-core`, in this process over raw Ethernet, so they need no module and work on any machine. `ping`, `config`,
//! `mask`, `reserve` and `smart` put single questions to a target (`exchange`) and need none either.
#![forbid(unsafe_code)]

mod cli;
mod commands;
mod driver;
mod exchange;
mod failure;
mod module;
mod names;
mod output;
mod progress;
mod size;
mod smart;

use std::process::ExitCode;

fn main() -> ExitCode {
    aoe_os::die_on_broken_pipe();
    let cli = names::parse(std::env::args_os());
    env_logger::Builder::from_env(env_logger::Env::new().filter("AOECTL_LOG"))
        .format_timestamp_micros()
        .init();
    match commands::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("aoectl: {failure}");
            failure.exit_code()
        }
    }
}
