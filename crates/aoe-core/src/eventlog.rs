//! What is to be reported of a target: each event with what was true when it happened.
//!
//! The engine's events are taken at once, under the target's lock; they are printed later, by a thread that may
//! sleep, when something else may be true. So an entry of the log holds all that its line says.
//!
//! The log is bounded. Events that find it full are counted and not kept. After the entries before them were read
//! the count is, and then one entry for each difference between what was reported and what is so by then: whoever
//! reads to the end knows the state, the size and the paths.

use crate::limits::{
    EVENT_LOG_ROOM, MAX_FAILURES_REPORTED, MAX_OUTSIDE_EVENTS, MAX_PATHS, REPEAT_NS,
};
use crate::{BadAnswer, Event, FailedCommand, Instant, NetifId, Op, Path, State, Target, Waiting};
use aoe_wire::{MacAddr, opcode};

/// A set of events.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct EventSet(u32);

const _: () = assert!(Event::ALL.len() <= u32::BITS as usize);

impl EventSet {
    /// No event.
    pub const NONE: Self = Self(0);

    /// Adds one.
    pub const fn add(&mut self, event: Event) {
        self.0 |= 1 << event.index();
    }

    /// Adds those of another set.
    pub const fn add_all(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether it has this one.
    #[must_use]
    pub const fn has(self, event: Event) -> bool {
        self.0 & (1 << event.index()) != 0
    }

    /// Whether it has any of these.
    #[must_use]
    pub fn has_any(self, events: &[Event]) -> bool {
        events.iter().any(|event| self.has(*event))
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What a target announced and refused.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Feature {
    /// FLUSH CACHE EXT; FLUSH CACHE is used.
    FlushExt,
    /// FLUSH CACHE, or both: nothing is flushed any more.
    Flush,
    /// TRIM.
    Trim,
}

/// What was true at an event.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Detail {
    /// The event says all.
    None,
    /// Its size, and that before, in sectors.
    Size {
        /// The size.
        sectors: u64,
        /// The size that was reported before; 0 at first.
        before: u64,
    },
    /// The path that the event is about.
    Path {
        /// Its interface.
        netif: NetifId,
        /// Its remote address.
        mac: MacAddr,
        /// Paths in use afterwards.
        in_use: u8,
    },
    /// Requests that were accepted and not completed.
    Outstanding(u32),
    /// Requests that have waited for long.
    Waiting(Waiting),
    /// What turned out not to be there.
    Lost(Feature),
    /// The command, and what the target said.
    Failed(FailedCommand),
}

/// An event as it is reported.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What happened.
    pub event: Event,
    /// What was true then.
    pub detail: Detail,
    /// Another event of the same moment says more: this one is not for people.
    pub minor: bool,
}

/// The next thing to report.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// An event.
    Event(Entry),
    /// So many events were not kept. What follows is what has changed by them.
    Missed(u16),
}

/// A path as it was reported.
type Known = (NetifId, MacAddr);

/// The log of one target.
#[derive(Copy, Clone, Debug)]
pub struct EventLog {
    entries: [Entry; EVENT_LOG_ROOM],
    first: u8,
    len: u8,
    missed: u16,
    /// What the entries say when they are read to the end.
    state: State,
    sectors: u64,
    flush: Option<u8>,
    trim: bool,
    paths: [Option<Known>; MAX_PATHS],
    /// What was said since then of things that go on.
    since: Instant,
    said: EventSet,
    outside: u8,
    failures: [Option<(Op, BadAnswer)>; MAX_FAILURES_REPORTED],
}

impl EventLog {
    /// The log of a target of which nothing was reported yet.
    pub const EMPTY: Self = Self {
        entries: [Entry {
            event: Event::Identified,
            detail: Detail::None,
            minor: true,
        }; EVENT_LOG_ROOM],
        first: 0,
        len: 0,
        missed: 0,
        state: State::Probing,
        sectors: 0,
        flush: None,
        trim: false,
        paths: [None; MAX_PATHS],
        since: Instant::from_nanos(0),
        said: EventSet::NONE,
        outside: 0,
        failures: [None; MAX_FAILURES_REPORTED],
    };

    /// Takes down events that the target has just reported.
    pub fn note(&mut self, now: Instant, target: &Target<'_>, events: EventSet) {
        if now.since(self.since) >= REPEAT_NS {
            self.since = now;
            self.said = EventSet::NONE;
            self.outside = 0;
            self.failures = [None; _];
        }
        for event in Event::ALL.into_iter().filter(|event| events.has(*event)) {
            self.note_event(now, target, event, events);
        }
        // A conflict is the loss of a path that was in use, and has no other event.
        if events.has_any(&[Event::PathUp, Event::PathDown, Event::Conflict]) {
            self.note_paths(target, events);
        }
    }

