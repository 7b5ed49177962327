// SPDX-License-Identifier: BSD-2-Clause
//! What C offers, with safe functions for what cannot be misused.
#![allow(unsafe_code)]

use core::ptr::NonNull;

use aoe_core::{Instant, Link, NetifId, PortId, PortSet, PortState, Purge, Sharing};
use aoe_wire::MacAddr;

/// The declarations that bindgen makes of `include/aoe_shim.h`.
#[allow(
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    non_snake_case,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::use_self,
    clippy::ptr_as_ptr
)]
pub(crate) mod raw {
    include!(env!("AOE_BINDINGS"));
}

use raw::{aoe_disk_params, aoe_link, ifnet, mbuf};

/// An errno; 0 is none.
pub(crate) type Errno = i32;

/// Turns C's errno into a result.
pub(crate) const fn check(errno: Errno) -> Result<(), Errno> {
    if errno == 0 { Ok(()) } else { Err(errno) }
}

/// The errno of a result.
pub(crate) const fn errno_of(result: Result<(), Errno>) -> Errno {
    match result {
        Ok(()) => 0,
        Err(errno) => errno,
    }
}

/// Constants as the types they are used with.
pub(crate) mod errno {
    use super::raw;
    pub(crate) const EBUSY: i32 = raw::EBUSY;
    pub(crate) const EINVAL: i32 = raw::EINVAL;
    pub(crate) const EIO: i32 = raw::EIO;
    pub(crate) const ENOENT: i32 = raw::ENOENT;
    pub(crate) const ENXIO: i32 = raw::ENXIO;
    pub(crate) const EOPNOTSUPP: i32 = raw::EOPNOTSUPP;
    pub(crate) const EROFS: i32 = raw::EROFS;
}

pub(crate) fn now() -> Instant {
    // SAFETY: reads the clock.
    Instant::from_nanos(unsafe { raw::aoe_shim_time_now() })
}

pub(crate) fn random() -> u128 {
    // SAFETY: no arguments, callable anywhere.
    let half = || u128::from(unsafe { raw::aoe_shim_mem_random() });
    half() << 64 | half()
}

pub(crate) fn count(counter: u32) {
    // SAFETY: C checks the number.
    unsafe { raw::aoe_shim_counter_add(counter, 1) }
}

pub(crate) fn counted(counter: u32) -> u64 {
    // SAFETY: C checks the number.
    unsafe { raw::aoe_shim_counter_fetch(counter) }
}

/// Prints a line on the console, unless too many of this cause were printed just now.
pub(crate) fn print(cause: u32, text: &[u8]) {
    // SAFETY: pointer and length of one slice; C keeps neither.
    unsafe { raw::aoe_shim_log_print(cause, text.as_ptr().cast(), text.len()) }
}

/// Tells devd(8) of a target.
pub(crate) fn notify_target(kind: &str, vars: &[u8]) {
    // SAFETY: pointers and lengths of slices, which C copies.
    unsafe {
        raw::aoe_shim_notify_target(
            kind.as_ptr().cast(),
            kind.len(),
            vars.as_ptr().cast(),
            vars.len(),
        );
    }
}

/// A step of loading or unloading that the module's tests can let fail.
pub(crate) fn fault() -> Result<(), Errno> {
    // SAFETY: called while the module is being loaded or unloaded, which the kernel does in one thread.
    check(unsafe { raw::aoe_shim_fault() })
}

/// Whether the root file system is mounted.
pub(crate) fn boot_is_over() -> bool {
    // SAFETY: reads a flag of the kernel.
    unsafe { raw::aoe_shim_boot_is_over() != 0 }
}

/// Lets the root mount wait; sleeps. Called with the configuration locked.
pub(crate) fn boot_hold() {
    // SAFETY: the lock orders this and `boot_release`.
    unsafe { raw::aoe_shim_boot_hold() }
}

/// Ends what [`boot_hold`] began. Called with the configuration locked.
pub(crate) fn boot_release() {
    // SAFETY: as for `boot_hold`.
    unsafe { raw::aoe_shim_boot_release() }
}

pub(crate) fn panic(text: &[u8]) -> ! {
    // SAFETY: pointer and length of one slice; does not return.
    unsafe { raw::aoe_shim_panic(text.as_ptr().cast(), text.len()) }
}

/// Sleeps.
pub(crate) fn pause(msecs: u32) {
    // SAFETY: callers are in contexts that may sleep; the kernel checks that itself.
    unsafe { raw::aoe_shim_pause(msecs) }
}

