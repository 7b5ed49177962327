// SPDX-License-Identifier: BSD-2-Clause
//! The checks on what the engine sends: where, how much at a time, and before what.

use std::collections::{BTreeMap, HashMap};

use aoe_core::{Op, Payload, Transmit};
use aoe_target::Mac;
use aoe_wire::{ATA_HEADER_LEN, Command, Header, opcode};

use crate::ledger::Open;
use crate::world::{Addr, World};

/// One piece of work that a target was given and has not answered.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct Unit {
    mac: Mac,
    class: Op,
    lba: u64,
    sectors: u64,
}

impl Unit {
    fn collides(&self, other: &Self) -> bool {
        self.class == other.class
            && (self.lba == other.lba && self.sectors == other.sectors
                || self.lba < other.lba + other.sectors && other.lba < self.lba + self.sectors)
    }
}

/// Something that must have completed by the end of the present drain.
#[derive(Clone, Debug)]
struct Suspect {
    earlier: u64,
    what: String,
}

/// The state of the checks.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Buffer count by target and address.
    advertised: BTreeMap<(Addr, Mac), u16>,
    units: BTreeMap<Addr, Vec<Unit>>,
    tags: HashMap<(Addr, u32), Unit>,
    suspects: BTreeMap<Addr, Vec<Suspect>>,
}

impl Watch {
    /// A target is gone: nobody waits for its answers.
    pub(crate) fn forget(&mut self, addr: Addr) {
        self.units.remove(&addr);
        self.suspects.remove(&addr);
        self.tags.retain(|(of, _), _| *of != addr);
    }
}

/// A request of the engine, taken apart.
struct Command48 {
    class: Op,
    lba: u64,
    sectors: u64,
}

fn parse(transmit: &Transmit) -> Option<Command48> {
    let arg = transmit.header.get(24..ATA_HEADER_LEN)?;
    let [_, _, count, command, lba @ ..] = arg else {
        return None;
    };
    let mut bytes = [0; 8];
    bytes
        .iter_mut()
        .zip(lba.iter().take(6))
        .for_each(|(to, from)| *to = *from);
    let lba = u64::from_le_bytes(bytes);
    let sectors = u64::from(*count);
    let short = lba & 0x0fff_ffff;
    Some(match *command {
        opcode::READ => Command48 {
            class: Op::Read,
            lba: short,
            sectors,
        },
        opcode::READ_EXT => Command48 {
            class: Op::Read,
            lba,
            sectors,
        },
        opcode::WRITE => Command48 {
            class: Op::Write,
            lba: short,
            sectors,
        },
        opcode::WRITE_EXT => Command48 {
            class: Op::Write,
            lba,
            sectors,
        },
        opcode::FLUSH | opcode::FLUSH_EXT => Command48 {
            class: Op::Flush,
            lba: 0,
            sectors: 0,
        },
        opcode::DSM => match transmit.payload {
            Payload::Trim { lba, sectors } => Command48 {
                class: Op::Trim,
                lba,
                sectors,
            },
            _ => return None,
        },
        _ => return None,
    })
}

