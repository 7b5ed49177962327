// SPDX-License-Identifier: BSD-2-Clause
//! The rules for single values: status registers, addresses, sizes, and what people read.

mod common;

use aoe_wire::{
    AoeError, AtaFault, AtaFlags, AtaReply, AtaRequest, Command, ConfigReply, FrameText, Header,
    MacAddr, TargetAddr, emit_trim_range, opcode, sectors_per_frame,
};
use common::{CLIENT, SERVER, addr, announcement, hex, rows};

fn reply(status: u8, error: u8) -> AtaReply {
    AtaReply {
        flags: AtaFlags::NONE,
        error,
        count: 0,
        status,
        lba: [0; 6],
    }
}

#[test]
fn every_status_byte_is_judged_by_the_same_four_bits() {
    for status in 0..=255 {
        assert_eq!(reply(status, 0).failed(), status & 0xA9 != 0, "{status:#x}");
        assert_eq!(
            reply(status, 0xFF).fault() == AtaFault::None,
            !reply(status, 0xFF).failed(),
            "{status:#x}"
        );
    }
}

#[test]
fn a_flush_may_come_back_with_its_own_command_as_status() {
    for status in 0..=255 {
        let failed = reply(status, 0).failed();
        assert_eq!(
            reply(status, 0).flush_failed(opcode::FLUSH),
            failed && status != 0xE7
        );
        assert_eq!(
            reply(status, 0).flush_failed(opcode::FLUSH_EXT),
            failed && status != 0xEA
        );
        // The exception is for flushes alone.
        assert_eq!(reply(status, 0).flush_failed(opcode::IDENTIFY), failed);
        assert_eq!(reply(status, 0).flush_failed(opcode::WRITE), failed);
    }
}

#[test]
fn faults_of_known_servers() {
    for (status, error, fault) in [
        (0x41, 0x04, AtaFault::Aborted),
        (0x41, 0x10, AtaFault::NotFound),
        (0x41, 0x40, AtaFault::Uncorrectable),
        // kvblade answers without DRDY, and an I/O error with ERR and DF, UNC and ABRT.
        (0x01, 0x04, AtaFault::Aborted),
        (0x01, 0x10, AtaFault::NotFound),
        (0x21, 0x44, AtaFault::Uncorrectable),
        (0x20, 0x00, AtaFault::DeviceFault),
        (0x61, 0x04, AtaFault::DeviceFault),
        (0x80, 0x00, AtaFault::Busy),
        (0xFF, 0xFF, AtaFault::Busy),
        (0x48, 0x00, AtaFault::Busy),
        (0x41, 0x80, AtaFault::Other),
        (0x41, 0x00, AtaFault::Other),
        // Without ERR the error register says nothing.
        (0x50, 0xFF, AtaFault::None),
        (0x00, 0x04, AtaFault::None),
        (0x08, 0x10, AtaFault::Busy),
    ] {
        assert_eq!(
            reply(status, error).fault(),
            fault,
            "{status:#x} {error:#x}"
        );
    }
}

#[test]
fn smart_status() {
    let answer = |lba| {
        AtaReply {
            lba,
            ..reply(0x50, 0)
        }
        .smart_healthy()
    };
    assert_eq!(answer([0, 0x4F, 0xC2, 0, 0, 0]), Some(true));
    assert_eq!(answer([0, 0xF4, 0x2C, 0, 0, 0]), Some(false));
    assert_eq!(answer([0, 0xF4, 0xC2, 0, 0, 0]), None);
    assert!(
        AtaRequest::smart(0xD6, 1, 9)
            .flags
            .contains(AtaFlags::WRITE)
    );
    assert!(
        !AtaRequest::smart(0xD5, 1, 9)
            .flags
            .contains(AtaFlags::WRITE)
    );
}

