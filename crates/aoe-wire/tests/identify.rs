// SPDX-License-Identifier: BSD-2-Clause
//! IDENTIFY DEVICE data of the servers that are in use, of a real disk, and of none that should be.

use aoe_wire::{Identify, IdentifyError, IdentifyTable};
use proptest::prelude::*;

fn parse(table: &IdentifyTable) -> Result<Identify, IdentifyError> {
    Identify::parse(table.as_bytes())
}

/// vblade 25, as measured: the words besides strings and size, and 8,192 sectors.
fn vblade() -> IdentifyTable {
    IdentifyTable::new()
        .word(47, 0x8000)
        .word(49, 0x0200)
        .word(50, 0x4000)
        .word(83, 0x5400)
        .word(84, 0x4000)
        .word(86, 0x1400)
        .word(87, 0x4000)
        .word(93, 0x400B)
        .serial(b"7.3:server")
        .firmware(b"V25")
        .model(b"Coraid EtherDrive vblade")
        .capacity(8192)
}

/// ggaoed 1.1: FLUSH CACHE EXT too, and CHS words.
fn ggaoed() -> IdentifyTable {
    IdentifyTable::new()
        .word(48, 1)
        .word(49, 0x0200)
        .word(54, 16383)
        .word(55, 16)
        .word(56, 255)
        .word(83, 0x7400)
        .word(84, 0x4000)
        .word(86, 0x7400)
        .word(87, 0x4000)
        .word(93, 0x400B)
        .serial(b"disk1")
        .firmware(b"1.1")
        .model(b"GGs AoE target")
        .capacity(1 << 33)
}

fn kvblade() -> IdentifyTable {
    vblade()
        .serial(b"SN HERE")
        .firmware(b"V0.2\n")
        .model(b"EtherDrive(R) kvblade")
}

/// A 512e disk behind a server that passes everything through: 12 TB, TRIM, SMART, write cache.
fn real() -> IdentifyTable {
    vblade()
        .capacity(23_437_770_752)
        .word(69, 0x4020)
        .word(80, 0x0FF0)
        .word(82, 0x0061)
        .word(83, 0x7400)
        .word(85, 0x0061)
        .word(86, 0x3400)
        .word(87, 0x4100)
        .word(105, 8)
        .word(106, 0x6003)
        .word(108, 0x5000)
        .word(109, 0xC500)
        .word(110, 0x1234)
        .word(111, 0x5678)
        .word(169, 1)
        .word(209, 0x4000)
        .word(217, 7200)
        .serial(b"   ZL2XYZ01")
        .checksum()
}

#[test]
fn it_is_small() {
    assert!(size_of::<Identify>() < 160, "{}", size_of::<Identify>());
}

