// SPDX-License-Identifier: BSD-2-Clause
//! The listed interfaces, and the rest of the configuration.

use core::fmt::{self, Display, Write};

use aoe_core::limits::MAX_NETIFS;
use aoe_core::{InterfaceChange, Link, NetifId, iflist};

use crate::boot::{self, Boot};
use crate::cell::{self, CONFIG, Guard};
use crate::drive::drive;
use crate::ffi::{self, Errno, Ifnet, errno, raw};
use crate::report;
use crate::{hub, module, sysctl};

/// What the configuration lock guards.
pub(crate) struct Config {
    pub(crate) netifs: [Option<Netif>; MAX_NETIFS],
    pub(crate) beacon_secs: u32,
    pub(crate) fail_on_shutdown: bool,
    /// The module is being unloaded: nothing new is taken on.
    pub(crate) closing: bool,
    pub(crate) boot: Boot,
    pub(crate) nodes: sysctl::Nodes,
    hooked: bool,
}

impl Config {
    pub(crate) const fn new() -> Self {
        Self {
            netifs: [const { None }; MAX_NETIFS],
            beacon_secs: 60,
            fail_on_shutdown: true,
            closing: false,
            boot: Boot::new(),
            nodes: sysctl::Nodes::NONE,
            hooked: false,
        }
    }

    /// The name of an interface, filled up with zeros.
    pub(crate) fn netif_name_bytes(&self, id: NetifId) -> [u8; NAME] {
        let netif = self.netifs.get(usize::from(id.0)).and_then(Option::as_ref);
        netif.map_or([0; _], Netif::name_bytes)
    }

    /// The name of an interface, for people.
    pub(crate) fn netif_name(&self, id: NetifId) -> &str {
        self.netifs
            .get(usize::from(id.0))
            .and_then(Option::as_ref)
            .map_or("?", Netif::name)
    }

    fn position(&self, wanted: impl Fn(&Netif) -> bool) -> Option<NetifId> {
        let at = self
            .netifs
            .iter()
            .position(|netif| netif.as_ref().is_some_and(&wanted))?;
        u8::try_from(at).ok().map(NetifId)
    }

    fn netif(&mut self, id: NetifId) -> Option<&mut Netif> {
        self.netifs.get_mut(usize::from(id.0))?.as_mut()
    }

    /// The list as it would be written.
    pub(crate) fn write_list(&self, to: &mut impl Write) -> fmt::Result {
        for (index, netif) in self.netifs.iter().flatten().enumerate() {
            let separator = if index == 0 { "" } else { " " };
            write!(to, "{separator}{}", netif.name())?;
        }
        Ok(())
    }
}

/// Room for the name of an interface.
pub(crate) const NAME: usize = iflist::MAX_NAME;

/// One listed interface.
pub(crate) struct Netif {
    name: [u8; NAME],
    name_len: usize,
    /// The kernel has it, and the hook takes its frames.
    pub(crate) present: bool,
    /// As the engine was last told: `None` is down.
    pub(crate) told: Option<Link>,
}

impl Netif {
    fn new(name: &str) -> Self {
        let mut netif = Self {
            name: [0; _],
            name_len: 0,
            present: false,
            told: None,
        };
        netif.rename(name);
        netif
    }

    fn rename(&mut self, name: &str) {
        self.name = [0; _];
        self.name_len = name.len().min(self.name.len());
        for (to, from) in self.name.iter_mut().zip(name.bytes()) {
            *to = from;
        }
    }

    pub(crate) fn name(&self) -> &str {
        let bytes = self.name.get(..self.name_len).unwrap_or(&[]);
        core::str::from_utf8(bytes).unwrap_or("?")
    }

    /// Its name, filled up with zeros.
    pub(crate) const fn name_bytes(&self) -> [u8; NAME] {
        self.name
    }

    /// Its state in a word.
    pub(crate) const fn state(&self) -> &'static str {
        match (self.present, self.told) {
            (false, _) => "pending",
            (true, None) => "down",
            (true, Some(_)) => "up",
        }
    }
}

/// Why an interface cannot be used.
enum Unfit {
    LaggPort,
    NotEthernet,
}

impl Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LaggPort => "is a port of a lagg; list the lagg instead",
            Self::NotEthernet => "is not an Ethernet interface",
        })
    }
}

fn fitness(ifp: &Ifnet) -> Result<(), Unfit> {
    const ETHER: i32 = raw::IFT_ETHER as i32;
    const VLAN: i32 = raw::IFT_L2VLAN as i32;
    const BRIDGE: i32 = raw::IFT_BRIDGE as i32;
    const LAGG_PORT: i32 = raw::IFT_IEEE8023ADLAG as i32;
    match ifp.kind() {
        ETHER | VLAN | BRIDGE => Ok(()),
        LAGG_PORT => Err(Unfit::LaggPort),
        _ => Err(Unfit::NotEthernet),
    }
}

