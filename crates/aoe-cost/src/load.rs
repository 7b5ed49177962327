// SPDX-License-Identifier: BSD-2-Clause
//! A target behind a perfect wire, and as many requests in flight as asked for.

use std::collections::VecDeque;

use aoe_core::lookup::{self, BUCKETS, Entry, bucket};
use aoe_core::{
    Completion, Event, Frame, Handled, Info, Instant, InterfaceChange, Io, IoStorage, Link, Links,
    NetifId, Op, Path, Payload, Received, Request, Target, Transmit, Tunables, limits,
};
use aoe_target::{Address, MemStorage, Model, Port, Profile};
use aoe_wire::{Header, MacAddr, TargetAddr};

/// Sectors of the disk.
const DISK: u64 = 1 << 20;
const TARGET_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// What a round trip takes, in nanoseconds.
const ROUND_TRIP: u64 = 100_000;
/// Between two answers.
const STEP: u64 = 1_000;
/// Targets of many that are busy.
const BUSY: usize = 16;

/// The load.
pub(crate) struct Load {
    pub(crate) writes: bool,
    pub(crate) sectors: u32,
    pub(crate) depth: usize,
    pub(crate) mtu: u32,
    pub(crate) paths: u8,
    pub(crate) requests: u64,
    /// Of so many frames one is lost on its way to the target; 0 for none.
    pub(crate) lose: u64,
    /// Targets that are known. Some are busy, one after the other; the others do nothing.
    pub(crate) targets: usize,
}

/// What went over the wire.
#[derive(Default)]
pub(crate) struct Run {
    pub(crate) requests: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

struct Cables {
    mtu: u32,
}

impl Links for Cables {
    fn link(&self, id: NetifId) -> Option<Link> {
        Some(Link {
            mtu: self.mtu,
            mac: MacAddr([2, 0, 0, 0, 1, id.0]),
            in_order: true,
        })
    }
}

/// A target in the table.
struct Known {
    addr: TargetAddr,
    next: Option<&'static Self>,
}

impl Entry for &'static Known {
    fn addr(self) -> TargetAddr {
        self.addr
    }

    fn next(self) -> Option<Self> {
        self.next
    }
}

/// The table of targets, which lives as long as the program.
#[derive(Copy, Clone)]
struct Table {
    chains: &'static [Option<&'static Known>],
}

impl Table {
    fn new(targets: usize) -> Self {
        let mut chains = vec![None; BUCKETS];
        for addr in (0..targets).map(address) {
            let chain = &mut chains[bucket(addr)];
            let next = chain.take();
            *chain = Some(&*Box::leak(Box::new(Known { addr, next })));
        }
        Self {
            chains: chains.leak(),
        }
    }
}

/// Addresses as they are given to the slots of one shelf after the other.
fn address(number: usize) -> TargetAddr {
    let shelf = u16::try_from(7 + number / 255);
    let slot = u8::try_from(number % 255);
    let addr = shelf.ok().zip(slot.ok());
    addr.and_then(|(shelf, slot)| TargetAddr::new(shelf, slot))
        .expect("no more targets than there are addresses")
}

/// The target that a frame is for is looked for.
#[inline(never)]
fn find(table: Table, addr: TargetAddr) -> bool {
    lookup::find(table.chains[bucket(addr) % BUCKETS], addr).is_some()
}

/// A request is handed over.
#[inline(never)]
fn accept(target: &mut Target<'_>, now: Instant, request: Request) {
    assert!(target.submit(now, request).is_ok(), "the table is full");
}

/// What may be sent now is collected, and given back as sent.
#[inline(never)]
fn send(target: &mut Target<'_>, now: Instant, links: &Cables, out: &mut Vec<Transmit>) {
    while let Some(frame) = target.poll_transmit(now, links) {
        out.push(frame);
    }
    for frame in out.iter() {
        if let Some(ticket) = frame.ticket {
            target.transmitted(now, ticket);
        }
    }
}

