// SPDX-License-Identifier: BSD-2-Clause
//! What an administrator should do about what was found, in sentences.

use super::{Checked, Passes, Route, plural};
use crate::size::SECTOR;
use aoe_os::Interface;
use std::collections::BTreeSet;

/// Bytes that servers count as headers when they derive sectors from an MTU. Those that really are there are fewer.
const HEADERS: u64 = 36;

/// About interfaces.
pub(super) fn of_interfaces(used: &[Interface], targets: &[Checked]) -> Vec<String> {
    let mut lines = Vec::new();
    for interface in used {
        let name = &interface.name;
        if !interface.is_up {
            lines.push(format!(
                "{name} is down or has no link: bring it up, and look at cable and switch"
            ));
        } else if !targets.is_empty()
            && targets
                .iter()
                .all(|t| !t.interfaces().contains(name.as_str()))
        {
            lines.push(format!(
                "no target answers on {name}: is it on the storage network?"
            ));
        }
    }
    lines
}

/// About `net.aoe.iflist`.
pub(super) fn of_list(listed: &[String], targets: &[Checked]) -> Vec<String> {
    let seeing: BTreeSet<&str> = targets.iter().flat_map(Checked::interfaces).collect();
    seeing
        .into_iter()
        .filter(|name| !listed.iter().any(|l| l == name))
        .map(|name| {
            format!(
                "targets answer on {name}, but the kernel module does not use it: net.aoe.iflist is \"{}\"",
                listed.join(" ")
            )
        })
        .collect()
}

/// About a target.
pub(super) fn of_target(target: &Checked) -> Vec<String> {
    let mut lines = Vec::new();
    for route in &target.routes {
        of_route(route, &mut lines);
    }
    let (macs, interfaces) = (target.macs().len(), target.interfaces().len());
    if macs != interfaces {
        lines.push(format!(
            "it is seen by {} but has {}: equal numbers give the best performance",
            plural(interfaces, "local interface", "local interfaces"),
            plural(macs, "address", "addresses"),
        ));
    }
    let mtus: BTreeSet<u32> = target.routes.iter().map(|r| r.mtu).collect();
    if mtus.len() > 1 {
        let list: Vec<String> = mtus.iter().map(u32::to_string).collect();
        lines.push(format!(
            "the interfaces that it is seen by have different MTUs ({}): initiators that use one size for all take \
             the smallest",
            list.join(", ")
        ));
    }
    lines.extend(target.verdict.advice.iter().cloned());
    lines
}

fn of_route(route: &Route, lines: &mut Vec<String>) {
    let way = format!("{} > {}", route.interface, route.mac);
    let offered = u64::from(route.offered) * SECTOR;
    let agreed = u64::from(route.agreed()) * SECTOR;
    if route.room < route.offered {
        lines.push(format!(
            "{way}: the MTU of {} is {}, which has room for {agreed} bytes of data; the target takes {offered}, for \
             which the MTU must be {}",
            route.interface,
            route.mtu,
            offered + HEADERS
        ));
    } else if route.room > route.offered {
        lines.push(format!(
            "{way}: the target takes {offered} bytes of data in a frame, while the MTU of {} has room for {}: a \
             larger MTU at the target could be used",
            route.interface,
            u64::from(route.room) * SECTOR
        ));
    }
    for (passes, direction) in [
        (&route.to_target, "to the target"),
        (&route.from_target, "from the target"),
    ] {
        match passes {
            Passes::Unknown(why) => lines.push(format!(
                "{way}: what passes {direction} could not be tried: {why}"
            )),
            Passes::Sectors(0) => lines.push(format!(
                "{way}: not even a frame with 512 bytes of data passes {direction}"
            )),
            Passes::Sectors(n) if u64::from(*n) * SECTOR < agreed && !is_small_disk(route, *n) => {
                lines.push(format!(
                    "{way}: only {} bytes of data pass {direction}, though both ends agree on {agreed}: larger frames \
                     are lost on the way; look at the MTU of every switch between them, and at the target's",
                    u64::from(*n) * SECTOR
                ));
            }
            Passes::Sectors(_) => {}
        }
    }
}

/// Whether no more could be read because there is no more.
fn is_small_disk(route: &Route, sectors: u8) -> bool {
    route
        .disk
        .is_some_and(|disk| disk.sectors <= u64::from(sectors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::sancheck::duplicates::Verdict;
    use aoe_wire::{MacAddr, TargetAddr};

    fn route(mtu: u32, offered: u8, room: u8) -> Route {
        Route {
            interface: "em0".to_owned(),
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            mtu,
            offered,
            room,
            buffers: 16,
            firmware: 1,
            disk: None,
            to_target: Passes::Sectors(offered.min(room)),
            from_target: Passes::Sectors(offered.min(room)),
        }
    }

    fn target(routes: Vec<Route>) -> Checked {
        Checked {
            addr: TargetAddr::new(7, 0).unwrap(),
            config: Vec::new(),
            routes,
            verdict: Verdict::default(),
        }
    }

    #[test]
    fn a_sound_network_needs_no_advice() {
        assert_eq!(of_target(&target(vec![route(9000, 17, 17)])), [""; 0]);
    }

    #[test]
    fn mtus_that_do_not_fit_are_named() {
        let lines = of_target(&target(vec![route(1500, 17, 2)]));
        assert!(
            lines[0].contains("must be 8740") && lines.len() == 1,
            "{lines:?}"
        );
        let lines = of_target(&target(vec![route(9000, 2, 17)]));
        assert!(
            lines[0].contains("takes 1024") && lines[0].contains("8704"),
            "{lines:?}"
        );
    }

    #[test]
    fn lost_frames_are_named_with_their_direction() {
        let mut bad = route(9000, 17, 17);
        bad.from_target = Passes::Sectors(2);
        bad.to_target = Passes::Unknown("error 6: target is reserved".to_owned());
        let lines = of_target(&target(vec![bad.clone()]));
        assert!(
            lines[0].contains("to the target") && lines[0].contains("reserved"),
            "{lines:?}"
        );
        assert!(
            lines[1].contains("only 1024 bytes of data pass from"),
            "{lines:?}"
        );
        assert_eq!(target(vec![bad]).payload(), 1024);
    }

    #[test]
    fn unequal_ends_are_named() {
        let mut other = route(9000, 17, 17);
        other.interface = "em1".to_owned();
        other.mtu = 4200;
        let lines = of_target(&target(vec![route(9000, 17, 17), other]));
        assert!(
            lines[0].contains("2 local interfaces but has 1 address"),
            "{lines:?}"
        );
        assert!(lines[1].contains("4200, 9000"), "{lines:?}");
    }

    #[test]
    fn interfaces_that_are_of_no_use_are_named() {
        let interface = |name: &str, is_up| Interface {
            name: name.to_owned(),
            mac: MacAddr([2, 0, 0, 0, 0, 9]),
            mtu: 1500,
            is_up,
        };
        let used = [
            interface("em0", true),
            interface("em1", true),
            interface("em2", false),
        ];
        let targets = [target(vec![route(1500, 2, 2)])];
        let lines = of_interfaces(&used, &targets);
        assert!(
            lines[0].contains("on em1") && lines[1].contains("em2 is down"),
            "{lines:?}"
        );
        let lines = of_list(&["em1".to_owned()], &targets);
        assert!(lines[0].contains("em0") && lines.len() == 1, "{lines:?}");
        assert_eq!(of_list(&["em0".to_owned()], &targets), [""; 0]);
    }
}
