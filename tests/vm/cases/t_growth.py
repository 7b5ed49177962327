# SPDX-License-Identifier: BSD-2-Clause
"""Nothing grows. Each state in which a machine spends its time is kept up for minutes, and everything that the
kernel counts is counted again and again meanwhile (lib/growth.py has the criterion).

`--hour` (or AOE_VM_HOUR) makes an hour of idling and of load of it, `--quick` half a minute of each state."""

import itertools
import threading
import time

from lib import growth
from lib.case import MIB, MODULE, Group
from lib.frames import BROADCAST, CMD_ATA, CMD_CONFIG, REQUEST, ata_arg, config_arg, frame, identify_data
from lib.guest import forever
from lib.util import TestFailure, need, wait_until

G = Group("growth", nics=("em", "vtnet"), memory=1024)

#: Longer than an hour and what is around it.
LIMIT = 6000

READ = forever("dd if=/dev/aoe7.0 of=/dev/null bs=64k 2>/dev/null")
WRITE = forever("dd if=/dev/zero of=/dev/aoe7.1 bs=64k count=400 2>/dev/null")


def plan(config, long=False):
    """Seconds of warm-up, seconds between two samples, and their number."""
    if config.quick:
        return 10, 4, 8
    if config.hour and long:
        return 120, 300, 13
    return 30, 15, 10


def observe(t, state, happen, long=False, ignore=()):
    """Keeps a state up by calling `happen` again and again, each call a second or so of it; it gives the number
    of events. What came in the warm-up does not count."""
    warm, gap, samples = plan(t.config, long)
    until(warm, happen)
    watch = growth.Watch(t, state, ignore)
    watch.sample()
    for _ in range(samples - 1):
        watch.count(until(gap, happen))
        watch.sample()
    watch.judge()
    return watch


def until(seconds, happen):
    events = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        events += happen() or 0
    return events


def nothing():
    time.sleep(1)


def two_targets(t, ifname="em0", **kw):
    """A disk to read and one to write."""
    servers = [t.vblade(slot=0, seed="growth", **kw), t.vblade(slot=1, **kw)]
    t.load(ifname)
    t.wait_disk(7, 0)
    t.wait_disk(7, 1)
    return servers


def working(t):
    """A reader and a writer; the function that ends them and demands that they were well to the end."""
    t.guest.run("rm -f /tmp/stop")
    jobs = [t.guest.spawn(READ), t.guest.spawn(WRITE)]

    def end():
        t.guest.run("touch /tmp/stop")
        for job in jobs:
            job.succeed(180)
        t.guest.run("rm -f /tmp/stop")
    return end


def busy(t, seconds=1):
    """It does something all the time."""
    before = int(t.leaf("reads")) + int(t.leaf("writes", 7, 1))
    time.sleep(seconds)
    need(int(t.leaf("reads")) + int(t.leaf("writes", 7, 1)) > before, "reader and writer stand still")


@G.test(limit=LIMIT)
def a_planted_leak_is_found(t):
    """An address is added to an interface each second: one ifaddr. The watch must see that."""
    t.guest.run("ifconfig lo1 create inet 10.90.0.1/32")
    t.defer("ifconfig lo1 destroy", 120)
    numbers = itertools.count(2)

    def leak():
        n = next(numbers)
        t.guest.run(f"ifconfig lo1 inet 10.90.{n // 250}.{n % 250}/32 alias")
        time.sleep(1)
        return 1

    try:
        observe(t, "a leak", leak)
    except TestFailure as e:
        need("malloc ifaddr:" in str(e), f"it found something else: {e}")
        return
    need(False, "the watch did not see one ifaddr a second")


@G.test(limit=LIMIT)
def idle(t):
    for seg, ifname in enumerate(("em0", "vtnet0")):
        t.lab.segments[seg].port(0)
        t.lab.segments[seg].set_mtu(9000)
        t.guest.run(f"ifconfig {ifname} mtu 9000")
    server = t.vblade(seg=0)
    t.vblade(seg=1, file=server.file)
    t.load("em0 vtnet0")
    t.wait_disk()
    observe(t, "idle, two paths, MTU 9000", nothing, long=True)


@G.test(limit=LIMIT)
def idle_without_a_target(t):
    t.load("em0 vtnet0")
    observe(t, "no target", nothing)


