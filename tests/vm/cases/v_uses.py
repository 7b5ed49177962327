# SPDX-License-Identifier: BSD-2-Clause
"""What people do with a disk: the programs of base whose manual pages take a device, each tried on one of ours.

The list was made from sbin, usr.sbin, usr.bin and lib/geom of FreeBSD 15. What a guest does not have is named and left
out. Every test compares data with what the host wrote or finds."""

import hashlib
import re
import time

from cases.c_files import FSCK_COMPLAINT, fsck_clean
from lib.case import MIB, Group
from lib.target import file_hash
from lib.util import TestSkipped, need, same

G = Group("uses", nics=("em", "vtnet"), memory=1024, tree=True)


def program(command):
    """What a command runs, behind variables that are set for it."""
    return next(word for word in command.split() if "=" not in word)


class Tried:
    """Runs commands whose program the guest has, and remembers those that it has not."""

    def __init__(self, t):
        self.t, self.done, self.missing = t, 0, set()

    def has(self, *programs):
        for program in programs:
            if self.t.guest.try_run(f"which {program}").code != 0:
                self.missing.add(program)
                return False
        return True

    def run(self, command, timeout=120):
        """Must succeed; its output, "" if there is no such program."""
        if not self.has(program(command)):
            return ""
        self.done += 1
        return self.t.guest.run(command, timeout)

    def fails(self, command, words, timeout=60):
        """Must be refused, with these words."""
        if not self.has(program(command)):
            return ""
        self.done += 1
        return self.t.guest.fails(command, words, timeout)

    def end(self, at_least):
        if self.missing:
            self.t.say(f"{self.done} commands; not in this guest: {' '.join(sorted(self.missing))}")
        if not self.done:
            raise TestSkipped(f"the guest has none of {' '.join(sorted(self.missing))}")
        need(self.done >= at_least, f"only {self.done} commands could be tried, {sorted(self.missing)} are missing")


def attached(t, size=64 * MIB, slot=0, **kw):
    server = t.aoe_target(slot=slot, size=size, seed=f"uses {slot}", **kw)
    if not t.loaded():
        t.load("em0")
    t.wait_disk(7, slot)
    return server


def head(server, length):
    with open(server.file, "rb") as f:
        return hashlib.sha256(f.read(length)).hexdigest()


def module(t, name):
    if t.guest.try_run(f"kldload -n {name}", 60).code != 0:
        raise TestSkipped(f"the guest has no {name}")


# -- plain reading and writing ------------------------------------------------------------------------------------------


@G.test(limit=900)
def what_reads_a_device(t):
    """Each reads the same bytes."""
    size = 24 * MIB + 512 * 5
    server = attached(t, size)
    want = file_hash(server.file)
    u = Tried(t)
    for bs in ("512", "4k", "64k", "1m", "16m"):
        if bs != "512" or not t.config.quick:
            same(u.run(f"dd if=/dev/aoe7.0 bs={bs} 2>/dev/null | sha256 -q", 300), want, f"dd bs={bs}")
    for command in ("cat /dev/aoe7.0 | sha256 -q", "sha256 -q /dev/aoe7.0", "sha256 -q < /dev/aoe7.0",
                    "cp /dev/aoe7.0 /tmp/copy && sha256 -q /tmp/copy",
                    "recoverdisk /dev/aoe7.0 /tmp/copy >/dev/null 2>&1 && sha256 -q /tmp/copy",
                    "dd if=/dev/aoe7.0 bs=64k iflag=direct 2>/dev/null | sha256 -q",
                    "camdd -i file=/dev/aoe7.0,bs=65536 -o file=- 2>/dev/null | sha256 -q",
                    "tail -c +1 /dev/aoe7.0 | sha256 -q"):
        got = u.run(command, 300)
        if got and not command.startswith("camdd"):
            same(got.split()[-1], want, command)
    same(u.run(f"dd if=/dev/aoe7.0 bs=512 iseek={size // 512 - 1} 2>/dev/null | wc -c").strip(), "512", "the last sector")
    same(u.run(f"dd if=/dev/aoe7.0 bs=512 iseek={size // 512} 2>/dev/null | wc -c").strip(), "0", "what lies behind it")
    u.fails("dd if=/dev/aoe7.0 of=/dev/null bs=1000 count=1", "Invalid argument")
    u.fails("dd if=/dev/zero of=/dev/aoe7.0 bs=700 count=1", "Invalid argument")
    u.run("cmp -n 1048576 /dev/aoe7.0 /tmp/copy")
    u.run("hexdump -C -n 4096 /dev/aoe7.0 >/dev/null")
    u.run("od -N 4096 /dev/aoe7.0 >/dev/null")
    u.run("strings /dev/aoe7.0 >/dev/null", 300)
    u.run("file -s /dev/aoe7.0")
    u.run("head -c 4096 /dev/aoe7.0 >/dev/null")
    u.run("fstat /dev/aoe7.0")
    u.run("fuser /dev/aoe7.0")
    u.run("stat -x /dev/aoe7.0 /dev/etherd/e7.0")
    u.run("gzip -c < /dev/aoe7.0 | gunzip | cmp - /tmp/copy", 300)
    u.run("mkuzip -o /tmp/uzip /dev/aoe7.0", 300)
    t.guest.run("rm -f /tmp/copy /tmp/uzip")
    same(file_hash(server.file), want, "the export after all that only read")
    u.end(15)


