# SPDX-License-Identifier: BSD-2-Clause
"""Whatever waits for a target ends within a documented time: GEOM's own look at a disk, an unload, a forced unmount, a
shutdown in each state of a target; and a mirror's half comes back as the manual says."""

import os
import re
import time

from cases.c_files import class_or_skip
from cases.o_events import manual
from lib.case import MIB, Group
from lib.frames import BROADCAST, CMD_CONFIG, config_arg, frame
from lib.util import need, same

G = Group("held", nics=("em", "vtnet"))
EIO = "Input/output error"
#: As ggaoed: it can answer questions while its disk hangs.
KIND = ("--kind", "ggaoed")
#: What GEOM's own requests wait for a silent target (limits::TASTE_SECS), and for one that answers questions.
SILENT, SLOW = 10, 60


class Hang:
    """A file; while it is there the disk of a target hangs."""

    def __init__(self, t, name="hang"):
        self.file = os.path.join(t.dir, name)
        t.stack.callback(self.end)

    def options(self):
        return (*KIND, "--hang-file", self.file)

    def begin(self):
        with open(self.file, "wb"):
            pass
        time.sleep(0.1)

    def end(self):
        if os.path.exists(self.file):
            os.remove(self.file)


def took(t, command, timeout, code=0):
    """Runs a command of the guest, and says how many seconds it took."""
    begin = time.monotonic()
    done = t.guest.try_run(command, timeout)
    same(done.code, code, f"exit of {command!r} ({done.out.strip()})")
    return time.monotonic() - begin


def partitioned(t, size=32 * MIB):
    t.guest.run("gpart create -s gpt aoe7.0 && gpart add -t freebsd-ufs -l held aoe7.0 && test -c /dev/aoe7.0p1", 60)


#: Opens a disk for writing and closes it: GEOM looks at it again.
TOUCH = "( exec 3<>/dev/aoe7.0 )"
#: Comes back when GEOM has nothing to do.
GEOM_IDLE = "sysctl -n kern.geom.conftxt >/dev/null"


@G.test(limit=300)
def geom_looks_at_a_silent_target(t):
    """GEOM tastes a disk whose target has just fallen silent: it and all that waits for it go on after 10 s, and when
    the target is back GEOM looks again by itself."""
    vb = t.vblade(seg=0)
    t.load("em0")
    t.wait_disk()
    partitioned(t)
    vb.kill()
    seconds = took(t, f"{TOUCH}; {GEOM_IDLE}", 60)
    need(SILENT - 2 < seconds < SILENT + 12, f"GEOM was held for {seconds:.1f} s")
    need(not t.guest.exists("/dev/aoe7.0p1"), "the partition is there, though its table could not be read")
    seconds = took(t, f"{TOUCH}; {GEOM_IDLE}", 60)
    need(seconds < 3, f"the second look took {seconds:.1f} s")
    # GEOM's own requests are not others'.
    job = t.guest.spawn("dd if=/dev/aoe7.0 of=/dev/null bs=4k count=1")
    time.sleep(SILENT + 5)
    need(job.running(), "a program's read ended")
    same(t.leaf("errors"), "0", "errors that a program could have seen")
    need(int(t.leaf("expired")) > 0, "GEOM's reads that were given up are not counted")
    vb.start()
    job.succeed(30)
    t.guest.wait_for("test -c /dev/aoe7.0p1 -a -c /dev/gpt/held", 20, "GEOM looks at the disk again")


