// SPDX-License-Identifier: BSD-2-Clause
//! One direction of the wire: what becomes of a frame, and the frames that are on the way.
//!
//! The simulator's `Segment` and the target's `Wire` decide the same things in virtual time, but neither
//! fits: they give a list of arrivals for each frame and know nothing of frames that pass at once, which here
//! must stay where the kernel has put them; and neither counts what it does fault by fault.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use aoe_target::rng::Rng;
use serde_json::{Value, json};

use crate::faults::{Faults, Way};

/// Frames that may be on the way at a time: a clogged wire must not eat the memory of the machine.
const MOST_WAITING: usize = 65_536;
/// Length of an Ethernet header, which ends with the EtherType.
const TYPE_AT: usize = 12;
/// Length of a VLAN tag.
const TAG_LEN: usize = 4;

/// What happened, in frames.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    /// Came in and were subject to faults.
    pub(crate) received: u64,
    /// Came in and were not.
    pub(crate) untouched: u64,
    /// Lost by chance.
    pub(crate) lost: u64,
    /// Lost because the wire was cut.
    pub(crate) cut: u64,
    /// Lost because they were too long.
    pub(crate) too_long: u64,
    /// Went by twice.
    pub(crate) duplicated: u64,
    /// Were kept back so that others overtook them.
    pub(crate) reordered: u64,
    /// Had a byte changed.
    pub(crate) corrupted: u64,
    /// Went by later than they came, for whatever reason.
    pub(crate) delayed: u64,
    /// Waited while the wire was clogged.
    pub(crate) clogged: u64,
    /// Lost, against all orders, because too many were on the way.
    pub(crate) overflowed: u64,
}

impl Counts {
    fn to_json(self) -> Value {
        json!({
            "received": self.received,
            "untouched": self.untouched,
            "lost": self.lost,
            "cut": self.cut,
            "too_long": self.too_long,
            "duplicated": self.duplicated,
            "reordered": self.reordered,
            "corrupted": self.corrupted,
            "delayed": self.delayed,
            "clogged": self.clogged,
        })
    }
}

/// What becomes of a frame.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It is not sent.
    Gone,
    /// It is sent at once, this many times.
    Now(usize),
    /// It, or the second one of it, is kept; whether the first one is sent at once.
    Kept { first_now: bool },
}

/// A frame on the way. Ordered by time, then by number.
type Waiting = Reverse<(u64, u64, Vec<u8>)>;

/// One direction.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) way: Way,
    pub(crate) faults: Faults,
    pub(crate) counts: Counts,
    rng: Rng,
    waiting: BinaryHeap<Waiting>,
    number: u64,
    /// When the last frame that nothing may overtake arrives.
    last: u64,
}

impl Lane {
    pub(crate) fn new(way: Way, rng: Rng) -> Self {
        Self {
            way,
            faults: Faults::none(way),
            counts: Counts::default(),
            rng,
            waiting: BinaryHeap::new(),
            number: 0,
            last: 0,
        }
    }

    pub(crate) fn seed(&mut self, rng: Rng) {
        self.rng = rng;
    }

    /// Decides about a frame that has come in. It is changed if it is to be damaged, and kept if it has to
    /// wait; the caller sends what goes by now.
    pub(crate) fn judge(&mut self, now: u64, frame: &mut [u8]) -> Fate {
        if !self.faults.all_frames && !is_aoe(frame) {
            self.counts.untouched += 1;
            return Fate::Now(1);
        }
        self.counts.received += 1;
        if self.faults.cut_until > now {
            self.counts.cut += 1;
            return Fate::Gone;
        }
        if self.faults.longest.is_some_and(|most| frame.len() > most) {
            self.counts.too_long += 1;
            return Fate::Gone;
        }
        if self.happens(self.faults.loss) {
            self.counts.lost += 1;
            return Fate::Gone;
        }
        if self.happens(self.faults.corrupt) {
            self.damage(frame);
        }
        let at = self.arrival(now);
        let clogged = self.faults.clog_until > now;
        self.counts.clogged += u64::from(clogged);
        let first_now = at <= now && !clogged;
        if !first_now {
            self.counts.delayed += 1;
            self.keep(at, frame);
        }
        if self.happens(self.faults.duplicate) {
            self.counts.duplicated += 1;
            let (low, high) = self.faults.duplicate_delay;
            let again = at + self.rng.between(low, high);
            if first_now && again <= now {
                return Fate::Now(2);
            }
            self.keep(again, frame);
            return Fate::Kept { first_now };
        }
        if first_now {
            Fate::Now(1)
        } else {
            Fate::Kept { first_now }
        }
    }

