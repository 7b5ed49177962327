# SPDX-License-Identifier: BSD-2-Clause
"""Interfaces, targets and the module itself come, go and change while the disk is in use."""

import hashlib
import re
import time

from lib.case import MIB, MODULE, Group
from lib.frames import BROADCAST, CMD_CONFIG, config_arg, frame
from lib.guest import forever
from lib.target import pattern
from lib.util import need, same, wait_until

G = Group("change", nics=("em", "vtnet"), memory=1024)


def attached(t, seg=0, ifname="em0", **kw):
    server = t.vblade(seg=seg, seed="change", **kw)
    t.load(ifname)
    t.wait_disk()
    return server


def reader(t):
    """A read of the whole disk that goes past the buffer cache, again and again until a file says stop."""
    return t.guest.spawn("rm -f /tmp/stop; " + forever("dd if=/dev/aoe7.0 of=/dev/null bs=64k || exit 1"))


def reader_is_well(t, job):
    t.guest.run("touch /tmp/stop")
    job.succeed(60)


@G.test
def interface_down_and_up(t):
    attached(t)
    job = reader(t)
    t.guest.run("ifconfig em0 down")
    t.guest.run("sleep 4", 30)
    need(job.running(), "the reader ended although the interface is only down")
    t.guest.run("ifconfig em0 up")
    reader_is_well(t, job)


@G.test
def mtu_up_and_down_under_load(t):
    """Frames are cut for the MTU of the moment, on an interface that lives on."""
    seg = t.lab.segments[1]
    seg.port(0)
    seg.set_mtu(9000)
    attached(t, seg=1, ifname="vtnet0")
    job = reader(t)
    for mtu in (9000, 1500, 4200, 9000, 1500):
        t.guest.run(f"ifconfig vtnet0 mtu {mtu}")
        sniffer = t.sniff(1)
        wait_until(f"reads of the size for MTU {mtu}",
                   lambda: any(f[24 + 2] == payload_sectors(mtu) for f in sniffer.seen(to_guest=False) if f[19] == 0), 20)
        sniffer.close()
        longest = max((len_of(f) for f in sniffer.seen()), default=0)
        need(longest <= 17, f"a request for {longest} sectors at MTU {mtu}")
    reader_is_well(t, job)


def payload_sectors(mtu):
    """What vblade takes at this MTU, rounded down to whole blocks of 4 KiB when it is that large."""
    sectors = (mtu - 36) // 512
    return sectors if sectors < 8 else sectors // 8 * 8


def len_of(frame):
    return frame[26] if frame[19] == 0 and frame[14] == 0x10 else 0


@G.test
def rename_keeps_the_paths(t):
    attached(t)
    t.defer("ifconfig aoewire0 name em0 2>/dev/null || ifconfig em0")
    job = reader(t)
    t.guest.run("ifconfig em0 name aoewire0")
    t.guest.run("sleep 2", 30)
    same(t.leaf("path.0.interface"), "aoewire0", "interface of the path")
    need(job.running(), "the reader ended")
    same(t.leaf("state"), "up", "state")
    t.guest.run("ifconfig aoewire0 name em0")
    reader_is_well(t, job)


@G.test
def vlan_destroy_and_create(t):
    t.vblade(ifname=t.lab.segments[0].vlan_port(10), seed="change")
    t.guest.run("ifconfig vlan10 create vlan 10 vlandev em0 up")
    t.load("vlan10")
    t.wait_disk()
    job = reader(t)
    t.guest.run("ifconfig vlan10 destroy", 60)
    t.wait_state("down", timeout=30)
    need(t.guest.exists("/dev/aoe7.0") and job.running(), "disk or reader ended with the interface")
    t.guest.run("ifconfig vlan10 create vlan 10 vlandev em0 up")
    t.wait_state("up")
    reader_is_well(t, job)


@G.test
def epair_destroyed_under_load(t):
    t.vblade(seg=0, seed="change")
    make = ("ifconfig epair0 create; ifconfig bridge0 create; ifconfig epair0a up; ifconfig epair0b up; "
            "ifconfig bridge0 addm em0 addm epair0a up")
    t.guest.run(make)
    t.load("epair0b")
    t.wait_disk()
    job = reader(t)
    t.guest.run("ifconfig epair0a destroy && ifconfig bridge0 destroy", 60)
    t.wait_state("down", timeout=30)
    t.guest.run(make)
    t.wait_state("up")
    reader_is_well(t, job)


@G.test
def address_of_the_interface_changes(t):
    attached(t)
    job = reader(t)
    old = t.guest.run("ifconfig em0 | awk '/ether/ { print $2 }'")
    t.defer(f"ifconfig em0 ether {old}")
    t.guest.run("ifconfig em0 ether 02:00:5e:10:20:30")
    wait_until("requests carry the new address", lambda: any(
        f[6:12] == bytes.fromhex("02005e102030") for f in sniffed(t, 0)), 15)
    reader_is_well(t, job)


