# SPDX-License-Identifier: BSD-2-Clause
"""Mixed work for as long as one likes, while everything around it fails now and then.

AOE_VM_SOAK_SECONDS says how long; without it it is a short one. An hour is what a release should see."""

import hashlib
import os
import random
import time

from cases.c_files import whole_afterwards
from lib import growth
from lib.case import MIB, Group
from lib.util import need, same

G = Group("soak", nics=("em", "vtnet"), memory=768, tree=True)

SECONDS = int(os.environ.get("AOE_VM_SOAK_SECONDS", "0"))
#: No outage is longer than this, nor the sum of those that overlap.
LONGEST_OUTAGE = 8

#: Faults of a wire. What changes the header of a request would change where the target writes, and no
#: initiator could know; so only answers are corrupted.
WIRES = (
    ("both", "loss=1%"),
    ("both", "loss=5%"),
    ("both", "loss=0.1%", "delay=100us..2ms"),
    ("to-initiator", "duplicate=5%"),
    ("to-target", "duplicate=1%"),
    ("both", "reorder=2%", "reorder-delay=1ms..20ms"),
    ("to-initiator", "corrupt=1%", "corrupt-bytes=no-tag"),
    ("both", "longest=1514"),
    ("both", "cut=3s"),
    ("to-target", "clog=2s"),
    ("to-initiator", "clog=1s"),
)

#: Loops of work in the guest. Each ends with an error as soon as anything is wrong.
FILES = ("n=0; while ! test -e /tmp/stop; do d=/mnt/a/w$n; mkdir $d && tar xf /dev/vtbd2 -C $d || exit 1; "
         "[ $(cd $d && {digest}) = {want} ] || {{ echo \"$d differs\"; exit 1; }}; rm -rf $d || exit 1; n=$((n + 1)); "
         "echo $n > /tmp/files.rounds; done")
RAW = ("n=0; while ! test -e /tmp/stop; do s=$((n % 17)); "
       "a=$(dd if=/dev/vtbd2 iseek=$s bs=1m count=24 2>/dev/null | sha256 -q); "
       "dd if=/dev/vtbd2 iseek=$s of=/dev/aoe7.1 oseek=$s bs=1m count=24 2>/dev/null || exit 1; "
       "b=$(dd if=/dev/aoe7.1 iseek=$s bs=1m count=24 2>/dev/null | sha256 -q); "
       "[ $a = $b ] || { echo \"round $n at $s differs\"; exit 1; }; n=$((n + 1)); echo $n > /tmp/raw.rounds; done")


class Weather:
    """What fails, drawn from a seed: one thing at a time on each side, so that some way is left now and then."""

    def __init__(self, t, seed, wires, servers):
        self.t, self.rng, self.wires, self.servers = t, random.Random(seed), wires, servers
        self.log = []

    def happen(self):
        thing = self.rng.choice((self.wire, self.wire, self.wire, self.server, self.cable, self.down, self.mtu, self.iflist))
        self.log.append(thing())

    def wire(self):
        side = self.rng.randrange(len(self.wires))
        faults = self.rng.choice(WIRES)
        self.wires[side].clear()
        self.wires[side].set(*faults)
        return f"wire {side} {' '.join(faults)}"

    def server(self):
        server = self.rng.choice(self.servers)
        pause = self.rng.uniform(0.1, LONGEST_OUTAGE)
        server.kill()
        time.sleep(pause)
        server.start()
        return f"{server.ifname} killed for {pause:.1f} s"

    def cable(self):
        index = self.rng.randrange(2)
        pause = self.rng.uniform(0.1, LONGEST_OUTAGE)
        self.t.machine.set_link(index, False)
        time.sleep(pause)
        self.t.machine.set_link(index, True)
        return f"cable {index} pulled for {pause:.1f} s"

    def down(self):
        name = self.rng.choice(("em0", "vtnet0"))
        self.t.guest.run(f"ifconfig {name} down; sleep {self.rng.uniform(0.1, 4):.1f}; ifconfig {name} up", 60)
        return f"{name} down"

    def mtu(self):
        name, mtu = self.rng.choice(("em0", "vtnet0")), self.rng.choice((1500, 4200, 9000))
        self.t.guest.run(f"ifconfig {name} mtu {mtu}", 60)
        return f"{name} mtu {mtu}"

    def iflist(self):
        value = self.rng.choice(("em0", "vtnet0", ""))
        self.t.guest.set_sysctl("net.aoe.iflist", value)
        time.sleep(self.rng.uniform(0.1, 3))
        self.t.guest.set_sysctl("net.aoe.iflist", "em0 vtnet0")
        return f"iflist {value!r}"