@G.test(limit=900)
def what_writes_a_device(t):
    server = attached(t)
    u = Tried(t)
    t.guest.run("mkdir -p /tmp/in/d && cp /bin/sh /bin/ls /tmp/in && cp /sbin/init /tmp/in/d && "
                "dd if=/dev/vtbd2 of=/tmp/in/f bs=1m count=8")
    t.defer("rm -rf /tmp/in /tmp/out")
    u.run("cp /tmp/in/f /dev/aoe7.0")
    same(head(server, 8 * MIB), t.guest.run("sha256 -q /tmp/in/f"), "cp")
    u.run("dd if=/tmp/in/f of=/dev/aoe7.0 bs=1m oseek=8 conv=fsync oflag=direct")
    u.run("dd if=/tmp/in/f of=/dev/aoe7.0 bs=64k oseek=256 conv=sparse")
    u.run("cat /tmp/in/f > /dev/aoe7.0")
    u.run("tee /dev/aoe7.0 < /tmp/in/f >/dev/null")
    # Archives on the bare device.
    for make, read in (("tar cf /dev/aoe7.0 -C /tmp/in .", "tar xf /dev/aoe7.0 -C /tmp/out"),
                       ("tar -b 1 -cf /dev/aoe7.0 -C /tmp/in .", "tar xf /dev/aoe7.0 -C /tmp/out"),
                       ("cd /tmp/in && find . | cpio -o -O /dev/aoe7.0 2>/dev/null",
                        "cd /tmp/out && cpio -i -d -I /dev/aoe7.0 2>/dev/null"),
                       ("cd /tmp/in && pax -w -f /dev/aoe7.0 .", "cd /tmp/out && pax -r -f /dev/aoe7.0")):
        if u.has(re.search(r"\b(tar|cpio|pax)\b", make)[1]):
            t.guest.run(f"rm -rf /tmp/out; mkdir /tmp/out; ( {make} ) && ( {read} )", 120)
            t.guest.run("diff -r /tmp/in /tmp/out")
            u.done += 1
    u.run("fifolog_create -z 4m /dev/aoe7.0 || fifolog_create /dev/aoe7.0")
    u.run("fsync /dev/aoe7.0")
    # What makes no sense is refused and harms nothing.
    u.run("truncate -s 1m /dev/aoe7.0 || true")
    same(t.guest.run("diskinfo aoe7.0 | awk '{ print $3 }'"), str(64 * MIB), "size after truncate")
    u.fails("mkdir /dev/aoe7.0", "File exists")
    u.fails("dd if=/dev/zero of=/dev/aoe7.0 bs=1m oseek=64 count=1", ".")
    same(t.leaf("state"), "up", "state")
    u.end(12)


