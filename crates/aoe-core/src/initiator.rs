//! The part that all targets share: the interfaces, the discover beacon, and who may become a target.

use crate::limits::{BEACON_SECS, MAX_NETIFS, MAX_TARGETS, MAX_UNIDENTIFIED};
use crate::target::config_transmit;
use crate::time::{MS, SEC};
use crate::{DropReason, Instant, InterfaceChange, Links, NetifId, Received, Transmit};
use aoe_wire::{Command, ConfigReply, Header, TargetAddr};

/// What to do with an address that has no target yet.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[must_use]
pub enum Admission {
    /// Make a target of it, and hand it the same frame.
    Create(TargetAddr),
    /// Nothing; count the frame.
    Ignore(DropReason),
}

/// A shelf that comes from DIP switches which are all on, not from an administrator.
const UNSET_SHELF: u16 = 0x0FFF;

/// The tag of beacons. Not 0, which marks an announcement that nobody asked for.
const BEACON_TAG: u32 = 0x0BEA_C000;

/// Time between the beacons that follow the first one on an interface that came up.
const FOLLOW_UPS_NS: [u64; 5] = [250 * MS, SEC, 3 * SEC, 10 * SEC, 30 * SEC];

/// Interfaces, beacons, and the count of targets.
#[derive(Debug)]
pub struct Initiator {
    beacon_secs: u32,
    next_beacon: Option<Instant>,
    /// Beacons still to come after an interface came up, and when the next one is due.
    follow_ups: usize,
    next_follow_up: Option<Instant>,
    /// Interfaces that may be used, a bit each.
    usable: u16,
    /// Interfaces on which a beacon is due.
    due: u16,
    identified: u32,
    unidentified: u32,
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
            follow_ups: 0,
            next_follow_up: None,
            usable: 0,
            due: 0,
            identified: 0,
            unidentified: 0,
        }
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
        let Some(bit) = bit(id) else { return };
        match change {
            InterfaceChange::Up => {
                self.usable |= bit;
                self.due |= bit;
                self.follow_ups = 0;
                self.schedule_follow_up(now);
            }
            InterfaceChange::Down | InterfaceChange::Gone => {
                self.usable &= !bit;
                self.due &= !bit;
            }
            InterfaceChange::Changed => {}
        }
        if self.usable == 0 {
            self.next_follow_up = None;
        }
        if self.next_beacon.is_none() || self.usable == 0 {
            self.schedule(now);
        }
    }

    /// Beacons get lost, and a link that has just come up drops the first frames more often than not.
    fn schedule_follow_up(&mut self, now: Instant) {
        self.next_follow_up = FOLLOW_UPS_NS
            .get(self.follow_ups)
            .map(|&wait| now.after(wait));
        self.follow_ups += 1;
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
        if self.next_follow_up.is_some_and(|at| at <= now) {
            self.due = self.usable;
            self.schedule_follow_up(now);
        }
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
        [self.next_beacon, self.next_follow_up]
            .into_iter()
            .flatten()
            .min()
    }

    /// A frame came from an address that has no target.
    pub fn admit(&mut self, rx: &Received<'_>) -> Admission {
        match self.judge(rx) {
            Ok(addr) => {
                self.unidentified += 1;
                Admission::Create(addr)
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
        let total = self.identified.saturating_add(self.unidentified);
        if self.unidentified >= MAX_UNIDENTIFIED as u32 || total >= MAX_TARGETS as u32 {
            return Err(DropReason::Full);
        }
        Ok(addr)
    }

    /// A target that was admitted has been identified.
    pub fn target_identified(&mut self) {
        self.unidentified = self.unidentified.saturating_sub(1);
        self.identified = self.identified.saturating_add(1);
    }

    /// A target that was admitted has been removed.
    pub fn target_removed(&mut self, was_identified: bool) {
        if was_identified {
            self.identified = self.identified.saturating_sub(1);
        } else {
            self.unidentified = self.unidentified.saturating_sub(1);
        }
    }
}

fn bit(id: NetifId) -> Option<u16> {
    (usize::from(id.0) < MAX_NETIFS).then(|| 1 << id.0)
}
