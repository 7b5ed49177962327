# SPDX-License-Identifier: BSD-2-Clause
"""What is below a listed interface: laggs, vlans and bridges whose ports lose their link while writes are under way."""

import re
import time

from cases.j_faults import both_up, need_bytes
from lib.case import Group
from lib.util import need, same, wait_until

G = Group("ports", nics=("em", "vtnet"))

#: One block, written over and over. In the end it holds the last of them.
REWRITES = 60
REWRITE = (f"for n in $(jot {REWRITES}); do jot -b \"number $n\" 1200 > /tmp/stamp; dd if=/tmp/stamp of=/dev/aoe7.0 bs=8k "
           "count=1 2>/dev/null || exit 1; done")
LAST = (f"number {REWRITES}\n".encode() * 900)[:8192]
#: A card takes a second to see its link again.
LINK_SECONDS = 1.2
#: In the order in which they were found.
BOTH = "(em0, vtnet0|vtnet0, em0)"


def one_network(t):
    """Both cards are plugged into one network, as the ports of a lagg are."""
    t.lab.ip("link add trunk0 type veth peer name trunk1")
    for n in (0, 1):
        t.lab.ip(f"link set trunk{n} master seg{n} up")
    t.stack.callback(lambda: t.lab.ip("link del trunk0", check=False))


def interfaces(t):
    return t.guest.sysctl("net.aoe.interfaces")


def rewritten_while(t, server, flap, turns):
    """Rewrites the block while `flap` pulls a cable and puts it back, again and again. Returns how often."""
    flaps = 0
    for turn in range(turns):
        job = t.guest.spawn(REWRITE)
        while job.running():
            flap(flaps)
            flaps += 1
        job.succeed(240)
        time.sleep(0.3)
        need_bytes(server.file, 0, LAST, f"the block after turn {turn} with {flaps} pulled cables")
    same(t.leaf("errors"), "0", "errors")
    t.say(f"{flaps} times a cable was pulled; {t.leaf('quarantined')} writes quarantined, "
          f"{t.guest.sysctl('net.aoe.unsettled')} answers came between a change and its telling")
    return flaps


def pull(t, index, flaps):
    t.machine.set_link(index, False)
    time.sleep(0.05 + 0.11 * (flaps % 5))
    t.machine.set_link(index, True)
    time.sleep(LINK_SECONDS + 0.2 * (flaps % 4))


def turns(t):
    return 2 if t.config.quick else 8


def lagg(t, proto, first="em0", second="vtnet0"):
    one_network(t)
    server = t.vblade(seg=0, seed="lagg")
    t.guest.run(f"ifconfig lagg0 create laggproto {proto} laggport {first} laggport {second} up")
    t.load("lagg0")
    t.wait_disk()
    return server