@G.test(limit=600)
def what_looks_at_a_device(t):
    """diskinfo with all its measurements, the statistics, and ioctls that only other kinds of disks know."""
    # diskinfo -t reads 100 MiB from three places.
    attached(t, 512 * MIB, options=("--trim-blocks", "8"))
    u = Tried(t)
    for flags in ("-v", "-p", "-s", "-l", "-t", "-c", "-i", "-cit"):
        u.run(f"diskinfo {flags} /dev/aoe7.0", 180)
    u.run("timeout 4 diskinfo -wS /dev/aoe7.0 >/dev/null; true", 60)
    same(u.run("diskinfo -p /dev/aoe7.0"), "aoe/7.0", "physical path")
    u.run("iostat -x -c 2 -w 1 aoe7.0")
    u.run("iostat -n 20 -I -d")
    u.run("vmstat -c 2 -w 1 aoe7.0")
    u.run("gstat -b -I 200ms -f aoe")
    u.run("geom disk list aoe7.0")
    u.run("geom -t")
    u.run("lsblk", 60) if u.has("lsblk") else None
    u.run("LC_ALL=C fstyp /dev/aoe7.0 || true")
    u.run("devctl suspend aoe7.0 2>/dev/null || true")
    # Commands of other kinds of disks say that this one is of another kind.
    u.fails("camcontrol identify aoe7.0", ".")
    u.fails("camcontrol tur aoe7.0", ".")
    u.fails("nvmecontrol identify aoe7.0", ".")
    u.fails("smartctl -a /dev/aoe7.0", ".")
    u.fails("zonectl -c rz -d /dev/aoe7.0", ".")
    u.fails("cdcontrol -f /dev/aoe7.0 info", ".")
    u.fails("mt -f /dev/aoe7.0 status", ".")
    u.fails("fdformat -y /dev/aoe7.0", ".")
    u.run("savecore -C /dev/aoe7.0 || true")
    done = t.guest.try_run("dumpon /dev/aoe7.0")
    need(done.code != 0 or t.guest.try_run("dumpon off").code == 0, f"dumpon: {done!r}")
    same(t.leaf("state"), "up", "state")
    u.end(14)


@G.test(limit=600)
def trim_tool(t):
    """trim(8) of a range, of the whole, and of what is not aligned."""
    server = attached(t, options=("--trim-blocks", "8"))
    u = Tried(t)
    t.guest.run("dd if=/dev/vtbd2 of=/dev/aoe7.0 bs=1m count=32", 60)
    u.run("trim -f -o 1m -l 512 /dev/aoe7.0")
    u.run("trim -f -o 3m -l 7m -v /dev/aoe7.0")
    with open(server.file, "rb") as f:
        data = f.read(32 * MIB)
    need(not any(data[MIB:MIB + 512]) and not any(data[3 * MIB:10 * MIB]), "what was trimmed is there")
    u.run("trim -N /dev/aoe7.0")
    u.run("trim -f /dev/aoe7.0", 300)
    with open(server.file, "rb") as f:
        need(not any(f.read()), "the whole disk was trimmed")
    u.end(4)


# -- partitions ---------------------------------------------------------------------------------------------------------


