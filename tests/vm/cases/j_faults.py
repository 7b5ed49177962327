# SPDX-License-Identifier: BSD-2-Clause
"""A bad network between the guest and real targets: aoe-relay makes it, and counts what it has done.

The targets are vblades, which check nothing and remember nothing; what comes out right here was put right by the
module."""

import hashlib
import re
import time

from cases.c_files import compare, disk_size, fill_and_check, whole_afterwards
from lib.case import MIB, Group
from lib.frames import BROADCAST, CMD_CONFIG, config_arg, frame
from lib.guest import forever
from lib.target import file_hash
from lib.util import need, same, wait_until
from lib.wire import Sniffer

G = Group("faults", nics=("em", "vtnet"), memory=1024, tree=True)
#: Seconds that a pulled cable may stop I/O while there is another.
LONGEST_GAP = 0.2


# -- the relay itself -----------------------------------------------------------------------------------------------

def to_guest_frames(t, seg=0):
    """Frames that the tap has given to the guest, by the kernel's own count."""
    return int(t.lab.sh(f"cat /sys/class/net/tap{seg}/statistics/tx_packets"))


def guest_listens(t, injector, advertisement):
    """Waits until the guest's card takes what is sent; for some time after its link came up it does not."""
    def heard():
        before = to_guest_frames(t)
        for _ in range(50):
            injector.send(advertisement)
        time.sleep(0.3)
        return to_guest_frames(t) - before == 50
    wait_until("the guest's card takes frames", heard, 30)


@G.test
def the_wire_does_what_it_is_told(t):
    """Without this the other tests could pass because nothing happens. No module is loaded."""
    relay = t.relay(0)
    injector = t.injector(0)
    t.guest.wait_for("ifconfig em0 | grep -q 'status: active'", 20, "em0 has a link")
    advertisement = frame(BROADCAST, injector.mac, 9, 9, CMD_CONFIG, config_arg(), 0x08)
    guest_listens(t, injector, advertisement)
    for faults, low, high in (("loss=0", 500, 500), ("loss=20%", 350, 450), ("duplicate=100%", 1000, 1000),
                              ("loss=100%", 0, 0), ("loss=0 longest=30", 0, 0), ("longest=off cut=on", 0, 0)):
        relay.clear()
        relay.set("to-initiator", faults)
        time.sleep(0.1)
        relay.reset()
        before = to_guest_frames(t)
        for _ in range(500):
            injector.send(advertisement)
        time.sleep(0.3)
        seen, counts = to_guest_frames(t) - before, relay.status()["to-initiator"]
        same(counts["received"], 500, f"frames that came to the relay, {faults}")
        need(low <= seen <= high, f"{faults}: {seen} frames came to the guest")
        gone = counts["lost"] + counts["cut"] + counts["too_long"]
        same(seen, 500 - gone + counts["duplicated"], f"{faults}: what the relay says")
    relay.clear()
    relay.set("both", "clog=on")
    before = to_guest_frames(t)
    injector.send(advertisement)
    time.sleep(0.2)
    same(to_guest_frames(t), before, "frames through a clogged wire")
    relay.set("both", "clog=off")
    wait_until("the held frame arrives", lambda: to_guest_frames(t) == before + 1, 2)
    same(relay.status()["own_lost"], 0, "frames that the relay lost by itself")


# -- file systems over a bad wire -----------------------------------------------------------------------------------

def set_mtu(t, mtu, ifname="em0", seg=0):
    t.lab.segments[seg].port(0)
    t.lab.segments[seg].set_mtu(mtu)
    t.guest.run(f"ifconfig {ifname} mtu {mtu} && ifconfig {ifname} up")


