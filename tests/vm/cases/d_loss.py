# SPDX-License-Identifier: BSD-2-Clause
"""The target dies: I/O waits and goes on, or fails when the operator has set a limit."""

import re
import time

from cases.c_files import class_or_skip, disk_size, whole_afterwards
from lib.case import MIB, Group
from lib.target import file_hash
from lib.util import need, same

G = Group("loss", nics=("em", "vtnet"), memory=1024, tree=True)
EIO = "Input/output error"


def outage(t, server, seconds):
    """kill -9, and the same target again after a time."""
    server.kill()
    t.say(f"target killed; back in {seconds} s")
    time.sleep(seconds)
    server.start()


@G.test(limit=1500)
def filesystem_survives_20_seconds_without_target(t):
    vb = t.vblade(seg=1, size=disk_size(t))
    t.load("vtnet0")
    disk = t.wait_disk()
    t.guest.run(f"newfs -U {disk} && mkdir -p /mnt/a && mount {disk} /mnt/a", 120)
    job = t.guest.spawn("tar xf /dev/vtbd2 -C /mnt/a && sync")
    t.guest.wait_for("test $(find /mnt/a -type f | wc -l) -gt 30", 120, "some files are written")
    need(job.running(), "the copy was over before the target was killed")
    vb.kill()
    t.wait_state("down", timeout=30)
    need(job.running(), "the copy ended although the target is dead")
    time.sleep(20)
    need(job.running(), "the copy ended although the target is dead")
    begin = time.monotonic()
    vb.start()
    t.wait_state("up", timeout=15)
    t.say(f"up {time.monotonic() - begin:.1f} s after the target's return")
    job.succeed(600)
    whole_afterwards(t, disk)
    need(EIO not in t.console() and "g_vfs_done" not in t.console(), "the console tells of an I/O error")


@G.test(limit=600)
def raw_writer_loses_nothing(t):
    """A raw writer through three outages: the backing file ends up as the source."""
    size = 96 * MIB if not t.config.quick else 32 * MIB
    vb = t.vblade(seg=0, size=size)
    t.load("em0")
    t.wait_disk()
    want = t.guest.run(f"dd if=/dev/vtbd2 bs=1m count={size // MIB} 2>/dev/null | sha256 -q", 120)
    job = t.guest.spawn(f"dd if=/dev/vtbd2 of=/dev/aoe7.0 bs=256k count={size // (256 * 1024)}")
    for pause in (1, 4, 8):
        outage(t, vb, pause)
        t.wait_state("up", timeout=20)
    job.succeed(300)
    t.unload()
    same(file_hash(vb.file), want, "sum of the backing file")


@G.test(limit=300)
def dead_secs_fails_raw_io(t):
    vb = t.vblade(seg=0, seed="dead")
    t.load("em0")
    t.wait_disk()
    t.guest.set_sysctl("net.aoe.dead_secs", "5")
    vb.kill()
    begin = time.monotonic()
    words = t.guest.fails("dd if=/dev/aoe7.0 of=/dev/null bs=4k count=1 iseek=500", EIO, 60)
    took = time.monotonic() - begin
    need(4 < took < 12, f"the first read failed after {took:.1f} s, not after about 5: {words}")
    for command in ("dd if=/dev/aoe7.0 of=/dev/null bs=4k count=1 iseek=900", "dd if=/dev/zero of=/dev/aoe7.0 bs=4k count=1"):
        begin = time.monotonic()
        t.guest.fails(command, EIO, 60)
        took = time.monotonic() - begin
        need(took < 1.5, f"later I/O took {took:.1f} s to fail")
    need(t.guest.exists("/dev/aoe7.0"), "the disk went away")
    vb.start()
    t.wait_state("up", timeout=15)
    t.guest.run("dd if=/dev/zero of=/dev/aoe7.0 bs=4k count=1 && dd if=/dev/aoe7.0 of=/dev/null bs=1m")


@G.test(limit=300)
def maxwait_is_dead_secs(t):
    """The name that the 1.2.0 driver had still answers."""
    t.load()
    same(t.guest.sysctl("net.aoe.dead_secs"), "0", "dead_secs at first")
    t.guest.set_sysctl("net.aoe.maxwait", "17")
    same(t.guest.sysctl("net.aoe.dead_secs"), "17", "dead_secs after maxwait=17")
    t.guest.set_sysctl("net.aoe.dead_secs", "0")
    same(t.guest.sysctl("net.aoe.maxwait"), "0", "maxwait after dead_secs=0")