    fn note_event(&mut self, now: Instant, target: &Target<'_>, event: Event, all: EventSet) {
        match event {
            Event::Identified => self.note_identified(target),
            // It is not believed yet when the address is in doubt.
            Event::Resized if target.sectors() == self.sectors => {}
            Event::Resized => self.note_size(target, event),
            Event::Up if all.has(Event::Identified) => {}
            Event::Up | Event::Down | Event::Dead => self.note_state(target, event),
            Event::Conflict => {
                let detail = target.conflict().map_or(Detail::None, |path| {
                    self.path_detail(path, self.paths_known())
                });
                self.note_from_outside(event, detail, false);
            }
            Event::ConfigChanged if all.has(Event::Identified) => {}
            Event::ConfigChanged => self.note_from_outside(event, Detail::None, true),
            // What the target does with every request is not said every time.
            Event::Reserved | Event::ReadOnly | Event::PayloadRefused => {
                if !self.said.has(event) && self.push(event, Detail::None, false) {
                    self.said.add(event);
                }
            }
            Event::FeatureLost => self.note_features(target),
            Event::CommandFailed => self.note_failure(target),
            Event::Stalled => {
                self.push(event, Detail::Waiting(target.waiting(now)), false);
            }
            Event::PayloadReduced | Event::Resumed => {
                self.push(event, Detail::None, false);
            }
            // Paths have entries of their own; the others are for the caller.
            Event::PathUp | Event::PathDown | Event::Unused | Event::Forget => {}
        }
    }

    fn push(&mut self, event: Event, detail: Detail, minor: bool) -> bool {
        let at = (usize::from(self.first) + usize::from(self.len)) % EVENT_LOG_ROOM;
        let full = usize::from(self.len) == EVENT_LOG_ROOM;
        match self.entries.get_mut(at) {
            // What comes after a gap would stand before it.
            Some(entry) if !full && self.missed == 0 => {
                *entry = Entry {
                    event,
                    detail,
                    minor,
                };
                self.len += 1;
                true
            }
            _ => {
                self.missed = self.missed.saturating_add(1);
                false
            }
        }
    }

    fn note_identified(&mut self, target: &Target<'_>) {
        self.flush = target.flush_command();
        self.trim = target.can_trim();
        self.note_size(target, Event::Identified);
        self.state = State::Up;
    }

    fn note_size(&mut self, target: &Target<'_>, event: Event) {
        let (sectors, before) = (target.sectors(), self.sectors);
        if self.push(event, Detail::Size { sectors, before }, false) {
            self.sectors = sectors;
        }
    }

    fn note_state(&mut self, target: &Target<'_>, event: Event) {
        let state = match event {
            Event::Up => State::Up,
            Event::Down => State::Down,
            _ => State::Dead,
        };
        if self.push(event, Detail::Outstanding(target.outstanding()), false) {
            self.state = state;
        }
    }

    /// Whoever is on the wire can cause this as often as he likes.
    fn note_from_outside(&mut self, event: Event, detail: Detail, minor: bool) {
        if self.outside < MAX_OUTSIDE_EVENTS && self.push(event, detail, minor) {
            self.outside += 1;
        }
    }

    fn note_features(&mut self, target: &Target<'_>) {
        let flush = target.flush_command();
        let lost = match (self.flush, flush) {
            (Some(_), None) => Some(Feature::Flush),
            (Some(opcode::FLUSH_EXT), Some(opcode::FLUSH)) => Some(Feature::FlushExt),
            _ => None,
        };
        if let Some(lost) = lost
            && self.push(Event::FeatureLost, Detail::Lost(lost), false)
        {
            self.flush = flush;
        }
        if self.trim
            && !target.can_trim()
            && self.push(Event::FeatureLost, Detail::Lost(Feature::Trim), false)
        {
            self.trim = false;
        }
    }

    /// The same command with the same answer is said once, and of different ones some.
    fn note_failure(&mut self, target: &Target<'_>) {
        let Some(failed) = target.failed_command() else {
            return;
        };
        let cause = Some((failed.op, failed.answer));
        if self.failures.contains(&cause) || !self.failures.contains(&None) {
            return;
        }
        if self.push(Event::CommandFailed, Detail::Failed(failed), false)
            && let Some(place) = self.failures.iter_mut().find(|place| place.is_none())
        {
            *place = cause;
        }
    }

    fn paths_known(&self) -> u8 {
        self.paths
            .iter()
            .flatten()
            .fold(0, |n: u8, _| n.saturating_add(1))
    }

    fn path_detail(&self, (netif, mac): Known, in_use: u8) -> Detail {
        Detail::Path { netif, mac, in_use }
    }

