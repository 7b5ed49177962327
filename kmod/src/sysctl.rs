// SPDX-License-Identifier: BSD-2-Clause
//! The `net.aoe` tree. Which nodes there are, their types and their descriptions are read from
//! the table in `sysctl-docs`; here is what they do.

use core::fmt::{self, Write};

use aoe_core::limits::{DOWN_AFTER_NS, MAX_PATHS};
use aoe_core::{DropReason, Instant, Path, PathState, Target, Tunables, settings, targetlist};

use crate::cell::{self, CONFIG, Cell, Guard, HUB, NETIFS};
use crate::drive::drive;
use crate::ffi::raw::{
    AOE_COUNT_FRAMES_IN, AOE_COUNT_FRAMES_OUT, AOE_COUNT_MBUF_FAILURES, AOE_COUNT_NO_INTERFACE,
    AOE_COUNT_NO_MEMORY, AOE_COUNT_REFUSED, AOE_COUNT_RESERVE_USED, AOE_COUNT_SEND_ERRORS,
    AOE_COUNT_UNSETTLED, AOE_LEAF_INT, AOE_LEAF_TEXT, AOE_LEAF_U64, aoe_leaf_type,
};
use crate::ffi::{self, Errno, Node, Owner, errno};
use crate::hub;
use crate::input::drop_counter;
use crate::module;
use crate::netifs::{self, Config};
use crate::text::Text;
use crate::{report, show};

/// Columns: node, type, unit, default, access, meaning.
const TABLE: &str = include_str!("../../sysctl-docs/net.aoe.tsv");

const MODULE: &str = "net.aoe.";
const DROPS: &str = "net.aoe.drops.";
const TARGET: &str = "net.aoe.target.<shelf>.<slot>.";
const PATH: &str = "net.aoe.target.<shelf>.<slot>.path.<n>.";

/// Nodes that targets hang their own under.
#[derive(Copy, Clone)]
pub(crate) struct Nodes {
    target: Option<Node>,
}

impl Nodes {
    pub(crate) const NONE: Self = Self { target: None };
}

/// A row of the table.
#[derive(Copy, Clone)]
struct Row {
    node: &'static str,
    kind: aoe_leaf_type,
    writable: bool,
    meaning: &'static str,
}

fn rows() -> impl Iterator<Item = Row> {
    TABLE.lines().skip(1).filter_map(|line| {
        let mut columns = line.split('\t');
        let (node, kind) = (columns.next()?, columns.next()?);
        let (_unit, _default, access) = (columns.next()?, columns.next()?, columns.next()?);
        let meaning = columns.next()?;
        let kind = match kind {
            "string" => AOE_LEAF_TEXT,
            "int" => AOE_LEAF_INT,
            _ => AOE_LEAF_U64,
        };
        Some(Row {
            node,
            kind,
            writable: access.starts_with("rw"),
            meaning,
        })
    })
}

/// The meaning of a node that is no leaf.
fn meaning(node: &str) -> &'static str {
    rows()
        .find(|row| row.node == node)
        .map_or("", |row| row.meaning)
}

/// The rows of the leaves directly below `prefix`, with their names.
fn leaves(prefix: &'static str) -> impl Iterator<Item = (&'static str, Row)> {
    rows().filter_map(move |row| {
        let leaf = row.node.strip_prefix(prefix)?;
        (!leaf.contains('.')).then_some((leaf, row))
    })
}

/// A leaf of the module.
#[derive(Copy, Clone)]
enum ModuleLeaf {
    Iflist,
    Interfaces,
    Devices,
    Discover,
    DeadSecs,
    QuarantineSecs,
    WriteCache,
    BeaconSecs,
    FailOnShutdown,
    BootTargets,
    BootWaitSecs,
    Targets,
    MaxTargets,
    Version,
    Reserve,
    Counter(u32),
}

