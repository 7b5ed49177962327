// SPDX-License-Identifier: BSD-2-Clause
//! The memory that the caller lends to the engine, and its books of it.

use aoe_core::limits::MAX_CONFIG_STRING;
use aoe_core::{
    DropReason, Frame, Handled, Info, Io, IoStorage, Path, Received, Target, TargetStorage,
};
use aoe_wire::ConfigReply;

use crate::options::Plant;
use crate::world::{Addr, World};

/// Sizes of the tables of paths that one target is lent, one after the other.
const TABLES: [usize; 3] = [1, 3, 7];
/// Sizes of rooms for config strings.
const ROOMS: [usize; 2] = [32, MAX_CONFIG_STRING];

/// Memory for one target.
#[derive(Debug)]
pub struct Pool {
    info: Box<Info>,
    tables: [Vec<Path>; TABLES.len()],
    rooms: [Vec<u8>; ROOMS.len()],
    frames: Vec<Frame>,
    ios: Vec<Io>,
}

impl Pool {
    /// Memory for this many frames and requests.
    #[must_use]
    pub fn new(frames: usize, ios: usize) -> Self {
        Self {
            info: Box::new(Info::EMPTY),
            tables: TABLES.map(|slots| vec![Path::EMPTY; slots]),
            rooms: ROOMS.map(|bytes| vec![0; bytes]),
            frames: vec![Frame::EMPTY; frames],
            ios: vec![Io::EMPTY; ios],
        }
    }

    /// Lends it.
    pub fn lend(&mut self) -> Loan<'_> {
        Loan {
            info: Some(&mut self.info),
            tables: self.tables.iter_mut().map(Vec::as_mut_slice).collect(),
            rooms: self.rooms.iter_mut().map(Vec::as_mut_slice).collect(),
            io: Some(IoStorage {
                frames: &mut self.frames,
                ios: &mut self.ios,
            }),
        }
    }
}

/// What of a target's memory is not with the engine.
#[derive(Debug)]
pub struct Loan<'p> {
    info: Option<&'p mut Info>,
    tables: Vec<&'p mut [Path]>,
    rooms: Vec<&'p mut [u8]>,
    io: Option<IoStorage<'p>>,
}

impl<'p> Loan<'p> {
    /// What a target begins with.
    pub(crate) fn info(&mut self) -> Option<&'p mut Info> {
        self.info.take()
    }

    /// Lends a table of so many paths, if there is one, and takes back the old one.
    fn widen(&mut self, target: &mut Target<'p>, slots: usize) -> bool {
        let fits = |table: &&'p mut [Path]| table.len() >= slots;
        let Some(number) = self.tables.iter().position(fits) else {
            return false;
        };
        let old = target.widen(self.tables.remove(number));
        if !old.is_empty() {
            self.tables.push(old);
        }
        true
    }

    /// Lends room for the config string of a frame, if there is some, and takes back the old one.
    fn keep_config(&mut self, target: &mut Target<'p>, bytes: usize, arg: &[u8]) -> bool {
        let fits = |room: &&'p mut [u8]| room.len() >= bytes;
        let Some(number) = self.rooms.iter().position(fits) else {
            return false;
        };
        let old = target.keep_config(self.rooms.remove(number), arg);
        if !old.is_empty() {
            self.rooms.push(old);
        }
        true
    }

    /// Puts back what a target had.
    fn add(&mut self, storage: TargetStorage<'p>) {
        self.info = Some(storage.info);
        if !storage.paths.is_empty() {
            self.tables.push(storage.paths);
        }
        if !storage.config.is_empty() {
            self.rooms.push(storage.config);
        }
        self.io = storage.io.or(self.io.take());
    }

    /// Nothing of it is lent: everything came back in the sizes that it had.
    fn is_whole(&self, frames: usize, ios: usize) -> bool {
        let sorted = |mut sizes: Vec<usize>| {
            sizes.sort_unstable();
            sizes
        };
        let io = self.io.as_ref();
        self.info.is_some()
            && sorted(self.tables.iter().map(|table| table.len()).collect()) == TABLES
            && sorted(self.rooms.iter().map(|room| room.len()).collect()) == ROOMS
            && io.is_some_and(|io| (io.frames.len(), io.ios.len()) == (frames, ios))
    }

    /// Bytes that are with the engine, the target itself included.
    fn lent(&self, frames: usize, ios: usize) -> usize {
        let of = |whole: &[usize], rest: usize| whole.iter().sum::<usize>() - rest;
        let tables = of(&TABLES, self.tables.iter().map(|table| table.len()).sum());
        let rooms = of(&ROOMS, self.rooms.iter().map(|room| room.len()).sum());
        let io = match self.io {
            Some(_) => 0,
            None => frames * size_of::<Frame>() + ios * size_of::<Io>(),
        };
        let own = size_of::<Target<'_>>() + size_of::<Info>();
        own + tables * size_of::<Path>() + rooms + io
    }
}

