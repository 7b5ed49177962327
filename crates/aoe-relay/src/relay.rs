// SPDX-License-Identifier: BSD-2-Clause
//! The relay itself: two interfaces, a lane each way between them, and the socket that it is told things by.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use aoe_os::{
    BATCH, Interest, WireBatch, WireSocket, monotonic_nanos, wait_any, want_exact_timeouts,
};
use aoe_target::rng::Rng;
use serde_json::{Map, Value, json};

use crate::command::Command;
use crate::control::Control;
use crate::faults::{Faults, Way};
use crate::lane::{Counts, Fate, Lane};
use crate::outlet::{Outlet, Sent};

/// Batches that one interface may bring before the other is looked at.
const ROUNDS: usize = 4;

/// One direction: where frames come in, what happens to them, where they go out.
#[derive(Debug)]
struct Road {
    lane: Lane,
    outlet: Outlet,
    /// Name of the interface where frames go out.
    exit: String,
    /// What the kernel had dropped when counting began: where frames come in, and where they go out.
    socket_base: u64,
    exit_base: u64,
}

/// Both.
#[derive(Debug)]
pub(crate) struct Relay {
    /// The initiator's side and the target's: where frames of the first and of the second road come in.
    sockets: [WireSocket; 2],
    roads: [Road; 2],
    control: Option<Control>,
    seed: u64,
}

impl Relay {
    pub(crate) fn open(
        names: [&str; 2],
        control: Option<&Path>,
        seed: u64,
        visible: bool,
    ) -> Result<Self> {
        let open = |name: &str| WireSocket::open(name, visible).with_context(|| name.to_owned());
        let sockets = [open(names[0])?, open(names[1])?];
        let mut rng = Rng::new(seed);
        let mut road = |way, exit: &str| Road {
            lane: Lane::new(way, rng.fork()),
            outlet: Outlet::default(),
            exit: exit.to_owned(),
            socket_base: 0,
            exit_base: 0,
        };
        let roads = [
            road(Way::ToTarget, names[1]),
            road(Way::ToInitiator, names[0]),
        ];
        let mut relay = Self {
            sockets,
            roads,
            control: control.map(Control::open).transpose()?,
            seed,
        };
        relay.reset();
        Ok(relay)
    }

    pub(crate) fn run(mut self) -> Result<()> {
        want_exact_timeouts().context("cannot ask for exact timeouts")?;
        let mut batch = WireBatch::default();
        loop {
            let now = monotonic_nanos();
            for number in 0..2 {
                self.release(number, now);
            }
            let ready = self.wait().context("cannot wait")?;
            for (number, ready) in ready.iter().take(2).enumerate() {
                if *ready {
                    self.receive(number, &mut batch)?;
                }
            }
            if let Some(mut control) = self.control.take() {
                let ready = ready.get(2..).unwrap_or(&[]);
                control.serve(ready, |line| self.answer(line));
                self.control = Some(control);
            }
        }
    }

    fn wait(&self) -> std::io::Result<Vec<bool>> {
        let due = |road: &Road| {
            let times = [road.lane.next_due(), road.outlet.next_due()];
            times.into_iter().flatten().min()
        };
        let next = self.roads.iter().filter_map(due).min();
        let timeout = next
            .filter(|at| *at != u64::MAX)
            .map(|at| Duration::from_nanos(at.saturating_sub(monotonic_nanos())));
        // What comes in by one interface goes out by the other.
        let [one, other] = &self.sockets;
        let interest = |road: &Road| match road.outlet.wants_room() {
            true => Interest::ReadWrite,
            false => Interest::Read,
        };
        use std::os::fd::AsFd;
        let mut fds = vec![
            (one.as_fd(), interest(&self.roads[1])),
            (other.as_fd(), interest(&self.roads[0])),
        ];
        let control = self.control.iter().flat_map(Control::descriptors);
        fds.extend(control.map(|fd| (fd, Interest::Read)));
        wait_any(&fds, timeout)
    }

    /// Sends what is due on one road.
    fn release(&mut self, number: usize, now: u64) {
        let Some((road, exit)) = self.road(number) else {
            return;
        };
        road.outlet.flush(exit, now);
        while road.lane.next_due().is_some_and(|at| at <= now) {
            let frames: Vec<_> = std::iter::from_fn(|| road.lane.pop_due(now))
                .take(BATCH)
                .collect();
            let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
            road.outlet.send(exit, now, &frames);
        }
    }

    /// A road, and the socket where it ends.
    fn road(&mut self, number: usize) -> Option<(&mut Road, &WireSocket)> {
        let [one, other] = &self.sockets;
        let exit = if number == 0 { other } else { one };
        self.roads.get_mut(number).map(|road| (road, exit))
    }

