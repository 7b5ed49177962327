//! The values that cross the border of the engine.

use crate::target::Parts;
use crate::{Instant, NetifId};
use aoe_wire::{ATA_HEADER_LEN, Header};

/// What a block request does.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// Read sectors.
    Read,
    /// Write sectors.
    Write,
    /// Make every write that was accepted before it durable.
    Flush,
    /// The sectors' contents are no longer needed.
    Trim,
}

impl Op {
    /// Its name, as shown to people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Trim => "trim",
        }
    }
}

/// A block request, as handed to [`crate::Target::submit`].
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The caller's name for it, given back in every reference to its data and in its completion.
    pub token: u64,
    /// What it does.
    pub op: Op,
    /// First 512-byte sector.
    pub lba: u64,
    /// Length in 512-byte sectors; 0 for [`Op::Flush`].
    pub sectors: u64,
    /// A full barrier: everything accepted earlier completes before it starts, and nothing accepted
    /// later starts before it completes.
    pub ordered: bool,
    /// Seconds after which it fails while no path of the target answers, and
    /// [`crate::limits::PATIENCE_WITH_SLOW`] times as many after which it fails anyway; 0: it waits as
    /// [`crate::Tunables`] say. For requests that somebody waits for who must not be held for ever, whatever
    /// the operator decided.
    pub wait_secs: u8,
}

/// The table of requests is full: nothing was accepted. Submit it again, in order, after a completion.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Full;

/// Why a request failed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum IoError {
    /// The target reported a failure, or stayed silent for longer than the operator allows.
    Failed,
    /// It was not answered within its own [`Request::wait_secs`].
    Expired,
    /// The target is reserved by another initiator.
    Reserved,
    /// The target refuses writes.
    ReadOnly,
    /// The target cannot do this (flush or trim).
    Unsupported,
    /// The range does not lie on the disk, or the request is malformed.
    Invalid,
    /// The disk was removed.
    Gone,
}

/// The end of an accepted request.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Completion {
    /// The request's token.
    pub token: u64,
    /// How it ended.
    pub result: Result<(), IoError>,
    /// When it was accepted.
    pub submitted: Instant,
    /// It is made of several requests.
    pub(crate) joined: bool,
    /// Its sectors that failed ([`Parts::bits`]).
    pub(crate) bad: u32,
}

impl Completion {
    /// The end of a single request.
    #[must_use]
    pub const fn new(token: u64, result: Result<(), IoError>, submitted: Instant) -> Self {
        Self {
            token,
            result,
            submitted,
            joined: false,
            bad: 0,
        }
    }

    /// Others were joined to this request ([`crate::Target::join`]): each ended as [`Completion::part`]
    /// says.
    #[must_use]
    pub const fn is_joined(&self) -> bool {
        self.joined
    }

    /// How the part of a joined request ended that has `sectors` sectors from sector `first` of the whole
    /// on.
    ///
    /// # Errors
    /// The error of this part, or of the whole.
    pub const fn part(&self, first: u64, sectors: u64) -> Result<(), IoError> {
        if self.result.is_ok() && self.bad & Parts::bits(first, sectors) != 0 {
            return Err(IoError::Failed);
        }
        self.result
    }
}

/// Names an engine slot across a gap in which the engine's lock was not held.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Ticket {
    pub(crate) slot: u16,
    pub(crate) generation: u32,
}

/// The data that follow the header of a frame to send.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// None; the frame is padded to the Ethernet minimum.
    None,
    /// `len` bytes of the request `token`, from byte `offset` on.
    Io {
        /// The request's token.
        token: u64,
        /// First byte within the request's data.
        offset: u32,
        /// Number of bytes.
        len: u32,
    },
    /// One 512-byte block of TRIM ranges (`aoe_wire::emit_trim_range`) for these sectors.
    Trim {
        /// First sector.
        lba: u64,
        /// Number of sectors; one block always holds them.
        sectors: u64,
    },
}

/// A frame to send.
///
/// The first `header_len` bytes of `header` are complete, source and destination addresses included.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct Transmit {
    /// The interface to send on.
    pub netif: NetifId,
    /// Valid bytes of `header`.
    pub header_len: u8,
    /// Frames of one path share it, so that they can be pinned to one transmit queue.
    pub flow: u32,
    /// Ethernet, AoE and command headers.
    pub header: [u8; ATA_HEADER_LEN],
    /// What follows the header.
    pub payload: Payload,
    /// An earlier copy of this frame was sent.
    pub again: bool,
    /// When present, the request's data are pinned: the request is not completed until the caller,
    /// having copied the data, gives the ticket to [`crate::Target::transmitted`].
    pub ticket: Option<Ticket>,
}

/// A frame that came in.
#[derive(Copy, Clone, Debug)]
pub struct Received<'a> {
    /// The interface it came in by.
    pub netif: NetifId,
    /// Its parsed header.
    pub header: &'a Header,
    /// The bytes behind the 24-byte header that lie contiguous: for an ATA reply the 12-byte
    /// argument is enough, every other kind of message is given whole.
    pub arg: &'a [u8],
    /// Length of the whole frame in bytes, from the destination address on.
    pub len: usize,
}

