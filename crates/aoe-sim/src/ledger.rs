// SPDX-License-Identifier: BSD-2-Clause
//! What a disk may hold and what a read may return: the book that every request is checked against.
//!
//! Every sector that a test writes carries the token of its write and its own number. The book knows, for
//! each sector, which values may be there: a value leaves when a write that was accepted after it completes.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::rc::Rc;

use aoe_core::{IoError, Op};
use aoe_target::SECTOR;

/// What went wrong, in words. The first entry is the one to look at.
#[derive(Clone, Debug, Default)]
pub struct Trouble(Rc<RefCell<Vec<String>>>);

impl Trouble {
    /// Notes a violation.
    pub fn note(&self, now: u64, what: impl AsRef<str>) {
        let mut list = self.0.borrow_mut();
        if list.len() < 20 {
            let (seconds, nanos) = (now / 1_000_000_000, now % 1_000_000_000);
            list.push(format!("at {seconds}.{nanos:09}: {}", what.as_ref()));
        }
    }

    /// Nothing went wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Everything that went wrong.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        self.0.borrow().clone()
    }
}

/// What a sector holds.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// What was there before the first write.
    Initial,
    /// Zeros.
    Zero,
    /// What this write put there.
    Write(u64),
    /// Nothing that any write could have put there.
    Garbage,
}

const INITIAL: u64 = u64::MAX;

/// The bytes of a sector as this write puts them.
#[must_use]
pub fn stamp(token: u64, lba: u64) -> [u8; SECTOR] {
    let mut sector = [0; SECTOR];
    for pair in sector.chunks_exact_mut(16) {
        let (first, second) = pair.split_at_mut(8);
        first.copy_from_slice(&token.to_le_bytes());
        second.copy_from_slice(&lba.to_le_bytes());
    }
    sector
}

/// The bytes of a sector before the first write.
#[must_use]
pub fn initial(lba: u64) -> [u8; SECTOR] {
    stamp(INITIAL, lba)
}

/// Whose bytes a sector holds.
#[must_use]
pub fn content(sector: &[u8], lba: u64) -> Content {
    if sector.len() != SECTOR {
        return Content::Garbage;
    }
    if sector.iter().all(|byte| *byte == 0) {
        return Content::Zero;
    }
    let token = sector
        .first_chunk::<8>()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes));
    if sector != stamp(token, lba) {
        Content::Garbage
    } else if token == INITIAL {
        Content::Initial
    } else {
        Content::Write(token)
    }
}

#[derive(Copy, Clone, Debug)]
struct Value {
    content: Content,
    /// Place of its write in the order of acceptance.
    accepted: u64,
    /// When a newer write or a read made it impossible.
    pruned: Option<u64>,
    /// Its request ended with an error: whether it is on the disk, and stays there, nobody knows.
    failed: bool,
}

/// A request as the tests see it.
#[derive(Clone, Debug)]
pub struct Open {
    /// What it does.
    pub op: Op,
    /// First sector.
    pub lba: u64,
    /// Sectors.
    pub sectors: u64,
    /// A barrier.
    pub ordered: bool,
    /// Place in the order of acceptance.
    pub accepted: u64,
    /// When it was accepted.
    pub at: u64,
    /// Its data.
    pub data: Vec<u8>,
}

impl Open {
    /// It shares sectors with this range.
    #[must_use]
    pub fn overlaps(&self, lba: u64, sectors: u64) -> bool {
        self.lba < lba + sectors && lba < self.lba + self.sectors
    }

    /// It changes what is on the disk.
    #[must_use]
    pub fn modifies(&self) -> bool {
        matches!(self.op, Op::Write | Op::Trim)
    }
}

/// Which requests go as one.
#[derive(Debug, Default)]
struct Joined {
    /// Those behind a first one, in their order.
    behind: HashMap<u64, Vec<u64>>,
    /// The first one of each of those.
    first: HashMap<u64, u64>,
}

