# SPDX-License-Identifier: BSD-2-Clause
"""A disk appears, tells the truth about itself, and on every kind of interface."""

import hashlib
import os
import re
import socket
import time

from lib.case import MIB, Group
from lib.config import TOP
from lib.target import pattern
from lib.util import need, same

G = Group("attach", nics=("em", "vtnet"))

NAMES = ("/dev/aoe7.0", "/dev/etherd/e7.0", "/dev/aoed70")
#: How long "nothing appears" is watched. A disk that does appear takes well under one second.
QUIET = 5


def appears(t, ifname, seconds=3):
    """Sets iflist and demands all three device nodes within the time of the promise."""
    begin = time.monotonic()
    t.guest.set_sysctl("net.aoe.iflist", ifname)
    t.guest.wait_for(" && ".join(f"test -c {n}" for n in NAMES), seconds, f"{', '.join(NAMES)} on {ifname}")
    took = time.monotonic() - begin
    need(took < seconds, f"the devices took {took:.1f} s on {ifname}")
    t.say(f"devices after {took:.2f} s")


def carries_data(t, server, seed):
    """A write and a read through the guest's disk, judged by the bytes of the backing file."""
    same(t.guest.run("dd if=/dev/aoe7.0 bs=1m count=1 2>/dev/null | sha256 -q"),
         hashlib.sha256(pattern(seed, MIB)).hexdigest(), "first MiB as read")
    t.guest.run("jot -b 'written by the guest' 4096 | dd of=/dev/aoe7.0 bs=512 oseek=4096 conv=sync 2>/dev/null")
    with open(server.file, "rb") as f:
        f.seek(4096 * 512)
        same(f.read(21), b"written by the guest\n", "what the target holds")


def works_on(t, guest_if, seed, **where):
    server = t.vblade(seed=seed, **where)
    t.load()
    appears(t, guest_if)
    carries_data(t, server, seed)
    same(t.leaf("path.0.interface"), guest_if, "interface of the path")
    same(t.leaf("path.0.mac"), server.mac(), "address of the path")


def nothing_appears(t):
    t.guest.run(f"sleep {QUIET}", QUIET + 20)
    same(t.guest.run("ls /dev | grep -c aoe || true"), "0", "aoe devices")


@G.test
def em(t):
    works_on(t, "em0", "em", seg=0)


@G.test
def vtnet(t):
    works_on(t, "vtnet0", "vtnet", seg=1)


@G.test
def tools_tell_the_truth(t):
    """diskinfo, geom, gstat and sysctl against the exported file."""
    size = 40 * MIB + 512 * 3
    t.vblade(seg=0, size=size, seed="truth")
    t.load("em0")
    t.wait_disk()
    info = t.guest.run("diskinfo -v /dev/aoe7.0")
    serial = f"7.0:{socket.gethostname()}"[:20]
    for pattern_ in (rf"^\s*512\s+# sectorsize", rf"^\s*{size}\s+# mediasize in bytes",
                     rf"^\s*{size // 512}\s+# mediasize in sectors", rf"^\s*{re.escape(serial)}\s+# Disk ident",
                     r"^\s*Coraid EtherDrive vblade\s+# Disk descr"):
        need(re.search(pattern_, info, re.M), f"diskinfo -v lacks {pattern_!r}:\n{info}")
    geom = t.guest.run("geom disk list aoe7.0")
    need(f"Mediasize: {size} " in geom and f"ident: {serial}" in geom and "descr: Coraid EtherDrive vblade" in geom,
         f"geom disk list:\n{geom}")
    gstat = t.guest.run("gstat -b -I 100ms")
    need(re.search(r"\baoe7\.0$", gstat, re.M), f"gstat -b:\n{gstat}")
    same(t.leaf("state"), "up", "state")
    same(t.leaf("size"), str(size), "size")
    same(t.leaf("model"), "Coraid EtherDrive vblade", "model")
    same(t.leaf("serial"), serial, "serial")
    same(t.leaf("firmware"), "V25", "firmware")
    same(t.guest.sysctl("net.aoe.iflist"), "em0", "iflist")
    table = t.guest.sysctl("net.aoe.devices")
    need(re.search(r"^7\.0\s+up\s+40 MiB\s+em0>[0-9a-f:]{17}=up", table, re.M), f"net.aoe.devices: {table}")
    need(re.search(r"^em0\s+up\s+1500\s+" + t.machine.mac(0), t.guest.sysctl("net.aoe.interfaces"), re.M), "interfaces")
    need("aoe7.0" in t.guest.sysctl("kern.disks").split(), "kern.disks")


