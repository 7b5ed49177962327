//! The table of accepted requests: their order, what waits for what, and when each is done.
//!
//! A request is *waiting* until nothing accepted earlier stands in its way, then *ready* until it is
//! cut into frames completely, then *cut* until the last of them is answered, then *done* until the
//! caller has fetched its completion. The first three are in the active list, in the order in which
//! they were accepted.
//!
//! A short request can be *joined* to the one before it (joined.rs): from then on the two are one request.

use super::frames::NIL;
use super::joined::Parts;
use super::overlap::Classes;
use crate::time::SEC;
use crate::{Completion, Instant, IoError, Op, Request};

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum IoState {
    Free,
    Waiting,
    Ready,
    Cut,
    Done,
}

/// One accepted request. Opaque to the caller, who only lends the memory.
#[derive(Copy, Clone, Debug)]
pub struct Io {
    pub(crate) state: IoState,
    pub(crate) op: Op,
    pub(crate) ordered: bool,
    /// The parts of a joined request go in frames of their own.
    pub(super) alone: bool,
    /// Seconds after which it fails; 0: it waits as the operator decides.
    pub(super) wait_secs: u8,
    /// References to its data that are outside the engine: frames being built, answers being copied.
    pins: u16,
    generation: u32,
    pub(crate) token: u64,
    pub(crate) lba: u64,
    pub(crate) sectors: u64,
    /// Sectors cut into frames so far; a flush counts as one.
    pub(crate) cut: u64,
    /// Sectors not completed; a flush counts as one.
    pub(super) remaining: u64,
    error: Option<IoError>,
    submitted: Instant,
    /// The requests that it is made of, if it is more than one.
    pub(super) parts: Parts,
    /// How many those are that did not fail alone.
    pub(super) requests: u8,
    /// Sectors of those that did.
    pub(super) bad_sectors: u8,
    prev: u16,
    next: u16,
    /// The next one in the ready, done or free queue.
    queue_next: u16,
    /// The next one in its chain of requests that change the disk.
    pub(super) chain: u16,
    /// The first one of the chain that has this slot's number.
    pub(super) chain_head: u16,
}

impl Io {
    /// What every slot of a lent table must hold.
    pub const EMPTY: Self = Self {
        state: IoState::Free,
        op: Op::Read,
        ordered: false,
        alone: false,
        wait_secs: 0,
        pins: 0,
        generation: 0,
        token: 0,
        lba: 0,
        sectors: 0,
        cut: 0,
        remaining: 0,
        error: None,
        submitted: Instant::from_nanos(0),
        parts: Parts::NONE,
        requests: 1,
        bad_sectors: 0,
        prev: NIL,
        next: NIL,
        queue_next: NIL,
        chain: NIL,
        chain_head: NIL,
    };

    /// Sectors, or the one step of a flush, that it takes to do all of it.
    pub(crate) const fn length(&self) -> u64 {
        if matches!(self.op, Op::Flush) {
            1
        } else {
            self.sectors
        }
    }

    /// It changes what is on the disk.
    pub(crate) const fn modifies(&self) -> bool {
        matches!(self.op, Op::Write | Op::Trim)
    }

    pub(crate) const fn generation(&self) -> u32 {
        self.generation
    }

    /// Takes a reference to its data out of the engine. Whoever has it names the request by its slot and
    /// the generation that is returned.
    pub(crate) const fn pin(&mut self) -> u32 {
        self.pins = self.pins.saturating_add(1);
        self.generation
    }

    /// `sectors` more of it were cut into a frame. True when that was the last: it leaves the ready queue.
    pub(crate) fn note_cut(&mut self, sectors: u64) -> bool {
        self.cut = self.cut.saturating_add(sectors);
        let whole = self.cut >= self.length();
        if whole {
            self.state = IoState::Cut;
        }
        whole
    }

    /// Takes one reference back, if there is any: a request is not done, and its slot not free, before.
    const fn unpin(&mut self) -> bool {
        if self.pins == 0 {
            return false;
        }
        self.pins -= 1;
        true
    }

    /// When it was accepted.
    pub(super) const fn submitted(&self) -> Instant {
        self.submitted
    }

    /// It was to wait for a bounded time only, so many times, and that is over.
    pub(super) fn is_expired(&self, now: Instant, times: u8) -> bool {
        let limit = u64::from(self.wait_secs) * u64::from(times) * SEC;
        limit != 0 && now.since(self.submitted) >= limit
    }