@G.test(limit=900)
def partition_tables(t):
    """Every scheme that the guest's gpart makes, backup and restore, boot code; and the old programs."""
    attached(t)
    u = Tried(t)
    for scheme, kind in (("gpt", "freebsd-ufs"), ("mbr", "freebsd"), ("bsd", "freebsd-ufs"), ("apm", "freebsd-ufs"),
                         ("ldm", ""), ("ebr", ""), ("vtoc8", "freebsd-ufs"), ("bsd64", "")):
        done = t.guest.try_run(f"gpart create -s {scheme} aoe7.0", 60)
        if done.code != 0:
            t.say(f"no {scheme}: {done.out.strip()}")
            continue
        u.done += 1
        if kind:
            t.guest.run(f"gpart add -t {kind} -s 16m aoe7.0 && gpart add -t {kind} aoe7.0 && gpart show -l aoe7.0", 60)
            t.guest.run("gpart backup aoe7.0 > /tmp/table && gpart destroy -F aoe7.0 && "
                        "gpart restore aoe7.0 < /tmp/table", 60)
            same(t.guest.run("gpart backup aoe7.0"), t.guest.run("cat /tmp/table"), f"{scheme} after a restore")
            t.guest.run("gpart delete -i 2 aoe7.0 && gpart resize -i 1 -s 24m aoe7.0", 60)
        t.guest.run("gpart destroy -F aoe7.0", 60)
    # Slices with labels in them, and their boot code.
    t.guest.run("gpart create -s mbr aoe7.0 && gpart add -t freebsd aoe7.0 && gpart create -s bsd aoe7.0s1 && "
                "gpart add -t freebsd-ufs -s 20m aoe7.0s1 && gpart add -t freebsd-swap aoe7.0s1 && "
                "gpart set -a active -i 1 aoe7.0", 60)
    for boot in ("/boot/mbr", "/boot/boot0"):
        if t.guest.exists(boot):
            u.run(f"gpart bootcode -b {boot} aoe7.0")
    u.run("fdisk aoe7.0")
    u.run("bsdlabel aoe7.0s1")
    u.run("boot0cfg -v aoe7.0 || true")
    t.guest.run("newfs -U aoe7.0s1a && mkdir -p /mnt/a && mount /dev/aoe7.0s1a /mnt/a && cp /bin/sh /mnt/a && umount /mnt/a")
    fsck_clean(t, "/dev/aoe7.0s1a")
    u.run("LC_ALL=C fstyp -l /dev/aoe7.0s1a")
    t.guest.run("gpart destroy -F aoe7.0s1 && gpart destroy -F aoe7.0", 60)
    # Undo and commit.
    t.guest.run("gpart create -s gpt -f x aoe7.0 && gpart add -f x -t freebsd-swap aoe7.0 && gpart undo aoe7.0", 60)
    t.guest.fails("gpart show aoe7.0", "No such geom")
    u.end(6)


@G.test(limit=600)
def labels(t):
    """Names of file systems and partitions, and of the disk: they come and go with it."""
    attached(t)
    module(t, "geom_label")
    t.guest.run("gpart create -s gpt aoe7.0 && gpart add -t freebsd-ufs -l mydata aoe7.0 && newfs -L myfs aoe7.0p1", 60)
    t.guest.wait_for("test -c /dev/gpt/mydata -o -c /dev/ufs/myfs", 15, "a label")
    name = "/dev/gpt/mydata" if t.guest.exists("/dev/gpt/mydata") else "/dev/ufs/myfs"
    t.guest.run(f"mkdir -p /mnt/a && mount {name} /mnt/a && cp /bin/sh /mnt/a && umount /mnt/a")
    t.guest.run("sysctl net.aoe.target.7.0.remove=1 || true")
    t.wait_gone()
    need(not t.guest.exists("/dev/gpt/mydata") and not t.guest.exists("/dev/ufs/myfs"), "labels outlive the disk")
    t.guest.set_sysctl("net.aoe.discover", "1")
    t.wait_disk()
    t.guest.wait_for(f"test -c {name}", 15, "the label comes back with the disk")
    fsck_clean(t, "/dev/aoe7.0p1")


# -- file systems ---------------------------------------------------------------------------------------------------------


def sum_of_files(t, where="/mnt/a"):
    """Of all files, and of their names."""
    return t.guest.run(f"cd {where} && find . -type f ! -path './.snap/*' ! -name .sujournal | LC_ALL=C sort | "
                       "xargs sha256 -r | sha256 -q", 120)


def fill(t, where="/mnt/a"):
    t.guest.run(f"cp -R /bin {where}/bin && dd if=/dev/vtbd2 of={where}/big bs=1m count=6 2>/dev/null", 120)
    return sum_of_files(t, where)


