// SPDX-License-Identifier: BSD-2-Clause
//! The exchanges of Issue ATA Command.

use aoe_wire::{AtaFlags, AtaRequest, opcode};

use super::{Row, SECTOR, SECTORS, ata, request, response};

pub(super) fn ata_read_rows() -> Vec<Row> {
    vec![
        ata(
            "identify",
            AtaRequest::identify(),
            &[],
            "00 00 01 ec 00 00 00 a0 00 00 0000",
            response(548, "1800", 0, "00 00 00 40 000000a00000 0000"),
        ),
        ata(
            "identify, count 0",
            AtaRequest {
                count: 0,
                ..AtaRequest::identify()
            },
            &[],
            "00 00 00 ec 00 00 00 a0 00 00 0000",
            response(60, "1c02", 0, "00 00 00 ec 000000a00000 0000"),
        ),
        ata(
            "read lba 0 count 1",
            AtaRequest::read(0, 1, false),
            &[],
            "00 00 01 20 00 00 00 e0 00 00 0000",
            response(548, "1800", 0, "00 00 00 40 000000e00000 0000"),
        ),
        ata(
            "read ext, count 2",
            AtaRequest::read(5, 2, true),
            &[],
            "40 00 02 24 05 00 00 00 00 00 0000",
            response(1060, "1800", 0, "40 00 00 40 050000000000 0000"),
        ),
        ata(
            "read ext, count 3",
            AtaRequest::read(0, 3, true),
            &[],
            "40 00 03 24 00 00 00 00 00 00 0000",
            response(60, "1c02", 0, "40 00 03 24 000000000000 0000"),
        ),
        ata(
            "read ext, count 0",
            AtaRequest::read(0, 0, true),
            &[],
            "40 00 00 24 00 00 00 00 00 00 0000",
            response(60, "1800", 0, "40 00 00 40 000000000000 0000"),
        ),
        ata(
            "read ext far past the end",
            AtaRequest::read(0x0605_0403_0201, 1, true),
            &[],
            "40 00 01 24 01 02 03 04 05 06 0000",
            response(36, "1800", 0, "40 10 01 41 010203040506 0000"),
        ),
        ata(
            "read ext, straddling the end",
            AtaRequest::read(8191, 2, true),
            &[],
            "40 00 02 24 ff 1f 00 00 00 00 0000",
            response(36, "1800", 0, "40 10 02 41 ff1f00000000 0000"),
        ),
        ata(
            "read ext, last sector",
            AtaRequest::read(8191, 1, true),
            &[],
            "40 00 01 24 ff 1f 00 00 00 00 0000",
            response(548, "1800", 0, "40 00 00 40 ff1f00000000 0000"),
        ),
        ata(
            "read while reserved by another",
            AtaRequest::read(0, 1, true),
            &[],
            "40 00 01 24 00 00 00 00 00 00 0000",
            response(60, "1c06", 0, "40 00 01 24 000000000000 0000"),
        ),
    ]
}

pub(super) fn ata_write_rows() -> Vec<Row> {
    vec![
        ata(
            "write ext, count 1",
            AtaRequest::write(5, 1, true),
            &SECTOR,
            "41 00 01 34 05 00 00 00 00 00 0000",
            echo(&SECTOR, "1800", "41 00 00 40 050000000000 0000"),
        ),
        ata(
            "write ext, count 2 with 512 bytes",
            AtaRequest::write(5, 2, true),
            &SECTOR,
            "41 00 02 34 05 00 00 00 00 00 0000",
            echo(&SECTOR, "1c02", "41 00 02 34 050000000000 0000"),
        ),
        ata(
            "write ext past the end",
            AtaRequest::write(8192, 1, true),
            &SECTOR,
            "41 00 01 34 00 20 00 00 00 00 0000",
            echo(&SECTOR, "1800", "41 10 01 41 002000000000 0000"),
        ),
        ata(
            "write ext, read-only export",
            AtaRequest::write(5, 1, true),
            &SECTOR,
            "41 00 01 34 05 00 00 00 00 00 0000",
            echo(&SECTOR, "1800", "41 04 01 41 050000000000 0000"),
        ),
        ata(
            "dsm trim",
            AtaRequest::trim(2),
            &SECTORS,
            "41 01 02 06 00 00 00 00 00 00 0000",
            echo(&SECTORS, "1800", "41 04 02 41 000000000000 0000"),
        ),
    ]
}

