// SPDX-License-Identifier: BSD-2-Clause
//! One thing that happens.

use crate::plain::Fault;
use crate::setup::{BUFFERS, SECTORS, pick, place};

/// Bytes of an encoded step.
pub const STEP_LEN: usize = 4;

/// One thing that happens. Numbers of frames and links are taken modulo what there is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the fields are what their names say")]
pub enum Step {
    /// A request. It may lie outside of the disk, or be empty.
    Write { lba: u8, sectors: u8, ordered: bool },
    /// A request.
    Read { lba: u8, sectors: u8, ordered: bool },
    /// A request.
    Trim { lba: u8, sectors: u8, ordered: bool },
    /// A request.
    Flush { ordered: bool },
    /// A frame that is on its way arrives.
    Deliver(u8),
    /// All of them arrive, in the order of sending, and what is sent because of that, too.
    DeliverAll,
    /// A frame never arrives.
    Lose(u8),
    /// Nothing of what is on its way arrives.
    LoseAll,
    /// A frame arrives and a copy of it stays on its way. One to the target arrives twice at once: the
    /// network does not keep copies of requests, only hosts that send them again do.
    Double(u8),
    /// Time passes. `late`: no timer runs before the end of it.
    Wait { millis: u32, late: bool },
    /// An interface loses its link.
    LinkDown(u8),
    /// It has it again, or is listed again.
    LinkUp(u8),
    /// It is taken off the list.
    LinkGone(u8),
    /// Its MTU is another.
    Mtu { link: u8, mtu: u16 },
    /// So many I/O commands go wrong at the target.
    Faults { fault: Fault, times: u8 },
    /// The target starts anew and tells so.
    Restart,
    /// The target is switched off, or on.
    Power(bool),
    /// The disk has another size.
    Resize(u8),
    /// The target tells another buffer count from now on.
    Buffers(u16),
    /// The target takes another number of sectors per frame from now on.
    Sectors(u8),
    /// The target answers the beacon on an interface.
    Beacon(u8),
    /// The operator's wishes.
    Tunables {
        dead_secs: u8,
        write_cache: Option<bool>,
    },
    /// A command of the operator.
    Revalidate,
    /// A command of the operator.
    FailHeld,
    /// The disk is taken away.
    Abort,
    /// The disk is opened or closed.
    Open(bool),
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Kind {
    Write,
    Read,
    Deliver,
    DeliverAll,
    Wait,
    Trim,
    Flush,
    Lose,
    LoseAll,
    Double,
    LinkDown,
    LinkUp,
    LinkGone,
    Mtu,
    Faults,
    Restart,
    Power,
    Resize,
    Buffers,
    Sectors,
    Beacon,
    Tunables,
    Operator,
}

/// What a byte stands for: the more often, the more likely in a random sequence.
#[rustfmt::skip]
const KINDS: [Kind; 64] = {
    use Kind::*;
    [
        Write, Read, Deliver, DeliverAll, Wait, Trim, Flush, Lose, LoseAll, Double, LinkDown, LinkUp,
        LinkGone, Mtu, Faults, Restart, Power, Resize, Buffers, Sectors, Beacon, Tunables, Operator,
        Write, Write, Write, Write, Write, Write, Write, Write, Write,
        Read, Read, Read, Read, Read, Trim,
        Deliver, Deliver, Deliver, Deliver, Deliver, Deliver, Deliver, Deliver, Deliver, Deliver,
        DeliverAll, DeliverAll, DeliverAll, DeliverAll, Wait, Wait, Wait, Wait, Wait, Wait,
        Lose, Lose, Double, Flush, LinkUp, LinkUp,
    ]
};

const MILLIS: [u32; 16] = [
    1, 2, 5, 10, 20, 50, 60, 100, 250, 500, 1000, 2000, 3500, 8000, 16_000, 61_000,
];
const MTUS: [u16; 4] = [1500, 9000, 4200, 600];
const DEAD_SECS: [u8; 4] = [0, 1, 3, 10];
const CACHES: [Option<bool>; 3] = [None, Some(true), Some(false)];
const FAULTS: [Fault; 8] = [
    Fault::Abort,
    Fault::Unreadable,
    Fault::Busy,
    Fault::BadArgument,
    Fault::Unavailable,
    Fault::Reserved,
    Fault::AbortAfter,
    Fault::Silence,
];

/// Where a request is, and how long it is.
fn extent(a: u8, b: u8) -> (u8, u8) {
    let lba = if a < 224 { a % 40 } else { a - 224 + 40 };
    let sectors = if b >= 248 { 0 } else { 1 + b % 16 };
    (lba, sectors)
}

impl Step {
    /// The step that four bytes say; any four bytes do.
    #[must_use]
    pub fn decode(bytes: [u8; STEP_LEN]) -> Self {
        let [kind, a, b, c] = bytes;
        let (lba, sectors) = extent(a, b);
        let ordered = c >= 224;
        match pick(KINDS, kind) {
            Kind::Write => Self::Write {
                lba,
                sectors,
                ordered,
            },
            Kind::Read => Self::Read {
                lba,
                sectors,
                ordered,
            },
            Kind::Trim => Self::Trim {
                lba,
                sectors,
                ordered,
            },
            Kind::Flush => Self::Flush { ordered },
            Kind::Deliver => Self::Deliver(a),
            Kind::DeliverAll => Self::DeliverAll,
            Kind::Lose => Self::Lose(a),
            Kind::LoseAll => Self::LoseAll,
            Kind::Double => Self::Double(a),
            Kind::Wait => Self::Wait {
                millis: pick(MILLIS, a),
                late: b >= 224,
            },
            Kind::LinkDown => Self::LinkDown(a),
            Kind::LinkUp => Self::LinkUp(a),
            Kind::LinkGone => Self::LinkGone(a),
            Kind::Mtu => Self::Mtu {
                link: a,
                mtu: pick(MTUS, b),
            },
            Kind::Faults => Self::Faults {
                fault: pick(FAULTS, a),
                times: 1 + b % 32,
            },
            Kind::Restart => Self::Restart,
            Kind::Power => Self::Power(a % 2 == 1),
            Kind::Resize => Self::Resize(16 + a % 49),
            Kind::Buffers => Self::Buffers(pick(BUFFERS, a)),
            Kind::Sectors => Self::Sectors(pick(SECTORS, a)),
            Kind::Beacon => Self::Beacon(a),
            Kind::Tunables => Self::Tunables {
                dead_secs: pick(DEAD_SECS, a),
                write_cache: pick(CACHES, b),
            },
            // Most sequences should not be over soon.
            Kind::Operator => match a {
                0..16 => Self::Abort,
                16..64 => Self::FailHeld,
                64..128 => Self::Open(b % 2 == 1),
                _ => Self::Revalidate,
            },
        }
    }