def files_over(t, *faults, mtu=1500, way="both"):
    """newfs, copy, fsck and checksums through the relay, and once more by a module that starts afresh on a good
    wire: so the bytes are on the target."""
    set_mtu(t, mtu)
    t.vblade(seg=0, size=disk_size(t))
    relay = t.relay(0)
    t.load("em0")
    disk = t.wait_disk()
    for setting in faults:
        relay.set(*setting) if isinstance(setting, tuple) else relay.set(way, setting)
    relay.reset()
    fill_and_check(t, disk)
    counts = relay.status()
    same(t.leaf("errors"), "0", "errors")
    t.say(f"{t.leaf('frames_sent')} frames, {t.leaf('retransmits')} again, {t.leaf('timeouts')} time-outs, "
          f"{t.leaf('quarantined')} quarantined; lost {relay.count('lost')}")
    relay.clear()
    t.unload()
    t.load("em0")
    t.wait_disk()
    t.guest.run(f"mount -r {disk} /mnt/a")
    compare(t, "/mnt/a")
    t.guest.run("umount /mnt/a")
    same(counts["own_lost"], 0, "frames that the relay lost by itself")
    return counts


def stamped(words, length):
    """A shell command that writes these words to the disk's blocks, and what is then there. By way of a file: what comes
    out of a pipe comes in pieces."""
    line = words.encode() + b"\n"
    count = length // len(line) + 1
    return (f"jot -b '{words}' {count} > /tmp/stamp && dd if=/tmp/stamp of=/dev/aoe7.0 bs={length} count=1 2>/dev/null",
            (line * count)[:length])


def need_bytes(file, at, want, what):
    """Compares without printing blocks of data."""
    with open(file, "rb") as f:
        f.seek(at)
        got = f.read(len(want))
    if got != want:
        first = next(n for n, (a, b) in enumerate(zip(got, want)) if a != b)
        need(False, f"{what} differs at byte {at + first}: {got[first:first + 32]!r}; it begins with {got[:32]!r}")


def both(counts, what):
    return counts["to-target"][what] + counts["to-initiator"][what]


@G.test(limit=2400)
def files_at_1_percent_loss(t):
    counts = files_over(t, "loss=1%")
    need(both(counts, "lost") > 500, f"{both(counts, 'lost')} frames were lost, which shows little")


@G.test(limit=2400)
def files_at_5_percent_loss(t):
    counts = files_over(t, "loss=5%", mtu=9000)
    need(both(counts, "lost") > 500, f"{both(counts, 'lost')} frames were lost, which shows little")


@G.test(limit=2400)
def files_with_repeated_frames(t):
    """Every tenth frame twice: at once towards the target, up to 10 ms later towards the guest."""
    counts = files_over(t, "duplicate=10%")
    need(both(counts, "duplicated") > 5000, "hardly anything was repeated")


@G.test(limit=2400)
def files_on_a_slow_wire_without_order(t):
    """Delays, and frames that overtake each other in both directions by less than the module reckons with."""
    counts = files_over(t, ("both", "delay=100us..1ms", "reorder=2%", "reorder-delay=1ms..20ms"))
    need(both(counts, "reordered") > 1000, "hardly anything was overtaken")


@G.test(limit=2400)
def files_with_everything_at_once(t):
    counts = files_over(t, ("both", "loss=1%", "duplicate=2%", "delay=50us..500us", "reorder=1%", "reorder-delay=5ms"),
                        mtu=9000)
    need(min(both(counts, what) for what in ("lost", "duplicated", "reordered")) > 50, f"hardly a fault: {counts}")


@G.test(limit=1500)
def the_same_blocks_again_and_again(t):
    """Writes to few blocks, each newer than the last, while copies are lost, late and overtaken: a copy that strikes
    late would leave an older number than the last. (What overtakes by more than the module reckons with makes it wait
    for seconds instead, so that this test would be about patience.)"""
    server = t.vblade(seg=0, size=16 * MIB)
    relay = t.relay(0)
    t.load("em0")
    t.wait_disk()
    relay.set("both", "loss=3%", "reorder=10%", "reorder-delay=1ms..10ms")
    rounds = 60 if t.config.quick else 150
    for block in range(4):
        t.guest.run(f"for n in $(jot {rounds}); do jot -b \"block {block} number $n\" 1500 > /tmp/stamp; dd if=/tmp/stamp "
                    f"of=/dev/aoe7.0 bs=16k oseek={block} count=1 2>/dev/null || exit 1; done", 600)
        time.sleep(0.1)
        line = f"block {block} number {rounds}\n".encode()
        need_bytes(server.file, block * 16384, (line * 1500)[:16384], f"block {block}")
    need(int(t.leaf("retransmits")) > 0, "nothing was lost")
    same(t.leaf("errors"), "0", "errors")


