// SPDX-License-Identifier: BSD-2-Clause
//! Damaged frames: cut at every length, with every header byte altered, and of random bytes.

mod common;

use aoe_wire::{
    AtaReply, AtaRequest, Command, ConfigReply, ConfigRequest, ETHERTYPE, EmitError, FrameText,
    Header, Identify, MaskReply, MaskRequest, Message, Reserve, TrimRanges, WireError,
};
use common::{frames, rows};
use proptest::prelude::*;

/// What a frame of this kind must be called when only `len` bytes of it are left.
fn expected_when_cut(frame: &[u8], len: usize) -> Option<WireError> {
    if len < 24 {
        return Some(WireError::ShortFrame);
    }
    let header = Header::parse(frame).unwrap();
    if header.is_error().is_some() {
        return None;
    }
    let declared = |at: usize| usize::from(frame[at]);
    let (fixed, list, error) = match header.command {
        Command::ATA => (36, 0, WireError::ShortArgument),
        Command::CONFIG => (
            32,
            declared(30) * 256 + declared(31),
            WireError::ConfigLength,
        ),
        // A mask error has no list: its count is the index of the directive.
        Command::MASK if header.is_response() && frame[26] != 0 => (28, 0, WireError::ListLength),
        Command::MASK => (28, declared(27) * 8, WireError::ListLength),
        Command::RESERVE => (26, declared(25) * 6, WireError::ListLength),
        _ => (24, 0, WireError::ShortArgument),
    };
    if len < fixed {
        Some(WireError::ShortArgument)
    } else if len < fixed + list {
        Some(error)
    } else {
        None
    }
}

#[test]
fn every_truncation_is_named() {
    let mut cut = 0;
    for (name, frame) in frames() {
        // These two are broken as they are.
        if name.starts_with("config subcommand 9: request") || name.contains("1025 bytes") {
            continue;
        }
        for len in 0..=frame.len() {
            let parsed = Message::parse(&frame[..len]);
            assert_eq!(
                parsed.err(),
                expected_when_cut(&frame, len),
                "{name} cut at {len}"
            );
            cut += 1;
        }
    }
    assert!(cut > 5000, "{cut} frames are too few to be all of them");
}

#[test]
fn broken_config_requests_stay_broken_at_every_length() {
    for row in rows()
        .into_iter()
        .filter(|row| row.name.contains("subcommand 9"))
    {
        for len in 0..row.request.len() {
            assert!(Message::parse(&row.request[..len]).is_err(), "cut at {len}");
        }
    }
    for row in rows()
        .into_iter()
        .filter(|row| row.name.contains("1025 bytes"))
    {
        for len in 0..=row.request.len() {
            assert!(Message::parse(&row.request[..len]).is_err(), "cut at {len}");
        }
    }
}

#[test]
fn every_header_byte_is_read_and_written_where_it_stands() {
    for (name, frame) in frames() {
        for at in 0..24 {
            for value in 0..=255 {
                let mut frame = frame.clone();
                frame[at] = value;
                let header = Header::parse(&frame);
                if frame[12..14] != ETHERTYPE.to_be_bytes() {
                    assert_eq!(header, Err(WireError::NotAoe), "{name} byte {at}");
                    continue;
                }
                let mut out = [0; 24];
                header.unwrap().emit(&mut out);
                assert_eq!(out, frame[..24], "{name} byte {at} = {value}");
            }
        }
    }
}

#[test]
fn altered_bytes_give_an_answer_and_one_line() {
    for (name, frame) in frames() {
        for at in 0..frame.len().min(48) {
            for value in [
                0x00,
                0x01,
                0x7F,
                0x80,
                0xFF,
                frame[at] ^ 0x10,
                frame[at] ^ 0x04,
            ] {
                let mut frame = frame.clone();
                frame[at] = value;
                let text = FrameText(&frame).to_string();
                assert!(
                    !text.contains('\n') && text.is_ascii(),
                    "{name} byte {at}: {text}"
                );
                let malformed = Message::parse(&frame).is_err();
                assert_eq!(
                    text.contains("malformed"),
                    malformed,
                    "{name} byte {at}: {text}"
                );
            }
        }
    }
}

