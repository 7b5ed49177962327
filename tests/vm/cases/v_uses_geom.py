# SPDX-License-Identifier: BSD-2-Clause
"""What people put on top of a disk: classes of GEOM, encryption, swap, other machines' disks, ZFS. The second half of
the group uses."""

import time

from cases.c_files import fsck_clean
from cases.v_uses import G, Tried, attached, fill, head, module, sum_of_files
from lib.case import MIB
from lib.target import file_hash
from lib.util import TestSkipped, need, same

# -- GEOM -------------------------------------------------------------------------------------------------------------------


def round_trip(t, device, size=8):
    """What is written to a provider comes back, and the disks under it know of no error."""
    t.guest.run(f"newfs -U {device} && mkdir -p /mnt/a && mount {device} /mnt/a", 120)
    want = fill(t)
    t.guest.run(f"umount /mnt/a && fsck_ffs -fn {device} && mount -r {device} /mnt/a", 180)
    same(sum_of_files(t), want, f"files on {device}")
    t.guest.run("umount /mnt/a", 60)


def labelled(name, options, disks, directory=None):
    """A class whose metadata on the disks are made by `label`."""
    return (f"{name} label {options} g {disks}", f"/dev/{directory or name[1:]}/g", f"{name} stop g && {name} clear {disks}")


ONE, TWO, THREE = "aoe7.0", "aoe7.0 aoe7.1", "aoe7.0 aoe7.1 aoe7.2"
ELI = ("/dev/aoe7.0.eli", "geli detach aoe7.0.eli && geli kill aoe7.0")

#: Class: what makes it of up to three disks, its provider, what undoes it.
CLASSES = {
    "gconcat": labelled("gconcat", "-v", THREE),
    "gstripe": labelled("gstripe", "-s 16384", THREE),
    "gmirror": labelled("gmirror", "-b split -s 4096", THREE),
    "graid3": labelled("graid3", "-r", THREE),
    "graid": (f"graid label Intel g RAID1 {TWO}", "/dev/raid/r0",
              "graid delete -f $(graid list | awk '/^Geom name/ { print $3; exit }')"),
    "gnop": ("gnop create -S 4096 aoe7.0", "/dev/aoe7.0.nop", "gnop destroy aoe7.0.nop"),
    "glabel": labelled("glabel", "", ONE),
    "gcache": labelled("gcache", "", ONE),
    "gjournal": ("gjournal label -s 64m aoe7.0", "/dev/aoe7.0.journal",
                 "gjournal sync; gjournal stop aoe7.0.journal && gjournal clear aoe7.0"),
    "gmountver": ("gmountver create aoe7.0", "/dev/aoe7.0.mountver", "gmountver destroy aoe7.0.mountver"),
    "gmultipath": ("gmultipath label g aoe7.0", "/dev/multipath/g", "gmultipath destroy g; gmultipath clear g aoe7.0; true"),
    "gshsec": labelled("gshsec", "", TWO),
    "gvirstor": labelled("gvirstor", "-s 4g -m 8", TWO),
    "gunion": (f"gunion create {TWO}", "/dev/aoe7.0-aoe7.1.union", "gunion destroy aoe7.0-aoe7.1.union"),
    "geli": ("dd if=/dev/random of=/tmp/k bs=64 count=1 2>/dev/null; geli init -P -K /tmp/k -s 4096 aoe7.0 && "
             "geli attach -p -k /tmp/k aoe7.0", *ELI),
    "geli -a": ("geli init -a HMAC/SHA256 -P -K /tmp/k aoe7.0 && geli attach -p -k /tmp/k aoe7.0 && "
                "{ dd if=/dev/zero of=/dev/aoe7.0.eli bs=1m 2>/dev/null; true; }", *ELI),
    "ggatel": ("ggatel create -u 5 /dev/aoe7.0", "/dev/ggate5", "ggatel destroy -f -u 5"),
}

