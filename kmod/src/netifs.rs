// SPDX-License-Identifier: BSD-2-Clause
//! The listed interfaces, and the rest of the configuration.

use core::fmt::{self, Display, Write};

use aoe_core::iflist::IfList;
use aoe_core::limits::{BEACON_SECS, MAX_NETIFS};
use aoe_core::{Instant, InterfaceChange, Link, NetifId, PortSet, iflist};

use crate::boot::{self, Boot};
use crate::cell::{self, Guard, NETIFS};
use crate::drive::drive;
use crate::ffi::{self, Errno, Flaw, Ifnet, errno, raw};
use crate::ports::Below;
use crate::report;
use crate::{hub, module, sysctl};

/// What the configuration lock guards.
pub(crate) struct Config {
    pub(crate) beacon_secs: u32,
    /// The module is being unloaded: nothing new is taken on.
    pub(crate) closing: bool,
    pub(crate) boot: Boot,
    pub(crate) nodes: sysctl::Nodes,
    hooked: bool,
}

impl Config {
    pub(crate) const fn new() -> Self {
        Self {
            beacon_secs: BEACON_SECS,
            closing: false,
            boot: Boot::new(),
            nodes: sysctl::Nodes::NONE,
            hooked: false,
        }
    }
}

/// The list of interfaces: what the lock of that name guards. Its holder never waits for memory: a
/// write that would give memory back may wait for a link, or for the reserve.
pub(crate) struct Netifs([Option<Netif>; MAX_NETIFS]);

impl Netifs {
    pub(crate) const fn new() -> Self {
        Self([const { None }; MAX_NETIFS])
    }

    fn get(&self, id: NetifId) -> Option<&Netif> {
        self.0.get(usize::from(id.0))?.as_ref()
    }

    fn get_mut(&mut self, id: NetifId) -> Option<&mut Netif> {
        self.0.get_mut(usize::from(id.0))?.as_mut()
    }

    /// The listed interfaces, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Netif> {
        self.0.iter().flatten()
    }

    /// The name of an interface, for people.
    pub(crate) fn name(&self, id: NetifId) -> &str {
        self.get(id).map_or("?", Netif::name)
    }

    fn position(&self, wanted: impl Fn(&Netif) -> bool) -> Option<NetifId> {
        ids().find(|id| self.get(*id).is_some_and(&wanted))
    }

    /// The interface's name, if it is there, and a reference on it.
    pub(crate) fn present(&self, id: NetifId) -> Option<([u8; NAME], Ifnet)> {
        let netif = self.get(id).filter(|netif| netif.present)?;
        Some((netif.name_bytes(), Ifnet::find(netif.name().as_bytes())?))
    }

    /// The list as it would be written.
    pub(crate) fn write_list(&self, to: &mut impl Write) -> fmt::Result {
        for (index, netif) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { " " };
            write!(to, "{separator}{}", netif.name())?;
        }
        Ok(())
    }
}

/// Room for the name of an interface.
pub(crate) const NAME: usize = iflist::MAX_NAME;
/// An interface that nobody sets up for so long after it was found is told of on the console.
const DOWN_NS: u64 = 3_000_000_000;

/// One listed interface.
pub(crate) struct Netif {
    name: [u8; NAME],
    name_len: usize,
    /// The kernel has it, and the hook takes its frames.
    present: bool,
    /// As the engine was last told: `None` is down.
    told: Option<Link>,
    /// What is below it.
    below: Below,
    /// When it was found, until it was first seen up.
    found: Option<Instant>,
    /// Why it is of no use although it is up, as was said.
    said: Option<Flaw>,
    /// It was said why it cannot be used.
    unfit: Option<Unfit>,
}

impl Netif {
    fn new(name: &str) -> Self {
        let mut netif = Self {
            name: [0; _],
            name_len: 0,
            present: false,
            told: None,
            below: Below::new(),
            found: None,
            said: None,
            unfit: None,
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
    const fn name_bytes(&self) -> [u8; NAME] {
        self.name
    }

    /// As the engine was last told.
    pub(crate) const fn link(&self) -> Option<Link> {
        self.told
    }

    /// What is below it.
    pub(crate) const fn below(&self) -> &Below {
        &self.below
    }

    /// Its state in a word.
    pub(crate) const fn state(&self) -> &'static str {
        match (self.present, self.told) {
            (false, _) => "pending",
            (true, Some(_)) => "up",
            (true, _) => "down",
        }
    }
}

/// Why an interface cannot be used.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
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
    change_list(&list);
    if list.is_empty() {
        set_hook(config, false)?;
        // Nothing could come that is waited for.
        boot::end(config);
    }
    hub::discover();
    Ok(())
}