# -- damage ---------------------------------------------------------------------------------------------------------

def read_in_pieces(t, count, unit="32k"):
    """The sums of pieces of the disk as the guest reads them; None for those that it was told it could not read."""
    out = t.guest.run(f"n=0; while [ $n -lt {count} ]; do if dd if=/dev/aoe7.0 of=/tmp/piece bs={unit} iseek=$n count=1 "
                      "2>/dev/null; then sha256 -q /tmp/piece; else echo failed; fi; n=$((n + 1)); done", 900)
    return [None if line == "failed" else line for line in out.splitlines()]


def sums_of_pieces(file, count, unit=32768):
    with open(file, "rb") as f:
        return [hashlib.sha256(f.read(unit)).hexdigest() for _ in range(count)]


def damaged(t, way, which, rounds):
    """Reads while headers are damaged. A read may fail, since a damaged answer can say that it has; it may never
    bring other bytes than those on the target."""
    server = t.vblade(seg=0, size=8 * MIB)
    with open(server.file, "r+b") as f:
        f.write(hashlib.shake_256(b"damage").digest(8 * MIB))
    want = sums_of_pieces(server.file, 256)
    relay = t.relay(0)
    t.load("em0")
    t.wait_disk()
    relay.set(way, "corrupt=1%", f"corrupt-bytes={which}")
    failed, wrong = 0, []
    for _ in range(rounds):
        got = read_in_pieces(t, 256)
        same(len(got), 256, "pieces")
        failed += got.count(None)
        wrong += [n for n, (a, b) in enumerate(zip(got, want)) if a is not None and a != b]
    count = relay.count("corrupted")
    drops = t.guest.run("sysctl -n net.aoe.drops | paste -s -d + -")
    t.say(f"{count} frames damaged, {failed} of {256 * rounds} reads failed, dropped {drops}")
    same(wrong, [], "pieces that were read wrong without an error")
    need(count > 50, f"only {count} frames were damaged")
    relay.clear()
    t.guest.wait_for("dd if=/dev/aoe7.0 of=/dev/null bs=512 count=1", 60, "a read on the repaired wire", "0.5")
    same(read_in_pieces(t, 256), want, "sums on the repaired wire")
    same(t.guest.run("dd if=/dev/aoe7.0 bs=64k 2>/dev/null | sha256 -q", 60), file_hash(server.file), "the whole disk")
    return count


@G.test(limit=1500)
def damaged_headers_of_answers(t):
    damaged(t, "to-initiator", "no-tag", 2 if t.config.quick else 8)


@G.test(limit=1500)
def damaged_tags_of_answers(t):
    """The only thing in an answer that says what it answers: another tag must not name another request."""
    damaged(t, "to-initiator", "20-23", 2 if t.config.quick else 8)


@G.test(limit=1500)
def damaged_headers_of_requests(t):
    """But for the block number: where another one arrives the target answers for that, and only Ethernet's own check
    of a frame, which the relay goes around, can know."""
    damaged(t, "to-target", "0-27", 2 if t.config.quick else 8)