#[test]
fn a_trim_block_byte_by_byte() {
    let mut block = [0xEE; 512];
    assert_eq!(
        emit_trim_range(&mut block, 0x0605_0403_0201, 65_536),
        65_536
    );
    let mut expected = hex("010203040506 ffff 000303040506 0100");
    // 0x060504030201 + 0xffff = 0x060504040200
    expected[8..14].copy_from_slice(&[0x00, 0x02, 0x04, 0x04, 0x05, 0x06]);
    expected.resize(512, 0);
    assert_eq!(block[..], expected);
    assert_eq!(emit_trim_range(&mut block, 5, 0), 0);
    assert_eq!(block, [0; 512]);
    assert_eq!(emit_trim_range(&mut block, 0, u64::MAX), 64 * 65_535);
    assert_eq!(emit_trim_range(&mut block, u64::MAX, u64::MAX), 0);
    assert_eq!(block, [0; 512]);
}

#[test]
fn sectors_of_a_frame() {
    for (mtu, sectors) in [
        (0, 0),
        (22, 0),
        (533, 0),
        (534, 1),
        (1045, 1),
        (1046, 2),
        (1500, 2),
        (4117, 7),
        (4118, 8),
        (4200, 8),
        (8726, 17),
        (9000, 17),
        (65_046, 127),
        (65_535, 127),
        (u32::MAX, 255),
    ] {
        assert_eq!(sectors_per_frame(mtu), sectors, "{mtu}");
    }
}

#[test]
fn config_values_of_old_and_broken_servers() {
    let reply = |buffer_count, sector_count| ConfigReply {
        buffer_count,
        firmware: 0,
        sector_count,
        version: 1,
        command: 0,
        string: b"",
    };
    assert_eq!((reply(0, 0).window(), reply(0, 0).max_sectors()), (1, 2));
    assert_eq!((reply(1, 1).window(), reply(1, 1).max_sectors()), (1, 1));
    assert_eq!(
        (reply(1024, 255).window(), reply(1024, 255).max_sectors()),
        (1024, 255)
    );
}

#[test]
fn addresses() {
    assert_eq!(TargetAddr::new(0xFFFF, 0), None);
    assert_eq!(TargetAddr::new(0, 0xFF), None);
    let last = TargetAddr::new(0xFFFE, 0xFE).unwrap();
    assert_eq!(
        (last.shelf(), last.slot(), last.to_string()),
        (65534, 254, "65534.254".into())
    );
    assert_eq!("e7.0".parse(), Ok(TargetAddr::new(7, 0).unwrap()));
    assert_eq!("007.00".parse(), Ok(TargetAddr::new(7, 0).unwrap()));
    for text in [
        "",
        ".",
        "7",
        "7.",
        ".0",
        "7.0.",
        "7.0.1",
        "+7.0",
        "7.+0",
        "-1.0",
        "65535.0",
        "0.255",
        "65536.0",
        "0.256",
        "7.0 ",
        " 7.0",
        "ee7.0",
        "E7.0",
        "7,0",
        "0x7.0",
        "99999999999.0",
        "7.99999999999",
        "*.*",
        "e",
        "e.",
        "7.:",
        ":.0",
        "/.0",
    ] {
        assert!(text.parse::<TargetAddr>().is_err(), "{text:?}");
    }
    let mut sorted =
        [(7, 1), (7, 0), (1, 9), (300, 0)].map(|(a, b)| TargetAddr::new(a, b).unwrap());
    sorted.sort();
    assert_eq!(
        sorted.map(|addr| addr.to_string()),
        ["1.9", "7.0", "7.1", "300.0"]
    );
}