    /// Takes in what one interface brings, and sends what goes by at once.
    fn receive(&mut self, number: usize, batch: &mut WireBatch) -> Result<()> {
        for _ in 0..ROUNDS {
            let Some(socket) = self.sockets.get_mut(number) else {
                return Ok(());
            };
            let count = match socket.recv(batch) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::NetworkDown => return Ok(()),
                Err(error) => return Err(error).context("cannot receive"),
            };
            let now = monotonic_nanos();
            // What became due in the meantime must not be overtaken.
            self.release(number, now);
            let Some((road, exit)) = self.road(number) else {
                return Ok(());
            };
            let mut out: Vec<&[u8]> = Vec::with_capacity(count + 1);
            for frame in batch.frames() {
                let times = match road.lane.judge(now, frame) {
                    Fate::Gone => 0,
                    Fate::Now(times) => times,
                    Fate::Kept { first_now } => usize::from(first_now),
                };
                let frame: &[u8] = frame;
                out.extend(std::iter::repeat_n(frame, times));
            }
            road.outlet.send(exit, now, &out);
            if count < BATCH {
                return Ok(());
            }
        }
        Ok(())
    }

    // -- what it is told and what it tells ------------------------------------------------------

    /// One line in, one line out.
    fn answer(&mut self, line: &str) -> String {
        let said = Command::parse(line).and_then(|command| self.execute(&command));
        let out =
            said.unwrap_or_else(|error| json!({ "ok": false, "error": format!("{error:#}") }));
        out.to_string()
    }

    /// Does what a command says, all of it or nothing.
    pub(crate) fn execute(&mut self, command: &Command) -> Result<Value> {
        match command {
            Command::Set(ways, settings) => {
                let now = monotonic_nanos();
                let mut changed: Vec<(usize, Faults)> = Vec::new();
                for (number, road) in self.roads.iter().enumerate() {
                    if !ways.contains(&road.lane.way) {
                        continue;
                    }
                    let mut faults = road.lane.faults.clone();
                    for setting in settings {
                        faults.set(road.lane.way, setting, now)?;
                    }
                    changed.push((number, faults));
                }
                for (number, faults) in changed {
                    if let Some(road) = self.roads.get_mut(number) {
                        road.lane.faults = faults;
                    }
                }
            }
            Command::Clear => {
                for road in &mut self.roads {
                    road.lane.faults = Faults::none(road.lane.way);
                }
            }
            Command::Status => {}
            Command::Reset => {
                let before = self.status();
                self.reset();
                return Ok(before);
            }
            Command::Seed(seed) => {
                self.seed = *seed;
                let mut rng = Rng::new(*seed);
                for road in &mut self.roads {
                    road.lane.seed(rng.fork());
                }
            }
        }
        Ok(self.status())
    }

    fn status(&mut self) -> Value {
        let now = monotonic_nanos();
        let mut out = Map::new();
        let mut total = 0;
        for (road, socket) in self.roads.iter().zip(&mut self.sockets) {
            let sent = road.outlet.sent;
            let socket = socket.drops().unwrap_or(0) - road.socket_base;
            // A full driver counts each refusal, and each of those was tried again.
            let exit = (interface_drops(&road.exit) - road.exit_base).saturating_sub(sent.retries);
            let overflow = road.lane.counts.overflowed + sent.overflowed;
            let own = socket + exit + overflow + sent.refused;
            total += own;
            let mut lane = road.lane.to_json();
            lane["forwarded"] = json!(sent.forwarded);
            lane["pending"] = json!(road.outlet.pending());
            lane["retries"] = json!(sent.retries);
            lane["own_losses"] = json!({
                "socket": socket, "interface": exit, "refused": sent.refused, "overflow": overflow,
            });
            lane["faults"] = road.lane.faults.to_json(now);
            out.insert(road.lane.way.name().to_owned(), lane);
        }
        out.insert("own_lost".to_owned(), json!(total));
        out.insert("seed".to_owned(), json!(self.seed));
        out.insert("ok".to_owned(), json!(true));
        Value::Object(out)
    }

    /// Counting begins again.
    fn reset(&mut self) {
        for (road, socket) in self.roads.iter_mut().zip(&mut self.sockets) {
            road.lane.counts = Counts::default();
            road.outlet.sent = Sent::default();
            road.socket_base = socket.drops().unwrap_or(0);
            road.exit_base = interface_drops(&road.exit);
        }
    }
}

/// Frames that the driver of an interface has dropped instead of sending them.
fn interface_drops(name: &str) -> u64 {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    drops_in(&table, name).unwrap_or(0)
}

/// The same, from the kernel's table.
fn drops_in(table: &str, name: &str) -> Option<u64> {
    let line = table
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().nth(11)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_found_in_the_kernels_table() {
        let table = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo\n\
            tap10: 1 2 3 4 5 6 7 8 9 10 11 99 13 14 15 16\n  tap1:  1 2 3 4 5 6 7 8 9 10 11 42 13 14 15 16\n";
        assert_eq!(drops_in(table, "tap1"), Some(42));
        assert_eq!(drops_in(table, "tap10"), Some(99));
        assert_eq!(drops_in(table, "tap2"), None);
    }
}
