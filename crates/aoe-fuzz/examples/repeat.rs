// SPDX-License-Identifier: BSD-2-Clause
//! Gives files to a target of the fuzzer, without the fuzzer: `repeat TARGET FILE...`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let name = arguments.nth(1).unwrap_or_default();
    let Some((_, target)) = aoe_fuzz::TARGETS
        .into_iter()
        .find(|(known, _)| *known == name)
    else {
        eprintln!("usage: repeat TARGET FILE...");
        return ExitCode::from(2);
    };
    for file in arguments {
        match std::fs::read(&file) {
            Ok(bytes) => {
                println!("{file}: {} bytes", bytes.len());
                target(&bytes);
            }
            Err(error) => {
                eprintln!("repeat: {file}: {error}");
                return ExitCode::from(1);
            }
        }
    }
    ExitCode::SUCCESS
}
