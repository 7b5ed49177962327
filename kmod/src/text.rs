// SPDX-License-Identifier: BSD-2-Clause
//! Formatting into a buffer that is already there.

use core::fmt;

/// Text written into a buffer; what does not fit is cut off, and counted.
pub(crate) struct Text<'b> {
    room: &'b mut [u8],
    wanted: usize,
}

impl<'b> Text<'b> {
    pub(crate) const fn new(room: &'b mut [u8]) -> Self {
        Self { room, wanted: 0 }
    }

    /// What was written, as far as it fits.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.room.get(..self.wanted).unwrap_or(self.room)
    }

    /// The room that the whole text takes.
    pub(crate) const fn wanted(&self) -> usize {
        self.wanted
    }

    /// Appends bytes, of which those that cannot be shown become `\xNN`.
    pub(crate) fn push_escaped(&mut self, bytes: &[u8]) -> fmt::Result {
        use fmt::Write;
        write!(self, "{}", bytes.escape_ascii())
    }
}

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let bytes = text.as_bytes();
        if let Some(room) = self.room.get_mut(self.wanted..) {
            for (to, from) in room.iter_mut().zip(bytes) {
                *to = *from;
            }
        }
        self.wanted = self.wanted.saturating_add(bytes.len());
        Ok(())
    }
}

/// A text in quotes, with its own made harmless.
pub(crate) struct Quoted<'t>(pub(crate) &'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        f.write_char('"')?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        f.write_char('"')
    }
}
