// SPDX-License-Identifier: BSD-2-Clause
//! What was asked, what may be on the disk, and what may be answered.
//!
//! The rules, all of them:
//!
//! 1. A request that was accepted completes once. One that was refused as full, never; and full means that
//!    as many requests as fit are open.
//! 2. Writes and TRIMs of one sector take effect in the order in which they were accepted. So of two pieces of
//!    content the one accepted later is the newer one. Once a write has completed, or a read has returned it,
//!    nothing older is ever on the disk again, nor returned to a read accepted after that.
//! 3. When a FLUSH completes, what was accepted before it and completed is durable.
//! 4. A request does not start before those it must follow have completed: everything earlier if it is
//!    ordered; everything earlier that is ordered; if it is a FLUSH, every earlier write; if it is a write, every
//!    earlier write of a sector of its.
//! 5. A request fails only for a reason that this book knows of.

use std::collections::{BTreeMap, BTreeSet};

use aoe_core::{IoError, Op};

use crate::content::{Content, content};

/// A request that was accepted and has not completed.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its place in the order of acceptance.
    pub order: u64,
    /// When that was, in the order of everything that happened.
    pub when: u64,
    /// What it does.
    pub op: Op,
    /// First sector.
    pub lba: u64,
    /// Sectors.
    pub sectors: u64,
    /// It is a barrier.
    pub ordered: bool,
    /// It can only end in this way.
    pub must_fail: Option<IoError>,
    /// It may end in these ways.
    pub may_fail: BTreeSet<IoErrorOrd>,
}

/// Errors in an order, for a set of them.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct IoErrorOrd(u8);

impl From<IoError> for IoErrorOrd {
    fn from(error: IoError) -> Self {
        Self(error as u8)
    }
}

impl Asked {
    /// It changes what is on the disk.
    #[must_use]
    pub fn modifies(&self) -> bool {
        matches!(self.op, Op::Write | Op::Trim)
    }

    /// The sectors it is about.
    #[must_use]
    pub fn range(&self) -> std::ops::Range<u64> {
        self.lba..self.lba.saturating_add(self.sectors)
    }

    /// Whether a sector is among its.
    #[must_use]
    pub fn touches(&self, lba: u64, sectors: u64) -> bool {
        self.lba < lba + sectors && lba < self.range().end
    }

    fn must_follow(&self, earlier: &Self) -> bool {
        self.ordered
            || earlier.ordered
            || self.op == Op::Flush && earlier.modifies()
            || self.modifies() && earlier.modifies() && self.touches(earlier.lba, earlier.sectors)
    }
}

/// Content that a sector may have had.
#[derive(Copy, Clone, Debug)]
struct Version {
    content: Content,
    order: u64,
}

/// At `when` it was certain that what was accepted at `order` is on the disk, or something newer.
#[derive(Copy, Clone, Debug)]
struct Certain {
    when: u64,
    order: u64,
    /// It is certain because a write completed; else because a read returned it.
    written: bool,
}

/// The history of one sector.
#[derive(Clone, Debug)]
struct Sector {
    versions: Vec<Version>,
    certain: Vec<Certain>,
    /// The disk was smaller in the meantime: nobody knows what is here.
    unknown: bool,
}

impl Sector {
    fn new() -> Self {
        Self {
            versions: vec![Version {
                content: Content::Blank,
                order: 0,
            }],
            certain: Vec::new(),
            unknown: false,
        }
    }

    /// The oldest place in the order that this content can have, when everything of which `counts` says so is
    /// believed to be certain. `None`: it cannot be there.
    fn admits(&self, found: Content, counts: impl Fn(&Certain) -> bool) -> Option<u64> {
        let least = self
            .certain
            .iter()
            .filter(|c| counts(c))
            .map(|c| c.order)
            .max()
            .unwrap_or(0);
        let orders = self
            .versions
            .iter()
            .filter(|v| v.content == found)
            .map(|v| v.order);
        orders.filter(|order| *order >= least).min()
    }
}

/// The book.
#[derive(Clone, Debug)]
pub struct Model {
    /// What was wrong, in words.
    pub wrong: Vec<String>,
    /// Requests that are open, by token.
    pub open: BTreeMap<u64, Asked>,
    sectors: Vec<Sector>,
    happened: u64,
    accepted: u64,
    room: usize,
}