const MODULE_LEAVES: [(&str, ModuleLeaf); 25] = [
    ("iflist", ModuleLeaf::Iflist),
    ("interfaces", ModuleLeaf::Interfaces),
    ("devices", ModuleLeaf::Devices),
    ("discover", ModuleLeaf::Discover),
    ("dead_secs", ModuleLeaf::DeadSecs),
    ("maxwait", ModuleLeaf::DeadSecs),
    ("quarantine_secs", ModuleLeaf::QuarantineSecs),
    ("wc", ModuleLeaf::WriteCache),
    ("beacon_secs", ModuleLeaf::BeaconSecs),
    ("fail_on_shutdown", ModuleLeaf::FailOnShutdown),
    ("boot_targets", ModuleLeaf::BootTargets),
    ("boot_wait_secs", ModuleLeaf::BootWaitSecs),
    ("targets", ModuleLeaf::Targets),
    ("max_targets", ModuleLeaf::MaxTargets),
    ("version", ModuleLeaf::Version),
    ("reserve", ModuleLeaf::Reserve),
    ("frames_in", ModuleLeaf::Counter(AOE_COUNT_FRAMES_IN)),
    ("frames_out", ModuleLeaf::Counter(AOE_COUNT_FRAMES_OUT)),
    ("send_errors", ModuleLeaf::Counter(AOE_COUNT_SEND_ERRORS)),
    ("no_interface", ModuleLeaf::Counter(AOE_COUNT_NO_INTERFACE)),
    (
        "mbuf_failures",
        ModuleLeaf::Counter(AOE_COUNT_MBUF_FAILURES),
    ),
    ("reserve_used", ModuleLeaf::Counter(AOE_COUNT_RESERVE_USED)),
    ("no_memory", ModuleLeaf::Counter(AOE_COUNT_NO_MEMORY)),
    ("unsettled", ModuleLeaf::Counter(AOE_COUNT_UNSETTLED)),
    ("refused", ModuleLeaf::Counter(AOE_COUNT_REFUSED)),
];