@G.test(limit=1500)
def damaged_answers_to_writes(t):
    """What the guest was told is written is written; what failed may be either."""
    server = t.vblade(seg=0, size=16 * MIB)
    relay = t.relay(0)
    t.load("em0")
    t.wait_disk()
    relay.set("to-initiator", "corrupt=1%", "corrupt-bytes=header")
    done = t.guest.run("n=0; while [ $n -lt 256 ]; do dd if=/dev/vtbd2 of=/dev/aoe7.0 bs=64k iseek=$n oseek=$n count=1 "
                       "2>/dev/null && echo $n; n=$((n + 1)); done", 900).split()
    need(relay.count("corrupted") > 30, "hardly anything was damaged")
    relay.clear()
    t.say(f"{256 - len(done)} of 256 writes failed, {relay.count('corrupted')} frames damaged")
    need(len(done) > 100, f"only {len(done)} of 256 writes were done")
    with open(t.rig.tree.tar, "rb") as source, open(server.file, "rb") as disk:
        for n in map(int, done):
            source.seek(n * 65536)
            disk.seek(n * 65536)
            need(source.read(65536) == disk.read(65536), f"write {n} was reported done and is not on the target")


# -- a wire that is out of order for a while ------------------------------------------------------------------------

@G.test(limit=1800)
def blackouts_under_a_file_system(t):
    """Three times nothing gets through for some seconds, then frames are held for some; nobody above notices more
    than a pause."""
    t.vblade(seg=0, size=disk_size(t))
    relay = t.relay(0)
    t.load("em0")
    disk = t.wait_disk()
    t.guest.run(f"newfs -U {disk} && mkdir -p /mnt/a && mount {disk} /mnt/a", 120)
    # Over and over: on a host with nothing else to do one copy is over before the last fault.
    job = t.guest.spawn(forever("tar xf /dev/vtbd2 -C /mnt/a || exit 1") + "; sync")
    relay.set("both", "delay=300us")
    for fault in ("cut=3s", "cut=0.4s", "clog=2s", "cut=5s"):
        need(job.running(), f"the copy failed before {fault}")
        relay.set("both", fault)
        time.sleep(1.5 + float(fault[fault.index("=") + 1:-1]))
    t.guest.run("touch /tmp/stop")
    need(both(relay.status(), "cut") > 10 and both(relay.status(), "clogged") > 0, "nothing was in the way")
    begin = time.monotonic()
    job.succeed(900)
    t.say(f"the rest took {time.monotonic() - begin:.0f} s")
    whole_afterwards(t, disk)
    same(t.leaf("errors"), "0", "errors")


@G.test(limit=900)
def io_goes_on_soon_after_a_blackout(t):
    """Not only some time: the first answer is there within a second and a half of the wire's return."""
    t.vblade(seg=0, size=32 * MIB, seed="soon")
    relay = t.relay(0)
    t.load("em0")
    t.wait_disk()
    for pause in (1, 4) if t.config.quick else (1, 4, 12):
        job = t.guest.spawn("dd if=/dev/aoe7.0 of=/dev/null bs=4k")
        time.sleep(0.5)
        need(job.running(), "the reader is too fast for this test")
        relay.set("both", "cut=on")
        time.sleep(pause)
        need(job.running(), "the reader did not notice the cut")
        relay.set("both", "cut=off")
        relay.reset()
        begin = time.monotonic()
        # A frame with data, so not only the answer to a question of how the target is.
        wait_until("an answer", lambda: relay.status()["to-initiator"]["forwarded"] > 20, 10, 0.02)
        took = time.monotonic() - begin
        t.say(f"{took:.2f} s after a cut of {pause} s")
        need(took < 1.5, f"I/O went on {took:.2f} s after a cut of {pause} s")
        job.succeed(300)


