// SPDX-License-Identifier: BSD-2-Clause
//! What our side sends is what vblade 25 was sent, and what it answered is understood.

mod common;

use aoe_wire::{
    AoeError, AtaFault, AtaReply, Command, ConfigReply, ConfigRequest, EmitError, Header,
    MaskDirective, MaskError, MaskReply, Message, Reserve, TargetAddr, WireError, check_data_len,
    opcode,
};
use common::{OTHER, Row, TAG, addr, announcement, pattern, rows};

fn row(name: &str) -> Row {
    rows()
        .into_iter()
        .find(|row| row.name == name)
        .unwrap_or_else(|| panic!("no row {name}"))
}

/// The header and argument of the reply of a row.
fn reply(name: &str) -> (Header, Vec<u8>) {
    let frame = row(name).reply.expect("this row was answered");
    let (header, argument) = Header::split(&frame).expect("a reply has a header");
    (header, argument.to_vec())
}

/// The registers of a good or failed ATA reply, which is no AoE error.
fn registers(name: &str) -> AtaReply {
    let (header, argument) = reply(name);
    assert_eq!(header.command, Command::ATA, "{name}");
    assert_eq!(header.is_error(), None, "{name}");
    AtaReply::parse(&argument).expect("the reply holds its registers")
}

#[test]
fn every_request_is_emitted_as_it_was_sent() {
    let mut emitted = 0;
    for row in rows() {
        let Some(message) = row.message else { continue };
        let mut out = [0xEE; 2048];
        let len = message.emit_unpadded(&mut out).unwrap();
        assert_eq!(out[..len], row.request, "{}", row.name);
        // The same, padded as a link wants it; what was in the buffer must not be sent.
        let mut out = [0xEE; 2048];
        let len = message.emit(&mut out).unwrap();
        let mut padded = row.request.clone();
        padded.resize(padded.len().max(60), 0);
        assert_eq!(out[..len], padded, "{}", row.name);
        assert!(out[len..].iter().all(|byte| *byte == 0xEE), "{}", row.name);
        emitted += 1;
    }
    assert_eq!(
        emitted,
        rows().len() - 3,
        "all but the three that only a broken client sends"
    );
}

#[test]
fn every_request_is_read_back() {
    for row in rows() {
        if let Some(message) = row.message {
            assert_eq!(Message::parse(&row.request), Ok(message), "{}", row.name);
        }
    }
}

#[test]
fn every_reply_has_the_header_of_its_request() {
    for row in rows() {
        let Some(frame) = row.reply else { continue };
        let request = Header::parse(&row.request).unwrap();
        let reply = Header::parse(&frame).unwrap();
        assert!(
            reply.is_response() && !request.is_response(),
            "{}",
            row.name
        );
        assert_eq!(reply.tag, request.tag, "{}", row.name);
        assert_eq!(reply.command, request.command, "{}", row.name);
        assert_eq!(reply.responder(), Ok(addr()), "{}", row.name);
        assert_eq!(reply.dst, request.src, "{}", row.name);
        // The target's side makes the same header of the request.
        let made = match reply.is_error() {
            Some(error) => request.error_reply(reply.src, addr(), error),
            None => request.reply(reply.src, addr()),
        };
        assert_eq!(made, reply, "{}", row.name);
    }
}

/// The target's side: every measured reply, taken apart and put together again.
#[test]
fn every_reply_is_emitted_as_it_came() {
    for row in rows() {
        let Some(frame) = row.reply else { continue };
        let message = Message::parse(&frame).unwrap_or_else(|e| panic!("{}: {e}", row.name));
        let mut out = [0; 2048];
        let len = message.emit_unpadded(&mut out).unwrap();
        assert_eq!(out[..len], frame, "{}", row.name);
    }
}

