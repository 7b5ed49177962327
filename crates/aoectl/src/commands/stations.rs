// SPDX-License-Identifier: BSD-2-Clause
//! Which disks answer at one address. Two servers that were given one address may call themselves alike, and a write by
//! both would put one half of the data on each. So before something is written every station that answers is asked
//! what it is and what is on it; and whether what is written by one of them is there by the others too.

use crate::cli::Reach;
use crate::commands::find;
use crate::commands::station::{Station, sector};
use crate::driver::{Driver, now};
use crate::exchange::{self, Exchange, Peer};
use crate::failure::Failure;
use crate::size;
use anyhow::{Context, anyhow};
use aoe_core::{NetifId, Op};
use aoe_wire::{AtaRequest, ConfigRequest, MacAddr, SECTOR_SIZE, TargetAddr};
use std::collections::BTreeSet;
use std::time::Duration;

/// How often all stations are asked to tell of themselves. Each time they have 150 ms, and one that was busy or whose
/// answer was lost is heard the next time.
const ROUNDS: usize = 4;
/// Longest sleep while a sector is read or written, in nanoseconds.
const NAP_NS: u64 = 100_000_000;

/// Finds the target for writing from byte `start` on, by stations that have one disk behind them, or fails before
/// anything is written.
pub(crate) fn find_for_writing(
    reach: &Reach,
    dead_secs: u32,
    start: u64,
) -> Result<Driver, Failure> {
    let end = now().after(exchange::nanos(reach.timeout));
    let mut driver = find::find(reach, dead_secs)?;
    let mut exchange = open(reach)?;
    let Seen { stations, limited } = loop {
        let seen = look(&mut exchange, reach, start, ROUNDS)?;
        if !seen.stations.is_empty() || now() >= end {
            break seen;
        }
        find::find_again(&mut driver, reach, None)?;
    };
    let Some((first, others)) = stations.split_first() else {
        return Err(Failure::NoAnswer(format!(
            "target {}: several stations answer at this address, and fell silent before they were compared; nothing was written",
            reach.target
        )));
    };
    if let Some(other) = others.iter().find(|other| !first.is_like(other)) {
        return Err(Failure::Failed(anyhow!(
            "{}; nothing was written (--mac or --serial chooses one)",
            different(reach.target, first, other)
        )));
    }
    if others.is_empty() {
        restrict(&mut driver, reach, limited.then_some(&stations))?;
        return Ok(driver);
    }
    let alone = BTreeSet::from([first.key()]);
    find::find_again(&mut driver, reach, Some(alone))?;
    let (addr, lba) = (reach.target, start / size::SECTOR);
    let proven = prove(&mut driver, &mut exchange, addr, lba, first, others)?;
    let all = !limited && proven.len() == stations.len();
    driver.hear((!all).then_some(proven));
    find::wait_for_paths(&mut driver, reach)?;
    Ok(driver)
}

/// Finds the target for reading, and says so if different disks answer at its address.
pub(crate) fn find_for_reading(reach: &Reach, dead_secs: u32) -> Result<Driver, Failure> {
    let mut driver = find::find(reach, dead_secs)?;
    let mut exchange = open(reach)?;
    let Seen { stations, limited } = look(&mut exchange, reach, 0, 1)?;
    if let Some((first, others)) = stations.split_first()
        && let Some(other) = others.iter().find(|other| !first.is_like(other))
    {
        let what = different(reach.target, first, other);
        eprintln!("aoectl: {what} (--mac or --serial chooses one)");
    }
    restrict(&mut driver, reach, limited.then_some(&stations))?;
    Ok(driver)
}

fn different(addr: TargetAddr, first: &Station, other: &Station) -> String {
    format!(
        "target {addr}: different disks answer at this address: {}, and {}",
        first.words(),
        other.words()
    )
}

/// Finds the target again by these stations; it stays as it was found if there is no choice to be made.
fn restrict(
    driver: &mut Driver,
    reach: &Reach,
    stations: Option<&Vec<Station>>,
) -> Result<(), Failure> {
    match stations {
        Some(stations) if !stations.is_empty() => {
            let stations = stations.iter().map(Station::key).collect();
            find::find_again(driver, reach, Some(stations))
        }
        _ => Ok(()),
    }
}

/// Opens the interfaces for single questions. The engine has sockets of its own: what one of the two receives, the other
/// one would miss.
fn open(reach: &Reach) -> Result<Exchange, Failure> {
    Exchange::open(&exchange::Reach {
        interfaces: reach.interfaces.clone(),
        mac: reach.choice.mac,
        timeout: reach.timeout.max(Duration::from_millis(1)),
    })
}

/// What was seen of a target.
struct Seen {
    stations: Vec<Station>,
    /// There are others, which the operator has ruled out, or which fell silent before they were compared.
    limited: bool,
}

