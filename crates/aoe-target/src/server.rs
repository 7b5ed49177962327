// SPDX-License-Identifier: BSD-2-Clause
//! A target in time: frames wait in a queue of limited length, are carried out one after another or in any
//! order, and the target can stall, die and come back.

use std::collections::VecDeque;

use crate::ata::IDENTIFY;
use crate::model::Model;
use crate::rng::Rng;
use crate::storage::Storage;
use crate::{Mac, Port};

/// How long things take, in nanoseconds, and in which order they happen.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Shortest and longest time to carry out one frame.
    pub service_ns: (u64, u64),
    /// Frames carried out at a time; with more than one, they end in any order.
    pub workers: usize,
    /// A free worker takes any waiting frame, not the first.
    pub shuffle: bool,
    /// Frames of one port that may be waiting or in work; `None`: the profile's buffer count.
    pub queue: Option<usize>,
    /// Shortest and longest time that the disk takes for a command, while the target goes on answering
    /// questions (Config, IDENTIFY); `None`: no more than any frame.
    pub disk_ns: Option<(u64, u64)>,
    /// Commands that the disk works on at a time.
    pub disk_workers: usize,
}

impl Timing {
    /// One after another, as vblade does.
    #[must_use]
    pub const fn in_order(service_ns: (u64, u64)) -> Self {
        Self {
            service_ns,
            workers: 1,
            shuffle: false,
            queue: None,
            disk_ns: None,
            disk_workers: 1,
        }
    }

    /// Several at a time, as ggaoed and kvblade do.
    #[must_use]
    pub const fn reordering(service_ns: (u64, u64), workers: usize) -> Self {
        Self {
            service_ns,
            workers,
            shuffle: true,
            queue: None,
            disk_ns: None,
            disk_workers: 1,
        }
    }
}

/// A frame to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// Number of the port to send it from.
    pub port: usize,
    /// The frame.
    pub frame: Vec<u8>,
}

#[derive(Debug)]
struct Job {
    port: usize,
    frame: Vec<u8>,
}

#[derive(Debug)]
struct Running {
    job: Job,
    until: u64,
}

/// A target with a queue and a clock that is given to it.
#[derive(Debug)]
pub struct Server<S> {
    model: Model<S>,
    ports: Vec<Port>,
    timing: Timing,
    rng: Rng,
    waiting: VecDeque<Job>,
    running: Vec<Running>,
    /// Commands for the disk, in their order, and those that it works on.
    for_disk: VecDeque<Job>,
    in_disk: Vec<Running>,
    /// The disk does nothing.
    hung: bool,
    outgoing: VecDeque<Outgoing>,
    stalled_until: u64,
    alive: bool,
    executed: u64,
    dropped: u64,
}

impl<S: Storage> Server<S> {
    /// A target that is running, with the advertisements of its start waiting to be sent.
    pub fn new(model: Model<S>, ports: Vec<Port>, timing: Timing, seed: u64) -> Self {
        let mut server = Self {
            model,
            ports,
            timing,
            rng: Rng::new(seed),
            waiting: VecDeque::new(),
            running: Vec::new(),
            for_disk: VecDeque::new(),
            in_disk: Vec::new(),
            hung: false,
            outgoing: VecDeque::new(),
            stalled_until: 0,
            alive: true,
            executed: 0,
            dropped: 0,
        };
        server.advertise();
        server
    }

    /// The target itself.
    #[must_use]
    pub fn model(&self) -> &Model<S> {
        &self.model
    }

    /// The target itself, to be changed.
    pub fn model_mut(&mut self) -> &mut Model<S> {
        &mut self.model
    }

    /// Its ports.
    #[must_use]
    pub fn ports(&self) -> &[Port] {
        &self.ports
    }

    /// Gives a port another MTU. vblade notices with the next config query.
    pub fn set_mtu(&mut self, port: usize, mtu: u32) {
        if let Some(port) = self.ports.get_mut(port) {
            port.mtu = mtu;
        }
    }