#[test]
fn announcement_has_version_and_tag_zero() {
    let frame = announcement();
    let Ok(Message::ConfigReply { header, reply }) = Message::parse(&frame) else {
        panic!("{:?}", Message::parse(&frame));
    };
    assert_eq!((header.version, header.tag), (0, 0));
    assert_eq!(header.addr(), TargetAddr::new(7, 3));
    assert_eq!(
        (reply.buffer_count, reply.firmware, reply.sector_count),
        (16, 0x4019, 2)
    );
    let made = Header {
        version: 0,
        ..Header::announcement(header.dst, header.src, addr())
    };
    assert_eq!(made, header);
}

#[test]
fn config_replies() {
    let cases: [(&str, u8, &[u8], Option<AoeError>); 8] = [
        ("config read, broadcast, wildcards", 0, b"", None),
        ("config read with version 2", 0, b"", None),
        ("config read", 0, b"", None),
        ("config test, empty", 1, b"", None),
        ("config set hello", 3, b"hello", None),
        (
            "config set other",
            3,
            b"hello",
            Some(AoeError::CONFIG_PRESENT),
        ),
        ("config prefix hel", 2, b"hello", None),
        ("config force-set yo", 4, b"yo", None),
    ];
    for (name, command, string, error) in cases {
        let (header, argument) = reply(name);
        assert_eq!(header.is_error(), error, "{name}");
        let expected = ConfigReply {
            buffer_count: 16,
            firmware: 0x4019,
            sector_count: 2,
            version: 1,
            command,
            string,
        };
        assert_eq!(ConfigReply::parse(&argument), Ok(expected), "{name}");
    }
    assert_eq!(reply("config read with version 2").0.version, 2);
    assert_eq!(
        reply("config subcommand 9").0.is_error(),
        Some(AoeError::BAD_ARGUMENT)
    );
}

#[test]
fn config_requests_that_only_a_broken_client_sends() {
    let nine = row("config subcommand 9").request;
    assert_eq!(Message::parse(&nine), Err(WireError::BadSubcommand));
    let long = row("config force-set, 1025 bytes").request;
    assert_eq!(Message::parse(&long), Err(WireError::ConfigLength));
    let string = [b'x'; 1025];
    let request = ConfigRequest {
        command: aoe_wire::ConfigCommand::ForceSet,
        string: &string,
    };
    assert_eq!(request.emit(&mut [0; 2048]), Err(EmitError::TooLong));
    let request = ConfigRequest {
        string: &string[1..],
        ..request
    };
    assert_eq!(request.emit(&mut [0; 2048]), Ok(1032));
    let empty = row("ata frame without argument").request;
    assert_eq!(Message::parse(&empty), Err(WireError::ShortArgument));
}

#[test]
fn reads_bring_their_data() {
    for (name, sectors) in [
        ("identify", 1),
        ("read lba 0 count 1", 1),
        ("read ext, count 2", 2),
        ("read ext, last sector", 1),
    ] {
        let frame = row(name).reply.unwrap();
        assert_eq!(check_data_len(frame.len(), sectors), Ok(()), "{name}");
        assert_eq!(
            check_data_len(frame.len() - 1, sectors),
            Err(WireError::ShortData),
            "{name}"
        );
        let Ok(Message::AtaReply { reply, data, .. }) = Message::parse(&frame) else {
            panic!("{name}");
        };
        assert!(!reply.failed() && reply.fault() == AtaFault::None, "{name}");
        assert_eq!(
            (reply.status, reply.error, reply.count),
            (0x40, 0, 0),
            "{name}"
        );
        assert_eq!(data, pattern(usize::from(sectors) * 512), "{name}");
    }
}