@G.test(limit=900)
def jumbo_black_hole(t):
    """A switch in between stops carrying large frames, silently. I/O goes on with small ones within seconds, and goes
    back to large ones when they get through again."""
    set_mtu(t, 9000)
    server = t.vblade(seg=0, size=64 * MIB)
    with open(server.file, "r+b") as f:
        f.write(hashlib.shake_256(b"jumbo").digest(16 * MIB))
    relay = t.relay(0)
    t.load("em0")
    t.wait_disk()
    want = t.guest.run("dd if=/dev/aoe7.0 bs=1m count=16 2>/dev/null | sha256 -q", 60)
    same(want, hashlib.sha256(hashlib.shake_256(b"jumbo").digest(16 * MIB)).hexdigest(), "sum on a good wire")
    same(t.leaf("path.0.payload"), "8192", "payload on a good wire")
    for way, command in (("both", "dd if=/dev/aoe7.0 of=/dev/null bs=64k count=4"),
                         ("both", "dd if=/dev/zero of=/dev/aoe7.0 bs=64k oseek=512 count=4"),
                         ("to-initiator", "dd if=/dev/aoe7.0 of=/dev/null bs=64k count=4"),
                         ("to-target", "dd if=/dev/zero of=/dev/aoe7.0 bs=64k oseek=512 count=4")):
        relay.clear()
        t.guest.wait_for("dd if=/dev/aoe7.0 of=/dev/null bs=64k count=16 && dd if=/dev/zero of=/dev/aoe7.0 bs=64k "
                         "oseek=512 count=16 && test $(sysctl -n net.aoe.target.7.0.path.0.payload) = 8192", 90,
                         "large frames are used again", "0.5")
        relay.set(way, "longest=1514")
        begin = time.monotonic()
        t.guest.run(command, 60)
        took = time.monotonic() - begin
        t.say(f"{took:.2f} s for {command!r} when large frames vanish {way}")
        need(took < 5, f"{command!r} took {took:.1f} s when large frames vanish {way}")
        begin = time.monotonic()
        same(t.guest.run("dd if=/dev/aoe7.0 bs=1m count=16 2>/dev/null | sha256 -q", 60), want, "sum on the bad wire")
        need(relay.count("too_long") > 0, "no frame was too long")
        need(time.monotonic() - begin < 30, "16 MiB took too long on a wire of 1500 bytes")
    same(t.leaf("errors"), "0", "errors")


# -- two wires ------------------------------------------------------------------------------------------------------

class Gap:
    """The longest time without an answer that carries I/O, seen at the targets. What they say counts as soon as they
    have said it, so this is right to within a frame's way when requests come one after the other."""

    def __init__(self, t, segs=(0, 1)):
        self.sniffers = [Sniffer(t.lab, t.lab.segments[seg].port(0)) for seg in segs]
        for sniffer in self.sniffers:
            t.stack.callback(sniffer.close)

    def longest(self):
        """Of the time since the last call."""
        times = []
        for sniffer in self.sniffers:
            with sniffer.guard:
                times += [at for at, _, raw in sniffer.frames if raw[14] == 0x18 and raw[19] == 0 and len(raw) > 36]
                sniffer.frames.clear()
        times.sort()
        need(len(times) > 10, f"only {len(times)} answers were seen")
        return max(b - a for a, b in zip(times, times[1:]))


def two_paths(t, size=64 * MIB):
    """One disk by two switches, with a relay in each."""
    first = t.vblade(seg=0, size=size, seed="two wires")
    second = t.vblade(seg=1, file=first.file)
    relays = [t.relay(0, seed=1), t.relay(1, seed=2)]
    t.load("em0 vtnet0")
    t.wait_disk()
    both_up(t)
    return [first, second], relays


def both_up(t, timeout=15):
    def states():
        return [t.guest.try_run(f"sysctl -n net.aoe.target.7.0.path.{n}.state").out.strip() for n in (0, 1)]
    wait_until("both paths are up", lambda: states() == ["up", "up"], timeout, 0.2)


def one_by_one(t):
    """Reads of 4 KiB, one after the other, until told to stop."""
    return t.guest.spawn("rm -f /tmp/stop; " + forever("dd if=/dev/aoe7.0 of=/dev/null bs=4k || exit 1"))


