# SPDX-License-Identifier: BSD-2-Clause
"""The rest of the network stack takes an interface that carries a disk: bridges, jails with a network stack of
their own, vlans whose parent takes less than they do. Nothing hangs, nothing is lost, and what comes back is
used again."""

import hashlib
import time

from lib.case import MIB, MODULE, Group
from lib.guest import forever
from lib.util import TestSkipped, limit, need, same, wait_until

G = Group("jails", nics=("em", "vtnet"), memory=1024, tree=True)


def attached(t, seg=0, ifname="em0", **kw):
    server = t.vblade(seg=seg, seed="jails", **kw)
    t.load(ifname)
    t.wait_disk()
    return server


class Work:
    """A reader that compares, and a writer that is compared with at the end. I/O may wait, never fail."""

    def __init__(self, t, server):
        self.t, self.server = t, server
        with open(server.file, "rb") as f:
            self.want = hashlib.sha256(f.read(16 * MIB)).hexdigest()
        t.guest.run("rm -f /tmp/stop /tmp/written")
        self.jobs = [t.guest.spawn(
            "while ! test -e /tmp/stop; do "
            f"[ $(dd if=/dev/aoe7.0 bs=64k count=256 2>/dev/null | sha256 -q) = {self.want} ] || exit 1; done"),
            t.guest.spawn(
                "n=0; while ! test -e /tmp/stop; do dd if=/dev/vtbd2 iseek=$((n % 8)) of=/dev/aoe7.0 oseek=32 bs=1m count=8 "
                "conv=sync 2>/dev/null || exit 1; echo $((n % 8)) > /tmp/written; n=$((n + 1)); done")]

    def goes_on(self, what, timeout=30):
        """Something is read and written that was not asked for before."""
        def count():
            return int(self.t.leaf("bytes_read")) + int(self.t.leaf("bytes_written"))
        before = count()
        wait_until(f"I/O goes on {what}", lambda: count() > before + MIB, timeout, 0.3)
        for job in self.jobs:
            need(job.running(), f"reader or writer ended {what}")

    def end(self):
        t = self.t
        t.guest.run("touch /tmp/stop")
        for job in self.jobs:
            job.succeed(120)
        place = t.guest.run("cat /tmp/written")
        want = t.guest.run(f"dd if=/dev/vtbd2 iseek={place} bs=1m count=8 conv=sync 2>/dev/null | sha256 -q")
        same(t.guest.run("dd if=/dev/aoe7.0 iseek=32 bs=1m count=8 2>/dev/null | sha256 -q"), want, "what was written last")
        with open(self.server.file, "rb") as f:
            f.seek(32 * MIB)
            same(hashlib.sha256(f.read(8 * MIB)).hexdigest(), want, "what was written last, on the target")
        same(t.leaf("errors"), "0", "errors")


# -- bridges ----------------------------------------------------------------------------------------------------------


@G.test(limit=600)
def listed_interface_becomes_a_bridge_member(t):
    """em0 is listed and is added to a bridge and taken out again, again and again. As a member it may be deaf to
    what is sent to its own address (net.link.bridge.member_ifaddrs); outside it is not."""
    server = attached(t)
    work = Work(t, server)
    t.guest.run("ifconfig bridge0 create up")
    for _ in range(5 if t.config.quick else 20):
        t.guest.run("ifconfig bridge0 addm em0", 60)
        time.sleep(0.7)
        t.guest.run("ifconfig bridge0 deletem em0", 60)
        time.sleep(0.3)
    work.goes_on("after the last deletem")
    t.guest.run("sysctl net.link.bridge.member_ifaddrs=1 2>/dev/null || true")
    t.defer("sysctl net.link.bridge.member_ifaddrs=0 2>/dev/null || true")
    t.guest.run("ifconfig bridge0 addm em0", 60)
    work.goes_on("on a member that takes frames for its own address")
    t.guest.run("ifconfig bridge0 deletem em0", 60)
    work.goes_on("after that")
    work.end()


@G.test(limit=600)
def listed_bridge_loses_and_gets_its_member(t):
    """bridge0 is listed; its way to the target goes and comes."""
    t.guest.run("ifconfig bridge0 create && ifconfig bridge0 addm em0 up")
    server = attached(t, ifname="bridge0")
    work = Work(t, server)
    for _ in range(5 if t.config.quick else 20):
        t.guest.run("ifconfig bridge0 deletem em0", 60)
        time.sleep(0.5)
        t.guest.run("ifconfig bridge0 addm em0", 60)
        time.sleep(1)
    work.goes_on("after the last addm")
    work.end()