@G.test(limit=LIMIT)
def callouts_of_an_idle_target(t):
    """A target with two paths that nobody uses. A second: each path is asked something once in ten seconds, and the
    initiator looks at the interfaces once; a late second look at each is allowed. Others' callouts do not count."""
    server = t.vblade(seg=0)
    t.vblade(seg=1, file=server.file)
    t.load("em0 vtnet0")
    t.wait_disk()
    seconds = 15 if t.config.quick else 60
    time.sleep(20)
    own, all_ = growth.callouts(t, seconds)
    t.say(f"{sum(own.values())} callouts of aoe in {seconds} s, of {all_} of all: {own}")
    need(sum(own.values()) <= 3 * seconds, f"{own} callouts in {seconds} s while nothing is to be done")
    # And one that is down is asked once a second on each path.
    for s in t.servers:
        s.pause()
    time.sleep(60)
    own, _ = growth.callouts(t, seconds)
    t.say(f"{sum(own.values())} callouts of aoe in {seconds} s while the target is silent: {own}")
    for s in t.servers:
        s.resume()
    t.wait_state("up")
    need(sum(own.values()) <= 5 * seconds, f"{own} callouts in {seconds} s while the target is silent")


@G.test(limit=LIMIT)
def load(t):
    two_targets(t)
    end = working(t)
    observe(t, "load", lambda: busy(t), long=True)
    end()


@G.test(limit=LIMIT)
def loss(t):
    wire = t.relay(0)
    two_targets(t)
    end = working(t)
    wire.set("both", "loss=3%")
    observe(t, "load under loss", lambda: busy(t, 3))
    need(wire.count("lost") > 0, "the wire lost nothing")
    wire.clear()
    end()


@G.test(limit=LIMIT)
def links_that_flap(t):
    """One of two cables is pulled and plugged in again, under load; then both at once, when nothing is to be done."""
    server = t.vblade(seg=0, seed="growth")
    t.vblade(seg=1, file=server.file)
    other = t.vblade(seg=0, slot=1)
    t.vblade(seg=1, slot=1, file=other.file)
    t.load("em0 vtnet0")
    t.wait_disk(7, 0)
    t.wait_disk(7, 1)

    def flap(*cables):
        for index in cables:
            t.machine.set_link(index, False)
        time.sleep(0.7)
        for index in cables:
            t.machine.set_link(index, True)
        time.sleep(1.3)
        return 1

    end = working(t)
    turns = itertools.cycle((0, 1))
    observe(t, "a link flaps under load", lambda: flap(next(turns)))
    end()
    observe(t, "both links flap", lambda: flap(0, 1))


@G.test(limit=LIMIT)
def interfaces_listed_and_not(t):
    """The list of interfaces changes all the time."""
    server = t.vblade(seg=0)
    t.vblade(seg=1, file=server.file)
    t.load("em0 vtnet0")
    t.wait_disk()
    values = itertools.cycle(("em0", "vtnet0", "", "em0 vtnet0"))

    def change():
        t.guest.set_sysctl("net.aoe.iflist", next(values))
        time.sleep(0.8)
        return 1

    try:
        observe(t, "interfaces listed and not", change)
    finally:
        # What comes after reads the disk.
        t.guest.set_sysctl("net.aoe.iflist", "em0 vtnet0")


@G.test(limit=LIMIT)
def opens_and_closes(t):
    """The disk is opened, read from and closed; and opened for writing, so that GEOM tastes it afterwards."""
    t.vblade(seg=0)
    t.load("em0")
    t.wait_disk()

    def use():
        t.guest.run("for i in 1 2 3 4 5; do dd if=/dev/aoe7.0 of=/dev/null bs=64k count=1 2>/dev/null; done; "
                    "dd if=/dev/zero of=/dev/aoe7.0 bs=64k count=1 2>/dev/null; diskinfo aoe7.0 >/dev/null")
        time.sleep(0.5)
        return 7

    observe(t, "opens and closes", use)


@G.test(limit=LIMIT)
def targets_that_come_and_go(t):
    """Targets are removed by the operator, and announce themselves again."""
    servers = [t.vblade(slot=slot, size=8 * MIB) for slot in range(3)]
    t.load("em0")
    for slot in range(3):
        t.wait_disk(7, slot)

    def turn():
        for slot, server in enumerate(servers):
            server.kill()
            # sysctl(8) may read the node back, which is gone then.
            t.guest.try_run(f"sysctl net.aoe.target.7.{slot}.remove=1")
            t.wait_gone(7, slot, 30)
            server.start()
            t.wait_disk(7, slot, 30)
        return len(servers)

    observe(t, "targets that come and go", turn)


@G.test(limit=LIMIT)
def targets_that_restart(t):
    """A target dies and is back, under a reader; it announces itself each time."""
    servers = two_targets(t)
    end = working(t)

    def turn():
        for server in servers:
            server.kill()
            time.sleep(0.3)
            server.start()
        t.wait_state("up", timeout=30)
        time.sleep(1)
        return 2

    observe(t, "targets that restart", turn)
    end()


@G.test(limit=LIMIT)
def loads_and_unloads(t):
    """The module comes and goes. What is in its linker file is part of it."""
    t.vblade(seg=0, size=8 * MIB)

    def turn():
        t.guest.run(f"kldload {MODULE} && sysctl net.aoe.iflist='em0 vtnet0'", 60)
        t.wait_disk(timeout=30)
        t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=64k count=10 2>/dev/null; kldunload aoe", 60)
        return 1

    observe(t, "loads and unloads", turn)