impl Model {
    /// A disk of zeros, and an engine with room for `room` requests.
    #[must_use]
    pub fn new(sectors: u64, room: usize) -> Self {
        Self {
            wrong: Vec::new(),
            open: BTreeMap::new(),
            sectors: (0..sectors).map(|_| Sector::new()).collect(),
            happened: 0,
            accepted: 0,
            room,
        }
    }

    /// Notes something that is wrong.
    pub fn fault(&mut self, what: impl Into<String>) {
        self.wrong.push(what.into());
    }

    /// How much has happened; while that stays the same, nothing new is known of what the disk may hold.
    #[must_use]
    pub fn happened(&self) -> u64 {
        self.happened
    }

    /// Something happened; its place in the order of everything.
    fn now(&mut self) -> u64 {
        self.happened += 1;
        self.happened
    }

    /// The engine had no room for a request.
    pub fn refused(&mut self) {
        if self.open.len() < self.room {
            let open = self.open.len();
            self.fault(format!("full with {open} requests of {}", self.room));
        }
    }

    /// The engine accepted a request.
    pub fn accept(&mut self, token: u64, mut asked: Asked) {
        if self.open.len() >= self.room {
            self.fault(format!("request {token} was accepted without room"));
        }
        self.accepted += 1;
        asked.order = self.accepted;
        asked.when = self.now();
        if asked.modifies() && asked.must_fail.is_none() {
            let content = if asked.op == Op::Trim {
                Content::Blank
            } else {
                Content::Of(token)
            };
            for lba in asked.range() {
                if let Some(sector) = self.sectors.get_mut(lba as usize) {
                    sector.versions.push(Version {
                        content,
                        order: asked.order,
                    });
                }
            }
        }
        self.open.insert(token, asked);
    }

    /// A frame of a request was made. `token` is known of writes; of the rest what the frame says must do.
    pub fn started(&mut self, token: Option<u64>, op: Op, lba: u64, sectors: u64) {
        let fits = |asked: &Asked| {
            asked.op == op
                && asked.must_fail.is_none()
                && (op == Op::Flush || asked.lba <= lba && lba + sectors <= asked.range().end)
        };
        let mut candidates: Vec<_> = self.open.iter().filter(|(_, asked)| fits(asked)).collect();
        candidates.retain(|(open, _)| token.is_none_or(|token| token == **open));
        if candidates.is_empty() {
            self.fault(format!(
                "a frame of no open request: {op:?} {token:?} {lba}+{sectors}"
            ));
            return;
        }
        // Of equal requests any may be the one.
        let blocked = |asked: &Asked| {
            self.open
                .iter()
                .find(|(_, earlier)| earlier.order < asked.order && asked.must_follow(earlier))
                .map(|(token, _)| *token)
        };
        let blocks: Option<Vec<u64>> = candidates.iter().map(|(_, asked)| blocked(asked)).collect();
        if let Some(blocks) = blocks {
            self.fault(format!(
                "{op:?} {lba}+{sectors} was started before request {blocks:?} completed"
            ));
        }
    }

    /// Something went wrong that can be the end of some requests.
    pub fn excuse(&mut self, error: IoError, covers: impl Fn(&Asked) -> bool) {
        for asked in self.open.values_mut().filter(|asked| covers(asked)) {
            asked.may_fail.insert(error.into());
        }
    }

    /// A request completed; `data` is what a read brought, `durable` what a power cut would leave.
    pub fn complete(
        &mut self,
        token: u64,
        result: Result<(), IoError>,
        data: &[u8],
        durable: &[[u8; 512]],
    ) {
        let Some(asked) = self.open.remove(&token) else {
            self.fault(format!(
                "request {token} completed, but it is not open: twice, or never"
            ));
            return;
        };
        if let Some(expected) = asked.must_fail
            && result != Err(expected)
        {
            self.fault(format!(
                "request {token} ended as {result:?}, not {expected:?}: {asked:?}"
            ));
            return;
        }
        match result {
            Err(error) => {
                if asked.must_fail.is_none() && !asked.may_fail.contains(&error.into()) {
                    self.fault(format!(
                        "request {token} failed as {error:?} without a reason: {asked:?}"
                    ));
                }
            }
            Ok(()) if asked.op == Op::Read => self.returned(token, &asked, data),
            Ok(()) if asked.op == Op::Flush => self.flushed(token, &asked, durable),
            Ok(()) => {
                let when = self.now();
                for lba in asked.range() {
                    if let Some(sector) = self.sectors.get_mut(lba as usize) {
                        sector.certain.push(Certain {
                            when,
                            order: asked.order,
                            written: true,
                        });
                    }
                }
            }
        }
    }