@G.test(limit=400)
def geom_does_not_look_again_and_again(t):
    """A target comes and goes, and is away whenever GEOM looks: it is looked at again at once, and then once a minute."""
    vb = t.vblade(seg=0)
    t.load("em0")
    t.wait_disk()
    partitioned(t)

    def away():
        # Who looks at the partition keeps others from writing to the disk.
        t.guest.run(GEOM_IDLE, 60)
        vb.kill()
        t.guest.run(f"{TOUCH} && {GEOM_IDLE}", 60)
        need(not t.guest.exists("/dev/aoe7.0p1"), "the partition is there")
        vb.start()
        t.wait_state("up")
        return time.monotonic()

    away()
    t.guest.wait_for("test -c /dev/aoe7.0p1", 20, "GEOM looks at the disk again")
    begin = time.monotonic()
    back = away()
    t.guest.run("sleep 15")
    need(not t.guest.exists("/dev/aoe7.0p1"), f"GEOM looked {time.monotonic() - begin:.0f} s after the last time")
    t.guest.wait_for("test -c /dev/aoe7.0p1", 75, "GEOM looks at the disk again")
    t.say(f"looked at {time.monotonic() - begin:.0f} s after the last time, {time.monotonic() - back:.0f} s after the return")


@G.test(limit=400)
def geom_looks_at_a_disk_that_hangs(t):
    """The target answers questions: its disk may spin up, so that GEOM waits for a minute, and no longer."""
    hang = Hang(t)
    t.aoe_target(seg=1, options=hang.options())
    t.load("vtnet0")
    t.wait_disk()
    partitioned(t)
    # Half a minute: nothing is lost.
    hang.begin()
    job = t.guest.spawn(f"{TOUCH}; {GEOM_IDLE}")
    time.sleep(30)
    need(job.running(), "GEOM did not wait for a disk that spins up")
    hang.end()
    job.succeed(30)
    need(t.guest.exists("/dev/aoe7.0p1"), "the partition is lost")
    # For ever.
    hang.begin()
    seconds = took(t, f"{TOUCH}; {GEOM_IDLE}", 150)
    need(SLOW - 10 < seconds < SLOW + 15, f"GEOM was held for {seconds:.1f} s")
    need(not t.guest.exists("/dev/aoe7.0p1"), "the partition is there, though its table could not be read")
    same(t.leaf("state"), "up", "state")
    hang.end()
    t.guest.wait_for("test -c /dev/aoe7.0p1", 30, "GEOM looks at the disk again")


@G.test(limit=300)
def geom_has_room_where_programs_have_filled_the_queue(t):
    """Hundreds of requests are held for a silent target: GEOM's own still come to an end in time."""
    vb = t.vblade(seg=0)
    t.load("em0")
    t.wait_disk()
    vb.kill()
    t.guest.run("rm -f /tmp/failed; for n in $(jot 300); do "
                "( dd if=/dev/aoe7.0 of=/dev/null bs=4k count=1 iseek=$((n * 3)) 2>&1 || echo $n >> /tmp/failed ) "
                ">/dev/null & done", 60)
    t.guest.wait_for("test $(pgrep -x dd | wc -l) -ge 300 && test $(sysctl -n net.aoe.target.7.0.outstanding) -ge 240", 60)
    need(int(t.leaf("outstanding")) <= 248, f"{t.leaf('outstanding')} requests are in the engine")
    seconds = took(t, f"{TOUCH}; {GEOM_IDLE}", 60)
    need(SILENT - 2 < seconds < SILENT + 12, f"GEOM was held for {seconds:.1f} s")
    vb.start()
    t.guest.wait_for("! pgrep -qx dd", 60, "the programs' reads end")
    need(not t.guest.exists("/tmp/failed"), "programs' reads failed")


@G.test(limit=300)
def gpart_on_a_silent_target(t):
    """What gpart(8) writes for GEOM does not hold GEOM for ever either."""
    vb = t.vblade(seg=0)
    t.load("em0")
    t.wait_disk()
    t.guest.run(f"dd if=/dev/aoe7.0 of=/dev/null bs=64k count=4; {GEOM_IDLE}")
    vb.kill()
    begin = time.monotonic()
    t.guest.fails("gpart create -s gpt aoe7.0", timeout=90)
    t.guest.run(GEOM_IDLE, 60)
    seconds = time.monotonic() - begin
    need(seconds < 4 * SILENT, f"GEOM was held for {seconds:.1f} s")
    vb.start()
    t.wait_state("up")
    # What gpart(8) could not write waits for another try.
    t.guest.run("gpart commit aoe7.0 || gpart create -s gpt aoe7.0; gpart show aoe7.0", 60)