/// The stations of the target that the operator has not ruled out.
fn look(
    exchange: &mut Exchange,
    reach: &Reach,
    start: u64,
    rounds: usize,
) -> Result<Seen, Failure> {
    let mut peers: Vec<Peer> = Vec::new();
    for _ in 0..rounds {
        let found = exchange.gather_peers(
            reach.target.into(),
            ConfigRequest::READ,
            exchange.timeout_ns(),
        )?;
        if found.is_empty() && peers.is_empty() {
            return Err(match reach.choice.mac {
                Some(mac) => Failure::NoAnswer(format!(
                    "target {} does not answer at {mac} on {}",
                    reach.target,
                    reach.interfaces.join(", ")
                )),
                // It has answered a moment ago, and fallen silent.
                None => exchange.not_found(reach.target.into())?,
            });
        }
        for peer in found {
            let same = |known: &Peer| (known.netif, known.mac) == (peer.netif, peer.mac);
            if !peers.iter().any(same) {
                peers.push(peer);
            }
        }
    }
    // One station needs no comparison, but its serial may be asked for.
    let alone = peers.len() < 2;
    let mut limited = reach.choice.mac.is_some() || reach.choice.serial.is_some();
    let mut stations = Vec::new();
    for peer in peers {
        let mut station = Station {
            place: exchange.place(peer.netif, peer.mac),
            disk: None,
            samples: Vec::new(),
            peer,
        };
        let mut answers = true;
        if !alone || reach.choice.serial.is_some() {
            answers = station.identify(exchange)?;
        }
        if answers && !alone {
            answers = station.sample(exchange, start / size::SECTOR)?;
        }
        if answers {
            stations.push(station);
        } else {
            limited = true;
        }
    }
    if let Some(serial) = &reach.choice.serial {
        let had: Vec<String> = stations.iter().map(Station::words).collect();
        stations.retain(|s| s.serial().as_ref() == Some(serial));
        if stations.is_empty() && !had.is_empty() {
            return Err(Failure::NoAnswer(format!(
                "target {}: no disk with the serial number {serial:?}; there is {}",
                reach.target,
                had.join(", and ")
            )));
        }
    }
    Ok(Seen { stations, limited })
}

/// Changes a sector by the first station, looks whether it is changed by the others, and puts back what was there. The
/// engine does it, which hears only the first station meanwhile: it knows what may still be on its way. The stations
/// with one disk behind them come back; one that fell silent is not among them.
fn prove(
    driver: &mut Driver,
    exchange: &mut Exchange,
    addr: TargetAddr,
    lba: u64,
    first: &Station,
    others: &[Station],
) -> Result<BTreeSet<(NetifId, MacAddr)>, Failure> {
    driver.use_disk(addr);
    let old = transfer(driver, addr, Op::Read, lba, vec![0; SECTOR_SIZE])?;
    let seed = aoe_os::random_seed().context("no random numbers")?;
    let mut new = old.clone();
    for (byte, noise) in new.iter_mut().zip(seed.to_ne_bytes()) {
        *byte ^= noise | 1;
    }
    transfer(driver, addr, Op::Write, lba, new.clone())?;
    let lba48 = first.disk.is_some_and(|disk| disk.lba48);
    let mut proven = BTreeSet::from([first.key()]);
    let mut twin = Ok(None);
    for other in others {
        match sector(exchange, &other.peer, AtaRequest::read(lba, 1, lba48)) {
            Ok(Some(Some(data))) if data == new => {
                proven.insert(other.key());
            }
            Ok(None) => {}
            Ok(Some(_)) => twin = Ok(Some(other)),
            Err(failure) => twin = Err(failure),
        }
        if !matches!(twin, Ok(None)) {
            break;
        }
    }
    transfer(driver, addr, Op::Write, lba, old)?;
    match twin? {
        None => Ok(proven),
        Some(other) => Err(Failure::Failed(anyhow!(
            "target {addr}: two disks that look alike answer at this address: {}, and one at {}; what is written to the \
             first is not on the second; nothing was changed (--mac chooses one)",
            first.words(),
            other.place,
        ))),
    }
}

/// One request, to its end. The sector that was read or written comes back.
fn transfer(
    driver: &mut Driver,
    addr: TargetAddr,
    op: Op,
    lba: u64,
    data: Vec<u8>,
) -> Result<Vec<u8>, Failure> {
    let what = if op == Op::Read { "read" } else { "written" };
    let failed = |why: String| {
        Failure::Failed(anyhow!(
            "target {addr}: sector {lba} cannot be {what} to see which disks answer at this address: {why}"
        ))
    };
    let mut waiting = Some(data);
    let mut token = None;
    loop {
        if let Some(data) = waiting.take() {
            match driver.submit(addr, op, lba, data) {
                Ok(number) => token = Some(number),
                Err(data) if driver.target(addr).is_some() => waiting = Some(data),
                Err(_) => return Err(failed("the target has left".to_owned())),
            }
        }
        driver.step(now().after(NAP_NS))?;
        while driver.poll_news().is_some() {}
        while let Some(done) = driver.poll_completed() {
            if Some(done.token) == token {
                let result = done.completion.result;
                return result
                    .map(|()| done.data)
                    .map_err(|e| failed(format!("{e:?}")));
            }
        }
    }
}