/// Waits until nobody is left in the net epoch who was there at the call.
pub(crate) fn epoch_wait() {
    // SAFETY: as for `pause`.
    unsafe { raw::aoe_shim_epoch_wait() }
}

/// Whether init waits for its last sync(2): the machine is going down.
pub(crate) fn init_syncs() -> bool {
    // SAFETY: looks at a process that never ends, with its lock.
    unsafe { raw::aoe_shim_init_syncs() != 0 }
}

/// Asks for `aoe_rs_module_work`.
pub(crate) fn ask_module_work() {
    // SAFETY: enqueues a task that lives as long as the module.
    unsafe { raw::aoe_shim_module_work() }
}

/// Asks for `aoe_rs_netif_work`.
pub(crate) fn ask_netif_work() {
    // SAFETY: enqueues a task that lives as long as the module.
    unsafe { raw::aoe_shim_netif_work() }
}

pub(crate) fn arm_initiator(at: Instant) {
    // SAFETY: resets a callout that lives as long as the module.
    unsafe { raw::aoe_shim_time_arm_initiator(at.as_nanos()) }
}

/// Waits for the timer's handler; sleeps.
pub(crate) fn stop_initiator() {
    // SAFETY: as for `pause`.
    unsafe { raw::aoe_shim_time_stop_initiator() }
}

/// Waits until the last target was destroyed; sleeps. Gives up after `seconds`.
pub(crate) fn wait_no_cells(seconds: i32) -> Result<(), Errno> {
    // SAFETY: as for `pause`.
    check(unsafe { raw::aoe_shim_cell_wait_none(seconds) })
}

/// Waits until nobody is in a call any more by which GEOM opens, closes or lets go of a disk; sleeps.
pub(crate) fn wait_disk_calls() {
    // SAFETY: as for `pause`; callers hold no lock.
    unsafe { raw::aoe_shim_disk_wait_calls() }
}

/// A network interface that C holds a reference on for us.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Ifnet(NonNull<ifnet>);

impl Ifnet {
    /// The interface of this name in the host's vnet.
    pub(crate) fn find(name: &[u8]) -> Option<Self> {
        // SAFETY: pointer and length of one slice; the result comes with a reference.
        NonNull::new(unsafe { raw::aoe_shim_net_find(name.as_ptr().cast(), name.len()) }).map(Self)
    }

    /// An interface that C named in a call.
    ///
    /// # Safety
    /// `ifp` must be an interface that exists during the call of this function.
    pub(crate) unsafe fn from_event(ifp: *mut ifnet) -> Option<Self> {
        let ifp = NonNull::new(ifp)?;
        // SAFETY: the caller says that it exists; from here on the reference keeps it.
        unsafe { raw::aoe_shim_net_ref(ifp.as_ptr()) };
        Some(Self(ifp))
    }

    /// Its `ifi_type`.
    pub(crate) fn kind(&self) -> i32 {
        // SAFETY: we hold a reference.
        unsafe { raw::aoe_shim_net_type(self.0.as_ptr()) }
    }

    /// Sets it up, as ifconfig(8) does; sleeps.
    pub(crate) fn raise(&self) -> Result<(), Errno> {
        // SAFETY: we hold a reference; callers hold no lock, which C asks for.
        check(unsafe { raw::aoe_shim_boot_raise(self.0.as_ptr()) })
    }

    /// Whether the listed interface `id` is this one.
    pub(crate) fn is_netif(&self, id: NetifId) -> bool {
        usize::from(id.0) < MAX_NETIFS
            // SAFETY: the number is in range; the pointer is only compared.
            && unsafe { raw::aoe_shim_net_is(u32::from(id.0), self.0.as_ptr()) } != 0
    }

    /// The number of the port that it is.
    pub(crate) fn port(&self) -> Option<PortId> {
        // SAFETY: the pointer is only compared.
        let number = unsafe { raw::aoe_shim_port_find(self.0.as_ptr()) };
        u8::try_from(number).ok().map(PortId)
    }

    /// Makes it the listed interface `id`. The reference goes with it.
    pub(crate) fn attach(self, id: NetifId) {
        if usize::from(id.0) < MAX_NETIFS {
            // SAFETY: the number is in range; C takes the reference over.
            unsafe { raw::aoe_shim_net_attach(u32::from(id.0), self.0.as_ptr()) };
            core::mem::forget(self);
        }
    }
}

impl Drop for Ifnet {
    fn drop(&mut self) {
        // SAFETY: gives back the reference that we hold.
        unsafe { raw::aoe_shim_net_release(self.0.as_ptr()) }
    }
}

