//! Every bound of the engine, with its reason.

use crate::time::{MS, SEC, US};

/// Interfaces that may be listed. More than any storage host has; a path names one in a byte.
pub const MAX_NETIFS: usize = 16;
/// Ports below one interface that are followed: a lagg or a bridge of more is looked at as one that cannot be seen
/// into.
pub const MAX_PORTS: usize = 16;
/// Targets that a machine may wait for when it boots: more than a root file system is spread over.
pub const MAX_BOOT_TARGETS: usize = 16;
/// Patterns of addresses that may become targets: a storage network has some ranges of shelves, not a list of disks.
pub const MAX_TARGET_PATTERNS: usize = 32;
/// Paths (local interface × remote MAC) of one target. The tag has room for eight probes.
pub const MAX_PATHS: usize = 8;
/// What an idle target takes stays below this, in bytes: 72 MiB for as many targets as there may be.
pub const MAX_IDLE_BYTES: usize = 1152;
/// Frames one target may have in its table, copies that cannot be proven dead included. The tag has
/// nine bits for them, less the numbers that belong to probes.
pub const MAX_FRAMES: usize = 496;
/// Frames lent to a target by default: two paths with a full window each, and as many quarantined.
pub const DEFAULT_FRAMES: usize = 384;
/// Requests lent to a target by default; a request beyond them waits at the caller's.
pub const DEFAULT_IOS: usize = 256;
/// Frames in flight to one remote MAC, whatever it advertises (kvblade: 1024), as in Linux.
pub const MAX_WINDOW: u16 = 128;
/// A window never shrinks below this while the target's buffer count allows it.
pub const MIN_WINDOW: u16 = 2;
/// The window a path starts with; it grows by one for each answer from there.
pub const INITIAL_WINDOW: u16 = 16;
/// When the window was full, new frames wait until this share of it is free: one in eight.
pub const BURST_SHARE: u16 = 8;
/// Most frames that wait for each other so: what the module hands to an interface at a time.
pub const MAX_BURST: u16 = 16;
/// Most sectors in one frame: the Sector Count register has eight bits.
pub const MAX_FRAME_SECTORS: u32 = 255;
/// Sectors per frame that a target with "0" in its Sector Count field takes (AoE section 3.2).
pub const DEFAULT_SECTORS: u8 = 2;
/// Block size that frames are cut to when the target does not say: almost every disk has it today.
pub const DEFAULT_PHYSICAL_SECTORS: u32 = 8;
/// Most bytes of a config string (AoE section 3.2).
pub const MAX_CONFIG_STRING: usize = 1024;
/// Longest request: offsets into its data are 32-bit. TRIM is not bound by it.
pub const MAX_IO_SECTORS: u64 = (1 << 31) / 512;