@G.test(limit=600)
def bridge_and_member_both_listed_and_destroyed(t):
    """Both are listed, so that one wire is two paths; the bridge is destroyed and made anew under load."""
    server = attached(t, ifname="em0 bridge0")
    work = Work(t, server)
    for _ in range(3 if t.config.quick else 10):
        t.guest.run("ifconfig bridge0 create && ifconfig bridge0 addm em0 up", 60)
        time.sleep(1)
        t.guest.run("ifconfig bridge0 destroy", 60)
        time.sleep(0.5)
    work.goes_on("after the bridge is gone")
    work.end()


# -- jails ------------------------------------------------------------------------------------------------------------


def vnet(t):
    """Jails with a network stack of their own, or skips."""
    if t.guest.try_run("which jail").code != 0 or t.guest.try_run("sysctl -n kern.features.vimage").out.strip() != "1":
        raise TestSkipped("the guest has no jails with a network stack")
    # A test that fails leaves one behind.
    t.defer("for j in $(jls -n name | sed s/name=//); do jail -r $j; done; sleep 1; "
            "ifconfig em0 up; ifconfig vtnet0 up", 60)


def take(t, ifname, jail="aoe1"):
    t.guest.run(f"jail -c name={jail} path=/ vnet persist vnet.interface={ifname}", 60)


def give_back(t, ifname, jail="aoe1"):
    """The jail ends, and the interface is the host's again; it is down, as every interface that comes from a jail."""
    t.guest.run(f"jail -r {jail}", 60)
    t.guest.wait_for(f"ifconfig {ifname} >/dev/null 2>&1", 30, f"{ifname} is back from the jail")


@G.test(limit=900)
def jail_takes_the_interface_and_gives_it_back(t):
    """20 times under load. What is in the jail is not touched; what is back and up again is used at once."""
    vnet(t)
    server = attached(t)
    work = Work(t, server)
    sniffer = t.sniff(0)
    for n in range(4 if t.config.quick else 20):
        take(t, "em0")
        need("em0" not in t.guest.run("ifconfig -l").split(), "em0 is still here")
        # What had been handed to it before leaves while it goes.
        time.sleep(0.5)
        sniffer.clear()
        time.sleep(1)
        same([raw.hex() for raw in sniffer.seen(to_guest=False)], [], "AoE frames from an interface of a jail")
        give_back(t, "em0")
        t.guest.run("ifconfig em0 up")
        work.goes_on(f"after round {n}")
    work.end()


@G.test(limit=900)
def jail_takes_one_of_two(t):
    """The other path carries everything; a reader does not see more than a short pause."""
    vnet(t)
    server = t.vblade(seg=0, seed="jails")
    t.vblade(seg=1, file=server.file)
    t.load("em0 vtnet0")
    t.wait_disk()
    work = Work(t, server)
    for n in range(3 if t.config.quick else 10):
        ifname = ("em0", "vtnet0")[n % 2]
        take(t, ifname)
        work.goes_on(f"while {ifname} is in a jail", 10)
        give_back(t, ifname)
        t.guest.run(f"ifconfig {ifname} up")
        wait_until("both paths are up", lambda: t.guest.run(
            "sysctl net.aoe.target.7.0.path | grep -c 'state: up'") == "2", 30, 0.3)
    work.end()


@G.test(limit=900)
def jail_takes_it_while_the_list_changes(t):
    vnet(t)
    server = attached(t, ifname="em0 vtnet0")
    work = Work(t, server)
    t.guest.run("rm -f /tmp/stop2")
    lists = t.guest.spawn("while ! test -e /tmp/stop2; do for l in em0 '' 'em0 vtnet0' vtnet0; do "
                          "sysctl net.aoe.iflist=\"$l\"; sleep 0.1; done; done")
    for _ in range(4 if t.config.quick else 20):
        take(t, "em0")
        time.sleep(0.2)
        give_back(t, "em0")
        t.guest.run("ifconfig em0 up")
    t.guest.run("touch /tmp/stop2")
    lists.wait(60)
    t.guest.set_sysctl("net.aoe.iflist", "em0 vtnet0")
    work.goes_on("after the last round", 60)
    work.end()


def pair(t):
    """An epair whose one half is listed and whose other half is bridged to the target."""
    t.guest.run("kldload -n if_epair if_bridge; e=$(ifconfig epair create) && [ $e = epair0a ] && "
                "ifconfig bridge0 create && ifconfig epair0a up && ifconfig epair0b up && "
                "ifconfig bridge0 addm em0 addm epair0a up", 60)