/// The book of one disk.
#[derive(Debug)]
pub struct Ledger {
    seq: u64,
    sectors: HashMap<u64, Vec<Value>>,
    /// Requests accepted and not completed, by token.
    pub open: BTreeMap<u64, Open>,
    joined: Joined,
    trouble: Trouble,
    /// The time, for messages.
    pub now: u64,
}

impl Ledger {
    /// An empty book that reports to `trouble`.
    #[must_use]
    pub fn new(trouble: Trouble) -> Self {
        Self {
            seq: 1,
            sectors: HashMap::new(),
            open: BTreeMap::new(),
            joined: Joined::default(),
            trouble,
            now: 0,
        }
    }

    fn note(&self, what: impl AsRef<str>) {
        self.trouble.note(self.now, what);
    }

    fn values(&mut self, lba: u64) -> &mut Vec<Value> {
        self.sectors.entry(lba).or_insert_with(|| {
            vec![Value {
                content: Content::Initial,
                accepted: 0,
                pruned: None,
                failed: false,
            }]
        })
    }

    /// A request was accepted.
    pub fn accept(&mut self, token: u64, mut request: Open) {
        self.seq += 1;
        request.accepted = self.seq;
        request.at = self.now;
        if request.modifies() {
            let oldest = self
                .open
                .values()
                .map(|open| open.accepted)
                .min()
                .unwrap_or(self.seq);
            let content = match request.op {
                Op::Trim => Content::Zero,
                _ => Content::Write(token),
            };
            let value = Value {
                content,
                accepted: self.seq,
                pruned: None,
                failed: false,
            };
            for lba in request.lba..request.lba + request.sectors {
                let values = self.values(lba);
                values.retain(|value| value.pruned.is_none_or(|pruned| pruned > oldest));
                values.push(value);
            }
        }
        if self.open.insert(token, request).is_some() {
            self.note(format!("token {token} was accepted twice"));
        }
    }

    /// A request was accepted behind `first`, and behind those that went there before.
    pub fn accept_behind(&mut self, first: u64, token: u64, request: Open) {
        self.accept(token, request);
        self.joined.behind.entry(first).or_default().push(token);
        self.joined.first.insert(token, first);
    }

    /// The requests that go as one with this one, which is their first.
    #[must_use]
    pub fn chain(&self, first: u64) -> Vec<u64> {
        let behind = self.joined.behind.get(&first);
        let behind = behind.into_iter().flatten().copied();
        core::iter::once(first).chain(behind).collect()
    }

    /// Forgets that these went as one: they end.
    pub fn take_chain(&mut self, first: u64) -> Vec<u64> {
        let chain = self.chain(first);
        self.joined.behind.remove(&first);
        for token in &chain {
            self.joined.first.remove(token);
        }
        chain
    }

    /// Sectors of a request and of those that it goes as one with: the first, and the first behind.
    #[must_use]
    pub fn span(&self, token: u64) -> (u64, u64) {
        let first = self.joined.first.get(&token).copied().unwrap_or(token);
        let open: Vec<&Open> = self
            .chain(first)
            .iter()
            .filter_map(|token| self.open.get(token))
            .collect();
        let begin = open.first().map_or(0, |open| open.lba);
        (begin, open.last().map_or(0, |open| open.lba + open.sectors))
    }

    /// These bytes of a request and of those behind it, piece by piece: `None` if they have less.
    pub fn pieces(
        &mut self,
        first: u64,
        offset: usize,
        len: usize,
        mut piece: impl FnMut(&mut Open, Range<usize>),
    ) -> Option<()> {
        let (mut offset, mut len) = (offset, len);
        for token in self.chain(first) {
            let open = self.open.get_mut(&token)?;
            let here = open.data.len().saturating_sub(offset).min(len);
            if here > 0 {
                piece(open, offset..offset + here);
            }
            offset = offset.saturating_sub(open.data.len());
            len -= here;
        }
        (len == 0).then_some(())
    }

