// SPDX-License-Identifier: BSD-2-Clause
//! What outlives a target: copies of its writes that may still be in the network.
//!
//! A target is taken away by the operator or because it is silent, and may be found again at once. What it knew of
//! its copies goes with it, but they do not. So its successor writes nothing before they are too old, and the
//! initiator keeps for each address when that will be. Where its memory is full, all addresses share what does not
//! fit.
//!
//! Only time ends such a quarantine. That later questions were answered would prove it sooner, but the paths that the
//! copies went by are gone with the target, and a target is seldom taken away in the middle of its writes.

use crate::limits::{MAX_NETIFS, MAX_QUARANTINES};
use crate::time::SEC;
use crate::{Instant, InterfaceChange, NetifId, Rings};
use aoe_wire::TargetAddr;

/// Copies of writes to one address of which none is known to be dead.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct Quarantine {
    /// When the last of them was able to leave this host; `None`: there are none.
    since: Option<Instant>,
    /// For so many seconds after that they count.
    secs: u16,
    /// Interfaces that they went by, a bit each.
    by: u16,
    /// Interfaces among these that may keep some in a ring without link.
    held: u16,
    /// The target answered questions and no requests: it may keep them for as long as it does that.
    stalled: bool,
}

impl Quarantine {
    /// There are no such copies.
    pub const NONE: Self = Self {
        since: None,
        secs: 0,
        by: 0,
        held: 0,
        stalled: false,
    };

    /// There are no such copies.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.since.is_none()
    }

    /// One more, which was able to leave at `at`, counts for so long, and went by these interfaces.
    pub(crate) fn add(&mut self, at: Instant, secs: u32, by: u16, held: u16) {
        let secs = u16::try_from(secs).unwrap_or(u16::MAX);
        self.since = self.since.max(Some(at));
        self.secs = self.secs.max(secs);
        self.by |= by;
        self.held |= held;
    }

    /// Some went by one of these interfaces.
    pub(crate) const fn went_by(&self, interfaces: u16) -> bool {
        self.by & interfaces != 0
    }

    pub(crate) const fn set_stalled(&mut self) {
        self.stalled = self.since.is_some();
    }

    pub(crate) const fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// The target answers requests.
    pub(crate) fn end_stall(&mut self, now: Instant) {
        if self.stalled {
            self.stalled = false;
            self.since = Some(now);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.since = self.since.max(other.since);
        self.secs = self.secs.max(other.secs);
        self.by |= other.by;
        self.held |= other.held;
        self.stalled |= other.stalled;
    }

    /// When they are too old; `None` while they do not age.
    pub(crate) fn expiry(&self) -> Option<Instant> {
        let ages = self.held == 0 && !self.stalled;
        let since = self.since.filter(|_| ages)?;
        Some(since.after(u64::from(self.secs) * SEC))
    }

    /// There are none, or they are too old.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.is_none() || self.expiry().is_some_and(|at| at <= now)
    }

    /// An interface changed: what it kept may have left until now, or it keeps it now.
    pub(crate) fn handle_interface(&mut self, now: Instant, id: NetifId, change: InterfaceChange) {
        let Some(bit) = bit(id).filter(|bit| self.by & bit != 0) else {
            return;
        };
        if self.is_over(now) {
            return;
        }
        match change {
            // The last of them was given to the interface before all that this is about.
            InterfaceChange::Down(_, since) | InterfaceChange::Rewired(_, since)
                if self.held & bit == 0 && self.since < Some(since) => {}
            InterfaceChange::Down(Rings::Held, _) | InterfaceChange::Rewired(Rings::Held, _) => {
                self.held |= bit;
            }
            InterfaceChange::Up
            | InterfaceChange::Gone
            | InterfaceChange::Down(..)
            | InterfaceChange::Rewired(..) => {
                self.held &= !bit;
                self.since = Some(now);
            }
            InterfaceChange::Changed => {}
        }
        if change == InterfaceChange::Gone {
            // Its number may be another interface's next.
            self.by &= !bit;
        }
    }
}

/// The quarantines of the addresses whose targets were taken away.
#[derive(Debug)]
pub(crate) struct Quarantines {
    known: [Option<(TargetAddr, Quarantine)>; MAX_QUARANTINES],
    /// What did not fit: all share it.
    others: Quarantine,
    /// What was sent before this initiator was there, to whatever target. A successor will know of it, too.
    before: Quarantine,
}

impl Quarantines {
    pub(crate) const NONE: Self = Self {
        known: [None; MAX_QUARANTINES],
        others: Quarantine::NONE,
        before: Quarantine::NONE,
    };

    /// The target of this address is no more, and leaves this behind.
    pub(crate) fn note(&mut self, now: Instant, addr: TargetAddr, left: Quarantine) {
        if left.is_none() {
            return;
        }
        self.prune(now);
        let known = self.known.iter_mut();
        let own = known.flatten().find(|(of, _)| *of == addr);
        if let Some((_, quarantine)) = own {
            quarantine.merge(&left);
        } else if let Some(free) = self.known.iter_mut().find(|one| one.is_none()) {
            *free = Some((addr, left));
        } else {
            self.others.merge(&left);
        }
    }

    /// Copies to any address may be on their way, and were able to leave at `at`.
    pub(crate) fn note_all(&mut self, at: Instant, secs: u32) {
        self.before.add(at, secs, 0, 0);
    }

