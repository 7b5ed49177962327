// SPDX-License-Identifier: BSD-2-Clause
//! parse(emit(x)) == x for every kind of message with any values in it.

mod common;

use aoe_wire::{
    AddrPattern, AoeError, AtaFlags, AtaReply, AtaRequest, Command, ConfigCommand, ConfigReply,
    ConfigRequest, DirectiveCommand, EmitError, Header, MacAddr, MacList, MaskCommand,
    MaskDirective, MaskError, MaskList, MaskReply, MaskRequest, Message, Reserve, ReserveCommand,
    TargetAddr, TrimRanges, emit_trim_range, opcode,
};
use common::{CLIENT, SERVER};
use proptest::prelude::*;

fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

fn target() -> impl Strategy<Value = TargetAddr> {
    (0..0xFFFF_u16, 0..0xFF_u8).prop_map(|(shelf, slot)| TargetAddr::new(shelf, slot).unwrap())
}

/// The header of a request or response with a command, any field else.
fn header(command: Command, response: bool) -> impl Strategy<Value = Header> {
    (mac(), mac(), 0_u8..16, target(), any::<u32>(), any::<u8>()).prop_map(
        move |(dst, src, version, addr, tag, error)| {
            let flags = if response { Header::RESPONSE } else { 0 };
            let request = Header::request(dst, src, addr, command, tag);
            Header {
                version,
                flags,
                error,
                ..request
            }
        },
    )
}

fn registers() -> impl Strategy<Value = AtaRequest> {
    (any::<[u8; 4]>(), any::<[u8; 6]>()).prop_map(|([flags, feature, count, command], lba)| {
        AtaRequest {
            flags: AtaFlags(flags),
            feature,
            count,
            command,
            lba,
        }
    })
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..=max)
}

fn config_command() -> impl Strategy<Value = ConfigCommand> {
    (0_u8..5).prop_map(|code| ConfigCommand::from_code(code).unwrap())
}

fn directives() -> impl Strategy<Value = Vec<MaskDirective>> {
    let directive = (any::<u8>(), mac()).prop_map(|(command, mac)| MaskDirective {
        command: DirectiveCommand(command),
        mac,
    });
    prop::collection::vec(directive, 0..=255)
}

/// Emits, padded and not, and compares what is read back.
fn check(message: Message<'_>) -> Result<(), TestCaseError> {
    let mut out = [0; 4096];
    let len = message.emit_unpadded(&mut out).unwrap();
    prop_assert_eq!(Message::parse(&out[..len]), Ok(message));
    let mut padded = [0xEE; 4096];
    let padded_len = message.emit(&mut padded).unwrap();
    prop_assert_eq!(padded_len, len.max(60));
    prop_assert_eq!(&padded[..len], &out[..len]);
    prop_assert!(padded[len..padded_len].iter().all(|byte| *byte == 0));
    Ok(())
}