#: Those whose module is called otherwise than they are.
KLD = {"geli -a": "geom_eli", "ggatel": "geom_gate"}


@G.test(limit=3600)
def geom_classes(t):
    """A file system on each class of GEOM over AoE disks."""
    servers = [attached(t, 128 * MIB, slot) for slot in range(3)]
    u = Tried(t)
    failed = []
    for name, (make, device, undo) in CLASSES.items():
        kld = KLD.get(name) or f"geom_{name[1:]}"
        if t.guest.try_run(f"kldload -n {kld}", 60).code != 0 or not u.has(name.split()[0]):
            u.missing.add(name)
            continue
        try:
            t.guest.run(make, 300)
            t.guest.wait_for(f"test -c {device}", 60, device)
            round_trip(t, device)
            t.say(f"{name}: all right")
        except Exception as e:  # noqa: BLE001 - the others are tried all the same
            failed.append(f"{name}: {e}")
            t.guest.try_run("umount -f /mnt/a", 60)
        # A class that is stopped would find its metadata once more, before they are cleared.
        done = t.guest.try_run(f"sysctl kern.geom.notaste=1; {{ {undo}; }}; r=$?; sysctl kern.geom.notaste=0; exit $r", 120)
        if done.code != 0:
            failed.append(f"{name}: {done!r}")
        done = t.guest.try_run("for s in 0 1 2; do dd if=/dev/zero of=/dev/aoe7.$s bs=1m count=2 && "
                               "dd if=/dev/zero of=/dev/aoe7.$s bs=1m oseek=126 count=2 || exit 1; done", 60)
        if done.code != 0:
            failed.append(f"{name}: a disk is still in use: {done.out} {t.guest.run('geom -t')}")
            break
        u.done += 1
        if t.config.quick and u.done >= 6:
            break
    need(not failed, "\n        ".join(failed))
    for slot in range(3):
        same(t.leaf("errors", 7, slot), "0", f"errors of 7.{slot}")
        need(servers[slot].alive(), f"target {slot} ended")
    u.end(6)


@G.test(limit=900)
def geli_commands(t):
    """Keys, backup, suspend and resume, detach at the last close."""
    module(t, "geom_eli")
    attached(t)
    u = Tried(t)
    t.guest.run("for i in 1 2; do dd if=/dev/random of=/tmp/k$i bs=64 count=1 2>/dev/null; done")
    u.run("geli init -B /tmp/meta -P -K /tmp/k1 -s 4096 aoe7.0")
    u.run("geli attach -p -k /tmp/k1 aoe7.0")
    t.guest.run("newfs -U aoe7.0.eli && mkdir -p /mnt/a && mount /dev/aoe7.0.eli /mnt/a && cp /bin/sh /mnt/a", 60)
    u.run("geli suspend aoe7.0.eli")
    job = t.guest.spawn("cp /bin/ls /mnt/a && fsync /mnt/a/ls")
    time.sleep(2)
    need(job.running(), "a write went through a suspended geli")
    u.run("geli resume -p -k /tmp/k1 aoe7.0")
    job.succeed(60)
    u.run("geli detach -l aoe7.0.eli")
    t.guest.run("umount /mnt/a", 60)
    t.guest.wait_for("! test -c /dev/aoe7.0.eli", 15, "geli is detached at the last close")
    u.run("geli setkey -n 1 -P -p -k /tmp/k1 -K /tmp/k2 aoe7.0")
    u.run("geli backup aoe7.0 /tmp/meta2")
    u.run("geli dump aoe7.0 >/dev/null")
    u.run("geli attach -p -k /tmp/k2 aoe7.0")
    u.run("geli status")
    fsck_clean(t, "/dev/aoe7.0.eli")
    u.run("geli detach aoe7.0.eli")
    u.run("geli clear aoe7.0")
    u.run("geli restore -f /tmp/meta2 aoe7.0 || geli restore /tmp/meta2 aoe7.0")
    u.run("geli attach -p -k /tmp/k2 aoe7.0 && geli detach aoe7.0")
    u.end(8)


