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
    /// Some sectors by their numbers, the same of all disks of one size; `None` where one cannot be read.
    pub(crate) samples: Vec<Sample>,
}

type Sample = (u64, Option<Vec<u8>>);

/// What tells two disks apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Difference {
    /// Model, serial number, world wide name or size.
    Identity,
    /// What is in this sector.
    Sector(u64),
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

    /// Reads the sectors that are compared. False if it is silent.
    pub(crate) fn sample(&mut self, exchange: &mut Exchange, start: u64) -> Result<bool, Failure> {
        let Some(disk) = self.disk else {
            return Ok(true);
        };
        for lba in places(&disk, start) {
            match self.read(exchange, lba, disk.lba48)? {
                Some(sample) => self.samples.push((lba, sample)),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    pub(crate) fn serial(&self) -> Option<String> {
        self.disk.map(|disk| disk.serial.to_string())
    }

    /// One sector, or its refusal (`Some(None)`); `None` if it is silent.
    pub(crate) fn read(
        &self,
        exchange: &mut Exchange,
        lba: u64,
        lba48: bool,
    ) -> Result<Option<Option<Vec<u8>>>, Failure> {
        sector(exchange, &self.peer, AtaRequest::read(lba, 1, lba48))
    }

    /// Whether nothing tells the two disks apart.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        // One that does not say what it is cannot be written by the engine either.
        self.disk.is_none() == other.disk.is_none() && self.differences(other).is_empty()
    }

    /// What tells the two disks apart, as far as both are known.
    pub(crate) fn differences(&self, other: &Self) -> Vec<Difference> {
        let (Some(mine), Some(its)) = (&self.disk, &other.disk) else {
            return Vec::new();
        };
        if !is_same(mine, its) {
            return vec![Difference::Identity];
        }
        let differ = |two: &(&Sample, &Sample)| match two {
            ((at, Some(a)), (its_at, Some(b))) => at == its_at && a != b,
            _ => false,
        };
        let both = self.samples.iter().zip(&other.samples);
        both.filter(differ)
            .map(|((lba, _), _)| Difference::Sector(*lba))
            .collect()
    }

    pub(crate) fn words(&self) -> String {
        match &self.disk {
            Some(disk) => format!("{} at {}", in_words(disk), self.place),
            None => format!("one that cannot be identified at {}", self.place),
        }
    }
}

/// Whether this is one disk, as far as IDENTIFY data tell.
pub(crate) fn is_same(one: &Identify, other: &Identify) -> bool {
    one.same_disk(other) && one.sectors == other.sectors
}

/// A disk in words.
pub(crate) fn in_words(disk: &Identify) -> String {
    format!(
        "{} {:?} of {}",
        disk.model,
        disk.serial.to_string(),
        size::human(disk.sectors.saturating_mul(size::SECTOR)),
    )
}

/// What differs first from disk to disk: boot sector, tables, labels, the superblock; the end, where GEOM and ZFS
/// write; the middle; and where it will be written.
pub(crate) fn places(disk: &Identify, start: u64) -> impl Iterator<Item = u64> + use<> {
    let end = disk.sectors;
    let last = end.saturating_sub(1);
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
        last,
    ];
    places.into_iter().map(move |lba| lba.min(last))
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::exchange::Config;
    use aoe_wire::TargetAddr;

    /// A station whose disk has this serial number and size, with these bytes in its first sectors.
    pub(crate) fn station(last: u8, serial: &str, sectors: u64, bytes: &[u8]) -> Station {
        let mut table = [0; SECTOR_SIZE];
        let mut words = |at: usize, text: &str| {
            for (place, byte) in table[at..].iter_mut().zip(format!("{text:<20}").bytes()) {
                *place = byte;
            }
            // The characters of a word are swapped.
            table[at..at + 20]
                .chunks_exact_mut(2)
                .for_each(|two| two.swap(0, 1));
        };
        words(20, serial);
        words(54, "model");
        // LBA, LBA48, and both sizes.
        table[49 * 2 + 1] = 2;
        table[83 * 2 + 1] = 0x44;
        table[86 * 2 + 1] = 4;
        table[120..124].copy_from_slice(&(sectors as u32).to_le_bytes());
        table[200..208].copy_from_slice(&sectors.to_le_bytes());
        let mac = MacAddr([2, 0, 0, 0, 0, last]);
        Station {
            peer: Peer {
                netif: NetifId(0),
                mac,
                addr: TargetAddr::new(7, 0).unwrap(),
                config: Config {
                    buffers: 16,
                    firmware: 1,
                    sectors: 2,
                    version: 1,
                    string: Vec::new(),
                },
            },
            place: format!("{mac} on em0"),
            disk: Some(Identify::parse(&table).unwrap()),
            samples: (0..)
                .zip(bytes.iter().map(|byte| Some(vec![*byte; SECTOR_SIZE])))
                .collect(),
        }
    }

    #[test]
    fn what_tells_disks_apart_is_named() {
        let one = station(1, "a", 100, &[1, 2, 3]);
        assert_eq!(one.differences(&station(2, "a", 100, &[1, 2, 3])), []);
        for other in [
            station(2, "b", 100, &[1, 2, 3]),
            station(2, "a", 101, &[1, 2, 3]),
        ] {
            assert_eq!(one.differences(&other), [Difference::Identity]);
            assert!(!one.is_like(&other));
        }
        let other = station(2, "a", 100, &[1, 9, 8]);
        assert_eq!(
            one.differences(&other),
            [Difference::Sector(1), Difference::Sector(2)]
        );
        assert!(!one.is_like(&other));
    }

    #[test]
    fn what_is_not_known_is_no_difference() {
        let one = station(1, "a", 100, &[1, 2]);
        let mut other = station(2, "a", 100, &[1, 9]);
        other.samples[1].1 = None;
        assert_eq!(one.differences(&other), []);
        other.disk = None;
        assert_eq!(one.differences(&other), []);
        assert!(!one.is_like(&other), "it cannot be written all the same");
    }

    #[test]
    fn the_places_are_on_the_disk() {
        for sectors in [1, 2, 33, 100, 1 << 40] {
            let disk = station(1, "a", 100, &[]).disk.unwrap();
            let disk = Identify { sectors, ..disk };
            assert!(places(&disk, 77).all(|lba| lba < sectors), "{sectors}");
        }
        let disk = station(1, "a", 1000, &[]).disk.unwrap();
        assert!(places(&disk, 77).any(|lba| lba == 77));
    }
}