def gap_when(t, what, break_it, mend_it):
    """The longest gap around something that goes wrong with one of two wires, by turns."""
    _, relays = two_paths(t)
    gaps = Gap(t)
    job = one_by_one(t)
    time.sleep(1)
    gaps.longest()
    time.sleep(2)
    quiet = gaps.longest()
    found = []
    for turn in range(4 if t.config.quick else 8):
        side = turn % 2
        break_it(t, relays, side)
        time.sleep(2)
        found.append(gaps.longest())
        mend_it(t, relays, side)
        both_up(t)
        gaps.longest()
    t.guest.run("touch /tmp/stop")
    job.succeed(60)
    words = ", ".join(f"{g * 1000:.0f}" for g in found)
    t.say(f"gaps when {what}: {words} ms; {quiet * 1000:.0f} ms when nothing happens")
    same(t.leaf("errors"), "0", "errors")
    need(max(found) < LONGEST_GAP, f"gaps when {what}: {words} ms ({quiet * 1000:.0f} ms when nothing happens)")


@G.test(limit=600)
def one_of_two_cables_is_pulled(t):
    gap_when(t, "a cable is pulled", lambda t, _, side: t.machine.set_link(side, False),
             lambda t, _, side: t.machine.set_link(side, True))


@G.test(limit=600)
def one_of_two_switches_dies(t):
    """The link stays up; only nothing comes back any more."""
    gap_when(t, "a switch dies", lambda _, relays, side: relays[side].set("both", "cut=on"),
             lambda _, relays, side: relays[side].clear())


@G.test(limit=1800)
def both_cables_then_one(t):
    """Nothing is lost but time while both are out; one is enough to go on."""
    two_paths(t, disk_size(t))
    disk = "/dev/aoe7.0"
    t.guest.run(f"newfs -U {disk} && mkdir -p /mnt/a && mount {disk} /mnt/a", 120)
    job = t.guest.spawn("tar xf /dev/vtbd2 -C /mnt/a && sync")
    t.guest.wait_for("test $(find /mnt/a -type f | wc -l) -gt 10", 120, "some files are written")
    t.machine.set_link(0, False)
    t.guest.run("sleep 1")
    t.machine.set_link(1, False)
    t.guest.run("sleep 5")
    need(job.running(), "the copy ended without a cable")
    written = int(t.leaf("writes"))
    t.machine.set_link(1, True)
    wait_until("I/O goes on", lambda: int(t.leaf("writes")) > written + 5 or not job.running(), 10, 0.1)
    job.succeed(900)
    t.machine.set_link(0, True)
    both_up(t)
    whole_afterwards(t, disk)
    same(t.leaf("errors"), "0", "errors")


def goes_on_without(t, name, take, give):
    """Work by two paths while the interface of one is taken from the system, and given back."""
    two_paths(t, disk_size(t))
    disk = "/dev/aoe7.0"
    t.guest.run(f"newfs -U {disk} && mkdir -p /mnt/a && mount {disk} /mnt/a", 120)
    job = t.guest.spawn("tar xf /dev/vtbd2 -C /mnt/a && sync")
    t.guest.wait_for("test $(find /mnt/a -type f | wc -l) -gt 10", 120, "some files are written")
    need(job.running(), "the copy is over already")
    take()
    t.guest.wait_for(f"! ifconfig {name}", 60, f"{name} is gone")
    need(job.running(), "the copy ended with the interface")
    written = int(t.leaf("writes"))
    wait_until("I/O goes on", lambda: int(t.leaf("writes")) > written + 5 or not job.running(), 10, 0.1)
    give()
    t.guest.wait_for(f"ifconfig {name} up", 60, f"{name} is back")
    both_up(t, 30)
    job.succeed(900)
    whole_afterwards(t, disk)
    same(t.leaf("errors"), "0", "errors")


@G.test(limit=1800)
def driver_detached_under_load(t):
    """devctl takes the interface from its driver; the other path carries on."""
    where = t.guest.run("pciconf -l em0 | sed 's/^em0@//; s/:[[:space:]].*//'")
    goes_on_without(t, "em0", lambda: t.guest.run(f"devctl detach {where}", 60),
                    lambda: t.guest.run(f"devctl attach {where}", 60))