@G.test
def vlan(t):
    t.guest.run("ifconfig vlan10 create vlan 10 vlandev em0 up")
    works_on(t, "vlan10", "vlan", ifname=t.lab.segments[0].vlan_port(10))


@G.test
def vlan_parent_does_not_hear_the_vlan(t):
    """Frames tagged for em0.10 are not em0's, though the hook on em0 sees them."""
    vb = t.vblade(ifname=t.lab.segments[0].vlan_port(10), seed="parent")
    t.guest.run("ifconfig vlan10 create vlan 10 vlandev em0 up")
    t.load("em0")
    vb.kill()
    vb.start()  # its advertisement arrives with the tag
    nothing_appears(t)
    need("7.0" not in t.guest.sysctl("net.aoe.devices"), "the parent found the target of the vlan")
    appears(t, "vlan10")


@G.test
def lagg(t):
    t.guest.run("ifconfig lagg0 create laggproto failover laggport em0 laggport vtnet0 up")
    works_on(t, "lagg0", "lagg", seg=0)


@G.test
def lagg_port_is_refused(t):
    t.guest.run("ifconfig lagg0 create laggproto failover laggport em0 up")
    t.load("vtnet0")
    t.guest.fails("sysctl net.aoe.iflist=em0", "Invalid argument")
    t.guest.fails("sysctl 'net.aoe.iflist=vtnet0 em0'", "Invalid argument")
    same(t.guest.sysctl("net.aoe.iflist"), "vtnet0", "iflist after a refused value")


@G.test
def bridge(t):
    t.guest.run("ifconfig bridge0 create; ifconfig bridge0 addm em0 up")
    works_on(t, "bridge0", "bridge", seg=0)


@G.test
def epair(t):
    """The target is behind a bridge of the guest, reached through one half of a pair."""
    t.guest.run("ifconfig epair0 create; ifconfig bridge0 create")
    t.guest.run("ifconfig epair0a up; ifconfig epair0b up; ifconfig bridge0 addm em0 addm epair0a up")
    works_on(t, "epair0b", "epair", seg=0)


@G.test
def bad_iflist_changes_nothing(t):
    t.vblade(seg=0)
    t.load("em0")
    t.wait_disk()
    for bad in ("em0;vtnet0", "em0/vtnet0", "a-name-that-is-far-too-long-for-an-interface", "lo0", "em0 lo0"):
        t.guest.fails(f"sysctl 'net.aoe.iflist={bad}'", "Invalid argument")
        same(t.guest.sysctl("net.aoe.iflist"), "em0", f"iflist after {bad!r}")
    need(t.guest.exists("/dev/aoe7.0"), "the disk went away")
    for good in ("em0 vtnet0", "em0,vtnet0", " em0 ,  vtnet0 ", "em0"):
        t.guest.set_sysctl("net.aoe.iflist", good)
    need(t.guest.exists("/dev/aoe7.0"), "the disk went away after a good value")


@G.test
def absent_interface_is_pending_then_used(t):
    t.vblade(ifname=t.lab.segments[0].vlan_port(10), seed="pending")
    t.load("vlan10")
    same(t.guest.sysctl("net.aoe.iflist"), "vlan10", "iflist")
    table = t.guest.sysctl("net.aoe.interfaces")
    need(re.search(r"vlan10\b.*pending", table), f"vlan10 is not shown as pending: {table}")
    begin = time.monotonic()
    t.guest.run("ifconfig vlan10 create vlan 10 vlandev em0 up")
    t.wait_disk(timeout=3)
    need(time.monotonic() - begin < 6, "the interface arrived but was not used soon")