    fn returned(&mut self, token: u64, asked: &Asked, data: &[u8]) {
        let when = self.now();
        for (lba, bytes) in asked.range().zip(data.chunks_exact(512)) {
            let found = content(bytes, lba);
            let Some(sector) = self.sectors.get_mut(lba as usize).filter(|s| !s.unknown) else {
                continue;
            };
            match sector.admits(found, |certain| certain.when < asked.when) {
                Some(order) => sector.certain.push(Certain {
                    when,
                    order,
                    written: false,
                }),
                None => {
                    let sector = sector.clone();
                    self.fault(format!(
                        "read {token} returned {found:?} for sector {lba}: {sector:?}"
                    ));
                }
            }
        }
    }

    fn flushed(&mut self, token: u64, asked: &Asked, durable: &[[u8; 512]]) {
        for (lba, bytes) in (0..).zip(durable) {
            let found = content(bytes, lba);
            let Some(sector) = self.sectors.get(lba as usize).filter(|s| !s.unknown) else {
                continue;
            };
            if sector
                .admits(found, |c| c.written && c.order < asked.order)
                .is_none()
            {
                let sector = sector.clone();
                self.fault(format!(
                    "after flush {token} sector {lba} is durable as {found:?}: {sector:?}"
                ));
            }
        }
    }

    /// Looks at the whole disk.
    pub fn look(&mut self, disk: &[[u8; 512]]) {
        let mut wrong = Vec::new();
        for ((lba, bytes), sector) in (0..).zip(disk).zip(&self.sectors) {
            let found = content(bytes, lba);
            if !sector.unknown && sector.admits(found, |_| true).is_none() {
                wrong.push(format!(
                    "sector {lba} of the disk holds {found:?}: {sector:?}"
                ));
            }
        }
        self.wrong.extend(wrong);
    }

