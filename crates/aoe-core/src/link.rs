//! What the engine needs to know of a local interface.

use crate::Instant;
use aoe_wire::MacAddr;

/// A local interface, by the number its owner gave it (below [`crate::limits::MAX_NETIFS`]).
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NetifId(pub u8);

/// An interface as it is at this moment.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Bytes that fit behind the 14-byte Ethernet header.
    pub mtu: u32,
    /// Its own address, the source of every frame.
    pub mac: MacAddr,
    /// Frames of one flow leave this host in the order in which they were handed over: there is one port below
    /// it, or all of a flow go by the same one. Otherwise (a lagg in turns, a stack of interfaces that its owner
    /// cannot look into) the answer to a later frame says nothing of an earlier one. When this changes, or the
    /// ports that it speaks of do, [`InterfaceChange::Rewired`] follows.
    pub in_order: bool,
}

/// What the transmit rings below an interface keep of all that was handed to it so far.
///
/// A driver's ring outlives the loss of its link: it sends what it has when the link is back, hours later if
/// need be, and newer data are overwritten. So a copy that went into a ring counts as dead only by what is known
/// of that ring.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Rings {
    /// Nothing: all of it has left, or was thrown away for sure. Later answers prove what they always do.
    Empty,
    /// Perhaps something, in a port without link that cannot be emptied (or was not yet). It leaves when that
    /// port has its link again: until then no answer and no time proves anything.
    Held,
    /// Perhaps something, and it leaves soon, but maybe after what is sent from now on: by another port than
    /// that, or in no order. Or nobody can know. No answer proves anything; time does.
    Unknown,
}

/// The interfaces, asked when a frame is cut, so that an MTU is never a stale copy.
pub trait Links {
    /// The interface, or `None` while nothing may be sent on it (not listed, down, no link, gone).
    fn link(&self, id: NetifId) -> Option<Link>;
}

/// What happened to an interface.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum InterfaceChange {
    /// It may be used: it was listed, came up, or got its link (again). What its ring kept leaves first.
    Up,
    /// It is still there but nothing may be sent on it now. The time: what was handed over before it is in no ring
    /// that this is about, as [`Ports::update`] knows; [`Instant::default`] where nobody does.
    ///
    /// [`Ports::update`]: crate::Ports::update
    Down(Rings, Instant),
    /// Something below it changed, and it goes on: a lagg uses another port, a port got its link back, or the
    /// rings of a port without link were emptied after all. After [`InterfaceChange::Up`], too, where there are
    /// several ports.
    ///
    /// An answer by the new port proves nothing of what is in the ring of the old one, so this is told before any
    /// comes in: from the moment at which the links of the ports are other than was told, nothing is sent by the
    /// interface, and what comes in by it is thrown away.
    Rewired(Rings, Instant),
    /// It left, or was taken off the list: its paths go with it.
    Gone,
    /// Its MTU or address is another now.
    Changed,
}
