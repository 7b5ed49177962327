// SPDX-License-Identifier: BSD-2-Clause
//! What happens to the world: wires, interfaces, servers and disks that misbehave.

use aoe_core::{InterfaceChange, NetifId};

use crate::net::Condition;
use crate::options::Fault;
use crate::world::World;

impl World<'_> {
    /// Makes a fault happen now.
    pub fn apply(&mut self, fault: &Fault) {
        self.last_fault = self.last_fault.max(self.now);
        self.disturbed |= *fault != Fault::Calm;
        self.allow_timers();
        match *fault {
            Fault::Conditions(segment, to_target, to_host) => {
                if let Some(segment) = self.segments.get_mut(segment) {
                    segment.to_target = to_target;
                    segment.to_host = to_host;
                }
            }
            Fault::Clog(segment, nanos) => {
                if let Some(segment) = self.segments.get_mut(segment) {
                    segment.clogged_until = self.now + nanos;
                }
            }
            Fault::NetifPause(netif, nanos) => {
                for port in self.ports_of(netif) {
                    self.pause(netif, port, self.now + nanos);
                }
            }
            Fault::NetifDown(netif) => self.netif_down(netif),
            Fault::PortDown(netif, port) => self.port_down(netif, port),
            Fault::PortPause(netif, port, nanos) => self.pause(netif, port, self.now + nanos),
            Fault::PortUp(netif, port) => self.port_up(netif, port),
            Fault::NetifUp(netif) => self.netif_up(netif),
            Fault::NetifGone(netif) => self.netif_gone(netif),
            Fault::NetifMtu(netif, mtu) => {
                if let Some(one) = self.netifs.get_mut(netif) {
                    one.mtu = mtu;
                }
                if self.is_usable(netif) {
                    self.tell_interface(netif, InterfaceChange::Changed);
                }
            }
            Fault::NetifMac(netif, mac) => {
                if let Some(one) = self.netifs.get_mut(netif) {
                    one.mac = mac;
                }
                if self.is_usable(netif) {
                    self.tell_interface(netif, InterfaceChange::Changed);
                }
            }
            Fault::Remove(server) => {
                if let Some(server) = self.options.servers.get(server) {
                    let addr = server.addr;
                    self.remove(addr);
                }
            }
            Fault::FailHeld => self.for_each_target(aoe_core::Target::fail_held),
            Fault::Revalidate => self.for_each_target(aoe_core::Target::revalidate),
            Fault::Discover => {
                let now = self.instant();
                self.initiator.discover(now);
                self.drain_initiator();
            }
            Fault::Resize(disk, sectors) => {
                if let Some(disk) = self.disks.get(disk) {
                    disk.borrow_mut().resize(sectors);
                }
            }
            Fault::Calm => self.calm(),
            _ => self.apply_to_server(fault),
        }
    }

    fn apply_to_server(&mut self, fault: &Fault) {
        let (Fault::Stall(number, _)
        | Fault::Hang(number, _)
        | Fault::Kill(number)
        | Fault::Start(number)
        | Fault::ServerMtu(number, _)
        | Fault::Ata(number, _)
        | Fault::BadSector(number, _)
        | Fault::Aoe(number, _)
        | Fault::ReplyFrom(number, _)
        | Fault::Mask(number, _)
        | Fault::Reserve(number, _)
        | Fault::Config(number, _)
        | Fault::BufferCount(number, _)) = *fault
        else {
            return;
        };
        if matches!(fault, Fault::Start(_)) && self.is_too_early(number) {
            return;
        }
        let now = self.now;
        let Some(server) = self.servers.get_mut(number) else {
            return;
        };
        match *fault {
            Fault::Stall(_, nanos) => server.stall(now + nanos),
            Fault::Hang(_, hung) => server.hang(now, hung),
            Fault::Kill(_) => server.kill(),
            Fault::Start(_) if !server.is_alive() => server.start(),
            Fault::ServerMtu(_, mtu) => {
                for port in 0..server.ports().len() {
                    server.set_mtu(port, mtu);
                }
            }
            Fault::Ata(_, fault) => server.model_mut().add_ata_fault(fault),
            Fault::BadSector(_, lba) => server.model_mut().add_bad_sector(lba),
            Fault::Aoe(_, fault) => server.model_mut().set_aoe_fault(Some(fault)),
            Fault::ReplyFrom(_, port) => {
                let mac = port
                    .and_then(|port| server.ports().get(port))
                    .map(|port| port.mac);
                server.model_mut().set_reply_mac(mac);
            }
            Fault::Mask(_, ref macs) => server.model_mut().set_masks(macs),
            Fault::Reserve(_, ref macs) => server.model_mut().set_reserved(macs),
            Fault::Config(_, ref string) => server.model_mut().set_config(string),
            Fault::BufferCount(_, count) => server.model_mut().profile_mut().buffer_count = count,
            _ => {}
        }
        self.poll_server(number);
    }

    /// A rival that came up before the right disk was identified would be the right one.
    fn is_too_early(&self, server: usize) -> bool {
        let Some(options) = self.options.servers.get(server) else {
            return true;
        };
        let foreign = self
            .options
            .disks
            .get(options.disk)
            .is_some_and(|disk| disk.foreign);
        foreign && !self.slot(options.addr).is_some_and(|slot| slot.identified)
    }

    fn calm(&mut self) {
        for segment in &mut self.segments {
            segment.to_target = Condition::GOOD;
            segment.to_host = Condition::GOOD;
            segment.clogged_until = 0;
        }
        for netif in 0..self.netifs.len() {
            self.netif_up(netif);
            self.end_pauses(netif);
        }
        for server in 0..self.servers.len() {
            let planned = self
                .options
                .servers
                .get(server)
                .is_some_and(|server| server.alive);
            if planned && let Some(one) = self.servers.get_mut(server).filter(|s| !s.is_alive()) {
                one.start();
            }
            let now = self.now;
            if let Some(one) = self.servers.get_mut(server) {
                one.hang(now, false);
                one.model_mut().clear_faults();
                one.model_mut().set_reply_mac(None);
                one.model_mut().set_masks(&[]);
                one.model_mut().set_reserved(&[]);
            }
            self.poll_server(server);
        }
    }

    pub(crate) fn tell_interface(&mut self, netif: usize, change: InterfaceChange) {
        let now = self.instant();
        let id = NetifId(u8::try_from(netif).unwrap_or(u8::MAX));
        self.initiator.handle_interface(now, id, change);
        self.drain_initiator();
        self.for_each_target(|target, now| target.handle_interface(now, id, change));
    }
}