#[test]
fn ata_failures_are_told_apart() {
    for (name, fault) in [
        ("read ext far past the end", AtaFault::NotFound),
        ("read ext, straddling the end", AtaFault::NotFound),
        ("write ext past the end", AtaFault::NotFound),
        ("write ext, read-only export", AtaFault::Aborted),
        ("dsm trim", AtaFault::Aborted),
        ("flush ext", AtaFault::Aborted),
        ("set features, write cache on", AtaFault::Aborted),
        ("smart return status", AtaFault::Aborted),
        ("smart read data, count 1", AtaFault::Aborted),
        ("read verify", AtaFault::Aborted),
        ("nop", AtaFault::Aborted),
        ("read dma", AtaFault::Aborted),
        ("read log ext", AtaFault::Aborted),
        ("write ext, count 1", AtaFault::None),
        ("read ext, count 0", AtaFault::None),
        ("check power", AtaFault::None),
    ] {
        let reply = registers(name);
        assert_eq!(reply.fault(), fault, "{name}");
        assert_eq!(reply.failed(), fault != AtaFault::None, "{name}");
    }
    assert!(registers("flush ext").flush_failed(opcode::FLUSH_EXT));
    assert_eq!(registers("check power").count, 0xFF);
}

#[test]
fn flush_succeeds_without_ready_and_with_chance_in_the_error_register() {
    for (name, error) in [
        ("flush, first", 0),
        ("flush after an aborted command, E set", 4),
        ("flush, count 1", 4),
    ] {
        let reply = registers(name);
        assert_eq!((reply.status, reply.error), (0, error), "{name}");
        assert!(!reply.flush_failed(opcode::FLUSH), "{name}");
        assert_eq!(reply.fault(), AtaFault::None, "{name}");
    }
}

#[test]
fn protocol_errors() {
    for (name, error) in [
        ("identify, count 0", AoeError::BAD_ARGUMENT),
        ("read ext, count 3", AoeError::BAD_ARGUMENT),
        ("write ext, count 2 with 512 bytes", AoeError::BAD_ARGUMENT),
        ("mask subcommand 5", AoeError::BAD_ARGUMENT),
        ("reserve subcommand 7", AoeError::BAD_ARGUMENT),
        ("command 0x55", AoeError::UNKNOWN_COMMAND),
        ("command 0xf0", AoeError::UNKNOWN_COMMAND),
        ("read while reserved by another", AoeError::RESERVED),
        ("flush while reserved by another", AoeError::RESERVED),
        ("reserve set by another", AoeError::RESERVED),
    ] {
        let frame = row(name).reply.unwrap();
        let Ok(Message::Error {
            header,
            error: seen,
            ..
        }) = Message::parse(&frame)
        else {
            panic!("{name}");
        };
        assert_eq!((seen, header.tag), (error, TAG), "{name}");
    }
}

#[test]
fn mask_replies() {
    let (_, argument) = reply("mask read, empty");
    let Ok(MaskReply::List { list, .. }) = MaskReply::parse(&argument) else {
        panic!()
    };
    assert!(list.is_empty());
    let (header, argument) = reply("mask edit with directive 7");
    assert_eq!(header.is_error(), None, "a mask error is not an AoE error");
    let Ok(MaskReply::Failed { error, index, .. }) = MaskReply::parse(&argument) else {
        panic!()
    };
    assert_eq!((error, index), (MaskError::BAD_DIRECTIVE, 0));
    let (_, argument) = reply("mask add another");
    let Ok(MaskReply::List { list, .. }) = MaskReply::parse(&argument) else {
        panic!()
    };
    assert!(list.iter().eq([MaskDirective::entry(OTHER)]));
    assert_eq!(list.len(), 1);
}

#[test]
fn reserve_replies() {
    for (name, macs) in [
        ("reserve read", &[][..]),
        ("reserve set", &[OTHER][..]),
        ("reserve set by another", &[OTHER][..]),
        ("reserve force-set, none", &[][..]),
    ] {
        let (_, argument) = reply(name);
        let reserve = Reserve::parse(&argument).unwrap();
        assert!(reserve.macs.iter().eq(macs.iter().copied()), "{name}");
        assert_eq!(reserve.macs.len(), macs.len(), "{name}");
    }
}
