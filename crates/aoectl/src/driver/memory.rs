// SPDX-License-Identifier: BSD-2-Clause
//! Memory for the engine. What one target gives back is lent to the next; it lives as long as the process.

use aoe_core::limits::{DEFAULT_FRAMES, DEFAULT_IOS, MAX_CONFIG_STRING, MAX_PATHS};
use aoe_core::{
    Frame, Handled, Info, Instant, Io, IoStorage, Path, Received, Target, TargetStorage,
};

/// What no target has at the moment.
#[derive(Default)]
pub(super) struct Memory {
    infos: Vec<&'static mut Info>,
    tables: Vec<&'static mut [Path]>,
    rooms: Vec<&'static mut [u8]>,
    io: Vec<IoStorage<'static>>,
}

impl Memory {
    /// For a new target.
    pub(super) fn info(&mut self) -> &'static mut Info {
        let new = || Box::leak(Box::new(Info::EMPTY));
        self.infos.pop().unwrap_or_else(new)
    }

    /// What requests need, for a target that has none.
    pub(super) fn open(&mut self, target: &mut Target<'static>) {
        if !target.is_lent() {
            let io = self.io.pop().unwrap_or_else(|| IoStorage {
                frames: vec![Frame::EMPTY; DEFAULT_FRAMES].leak(),
                ios: vec![Io::EMPTY; DEFAULT_IOS].leak(),
            });
            self.io.extend(target.lend(io));
        }
    }

    /// Hands a frame in, with the memory that it takes. That is the most that may be asked for, so that
    /// no target comes back for more.
    pub(super) fn hand_in(
        &mut self,
        target: &mut Target<'static>,
        now: Instant,
        received: &Received<'_>,
    ) -> Handled {
        let handled = target.handle_frame(now, received);
        match handled {
            Handled::Widen(_) => {
                let new = || vec![Path::EMPTY; MAX_PATHS - 1].leak();
                let old = target.widen(self.tables.pop().unwrap_or_else(new));
                self.put_table(old);
                let handled = target.handle_frame(now, received);
                self.keep_config(target, received, handled)
            }
            handled => self.keep_config(target, received, handled),
        }
    }

    fn keep_config(
        &mut self,
        target: &mut Target<'static>,
        received: &Received<'_>,
        handled: Handled,
    ) -> Handled {
        let Handled::KeepConfig(_) = handled else {
            return handled;
        };
        let new = || vec![0; MAX_CONFIG_STRING].leak();
        let old = target.keep_config(self.rooms.pop().unwrap_or_else(new), received.arg);
        self.put_room(old);
        Handled::Done
    }

    /// What a target had.
    pub(super) fn put(&mut self, storage: TargetStorage<'static>) {
        self.infos.push(storage.info);
        self.put_table(storage.paths);
        self.put_room(storage.config);
        self.io.extend(storage.io);
    }

    fn put_table(&mut self, table: &'static mut [Path]) {
        if !table.is_empty() {
            self.tables.push(table);
        }
    }

    fn put_room(&mut self, room: &'static mut [u8]) {
        if !room.is_empty() {
            self.rooms.push(room);
        }
    }
}