def sniffed(t, seg, seconds=0.5):
    sniffer = t.sniff(seg)
    time.sleep(seconds)
    sniffer.close()
    return sniffer.seen(to_guest=False)


@G.test
def iflist_cleared_and_set_under_load(t):
    attached(t)
    job = reader(t)
    t.guest.set_sysctl("net.aoe.iflist", "")
    t.guest.run("sleep 2", 30)
    sniffer = t.sniff(0)
    t.guest.run("sleep 2", 30)
    same(len(sniffer.seen(to_guest=False)), 0, "frames sent with an empty iflist")
    need(job.running(), "the reader ended")
    t.guest.set_sysctl("net.aoe.iflist", "em0")
    reader_is_well(t, job)


@G.test
def unload_refused_while_mounted(t):
    attached(t)
    t.guest.run("newfs -U /dev/aoe7.0 && mkdir -p /mnt/a && mount /dev/aoe7.0 /mnt/a", 60)
    t.guest.run("jot 10000 > /mnt/a/numbers")
    for command in ("kldunload aoe", "kldunload -f aoe"):
        t.guest.fails(command, "busy", 60)
        need(t.loaded(), f"'{command}' was refused, but the module is gone")
    t.guest.run("jot 20000 >> /mnt/a/numbers && sync && sha256 -q /mnt/a/numbers")
    same(t.guest.run("wc -l < /mnt/a/numbers").strip(), "30000", "lines")
    t.guest.run("umount /mnt/a")
    t.unload()


@G.test
def unload_refused_while_open(t):
    """An open raw device holds the module as a mount does; closing it is enough to let go."""
    attached(t)
    job = t.guest.spawn("sleep 600 < /dev/aoe7.0 & p=$!; while ! test -e /tmp/close; do sleep 0.1; done; kill $p; wait $p; true")
    t.defer("touch /tmp/close; sleep 0.5; rm -f /tmp/close")
    t.guest.wait_for("fstat /dev/aoe7.0 | grep -q sleep", 10)
    t.guest.fails("kldunload -f aoe", "busy", 60)
    t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=64k count=16")
    t.guest.run("touch /tmp/close")
    job.wait(20)
    t.unload()


@G.test
def unload_under_a_storm(t):
    """Unload of an idle module while answers and advertisements pour in."""
    vb = attached(t)
    injector = t.injector(0)
    t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=64k")
    for _ in range(3 if t.config.quick else 10):
        vb.stop()
        vb.start()
        for _ in range(200):
            injector.send(advertisement(injector.mac))
        t.unload()
        t.load("em0")
        t.wait_disk()


def advertisement(mac):
    return frame(BROADCAST, mac, 9, 9, CMD_CONFIG, config_arg(), 0x08)


def kernel_memory(t):
    """Allocations in use, by malloc type."""
    out = {}
    for line in t.guest.run("vmstat -m").splitlines()[1:]:
        found = re.match(r"\s*(.+?)\s+(\d+)\s+\S+\s+\d+", line)
        if found:
            out[found[1]] = int(found[2])
    return out


def zones(t):
    """Items in use, by UMA zone."""
    out = {}
    for line in t.guest.run("vmstat -z").splitlines()[1:]:
        fields = line.rsplit(":", 1)
        if len(fields) == 2:
            numbers = fields[1].split(",")
            if len(numbers) > 2:
                out[fields[0].strip()] = int(numbers[2])
    return out


