# SPDX-License-Identifier: BSD-2-Clause
"""An export grows while it is in use: under a GPT, geli(8), gmirror(8), a file system."""

import os
import re

from cases.c_files import class_or_skip, compare, fsck_clean, unpack
from cases.s_held import manual_block
from lib.case import MIB, Group
from lib.util import GuestDied, TestSkipped, need, same

G = Group("resize", nics=("em", "vtnet"), memory=1024, tree=True)


def grow(t, server, size):
    """The target has more behind it, and says so when it is asked again."""
    with open(server.file, "r+b") as f:
        f.truncate(size)
    shelf, slot = server.address
    t.guest.run(f"sysctl net.aoe.target.{shelf}.{slot}.revalidate=1")
    t.guest.wait_for(f"[ $(diskinfo aoe{shelf}.{slot} | awk '{{ print $3 }}') = {size} ]", 60,
                     f"aoe{shelf}.{slot} has {size} bytes")


def size_of(t, device):
    return int(t.guest.run(f"diskinfo {device} | awk '{{ print $3 }}'"))


def begin(t):
    return (t.rig.tree.size * 3 // 2 + 64 * MIB) // MIB * MIB


def target(t, slot=0, seg=0, size=None):
    server = t.aoe_target(seg=seg, slot=slot, size=size or begin(t), options=("--follow-size",))
    return server


def used(t, device, where="/mnt/a"):
    """A file system that is being written."""
    t.guest.run(f"newfs -U {device} && mkdir -p {where} && mount {device} {where}", 120)
    return t.guest.spawn("rm -f /tmp/stop; n=0; while ! test -e /tmp/stop; do dd if=/dev/vtbd2 "
                         f"of={where}/work bs=1m count=8 2>/dev/null || exit 1; n=$((n + 1)); done; "
                         f"rm {where}/work; echo $n")


def end_use(t, job):
    t.guest.run("touch /tmp/stop")
    need(int(job.succeed(120).split()[-1]) > 0, "nothing was written meanwhile")


def larger_and_whole(t, device, before, where="/mnt/a"):
    """The mounted file system is grown, filled with what did not fit before, and whole."""
    t.guest.run(f"growfs -y {device}", 300)
    blocks = int(t.guest.run(f"df -k {where} | awk 'END {{ print $2 }}'"))
    need(blocks * 1024 > before, f"{blocks} KiB of file system, after {before} bytes of device")
    unpack(t, where)
    compare(t, where)
    t.guest.run(f"umount {where}", 180)
    fsck_clean(t, device)
    t.guest.run(f"mount {device} {where}")
    compare(t, where)
    t.guest.run(f"umount {where}", 60)


@G.test(limit=1500)
def file_system_on_the_whole_disk(t):
    server = target(t, size=64 * MIB)
    t.load("em0")
    disk = t.wait_disk()
    job = used(t, disk)
    grow(t, server, begin(t))
    end_use(t, job)
    larger_and_whole(t, disk, 64 * MIB)
    need(re.search(r"aoe7\.0: .*(size|grew|grown|now)", t.console()), "the console does not speak of the new size")


@G.test(limit=1500)
def gpt_in_use(t):
    """GEOM makes the table as large as the disk and waits for `gpart commit`, which writes the second table to the new
    end (kern.geom.part.auto_resize); the partition and the file system on it grow, mounted."""
    server = target(t, size=64 * MIB)
    t.load("em0")
    disk = os.path.basename(t.wait_disk())
    t.guest.run(f"gpart create -s gpt {disk} && gpart add -t freebsd-ufs -a 4k {disk}")
    job = used(t, f"/dev/{disk}p1")
    grow(t, server, begin(t))
    t.guest.wait_for(f"dmesg | grep -q '{disk} was automatically resized'", 10, "GEOM resizes the table")
    commit, resize = manual_block("# sysctl net.aoe.target.7.0.revalidate=1").splitlines()[1:3]
    t.guest.run(f"{commit.removeprefix('# ')} && {resize.removeprefix('# ')}")
    with open(server.file, "rb") as f:
        f.seek(begin(t) - 512)
        same(f.read(8), b"EFI PART", "signature of the second table at the new end")
    need(size_of(t, f"{disk}p1") > begin(t) - 2 * MIB, f"the partition has {size_of(t, f'{disk}p1')} bytes")
    end_use(t, job)
    larger_and_whole(t, f"/dev/{disk}p1", 64 * MIB)
    # A module that starts anew finds the same table on the target.
    t.unload()
    t.load("em0")
    t.guest.wait_for(f"test -c /dev/{disk}p1", 15)
    need("CORRUPT" not in t.guest.run(f"gpart show {disk}"), "the table is not whole for a module that starts anew")
    fsck_clean(t, f"/dev/{disk}p1")


@G.test(limit=1500)
def geli_in_use(t):
    """With and without the automatic resize that geli does since 13: its metadata move to the new end."""
    class_or_skip(t, "geli", "geom_eli")
    server = target(t, size=64 * MIB)
    t.load("em0")
    disk = t.wait_disk()
    t.guest.run("dd if=/dev/random of=/tmp/geli.key bs=64 count=1 2>/dev/null")
    t.guest.run(f"geli init -B none -P -K /tmp/geli.key -s 4096 {disk} && geli attach -p -k /tmp/geli.key {disk}", 60)
    job = used(t, f"{disk}.eli")
    grow(t, server, begin(t))
    t.guest.wait_for(f"[ $(diskinfo {disk}.eli | awk '{{ print $3 }}') -gt {64 * MIB} ]", 30,
                     "the provider of geli has grown")
    end_use(t, job)
    larger_and_whole(t, f"{disk}.eli", 64 * MIB)
    # It can be attached again: the metadata are at the end that is there now.
    t.guest.run(f"geli detach {disk}.eli && geli attach -p -k /tmp/geli.key {disk}", 60)
    fsck_clean(t, f"{disk}.eli")
    t.guest.run(f"geli detach {disk}.eli")


def fails_on_md(t):
    """What a mirror of memory disks says to their growth and to `gmirror resize`, in a guest of its own: that of a
    kernel with INVARIANTS panics, as g_mirror_resize() does not hold the lock that it asserts."""
    n = t.runner.boot(t.test_group, "gmirror-on-md")
    try:
        n.guest.run("kldload -n geom_mirror && for i in 0 1; do mdconfig -a -t swap -s 64m -u $i; done && "
                    "gmirror label m0 md0 md1 && newfs -U /dev/mirror/m0 && mkdir -p /mnt/a && mount /dev/mirror/m0 /mnt/a", 120)
        try:
            n.guest.run("for i in 0 1; do mdconfig -r -s 96m -u $i; done; sleep 2; gmirror resize m0", 60)
            n.guest.run("sleep 2; gmirror status", 60)
        except GuestDied as e:
            return str(e)
        return "; ".join(n.scanner.complaints()[:2])
    finally:
        n.close()


@G.test(limit=1800)
def gmirror_in_use(t):
    """Both halves grow under a mirror that is mounted."""
    class_or_skip(t, "gmirror", "geom_mirror")
    base = fails_on_md(t)
    if base:
        raise TestSkipped(f"gmirror of this kernel cannot do it on md(4) either: {base}")
    servers = [target(t, 0, 0, 64 * MIB), target(t, 1, 1, 64 * MIB)]
    t.load("em0 vtnet0")
    a, b = t.wait_disk(7, 0), t.wait_disk(7, 1)
    t.guest.run(f"gmirror label -b round-robin m0 {a} {b}")
    t.guest.wait_for("gmirror status -s m0 | grep -q COMPLETE", 30)
    job = used(t, "/dev/mirror/m0")
    for server in servers:
        grow(t, server, begin(t))
    same("COMPLETE" in t.guest.run("gmirror status -s m0"), True, "the mirror is complete after its halves grew")
    t.guest.run("gmirror resize m0", 60)
    t.guest.wait_for("gmirror status -s m0 | grep -q COMPLETE", 60)
    t.guest.wait_for(f"[ $(diskinfo /dev/mirror/m0 | awk '{{ print $3 }}') -gt {64 * MIB} ]", 30, "the mirror has grown")
    end_use(t, job)
    larger_and_whole(t, "/dev/mirror/m0", 64 * MIB)
    t.guest.run("gmirror stop m0")


@G.test(limit=1500)
def swap_in_use(t):
    """Swap keeps the size that it had when it was turned on, and goes on."""
    server = target(t, size=64 * MIB)
    t.load("em0")
    disk = t.wait_disk()
    t.guest.run(f"swapon {disk}")
    t.guest_stack.callback(lambda: t.guest.try_run(f"swapoff {disk}", 120))
    before = t.guest.run("swapctl -sk | awk '{ print $2 }'")
    grow(t, server, 96 * MIB)
    same(t.guest.run("swapctl -sk | awk '{ print $2 }'"), before, "KiB of swap")
    t.guest.run(f"swapoff {disk} && swapon {disk}", 60)
    need(int(t.guest.run("swapctl -sk | awk '{ print $2 }'")) > int(before), "swap that is turned on anew has the old size")
    t.guest.run(f"swapoff {disk}", 60)
