// SPDX-License-Identifier: BSD-2-Clause
//! The steps.

use super::*;

impl World<'_> {
    /// Lets one thing happen.
    pub fn step(&mut self, step: Step) {
        self.judge.news();
        self.note_reachable();
        self.overdue = false;
        if self.tell {
            eprintln!("{:>14} us -- {step:?}", self.now / US);
        }
        match step {
            Step::Write {
                lba,
                sectors,
                ordered,
            } => self.submit(Op::Write, lba, sectors, ordered),
            Step::Read {
                lba,
                sectors,
                ordered,
            } => self.submit(Op::Read, lba, sectors, ordered),
            Step::Trim {
                lba,
                sectors,
                ordered,
            } => self.submit(Op::Trim, lba, sectors, ordered),
            Step::Flush { ordered } => self.submit(Op::Flush, 0, 0, ordered),
            Step::Deliver(number) => {
                self.pass(100 * US, false);
                self.deliver(usize::from(number));
            }
            Step::DeliverAll => self.deliver_all(),
            Step::Lose(number) => {
                if !self.wire.is_empty() {
                    self.wire.remove(usize::from(number) % self.wire.len());
                }
            }
            Step::LoseAll => self.wire.clear(),
            Step::Double(number) => self.double(usize::from(number)),
            Step::Wait { millis, late } => self.pass(u64::from(millis) * MS, late),
            Step::LinkDown(link) => self.change(
                link,
                InterfaceChange::Down(Rings::Empty, Instant::default()),
            ),
            Step::LinkUp(link) => self.change(link, InterfaceChange::Up),
            Step::LinkGone(link) => self.change(link, InterfaceChange::Gone),
            Step::Mtu { link, mtu } => {
                let number = link % self.links();
                self.nets[usize::from(number)].mtu = mtu;
                self.change(link, InterfaceChange::Changed);
            }
            Step::Beacon(link) => self.beacon(link % self.links()),
            Step::Tunables {
                dead_secs,
                write_cache,
            } => {
                let dead_secs = u32::from(dead_secs);
                self.tunables = Tunables {
                    dead_secs,
                    write_cache,
                    ..Tunables::default()
                };
                self.target.set_tunables(self.instant(), self.tunables);
            }
            Step::Revalidate => self.target.revalidate(self.instant()),
            Step::FailHeld => {
                // Nothing happens while a path answers, and the requests, too.
                self.failed_held = !self.reachable();
                self.excuse_if_unreachable();
                self.excuse_after(2 * SEC);
                self.target.fail_held(self.instant());
            }
            Step::Abort => self.abort(),
            Step::Open(open) => self.use_disk(open && self.identified),
            _ => self.step_of_target(step),
        }
        self.settle();
        let complaints = std::mem::take(&mut self.plain.complaints);
        for complaint in complaints {
            self.model
                .fault(format!("the target complains of {complaint}"));
        }
    }

    /// The steps that the target takes.
    fn step_of_target(&mut self, step: Step) {
        match step {
            Step::Faults { fault, times } => self.plain.faults = Some((fault, times)),
            Step::Restart => self.restart(),
            Step::Power(true) if !self.plain.running => self.restart(),
            Step::Power(on) => self.plain.running = on,
            Step::Resize(sectors) => self.resize(u64::from(sectors)),
            Step::Buffers(count) => self.plain.buffers = count,
            Step::Sectors(count) => self.plain.sectors = count,
            _ => {}
        }
    }

    fn excuse_if_unreachable(&mut self) {
        if !self.reachable() {
            self.model.excuse(IoError::Failed, |_| true);
        }
    }

    /// Requests may fail when one of them has waited for so long, whether a path answers or not.
    fn excuse_after(&mut self, patience: u64) {
        if self.longest_wait() >= patience {
            self.overdue = true;
            self.model.excuse(IoError::Failed, |_| true);
        }
    }

    fn submit(&mut self, op: Op, lba: u8, sectors: u8, ordered: bool) {
        let (lba, sectors) = (u64::from(lba), u64::from(sectors));
        let target = &self.target;
        let outside = sectors == 0 || lba + sectors > target.sectors();
        // What it can only end in, by what the engine shows of itself at this moment.
        let must_fail = match (target.state(), op) {
            (State::Removed, _) => Some(IoError::Gone),
            (State::Dead | State::Probing, _) => Some(IoError::Failed),
            (_, Op::Flush) if !target.can_flush() => Some(IoError::Unsupported),
            (_, Op::Read | Op::Write | Op::Trim) if outside => Some(IoError::Invalid),
            (_, Op::Trim) if !target.can_trim() => Some(IoError::Unsupported),
            _ => None,
        };
        let token = self.next_token;
        self.next_token += 1;
        let asked = Asked {
            order: 0,
            when: 0,
            op,
            lba,
            sectors,
            ordered,
            must_fail,
            may_fail: BTreeSet::new(),
        };
        let data = match op {
            Op::Write => (lba..lba + sectors)
                .flat_map(|lba| stamp(token, lba))
                .collect(),
            Op::Read => vec![0xcc; sectors as usize * 512],
            Op::Flush | Op::Trim => Vec::new(),
        };
        // Not every caller opens the disk first; but memory every request needs.
        self.lend();
        let now = self.instant();
        let done = Completion::new(token, Ok(()), now);
        let working = must_fail.is_none();
        if self.planted(Mistake::SkipFlush) && op == Op::Flush && working {
            self.model.accept(token, asked);
            self.complete(done);
            return;
        }
        let ordered = ordered && !self.planted(Mistake::IgnoreOrdered);
        let full = self.planted(Mistake::FalseFull)
            && self.model.open.len() + 1 == usize::from(self.setup.requests);
        let request = Request {
            token,
            op,
            lba,
            sectors,
            ordered,
            wait_secs: 0,
        };
        if full || self.target.submit(now, request).is_err() {
            self.model.refused();
            self.report.refused += 1;
            return;
        }
        self.report.accepted += 1;
        self.model.accept(token, asked);
        self.accepted_at.insert(token, self.now);
        self.buffers.insert(token, data);
        if self.planted(Mistake::CompleteEarly) && op == Op::Write && working {
            let data = self.buffers.get(&token).cloned().unwrap_or_default();
            self.complete(done);
            self.buffers.insert(token, data);
        }
        self.settle();
        let tampered = self.mistake.is_some();
        if must_fail.is_some() && self.model.open.contains_key(&token) && !tampered {
            self.model
                .fault(format!("request {token} cannot be done and waits"));
        }
    }

    /// Time passes; timers run unless they are late.
    pub(super) fn pass(&mut self, nanos: u64, late: bool) {
        let until = self.now + nanos;
        let mut runs = 0;
        while !late && let Some(at) = self.target.poll_timeout() {
            if at.as_nanos() > until || self.planted(Mistake::NoTimer) {
                break;
            }
            runs += 1;
            if runs > 20_000 {
                self.model.fault("timers run without end");
                break;
            }
            self.now = self.now.max(at.as_nanos());
            self.timer();
        }
        self.now = until;
        self.timer();
        self.is_dead_in_time();
    }

    fn timer(&mut self) {
        self.expire();
        self.note_reachable();
        if self.planted(Mistake::NoTimer) {
            return;
        }
        if self
            .target
            .poll_timeout()
            .is_some_and(|at| at <= self.instant())
        {
            self.judge.news();
            let patience = u64::from(self.tunables.dead_secs) * SEC;
            if patience != 0 && self.now - self.reachable_at >= patience {
                self.excuse_if_unreachable();
            }
            if patience != 0 {
                self.excuse_after(patience);
            }
            self.target.handle_timeout(self.instant());
        }
        self.settle();
    }

    /// Who waits for no longer than `dead_secs` is not kept waiting.
    fn is_dead_in_time(&mut self) {
        let patience = u64::from(self.tunables.dead_secs) * SEC;
        let alive = matches!(self.state, State::Up | State::Down);
        let silent = self.now - self.reachable_at;
        if patience != 0 && alive && silent > patience + SEC && !self.planted(Mistake::NoTimer) {
            self.model
                .fault(format!("not dead after {} ms without a path", silent / MS));
        }
    }

    fn expire(&mut self) {
        let now = self.now;
        self.wire.retain(|frame| now - frame.sent < LIFETIME);
        let is_late = |copy: &mut Flying| now - copy.sent >= 300 * MS;
        self.wire.extend(self.kept_copies.extract_if(.., is_late));
    }

    /// One frame arrives.
    fn deliver(&mut self, number: usize) {
        if self.wire.is_empty() {
            return;
        }
        let frame = self.wire.remove(number % self.wire.len());
        if frame.to_target {
            self.arrive(&frame);
        } else {
            self.come_in(frame.netif, &frame.bytes);
        }
        self.settle();
    }

    pub(super) fn deliver_all(&mut self) {
        for _ in 0..2000 {
            if self.wire.is_empty() {
                return;
            }
            self.pass(20 * US, false);
            self.deliver(0);
        }
    }

    fn double(&mut self, number: usize) {
        self.pass(100 * US, false);
        if self.wire.is_empty() {
            return;
        }
        let number = number % self.wire.len();
        let frame = self.wire[number].clone();
        if frame.to_target {
            self.wire.remove(number);
            self.arrive(&frame);
            self.arrive(&frame);
        } else {
            self.come_in(frame.netif, &frame.bytes);
        }
        self.settle();
    }

    /// A frame reaches the target.
    fn arrive(&mut self, frame: &Flying) {
        let writes = frame.bytes.get(24).is_some_and(|flags| flags & 1 != 0);
        if self.planted(Mistake::LateCopies) && writes && !frame.copy {
            self.kept_copies.push(Flying {
                copy: true,
                sent: self.now,
                ..frame.clone()
            });
        } else if self.setup.ordered {
            // What was sent before it by the same interface has been lost, then.
            self.wire.retain(|other| {
                !other.to_target || other.netif != frame.netif || other.serial > frame.serial
            });
        }
        self.tell("arrived", frame.netif, &frame.bytes);
        let before = self.plain.disk.clone();
        let answer = self.plain.handle(self.port(frame.netif), &frame.bytes);
        if before != self.plain.disk {
            self.before = before;
        }
        self.model.look(&self.plain.disk);
        if let Some(bytes) = answer {
            self.put(false, frame.netif, bytes);
        }
    }

    /// A frame reaches this host.
    fn come_in(&mut self, netif: u8, bytes: &[u8]) {
        let id = NetifId(netif);
        if self.nets().truth(id).is_none() {
            return;
        }
        self.tell("heard", netif, bytes);
        self.judge.heard(&mut self.model, bytes);
        let mut shown = bytes.to_vec();
        if self.planted(Mistake::WideWindow) && shown.get(19) == Some(&Command::CONFIG.0) {
            shown[24..26].copy_from_slice(&[0, 200]);
        }
        let Ok((header, argument)) = Header::split(&shown) else {
            self.model.fault("the plain target does not speak AoE");
            return;
        };
        // Of an ATA answer only the registers are promised to lie contiguous.
        let arg = if header.command == Command::ATA {
            argument.get(..12).unwrap_or(argument)
        } else {
            argument
        };
        let received = Received {
            netif: id,
            header: &header,
            arg,
            len: shown.len(),
        };
        let now = self.instant();
        match self.hand_in(&received) {
            Handled::Done | Handled::Dropped(_) => {}
            Handled::Widen(_) => self.model.fault("a table that was lent is asked for again"),
            Handled::KeepConfig(_) => self.model.fault("room for an empty string is asked for"),
            Handled::CopyIdentify(claim) => {
                let data = shown
                    .get(ATA_HEADER_LEN..)
                    .and_then(|data| data.first_chunk());
                match data {
                    Some(data) => self.target.commit_identify(now, claim, data),
                    None => self
                        .model
                        .fault("IDENTIFY data are taken from a frame without them"),
                }
            }
            Handled::CopyData(claim) => {
                self.copy(
                    claim.token,
                    claim.offset as usize,
                    claim.len as usize,
                    &shown,
                );
                self.target.commit(now, claim);
            }
        }
    }

    fn copy(&mut self, token: u64, offset: usize, len: usize, frame: &[u8]) {
        let mut from = frame
            .get(ATA_HEADER_LEN..ATA_HEADER_LEN + len)
            .map(<[u8]>::to_vec);
        if self.planted(Mistake::SwapData)
            && let Some(from) = &mut from
            && from.len() > 512
        {
            from.rotate_left(512);
        }
        if self.planted(Mistake::StaleRead)
            && let Some(asked) = self.model.open.get(&token)
        {
            let first = asked.lba as usize + offset / 512;
            from = self
                .before
                .get(first..first + len / 512)
                .map(<[_]>::concat)
                .or(from);
        }
        let to = self
            .buffers
            .get_mut(&token)
            .and_then(|data| data.get_mut(offset..offset + len));
        match (to, from) {
            (Some(to), Some(from)) => to.copy_from_slice(&from),
            _ => self.model.fault(format!(
                "data copied to {token}+{offset}, which is not lent"
            )),
        }
    }

    fn change(&mut self, link: u8, change: InterfaceChange) {
        let netif = link % self.links();
        let net = &mut self.nets[usize::from(netif)];
        match change {
            InterfaceChange::Up => (net.listed, net.up) = (true, true),
            InterfaceChange::Down(..) => net.up = false,
            InterfaceChange::Gone => (net.listed, net.up) = (false, false),
            InterfaceChange::Rewired(..) | InterfaceChange::Changed => {}
        }
        let leaves = matches!(change, InterfaceChange::Down(..) | InterfaceChange::Gone);
        if leaves && self.setup.ordered {
            // What was in the interface is thrown away.
            self.wire
                .retain(|frame| !frame.to_target || frame.netif != netif);
        }
        if !(leaves && self.planted(Mistake::IgnoreLinkDown)) {
            self.target
                .handle_interface(self.instant(), NetifId(netif), change);
        }
    }

    /// The target starts (again): what it had received and not done is lost, and it tells everyone.
    fn restart(&mut self) {
        self.plain.running = true;
        self.wire.retain(|frame| !frame.to_target);
        for netif in 0..self.links() {
            let frame = self.plain.config(self.port(netif), 0);
            self.put(false, netif, frame);
        }
    }

    fn resize(&mut self, sectors: u64) {
        let old = self.plain.disk.len() as u64;
        self.plain.resize(sectors);
        self.model.resize(old, sectors);
        self.sizes.insert(sectors);
    }
}