    /// How it ended.
    pub(crate) fn completion(&self) -> Completion {
        Completion {
            token: self.token,
            result: self.error.map_or(Ok(()), Err),
            submitted: self.submitted,
            joined: !self.parts.is_none(),
            bad: self.parts.bad(),
        }
    }

    pub(super) const fn error(&self) -> Option<IoError> {
        self.error
    }

    pub(crate) const fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    /// All of it was done or it failed, and nobody has its data. One in the ready queue is taken out of
    /// that first; [`Ios::first_ready`] does.
    const fn is_complete(&self) -> bool {
        (self.remaining == 0 || self.error.is_some())
            && self.pins == 0
            && matches!(self.state, IoState::Waiting | IoState::Cut)
    }

    /// Whether `self`, accepted later, must wait for `earlier`, which is not done.
    const fn must_follow(&self, earlier: &Self) -> bool {
        self.ordered
            || earlier.ordered
            || (earlier.modifies()
                && (matches!(self.op, Op::Flush) || (self.modifies() && self.overlaps(earlier))))
    }
}

/// A queue by `queue_next`.
#[derive(Copy, Clone, Debug)]
struct Queue {
    head: u16,
    tail: u16,
}

impl Queue {
    const EMPTY: Self = Self {
        head: NIL,
        tail: NIL,
    };
}

/// The table over lent slots.
#[derive(Debug)]
pub(crate) struct Ios<'s> {
    slots: &'s mut [Io],
    /// The first free slot; the one that was used last.
    free: u16,
    ready: Queue,
    done: Queue,
    /// First and last of the active list.
    oldest: u16,
    pub(super) newest: u16,
    active: u16,
    waiting: u16,
    /// Ordered requests among the active ones.
    pub(super) ordered: u16,
    /// Writes and TRIMs among the active ones.
    modifying: u16,
    /// The same by their size.
    pub(super) classes: Classes,
    undelivered: u16,
    scratch: Io,
    broken: bool,
}

impl<'s> Ios<'s> {
    /// A table without slots.
    pub(crate) fn unlent() -> Self {
        Self {
            slots: &mut [],
            free: NIL,
            ready: Queue::EMPTY,
            done: Queue::EMPTY,
            oldest: NIL,
            newest: NIL,
            active: 0,
            waiting: 0,
            ordered: 0,
            modifying: 0,
            classes: [0; _],
            undelivered: 0,
            scratch: Io::EMPTY,
            broken: false,
        }
    }

    pub(crate) fn lend(&mut self, slots: &'s mut [Io]) {
        self.slots = slots;
        self.free = NIL;
        for index in (0..self.slots.len().min(usize::from(NIL)) as u16).rev() {
            *self.at(index) = Io::EMPTY;
            self.set_free(index);
        }
    }

    pub(crate) fn is_lent(&self) -> bool {
        !self.slots.is_empty()
    }