#[test]
fn strings_are_swapped_in_the_table() {
    let table = IdentifyTable::new().serial(b"AB").capacity(1);
    assert_eq!(&table.as_bytes()[20..24], b"BA  ");
    assert_eq!(&table.as_bytes()[120..124], [1, 0, 0, 0]);
    assert_eq!(&table.as_bytes()[200..208], [1, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn vblade_25() {
    let identify = parse(&vblade()).unwrap();
    assert_eq!(identify.serial.as_str(), "7.3:server");
    assert_eq!(identify.model.as_str(), "Coraid EtherDrive vblade");
    assert_eq!(identify.firmware.as_str(), "V25");
    assert_eq!(identify.sectors, 8192);
    assert!(identify.lba48 && identify.flush && !identify.flush_ext && identify.ata);
    assert!(!identify.write_cache_supported && !identify.write_cache_enabled);
    assert!(!identify.smart_supported && !identify.trim && !identify.trim_reads_zero);
    assert_eq!(
        (identify.trim_blocks, identify.rotation, identify.wwn),
        (1, 0, None)
    );
    let sizes = (
        identify.logical_sector,
        identify.physical_sector,
        identify.alignment,
    );
    assert_eq!(sizes, (512, 512, 0));
    assert!(identify.has_own_serial());
}

#[test]
fn ggaoed_1_1() {
    let identify = parse(&ggaoed()).unwrap();
    assert_eq!(identify.sectors, 1 << 33);
    assert!(identify.lba48 && identify.flush && identify.flush_ext);
    assert_eq!(identify.model.as_str(), "GGs AoE target");
    // It fills all 64 bits of the capacity; word 103 is no part of an address.
    let identify = parse(&ggaoed().word(103, 1)).unwrap();
    assert_eq!(identify.sectors, 1 << 33);
}

#[test]
fn kvblade_has_no_serial_of_its_own() {
    let identify = parse(&kvblade()).unwrap();
    assert_eq!(identify.serial.as_str(), "SN HERE");
    assert!(!identify.has_own_serial());
    assert_eq!(
        identify.firmware.as_str(),
        "V0.2",
        "the line end is not shown"
    );
    assert_eq!(identify.firmware.as_bytes(), b"V0.2\n   ");
}

#[test]
fn a_real_disk() {
    let identify = parse(&real()).unwrap();
    assert_eq!(identify.sectors, 23_437_770_752);
    assert!(identify.lba48 && identify.flush && identify.flush_ext);
    assert!(identify.write_cache_supported && identify.write_cache_enabled);
    assert!(identify.smart_supported && identify.trim && identify.trim_reads_zero);
    assert_eq!((identify.trim_blocks, identify.rotation), (8, 7200));
    assert_eq!(identify.wwn, Some(0x5000_C500_1234_5678));
    let sizes = (
        identify.logical_sector,
        identify.physical_sector,
        identify.alignment,
    );
    assert_eq!(sizes, (512, 4096, 0));
    assert_eq!(identify.serial.as_str(), "ZL2XYZ01");
}

#[test]
fn capacity_rules() {
    let base = || vblade().word(83, 0).word(86, 0);
    let words = |table: IdentifyTable, low: u16, high: u16| table.word(60, low).word(61, high);
    // 28-bit only, whatever words 100-103 hold.
    let identify = parse(&base().capacity(1 << 30)).unwrap();
    assert_eq!((identify.sectors, identify.lba48), (0x0FFF_FFFF, false));
    // 32 bits are more than a command can address.
    let identify = parse(&words(base(), 0xFFFF, 0xFFFF)).unwrap();
    assert_eq!(identify.sectors, 0x0FFF_FFFF);
    // The bit in either word is enough.
    for number in [83, 86] {
        let identify = parse(&base().word(number, 0x4400).capacity(1 << 30)).unwrap();
        assert_eq!(
            (identify.sectors, identify.lba48),
            (1 << 30, true),
            "word {number}"
        );
        // Hand-written servers forget bit 14.
        let identify = parse(&base().word(number, 0x0400).capacity(1 << 30)).unwrap();
        assert_eq!(
            (identify.sectors, identify.lba48),
            (1 << 30, true),
            "word {number}"
        );
        // A word of ones is a word that is not there.
        let identify = parse(&base().word(number, 0xFFFF).capacity(1 << 30)).unwrap();
        assert_eq!(
            (identify.lba48, identify.flush),
            (false, false),
            "word {number}"
        );
    }
    // No 48-bit capacity: the other one, and its commands.
    let zero = vblade().word(100, 0).word(101, 0).word(102, 0);
    let identify = parse(&zero).unwrap();
    assert_eq!((identify.sectors, identify.lba48), (8192, false));
    assert_eq!(parse(&words(zero, 0, 0)), Err(IdentifyError::ZeroCapacity));
    // The largest capacity there is.
    let identify = parse(&vblade().capacity(u64::MAX)).unwrap();
    assert_eq!(identify.sectors, 0xFFFF_FFFF_FFFF);
    // More than 28 bits and nothing in 60-61 is odd, but no contradiction.
    let identify = parse(&words(vblade().capacity(1 << 30), 0, 0)).unwrap();
    assert_eq!(identify.sectors, 1 << 30);
    assert_eq!(
        parse(&words(vblade(), 0x2001, 0)),
        Err(IdentifyError::CapacityConflict)
    );
}

#[test]
fn no_disk() {
    assert_eq!(parse(&vblade().word(0, 0x8580)), Err(IdentifyError::NotAta));
    assert_eq!(parse(&vblade().word(0, 0xFFFF)), Err(IdentifyError::NotAta));
    assert_eq!(parse(&IdentifyTable::new()), Err(IdentifyError::NoLba));
    assert_eq!(
        parse(&vblade().capacity(0)),
        Err(IdentifyError::ZeroCapacity)
    );
    assert_eq!(Identify::parse(&[0xFF; 512]), Err(IdentifyError::NotAta));
    // A disk that gives a 28-bit capacity has addresses, though it does not say so.
    assert!(parse(&vblade().word(49, 0).word(83, 0).word(86, 0)).is_ok());
    // CompactFlash is a disk with the bit of ATAPI.
    assert!(!parse(&vblade().word(0, 0x848A)).unwrap().ata);
}

#[test]
fn checksum_counts_where_there_is_one() {
    assert!(parse(&vblade().checksum()).is_ok());
    for number in [0, 10, 60, 128, 254] {
        let table = vblade().checksum().word(number, 0x0101);
        assert_eq!(parse(&table), Err(IdentifyError::Checksum), "word {number}");
    }
    assert!(
        parse(&vblade().word(255, 0x12A4)).is_ok(),
        "no signature, no checksum"
    );
}

#[test]
fn cache_and_smart_need_valid_words() {
    let identify = parse(&real().word(255, 0).word(83, 0x0400).word(86, 0x0400)).unwrap();
    assert!(!identify.write_cache_supported && !identify.smart_supported);
    let identify = parse(&real().word(255, 0).word(87, 0x0100)).unwrap();
    assert!(identify.write_cache_supported && !identify.write_cache_enabled);
    assert_eq!(identify.wwn, None);
    let off = parse(&real().word(255, 0).word(85, 0x0041)).unwrap();
    assert!(off.write_cache_supported && !off.write_cache_enabled);
    // Enabled but not supported is not believed.
    let odd = parse(&vblade().word(85, 0xFFFF)).unwrap();
    assert!(!odd.write_cache_enabled);
}

#[test]
fn flush_ext_needs_48_bits() {
    let table = vblade().word(83, 0x7000).word(86, 0x3000);
    let identify = parse(&table).unwrap();
    assert!(identify.flush && !identify.flush_ext && !identify.lba48);
    let identify = parse(&vblade().word(83, 0x4400).word(86, 0)).unwrap();
    assert!(!identify.flush && !identify.flush_ext);
}

#[test]
fn trim_reads_zero_only_when_always() {
    let zero = |word| {
        parse(&vblade().word(169, 1).word(69, word))
            .unwrap()
            .trim_reads_zero
    };
    assert!(zero(0x4020));
    assert!(!zero(0x4000));
    assert!(!zero(0x0020));
    assert!(!parse(&vblade().word(69, 0x4020)).unwrap().trim_reads_zero);
}

#[test]
fn sector_sizes() {
    let sizes = |table: IdentifyTable| {
        let identify = parse(&table).unwrap();
        (
            identify.logical_sector,
            identify.physical_sector,
            identify.alignment,
        )
    };
    assert_eq!(sizes(vblade().word(106, 0x6003)), (512, 4096, 0));
    // Without 01 in the top bits the word says nothing.
    assert_eq!(sizes(vblade().word(106, 0x2003)), (512, 512, 0));
    assert_eq!(sizes(vblade().word(106, 0xFFFF)), (512, 512, 0));
    // A ratio without the bit that says that there is one.
    assert_eq!(sizes(vblade().word(106, 0x4003)), (512, 512, 0));
    for (word, alignment) in [
        (0x4000, 0),
        (0x4001, 7 * 512),
        (0x4007, 512),
        (0x4008, 0),
        (0x4009, 7 * 512),
        (0x0001, 0),
    ] {
        let table = vblade().word(106, 0x6003).word(209, word);
        assert_eq!(sizes(table), (512, 4096, alignment), "word 209 {word:#x}");
    }
    // 4,096-byte logical sectors, which AoE cannot express; the caller sees it.
    assert_eq!(
        sizes(vblade().word(106, 0x5000).word(117, 2048)),
        (4096, 4096, 0)
    );
    let largest = vblade()
        .word(106, 0x700F)
        .word(117, 0xFFFF)
        .word(118, 0xFFFF)
        .word(209, 0x7FFF);
    assert_eq!(sizes(largest), (u32::MAX, u32::MAX, u32::MAX));
    assert_eq!(sizes(vblade().word(106, 0x5000)), (0, 0, 0));
    assert_eq!(sizes(vblade().word(106, 0x600F)), (512, 512 << 15, 0));
}

#[test]
fn rotation_rates() {
    for (word, rate) in [
        (0, 0),
        (1, 1),
        (2, 0),
        (0x0400, 0),
        (0x0401, 0x0401),
        (7200, 7200),
        (0xFFFE, 0xFFFE),
        (0xFFFF, 0),
    ] {
        assert_eq!(
            parse(&vblade().word(217, word)).unwrap().rotation,
            rate,
            "{word:#x}"
        );
    }
}

#[test]
fn the_same_disk() {
    let disk = parse(&real()).unwrap();
    assert!(disk.same_disk(&disk));
    let grown = parse(&real().capacity(1 << 40).checksum()).unwrap();
    assert!(disk.same_disk(&grown), "a disk that grew");
    let updated = parse(&real().firmware(b"NEW").checksum()).unwrap();
    assert!(disk.same_disk(&updated), "a disk with new firmware");
    for other in [
        real().serial(b"ZL2XYZ02"),
        // Not shown, but still another.
        real().serial(b"ZL2XYZ01\x01"),
        real().model(b"other"),
        real().word(111, 1),
        real().word(87, 0x4000),
    ] {
        let other = parse(&other.checksum()).unwrap();
        assert!(!disk.same_disk(&other), "{other:?}");
    }
}

#[test]
fn strings_for_people() {
    let serial = |text: &[u8]| parse(&vblade().serial(text)).unwrap().serial;
    for (text, shown) in [
        (&b""[..], ""),
        (b"                    ", ""),
        (b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", ""),
        (b"  a b  ", "a b"),
        (b"abc\0\0\0", "abc"),
        (b"abc\0def", "abc"),
        (b"abc  \0def", "abc"),
        (b"\x1b[31mred", ""),
        (b"\xff\xfe", ""),
        (b"ok\xc3\xa9", "ok"),
        (b"12345678901234567890", "12345678901234567890"),
        (b"123456789012345678901", "12345678901234567890"),
    ] {
        assert_eq!(serial(text).as_str(), shown, "{text:?}");
        assert_eq!(serial(text).to_string(), shown);
        assert_eq!(serial(text).is_empty(), shown.is_empty());
        let own = parse(&vblade().serial(text)).unwrap().has_own_serial();
        assert_eq!(own, !shown.is_empty(), "{text:?}");
    }
}

proptest! {
    #[test]
    fn any_table_gets_an_answer(mut table in prop::collection::vec(any::<u8>(), 512), clear in any::<bool>()) {
        if clear {
            // Let more of them through the first checks.
            table[1] &= 0x7F;
            table[510] = 0;
        }
        let Ok(identify) = Identify::parse(table.first_chunk().unwrap()) else { return Ok(()) };
        prop_assert!(identify.sectors > 0 && identify.sectors < 1 << 48);
        prop_assert!(identify.lba48 || identify.sectors < 1 << 28);
        prop_assert!(identify.trim_blocks > 0);
        prop_assert!(!identify.flush_ext || identify.lba48);
        prop_assert!(identify.alignment == 0 || identify.alignment < identify.physical_sector
            || identify.physical_sector == u32::MAX);
        for text in [identify.serial.as_str(), identify.model.as_str(), identify.firmware.as_str()] {
            prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(text.trim(), text);
        }
    }

    #[test]
    fn capacity_and_strings_come_back(
        sectors in 1..1_u64 << 48,
        serial in "[!-~]{1,20}", model in "[!-~]{1,40}", firmware in "[!-~]{1,8}",
    ) {
        let table = vblade().capacity(sectors).serial(serial.as_bytes());
        let table = table.model(model.as_bytes()).firmware(firmware.as_bytes()).checksum();
        let identify = parse(&table).unwrap();
        prop_assert_eq!(identify.sectors, sectors);
        prop_assert_eq!(identify.serial.as_str(), serial);
        prop_assert_eq!(identify.model.as_str(), model);
        prop_assert_eq!(identify.firmware.as_str(), firmware);
    }
}
