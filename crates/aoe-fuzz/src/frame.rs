// SPDX-License-Identifier: BSD-2-Clause
//! Every parser of `aoe-wire`, and that what was read can be written and read again.

use aoe_wire::{
    AddrPattern, AtaReply, AtaRequest, ConfigReply, ConfigRequest, FrameText, Header,
    MIN_FRAME_LEN, MaskReply, MaskRequest, Message, Reserve, TargetAddr, TrimRanges,
    check_data_len, emit_trim_range,
};

/// Takes any bytes for a frame.
///
/// # Panics
/// When something is wrong.
pub fn frame(bytes: &[u8]) {
    let text = FrameText(bytes).to_string();
    assert!(text.is_ascii() && !text.contains('\n'), "{text}");
    if let Ok(header) = Header::parse(bytes) {
        assert_eq!(header.to_bytes().as_slice(), &bytes[..24]);
        assert_eq!(
            header.addr().map(AddrPattern::from),
            header.addr().map(|_| header.pattern())
        );
    }
    if let Ok(message) = Message::parse(bytes) {
        again(bytes, &message);
    }
    arguments(bytes);
    arguments(bytes.get(24..).unwrap_or_default());
    trim(bytes);
}

fn again(bytes: &[u8], message: &Message<'_>) {
    let mut out = vec![0xee; bytes.len() + MIN_FRAME_LEN];
    let len = message
        .emit_unpadded(&mut out)
        .expect("what was read has room where it came from");
    assert!(len <= bytes.len());
    let second = Message::parse(&out[..len]).expect("what was written can be read");
    assert_eq!(&second, message);
    let padded = message.emit(&mut out).expect("there is room for padding");
    assert_eq!(padded, len.max(MIN_FRAME_LEN));
    let third = Message::parse(&out[..padded]).expect("padding changes nothing");
    assert_eq!(third.header(), message.header());
    let mut small = vec![0; len - 1];
    assert!(
        message.emit_unpadded(&mut small).is_err(),
        "it fits where it cannot"
    );
}

/// The parsers of arguments, on their own.
fn arguments(bytes: &[u8]) {
    if let Ok(request) = AtaRequest::parse(bytes) {
        assert_eq!(AtaRequest::parse(&request.to_bytes()), Ok(request));
        assert!(request.address() < 1 << 48);
    }
    if let Ok(reply) = AtaReply::parse(bytes) {
        assert_eq!(AtaReply::parse(&reply.to_bytes()), Ok(reply));
        let _ = (
            reply.fault(),
            reply.flush_failed(0xe7),
            reply.flush_failed(0xea),
            reply.smart_healthy(),
        );
    }
    if let Ok(reply) = ConfigReply::parse(bytes) {
        assert!(reply.string.len() <= 1024 && reply.window() >= 1 && reply.max_sectors() >= 1);
    }
    let _ = ConfigRequest::parse(bytes);
    if let Ok(request) = MaskRequest::parse(bytes) {
        assert_eq!(request.list.iter().count(), request.list.len());
    }
    let _ = MaskReply::parse(bytes);
    if let Ok(reserve) = Reserve::parse(bytes) {
        assert_eq!(reserve.macs.iter().count(), reserve.macs.len());
    }
    for sectors in [0, 1, 2, 17, 255] {
        assert_eq!(
            check_data_len(bytes.len(), sectors).is_ok(),
            bytes.len() >= 36 + 512 * usize::from(sectors)
        );
    }
}

/// Ranges, from the bytes as they are and from a pair of numbers in them.
fn trim(bytes: &[u8]) {
    let mut end = 0;
    for (lba, sectors) in TrimRanges::new(bytes) {
        assert!(sectors > 0 && lba < 1 << 48);
        end += 1;
    }
    assert!(end <= bytes.len() / 8);
    let mut numbers = bytes.chunks_exact(8).map(|chunk| {
        chunk
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    });
    let (lba, sectors) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let mut block = [0xee; 512];
    let covered = emit_trim_range(&mut block, lba, sectors);
    assert!(covered <= sectors && covered <= 64 * 65_535);
    let mut next = lba;
    for (start, length) in TrimRanges::new(&block) {
        assert_eq!(start, next, "ranges follow each other");
        next += u64::from(length);
    }
    assert_eq!(next - lba, covered);
    let shelf = u16::try_from(lba % 65_536).unwrap_or(0);
    let slot = u8::try_from(sectors % 256).unwrap_or(0);
    assert_eq!(
        TargetAddr::new(shelf, slot).is_none(),
        shelf == 0xffff || slot == 0xff
    );
}