proptest! {
    #[test]
    fn ata_requests(header in header(Command::ATA, false), request in registers(), data in bytes(1024)) {
        check(Message::AtaRequest { header, request, data: &data })?;
    }

    #[test]
    fn ata_replies(
        header in header(Command::ATA, true),
        request in registers(),
        (status, error, count) in any::<(u8, u8, u8)>(),
        data in bytes(1024),
    ) {
        let reply = request.reply(status, error, count);
        prop_assert_eq!(reply, AtaReply { flags: request.flags, error, count, status, lba: request.lba });
        check(Message::AtaReply { header, reply, data: &data })?;
    }

    #[test]
    fn config_requests(header in header(Command::CONFIG, false), command in config_command(), string in bytes(1024)) {
        check(Message::ConfigRequest { header, request: ConfigRequest { command, string: &string } })?;
    }

    #[test]
    fn config_replies(
        header in header(Command::CONFIG, true),
        (buffer_count, firmware, sector_count) in any::<(u16, u16, u8)>(),
        (version, command) in (0_u8..16, 0_u8..16),
        string in bytes(1024),
    ) {
        let reply = ConfigReply { buffer_count, firmware, sector_count, version, command, string: &string };
        check(Message::ConfigReply { header, reply })?;
    }

    #[test]
    fn mask_requests(header in header(Command::MASK, false), command in any::<u8>(), list in directives()) {
        let request = MaskRequest { command: MaskCommand(command), list: MaskList::new(&list) };
        check(Message::MaskRequest { header, request })?;
    }

    #[test]
    fn mask_replies(header in header(Command::MASK, true), command in any::<u8>(), list in directives()) {
        let command = MaskCommand(command);
        check(Message::MaskReply { header, reply: MaskReply::List { command, list: MaskList::new(&list) } })?;
    }

    #[test]
    fn mask_failures(header in header(Command::MASK, true), (command, error, index) in (any::<u8>(), 1_u8.., any::<u8>())) {
        let reply = MaskReply::Failed { command: MaskCommand(command), error: MaskError(error), index };
        check(Message::MaskReply { header, reply })?;
    }

    #[test]
    fn reserve_messages(
        request in header(Command::RESERVE, false),
        response in header(Command::RESERVE, true),
        command in any::<u8>(),
        macs in prop::collection::vec(mac(), 0..=255),
    ) {
        let reserve = Reserve { command: ReserveCommand(command), macs: MacList::new(&macs) };
        check(Message::ReserveRequest { header: request, request: reserve })?;
        check(Message::ReserveReply { header: response, reply: reserve })?;
    }

    #[test]
    fn errors(header in header(Command::RESERVE, true), command in 0_u8..=255, argument in bytes(100)) {
        let header = Header { flags: Header::RESPONSE | Header::ERROR, command: Command(command), ..header };
        check(Message::Error { header, error: AoeError(header.error), argument: &argument })?;
    }

    #[test]
    fn other_commands(header in header(Command(4), true), command in 4_u8.., argument in bytes(100)) {
        let header = Header { command: Command(command), ..header };
        let argument = &argument[..];
        check(if command >= 0xF0 {
            Message::Vendor { header, argument }
        } else {
            Message::Unknown { header, argument }
        })?;
    }

    #[test]
    fn texts(addr in target(), mac in mac()) {
        prop_assert_eq!(addr.to_string().parse(), Ok(addr));
        prop_assert_eq!(format!("e{addr}").parse(), Ok(addr));
        prop_assert_eq!(mac.to_string().parse(), Ok(mac));
        prop_assert_eq!(mac.to_string().to_uppercase().parse(), Ok(mac));
    }

    #[test]
    fn any_text_gets_an_answer(text in "\\PC{0,24}") {
        if let Ok(addr) = text.parse::<TargetAddr>() {
            prop_assert!(text.trim_start_matches('e').chars().all(|c| c.is_ascii_digit() || c == '.'));
            prop_assert!(addr.shelf() != 0xFFFF && addr.slot() != 0xFF);
        }
        let _ = text.parse::<MacAddr>();
    }

    #[test]
    fn patterns(shelf in any::<u16>(), slot in any::<u8>(), addr in target()) {
        let pattern = AddrPattern::from_wire(shelf, slot);
        prop_assert_eq!(pattern.to_wire(), (shelf, slot));
        let shelf_fits = shelf == 0xFFFF || shelf == addr.shelf();
        let slot_fits = slot == 0xFF || slot == addr.slot();
        prop_assert_eq!(pattern.matches(addr), shelf_fits && slot_fits);
        prop_assert!(AddrPattern::ANY.matches(addr) && AddrPattern::from(addr).matches(addr));
        let header = Header::query(SERVER, CLIENT, pattern, 1);
        prop_assert_eq!((header.pattern(), header.addr()), (pattern, TargetAddr::new(shelf, slot)));
    }

    #[test]
    fn addresses_in_range_are_sent_exactly(lba in 0..1_u64 << 48, count in 1_u8..) {
        for (request, command, flags) in [
            (AtaRequest::read(lba, count, true), opcode::READ_EXT, 0x40),
            (AtaRequest::write(lba, count, true), opcode::WRITE_EXT, 0x41),
        ] {
            prop_assert_eq!(request.address(), lba);
            prop_assert_eq!((request.command, request.flags.0, request.count), (command, flags, count));
        }
        let lba = lba & 0x0FFF_FFFF;
        for (request, command, flags) in [
            (AtaRequest::read(lba, count, false), opcode::READ, 0),
            (AtaRequest::write(lba, count, false), opcode::WRITE, 1),
        ] {
            prop_assert_eq!(request.address(), lba);
            prop_assert_eq!((request.command, request.flags.0, request.count), (command, flags, count));
            prop_assert_eq!(request.lba[3] & 0xF0, 0xE0);
        }
    }

    #[test]
    fn addresses_out_of_range_are_never_a_sector(lba in 1_u64 << 28.., count in 1_u8..) {
        // No disk of the form has this sector, so nothing is read or written by mistake.
        prop_assert_eq!(AtaRequest::write(lba, count, false).address(), 0x0FFF_FFFF);
        if lba >> 48 != 0 {
            prop_assert_eq!(AtaRequest::write(lba, count, true).address(), 0xFFFF_FFFF_FFFF);
        }
    }

    #[test]
    fn trim_ranges_cover_what_they_say(lba in 0..1_u64 << 49, sectors in 0..10_000_000_u64) {
        let mut block = [0xEE; 512];
        let covered = emit_trim_range(&mut block, lba, sectors);
        let end = (1_u64 << 48) - 1;
        let room = end.saturating_sub(lba);
        prop_assert_eq!(covered, sectors.min(64 * 65_535).min(room));
        // The ranges follow each other without a gap, and none is past the last address.
        let mut next = lba;
        for (start, count) in TrimRanges::new(&block) {
            prop_assert_eq!(start, next);
            next += u64::from(count);
        }
        prop_assert_eq!(next, lba + covered);
        let used = usize::try_from(covered.div_ceil(65_535)).unwrap();
        prop_assert!(block[used * 8..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn lists_of_more_than_255_are_too_long() {
    let macs = [SERVER; 256];
    let reserve = Reserve {
        command: ReserveCommand::SET,
        macs: MacList::new(&macs),
    };
    assert_eq!(reserve.emit(&mut [0; 4096]), Err(EmitError::TooLong));
    let directives = [MaskDirective::entry(SERVER); 256];
    let list = MaskList::new(&directives);
    let request = MaskRequest {
        command: MaskCommand::EDIT,
        list,
    };
    assert_eq!(request.emit(&mut [0; 4096]), Err(EmitError::TooLong));
    let reply = MaskReply::List {
        command: MaskCommand::EDIT,
        list,
    };
    assert_eq!(reply.emit(&mut [0; 4096]), Err(EmitError::TooLong));
}
