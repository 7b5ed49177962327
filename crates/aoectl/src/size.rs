// SPDX-License-Identifier: BSD-2-Clause
//! Numbers of bytes, as people write and read them.

/// Bytes in a sector, the unit of everything that AoE moves.
pub(crate) const SECTOR: u64 = aoe_wire::SECTOR_SIZE as u64;

/// Reads a number of bytes: decimal or with 0x, with a suffix k, m, g, t or p of powers of 1024 as
/// expand_number(3) has them, or s for sectors of 512 bytes.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.bytes().last().map(|b| b.to_ascii_lowercase()) {
        Some(b's') => (&text[..text.len() - 1], SECTOR),
        Some(b'k') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm') => (&text[..text.len() - 1], 1 << 20),
        Some(b'g') => (&text[..text.len() - 1], 1 << 30),
        Some(b't') => (&text[..text.len() - 1], 1 << 40),
        Some(b'p') => (&text[..text.len() - 1], 1 << 50),
        _ => (text, 1),
    };
    let number = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    number
        .ok()
        .and_then(|n: u64| n.checked_mul(factor))
        .ok_or_else(|| "want a number of bytes, like 4096, 0x1000, 4k, 8s (sectors), 1g".to_owned())
}

/// As [`parse`], and a whole number of sectors.
pub(crate) fn parse_sectors(text: &str) -> Result<u64, String> {
    let bytes = parse(text)?;
    if bytes % SECTOR != 0 {
        return Err(format!("{bytes} is not a multiple of 512"));
    }
    Ok(bytes)
}

/// As [`parse_sectors`], and at least one sector.
pub(crate) fn parse_some_sectors(text: &str) -> Result<u64, String> {
    match parse_sectors(text)? {
        0 => Err("must not be 0".to_owned()),
        bytes => Ok(bytes),
    }
}

/// A number of bytes for people: 1.5 GiB.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in UNITS {
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    format!("{value:.1} {unit}")
}

/// A time for people, from nanoseconds: 17.3 us.
pub(crate) fn human_time(nanos: u64) -> String {
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.1} us", nanos as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", nanos as f64 / 1e6),
        _ => format!("{:.2} s", nanos as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse("0"), Ok(0));
        assert_eq!(parse("4k"), Ok(4096));
        assert_eq!(parse("3S"), Ok(1536));
        assert_eq!(parse("0x10k"), Ok(16384));
        assert_eq!(parse("1T"), Ok(1 << 40));
        for bad in ["", "k", "-1", "1.5k", "1kk", "99999999p", "0x", "1é"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse_sectors("513").is_err());
        assert!(parse_some_sectors("0").is_err());
        assert_eq!(parse_some_sectors("1s"), Ok(512));
    }

    #[test]
    fn sizes_are_shown() {
        assert_eq!(human(0), "0 B");
        assert_eq!(human(1023), "1023 B");
        assert_eq!(human(1536), "1.5 KiB");
        assert_eq!(human((1 << 20) - 1), "1.0 MiB");
        assert_eq!(human(u64::MAX), "16.0 EiB");
        assert_eq!(human_time(999), "999 ns");
        assert_eq!(human_time(17_345), "17.3 us");
        assert_eq!(human_time(2_500_000_000), "2.50 s");
    }
}
