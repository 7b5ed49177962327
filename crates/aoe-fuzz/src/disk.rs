// SPDX-License-Identifier: BSD-2-Clause
//! Disks that answer, and memory for the engine.

use aoe_core::{Frame, Info, Io, IoStorage, Path, TargetStorage};
use aoe_wire::IdentifyTable;

/// The data of one of a few disks.
pub(crate) fn table(number: u8, sectors: u64) -> IdentifyTable {
    let serial: &[u8] = if number & 1 == 0 { b"FIRST" } else { b"SECOND" };
    let model: &[u8] = if number & 2 == 0 {
        b"Coraid EtherDrive vblade"
    } else {
        b"Some disk"
    };
    let features = if number & 4 == 0 { 0x7400 } else { 0x5000 };
    IdentifyTable::new()
        .word(49, 0x0200)
        .word(82, 0x0020)
        .word(83, features)
        .word(84, 0x4000)
        .word(85, u16::from(number & 8) << 2)
        .word(86, features & 0x3fff)
        .word(87, 0x4000)
        .word(106, if number & 16 == 0 { 0 } else { 0x6003 })
        .word(169, 1)
        .serial(serial)
        .model(model)
        .capacity(sectors)
}

/// Makes the checksum of IDENTIFY data fit.
pub(crate) fn set_checksum(table: &mut [u8; 512]) {
    table[510] = 0xa5;
    table[511] = 0;
    table[511] = table.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
}

/// Sizes of the tables of paths and of the rooms for config strings that a target may ask for.
const TABLES: [usize; 3] = [1, 3, 7];
const ROOMS: [usize; 2] = [4, 1024];

/// Memory for one target.
pub(crate) struct Memory {
    tables: Vec<Vec<Path>>,
    rooms: [Vec<u8>; ROOMS.len()],
    info: Info,
    frames: Vec<Frame>,
    ios: Vec<Io>,
}

impl Memory {
    pub(crate) fn new(paths: usize, frames: usize, ios: usize) -> Self {
        Self {
            tables: TABLES
                .into_iter()
                .filter(|&more| more < paths)
                .map(|more| vec![Path::EMPTY; more])
                .collect(),
            rooms: ROOMS.map(|bytes| vec![0; bytes]),
            info: Info::EMPTY,
            frames: vec![Frame::EMPTY; frames],
            ios: vec![Io::EMPTY; ios],
        }
    }

    pub(crate) fn lend(&mut self) -> Loan<'_> {
        let mut loan = Loan {
            info: &mut self.info,
            rest: Rest {
                tables: self.tables.iter_mut().map(Vec::as_mut_slice).collect(),
                rooms: self.rooms.iter_mut().map(Vec::as_mut_slice).collect(),
                io: Some(IoStorage {
                    frames: &mut self.frames,
                    ios: &mut self.ios,
                }),
                whole: Sizes::default(),
            },
        };
        loan.rest.whole = loan.rest.sizes();
        loan
    }
}

/// Memory as a target is lent it.
pub(crate) struct Loan<'s> {
    pub(crate) info: &'s mut Info,
    pub(crate) rest: Rest<'s>,
}

/// Sizes of tables and rooms in order, of frames and of requests.
type Sizes = (Vec<usize>, Vec<usize>, Option<(usize, usize)>);

/// What a target asks for when it has a use for it.
pub(crate) struct Rest<'s> {
    tables: Vec<&'s mut [Path]>,
    rooms: Vec<&'s mut [u8]>,
    pub(crate) io: Option<IoStorage<'s>>,
    whole: Sizes,
}

impl<'s> Rest<'s> {
    fn sizes(&self) -> Sizes {
        let mut tables: Vec<usize> = self.tables.iter().map(|table| table.len()).collect();
        let mut rooms: Vec<usize> = self.rooms.iter().map(|room| room.len()).collect();
        tables.sort_unstable();
        rooms.sort_unstable();
        let io = self.io.as_ref();
        (tables, rooms, io.map(|io| (io.frames.len(), io.ios.len())))
    }

    /// A table of so many paths.
    pub(crate) fn table(&mut self, slots: usize) -> Option<&'s mut [Path]> {
        let number = self.tables.iter().position(|table| table.len() >= slots)?;
        Some(self.tables.swap_remove(number))
    }

    /// Room for a string of so many bytes.
    pub(crate) fn room(&mut self, bytes: usize) -> Option<&'s mut [u8]> {
        let number = self.rooms.iter().position(|room| room.len() >= bytes)?;
        Some(self.rooms.swap_remove(number))
    }

    pub(crate) fn put_table(&mut self, table: &'s mut [Path]) {
        if !table.is_empty() {
            self.tables.push(table);
        }
    }

    pub(crate) fn put_room(&mut self, room: &'s mut [u8]) {
        if !room.is_empty() {
            self.rooms.push(room);
        }
    }

    /// Puts back what a target had; everything must be there again.
    pub(crate) fn put_all(&mut self, storage: TargetStorage<'s>) {
        self.put_table(storage.paths);
        self.put_room(storage.config);
        assert!(
            storage.io.is_none() || self.io.is_none(),
            "more memory comes back than was lent"
        );
        self.io = storage.io.or(self.io.take());
        assert_eq!(self.sizes(), self.whole, "memory did not come back");
    }
}