/// A frame came in; what ended with it is returned.
#[inline(never)]
fn receive(
    target: &mut Target<'_>,
    now: Instant,
    netif: NetifId,
    frame: &[u8],
) -> (Option<Completion>, Option<Event>, Option<Instant>) {
    let Ok((header, arg)) = Header::split(frame) else {
        return (None, None, None);
    };
    let rx = Received {
        netif,
        header: &header,
        arg,
        len: frame.len(),
    };
    match target.handle_frame(now, &rx) {
        Handled::Widen(slots) => {
            give_path_memory(target, slots);
            return receive(target, now, netif, frame);
        }
        Handled::KeepConfig(bytes) => give_config_memory(target, bytes, arg),
        Handled::CopyData(claim) => target.commit(now, claim),
        Handled::CopyIdentify(claim) => {
            if let Some(table) = frame.get(36..).and_then(|data| data.first_chunk()) {
                target.commit_identify(now, claim, table);
            }
        }
        Handled::Done | Handled::Dropped(_) => {}
    }
    (
        target.poll_completion(),
        target.poll_event(),
        target.poll_timeout(),
    )
}

/// The memory that was asked for lives as long as the program: a target asks for little, and there is one.
fn give_path_memory(target: &mut Target<'_>, slots: usize) {
    let _ = target.widen(vec![Path::EMPTY; slots].leak());
}

fn give_config_memory(target: &mut Target<'_>, bytes: usize, arg: &[u8]) {
    let _ = target.keep_config(vec![0; bytes].leak(), arg);
}

/// The target's machine and the cables to it.
struct World {
    table: Table,
    model: Model<MemStorage>,
    links: Cables,
    port: Port,
    now: Instant,
    answers: VecDeque<(NetifId, Vec<u8>)>,
    out: Vec<Transmit>,
    run: Run,
    lose: u64,
}

impl World {
    /// Lets the engine send, and the target answer.
    fn exchange(&mut self, target: &mut Target<'_>) {
        send(target, self.now, &self.links, &mut self.out);
        for frame in self.out.drain(..) {
            self.run.sent += 1;
            if self.lose != 0 && self.run.sent.is_multiple_of(self.lose) {
                continue;
            }
            let mut bytes = frame.header[..usize::from(frame.header_len)].to_vec();
            if let Payload::Io { len, .. } = frame.payload {
                bytes.resize(bytes.len() + len as usize, 0);
            }
            bytes.resize(bytes.len().max(60), 0);
            if let Some(answer) = self.model.handle(&self.port, &bytes) {
                self.answers.push_back((frame.netif, answer));
            }
        }
    }
}

/// Runs the load to its end.
pub(crate) fn run(load: &Load) -> Run {
    let table = Table::new(load.targets);
    let busy = load.targets.min(BUSY);
    let share = Load {
        requests: load.requests / busy as u64,
        ..*load
    };
    let mut all = Run::default();
    for number in 0..busy {
        let addr = address(number * load.targets / busy);
        let run = after(&share, addr, table, |_, world| world.run);
        all.requests += share.requests;
        all.sent += run.sent;
        all.received += run.received;
    }
    all
}

/// Bytes that a target has: its own, and all that it was lent. First at rest after the load, the disk being
/// closed again, then with the disk open.
pub(crate) fn memory(load: &Load) -> (usize, usize) {
    let held = |target: Target<'_>| {
        let lent = target.reclaim();
        let io = lent
            .io
            .map_or(0, |io| size_of_val(io.frames) + size_of_val(io.ios));
        let rest = size_of_val(lent.info) + size_of_val(lent.paths) + size_of_val(lent.config);
        size_of::<Target<'_>>() + rest + io
    };
    let (addr, table) = (address(0), Table::new(1));
    let idle = after(load, addr, table, |mut target, world| {
        target.set_in_use(world.now, false);
        let events = std::iter::from_fn(|| target.poll_event());
        assert!(events.into_iter().any(|event| event == Event::Unused));
        assert!(target.take_back().is_some(), "nothing came back");
        held(target)
    });
    let open = after(load, addr, table, |target, _| held(target));
    (idle, open)
}

