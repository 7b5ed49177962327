// SPDX-License-Identifier: BSD-2-Clause
//! The end of the machine, for a fault that cannot be lived with.
#![allow(unsafe_code)]

use core::fmt::Write;

use crate::ffi;
use crate::text::Text;

/// Reached only by a fault in this module's own code: nothing that arrives from the wire, from a
/// user or from a full table panics.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let mut room = [0; 200];
    let mut text = Text::new(&mut room);
    // Text is cut where it is full and has no other error.
    let _ = write!(text, "{}", info.message());
    if let Some(place) = info.location() {
        let _ = write!(text, " at {}:{}", place.file(), place.line());
    }
    ffi::panic(text.as_bytes())
}