const MAX_NETIFS: usize = raw::AOE_MAX_NETIFS as usize;
const _: () = assert!(MAX_NETIFS == aoe_core::limits::MAX_NETIFS);

/// Takes the interface away from everybody who uses it; sleeps.
pub(crate) fn detach_netif(id: NetifId) {
    if usize::from(id.0) < MAX_NETIFS {
        // SAFETY: the number is in range; called with the list of interfaces locked, which may sleep.
        unsafe { raw::aoe_shim_net_detach(u32::from(id.0)) }
    }
}

const MAX_PORTS: usize = raw::AOE_MAX_PORTS as usize;
const _: () = assert!(MAX_PORTS == PortSet::BITS);

/// What is below a listed interface.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Stack {
    pub(crate) ports: PortSet,
    /// Those that are given frames even without link.
    pub(crate) blind: PortSet,
    pub(crate) sharing: Sharing,
    /// Its one port is the interface itself.
    pub(crate) direct: bool,
    /// The interface itself could send.
    pub(crate) ready: bool,
}

/// Looks at what is below an interface. Called with the list of interfaces locked, as all about ports is.
pub(crate) fn look_below(id: NetifId) -> Option<Stack> {
    if usize::from(id.0) >= MAX_NETIFS {
        return None;
    }
    let mut stack = raw::aoe_stack {
        as_ports: 0,
        as_blind: 0,
        as_sharing: raw::AOE_SHARING_OPAQUE,
        as_direct: 0,
        as_ready: 0,
    };
    // SAFETY: the number is in range, and C fills the whole structure.
    unsafe { raw::aoe_shim_net_look(u32::from(id.0), &raw mut stack) };
    Some(Stack {
        ports: PortSet(stack.as_ports),
        blind: PortSet(stack.as_blind),
        sharing: match stack.as_sharing {
            raw::AOE_SHARING_FAILOVER => Sharing::Failover,
            raw::AOE_SHARING_HASH => Sharing::Hash,
            raw::AOE_SHARING_MIXED => Sharing::Mixed,
            _ => Sharing::Opaque,
        },
        direct: stack.as_direct != 0,
        ready: stack.as_ready != 0,
    })
}

/// Says of which ports and links the targets are being told, or were (`telling` is false). Without a port the
/// interface may be used as it is.
pub(crate) fn settle_netif(
    id: NetifId,
    ports: PortSet,
    with_link: PortSet,
    in_order: bool,
    telling: bool,
) {
    if usize::from(id.0) < MAX_NETIFS {
        // SAFETY: the number is in range.
        unsafe {
            raw::aoe_shim_net_settle(
                u32::from(id.0),
                ports.0,
                with_link.0,
                i32::from(in_order),
                i32::from(telling),
            );
        }
    }
}

/// How often targets were told of the ports below an interface.
pub(crate) fn changes() -> u32 {
    // SAFETY: reads a number.
    unsafe { raw::aoe_shim_net_changes() }
}

/// A port as it is now.
#[derive(Copy, Clone, Debug)]
pub(crate) struct PortSeen {
    pub(crate) state: PortState,
    pub(crate) purge: Purge,
    pub(crate) in_init: bool,
    name: [core::ffi::c_char; raw::AOE_NAME_MAX as usize],
}

impl PortSeen {
    /// Its name.
    pub(crate) fn name(&self) -> impl core::fmt::Display + '_ {
        CName(&self.name)
    }
}

/// A C string, as text.
struct CName<'n>(&'n [core::ffi::c_char]);

impl core::fmt::Display for CName<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let bytes = self.0.iter().map(|byte| *byte as u8);
        for byte in bytes.take_while(|byte| *byte != 0) {
            core::fmt::Write::write_char(f, char::from(byte))?;
        }
        Ok(())
    }
}

/// Looks at a port; `None` once its interface has left.
pub(crate) fn look_at_port(id: PortId) -> Option<PortSeen> {
    if usize::from(id.0) >= MAX_PORTS {
        return None;
    }
    let mut seen = raw::aoe_port_seen {
        ps_state: raw::AOE_PORT_STOPPED,
        ps_purge: raw::AOE_PURGE_NEVER,
        ps_in_init: 0,
        ps_name: [0; _],
    };
    // SAFETY: the number is in range, and C fills the whole structure, or says that there is nothing.
    let there = unsafe { raw::aoe_shim_port_look(u32::from(id.0), &raw mut seen) } != 0;
    there.then_some(PortSeen {
        state: match seen.ps_state {
            raw::AOE_PORT_UP => PortState::Up,
            raw::AOE_PORT_NO_LINK => PortState::NoLink,
            _ => PortState::Stopped,
        },
        purge: match seen.ps_purge {
            raw::AOE_PURGE_FLUSH => Purge::Flush,
            raw::AOE_PURGE_INIT => Purge::Init,
            _ => Purge::Never,
        },
        in_init: seen.ps_in_init != 0,
        name: seen.ps_name,
    })
}