fn change_list(list: &IfList<'_>) {
    let mut netifs = NETIFS.lock();
    for id in ids() {
        let listed = |netif: &Netif| list.iter().any(|name| name == netif.name());
        if netifs.get(id).is_some_and(|netif| !listed(netif)) {
            remove(&mut netifs, id);
        }
    }
    for name in list.iter() {
        if netifs.position(|netif| netif.name() == name).is_none() {
            add(&mut netifs, name);
        }
    }
}

pub(crate) fn ids() -> impl Iterator<Item = NetifId> {
    (0..MAX_NETIFS as u8).map(NetifId)
}

/// May wait for memory.
fn set_hook(config: &mut Guard<Config>, on: bool) -> Result<(), Errno> {
    if config.hooked != on {
        ffi::set_hook(on)?;
        config.hooked = on;
        hub::set_watch(on);
    }
    Ok(())
}

fn add(netifs: &mut Guard<Netifs>, name: &str) {
    let Some(id) = ids().find(|id| netifs.get(*id).is_none()) else {
        return;
    };
    if let Some(slot) = netifs.0.get_mut(usize::from(id.0)) {
        *slot = Some(Netif::new(name));
    }
    refresh(netifs, id);
    if netifs
        .get(id)
        .is_some_and(|netif| !netif.present && netif.unfit.is_none())
    {
        report::netif(name, &"is not there yet");
    }
}

/// Looks for an interface that is listed and was not there the last time.
fn look_for(netifs: &mut Guard<Netifs>, id: NetifId) {
    let Some(netif) = netifs.get_mut(id) else {
        return;
    };
    let Some(ifp) = Ifnet::find(netif.name().as_bytes()) else {
        netif.unfit = None;
        return;
    };
    let unfit = fitness(&ifp).err();
    if let Some(unfit) = unfit.filter(|_| netif.unfit != unfit) {
        report::netif(netif.name(), &unfit);
    }
    netif.unfit = unfit;
    if unfit.is_none() {
        netif.present = true;
        netif.found = Some(ffi::now());
        ifp.attach(id);
    }
}

fn detach(netifs: &mut Guard<Netifs>, id: NetifId) {
    let Some(netif) = netifs.get_mut(id) else {
        return;
    };
    if netif.present {
        netif.present = false;
        netif.told = None;
        netif.below = Below::new();
        netif.said = None;
        ffi::detach_netif(id);
        tell(netifs, id, InterfaceChange::Gone);
        drop_unused_ports(netifs);
    }
}

fn remove(netifs: &mut Guard<Netifs>, id: NetifId) {
    detach(netifs, id);
    // As long as the interface has its name here.
    cell::for_each_in_epoch(|cell| report::events(netifs, cell));
    forget(netifs, id);
}

fn forget(netifs: &mut Guard<Netifs>, id: NetifId) {
    if let Some(slot) = netifs.0.get_mut(usize::from(id.0)) {
        *slot = None;
    }
}

/// Tells the engine of every target and the hub.
fn tell(_netifs: &Guard<Netifs>, id: NetifId, change: InterfaceChange) {
    cell::for_each_in_epoch(|cell| {
        let mut guard = cell.lock();
        let now = guard.now();
        guard.target.handle_interface(now, id, change);
        drive(guard);
    });
    hub::handle_interface(id, change);
}

/// Looks for an interface, or at it, and tells of what changed.
fn refresh(netifs: &mut Guard<Netifs>, id: NetifId) {
    let Some(netif) = netifs.get(id) else {
        return;
    };
    if !netif.present {
        look_for(netifs, id);
    }
    if netifs.get(id).is_some_and(|netif| netif.present) {
        follow_link(netifs, id);
        ffi::refill_netif(id);
        remark(netifs, id);
    }
}