    /// The disk has another size.
    pub fn resize(&mut self, old: u64, new: u64) {
        let reach = self.sectors.len().max(new as usize);
        self.sectors.resize_with(reach, Sector::new);
        for sector in self.sectors.iter_mut().skip(old.min(new) as usize) {
            sector.unknown = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp;

    const OK: Result<(), IoError> = Ok(());

    fn asked(op: Op, lba: u64, sectors: u64) -> Asked {
        Asked {
            order: 0,
            when: 0,
            op,
            lba,
            sectors,
            ordered: false,
            must_fail: None,
            may_fail: BTreeSet::new(),
        }
    }

    fn read(model: &mut Model, token: u64, lba: u64, found: Option<u64>) -> usize {
        let bytes = found.map_or([0; 512], |writer| stamp(writer, lba));
        model.complete(token, OK, &bytes, &[]);
        model.wrong.len()
    }

    #[test]
    fn a_read_returns_the_newest_or_one_that_is_under_way() {
        for (found, faults) in [(None, 1), (Some(1), 0), (Some(2), 0), (Some(3), 1)] {
            let mut model = Model::new(8, 8);
            model.accept(1, asked(Op::Write, 3, 1));
            model.complete(1, OK, &[], &[]);
            model.accept(2, asked(Op::Write, 3, 1));
            model.accept(9, asked(Op::Read, 3, 1));
            assert_eq!(read(&mut model, 9, 3, found), faults, "{found:?}");
        }
    }

    #[test]
    fn a_read_may_return_what_was_replaced_while_it_was_under_way() {
        let mut model = Model::new(8, 8);
        model.accept(9, asked(Op::Read, 3, 1));
        model.accept(1, asked(Op::Write, 3, 1));
        model.complete(1, OK, &[], &[]);
        model.accept(10, asked(Op::Read, 3, 1));
        assert_eq!(read(&mut model, 9, 3, None), 0);
        assert_eq!(read(&mut model, 10, 3, None), 1);
    }

    #[test]
    fn what_was_seen_is_not_unseen() {
        let mut model = Model::new(8, 8);
        model.accept(1, asked(Op::Write, 3, 1));
        model.accept(9, asked(Op::Read, 3, 1));
        assert_eq!(read(&mut model, 9, 3, Some(1)), 0);
        model.accept(10, asked(Op::Read, 3, 1));
        assert_eq!(read(&mut model, 10, 3, None), 1);
    }

    #[test]
    fn a_failed_write_may_have_happened_and_may_not_fail_for_nothing() {
        let mut model = Model::new(8, 8);
        model.accept(1, asked(Op::Write, 3, 1));
        model.excuse(IoError::Failed, |asked| asked.op == Op::Write);
        model.complete(1, Err(IoError::Failed), &[], &[]);
        model.look(&[[0; 512]; 8]);
        let mut disk = [[0; 512]; 8];
        disk[3] = stamp(1, 3);
        model.look(&disk);
        assert!(model.wrong.is_empty());
        model.accept(2, asked(Op::Write, 3, 1));
        model.complete(2, Err(IoError::Failed), &[], &[]);
        assert_eq!(model.wrong.len(), 1);
    }

    #[test]
    fn an_old_copy_on_the_disk_is_seen() {
        let mut model = Model::new(8, 8);
        for token in [1, 2] {
            model.accept(token, asked(Op::Write, 3, 1));
            model.complete(token, OK, &[], &[]);
        }
        let mut disk = [[0; 512]; 8];
        disk[3] = stamp(2, 3);
        model.look(&disk);
        assert!(model.wrong.is_empty());
        disk[3] = stamp(1, 3);
        model.look(&disk);
        assert_eq!(model.wrong.len(), 1);
    }

    #[test]
    fn a_flush_makes_durable_what_completed_before_it_was_asked_for() {
        let mut model = Model::new(8, 8);
        model.accept(1, asked(Op::Write, 3, 1));
        model.complete(1, OK, &[], &[]);
        model.accept(5, asked(Op::Flush, 0, 0));
        model.accept(2, asked(Op::Write, 4, 1));
        model.complete(2, OK, &[], &[]);
        let mut durable = [[0; 512]; 8];
        durable[3] = stamp(1, 3);
        let mut other = model.clone();
        model.complete(5, OK, &[], &durable);
        assert!(model.wrong.is_empty());
        other.complete(5, OK, &[], &[[0; 512]; 8]);
        assert_eq!(other.wrong.len(), 1);
    }

    #[test]
    fn who_must_wait_may_not_start() {
        let mut model = Model::new(8, 8);
        model.accept(1, asked(Op::Write, 0, 4));
        model.accept(2, asked(Op::Write, 4, 1));
        model.accept(3, asked(Op::Flush, 0, 0));
        model.accept(4, asked(Op::Read, 0, 4));
        model.started(Some(1), Op::Write, 0, 2);
        model.started(Some(2), Op::Write, 4, 1);
        model.started(None, Op::Read, 0, 4);
        assert!(model.wrong.is_empty());
        model.started(None, Op::Flush, 0, 0);
        assert_eq!(model.wrong.len(), 1);
        model.accept(5, asked(Op::Trim, 3, 1));
        model.started(None, Op::Trim, 3, 1);
        assert_eq!(model.wrong.len(), 2);
        let barrier = Asked {
            ordered: true,
            ..asked(Op::Read, 7, 1)
        };
        model.accept(6, barrier);
        model.started(None, Op::Read, 7, 1);
        assert_eq!(model.wrong.len(), 3);
        model.accept(7, asked(Op::Read, 6, 1));
        model.started(None, Op::Read, 6, 1);
        assert_eq!(model.wrong.len(), 4);
        model.started(None, Op::Read, 5, 1);
        assert_eq!(model.wrong.len(), 5, "nobody asked for it");
    }

    #[test]
    fn once_is_once_and_full_is_full() {
        let mut model = Model::new(8, 1);
        model.accept(1, asked(Op::Read, 0, 0));
        model.refused();
        model.complete(1, OK, &[], &[]);
        assert!(model.wrong.is_empty());
        model.complete(1, OK, &[], &[]);
        assert_eq!(model.wrong.len(), 1);
        model.refused();
        assert_eq!(model.wrong.len(), 2);
        model.accept(1, asked(Op::Read, 0, 0));
        model.accept(2, asked(Op::Read, 0, 0));
        assert_eq!(model.wrong.len(), 3);
    }
}