pub(super) fn ata_other_rows() -> Vec<Row> {
    let flush = AtaRequest::flush(false);
    let aborted = |first: &str| format!("{first} 41 000000000000 0000");
    vec![
        ata(
            "flush, first",
            flush,
            &[],
            "00 00 00 e7 00 00 00 a0 00 00 0000",
            response(60, "1800", 0, "00 00 00 00 000000a00000 0000"),
        ),
        ata(
            "flush after an aborted command, E set",
            AtaRequest {
                flags: AtaFlags::EXT,
                ..flush
            },
            &[],
            "40 00 00 e7 00 00 00 a0 00 00 0000",
            response(60, "1800", 0, "40 04 00 00 000000a00000 0000"),
        ),
        ata(
            "flush, count 1",
            AtaRequest { count: 1, ..flush },
            &[],
            "00 00 01 e7 00 00 00 a0 00 00 0000",
            response(36, "1800", 0, "00 04 01 00 000000a00000 0000"),
        ),
        ata(
            "flush while reserved by another",
            flush,
            &[],
            "00 00 00 e7 00 00 00 a0 00 00 0000",
            response(60, "1c06", 0, "00 00 00 e7 000000a00000 0000"),
        ),
        ata(
            "flush ext",
            AtaRequest::flush(true),
            &[],
            "40 00 00 ea 00 00 00 00 00 00 0000",
            response(60, "1800", 0, &aborted("40 04 00")),
        ),
        ata(
            "check power",
            AtaRequest::check_power(),
            &[],
            "00 00 00 e5 00 00 00 a0 00 00 0000",
            response(60, "1800", 0, "00 00 ff 40 000000a00000 0000"),
        ),
        ata(
            "set features, write cache on",
            AtaRequest::set_features(0x02),
            &[],
            "00 02 00 ef 00 00 00 a0 00 00 0000",
            response(60, "1800", 0, "00 04 00 41 000000a00000 0000"),
        ),
        ata(
            "smart return status",
            AtaRequest::smart(0xDA, 0, 0),
            &[],
            "00 da 00 b0 00 4f c2 a0 00 00 0000",
            response(60, "1800", 0, "00 04 00 41 004fc2a00000 0000"),
        ),
        ata(
            "smart read data, count 1",
            AtaRequest::smart(0xD0, 1, 0),
            &[],
            "00 d0 01 b0 00 4f c2 a0 00 00 0000",
            response(36, "1800", 0, "00 04 01 41 004fc2a00000 0000"),
        ),
        ata(
            "read verify",
            raw(0x40),
            &[],
            &plain("40"),
            response(60, "1800", 0, &aborted("000400")),
        ),
        ata(
            "nop",
            raw(0x00),
            &[],
            &plain("00"),
            response(60, "1800", 0, &aborted("000400")),
        ),
        ata(
            "read dma",
            raw(0xC8),
            &[],
            &plain("c8"),
            response(60, "1800", 0, &aborted("000400")),
        ),
        ata(
            "read log ext",
            raw(opcode::READ_LOG_EXT),
            &[],
            &plain("2f"),
            response(60, "1800", 0, &aborted("000400")),
        ),
        Row {
            name: "ata frame without argument",
            message: None,
            request: request(0, ""),
            reply: None,
        },
    ]
}

/// A reply of 60 bytes: the server answers in the buffer of the request, so that the start of the
/// data comes back behind the registers.
fn echo(data: &[u8], head: &str, argument: &str) -> Option<Vec<u8>> {
    let mut frame = response(36, head, 0, argument)?;
    frame.extend_from_slice(data.get(..24)?);
    Some(frame)
}

/// Registers with nothing but a command in them.
fn raw(command: u8) -> AtaRequest {
    AtaRequest {
        flags: AtaFlags::NONE,
        feature: 0,
        count: 0,
        command,
        lba: [0; 6],
    }
}

fn plain(command: &str) -> String {
    format!("000000 {command} 000000000000 0000")
}