@G.test(limit=1200)
def jail_ends_while_its_interface_is_destroyed(t):
    """epair0b, which is listed, is in a jail; `jail -r` gives it back in the moment in which `ifconfig destroy`
    takes it away. First without the module: a kernel that does not survive that by itself is not judged."""
    vnet(t)
    rounds = 5 if t.config.quick else 20

    def race(n):
        take(t, "epair0b")
        t.guest.run(f"( sleep 0.{n % 3} ; jail -r aoe1 ) & ( sleep 0.{n % 4}; ifconfig epair0a destroy ) & wait", 90)
        t.guest.wait_for("! ifconfig epair0a >/dev/null 2>&1", 30, "the pair is gone")
        t.guest.run("ifconfig bridge0 destroy; ! jls -j aoe1 2>/dev/null", 60)

    for n in range(rounds):
        pair(t)
        race(n)
    t.say("the kernel alone survives it")
    pair(t)
    server = attached(t, ifname="epair0b")
    work = Work(t, server)
    for n in range(rounds):
        work.goes_on(f"before round {n}")
        race(n)
        pair(t)
    work.goes_on("after the last round")
    work.end()


@G.test(limit=900)
def module_goes_while_a_jail_has_the_interface(t):
    """kldunload while the interface is in a jail, and in the moment in which it is moved."""
    vnet(t)
    t.vblade(seg=0, seed="jails")
    for n in range(4 if t.config.quick else 20):
        t.load("em0")
        t.wait_disk()
        if n % 2:
            take(t, "em0")
            t.unload()
            give_back(t, "em0")
        else:
            t.guest.run(f"( sleep 0.{n % 5}; kldunload aoe ) & "
                        "jail -c name=aoe1 path=/ vnet persist vnet.interface=em0; wait", 90)
            t.guest.run("jail -r aoe1; ! kldstat -q -n aoe.ko || kldunload aoe", 60)
            t.guest.wait_for("ifconfig em0 >/dev/null 2>&1", 30, "em0 is back")
        t.guest.run("ifconfig em0 up")
    t.load("em0")
    t.wait_disk()


@G.test(limit=600)
def module_loads_while_a_jail_has_the_interface(t):
    """The interface is listed before it is there; when it is back and up it is used."""
    vnet(t)
    t.vblade(seg=0, seed="jails")
    take(t, "em0")
    t.load("em0")
    need("pending" in t.guest.sysctl("net.aoe.interfaces"), "em0 is not shown as pending")
    give_back(t, "em0")
    t.guest.run("ifconfig em0 up")
    begin = time.monotonic()
    t.wait_disk(timeout=5)
    need(time.monotonic() - begin < limit(5), "the interface came back and was not used soon")


@G.test(limit=300)
def a_jail_does_not_see_the_tree(t):
    """The driver belongs to the host: a jail with a stack of its own changes nothing by net.aoe."""
    vnet(t)
    attached(t)
    t.guest.run("jail -c name=aoe1 path=/ vnet persist")
    done = t.guest.try_run("jexec aoe1 sysctl net.aoe.dead_secs=7")
    need(done.code != 0, f"root of a jail changed a setting of the host: {done!r}")
    same(t.guest.sysctl("net.aoe.dead_secs"), "0", "dead_secs")
    t.guest.run("jail -r aoe1")


# -- MTU --------------------------------------------------------------------------------------------------------------


def payload(t):
    return int(t.leaf("path.0.payload"))


@G.test(limit=600)
def vlan_with_a_larger_mtu_than_its_parent(t):
    """The kernel refuses to set it so, but not to lower the parent's MTU afterwards. Frames that are too long for
    the parent vanish or are refused; I/O goes on with smaller ones."""
    seg = t.lab.segments[0]
    port = seg.vlan_port(10)
    seg.set_mtu(9000)
    t.guest.run("ifconfig em0 mtu 9000 up && ifconfig vlan10 create vlan 10 vlandev em0 up && ifconfig vlan10 mtu 9000", 60)
    server = t.vblade(ifname=port, seed="jails")
    t.load("vlan10")
    t.wait_disk()
    work = Work(t, server)
    work.goes_on("with jumbo frames")
    need(payload(t) > 4096, f"payload {payload(t)} at MTU 9000")
    for _ in range(2):
        t.guest.run("ifconfig em0 mtu 1500", 60)
        mtu = t.guest.run("ifconfig vlan10 | sed -n 's/.* mtu //p'")
        t.say(f"parent 1500, vlan {mtu}, payload {payload(t)}")
        work.goes_on("on a parent with a smaller MTU", 90)
        t.guest.run("ifconfig em0 mtu 9000", 60)
        work.goes_on("on a parent with the same MTU", 90)
    t.guest.run("ifconfig vlan10 mtu 1500", 60)
    work.goes_on("on a vlan with a smaller MTU")
    wait_until("payload for MTU 1500", lambda: payload(t) == 1024, 30)
    t.guest.fails("ifconfig em0 mtu 1500 && ifconfig vlan10 mtu 9000", "Invalid argument", 60)
    work.goes_on("after the kernel refused a larger one", 90)
    work.end()