@G.test(limit=1800)
def ufs_and_its_tools(t):
    """newfs with its options, and each program that takes a file system's device."""
    attached(t)
    u = Tried(t)
    t.guest.run("mkdir -p /mnt/a")
    kinds = ("-O 1", "-O 2 -U", "-j", "-U -b 32768 -f 4096", "-U -b 65536 -f 8192", "-U -b 4096 -f 512 -i 2048",
             "-U -t", "-J", "-l -U", "-E -U")
    for kind in kinds[:4] if t.config.quick else kinds:
        done = t.guest.try_run(f"newfs {kind} /dev/aoe7.0", 180)
        if done.code != 0 and kind in ("-E -U", "-J", "-l -U"):
            t.say(f"newfs {kind}: {done.out.strip().splitlines()[-1:]}")
            continue
        need(done.code == 0, f"{done!r}")
        t.guest.run("mount /dev/aoe7.0 /mnt/a", 60)
        want = fill(t)
        t.guest.run("umount /mnt/a && mount -r /dev/aoe7.0 /mnt/a", 120)
        same(sum_of_files(t), want, f"files on newfs {kind}")
        t.guest.run("umount /mnt/a", 60)
        fsck_clean(t, "/dev/aoe7.0")
        u.done += 1
    t.guest.run("newfs -U /dev/aoe7.0 && mount /dev/aoe7.0 /mnt/a", 60)
    fill(t)
    t.guest.run("umount /mnt/a", 60)
    for command in ("dumpfs /dev/aoe7.0 >/dev/null", "dumpfs -m /dev/aoe7.0", "ffsinfo -o /dev/null /dev/aoe7.0",
                    "tunefs -L name -m 6 -o space /dev/aoe7.0", "tunefs -n enable /dev/aoe7.0",
                    "tunefs -t enable /dev/aoe7.0", "tunefs -j enable /dev/aoe7.0", "tunefs -j disable /dev/aoe7.0",
                    "quot /dev/aoe7.0", "quotacheck -v -u /dev/aoe7.0 || true", "snapinfo -a",
                    "fsirand -f /dev/aoe7.0", "fsck_ffs -fy /dev/aoe7.0", "fsck -t ufs -f -y /dev/aoe7.0",
                    "fsdb -r /dev/aoe7.0 < /dev/null || true", "clri /dev/aoe7.0 100000 || true",
                    "LC_ALL=C fstyp -l /dev/aoe7.0"):
        u.run(command, 180)
    said = t.guest.run("fsck_ffs -fn /dev/aoe7.0", 120)
    need(not FSCK_COMPLAINT.search(said), f"fsck after the tools:\n{said}")
    u.end(len(kinds[:4]) + 8)


@G.test(limit=1800)
def mounts_snapshots_dumps(t):
    """Kinds of mounts, changes of a mount, a snapshot and what is made of it, dump and restore over the bare device."""
    attached(t, 96 * MIB)
    attached(t, 96 * MIB, 1)
    u = Tried(t)
    t.guest.run("mkdir -p /mnt/a /mnt/b && newfs -U /dev/aoe7.0", 60)
    for options in ("sync", "async", "noatime,nosuid", "noclusterr,noclusterw", "untrusted"):
        t.guest.run(f"mount -o {options} /dev/aoe7.0 /mnt/a && cp /bin/sh /mnt/a/$$ && umount /mnt/a", 120)
        u.done += 1
    t.guest.run("mount /dev/aoe7.0 /mnt/a", 60)
    want = fill(t)
    u.run("mount -u -r /mnt/a")
    u.run("mount -u -w /mnt/a")
    if u.has("mksnap_ffs"):
        u.run("mksnap_ffs /mnt/a/.snap/one", 300)
        t.guest.run("rm -r /mnt/a/bin")
        t.guest.run("mdconfig -a -t vnode -o readonly -f /mnt/a/.snap/one -u 77 && mount -r /dev/md77 /mnt/b", 60)
        same(sum_of_files(t, "/mnt/b"), want, "files in the snapshot")
        t.guest.run("umount /mnt/b && mdconfig -d -u 77 && rm -f /mnt/a/.snap/one && cp -R /bin /mnt/a/bin", 120)
        u.run("snapinfo /mnt/a || true")
    # Of a snapshot while it is mounted, which dump(8) finds by fstab(5), and of the device while it is not.
    t.guest.run("cp /etc/fstab /tmp/fstab.uses; echo '/dev/aoe7.0 /mnt/a ufs rw,noauto 1 1' >> /etc/fstab")
    t.defer("cp /tmp/fstab.uses /etc/fstab")
    for dump in ("dump -0 -a -L -f /dev/aoe7.1 /mnt/a",
                 "umount /mnt/a; dump -0 -a -f /dev/aoe7.1 /dev/aoe7.0 && mount /dev/aoe7.0 /mnt/a"):
        if u.has("dump", "restore"):
            t.guest.run(dump, 300)
            u.run("restore -t -f /dev/aoe7.1 >/dev/null", 120)
            t.guest.run("rm -rf /tmp/r; mkdir /tmp/r && cd /tmp/r && restore -r -f /dev/aoe7.1 && "
                        "diff -r /tmp/r/bin /mnt/a/bin; r=$?; cd /; rm -rf /tmp/r; exit $r", 300)
            u.done += 1
    t.guest.run("umount /mnt/a", 60)
    fsck_clean(t, "/dev/aoe7.0")
    # A disk in a disk.
    t.guest.run("mount /dev/aoe7.0 /mnt/a && truncate -s 32m /mnt/a/image && "
                "mdconfig -a -t vnode -f /mnt/a/image -u 78 && newfs -U md78 && mount /dev/md78 /mnt/b && "
                "cp -R /bin /mnt/b && umount /mnt/b && fsck_ffs -fn md78 && mdconfig -d -u 78 && umount /mnt/a", 180)
    fsck_clean(t, "/dev/aoe7.0")
    # A forced unmount while it is written.
    job = t.guest.spawn("mount /dev/aoe7.0 /mnt/a && cd /mnt/a && "
                        "while dd if=/dev/zero of=x bs=1m count=30 2>/dev/null; do :; done")
    t.guest.wait_for("test -s /mnt/a/x", 30)
    t.guest.run("umount -f /mnt/a", 120)
    job.wait(60)
    said = t.guest.run("fsck_ffs -fy /dev/aoe7.0", 120)
    need("CANNOT" not in said, said)
    u.end(8)


