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
