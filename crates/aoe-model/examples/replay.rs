// SPDX-License-Identifier: BSD-2-Clause
//! Repeats a sequence and tells all of it.
//!
//! usage: replay FILE        the bytes of a fuzzer's corpus or crash file
//!        replay 0,1,2,...   the bytes as a failing test prints them

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(argument) = std::env::args().nth(1) else {
        eprintln!("usage: replay FILE | BYTE,BYTE,...");
        return ExitCode::from(2);
    };
    let numbers = argument.split(',').map(|text| text.trim().parse::<u8>());
    let bytes = match numbers.collect::<Result<Vec<u8>, _>>() {
        Ok(bytes) => bytes,
        Err(_) => match std::fs::read(&argument) {
            Ok(bytes) => bytes,
            Err(error) => {
                eprintln!("replay: {argument}: {error}");
                return ExitCode::from(2);
            }
        },
    };
    let (setup, steps) = aoe_model::decode(&bytes);
    println!("{setup:?}");
    for step in &steps {
        println!("    {step:?},");
    }
    let report = aoe_model::run(setup, &steps);
    for wrong in &report.wrong {
        println!("{wrong}");
    }
    println!(
        "{} accepted, {} worked, {} wrong",
        report.accepted,
        report.worked,
        report.wrong.len()
    );
    ExitCode::from(u8::from(!report.wrong.is_empty()))
}
