// SPDX-License-Identifier: BSD-2-Clause
//! A bad wire: frames on their way in or out are lost, repeated, delayed, overtaken or damaged.

use crate::rng::Rng;

/// How bad. Chances are in parts per million.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct WireFaults {
    /// A frame is lost.
    pub loss: u32,
    /// A frame goes by twice.
    pub duplicate: u32,
    /// Shortest and longest delay in nanoseconds; frames do not overtake each other.
    pub delay: (u64, u64),
    /// A frame is kept back by `reorder_ns`, so that later ones overtake it.
    pub reorder: u32,
    /// For how long.
    pub reorder_ns: u64,
    /// A bit of the AoE header or of the command's argument is changed.
    pub corrupt: u32,
}

/// What happened on a wire.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct WireCounts {
    /// Frames that came to it.
    pub frames: u64,
    /// Frames lost.
    pub lost: u64,
    /// Frames repeated.
    pub duplicated: u64,
    /// Frames kept back.
    pub reordered: u64,
    /// Frames damaged.
    pub corrupted: u64,
}

/// One direction of a wire.
#[derive(Clone, Debug)]
pub struct Wire {
    faults: WireFaults,
    rng: Rng,
    last: u64,
    /// What happened so far.
    pub counts: WireCounts,
}

impl Wire {
    /// A wire whose faults are decided by `seed`.
    #[must_use]
    pub fn new(faults: WireFaults, seed: u64) -> Self {
        Self {
            faults,
            rng: Rng::new(seed),
            last: 0,
            counts: WireCounts::default(),
        }
    }

    /// What becomes of a frame: copies of it, each with the time at which it arrives.
    pub fn pass(&mut self, now: u64, mut frame: Vec<u8>) -> Vec<(u64, Vec<u8>)> {
        let faults = self.faults;
        self.counts.frames += 1;
        if self.rng.chance(faults.loss) {
            self.counts.lost += 1;
            return Vec::new();
        }
        if self.rng.chance(faults.corrupt) {
            self.counts.corrupted += 1;
            self.damage(&mut frame);
        }
        let mut at = now + self.rng.between(faults.delay.0, faults.delay.1);
        at = at.max(self.last);
        if self.rng.chance(faults.reorder) {
            self.counts.reordered += 1;
            at += faults.reorder_ns;
        } else {
            self.last = at;
        }
        if self.rng.chance(faults.duplicate) {
            self.counts.duplicated += 1;
            return vec![(at, frame.clone()), (at, frame)];
        }
        vec![(at, frame)]
    }

    /// Changes one bit behind the Ethernet header, up to where data begin.
    fn damage(&mut self, frame: &mut [u8]) {
        let at = usize::try_from(self.rng.between(14, 35)).unwrap_or(14);
        let bit = self.rng.below(8);
        if let Some(byte) = frame.get_mut(at) {
            *byte ^= 1 << bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(n: u8) -> Vec<u8> {
        vec![n; 60]
    }

    #[test]
    fn a_good_wire_changes_nothing() {
        let mut wire = Wire::new(WireFaults::default(), 1);
        for n in 0..100 {
            assert_eq!(wire.pass(5, frame(n)), [(5, frame(n))]);
        }
    }

    #[test]
    fn each_fault_happens_about_as_often_as_asked_for() {
        let faults = WireFaults {
            loss: 100_000,
            duplicate: 100_000,
            reorder: 100_000,
            reorder_ns: 1000,
            corrupt: 100_000,
            delay: (0, 10),
        };
        let mut wire = Wire::new(faults, 7);
        let (mut arrived, mut damaged, mut last, mut overtaken) = (0, 0, 0, 0);
        for now in 0..10_000 {
            for (at, bytes) in wire.pass(now, frame(9)) {
                arrived += 1;
                damaged += u32::from(bytes != frame(9));
                overtaken += u32::from(at < last);
                last = last.max(at);
                assert!(at >= now && bytes.get(..14) == frame(9).get(..14));
            }
        }
        let counts = wire.counts;
        for (what, count) in [
            ("lost", counts.lost),
            ("duplicated", counts.duplicated),
            ("reordered", counts.reordered),
            ("corrupted", counts.corrupted),
        ] {
            assert!((800..1200).contains(&count), "{what}: {count}");
        }
        assert_eq!(arrived, 10_000 - counts.lost + counts.duplicated);
        assert!(
            damaged > 700 && overtaken > 700,
            "{damaged} damaged, {overtaken} overtaken"
        );
    }
}
