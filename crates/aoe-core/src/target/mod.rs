//! One shelf.slot: its paths, its identity, and every request in flight.
//!
//! The rooms of the house, in the order in which a request passes them: `io` (what waits for what),
//! `transmit` (cutting and sending), `frames` and `tag` (what is in flight), `receive` (what an
//! answer means), `loss` (when an answer is overdue), `quarantine` (copies that may still strike).
//! Beside them `discovery` (config answers, IDENTIFY, paths) and `lifecycle` (up, down, dead).

mod discovery;
mod frames;
mod io;
mod joined;
mod lifecycle;
mod loss;
mod overlap;
mod paths;
mod patience;
mod payload;
mod probe;
mod quarantine;
mod receive;
mod rtt;
mod stall;
mod state;
mod tag;
pub(crate) mod transmit;
mod window;
mod writes;

use crate::limits::{self, TRIM_BLOCK_SECTORS};
use crate::{
    Completion, Event, FailedCommand, Full, Instant, IoError, NetifId, Op, Quarantine, Request,
    Ticket,
};
use aoe_wire::{ConfigReply, Identify, MacAddr, TargetAddr, opcode};

use frames::{Frames, List};
use io::Ios;
use lifecycle::Earliest;
use paths::Paths;
use quarantine::Vigil;
use stall::Stall;
use tag::Tags;
use writes::Writes;

pub use frames::Frame;
pub use io::Io;
pub(crate) use joined::Parts;
pub use paths::{Path, PathState};
pub use stall::Waiting;
pub use state::State;
pub(crate) use transmit::config_transmit;

/// What has been counted since the target appeared.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Read requests completed without error.
    pub reads: u64,
    /// Write requests completed without error.
    pub writes: u64,
    /// Flushes completed without error.
    pub flushes: u64,
    /// TRIM requests completed without error.
    pub trims: u64,
    /// Bytes read from the target.
    pub bytes_read: u64,
    /// Bytes written to the target.
    pub bytes_written: u64,
    /// Requests completed with an error, but for those of `expired`.
    pub errors: u64,
    /// Requests given up because they were not to wait for longer ([`IoError::Expired`]).
    pub expired: u64,
    /// I/O frames sent, retransmissions included.
    pub frames_sent: u64,
    /// I/O frames of which an earlier copy had been sent.
    pub retransmits: u64,
    /// Frames sent once more because nothing was answered for a little while.
    pub tail_probes: u64,
    /// Retransmission time-outs: nothing at all was answered in time.
    pub timeouts: u64,
    /// Frames found lost because later ones were answered.
    pub overtaken: u64,
    /// Answers that came after another copy had been answered, or after the request had ended.
    pub late_answers: u64,
    /// Writes and TRIMs whose range stayed closed after they completed, because a copy was at large.
    pub quarantined: u64,
    /// Requests that had to wait for such a range.
    pub quarantine_waits: u64,
    /// Answers of other initiators' disks under this address.
    pub conflicts: u64,
    /// Frames that the target refused (AoE error or busy).
    pub refusals: u64,
    /// Requests that went in one frame with the one before them.
    pub joined: u64,
}

/// The rarely used part of a target, in memory lent by the caller.
#[derive(Copy, Clone, Debug)]
pub struct Info {
    identity: Option<Identify>,
    conflict: Option<(NetifId, MacAddr)>,
    failed: Option<FailedCommand>,
    /// Copies of writes of an earlier target of this address: nothing is written before they are too old.
    inherited: Quarantine,
    counters: Counters,
}

impl Info {
    /// What lent memory must hold.
    pub const EMPTY: Self = Self {
        identity: None,
        conflict: None,
        failed: None,
        inherited: Quarantine::NONE,
        counters: Counters {
            reads: 0,
            writes: 0,
            flushes: 0,
            trims: 0,
            bytes_read: 0,
            bytes_written: 0,
            errors: 0,
            expired: 0,
            frames_sent: 0,
            retransmits: 0,
            tail_probes: 0,
            timeouts: 0,
            overtaken: 0,
            late_answers: 0,
            quarantined: 0,
            quarantine_waits: 0,
            conflicts: 0,
            refusals: 0,
            joined: 0,
        },
    };
}

/// Memory that a target whose disk is open needs.
#[derive(Debug)]
pub struct IoStorage<'s> {
    /// One slot a frame, at most [`crate::limits::MAX_FRAMES`] are used; at least 16.
    pub frames: &'s mut [Frame],
    /// One slot a request.
    pub ios: &'s mut [Io],
}