/// A leaf of a target.
#[derive(Copy, Clone)]
enum TargetLeaf {
    State,
    Model,
    Serial,
    Firmware,
    Config,
    Conflict,
    Revalidate,
    Fail,
    Remove,
    Number(fn(&Target<'_>) -> u64),
    Timed(fn(&Target<'_>, Instant) -> u64),
}

use TargetLeaf::{Number, Timed};

const TARGET_LEAVES: [(&str, TargetLeaf); 32] = [
    ("state", TargetLeaf::State),
    ("model", TargetLeaf::Model),
    ("serial", TargetLeaf::Serial),
    ("firmware", TargetLeaf::Firmware),
    ("config", TargetLeaf::Config),
    ("conflict", TargetLeaf::Conflict),
    ("revalidate", TargetLeaf::Revalidate),
    ("fail", TargetLeaf::Fail),
    ("remove", TargetLeaf::Remove),
    (
        "size",
        Number(|target| target.sectors().saturating_mul(512)),
    ),
    (
        "outstanding",
        Number(|target| u64::from(target.outstanding())),
    ),
    (
        "waiting",
        Timed(|target, now| u64::from(target.waiting(now).requests)),
    ),
    (
        "oldest_ms",
        Timed(|target, now| target.waiting(now).oldest_ns / 1_000_000),
    ),
    ("reads", Number(|target| target.counters().reads)),
    ("writes", Number(|target| target.counters().writes)),
    ("flushes", Number(|target| target.counters().flushes)),
    ("trims", Number(|target| target.counters().trims)),
    ("bytes_read", Number(|target| target.counters().bytes_read)),
    (
        "bytes_written",
        Number(|target| target.counters().bytes_written),
    ),
    ("errors", Number(|target| target.counters().errors)),
    ("expired", Number(|target| target.counters().expired)),
    (
        "frames_sent",
        Number(|target| target.counters().frames_sent),
    ),
    (
        "retransmits",
        Number(|target| target.counters().retransmits),
    ),
    ("timeouts", Number(|target| target.counters().timeouts)),
    (
        "tail_probes",
        Number(|target| target.counters().tail_probes),
    ),
    ("overtaken", Number(|target| target.counters().overtaken)),
    (
        "late_answers",
        Number(|target| target.counters().late_answers),
    ),
    (
        "quarantined",
        Number(|target| target.counters().quarantined),
    ),
    (
        "quarantine_waits",
        Number(|target| target.counters().quarantine_waits),
    ),
    ("conflicts", Number(|target| target.counters().conflicts)),
    ("refusals", Number(|target| target.counters().refusals)),
    ("joined", Number(|target| target.counters().joined)),
];

/// A leaf of a path.
#[derive(Copy, Clone)]
enum PathLeaf {
    Name,
    Interface,
    Mac,
    State,
    Number(fn(&Path) -> u64),
}

const PATH_LEAVES: [(&str, PathLeaf); 15] = [
    ("name", PathLeaf::Name),
    ("interface", PathLeaf::Interface),
    ("mac", PathLeaf::Mac),
    ("state", PathLeaf::State),
    (
        "payload",
        PathLeaf::Number(|path| u64::from(path.payload_sectors()) * 512),
    ),
    ("srtt_us", PathLeaf::Number(|path| path.srtt_ns() / 1000)),
    ("rto_us", PathLeaf::Number(|path| path.rto_ns() / 1000)),
    ("window", PathLeaf::Number(|path| u64::from(path.window()))),
    (
        "outstanding",
        PathLeaf::Number(|path| u64::from(path.outstanding())),
    ),
    (
        "buffers",
        PathLeaf::Number(|path| u64::from(path.buffer_count())),
    ),
    (
        "firmware",
        PathLeaf::Number(|path| u64::from(path.firmware())),
    ),
    ("sent", PathLeaf::Number(Path::sent)),
    ("retransmitted", PathLeaf::Number(Path::retransmitted)),
    ("lost", PathLeaf::Number(Path::lost)),
    ("received", PathLeaf::Number(Path::received)),
];

/// A leaf as its handler finds it again: a number that C keeps.
#[derive(Copy, Clone)]
enum Leaf {
    Module(ModuleLeaf),
    Target(TargetLeaf),
    Path(u8, PathLeaf),
}

const CLASS_MODULE: u32 = 0;
const CLASS_TARGET: u32 = 1;
const CLASS_PATH: u32 = 2;
const CLASS_DROP: u32 = 3;

const fn id(class: u32, path: u32, index: usize) -> u32 {
    class << 16 | path << 8 | index as u32
}

impl Leaf {
    fn from_id(id: u32) -> Option<Self> {
        let [index, path, class, _] = id.to_le_bytes();
        let index = usize::from(index);
        match u32::from(class) {
            CLASS_MODULE => MODULE_LEAVES.get(index).map(|leaf| Self::Module(leaf.1)),
            CLASS_TARGET => TARGET_LEAVES.get(index).map(|leaf| Self::Target(leaf.1)),
            CLASS_PATH => PATH_LEAVES.get(index).map(|leaf| Self::Path(path, leaf.1)),
            CLASS_DROP => DropReason::ALL
                .get(index)
                .map(|reason| Self::Module(ModuleLeaf::Counter(drop_counter(*reason)))),
            _ => None,
        }
    }
}

/// Adds the leaves below `prefix` that `position` knows.
fn add_leaves(
    owner: Owner,
    parent: Node,
    prefix: &'static str,
    position: impl Fn(&str) -> Option<u32>,
) -> Result<(), Errno> {
    for (name, row) in leaves(prefix) {
        if let Some(id) = position(name) {
            ffi::add_leaf(owner, parent, name, row.meaning, row.kind, row.writable, id)?;
        }
    }
    Ok(())
}

/// Where a name stands in one of the lists above, as the number that C keeps.
fn find_in<T>(list: &[(&str, T)], class: u32, path: u32, name: &str) -> Option<u32> {
    list.iter()
        .position(|leaf| leaf.0 == name)
        .map(|index| id(class, path, index))
}

/// Makes the module's nodes.
pub(crate) fn create(config: &mut Guard<Config>) -> Result<(), Errno> {
    let owner = Owner::MODULE;
    let node = |parent, name: &str, full: &str| {
        ffi::add_node(owner, parent, name.as_bytes(), meaning(full)).ok_or(errno::ENXIO)
    };
    let root = node(None, "aoe", "net.aoe")?;
    let drops = node(Some(root), "drops", "net.aoe.drops")?;
    config.nodes.target = Some(node(Some(root), "target", "net.aoe.target")?);
    add_leaves(owner, root, MODULE, |name| {
        find_in(&MODULE_LEAVES, CLASS_MODULE, 0, name)
    })?;
    add_leaves(owner, drops, DROPS, |name| {
        let index = DropReason::ALL
            .iter()
            .position(|reason| reason.name() == name)?;
        Some(id(CLASS_DROP, 0, index))
    })
}

/// Adds a node with a number for its name.
fn add_number_node(owner: Owner, parent: Node, number: u32, full: &str) -> Option<Node> {
    let mut room = [0; 10];
    let mut name = Text::new(&mut room);
    write!(name, "{number}").ok()?;
    ffi::add_node(owner, Some(parent), name.as_bytes(), meaning(full))
}

/// Makes a target's nodes. Without memory for them the disk works all the same.
pub(crate) fn add_target(cell: &Cell, config: &Guard<Config>) {
    let owner = cell.owner();
    let (shelf, slot) = (
        u32::from(cell.addr().shelf()),
        u32::from(cell.addr().slot()),
    );
    let node = config
        .nodes
        .target
        .and_then(|parent| add_number_node(owner, parent, shelf, "net.aoe.target.<shelf>"))
        .and_then(|parent| add_number_node(owner, parent, slot, "net.aoe.target.<shelf>.<slot>"));
    let Some(node) = node else { return };
    let added = add_leaves(owner, node, TARGET, |name| {
        find_in(&TARGET_LEAVES, CLASS_TARGET, 0, name)
    });
    if added.is_ok() {
        cell.lock().node = Some(node);
        add_paths(cell);
    }
}

/// Makes nodes for paths whose numbers have none yet. They stay as long as the target does: the next
/// path with the number finds them.
pub(crate) fn add_paths(cell: &Cell) {
    let (node, missing) = {
        let mut guard = cell.lock();
        let Some(node) = guard.node else { return };
        let numbers = guard.target.numbered_paths();
        let used = numbers.fold(0, |set, (number, _)| set | 1_u32 << number);
        let missing = used & !guard.path_nodes;
        guard.path_nodes |= missing;
        (node, missing)
    };
    if missing == 0 {
        return;
    }
    let owner = cell.owner();
    let Some(paths) = ffi::add_node(owner, Some(node), b"path", meaning(PATHS)) else {
        return;
    };
    for number in (0..MAX_PATHS as u32).filter(|number| missing & 1 << number != 0) {
        if let Some(path) = add_number_node(owner, paths, number, PATH_NODE) {
            // Without memory for its nodes the path works all the same.
            let _ = add_leaves(owner, path, PATH, |name| {
                find_in(&PATH_LEAVES, CLASS_PATH, number, name)
            });
        }
    }
}

const PATHS: &str = "net.aoe.target.<shelf>.<slot>.path";
const PATH_NODE: &str = "net.aoe.target.<shelf>.<slot>.path.<n>";

/// The value of a leaf that is a number.
pub(crate) fn number(cell: Option<&Cell>, id: u32) -> Result<i64, Errno> {
    match (Leaf::from_id(id).ok_or(errno::ENOENT)?, cell) {
        (Leaf::Module(leaf), _) => module_number(leaf),
        (Leaf::Target(Number(value)), Some(cell)) => Ok(value(&cell.lock().target) as i64),
        (Leaf::Target(Timed(value)), Some(cell)) => {
            let (guard, now) = cell.lock_timed();
            Ok(value(&guard.target, now) as i64)
        }
        (Leaf::Target(TargetLeaf::Revalidate | TargetLeaf::Fail | TargetLeaf::Remove), _) => Ok(0),
        (Leaf::Path(number, PathLeaf::Number(value)), Some(cell)) => {
            let guard = cell.lock();
            Ok(guard.target.path(number).map_or(0, value) as i64)
        }
        _ => Err(errno::ENOENT),
    }
}

fn module_number(leaf: ModuleLeaf) -> Result<i64, Errno> {
    Ok(match leaf {
        ModuleLeaf::Discover => 0,
        ModuleLeaf::DeadSecs => i64::from(HUB.lock().tunables.dead_secs),
        ModuleLeaf::QuarantineSecs => i64::from(HUB.lock().tunables.quarantine_secs),
        ModuleLeaf::WriteCache => HUB.lock().tunables.write_cache.map_or(-1, i64::from),
        ModuleLeaf::BeaconSecs => i64::from(CONFIG.lock().beacon_secs),
        ModuleLeaf::FailOnShutdown => i64::from(module::fail_on_shutdown()),
        ModuleLeaf::BootWaitSecs => i64::from(CONFIG.lock().boot.wait_secs),
        ModuleLeaf::MaxTargets => i64::from(HUB.lock().initiator.max_targets()),
        ModuleLeaf::Reserve => ffi::reserve_count() as i64,
        ModuleLeaf::Counter(counter) => ffi::counted(counter) as i64,
        _ => return Err(errno::ENOENT),
    })
}

/// Sets a leaf that is a number.
pub(crate) fn set_number(cell: Option<&Cell>, id: u32, value: i64) -> Result<(), Errno> {
    match (Leaf::from_id(id).ok_or(errno::ENOENT)?, cell) {
        (Leaf::Module(leaf), _) => set_module_number(leaf, value),
        (Leaf::Target(TargetLeaf::Revalidate), Some(cell)) => {
            let mut guard = cell.lock();
            let now = guard.now();
            guard.target.revalidate(now);
            drive(guard);
            Ok(())
        }
        (Leaf::Target(TargetLeaf::Fail), Some(cell)) => {
            if valid(settings::flag(value))? {
                module::fail_unanswered(cell, DOWN_AFTER_NS);
            }
            Ok(())
        }
        (Leaf::Target(TargetLeaf::Remove), Some(cell)) => {
            if valid(settings::flag(value))? {
                module::remove_unused(cell)?;
            }
            Ok(())
        }
        _ => Err(errno::ENOENT),
    }
}

/// What an operator may not set is refused.
fn valid<T>(meaning: Option<T>) -> Result<T, Errno> {
    meaning.ok_or(errno::EINVAL)
}

fn set_module_number(leaf: ModuleLeaf, value: i64) -> Result<(), Errno> {
    match leaf {
        ModuleLeaf::Discover => hub::discover(),
        ModuleLeaf::DeadSecs => {
            let secs = valid(settings::dead_secs(value))?;
            set_tunables(|tunables| tunables.dead_secs = secs);
        }
        ModuleLeaf::QuarantineSecs => {
            let secs = valid(settings::quarantine_secs(value))?;
            set_tunables(|tunables| tunables.quarantine_secs = secs);
        }
        ModuleLeaf::WriteCache => {
            let wanted = valid(settings::write_cache(value))?;
            set_tunables(|tunables| tunables.write_cache = wanted);
        }
        ModuleLeaf::BeaconSecs => {
            let secs = valid(settings::beacon_secs(value))?;
            CONFIG.lock().beacon_secs = secs;
            hub::set_beacon_secs(secs);
        }
        ModuleLeaf::MaxTargets => {
            hub::set_max_targets(valid(settings::max_targets(value))?);
            hub::discover();
        }
        ModuleLeaf::FailOnShutdown => {
            module::set_fail_on_shutdown(valid(settings::flag(value))?);
        }
        _ => return Err(errno::ENOENT),
    }
    Ok(())
}

/// Changes what holds for all targets, those there are and those to come.
fn set_tunables(change: impl Fn(&mut Tunables)) {
    let config = CONFIG.lock();
    let tunables = {
        let mut hub = HUB.lock();
        change(&mut hub.tunables);
        hub.tunables
    };
    cell::for_each(&config, |cell| {
        let mut guard = cell.lock();
        let now = guard.now();
        guard.target.set_tunables(now, tunables);
        drive(guard);
    });
}

/// Writes the value of a leaf that is a text.
pub(crate) fn text(cell: Option<&Cell>, id: u32, to: &mut Text<'_>) -> fmt::Result {
    match (Leaf::from_id(id), cell) {
        (Some(Leaf::Module(leaf)), _) => module_text(leaf, to),
        (Some(Leaf::Target(leaf)), Some(cell)) => target_text(leaf, cell, to),
        (Some(Leaf::Path(number, leaf)), Some(cell)) => path_text(leaf, cell, number, to),
        _ => Ok(()),
    }
}

fn module_text(leaf: ModuleLeaf, to: &mut Text<'_>) -> fmt::Result {
    match leaf {
        ModuleLeaf::Iflist => NETIFS.lock().write_list(to),
        ModuleLeaf::Interfaces => show::interfaces(to, &NETIFS.lock()),
        ModuleLeaf::Devices => show::devices(to, &CONFIG.lock()),
        ModuleLeaf::Targets => {
            let list = *HUB.lock().initiator.allowed();
            write!(to, "{list}")
        }
        ModuleLeaf::BootTargets => show::boot_targets(to, &CONFIG.lock()),
        ModuleLeaf::Version => to.write_str(env!("CARGO_PKG_VERSION")),
        _ => Ok(()),
    }
}

fn target_text(leaf: TargetLeaf, cell: &Cell, to: &mut Text<'_>) -> fmt::Result {
    let netifs = NETIFS.lock();
    let guard = cell.lock();
    let target = &guard.target;
    let identity = target.identity();
    match leaf {
        TargetLeaf::State => to.write_str(target.state().name()),
        TargetLeaf::Config => to.push_escaped(target.config_string()),
        TargetLeaf::Conflict => show::conflict(to, &netifs, target.conflict()),
        TargetLeaf::Model => identity.map_or(Ok(()), |disk| write!(to, "{}", disk.model)),
        TargetLeaf::Serial => identity.map_or(Ok(()), |disk| write!(to, "{}", disk.serial)),
        TargetLeaf::Firmware => identity.map_or(Ok(()), |disk| write!(to, "{}", disk.firmware)),
        _ => Ok(()),
    }
}

fn path_text(leaf: PathLeaf, cell: &Cell, number: u8, to: &mut Text<'_>) -> fmt::Result {
    let netifs = NETIFS.lock();
    let guard = cell.lock();
    let Some(path) = guard.target.path(number) else {
        return match leaf {
            PathLeaf::State => to.write_str(PathState::Unused.name()),
            _ => Ok(()),
        };
    };
    let netif = netifs.name(path.netif());
    match leaf {
        PathLeaf::Name => write!(to, "{netif}>{}", path.mac()),
        PathLeaf::Interface => to.write_str(netif),
        PathLeaf::Mac => write!(to, "{}", path.mac()),
        PathLeaf::State => to.write_str(path.state().name()),
        PathLeaf::Number(_) => Ok(()),
    }
}

/// Sets a leaf that is a text.
pub(crate) fn set_text(id: u32, text: &str) -> Result<(), Errno> {
    match Leaf::from_id(id) {
        Some(Leaf::Module(ModuleLeaf::Iflist)) => netifs::set_list(&mut CONFIG.lock(), text),
        Some(Leaf::Module(ModuleLeaf::Targets)) => set_targets(text),
        _ => Err(errno::ENOENT),
    }
}

/// Sets which addresses may become targets. Those that may not any more go, when nobody uses them.
fn set_targets(text: &str) -> Result<(), Errno> {
    let list = targetlist::parse(text).map_err(|_| errno::EINVAL)?;
    {
        let config = CONFIG.lock();
        hub::set_allowed(&list);
        cell::for_each(&config, |cell| {
            if !list.allows(cell.addr()) && module::remove_unused(cell).is_err() {
                report::stays(cell.addr());
            }
        });
    }
    hub::discover();
    Ok(())
}
