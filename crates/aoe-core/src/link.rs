//! What the engine needs to know of a local interface.

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
}

/// The interfaces, asked when a frame is cut, so that an MTU is never a stale copy.
pub trait Links {
    /// The interface, or `None` while nothing may be sent on it (not listed, down, no link, gone).
    fn link(&self, id: NetifId) -> Option<Link>;
}

/// What happened to an interface.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum InterfaceChange {
    /// It may be used: it was listed, came up, or got its link (again).
    Up,
    /// It is still there but nothing may be sent on it now. What was queued in it has been thrown
    /// away, as far as its driver allows.
    Down,
    /// It left, or was taken off the list: its paths go with it.
    Gone,
    /// Its MTU or address is another now.
    Changed,
}

/// How many 512-byte sectors one frame can carry on an interface of this MTU.
///
/// The MTU does not count the Ethernet header, so the AoE and ATA headers (22 bytes) are all that is
/// taken off it. (`vblade` and Linux take off 36; what a target accepts is limited by what it advertises.)
#[must_use]
pub const fn payload_sectors(mtu: u32) -> u32 {
    mtu.saturating_sub(22) / 512
}