@G.test(own_vm=True, limit=1800)
def card_taken_out_under_load(t):
    """The same by the hardware: qemu asks for the card, the guest lets go of it, and gets it back later."""
    try:
        goes_on_without(t, "em0", lambda: t.machine.unplug(0), lambda: t.machine.plug(0))
    except Exception:
        t.say(t.console()[-1500:])
        raise


@G.test(limit=900)
def a_write_left_behind_and_a_newer_one(t):
    """A write is on its way by one wire, and stays there; its copy goes by the other and is done; the link of the
    first goes down; the same blocks are written anew; then the first wire delivers what it has held."""
    servers, relays = two_paths(t, 16 * MIB)
    turns = 3 if t.config.quick else 8
    struck = 0
    for turn in range(turns):
        side = turn % 2
        older, _ = stamped(f"older {turn}", 32768)
        newest, want = stamped(f"newest {turn}", 32768)
        relays[side].set("to-target", "clog=on")
        relays[side].reset()
        t.guest.run(older, 60)
        held = relays[side].status()["to-target"]["waiting"]
        t.machine.set_link(side, False)
        job = t.guest.spawn(newest)
        time.sleep(1)
        relays[side].set("to-target", "clog=off")
        struck += held
        time.sleep(0.3)
        t.machine.set_link(side, True)
        job.succeed(60)
        both_up(t, 30)
        time.sleep(0.3)
        need_bytes(servers[0].file, 0, want, f"the disk after turn {turn}")
    need(struck > 0, "no frame was held back, so nothing was tried")
    t.say(f"{struck} frames were held back; {t.leaf('quarantined')} writes quarantined, "
          f"{t.leaf('quarantine_waits')} requests waited for that")
    same(t.leaf("errors"), "0", "errors")


@G.test(limit=900)
def links_that_flap_under_rewrites(t):
    """The same by chance: one block is written over and over, and links go down at any moment, so that frames are
    caught in the card's queue. In the end it holds the last."""
    servers, _ = two_paths(t, 16 * MIB)
    for turn in range(2 if t.config.quick else 12):
        job = t.guest.spawn("for n in $(jot 60); do jot -b \"number $n\" 1200 > /tmp/stamp; dd if=/tmp/stamp of=/dev/aoe7.0 "
                            "bs=8k count=1 2>/dev/null || exit 1; done")
        flaps = 0
        while job.running():
            side = flaps % 2
            t.machine.set_link(side, False)
            time.sleep(0.05 + 0.07 * (flaps % 5))
            t.machine.set_link(side, True)
            # A card takes a second to see its link again.
            time.sleep(1 + 0.3 * (flaps % 4))
            flaps += 1
        job.succeed(120)
        time.sleep(0.5)
        need_bytes(servers[0].file, 0, (b"number 60\n" * 900)[:8192], f"the block after turn {turn} with {flaps} flaps")


# -- targets --------------------------------------------------------------------------------------------------------

def mediasize(t):
    return int(t.guest.run("diskinfo /dev/aoe7.0 | awk '{ print $3 }'"))


def reborn(t, server, size):
    """kill -9, and the same target again with another size, while somebody reads."""
    server.kill()
    with open(server.file, "r+b") as f:
        f.truncate(size)
    time.sleep(1.5)
    server.start()


