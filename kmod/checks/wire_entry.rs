// SPDX-License-Identifier: BSD-2-Clause
//! The functions of aoe-wire that take bytes from the network, as symbols that survive link-time
//! optimisation. The check walks from each of them through everything that they reach; it
//! compares this list with the crate's public functions, so that none is forgotten.
#![no_std]

use aoe_wire::{
    AtaReply, AtaRequest, ConfigReply, ConfigRequest, Header, Identify, MaskReply, MaskRequest,
    Message, Reserve, TrimRanges,
};

unsafe extern "C" {
    fn aoe_check_panicked() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: this object is only looked at, never run.
    unsafe { aoe_check_panicked() }
}

/// Keeps the optimiser from leaving out the work that made a value.
fn keep<T>(value: T) {
    let _ = core::hint::black_box(value);
}

macro_rules! entries {
    ($($name:ident($input:ident: $type:ty) $work:block)*) => {$(
        #[unsafe(no_mangle)]
        pub fn $name($input: $type) $work
    )*};
}

entries! {
    aoe_check_header_parse(frame: &[u8]) { keep(Header::parse(frame)); }
    aoe_check_header_split(frame: &[u8]) { keep(Header::split(frame)); }
    aoe_check_message_parse(frame: &[u8]) { keep(Message::parse(frame)); }
    aoe_check_message_emit(given: (&[u8], &mut [u8])) {
        if let Ok(message) = Message::parse(given.0) {
            keep(message.emit(given.1));
        }
    }
    aoe_check_ata_request_parse(argument: &[u8]) { keep(AtaRequest::parse(argument)); }
    aoe_check_ata_reply_parse(argument: &[u8]) { keep(AtaReply::parse(argument)); }
    aoe_check_config_request_parse(argument: &[u8]) { keep(ConfigRequest::parse(argument)); }
    aoe_check_config_reply_parse(argument: &[u8]) { keep(ConfigReply::parse(argument)); }
    aoe_check_mask_request_parse(argument: &[u8]) {
        if let Ok(request) = MaskRequest::parse(argument) {
            request.list.iter().for_each(keep);
        }
    }
    aoe_check_mask_reply_parse(argument: &[u8]) {
        if let Ok(MaskReply::List { list, .. }) = MaskReply::parse(argument) {
            list.iter().for_each(keep);
        }
    }
    aoe_check_reserve_parse(argument: &[u8]) {
        if let Ok(reserve) = Reserve::parse(argument) {
            reserve.macs.iter().for_each(keep);
        }
    }
    aoe_check_identify_parse(table: &[u8; 512]) { keep(Identify::parse(table)); }
    aoe_check_trim_ranges(data: &[u8]) {
        TrimRanges::new(data).for_each(keep);
    }
}