def rounds(t, name):
    return int(t.guest.try_run(f"cat /tmp/{name}.rounds 2>/dev/null || echo 0").out.split()[0])


@G.test(limit=max(SECONDS, 300) + 1800)
def an_hour_of_everything(t):
    """A file system and a raw writer, each on a disk with two paths, under every kind of fault in turn; and
    nothing in the kernel grows meanwhile."""
    seconds = SECONDS or (60 if t.config.quick else 240)
    size = t.rig.tree.size * 3 // 2 // MIB * MIB + 64 * MIB
    servers = []
    for seg in t.lab.segments:
        seg.port(0)
        seg.port(1)
        seg.set_mtu(9000)
    for slot, bytes_ in ((0, size), (1, 48 * MIB)):
        first = t.vblade(seg=0, slot=slot, port=slot, size=bytes_)
        servers += [first, t.vblade(seg=1, slot=slot, port=slot, file=first.file)]
    t.guest.run("ifconfig em0 mtu 9000; ifconfig vtnet0 mtu 9000")
    wires = [t.relay(0, seed=1), t.relay(1, seed=2)]
    t.load("em0 vtnet0")
    t.wait_disk(7, 0)
    t.wait_disk(7, 1)
    # A small machine's vfs.lorunningspace is less than one cluster of 1 MiB. UFS counts a cluster as running while
    # it waits for others to end, and is not woken above that mark: seen to stand still for ever, with no request at
    # the disk (bufwrite() in waitrunningbufspace(), vfs_bio.c). The higher mark first: it may not be the lower one.
    t.guest.run("sysctl vfs.hirunningspace=4194304 vfs.lorunningspace=2097152")
    t.guest.run("newfs -j -U /dev/aoe7.0 && mkdir -p /mnt/a && mount /dev/aoe7.0 /mnt/a && rm -f /tmp/*.rounds", 120)
    jobs = [t.guest.spawn(FILES.format(digest=t.rig.tree.DIGEST, want=t.rig.tree.digest)), t.guest.spawn(RAW)]
    weather = Weather(t, 20061, wires, servers)
    watch = growth.Watch(t, "soak")
    # A quarter of the time is the watch's warm-up: files of all sizes have been written and removed by then.
    end = time.monotonic() + seconds
    next_sample = end - seconds * 3 / 4
    while time.monotonic() < end:
        weather.happen()
        time.sleep(weather.rng.uniform(0.5, 4))
        if time.monotonic() >= next_sample:
            watch.sample()
            next_sample += seconds / 14
        for job in jobs:
            if not job.running():
                need(False, f"ended before its time, after {weather.log[-5:]}: {job.wait(5)!r}")
    for wire in wires:
        wire.clear()
    t.guest.run("touch /tmp/stop")
    for job in jobs:
        job.succeed(900)
    watch.judge()
    done = {name: rounds(t, name) for name in ("files", "raw")}
    t.say(f"{done} rounds, {len(weather.log)} faults in {seconds} s")
    need(min(done.values()) >= 1, f"hardly anything was done: {done}")
    t.guest.run("tar xf /dev/vtbd2 -C /mnt/a", 600)
    whole_afterwards(t, "/dev/aoe7.0")
    same(t.leaf("state"), "up", "state")
    with open(servers[2].file, "rb") as f:
        host = hashlib.sha256(f.read()).hexdigest()
    same(t.guest.run("dd if=/dev/aoe7.1 bs=1m 2>/dev/null | sha256 -q", 120), host, "sum of the raw disk, here and there")