    fn prune(&mut self, lba: u64, before: u64) {
        self.seq += 1;
        let seq = self.seq;
        for value in self.values(lba) {
            if value.accepted < before && value.pruned.is_none() {
                value.pruned = Some(seq);
            }
        }
    }

    /// The disk holds this now; may it?
    pub fn on_disk(&mut self, lba: u64, content: Content, why: &str) {
        let values = self.values(lba);
        if values
            .iter()
            .any(|value| value.content == content && value.pruned.is_none())
        {
            return;
        }
        let values = values.clone();
        self.note(format!(
            "{why}: sector {lba} holds {content:?}, which newer data have replaced; may hold {:?}",
            values
                .iter()
                .filter(|v| v.pruned.is_none())
                .map(|v| v.content)
                .collect::<Vec<_>>()
        ));
    }

    /// A request ended. Gives it back, when there was such a request.
    pub fn complete(&mut self, token: u64, result: Result<(), IoError>) -> Option<Open> {
        let Some(request) = self.open.remove(&token) else {
            self.note(format!(
                "token {token} completed, but is not open: twice, or never accepted"
            ));
            return None;
        };
        if result.is_ok() {
            self.check_order(token, &request);
            match request.op {
                Op::Read => self.check_read(token, &request),
                Op::Write | Op::Trim => {
                    for lba in request.lba..request.lba + request.sectors {
                        self.prune(lba, request.accepted);
                    }
                }
                Op::Flush => {}
            }
        } else if request.modifies() {
            for lba in request.lba..request.lba + request.sectors {
                let accepted = request.accepted;
                for value in self.values(lba) {
                    value.failed |= value.accepted == accepted;
                }
            }
        }
        Some(request)
    }

    fn check_order(&self, token: u64, request: &Open) {
        for (earlier, open) in self
            .open
            .iter()
            .filter(|(_, o)| o.accepted < request.accepted)
        {
            let barrier = open.ordered || request.ordered;
            let collide = open.modifies()
                && request.modifies()
                && open.overlaps(request.lba, request.sectors);
            if barrier || collide {
                self.note(format!(
                    "{:?} {token} completed before {:?} {earlier}, {}",
                    request.op,
                    open.op,
                    if barrier {
                        "across a barrier"
                    } else {
                        "an earlier write of the same sectors"
                    }
                ));
            }
        }
    }

    fn check_read(&mut self, token: u64, request: &Open) {
        for (lba, sector) in (request.lba..).zip(request.data.chunks(SECTOR)) {
            let found = content(sector, lba);
            let accepted = self
                .values(lba)
                .iter()
                .filter(|v| v.content == found)
                .filter(|v| v.pruned.is_none_or(|pruned| pruned > request.accepted))
                .map(|v| v.accepted)
                .min();
            match accepted {
                // Nobody may see anything older from now on.
                Some(accepted) => self.prune(lba, accepted),
                None => {
                    let values = self.values(lba).clone();
                    self.note(format!(
                        "read {token} accepted as {}: sector {lba} returned {found:?}; possible: {values:?}",
                        request.accepted
                    ));
                }
            }
        }
    }

    /// Every sector that was ever written, for a look at the whole disk.
    #[must_use]
    pub fn touched(&self) -> Vec<u64> {
        let mut lbas: Vec<u64> = self.sectors.keys().copied().collect();
        lbas.sort_unstable();
        lbas
    }

