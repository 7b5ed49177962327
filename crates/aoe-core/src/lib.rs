//! The initiator as a sans-IO engine.
//!
//! The engine is told what the world did (`handle_*`), is given commands (plain verbs such as
//! [`Target::submit`]), and is then asked what the world must do next (`poll_*`). It has no clock,
//! no lock, no allocator and no global: time and random seeds are arguments, memory is lent by the
//! caller, and payload bytes never enter it. What moves through it are headers and references of
//! the form (token, offset, length).
//!
//! Two objects, so that each can have a lock of its own:
//!
//! * [`Initiator`] knows the interfaces, sends the discover beacons, and decides whether an address
//!   that announces itself may become a target.
//! * [`Target`] is one shelf.slot: its paths, its identity, and every I/O in flight.
//!
//! The caller keeps the targets in a table, in which [`lookup`] finds the one that a frame is for.
//!
//! # The order of calls
//!
//! After any `handle_*` or command on a [`Target`], drain it in this order until each is empty:
//! [`Target::poll_transmit`], [`Target::poll_completion`], [`Target::poll_event`]; then arm one timer
//! for [`Target::poll_timeout`]. The caller may stop after any number of transmits (a batch) and go on
//! later, as long as it does go on. Time must not run backwards.
//!
//! # Memory
//!
//! A target begins with what an idle one needs, under 1,152 bytes, and asks for more when there is a use for it:
//!
//! * [`Target::new`] is lent an [`Info`]; the target itself has room for one path.
//! * [`Handled::Widen`] asks for a table of paths when another one is heard of, [`Handled::KeepConfig`] for
//!   room for a config string. A caller without memory says no by doing nothing.
//! * [`Target::lend`] brings the tables of frames and requests, which are large, before the disk is opened;
//!   after [`Event::Unused`] they can be taken back.
//!
//! [`Target::reclaim`] gives everything back.
//!
//! # Promises
//!
//! * A request that `submit` accepted is completed exactly once; one it refused as full, never. One that
//!   `join` put behind another is completed with that one.
//! * Nothing that arrives from the wire panics, and nothing grows beyond [`limits`].
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod addrlist;
pub mod eventlog;
mod failed;
pub mod iflist;
mod initiator;
pub mod limits;
mod link;
pub mod list;
pub mod lookup;
mod ports;
mod quarantine;
mod request;
pub mod settings;
mod target;
pub mod targetlist;
mod time;

pub use failed::{BadAnswer, FailedCommand};
pub use initiator::{Admission, Initiator};
pub use link::{InterfaceChange, Link, Links, NetifId, Rings};
pub use ports::{Look, Port, PortId, PortSet, PortState, Ports, Purge, Sharing, Update};
pub use quarantine::Quarantine;
pub use request::{
    Claim, Completion, DropReason, Event, Full, Handled, IoError, Op, Payload, Received, Request,
    Ticket, Transmit,
};
pub use target::{
    Counters, Frame, Info, Io, IoStorage, Path, PathState, State, Target, TargetStorage, Tunables,
    Waiting,
};
pub use time::Instant;
