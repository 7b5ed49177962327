//! The ports below an interface, and what the engine is told of them.
//!
//! An interface may be a stack: a vlan over a NIC, a lagg or a bridge over several. Frames leave by the NICs at the
//! bottom, its ports. A port that loses its link keeps in its ring what it was given, the interface may go on by
//! another port without a word, and what was kept leaves when the link is back. So the owner of the interfaces looks
//! at the ports, has the one that lost its link emptied, and [`Ports`] says what the engine is to be told.
//!
//! A look goes like this, at least after each event of a port, and once a second:
//!
//! 1. The owner sees how each port is. It throws away what those of [`Ports::lost`] have queued in software, once all
//!    threads that saw them with link have left their drivers.
//! 2. It finds out whether a write of ours may be in a ring at all (`may_hold_writes` of the engine).
//! 3. [`Ports::update`] says what to tell, and which drivers to initialise again. When that is done it looks again.
//!
//! While the links of the ports are other than [`Ports::with_link`] says, nothing may be sent by the interface, and
//! what comes in by it must be thrown away: an answer by a port of which the engine does not know would prove the
//! wrong copies dead.

use crate::limits::MAX_PORTS;
use crate::{Instant, InterfaceChange, Rings};

/// A port, by the number its owner gave it (below 32).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct PortId(pub u8);

/// Some ports.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct PortSet(pub u32);

impl PortSet {
    /// No port.
    pub const NONE: Self = Self(0);
    /// Ports that there may be, of all interfaces together.
    pub const BITS: usize = u32::BITS as usize;

    /// This one.
    #[must_use]
    pub const fn of(id: PortId) -> Self {
        Self(Self::bit(id))
    }

    /// One more.
    pub const fn add(&mut self, id: PortId) {
        self.0 |= Self::bit(id);
    }

    /// One less.
    pub const fn remove(&mut self, id: PortId) {
        self.0 &= !Self::bit(id);
    }

    /// It is one of them.
    #[must_use]
    pub const fn has(self, id: PortId) -> bool {
        self.0 & Self::bit(id) != 0
    }

    /// All of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are not of the others.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// There is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    const fn bit(id: PortId) -> u32 {
        if (id.0 as u32) < u32::BITS {
            1 << id.0
        } else {
            0
        }
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = PortId> {
        (0..u32::BITS as u8)
            .map(PortId)
            .filter(move |id| self.has(*id))
    }
}

/// How a port is at this moment.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum PortState {
    /// It sends.
    Up,
    /// It has no link. What is in its ring stays there until the link is back.
    NoLink,
    /// Its driver does not run: it has freed its ring.
    Stopped,
}

/// How what a port without link has in its ring can be thrown away.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Purge {
    /// A flush of its queues does it.
    Flush,
    /// Its driver must be initialised again.
    Init,
    /// By nothing that is known.
    Never,
}

/// A port as it is seen at a look.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// Which one.
    pub id: PortId,
    /// How it is.
    pub state: PortState,
    /// How it can be emptied.
    pub purge: Purge,
    /// It is given frames even while it has no link: a bridge does that to its members.
    pub blind: bool,
    /// It is below the interface. Otherwise it was, and is looked at until its ring is empty ([`Ports::left`]).
    pub below: bool,
}

/// How the ports of an interface share its frames.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Sharing {
    /// One has all of them: it is the only one, or the first with link (lagg failover).
    #[default]
    Failover,
    /// The addresses decide among those that have link (lagg loadbalance).
    Hash,
    /// In an order that is not known: in turns, by what a partner on the network says, by learned addresses.
    Mixed,
    /// Nobody knows what is below it.
    Opaque,
}

/// What is seen at a look.
#[derive(Copy, Clone, Debug)]
pub struct Look<'a> {
    /// When that is.
    pub now: Instant,
    /// The interface itself could send.
    pub ready: bool,
    /// How its ports share its frames.
    pub sharing: Sharing,
    /// Its ports, at most [`MAX_PORTS`]. An interface with more is [`Sharing::Opaque`].
    pub ports: &'a [Port],
    /// A write of ours may be in a ring.
    pub may_hold: bool,
    /// Drivers that are just being initialised again.
    pub in_init: PortSet,
}

/// What is to be done after a look.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct Update {
    /// What the engine is to be told, in this order.
    pub changes: [Option<InterfaceChange>; 2],
    /// Drivers to initialise again. A NIC carries more than AoE, so these are only those that may keep a write.
    pub init: PortSet,
}

