// SPDX-License-Identifier: BSD-2-Clause
//! The wires: segments that lose, delay, repeat and cut off.

use std::collections::BTreeMap;

use aoe_target::rng::Rng;

/// How long after an answer may come again.
const LONGEST_REPLAY: u64 = 20_000_000_000;

/// One end of a wire.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum End {
    /// A port of an interface of the initiator.
    Host(usize, usize),
    /// A port of a server.
    Server(usize, usize),
}

/// How one direction of a segment behaves. Chances are in parts per million.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// A frame is lost.
    pub loss: u32,
    /// A frame arrives twice: at once again towards a target, at any time towards the initiator.
    ///
    /// No initiator can guard against a network that repeats a write after a while: it looks like the
    /// only copy, and no target remembers what it has carried out.
    pub duplicate: u32,
    /// Shortest and longest delay.
    pub delay: (u64, u64),
    /// A frame is delayed for much longer.
    pub spike: u32,
    /// Shortest and longest of these.
    pub spike_delay: (u64, u64),
    /// Frames never overtake each other, as on Ethernet.
    pub fifo: bool,
    /// Nothing gets through.
    pub cut: bool,
    /// Frames longer than this vanish.
    pub drop_longer: Option<usize>,
    /// A byte of the header (not the tag) is changed.
    pub corrupt: u32,
    /// A frame towards the initiator arrives once more, up to twenty seconds later.
    pub replay: u32,
}

impl Condition {
    /// A quiet wire.
    pub const GOOD: Self = Self {
        loss: 0,
        duplicate: 0,
        delay: (20_000, 60_000),
        spike: 0,
        spike_delay: (0, 0),
        fifo: true,
        cut: false,
        drop_longer: None,
        corrupt: 0,
        replay: 0,
    };
}

/// An Ethernet segment: a switch with both directions through it.
#[derive(Clone, Debug)]
pub struct Segment {
    /// From initiator to target.
    pub to_target: Condition,
    /// From target to initiator.
    pub to_host: Condition,
    /// Nothing leaves the switch before then, and nothing is lost.
    pub clogged_until: u64,
    last: BTreeMap<(End, End), u64>,
}

impl Default for Segment {
    fn default() -> Self {
        Self {
            to_target: Condition::GOOD,
            to_host: Condition::GOOD,
            clogged_until: 0,
            last: BTreeMap::new(),
        }
    }
}

impl Segment {
    /// When a frame arrives: never, once, or more often. The second part of a pair says that this copy is
    /// damaged.
    pub fn pass(
        &mut self,
        now: u64,
        rng: &mut Rng,
        from: End,
        to: End,
        len: usize,
    ) -> Vec<(u64, bool)> {
        let towards_target = matches!(to, End::Server(..));
        let condition = if towards_target {
            self.to_target
        } else {
            self.to_host
        };
        let too_long = condition.drop_longer.is_some_and(|limit| len > limit);
        if condition.cut || too_long || rng.chance(condition.loss) {
            return Vec::new();
        }
        let mut at = now + rng.between(condition.delay.0, condition.delay.1);
        if rng.chance(condition.spike) {
            at += rng.between(condition.spike_delay.0, condition.spike_delay.1);
        }
        at = at.max(self.clogged_until);
        let last = self.last.entry((from, to)).or_default();
        if condition.fifo {
            at = at.max(*last);
        }
        *last = at.max(*last);
        let mut arrivals = vec![(at, rng.chance(condition.corrupt))];
        if rng.chance(condition.duplicate) {
            let later = if towards_target {
                0
            } else {
                rng.below(50_000_000)
            };
            arrivals.push((at + later, false));
        }
        if condition.replay != 0 && !towards_target && rng.chance(condition.replay) {
            arrivals.push((at + rng.below(LONGEST_REPLAY), false));
        }
        arrivals
    }
}