/// A target whose disk is not open and that has one path needs no more than this and its config string.
const _: () = assert!(size_of::<Target<'_>>() + size_of::<Info>() < limits::MAX_IDLE_BYTES);

/// All memory that was lent to a target.
#[derive(Debug)]
pub struct TargetStorage<'s> {
    /// Of [`Target::new`].
    pub info: &'s mut Info,
    /// Of [`Target::widen`]; empty if that was not asked for.
    pub paths: &'s mut [Path],
    /// Of [`Target::keep_config`]; empty if that was not asked for.
    pub config: &'s mut [u8],
    /// Of [`Target::lend`], unless it was taken back.
    pub io: Option<IoStorage<'s>>,
}

/// What the operator decides for a target.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Tunables {
    /// Seconds without any answer after which I/O fails; 0 holds it for ever.
    pub dead_secs: u32,
    /// The volatile write cache: `None` leaves it as it is.
    pub write_cache: Option<bool>,
    /// Seconds for which a copy of a write that was never answered keeps its range closed to newer
    /// writes, when nothing better proves it dead.
    pub quarantine_secs: u32,
}

impl Default for Tunables {
    fn default() -> Self {
        Self {
            dead_secs: 0,
            write_cache: None,
            quarantine_secs: limits::QUARANTINE_SECS,
        }
    }
}

/// A set of things to report.
#[derive(Copy, Clone, Debug, Default)]
struct Events(u32);

impl Events {
    const fn add(&mut self, event: Event) {
        self.0 |= 1 << event.index();
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<Event> {
        if self.0 == 0 {
            return None;
        }
        self.pop_first()
    }

    #[cold]
    fn pop_first(&mut self) -> Option<Event> {
        let event = Event::ALL
            .into_iter()
            .find(|event| self.0 & (1 << event.index()) != 0)?;
        self.0 &= !(1 << event.index());
        Some(event)
    }
}

/// Which command makes the target's cache durable.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum FlushMode {
    None,
    Standard,
    Ext,
}

/// One AoE target, sans IO. See the crate's documentation for how it is driven.
#[derive(Debug)]
pub struct Target<'s> {
    addr: TargetAddr,
    state: State,
    tags: Tags,
    tunables: Tunables,
    info: &'s mut Info,
    /// Room for the config string, and its length.
    config: &'s mut [u8],
    config_len: u16,
    paths: Paths<'s>,
    frames: Frames<'s>,
    ios: Ios<'s>,
    /// Frames to send (again) as soon as a window allows.
    queued: List,
    /// Frames to send again a little later.
    delayed: List,
    /// Writes that are answered and of which copies are at large.
    ghosts: List,
    ghosts_checked: Instant,
    vigil: Vigil,
    events: Events,
    flush: FlushMode,
    trim: bool,
    /// It takes 48-bit commands.
    lba48: bool,
    /// Sectors in a physical block, a power of two.
    block: u16,
    writes: Writes,
    /// The target is not known to execute and answer in order, or was seen not to.
    unordered: bool,
    /// The disk is open.
    in_use: bool,
    /// That nobody has a use for the memory of I/O was reported.
    offered: bool,
    forgotten: bool,
    /// No path carries I/O.
    no_path: bool,
    /// Since when that is so, or is not so.
    no_path_changed: Instant,
    /// Retransmission time-outs since a request was answered last, by whatever path.
    silent_rounds: u8,
    stall: Stall,
    /// When the disk was closed last.
    closed_at: Instant,
}

impl<'s> Target<'s> {
    /// A target that was just heard of. Its tags are as hard to guess as `seed` is: it must be random, and another one for
    /// each target.
    #[must_use]
    pub fn new(addr: TargetAddr, seed: u128, tunables: Tunables, info: &'s mut Info) -> Self {
        *info = Info::EMPTY;
        Self {
            addr,
            state: State::Probing,
            tags: Tags::new(seed),
            tunables,
            info,
            config: &mut [],
            config_len: 0,
            paths: Paths::new(),
            frames: Frames::unlent(),
            ios: Ios::unlent(),
            queued: List::EMPTY,
            delayed: List::EMPTY,
            ghosts: List::EMPTY,
            ghosts_checked: Instant::default(),
            vigil: Vigil::NOW,
            events: Events::default(),
            flush: FlushMode::None,
            trim: false,
            lba48: false,
            block: limits::DEFAULT_PHYSICAL_SECTORS as u16,
            writes: Writes::UNKNOWN,
            unordered: true,
            in_use: false,
            offered: false,
            forgotten: false,
            no_path: false,
            no_path_changed: Instant::default(),
            silent_rounds: 0,
            stall: Stall::NONE,
            closed_at: Instant::default(),
        }
    }