/// What is known of a port.
#[derive(Copy, Clone, Debug)]
struct Slot {
    id: PortId,
    /// It had link when the engine was last told.
    up: bool,
    /// It was first seen with the link that it has, or had last. What was handed over before is not in its ring.
    up_since: Instant,
    /// It has no link, and nothing is in its ring.
    emptied: bool,
    /// Its driver was asked to initialise again since it lost its link.
    asked: bool,
    below: bool,
}

/// The ports of one interface, as the engine was last told of them.
#[derive(Clone, Debug)]
pub struct Ports {
    slots: [Option<Slot>; MAX_PORTS],
    sharing: Sharing,
    /// The engine was told that the interface may be used.
    usable: bool,
    /// It was once.
    was_usable: bool,
}

/// What became of the ports at a look.
#[derive(Copy, Clone, Debug, Default)]
struct Seen {
    /// One lost its link, or was emptied after that.
    changed: bool,
    /// One has its link again, or is one of the interface's since now, or no more: what is on its way by it may be
    /// overtaken.
    mixed: bool,
    init: PortSet,
    /// What this look is about was handed over since then.
    since: Option<Instant>,
}

impl Slot {
    /// It may keep frames until its link is back.
    const fn holds(&self) -> bool {
        !self.up && !self.emptied
    }
}

impl Seen {
    /// What such a port had in its ring is gone, leaves now, or is kept.
    fn concern(&mut self, slot: &Slot) {
        let since = self
            .since
            .map_or(slot.up_since, |since| since.min(slot.up_since));
        self.since = Some(since);
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self::new()
    }
}

