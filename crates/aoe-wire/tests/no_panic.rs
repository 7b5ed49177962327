// SPDX-License-Identifier: BSD-2-Clause
//! The compiler's own word that nothing in this crate can panic, and how much stack it takes.
//!
//! The crate is compiled to assembler text as the kernel module's build does it (optimised,
//! aborting), once more with overflow checks, and the text is searched.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A kernel stack is small; this is what the module's build allows for a frame.
const FRAME_MAX: u64 = 1024;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")
}

/// Assembler text of a crate.
fn assembler(source: &Path, name: &str, options: &[&str]) -> String {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.s"));
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let status = Command::new(rustc)
        .args([
            "--edition=2024",
            "--crate-type=lib",
            "--emit=asm",
            "-Cpanic=abort",
        ])
        .args(["-Ccodegen-units=1", "-Cdebuginfo=0", "--cap-lints=allow"])
        .args(options)
        .arg("-o")
        .arg(&out)
        .arg(source)
        .status()
        .expect("the compiler that built this test can be run");
    assert!(status.success(), "{} with {options:?}", source.display());
    std::fs::read_to_string(out).expect("the compiler wrote what it was asked for")
}

/// Lines that name a function of `core` that panics.
fn panics(assembler: &str) -> Vec<&str> {
    assembler
        .lines()
        .filter(|line| line.contains("4core") && (line.contains("panic") || line.contains("_fail")))
        .collect()
}

/// The largest amount that one function takes from the stack at once.
fn largest_frame(assembler: &str) -> u64 {
    let taken = assembler.lines().filter_map(|line| {
        let amount = line
            .trim()
            .strip_prefix("subq\t$")?
            .strip_suffix(", %rsp")?;
        amount.parse().ok()
    });
    taken.max().unwrap_or(0)
}

const BUILDS: [(&str, &[&str]); 4] = [
    ("speed", &["-Copt-level=3"]),
    ("size", &["-Copt-level=s"]),
    ("speed-checked", &["-Copt-level=3", "-Coverflow-checks=on"]),
    ("size-checked", &["-Copt-level=s", "-Coverflow-checks=on"]),
];

#[test]
fn no_function_of_this_crate_can_panic() {
    for (name, options) in BUILDS {
        let text = assembler(&source(), name, options);
        for function in [
            "Header5split",
            "Message5parse",
            "Identify5parse",
            "emit_trim_range",
        ] {
            assert!(
                text.contains(function),
                "{name}: {function} is not in the text"
            );
        }
        let found = panics(&text);
        assert!(found.is_empty(), "{name}: {found:#?}");
    }
}

#[test]
fn a_panic_would_be_found() {
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("panics.rs");
    for (body, arguments) in [
        ("bytes[at]", "bytes: &[u8], at: usize"),
        ("bytes[at..][0]", "bytes: &[u8], at: usize"),
        ("bytes.first().copied().unwrap()", "bytes: &[u8]"),
        (
            "bytes.try_into().map(|[byte]: [u8; 1]| byte).unwrap()",
            "bytes: &[u8]",
        ),
        (
            "{ out.copy_from_slice(bytes); 0 }",
            "out: &mut [u8], bytes: &[u8]",
        ),
        ("left / right", "left: u8, right: u8"),
        ("text[at..].len() as u8", "text: &str, at: usize"),
    ] {
        let text = format!("#[inline(never)] pub fn function({arguments}) -> u8 {{ {body} }}\n");
        std::fs::write(&source, text).unwrap();
        let text = assembler(&source, "panics", &["-Copt-level=3"]);
        assert!(!panics(&text).is_empty(), "{body}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn stack_frames_are_small() {
    for (name, options) in BUILDS {
        let largest = largest_frame(&assembler(&source(), &format!("{name}-stack"), options));
        assert!(
            largest > 0 && largest < FRAME_MAX,
            "{name}: {largest} bytes"
        );
    }
}
