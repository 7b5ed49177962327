// SPDX-License-Identifier: BSD-2-Clause
//! The end of a run: nothing goes wrong any more, so everything must be done.

use super::*;

/// How long it may take, in virtual time, until everything is done.
const PATIENCE: u64 = 120 * SEC;

impl World<'_> {
    pub(super) fn calm(&mut self) {
        self.plain.faults = None;
        for netif in 0..self.links() {
            self.step(Step::LinkUp(netif));
        }
        if !self.plain.running {
            self.step(Step::Power(true));
        }
        self.rest();
        if self.target.state() == State::Removed {
            self.after_the_end();
            return;
        }
        if self.target.state() != State::Up {
            self.model.fault(format!(
                "in a calm world the state is {}",
                self.target.state()
            ));
        }
        self.read_everything();
        if self.model.wrong.is_empty() {
            self.step(Step::Abort);
            self.after_the_end();
        }
    }

    /// Time passes until nothing is open. Beacons come as often as an impatient administrator sends them.
    fn rest(&mut self) {
        let end = self.now + PATIENCE;
        let mut beacon_at = self.now;
        while self.now < end && self.model.wrong.is_empty() {
            if beacon_at <= self.now {
                for netif in 0..self.links() {
                    self.step(Step::Beacon(netif));
                }
                beacon_at = self.now + 5 * SEC;
            }
            self.step(Step::DeliverAll);
            let kept = self.kept_back.take();
            if let Some(kept) = kept {
                self.complete(kept);
            }
            let removed = self.target.state() == State::Removed;
            let up = self.target.state() == State::Up;
            if self.model.open.is_empty()
                && (removed || up && self.plain.disk.len() as u64 == self.target.sectors())
            {
                return;
            }
            // In a calm world an answer takes no longer than the wire.
            let next = self
                .target
                .poll_timeout()
                .filter(|_| !self.planted(Mistake::NoTimer))
                .map_or(u64::MAX, |at| at.as_nanos().saturating_sub(self.now));
            self.pass(next.clamp(US, 50 * MS), false);
        }
        for (token, asked) in self.model.open.clone() {
            self.model
                .fault(format!("request {token} is never done: {asked:?}"));
        }
        if self.model.wrong.is_empty() && self.plain.disk.len() as u64 != self.target.sectors() {
            let (is, shown) = (self.plain.disk.len(), self.target.sectors());
            self.model.fault(format!(
                "the disk has {is} sectors and is shown with {shown}"
            ));
        }
    }

    /// The disk as its user finds it.
    fn read_everything(&mut self) {
        let worked = self.report.worked;
        let mut asked = 0;
        let mut lba = 0;
        while u64::from(lba) < self.target.sectors() && self.model.wrong.is_empty() {
            let sectors = (self.target.sectors() - u64::from(lba)).min(16) as u8;
            asked += 1;
            self.step(Step::Read {
                lba,
                sectors,
                ordered: false,
            });
            lba += sectors;
            self.rest();
        }
        if self.model.wrong.is_empty() && self.report.worked != worked + asked {
            self.model.fault("a disk in a calm world cannot be read");
        }
    }

    /// The disk was removed.
    fn after_the_end(&mut self) {
        let kept = self.kept_back.take();
        if let Some(kept) = kept {
            self.complete(kept);
        }
        for (token, asked) in self.model.open.clone() {
            self.model
                .fault(format!("request {token} outlives its disk: {asked:?}"));
        }
        if self.model.wrong.is_empty() {
            self.step(Step::Write {
                lba: 0,
                sectors: 1,
                ordered: false,
            });
            self.step(Step::Wait {
                millis: 61_000,
                late: false,
            });
        }
    }
}