@G.test(limit=600)
def vlan_without_jumbo_frames_on_a_jumbo_parent(t):
    """The other way round: the vlan's own MTU counts, whatever its parent takes."""
    seg = t.lab.segments[0]
    port = seg.vlan_port(10)
    seg.set_mtu(9000)
    t.guest.run("ifconfig em0 mtu 9000 up && ifconfig vlan10 create vlan 10 vlandev em0 mtu 1500 up", 60)
    server = t.vblade(ifname=port, seed="jails")
    sniffer = t.sniff(0)
    t.load("vlan10")
    t.wait_disk()
    work = Work(t, server)
    work.goes_on("on a vlan with a smaller MTU")
    same(payload(t), 1024, "payload")
    # The host's kernel takes the tag out of a frame before a packet socket sees it, or leaves it there.
    frames = [raw[:12] + raw[16:] if raw[12:14] == b"\x81\x00" else raw for raw in sniffer.seen(to_guest=False)]
    # Byte 19 is the command, 0 for ATA, byte 24 its flags, 25 the feature, 26 the sector count, 27 the ATA command.
    asked = {raw[26] for raw in frames if raw[12:14] == b"\x88\xa2" and raw[19] == 0 and raw[27] in (0x24, 0x34)}
    need(asked and max(asked) <= 2, f"sectors in a frame: {asked}")
    work.end()


@G.test(limit=600)
def module_is_loaded_and_unloaded_in_the_middle_of_it_all(t):
    """Bridges, jails and vlans come and go while the module does."""
    vnet(t)
    t.vblade(seg=0, seed="jails")
    loops = {
        "bridge": "ifconfig bridge0 create up; ifconfig bridge0 addm em0; sleep 0.3; ifconfig bridge0 deletem em0; "
                  "ifconfig bridge0 destroy; sleep 0.2",
        "jail": "jail -c name=aoe1 path=/ vnet persist vnet.interface=vtnet0; sleep 0.3; jail -r aoe1; sleep 0.3; "
                "ifconfig vtnet0 up",
        "vlan": "ifconfig vlan10 create vlan 10 vlandev em0 up; ifconfig em0 mtu 9000; ifconfig vlan10 mtu 9000; "
                "ifconfig em0 mtu 1500; sleep 0.2; ifconfig vlan10 destroy; sleep 0.1",
        "read": "dd if=/dev/aoe7.0 of=/dev/null bs=64k count=40; sleep 0.05",
    }
    t.guest.run("rm -f /tmp/stop")
    jobs = [t.guest.spawn(forever(f"( {loop} ) >/dev/null 2>&1")) for loop in loops.values()]
    end = time.monotonic() + (20 if t.config.quick else 120)
    seen = {"loaded": 0, "unloaded": 0}
    while time.monotonic() < end:
        if t.loaded():
            seen["unloaded"] += t.guest.try_run("kldunload -f aoe", 60).code == 0
        else:
            load = f"kldload {MODULE} && sysctl net.aoe.iflist='em0 vtnet0 vlan10 bridge0'"
            seen["loaded"] += t.guest.try_run(load, 60).code == 0
        time.sleep(0.7)
    t.guest.run("touch /tmp/stop")
    for job in jobs:
        job.wait(120)
    t.guest.try_run("jail -r aoe1; ifconfig bridge0 destroy; ifconfig vlan10 destroy; sleep 1; ifconfig em0 mtu 1500 up; "
                    "ifconfig vtnet0 up", 60)
    need(min(seen.values()) >= 3, f"the module hardly came and went: {seen}")
    if not t.loaded():
        t.load()
    t.guest.set_sysctl("net.aoe.iflist", "em0")
    t.wait_disk(timeout=60)
    t.wait_state("up")
