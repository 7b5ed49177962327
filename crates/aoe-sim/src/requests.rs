// SPDX-License-Identifier: BSD-2-Clause
//! Requests and targets from their beginning to their end, as the caller of the engine sees them.

use aoe_core::{Completion, Event, IoError, Op, Request};

use crate::host::Ended;
use crate::ledger::{Open, stamp};
use crate::options::Plant;
use crate::world::{Addr, World};

impl World<'_> {
    /// Sets how many targets there may be.
    pub const fn set_max_targets(&mut self, most: u32) {
        self.initiator.set_max_targets(most);
    }

    /// Submits what found the engine full; true when something was accepted.
    pub(crate) fn refill(&mut self, addr: Addr) -> bool {
        let mut any = false;
        loop {
            let Some(slot) = self.slots.get_mut(&addr) else {
                return any;
            };
            if !slot.target.has_room() {
                return any;
            }
            let Some((token, open)) = slot.waiting.pop_front() else {
                return any;
            };
            self.try_submit(addr, token, open);
            any = true;
        }
    }

    pub(crate) fn completed(&mut self, addr: Addr, done: &Completion) {
        let Some(slot) = self.slots.get_mut(&addr) else {
            return;
        };
        slot.completions += 1;
        let nth = slot.completions;
        if self.planted(Plant::LoseCompletion) && nth == 20 {
            return;
        }
        let Some(ledger) = self.ledgers.get(&addr).cloned() else {
            return;
        };
        if self.planted(Plant::CompleteEarly) && !ledger.borrow().open.contains_key(&done.token) {
            return;
        }
        let mut first = 0;
        let chain = ledger.borrow_mut().take_chain(done.token);
        for token in chain {
            let open = ledger.borrow().open.get(&token).map(|open| open.sectors);
            let sectors = open.unwrap_or(0);
            self.finish(addr, token, done.part(first, sectors));
            first += sectors;
        }
        if self.planted(Plant::CompleteTwice) && nth == 20 {
            self.finish(addr, done.token, done.result);
        }
    }

    pub(crate) fn finish(&mut self, addr: Addr, token: u64, result: Result<(), IoError>) {
        let Some(ledger) = self.ledgers.get(&addr).cloned() else {
            return;
        };
        let request = ledger.borrow_mut().complete(token, result);
        let Some(request) = request else { return };
        if let Err(error) = result
            && !self.options.allowed.contains(&error)
        {
            self.trouble.note(
                self.now,
                format!(
                    "{:?} {token} at {}+{} failed: {error:?}",
                    request.op, request.lba, request.sectors
                ),
            );
        }
        if result.is_ok() {
            self.watch_done(addr, token, &request);
        }
        let ended = Ended {
            result,
            accepted: request.at,
            at: self.now,
        };
        self.results.insert(token, ended);
        self.more_work(addr);
    }

    /// Takes the events of a target as the module does: what is to be reported is taken down at once.
    pub(crate) fn take_events(&mut self, addr: Addr) {
        let now = self.instant();
        let Some(slot) = self.slots.get_mut(&addr) else {
            return;
        };
        let mut events = Vec::new();
        while let Some(event) = slot.target.poll_event() {
            events.push(event);
        }
        if let Some(trouble) = slot.reports.note(now, &slot.target, &events) {
            self.trouble.note(self.now, trouble);
        }
        for event in events {
            self.event(addr, event);
        }
    }

    fn event(&mut self, addr: Addr, event: Event) {
        let now = self.instant();
        let Some(slot) = self.slots.get_mut(&addr) else {
            return;
        };
        slot.events.push((now.as_nanos(), event));
        match event {
            Event::Identified if !slot.identified => {
                slot.identified = true;
                self.initiator.target_identified();
                self.open_disk(addr);
                self.more_work(addr);
            }
            Event::Identified => self
                .trouble
                .note(self.now, "identified for the first time twice"),
            Event::Unused => self.take_back(addr),
            Event::Forget => {
                slot.closing = true;
                slot.target.abort(now);
            }
            _ => {}
        }
    }

    /// Takes a target away; what is left of it ends first.
    pub fn remove(&mut self, addr: Addr) {
        let now = self.instant();
        if let Some(slot) = self.slots.get_mut(&addr) {
            slot.closing = true;
            slot.target.abort(now);
        }
        self.drain(addr);
    }

    /// The module is unloaded: all targets are taken away. False while it refuses, since copies of writes may be
    /// in the network of which nobody would know then.
    pub fn unload_module(&mut self) -> bool {
        let addrs: Vec<Addr> = self.slots.keys().copied().collect();
        for addr in addrs {
            self.remove(addr);
        }
        self.loaded = false;
        let waits = self.initiator.is_quarantined(self.instant());
        self.slots.is_empty() && (!waits || self.planted(Plant::HastyUnload))
    }

    /// The module is loaded.
    pub fn load_module(&mut self) {
        self.loaded = true;
        self.start_initiator();
    }

    pub(crate) fn bury(&mut self, addr: Addr) {
        let ready = self.slots.get(&addr).is_some_and(|slot| {
            slot.closing && slot.borrowed == 0 && slot.target.is_idle() && slot.waiting.is_empty()
        });
        if !ready {
            return;
        }
        let Some(mut slot) = self.slots.remove(&addr) else {
            return;
        };
        let now = self.instant();
        let left = slot.target.left_behind(now);
        let of = slot.target.addr();
        self.initiator
            .target_removed(now, of, slot.identified, left);
        self.watch.forget(addr);
        self.buried.add(&crate::Counted::of(slot.target.counters()));
        self.bury_memory(slot.memory, slot.target.reclaim());
        if let Some(ledger) = self.ledgers.get(&addr)
            && !ledger.borrow().open.is_empty()
        {
            self.trouble
                .note(self.now, "a target is idle, but requests of it are open");
        }
    }

    /// Makes a request of a target. Its token tells how it ends.
    pub fn submit(&mut self, addr: Addr, op: Op, lba: u64, sectors: u64, ordered: bool) -> u64 {
        let token = self.hand_over(addr, op, lba, sectors, ordered);
        self.drain(addr);
        token
    }

    /// The same while somebody else is busy with what the target wants done.
    pub(crate) fn hand_over(
        &mut self,
        addr: Addr,
        op: Op,
        lba: u64,
        sectors: u64,
        ordered: bool,
    ) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        let len = match op {
            Op::Read | Op::Write => usize::try_from(sectors).unwrap_or(0) * 512,
            Op::Flush | Op::Trim => 0,
        };
        let mut data = vec![0xcc; len];
        if op == Op::Write {
            for (lba, sector) in (lba..).zip(data.chunks_exact_mut(512)) {
                sector.copy_from_slice(&stamp(token, lba));
            }
        }
        let open = Open {
            op,
            lba,
            sectors,
            ordered,
            accepted: 0,
            at: 0,
            data,
        };
        if self
            .slots
            .get(&addr)
            .is_some_and(|slot| slot.identified && !slot.open && !slot.closing)
        {
            self.open_disk(addr);
        }
        match self.slots.get_mut(&addr) {
            // First come, first served.
            Some(slot) if !slot.waiting.is_empty() => slot.waiting.push_back((token, open)),
            _ => self.try_submit(addr, token, open),
        }
        token
    }

    fn try_submit(&mut self, addr: Addr, token: u64, open: Open) {
        let now = self.instant();
        let ordered = open.ordered && !self.planted(Plant::IgnoreOrdered);
        let request = Request {
            token,
            op: open.op,
            lba: open.lba,
            sectors: open.sectors,
            ordered,
            wait_secs: self.wait_secs,
        };
        let (Some(slot), Some(ledger)) = (self.slots.get_mut(&addr), self.ledgers.get(&addr))
        else {
            return;
        };
        let ledger = ledger.clone();
        if self.options.plant == Some(Plant::SkipFlush) && open.op == Op::Flush {
            ledger.borrow_mut().accept(token, open);
            self.finish(addr, token, Ok(()));
            return;
        }
        if self.options.host.join
            && let Some(first) = slot.target.join(now, &request)
        {
            ledger.borrow_mut().accept_behind(first, token, open);
            return;
        }
        let room = slot.target.has_room();
        match slot.target.submit(now, request) {
            Ok(()) => {
                if !room {
                    self.trouble
                        .note(self.now, "a request was accepted without room");
                }
                let write = open.op == Op::Write;
                ledger.borrow_mut().accept(token, open);
                if self.options.plant == Some(Plant::CompleteEarly) && write {
                    self.finish(addr, token, Ok(()));
                }
            }
            Err(aoe_core::Full) => {
                if room {
                    self.trouble.note(self.now, "full, though there was room");
                }
                slot.waiting.push_back((token, open));
            }
        }
    }

    /// How a request ended, once it did.
    #[must_use]
    pub fn ended(&self, token: u64) -> Option<Ended> {
        self.results.get(&token).copied()
    }
}
