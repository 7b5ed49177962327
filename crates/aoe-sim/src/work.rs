// SPDX-License-Identifier: BSD-2-Clause
//! The load, and the course of a whole run.

use aoe_core::Op;

use crate::world::{Addr, What, World};

/// Requests that follow each other on the disk.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Run {
    op: Op,
    /// Where the next one begins.
    place: u64,
    /// How many there are still.
    left: u64,
}

impl Run {
    pub(crate) const OVER: Self = Self {
        op: Op::Read,
        place: 0,
        left: 0,
    };
}

impl World<'_> {
    /// Plans the next request of the load.
    pub(crate) fn more_work(&mut self, addr: Addr) {
        let think = self.rng.below(self.options.work.think + 1);
        let wanted = self.options.work.requests;
        let Some(slot) = self.slots.get_mut(&addr) else {
            return;
        };
        if slot.made < wanted && !slot.work_pending {
            slot.work_pending = true;
            self.schedule(self.now + think, What::Work(addr));
        }
    }

    /// Requests that were made and have not ended.
    fn load(&self, addr: Addr) -> usize {
        let open = self
            .ledgers
            .get(&addr)
            .map_or(0, |ledger| ledger.borrow().open.len());
        open + self.slots.get(&addr).map_or(0, |slot| slot.waiting())
    }

    /// Makes requests up to the wanted depth; runs of them half of that at a time, and before anything is
    /// sent, as when another thread is sending.
    pub(crate) fn work(&mut self, addr: Addr) {
        let work = self.options.work;
        let burst = work.runs > 0;
        if let Some(slot) = self.slots.get_mut(&addr) {
            slot.work_pending = false;
            if slot.closing {
                // Nobody gives a disk that leaves anything to do.
                return;
            }
        }
        if burst && self.load(addr) > work.depth / 2 {
            return;
        }
        while self.load(addr) < work.depth {
            let Some(slot) = self.slots.get_mut(&addr) else {
                return;
            };
            if slot.made >= work.requests {
                break;
            }
            slot.made += 1;
            let (can_flush, can_trim) = (slot.target.can_flush(), slot.target.can_trim());
            let size = work.region.min(slot.target.sectors());
            let (op, lba, sectors, ordered) = self.draw(size, can_flush, can_trim);
            self.hand_over(addr, op, lba, sectors, ordered);
            if !burst {
                self.drain(addr);
            }
        }
        if burst {
            self.drain(addr);
        }
    }

    fn draw(&mut self, size: u64, can_flush: bool, can_trim: bool) -> (Op, u64, u64, bool) {
        let work = self.options.work;
        let dice = self.rng.below(100);
        let op = if dice < work.reads {
            Op::Read
        } else if dice < work.reads + work.writes {
            Op::Write
        } else if dice < work.reads + work.writes + work.trims && can_trim {
            Op::Trim
        } else if can_flush {
            Op::Flush
        } else {
            Op::Read
        };
        let ordered = self.rng.below(1000) < work.ordered;
        if op == Op::Flush || size == 0 {
            return (Op::Flush, 0, 0, ordered);
        }
        if work.runs > 0 && self.rng.below(1000) < work.runs {
            return self.draw_run(size, ordered);
        }
        let grain = if work.aligned { 8 } else { 1 };
        let longest = (work.longest / grain).max(1).min((size / grain).max(1));
        let sectors = (self.rng.below(longest) + 1) * grain;
        let lba = self.rng.below((size.saturating_sub(sectors)) / grain + 1) * grain;
        (op, lba, sectors, ordered)
    }

    /// The next short request of a run, each of which begins where the one before it ends.
    fn draw_run(&mut self, size: u64, ordered: bool) -> (Op, u64, u64, bool) {
        let sectors = *self.rng.pick(&[1, 1, 1, 2, 3]).unwrap_or(&1);
        let sectors = sectors.min(size);
        if self.run.left == 0 || self.run.place + sectors > size {
            let write = self.rng.chance(500_000);
            self.run = Run {
                op: if write { Op::Write } else { Op::Read },
                place: self.rng.below(size - sectors + 1),
                left: self.rng.between(2, 20),
            };
        }
        let lba = self.run.place;
        self.run.place += sectors;
        self.run.left -= 1;
        (self.run.op, lba, sectors, ordered)
    }

    fn addresses(&self) -> Vec<Addr> {
        let mut addrs: Vec<Addr> = self
            .options
            .servers
            .iter()
            .filter(|server| {
                self.options
                    .disks
                    .get(server.disk)
                    .is_some_and(|disk| !disk.foreign)
            })
            .map(|server| server.addr)
            .collect();
        addrs.dedup();
        addrs
    }

    /// All of the load was made and has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.addresses().into_iter().all(|addr| {
            self.slot(addr).is_some_and(|slot| {
                slot.made >= self.options.work.requests
                    && slot.waiting() == 0
                    && self
                        .ledgers
                        .get(&addr)
                        .is_some_and(|ledger| ledger.borrow().open.is_empty())
            })
        })
    }

    /// Runs the load to its end, then lets everything that is still on its way arrive, looks at the disks,
    /// and takes the targets apart.
    pub fn run(&mut self) {
        let calm = self.last_fault.max(self.now) + self.options.overtime;
        let mut done = self.run_until(calm - self.now, Self::is_done);
        if !done {
            // What is open now has its time; there is no more.
            self.options.work.requests = 0;
            done = self.finish_open();
        }
        if !done && self.trouble.is_empty() {
            self.note_stuck();
        }
        if self.trouble.is_empty() {
            self.settle();
        }
    }

    /// Waits for what is open, as long as something ends now and then: a write may have to wait for the
    /// quarantine of an earlier one, that one for another's.
    fn finish_open(&mut self) -> bool {
        let end = self.now + self.options.patience * 60;
        while self.now < end && self.trouble.is_empty() {
            let before = self.requests();
            let patience = self.options.patience;
            if self.run_until(patience, |world| {
                world.is_done() || world.requests() > before
            }) {
                if self.is_done() {
                    return true;
                }
            } else {
                return false;
            }
        }
        false
    }

    fn note_stuck(&self) {
        for addr in self.addresses() {
            let Some(slot) = self.slot(addr) else {
                self.trouble
                    .note(self.now, format!("{addr:?} was never found"));
                continue;
            };
            let paths: Vec<String> = slot
                .target()
                .paths()
                .map(|path| {
                    format!(
                        "{}-{} {} window {} outstanding {} rto {} us",
                        path.netif().0,
                        path.mac(),
                        path.state(),
                        path.window(),
                        path.outstanding(),
                        path.rto_ns() / 1000
                    )
                })
                .collect();
            let ledger = self.ledgers.get(&addr).map(|ledger| ledger.borrow());
            let open: Vec<String> = ledger
                .iter()
                .flat_map(|ledger| ledger.open.iter())
                .take(5)
                .map(|(token, o)| {
                    format!(
                        "{token} {:?} {}+{} ordered {} since {}",
                        o.op, o.lba, o.sectors, o.ordered, o.at
                    )
                })
                .collect();
            self.trouble.note(
                self.now,
                format!(
                    "{addr:?} is stuck: state {}, {} of {} made, {} wait, next timeout {:?}, open {open:?}, paths {paths:?}, {:?}",
                    slot.target().state(),
                    slot.made,
                    self.options.work.requests,
                    slot.waiting(),
                    slot.target().poll_timeout(),
                    slot.target().counters(),
                ),
            );
        }
    }

    /// After the load: late frames arrive, disks are compared, memory comes back.
    pub fn settle(&mut self) {
        let addrs: Vec<Addr> = self.slots.keys().copied().collect();
        for addr in &addrs {
            self.close_disk(*addr);
        }
        self.run_for(20_000_000_000);
        self.check_disks();
        // A fault may have come since, and with it a quarantine that begins anew.
        self.run_until(40_000_000_000, Self::is_idle_memory_back);
        self.check_idle_memory();
        self.ending = true;
        let loans = self.loans.len() + self.slots.len();
        // A damaged answer may have made one more.
        let addrs: Vec<Addr> = self.slots.keys().copied().collect();
        for addr in addrs {
            self.remove(addr);
        }
        self.run_for(5_000_000_000);
        if self.trouble.is_empty() && (!self.slots.is_empty() || self.loans.len() != loans) {
            self.trouble
                .note(self.now, "a removed target did not give back its memory");
        }
    }

    /// Every sector holds one of the values that it may hold.
    pub fn check_disks(&self) {
        for (addr, ledger) in &self.ledgers {
            let Some(disk) = self.disk_of(*addr) else {
                continue;
            };
            let touched = ledger.borrow().touched();
            for lba in touched {
                let content = disk.borrow_mut().content(lba);
                if let Some(content) = content {
                    ledger.borrow_mut().on_disk(lba, content, "at the end");
                }
            }
        }
    }
}
