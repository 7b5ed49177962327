// SPDX-License-Identifier: BSD-2-Clause
//! A target as text and as JSON. The keys are the leaves of the module's `net.aoe.target.<shelf>.<slot>`.

use crate::driver::{Driver, Ports, now};
use crate::output::{Table, object, printable};
use crate::size;
use aoe_core::{Counters, Path, PathState, Target};
use aoe_wire::Identify;
use serde_json::{Map, Value, json};

/// Everything about a target, for programs.
pub(crate) fn target_json(driver: &Driver, target: &Target<'_>) -> Map<String, Value> {
    let disk = target.identity();
    let waiting = target.waiting(now());
    let mut map = object([
        ("address", json!(target.addr().to_string())),
        ("state", json!(target.state().to_string())),
        ("size", json!(bytes(target.sectors()))),
        ("model", json!(disk.map_or("", |d| d.model.as_str()))),
        ("serial", json!(disk.map_or("", |d| d.serial.as_str()))),
        ("firmware", json!(disk.map_or("", |d| d.firmware.as_str()))),
        ("config", json!(printable(target.config_string()))),
        ("conflict", json!(conflict(driver.ports(), target))),
        ("outstanding", json!(target.outstanding())),
        ("waiting", json!(waiting.requests)),
        ("oldest_ms", json!(waiting.oldest_ns / 1_000_000)),
    ]);
    map.extend(counters_json(target.counters()));
    if let Some(disk) = disk {
        map.extend(disk_json(target, disk));
    }
    let paths: Vec<Value> = target
        .paths()
        .map(|path| Value::Object(path_json(driver.ports(), path)))
        .collect();
    map.insert("path".to_owned(), Value::Array(paths));
    map
}

/// What only a tool shows, since the kernel has other places for it (diskinfo, geom).
fn disk_json(target: &Target<'_>, disk: &Identify) -> Map<String, Value> {
    let mut map = object([
        ("sectors", json!(target.sectors())),
        ("physical_sector", json!(disk.physical_sector)),
        ("rotation", json!(disk.rotation)),
        ("lba48", json!(disk.lba48)),
        ("flush", json!(target.can_flush())),
        ("trim", json!(target.can_trim())),
    ]);
    if let Some(wwn) = disk.wwn {
        map.insert("wwn".to_owned(), json!(format!("0x{wwn:016x}")));
    }
    map
}

fn counters_json(counters: &Counters) -> Map<String, Value> {
    object([
        ("reads", json!(counters.reads)),
        ("writes", json!(counters.writes)),
        ("flushes", json!(counters.flushes)),
        ("trims", json!(counters.trims)),
        ("bytes_read", json!(counters.bytes_read)),
        ("bytes_written", json!(counters.bytes_written)),
        ("errors", json!(counters.errors)),
        ("expired", json!(counters.expired)),
        ("frames_sent", json!(counters.frames_sent)),
        ("retransmits", json!(counters.retransmits)),
        ("timeouts", json!(counters.timeouts)),
        ("tail_probes", json!(counters.tail_probes)),
        ("overtaken", json!(counters.overtaken)),
        ("late_answers", json!(counters.late_answers)),
        ("quarantined", json!(counters.quarantined)),
        ("quarantine_waits", json!(counters.quarantine_waits)),
        ("conflicts", json!(counters.conflicts)),
        ("refusals", json!(counters.refusals)),
        ("joined", json!(counters.joined)),
    ])
}

fn path_json(ports: &Ports, path: &Path) -> Map<String, Value> {
    object([
        ("name", json!(path_name(ports, path))),
        ("interface", json!(ports.name(path.netif()))),
        ("mac", json!(path.mac().to_string())),
        ("state", json!(path.state().to_string())),
        ("payload", json!(payload(path))),
        ("srtt_us", json!(path.srtt_ns() / 1000)),
        ("rto_us", json!(path.rto_ns() / 1000)),
        ("window", json!(path.window())),
        ("outstanding", json!(path.outstanding())),
        ("buffers", json!(path.buffer_count())),
        ("firmware", json!(path.firmware())),
        ("sent", json!(path.sent())),
        ("retransmitted", json!(path.retransmitted())),
        ("lost", json!(path.lost())),
        ("received", json!(path.received())),
    ])
}

/// Where another disk was last seen under the target's address; empty if nowhere.
pub(crate) fn conflict(ports: &Ports, target: &Target<'_>) -> String {
    match target.conflict() {
        Some((netif, mac)) => format!("{mac} on {}", ports.name(netif)),
        None => String::new(),
    }
}

/// The paths of a target, for people.
pub(crate) fn path_table(ports: &Ports, target: &Target<'_>) -> Table {
    let mut table = Table::new(&[
        "INTERFACE",
        "MAC",
        "STATE",
        ">PAYLOAD",
        ">BUFFERS",
        ">RTT",
        ">RTO",
        ">WINDOW",
        ">SENT",
        ">RESENT",
    ]);
    for path in target.paths() {
        // Nothing was cut for a path that was not used.
        let payload = match payload(path) {
            0 => String::new(),
            bytes => bytes.to_string(),
        };
        table.row(vec![
            ports.name(path.netif()).to_owned(),
            path.mac().to_string(),
            path.state().to_string(),
            payload,
            path.buffer_count().to_string(),
            size::human_time(path.srtt_ns()),
            size::human_time(path.rto_ns()),
            path.window().to_string(),
            path.sent().to_string(),
            path.retransmitted().to_string(),
        ]);
    }
    table
}

/// A path as one text: `em0>00:11:22:33:44:55`.
fn path_name(ports: &Ports, path: &Path) -> String {
    format!("{}>{}", ports.name(path.netif()), path.mac())
}

/// The paths of a target on one line: `em0>00:11:22:33:44:55`, with what is not in use marked.
pub(crate) fn path_list(ports: &Ports, target: &Target<'_>) -> String {
    let list: Vec<String> = target
        .paths()
        .map(|path| {
            let name = path_name(ports, path);
            match path.state() {
                PathState::Up => name,
                other => format!("{name}({other})"),
            }
        })
        .collect();
    list.join(" ")
}

/// Bytes of data in one frame of this path.
fn payload(path: &Path) -> u64 {
    u64::from(path.payload_sectors()) * size::SECTOR
}

/// A number of sectors in bytes.
pub(crate) fn bytes(sectors: u64) -> u64 {
    sectors.saturating_mul(size::SECTOR)
}