#[test]
fn wildcard_responses_are_refused() {
    for row in rows() {
        let Some(frame) = row.reply else { continue };
        let error = Header::parse(&frame).unwrap().is_error().is_some();
        for (at, bytes) in [(16, &[0xFF, 0xFF][..]), (18, &[0xFF][..])] {
            let mut frame = frame.clone();
            frame[at..at + bytes.len()].copy_from_slice(bytes);
            let header = Header::parse(&frame).unwrap();
            assert_eq!(
                header.responder(),
                Err(WireError::BadAddress),
                "{}",
                row.name
            );
            if !error {
                assert_eq!(
                    Message::parse(&frame),
                    Err(WireError::BadAddress),
                    "{}",
                    row.name
                );
            }
        }
    }
}

#[test]
fn a_buffer_that_is_too_small_is_no_room() {
    for row in rows() {
        let Some(message) = row.message else { continue };
        let needed = row.request.len();
        for room in 0..needed {
            let mut out = vec![0; room];
            assert_eq!(
                message.emit_unpadded(&mut out),
                Err(EmitError::NoRoom),
                "{}",
                row.name
            );
        }
        assert_eq!(
            message.emit_unpadded(&mut vec![0; needed]),
            Ok(needed),
            "{}",
            row.name
        );
        for room in needed..60 {
            let mut out = vec![0; room];
            assert_eq!(
                message.emit(&mut out),
                Err(EmitError::NoRoom),
                "{}",
                row.name
            );
        }
    }
}

#[test]
fn drop_counters_have_their_own_places() {
    for (index, error) in WireError::ALL.into_iter().enumerate() {
        assert_eq!(error.index(), index);
        assert_eq!(
            WireError::ALL
                .iter()
                .filter(|other| other.name() == error.name())
                .count(),
            1
        );
        assert_eq!(
            WireError::ALL
                .iter()
                .filter(|other| other.to_string() == error.to_string())
                .count(),
            1
        );
    }
}

/// Bytes that are at least an AoE frame, with a command that has a parser more often than not.
fn aoe_frame() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop::collection::vec(any::<u8>(), 24..200);
    (bytes, prop_oneof![0_u8..4, any::<u8>()], any::<bool>()).prop_map(
        |(mut frame, command, error)| {
            frame[12..14].copy_from_slice(&ETHERTYPE.to_be_bytes());
            frame[19] = command;
            if !error {
                frame[14] &= !Header::ERROR;
            }
            // Mostly short lists and strings, or random frames would all be called too short.
            if let Some(high) = frame.get_mut(30).filter(|_| command == 1) {
                *high = 0;
            }
            if let Some(count) = frame.get_mut(27).filter(|_| command == 2) {
                *count &= 0x0F;
            }
            if let Some(count) = frame.get_mut(25).filter(|_| command == 3) {
                *count &= 0x1F;
            }
            frame
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_bytes_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Message::parse(&bytes);
        let _ = FrameText(&bytes).to_string();
        let _ = AtaRequest::parse(&bytes);
        let _ = AtaReply::parse(&bytes).map(|reply| (reply.fault(), reply.to_string()));
        let _ = ConfigRequest::parse(&bytes);
        let _ = ConfigReply::parse(&bytes);
        let _ = MaskRequest::parse(&bytes);
        let _ = MaskReply::parse(&bytes);
        let _ = Reserve::parse(&bytes);
        prop_assert!(TrimRanges::new(&bytes).count() <= bytes.len() / 8);
        if let Some(table) = bytes.first_chunk::<512>() {
            let _ = Identify::parse(table).map(|identify| identify.serial.to_string());
        }
    }

    #[test]
    fn what_is_read_can_be_written_and_read_again(frame in aoe_frame()) {
        if let Ok(message) = Message::parse(&frame) {
            let mut out = [0; 2048];
            let len = message.emit_unpadded(&mut out).unwrap();
            prop_assert!(len <= frame.len());
            prop_assert_eq!(Message::parse(&out[..len]), Ok(message));
        }
    }
}
