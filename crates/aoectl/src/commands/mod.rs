// SPDX-License-Identifier: BSD-2-Clause
//! What the subcommands do.

pub(crate) mod bench;
pub(crate) mod config;
mod discover;
mod find;
pub(crate) mod flush;
mod identify;
pub(crate) mod interfaces;
pub(crate) mod mask;
pub(crate) mod ping;
mod read;
pub(crate) mod reserve;
pub(crate) mod revalidate;
pub(crate) mod sancheck;
pub(crate) mod smart;
pub(crate) mod stat;
mod station;
mod stations;
mod transfer;
mod verify;
mod version;
mod view;
pub(crate) mod watch;
mod write;

use crate::cli::{Cli, Command};
use crate::failure::Failure;
use anyhow::Context;
use std::io::{self, Write};

/// Runs the command that was asked for.
pub(crate) fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Discover(args) => discover::run(args, cli.libxo, cli.classic),
        Command::Identify(args) => identify::run(args, cli.libxo),
        Command::Read(args) => read::run(args, cli.libxo),
        Command::Write(args) => write::run(args, cli.libxo),
        Command::Verify(args) => verify::run(args, cli.libxo),
        Command::Ping(args) => ping::run(args, cli.libxo),
        Command::Config(args) => config::run(args, cli.libxo),
        Command::Mask(args) => mask::run(args, cli.libxo),
        Command::Reserve(args) => reserve::run(args, cli.libxo),
        Command::Smart(args) => smart::run(args, cli.libxo),
        Command::Stat(args) => stat::run(args, cli.libxo, cli.classic),
        Command::Interfaces(args) => interfaces::run(args, cli.libxo, cli.classic),
        Command::Flush(args) => flush::run(args, cli.libxo),
        Command::Revalidate(args) => revalidate::run(args, cli.libxo),
        Command::Watch(args) => watch::run(args, cli.libxo),
        Command::Sancheck(args) => sancheck::run(args, cli.libxo),
        Command::Bench(args) => bench::run(args, cli.libxo),
        Command::Version => version::run(cli.libxo, cli.classic),
    }
}

/// Prints a result by `print`, and names the place if that fails.
fn print_to(
    out: &mut dyn Write,
    print: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    print(out)
        .and_then(|()| out.flush())
        .context("cannot print the result")
        .map_err(Failure::from)
}