impl<'p> World<'p> {
    /// Hands a frame to its target, with the memory that it takes.
    pub(crate) fn hand_in(&mut self, addr: Addr, received: &Received<'_>) -> Handled {
        let now = self.instant();
        loop {
            let Some(slot) = self.slots.get_mut(&addr) else {
                return Handled::Done;
            };
            let handled = slot.target.handle_frame(now, received);
            let asks = matches!(handled, Handled::Widen(_) | Handled::KeepConfig(_));
            let short = asks && self.is_short();
            let Some(slot) = self.slots.get_mut(&addr) else {
                return Handled::Done;
            };
            match handled {
                Handled::Widen(slots) if !short && slot.memory.widen(&mut slot.target, slots) => {}
                Handled::Widen(_) => return Handled::Dropped(DropReason::Full),
                Handled::KeepConfig(_) if short => return Handled::Done,
                Handled::KeepConfig(bytes) => {
                    let kept = slot
                        .memory
                        .keep_config(&mut slot.target, bytes, received.arg);
                    let string = ConfigReply::parse(received.arg).map(|config| config.string);
                    if kept && Ok(slot.target.config_string()) != string {
                        self.trouble
                            .note(self.now, "a config string was not kept as it came");
                    }
                    return Handled::Done;
                }
                handled => return handled,
            }
        }
    }

    /// Bytes that a target has of its caller, its own included.
    #[must_use]
    pub fn held(&self, addr: Addr) -> usize {
        let host = &self.options.host;
        let slot = self.slots.get(&addr);
        slot.map_or(0, |slot| slot.memory.lent(host.frames, host.ios))
    }

    fn is_short(&mut self) -> bool {
        let chance = self.options.host.short;
        chance != 0 && self.rng.chance(chance)
    }

    /// Opens the disk; the memory for its I/O is lent first.
    pub fn open_disk(&mut self, addr: Addr) {
        let now = self.instant();
        let Some(slot) = self.slots.get_mut(&addr) else {
            return;
        };
        if let Some(io) = slot.memory.io.take()
            && let Some(io) = slot.target.lend(io)
        {
            slot.memory.io = Some(io);
            self.trouble
                .note(self.now, "the engine had memory that it gave back");
        }
        slot.open = true;
        slot.target.set_in_use(now, true);
    }

    /// Closes the disk.
    pub fn close_disk(&mut self, addr: Addr) {
        let now = self.instant();
        if let Some(slot) = self.slots.get_mut(&addr) {
            slot.open = false;
            slot.target.set_in_use(now, false);
        }
        self.drain(addr);
    }

    /// Some callers close the disk whenever nothing is to be done, and open it again for the next request.
    pub(crate) fn close_if_idle(&mut self, addr: Addr) {
        let chance = self.options.host.close;
        let idle = self
            .slots
            .get(&addr)
            .is_some_and(|slot| slot.open && slot.waiting.is_empty() && slot.target.is_idle());
        if chance != 0 && idle && self.rng.chance(chance) {
            self.close_disk(addr);
        }
    }

    /// Nobody has the disk open and nothing is in flight: what only I/O needs comes back.
    pub(crate) fn take_back(&mut self, addr: Addr) {
        let (frames, ios) = (self.options.host.frames, self.options.host.ios);
        if self.planted(Plant::KeepMemory) {
            return;
        }
        let Some(slot) = self.slots.get_mut(&addr) else {
            return;
        };
        let Some(io) = slot.target.take_back() else {
            if !slot.open {
                self.trouble
                    .note(self.now, "memory was offered and not given back");
            }
            return;
        };
        if slot.open || !slot.target.is_idle() || slot.target.is_lent() {
            self.trouble
                .note(self.now, "the engine gave back memory that was in use");
        }
        if (io.frames.len(), io.ios.len()) != (frames, ios) {
            self.trouble.note(
                self.now,
                "the engine gave back other memory than it was lent",
            );
        }
        slot.memory.io = Some(io);
    }

    pub(crate) fn is_idle_memory_back(&self) -> bool {
        let mut slots = self.slots.values();
        slots.all(|slot| slot.open || slot.memory.io.is_some())
    }

    /// Of disks that are closed and rest the memory for I/O came back.
    pub(crate) fn check_idle_memory(&self) {
        for (addr, slot) in &self.slots {
            if !slot.open && slot.memory.io.is_none() {
                self.trouble.note(
                    self.now,
                    format!(
                        "{addr:?} is not in use and has {} bytes all the same",
                        self.held(*addr)
                    ),
                );
            }
        }
    }

    /// The memory of a target that ended comes back for the next one.
    pub(crate) fn bury_memory(&mut self, mut memory: Loan<'p>, storage: TargetStorage<'p>) {
        memory.add(storage);
        if !memory.is_whole(self.options.host.frames, self.options.host.ios) {
            self.trouble.note(
                self.now,
                "the engine gave back other memory than it was lent",
            );
        }
        self.loans.push(memory);
    }
}
