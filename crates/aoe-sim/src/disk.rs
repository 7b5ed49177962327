// SPDX-License-Identifier: BSD-2-Clause
//! The medium of a simulated target: what is written to it is checked at once.

use std::cell::RefCell;
use std::rc::Rc;

use aoe_target::{MediumError, MemStorage, SECTOR, Storage};

use crate::ledger::{Content, Ledger, Trouble, content, initial};

/// A disk, and the book that says what may be on it.
#[derive(Debug)]
pub struct Disk {
    /// The sectors.
    pub medium: MemStorage,
    /// The book; `None` on a disk that must never be written.
    pub ledger: Option<Rc<RefCell<Ledger>>>,
    trouble: Trouble,
    /// Writes carried out.
    pub writes: u64,
}

/// A disk that several servers may export.
pub type SharedDisk = Rc<RefCell<Disk>>;

impl Disk {
    /// A disk with every sector in its initial state.
    #[must_use]
    pub fn shared(
        sectors: u64,
        ledger: Option<Rc<RefCell<Ledger>>>,
        trouble: Trouble,
    ) -> SharedDisk {
        let mut medium = MemStorage::new(sectors);
        for lba in 0..sectors {
            medium.set_durable(lba, &initial(lba));
        }
        Rc::new(RefCell::new(Self {
            medium,
            ledger,
            trouble,
            writes: 0,
        }))
    }

    /// Gives it another size; new sectors are in their initial state.
    pub fn resize(&mut self, sectors: u64) {
        let old = self.medium.sectors();
        self.medium.resize(sectors);
        for lba in old..sectors {
            self.medium.set_durable(lba, &initial(lba));
        }
    }

    /// What a sector holds now, cache included.
    pub fn content(&mut self, lba: u64) -> Option<Content> {
        let mut sector = [0; SECTOR];
        (lba < self.medium.sectors()).then_some(())?;
        self.medium.read(lba, &mut sector).ok()?;
        Some(content(&sector, lba))
    }

    /// Data accepted before this place that would not survive a power cut.
    pub fn first_volatile_before(&self, accepted: u64) -> Option<(u64, Content)> {
        let ledger = self.ledger.as_ref()?.borrow();
        self.medium.volatile().find_map(|(lba, sector)| {
            let found = content(sector, lba);
            let durable = self.medium.durable(lba).map(|sector| content(sector, lba));
            let older = ledger
                .accepted_as(lba, found)
                .is_some_and(|at| at < accepted);
            (older && durable != Some(found)).then_some((lba, found))
        })
    }
}

/// The disk as one server's medium.
#[derive(Clone, Debug)]
pub struct DiskHandle(pub SharedDisk);

impl Storage for DiskHandle {
    fn sectors(&self) -> u64 {
        self.0.borrow().medium.sectors()
    }

    fn read(&mut self, lba: u64, data: &mut [u8]) -> Result<(), MediumError> {
        self.0.borrow_mut().medium.read(lba, data)
    }

    fn write(&mut self, lba: u64, data: &[u8]) -> Result<(), MediumError> {
        let mut disk = self.0.borrow_mut();
        disk.writes += 1;
        disk.medium.write(lba, data)?;
        match &disk.ledger {
            Some(ledger) => {
                for (lba, sector) in (lba..).zip(data.chunks(SECTOR)) {
                    ledger.borrow_mut().on_disk(
                        lba,
                        content(sector, lba),
                        "a write was carried out",
                    );
                }
            }
            None => disk
                .trouble
                .note(0, format!("a disk that is not ours was written at {lba}")),
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), MediumError> {
        self.0.borrow_mut().medium.flush()
    }

    fn trim(&mut self, lba: u64, sectors: u64) -> Result<(), MediumError> {
        let mut disk = self.0.borrow_mut();
        disk.medium.trim(lba, sectors)?;
        match &disk.ledger {
            Some(ledger) => {
                for lba in lba..lba + sectors {
                    ledger
                        .borrow_mut()
                        .on_disk(lba, Content::Zero, "a trim was carried out");
                }
            }
            None => disk
                .trouble
                .note(0, format!("a disk that is not ours was trimmed at {lba}")),
        }
        Ok(())
    }

    fn set_write_cache(&mut self, on: bool) -> Result<(), MediumError> {
        self.0.borrow_mut().medium.set_write_cache(on)
    }
}
