// SPDX-License-Identifier: BSD-2-Clause
//! The ports below an interface: their transmit rings, their links, and what a driver's flush does to them.
//!
//! As in FreeBSD: a ring keeps what it is given while the port has no link, and sends it when the link is back,
//! hours later if need be (iflib(9), vtnet(4)). `if_qflush` of a vlan(4) or a bridge does nothing; that of iflib
//! does nothing while there is no link; `if_init` empties the ring. A lagg(4) goes on by another port, and no
//! event of its own says so.

use std::rc::Rc;

use aoe_core::{InterfaceChange, NetifId, Rings};
use aoe_target::Mac;

use crate::options::{Flush, NetPortOptions, Plant, SEC, Sharing};
use crate::world::{Netif, What, World};

/// A port of an interface.
#[derive(Clone, Debug)]
pub struct NetPort {
    /// It has link.
    pub up: bool,
    /// The kernel has noticed that it has.
    pub(crate) seen_up: bool,
    /// It has no link, and its ring was emptied since it lost that.
    emptied: bool,
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
            emptied: false,
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
    /// The kernel knows of this port's state itself, without waiting for an event.
    fn is_single(&self) -> bool {
        self.ports.len() == 1
    }

    /// It has link as the kernel sees it. A bridge goes on giving frames to a member without link: with one that
    /// nothing empties it is not used.
    fn has_link(&self, knows_ports: bool) -> bool {
        let spoiled = |port: &NetPort| !port.seen_up && port.options.flush == Flush::Nothing;
        self.ports.iter().any(|port| port.seen_up)
            && !(knows_ports && self.sharing == Sharing::Bridge && self.ports.iter().any(spoiled))
    }