@G.test
def interfaces_outside_iflist_are_never_touched(t):
    """Targets on both switches; one interface in iflist. The other's wire stays silent."""
    other = t.sniff(1)
    t.vblade(seg=0, shelf=7, slot=0, seed="mine")
    noise = t.vblade(seg=1, shelf=8, slot=0, seed="other")
    t.load("em0")
    t.wait_disk()
    t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=64k count=64")
    noise.kill()
    noise.start()
    t.guest.set_sysctl("net.aoe.discover", "1")
    t.guest.run(f"sleep {QUIET}", QUIET + 20)
    need(not t.guest.exists("/dev/aoe8.0"), "a target on an interface outside iflist became a disk")
    need("8.0" not in t.guest.sysctl("net.aoe.devices"), "a target on an interface outside iflist is listed")
    need(len(other.seen(to_guest=True)) > 0, "the sniffer did not even see the other target's own frame")
    t.unload()
    same([f.hex() for f in other.seen(to_guest=False)], [], "AoE frames that the guest sent on vtnet0")


@G.test
def two_interfaces_one_disk(t):
    """The same target reached over two wires is one disk with two paths."""
    file = t.disk("shared.img", seed="two")
    a = t.vblade(seg=0, file=file)
    t.vblade(seg=1, file=file)
    t.load("em0 vtnet0")
    t.wait_disk()
    t.guest.wait_for("test \"$(sysctl -n net.aoe.target.7.0.path.1.state)\" = up", 10, "the second path is up")
    same({t.leaf("path.0.interface"), t.leaf("path.1.interface")}, {"em0", "vtnet0"}, "interfaces of the paths")
    same(t.guest.run("ls /dev | grep -c '^aoe[0-9]*[.][0-9]*$'"), "1", "disks")
    job = t.guest.spawn("dd if=/dev/aoe7.0 of=/dev/null bs=1m")
    a.kill()
    job.succeed(60)
    same(t.leaf("state"), "up", "state with one path left")


@G.test(own_vm=False)
def unload_leaves_nothing_in_dev(t):
    t.vblade(seg=0)
    t.load("em0")
    t.wait_disk()
    t.unload()
    same(t.guest.run("ls /dev /dev/etherd 2>/dev/null | grep -c aoe || true"), "0", "aoe devices after kldunload")
    t.guest.fails("sysctl net.aoe", "unknown oid")


def documented():
    """The rows of sysctl-docs as (pattern, row)."""
    out = []
    with open(os.path.join(TOP, "sysctl-docs", "net.aoe.tsv"), encoding="utf-8") as f:
        for line in f.read().splitlines()[1:]:
            row = line.split("\t")
            name = re.escape(row[0])
            for word in ("<shelf>", "<slot>", "<n>"):
                name = name.replace(re.escape(word), "[0-9]+")
            out.append((re.compile(name), row))
    return out


@G.test
def every_sysctl_is_documented_and_there(t):
    """Names, types and access of the running module against the table that its pages are made from."""
    t.vblade(seg=0)
    t.load("em0")
    t.wait_disk()
    there = {}
    for line in t.guest.run("sysctl -aNt net.aoe 2>/dev/null || sysctl -aN net.aoe").splitlines():
        name, _, kind = line.partition(":")
        there[name.strip()] = kind.strip()
    rows = documented()
    for name in there:
        need(any(p.fullmatch(name) for p, _ in rows), f"{name} is in the kernel but not in sysctl-docs")
    for p, row in rows:
        if row[1] == "node":
            continue
        found = [n for n in there if p.fullmatch(n)]
        need(found, f"{row[0]} is in sysctl-docs but not in the kernel")
        same(t.guest.run(f"sysctl -d {found[0]}").partition(": ")[2], row[5], f"description of {found[0]}")
        if row[4].startswith("ro"):
            t.guest.fails(f"sysctl {found[0]}=1", "read only|Operation not permitted")
        default = row[3]
        if default not in ("-", "(empty)") and "target" not in row[0]:
            same(t.guest.sysctl(found[0]), default, f"default of {found[0]}")