    /// Forgets those that are too old.
    fn prune(&mut self, now: Instant) {
        for one in &mut self.known {
            if one.as_ref().is_some_and(|(_, one)| one.is_over(now)) {
                *one = None;
            }
        }
        for one in [&mut self.others, &mut self.before] {
            if one.is_over(now) {
                *one = Quarantine::NONE;
            }
        }
    }

    /// What a new target of this address must wait for.
    pub(crate) fn of(&self, addr: TargetAddr) -> Quarantine {
        let mut sum = self.others;
        sum.merge(&self.before);
        let known = self.known.iter().flatten();
        for (_, own) in known.filter(|(of, _)| *of == addr) {
            sum.merge(own);
        }
        sum
    }

    /// Some that targets left behind are of this kind, and not over.
    pub(crate) fn any(&self, now: Instant, which: impl Fn(&Quarantine) -> bool) -> bool {
        let known = self.known.iter().flatten().map(|(_, one)| one);
        known
            .chain(core::iter::once(&self.others))
            .any(|one| which(one) && !one.is_over(now))
    }

    pub(crate) fn handle_interface(&mut self, now: Instant, id: NetifId, change: InterfaceChange) {
        for (_, one) in self.known.iter_mut().flatten() {
            one.handle_interface(now, id, change);
        }
        self.others.handle_interface(now, id, change);
    }
}

/// The bit of an interface.
pub(crate) fn bit(id: NetifId) -> Option<u16> {
    (usize::from(id.0) < MAX_NETIFS).then(|| 1 << id.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECS: u32 = 15;

    fn at(secs: u64) -> Instant {
        Instant::from_nanos(secs * SEC)
    }

    fn addr(number: u16) -> TargetAddr {
        TargetAddr::new(number, 1).unwrap()
    }

    fn left(since: u64, by: u16, held: u16) -> Quarantine {
        let mut left = Quarantine::NONE;
        left.add(at(since), SECS, by, held);
        left
    }

    #[test]
    fn it_ends_when_the_newest_copy_is_too_old() {
        let mut quarantine = left(10, 1, 0);
        quarantine.add(at(12), SECS, 2, 0);
        quarantine.add(at(11), SECS, 2, 0);
        assert_eq!(quarantine.expiry(), Some(at(27)));
        assert!(!quarantine.is_over(at(26)) && quarantine.is_over(at(27)));
        assert!(Quarantine::NONE.is_over(at(1)));
    }

    #[test]
    fn what_a_ring_keeps_ages_from_when_it_leaves() {
        let mut quarantine = left(10, 1, 1);
        assert_eq!(quarantine.expiry(), None);
        assert!(!quarantine.is_over(at(100_000)));
        // Another interface says nothing.
        quarantine.handle_interface(at(50), NetifId(1), InterfaceChange::Up);
        assert_eq!(quarantine.expiry(), None);
        quarantine.handle_interface(at(60), NetifId(0), InterfaceChange::Up);
        assert_eq!(quarantine.expiry(), Some(at(75)));
        // The link goes while copies are still young.
        let down = InterfaceChange::Down(Rings::Held, at(0));
        quarantine.handle_interface(at(61), NetifId(0), down);
        assert_eq!(quarantine.expiry(), None);
        let emptied = InterfaceChange::Rewired(Rings::Empty, at(0));
        quarantine.handle_interface(at(62), NetifId(0), emptied);
        assert_eq!(quarantine.expiry(), Some(at(77)));
        quarantine.handle_interface(at(63), NetifId(0), InterfaceChange::Gone);
        quarantine.handle_interface(at(64), NetifId(0), down);
        assert_eq!(quarantine.expiry(), Some(at(78)));
        // What is over stays over.
        let mut over = left(10, 1, 0);
        over.handle_interface(at(25), NetifId(0), down);
        assert!(over.is_over(at(25)));
    }

    #[test]
    fn what_a_stalled_target_keeps_ages_from_its_next_answer() {
        let mut quarantine = left(10, 1, 0);
        quarantine.set_stalled();
        assert_eq!(quarantine.expiry(), None);
        quarantine.end_stall(at(100));
        assert_eq!(quarantine.expiry(), Some(at(115)));
        let mut none = Quarantine::NONE;
        none.set_stalled();
        assert!(none.is_over(at(1)));
    }

    #[test]
    fn each_address_has_its_own_and_what_does_not_fit_is_everybodys() {
        let mut all = Quarantines::NONE;
        for number in 0..MAX_QUARANTINES as u16 {
            all.note(at(100), addr(number), left(100, 0, 0));
        }
        assert_eq!(all.of(addr(3)).expiry(), Some(at(115)));
        assert!(all.of(addr(500)).is_none());
        all.note(at(101), addr(3), left(101, 0, 0));
        assert_eq!(all.of(addr(3)).expiry(), Some(at(116)));
        assert!(all.of(addr(500)).is_none());
        all.note(at(102), addr(500), left(102, 0, 0));
        assert_eq!(all.of(addr(501)).expiry(), Some(at(117)));
        assert_eq!(all.of(addr(4)).expiry(), Some(at(117)));
        assert!(all.any(at(116), |_| true));
        assert!(!all.any(at(117), |_| true));
        // Long after there is room again.
        all.note(at(2000), addr(7), left(2000, 0, 0));
        assert!(all.of(addr(501)).is_none() && all.of(addr(3)).is_none());
        assert_eq!(all.of(addr(7)).expiry(), Some(at(2015)));
        all.note_all(at(2001), SECS);
        assert_eq!(all.of(addr(8)).expiry(), Some(at(2016)));
        // Nobody has to wait for what the next initiator knows anyway.
        assert!(!all.any(at(2015), |_| true));
    }
}