    pub(crate) fn reclaim(self) -> &'s mut [Io] {
        self.slots
    }

    /// Gives the slots back while no request is accepted and not completed.
    pub(crate) fn take_back(&mut self) -> &'s mut [Io] {
        self.free = NIL;
        core::mem::take(&mut self.slots)
    }

    pub(crate) const fn is_broken(&self) -> bool {
        self.broken
    }

    pub(crate) fn get(&self, index: u16) -> &Io {
        self.slots.get(usize::from(index)).unwrap_or(&self.scratch)
    }

    pub(crate) fn at(&mut self, index: u16) -> &mut Io {
        match self.slots.get_mut(usize::from(index)) {
            Some(io) => io,
            None => {
                self.broken = true;
                &mut self.scratch
            }
        }
    }

    /// Slots in the table.
    pub(super) const fn len(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Active requests that change the disk.
    pub(super) fn modifying(&self) -> u64 {
        u64::from(self.modifying)
    }

    /// Something in the books contradicts itself.
    pub(super) const fn break_books(&mut self) {
        self.broken = true;
    }

    pub(crate) const fn has_room(&self) -> bool {
        self.free != NIL
    }

    /// Accepted requests whose completion was not fetched yet.
    pub(crate) const fn outstanding(&self) -> u16 {
        self.active + self.undelivered
    }

    pub(crate) const fn has_waiting(&self) -> bool {
        self.waiting != 0
    }

    fn enqueued(&mut self, queue: Queue, index: u16) -> Queue {
        self.at(index).queue_next = NIL;
        if queue.tail == NIL {
            return Queue {
                head: index,
                tail: index,
            };
        }
        self.at(queue.tail).queue_next = index;
        Queue {
            tail: index,
            ..queue
        }
    }

    fn dequeued(&mut self, queue: Queue) -> Queue {
        let next = self.get(queue.head).queue_next;
        Queue {
            head: next,
            tail: if next == NIL { NIL } else { queue.tail },
        }
    }

    /// Accepts a request. It waits until [`Ios::make_ready`].
    pub(crate) fn accept(&mut self, now: Instant, request: &Request) -> Option<u16> {
        let index = self.free;
        if index == NIL {
            return None;
        }
        self.free = self.get(index).queue_next;
        let newest = self.newest;
        let io = self.at(index);
        *io = Io {
            state: IoState::Waiting,
            op: request.op,
            ordered: request.ordered,
            wait_secs: request.wait_secs,
            generation: io.generation.wrapping_add(1),
            chain_head: io.chain_head,
            token: request.token,
            lba: request.lba,
            sectors: request.sectors,
            submitted: now,
            prev: newest,
            ..Io::EMPTY
        };
        io.remaining = io.length();
        let (ordered, modifies) = (io.ordered, io.modifies());
        if newest == NIL {
            self.oldest = index;
        } else {
            self.at(newest).next = index;
        }
        self.newest = index;
        self.active += 1;
        self.waiting += 1;
        self.ordered += u16::from(ordered);
        if modifies {
            self.modifying += 1;
            self.chain(index);
        }
        Some(index)
    }

    /// Whether anything accepted earlier and not done stands in its way.
    pub(crate) fn must_wait(&self, index: u16) -> bool {
        let io = self.get(index);
        let barriers = self.ordered - u16::from(io.ordered);
        let changes = self.modifying - u16::from(io.modifies());
        if !io.ordered && barriers == 0 {
            if changes == 0 || io.op == Op::Read {
                return false;
            }
            // All others were accepted earlier than the newest.
            if index == self.newest
                && io.modifies()
                && let Some(answer) = self.overlaps_any(index)
            {
                return answer;
            }
        }
        let mut earlier = io.prev;
        while earlier != NIL {
            let other = self.get(earlier);
            if io.must_follow(other) {
                return true;
            }
            earlier = other.prev;
        }
        false
    }

    /// The waiting requests from the oldest on; ask again with the last answer.
    pub(crate) fn next_waiting(&self, after: Option<u16>) -> Option<u16> {
        let mut index = match after {
            Some(index) => self.get(index).next,
            None => self.oldest,
        };
        while index != NIL {
            let io = self.get(index);
            if io.state == IoState::Waiting {
                return Some(index);
            }
            index = io.next;
        }
        None
    }

    /// The oldest active request.
    pub(crate) const fn oldest(&self) -> Option<u16> {
        if self.oldest == NIL {
            None
        } else {
            Some(self.oldest)
        }
    }

    /// The active request accepted after this one.
    pub(crate) fn after(&self, index: u16) -> Option<u16> {
        let next = self.get(index).next;
        if next == NIL { None } else { Some(next) }
    }

    /// A waiting request may be cut now.
    pub(crate) fn make_ready(&mut self, index: u16) {
        self.at(index).state = IoState::Ready;
        self.waiting -= 1;
        self.ready = self.enqueued(self.ready, index);
    }

    /// The request to cut next. Failed ones are dropped from the queue on the way.
    pub(crate) fn first_ready(&mut self) -> Option<u16> {
        while self.ready.head != NIL {
            let index = self.ready.head;
            if self.get(index).state == IoState::Ready && !self.get(index).has_failed() {
                return Some(index);
            }
            self.ready = self.dequeued(self.ready);
            self.unready(index);
        }
        None
    }

    /// A request that left the ready queue without being cut to the end.
    fn unready(&mut self, index: u16) {
        let io = self.at(index);
        if io.state == IoState::Ready {
            io.state = IoState::Cut;
            if io.is_complete() {
                self.finish(index);
            }
        }
    }

    /// The first ready request was cut to its end.
    pub(crate) fn leave_ready(&mut self) {
        self.ready = self.dequeued(self.ready);
    }

    /// Lets go of the data of the request that had this index and generation. True when that completes it.
    pub(crate) fn unpin(&mut self, index: u16, generation: u32) -> bool {
        let io = self.at(index);
        if io.generation != generation || !io.unpin() {
            self.broken = true;
            return false;
        }
        io.is_complete() && self.finish(index)
    }

    /// The data of so many sectors were copied and are let go of, if the request is still there. True
    /// when that completes it.
    pub(crate) fn note_copied(&mut self, index: u16, generation: u32, sectors: u64) -> bool {
        let io = self.at(index);
        if io.generation != generation {
            return false;
        }
        io.remaining = io.remaining.saturating_sub(sectors);
        if !io.unpin() {
            self.broken = true;
            return false;
        }
        io.is_complete() && self.finish(index)
    }

    /// `sectors` of it were done. True when that completes the request.
    pub(crate) fn note_done(&mut self, index: u16, sectors: u64) -> bool {
        let io = self.at(index);
        io.remaining = io.remaining.saturating_sub(sectors);
        io.is_complete() && self.finish(index)
    }

    /// It failed; the first error counts. None of its frames may be in flight any more.
    pub(crate) fn fail(&mut self, index: u16, error: IoError) -> bool {
        let io = self.at(index);
        io.error.get_or_insert(error);
        io.is_complete() && self.finish(index)
    }

    /// Moves a complete request from the active ones to those that are done; always true.
    fn finish(&mut self, index: u16) -> bool {
        let io = self.at(index);
        let waiting = io.state == IoState::Waiting;
        io.state = IoState::Done;
        let Io {
            prev,
            next,
            ordered,
            ..
        } = *io;
        let modifies = io.modifies();
        if prev == NIL {
            self.oldest = next;
        } else {
            self.at(prev).next = next;
        }
        if next == NIL {
            self.newest = prev;
        } else {
            self.at(next).prev = prev;
        }
        self.active -= 1;
        self.waiting -= u16::from(waiting);
        self.ordered -= u16::from(ordered);
        if modifies {
            self.modifying -= 1;
            self.unchain(index);
        }
        self.done = self.enqueued(self.done, index);
        self.undelivered += 1;
        true
    }

    /// Takes failed requests out of the ready queue so that they can complete.
    pub(crate) fn sweep_ready(&mut self) {
        let mut queue = Queue::EMPTY;
        while self.ready.head != NIL {
            let index = self.ready.head;
            self.ready = self.dequeued(self.ready);
            if self.get(index).has_failed() {
                self.unready(index);
            } else {
                queue = self.enqueued(queue, index);
            }
        }
        self.ready = queue;
    }

    /// Frees a slot, and gives the one behind it in the queue that it was in.
    fn set_free(&mut self, index: u16) -> u16 {
        let free = core::mem::replace(&mut self.free, index);
        let io = self.at(index);
        io.state = IoState::Free;
        core::mem::replace(&mut io.queue_next, free)
    }

    /// The next request that ended, in the order in which they did. Its slot is free from now on.
    pub(crate) fn pop_done(&mut self) -> Option<&Io> {
        let index = self.done.head;
        if index == NIL {
            return None;
        }
        self.done.head = self.set_free(index);
        if self.done.head == NIL {
            self.done.tail = NIL;
        }
        self.undelivered -= 1;
        Some(self.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    fn request(op: Op, lba: u64, sectors: u64, ordered: bool) -> Request {
        Request {
            token: lba,
            op,
            lba,
            sectors,
            ordered,
            wait_secs: 0,
        }
    }

    fn with_table(test: impl FnOnce(&mut Ios<'_>)) {
        let mut slots = vec![Io::EMPTY; 8];
        let mut ios = Ios::unlent();
        ios.lend(&mut slots);
        test(&mut ios);
        assert!(!ios.is_broken());
    }

    fn accept(ios: &mut Ios<'_>, op: Op, lba: u64, sectors: u64, ordered: bool) -> u16 {
        ios.accept(Instant::default(), &request(op, lba, sectors, ordered))
            .unwrap()
    }

    fn run_to_cut(ios: &mut Ios<'_>, index: u16) {
        assert!(!ios.must_wait(index));
        ios.make_ready(index);
        assert_eq!(ios.first_ready(), Some(index));
        let length = ios.get(index).length();
        assert!(ios.at(index).note_cut(length));
        ios.leave_ready();
    }

    #[test]
    fn overlapping_writes_wait_and_others_do_not() {
        with_table(|ios| {
            let first = accept(ios, Op::Write, 10, 10, false);
            run_to_cut(ios, first);
            let disjoint = accept(ios, Op::Write, 20, 10, false);
            let overlapping = accept(ios, Op::Trim, 19, 1, false);
            let read = accept(ios, Op::Read, 10, 10, false);
            assert!(!ios.must_wait(disjoint));
            assert!(ios.must_wait(overlapping));
            assert!(!ios.must_wait(read));
            assert!(ios.note_done(first, 10));
            assert!(!ios.must_wait(overlapping));
        });
    }

    #[test]
    fn a_flush_follows_writes_and_holds_nothing() {
        with_table(|ios| {
            let read = accept(ios, Op::Read, 0, 1, false);
            let write = accept(ios, Op::Write, 0, 1, false);
            let flush = accept(ios, Op::Flush, 0, 0, false);
            let later = accept(ios, Op::Write, 5, 1, false);
            run_to_cut(ios, read);
            run_to_cut(ios, write);
            assert!(ios.must_wait(flush));
            assert!(!ios.must_wait(later));
            assert!(ios.note_done(write, 1));
            assert!(
                !ios.must_wait(flush),
                "an unfinished read does not hold a flush"
            );
        });
    }

    #[test]
    fn an_ordered_request_is_a_barrier_both_ways() {
        with_table(|ios| {
            let before = accept(ios, Op::Read, 0, 1, false);
            let barrier = accept(ios, Op::Write, 100, 1, true);
            let after = accept(ios, Op::Read, 50, 1, false);
            run_to_cut(ios, before);
            assert!(ios.must_wait(barrier));
            assert!(ios.must_wait(after));
            assert!(ios.note_done(before, 1));
            assert!(ios.must_wait(after));
            run_to_cut(ios, barrier);
            assert!(ios.must_wait(after));
            assert!(ios.note_done(barrier, 1));
            assert!(!ios.must_wait(after));
        });
    }

    #[test]
    fn a_pinned_request_completes_when_it_is_let_go() {
        with_table(|ios| {
            let io = accept(ios, Op::Write, 0, 2, false);
            run_to_cut(ios, io);
            ios.at(io).pin();
            assert!(!ios.note_done(io, 2));
            assert!(ios.pop_done().is_none());
            let generation = ios.get(io).generation();
            assert!(ios.unpin(io, generation));
            assert_eq!(
                ios.pop_done().map(|io| io.completion().result),
                Some(Ok(()))
            );
            assert!(ios.pop_done().is_none());
        });
    }

    #[test]
    fn a_failed_request_leaves_the_ready_queue_and_ends_once() {
        with_table(|ios| {
            let first = accept(ios, Op::Read, 1, 4, false);
            let second = accept(ios, Op::Read, 2, 4, false);
            ios.make_ready(first);
            ios.make_ready(second);
            assert!(!ios.fail(first, IoError::Failed));
            ios.sweep_ready();
            let done: Vec<_> = core::iter::from_fn(|| ios.pop_done().map(Io::completion)).collect();
            assert_eq!(done.len(), 1);
            let Completion { token, result, .. } = done[0];
            assert_eq!((token, result), (1, Err(IoError::Failed)));
            assert_eq!(ios.first_ready(), Some(second));
            assert_eq!(ios.outstanding(), 1);
        });
    }

    #[test]
    fn a_full_table_refuses_and_a_completion_makes_room() {
        with_table(|ios| {
            let indices: Vec<_> = (0..8).map(|n| accept(ios, Op::Read, n, 1, false)).collect();
            assert!(!ios.has_room());
            assert_eq!(
                ios.accept(Instant::default(), &request(Op::Read, 9, 1, false)),
                None
            );
            run_to_cut(ios, indices[0]);
            assert!(ios.note_done(indices[0], 1));
            assert!(!ios.has_room(), "room is made by fetching the completion");
            assert!(ios.pop_done().is_some());
            assert!(ios.has_room());
        });
    }
}