    /// When the next frame is due; `None` when none is on the way.
    pub(crate) fn next_due(&self) -> Option<u64> {
        let Reverse((at, ..)) = self.waiting.peek()?;
        Some((*at).max(self.faults.clog_until))
    }

    /// The next frame that is due.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<Vec<u8>> {
        if self.next_due()? > now {
            return None;
        }
        self.waiting.pop().map(|Reverse((_, _, frame))| frame)
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut out = self.counts.to_json();
        out["waiting"] = json!(self.waiting.len());
        out
    }

    /// A chance of nothing costs no random number, so that what is not asked for changes nothing.
    fn happens(&mut self, chance: u32) -> bool {
        chance != 0 && self.rng.chance(chance)
    }

    fn arrival(&mut self, now: u64) -> u64 {
        let (low, high) = self.faults.delay;
        let mut at = now;
        if high != 0 {
            at += self.rng.between(low, high);
        }
        at = at.max(self.last);
        if self.happens(self.faults.reorder) {
            self.counts.reordered += 1;
            let (low, high) = self.faults.reorder_delay;
            return at + self.rng.between(low, high);
        }
        self.last = at;
        at
    }

    fn keep(&mut self, at: u64, frame: &[u8]) {
        if self.waiting.len() >= MOST_WAITING {
            self.counts.overflowed += 1;
            return;
        }
        self.number += 1;
        self.waiting
            .push(Reverse((at, self.number, frame.to_vec())));
    }

    /// Gives one of the bytes that may be damaged another value.
    fn damage(&mut self, frame: &mut [u8]) {
        let tag = if is_tagged(frame) { TAG_LEN } else { 0 };
        let len = u16::try_from(frame.len() - tag).unwrap_or(u16::MAX);
        let bytes = &self.faults.corrupt_bytes;
        let nth = self.rng.below(u64::from(bytes.count(len)));
        let Some(place) = bytes.place(len, u16::try_from(nth).unwrap_or(0)) else {
            return;
        };
        let place = usize::from(place);
        let at = if place < TYPE_AT { place } else { place + tag };
        let change = self.rng.between(1, 255).to_le_bytes();
        if let (Some(byte), [change, ..]) = (frame.get_mut(at), change) {
            *byte ^= change;
            self.counts.corrupted += 1;
        }
    }
}

fn type_at(frame: &[u8], at: usize) -> Option<[u8; 2]> {
    frame.get(at..)?.first_chunk().copied()
}

/// Whether a frame carries a VLAN tag.
fn is_tagged(frame: &[u8]) -> bool {
    matches!(type_at(frame, TYPE_AT), Some([0x81, 0] | [0x88, 0xa8]))
}