@G.test(limit=900)
def failover_while_one_block_is_rewritten(t):
    """The port in use loses its link; the lagg itself says nothing of that."""
    server = lagg(t, "failover")
    t.wait_console(f"aoe: lagg0: goes by {BOTH}$")
    need(re.search(f"by {BOTH}$", interfaces(t), re.M), interfaces(t))
    flaps = rewritten_while(t, server, lambda n: pull(t, 0, n), turns(t))
    need(flaps >= 10 * turns(t) // 2, f"only {flaps} times was a cable pulled")
    same(t.guest.sysctl("net.aoe.target.7.0.state"), "up", "state")


@G.test(limit=900)
def failover_from_vtnet_while_one_block_is_rewritten(t):
    """The same with a driver that keeps frames in a queue of software."""
    server = lagg(t, "failover", "vtnet0", "em0")
    rewritten_while(t, server, lambda n: pull(t, 1, n), turns(t))


@G.test(limit=900)
def round_robin_while_one_block_is_rewritten(t):
    server = lagg(t, "roundrobin")
    t.wait_console(f"aoe: lagg0: goes by {BOTH}; in no order$")
    rewritten_while(t, server, lambda n: pull(t, n % 2, n), turns(t))


@G.test(limit=600)
def a_lagg_goes_on_by_the_other_port_at_once(t):
    """Nobody waits for longer than for a lost path of two."""
    lagg(t, "failover")
    for turn in range(3 if t.config.quick else 10):
        side = turn % 2
        t.machine.set_link(side, False)
        name = ("em0", "vtnet0")[side]
        wait_until("the table says so", lambda: f"{name} (no link)" in interfaces(t), 10, 0.1)
        t.guest.run("time -p dd if=/dev/aoe7.0 of=/dev/null bs=4k count=64", 10)
        t.guest.run("time -p dd if=/dev/zero of=/dev/aoe7.0 bs=4k count=64", 10)
        t.machine.set_link(side, True)
        wait_until("the table says so", lambda: "no link" not in interfaces(t), 10, 0.1)
    same(t.leaf("errors"), "0", "errors")


@G.test(limit=600)
def ports_come_and_go_under_load(t):
    """A port is taken out of the lagg and put back, with link and without."""
    server = lagg(t, "failover")
    for turn in range(4 if t.config.quick else 12):
        job = t.guest.spawn(REWRITE)
        if turn % 2:
            t.machine.set_link(0, False)
        t.guest.run("ifconfig lagg0 -laggport em0")
        wait_until("the table says so", lambda: "by vtnet0" in interfaces(t), 10, 0.1)
        time.sleep(0.3)
        t.machine.set_link(0, True)
        t.guest.run("ifconfig em0 up; ifconfig lagg0 laggport em0")
        wait_until("the table says so", lambda: "em0" in interfaces(t), 10, 0.1)
        job.succeed(120)
        need_bytes(server.file, 0, LAST, f"the block after turn {turn}")
    same(t.leaf("errors"), "0", "errors")


@G.test(limit=600)
def the_driver_below_a_lagg_is_detached(t):
    server = lagg(t, "failover")
    where = t.guest.run("pciconf -l em0 | sed 's/^em0@//; s/:[[:space:]].*//'")
    job = t.guest.spawn(REWRITE)
    t.guest.run(f"devctl detach {where}", 60)
    wait_until("the table says so", lambda: "by vtnet0" in interfaces(t), 10, 0.1)
    t.guest.run(f"devctl attach {where}", 60)
    t.guest.run("ifconfig em0 up; ifconfig lagg0 laggport em0")
    wait_until("the table says so", lambda: "em0" in interfaces(t), 10, 0.1)
    job.succeed(120)
    need_bytes(server.file, 0, LAST, "the block")
    same(t.leaf("errors"), "0", "errors")


@G.test(limit=900)
def two_vlans_while_one_block_is_rewritten(t):
    """One disk by vlan 88 of two networks. A vlan hands its frames to the card below it, and cannot flush that."""
    first = t.vblade(ifname=t.lab.segments[0].vlan_port(88), seed="vlans")
    t.vblade(ifname=t.lab.segments[1].vlan_port(88), file=first.file)
    t.guest.run("ifconfig vlan88 create vlan 88 vlandev em0 up && ifconfig vlan89 create vlan 88 vlandev vtnet0 up")
    t.load("vlan88 vlan89")
    t.wait_disk()
    both_up(t)
    t.wait_console("aoe: vlan88: goes by em0$")
    rewritten_while(t, first, lambda n: pull(t, n % 2, n), turns(t))


@G.test(limit=900)
def a_vlan_on_a_lagg_while_one_block_is_rewritten(t):
    one_network(t)
    server = t.vblade(ifname=t.lab.segments[0].vlan_port(88), seed="vlan on a lagg")
    t.guest.run("ifconfig lagg0 create laggproto failover laggport em0 laggport vtnet0 up && "
                "ifconfig vlan88 create vlan 88 vlandev lagg0 up")
    t.load("vlan88")
    t.wait_disk()
    t.wait_console(f"aoe: vlan88: goes by {BOTH}$")
    rewritten_while(t, server, lambda n: pull(t, 0, n), turns(t))


@G.test(limit=900)
def members_of_a_bridge_while_one_block_is_rewritten(t):
    """One network by one member, another network by the other, and a cable of each pulled in turn."""
    server = t.vblade(seg=0, seed="bridge")
    t.guest.run("kldload -n if_bridge; ifconfig bridge0 create addm em0 addm vtnet0 up")
    t.load("bridge0")
    t.wait_disk()
    t.wait_console(f"aoe: bridge0: goes by {BOTH}; in no order$")
    rewritten_while(t, server, lambda n: pull(t, n % 2, n), turns(t))



def a_write_is_left_unanswered(t):
    """Only the answers are lost: the target has the write, and the copies of it. Then the operator gives it up."""
    t.vblade(seg=0, seed="unload")
    relay = t.relay(0)
    t.load("em0")
    t.wait_disk()
    relay.set("to-initiator", "cut=on")
    job = t.guest.spawn("dd if=/dev/zero of=/dev/aoe7.0 bs=4k count=1 2>/dev/null")
    t.wait_state("down", timeout=20)
    t.guest.run("sleep 2")
    t.guest.set_sysctl("net.aoe.target.7.0.fail", "1")
    need(job.wait(30) != 0, "the write did not fail")
    return relay


@G.test(limit=300)
def unload_waits_for_a_write_that_may_still_be_on_its_way(t):
    """Whoever loads the module next must not find it on its way."""
    a_write_is_left_unanswered(t)
    began = time.monotonic()
    t.guest.run("kldunload aoe", 60)
    took = time.monotonic() - began
    t.say(f"the unload took {took:.1f} s; {t.console()[-300:]}")
    need(3 < took < 25, f"the unload took {took:.1f} s")


@G.test(limit=300)
def unload_gives_up_where_writes_count_for_long(t):
    """With a quarantine that is longer than anybody waits the module stays, works on, and can be unloaded later."""
    t.guest.run("kenv net.aoe.quarantine_secs=45")
    t.defer("kenv -u net.aoe.quarantine_secs")
    relay = a_write_is_left_unanswered(t)
    t.guest.fails("kldunload aoe", "busy", 60)
    t.wait_console("aoe: writes may still be on their way; still loaded, to be unloaded later")
    relay.clear()
    t.guest.set_sysctl("net.aoe.discover", "1")
    t.wait_disk(timeout=30)
    t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=4k count=10", 30)
    t.guest.run("sleep 20")
    t.guest.run("kldunload aoe", 60)