@G.test(limit=600)
def dead_secs_under_gmirror(t):
    """One half of a mirror dies: it is dropped, the file system does not notice, the half comes back."""
    class_or_skip(t, "gmirror", "geom_mirror")
    size = (t.rig.tree.size // 3 // MIB + 96) * MIB
    t.vblade(seg=0, shelf=7, slot=0, size=size)
    b = t.vblade(seg=1, shelf=7, slot=1, size=size)
    t.load("em0 vtnet0")
    one, two = t.wait_disk(7, 0), t.wait_disk(7, 1)
    t.guest.set_sysctl("net.aoe.dead_secs", "5")
    t.guest.run(f"gmirror label -F m0 {one} {two} && newfs -U /dev/mirror/m0 && mkdir -p /mnt/a && mount /dev/mirror/m0 /mnt/a",
                120)
    b.kill()
    job = t.guest.spawn("dd if=/dev/vtbd2 of=/mnt/a/big bs=256k count=128 && fsync /mnt/a/big")
    t.guest.wait_for("gmirror status -s m0 | grep -q DEGRADED", 60, "the mirror drops the dead half")
    job.succeed(120)
    b.start()
    t.wait_state("up", 7, 1)
    t.guest.run(f"dd if={two} of=/dev/null bs=1m count=4")
    t.guest.run("gmirror forget m0")
    t.guest.run(f"gmirror clear {two}; gmirror insert m0 {two}")
    t.guest.wait_for("gmirror status -s m0 | grep -q COMPLETE", 200, "the mirror is whole again", "0.5")
    want = t.guest.run("dd if=/dev/vtbd2 bs=256k count=128 2>/dev/null | sha256 -q", 60)
    same(t.guest.run("sha256 -q /mnt/a/big", 60), want, "file on the mirror")
    t.guest.run("umount /mnt/a && gmirror stop m0", 60)
    t.guest.run(f"cmp -n {size - 512} {one} {two}", 300)


@G.test(limit=300)
def cable_pulled_and_plugged(t):
    """The guest's own link goes down under load; same rule as for a dead target."""
    vb = t.vblade(seg=1, size=64 * MIB)
    t.load("vtnet0")
    t.wait_disk()
    want = t.guest.run("dd if=/dev/vtbd2 bs=1m count=48 2>/dev/null | sha256 -q", 60)
    job = t.guest.spawn("dd if=/dev/vtbd2 of=/dev/aoe7.0 bs=64k count=768")
    t.machine.set_link(1, False)
    time.sleep(6)
    need(job.running(), "the writer ended although the cable is out")
    t.machine.set_link(1, True)
    job.succeed(120)
    same(t.guest.run("dd if=/dev/aoe7.0 bs=1m count=48 2>/dev/null | sha256 -q", 60), want, "sum as read back")
    need(vb.alive(), "vblade ended")


@G.test(limit=300)
def paused_target_executes_old_copies_late(t):
    """A target that stalls holds copies of a write in its socket; when it wakes up they run, late.
    They must not put old bytes over newer ones."""
    vb = t.vblade(seg=0, size=16 * MIB)
    t.load("em0")
    t.wait_disk()
    for turn in range(3 if t.config.quick else 8):
        first = t.guest.spawn(f"jot -b 'old {turn}' 2000 | dd of=/dev/aoe7.0 bs=16k conv=sync count=1")
        vb.pause()
        job = t.guest.spawn(f"jot -b 'older {turn}' 2000 | dd of=/dev/aoe7.0 bs=16k conv=sync count=1")
        time.sleep(2.5)
        vb.resume()
        first.succeed(60)
        job.succeed(60)
        t.guest.run(f"jot -b 'newest {turn}' 2000 | dd of=/dev/aoe7.0 bs=16k conv=sync count=1", 60)
        time.sleep(0.5)
        with open(vb.file, "rb") as f:
            head = f.read(8 + len(str(turn)))
        same(head, f"newest {turn}\n".encode()[:len(head)], f"block 0 in turn {turn}")
        need(re.match(rb"newest", head), "nothing was written")