/// Whether a frame is one of AoE, with a VLAN tag or without.
fn is_aoe(frame: &[u8]) -> bool {
    let at = if is_tagged(frame) {
        TYPE_AT + TAG_LEN
    } else {
        TYPE_AT
    };
    type_at(frame, at) == Some([0x88, 0xa2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(settings: &[&str]) -> Lane {
        let mut lane = Lane::new(Way::ToInitiator, Rng::new(7));
        for setting in settings {
            lane.faults.set(lane.way, setting, 0).unwrap();
        }
        lane
    }

    /// An AoE frame whose last byte tells it from others.
    fn frame(number: u8) -> Vec<u8> {
        let mut frame = vec![0; 60];
        frame[12] = 0x88;
        frame[13] = 0xa2;
        frame[59] = number;
        frame
    }

    fn tagged() -> Vec<u8> {
        let mut tagged = frame(9);
        tagged.splice(12..12, [0x81, 0, 0, 10]);
        tagged
    }

    /// Everything that leaves a lane until `end`, a nanosecond at a time, when frames come in at 0, 1, 2 ...
    fn through(lane: &mut Lane, frames: u8, end: u64) -> Vec<(u64, u8)> {
        let mut out = Vec::new();
        for now in 0..end {
            while let Some(frame) = lane.pop_due(now) {
                out.push((now, frame[59]));
            }
            if now < u64::from(frames) {
                let number = u8::try_from(now).unwrap();
                let times = match lane.judge(now, &mut frame(number)) {
                    Fate::Gone | Fate::Kept { first_now: false } => 0,
                    Fate::Kept { first_now: true } => 1,
                    Fate::Now(times) => times,
                };
                out.extend((0..times).map(|_| (now, number)));
            }
        }
        out
    }

    #[test]
    fn a_good_wire_passes_everything_at_once() {
        let mut lane = lane(&[]);
        let mut sent = frame(1);
        for now in 0..1000 {
            assert_eq!(lane.judge(now, &mut sent), Fate::Now(1));
        }
        assert_eq!(sent, frame(1));
        assert_eq!(lane.next_due(), None);
        assert_eq!(
            lane.counts,
            Counts {
                received: 1000,
                ..Counts::default()
            }
        );
    }

    #[test]
    fn only_aoe_is_touched_unless_told() {
        let mut lane = lane(&["loss=100%"]);
        let mut other = frame(0);
        other[12] = 8;
        assert_eq!(lane.judge(0, &mut other), Fate::Now(1));
        assert_eq!(lane.judge(0, &mut [1, 2, 3]), Fate::Now(1));
        assert_eq!(lane.judge(0, &mut frame(0)), Fate::Gone);
        assert_eq!(lane.judge(0, &mut tagged()), Fate::Gone);
        assert_eq!((lane.counts.untouched, lane.counts.lost), (2, 2));
        lane.faults.all_frames = true;
        assert_eq!(lane.judge(0, &mut other), Fate::Gone);
    }

    #[test]
    fn each_fault_happens_as_often_as_asked_for() {
        let mut lane = lane(&[
            "loss=10%",
            "duplicate=10%",
            "reorder=10%",
            "reorder-delay=5ns",
            "corrupt=10%",
        ]);
        for now in 0..20_000 {
            lane.judge(now, &mut frame(0));
            while lane.pop_due(now).is_some() {}
        }
        let counts = lane.counts;
        assert!((1800..2200).contains(&counts.lost), "{counts:?}");
        for count in [counts.duplicated, counts.reordered, counts.corrupted] {
            assert!((1600..2000).contains(&count), "{counts:?}");
        }
        assert_eq!(counts.received, 20_000);
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let run = || {
            let mut lane = lane(&["loss=20%", "duplicate=5%", "delay=0..30ns", "reorder=10%"]);
            through(&mut lane, 200, 20_000)
        };
        assert_eq!(run(), run());
    }

    #[test]
    fn a_delay_keeps_the_order_and_reordering_does_not() {
        let mut lane1 = lane(&["delay=5ns..40ns"]);
        let out = through(&mut lane1, 100, 300);
        assert!(out.is_sorted_by_key(|(_, number)| *number) && out.len() == 100);
        assert!(out.iter().all(|(at, n)| *at >= u64::from(*n) + 5));
        assert_eq!(lane1.counts.delayed, 100);

        let mut lane2 = lane(&["reorder=20%", "reorder-delay=10ns"]);
        let out = through(&mut lane2, 100, 300);
        assert!(!out.is_sorted_by_key(|(_, number)| *number) && out.len() == 100);
        let late = out.iter().filter(|(at, n)| *at == u64::from(*n) + 10);
        assert_eq!(late.count() as u64, lane2.counts.reordered);
        let prompt = out.iter().filter(|(at, n)| *at == u64::from(*n));
        assert_eq!(prompt.count() as u64, 100 - lane2.counts.reordered);
    }

    #[test]
    fn repetitions_come_late_towards_the_initiator_only() {
        let mut lane1 = lane(&["duplicate=100%", "duplicate-delay=50ns"]);
        let out = through(&mut lane1, 10, 200);
        assert_eq!(out.len(), 20);
        assert!(out[10..].iter().all(|(at, n)| *at == u64::from(*n) + 50));

        let mut lane2 = Lane::new(Way::ToTarget, Rng::new(1));
        lane2
            .faults
            .set(Way::ToTarget, "duplicate=100%", 0)
            .unwrap();
        assert_eq!(lane2.judge(5, &mut frame(1)), Fate::Now(2));
    }

    #[test]
    fn a_cut_loses_and_a_clog_holds() {
        let mut cut = lane(&["cut=10ns"]);
        let out = through(&mut cut, 20, 50);
        assert_eq!(out, (10..20).map(|n| (n, n as u8)).collect::<Vec<_>>());
        assert_eq!(cut.counts.cut, 10);

        let mut clog = lane(&["clog=10ns"]);
        let out = through(&mut clog, 20, 50);
        let held = (0..10).map(|n| (10, n));
        let rest = (10..20).map(|n| (n, n as u8));
        assert_eq!(out, held.chain(rest).collect::<Vec<_>>());
        assert_eq!((clog.counts.clogged, clog.counts.delayed), (10, 10));
    }

    #[test]
    fn an_open_clog_ends_when_it_is_told_to() {
        let mut lane = lane(&["clog=on"]);
        lane.judge(3, &mut frame(1));
        assert_eq!(lane.pop_due(u64::MAX - 1), None);
        lane.faults.set(lane.way, "clog=off", 9).unwrap();
        assert_eq!(lane.pop_due(9), Some(frame(1)));
    }

    #[test]
    fn long_frames_vanish() {
        let mut lane = lane(&["longest=60"]);
        assert_eq!(lane.judge(0, &mut frame(0)), Fate::Now(1));
        assert_eq!(lane.judge(0, &mut tagged()), Fate::Gone);
        assert_eq!(lane.counts.too_long, 1);
    }

    #[test]
    fn damage_changes_one_byte_of_those_named() {
        for (bytes, places) in [
            ("header", (0..36).collect::<Vec<_>>()),
            ("no-tag", (0..20).chain(24..36).collect()),
            ("payload", (36..60).collect()),
            ("27", vec![27]),
        ] {
            let mut lane = lane(&["corrupt=100%", &format!("corrupt-bytes={bytes}")]);
            let mut seen = [false; 60];
            for _ in 0..2000 {
                let mut sent = frame(0);
                lane.judge(0, &mut sent);
                let whole = frame(0);
                let changed: Vec<_> = (0..60).filter(|at| sent[*at] != whole[*at]).collect();
                assert_eq!(changed.len(), 1);
                seen[changed[0]] = true;
            }
            let touched: Vec<_> = (0..60).filter(|at| seen[*at]).collect();
            assert_eq!(touched, places, "{bytes}");
            assert_eq!(lane.counts.corrupted, 2000);
        }
    }

    #[test]
    fn offsets_do_not_count_a_vlan_tag() {
        let mut lane = lane(&["corrupt=100%", "corrupt-bytes=14"]);
        let mut sent = tagged();
        lane.judge(0, &mut sent);
        let whole = tagged();
        let changed: Vec<_> = (0..64).filter(|at| sent[*at] != whole[*at]).collect();
        assert_eq!(changed, [18]);
    }

    #[test]
    fn a_frame_without_such_a_byte_is_not_counted_as_damaged() {
        let mut lane = lane(&["corrupt=100%", "corrupt-bytes=500-600"]);
        assert_eq!(lane.judge(0, &mut frame(0)), Fate::Now(1));
        assert_eq!(lane.counts.corrupted, 0);
    }

    #[test]
    fn what_waits_is_bounded_and_what_is_too_much_is_counted() {
        let mut lane = lane(&["clog=on"]);
        for _ in 0..MOST_WAITING + 5 {
            lane.judge(0, &mut frame(0));
        }
        assert_eq!(lane.counts.overflowed, 5);
        assert_eq!(lane.waiting.len(), MOST_WAITING);
    }
}