impl Ports {
    /// Those of an interface of which the engine was told nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slots: [None; MAX_PORTS],
            sharing: Sharing::Failover,
            usable: false,
            was_usable: false,
        }
    }

    /// The engine was told that the interface may be used.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        self.usable
    }

    /// Frames of one flow leave in the order in which they were handed over.
    #[must_use]
    pub const fn is_in_order(&self) -> bool {
        matches!(self.sharing, Sharing::Failover | Sharing::Hash)
    }

    /// The ports that had link when the engine was last told.
    #[must_use]
    pub fn with_link(&self) -> PortSet {
        self.those(|slot| slot.below && slot.up)
    }

    /// Its ports.
    #[must_use]
    pub fn below(&self) -> PortSet {
        self.those(|slot| slot.below)
    }

    /// Ports that it has no more, and that may keep frames of it in their rings.
    #[must_use]
    pub fn left(&self) -> PortSet {
        self.those(|slot| !slot.below)
    }

    /// Ports that may keep frames of it until their links are back.
    #[must_use]
    pub fn holding(&self) -> PortSet {
        self.those(Slot::holds)
    }

    /// Ports whose software queues are to be emptied before the engine is told of a look: they lost their link, or
    /// are given frames without.
    #[must_use]
    pub fn lost(&self, ports: &[Port]) -> PortSet {
        let had_link = self.those(|slot| slot.up);
        let mut lost = PortSet::NONE;
        for port in ports {
            if port.state == PortState::NoLink && (port.blind || had_link.has(port.id)) {
                lost.add(port.id);
            }
        }
        lost
    }

    fn those(&self, which: impl Fn(&Slot) -> bool) -> PortSet {
        let mut those = PortSet::NONE;
        for slot in self.slots.iter().flatten().filter(|slot| which(slot)) {
            those.add(slot.id);
        }
        those
    }

    /// The owner has looked.
    pub fn update(&mut self, look: &Look<'_>) -> Update {
        let mut seen = Seen {
            mixed: self.was_usable && look.sharing != self.sharing,
            ..Seen::default()
        };
        self.sharing = look.sharing;
        self.drop_gone(look, &mut seen);
        for port in look.ports {
            self.see(look, port, &mut seen);
        }
        let usable = look.ready && self.can_send(look);
        let rings = self.rings(&seen);
        let since = self.since(look, &seen);
        let changes = match (self.usable, usable) {
            (false, true) => {
                let changed = self.was_usable && seen.mixed;
                let rewired = InterfaceChange::Rewired(rings, since);
                // A single port sends first what it kept; of several nobody knows the order.
                let told = rings == Rings::Held || changed;
                [Some(InterfaceChange::Up), told.then_some(rewired)]
            }
            (true, false) => [Some(InterfaceChange::Down(rings, since)), None],
            _ if self.was_usable && (seen.changed || seen.mixed) => {
                [Some(InterfaceChange::Rewired(rings, since)), None]
            }
            _ => [None, None],
        };
        self.usable = usable;
        self.was_usable |= usable;
        Update {
            changes,
            init: seen.init,
        }
    }

    /// What was handed over before then is in no ring that a look is about: the ports that lost their link, were emptied
    /// or have their link again had it since then at the earliest, and those that still keep something.
    fn since(&self, look: &Look<'_>, seen: &Seen) -> Instant {
        if look.sharing == Sharing::Opaque {
            return Instant::default();
        }
        let holding = self.slots.iter().flatten().filter(|slot| slot.holds());
        let held = holding.map(|slot| slot.up_since).min();
        [seen.since, held]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(look.now)
    }

    /// Ports that the owner sees no more: their drivers were detached, and have freed their rings.
    fn drop_gone(&mut self, look: &Look<'_>, seen: &mut Seen) {
        for place in &mut self.slots {
            if place.is_some_and(|slot| !look.ports.iter().any(|port| port.id == slot.id)) {
                *place = None;
                seen.mixed = true;
            }
        }
    }

    fn see(&mut self, look: &Look<'_>, port: &Port, seen: &mut Seen) {
        let single = look.ports.len() == 1;
        let Some(place) = self.place(port.id) else {
            return;
        };
        let new = place.is_none();
        let slot = place.get_or_insert(Slot {
            id: port.id,
            up: port.state == PortState::Up,
            up_since: look.now,
            // Nothing was sent by it for this interface.
            emptied: port.state != PortState::Up,
            asked: false,
            below: true,
        });
        seen.mixed |= new;
        slot.below = port.below;
        match port.state {
            PortState::Up => {
                if !slot.up {
                    seen.mixed |= !single;
                    if !slot.emptied {
                        seen.concern(slot);
                    }
                    slot.up_since = look.now;
                }
                slot.up = true;
                slot.emptied = false;
                slot.asked = false;
            }
            PortState::NoLink | PortState::Stopped => {
                Self::see_without_link(slot, look, port, seen)
            }
        }
        if !port.below && (slot.up || slot.emptied) {
            seen.mixed |= slot.up;
            *place = None;
        }
    }

    fn see_without_link(slot: &mut Slot, look: &Look<'_>, port: &Port, seen: &mut Seen) {
        if slot.up {
            slot.up = false;
            slot.asked = false;
            seen.changed = true;
            seen.concern(slot);
        }
        let idle = !look.in_init.has(port.id);
        if !slot.emptied {
            let empty = match port.purge {
                _ if port.state == PortState::Stopped || !look.may_hold => true,
                Purge::Flush => true,
                Purge::Init => slot.asked && idle,
                Purge::Never => false,
            };
            slot.emptied = empty;
            if empty {
                seen.changed = true;
                seen.concern(slot);
            }
            if empty || port.purge != Purge::Init || slot.asked {
                return;
            }
        } else if !port.blind || !look.may_hold || port.purge != Purge::Init || !idle {
            return;
        }
        if port.state == PortState::NoLink {
            slot.asked = true;
            seen.init.add(port.id);
        }
    }

    /// The place of a port, or a free one.
    fn place(&mut self, id: PortId) -> Option<&mut Option<Slot>> {
        let own = |place: &Option<Slot>| place.is_some_and(|slot| slot.id == id);
        let index = self
            .slots
            .iter()
            .position(own)
            .or_else(|| self.slots.iter().position(Option::is_none))?;
        self.slots.get_mut(index)
    }

    /// One of the ports has link; and none of those that are given frames without one keeps them.
    fn can_send(&self, look: &Look<'_>) -> bool {
        let spoils = |port: &Port| {
            port.blind && port.state == PortState::NoLink && port.purge == Purge::Never
        };
        look.sharing == Sharing::Opaque
            || !self.with_link().is_empty() && !look.ports.iter().any(spoils)
    }

    /// What the rings keep of all that was sent so far.
    fn rings(&self, seen: &Seen) -> Rings {
        let with_link = self.with_link().iter().count();
        if !self.holding().is_empty() {
            Rings::Held
        } else if seen.mixed
            || self.sharing == Sharing::Opaque
            // Those that have link divide the frames anew.
            || self.sharing == Sharing::Hash && with_link > 1
        {
            Rings::Unknown
        } else {
            Rings::Empty
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: PortState = PortState::Up;
    const NO_LINK: PortState = PortState::NoLink;
    const STOPPED: PortState = PortState::Stopped;

    fn port(id: u8, state: PortState, purge: Purge) -> Port {
        Port {
            id: PortId(id),
            state,
            purge,
            blind: false,
            below: true,
        }
    }

    fn look(ports: &[Port]) -> Look<'_> {
        Look {
            now: Instant::from_nanos(1000),
            ready: true,
            sharing: Sharing::Failover,
            ports,
            may_hold: true,
            in_init: PortSet::NONE,
        }
    }

    fn shared(ports: &[Port], sharing: Sharing) -> Look<'_> {
        Look {
            sharing,
            ..look(ports)
        }
    }

    /// A change without its time.
    #[derive(PartialEq, Debug)]
    enum Told {
        Up,
        Down(Rings),
        Rewired(Rings),
    }

    fn told(update: Update) -> std::vec::Vec<Told> {
        let told = |change| match change {
            InterfaceChange::Up => Told::Up,
            InterfaceChange::Down(rings, _) => Told::Down(rings),
            InterfaceChange::Rewired(rings, _) => Told::Rewired(rings),
            other => panic!("{other:?}"),
        };
        update.changes.into_iter().flatten().map(told).collect()
    }

    /// A lagg over two ports that both have link, and of which the engine knows.
    fn pair(purge: Purge) -> Ports {
        let mut ports = Ports::new();
        let both = [port(0, UP, purge), port(1, UP, purge)];
        assert_eq!(told(ports.update(&look(&both))), [Told::Up]);
        ports
    }

    #[test]
    fn a_nic_goes_down_and_comes_back() {
        let mut ports = Ports::new();
        let up = [port(3, UP, Purge::Init)];
        let down = [port(3, NO_LINK, Purge::Init)];
        assert_eq!(told(ports.update(&look(&down))), []);
        assert_eq!(told(ports.update(&look(&up))), [Told::Up]);
        assert_eq!(ports.with_link(), PortSet(8));
        assert_eq!(ports.lost(&down), PortSet(8));
        let update = ports.update(&look(&down));
        assert_eq!(update.init, PortSet(8));
        assert_eq!(told(update), [Told::Down(Rings::Held)]);
        assert!(ports.lost(&down).is_empty());
        // The driver is at it.
        let mut busy = look(&down);
        busy.in_init = PortSet(8);
        let update = ports.update(&busy);
        assert!(told(update).is_empty() && update.init.is_empty());
        assert_eq!(ports.holding(), PortSet(8));
        let update = ports.update(&look(&down));
        assert_eq!(told(update), [Told::Rewired(Rings::Empty)]);
        assert!(update.init.is_empty());
        assert!(told(ports.update(&look(&down))).is_empty());
        assert_eq!(told(ports.update(&look(&up))), [Told::Up]);
    }

    #[test]
    fn what_may_not_be_there_needs_no_purge() {
        for purge in [Purge::Init, Purge::Never] {
            let mut ports = Ports::new();
            let _ = ports.update(&look(&[port(0, UP, purge)]));
            let down = [port(0, NO_LINK, purge)];
            let mut look = look(&down);
            look.may_hold = false;
            let update = ports.update(&look);
            assert!(update.init.is_empty());
            assert_eq!(told(update), [Told::Down(Rings::Empty)]);
        }
    }

    #[test]
    fn a_driver_that_cannot_be_emptied_holds_until_it_is_stopped() {
        let mut ports = pair(Purge::Never);
        let mut both = [port(0, NO_LINK, Purge::Never), port(1, UP, Purge::Never)];
        let update = ports.update(&look(&both));
        assert!(update.init.is_empty());
        assert_eq!(told(update), [Told::Rewired(Rings::Held)]);
        assert!(told(ports.update(&look(&both))).is_empty());
        both[0].state = STOPPED;
        let update = ports.update(&look(&both));
        assert_eq!(told(update), [Told::Rewired(Rings::Empty)]);
        both[0].state = UP;
        let update = ports.update(&look(&both));
        assert_eq!(told(update), [Told::Rewired(Rings::Unknown)]);
    }

    #[test]
    fn a_lagg_goes_on_by_another_port_and_by_the_first_one_again() {
        let mut ports = pair(Purge::Flush);
        let both = [port(0, UP, Purge::Flush), port(1, UP, Purge::Flush)];
        let first_lost = [port(0, NO_LINK, Purge::Flush), port(1, UP, Purge::Flush)];
        assert_eq!(ports.lost(&first_lost), PortSet(1));
        assert_eq!(ports.with_link(), PortSet(3));
        let update = ports.update(&look(&first_lost));
        assert_eq!(told(update), [Told::Rewired(Rings::Empty)]);
        assert_eq!(ports.with_link(), PortSet(2));
        let update = ports.update(&look(&both));
        assert_eq!(told(update), [Told::Rewired(Rings::Unknown)]);
        assert!(told(ports.update(&look(&both))).is_empty());
    }

    #[test]
    fn a_lagg_without_any_link_is_down_and_both_are_emptied() {
        let mut ports = pair(Purge::Init);
        let none = [port(0, NO_LINK, Purge::Init), port(1, NO_LINK, Purge::Init)];
        let update = ports.update(&look(&none));
        assert_eq!(update.init, PortSet(3));
        assert_eq!(told(update), [Told::Down(Rings::Held)]);
        let one = [port(0, NO_LINK, Purge::Init), port(1, UP, Purge::Init)];
        let mut busy = look(&one);
        busy.in_init = PortSet(1);
        let update = ports.update(&busy);
        let up = [Told::Up, Told::Rewired(Rings::Held)];
        assert_eq!(told(update), up);
        let update = ports.update(&look(&one));
        assert_eq!(told(update), [Told::Rewired(Rings::Empty)]);
    }

    /// Of each change: what was handed over before this is not concerned.
    fn since(update: Update) -> Option<u64> {
        match update.changes.into_iter().flatten().last()? {
            InterfaceChange::Down(_, since) | InterfaceChange::Rewired(_, since) => {
                Some(since.as_nanos())
            }
            _ => None,
        }
    }

    #[test]
    fn a_change_is_about_what_was_sent_while_the_port_had_its_link() {
        let mut ports = Ports::new();
        let both = [port(0, UP, Purge::Init), port(1, UP, Purge::Init)];
        let first_lost = [port(0, NO_LINK, Purge::Init), port(1, UP, Purge::Init)];
        let second_lost = [port(0, UP, Purge::Init), port(1, NO_LINK, Purge::Init)];
        let at = |now, ports| Look {
            now: Instant::from_nanos(now),
            ..look(ports)
        };
        let _ = ports.update(&at(10, &both));
        assert_eq!(since(ports.update(&at(20, &first_lost))), Some(10));
        // It was emptied after that, and releases nothing when it is back.
        assert_eq!(since(ports.update(&at(30, &first_lost))), Some(10));
        assert_eq!(since(ports.update(&at(40, &both))), Some(40));
        // From here on it has what was sent since 40; the other one what was sent since 10.
        assert_eq!(since(ports.update(&at(50, &first_lost))), Some(40));
        // Its link is back before it was emptied.
        assert_eq!(since(ports.update(&at(60, &both))), Some(40));
        assert_eq!(since(ports.update(&at(70, &second_lost))), Some(10));
        assert_eq!(since(ports.update(&at(80, &second_lost))), Some(10));
        // What one still keeps counts, whatever the other does.
        let neither = [
            port(0, NO_LINK, Purge::Never),
            port(1, NO_LINK, Purge::Init),
        ];
        assert_eq!(since(ports.update(&at(90, &neither))), Some(60));
        let again = [port(0, NO_LINK, Purge::Never), port(1, UP, Purge::Init)];
        assert_eq!(since(ports.update(&at(100, &again))), Some(60));
    }

    #[test]
    fn those_that_share_by_address_divide_anew() {
        let mut ports = Ports::new();
        let mut three = [0, 1, 2].map(|id| port(id, UP, Purge::Flush));
        let _ = ports.update(&shared(&three, Sharing::Hash));
        assert!(ports.is_in_order());
        three[0].state = NO_LINK;
        let update = ports.update(&shared(&three, Sharing::Hash));
        assert_eq!(told(update), [Told::Rewired(Rings::Unknown)]);
        three[1].state = NO_LINK;
        let update = ports.update(&shared(&three, Sharing::Hash));
        assert_eq!(told(update), [Told::Rewired(Rings::Empty)]);
    }

    #[test]
    fn a_bridge_fills_a_ring_without_link_again_and_again() {
        let mut ports = Ports::new();
        let mut both = [port(0, UP, Purge::Init), port(1, UP, Purge::Init)];
        both.iter_mut().for_each(|port| port.blind = true);
        let _ = ports.update(&shared(&both, Sharing::Mixed));
        assert!(!ports.is_in_order());
        both[1].state = NO_LINK;
        let mut seen = shared(&both, Sharing::Mixed);
        assert_eq!(ports.update(&seen).init, PortSet(2));
        let emptied = ports.update(&seen);
        assert_eq!(told(emptied), [Told::Rewired(Rings::Empty)]);
        assert_eq!(ports.lost(&both), PortSet(2));
        let again = ports.update(&seen);
        assert!(told(again).is_empty() && again.init == PortSet(2));
        seen.may_hold = false;
        assert!(ports.update(&seen).init.is_empty());
    }

    #[test]
    fn a_bridge_with_a_port_that_nothing_empties_is_not_used() {
        let mut ports = Ports::new();
        let mut both = [port(0, UP, Purge::Init), port(1, NO_LINK, Purge::Never)];
        both[1].blind = true;
        let update = ports.update(&look(&both));
        assert!(told(update).is_empty() && !ports.is_usable());
        both[1].state = STOPPED;
        assert_eq!(told(ports.update(&look(&both))), [Told::Up]);
    }

    #[test]
    fn a_port_that_leaves_is_looked_at_until_it_keeps_nothing() {
        let mut ports = pair(Purge::Init);
        let mut both = [port(0, NO_LINK, Purge::Init), port(1, UP, Purge::Init)];
        both[0].below = false;
        let update = ports.update(&look(&both));
        assert_eq!(update.init, PortSet(1));
        assert_eq!(told(update), [Told::Rewired(Rings::Held)]);
        assert_eq!(ports.left(), PortSet(1));
        assert_eq!((ports.below(), ports.with_link()), (PortSet(2), PortSet(2)));
        let update = ports.update(&look(&both));
        assert_eq!(told(update), [Told::Rewired(Rings::Empty)]);
        assert!(ports.left().is_empty());
        // One with link sends what it has, but after what goes by the others.
        let mut ports = pair(Purge::Init);
        both[0].state = UP;
        let update = ports.update(&look(&both));
        assert_eq!(told(update), [Told::Rewired(Rings::Unknown)]);
        assert!(ports.left().is_empty());
        // One whose driver is detached has freed its ring.
        let mut ports = pair(Purge::Never);
        let update = ports.update(&look(&both[1..]));
        assert_eq!(told(update), [Told::Rewired(Rings::Unknown)]);
        assert_eq!(ports.below(), PortSet(2));
    }

    #[test]
    fn a_port_that_joins_mixes_what_is_on_its_way() {
        let mut ports = pair(Purge::Flush);
        let three = [0, 1, 2].map(|id| port(id, UP, Purge::Flush));
        let update = ports.update(&look(&three));
        assert_eq!(told(update), [Told::Rewired(Rings::Unknown)]);
        let mut seen = look(&three);
        seen.sharing = Sharing::Mixed;
        let update = ports.update(&seen);
        assert_eq!(told(update), [Told::Rewired(Rings::Unknown)]);
        assert!(!ports.is_in_order());
    }

    #[test]
    fn of_what_cannot_be_seen_nothing_is_claimed() {
        let mut ports = Ports::new();
        let mut seen = look(&[]);
        seen.sharing = Sharing::Opaque;
        assert_eq!(told(ports.update(&seen)), [Told::Up]);
        assert!(!ports.is_in_order());
        seen.ready = false;
        let update = ports.update(&seen);
        assert_eq!(told(update), [Told::Down(Rings::Unknown)]);
    }

    #[test]
    fn more_ports_than_there_is_room_for_are_no_panic() {
        let mut ports = Ports::new();
        let many: std::vec::Vec<Port> = (0..40).map(|id| port(id, UP, Purge::Flush)).collect();
        let _ = ports.update(&look(&many));
        assert_eq!(ports.below().iter().count(), MAX_PORTS);
        assert_eq!(PortSet(0).iter().count(), 0);
        assert!(!PortSet(u32::MAX).has(PortId(32)));
    }
}
