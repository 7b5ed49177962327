// SPDX-License-Identifier: BSD-2-Clause
//! Where a target keeps its sectors.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes of a sector: AoE knows no other size.
pub const SECTOR: usize = 512;

/// The medium failed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct MediumError;

/// A medium of 512-byte sectors. Ranges are checked by the caller.
pub trait Storage {
    /// Number of sectors.
    fn sectors(&self) -> u64;

    /// Fills `data`, whole sectors, from `lba` on.
    ///
    /// # Errors
    /// The medium cannot be read.
    fn read(&mut self, lba: u64, data: &mut [u8]) -> Result<(), MediumError>;

    /// Stores `data`, whole sectors, from `lba` on.
    ///
    /// # Errors
    /// The medium cannot be written.
    fn write(&mut self, lba: u64, data: &[u8]) -> Result<(), MediumError>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// The medium cannot be written.
    fn flush(&mut self) -> Result<(), MediumError>;

    /// Drops the contents of sectors, which read as zero from then on.
    ///
    /// # Errors
    /// The medium cannot be written.
    fn trim(&mut self, lba: u64, sectors: u64) -> Result<(), MediumError>;

    /// Turns the volatile write cache on or off, where there is one. Turning it off makes everything durable.
    ///
    /// # Errors
    /// The medium cannot be written.
    fn set_write_cache(&mut self, _on: bool) -> Result<(), MediumError> {
        Ok(())
    }
}

fn at(lba: u64) -> usize {
    usize::try_from(lba)
        .unwrap_or(usize::MAX)
        .saturating_mul(SECTOR)
}

/// A medium in memory, with a volatile write cache in front of it that can be looked into and lost.
#[derive(Clone, Debug, Default)]
pub struct MemStorage {
    medium: Vec<u8>,
    cache: BTreeMap<u64, [u8; SECTOR]>,
    cache_on: bool,
}

impl MemStorage {
    /// A medium of zeros, without a write cache.
    #[must_use]
    pub fn new(sectors: u64) -> Self {
        Self {
            medium: vec![0; at(sectors)],
            ..Self::default()
        }
    }

    /// Gives it another size; new sectors are zero.
    pub fn resize(&mut self, sectors: u64) {
        self.medium.resize(at(sectors), 0);
        self.cache.retain(|lba, _| *lba < sectors);
    }

    /// Loses what is not durable, as a power cut does.
    pub fn lose_cache(&mut self) {
        self.cache.clear();
    }

    /// The sectors that are not durable, and what they hold.
    pub fn volatile(&self) -> impl Iterator<Item = (u64, &[u8; SECTOR])> {
        self.cache.iter().map(|(lba, data)| (*lba, data))
    }

    /// What a sector holds durably.
    #[must_use]
    pub fn durable(&self, lba: u64) -> Option<&[u8]> {
        self.medium.get(at(lba)..at(lba) + SECTOR)
    }

    /// Changes what a sector holds durably, behind the target's back.
    pub fn set_durable(&mut self, lba: u64, data: &[u8; SECTOR]) {
        if let Some(sector) = self.medium.get_mut(at(lba)..at(lba) + SECTOR) {
            sector.copy_from_slice(data);
        }
    }
}

impl Storage for MemStorage {
    fn sectors(&self) -> u64 {
        (self.medium.len() / SECTOR) as u64
    }

    fn read(&mut self, lba: u64, data: &mut [u8]) -> Result<(), MediumError> {
        let stored = self
            .medium
            .get(at(lba)..at(lba) + data.len())
            .ok_or(MediumError)?;
        data.copy_from_slice(stored);
        if !self.cache.is_empty() {
            for (lba, sector) in (lba..).zip(data.chunks_exact_mut(SECTOR)) {
                if let Some(cached) = self.cache.get(&lba) {
                    sector.copy_from_slice(cached);
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, lba: u64, data: &[u8]) -> Result<(), MediumError> {
        let stored = self
            .medium
            .get_mut(at(lba)..at(lba) + data.len())
            .ok_or(MediumError)?;
        if self.cache_on {
            for (lba, sector) in (lba..).zip(data.chunks_exact(SECTOR)) {
                self.cache
                    .insert(lba, sector.try_into().map_err(|_| MediumError)?);
            }
        } else {
            stored.copy_from_slice(data);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), MediumError> {
        for (lba, data) in std::mem::take(&mut self.cache) {
            self.set_durable(lba, &data);
        }
        Ok(())
    }

    fn trim(&mut self, lba: u64, sectors: u64) -> Result<(), MediumError> {
        for lba in lba..lba.saturating_add(sectors).min(self.sectors()) {
            self.cache.remove(&lba);
            self.set_durable(lba, &[0; SECTOR]);
        }
        Ok(())
    }

    fn set_write_cache(&mut self, on: bool) -> Result<(), MediumError> {
        self.cache_on = on;
        if on { Ok(()) } else { self.flush() }
    }
}

/// A medium in a file (or a block device, whose size is found by seeking).
#[derive(Debug)]
pub struct FileStorage {
    file: File,
    sectors: u64,
    offset: u64,
    follow: bool,
}

impl FileStorage {
    /// Serves `file` as it is, from byte `offset` on, a last incomplete sector left out.
    ///
    /// # Errors
    /// The file's size cannot be found, or it is too small for a single sector.
    pub fn new(mut file: File, offset: u64) -> io::Result<Self> {
        let len = io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
        let sectors = len.saturating_sub(offset) / SECTOR as u64;
        if sectors == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the file is too small for a single sector",
            ));
        }
        Ok(Self {
            file,
            sectors,
            offset,
            follow: false,
        })
    }

    /// Looks at the file's size again whenever it matters, instead of once.
    pub fn follow_size(&mut self) {
        self.follow = true;
    }

    fn position(&self, lba: u64) -> u64 {
        self.offset + lba * SECTOR as u64
    }
}

impl Storage for FileStorage {
    fn sectors(&self) -> u64 {
        if !self.follow {
            return self.sectors;
        }
        let len = self.file.metadata().map_or(0, |metadata| metadata.len());
        len.saturating_sub(self.offset) / SECTOR as u64
    }

    fn read(&mut self, lba: u64, data: &mut [u8]) -> Result<(), MediumError> {
        self.file
            .read_exact_at(data, self.position(lba))
            .map_err(|_| MediumError)
    }

    fn write(&mut self, lba: u64, data: &[u8]) -> Result<(), MediumError> {
        self.file
            .write_all_at(data, self.position(lba))
            .map_err(|_| MediumError)
    }

    fn flush(&mut self) -> Result<(), MediumError> {
        self.file.sync_data().map_err(|_| MediumError)
    }

    fn trim(&mut self, lba: u64, sectors: u64) -> Result<(), MediumError> {
        let zeros = [0; 64 * SECTOR];
        let mut lba = lba;
        let mut left = sectors;
        while left > 0 {
            let now = left.min(64);
            let len = usize::try_from(now).map_err(|_| MediumError)? * SECTOR;
            self.write(lba, zeros.get(..len).ok_or(MediumError)?)?;
            lba += now;
            left -= now;
        }
        Ok(())
    }
}