def grown(before, after, cycles):
    """What grew by at least one for every two cycles. Less is the noise of a living system, which
    takes threads and their like in batches of 16."""
    noise = max(cycles // 2, 20)
    return {k: (before.get(k, 0), v) for k, v in after.items() if v - before.get(k, 0) >= noise}


@G.test(limit=900)
def fifty_load_unload_cycles_leak_nothing(t):
    t.vblade(seg=0, seed="change")
    cycles = 10 if t.config.quick else 50
    def cycle():
        t.load("em0")
        t.wait_disk()
        t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=64k count=4")
        t.unload()
    for _ in range(5):
        cycle()
    before, zones_before = kernel_memory(t), zones(t)
    for _ in range(cycles):
        cycle()
    need(len(before) > 50 and len(zones_before) > 50, "vmstat gave nothing to compare")
    # The kernel keeps threads and arena tags for later, in batches; neither is anyone's memory.
    types = {k: v for k, v in grown(before, kernel_memory(t), cycles).items() if k not in ("umtx", "vmem")}
    same(types, {}, f"malloc types that grew over {cycles} cycles")
    # The kernel's per-CPU caches of these come and go with traffic.
    leaks = {k: v for k, v in grown(zones_before, zones(t), cycles).items() if not re.match(r"mbuf|\d+ Bucket|buffer|VM", k)}
    leaks = {k: v for k, v in leaks.items() if not re.match(r"malloc-|UMA|vmem|vm|MAP|PROC|THREAD|VNODE|BUF|NAMEI|TMPFS|RADIX", k, re.I)}
    same(leaks, {}, f"zones that grew over {cycles} cycles")
    need("aoe" not in " ".join(kernel_memory(t)), "a malloc type of aoe is left")
    same(t.guest.run("procstat -kka | grep -c aoe || true"), "0", "threads of aoe that are left")
    t.guest.fails("sysctl net.aoe", "unknown oid")


@G.test
def a_closed_disk_holds_no_memory_for_io(t):
    t.vblade(seg=0, seed="change")
    t.load("em0")
    t.wait_disk()
    count = "vmstat -m | awk '$1 == \"aoe\" { print $2 }'"
    # GEOM has a look at a new disk.
    t.guest.run("sleep 2")
    closed = int(t.guest.run(count))
    for _ in range(3):
        opened = int(t.guest.run(f"( {count} ) < /dev/aoe7.0"))
        same(opened - closed, 2, "allocations while the disk is open: a table of frames and one of requests")
        t.guest.wait_for(f"test $({count}) -eq {closed}", 5, "the memory of a closed disk back")
        t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=64k count=4")
        t.guest.wait_for(f"test $({count}) -eq {closed}", 5, "the memory of a closed disk back")


@G.test
def load_twice_is_refused(t):
    t.load()
    t.guest.fails(f"kldload {MODULE}", "already loaded|exists")
    need(t.loaded(), "the module is gone")


def resize(t, server, size):
    """What a target does whose volume grew or shrank: it comes back with another size."""
    server.stop()
    with open(server.file, "r+b") as f:
        f.truncate(size)
    server.start()


def mediasize(t):
    return int(t.guest.run("diskinfo /dev/aoe7.0 | awk '{ print $3 }'"))


@G.test
def export_grows(t):
    vb = attached(t, size=64 * MIB)
    t.guest.run("newfs -U /dev/aoe7.0 && mkdir -p /mnt/a && mount /dev/aoe7.0 /mnt/a && jot 5000 > /mnt/a/n", 60)
    resize(t, vb, 96 * MIB)
    wait_until("the disk has the new size", lambda: mediasize(t) == 96 * MIB, 20, 0.5)
    same(t.leaf("size"), str(96 * MIB), "size in sysctl")
    t.guest.run("growfs -y /dev/aoe7.0", 60)
    need(int(t.guest.run("df -k /mnt/a | awk 'NR == 2 { print $2 }'")) > 70000, "the file system did not grow")
    same(t.guest.run("wc -l < /mnt/a/n").strip(), "5000", "lines")
    t.guest.run("umount /mnt/a && fsck_ffs -fn /dev/aoe7.0", 60)


@G.test
def export_shrinks(t):
    vb = attached(t, size=64 * MIB)
    resize(t, vb, 32 * MIB)
    wait_until("the disk has the new size", lambda: t.leaf("size") == str(32 * MIB), 20, 0.5)
    wait_until("the device has the new size", lambda: mediasize(t) == 32 * MIB, 20, 0.5)
    same(t.guest.run("dd if=/dev/aoe7.0 bs=64k 2>/dev/null | wc -c").strip(), str(32 * MIB), "bytes that can be read")
    same(t.guest.run("dd if=/dev/aoe7.0 bs=64k count=1 2>/dev/null | sha256 -q"),
         hashlib.sha256(pattern("change", MIB)[:65536]).hexdigest(), "first 64 KiB")


@G.test
def target_changes_its_disk(t):
    """Another disk under the old address while the old one is open is never written through the
    old name: what comes is another disk, not a repaired one."""
    vb = attached(t, size=64 * MIB)
    t.guest.run("newfs -U /dev/aoe7.0 && mkdir -p /mnt/a && mount /dev/aoe7.0 /mnt/a", 60)
    vb.stop()
    other = t.aoe_target(seg=0, size=64 * MIB, file=t.disk("other.img", 64 * MIB, "other"), options=("--serial", "OTHER"))
    t.guest.run("sleep 3", 30)
    job = t.guest.spawn("jot 200000 > /mnt/a/late; sync")
    t.guest.run("sleep 5", 30)
    with open(other.file, "rb") as f:
        same(f.read(MIB), pattern("other", MIB), "first MiB of a disk that is not the mounted one")
    other.stop()
    vb.start()
    t.wait_state("up", timeout=20)
    job.succeed(60)
    t.guest.run("umount /mnt/a && fsck_ffs -fn /dev/aoe7.0", 60)
