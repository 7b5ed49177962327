//! Which paths there are, and which disk is behind them.

use super::paths::{Path, PathState, Room};
use super::probe::ProbeKind;
use super::writes::Writes;
use super::{FlushMode, State, Target};
use crate::limits::{
    CONFLICT_RECHECK_NS, DEFAULT_PHYSICAL_SECTORS, IDENTIFY_TRIES, KEEPALIVE_TRIES, MAX_PROBE_NS,
    MIN_PROBE_GAP_NS, MIN_RECHECK_NS, QUARREL_ROUNDS,
};
use crate::{Claim, DropReason, Event, Handled, Instant, NetifId};
use aoe_wire::{ConfigReply, Identify, MacAddr, SECTOR_SIZE};

use super::tag::{Tag, question_slot};

/// Firmware versions of vblade: 0x4000 and its release number.
const VBLADE_FIRMWARE: core::ops::RangeInclusive<u16> = 0x400A..=0x40FF;
const VBLADE_MODEL: &str = "Coraid EtherDrive vblade";

impl Target<'_> {
    /// Asks config and identity of every path anew. Whether it takes writes, the next one tells.
    pub fn revalidate(&mut self, now: Instant) {
        self.writes = Writes::UNKNOWN;
        for index in self.paths.indices() {
            if self.paths.get(index).can_probe() {
                self.ask(index, ProbeKind::Identify, now);
            }
        }
    }

    /// Asks something of a path. The same question is not asked anew while its answer may be on the
    /// way: whoever floods us with announcements must not keep us from ever hearing it.
    pub(super) fn ask(&mut self, index: u8, kind: ProbeKind, when: Instant) {
        let path = self.paths.at(index);
        if path.state == PathState::Unused {
            return;
        }
        if path.probe.kind == kind && path.probe.waiting {
            let when = when.max(path.probe.sent_at.after(MIN_PROBE_GAP_NS));
            path.probe.due = Some(path.probe.due.map_or(when, |due| due.min(when)));
        } else {
            path.probe.ask(kind, when);
        }
    }

    /// A Query Config answer (AoEr11 section 3.2): an answer to us, to the beacon, or an
    /// announcement that nobody asked for.
    #[cold]
    pub(super) fn handle_config(
        &mut self,
        now: Instant,
        netif: NetifId,
        (src, tag): (MacAddr, u32),
        argument: &[u8],
    ) -> Handled {
        let Ok(config) = ConfigReply::parse(argument) else {
            return Handled::Dropped(DropReason::BadConfig);
        };
        if !src.is_unicast() {
            return Handled::Dropped(DropReason::BadAddress);
        }
        let candidate = self.path_or_candidate(now, netif, src);
        self.note_config(src, &config);
        let index = match candidate {
            Room::Slot(index) => index,
            Room::Wanted(slots) => return Handled::Widen(slots),
            Room::None => return Handled::Dropped(DropReason::Full),
        };
        let path = self.paths.at(index);
        path.heard_at = now;
        let trusted = !matches!(path.state, PathState::New | PathState::Conflict);
        let kept = if trusted || self.info.identity.is_none() {
            self.note_config_string(config.string)
        } else {
            true
        };
        if self.answers_config_probe(index, tag) {
            self.note_probe_answered(now, index);
            if self.paths.get(index).state == PathState::Checking {
                self.paths.at(index).state = PathState::Up;
                self.refresh_state(now);
                self.want_write_cache(now, index);
            }
        }
        self.follow_up(now, index, tag == 0);
        if kept {
            Handled::Done
        } else {
            Handled::KeepConfig(config.string.len())
        }
    }

    /// What the remote side takes holds for every path to it, also when the answer came by an
    /// interface for which there was no room in the table.
    fn note_config(&mut self, mac: MacAddr, config: &ConfigReply<'_>) {
        for other in self.paths.indices() {
            let path = self.paths.at(other);
            if path.mac != mac || path.state == PathState::Unused {
                continue;
            }
            let before = path.accepted_sectors();
            path.buffer_count = config.buffer_count;
            path.window.set_buffers(config.buffer_count);
            path.firmware = config.firmware;
            path.sector_count = config.sector_count;
            if path.state == PathState::Checking && path.accepted_sectors() < before {
                self.events.add(Event::PayloadRefused);
            }
        }
    }

    fn path_or_candidate(&mut self, now: Instant, netif: NetifId, mac: MacAddr) -> Room {
        if let Some(index) = self.paths.find(netif, mac) {
            return Room::Slot(index);
        }
        let room = self.paths.room();
        let Room::Slot(index) = room else { return room };
        // The number may have belonged to a path before: its old questions must not be answered, and answers on
        // the new one prove nothing of copies that went by it.
        self.orphan_path(now, index);
        let word = self.paths.get(index).probe.word;
        let path = self.paths.at(index);
        *path = Path {
            netif,
            mac,
            state: PathState::New,
            link_up: true,
            ..Path::EMPTY
        };
        path.probe.word = word;
        room
    }

    /// False when there is no room for it; the string that was there before stays.
    pub(super) fn note_config_string(&mut self, string: &[u8]) -> bool {
        if self.config_string() == string {
            return true;
        }
        let Some(place) = self.config.get_mut(..string.len()) else {
            return false;
        };
        place.copy_from_slice(string);
        self.config_len = u16::try_from(string.len()).unwrap_or(0);
        self.events.add(Event::ConfigChanged);
        true
    }

    fn answers_config_probe(&self, index: u8, tag: u32) -> bool {
        let probe = &self.paths.get(index).probe;
        let Some(tag) = Tag::parse(tag) else {
            return false;
        };
        probe.kind == ProbeKind::Config
            && probe.waiting
            && tag.slot == question_slot(index)
            && tag.word == probe.word
    }

    /// What news of a path in this state call for. An announcement is a sign of a restart: another
    /// disk may be there now, so no I/O goes on before it was looked at.
    fn follow_up(&mut self, now: Instant, index: u8, announcement: bool) {
        let path = self.paths.get(index);
        let since = now.since(path.identified_at);
        match path.state {
            PathState::New if path.probe.is_idle() => self.ask(index, ProbeKind::Identify, now),
            PathState::Lost if path.link_up => self.ask(index, ProbeKind::Identify, now),
            PathState::Conflict if since >= CONFLICT_RECHECK_NS && path.probe.is_idle() => {
                self.ask(index, ProbeKind::Identify, now);
            }
            PathState::Up if announcement && since >= MIN_RECHECK_NS => {
                self.check_path(now, index, ProbeKind::Identify);
            }
            PathState::Up if announcement => {
                let when = path.identified_at.after(MIN_RECHECK_NS);
                self.ask(index, ProbeKind::Identify, when);
            }
            _ => {}
        }
    }

    /// Stops I/O on a path in use until a question is answered.
    pub(super) fn check_path(&mut self, now: Instant, index: u8, kind: ProbeKind) {
        let path = self.paths.at(index);
        if path.state == PathState::Up {
            path.state = PathState::Checking;
            path.probe.ask(kind, now);
        }
    }

    /// A probe was answered: round trip, and the proof that what was sent before it has gone by.
    pub(super) fn note_probe_answered(&mut self, now: Instant, index: u8) {
        let path = self.paths.at(index);
        let (sent_at, seq) = (path.probe.sent_at, path.probe.seq);
        if path.probe.tries == 1 && path.rtt.srtt() == 0 {
            path.note_rtt(now, now.since(sent_at));
        }
        // A target may answer questions before the requests that it has.
        path.last_rtt = now.since(sent_at).max(path.rtt.srtt());
        path.note_heard(now);
        path.probe.settle();
        path.note_alive_until(sent_at);
        if !self.is_silent() {
            let path = self.paths.at(index);
            path.answered_seq = path.answered_seq.max(seq);
            self.detect_overtaken(now, index);
        } else {
            self.note_question_overtook(now, index, seq);
        }
        if self.ghosts.head().is_some() && self.release_ghosts(now) {
            self.wake_waiting(now);
        }
    }

    /// The target is there but refused to be asked; it is asked again later.
    pub(super) fn note_probe_refused(&mut self, now: Instant, index: u8) -> Handled {
        let path = self.paths.at(index);
        path.heard_at = now;
        path.probe.waiting = false;
        path.probe.due = Some(now.after(MAX_PROBE_NS));
        if path.state == PathState::New && path.probe.tries >= IDENTIFY_TRIES {
            self.drop_path(now, index);
        } else if path.state == PathState::Checking {
            self.lose_path(now, index);
        }
        self.info.counters.refusals += 1;
        Handled::Done
    }

    /// A probe was not answered in time. It is sent again unless the path is given up.
    pub(super) fn note_probe_unanswered(&mut self, now: Instant, index: u8) {
        let path = self.paths.get(index);
        let tries = path.probe.tries;
        match path.state {
            PathState::New | PathState::Conflict if tries >= IDENTIFY_TRIES => {
                self.drop_path(now, index);
            }
            PathState::Up | PathState::Checking if tries >= KEEPALIVE_TRIES => {
                self.lose_path(now, index);
            }
            _ => {}
        }
    }

    /// The IDENTIFY data that [`Handled::CopyIdentify`] asked for.
    pub fn commit_identify(&mut self, now: Instant, claim: Claim, data: &[u8; SECTOR_SIZE]) {
        let Ok(index) = u8::try_from(claim.ticket.slot) else {
            return;
        };
        let probe = self.paths.get(index).probe;
        let awaited = probe.waiting
            && probe.kind == ProbeKind::Identify
            && probe.word.number() == claim.ticket.generation;
        if self.state == State::Removed {
            return;
        }
        if !awaited {
            if probe.identified.number() == claim.ticket.generation {
                self.compare_second(now, index, data);
            }
            return;
        }
        self.note_probe_answered(now, index);
        self.paths.at(index).probe.identified = probe.word;
        match Identify::parse(data) {
            Ok(identity) if identity.logical_sector as usize == SECTOR_SIZE => {
                self.paths.at(index).probe.disk = identity.digest();
                self.compare(now, index, &identity);
            }
            // AoE counts in units of 512 bytes; a disk that says otherwise contradicts itself.
            _ => {
                let _ = self.note_probe_refused(now, index);
            }
        }
    }

    /// Is the disk on this path the one that we know?
    fn compare(&mut self, now: Instant, index: u8, identity: &Identify) {
        self.paths.at(index).identified_at = now;
        let Some(known) = self.info.identity else {
            self.adopt(index, identity);
            self.events.add(Event::Identified);
            self.raise_path(now, index);
            return;
        };
        if !known.same_disk(identity) {
            self.note_conflict(now, index);
            return;
        }
        if known.sectors != identity.sectors {
            let others = self.other_paths_in_use(index);
            // A disk grows where it is. A conflicting path that never showed it has another disk, and
            // does not become ours when ours dies: whoever has it open would write to that one.
            let path = self.paths.get(index);
            let busy = self.in_use || self.ios.outstanding() != 0;
            let stranger = busy && path.state == PathState::Conflict && !path.shown;
            if others != 0 || stranger {
                // One of the two is right. The paths in use are asked; if they agree with this one
                // they come here in turn, and the last of them finds nobody who disagrees.
                self.note_conflict(now, index);
                self.ask_again(now, others);
                return;
            }
            self.events.add(Event::Resized);
        }
        let path = self.paths.at(index);
        if path.probe.quarrels != 0 {
            path.probe.quarrels -= 1;
            path.probe.ask(ProbeKind::Identify, now.after(MAX_PROBE_NS));
            return;
        }
        self.know_disk(identity);
        self.raise_path(now, index);
        if known.sectors != identity.sectors {
            self.ask_again(now, !(1 << index));
        }
    }

    /// A second answer to one IDENTIFY. If it names another disk than the first, two targets share
    /// this MAC address and execute whatever is sent there: nothing may be sent any more until one of
    /// them is gone. The first is what counts, not the disk that we know: that may have grown since.
    fn compare_second(&mut self, now: Instant, index: u8, data: &[u8; SECTOR_SIZE]) {
        let Ok(second) = Identify::parse(data) else {
            return;
        };
        if second.digest() != self.paths.get(index).probe.disk {
            self.note_conflict(now, index);
            let path = self.paths.at(index);
            path.probe.quarrels = QUARREL_ROUNDS;
            path.probe.ask(ProbeKind::Identify, now.after(MAX_PROBE_NS));
        }
    }

    fn other_paths_in_use(&self, index: u8) -> u8 {
        self.paths
            .indices()
            .filter(|&other| other != index)
            .filter(|&other| {
                matches!(
                    self.paths.get(other).state,
                    PathState::Up | PathState::Checking
                )
            })
            .fold(0, |set, other| set | 1 << other)
    }

    fn ask_again(&mut self, now: Instant, set: u8) {
        for index in self.paths.indices().filter(|index| set & (1 << index) != 0) {
            if self.paths.get(index).can_probe() {
                self.ask(index, ProbeKind::Identify, now);
            }
        }
    }

    /// Keeps what IDENTIFY said, and what each frame needs of it at hand.
    fn know_disk(&mut self, identity: &Identify) {
        self.info.identity = Some(*identity);
        self.block = block_sectors(identity);
        self.lba48 = identity.lba48;
    }

    /// The first IDENTIFY decides what the target can do.
    fn adopt(&mut self, index: u8, identity: &Identify) {
        self.know_disk(identity);
        self.flush = if identity.flush_ext {
            FlushMode::Ext
        } else if identity.flush {
            FlushMode::Standard
        } else {
            FlushMode::None
        };
        self.trim = identity.trim && identity.lba48;
        // Of the servers that exist only vblade is known to execute and answer in order.
        let firmware = self.paths.get(index).firmware;
        self.unordered =
            !(VBLADE_FIRMWARE.contains(&firmware) && identity.model.as_str() == VBLADE_MODEL);
    }

    fn note_conflict(&mut self, now: Instant, index: u8) {
        let path = self.paths.get(index);
        let (netif, mac, before) = (path.netif, path.mac, path.state);
        if matches!(before, PathState::Up | PathState::Checking) {
            self.lose_path(now, index);
        }
        let path = self.paths.at(index);
        path.state = PathState::Conflict;
        path.probe.settle();
        if before != PathState::Conflict {
            self.info.conflict = Some((netif, mac));
            self.info.counters.conflicts += 1;
            self.events.add(Event::Conflict);
        }
    }

    /// The disk that we know was seen on this path just now.
    fn raise_path(&mut self, now: Instant, index: u8) {
        let path = self.paths.at(index);
        let news =
            path.state == PathState::New || path.state == PathState::Conflict || path.reported;
        if self.info.conflict == Some((path.netif, path.mac)) {
            self.info.conflict = None;
        }
        let lost = path.state == PathState::Lost;
        path.state = if lost {
            PathState::Checking
        } else {
            PathState::Up
        };
        path.timeouts = 0;
        path.reported = false;
        path.shown = true;
        if lost {
            // What it takes may have changed with whatever cut it off, and too large a frame may be
            // answered by silence.
            path.probe.ask(ProbeKind::Config, now);
        }
        if news {
            self.events.add(Event::PathUp);
        }
        self.refresh_state(now);
        if !lost {
            self.want_write_cache(now, index);
        }
        self.detect_overtaken(now, index);
    }

    /// Switches the write cache if the operator wants it other than it is. It is not switched on
    /// where no flush could ever empty it.
    pub(super) fn want_write_cache(&mut self, now: Instant, index: u8) {
        let (Some(wanted), Some(identity)) = (self.tunables.write_cache, self.info.identity) else {
            return;
        };
        let possible = identity.write_cache_supported && (!wanted || self.can_flush());
        if possible && identity.write_cache_enabled != wanted {
            self.paths.at(index).probe.ask(ProbeKind::WriteCache, now);
        }
    }
}

/// Sectors in a physical block of the disk, a power of two.
fn block_sectors(identity: &Identify) -> u16 {
    match u16::try_from(identity.physical_sector as usize / SECTOR_SIZE) {
        // Almost every disk of today that does not say has blocks of 4 KiB.
        Ok(0 | 1) | Err(_) => DEFAULT_PHYSICAL_SECTORS as u16,
        Ok(sectors) => sectors,
    }
}

#[cfg(test)]
mod tests {
    use super::super::paths::cut_sectors;
    use super::*;
    use aoe_wire::IdentifyTable;

    #[test]
    fn an_unknown_block_counts_as_4_kib() {
        let block = |physical_sector| {
            let mut identity =
                Identify::parse(IdentifyTable::new().capacity(8).as_bytes()).expect("a table");
            identity.physical_sector = physical_sector;
            block_sectors(&identity)
        };
        assert_eq!(cut_sectors(0, 256, 17, block(512)), 16);
        assert_eq!(block(0), 8);
        assert_eq!(block(512), 8);
        assert_eq!(block(1024), 2);
        assert_eq!(block(4096), 8);
        assert_eq!(block(512 << 15), 1 << 15);
    }
}
