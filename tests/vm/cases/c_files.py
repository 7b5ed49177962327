# SPDX-License-Identifier: BSD-2-Clause
"""File systems and GEOM classes on AoE disks: nothing that was written may come back different."""

import re

from lib.case import MIB, Group
from lib.util import TestSkipped, need, same

G = Group("files", nics=("em", "vtnet"), memory=1024, tree=True)

FSCK_COMPLAINT = re.compile(r"INCORRECT|UNREF|BAD|DUP|MISSING|INCONSISTEN|UNALLOCATED|WRONG|CORRUPT|FAILED", re.I)


def fsck_clean(t, device):
    """Marked clean by the unmount, and really without a fault when all of it is read."""
    need("FILE SYSTEM CLEAN" in t.guest.run(f"fsck_ffs -p {device}", 60), f"{device} is not marked clean")
    said = t.guest.run(f"fsck_ffs -fn {device}", 300)
    need(not FSCK_COMPLAINT.search(said), f"fsck_ffs -fn {device}:\n{said}")


def unpack(t, where):
    t.guest.run(f"tar xf /dev/vtbd2 -C {where}", 600)


def compare(t, where):
    """The sums of what the guest reads, against the sums that the host computed before it began."""
    got = t.guest.run(f"cd {where} && {t.rig.tree.DIGEST}", 600)
    if got != t.rig.tree.digest:
        lines = set(t.guest.run(f"cd {where} && {t.rig.tree.LISTING}", 600).splitlines())
        wrong = sorted(set(t.rig.tree.listing().splitlines()) ^ lines)
        need(False, f"{len(wrong)} lines differ; the first: {wrong[:4]}")


def fill_and_check(t, device, newfs="newfs -U"):
    """newfs, mount, copy, unmount, fsck, mount, compare, unmount."""
    t.guest.run(f"{newfs} {device}", 120)
    t.guest.run(f"mkdir -p /mnt/a && mount {device} /mnt/a")
    unpack(t, "/mnt/a")
    whole_afterwards(t, device)
    fsck_clean(t, device)


def whole_afterwards(t, device):
    """The file system that was filled under /mnt/a is clean, and all of it is there, as the target has it."""
    t.guest.run("umount /mnt/a", 180)
    fsck_clean(t, device)
    t.guest.run(f"mount {device} /mnt/a")
    compare(t, "/mnt/a")
    t.guest.run("umount /mnt/a", 60)


def disk_size(t):
    return t.rig.tree.size * 3 // 2 + 64 * MIB


def set_mtu(t, seg, ifname, mtu):
    t.lab.segments[seg].set_mtu(mtu)
    t.guest.run(f"ifconfig {ifname} mtu {mtu} && ifconfig {ifname} up")


def on_partition(t, seg, ifname, mtu):
    t.lab.segments[seg].port(0)
    set_mtu(t, seg, ifname, mtu)
    t.vblade(seg=seg, size=disk_size(t))
    t.load(ifname)
    disk = t.wait_disk()
    t.guest.run(f"gpart create -s gpt {disk} && gpart add -t freebsd-ufs -a 1m {disk}")
    fill_and_check(t, f"{disk}p1")
    same(t.leaf("path.0.payload"), "1024" if mtu == 1500 else "8192", f"payload at MTU {mtu}")
    same(t.leaf("errors"), "0", "errors")
    # A module that starts afresh finds the same bytes, so they are on the target and in no cache.
    t.unload()
    t.load(ifname)
    t.guest.wait_for(f"test -c {disk}p1", 10)
    t.guest.run(f"mount -r {disk}p1 /mnt/a")
    compare(t, "/mnt/a")
    t.guest.run("umount /mnt/a")


@G.test(limit=1500)
def ufs_em_mtu_1500(t):
    on_partition(t, 0, "em0", 1500)


@G.test(limit=1500)
def ufs_em_mtu_9000(t):
    on_partition(t, 0, "em0", 9000)


@G.test(limit=1500)
def ufs_vtnet_mtu_1500(t):
    on_partition(t, 1, "vtnet0", 1500)