@G.test(limit=300)
def unload_and_forced_unmount_while_io_is_held(t):
    """An unload is refused at once. A forced unmount waits as everything else, until the wait is ended."""
    vb = t.vblade(seg=0, size=64 * MIB)
    t.load("em0")
    t.wait_disk()
    t.guest.run("newfs -U /dev/aoe7.0 && mkdir -p /mnt/a && mount /dev/aoe7.0 /mnt/a", 60)
    vb.kill()
    writer = t.guest.spawn("jot 100000 > /mnt/a/n; fsync /mnt/a/n")
    t.wait_state("down", timeout=60)
    for flag in ("", "-f"):
        begin = time.monotonic()
        t.guest.fails(f"kldunload {flag} aoe", "busy", 60)
        seconds = time.monotonic() - begin
        need(seconds < 5, f"the refusal took {seconds:.1f} s")
    unmount = t.guest.spawn("umount -f /mnt/a")
    time.sleep(15)
    need(unmount.running(), "the unmount did not wait, though what was not written would be lost")
    t.allow(r"g_vfs_done|fsync: giving up|Giving up on|UFS: forcibly unmounting")
    t.guest.set_sysctl("net.aoe.target.7.0.fail", "1")
    begin = time.monotonic()
    unmount.wait(60)
    writer.wait(60)
    need(time.monotonic() - begin < 30, "the unmount did not end when the wait was ended")
    t.guest.wait_for("! mount | grep -q /mnt/a", 60, "the file system is unmounted")
    t.unload()


@G.test(own_vm=True, limit=600)
def reboot_with_targets_in_every_state(t):
    """Probing, up, up with a disk that hangs, down, dead, and conflict only, each with I/O waiting where it can: the
    machine goes down within three minutes."""
    hang = Hang(t)
    up = t.vblade(seg=0, port=0, slot=0, size=64 * MIB)
    t.aoe_target(seg=0, port=1, slot=1, size=32 * MIB, options=hang.options())
    down = t.vblade(seg=0, port=2, slot=2, size=64 * MIB)
    dead = t.vblade(seg=0, port=3, slot=3, size=64 * MIB)
    gone = t.vblade(seg=0, port=4, slot=4, size=32 * MIB)
    t.load("em0")
    for slot in range(5):
        t.wait_disk(7, slot)
    for slot in (0, 2, 3):
        t.guest.run(f"newfs -U /dev/aoe7.{slot} && mkdir -p /mnt/{slot} && mount /dev/aoe7.{slot} /mnt/{slot}", 60)
    t.guest.run("( exec 3</dev/aoe7.4; while :; do sleep 1; done ) >/dev/null 2>&1 &")
    t.allow(r"g_vfs_done|fsync: giving up|Giving up on|UFS: forcibly unmounting")
    # Announced, and silent when it is asked who it is.
    injector = t.injector(seg=0)
    injector.send(frame(BROADCAST, injector.mac, 7, 5, CMD_CONFIG, config_arg()))
    for server in (down, dead, gone):
        server.kill()
    # Another disk under the same address.
    t.vblade(seg=0, port=5, slot=4, size=48 * MIB)
    hang.begin()
    t.guest.spawn("dd if=/dev/aoe7.1 of=/dev/null bs=4k count=1 iseek=100")
    t.guest.spawn("dd if=/dev/aoe7.4 of=/dev/null bs=4k count=1 iseek=100")
    for slot in (2, 3):
        t.guest.spawn(f"jot 200000 > /mnt/{slot}/n")
        t.wait_state("down", 7, slot, timeout=60)
    t.wait_state("down", 7, 4, timeout=60)
    t.guest.set_sysctl("net.aoe.target.7.3.fail", "1")
    t.wait_state("dead", 7, 3)
    need(t.leaf("conflict", 7, 4) != "", "the other disk under 7.4 was not noticed")
    t.guest.spawn("jot 200000 > /mnt/0/n")
    devices = t.guest.sysctl("net.aoe.devices")
    for target, state in ((0, "up"), (1, "up"), (2, "down"), (3, "dead"), (4, "down")):
        need(re.search(rf"^\S*7\.{target}\s+{state}\b", devices, re.M), f"7.{target} is not {state}:\n{devices}")
    need("7.5" in devices, f"7.5 is not being asked:\n{devices}")
    begin = time.monotonic()
    t.machine.control.send("shutdown -r now\n")
    t.machine.wait_end(240)
    t.say(f"down after {time.monotonic() - begin:.0f} s")
    need(time.monotonic() - begin < 180, "it took more than three minutes")
    need(up.alive(), "the target that is up ended")


