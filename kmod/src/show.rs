// SPDX-License-Identifier: BSD-2-Clause
//! Texts for people: what the string nodes of the sysctl tree say.

use core::fmt::{self, Display, Write};

use aoe_core::{NetifId, Target, Waiting};

use crate::cell::{self, Guard, NETIFS};
use crate::netifs::{Config, Netifs};
use crate::text::Text;

/// A number of sectors as a size for people.
pub(crate) struct Size(pub(crate) u64);

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.0 / 2048;
        if mib >= 10 * 1024 {
            write!(f, "{} GiB", mib / 1024)
        } else if mib >= 10 {
            write!(f, "{mib} MiB")
        } else {
            write!(f, "{} KiB", self.0 / 2)
        }
    }
}

/// `net.aoe.devices`.
pub(crate) fn devices(text: &mut Text<'_>, config: &Guard<Config>) -> fmt::Result {
    write!(
        text,
        "\n{:<10} {:<8} {:>10}  paths",
        "target", "state", "size"
    )?;
    let mut result = Ok(());
    let netifs = NETIFS.lock();
    cell::for_each(config, |cell| {
        let (guard, now) = cell.lock_timed();
        let waiting = guard.target.waiting(now);
        result = result.and_then(|()| device(text, &netifs, &guard.target, waiting));
    });
    result
}

fn device(
    text: &mut Text<'_>,
    netifs: &Netifs,
    target: &Target<'_>,
    waiting: Waiting,
) -> fmt::Result {
    // Padding works on whole texts, so that the two with parts are made first.
    let mut room = [0; 24];
    let mut name = Text::new(&mut room);
    write!(name, "{}", target.addr())?;
    let mut room = [0; 24];
    let mut size = Text::new(&mut room);
    write!(size, "{}", Size(target.sectors()))?;
    write!(
        text,
        "\n{:<10} {:<8} {:>10} ",
        core::str::from_utf8(name.as_bytes()).unwrap_or(""),
        target.state().name(),
        core::str::from_utf8(size.as_bytes()).unwrap_or(""),
    )?;
    for path in target.paths() {
        let netif = netifs.name(path.netif());
        write!(text, " {netif}>{}={}", path.mac(), path.state())?;
    }
    match waiting.requests {
        0 => Ok(()),
        requests => write!(
            text,
            "; {requests} requests wait, the oldest for {} s",
            waiting.oldest_ns / 1_000_000_000
        ),
    }
}

/// `net.aoe.interfaces`.
pub(crate) fn interfaces(text: &mut Text<'_>, netifs: &Netifs) -> fmt::Result {
    write!(
        text,
        "\n{:<16} {:<8} {:>5}  address",
        "interface", "state", "MTU"
    )?;
    for netif in netifs.iter() {
        write!(text, "\n{:<16} {:<8}", netif.name(), netif.state())?;
        if let Some(link) = netif.link() {
            write!(text, " {:>5}  {}", link.mtu, link.mac)?;
        }
        netif.below().write(text)?;
    }
    Ok(())
}

/// `net.aoe.boot_targets`.
pub(crate) fn boot_targets(text: &mut Text<'_>, config: &Guard<Config>) -> fmt::Result {
    for (index, addr) in config.boot.targets.iter().enumerate() {
        let separator = if index == 0 { "" } else { " " };
        write!(text, "{separator}{addr}")?;
    }
    Ok(())
}

/// The text of `conflict`.
pub(crate) fn conflict(
    text: &mut Text<'_>,
    netifs: &Netifs,
    conflict: Option<(NetifId, aoe_wire::MacAddr)>,
) -> fmt::Result {
    match conflict {
        Some((netif, mac)) => write!(text, "{mac} on {}", netifs.name(netif)),
        None => Ok(()),
    }
}
