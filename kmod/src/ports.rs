// SPDX-License-Identifier: BSD-2-Clause
//! The ports below a listed interface: looked at, emptied when they lose their link, and told of.
//!
//! What follows from what is seen is decided by [`aoe_core::Ports`].

use core::fmt::{self, Write};

use aoe_core::limits::MAX_PORTS;
use aoe_core::{
    InterfaceChange, Look, NetifId, Port, PortId, PortSet, PortState, Ports, Purge, Sharing,
};

use crate::ffi::{self, PortSeen, Stack};
use crate::text::Text;
use crate::{cell, hub, report};

/// What is below one listed interface.
pub(crate) struct Below {
    told: Ports,
    /// The interface is its own port.
    direct: bool,
    sharing: Sharing,
    /// Of which ports the console was told.
    said: PortSet,
    /// Which port keeps frames, as the console was told.
    said_holding: PortSet,
}

/// Ports as they are seen.
struct Seen {
    ports: [Port; MAX_PORTS],
    count: usize,
    in_init: PortSet,
}

impl Seen {
    const NONE: Port = Port {
        id: PortId(0),
        state: PortState::Stopped,
        purge: Purge::Never,
        blind: false,
        below: false,
    };

    /// Looks at those below an interface, and at those that were and may keep frames of it.
    fn new(stack: &Stack, left: PortSet) -> Self {
        let mut seen = Self {
            ports: [Self::NONE; MAX_PORTS],
            count: 0,
            in_init: PortSet::NONE,
        };
        for id in stack.ports.union(left).iter() {
            let Some(port) = ffi::look_at_port(id) else {
                continue;
            };
            let Some(place) = seen.ports.get_mut(seen.count) else {
                break;
            };
            *place = Port {
                id,
                state: port.state,
                purge: port.purge,
                blind: stack.blind.has(id),
                below: stack.ports.has(id),
            };
            seen.count += 1;
            if port.in_init {
                seen.in_init.add(id);
            }
        }
        seen
    }

    fn ports(&self) -> &[Port] {
        self.ports.get(..self.count).unwrap_or(&[])
    }
}

impl Below {
    pub(crate) const fn new() -> Self {
        Self {
            told: Ports::new(),
            direct: true,
            sharing: Sharing::Failover,
            said: PortSet::NONE,
            said_holding: PortSet::NONE,
        }
    }

    /// Ports in which it is interested.
    pub(crate) fn all(&self) -> PortSet {
        self.told.below().union(self.told.left())
    }

    /// Looks, empties what lost its link, and says what the targets are to be told. Sleeps, not for memory. When
    /// they were told, [`Below::settle`] opens the interface.
    pub(crate) fn look(&mut self, id: NetifId) -> [Option<InterfaceChange>; 2] {
        let Some(mut stack) = ffi::look_below(id) else {
            return [None; 2];
        };
        if stack.ports.iter().count() > MAX_PORTS {
            stack.ports = PortSet::NONE;
            stack.sharing = Sharing::Opaque;
        }
        let seen = Seen::new(&stack, self.told.left());
        let lost = self.told.lost(seen.ports());
        if !lost.is_empty() {
            ffi::flush_ports(lost);
        }
        // All targets are asked only where that decides something, and not once a second while a cable is out.
        let matters = !lost.is_empty() || !self.told.holding().is_empty();
        let update = self.told.update(&Look {
            now: ffi::now(),
            ready: stack.ready,
            sharing: stack.sharing,
            ports: seen.ports(),
            may_hold: matters && may_hold_writes(id),
            in_init: seen.in_init,
        });
        self.direct = stack.direct;
        self.sharing = stack.sharing;
        if !update.init.is_empty() {
            ffi::init_ports(update.init);
        }
        // Frames and answers of others than what the targets know of must not pass meanwhile.
        if update.changes != [None; 2] {
            self.settle(id, true);
        }
        update.changes
    }

    /// The targets were told (`telling` is false), or are about to be.
    pub(crate) fn settle(&self, id: NetifId, telling: bool) {
        // A NIC speaks for itself.
        let (ports, with_link) = if self.direct {
            (PortSet::NONE, PortSet::NONE)
        } else {
            (self.told.below(), self.told.with_link())
        };
        ffi::settle_netif(id, ports, with_link, self.told.is_in_order(), telling);
    }

    /// It may be used, as far as the targets were told.
    pub(crate) const fn is_usable(&self) -> bool {
        self.told.is_usable()
    }

    /// Says on the console what is below an interface that is no NIC, when that changes; and which port keeps writes
    /// that nothing but its link or the operator can end.
    pub(crate) fn remark(&mut self, name: &str) {
        let below = self.told.below();
        if !self.direct && below != self.said && !below.is_empty() {
            let mut room = [0; 96];
            let mut text = Text::new(&mut room);
            // Text has no error but being full.
            let _ = self.write_ports(&mut text, false);
            let ports = core::str::from_utf8(text.as_bytes()).unwrap_or("");
            report::netif(name, &format_args!("goes by {ports}"));
        }
        self.said = below;
        let holding = self.stuck();
        for id in holding.without(self.said_holding).iter() {
            if let Some(seen) = ffi::look_at_port(id) {
                let port = seen.name();
                report::netif(
                    name,
                    &format_args!(
                        "{port} has no link and may keep writes; newer ones to the same sectors wait until it has, or for ifconfig {port} down"
                    ),
                );
            }
        }
        self.said_holding = holding;
    }

    /// Ports that keep frames, and whose drivers nothing empties.
    fn stuck(&self) -> PortSet {
        let mut stuck = PortSet::NONE;
        for id in self.told.holding().iter() {
            let never = |port: PortSeen| port.purge == Purge::Never;
            if ffi::look_at_port(id).is_some_and(never) {
                stuck.add(id);
            }
        }
        stuck
    }

    /// Its ports with their states, for people.
    pub(crate) fn write(&self, to: &mut impl Write) -> fmt::Result {
        if self.direct || self.told.below().is_empty() {
            return Ok(());
        }
        to.write_str("  by ")?;
        self.write_ports(to, true)
    }

    fn write_ports(&self, to: &mut impl Write, states: bool) -> fmt::Result {
        for (index, id) in self.told.below().iter().enumerate() {
            let Some(port) = ffi::look_at_port(id) else {
                continue;
            };
            let separator = if index == 0 { "" } else { ", " };
            write!(to, "{separator}{}", port.name())?;
            if states && port.state != PortState::Up {
                let holds = self.told.holding().has(id);
                to.write_str(if holds {
                    " (no link, keeps frames)"
                } else {
                    " (no link)"
                })?;
            }
        }
        match self.sharing {
            Sharing::Failover | Sharing::Hash => Ok(()),
            Sharing::Mixed | Sharing::Opaque => to.write_str("; in no order"),
        }
    }
}

/// A write of ours may be in a ring below an interface.
fn may_hold_writes(id: NetifId) -> bool {
    let mut may_hold = false;
    cell::for_each_in_epoch(|cell| may_hold |= cell.lock().target.may_hold_writes(id));
    may_hold || hub::may_hold_writes(id)
}
