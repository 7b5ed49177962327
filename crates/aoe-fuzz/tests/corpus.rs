// SPDX-License-Identifier: BSD-2-Clause
//! The corpus, without the fuzzer: every file is given to its target once.

use std::path::{Path, PathBuf};

use aoe_fuzz::{TARGETS, planted, seeds};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target)
}

fn files(target: &str) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(corpus(target)).expect("every target has a corpus");
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.expect("the folder can be read").path();
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            (
                name.unwrap_or_default(),
                std::fs::read(&path).expect("the file can be read"),
            )
        })
        .collect();
    // Whoever runs `cargo fuzz` has more in there.
    files.retain(|(name, _)| name.starts_with("seed-") || name.starts_with("found-"));
    files.sort();
    files
}

#[test]
fn every_file_is_in_order() {
    for (name, target) in TARGETS {
        for (file, bytes) in files(name) {
            println!("{name}/{file}");
            target(&bytes);
        }
    }
}

#[test]
fn the_seeds_are_those_that_the_program_makes() {
    for (name, _) in TARGETS {
        let made = seeds(name);
        assert!(made.len() >= 3, "{name} has too few seeds");
        let mut kept = files(name);
        kept.retain(|(file, _)| file.starts_with("seed-"));
        assert!(
            kept == made,
            "{name}: run `cargo run -p aoe-fuzz --example seeds -- fuzz/corpus`"
        );
    }
}

#[test]
fn a_corpus_is_small() {
    for (name, _) in TARGETS {
        let size: usize = files(name).iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(size <= 16 * 1024, "{name}: {size} bytes");
    }
}

/// Random bytes find little, but what they find is found without a fuzzer.
#[test]
fn random_bytes_are_in_order() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for (name, target) in TARGETS {
        for round in 0..300 {
            let length = usize::try_from(next() % 400).expect("it is small");
            let mut bytes: Vec<u8> = (0..length).map(|_| next() as u8).collect();
            if name == "frame" && length > 20 {
                bytes[12..14].copy_from_slice(&[0x88, 0xa2]);
                bytes[19] = round as u8 % 5;
            }
            target(&bytes);
        }
    }
}

#[test]
#[should_panic(expected = "the planted mistake was found")]
fn the_planted_mistake_is_one() {
    planted(b"AoE\x88\xa2");
}