# -- others that serve or use it -----------------------------------------------------------------------------------------------


@G.test(limit=900)
def lun_of_ctl(t):
    """The disk is a LUN of ctl(4), as an iSCSI target has it, and comes back as a disk of CAM."""
    module(t, "ctl")
    server = attached(t, options=("--trim-blocks", "8"))
    u = Tried(t)
    want = head(server, 8 * MIB)
    before = set(t.guest.sysctl("kern.disks").split())
    u.run("ctladm create -b block -o file=/dev/aoe7.0 -o unmap=on -d aoe -l 0")
    t.defer("ctladm port -o off -p 0; ctladm remove -b block -l 0; true", 60)
    t.guest.run("ctladm port -o on -p 0 || ctladm port -o on -t camsim", 60)
    name = ""
    for _ in range(30):
        new = [d for d in set(t.guest.sysctl("kern.disks").split()) - before if d.startswith("da")]
        if new:
            name = new[0]
            break
        time.sleep(0.5)
    if not name:
        raise TestSkipped("ctl has no camsim port in this guest")
    same(t.guest.run(f"dd if=/dev/{name} bs=64k count=128 2>/dev/null | sha256 -q", 60), want, "what the LUN reads")
    t.guest.run(f"dd if=/dev/vtbd2 of=/dev/{name} bs=64k oseek=16 count=64 conv=sync", 60)
    t.guest.run(f"timeout 4 diskinfo -wS /dev/{name} >/dev/null; trim -f -o 32m -l 8m /dev/{name}", 120)
    t.guest.fails("kldunload aoe", "busy", 60)
    t.guest.run("ctladm port -o off -p 0 && ctladm remove -b block -l 0", 60)
    t.guest.wait_for(f"! test -e /dev/{name}", 30, "the LUN is gone")
    same(t.leaf("errors"), "0", "errors")
    u.end(1)


@G.test(limit=900)
def network_gate(t):
    """ggated serves the disk over TCP to this very machine."""
    module(t, "geom_gate")
    server = attached(t)
    u = Tried(t)
    if not u.has("ggated", "ggatec"):
        raise TestSkipped("the guest has no ggated")
    t.guest.run("ifconfig lo0 inet 127.0.0.1/8 up; echo '127.0.0.1 RW /dev/aoe7.0' > /tmp/gg.exports && "
                "ggated -a 127.0.0.1 /tmp/gg.exports", 60)
    t.defer("ggatec destroy -f -u 6 2>/dev/null; pkill -x ggated; sleep 1; true", 60)
    t.guest.run("ggatec create -u 6 127.0.0.1 /dev/aoe7.0", 60)
    t.guest.wait_for("test -c /dev/ggate6", 30)
    same(t.guest.run("dd if=/dev/ggate6 bs=64k count=64 2>/dev/null | sha256 -q", 60), head(server, 4 * MIB),
         "what comes over the gate")
    round_trip(t, "/dev/ggate6")
    t.guest.run("ggatec destroy -f -u 6; pkill -x ggated; sleep 1", 60)