/// What `look` says of a target on which the load has run to its end, its disk being open.
fn after<R>(
    load: &Load,
    addr: TargetAddr,
    table: Table,
    look: impl FnOnce(Target<'_>, World) -> R,
) -> R {
    let mut info = Info::EMPTY;
    let mut frames = vec![Frame::EMPTY; limits::DEFAULT_FRAMES];
    let mut ios = vec![Io::EMPTY; limits::DEFAULT_IOS];
    let (mut target, mut world) = begin(load, addr, table, &mut info);
    open(&mut target, &mut world, &mut frames, &mut ios);
    keep_busy(load, &mut world, &mut target);
    look(target, world)
}

fn open<'s>(
    target: &mut Target<'s>,
    world: &mut World,
    frames: &'s mut [Frame],
    ios: &'s mut [Io],
) {
    let beside = target.lend(IoStorage { frames, ios });
    assert!(beside.is_none(), "memory was lent already");
    target.set_in_use(world.now, true);
    world.run = Run::default();
}

/// A target that was identified on each of its paths.
fn begin<'s>(
    load: &Load,
    addr: TargetAddr,
    table: Table,
    info: &'s mut Info,
) -> (Target<'s>, World) {
    let mut target = Target::new(addr, 1, Tunables::default(), info);
    let mut profile = Profile::vblade();
    profile.buffer_count = limits::MAX_WINDOW;
    let address = Address {
        shelf: addr.shelf(),
        slot: addr.slot(),
    };
    let mut world = World {
        table,
        model: Model::new(profile, address, MemStorage::new(DISK)),
        links: Cables { mtu: load.mtu },
        port: Port {
            mac: TARGET_MAC,
            mtu: load.mtu,
        },
        now: Instant::from_nanos(1_000_000_000),
        answers: VecDeque::new(),
        out: Vec::with_capacity(1024),
        run: Run::default(),
        lose: 0,
    };
    introduce(load, &mut world, &mut target);
    (target, world)
}

/// Announces the target on every interface until it is identified there.
fn introduce(load: &Load, world: &mut World, target: &mut Target<'_>) {
    for netif in 0..load.paths {
        target.handle_interface(world.now, NetifId(netif), InterfaceChange::Up);
        for announcement in world.model.advertisement(&world.port) {
            receive(target, world.now, NetifId(netif), &announcement);
        }
        world.exchange(target);
        while let Some((netif, answer)) = world.answers.pop_front() {
            receive(target, world.now, netif, &answer);
            world.exchange(target);
        }
    }
    assert!(target.sectors() > 0, "the target was not identified");
}

fn keep_busy(load: &Load, world: &mut World, target: &mut Target<'_>) {
    let op = if load.writes { Op::Write } else { Op::Read };
    let (mut begun, mut ended) = (0, 0);
    let mut next = |target: &mut Target<'_>, now| {
        if begun < load.requests {
            let lba = begun * u64::from(load.sectors) % (DISK - u64::from(load.sectors));
            accept(
                target,
                now,
                Request {
                    token: begun,
                    op,
                    lba,
                    sectors: u64::from(load.sectors),
                    ordered: false,
                    wait_secs: 0,
                },
            );
            begun += 1;
        }
    };
    for _ in 0..load.depth {
        next(target, world.now);
    }
    world.lose = load.lose;
    world.exchange(target);
    world.now = world.now.after(ROUND_TRIP);
    while ended < load.requests {
        let deadline = match world.answers.pop_front() {
            Some((netif, answer)) => {
                world.now = world.now.after(STEP);
                world.run.received += 1;
                let header = Header::split(&answer).map(|(header, _)| header);
                let addr = header.ok().and_then(|header| header.addr());
                assert!(addr.is_some_and(|addr| find(world.table, addr)));
                let (done, _, deadline) = receive(target, world.now, netif, &answer);
                if let Some(done) = done {
                    assert!(done.result.is_ok(), "a request failed");
                    ended += 1;
                    next(target, world.now);
                }
                deadline
            }
            None => {
                let deadline = target.poll_timeout();
                world.now = deadline.expect("requests were lost").max(world.now);
                deadline
            }
        };
        if deadline.is_some_and(|at| at <= world.now) {
            target.handle_timeout(world.now);
        }
        world.exchange(target);
    }
}