# -- read-only exports ------------------------------------------------------------------------------------------------

EROFS = "Read-only file system"


def restart(t, server, *options):
    """The same target with other options, from one moment to the next."""
    server.kill()
    return t.vblade(seg=0, file=server.file, options=("-b", "128", *options))


@G.test(limit=300)
def a_read_only_export_is_known_by_its_first_refused_write(t):
    """From then on a disk that is not open cannot be opened for writing: mount fails and mounts nothing, "autoro"
    mounts it read-only; and when the target is looked at anew it can be written again."""
    vb = t.vblade(seg=0, size=64 * MIB)
    t.load("em0")
    t.wait_disk()
    t.guest.run("newfs -U /dev/aoe7.0 && mkdir -p /mnt/a && mount /dev/aoe7.0 /mnt/a && echo here > /mnt/a/f && umount /mnt/a",
                60)
    vb = restart(t, vb, "-r")
    t.guest.set_sysctl("net.aoe.target.7.0.revalidate", "1")
    t.guest.fails("dd if=/dev/zero of=/dev/aoe7.0 bs=4k count=1 oseek=4096", EROFS)
    t.wait_console(r"^aoe: aoe7\.0: refuses writes$")
    t.guest.wait_for("! ( exec 3<>/dev/aoe7.0 )", 10, "an open is refused")
    t.guest.fails("( exec 3<>/dev/aoe7.0 )", EROFS)
    t.guest.fails("mount /dev/aoe7.0 /mnt/a", EROFS)
    same(t.guest.run("mount | grep -c /mnt/a || true"), "0", "mounts on /mnt/a")
    t.guest.run("mount -o autoro /dev/aoe7.0 /mnt/a")
    need("read-only" in t.guest.run("mount | grep /mnt/a"), "autoro did not mount it read-only")
    same(t.guest.run("cat /mnt/a/f"), "here", "the file")
    t.guest.fails("touch /mnt/a/g", EROFS)
    t.guest.run("umount /mnt/a; dd if=/dev/aoe7.0 of=/dev/null bs=64k count=16")
    restart(t, vb)
    t.guest.set_sysctl("net.aoe.target.7.0.revalidate", "1")
    t.guest.wait_for("( exec 3<>/dev/aoe7.0 )", 10, "an open for writing")
    t.guest.run("mount /dev/aoe7.0 /mnt/a && echo new > /mnt/a/g && umount /mnt/a", 60)


@G.test(limit=300)
def an_export_becomes_read_only_while_it_is_written_to(t):
    """It is served anew without a pause that anybody would notice: the third refused write says what is the matter."""
    vb = t.vblade(seg=0)
    t.load("em0")
    t.wait_disk()
    write = "dd if=/dev/zero of=/dev/aoe7.0 bs=4k count=1 oseek={}"
    # The disk stays open, so that nothing but the writes tells.
    holder = t.guest.spawn("exec 3<>/dev/aoe7.0; while ! test -e /tmp/close; do sleep 0.2; done")
    t.guest.run(write.format(1))
    restart(t, vb, "-r")
    said = [t.guest.try_run(write.format(n)).out for n in range(3)]
    need(all(EIO in text for text in said[:2]), f"the first two writes ended otherwise: {said}")
    need(EROFS in said[2], f"the third write ended otherwise: {said[2]}")
    t.wait_console(r"^aoe: aoe7\.0: refuses writes$")
    t.guest.run("touch /tmp/close")
    holder.succeed(20)
    t.guest.wait_for("! ( exec 3<>/dev/aoe7.0 )", 10, "an open is refused")