/// Retransmission time-out of a path on which no round trip was measured yet (RFC 6298 says a second
/// for the Internet; a LAN answers within milliseconds, a disk that spins up does not).
pub const INITIAL_RTO_NS: u64 = 200 * MS;
/// Shortest retransmission time-out: below it the scheduling of the two hosts is measured, not loss.
pub const MIN_RTO_NS: u64 = 3 * MS;
/// Silence after which the oldest frame in flight is sent once more, to provoke an answer (the tail loss
/// probe of RFC 8985). A needless one costs the target one frame, so it may come before the time-out.
pub const MIN_TAIL_NS: u64 = 500 * US;
/// How long the shortest round trip counts, and as long again at most: queues on a path are empty now
/// and then within that time.
pub const RTT_FLOOR_NS: u64 = 5 * SEC;
/// Least leeway for frames that overtake each other: two processors that send at once swap theirs.
pub const MIN_REORDER_NS: u64 = 50 * US;
/// How often [`MIN_TAIL_NS`] a path that is often late is given at most.
pub const MAX_TAIL_FACTOR: u16 = 16;
/// Longest retransmission time-out, back-off included.
pub const MAX_RTO_NS: u64 = SEC;
/// Time-outs in a row up to which the answer to a question shows that the requests sent before it were lost:
/// a fifth of a second on a LAN. A target whose disk hangs goes on answering questions, so that later ones
/// prove nothing.
pub const QUESTION_ROUNDS: u8 = 6;
/// Time-outs in a row, without a single answer, after which a path counts as lost.
pub const PATH_TIMEOUTS: u8 = 6;
/// The same where another path is up. Each frame that times out goes by the other one at once; giving
/// the path up is for one that is silent for longer than a disk takes to seek.
pub const PATH_TIMEOUTS_WITH_SPARE: u8 = 4;
/// Sectors in a frame that every Ethernet carries (MTU 1500).
pub const BASE_PAYLOAD: u32 = 2;
/// Rounds in which larger frames were lost while others came through, after which a path falls back to
/// [`BASE_PAYLOAD`]. At 10 % loss it takes six losses in a row to be wrong.
pub const LARGE_LOST_ROUNDS: u8 = 3;
/// How long after that a larger frame is tried, in seconds.
pub const MIN_PAYLOAD_RETRY_SECS: u8 = 1;
/// Where the doubling of that time stops.
pub const MAX_PAYLOAD_RETRY_SECS: u8 = 60;
/// Least time between two probes of a lost path.
pub const MIN_PROBE_NS: u64 = 100 * MS;
/// An answered question takes no longer than this on a LAN, so the same one is not asked sooner.
pub const MIN_PROBE_GAP_NS: u64 = 20 * MS;
/// Most time between two probes of a lost path: what an operator waits for after a cable is back.
pub const MAX_PROBE_NS: u64 = SEC;
/// A path on which nothing was heard for so long is asked for its config.
pub const KEEPALIVE_NS: u64 = 10 * SEC;
/// Unanswered keep-alives after which a path counts as lost.
pub const KEEPALIVE_TRIES: u8 = 5;
/// How long a copy of a write that was never answered keeps its range closed to newer writes, when
/// nothing better proves it dead and the operator does not say otherwise, in seconds. A stalled
/// target may hold it in a socket buffer for that long.
pub const QUARANTINE_SECS: u32 = 15;
/// How long a target may be silent before it is called down; I/O is held from the first moment.
pub const DOWN_AFTER_NS: u64 = 2 * SEC;
/// How long a path may be lost before that is reported.
pub const REPORT_LOST_NS: u64 = SEC;
/// A disk that is neither open nor answering is forgotten after this time.
pub const FORGET_NS: u64 = 300 * SEC;
/// A request that has waited for so long is shown to the operator.
pub const WAITING_NS: u64 = SEC;
/// A target that answers questions and leaves a request unanswered for so long is reported. Disks that spin up
/// are slower now and then, but nothing else that is well.
pub const STALL_REPORT_NS: u64 = 10 * SEC;
/// How many times longer a request with a limit of its own waits for a target that answers questions than for
/// one that is silent: the disk may have to spin up, for half a minute, behind others that do.
pub const PATIENCE_WITH_SLOW: u8 = 6;
/// Seconds for which GEOM's own look at a disk, on which the whole machine may wait, is held for a silent
/// target: longer than a switch takes to forward after a link came up, or a target to restart its service.
pub const TASTE_SECS: u8 = 10;
/// Most seconds between two reads that ask a dead target whether it carries out requests again.
pub const MAX_TRIAL_SECS: u8 = 10;
/// Least time between two IDENTIFYs that announcements can provoke.
pub const MIN_RECHECK_NS: u64 = 10 * MS;
/// Least time between two IDENTIFYs of a conflicting path.
pub const CONFLICT_RECHECK_NS: u64 = 5 * SEC;
/// IDENTIFYs, a second apart, that one disk alone must answer on a path where two had answered one.
pub const QUARREL_ROUNDS: u8 = 4;
/// A conflicting path that is not heard of any more is dropped after this time.
pub const CONFLICT_FORGET_NS: u64 = 180 * SEC;
/// Time between two IDENTIFYs of a path in use, for growth that nobody announced.
pub const REIDENTIFY_NS: u64 = 60 * SEC;
/// A target that was never identified is forgotten after so many unanswered IDENTIFYs.
pub const IDENTIFY_TRIES: u8 = 10;
/// Writes that fail one after the other, the last one refused without a reason, after which a target that
/// took others before is called read-only. One alone may be a bad sector, or a file that found no room.
pub const READ_ONLY_AFTER: u8 = 3;
/// A frame refused with a busy status is sent again after this time.
pub const BUSY_RETRY_NS: u64 = 50 * MS;
/// How often a frame may be refused, for a reason that can pass, before its request fails.
pub const MAX_REFUSALS: u8 = 20;
/// Sectors that one 512-byte block of TRIM ranges can name: 64 entries of 65,535.
pub const TRIM_BLOCK_SECTORS: u64 = 64 * 65_535;
/// Events of a target that wait to be reported: all its paths lost at once, and what follows from that. The thread
/// that reports is late by milliseconds.
pub const EVENT_LOG_ROOM: usize = 12;
/// What is wrong for every request is reported once in this time.
pub const REPEAT_NS: u64 = 60 * SEC;
/// Failed commands that differ in what they were, or in what the target said, that are reported in that time.
pub const MAX_FAILURES_REPORTED: usize = 4;
/// Events that whoever is on the wire can cause at will that are reported in that time: as many as a target may have
/// paths.
pub const MAX_OUTSIDE_EVENTS: u8 = 8;
/// Longest time that an operator may set, in seconds: 31 years. Timers of FreeBSD count the seconds since boot
/// in 31 bits, and a machine may have been up for as long again when a time begins.
pub const MAX_SETTING_SECS: u32 = 1_000_000_000;
/// Shortest time for which a copy of a write may keep its range closed: without any, a late copy could
/// overwrite newer data.
pub const MIN_QUARANTINE_SECS: u32 = 1;
/// Longest such time. Nothing between two hosts holds a frame for longer than minutes.
pub const MAX_QUARANTINE_SECS: u32 = 600;
/// Addresses whose quarantine is remembered apart after their targets were taken away. More than that at once, all of
/// them in the middle of their writes, is one event that concerns every target: then all share it.
pub const MAX_QUARANTINES: usize = 32;
/// Time between two beacons, unless the operator says otherwise, in seconds.
pub const BEACON_SECS: u32 = 60;
/// Longest time between two beacons: a day. What is to be found later than that is found on demand.
pub const MAX_BEACON_SECS: u32 = 86_400;
/// How long the root mount waits for targets, unless the operator says otherwise, in seconds.
pub const BOOT_WAIT_SECS: u32 = 30;
/// Longest time that it may wait: a day. Whoever waits for longer is not booting.
pub const MAX_BOOT_WAIT_SECS: u32 = 86_400;
/// Most time between two beacons on an interface on which nothing was heard since it came up. A switch or a
/// driver may drop every frame for longer than the link says; a disk is to be there within three seconds of the
/// first frame that passes.
pub const SILENT_BEACON_NS: u64 = 2 * SEC;
/// How long an interface is asked that often. After that there is nobody, or they announce themselves.
pub const SILENT_NS: u64 = 60 * SEC;
/// Targets one machine may have. The address space has 16 million; a forger could announce them all.
pub const MAX_TARGETS: usize = 65_536;
/// Targets one machine has, unless the operator says otherwise. Each takes kernel memory for itself and for its nodes in
/// the sysctl tree.
pub const DEFAULT_TARGETS: u32 = 1024;
/// Targets that announced themselves and were not identified yet.
pub const MAX_UNIDENTIFIED: usize = 1024;
