// SPDX-License-Identifier: BSD-2-Clause
//! One of the stations that answer at an address, what it says of its disk, and some sectors of it.

use crate::exchange::{Exchange, Peer, Question, Reply};
use crate::failure::Failure;
use crate::size;
use aoe_core::NetifId;
use aoe_wire::{AtaFault, AtaRequest, Identify, MacAddr, SECTOR_SIZE};

/// How long a station is waited for that has just told of itself, in nanoseconds. One that falls silent is left out.
const PATIENCE_NS: u64 = 1_000_000_000;

/// A station, and the disk behind it.
pub(crate) struct Station {
    pub(crate) peer: Peer,
    pub(crate) place: String,
    pub(crate) disk: Option<Identify>,
    /// Some sectors, at the same places for all; `None` where one cannot be read.
    pub(crate) samples: Vec<Option<Vec<u8>>>,
}

impl Station {
    pub(crate) const fn key(&self) -> (NetifId, MacAddr) {
        (self.peer.netif, self.peer.mac)
    }

    /// Asks it what it is. False if it is silent.
    pub(crate) fn identify(&mut self, exchange: &mut Exchange) -> Result<bool, Failure> {
        let Some(table) = sector(exchange, &self.peer, AtaRequest::identify())? else {
            return Ok(false);
        };
        self.disk = table
            .and_then(|table| table.first_chunk::<SECTOR_SIZE>().copied())
            .and_then(|table| Identify::parse(&table).ok());
        Ok(true)
    }

    /// Reads what differs first from disk to disk: boot sector, tables, labels, the superblock; the end, where GEOM and
    /// ZFS write; the middle; and where it will be written. False if it is silent.
    pub(crate) fn sample(&mut self, exchange: &mut Exchange, start: u64) -> Result<bool, Failure> {
        let Some(disk) = self.disk else {
            return Ok(true);
        };
        let end = disk.sectors;
        let places = [
            0,
            1,
            2,
            16,
            34,
            63,
            128,
            144,
            2048,
            start,
            end / 4,
            end / 2,
            end / 4 * 3,
            end.saturating_sub(34),
            end.saturating_sub(1),
        ];
        for lba in places.into_iter().map(|lba| lba.min(end.saturating_sub(1))) {
            let read = AtaRequest::read(lba, 1, disk.lba48);
            match sector(exchange, &self.peer, read)? {
                Some(sample) => self.samples.push(sample),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    pub(crate) fn serial(&self) -> Option<String> {
        self.disk.map(|disk| disk.serial.to_string())
    }

    /// Whether nothing tells the two disks apart.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let named = |disk: &Identify| {
            (
                disk.model.to_string(),
                disk.serial.to_string(),
                disk.sectors,
            )
        };
        let (Some(mine), Some(its)) = (&self.disk, &other.disk) else {
            // One that does not say what it is cannot be written by the engine either.
            return self.disk.is_none() && other.disk.is_none();
        };
        named(mine) == named(its)
            && self
                .samples
                .iter()
                .zip(&other.samples)
                .all(|two| !matches!(two, (Some(a), Some(b)) if a != b))
    }

    pub(crate) fn words(&self) -> String {
        match &self.disk {
            Some(disk) => format!(
                "{} {:?} of {} at {}",
                disk.model,
                disk.serial.to_string(),
                size::human(disk.sectors.saturating_mul(size::SECTOR)),
                self.place
            ),
            None => format!("one that cannot be identified at {}", self.place),
        }
    }
}

/// One sector that a station answers with, or its refusal (`Some(None)`); `None` if it is silent.
pub(crate) fn sector(
    exchange: &mut Exchange,
    peer: &Peer,
    request: AtaRequest,
) -> Result<Option<Option<Vec<u8>>>, Failure> {
    let reply = exchange.try_ask(peer, &Question::Ata(request, &[]), PATIENCE_NS)?;
    Ok(reply.map(|reply| match reply {
        Reply::Ata(reply, data) if reply.fault() == AtaFault::None => {
            data.get(..SECTOR_SIZE).map(<[u8]>::to_vec)
        }
        _ => None,
    }))
}