/// Data in a frame that the caller must copy, without the engine's lock, and then commit.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct Claim {
    /// The request the data belong to (unused for IDENTIFY data).
    pub token: u64,
    /// First byte within the request's data.
    pub offset: u32,
    /// Number of bytes; the frame holds them at [`ATA_HEADER_LEN`].
    pub len: u32,
    pub(crate) ticket: Ticket,
}

/// What the caller must do with a frame it handed in.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[must_use]
pub enum Handled {
    /// Nothing more.
    Done,
    /// Copy the frame's data to the request, then call [`crate::Target::commit`].
    CopyData(Claim),
    /// Copy the frame's 512 bytes of data, then call [`crate::Target::commit_identify`].
    CopyIdentify(Claim),
    /// It came by a new path, and there is no slot for that: lend a table of so many by
    /// [`crate::Target::widen`] and hand the frame in again, or count it as [`DropReason::Full`]. The
    /// path is found again with the next answer to a beacon.
    Widen(usize),
    /// Its config string has no room: lend some for so many bytes by [`crate::Target::keep_config`], or
    /// leave it until the string is seen again. Nothing else is left to do for the frame.
    KeepConfig(usize),
    /// The frame was of no use; count it.
    Dropped(DropReason),
}

/// Why a frame was of no use. Each is a counter.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum DropReason {
    /// A request (the R flag is clear), ours or another initiator's.
    NotResponse,
    /// The command's argument or data are cut off.
    Short,
    /// Shelf 65535 or slot 255, or another address that no target may have.
    BadAddress,
    /// No such target, and nothing that could introduce one.
    UnknownTarget,
    /// The tag names nothing that is in flight.
    UnknownTag,
    /// The answer came from an address or interface that is no path of the target.
    UnknownPath,
    /// The answer does not fit the request that its tag names.
    Mismatch,
    /// A command that initiators do not take part in (MAC mask, reserve, vendor).
    IgnoredCommand,
    /// A config answer that cannot be parsed.
    BadConfig,
    /// IDENTIFY data that cannot belong to a usable disk.
    BadIdentify,
    /// A table (targets, paths) is full.
    Full,
    /// The operator does not allow a target of this address.
    NotAllowed,
}

impl DropReason {
    /// Every reason, in the order of [`DropReason::index`].
    pub const ALL: [Self; 12] = [
        Self::NotResponse,
        Self::Short,
        Self::BadAddress,
        Self::UnknownTarget,
        Self::UnknownTag,
        Self::UnknownPath,
        Self::Mismatch,
        Self::IgnoredCommand,
        Self::BadConfig,
        Self::BadIdentify,
        Self::Full,
        Self::NotAllowed,
    ];

    /// Its place in a table of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name as a counter, the leaf under `net.aoe.drops`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotResponse => "not_response",
            Self::Short => "short",
            Self::BadAddress => "bad_address",
            Self::UnknownTarget => "unknown_target",
            Self::UnknownTag => "unknown_tag",
            Self::UnknownPath => "unknown_path",
            Self::Mismatch => "mismatch",
            Self::IgnoredCommand => "ignored_command",
            Self::BadConfig => "bad_config",
            Self::BadIdentify => "bad_identify",
            Self::Full => "full",
            Self::NotAllowed => "not_allowed",
        }
    }
}

/// What happened to a target. Details are read from the target itself.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The target was identified for the first time: show its disk.
    Identified,
    /// It answers (again): held I/O goes on.
    Up,
    /// No path answers: I/O is held.
    Down,
    /// It has been down for longer than `dead_secs`: I/O fails until it answers again.
    Dead,
    /// Its size is another now.
    Resized,
    /// Another disk answers at this address, on a path that is not used.
    Conflict,
    /// A path came into use.
    PathUp,
    /// A path was lost.
    PathDown,
    /// The config string is another now.
    ConfigChanged,
    /// The target answered that another initiator has reserved it.
    Reserved,
    /// The target refuses writes.
    ReadOnly,
    /// The target turned out not to support flush, or trim, though it said so.
    FeatureLost,
    /// The target refused a frame as too large; the path's payload was asked for anew.
    PayloadRefused,
    /// Large frames were lost again and again while small ones came through: smaller ones are used on a
    /// path, and a larger one is tried now and then.
    PayloadReduced,
    /// Its disk is not open any more, and nothing of it is in flight: [`crate::Target::take_back`] gives
    /// the memory of its I/O back.
    Unused,
    /// It answers questions, but a request has been unanswered for long: [`crate::Target::waiting`].
    Stalled,
    /// Requests are answered again.
    Resumed,
    /// It was never identified, or has been silent and unused for long: it can be removed.
    Forget,
    /// A command failed, and its request with it: [`crate::Target::failed_command`].
    CommandFailed,
}

impl Event {
    /// Every event, in the order of [`Event::index`], which is the order they are reported in.
    pub const ALL: [Self; 19] = [
        Self::Identified,
        Self::Up,
        Self::Down,
        Self::Dead,
        Self::Resized,
        Self::Conflict,
        Self::PathUp,
        Self::PathDown,
        Self::ConfigChanged,
        Self::Reserved,
        Self::ReadOnly,
        Self::FeatureLost,
        Self::PayloadRefused,
        Self::PayloadReduced,
        Self::Unused,
        Self::Stalled,
        Self::Resumed,
        Self::Forget,
        Self::CommandFailed,
    ];

    /// Its place in a table.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}
