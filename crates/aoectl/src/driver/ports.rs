// SPDX-License-Identifier: BSD-2-Clause
//! The interfaces that the engine works with.

use anyhow::{Context, Result, bail};
use aoe_core::limits::MAX_NETIFS;
use aoe_core::{InterfaceChange, Link, Links, NetifId, Rings};
use aoe_os::{Interface, RawSocket};
use std::io;

/// Where the upper bit of the tag is in a frame.
///
/// Kernel initiators use tags without it and ignore answers that have it (Linux and our own module do), so
/// that a tool which sets it can work beside them on the same interface.
const TAG_OFFSET: usize = 20;
const TOOL_TAG: u8 = 0x80;

/// One interface.
#[derive(Debug)]
struct Port {
    name: String,
    /// `None` after the interface has left, until one of the same name is there.
    socket: Option<RawSocket>,
    /// `None` while nothing may be sent.
    link: Option<Link>,
}

/// All of them. The engine's number of an interface is its place here.
#[derive(Debug)]
pub(crate) struct Ports {
    ports: Vec<Port>,
    /// Something happened that makes a look at the interfaces worthwhile.
    suspect: bool,
}

impl Links for Ports {
    fn link(&self, id: NetifId) -> Option<Link> {
        self.ports.get(usize::from(id.0))?.link
    }
}

impl Ports {
    /// Opens the interfaces of these names. None is up yet: [`Ports::refresh`] tells.
    pub(crate) fn open(names: &[String]) -> Result<Self> {
        if names.len() > MAX_NETIFS {
            bail!("at most {MAX_NETIFS} interfaces can be used at a time");
        }
        let mut ports: Vec<Port> = Vec::new();
        for name in names {
            if ports.iter().any(|p| p.name == *name) {
                bail!("interface {name} is named twice");
            }
            let socket = RawSocket::open(name).map_err(|e| explain(e, name))?;
            ports.push(Port {
                name: name.clone(),
                socket: Some(socket),
                link: None,
            });
        }
        Ok(Self {
            ports,
            suspect: true,
        })
    }

    /// The name of an interface.
    pub(crate) fn name(&self, id: NetifId) -> &str {
        self.ports.get(usize::from(id.0)).map_or("?", |p| &p.name)
    }

    /// Names of the interfaces, and whether each may be used now.
    pub(crate) fn states(&self) -> impl Iterator<Item = (&str, bool)> {
        self.ports
            .iter()
            .map(|p| (p.name.as_str(), p.link.is_some()))
    }

    /// The sockets, to wait on.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = &RawSocket> {
        self.ports.iter().filter_map(|p| p.socket.as_ref())
    }

    /// Every interface number.
    pub(crate) fn ids(&self) -> impl Iterator<Item = NetifId> + use<> {
        (0..self.ports.len()).filter_map(|n| u8::try_from(n).ok().map(NetifId))
    }

    /// Whether sending or receiving met an error that a change of the interface would explain.
    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// Looks at the interfaces and tells what has changed since the last look.
    pub(crate) fn refresh(&mut self) -> Vec<(NetifId, InterfaceChange)> {
        self.suspect = false;
        let ids = self.ids();
        ids.zip(&mut self.ports)
            .filter_map(|(id, port)| Some((id, port.refresh()?)))
            .collect()
    }

    /// Sends a frame in the tools' half of the tags. A frame that cannot be sent is lost, as on any wire.
    pub(crate) fn send(&mut self, id: NetifId, frame: &mut [u8]) -> io::Result<()> {
        if let Some(byte) = frame.get_mut(TAG_OFFSET) {
            *byte |= TOOL_TAG;
        }
        let Some(port) = self.ports.get(usize::from(id.0)) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let Some(socket) = &port.socket else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let result = socket.send(frame);
        match &result {
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => {
                log::debug!("{}: cannot send {} bytes: {e}", port.name, frame.len());
                self.suspect = true;
            }
            _ => {}
        }
        result
    }

    /// Receives a frame if there is one that may be ours, with its tag as the engine knows it.
    pub(crate) fn receive(&mut self, id: NetifId, buffer: &mut [u8]) -> Option<usize> {
        let port = self.ports.get_mut(usize::from(id.0))?;
        loop {
            let len = match port.socket.as_mut()?.try_recv(buffer) {
                Ok(len) => len?,
                Err(e) => {
                    log::debug!("{}: cannot receive: {e}", port.name);
                    self.suspect = true;
                    return None;
                }
            };
            if buffer.get_mut(..len).is_some_and(take_tool_tag) {
                return Some(len);
            }
        }
    }
}

/// Takes the tools' mark off the tag. False for an answer to somebody else on this interface.
fn take_tool_tag(frame: &mut [u8]) -> bool {
    let Some([first, rest @ ..]) = frame.get_mut(TAG_OFFSET..TAG_OFFSET + 4) else {
        return false;
    };
    let marked = *first & TOOL_TAG != 0;
    // Tag 0 is an announcement, meant for everybody.
    let announcement = *first == 0 && rest.iter().all(|b| *b == 0);
    *first &= !TOOL_TAG;
    marked || announcement
}

impl Port {
    fn refresh(&mut self) -> Option<InterfaceChange> {
        let before = self.link;
        if self.socket.is_none() {
            self.socket = RawSocket::open(&self.name).ok();
        }
        let found = self.socket.as_ref()?.interface();
        log::trace!("{}: {found:?}", self.name);
        let Ok(found) = found else {
            self.socket = None;
            self.link = None;
            return Some(InterfaceChange::Gone);
        };
        let Interface {
            mac, mtu, is_up, ..
        } = found;
        self.link = is_up.then_some(Link {
            mtu,
            mac,
            in_order: true,
        });
        match (before, self.link) {
            (None, Some(_)) => Some(InterfaceChange::Up),
            (Some(_), None) => Some(InterfaceChange::Down(
                Rings::Empty,
                aoe_core::Instant::default(),
            )),
            (Some(a), Some(b)) if a != b => Some(InterfaceChange::Changed),
            _ => None,
        }
    }
}

/// Says what stands behind an error of opening an interface, naming it.
fn explain(error: io::Error, name: &str) -> anyhow::Error {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => " (raw Ethernet needs root)",
        _ => "",
    };
    anyhow::Error::new(error).context(format!("cannot use interface {name}{hint}"))
}

/// The names of all Ethernet interfaces that are up.
pub(crate) fn all_up() -> Result<Vec<String>> {
    let found = aoe_os::interfaces().context("cannot list the interfaces")?;
    let names: Vec<String> = found
        .into_iter()
        .filter(|i| i.is_up)
        .map(|i| i.name)
        .take(MAX_NETIFS)
        .collect();
    if names.is_empty() {
        bail!("no Ethernet interface is up");
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tools_half_of_the_tags_is_ours() {
        let mut frame = [0; 60];
        assert!(take_tool_tag(&mut frame));
        frame[23] = 1;
        assert!(!take_tool_tag(&mut frame));
        frame[20] = 0x92;
        assert!(take_tool_tag(&mut frame));
        assert_eq!(frame[20], 0x12);
        assert!(!take_tool_tag(&mut frame[..23]));
    }

    #[test]
    fn names_are_checked() {
        let twice = ["nosuchif0".to_owned(), "nosuchif0".to_owned()];
        let error = Ports::open(&twice[..1]).unwrap_err();
        assert!(format!("{error:#}").contains("nosuchif0"), "{error:#}");
        let many: Vec<String> = (0..17).map(|n| format!("if{n}")).collect();
        assert!(Ports::open(&many).unwrap_err().to_string().contains("16"));
    }
}