#[test]
fn ethernet_addresses() {
    let mac: MacAddr = "2:0:aB:00:0:9".parse().unwrap();
    assert_eq!(
        (mac, mac.to_string()),
        (MacAddr([2, 0, 0xAB, 0, 0, 9]), "02:00:ab:00:00:09".into())
    );
    for text in [
        "",
        ":::::",
        "02:00:00:00:00",
        "02:00:00:00:00:00:00",
        "02:00:00:00:00:001",
        "02:00:00:00:00:+1",
        "02:00:00:00:00:0g",
        "02-00-00-00-00-01",
        "020000000001",
        "02:00:00:00:00:",
        " 02:00:00:00:00:01",
        "02:00:00:00:00:é",
    ] {
        assert!(text.parse::<MacAddr>().is_err(), "{text:?}");
    }
    assert!(MacAddr::BROADCAST.is_multicast() && !MacAddr::BROADCAST.is_unicast());
    assert!(!MacAddr::ZERO.is_multicast() && !MacAddr::ZERO.is_unicast());
    assert!(MacAddr([1, 0, 0, 0, 0, 0]).is_multicast());
    assert!(SERVER.is_unicast() && !SERVER.is_multicast());
}

#[test]
fn error_flag_counts_in_responses_only() {
    let header = Header::request(SERVER, CLIENT, addr(), Command::ATA, 1);
    let error = |flags| {
        Header {
            flags,
            error: 6,
            ..header
        }
        .is_error()
    };
    assert_eq!(error(Header::ERROR), None);
    assert_eq!(error(Header::RESPONSE), None);
    assert_eq!(
        error(Header::RESPONSE | Header::ERROR),
        Some(AoeError::RESERVED)
    );
}

#[test]
fn vendor_commands() {
    for code in 0..=255 {
        assert_eq!(Command(code).is_vendor(), code >= 0xF0);
    }
}

#[test]
fn a_frame_in_one_line() {
    let row = |name: &str| rows().into_iter().find(|row| row.name == name).unwrap();
    let text = |frame: &[u8]| FrameText(frame).to_string();
    assert_eq!(
        text(&row("read ext, count 2").request),
        "02:00:00:00:00:02 > 02:00:00:00:00:01 7.3 tag 0x11223344 ata request \
         read-ext lba 5 count 2 flags 0x40 data 0"
    );
    assert_eq!(
        text(&row("write ext past the end").reply.unwrap()),
        "02:00:00:00:00:01 > 02:00:00:00:00:02 7.3 tag 0x11223344 ata response \
         status 0x41 error 0x10 count 1 flags 0x41 (address not found) data 24"
    );
    assert_eq!(
        text(&announcement()),
        "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff 7.3 tag 0x00000000 config response version 0 \
         read buffers 16 firmware 0x4019 sectors 2 version 1 string \"\""
    );
    assert_eq!(
        text(&row("config read, broadcast, wildcards").request),
        "02:00:00:00:00:02 > ff:ff:ff:ff:ff:ff *.* tag 0x11223344 config request read string \"\""
    );
    assert_eq!(
        text(&row("reserve set by another").reply.unwrap()),
        "02:00:00:00:00:01 > 02:00:00:00:00:02 7.3 tag 0x11223344 reserve response \
         error: target is reserved argument 0101020000000009"
    );
    assert_eq!(
        text(&row("mask add another").request),
        "02:00:00:00:00:02 > 02:00:00:00:00:01 7.3 tag 0x11223344 mask request \
         edit [+02:00:00:00:00:09]"
    );
    assert_eq!(
        text(&row("mask edit with directive 7").reply.unwrap()),
        "02:00:00:00:00:01 > 02:00:00:00:00:02 7.3 tag 0x11223344 mask response \
         edit bad directive at directive 0"
    );
    assert_eq!(
        text(&row("ata frame without argument").request),
        "02:00:00:00:00:02 > 02:00:00:00:00:01 7.3 tag 0x11223344 ata request \
         malformed: frame shorter than the command's argument: 24 bytes \
         02000000000102000000000288a2100000070300112233\
         44"
    );
    assert_eq!(
        text(&[1, 2]),
        "malformed: frame shorter than its headers: 2 bytes 0102"
    );
    assert_eq!(
        text(&[]),
        "malformed: frame shorter than its headers: 0 bytes "
    );
    let ip = hex("020000000001 020000000002 0800 45000000");
    assert!(text(&ip).starts_with("malformed: EtherType is not AoE: 18 bytes 0200"));
}
