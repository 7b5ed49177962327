// SPDX-License-Identifier: BSD-2-Clause
//! A capture file of what went over the simulated wires, for tcpdump and Wireshark.

use std::io::{self, Write};

/// Magic number of the format with nanoseconds.
const MAGIC: u32 = 0xa1b2_3c4d;
const LINKTYPE_ETHERNET: u32 = 1;
const SNAP_LENGTH: u32 = 65_536;

/// Writes a capture.
pub struct Pcap {
    out: Box<dyn Write>,
    failed: Option<io::Error>,
}

impl std::fmt::Debug for Pcap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pcap")
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl Pcap {
    /// Starts a capture with the file header.
    ///
    /// # Errors
    /// The header cannot be written.
    pub fn new(mut out: Box<dyn Write>) -> io::Result<Self> {
        let (major, minor) = (2_u16, 4_u16);
        out.write_all(&MAGIC.to_le_bytes())?;
        out.write_all(&major.to_le_bytes())?;
        out.write_all(&minor.to_le_bytes())?;
        out.write_all(&[0; 8])?;
        out.write_all(&SNAP_LENGTH.to_le_bytes())?;
        out.write_all(&LINKTYPE_ETHERNET.to_le_bytes())?;
        Ok(Self { out, failed: None })
    }

    /// Adds a frame. A failure is kept for [`Pcap::finish`].
    pub fn record(&mut self, now: u64, frame: &[u8]) {
        if self.failed.is_none()
            && let Err(error) = self.write(now, frame)
        {
            self.failed = Some(error);
        }
    }

    fn write(&mut self, now: u64, frame: &[u8]) -> io::Result<()> {
        let seconds = u32::try_from(now / 1_000_000_000).unwrap_or(u32::MAX);
        let nanos = u32::try_from(now % 1_000_000_000).unwrap_or(0);
        let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        for word in [seconds, nanos, len, len] {
            self.out.write_all(&word.to_le_bytes())?;
        }
        self.out.write_all(frame)
    }

    /// Ends the capture.
    ///
    /// # Errors
    /// Something could not be written, now or before.
    pub fn finish(mut self) -> io::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.out.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    #[derive(Clone, Default)]
    struct Shared(Rc<RefCell<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_capture_has_a_header_and_the_frames_with_their_times() {
        let out = Shared::default();
        let mut pcap = Pcap::new(Box::new(out.clone())).unwrap();
        pcap.record(3_000_000_007, &[0xab; 60]);
        pcap.finish().unwrap();
        let bytes = out.0.borrow();
        assert_eq!(bytes.len(), 24 + 16 + 60);
        assert_eq!(bytes[..8], [0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0]);
        assert_eq!(bytes[20..24], [1, 0, 0, 0]);
        assert_eq!(
            bytes[24..40],
            [3, 0, 0, 0, 7, 0, 0, 0, 60, 0, 0, 0, 60, 0, 0, 0]
        );
        assert_eq!(bytes[40..], [0xab; 60]);
    }

    struct Full;

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // The header goes in, nothing else does.
            if bytes.len() <= 8 && bytes != [3, 0, 0, 0] {
                Ok(bytes.len())
            } else {
                Err(io::ErrorKind::StorageFull.into())
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_told_at_the_end() {
        let mut pcap = Pcap::new(Box::new(Full)).unwrap();
        pcap.record(3_000_000_000, &[0; 60]);
        assert_eq!(
            pcap.finish().unwrap_err().kind(),
            io::ErrorKind::StorageFull
        );
    }
}
