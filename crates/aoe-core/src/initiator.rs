//! The part that all targets share: the interfaces, the discover beacon, and who may become a target.

use crate::limits::{
    BEACON_SECS, DEFAULT_TARGETS, MAX_NETIFS, MAX_UNIDENTIFIED, SILENT_BEACON_NS, SILENT_NS,
};
use crate::quarantine::{Quarantine, Quarantines, bit};
use crate::target::config_transmit;
use crate::targetlist::TargetList;
use crate::time::{MS, SEC};
use crate::{DropReason, Instant, InterfaceChange, Links, NetifId, Received, Transmit};
use aoe_wire::{Command, ConfigReply, Header, TargetAddr};

/// What to do with an address that has no target yet.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[must_use]
pub enum Admission {
    /// Make a target of it, tell it what it must wait for ([`crate::Target::inherit`]), and hand it the same
    /// frame.
    Create(TargetAddr, Quarantine),
    /// Nothing; count the frame.
    Ignore(DropReason),
}

/// A shelf that comes from DIP switches which are all on, not from an administrator.
const UNSET_SHELF: u16 = 0x0FFF;

/// The tag of beacons. Not 0, which marks an announcement that nobody asked for.
const BEACON_TAG: u32 = 0x0BEA_C000;

/// Time between the first beacons on an interface that came up; [`SILENT_BEACON_NS`] between those after
/// them, until something is heard or [`SILENT_NS`] have passed.
const SILENT_NS_BETWEEN: [u64; 2] = [250 * MS, 750 * MS];

/// Time between the beacons that follow the first answer on an interface: those of other targets may have
/// been lost.
const HEARD_NS_BETWEEN: [u64; 5] = [250 * MS, SEC, 3 * SEC, 10 * SEC, 30 * SEC];

/// The beacons that follow on an interface that came up, and on its first answer. Beacons get lost, and a
/// link that has just come up drops the first frames more often than not.
#[derive(Copy, Clone, Debug)]
struct FollowUps {
    next: Option<Instant>,
    /// How many of the series were scheduled.
    scheduled: usize,
    /// Something was heard since the interface came up.
    heard: bool,
    /// When to give up if nothing is heard.
    until: Instant,
}

impl FollowUps {
    const NONE: Self = Self {
        next: None,
        scheduled: 0,
        heard: false,
        until: Instant::from_nanos(0),
    };

    fn came_up(now: Instant) -> Self {
        let mut new = Self {
            until: now.after(SILENT_NS),
            ..Self::NONE
        };
        new.schedule(now);
        new
    }

    fn was_heard(&mut self, now: Instant) {
        self.heard = true;
        self.scheduled = 0;
        self.schedule(now);
    }

    fn schedule(&mut self, now: Instant) {
        let wait = if self.heard {
            HEARD_NS_BETWEEN.get(self.scheduled).copied()
        } else {
            let wait = SILENT_NS_BETWEEN.get(self.scheduled).copied();
            Some(wait.unwrap_or(SILENT_BEACON_NS))
        };
        let next = wait.map(|wait| now.after(wait));
        self.next = next.filter(|&next| self.heard || next <= self.until);
        self.scheduled = self.scheduled.saturating_add(1);
    }
}

/// Interfaces, beacons, and the count of targets.
#[derive(Debug)]
pub struct Initiator {
    beacon_secs: u32,
    next_beacon: Option<Instant>,
    follow_ups: [FollowUps; MAX_NETIFS],
    /// Interfaces that may be used, a bit each.
    usable: u16,
    /// Interfaces on which a beacon is due.
    due: u16,
    identified: u32,
    unidentified: u32,
    /// What may become a target, and how many there may be.
    allowed: TargetList,
    max_targets: u32,
    quarantines: Quarantines,
}

impl Default for Initiator {
    fn default() -> Self {
        Self::new()
    }
}

