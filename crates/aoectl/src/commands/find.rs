// SPDX-License-Identifier: BSD-2-Clause
//! Finding the one target that a command is about.

use crate::cli::Reach;
use crate::driver::{Driver, now};
use crate::failure::Failure;
use aoe_core::{Instant, NetifId, PathState, State};
use aoe_wire::MacAddr;
use std::collections::BTreeSet;

/// How often the target is asked for while it does not answer, in nanoseconds.
const BEACON_NS: u64 = 500_000_000;
/// How long further paths are waited for once one is up, in nanoseconds.
const MORE_PATHS_NS: u64 = 300_000_000;

/// Opens the interfaces and waits until the target is identified, and for its further paths for a moment.
pub(crate) fn find(reach: &Reach, dead_secs: u32) -> Result<Driver, Failure> {
    let mut driver = Driver::open(&reach.interfaces, Some(reach.target), dead_secs)?;
    wait_until_found(&mut driver, reach)?;
    Ok(driver)
}

/// The same again by the interfaces that are open, and by these stations only, if some are given. What was known of
/// the target before is forgotten.
pub(crate) fn find_again(
    driver: &mut Driver,
    reach: &Reach,
    stations: Option<BTreeSet<(NetifId, MacAddr)>>,
) -> Result<(), Failure> {
    driver.start_again(stations);
    wait_until_found(driver, reach)
}

fn wait_until_found(driver: &mut Driver, reach: &Reach) -> Result<(), Failure> {
    let wait = u64::try_from(reach.timeout.as_nanos()).unwrap_or(u64::MAX);
    let end = now().after(wait);
    let mut next_beacon = now().after(BEACON_NS);
    while !is_up(driver, reach) {
        if now() >= end {
            return Err(not_found(driver, reach));
        }
        if now() >= next_beacon {
            driver.discover();
            next_beacon = now().after(BEACON_NS);
        }
        driver.step(end.min(next_beacon))?;
        while driver.poll_news().is_some() {}
    }
    wait_until_complete(driver, reach, now().after(MORE_PATHS_NS).min(end))
}

/// Waits for a moment for paths that were not heard before.
pub(crate) fn wait_for_paths(driver: &mut Driver, reach: &Reach) -> Result<(), Failure> {
    driver.discover();
    wait_until_complete(driver, reach, now().after(MORE_PATHS_NS))
}

fn wait_until_complete(driver: &mut Driver, reach: &Reach, end: Instant) -> Result<(), Failure> {
    while now() < end && !is_complete(driver, reach) {
        driver.step(end)?;
        while driver.poll_news().is_some() {}
    }
    Ok(())
}

fn is_up(driver: &Driver, reach: &Reach) -> bool {
    driver
        .target(reach.target)
        .is_some_and(|t| t.identity().is_some() && t.state() == State::Up)
}

/// Whether every interface that is up has a path.
fn is_complete(driver: &Driver, reach: &Reach) -> bool {
    let Some(target) = driver.target(reach.target) else {
        return false;
    };
    driver
        .ports()
        .states()
        .filter(|(_, up)| *up)
        .all(|(name, _)| {
            target
                .paths()
                .any(|p| driver.ports().name(p.netif()) == name && p.state() != PathState::New)
        })
}

/// What is known about why it was not found.
fn not_found(driver: &Driver, reach: &Reach) -> Failure {
    let addr = reach.target;
    let names = reach.interfaces.join(", ");
    let mut text = match driver.target(addr) {
        Some(target) if target.identity().is_some() => {
            format!("target {addr} is {} on {names}", target.state())
        }
        Some(_) => format!("target {addr} announces itself on {names}, but cannot be identified"),
        None => format!("target {addr} does not answer on {names}"),
    };
    let down: Vec<&str> = driver
        .ports()
        .states()
        .filter(|(_, up)| !up)
        .map(|(name, _)| name)
        .collect();
    if !down.is_empty() {
        text.push_str(&format!(" (down or without link: {})", down.join(", ")));
    }
    let others: Vec<String> = driver
        .seen()
        .iter()
        .filter(|a| **a != addr)
        .take(8)
        .map(ToString::to_string)
        .collect();
    if !others.is_empty() {
        text.push_str(&format!("; others do: {}", others.join(", ")));
    }
    Failure::NoAnswer(text)
}