    /// Paths came into use, or were lost.
    fn note_paths(&mut self, target: &Target<'_>, all: EventSet) {
        let more_is_said = [
            all.has(Event::Down),
            all.has_any(&[Event::Identified, Event::Up]),
        ];
        for number in 0..MAX_PATHS {
            let path = u8::try_from(number).ok().and_then(|n| target.path(n));
            let is = path
                .filter(|path| path.in_service())
                .map(|path: &Path| (path.netif(), path.mac()));
            let was = self.paths.get(number).copied().flatten();
            if is == was {
                continue;
            }
            let [lost_is_minor, up_is_minor] = more_is_said;
            if let Some(was) = was {
                let detail = self.path_detail(was, self.paths_known().saturating_sub(1));
                if !self.push(Event::PathDown, detail, lost_is_minor) {
                    continue;
                }
                self.set_path(number, None);
            }
            if let Some(is) = is {
                let detail = self.path_detail(is, self.paths_known().saturating_add(1));
                if self.push(Event::PathUp, detail, up_is_minor) {
                    self.set_path(number, Some(is));
                }
            }
        }
    }

    fn set_path(&mut self, number: usize, path: Option<Known>) {
        if let Some(place) = self.paths.get_mut(number) {
            *place = path;
        }
    }

    /// The next thing to report; the target is as it is now.
    pub fn pop(&mut self, target: &Target<'_>) -> Option<Report> {
        if self.len == 0 {
            if self.missed == 0 {
                return None;
            }
            let missed = core::mem::take(&mut self.missed);
            self.compare(target);
            return Some(Report::Missed(missed));
        }
        let entry = *self.entries.get(usize::from(self.first))?;
        self.first = (self.first + 1) % EVENT_LOG_ROOM as u8;
        self.len -= 1;
        Some(Report::Event(entry))
    }

    /// Takes down what has changed since the last thing that was reported.
    fn compare(&mut self, target: &Target<'_>) {
        if target.sectors() != self.sectors {
            if self.sectors == 0 {
                self.note_identified(target);
            } else {
                self.note_size(target, Event::Resized);
            }
        }
        let event = match target.state() {
            State::Up => Some(Event::Up),
            State::Down => Some(Event::Down),
            State::Dead => Some(Event::Dead),
            State::Probing | State::Removed => None,
        };
        if let Some(event) = event.filter(|_| self.state != target.state()) {
            self.note_state(target, event);
        }
        self.note_features(target);
        self.note_paths(target, EventSet::NONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Handled, Info, Link, Links, Received, Tunables};
    use aoe_wire::{ATA_HEADER_LEN, Command, Header, IdentifyTable, SECTOR_SIZE, TargetAddr};
    use std::vec::Vec;

    const US: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const ADDR: TargetAddr = TargetAddr::new(7, 0).unwrap();
    const SEC: u64 = 1_000_000_000;

    struct Wire;

    impl Links for Wire {
        fn link(&self, _: NetifId) -> Option<Link> {
            Some(Link {
                mtu: 1500,
                mac: US,
                in_order: true,
            })
        }
    }

    /// A target, and the log of its events.
    struct World<'t> {
        target: Target<'t>,
        log: EventLog,
        now: Instant,
    }

    impl<'t> World<'t> {
        fn new(info: &'t mut Info, paths: &'t mut [Path]) -> Self {
            let mut target = Target::new(ADDR, 1, Tunables::default(), info);
            let _ = target.widen(paths);
            Self {
                target,
                log: EventLog::EMPTY,
                now: Instant::from_nanos(100 * SEC),
            }
        }

        fn take_events(&mut self) {
            let mut events = EventSet::NONE;
            while let Some(event) = self.target.poll_event() {
                events.add(event);
            }
            self.log.note(self.now, &self.target, events);
        }

        /// A disk at this address announces itself with this string and answers IDENTIFY.
        fn meet(&mut self, mac: MacAddr, string: &[u8], disk: &IdentifyTable) {
            self.now = self.now.after(SEC / 100);
            let header = Header::announcement(US, mac, ADDR);
            let mut arg = Vec::from([0, 16, 0x40, 0x19, 2, 0x10, 0, string.len() as u8]);
            arg.extend(string);
            let rx = Received {
                netif: NetifId(0),
                header: &header,
                arg: &arg,
                len: 24 + arg.len(),
            };
            let _ = self.target.handle_frame(self.now, &rx);
            while let Some(frame) = self.target.poll_transmit(self.now, &Wire) {
                let (asked, _) = Header::split(&frame.header).unwrap();
                if asked.command == Command::ATA && asked.dst == mac {
                    self.answer(&asked.reply(mac, ADDR), disk);
                }
            }
            self.take_events();
        }