    /// Lends the memory that I/O needs. Without it every request is [`Full`], so it is lent after
    /// [`Event::Identified`] and before the disk is opened. What is lent beside it comes back at once.
    pub fn lend(&mut self, io: IoStorage<'s>) -> Option<IoStorage<'s>> {
        if self.ios.is_lent() {
            return Some(io);
        }
        self.frames.lend(io.frames, &mut self.tags);
        self.ios.lend(io.ios);
        self.offered = false;
        None
    }

    /// The memory that I/O needs is lent.
    #[must_use]
    pub fn is_lent(&self) -> bool {
        self.ios.is_lent()
    }

    /// Gives the memory that I/O needs back, if nothing is in it and the disk is not open; see
    /// [`Event::Unused`]. It can be lent again.
    #[must_use]
    pub fn take_back(&mut self) -> Option<IoStorage<'s>> {
        self.is_unused().then(|| IoStorage {
            frames: self.frames.take_back(),
            ios: self.ios.take_back(),
        })
    }

    /// Memory for I/O is lent and nobody has a use for it: even the copies of old writes are dead.
    fn is_unused(&self) -> bool {
        !self.in_use && self.ios.is_lent() && self.is_idle() && self.frames.is_unused()
    }

    /// Lends a larger table for paths, as [`crate::Handled::Widen`] asks for. The table that it replaces
    /// comes back, or the new one if it is no larger.
    #[must_use]
    pub fn widen(&mut self, table: &'s mut [Path]) -> &'s mut [Path] {
        self.paths.widen(table)
    }

    /// Lends room for a config string and puts the string of a frame there, as
    /// [`crate::Handled::KeepConfig`] asks for; `arg` is that of the frame. The room that it replaces comes
    /// back, or the new one if it is of no use.
    #[must_use]
    pub fn keep_config(&mut self, room: &'s mut [u8], arg: &[u8]) -> &'s mut [u8] {
        let string = ConfigReply::parse(arg).map_or(&[][..], |config| config.string);
        if string.len() > room.len() || self.config_string() == string {
            return room;
        }
        let old = core::mem::replace(&mut self.config, room);
        self.config_len = 0;
        self.note_config_string(string);
        old
    }

    /// Takes the target apart and gives the memory back. To be called when [`Target::is_idle`].
    #[must_use]
    pub fn reclaim(self) -> TargetStorage<'s> {
        let io = self.ios.is_lent();
        let io_storage = IoStorage {
            frames: self.frames.reclaim(),
            ios: self.ios.reclaim(),
        };
        TargetStorage {
            info: self.info,
            paths: self.paths.reclaim(),
            config: self.config,
            io: io.then_some(io_storage),
        }
    }

    /// Accepts a request.
    ///
    /// # Errors
    /// [`Full`] when the table of requests is full, or none was lent yet. Any other fault of the
    /// request becomes the result of its completion.
    pub fn submit(&mut self, now: Instant, request: Request) -> Result<(), Full> {
        let index = self.ios.accept(now, &request).ok_or(Full)?;
        self.stall.watch(now);
        if let Some(error) = self.refusal(&request) {
            self.fail_request(index, error);
        } else if self.ios.must_wait(index) {
            // What it waits for wakes it.
        } else if self.is_quarantined(now, index) {
            self.info.counters.quarantine_waits += 1;
        } else {
            self.ios.make_ready(index);
        }
        Ok(())
    }

    /// Why a request cannot even be tried.
    fn refusal(&self, request: &Request) -> Option<IoError> {
        let capacity = self
            .info
            .identity
            .as_ref()
            .map_or(0, |identity| identity.sectors);
        let end = request.lba.checked_add(request.sectors);
        let lies_on_disk = end.is_some_and(|end| end <= capacity) && request.sectors != 0;
        match (self.state, request.op) {
            (State::Removed, _) => Some(IoError::Gone),
            (State::Probing | State::Dead, _) => Some(IoError::Failed),
            (_, Op::Flush) => (self.flush == FlushMode::None).then_some(IoError::Unsupported),
            (_, _) if !lies_on_disk => Some(IoError::Invalid),
            (_, Op::Trim) => (!self.trim).then_some(IoError::Unsupported),
            (_, Op::Read | Op::Write) => {
                (request.sectors > limits::MAX_IO_SECTORS).then_some(IoError::Invalid)
            }
        }
    }

    /// Lets go of the data of a request that a frame was built from.
    pub fn transmitted(&mut self, now: Instant, ticket: Ticket) {
        if self.ios.unpin(ticket.slot, ticket.generation) {
            self.wake_waiting(now);
        }
    }

    /// The next request that ended. Its slot is free afterwards.
    #[must_use]
    pub fn poll_completion(&mut self) -> Option<Completion> {
        let done = self.ios.pop_done()?;
        self.info.counters.count(done);
        Some(done.completion())
    }

    /// The next thing to report.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// Its address.
    #[must_use]
    pub const fn addr(&self) -> TargetAddr {
        self.addr
    }

    /// Its state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// What IDENTIFY DEVICE said, once it was asked.
    #[must_use]
    pub const fn identity(&self) -> Option<&Identify> {
        self.info.identity.as_ref()
    }

    /// Its size in 512-byte sectors, 0 before it was identified.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        self.info
            .identity
            .as_ref()
            .map_or(0, |identity| identity.sectors)
    }

