// SPDX-License-Identifier: BSD-2-Clause
//! Appending to a caller's buffer.

use crate::error::EmitError;

/// Writes one piece after another and knows how much was written.
pub(crate) struct Writer<'a> {
    rest: &'a mut [u8],
    written: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut [u8]) -> Self {
        Self {
            rest: out,
            written: 0,
        }
    }

    /// Appends all of `bytes`, or nothing.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), EmitError> {
        let rest = core::mem::take(&mut self.rest);
        let Some((room, rest)) = rest.split_at_mut_checked(bytes.len()) else {
            return Err(EmitError::NoRoom);
        };
        // `copy_from_slice` compares the lengths and could panic; `zip` cannot.
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.rest = rest;
        self.written = self.written.saturating_add(bytes.len());
        Ok(())
    }

    /// Appends zeros until `len` bytes are written in all.
    pub(crate) fn pad_to(&mut self, len: usize) -> Result<(), EmitError> {
        let missing = len.saturating_sub(self.written);
        let rest = core::mem::take(&mut self.rest);
        let Some((room, rest)) = rest.split_at_mut_checked(missing) else {
            return Err(EmitError::NoRoom);
        };
        room.fill(0);
        self.rest = rest;
        self.written = self.written.saturating_add(missing);
        Ok(())
    }

    pub(crate) fn written(&self) -> usize {
        self.written
    }
}

/// Fills an array of a known length, field after field.
///
/// The compiler knows all lengths: what it makes of it are plain stores. A field for which there is no
/// room is left out, which the tests of the formats would show.
pub(crate) struct Fields<'a> {
    rest: &'a mut [u8],
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(out: &'a mut [u8]) -> Self {
        Self { rest: out }
    }

    pub(crate) fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        if let Some((room, rest)) = core::mem::take(&mut self.rest).split_first_chunk_mut() {
            *room = bytes;
            self.rest = rest;
        }
    }
}
