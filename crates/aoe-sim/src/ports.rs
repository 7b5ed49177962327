// SPDX-License-Identifier: BSD-2-Clause
//! The ports below an interface: their transmit rings, their links, and what a driver's flush does to them.
//!
//! As in FreeBSD: a ring keeps what it is given while the port has no link, and sends it when the link is back,
//! hours later if need be (iflib(9), vtnet(4)). `if_qflush` of a vlan(4) or a bridge does nothing; that of iflib
//! does nothing while there is no link; `if_init` empties the ring. A lagg(4) goes on by another port, and no
//! event of its own says so.

use std::rc::Rc;

use aoe_core::{
    InterfaceChange, Look, NetifId, Port, PortId, PortSet, PortState, Ports, Purge, Update,
};
use aoe_target::Mac;

use crate::options::{Flush, NetPortOptions, Plant, SEC, Sharing};
use crate::world::{Netif, What, World};

/// A port of an interface.
#[derive(Clone, Debug)]
pub struct NetPort {
    /// It has link.
    pub up: bool,
    /// It had when the owner of the interfaces looked last.
    pub(crate) seen_up: bool,
    options: NetPortOptions,
    /// Frames that wait for the link, or for the end of a pause.
    ring: Vec<Rc<[u8]>>,
    /// It passes nothing on before then: the other end of its cable says pause.
    paused_until: u64,
}

impl NetPort {
    pub(crate) fn new(options: &NetPortOptions) -> Self {
        Self {
            up: true,
            seen_up: true,
            options: *options,
            ring: Vec::new(),
            paused_until: 0,
        }
    }

    /// Frames in its ring.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.ring.len()
    }

    /// What is in the ring leaves.
    fn sends(&self, now: u64) -> bool {
        self.up && self.paused_until <= now
    }
}

impl Netif {
    /// A NIC by itself, or something above one.
    fn is_single(&self) -> bool {
        self.ports.len() == 1
    }

    /// Its ports, as they are seen at a look.
    fn seen(&self) -> Vec<Port> {
        let blind = self.sharing == Sharing::Bridge && !self.is_single();
        let seen = |(number, port): (usize, &NetPort)| Port {
            id: port_id(number),
            state: if port.seen_up {
                PortState::Up
            } else {
                PortState::NoLink
            },
            purge: match port.options.flush {
                Flush::Works => Purge::Flush,
                Flush::AfterInit => Purge::Init,
                Flush::Nothing => Purge::Never,
            },
            blind,
            below: true,
        };
        self.ports.iter().enumerate().map(seen).collect()
    }

    /// How the engine's owner says that its ports share its frames.
    fn told_sharing(&self) -> aoe_core::Sharing {
        match self.sharing {
            _ if self.is_single() => aoe_core::Sharing::Failover,
            Sharing::Failover => aoe_core::Sharing::Failover,
            Sharing::Hash => aoe_core::Sharing::Hash,
            Sharing::RoundRobin | Sharing::Bridge => aoe_core::Sharing::Mixed,
        }
    }

    /// The ports that a frame to this address leaves by.
    fn ports_for(&mut self, dst: Mac) -> Vec<usize> {
        if self.is_single() {
            return vec![0];
        }
        // Of the links themselves, before anybody was told of them.
        let with_link = |port: &usize| self.ports.get(*port).is_some_and(|port| port.up);
        let usable: Vec<usize> = (0..self.ports.len()).filter(with_link).collect();
        let chosen = match self.sharing {
            Sharing::Bridge if dst[0] & 1 != 0 => return usable,
            Sharing::Bridge => Some(self.learned.get(&dst).copied().unwrap_or(0)),
            Sharing::Failover => usable.first().copied(),
            Sharing::RoundRobin => {
                self.turn += 1;
                usable.get(self.turn % usable.len().max(1)).copied()
            }
            Sharing::Hash => {
                let hash = dst.iter().map(|byte| usize::from(*byte)).sum::<usize>();
                usable.get(hash % usable.len().max(1)).copied()
            }
        };
        chosen.into_iter().collect()
    }
}