/// Throws away what the ports have queued in software, once nobody is in their drivers any more who saw them with
/// link; sleeps.
pub(crate) fn flush_ports(ports: PortSet) {
    // SAFETY: C looks at the numbers below 32 that it has; the lock of the list keeps them.
    unsafe { raw::aoe_shim_port_flush(ports.0) }
}

/// Has a thread initialise the drivers of ports again. When it has, it asks for `aoe_rs_netif_work`.
pub(crate) fn init_ports(ports: PortSet) {
    // SAFETY: as for `flush_ports`.
    unsafe { raw::aoe_shim_port_init(ports.0) }
}

/// Lets ports go, in which nobody is interested any more; sleeps.
pub(crate) fn drop_ports(ports: PortSet) {
    // SAFETY: as for `flush_ports`.
    unsafe { raw::aoe_shim_port_drop(ports.0) }
}

/// What is wrong with an attached interface, as far as people can mend it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Flaw {
    /// Nobody has set it up.
    Down,
    /// It is a member of a bridge that takes the frames to its address.
    Deaf,
    /// It became a port of a lagg.
    LaggPort,
}

pub(crate) fn netif_flaw(id: NetifId) -> Option<Flaw> {
    if usize::from(id.0) >= MAX_NETIFS {
        return None;
    }
    // SAFETY: the number is in range.
    match unsafe { raw::aoe_shim_net_flaw(u32::from(id.0)) } {
        raw::AOE_FLAW_DOWN => Some(Flaw::Down),
        raw::AOE_FLAW_DEAF => Some(Flaw::Deaf),
        raw::AOE_FLAW_PORT => Some(Flaw::LaggPort),
        _ => None,
    }
}

/// Fills the interface's reserve of frames up.
pub(crate) fn refill_netif(id: NetifId) {
    if usize::from(id.0) < MAX_NETIFS {
        // SAFETY: the number is in range.
        unsafe { raw::aoe_shim_net_refill(u32::from(id.0)) }
    }
}

/// The frames for which buffers are kept back, of all interfaces.
pub(crate) fn reserve_count() -> u64 {
    // SAFETY: no arguments, callable anywhere.
    unsafe { raw::aoe_shim_reserve_count() }
}

/// The interface as it is now; `None` when nothing may be sent on it.
pub(crate) fn netif_link(id: NetifId) -> Option<Link> {
    if usize::from(id.0) >= MAX_NETIFS {
        return None;
    }
    let mut link = aoe_link {
        al_mtu: 0,
        al_mac: [0; 6],
        al_usable: 0,
        al_in_order: 0,
    };
    // SAFETY: the number is in range, and C fills the whole structure.
    unsafe { raw::aoe_shim_net_link(u32::from(id.0), &raw mut link) };
    (link.al_usable != 0).then_some(Link {
        mtu: link.al_mtu,
        mac: MacAddr(link.al_mac),
        in_order: link.al_in_order != 0,
    })
}

/// Puts the input hook in, or takes it out and waits until nobody is in it; sleeps.
pub(crate) fn set_hook(on: bool) -> Result<(), Errno> {
    // SAFETY: called with the configuration locked, which orders these calls.
    check(unsafe { raw::aoe_shim_net_hook(i32::from(on)) })
}

/// A received frame, for as long as the hook is in the call that brought it.
pub(crate) struct Mbuf<'m> {
    raw: NonNull<mbuf>,
    len: usize,
    life: core::marker::PhantomData<&'m mbuf>,
}