@G.test(limit=900)
def other_file_systems(t):
    """FAT, ISO 9660 and what else the kernel can mount."""
    attached(t, 96 * MIB)
    u = Tried(t)
    t.guest.run("mkdir -p /mnt/a")
    for kind in ("-F 12 -c 32", "-F 16", "-F 32 -c 1"):
        done = t.guest.try_run(f"newfs_msdos {kind} /dev/aoe7.0", 60)
        if done.code != 0:
            t.say(f"newfs_msdos {kind}: {done.out.strip()}")
            continue
        t.guest.run("mount -t msdosfs /dev/aoe7.0 /mnt/a && cp /bin/sh /mnt/a/sh && "
                    "dd if=/dev/vtbd2 of=/mnt/a/big bs=1m count=5 2>/dev/null && umount /mnt/a && "
                    "mount -t msdosfs -o ro /dev/aoe7.0 /mnt/a && cmp /bin/sh /mnt/a/sh && umount /mnt/a", 120)
        # On FAT12 fsck_msdosfs of 15.0-CURRENT takes minutes of the processor, on md(4) too.
        if "-F 12" not in kind:
            u.run("fsck_msdosfs -n /dev/aoe7.0")
        u.run("LC_ALL=C fstyp /dev/aoe7.0")
    if u.has("makefs"):
        t.guest.run("makefs -t cd9660 -o rockridge /tmp/iso /bin && dd if=/tmp/iso of=/dev/aoe7.0 bs=2k 2>/dev/null; "
                    "rm /tmp/iso", 120)
        t.guest.run("mount -t cd9660 /dev/aoe7.0 /mnt/a && diff -r /bin /mnt/a && umount /mnt/a", 120)
        u.run("etdump /dev/aoe7.0 || true")
    u.end(3)


@G.test(limit=900)
def trim_in_flight_at_umount(t):
    """Files are removed and the file system is unmounted at once, on a wire that takes long: the unmount waits for the
    TRIMs, all of them end, and nothing of the rest is trimmed."""
    wire = t.relay(0)
    server = attached(t, 256 * MIB, options=("--trim-blocks", "8", "--service", "2000..9000", "--workers", "4"))
    t.guest.run("newfs -U -t /dev/aoe7.0 && mkdir -p /mnt/a", 120)
    for n in range(3 if t.config.quick else 12):
        t.guest.run("mount /dev/aoe7.0 /mnt/a", 60)
        t.guest.run("mkdir -p /mnt/a/keep && cp /bin/sh /mnt/a/keep/ && jot -w /mnt/a/f 24 | while read f; do "
                    "dd if=/dev/vtbd2 of=$f bs=512k count=1 conv=sync 2>/dev/null; done; sync", 180)
        trims = int(t.leaf("trims"))
        wire.set("both", "delay=20ms..60ms", "loss=1%" if n % 2 else "loss=0%")
        t.guest.run("rm /mnt/a/f*; sync", 120)
        if n % 3 == 2:
            # The target is away for a moment, too.
            server.pause()
            job = t.guest.spawn("umount /mnt/a")
            time.sleep(3)
            server.resume()
            job.succeed(180)
        else:
            t.guest.run("umount /mnt/a", 180)
        same(t.leaf("outstanding"), "0", "requests after the unmount")
        wire.clear()
        need(int(t.leaf("trims")) > trims, "nothing was trimmed")
        fsck_clean(t, "/dev/aoe7.0")
        t.guest.run("mount -r /dev/aoe7.0 /mnt/a && cmp /bin/sh /mnt/a/keep/sh && umount /mnt/a", 60)
    same(t.leaf("errors"), "0", "errors")