# -- a mirror's way back ----------------------------------------------------------------------------------------------

def manual_block(first):
    """A block of commands in aoe(4)'s EXAMPLES, by how its first line begins."""
    for block in re.findall(r"^\.Bd -literal -offset indent\n(.*?)^\.Ed$", manual("EXAMPLES"), re.M | re.S):
        if block.startswith(first):
            return block
    raise AssertionError(f"aoe(4) has no block that begins with {first!r}")


def commands(block):
    return "\n".join(line.removeprefix("# ") for line in block.splitlines())


def mirror(t):
    """The mirror of the manual, with a file system on it; the target of its second half."""
    class_or_skip(t, "gmirror", "geom_mirror")
    t.vblade(seg=0, shelf=7, slot=0, size=48 * MIB)
    half = t.vblade(seg=1, shelf=8, slot=0, size=48 * MIB)
    t.load("em0 vtnet0")
    t.wait_disk(7, 0)
    t.wait_disk(8, 0)
    t.guest.run(commands(manual_block("# sysctl net.aoe.dead_secs=10")))
    t.guest.wait_for("gmirror status -s remote | grep -q COMPLETE", 30)
    t.guest.run("newfs -U /dev/mirror/remote && mkdir -p /mnt/a && mount /dev/mirror/remote /mnt/a", 60)
    t.defer("umount -f /mnt/a; gmirror stop -f remote; true", 120)
    return half


def half_dies(t, half):
    half.kill()
    job = t.guest.spawn("dd if=/dev/random of=/mnt/a/f bs=64k count=100 && fsync /mnt/a/f")
    t.guest.wait_for("gmirror status -s remote | grep -q DEGRADED", 60, "the mirror drops its half")
    job.succeed(60)
    half.start()
    t.wait_state("up", 8, 0)


@G.test(limit=400)
def a_mirrors_half_comes_back_by_hand(t):
    half = mirror(t)
    half_dies(t, half)
    t.guest.run("sleep 3; gmirror status -s remote | grep -q DEGRADED")
    t.guest.run(commands(manual_block("# gmirror forget remote")), 60)
    t.guest.wait_for("gmirror status -s remote | grep -q COMPLETE", 200, "the mirror is whole again", "0.5")
    t.guest.run("umount /mnt/a && gmirror stop remote", 60)
    t.guest.run("cmp -n 50331136 /dev/aoe7.0 /dev/aoe8.0", 120)


@G.test(limit=400)
def a_mirrors_half_comes_back_by_devd(t):
    half = mirror(t)
    t.guest.wait_for("test -S /var/run/devd.pipe", 30, "devd's socket")
    rule = manual_block("notify 10 {\n\tmatch \"system\"\t\t\"AOE\";\n\tmatch \"subsystem\"\t\"TARGET\";\n\tmatch \"type\"\t\t\"UP\"")
    t.guest.run("mkdir -p /usr/local/etc/devd")
    for line in rule.splitlines():
        t.guest.run(f"printf '%s\\n' '{line}' >> /usr/local/etc/devd/mirror.conf")
    t.defer("rm -f /usr/local/etc/devd/mirror.conf; service devd restart", 60)
    t.guest.run("service devd restart", 60)
    # A short outage changes nothing.
    half.kill()
    time.sleep(5)
    half.start()
    t.wait_state("up", 8, 0)
    t.guest.run("sleep 2; gmirror status -s remote | grep -q COMPLETE")
    half_dies(t, half)
    t.guest.wait_for("gmirror status -s remote | grep -q COMPLETE", 200, "the mirror is whole again", "0.5")
    t.guest.run("umount /mnt/a && gmirror stop remote", 60)
    t.guest.run("cmp -n 50331136 /dev/aoe7.0 /dev/aoe8.0", 120)