# -- strangers --------------------------------------------------------------------------------------------------------


class Strangers:
    """Announces targets under forged addresses, and answers, if it is told to, what they are asked."""

    def __init__(self, t, seg=0):
        self.t = t
        self.injector = t.injector(seg)
        t.lab.sh(f"bridge link set dev s{seg}p9b learning off")
        self.guest_mac = t.machine.mac(seg)
        self.told = 0
        #: What is answered to IDENTIFY, if anything; and what the real target answered.
        self.identity = self.identity_heard = None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._answer, daemon=True)
        self.thread.start()
        t.stack.callback(self.thread.join, 5)
        t.stack.callback(self.ended.set)

    def mac(self):
        """Another one each time."""
        n = self.told
        return f"02:07:{n >> 24 & 255:02x}:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}"

    def announce(self, shelf, slot, source=None, text=b""):
        self.told += 1
        arg = config_arg(text)
        self.injector.send(frame(BROADCAST, source or self.mac(), shelf, slot, CMD_CONFIG, arg, 0x18).ljust(60, b"\0"))

    def ask_identity(self, server, shelf=7, slot=0):
        """What the real target answers to IDENTIFY."""
        asked = frame(server.mac(), self.injector.mac, shelf, slot, CMD_ATA, ata_arg(count=1, command=0xEC), REQUEST,
                      tag=0x77777777)
        self.identity_heard = None

        def heard():
            self.injector.send(asked.ljust(60, b"\0"))
            time.sleep(0.2)
            return self.identity_heard
        return wait_until("the target's own IDENTIFY data", heard, 10)

    def _answer(self):
        while not self.ended.is_set():
            seen = self.injector.receive(0.2)
            if seen is None:
                continue
            if seen.response and seen.tag == 0x77777777 and len(seen.arg) >= 12 + 512:
                self.identity_heard = seen.arg[12:12 + 512]
            if seen.response or self.identity is None or not seen.dst.startswith("02:07:"):
                continue
            if seen.command == CMD_ATA and seen.ata_command == 0xEC:
                arg = ata_arg(command=0x40, data=self.identity)
            elif seen.command == CMD_CONFIG:
                arg = config_arg()
            else:
                continue
            self.injector.send(frame(seen.src, seen.dst, seen.shelf, seen.slot, seen.command, arg, tag=seen.tag))


def under_attack(t, state, say, per_second=20, ignore=()):
    """A real target in use, and strangers that say something `per_second` times a second."""
    servers = two_targets(t)
    strangers = Strangers(t)
    end = working(t)

    def happen():
        for _ in range(per_second):
            say(strangers, servers[0])
            time.sleep(1 / per_second)
        return per_second

    watch = observe(t, state, happen, ignore=ignore)
    end()
    return watch, strangers


@G.test(limit=LIMIT)
def ever_new_targets(t):
    """Addresses at which nobody answers. They are forgotten after some seconds, so their number is steady."""
    def say(strangers, _server):
        strangers.announce(100 + strangers.told % 50000, strangers.told % 200)
    under_attack(t, "ever new targets", say)


@G.test(limit=LIMIT)
def ever_new_addresses_of_a_target(t):
    under_attack(t, "ever new addresses", lambda strangers, _: strangers.announce(7, 0))


@G.test(limit=LIMIT)
def ever_new_addresses_with_another_disk(t):
    """Each is a conflict, which is told to the operator."""
    def say(strangers, _server):
        strangers.identity = identify_data(4096, "impostor", "impostor")
        strangers.announce(7, 0)
    under_attack(t, "ever new conflicts", say, 5)


@G.test(limit=LIMIT)
def ever_new_addresses_with_the_same_disk(t):
    """Each becomes a path as far as there is room, and is lost when it falls silent."""
    def say(strangers, server):
        if strangers.identity is None:
            strangers.identity = strangers.ask_identity(server)
        strangers.announce(7, 0)
    _, strangers = under_attack(t, "ever new paths", say, 5)
    need(strangers.identity is not None, "nobody answered as the target")


@G.test(limit=LIMIT)
def ever_new_config_strings(t):
    def say(strangers, server):
        text = f"string {strangers.told} ".encode() * (1 + strangers.told % 60)
        strangers.announce(7, 0, server.mac(), text[:1024])
    under_attack(t, "ever new config strings", say)


@G.test(limit=LIMIT)
def announcements_of_real_targets(t):
    """A stranger's address, and the right one, say over and over that the target has started."""
    def say(strangers, server):
        strangers.announce(7, 0, server.mac())
    under_attack(t, "announcements", say, 50)