    /// The place in the order of acceptance of the newest value that this sector content can be, those
    /// of failed writes left out: no flush promises anything for them.
    #[must_use]
    pub fn accepted_as(&self, lba: u64, content: Content) -> Option<u64> {
        self.sectors
            .get(&lba)?
            .iter()
            .filter(|v| v.content == content && !v.failed)
            .map(|v| v.accepted)
            .max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(op: Op, lba: u64, sectors: u64) -> Open {
        let data = vec![0; usize::try_from(sectors).unwrap() * SECTOR];
        Open {
            op,
            lba,
            sectors,
            ordered: false,
            accepted: 0,
            at: 0,
            data,
        }
    }

    fn book() -> (Ledger, Trouble) {
        let trouble = Trouble::default();
        (Ledger::new(trouble.clone()), trouble)
    }

    /// Accepts a read and lets it return what these writes put on sectors 0 and 1.
    fn read(ledger: &mut Ledger, token: u64, found: [u64; 2]) {
        let mut request = open(Op::Read, 0, 2);
        for (lba, sector) in (0..).zip(request.data.chunks_exact_mut(SECTOR)) {
            let token = found[usize::try_from(lba).unwrap()];
            sector.copy_from_slice(&if token == 0 {
                initial(lba)
            } else {
                stamp(token, lba)
            });
        }
        ledger.accept(token, request);
        ledger.complete(token, Ok(()));
    }

    #[test]
    fn a_read_may_return_the_newest_or_a_concurrent_write() {
        let (mut ledger, trouble) = book();
        read(&mut ledger, 1, [0, 0]);
        ledger.accept(2, open(Op::Write, 0, 2));
        read(&mut ledger, 3, [0, 0]);
        read(&mut ledger, 4, [2, 0]);
        ledger.complete(2, Ok(()));
        read(&mut ledger, 5, [2, 2]);
        assert!(trouble.is_empty(), "{:?}", trouble.list());
        read(&mut ledger, 6, [2, 0]);
        assert_eq!(
            trouble.list().len(),
            1,
            "what was there before a completed write"
        );
    }

    #[test]
    fn who_has_seen_the_new_may_not_see_the_old_again() {
        let (mut ledger, trouble) = book();
        ledger.accept(2, open(Op::Write, 0, 2));
        read(&mut ledger, 3, [2, 2]);
        assert!(trouble.is_empty());
        read(&mut ledger, 4, [0, 2]);
        assert_eq!(trouble.list().len(), 1);
    }

    #[test]
    fn a_failed_write_may_have_happened_or_not() {
        for found in [[0, 0], [2, 2], [2, 0]] {
            let (mut ledger, trouble) = book();
            ledger.accept(2, open(Op::Write, 0, 2));
            ledger.complete(2, Err(IoError::Failed));
            read(&mut ledger, 3, found);
            assert!(trouble.is_empty(), "{:?}", trouble.list());
        }
    }

    #[test]
    fn garbage_is_never_right() {
        let (mut ledger, trouble) = book();
        ledger.accept(9, open(Op::Read, 0, 2));
        ledger.complete(9, Ok(()));
        assert_eq!(trouble.list().len(), 2, "zeros that nobody wrote");
        assert_eq!(
            content(&stamp(1, 7), 8),
            Content::Garbage,
            "another sector's data"
        );
        let mut torn = stamp(1, 7);
        torn[500] ^= 1;
        assert_eq!(content(&torn, 7), Content::Garbage);
    }

    #[test]
    fn an_overlapping_write_may_not_pass_an_earlier_one() {
        for (lba, wrong) in [(1, true), (2, false)] {
            let (mut ledger, trouble) = book();
            ledger.accept(1, open(Op::Write, 0, 2));
            ledger.accept(2, open(Op::Trim, lba, 2));
            ledger.complete(2, Ok(()));
            assert_eq!(!trouble.is_empty(), wrong);
        }
    }

    #[test]
    fn an_old_value_on_the_disk_is_found_when_a_newer_write_completed() {
        let (mut ledger, trouble) = book();
        ledger.accept(1, open(Op::Write, 0, 1));
        ledger.complete(1, Ok(()));
        ledger.accept(2, open(Op::Write, 0, 1));
        ledger.on_disk(0, Content::Write(1), "test");
        assert!(trouble.is_empty(), "the newer one has not completed");
        ledger.complete(2, Ok(()));
        ledger.on_disk(0, Content::Write(2), "test");
        assert!(trouble.is_empty());
        ledger.on_disk(0, Content::Write(1), "test");
        assert_eq!(trouble.list().len(), 1);
    }
}
