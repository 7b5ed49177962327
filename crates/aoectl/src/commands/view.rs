// SPDX-License-Identifier: BSD-2-Clause
//! A target as text and as JSON. The keys are the leaves of the module's `net.aoe.target.<shelf>.<slot>`.

use crate::driver::{Driver, Ports};
use crate::output::{Table, object, printable};
use crate::size;
use aoe_core::{Path, PathState, Target};
use serde_json::{Map, Value, json};

/// Everything about a target, for programs.
pub(crate) fn target_json(driver: &Driver, target: &Target<'_>) -> Map<String, Value> {
    let mut map = object([
        ("address", json!(target.addr().to_string())),
        ("state", json!(target.state().to_string())),
    ]);
    if let Some(disk) = target.identity() {
        map.extend(object([
            ("size", json!(bytes(target.sectors()))),
            ("sectors", json!(target.sectors())),
            ("model", json!(disk.model.as_str())),
            ("serial", json!(disk.serial.as_str())),
            ("firmware", json!(disk.firmware.as_str())),
            ("lba48", json!(disk.lba48)),
            ("flush", json!(target.can_flush())),
            ("trim", json!(target.can_trim())),
            ("physical_sector", json!(disk.physical_sector)),
            ("rotation", json!(disk.rotation)),
        ]));
        if let Some(wwn) = disk.wwn {
            map.insert("wwn".to_owned(), json!(format!("0x{wwn:016x}")));
        }
    }
    map.insert(
        "config_string".to_owned(),
        json!(printable(target.config_string())),
    );
    if let Some((netif, mac)) = target.conflict() {
        let conflict = object([
            ("interface", json!(driver.ports().name(netif))),
            ("mac", json!(mac.to_string())),
        ]);
        map.insert("conflict".to_owned(), Value::Object(conflict));
    }
    let paths: Vec<Value> = target
        .paths()
        .map(|path| Value::Object(path_json(driver.ports(), path)))
        .collect();
    map.insert("path".to_owned(), Value::Array(paths));
    map
}

fn path_json(ports: &Ports, path: &Path) -> Map<String, Value> {
    object([
        ("interface", json!(ports.name(path.netif()))),
        ("mac", json!(path.mac().to_string())),
        ("state", json!(path.state().to_string())),
        ("payload", json!(payload(path))),
        ("buffers", json!(path.buffer_count())),
        ("firmware", json!(path.firmware())),
        ("srtt_ns", json!(path.srtt_ns())),
        ("rto_ns", json!(path.rto_ns())),
        ("window", json!(path.window())),
        ("outstanding", json!(path.outstanding())),
        ("sent", json!(path.sent())),
        ("received", json!(path.received())),
        ("retransmitted", json!(path.retransmitted())),
        ("lost", json!(path.lost())),
    ])
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

/// The paths of a target on one line: `em0>00:11:22:33:44:55`, with what is not in use marked.
pub(crate) fn path_list(ports: &Ports, target: &Target<'_>) -> String {
    let list: Vec<String> = target
        .paths()
        .map(|path| {
            let name = format!("{}>{}", ports.name(path.netif()), path.mac());
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
