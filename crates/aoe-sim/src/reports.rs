// SPDX-License-Identifier: BSD-2-Clause
//! What an operator is told of a target, and what he must know after every word of it.

use std::collections::BTreeSet;

use aoe_core::eventlog::{Detail, Entry, EventLog, EventSet, Report};
use aoe_core::{Event, Instant, State, Target};

/// A path, by the number of its interface and its remote address.
type Known = (u8, [u8; 6]);

/// The log of a target's events, and a reader who believes it.
#[derive(Debug)]
pub struct Reports {
    log: EventLog,
    /// Entries are read as soon as they are there; else only by [`Reports::read`].
    pub at_once: bool,
    /// Everything that was read.
    pub seen: Vec<Report>,
    state: State,
    sectors: u64,
    paths: BTreeSet<Known>,
}

impl Reports {
    pub(crate) fn new() -> Self {
        Self {
            log: EventLog::EMPTY,
            at_once: true,
            seen: Vec::new(),
            state: State::Probing,
            sectors: 0,
            paths: BTreeSet::new(),
        }
    }

    /// Events have come; says what is wrong with the log.
    pub(crate) fn note(
        &mut self,
        now: Instant,
        target: &Target<'_>,
        events: &[Event],
    ) -> Option<String> {
        let mut set = EventSet::NONE;
        for event in events {
            set.add(*event);
        }
        self.log.note(now, target, set);
        if self.at_once {
            self.read(target)
        } else {
            None
        }
    }

    /// Reads to the end. Then the reader must know what is so; says what he gets wrong.
    pub fn read(&mut self, target: &Target<'_>) -> Option<String> {
        while let Some(report) = self.log.pop(target) {
            self.seen.push(report);
            if let Report::Event(entry) = report
                && let Some(trouble) = self.believe(&entry)
            {
                return Some(format!("{trouble}: {:?}", self.seen));
            }
        }
        let is: BTreeSet<Known> = target
            .paths()
            .filter(|path| path.in_service())
            .map(|path| (path.netif().0, path.mac().0))
            .collect();
        let state = match target.state() {
            // Neither is an event; the owner of the target reports a removal.
            State::Probing | State::Removed => self.state,
            state => state,
        };
        let (is, was) = (
            (is, state, target.sectors()),
            (&self.paths, self.state, self.sectors),
        );
        ((&is.0, is.1, is.2) != was)
            .then(|| format!("reported is {was:?}, so is {is:?}: {:?}", self.seen))
    }

    fn believe(&mut self, entry: &Entry) -> Option<String> {
        match (entry.event, entry.detail) {
            (Event::Identified, Detail::Size { sectors, before: 0 }) if self.sectors == 0 => {
                self.sectors = sectors;
                self.state = State::Up;
            }
            (Event::Resized, Detail::Size { sectors, before }) if before == self.sectors => {
                self.sectors = sectors;
            }
            (Event::Up | Event::Down | Event::Dead, Detail::Outstanding(_)) => {
                self.state = match entry.event {
                    Event::Up => State::Up,
                    Event::Down => State::Down,
                    _ => State::Dead,
                };
            }
            (Event::PathUp | Event::PathDown, Detail::Path { netif, mac, in_use }) => {
                let path = (netif.0, mac.0);
                let news = if entry.event == Event::PathUp {
                    self.paths.insert(path)
                } else {
                    self.paths.remove(&path)
                };
                if !news || self.paths.len() != usize::from(in_use) {
                    return Some(format!("{entry:?} does not follow from {:?}", self.paths));
                }
            }
            (Event::Identified | Event::Resized, _)
            | (Event::Up | Event::Down | Event::Dead | Event::PathUp | Event::PathDown, _) => {
                return Some(format!("{entry:?} does not follow from what was reported"));
            }
            _ => {}
        }
        None
    }
}