@G.test(limit=600)
def swap(t):
    """On the disk, on a partition, by fstab, encrypted for once. Swap that is used is in the group stress."""
    attached(t)
    u = Tried(t)
    u.run("swapon /dev/aoe7.0 && swapctl -l | grep -q aoe7.0 && swapoff /dev/aoe7.0")
    t.guest.run("gpart create -s gpt aoe7.0 && gpart add -t freebsd-swap aoe7.0")
    u.run("swapon /dev/aoe7.0p1 && swapinfo && swapoff /dev/aoe7.0p1")
    t.guest.run("cp /etc/fstab /tmp/fstab.swap")
    t.defer("cp /tmp/fstab.swap /etc/fstab")
    t.guest.run("echo '/dev/aoe7.0p1 none swap sw,late 0 0' >> /etc/fstab")
    u.run("swapon -aL && swapctl -l | grep -q aoe7.0p1 && swapoff -aL")
    if t.guest.try_run("kldload -n geom_eli").code == 0:
        t.guest.run("cp /tmp/fstab.swap /etc/fstab; echo '/dev/aoe7.0p1.eli none swap sw,late 0 0' >> /etc/fstab")
        u.run("swapon -aL && swapctl -l | grep -q aoe7.0p1.eli && swapoff -aL")
        t.guest.try_run("geli detach aoe7.0p1.eli")
    t.guest.fails("kldunload aoe && false; swapon /dev/aoe7.0p9", ".")
    if not t.loaded():
        t.load("em0")
        t.wait_disk()
    u.end(3)


@G.test(limit=600)
def many_openers_and_odd_ones(t):
    """Dozens at once, a jail, a file that is handed over, an open that is refused."""
    server = attached(t, 16 * MIB)
    want = file_hash(server.file)
    job = t.guest.spawn("for i in $(jot 32); do ( [ $(dd if=/dev/aoe7.0 bs=32k 2>/dev/null | sha256 -q) = " + want +
                        " ] || echo $i differs ) & done; wait")
    same(job.succeed(300).strip(), "", "what 32 readers found")
    # No revoke(2): g_dev_close() of base then leaves any disk open for ever, as it says itself.
    # Whom the mode of the node does not let in.
    t.guest.fails("su -m nobody -c 'dd if=/dev/aoe7.0 of=/dev/null count=1'", "Permission denied")
    t.guest.run("chmod 644 /dev/aoe7.0 && su -m nobody -c 'dd if=/dev/aoe7.0 of=/dev/null count=1'")
    t.guest.fails("su -m nobody -c 'dd if=/dev/zero of=/dev/aoe7.0 count=1'", "Permission denied")
    # A mounted disk is not written by others, and can be read by them (kern.geom.debugflags is 0).
    t.guest.run("newfs -U /dev/aoe7.0 && mkdir -p /mnt/a && mount /dev/aoe7.0 /mnt/a && "
                "dd if=/dev/aoe7.0 of=/dev/null bs=64k count=4 2>/dev/null", 60)
    t.guest.fails("dd if=/dev/zero of=/dev/aoe7.0 bs=64k count=1", "Operation not permitted")
    t.guest.fails("newfs /dev/aoe7.0", ".")
    t.guest.fails("gpart create -s gpt aoe7.0", ".")
    t.guest.fails("mount /dev/aoe7.0 /mnt/a", ".")
    t.guest.fails("kldunload -f aoe", "busy")
    t.guest.run("umount /mnt/a", 60)
    fsck_clean(t, "/dev/aoe7.0")
    if t.guest.try_run("which jail").code == 0:
        t.guest.run("jail -c path=/ name=aoejail command=/bin/dd if=/dev/aoe7.0 of=/dev/null bs=64k count=16", 60)


@G.test(limit=600)
def zfs(t):
    """A pool, where the guest has ZFS."""
    if t.guest.try_run("kldload -n zfs", 120).code != 0 or t.guest.try_run("which zpool").code != 0:
        raise TestSkipped("the guest has no ZFS")
    for slot in range(2):
        attached(t, 256 * MIB, slot, options=("--trim-blocks", "8"))
    t.guest.run("zpool create -f aoepool mirror aoe7.0 aoe7.1 && cp -R /bin /aoepool && zpool scrub -w aoepool", 300)
    need("No known data errors" in t.guest.run("zpool status aoepool"), t.guest.run("zpool status aoepool"))
    t.guest.run("zpool export aoepool && zpool import aoepool && diff -r /bin /aoepool/bin && zpool trim -w aoepool; "
                "zpool destroy aoepool", 300)