    /// What its ports keep when one of them has lost its link, or was emptied after that.
    fn rings(&self) -> Rings {
        let with_link = self.ports.iter().filter(|port| port.seen_up).count();
        if self.ports.iter().any(|port| !port.seen_up && !port.emptied) {
            Rings::Held
        } else if self.sharing == Sharing::Hash && with_link > 1 {
            // Those that have link divide the frames anew.
            Rings::Unknown
        } else {
            Rings::Empty
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
        let Some(one) = self.netifs.get_mut(netif) else {
            return;
        };
        if !one.listed || one.told_down {
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

    /// The kernel has noticed that a port's link is gone, or back.
    pub(crate) fn notice(&mut self, netif: usize, port: usize) {
        let Some(one) = self.port_mut(netif, port) else {
            return;
        };
        if one.up == one.seen_up {
            return;
        }
        one.seen_up = one.up;
        one.emptied = false;
        let is_up = one.up;
        let knows = self.knows_ports(netif);
        if let Some(one) = self.netifs.get_mut(netif) {
            one.up = one.has_link(knows);
        }
        match (is_up, knows) {
            (true, _) => self.note_link_back(netif),
            (false, true) => self.note_link_lost(netif, port),
            (false, false) => self.note_unknown(netif),
        }
    }

    /// The caller can look below the interface: it is a NIC itself, or the caller knows how.
    fn knows_ports(&self, netif: usize) -> bool {
        self.options.host.follow
            || self
                .netifs
                .get(netif)
                .is_some_and(|one| one.is_single() && !one.vlan && one.sharing != Sharing::Bridge)
    }

    /// Frames of a flow leave by one port, as far as the caller knows.
    pub(crate) fn is_in_order(&self, netif: usize) -> bool {
        let one = self.netifs.get(netif);
        let by_one_port = one.is_some_and(|one| {
            one.is_single() || matches!(one.sharing, Sharing::Failover | Sharing::Hash)
        });
        self.planted(Plant::ClaimOrder) || by_one_port && self.knows_ports(netif)
    }

    /// The links of the ports are as the caller was told. While they are not, a lagg may use another port than the
    /// engine knows of: nothing is sent by it, and what comes in is thrown away.
    pub(crate) fn is_settled(&self, netif: usize) -> bool {
        let Some(one) = self.netifs.get(netif).filter(|one| !one.is_single()) else {
            return true;
        };
        let told = |port: &NetPort| port.up == port.seen_up;
        self.planted(Plant::LookLate) || !self.knows_ports(netif) || one.ports.iter().all(told)
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

    /// A port lost its link. Its ring is emptied, as far as its driver lets the caller; a driver carries more than
    /// our frames, so it is initialised again only if there may be a write in it.
    fn note_link_lost(&mut self, netif: usize, port: usize) {
        let needed = self.may_hold_writes(netif);
        let delay = self.options.host.init_delay;
        let Some(one) = self.port_mut(netif, port) else {
            return;
        };
        match one.options.flush {
            Flush::Works => self.empty_ring(netif, port),
            _ if !needed => one.emptied = true,
            Flush::AfterInit if delay == 0 => {
                self.empty_ring(netif, port);
                self.inits += 1;
            }
            Flush::AfterInit => {
                let at = self.now + self.rng.below(delay + 1);
                self.schedule(at, What::Initialised(netif, port));
            }
            Flush::Nothing => {}
        }
        self.tell_rings(netif);
        self.look_again(netif, port);
    }

    /// A bridge goes on giving frames to a member without link, until it hears the other side by another one.
    fn look_again(&mut self, netif: usize, port: usize) {
        let one = self.netifs.get(netif);
        if one.is_some_and(|one| one.sharing == Sharing::Bridge && !one.is_single()) {
            self.schedule(self.now + SEC, What::Initialised(netif, port));
        }
    }

    fn empty_ring(&mut self, netif: usize, port: usize) {
        let does_nothing = self.planted(Plant::BelieveFlush);
        let Some(one) = self.port_mut(netif, port) else {
            return;
        };
        one.emptied = true;
        if does_nothing {
            return;
        }
        one.ring.clear();
        if let Some(mac) = self.netifs.get(netif).map(|one| one.mac) {
            self.empty_wire(mac);
        }
    }

    /// The driver of a port without link was initialised again, if there was a need.
    pub(crate) fn initialised(&mut self, netif: usize, port: usize) {
        let listed = self.netifs.get(netif).is_some_and(|one| one.listed);
        let works =
            |one: &&mut NetPort| !one.up && !one.seen_up && one.options.flush != Flush::Nothing;
        let Some(one) = self.port_mut(netif, port).filter(works) else {
            return;
        };
        let first = !one.emptied;
        if !listed {
            return;
        }
        if first || self.may_hold_writes(netif) {
            self.empty_ring(netif, port);
            self.inits += 1;
        }
        if first {
            self.tell_rings(netif);
        }
        self.look_again(netif, port);
    }

    /// Tells the engine what the ports without link keep, and that the interface has none or goes on.
    fn tell_rings(&mut self, netif: usize) {
        let unseen = self.planted(Plant::IgnorePorts);
        let lie = self.planted(Plant::IgnoreDown);
        let Some(one) = self.netifs.get_mut(netif).filter(|one| one.listed) else {
            return;
        };
        let rings = one.rings();
        if lie || one.up && unseen {
            return;
        }
        if one.up || one.told_down {
            self.tell_interface(netif, InterfaceChange::Rewired(rings));
        } else {
            one.told_down = true;
            self.tell_interface(netif, InterfaceChange::Down(rings));
        }
    }

    /// An interface into which the caller cannot look may have no link any more.
    fn note_unknown(&mut self, netif: usize) {
        let lie = self.planted(Plant::IgnoreDown);
        if let Some(one) = self.netifs.get_mut(netif)
            && one.listed
            && !(one.up || one.told_down || lie)
        {
            one.told_down = true;
            self.tell_interface(netif, InterfaceChange::Down(Rings::Unknown));
        }
    }

    /// A port has its link again, and what is in its ring leaves.
    fn note_link_back(&mut self, netif: usize) {
        let unseen = self.planted(Plant::IgnoreReturn);
        let Some(one) = self
            .netifs
            .get_mut(netif)
            .filter(|one| one.listed && one.up)
        else {
            return;
        };
        if one.told_down {
            self.tell_up(netif);
        }
        let Some(one) = self.netifs.get(netif).filter(|one| !one.is_single()) else {
            return;
        };
        let rings = match one.rings() {
            Rings::Held => Rings::Held,
            _ => Rings::Unknown,
        };
        if self.knows_ports(netif) && !unseen {
            self.tell_interface(netif, InterfaceChange::Rewired(rings));
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
        if back {
            // It is found as it is.
            one.told_down = true;
        }
        for port in self.ports_of(netif) {
            self.port_up(netif, port);
        }
        let found = |one: &Netif| one.listed && one.up && one.told_down;
        if back && self.netifs.get(netif).is_some_and(found) {
            self.tell_up(netif);
        }
    }

    fn tell_up(&mut self, netif: usize) {
        if let Some(one) = self.netifs.get_mut(netif) {
            one.told_down = false;
            self.tell_interface(netif, InterfaceChange::Up);
        }
    }

    /// An interface leaves, and its ports with it: a driver that is detached frees its rings.
    pub(crate) fn netif_gone(&mut self, netif: usize) {
        let Some(one) = self.netifs.get_mut(netif).filter(|one| one.listed) else {
            return;
        };
        one.listed = false;
        one.up = false;
        one.told_down = false;
        for port in &mut one.ports {
            port.up = false;
            port.seen_up = false;
            port.emptied = true;
            port.ring.clear();
        }
        self.tell_interface(netif, InterfaceChange::Gone);
    }
}
