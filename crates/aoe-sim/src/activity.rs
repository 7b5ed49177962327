// SPDX-License-Identifier: BSD-2-Clause
//! What the engine does by itself: how often its timers fire, and what it sends without being asked. A fault
//! here costs nothing in a minute and a machine in a year.

use std::collections::BTreeMap;

use aoe_core::limits::MAX_PATHS;

use crate::options::SEC;
use crate::world::{Addr, World};

/// The checker looks at so much virtual time at once.
const SPAN: u64 = 10 * SEC;
/// Timers that one path may need within [`SPAN`] while no request is open: an unanswered question is asked
/// again after 20, 40, 80, 160, 320 and 640 ms and then once a second, which makes 15; four more for what is
/// due to happen once to a path or to its target (lost, down, dead, forgotten).
const FOR_A_PATH: u64 = 19;
/// Timers that one frame that comes in may cause: it may be the first sign of a path, whose questions then
/// begin anew.
const FOR_A_FRAME: u64 = FOR_A_PATH;

/// Counts of one target, or of all.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Timers that fired.
    pub timers: u64,
    /// Frames that the engine sent.
    pub sent: u64,
    /// Frames that came in.
    pub received: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.timers += other.timers;
        self.sent += other.sent;
        self.received += other.received;
    }
}

/// One target within the time that the checker looks at.
#[derive(Copy, Clone, Debug, Default)]
struct Span {
    began: u64,
    idle_timers: u64,
    allowance: u64,
}

/// What was counted since the beginning, or since [`World::count_anew`].
#[derive(Clone, Debug, Default)]
pub struct Activity {
    of_targets: BTreeMap<Addr, Counts>,
    spans: BTreeMap<Addr, Span>,
    /// Timers of the initiator that fired.
    pub initiator_timers: u64,
    /// Beacons sent.
    pub beacons: u64,
    /// Targets that were made.
    pub admitted: u64,
    /// Most targets that there were at once.
    pub most_targets: usize,
    /// Most bytes that were with the engine at once, seen whenever a target was made.
    pub most_bytes: usize,
}

impl Activity {
    /// The counts of one target.
    #[must_use]
    pub fn of(&self, addr: Addr) -> Counts {
        self.of_targets.get(&addr).copied().unwrap_or_default()
    }

    /// The counts of all targets, those that are gone included.
    #[must_use]
    pub fn of_all(&self) -> Counts {
        let mut sum = Counts::default();
        for counts in self.of_targets.values() {
            sum.add(counts);
        }
        sum
    }

    fn target(&mut self, addr: Addr) -> &mut Counts {
        self.of_targets.entry(addr).or_default()
    }

    fn span(&mut self, addr: Addr, now: u64) -> &mut Span {
        let span = self.spans.entry(addr).or_default();
        if now >= span.began + SPAN {
            *span = Span {
                began: now,
                ..Span::default()
            };
        }
        span
    }
}

impl<'p> World<'p> {
    /// What the engine did by itself.
    #[must_use]
    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Counting begins anew; what was counted until now.
    pub fn count_anew(&mut self) -> Activity {
        let before = std::mem::take(&mut self.activity);
        self.activity.most_targets = self.slots.len();
        self.activity.most_bytes = self.lent();
        before
    }

    /// Bytes that all targets have of their caller, their own included.
    #[must_use]
    pub fn lent(&self) -> usize {
        let mut sum = 0;
        for addr in self.slots.keys() {
            sum += self.held(*addr);
        }
        sum
    }

    pub(crate) fn count_admitted(&mut self) {
        self.activity.admitted += 1;
        self.activity.most_targets = self.activity.most_targets.max(self.slots.len());
        // Each of them is looked at, so not every time.
        if self.activity.admitted.is_power_of_two() || self.activity.admitted.is_multiple_of(256) {
            self.activity.most_bytes = self.activity.most_bytes.max(self.lent());
        }
    }

    pub(crate) fn count_sent(&mut self, addr: Addr) {
        self.activity.target(addr).sent += 1;
    }

    pub(crate) fn count_received(&mut self, addr: Addr) {
        self.activity.target(addr).received += 1;
        self.activity.span(addr, self.now).allowance += FOR_A_FRAME;
    }

    /// Something happened to all targets that may make each of them ask anew.
    pub(crate) fn allow_timers(&mut self) {
        let addrs: Vec<Addr> = self.slots.keys().copied().collect();
        for addr in addrs {
            self.activity.span(addr, self.now).allowance += FOR_A_PATH * MAX_PATHS as u64;
        }
    }

    /// The timer of a target fired. One that does so over and over while there is nothing to do is a fault
    /// that no request ever notices.
    pub(crate) fn count_timer(&mut self, addr: Addr, idle: bool) {
        self.activity.target(addr).timers += 1;
        if !idle {
            return;
        }
        let span = self.activity.span(addr, self.now);
        span.idle_timers += 1;
        let (fired, most) = (
            span.idle_timers,
            FOR_A_PATH * MAX_PATHS as u64 + span.allowance,
        );
        if fired > most {
            self.trouble.note(
                self.now,
                format!(
                    "the timer of {addr:?} fired {fired} times in ten seconds, and no request is open"
                ),
            );
        }
    }
}