/// Sets the list. On an error nothing has changed.
pub(crate) fn set_list(config: &mut Guard<Config>, text: &str) -> Result<(), Errno> {
    if config.closing {
        return Err(errno::ENXIO);
    }
    let list = iflist::parse(text).map_err(|_| errno::EINVAL)?;
    for name in list.iter() {
        if let Some(Err(unfit)) = Ifnet::find(name.as_bytes()).as_ref().map(fitness) {
            report::netif(name, &unfit);
            return Err(errno::EINVAL);
        }
    }
    // First in, so that no frame of an interface that stays is missed.
    if !list.is_empty() {
        set_hook(config, true)?;
    }
    for index in ids() {
        let unlisted = |netif: &mut Netif| !list.iter().any(|name| name == netif.name());
        if config.netif(index).is_some_and(unlisted) {
            remove(config, index);
        }
    }
    for name in list.iter() {
        if config.position(|netif| netif.name() == name).is_none() {
            add(config, name);
        }
    }
    if list.is_empty() {
        set_hook(config, false)?;
    }
    hub::discover();
    Ok(())
}

pub(crate) fn ids() -> impl Iterator<Item = NetifId> {
    (0..MAX_NETIFS as u8).map(NetifId)
}

fn set_hook(config: &mut Guard<Config>, on: bool) -> Result<(), Errno> {
    if config.hooked != on {
        ffi::set_hook(on)?;
        config.hooked = on;
        hub::set_watch(on);
    }
    Ok(())
}

fn add(config: &mut Guard<Config>, name: &str) {
    let Some(free) = config.netifs.iter().position(Option::is_none) else {
        return;
    };
    let Ok(id) = u8::try_from(free).map(NetifId) else {
        return;
    };
    if let Some(slot) = config.netifs.get_mut(free) {
        *slot = Some(Netif::new(name));
    }
    match Ifnet::find(name.as_bytes()) {
        Some(ifp) => attach(config, id, ifp),
        None => report::netif(name, &"is not there yet"),
    }
}

fn attach(config: &mut Guard<Config>, id: NetifId, ifp: Ifnet) {
    if let Err(unfit) = fitness(&ifp) {
        report::netif(config.netif_name(id), &unfit);
        return;
    }
    let Some(netif) = config.netif(id) else {
        return;
    };
    netif.present = true;
    ifp.attach(id);
    refresh(config, id);
}

fn detach(config: &mut Guard<Config>, id: NetifId) {
    let Some(netif) = config.netif(id) else {
        return;
    };
    if netif.present {
        netif.present = false;
        netif.told = None;
        ffi::detach_netif(id);
        tell(config, id, InterfaceChange::Gone);
    }
}

fn remove(config: &mut Guard<Config>, id: NetifId) {
    detach(config, id);
    if let Some(slot) = config.netifs.get_mut(usize::from(id.0)) {
        *slot = None;
    }
}

/// Tells the engine of every target and the hub.
fn tell(config: &Guard<Config>, id: NetifId, change: InterfaceChange) {
    cell::for_each(config, |cell| {
        let mut guard = cell.lock();
        let now = guard.now();
        guard.target.handle_interface(now, id, change);
        drive(guard);
    });
    hub::handle_interface(id, change);
}

/// Looks at an interface and tells of what changed.
fn refresh(config: &mut Guard<Config>, id: NetifId) {
    let Some(netif) = config.netif(id) else {
        return;
    };
    if !netif.present {
        return;
    }
    let link = ffi::netif_link(id);
    let change = match (netif.told, link) {
        (None, Some(_)) => Some(InterfaceChange::Up),
        (Some(_), None) => Some(InterfaceChange::Down),
        (Some(old), Some(new)) if old != new => Some(InterfaceChange::Changed),
        _ => None,
    };
    netif.told = link;
    if change == Some(InterfaceChange::Down) {
        // What waits in it would leave when the link is back, and strike newer data.
        ffi::flush_netif(id);
    }
    if let Some(change) = change {
        tell(config, id, change);
    }
    ffi::refill_netif(id);
}

/// Something changed, or some time passed; in the work thread.
pub(crate) fn refresh_all() {
    {
        let mut config = CONFIG.lock();
        for id in ids() {
            refresh(&mut config, id);
        }
    }
    boot::tick();
    // The kernel announces a shutdown only after init has synced, which may wait for a target.
    if module::is_shutting_down() || ffi::init_syncs() {
        module::shutdown();
    }
}

/// An interface arrived, or has another name now.
pub(crate) fn arrive(ifp: Ifnet, name: &str, renamed: bool) {
    let mut config = CONFIG.lock();
    if config.closing {
        return;
    }
    if renamed && let Some(id) = ids().find(|id| ifp.is_netif(*id)) {
        // Its paths stay; the list says what it is called now.
        let twin = config.position(|netif| netif.name() == name);
        if let Some(netif) = config.netif(id) {
            netif.rename(name);
        }
        if let Some(twin) = twin.filter(|twin| *twin != id) {
            remove(&mut config, twin);
        }
    } else if let Some(id) = config.position(|netif| !netif.present && netif.name() == name) {
        attach(&mut config, id, ifp);
    }
}

/// An interface leaves. On return nothing of the module uses it.
pub(crate) fn depart(ifp: &Ifnet) {
    let mut config = CONFIG.lock();
    if let Some(id) = ids().find(|id| ifp.is_netif(*id)) {
        detach(&mut config, id);
    }
}

/// Takes everything off the list.
pub(crate) fn clear(config: &mut Guard<Config>) -> Result<(), Errno> {
    for id in ids() {
        remove(config, id);
    }
    set_hook(config, false)
}