    /// Four bytes that say this step.
    #[must_use]
    pub fn encode(self) -> [u8; STEP_LEN] {
        let request = |kind, lba: u8, sectors: u8, ordered| {
            let a = if lba < 40 { lba } else { lba - 40 + 224 };
            let b = sectors.checked_sub(1).unwrap_or(248);
            (kind, a, b, if ordered { 224 } else { 0 })
        };
        let (kind, a, b, c) = match self {
            Self::Write {
                lba,
                sectors,
                ordered,
            } => request(Kind::Write, lba, sectors, ordered),
            Self::Read {
                lba,
                sectors,
                ordered,
            } => request(Kind::Read, lba, sectors, ordered),
            Self::Trim {
                lba,
                sectors,
                ordered,
            } => request(Kind::Trim, lba, sectors, ordered),
            Self::Flush { ordered } => (Kind::Flush, 0, 0, if ordered { 224 } else { 0 }),
            Self::Deliver(number) => (Kind::Deliver, number, 0, 0),
            Self::DeliverAll => (Kind::DeliverAll, 0, 0, 0),
            Self::Lose(number) => (Kind::Lose, number, 0, 0),
            Self::LoseAll => (Kind::LoseAll, 0, 0, 0),
            Self::Double(number) => (Kind::Double, number, 0, 0),
            Self::Wait { millis, late } => (
                Kind::Wait,
                place(MILLIS, &millis),
                if late { 224 } else { 0 },
                0,
            ),
            Self::LinkDown(link) => (Kind::LinkDown, link, 0, 0),
            Self::LinkUp(link) => (Kind::LinkUp, link, 0, 0),
            Self::LinkGone(link) => (Kind::LinkGone, link, 0, 0),
            Self::Mtu { link, mtu } => (Kind::Mtu, link, place(MTUS, &mtu), 0),
            Self::Faults { fault, times } => (
                Kind::Faults,
                place(FAULTS, &fault),
                times.saturating_sub(1),
                0,
            ),
            Self::Restart => (Kind::Restart, 0, 0, 0),
            Self::Power(on) => (Kind::Power, u8::from(on), 0, 0),
            Self::Resize(sectors) => (Kind::Resize, sectors.saturating_sub(16), 0, 0),
            Self::Buffers(count) => (Kind::Buffers, place(BUFFERS, &count), 0, 0),
            Self::Sectors(count) => (Kind::Sectors, place(SECTORS, &count), 0, 0),
            Self::Beacon(link) => (Kind::Beacon, link, 0, 0),
            Self::Tunables {
                dead_secs,
                write_cache,
            } => (
                Kind::Tunables,
                place(DEAD_SECS, &dead_secs),
                place(CACHES, &write_cache),
                0,
            ),
            Self::Abort => (Kind::Operator, 0, 0, 0),
            Self::FailHeld => (Kind::Operator, 16, 0, 0),
            Self::Open(open) => (Kind::Operator, 64, u8::from(open), 0),
            Self::Revalidate => (Kind::Operator, 128, 0, 0),
        };
        [place(KINDS, &kind), a, b, c]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Setup;

    #[test]
    fn a_step_comes_back_as_it_went() {
        for kind in 0..64 {
            for a in 0..=255 {
                for b in [0, 1, 2, 3, 15, 31, 200, 224, 248, 255] {
                    for c in [0, 255] {
                        let step = Step::decode([kind, a, b, c]);
                        assert_eq!(Step::decode(step.encode()), step);
                    }
                }
            }
        }
        for a in 0..=255 {
            for b in [0, 7, 8, 77, 255] {
                for c in [0, 7, 8, 77, 255] {
                    let setup = Setup::decode([a, b, c, a ^ 5]);
                    assert_eq!(Setup::decode(setup.encode()), setup);
                }
            }
        }
    }
}