/// Looks at an interface and at what is below it, and tells of what changed. Until all targets were told nothing is
/// sent by it if its ports are others than they know, and what comes in is thrown away.
fn follow_link(netifs: &mut Guard<Netifs>, id: NetifId) {
    let Some(netif) = netifs.get_mut(id) else {
        return;
    };
    let before = netif.below.all();
    let changes = netif.below.look(id);
    let link = netif
        .below
        .is_usable()
        .then(|| ffi::netif_link(id))
        .flatten();
    let told = netif.told;
    netif.told = if netif.below.is_usable() {
        link.or(told)
    } else {
        None
    };
    let other = told.is_some() && link.is_some() && told != link;
    let dropped = before.without(netif.below.all());
    for change in changes.into_iter().flatten() {
        tell(netifs, id, change);
    }
    if other {
        tell(netifs, id, InterfaceChange::Changed);
    }
    if let Some(netif) = netifs.get_mut(id) {
        netif.below.settle(id, false);
        let name = netif.name;
        let name = name.get(..netif.name_len).unwrap_or(&[]);
        netif
            .below
            .remark(core::str::from_utf8(name).unwrap_or("?"));
    }
    if !dropped.is_empty() {
        drop_unused_ports(netifs);
    }
}

/// Lets go of ports that are below no listed interface any more.
fn drop_unused_ports(netifs: &Guard<Netifs>) {
    let mut used = PortSet::NONE;
    for netif in netifs.iter() {
        used = used.union(netif.below.all());
    }
    let unused = PortSet(u32::MAX).without(used);
    ffi::drop_ports(unused);
}

/// Says on the console, once, what keeps an interface from being of use and people can mend.
fn remark(netifs: &mut Guard<Netifs>, id: NetifId) {
    let flaw = ffi::netif_flaw(id);
    let Some(netif) = netifs.get_mut(id) else {
        return;
    };
    if netif.said != flaw {
        match flaw {
            Some(Flaw::Deaf) => report::netif(
                netif.name(),
                &"is a member of a bridge, which takes the frames to it; list the bridge instead",
            ),
            Some(Flaw::LaggPort) => report::netif(netif.name(), &Unfit::LaggPort),
            Some(Flaw::Down) | None => {}
        }
    }
    netif.said = flaw;
    let Some(found) = netif.found else { return };
    if flaw != Some(Flaw::Down) {
        netif.found = None;
    } else if ffi::boot_is_over() && ffi::now().since(found) >= DOWN_NS {
        netif.found = None;
        report::netif(netif.name(), &"is down; ifconfig up is needed to use it");
    }
}

/// Something changed, or some time passed; in the netif thread.
pub(crate) fn refresh_all() {
    {
        let mut netifs = NETIFS.lock();
        for id in ids() {
            refresh(&mut netifs, id);
        }
    }
    if boot::is_booting() {
        ffi::ask_module_work();
    }
    module::watch_init();
}

/// An interface has another name now.
pub(crate) fn rename(ifp: &Ifnet, name: &str) {
    let mut netifs = NETIFS.lock();
    let Some(id) = ids().find(|id| ifp.is_netif(*id)) else {
        return;
    };
    // Its paths stay; the list says what it is called now.
    let twin = netifs.position(|netif| netif.name() == name);
    if let Some(netif) = netifs.get_mut(id) {
        netif.rename(name);
    }
    if let Some(twin) = twin.filter(|twin| *twin != id) {
        remove(&mut netifs, twin);
    }
}

/// An interface leaves. On return nothing of the module uses it.
pub(crate) fn depart(ifp: &Ifnet) {
    let mut netifs = NETIFS.lock();
    if let Some(id) = ids().find(|id| ifp.is_netif(*id)) {
        detach(&mut netifs, id);
    }
    let Some(port) = ifp.port() else { return };
    ffi::drop_ports(PortSet::of(port));
    for id in ids() {
        let above = |netif: &Netif| netif.present && netif.below.all().has(port);
        if netifs.get(id).is_some_and(above) {
            follow_link(&mut netifs, id);
        }
    }
}

/// Takes everything off the list. The targets go, too, so that nothing is reported of their paths.
pub(crate) fn clear(config: &mut Guard<Config>) -> Result<(), Errno> {
    ffi::fault()?;
    {
        let mut netifs = NETIFS.lock();
        for id in ids() {
            detach(&mut netifs, id);
            forget(&mut netifs, id);
        }
    }
    ffi::fault()?;
    set_hook(config, false)
}
