// SPDX-License-Identifier: BSD-2-Clause
//! The ports below an interface: their transmit rings, their links, and what a driver's flush does to them.
//!
//! As in FreeBSD: a ring keeps what it is given while the port has no link, and sends it when the link is back,
//! hours later if need be (iflib(9), vtnet(4)). `if_qflush` of a vlan(4) or a bridge does nothing; that of iflib
//! does nothing while there is no link; `if_init` empties the ring. A lagg(4) goes on by another port, and no
//! event of its own says so.

use std::rc::Rc;

use aoe_core::InterfaceChange;
use aoe_target::Mac;

use crate::options::{Flush, NetPortOptions, Plant, Sharing};
use crate::world::{Netif, What, World};

/// A port of an interface.
#[derive(Clone, Debug)]
pub struct NetPort {
    /// It has link.
    pub up: bool,
    /// The kernel has noticed that it has.
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
    /// The kernel knows of this port's state itself, without waiting for an event.
    fn is_single(&self) -> bool {
        self.ports.len() == 1
    }

    /// The ports that a frame to this address leaves by.
    fn ports_for(&mut self, dst: Mac) -> Vec<usize> {
        if self.is_single() {
            return vec![0];
        }
        let with_link = |port: &usize| self.ports.get(*port).is_some_and(|port| port.seen_up);
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

    pub(crate) fn hand_to_port(&mut self, netif: usize, port: usize, frame: &Rc<[u8]>) {
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
        let seen_up = one.seen_up;
        let Some(one) = self.netifs.get_mut(netif) else {
            return;
        };
        let was_up = one.up || one.is_single();
        one.up = one.ports.iter().any(|port| port.seen_up);
        let is_up = one.up;
        if seen_up && is_up && !was_up {
            self.netif_is_back(netif);
        } else if !is_up && was_up {
            self.notice_down(netif);
        }
    }

    /// The caller has noticed that an interface has no link: it is emptied as far as that is possible, then the
    /// engine is told.
    fn notice_down(&mut self, netif: usize) {
        let lie = self.options.plant == Some(Plant::IgnoreDown);
        let Some(one) = self.netifs.get_mut(netif) else {
            return;
        };
        if one.up || !one.listed || one.told_down || lie {
            return;
        }
        one.told_down = true;
        let mac = one.mac;
        // What the flush of the interface itself does; one that is a NIC is initialised again.
        let does_nothing = one.vlan || one.sharing == Sharing::Bridge;
        let single = one.is_single();
        let mut empty = true;
        for port in &mut one.ports {
            let works = match port.options.flush {
                _ if does_nothing => false,
                Flush::Works => true,
                Flush::AfterInit => single,
                Flush::Nothing => false,
            };
            if works {
                port.ring.clear();
            }
            empty &= works;
        }
        if empty {
            self.empty_wire(mac);
        }
        self.tell_interface(netif, InterfaceChange::Down);
    }

    pub(crate) fn initialised(&mut self, _netif: usize, _port: usize) {}

    pub(crate) fn port_up(&mut self, netif: usize, port: usize) {
        let Some(one) = self.port_mut(netif, port).filter(|one| !one.up) else {
            return;
        };
        one.up = true;
        self.unpause(netif, port);
        if let Some(one) = self.netifs.get_mut(netif).filter(|one| one.is_single()) {
            one.up = true;
            if let Some(port) = one.ports.first_mut() {
                port.seen_up = true;
            }
            self.netif_is_back(netif);
        } else {
            self.notice(netif, port);
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
            self.tell_up(netif);
        }
    }

    fn netif_is_back(&mut self, netif: usize) {
        let news = self
            .netifs
            .get(netif)
            .is_some_and(|one| one.listed && one.told_down);
        if news {
            self.tell_up(netif);
        }
    }

    fn tell_up(&mut self, netif: usize) {
        if let Some(one) = self.netifs.get_mut(netif).filter(|one| one.up) {
            one.told_down = false;
            self.tell_interface(netif, InterfaceChange::Up);
        }
    }

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
            port.ring.clear();
        }
        self.tell_interface(netif, InterfaceChange::Gone);
    }
}
