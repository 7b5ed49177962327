// SPDX-License-Identifier: BSD-2-Clause
//! What a run starts from.

use crate::STEP_LEN;

/// The kind of target and the size of the engine's tables.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Setup {
    /// The target says it is vblade, of which the engine knows that it keeps order, and the network keeps
    /// the order of frames of one interface, too. Else frames of every age are delivered as they come.
    pub ordered: bool,
    /// There are two interfaces, not one.
    pub two_links: bool,
    /// The target answers each interface from an address of its own.
    pub two_ports: bool,
    /// The target takes 48-bit commands.
    pub lba48: bool,
    /// The disk has a write cache, which is on, and FLUSH empties it.
    pub cache: bool,
    /// Requests that the engine can hold.
    pub requests: u8,
    /// Frames that the engine can hold.
    pub frames: u8,
    /// Buffer count that the target tells.
    pub buffers: u16,
    /// Sectors per frame that the target tells.
    pub sectors: u8,
}

/// The fewest that the engine takes.
const FEWEST_FRAMES: u8 = 16;

/// Buffer counts that targets tell.
pub(crate) const BUFFERS: [u16; 8] = [16, 0, 1, 2, 3, 5, 64, 1024];
/// Sector counts that targets tell; 0 stands for 2.
pub(crate) const SECTORS: [u8; 8] = [2, 0, 1, 3, 8, 17, 127, 255];

pub(crate) fn pick<T: Copy, const N: usize>(list: [T; N], byte: u8) -> T {
    list[usize::from(byte) % N]
}

/// The byte for which [`pick`] gives this value.
pub(crate) fn place<T: PartialEq, const N: usize>(list: [T; N], value: &T) -> u8 {
    list.iter()
        .position(|one| one == value)
        .map_or(0, |at| at as u8)
}

impl Setup {
    /// The setup that four bytes say; any four bytes do.
    #[must_use]
    pub fn decode(bytes: [u8; STEP_LEN]) -> Self {
        let [flags, tables, buffers, sectors] = bytes;
        let bit = |number: u32| flags >> number & 1 != 0;
        let ordered = bit(0);
        Self {
            ordered,
            two_links: bit(1),
            two_ports: bit(2) && !ordered,
            lba48: !bit(3),
            cache: bit(4),
            requests: 1 + tables % 8,
            frames: FEWEST_FRAMES + tables / 8,
            buffers: pick(BUFFERS, buffers),
            sectors: pick(SECTORS, sectors),
        }
    }

    /// Four bytes that say this setup.
    #[must_use]
    pub fn encode(self) -> [u8; STEP_LEN] {
        let flags = u8::from(self.ordered)
            | u8::from(self.two_links) << 1
            | u8::from(self.two_ports) << 2
            | u8::from(!self.lba48) << 3
            | u8::from(self.cache) << 4;
        let tables = (self.requests.saturating_sub(1) % 8)
            | (self.frames.saturating_sub(FEWEST_FRAMES) << 3);
        [
            flags,
            tables,
            place(BUFFERS, &self.buffers),
            place(SECTORS, &self.sectors),
        ]
    }
}