@G.test(limit=600)
def target_killed_and_back_larger(t):
    server = t.vblade(seg=0, size=32 * MIB, seed="size")
    t.relay(0).set("both", "loss=1%")
    t.load("em0")
    t.wait_disk()
    want = t.guest.run("dd if=/dev/vtbd2 bs=1m count=24 2>/dev/null | sha256 -q", 60)
    job = t.guest.spawn("dd if=/dev/vtbd2 of=/dev/aoe7.0 bs=32k count=768")
    time.sleep(0.5)
    need(job.running(), "the writer is too fast for this test")
    reborn(t, server, 48 * MIB)
    job.succeed(120)
    wait_until("the disk has the new size", lambda: mediasize(t) == 48 * MIB, 20, 0.5)
    same(t.leaf("errors"), "0", "errors")
    same(t.guest.run("dd if=/dev/aoe7.0 bs=1m count=24 2>/dev/null | sha256 -q", 60), want, "sum of what was written")
    t.guest.run("dd if=/dev/zero of=/dev/aoe7.0 bs=1m oseek=40 count=8")


@G.test(limit=600)
def target_killed_and_back_smaller(t):
    """What is still there can be used; what is not fails, and only that."""
    server = t.vblade(seg=0, size=48 * MIB, seed="size")
    t.relay(0).set("both", "loss=1%")
    t.load("em0")
    t.wait_disk()
    job = t.guest.spawn("dd if=/dev/vtbd2 of=/dev/aoe7.0 bs=32k count=1536")
    time.sleep(0.5)
    need(job.running(), "the writer is too fast for this test")
    reborn(t, server, 24 * MIB)
    done = job.wait(120)
    need(done.code != 0, "a write beyond the end of the target was not refused")
    wait_until("the disk has the new size", lambda: mediasize(t) == 24 * MIB, 20, 0.5)
    written = int(re.search(r"(\d+)\+\d+ records out", done.out)[1])
    need(written <= 768, f"{written} blocks of 32 KiB were reported written to a disk of 24 MiB")
    with open(server.file, "rb") as f, open(t.rig.tree.tar, "rb") as source:
        size = written * 32768
        need(f.read(size) == source.read(size), "what was reported written is not on the target")
    t.guest.run("dd if=/dev/vtbd2 of=/dev/aoe7.0 bs=1m count=16 && dd if=/dev/aoe7.0 of=/dev/null bs=1m", 120)


@G.test(limit=900)
def one_of_two_targets_is_killed(t):
    """On one switch. The other one's I/O does not notice."""
    good = t.vblade(seg=0, port=0, slot=0, size=32 * MIB, seed="good")
    bad = t.vblade(seg=0, port=1, slot=1, size=32 * MIB, seed="bad")
    relay = t.relay(0)
    t.load("em0")
    t.wait_disk(7, 0)
    t.wait_disk(7, 1)
    relay.set("both", "loss=0.1%")
    gaps = Gap(t, segs=(0,))
    reader = one_by_one(t)
    want = t.guest.run("dd if=/dev/vtbd2 bs=1m count=24 2>/dev/null | sha256 -q", 60)
    writer = t.guest.spawn("dd if=/dev/vtbd2 of=/dev/aoe7.1 bs=32k count=768")
    time.sleep(0.5)
    need(writer.running(), "the writer is too fast for this test")
    bad.kill()
    time.sleep(0.5)
    gaps.longest()
    time.sleep(6)
    alone = gaps.longest()
    t.say(f"longest gap of the good target while the other is dead: {alone * 1000:.0f} ms")
    need(alone < LONGEST_GAP, f"the good target's reader stood still for {alone * 1000:.0f} ms")
    need(writer.running() and reader.running(), "somebody ended")
    t.wait_state("down", 7, 1)
    same(t.leaf("state", 7, 0), "up", "state of the good target")
    bad.start()
    t.wait_state("up", 7, 1)
    writer.succeed(120)
    t.guest.run("touch /tmp/stop")
    reader.succeed(60)
    same(t.guest.run("dd if=/dev/aoe7.1 bs=1m count=24 2>/dev/null | sha256 -q", 60), want, "what was written")
    same(t.leaf("errors", 7, 0) + t.leaf("errors", 7, 1), "00", "errors")
    same(file_hash(good.file), t.guest.run("dd if=/dev/aoe7.0 bs=1m 2>/dev/null | sha256 -q", 60), "the good disk")
