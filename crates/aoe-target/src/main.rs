// SPDX-License-Identifier: BSD-2-Clause
//! `aoe-target`: serves a file over raw Ethernet, with the quirks and faults that are asked for.
#![forbid(unsafe_code)]

mod options;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use aoe_os::{MAX_FRAME_LEN, RawSocket, monotonic_nanos, random_seed, wait};
use aoe_target::{Address, FileStorage, Model, Port, Server, Storage, Wire};
use clap::Parser;

use options::Arguments;

/// How often it is looked whether the disk hangs.
const HANG_NS: u64 = 20_000_000;
/// How often interfaces are looked at for another MTU.
const LOOK_NS: u64 = 1_000_000_000;

/// A frame between a wire and its end. Ordered by time, then by number.
type Travelling = Reverse<(u64, u64, bool, usize, Vec<u8>)>;

struct Program {
    sockets: Vec<RawSocket>,
    server: Server<FileStorage>,
    incoming: Wire,
    outgoing: Wire,
    on_the_way: BinaryHeap<Travelling>,
    number: u64,
    stalls: Option<(u64, u64)>,
    hang_file: Option<PathBuf>,
    next_stall: u64,
    next_look: u64,
}

impl Program {
    fn new(arguments: &Arguments, seed: u64) -> Result<Self> {
        let mut sockets = Vec::new();
        let mut ports = Vec::new();
        for name in &arguments.interface {
            let socket = RawSocket::open(name).with_context(|| name.clone())?;
            let mtu = socket.mtu().with_context(|| name.clone())?;
            let mac = socket.mac().with_context(|| name.clone())?;
            ports.push(Port { mac: mac.0, mtu });
            sockets.push(socket);
        }
        let file = OpenOptions::new()
            .read(true)
            .write(!arguments.read_only)
            .open(&arguments.file)
            .with_context(|| arguments.file.display().to_string())?;
        let mut storage = FileStorage::new(file, arguments.offset * 512)
            .with_context(|| arguments.file.display().to_string())?;
        if arguments.follow_size {
            storage.follow_size();
        }
        let addr = Address {
            shelf: arguments.shelf,
            slot: arguments.slot,
        };
        let sectors = storage.sectors();
        let mut model = Model::new(arguments.profile(), addr, storage);
        arguments.set_up(&mut model);
        println!(
            "{}.{}: {} sectors of {} as {}, seed {seed}",
            addr.shelf,
            addr.slot,
            sectors,
            arguments.file.display(),
            model.profile().name
        );
        let server = Server::new(model, ports, arguments.timing(), seed);
        Ok(Self {
            sockets,
            server,
            incoming: Wire::new(arguments.faults(), seed ^ 1),
            outgoing: Wire::new(arguments.faults(), seed ^ 2),
            on_the_way: BinaryHeap::new(),
            number: 0,
            stalls: arguments.stalls(),
            hang_file: arguments.hang_file.clone(),
            next_stall: monotonic_nanos() + arguments.stalls().map_or(0, |(every, _)| every),
            next_look: 0,
        })
    }

    fn travel(&mut self, inwards: bool, port: usize, now: u64, frame: Vec<u8>) {
        let wire = if inwards {
            &mut self.incoming
        } else {
            &mut self.outgoing
        };
        for (at, frame) in wire.pass(now, frame) {
            self.number += 1;
            self.on_the_way
                .push(Reverse((at, self.number, inwards, port, frame)));
        }
    }

    /// Takes in what has come by an interface.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<()> {
        for port in 0..self.sockets.len() {
            // A bounded batch, so that one busy interface does not starve what is due.
            for _ in 0..64 {
                let Some(socket) = self.sockets.get_mut(port) else {
                    break;
                };
                match socket.try_recv(buffer) {
                    Ok(Some(len)) => {
                        let frame = buffer.get(..len).unwrap_or(buffer).to_vec();
                        self.travel(true, port, monotonic_nanos(), frame);
                    }
                    Ok(None) => break,
                    Err(error) if error.kind() == ErrorKind::NetworkDown => {
                        eprintln!("{}: {error}", socket.name());
                        break;
                    }
                    Err(error) => return Err(error).context("cannot receive"),
                }
            }
        }
        Ok(())
    }

    /// Everything that is due now.
    fn work(&mut self) {
        let now = monotonic_nanos();
        if now >= self.next_look {
            self.next_look = now + LOOK_NS;
            for (port, socket) in self.sockets.iter().enumerate() {
                if let Ok(mtu) = socket.mtu() {
                    self.server.set_mtu(port, mtu);
                }
            }
        }
        if let Some(file) = &self.hang_file {
            self.server.hang(now, file.exists());
        }
        if let Some((every, length)) = self.stalls.filter(|_| now >= self.next_stall) {
            self.server.stall(now + length);
            self.next_stall = now + every + length;
        }
        loop {
            while let Some(out) = self.server.poll(now) {
                self.travel(false, out.port, now, out.frame);
            }
            if self
                .on_the_way
                .peek()
                .is_none_or(|Reverse((at, ..))| *at > now)
            {
                return;
            }
            let Some(Reverse((_, _, inwards, port, frame))) = self.on_the_way.pop() else {
                return;
            };
            if inwards {
                self.server.receive(now, port, &frame);
            } else if let Some(socket) = self.sockets.get(port)
                && let Err(error) = socket.send(&frame)
            {
                // As on any wire: the frame is lost.
                eprintln!("{}: {error}", socket.name());
            }
        }
    }

    fn patience(&self) -> Duration {
        let now = monotonic_nanos();
        let travelling = self.on_the_way.peek().map(|Reverse((at, ..))| *at);
        let stall = self.stalls.map(|_| self.next_stall);
        let next = [
            travelling,
            stall,
            self.server.poll_timeout(),
            Some(self.next_look),
            self.hang_file.as_ref().map(|_| now + HANG_NS),
        ]
        .into_iter()
        .flatten()
        .min();
        Duration::from_nanos(next.map_or(LOOK_NS, |at| at.saturating_sub(now)))
    }

    fn run(&mut self) -> Result<()> {
        let mut buffer = vec![0; MAX_FRAME_LEN];
        loop {
            self.work();
            let patience = self.patience();
            if !patience.is_zero() {
                wait(&self.sockets, Some(patience)).context("cannot wait")?;
            }
            self.receive(&mut buffer)?;
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let seed = match arguments.seed {
        Some(seed) => seed,
        None => random_seed().context("no random numbers")?,
    };
    Program::new(&arguments, seed)?.run()
}
