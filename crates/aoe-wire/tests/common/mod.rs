// SPDX-License-Identifier: BSD-2-Clause
//! The exchanges that were measured with vblade 25: shelf 7, slot 3, 8,192 sectors, MTU 1500,
//! buffer count 16. Each row is a request and what came back, byte by byte.

#![allow(dead_code, reason = "every test program uses its own part")]

mod ata_rows;

use aoe_wire::{
    AddrPattern, AtaRequest, Command, ConfigCommand, ConfigRequest, DirectiveCommand, Header,
    MacAddr, MacList, MaskCommand, MaskDirective, MaskList, MaskRequest, Message, Reserve,
    ReserveCommand, TargetAddr,
};

pub(crate) const SERVER: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(crate) const CLIENT: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
pub(crate) const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
pub(crate) const TAG: u32 = 0x1122_3344;

pub(crate) fn addr() -> TargetAddr {
    TargetAddr::new(7, 3).expect("7.3 is an address")
}

/// One exchange.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// What our side has to send, if it can say this at all.
    pub(crate) message: Option<Message<'static>>,
    /// The request, as it has to look before padding.
    pub(crate) request: Vec<u8>,
    /// What the server sent back, as it came.
    pub(crate) reply: Option<Vec<u8>>,
}

/// Bytes of a hexadecimal text with spaces.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    assert!(digits.len().is_multiple_of(2), "{text}");
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Data that differ from byte to byte.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8).collect()
}

static SECTOR: [u8; 512] = [0x5A; 512];
static SECTORS: [u8; 1024] = [0xA5; 1024];
static LONG: [u8; 1025] = [b'x'; 1025];

/// A response: `head` is bytes 14 and 15, `argument` is followed by data up to `len` bytes.
fn response(len: usize, head: &str, command: u8, argument: &str) -> Option<Vec<u8>> {
    let mut frame = hex("020000000002 020000000001 88a2");
    frame.extend(hex(head));
    frame.extend(hex("0007 03"));
    frame.push(command);
    frame.extend(hex("11223344"));
    frame.extend(hex(argument));
    assert!(frame.len() <= len, "{argument}");
    if len > 60 {
        // Only data make a reply that long; they start after the registers.
        frame.resize(36, 0);
        frame.extend(pattern(len - 36));
    }
    frame.resize(len, 0);
    Some(frame)
}

/// A unicast request with this argument.
fn request(command: u8, argument: &str) -> Vec<u8> {
    let mut frame = hex("020000000001 020000000002 88a2 10 00 0007 03");
    frame.push(command);
    frame.extend(hex("11223344"));
    frame.extend(hex(argument));
    frame
}

fn header(command: u8) -> Header {
    Header::request(SERVER, CLIENT, addr(), Command(command), TAG)
}

fn config(
    name: &'static str,
    command: ConfigCommand,
    string: &'static [u8],
    argument: &str,
    reply: Option<Vec<u8>>,
) -> Row {
    let request_ = ConfigRequest { command, string };
    let message = Some(Message::ConfigRequest {
        header: header(1),
        request: request_,
    });
    let mut bytes = request(1, argument);
    bytes.extend(string);
    Row {
        name,
        message,
        request: bytes,
        reply,
    }
}

fn ata(
    name: &'static str,
    registers: AtaRequest,
    data: &'static [u8],
    argument: &str,
    reply: Option<Vec<u8>>,
) -> Row {
    let message = Some(Message::AtaRequest {
        header: header(0),
        request: registers,
        data,
    });
    let mut bytes = request(0, argument);
    bytes.extend(data);
    Row {
        name,
        message,
        request: bytes,
        reply,
    }
}

fn mask(
    name: &'static str,
    command: u8,
    directives: &'static [MaskDirective],
    argument: &str,
    reply: Option<Vec<u8>>,
) -> Row {
    let request_ = MaskRequest {
        command: MaskCommand(command),
        list: MaskList::new(directives),
    };
    let message = Some(Message::MaskRequest {
        header: header(2),
        request: request_,
    });
    Row {
        name,
        message,
        request: request(2, argument),
        reply,
    }
}

fn reserve(
    name: &'static str,
    command: u8,
    macs: &'static [MacAddr],
    argument: &str,
    reply: Option<Vec<u8>>,
) -> Row {
    let request_ = Reserve {
        command: ReserveCommand(command),
        macs: MacList::new(macs),
    };
    let message = Some(Message::ReserveRequest {
        header: header(3),
        request: request_,
    });
    Row {
        name,
        message,
        request: request(3, argument),
        reply,
    }
}