@G.test(limit=1500)
def ufs_vtnet_mtu_9000(t):
    on_partition(t, 1, "vtnet0", 9000)


@G.test(limit=1500)
def soft_updates_journal(t):
    t.vblade(seg=1, size=disk_size(t))
    t.load("vtnet0")
    disk = t.wait_disk()
    fill_and_check(t, disk, "newfs -j")
    need(re.search(r"soft updates? journaling:.*enabled", t.guest.run(f"tunefs -p {disk} 2>&1")),
         "the file system has no journal")


@G.test(limit=1500)
def journal_replays_after_power_loss(t):
    """The module is cut off from its target for good in the middle of writing. On the target is then
    a file system that its journal brings back, with every byte that was fsynced before.

    That a full fsck then finds nothing is not asked: after SU+J recovery it corrects block counts
    of directories on a disk inside the machine, too."""
    vb = t.vblade(seg=1, size=disk_size(t))
    t.load("vtnet0")
    disk = t.wait_disk()
    t.guest.run(f"newfs -j {disk} && mkdir -p /mnt/a && mount {disk} /mnt/a", 120)
    t.guest.run("dd if=/dev/vtbd2 of=/mnt/a/precious bs=64k count=64 && fsync /mnt/a/precious /mnt/a", 60)
    want = t.guest.run("sha256 -q /mnt/a/precious")
    job = t.guest.spawn("tar xf /dev/vtbd2 -C /mnt/a")
    t.guest.wait_for("test $(find /mnt/a -type f | wc -l) -gt 30", 120, "some files are written")
    vb.kill()
    t.allow(r"g_vfs_done|fsync: giving up")
    t.guest.set_sysctl("net.aoe.dead_secs", "2")
    job.wait(60)
    t.guest.try_run("umount -f /mnt/a", 60)
    t.unload()
    vb.start()
    t.load("vtnet0")
    t.wait_disk()
    said = t.guest.run(f"fsck_ffs -y {disk}", 300)
    need("SU+J Recovering" in said and "MARKED CLEAN" in said, f"fsck did not use the journal:\n{said}")
    t.guest.run(f"fsck_ffs -fy {disk}", 300)
    fsck_clean(t, disk)
    t.guest.run(f"mount {disk} /mnt/a")
    same(t.guest.run("sha256 -q /mnt/a/precious"), want, "sum of a file that was fsynced before the cut")
    t.guest.run("umount /mnt/a", 60)


def class_or_skip(t, tool, module):
    if t.guest.try_run(f"kldload -n {module}").code != 0 or t.guest.try_run(f"which {tool}").code != 0:
        raise TestSkipped(f"this guest has no {tool}")


@G.test(limit=1500)
def gmirror_over_two_disks(t):
    class_or_skip(t, "gmirror", "geom_mirror")
    t.vblade(seg=0, shelf=7, slot=0, size=disk_size(t))
    t.vblade(seg=1, shelf=7, slot=1, size=disk_size(t))
    t.load("em0 vtnet0")
    a, b = t.wait_disk(7, 0), t.wait_disk(7, 1)
    t.guest.run(f"gmirror label -b round-robin m0 {a} {b}")
    t.guest.wait_for("gmirror status -s m0 | grep -q COMPLETE", 30)
    fill_and_check(t, "/dev/mirror/m0")
    t.guest.run("gmirror stop m0")
    size = int(t.guest.run("diskinfo /dev/aoe7.0 | awk '{ print $3 }'"))
    t.guest.run(f"cmp -n {size - 512} {a} {b}", 600)


@G.test(limit=1500)
def geli_on_top(t):
    class_or_skip(t, "geli", "geom_eli")
    t.vblade(seg=1, size=disk_size(t))
    t.load("vtnet0")
    disk = t.wait_disk()
    t.guest.run("dd if=/dev/random of=/tmp/geli.key bs=64 count=1 2>/dev/null")
    t.guest.run(f"geli init -B none -P -K /tmp/geli.key -s 4096 {disk} && geli attach -p -k /tmp/geli.key {disk}", 60)
    fill_and_check(t, f"{disk}.eli")
    t.guest.run(f"geli detach {disk}.eli")
