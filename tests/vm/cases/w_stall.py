# SPDX-License-Identifier: BSD-2-Clause
"""A target that answers questions while its disk hangs, or is very slow: a RAID that waits for a drive, a disk that
spins up. aoe-target is used, as ggaoed: a vblade does one thing after the other, so that it could not."""

import os
import time

from lib.case import MIB, Group
from lib.util import need, same

G = Group("stall", nics=("em", "vtnet"))
EIO = "Input/output error"
KIND = ("--kind", "ggaoed")


class Hang:
    """A target whose disk hangs when it is told to."""

    def __init__(self, t, seg=1, iflist="vtnet0", size=64 * MIB):
        self.file = os.path.join(t.dir, "hang")
        self.server = t.aoe_target(seg=seg, size=size, seed="stall", options=(*KIND, "--hang-file", self.file))
        t.stack.callback(self.end)
        t.load(iflist)
        t.wait_disk()

    def begin(self):
        with open(self.file, "wb"):
            pass
        time.sleep(0.1)

    def end(self):
        if os.path.exists(self.file):
            os.remove(self.file)


def read(sector, count=1):
    return f"dd if=/dev/aoe7.0 of=/dev/null bs=4k count={count} iseek={sector}"


@G.test(limit=300)
def dead_secs_acts_on_a_hung_disk(t):
    hang = Hang(t)
    t.guest.set_sysctl("net.aoe.dead_secs", "5")
    hang.begin()
    begin = time.monotonic()
    t.guest.fails(read(500), EIO, 60)
    took = time.monotonic() - begin
    need(4 < took < 12, f"the read failed after {took:.1f} s, not after about 5")
    same(t.leaf("state"), "dead", "state")
    begin = time.monotonic()
    t.guest.fails(read(900), EIO, 60)
    took = time.monotonic() - begin
    need(took < 1.5, f"later I/O took {took:.1f} s to fail")
    need(t.guest.exists("/dev/aoe7.0"), "the disk went away")
    hang.end()
    t.wait_state("up", timeout=15)
    t.guest.run(read(500, 16))
    t.wait_console("aoe7.0: .*answers again")


@G.test(limit=300)
def a_hung_disk_is_not_flooded(t):
    hang = Hang(t)
    t.guest.run(read(0, 64))
    hang.begin()
    job = t.guest.spawn(read(500))
    time.sleep(5)
    sniffer = t.sniff(1)
    time.sleep(20)
    frames = [f for f in sniffer.seen(to_guest=False) if f[19] == 0 and f[27] in (0x20, 0x24)]
    need(5 <= len(frames) <= 25, f"{len(frames)} read commands in 20 s")
    same(t.leaf("state"), "up", "state")
    t.wait_console(r"aoe7.0: is up, but 1 requests? waits?, the oldest for \d+ s")
    need("large frames" not in t.console(), "something is said of sizes, of which nothing is known")
    need(job.running(), "the read ended")
    hang.end()
    job.succeed(30)
    t.guest.run(read(0, 64))
    t.wait_console("aoe7.0: answers requests again")


@G.test(limit=300)
def fail_acts_on_a_hung_disk(t):
    hang = Hang(t)
    hang.begin()
    job = t.guest.spawn(read(500))
    time.sleep(4)
    need(job.running(), "the read ended")
    t.guest.set_sysctl("net.aoe.target.7.0.fail", "1")
    done = job.wait(10)
    need(done.code != 0 and EIO in done.out, f"the read ended otherwise: {done!r}")
    same(t.leaf("state"), "dead", "state")
    hang.end()
    t.wait_state("up", timeout=15)
    t.guest.run(read(500, 16))


@G.test(limit=300)
def half_a_minute_of_spinning_up_loses_nothing(t):
    hang = Hang(t)
    t.guest.set_sysctl("net.aoe.dead_secs", "60")
    hang.begin()
    job = t.guest.spawn("dd if=/dev/random of=/dev/aoe7.0 bs=64k count=16")
    time.sleep(30)
    need(job.running(), "the write ended")
    hang.end()
    job.succeed(30)
    same(t.leaf("errors"), "0", "errors")
    same(t.leaf("state"), "up", "state")


@G.test(limit=300)
def twenty_seconds_for_each_read(t):
    """Slow is not dead, and not flooded."""
    hang = Hang(t)
    for sector in (500, 700, 900):
        before = int(t.leaf("frames_sent"))
        hang.begin()
        job = t.guest.spawn(read(sector))
        time.sleep(20)
        need(job.running(), "the read ended")
        same(t.leaf("state"), "up", "state")
        hang.end()
        job.succeed(15)
        sent = int(t.leaf("frames_sent")) - before
        # Four frames, a fifth of a second in which each is sent up to eight times, then one copy a second.
        need(sent <= 4 * 8 + 25, f"{sent} frames for one read")
    same(t.leaf("errors"), "0", "errors")


@G.test(own_vm=True, limit=600)
def reboot_with_hung_disk(t):
    """Dirty buffers for a disk that hangs must not keep the machine from going down."""
    hang = Hang(t, seg=0, iflist="em0", size=128 * MIB)
    t.guest.run("newfs -U /dev/aoe7.0 && mkdir -p /mnt/a && mount /dev/aoe7.0 /mnt/a", 60)
    hang.begin()
    t.guest.spawn("jot 300000 > /mnt/a/numbers; sync")
    time.sleep(10)
    t.allow(r"g_vfs_done|fsync: giving up|Giving up on")
    begin = time.monotonic()
    t.machine.control.send("shutdown -r now\n")
    t.machine.wait_end(240)
    t.say(f"down after {time.monotonic() - begin:.0f} s")