fn config_rows() -> Vec<Row> {
    use ConfigCommand::{ForceSet, Read, Set, Test, TestPrefix};
    let read = "0010 4019 02 10 0000";
    let query = Message::ConfigRequest {
        header: Header {
            dst: MacAddr::BROADCAST,
            ..Header::discover(CLIENT, TAG)
        },
        request: ConfigRequest::READ,
    };
    let wrong_shelf = AddrPattern {
        shelf: Some(8),
        slot: Some(3),
    };
    vec![
        Row {
            name: "config read, broadcast, wildcards",
            message: Some(query),
            request: hex("ffffffffffff 020000000002 88a2 10 00 ffff ff 01 11223344")
                .into_iter()
                .chain([0; 8])
                .collect(),
            reply: response(32, "1800", 1, read),
        },
        Row {
            name: "config read, wrong shelf",
            message: Some(Message::ConfigRequest {
                header: Header::query(SERVER, CLIENT, wrong_shelf, TAG),
                request: ConfigRequest::READ,
            }),
            request: hex("020000000001 020000000002 88a2 10 00 0008 03 01 11223344")
                .into_iter()
                .chain([0; 8])
                .collect(),
            reply: None,
        },
        Row {
            name: "config read with version 2",
            message: Some(Message::ConfigRequest {
                header: Header {
                    version: 2,
                    ..header(1)
                },
                request: ConfigRequest::READ,
            }),
            request: hex("020000000001 020000000002 88a2 20 00 0007 03 01 11223344")
                .into_iter()
                .chain([0; 8])
                .collect(),
            reply: response(32, "2800", 1, read),
        },
        config(
            "config read",
            Read,
            b"",
            "0000 0000 00 00 0000",
            response(32, "1800", 1, read),
        ),
        config(
            "config test, empty",
            Test,
            b"",
            "0000 0000 00 01 0000",
            response(32, "1800", 1, "0010 4019 02 11 0000"),
        ),
        config("config test x", Test, b"x", "0000 0000 00 01 0001", None),
        config(
            "config set hello",
            Set,
            b"hello",
            "0000 0000 00 03 0005",
            response(37, "1800", 1, "0010 4019 02 13 0005 68656c6c6f"),
        ),
        config(
            "config set other",
            Set,
            b"other",
            "0000 0000 00 03 0005",
            response(37, "1c04", 1, "0010 4019 02 13 0005 68656c6c6f"),
        ),
        config(
            "config prefix hel",
            TestPrefix,
            b"hel",
            "0000 0000 00 02 0003",
            response(37, "1800", 1, "0010 4019 02 12 0005 68656c6c6f"),
        ),
        config(
            "config force-set yo",
            ForceSet,
            b"yo",
            "0000 0000 00 04 0002",
            response(34, "1800", 1, "0010 4019 02 14 0002 796f"),
        ),
        Row {
            name: "config subcommand 9",
            message: None,
            request: request(1, "0000 0000 00 09 0000"),
            reply: response(32, "1c02", 1, "0010 4019 02 19 0000"),
        },
        Row {
            name: "config force-set, 1025 bytes",
            message: None,
            request: request(1, "0000 0000 00 04 0401")
                .into_iter()
                .chain(LONG)
                .collect(),
            reply: None,
        },
    ]
}

fn list_rows() -> Vec<Row> {
    const BAD: MaskDirective = MaskDirective {
        command: DirectiveCommand(7),
        mac: OTHER,
    };
    const ADD: MaskDirective = MaskDirective {
        command: DirectiveCommand::ADD,
        mac: OTHER,
    };
    vec![
        mask(
            "mask read, empty",
            0,
            &[],
            "00 00 00 00",
            response(28, "1800", 2, "00 00 00 00"),
        ),
        mask(
            "mask edit with directive 7",
            1,
            &[BAD],
            "00 01 00 01 0007 020000000009",
            response(28, "1800", 2, "00 01 02 00"),
        ),
        mask(
            "mask subcommand 5",
            5,
            &[],
            "00 05 00 00",
            response(28, "1c02", 2, "00 05 00 00"),
        ),
        mask(
            "mask add another",
            1,
            &[ADD],
            "00 01 00 01 0001 020000000009",
            response(36, "1800", 2, "00 01 00 01 0000 020000000009"),
        ),
        reserve(
            "reserve read",
            0,
            &[],
            "00 00",
            response(26, "1800", 3, "00 00"),
        ),
        reserve(
            "reserve set",
            1,
            &[OTHER],
            "01 01 020000000009",
            response(32, "1800", 3, "01 01 020000000009"),
        ),
        reserve(
            "reserve set by another",
            1,
            &[CLIENT],
            "01 01 020000000002",
            response(32, "1c06", 3, "01 01 020000000009"),
        ),
        reserve(
            "reserve force-set, none",
            2,
            &[],
            "02 00",
            response(26, "1800", 3, "02 00"),
        ),
        reserve(
            "reserve subcommand 7",
            7,
            &[],
            "07 00",
            response(26, "1c02", 3, "07 00"),
        ),
        Row {
            name: "command 0x55",
            message: Some(Message::Unknown {
                header: header(0x55),
                argument: b"\x01\x02",
            }),
            request: request(0x55, "01 02"),
            reply: response(60, "1c01", 0x55, "01 02"),
        },
        Row {
            name: "command 0xf0",
            message: Some(Message::Vendor {
                header: header(0xF0),
                argument: b"\x01\x02",
            }),
            request: request(0xF0, "01 02"),
            reply: response(60, "1c01", 0xF0, "01 02"),
        },
    ]
}

/// The start-up advertisement, which nobody asked for: version and tag 0.
pub(crate) fn announcement() -> Vec<u8> {
    hex("ffffffffffff 020000000001 88a2 08 00 0007 03 01 00000000 0010 4019 02 10 0000")
}

/// Every exchange that was measured.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = config_rows();
    rows.extend(ata_rows::ata_read_rows());
    rows.extend(ata_rows::ata_write_rows());
    rows.extend(ata_rows::ata_other_rows());
    rows.extend(list_rows());
    rows
}

/// Every frame of every exchange, with a name.
pub(crate) fn frames() -> Vec<(String, Vec<u8>)> {
    let mut frames = vec![("announcement".to_owned(), announcement())];
    for row in rows() {
        frames.push((format!("{}: request", row.name), row.request));
        if let Some(reply) = row.reply {
            frames.push((format!("{}: reply", row.name), reply));
        }
    }
    frames
}