impl World<'_> {
    pub(crate) fn port_mut(&mut self, netif: usize, port: usize) -> Option<&mut NetPort> {
        self.netifs.get_mut(netif)?.ports.get_mut(port)
    }

    /// A frame goes to its interface, which may have gone down since it was polled.
    pub(crate) fn send(&mut self, netif: usize, frame: &Rc<[u8]>) {
        let lie = self.planted(Plant::IgnoreDown);
        let Some(one) = self.netifs.get_mut(netif) else {
            return;
        };
        if !one.listed || !(one.told.is_usable() || lie) {
            return;
        }
        let dst = frame.first_chunk::<6>().copied().unwrap_or_default();
        for port in one.ports_for(dst) {
            self.hand_to_port(netif, port, frame);
        }
    }

    fn hand_to_port(&mut self, netif: usize, port: usize, frame: &Rc<[u8]>) {
        let now = self.now;
        let Some(one) = self.port_mut(netif, port) else {
            return;
        };
        if one.sends(now) {
            self.wire_from_host(netif, port, frame);
        } else if one.up || one.options.keeps {
            one.ring.push(frame.clone());
        }
    }

    /// An address was heard by an interface.
    pub(crate) fn learn(&mut self, netif: usize, src: Mac) {
        if let Some(one) = self.netifs.get_mut(netif)
            && one.sharing == Sharing::Bridge
            && let Some(port) = one.ports.iter().position(|port| port.up)
        {
            one.learned.insert(src, port);
        }
    }

    /// Nothing leaves a port before then.
    pub(crate) fn pause(&mut self, netif: usize, port: usize, until: u64) {
        if let Some(one) = self.port_mut(netif, port) {
            one.paused_until = one.paused_until.max(until);
            self.schedule(until, What::Unpause(netif, port));
        }
    }

    /// What waits in the ring of a port leaves, if it can.
    pub(crate) fn unpause(&mut self, netif: usize, port: usize) {
        let now = self.now;
        if let Some(one) = self.port_mut(netif, port).filter(|one| one.sends(now)) {
            for frame in std::mem::take(&mut one.ring) {
                self.wire_from_host(netif, port, &frame);
            }
        }
    }

    /// The numbers of an interface's ports.
    pub(crate) fn ports_of(&self, netif: usize) -> std::ops::Range<usize> {
        0..self.netifs.get(netif).map_or(0, |one| one.ports.len())
    }

    /// No port of an interface is told to pause any more.
    pub(crate) fn end_pauses(&mut self, netif: usize) {
        for port in self.ports_of(netif) {
            if let Some(one) = self.port_mut(netif, port) {
                one.paused_until = 0;
            }
            self.unpause(netif, port);
        }
    }

    /// All ports of an interface lose their link.
    pub(crate) fn netif_down(&mut self, netif: usize) {
        for port in self.ports_of(netif) {
            self.port_down(netif, port);
        }
    }

    pub(crate) fn port_down(&mut self, netif: usize, port: usize) {
        let Some(one) = self.port_mut(netif, port).filter(|one| one.up) else {
            return;
        };
        one.up = false;
        // It is told anew when there is link again.
        one.paused_until = 0;
        if !one.options.keeps {
            one.ring.clear();
        }
        if let Some(one) = self.netifs.get_mut(netif).filter(|one| one.is_single()) {
            one.up = false;
        }
        let delay = self.rng.below(self.options.host.notice_delay + 1);
        if delay == 0 {
            self.notice(netif, port);
        } else {
            self.schedule(self.now + delay, What::Notice(netif, port));
        }
    }

    /// The owner of the interfaces looks at a port, whose link is gone or back.
    pub(crate) fn notice(&mut self, netif: usize, port: usize) {
        let Some(one) = self.port_mut(netif, port) else {
            return;
        };
        if one.up == one.seen_up {
            return;
        }
        one.seen_up = one.up;
        let is_up = one.up;
        self.look(netif, is_up);
    }

    /// The owner can look below the interface: it is a NIC itself, or the owner knows how.
    fn knows_ports(&self, netif: usize) -> bool {
        self.options.host.follow
            || self
                .netifs
                .get(netif)
                .is_some_and(|one| one.is_single() && !one.vlan && one.sharing != Sharing::Bridge)
    }

    /// Frames of a flow leave by one port, as far as the owner knows.
    pub(crate) fn is_in_order(&self, netif: usize) -> bool {
        let one = self.netifs.get(netif);
        self.planted(Plant::ClaimOrder) || one.is_some_and(|one| one.told.is_in_order())
    }

    /// The links of the ports are as the engine was told. While they are not, a lagg may use another port than the
    /// engine knows of: nothing is sent by it, and what comes in is thrown away.
    pub(crate) fn is_settled(&self, netif: usize) -> bool {
        let Some(one) = self.netifs.get(netif).filter(|one| !one.is_single()) else {
            return true;
        };
        let mut with_link = PortSet::NONE;
        for (number, _) in one.ports.iter().enumerate().filter(|(_, port)| port.up) {
            with_link.add(port_id(number));
        }
        self.planted(Plant::LookLate)
            || !self.knows_ports(netif)
            || one.told.with_link() == with_link
    }

    /// Writes of ours may be in the rings of an interface.
    fn may_hold_writes(&self, netif: usize) -> bool {
        let id = NetifId(u8::try_from(netif).unwrap_or(u8::MAX));
        self.initiator.may_hold_writes(self.instant(), id)
            || self
                .slots
                .values()
                .any(|slot| slot.target.may_hold_writes(id))
    }

    /// A look at an interface ([`aoe_core::Ports`]): what can be emptied is, and the engine is told what was found.
    /// `returned`: for the reason that a link is back.
    pub(crate) fn look(&mut self, netif: usize, returned: bool) {
        if self.look_once(netif, returned) {
            // What was initialised at once is empty now.
            self.look_once(netif, returned);
        }
        self.look_again(netif);
    }

    /// True if a driver was initialised again at once.
    fn look_once(&mut self, netif: usize, returned: bool) -> bool {
        let Some(update) = self.update_ports(netif) else {
            return false;
        };
        let mut again = false;
        for id in update.init.iter() {
            again |= self.init_driver(netif, usize::from(id.0));
        }
        if let Some(one) = self.netifs.get_mut(netif)
            && update.changes != [None; 2]
        {
            one.changes += 1;
        }
        for change in update.changes.into_iter().flatten() {
            self.tell_of_ports(netif, change, returned);
        }
        again
    }

    pub(crate) fn update_ports(&mut self, netif: usize) -> Option<Update> {
        let known = self.knows_ports(netif);
        let one = self.netifs.get(netif).filter(|one| one.listed)?;
        let seen = if known { one.seen() } else { Vec::new() };
        for id in one.told.lost(&seen).iter() {
            let port = usize::from(id.0);
            let flush = self.port_mut(netif, port).map(|one| one.options.flush);
            if flush == Some(Flush::Works) {
                self.empty_ring(netif, port);
            }
        }
        let may_hold = self.may_hold_writes(netif);
        let now = self.instant();
        let one = self.netifs.get_mut(netif)?;
        let ready = one.ports.iter().any(|port| port.seen_up);
        let sharing = if known {
            one.told_sharing()
        } else {
            aoe_core::Sharing::Opaque
        };
        let update = one.told.update(&Look {
            now,
            ready,
            sharing,
            ports: &seen,
            may_hold,
            in_init: one.in_init,
        });
        one.up = one.told.is_usable();
        Some(update)
    }

    /// Has a driver initialised again; true if that was done at once.
    fn init_driver(&mut self, netif: usize, port: usize) -> bool {
        let delay = self.options.host.init_delay;
        if delay == 0 {
            self.empty_ring(netif, port);
            self.inits += 1;
            return true;
        }
        if let Some(one) = self.netifs.get_mut(netif) {
            one.in_init.add(port_id(port));
        }
        let at = self.now + self.rng.below(delay + 1);
        self.schedule(at, What::Initialised(netif, port));
        false
    }

    /// A driver was initialised again, which nobody does to a port that has its link back.
    pub(crate) fn initialised(&mut self, netif: usize, port: usize) {
        let Some(one) = self.netifs.get_mut(netif) else {
            return;
        };
        one.in_init.remove(port_id(port));
        let works = one.listed && one.ports.get(port).is_some_and(|port| !port.up);
        if works {
            self.empty_ring(netif, port);
            self.inits += 1;
        }
        self.look(netif, false);
    }

    /// A bridge goes on giving frames to a member without link, until it hears the other side by another one: it is
    /// looked at once a second.
    fn look_again(&mut self, netif: usize) {
        let at = self.now + SEC;
        let Some(one) = self.netifs.get_mut(netif) else {
            return;
        };
        let without_link = one.ports.iter().any(|port| !port.seen_up);
        let bridge = one.sharing == Sharing::Bridge && !one.is_single();
        if bridge && without_link && !one.looks_again {
            one.looks_again = true;
            self.schedule(at, What::Look(netif));
        }
    }

    /// A second has passed.
    pub(crate) fn look_regularly(&mut self, netif: usize) {
        if let Some(one) = self.netifs.get_mut(netif) {
            one.looks_again = false;
            self.look(netif, false);
        }
    }

    fn empty_ring(&mut self, netif: usize, port: usize) {
        if self.planted(Plant::BelieveFlush) {
            return;
        }
        if let Some(one) = self.port_mut(netif, port) {
            one.ring.clear();
        }
        if let Some(mac) = self.netifs.get(netif).map(|one| one.mac) {
            self.empty_wire(mac);
        }
    }

    /// Tells the engine of an interface, unless a mistake is planted there.
    fn tell_of_ports(&mut self, netif: usize, change: InterfaceChange, returned: bool) {
        let usable = self.netifs.get(netif).is_some_and(|one| one.up);
        let unsaid = match change {
            InterfaceChange::Down(..) => self.planted(Plant::IgnoreDown),
            InterfaceChange::Rewired(..) if returned => self.planted(Plant::IgnoreReturn),
            InterfaceChange::Rewired(..) if usable => self.planted(Plant::IgnorePorts),
            InterfaceChange::Rewired(..) => self.planted(Plant::IgnoreDown),
            _ => false,
        };
        if !unsaid {
            self.tell_interface(netif, change);
        }
    }

    pub(crate) fn port_up(&mut self, netif: usize, port: usize) {
        let Some(one) = self.port_mut(netif, port).filter(|one| !one.up) else {
            return;
        };
        one.up = true;
        self.unpause(netif, port);
        let single = self.netifs.get_mut(netif).filter(|one| one.is_single());
        let delay = match single {
            Some(one) => {
                one.up = true;
                0
            }
            None => self.rng.below(self.options.host.notice_delay + 1),
        };
        if delay == 0 {
            self.notice(netif, port);
        } else {
            self.schedule(self.now + delay, What::Notice(netif, port));
        }
    }

    /// All ports of an interface have their link again, and it is back if it was gone.
    pub(crate) fn netif_up(&mut self, netif: usize) {
        let planned = self
            .options
            .netifs
            .get(netif)
            .is_some_and(|netif| netif.listed);
        let Some(one) = self.netifs.get_mut(netif) else {
            return;
        };
        let back = planned && !one.listed;
        one.listed = planned;
        for port in self.ports_of(netif) {
            self.port_up(netif, port);
        }
        if back {
            // It is found as it is.
            self.look(netif, true);
        }
    }

    /// An interface leaves, and its ports with it: a driver that is detached frees its rings.
    pub(crate) fn netif_gone(&mut self, netif: usize) {
        let Some(one) = self.netifs.get_mut(netif).filter(|one| one.listed) else {
            return;
        };
        one.listed = false;
        one.up = false;
        one.told = Ports::new();
        for port in &mut one.ports {
            port.up = false;
            port.seen_up = false;
            port.ring.clear();
        }
        self.tell_interface(netif, InterfaceChange::Gone);
    }
}

/// The number of a port, for the engine.
fn port_id(number: usize) -> PortId {
    PortId(u8::try_from(number).unwrap_or(u8::MAX))
}