    /// Changes how long things take from now on.
    pub fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// Whether the process runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.alive
    }

    /// Frames carried out so far.
    #[must_use]
    pub fn executed(&self) -> u64 {
        self.executed
    }

    /// Frames lost because the queue was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Frames taken in and not carried out.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.waiting.len() + self.running.len() + self.for_disk.len() + self.in_disk.len()
    }

    /// Sends the unsolicited config answers.
    pub fn advertise(&mut self) {
        for (number, port) in self.ports.iter().enumerate() {
            for frame in self.model.advertisement(port) {
                self.outgoing.push_back(Outgoing {
                    port: number,
                    frame,
                });
            }
        }
    }

    /// Does nothing until then, but keeps what it has and what comes in.
    pub fn stall(&mut self, until: u64) {
        self.stalled_until = self.stalled_until.max(until);
    }

    /// The disk behind it does nothing, or works again; the target itself goes on answering questions and
    /// keeps the commands that come in.
    pub fn hang(&mut self, now: u64, hung: bool) {
        self.hung = hung;
        self.feed_disk(now);
    }

    /// The process is killed: what it has taken in is lost.
    pub fn kill(&mut self) {
        self.alive = false;
        self.waiting.clear();
        self.running.clear();
        self.for_disk.clear();
        self.in_disk.clear();
        self.outgoing.clear();
    }

    /// The process starts again, and says so.
    pub fn start(&mut self) {
        self.alive = true;
        self.stalled_until = 0;
        self.model.restart();
        self.advertise();
    }

    /// Frames of one port that may be waiting.
    fn limit(&self) -> usize {
        self.timing
            .queue
            .unwrap_or_else(|| usize::from(self.model.profile().buffer_count).max(1))
    }

    fn room(&self, port: usize) -> bool {
        let running = self.running.iter().map(|running| &running.job);
        self.waiting
            .iter()
            .chain(running)
            .filter(|job| job.port == port)
            .count()
            < self.limit()
    }

    /// A frame comes in by a port.
    pub fn receive(&mut self, now: u64, port: usize, frame: &[u8]) {
        let Some(own) = self.ports.get(port) else {
            return;
        };
        let to_us = frame
            .first_chunk::<6>()
            .is_some_and(|dst: &Mac| *dst == own.mac || dst[0] & 1 == 1);
        if !self.alive || !to_us || !self.model.accepts(frame) {
            return;
        }
        if !self.room(port) {
            self.dropped += 1;
            return;
        }
        self.waiting.push_back(Job {
            port,
            frame: frame.to_vec(),
        });
        self.fill(now);
    }

    fn fill(&mut self, now: u64) {
        while self.running.len() < self.timing.workers.max(1) && !self.waiting.is_empty() {
            let at = if self.timing.shuffle {
                self.rng.below(self.waiting.len() as u64)
            } else {
                0
            };
            let Some(job) = self.waiting.remove(usize::try_from(at).unwrap_or(0)) else {
                return;
            };
            let (low, high) = self.timing.service_ns;
            let until = now.max(self.stalled_until) + self.rng.between(low, high);
            self.running.push(Running { job, until });
        }
    }

    /// When it will next do something by itself.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        if !self.outgoing.is_empty() {
            return Some(0);
        }
        let disk = self.in_disk.iter().filter(|_| !self.hung);
        self.running
            .iter()
            .chain(disk)
            .map(|running| running.until.max(self.stalled_until))
            .min()
    }

    /// Whether a command is for the disk, and not a question that is answered without it.
    fn needs_disk(&self, frame: &[u8]) -> bool {
        let is_command = frame.get(19) == Some(&0) && frame.get(27) != Some(&IDENTIFY);
        let is_idle = self.for_disk.is_empty() && self.in_disk.is_empty();
        is_command && (self.hung || self.timing.disk_ns.is_some() || !is_idle)
    }

    /// Commands wait for the disk in a queue of their own, so that questions find room.
    fn give_to_disk(&mut self, now: u64, job: Job) {
        if self.for_disk.len() >= self.limit() {
            self.dropped += 1;
            return;
        }
        self.for_disk.push_back(job);
        self.feed_disk(now);
    }

    /// The disk begins with as many of its commands as it works on at a time.
    fn feed_disk(&mut self, now: u64) {
        let (low, high) = self.timing.disk_ns.unwrap_or_default();
        while !self.hung && self.in_disk.len() < self.timing.disk_workers.max(1) {
            let Some(job) = self.for_disk.pop_front() else {
                return;
            };
            let until = now + self.rng.between(low, high);
            self.in_disk.push(Running { job, until });
        }
    }

    /// The command that the disk has done by now.
    fn take_from_disk(&mut self, now: u64) -> Option<Job> {
        if self.hung {
            return None;
        }
        let at = self.in_disk.iter().position(|done| done.until <= now)?;
        let job = self.in_disk.remove(at).job;
        self.feed_disk(now);
        Some(job)
    }

    /// The next frame that is done by now: by the disk, or without it.
    fn take_done(&mut self, now: u64) -> Option<Job> {
        loop {
            if let Some(job) = self.take_from_disk(now) {
                return Some(job);
            }
            let at =
                (0..self.running.len()).min_by_key(|at| self.running.get(*at).map(|r| r.until))?;
            if self.running.get(at)?.until > now {
                return None;
            }
            let job = self.running.remove(at).job;
            if !self.needs_disk(&job.frame) {
                return Some(job);
            }
            self.give_to_disk(now, job);
            self.fill(now);
        }
    }

    /// Carries out what is due and gives the next frame to send.
    pub fn poll(&mut self, now: u64) -> Option<Outgoing> {
        while self.outgoing.is_empty() {
            if now < self.stalled_until {
                return None;
            }
            let Job { port, frame } = self.take_done(now)?;
            self.executed += 1;
            if let Some(own) = self.ports.get(port)
                && let Some(frame) = self.model.handle(own, &frame)
                && frame.len()
                    <= usize::try_from(own.mtu)
                        .unwrap_or(usize::MAX)
                        .saturating_add(14)
            {
                self.outgoing.push_back(Outgoing { port, frame });
            }
            self.fill(now);
        }
        self.outgoing.pop_front()
    }
}