        fn answer(&mut self, header: &Header, disk: &IdentifyTable) {
            let rx = Received {
                netif: NetifId(0),
                header,
                arg: &[0; 12],
                len: ATA_HEADER_LEN + SECTOR_SIZE,
            };
            if let Handled::CopyIdentify(claim) = self.target.handle_frame(self.now, &rx) {
                self.target
                    .commit_identify(self.now, claim, disk.as_bytes());
            }
        }

        fn count(&mut self, event: Event) -> usize {
            let mut found = 0;
            while let Some(report) = self.log.pop(&self.target) {
                match report {
                    Report::Event(entry) => found += usize::from(entry.event == event),
                    Report::Missed(n) => panic!("{n} missed"),
                }
            }
            found
        }
    }

    fn disk(serial: &[u8]) -> IdentifyTable {
        IdentifyTable::new().serial(serial).capacity(4096)
    }

    fn stranger(number: u8) -> MacAddr {
        MacAddr([2, 0xaa, 0, 0, 0, number])
    }

    const OURS: MacAddr = MacAddr([2, 0xbb, 0, 0, 0, 0]);

    #[test]
    fn strangers_cause_so_many_reports_a_minute_and_no_more() {
        let (mut info, mut paths) = (Info::EMPTY, [Path::EMPTY; MAX_PATHS - 1]);
        let mut world = World::new(&mut info, &mut paths);
        world.meet(OURS, b"", &disk(b"ours"));
        assert_eq!(world.target.state(), State::Up);
        assert_eq!(world.count(Event::Identified), 1);
        let mut reported = 0;
        for number in 0..100 {
            world.meet(stranger(number), b"", &disk(b"another"));
            reported += world.count(Event::Conflict);
        }
        assert_eq!(world.target.counters().conflicts, 100);
        assert_eq!(reported, usize::from(MAX_OUTSIDE_EVENTS));
        // A minute later the next one is news.
        world.now = world.now.after(REPEAT_NS);
        world.meet(stranger(200), b"", &disk(b"another"));
        assert_eq!(world.count(Event::Conflict), 1);
    }

    #[test]
    fn config_strings_that_change_all_the_time_are_bounded_likewise() {
        let (mut info, mut paths) = (Info::EMPTY, [Path::EMPTY; 1]);
        let mut room = [0; 32];
        let mut world = World::new(&mut info, &mut paths);
        world.meet(OURS, b"", &disk(b"ours"));
        let _ = world
            .target
            .keep_config(&mut room, b"\0\x10\x40\x19\x02\x10\0\x01x");
        world.take_events();
        let mut reported = world.count(Event::ConfigChanged);
        for number in 0..50_u8 {
            world.meet(OURS, &[b'a' + number % 2], &disk(b"ours"));
            reported += world.count(Event::ConfigChanged);
        }
        assert_eq!(reported, usize::from(MAX_OUTSIDE_EVENTS));
    }

    #[test]
    fn a_log_that_is_not_read_is_full_once_and_then_says_what_is_so() {
        let (mut info, mut paths) = (Info::EMPTY, [Path::EMPTY; MAX_PATHS - 1]);
        let mut world = World::new(&mut info, &mut paths);
        // Eight paths come, go with their interface, and the next eight come.
        for round in 0..3 {
            for number in 0..MAX_PATHS as u8 {
                world.meet(stranger(10 * round + number), b"", &disk(b"ours"));
            }
            if round < 2 {
                let change = crate::InterfaceChange::Gone;
                world.target.handle_interface(world.now, NetifId(0), change);
                world.take_events();
            }
        }
        let mut reports = Vec::new();
        while let Some(report) = world.log.pop(&world.target) {
            reports.push(report);
        }
        assert!(reports.len() < 2 * EVENT_LOG_ROOM + 4, "{reports:?}");
        let mut there: Vec<MacAddr> = Vec::new();
        let mut missed = 0;
        for report in &reports {
            match report {
                Report::Missed(n) => missed += n,
                Report::Event(entry) => match (entry.event, entry.detail) {
                    (Event::PathUp, Detail::Path { mac, in_use, .. }) => {
                        there.push(mac);
                        assert_eq!(there.len(), usize::from(in_use), "{reports:?}");
                    }
                    (Event::PathDown, Detail::Path { mac, in_use, .. }) => {
                        there.retain(|other| *other != mac);
                        assert_eq!(there.len(), usize::from(in_use), "{reports:?}");
                    }
                    _ => {}
                },
            }
        }
        assert!(missed > 20, "{reports:?}");
        there.sort_by_key(|mac| mac.0);
        let now: Vec<MacAddr> = (20..28).map(stranger).collect();
        assert_eq!(there, now, "{reports:?}");
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<EventLog>() <= 640, "{}", size_of::<EventLog>());
    }
}