impl Mbuf<'_> {
    /// # Safety
    /// `raw` must be a chain of at least `len` bytes that stays unchanged for the lifetime.
    pub(crate) const unsafe fn new(raw: NonNull<mbuf>, len: usize) -> Self {
        Self {
            raw,
            len,
            life: core::marker::PhantomData,
        }
    }

    const fn holds(&self, from: usize, len: usize) -> bool {
        match from.checked_add(len) {
            Some(end) => end <= self.len && end <= u32::MAX as usize,
            None => false,
        }
    }

    /// Copies bytes out; false when the frame is too short for that.
    pub(crate) fn copy_to(&self, from: usize, to: &mut [u8]) -> bool {
        if !self.holds(from, to.len()) {
            return false;
        }
        // SAFETY: the range lies in the frame, the destination has the room.
        unsafe {
            raw::aoe_shim_mbuf_copy(
                self.raw.as_ptr(),
                from as u32,
                to.len() as u32,
                to.as_mut_ptr(),
            );
        }
        true
    }

    /// Copies `len` bytes to the request `bio`; false when the frame is too short for that.
    ///
    /// # Safety
    /// The request must be in the engine's hands, and hold `offset + len` bytes: both are what a
    /// claim of the engine says.
    pub(crate) unsafe fn copy_to_bio(&self, from: usize, bio: u64, offset: u32, len: u32) -> bool {
        if !self.holds(from, len as usize) {
            return false;
        }
        // SAFETY: the range lies in the frame; the caller answers for the request.
        unsafe { raw::aoe_shim_bio_copy(bio, offset, self.raw.as_ptr(), from as u32, len) };
        true
    }
}

/// A node of the sysctl tree.
#[derive(Copy, Clone)]
pub(crate) struct Node(NonNull<core::ffi::c_void>);

// SAFETY: the pointer only goes back to C, which takes it in any thread.
unsafe impl Send for Node {}

/// Whose sysctl nodes: they go when it goes.
#[derive(Copy, Clone)]
pub(crate) struct Owner(*mut raw::aoe_cell);

impl Owner {
    /// The module itself.
    pub(crate) const MODULE: Self = Self(core::ptr::null_mut());

    /// # Safety
    /// `cell` must stay until its nodes were removed; C does that before it is destroyed.
    pub(crate) const unsafe fn cell(cell: NonNull<raw::aoe_cell>) -> Self {
        Self(cell.as_ptr())
    }
}

fn raw_node(node: Option<Node>) -> *mut core::ffi::c_void {
    node.map_or(core::ptr::null_mut(), |node| node.0.as_ptr())
}

/// Adds a node below `parent` (`None`: below `net`), or finds it.
pub(crate) fn add_node(
    owner: Owner,
    parent: Option<Node>,
    name: &[u8],
    descr: &str,
) -> Option<Node> {
    // SAFETY: pointers and lengths of slices, which C copies; `parent` has an owner that lives.
    NonNull::new(unsafe {
        raw::aoe_shim_sysctl_node(
            owner.0,
            raw_node(parent),
            name.as_ptr().cast(),
            name.len(),
            descr.as_ptr().cast(),
            descr.len(),
        )
    })
    .map(Node)
}

/// Adds a leaf below `parent`.
pub(crate) fn add_leaf(
    owner: Owner,
    parent: Node,
    name: &str,
    descr: &str,
    kind: raw::aoe_leaf_type,
    writable: bool,
    id: u32,
) -> Result<(), Errno> {
    // SAFETY: as for `add_node`.
    check(unsafe {
        raw::aoe_shim_sysctl_leaf(
            owner.0,
            parent.0.as_ptr(),
            name.as_ptr().cast(),
            name.len(),
            descr.as_ptr().cast(),
            descr.len(),
            kind,
            i32::from(writable),
            id,
        )
    })
}

/// Empty parameters of a disk, to be filled in.
pub(crate) const NO_DISK: aoe_disk_params = aoe_disk_params {
    ad_mediasize: 0,
    ad_stripesize: 0,
    ad_stripeoffset: 0,
    ad_delmaxsize: 0,
    ad_unit: 0,
    ad_rotation_rate: 0,
    ad_can_flush: 0,
    ad_can_delete: 0,
    ad_name: [0; NAME],
    ad_alias: [0; NAME],
    ad_old_alias: [0; NAME],
    ad_ident: [0; NAME],
    ad_descr: [0; NAME],
    ad_physpath: [0; NAME],
    ad_lunid: [0; NAME],
};

const NAME: usize = raw::AOE_DISK_NAME as usize;

/// Writes a C string; what does not fit is cut off.
pub(crate) fn fill_c_string(to: &mut [core::ffi::c_char; NAME], text: core::fmt::Arguments<'_>) {
    let mut room = [0_u8; NAME - 1];
    let mut writer = crate::text::Text::new(&mut room);
    // Text has no error but being full.
    let _ = core::fmt::write(&mut writer, text);
    *to = [0; NAME];
    for (to, from) in to.iter_mut().zip(writer.as_bytes()) {
        *to = *from as core::ffi::c_char;
    }
}