@G.test(limit=1800)
def three_tebibytes(t):
    """A GPT and UFS on an export of 3 TiB: what lies behind 2 TiB is where it belongs, on the target, too."""
    size = 3 << 40
    server = t.aoe_target(size=size, options=("--trim-blocks", "8"))
    t.load("em0")
    t.wait_disk()
    same(t.guest.run("diskinfo aoe7.0 | awk '{ print $3, $4 }'"), f"{size} {size // 512}", "size")
    places = [0, (2 << 40) - 512, 2 << 40, (2 << 40) + 512, size - 512]
    for n, place in enumerate(places):
        t.guest.run(f"jot -b 'place {n}' 200 | dd of=/dev/aoe7.0 bs=512 oseek={place // 512} count=1 conv=sync 2>/dev/null")
    with open(server.file, "rb") as f:
        for n, place in enumerate(places):
            f.seek(place)
            same(f.read(8), f"place {n}\n".encode(), f"what lies at {place}")
    t.guest.run("dd if=/dev/vtbd2 of=/dev/aoe7.0 bs=1m oseek=2097148 count=8 conv=sync", 60)
    same(t.guest.run("dd if=/dev/aoe7.0 bs=1m iseek=2097148 count=8 2>/dev/null | sha256 -q"),
         t.guest.run("dd if=/dev/vtbd2 bs=1m count=8 2>/dev/null | sha256 -q"), "a request across 2 TiB")
    t.guest.run("trim -f -o 2t -l 1g /dev/aoe7.0", 120)
    t.guest.run("gpart create -s gpt aoe7.0 && gpart add -t freebsd-ufs -a 1m -s 2047g aoe7.0 && "
                "gpart add -t freebsd-ufs -a 1m aoe7.0", 60)
    # Both tables are there for somebody else, too.
    with open(server.file, "rb") as f:
        f.seek(512)
        first = f.read(8)
        f.seek(size - 512)
        same((first, f.read(8)), (b"EFI PART", b"EFI PART"), "signatures of the tables")
    need("1.0T" in t.guest.run("gpart show aoe7.0"), t.guest.run("gpart show aoe7.0"))
    # The second partition lies behind 2 TiB, all but its first GiB.
    t.guest.run("newfs -U -b 65536 -f 8192 -i 16777216 /dev/aoe7.0p2", 900)
    t.guest.run("mkdir -p /mnt/a && mount /dev/aoe7.0p2 /mnt/a", 60)
    # Directories are spread over the whole of it.
    t.guest.run("for i in $(jot 60); do mkdir /mnt/a/d$i && cp /bin/sh /mnt/a/d$i/; done; "
                "dd if=/dev/vtbd2 of=/mnt/a/big bs=1m count=8 2>/dev/null", 180)
    t.guest.run("umount /mnt/a", 120)
    need("FILE SYSTEM CLEAN" in t.guest.run("fsck_ffs -p /dev/aoe7.0p2", 120), "not marked clean")
    said = t.guest.run("fsck_ffs -fn /dev/aoe7.0p2", 900)
    need(not FSCK_COMPLAINT.search(said), f"fsck:\n{said}")
    t.guest.run("mount -r /dev/aoe7.0p2 /mnt/a && for i in $(jot 60); do cmp /bin/sh /mnt/a/d$i/sh || exit 1; done", 120)
    t.guest.run("umount /mnt/a", 60)
    same(t.leaf("errors"), "0", "errors")