impl World<'_> {
    /// A frame came in: it may change a window or settle a piece of work.
    pub(crate) fn watch_in(&mut self, addr: Addr, header: &Header, frame: &[u8]) {
        if header.command == Command::CONFIG
            && let Some([high, low]) = frame.get(24..26)
            && frame.len() >= 32
        {
            let count = u16::from_be_bytes([*high, *low]);
            self.watch.advertised.insert((addr, header.src.0), count);
        }
        if header.command == Command::ATA
            && let Some(unit) = self.watch.tags.remove(&(addr, header.tag))
            && let Some(units) = self.watch.units.get_mut(&addr)
        {
            units.retain(|open| !open.collides(&unit));
        }
    }

    fn watch_interface(&mut self, transmit: &Transmit) -> Option<Header> {
        let netif = usize::from(transmit.netif.0);
        let Some(one) = self.netifs.get(netif) else {
            self.trouble.note(
                self.now,
                format!("sent on interface {netif}, which does not exist"),
            );
            return None;
        };
        if !one.listed || !one.up {
            self.trouble.note(
                self.now,
                format!("sent on interface {netif}, which is not to be used"),
            );
        }
        let Ok(header) = Header::parse(&transmit.header) else {
            self.trouble
                .note(self.now, "sent something that is not AoE");
            return None;
        };
        if header.src.0 != one.mac {
            self.trouble
                .note(self.now, "sent with another interface's address");
        }
        let len = usize::from(transmit.header_len)
            + match transmit.payload {
                Payload::None => 0,
                Payload::Io { len, .. } => usize::try_from(len).unwrap_or(usize::MAX),
                Payload::Trim { .. } => 512,
            };
        if len > usize::try_from(one.mtu).unwrap_or(0) + 14 {
            self.trouble.note(
                self.now,
                format!("sent {len} bytes where the MTU is {}", one.mtu),
            );
        }
        if header.is_response() || header.tag & 0x8000_0000 != 0 {
            self.trouble
                .note(self.now, "sent an answer, or a tag of the user-space half");
        }
        Some(header)
    }

    pub(crate) fn watch_beacon(&mut self, transmit: &Transmit) {
        if let Some(header) = self.watch_interface(transmit)
            && (header.command != Command::CONFIG || !header.dst.is_multicast())
        {
            self.trouble.note(
                self.now,
                "the initiator sent something that is not a beacon",
            );
        }
    }

    /// A frame of a target leaves the engine.
    pub(crate) fn watch_out(&mut self, addr: Addr, transmit: &Transmit) {
        let Some(header) = self.watch_interface(transmit) else {
            return;
        };
        if (header.shelf, header.slot) != addr {
            self.trouble.note(
                self.now,
                format!("{addr:?} sent to {}.{}", header.shelf, header.slot),
            );
        }
        if header.command != Command::ATA {
            return;
        }
        if header.dst.is_multicast() {
            self.trouble.note(self.now, "an ATA command was broadcast");
        }
        let Some(command) = parse(transmit) else {
            return;
        };
        if self.is_trial(addr, &command) {
            return;
        }
        self.watch_window(addr, &header, &command);
        self.watch_barriers(addr, transmit, &command);
    }

    /// A target is asked for a sector, to see whether it carries out requests again.
    fn is_trial(&self, addr: Addr, command: &Command48) -> bool {
        let slot = self.slots.get(&addr);
        let tried = slot.is_some_and(|slot| slot.target.is_tried());
        tried && command.class == Op::Read && command.sectors == 1
    }

    fn watch_window(&mut self, addr: Addr, header: &Header, command: &Command48) {
        let mac = header.dst.0;
        let unit = Unit {
            mac,
            class: command.class,
            lba: command.lba,
            sectors: command.sectors,
        };
        let units = self.watch.units.entry(addr).or_default();
        let before = units.len();
        units.retain(|open| !open.collides(&unit));
        let new = units.len() == before;
        units.push(unit);
        let used = units.iter().filter(|open| open.mac == mac).count();
        self.watch.tags.insert((addr, header.tag), unit);
        let Some(&count) = self.watch.advertised.get(&(addr, mac)) else {
            self.trouble.note(
                self.now,
                "an ATA command went to an address that never told its config",
            );
            return;
        };
        let limit = usize::from(count.clamp(1, aoe_core::limits::MAX_WINDOW));
        // What the engine took for lost does not count; as long as it took nothing for lost, the view
        // from outside is exact.
        let Some(slot) = self.slots.get(&addr) else {
            return;
        };
        let to_mac = || slot.target.paths().filter(|path| path.mac().0 == mac);
        let own: usize = to_mac().map(|path| usize::from(path.outstanding())).sum();
        let exact = !self.disturbed && slot.target.paths().all(|path| path.lost() == 0);
        let used = if exact { used.max(own) } else { own };
        // A count that has just become smaller takes effect with the next new frame.
        if new && used > limit {
            self.trouble.note(
                self.now,
                format!("{used} commands in flight to {mac:02x?}, limit {limit}"),
            );
        }
    }

    /// Notes which requests must be complete by now; the completions come at the end of the drain.
    fn watch_barriers(&mut self, addr: Addr, transmit: &Transmit, command: &Command48) {
        let Some(ledger) = self.ledgers.get(&addr) else {
            return;
        };
        let ledger = ledger.borrow();
        let candidates: Vec<(u64, &Open)> = ledger
            .open
            .iter()
            .map(|(token, open)| (*token, open))
            .filter(|(token, open)| match transmit.payload {
                Payload::Io { token: named, .. } => *token == named,
                _ if command.class == Op::Flush => open.op == Op::Flush,
                _ => {
                    let (begin, end) = ledger.span(*token);
                    open.op == command.class
                        && begin <= command.lba
                        && command.lba + command.sectors <= end
                }
            })
            .collect();
        // A read or flush does not name its request; the last one accepted has most to wait for, so
        // the frame is right when it would be right for the first.
        let Some((token, open)) = candidates.first() else {
            self.trouble.note(
                self.now,
                format!(
                    "{:?} {}+{} sent for no open request",
                    command.class, command.lba, command.sectors
                ),
            );
            return;
        };
        let suspects = ledger
            .open
            .iter()
            .filter(|(_, earlier)| earlier.accepted < open.accepted)
            .filter(|(_, earlier)| {
                let collide = open.modifies()
                    && earlier.modifies()
                    && earlier.overlaps(open.lba, open.sectors);
                let flush = open.op == Op::Flush && earlier.modifies();
                open.ordered || earlier.ordered || collide || flush
            })
            .map(|(earlier, before)| Suspect {
                earlier: *earlier,
                what: format!(
                    "{:?} {token} (ordered: {}) was sent before {:?} {earlier} (ordered: {}) had completed",
                    open.op, open.ordered, before.op, before.ordered
                ),
            });
        self.watch
            .suspects
            .entry(addr)
            .or_default()
            .extend(suspects);
    }

    pub(crate) fn watch_suspects(&mut self, addr: Addr) {
        let Some(ledger) = self.ledgers.get(&addr) else {
            return;
        };
        let ledger = ledger.borrow();
        for suspect in self.watch.suspects.remove(&addr).unwrap_or_default() {
            if ledger.open.contains_key(&suspect.earlier) {
                self.trouble.note(self.now, suspect.what);
            }
        }
    }

    /// A request was completed without error: is it true?
    pub(crate) fn watch_done(&mut self, addr: Addr, token: u64, request: &Open) {
        let Some(disk) = self.disk_of(addr) else {
            return;
        };
        match request.op {
            Op::Read => {}
            Op::Flush => {
                let flushes = self.options.servers.iter().any(|server| {
                    server.addr == addr && server.profile.flush_works && server.profile.write_cache
                });
                let volatile = disk.borrow().first_volatile_before(request.accepted);
                if let (Some((lba, what)), true) = (volatile, flushes) {
                    self.trouble.note(
                        self.now,
                        format!("flush {token} completed, but sector {lba} would lose {what:?}"),
                    );
                }
            }
            Op::Write | Op::Trim => {
                for lba in request.lba..request.lba + request.sectors {
                    let content = disk.borrow_mut().content(lba);
                    if let (Some(content), Some(ledger)) = (content, self.ledgers.get(&addr)) {
                        let why = format!("{:?} {token} completed", request.op);
                        ledger.borrow_mut().on_disk(lba, content, &why);
                    }
                }
            }
        }
        if let Some(units) = self.watch.units.get_mut(&addr) {
            units.retain(|unit| {
                unit.class != request.op || !request.overlaps(unit.lba, unit.sectors.max(1))
            });
        }
    }

    /// The disk that a target's data are on.
    #[must_use]
    pub fn disk_of(&self, addr: Addr) -> Option<crate::disk::SharedDisk> {
        let own = self
            .options
            .servers
            .iter()
            .filter(|server| server.addr == addr);
        own.filter_map(|server| self.disks.get(server.disk))
            .find(|disk| disk.borrow().ledger.is_some())
            .cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use aoe_core::NetifId;
    use aoe_wire::{AtaRequest, HEADER_LEN, MacAddr, TargetAddr};

    const ADDR: Addr = (7, 0);

    fn transmit(src: Mac, dst: Mac, tag: u32, request: &AtaRequest) -> Transmit {
        let addr = TargetAddr::new(7, 0).unwrap();
        let mut header = [0; ATA_HEADER_LEN];
        let head = Header::request(MacAddr(dst), MacAddr(src), addr, Command::ATA, tag);
        header[..HEADER_LEN].copy_from_slice(&head.to_bytes());
        header[HEADER_LEN..].copy_from_slice(&request.to_bytes());
        let payload = Payload::None;
        Transmit {
            netif: NetifId(0),
            header_len: 36,
            flow: 0,
            header,
            payload,
            again: false,
            ticket: None,
        }
    }

    /// What the checks say to a frame in a world in which the target is up and one read is open.
    fn said(change: impl FnOnce(&mut Transmit)) -> String {
        let mut pools = crate::pools(&Options::simple(1));
        let mut world = World::new(Options::simple(1), crate::loans(&mut pools));
        world.run_for(1_000_000_000);
        world.submit(ADDR, Op::Read, 0, 8, false);
        let (src, dst) = (crate::world::netif_mac(0), crate::world::port_mac(0, 0));
        let mut frame = transmit(src, dst, 1, &AtaRequest::read(0, 2, true));
        change(&mut frame);
        world.watch_out(ADDR, &frame);
        world.watch_suspects(ADDR);
        world.trouble.list().join("\n")
    }

    #[test]
    fn a_right_frame_is_right() {
        assert_eq!(said(|_| ()), "");
    }

    #[test]
    fn a_wrong_frame_is_found() {
        let (me, other) = (crate::world::netif_mac(0), [2, 9, 9, 9, 9, 9]);
        let target = crate::world::port_mac(0, 0);
        let read = AtaRequest::read(0, 2, true);
        assert!(said(|f| f.header[12] = 0).contains("not AoE"));
        assert!(said(|f| f.netif = NetifId(9)).contains("does not exist"));
        assert!(said(|f| *f = transmit(other, target, 1, &read)).contains("another interface's"));
        assert!(said(|f| *f = transmit(me, other, 1, &read)).contains("never told its config"));
        assert!(said(|f| *f = transmit(me, [0xff; 6], 1, &read)).contains("was broadcast"));
        assert!(said(|f| *f = transmit(me, target, 1 << 31, &read)).contains("user-space half"));
        assert!(said(|f| f.header[14] = 0x18).contains("sent an answer"));
        assert!(said(|f| f.header[16] = 1).contains("sent to"));
        let beyond = AtaRequest::read(100, 2, true);
        assert!(said(|f| *f = transmit(me, target, 1, &beyond)).contains("no open request"));
        let long = Payload::Io {
            token: 1,
            offset: 0,
            len: 1536,
        };
        assert!(said(|f| f.payload = long).contains("where the MTU is"));
    }
}