    /// Its config string.
    #[must_use]
    pub fn config_string(&self) -> &[u8] {
        self.config
            .get(..usize::from(self.config_len))
            .unwrap_or(&[])
    }

    /// It has a command that makes its cache durable.
    #[must_use]
    pub fn can_flush(&self) -> bool {
        self.flush != FlushMode::None
    }

    /// The ATA command that makes its cache durable; `None` when it has none.
    #[must_use]
    pub const fn flush_command(&self) -> Option<u8> {
        match self.flush {
            FlushMode::None => None,
            FlushMode::Standard => Some(opcode::FLUSH),
            FlushMode::Ext => Some(opcode::FLUSH_EXT),
        }
    }

    /// The command that failed last, as the target said it.
    #[must_use]
    pub const fn failed_command(&self) -> Option<FailedCommand> {
        self.info.failed
    }

    /// It takes TRIM.
    #[must_use]
    pub const fn can_trim(&self) -> bool {
        self.trim
    }

    /// It refuses writes, as far as its answers tell: a read-only export is known by the first write to it.
    #[must_use]
    pub const fn is_read_only(&self) -> bool {
        self.writes.is_read_only()
    }

    /// The longest TRIM request, in sectors, that goes in one frame; 0 without TRIM.
    #[must_use]
    pub const fn trim_max_sectors(&self) -> u64 {
        if self.trim { TRIM_BLOCK_SECTORS } else { 0 }
    }

    /// A request submitted now would be accepted.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.ios.has_room()
    }

    /// No request is accepted and not completed.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.ios.outstanding() == 0
    }

    /// Requests accepted and not completed.
    #[must_use]
    pub const fn outstanding(&self) -> u32 {
        self.ios.outstanding() as u32
    }

    /// Each path in service has at least so many frames in flight. What else is ready may wait for the
    /// answers to them, of which the next one is near.
    #[must_use]
    pub fn expects_answers(&self, frames: u16) -> bool {
        self.paths.all_have_in_flight(frames)
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.info.counters
    }

    /// Its paths: those that carry I/O, did so, or must never. Mere candidates are left out.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().filter(|path| path.is_known())
    }

    /// The same with their numbers. A path keeps its number for its life; when it has gone, the number is
    /// free for a path to come.
    pub fn numbered_paths(&self) -> impl Iterator<Item = (u8, &Path)> {
        self.paths.numbered().filter(|(_, path)| path.is_known())
    }

    /// The path with this number; `None` while no path of [`Target::paths`] has it.
    #[must_use]
    pub fn path(&self, number: u8) -> Option<&Path> {
        let mut paths = self.numbered_paths();
        paths.find(|(n, _)| *n == number).map(|(_, path)| path)
    }

    /// The path on which another disk was last seen under this address.
    #[must_use]
    pub const fn conflict(&self) -> Option<(NetifId, MacAddr)> {
        self.info.conflict
    }

    /// The engine's own books do not add up. It has failed all requests; the fault is in the engine.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        self.frames.is_broken() | self.ios.is_broken() | self.paths.is_broken()
    }
}

impl Counters {
    fn count(&mut self, done: &Io) {
        let requests = u64::from(done.requests);
        if let Some(error) = done.error() {
            let expired = error == IoError::Expired;
            let counter = if expired {
                &mut self.expired
            } else {
                &mut self.errors
            };
            *counter += requests;
            return;
        }
        let bytes = (done.sectors - u64::from(done.bad_sectors)) << 9;
        match done.op {
            Op::Read => {
                self.reads += requests;
                self.bytes_read = self.bytes_read.wrapping_add(bytes);
            }
            Op::Write => {
                self.writes += requests;
                self.bytes_written = self.bytes_written.wrapping_add(bytes);
            }
            Op::Flush => self.flushes += 1,
            Op::Trim => self.trims += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::size_of;

    #[test]
    fn a_target_is_small_enough_for_a_kernel_stack() {
        assert!(
            size_of::<Target<'_>>() <= 776,
            "{}",
            size_of::<Target<'_>>()
        );
        assert!(size_of::<Path>() <= 328, "{}", size_of::<Path>());
        assert!(size_of::<Frame>() <= 64, "{}", size_of::<Frame>());
        assert!(size_of::<Io>() <= 80, "{}", size_of::<Io>());
    }
}