impl Initiator {
    /// An initiator without interfaces that sends a beacon every minute.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            beacon_secs: BEACON_SECS,
            next_beacon: None,
            follow_ups: [FollowUps::NONE; MAX_NETIFS],
            usable: 0,
            due: 0,
            identified: 0,
            unidentified: 0,
            allowed: TargetList::ALL,
            max_targets: DEFAULT_TARGETS,
            quarantines: Quarantines::NONE,
        }
    }

    /// The addresses that may become targets. Targets that there are stay.
    #[must_use]
    pub const fn allowed(&self) -> &TargetList {
        &self.allowed
    }

    /// Sets them.
    pub const fn set_allowed(&mut self, allowed: &TargetList) {
        self.allowed = *allowed;
    }

    /// How many targets there may be.
    #[must_use]
    pub const fn max_targets(&self) -> u32 {
        self.max_targets
    }

    /// Sets it. When there are more already they stay.
    pub const fn set_max_targets(&mut self, most: u32) {
        self.max_targets = most;
    }

    /// This machine was started, or the initiator before this one ended without waiting for its copies, at `at`:
    /// copies to any target may have left until then, and count for so long after it.
    pub fn note_restart(&mut self, at: Instant, quarantine_secs: u32) {
        self.quarantines.note_all(at, quarantine_secs);
    }

    /// Copies of writes that targets left behind may still be in the network. An initiator that ends now must
    /// say so to its successor ([`Initiator::note_restart`]), or wait until this is over.
    #[must_use]
    pub fn is_quarantined(&self, now: Instant) -> bool {
        self.quarantines.any(now, |_| true)
    }

    /// Some of these will be too old in a while. Others do not age: a target that answers questions and no requests may
    /// have them, or a port without link.
    #[must_use]
    pub fn is_quarantine_ageing(&self, now: Instant) -> bool {
        self.quarantines.any(now, |one| one.expiry().is_some())
    }

    /// A copy of a write that a target left behind may be in the queues of this interface
    /// ([`crate::Target::may_hold_writes`] speaks of targets that are there).
    #[must_use]
    pub fn may_hold_writes(&self, now: Instant, id: NetifId) -> bool {
        let bit = bit(id).unwrap_or(0);
        self.quarantines.any(now, |one| one.went_by(bit))
    }

    /// Sets the seconds between two beacons; 0 sends them on demand only.
    pub fn set_beacon_secs(&mut self, now: Instant, secs: u32) {
        self.beacon_secs = secs;
        self.schedule(now);
    }

    fn schedule(&mut self, now: Instant) {
        let wanted = self.beacon_secs != 0 && self.usable != 0;
        self.next_beacon = wanted.then(|| now.after(u64::from(self.beacon_secs) * SEC));
    }

    /// An interface changed. One that comes up gets a beacon at once.
    pub fn handle_interface(&mut self, now: Instant, id: NetifId, change: InterfaceChange) {
        self.quarantines.handle_interface(now, id, change);
        let follow_ups = self.follow_ups.get_mut(usize::from(id.0));
        let (Some(bit), Some(follow_ups)) = (bit(id), follow_ups) else {
            return;
        };
        match change {
            InterfaceChange::Up => {
                self.usable |= bit;
                self.due |= bit;
                *follow_ups = FollowUps::came_up(now);
            }
            InterfaceChange::Down(..) | InterfaceChange::Gone => {
                self.usable &= !bit;
                self.due &= !bit;
                *follow_ups = FollowUps::NONE;
            }
            // By another port others may be heard.
            InterfaceChange::Rewired(..) => self.due |= self.usable & bit,
            InterfaceChange::Changed => {}
        }
        if self.next_beacon.is_none() || self.usable == 0 {
            self.schedule(now);
        }
    }

    /// An answer of any target came in by this interface. True if that is news: [`Initiator::poll_timeout`]
    /// is another now.
    pub fn note_answer(&mut self, now: Instant, id: NetifId) -> bool {
        let usable = bit(id).is_some_and(|bit| self.usable & bit != 0);
        match self.follow_ups.get_mut(usize::from(id.0)) {
            Some(follow_ups) if usable && !follow_ups.heard => {
                follow_ups.was_heard(now);
                true
            }
            _ => false,
        }
    }

    /// Sends a beacon on every usable interface now.
    pub fn discover(&mut self, now: Instant) {
        self.due = self.usable;
        self.schedule(now);
    }

    /// The time that [`Initiator::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.next_beacon.is_some_and(|at| at <= now) {
            self.discover(now);
        }
        for (index, follow_ups) in self.follow_ups.iter_mut().enumerate() {
            if follow_ups.next.is_some_and(|at| at <= now) {
                self.due |= self.usable & 1 << index;
                follow_ups.schedule(now);
            }
        }
    }

    /// Whether there are as many targets as there may be.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.identified.saturating_add(self.unidentified) >= self.max_targets
    }

    /// The next beacon to send.
    pub fn poll_transmit<L: Links>(&mut self, _now: Instant, links: &L) -> Option<Transmit> {
        while self.due != 0 {
            let index = self.due.trailing_zeros();
            self.due &= self.due - 1;
            let Ok(index) = u8::try_from(index) else {
                continue;
            };
            let id = NetifId(index);
            if let Some(link) = links.link(id) {
                let header = Header::discover(link.mac, BEACON_TAG);
                return Some(config_transmit(id, u32::from(index), &header));
            }
        }
        None
    }

    /// When [`Initiator::handle_timeout`] must be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let follow_ups = self.follow_ups.iter().filter_map(|one| one.next);
        self.next_beacon.into_iter().chain(follow_ups).min()
    }

    /// A frame came from an address that has no target.
    pub fn admit(&mut self, rx: &Received<'_>) -> Admission {
        match self.judge(rx) {
            Ok(addr) => {
                self.unidentified += 1;
                Admission::Create(addr, self.quarantines.of(addr))
            }
            Err(reason) => Admission::Ignore(reason),
        }
    }

    fn judge(&self, rx: &Received<'_>) -> Result<TargetAddr, DropReason> {
        if !rx.header.is_response() {
            return Err(DropReason::NotResponse);
        }
        let addr = rx.header.addr().ok_or(DropReason::BadAddress)?;
        if addr.shelf() == UNSET_SHELF || !rx.header.src.is_unicast() {
            return Err(DropReason::BadAddress);
        }
        match rx.header.command {
            Command::CONFIG => {}
            Command::ATA => return Err(DropReason::UnknownTarget),
            _ => return Err(DropReason::IgnoredCommand),
        }
        if rx.header.is_error().is_some() {
            return Err(DropReason::UnknownTarget);
        }
        ConfigReply::parse(rx.arg).map_err(|_| DropReason::BadConfig)?;
        if !self.allowed.allows(addr) {
            return Err(DropReason::NotAllowed);
        }
        if self.unidentified >= MAX_UNIDENTIFIED as u32 || self.is_full() {
            return Err(DropReason::Full);
        }
        Ok(addr)
    }

    /// A target that was admitted has been identified.
    pub fn target_identified(&mut self) {
        self.unidentified = self.unidentified.saturating_sub(1);
        self.identified = self.identified.saturating_add(1);
    }

    /// A target that was admitted has been removed, and left copies of writes behind
    /// ([`crate::Target::left_behind`]).
    pub fn target_removed(
        &mut self,
        now: Instant,
        addr: TargetAddr,
        was_identified: bool,
        left: Quarantine,
    ) {
        self.quarantines.note(now, addr, left);
        if was_identified {
            self.identified = self.identified.saturating_sub(1);
        } else {
            self.unidentified = self.unidentified.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::US;
    use crate::{Link, Rings};
    use aoe_wire::MacAddr;
    use std::vec::Vec;

    struct AllUp;

    impl Links for AllUp {
        fn link(&self, _: NetifId) -> Option<Link> {
            Some(Link {
                mtu: 1500,
                mac: MacAddr([2, 0, 0, 0, 0, 1]),
                in_order: true,
            })
        }
    }

    const FIRST: NetifId = NetifId(0);
    const SECOND: NetifId = NetifId(1);

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn up(from: u64, ids: &[NetifId]) -> Initiator {
        let mut initiator = Initiator::new();
        initiator.set_beacon_secs(at(0), 0);
        for id in ids {
            initiator.handle_interface(at(from), *id, InterfaceChange::Up);
        }
        initiator
    }

    /// Milliseconds at which beacons leave, with their interfaces, from `from` until `until`, which is when
    /// the timer is last looked at.
    fn beacons(initiator: &mut Initiator, from: u64, until: u64) -> Vec<(u64, u8)> {
        let mut sent = Vec::new();
        let mut now = from;
        loop {
            while let Some(frame) = initiator.poll_transmit(at(now), &AllUp) {
                sent.push((now / MS, frame.netif.0));
            }
            match initiator.poll_timeout().map(Instant::as_nanos) {
                Some(next) if next <= until => now = next,
                _ => return sent,
            }
            initiator.handle_timeout(at(now));
        }
    }

    fn times(sent: &[(u64, u8)], netif: u8) -> Vec<u64> {
        let of = sent.iter().filter(|(_, on)| *on == netif);
        of.map(|(at, _)| *at).collect()
    }

    #[test]
    fn a_silent_interface_is_asked_every_two_seconds_for_a_minute() {
        let mut initiator = up(0, &[FIRST]);
        let sent = times(&beacons(&mut initiator, 0, 1000 * SEC), 0);
        assert_eq!(sent.get(..5), Some([0, 250, 1000, 3000, 5000].as_slice()));
        assert!(
            sent.windows(2).all(|two| two[1] - two[0] <= 2000),
            "{sent:?}"
        );
        assert_eq!((sent.len(), sent.last()), (32, Some(&59_000)));
        assert_eq!(initiator.poll_timeout(), None);
    }

    #[test]
    fn the_first_answer_ends_the_questions_after_some_more() {
        let mut initiator = up(0, &[FIRST]);
        let sent = times(&beacons(&mut initiator, 0, 3 * SEC + US), 0);
        assert_eq!(sent, [0, 250, 1000, 3000]);
        assert!(initiator.note_answer(at(3 * SEC + MS), FIRST));
        assert!(
            !initiator.note_answer(at(3 * SEC + 2 * MS), FIRST),
            "no news"
        );
        let sent = times(&beacons(&mut initiator, 3 * SEC + MS, 1000 * SEC), 0);
        assert_eq!(sent, [3251, 4251, 7251, 17_251, 47_251]);
        // A minute later nobody had been heard before.
        let mut initiator = up(0, &[FIRST]);
        beacons(&mut initiator, 0, 100 * SEC);
        assert!(initiator.note_answer(at(100 * SEC), FIRST));
        let sent = times(&beacons(&mut initiator, 100 * SEC, 1000 * SEC), 0);
        assert_eq!(sent.first(), Some(&100_250));
        assert_eq!(sent.len(), 5);
    }

    #[test]
    fn each_interface_has_questions_of_its_own() {
        let mut initiator = up(0, &[FIRST]);
        initiator.note_answer(at(MS), FIRST);
        beacons(&mut initiator, MS, 1000 * SEC);
        initiator.handle_interface(at(1000 * SEC), SECOND, InterfaceChange::Up);
        let sent = beacons(&mut initiator, 1000 * SEC, 1004 * SEC);
        assert_eq!(times(&sent, 0), [] as [u64; 0]);
        assert_eq!(
            times(&sent, 1),
            [1_000_000, 1_000_250, 1_001_000, 1_003_000]
        );
        // What is heard on one says nothing of the other.
        assert!(initiator.note_answer(at(1004 * SEC), SECOND));
        assert!(!initiator.note_answer(at(1004 * SEC), FIRST));
    }

    #[test]
    fn an_interface_that_goes_is_not_asked_and_one_that_returns_is_asked_anew() {
        for change in [
            InterfaceChange::Down(Rings::Empty, at(0)),
            InterfaceChange::Down(Rings::Held, at(0)),
            InterfaceChange::Gone,
        ] {
            let mut initiator = up(0, &[FIRST]);
            beacons(&mut initiator, 0, SEC);
            initiator.note_answer(at(SEC), FIRST);
            initiator.handle_interface(at(SEC), FIRST, change);
            assert_eq!(initiator.poll_timeout(), None);
            assert!(!initiator.note_answer(at(2 * SEC), FIRST), "a late frame");
            initiator.handle_interface(at(9 * SEC), FIRST, InterfaceChange::Up);
            let sent = times(&beacons(&mut initiator, 9 * SEC, 14 * SEC), 0);
            assert_eq!(sent, [9000, 9250, 10_000, 12_000, 14_000]);
        }
    }

    #[test]
    fn numbers_without_an_interface_are_ignored() {
        let mut initiator = up(0, &[NetifId(16), NetifId(255)]);
        assert!(!initiator.note_answer(at(0), NetifId(16)));
        assert!(!initiator.note_answer(at(0), NetifId(255)));
        assert_eq!(beacons(&mut initiator, 0, SEC), []);
    }

    #[test]
    fn an_interface_that_goes_on_by_another_port_is_asked_at_once() {
        let mut initiator = up(0, &[FIRST]);
        initiator.note_answer(at(MS), FIRST);
        beacons(&mut initiator, MS, 100 * SEC);
        let rewired = InterfaceChange::Rewired(Rings::Empty, at(0));
        initiator.handle_interface(at(100 * SEC), FIRST, rewired);
        initiator.handle_interface(at(100 * SEC), SECOND, rewired);
        let sent = beacons(&mut initiator, 100 * SEC, 1000 * SEC);
        assert_eq!(sent, [(100_000, 0)]);
    }

    #[test]
    fn the_last_interface_is_asked_too() {
        let mut initiator = up(0, &[NetifId(15)]);
        let sent = beacons(&mut initiator, 0, SEC + US);
        assert_eq!(times(&sent, 15), [0, 250, 1000]);
    }

    #[test]
    fn regular_beacons_go_on_beside_the_others() {
        let mut initiator = Initiator::new();
        initiator.handle_interface(at(0), FIRST, InterfaceChange::Up);
        initiator.note_answer(at(MS), FIRST);
        let sent = times(&beacons(&mut initiator, 0, 200 * SEC), 0);
        assert_eq!(
            sent,
            [0, 251, 1251, 4251, 14_251, 44_251, 60_000, 120_000, 180_000]
        );
    }

    /// What becomes of a config answer of this target.
    fn announce(initiator: &mut Initiator, addr: &str) -> Result<(), DropReason> {
        let addr: TargetAddr = addr.parse().unwrap();
        let query = Header::discover(MacAddr([2, 0, 0, 0, 0, 1]), 1);
        let header = query.reply(MacAddr([2, 0, 0, 0, 0, 2]), addr);
        let arg = [0, 16, 0x40, 0x19, 2, 0x10, 0, 0];
        let rx = Received {
            netif: FIRST,
            header: &header,
            arg: &arg,
            len: 60,
        };
        match initiator.admit(&rx) {
            Admission::Create(..) => Ok(()),
            Admission::Ignore(reason) => Err(reason),
        }
    }

    #[test]
    fn only_what_is_allowed_becomes_a_target() {
        let mut initiator = Initiator::new();
        assert_eq!(announce(&mut initiator, "9.3"), Ok(()));
        initiator.set_allowed(&crate::targetlist::parse("7.* 8.0-15").unwrap());
        for (addr, result) in [
            ("7.0", Ok(())),
            ("8.15", Ok(())),
            ("8.16", Err(DropReason::NotAllowed)),
            ("9.3", Err(DropReason::NotAllowed)),
        ] {
            assert_eq!(announce(&mut initiator, addr), result, "{addr}");
        }
    }

    #[test]
    fn there_are_no_more_targets_than_there_may_be() {
        let mut initiator = Initiator::new();
        initiator.set_max_targets(2);
        assert_eq!(announce(&mut initiator, "7.0"), Ok(()));
        initiator.target_identified();
        assert_eq!(announce(&mut initiator, "7.1"), Ok(()));
        assert!(initiator.is_full());
        assert_eq!(announce(&mut initiator, "7.2"), Err(DropReason::Full));
        let removed = |initiator: &mut Initiator, addr: &str, was_identified| {
            let addr = addr.parse().unwrap();
            initiator.target_removed(at(0), addr, was_identified, Quarantine::NONE);
        };
        // A lower number takes nothing away.
        initiator.set_max_targets(1);
        removed(&mut initiator, "7.0", true);
        assert_eq!(announce(&mut initiator, "7.2"), Err(DropReason::Full));
        removed(&mut initiator, "7.1", false);
        assert_eq!(announce(&mut initiator, "7.2"), Ok(()));
        initiator.set_max_targets(0);
        assert_eq!(announce(&mut initiator, "7.3"), Err(DropReason::Full));
    }
}
