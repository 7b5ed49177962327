# SPDX-License-Identifier: BSD-2-Clause
"""Interfaces with the rest of the kernel: bridges, jails, vlans, links that come late, and what must not grow or wait."""

import re
import shlex
from itertools import pairwise

from cases.e_change import reader, reader_is_well
from cases.f_shutdown import loader_disk
from cases.o_events import dtrace
from lib.case import Group
from lib.util import TestSkipped, need, same, wait_until

G = Group("interfaces", nics=("em", "vtnet"), memory=1024)

#: Frames that the module keeps buffers for, for each listed interface.
RESERVE = 64


def attached(t, seg=0, ifname="em0", **kw):
    server = t.vblade(seg=seg, seed="interfaces", **kw)
    t.load(ifname)
    t.wait_disk()
    return server


def reserve(t):
    return int(t.guest.sysctl("net.aoe.reserve"))


def buffers(t):
    """Network buffers that belong to somebody, by kind."""
    out = {}
    for line in t.guest.run("vmstat -z").splitlines():
        fields = line.rsplit(":", 1)
        if len(fields) == 2 and re.match(r"mbuf", fields[0]) and len(fields[1].split(",")) > 2:
            out[fields[0]] = int(fields[1].split(",")[2])
    need(len(out) >= 4, f"vmstat -z names no mbuf zones: {out}")
    return out


# -- the reserve ----------------------------------------------------------------------------------------------------

@G.test
def the_reserve_does_not_grow(t):
    """It was filled up by one more chain every second, whatever there was."""
    t.vblade(seg=0, seed="interfaces")
    t.load("em0 vtnet0")
    t.wait_disk()
    same(reserve(t), 2 * RESERVE, "frames in reserve")
    seconds = 15 if t.config.quick else 60
    before = buffers(t)
    t.guest.run(f"sleep {seconds}", seconds + 30)
    after = buffers(t)
    same(reserve(t), 2 * RESERVE, "frames in reserve after a while")
    # Two interfaces made it grow by two chains a second; what else there is comes and goes.
    grown = {zone: (before[zone], n) for zone, n in after.items() if n - before.get(zone, 0) >= seconds}
    same(grown, {}, f"mbuf zones that grew within {seconds} idle seconds")
    t.guest.set_sysctl("net.aoe.iflist", "vtnet0")
    same(reserve(t), RESERVE, "frames in reserve for one interface")
    t.guest.set_sysctl("net.aoe.iflist", "")
    same(reserve(t), 0, "frames in reserve without an interface")
    t.guest.set_sysctl("net.aoe.iflist", "em0")
    t.wait_state("up", timeout=30)


@G.test
def the_reserve_changes_with_the_mtu_and_is_never_empty(t):
    """Each change exchanges the chains one by one; nothing is left behind, and nobody sees fewer."""
    t.load("vtnet0")
    same(reserve(t), RESERVE, "frames in reserve")
    job = t.guest.spawn("while ! test -e /tmp/stop; do sysctl -n net.aoe.reserve; done > /tmp/seen")

    def step(mtu):
        t.guest.run(f"ifconfig vtnet0 mtu {mtu}")
        # The look that is taken once a second.
        t.guest.run("sleep 1.5")

    rounds = []
    for _ in range(4 if t.config.quick else 10):
        for mtu in (1500, 4000, 9000):
            step(mtu)
        rounds.append(buffers(t))
    t.guest.run("touch /tmp/stop")
    job.succeed(30)
    seen = t.guest.run("sort -n /tmp/seen | uniq -c")
    t.say(f"reserve, as seen: {seen.split()}")
    same(set(re.findall(r"^ *\d+ (\d+)$", seen, re.M)), {str(RESERVE)}, "sizes of the reserve that were seen")
    # Each round exchanges the reserve three times. A card that fills its ring in between does so once.
    series = {zone: [used.get(zone, 0) for used in rounds] for zone in rounds[-1]}
    t.say(f"buffers in use: {series}")
    grown = {zone: used for zone, used in series.items() if all(b - a >= RESERVE // 2 for a, b in pairwise(used))}
    same(grown, {}, "mbuf zones that grow with each change of the MTU")
    t.guest.run("ifconfig vtnet0 mtu 1500")


# -- who waits for whom ---------------------------------------------------------------------------------------------

#: M_WAITOK is 2, M_NOWAIT 1. The name of a lock is the first thing in it. No types: not every kernel has them (CTF).
THREADS = r"""
#pragma D option quiet
fbt:kernel:malloc:entry /arg2 & 2/ { @waits[tid] = count(); }
fbt:kernel:uma_zalloc_arg:entry /arg2 & 2/ { @waits[tid] = count(); }
fbt:kernel:uma_zalloc_arg:entry /arg2 & 1/ { @tries[tid] = count(); }
fbt:kernel:_sx_xlock:entry { this->lock = stringof(*(char **)arg0); }
fbt:kernel:_sx_xlock:entry /this->lock == "aoe config"/ { @config[tid] = count(); }
fbt:kernel:_sx_xlock:entry /this->lock == "aoe netifs"/ { @netifs[tid] = count(); }
tick-1s /!ready/ { ready = 1; printf("ready\n"); }
END {
	printa("waits %d = %@d\n", @waits);
	printa("tries %d = %@d\n", @tries);
	printa("config %d = %@d\n", @config);
	printa("netifs %d = %@d\n", @netifs);
}
"""


def with_symbols(config, workdir):
    """A kernel whose functions DTrace can name: the boot loader loads its symbols, qemu does not."""
    if config.kernel is None:
        return {}
    return {"loader_disk": loader_disk(config, workdir, "")}


class Traced:
    """Runs a D script while a test does something."""

    def __init__(self, t, script):
        self.t = t
        dtrace(t)
        t.guest.run(f"rm -f /tmp/trace.out; printf %s {shlex.quote(script)} > /tmp/trace.d")
        t.defer("pkill -x dtrace; true")
        self.job = t.guest.spawn("exec dtrace -s /tmp/trace.d -o /tmp/trace.out")
        t.guest.wait_for(f"grep -q ready /tmp/trace.out || test -e {self.job.path}.rc", 90, "the script runs")
        need(self.job.running(), f"dtrace ended: {self.job.output() if not self.job.running() else ''}")

    def end(self):
        self.t.guest.run("pkill -TERM -x dtrace")
        self.job.succeed(60)
        out = self.t.guest.run("cat /tmp/trace.out")
        self.t.say(out)
        return out


def counted(out, what):
    found = re.search(rf"^{what} = (\d+)$", out, re.M)
    return int(found[1]) if found else 0


@G.test(own_vm=True, limit=900, machine=with_symbols)
def the_thread_of_the_links_never_waits_for_memory(t):
    """With swap on an AoE disk memory may come back only when a write was answered, and that may take a look at a link,
    or a filled reserve. So who does these may neither wait for memory nor for a lock whose holder does."""
    t.vblade(seg=0, seed="interfaces")
    t.vblade(seg=1, seed="interfaces")
    t.load("em0 vtnet0")
    t.wait_disk()
    trace = Traced(t, THREADS)
    for _ in range(2):
        t.machine.set_link(0, False)
        t.guest.run("ifconfig vtnet0 mtu 4000; sleep 2; ifconfig vtnet0 down; sleep 2; ifconfig vtnet0 up mtu 1500")
        t.machine.set_link(0, True)
        t.guest.run("ifconfig vtnet0 name aoewire1; sleep 2; ifconfig aoewire1 name vtnet0; sleep 1")
        t.guest.run("ifconfig vlan10 create vlan 10 vlandev em0 up; sysctl net.aoe.iflist='em0 vtnet0 vlan10'; "
                    "ifconfig vlan10 destroy; sysctl net.aoe.iflist='em0 vtnet0'; sleep 1")
    t.guest.run("sysctl net.aoe.discover=1; dd if=/dev/aoe7.0 of=/dev/null bs=64k count=16", 60)
    thread = t.guest.run("procstat -ta | awk '/aoe netif/ { print $2 }'")
    out = trace.end()

    def times(what):
        """How often the thread of the links did it, and all the others."""
        found = {tid: int(n) for tid, n in re.findall(rf"^{what} (\d+) = (\d+)$", out, re.M)}
        return found.pop(thread, 0), sum(found.values())

    # What shows that the probes see what they are for. A kernel without INVARIANTS takes a lock that is free inline.
    need(times("tries")[0] > 0, "the thread did not allocate anything at all: nothing was looked at")
    need(times("waits")[1] > 0, "nobody waited for memory: nothing was looked at")
    same(times("waits")[0], 0, "allocations that may wait, by the thread of the links")
    same(t.leaf("errors"), "0", "errors")
    if sum(times("netifs")) + sum(times("config")) == 0:
        raise TestSkipped("it never waits for memory; who takes which lock cannot be seen in this kernel")
    need(times("netifs")[0] > 5, "the thread did not take its lock")
    need(times("config")[1] > 0, "nobody took the lock of the configuration")
    same(times("config")[0], 0, "times that it took the lock of the configuration")


#: What initialises a card of this kind.
INITS = r"""
#pragma D option quiet
fbt:kernel:e1000_init_hw:entry { @em = count(); }
tick-1s /!ready/ { ready = 1; printf("ready\n"); }
END { printa("em = %@d\n", @em); }
"""


@G.test(own_vm=True, limit=900, machine=with_symbols)
def a_card_is_initialised_again_only_with_writes_in_it(t):
    """A card that carries IP as well is left alone when its cable is pulled, unless a write may wait in it that would
    overwrite newer data when the cable is back."""
    t.vblade(seg=0, seed="interfaces")
    t.load("em0")
    t.wait_disk()
    t.guest.run("dd if=/dev/zero of=/dev/aoe7.0 bs=64k count=16", 60)
    relay = t.relay(0)

    def pull(meanwhile=None):
        trace = Traced(t, INITS)
        if meanwhile:
            relay.set("to-initiator", "loss=100%")
            job = t.guest.spawn(meanwhile)
            # At once: after some time of silence the path counts as lost, and the card may hold anything.
            t.guest.wait_for("test $(sysctl -n net.aoe.target.7.0.outstanding) -gt 0", 20, "the request is under way", "0.01")
        t.machine.set_link(0, False)
        t.guest.run("sleep 4")
        states = t.guest.sysctl("net.aoe.interfaces")
        need(re.search(r"^em0 +down", states, re.M), f"the interface is not down: {states}")
        out = trace.end()
        t.machine.set_link(0, True)
        if meanwhile:
            relay.clear()
            job.succeed(90)
        t.wait_state("up", timeout=30)
        return counted(out, "em")

    same(pull(), 0, "initialisations of an idle card")
    same(pull("dd if=/dev/aoe7.0 of=/dev/null bs=64k count=4 skip=100"), 0, "initialisations of a card with reads in it")
    same(pull("dd if=/dev/zero of=/dev/aoe7.0 bs=64k count=4"), 1, "initialisations of a card with writes in it")
    same(t.leaf("errors"), "0", "errors")


# -- links and beacons that are late --------------------------------------------------------------------------------

def disk_within(t, seconds, what):
    """The disk appears within this time from now; the time is taken in the guest."""
    t.guest.wait_for("test -c /dev/aoe7.0", seconds, f"the disk within {seconds} s of {what}", step="0.05")


@G.test
def a_link_that_comes_late(t):
    for nic, ifname in enumerate(("em0", "vtnet0")):
        t.vblade(seg=nic, seed="interfaces")
        t.machine.set_link(nic, False)
        t.guest.wait_for(f"ifconfig {ifname} | grep -q 'no carrier'", 20, f"{ifname} sees that it has no link")
        t.load(ifname)
        t.guest.run("sleep 20", 60)
        need(not t.guest.exists("/dev/aoe7.0"), "the disk is there without a link")
        t.machine.set_link(nic, True)
        t.guest.wait_for(f"ifconfig {ifname} | grep -q 'status: active'", 20, f"{ifname} sees its link", step="0.05")
        disk_within(t, 3, f"the link of {ifname}")
        t.unload()


@G.test
def a_network_that_passes_nothing_at_first(t):
    """As a switch does for a while behind a link that is up."""
    t.vblade(seg=0, seed="interfaces")
    relay = t.relay(0)
    for seconds in (2, 15) if t.config.quick else (2, 7, 15, 29, 44):
        relay.set("both", "loss=100%")
        t.load("em0")
        t.guest.run(f"sleep {seconds}", seconds + 30)
        need(not t.guest.exists("/dev/aoe7.0"), "the disk is there although nothing passes")
        relay.clear()
        disk_within(t, 3, f"{seconds} s of silence")
        t.unload()


@G.test
def a_silent_interface_is_not_asked_for_ever(t):
    """Every two seconds for a minute, then as often as net.aoe.beacon_secs says."""
    t.guest.run("ifconfig vtnet0 up")
    t.load()
    sniffer = t.sniff(1)
    t.guest.set_sysctl("net.aoe.iflist", "vtnet0")
    t.guest.run("sleep 20", 60)
    first = len(sniffer.seen(to_guest=False))
    need(10 <= first <= 15, f"{first} questions in the first 20 s")
    if not t.config.quick:
        t.guest.run("sleep 45", 90)
        sniffer.clear()
        t.guest.run("sleep 65", 120)
        late = len(sniffer.seen(to_guest=False))
        need(1 <= late <= 2, f"{late} questions in a minute after the first one")


# -- the rest of the network ----------------------------------------------------------------------------------------

@G.test
def member_of_a_bridge_under_load(t):
    """addm and deletem. Where a bridge keeps the frames to its members for itself, the console says so."""
    attached(t)
    deaf = t.guest.try_run("kldload -n if_bridge; sysctl -n net.link.bridge.member_ifaddrs").out.strip().endswith("0")
    job = reader(t)
    for turn in range(2 if t.config.quick else 5):
        t.guest.run("ifconfig bridge0 create && ifconfig bridge0 addm em0 up")
        t.guest.run("sleep 3", 30)
        need(job.running(), f"the reader ended with the bridge, turn {turn}")
        if deaf:
            t.wait_console(r"aoe: em0: is a member of a bridge", 5)
        else:
            moved = int(t.leaf("bytes_read"))
            t.guest.run("sleep 1")
            need(int(t.leaf("bytes_read")) > moved, "no read ends while the interface is a member of a bridge")
        t.guest.run("ifconfig bridge0 deletem em0 && ifconfig bridge0 destroy")
        t.wait_state("up", timeout=30)
    if not deaf:
        need("member of a bridge" not in t.console(), "the console complains of a bridge that takes nothing away")
    reader_is_well(t, job)
    same(t.leaf("errors"), "0", "errors")


@G.test
def a_port_of_a_lagg_while_in_use(t):
    """A port hands what it hears to the lagg. The console says so, and the disk is back when the lagg is gone."""
    attached(t)
    job = reader(t)
    for turn in range(2):
        t.guest.run("ifconfig lagg0 create laggproto failover laggport em0 up")
        t.wait_state("down", timeout=30)
        wait_until("the console says why", lambda: t.console().count(
            "aoe: em0: is a port of a lagg; list the lagg instead") == turn + 1, 10)
        t.guest.run("ifconfig lagg0 destroy && ifconfig em0 up")
        t.wait_state("up", timeout=30)
        need(job.running(), "the reader ended")
    reader_is_well(t, job)
    same(t.leaf("errors"), "0", "errors")


@G.test
def parent_of_a_vlan_has_a_smaller_mtu(t):
    """The kernel leaves the MTU of the vlan as it is then; longer frames would be lost on the way back."""
    seg = t.lab.segments[1]
    seg.port(0)
    seg.set_mtu(9000)
    t.vblade(ifname=seg.vlan_port(10), seed="interfaces")
    t.guest.run("ifconfig vtnet0 mtu 9000; ifconfig vlan10 create vlan 10 vlandev vtnet0 mtu 9000 up")
    t.load("vlan10")
    t.wait_disk()
    job = reader(t)

    def mtu_is(number):
        wait_until(f"the interface has MTU {number}", lambda: re.search(
            rf"^vlan10 +up +{number} ", t.guest.sysctl("net.aoe.interfaces"), re.M), 10, 0.5)

    mtu_is(9000)
    wait_until("large frames", lambda: int(t.leaf("path.0.payload")) == 8192, 30, 0.5)
    retransmitted = int(t.leaf("retransmits"))
    t.guest.run("ifconfig vtnet0 mtu 1500")
    same(t.guest.run("ifconfig vlan10 | grep -o 'mtu [0-9]*'"), "mtu 9000", "what the vlan says of itself")
    mtu_is(1500)
    wait_until("small frames", lambda: int(t.leaf("path.0.payload")) == 1024, 10, 0.2)
    t.guest.run("sleep 2")
    lost = int(t.leaf("retransmits")) - retransmitted
    need(job.running(), "the reader ended")
    t.say(f"{lost} frames were sent again")
    t.guest.run("ifconfig vtnet0 mtu 9000")
    mtu_is(9000)
    wait_until("large frames again", lambda: int(t.leaf("path.0.payload")) == 8192, 90, 0.5)
    reader_is_well(t, job)


def jail(t, name="aoejail"):
    t.guest.run(f"jail -c name={name} vnet persist", 60)
    t.defer(f"jail -r {name} 2>/dev/null; true")
    return name


@G.test(limit=900)
def a_jail_takes_the_interface_under_load(t):
    attached(t)
    name = jail(t)
    job = reader(t)
    for turn in range(5 if t.config.quick else 20):
        t.guest.run(f"ifconfig em0 vnet {name}", 60)
        t.wait_state("down", timeout=30)
        need(re.search(r"^em0 +pending", t.guest.sysctl("net.aoe.interfaces"), re.M), "the interface is not pending")
        # The same name in another network is another interface.
        same(reserve(t), 0, "frames in reserve while the interface is away")
        t.guest.run(f"ifconfig em0 -vnet {name} && ifconfig em0 up", 60)
        t.wait_state("up", timeout=30)
        need(job.running(), f"the reader ended in turn {turn}")
        same(reserve(t), RESERVE, "frames in reserve")
    reader_is_well(t, job)
    same(t.leaf("errors"), "0", "errors")


@G.test
def an_interface_is_back_from_a_jail_and_down(t):
    """The kernel gives it back without IFF_UP. Nobody sees why the disk does not come back, so the console says so."""
    attached(t)
    name = jail(t)
    t.guest.run(f"ifconfig em0 vnet {name} && ifconfig -j {name} em0 up", 60)
    t.guest.run(f"jail -r {name}", 60)
    t.guest.wait_for("ifconfig em0", 20, "em0 back from the jail")
    need("is down" not in t.console(), "it is said before anybody had time to do something")
    t.wait_console(r"aoe: em0: is down; ifconfig up is needed", 10)
    t.guest.run("sleep 4")
    same(t.console().count("em0: is down"), 1, "times that it is said")
    t.guest.run("ifconfig em0 up")
    t.wait_state("up", timeout=30)


@G.test
def an_interface_that_is_set_up_in_time_is_not_complained_of(t):
    t.vblade(seg=0, seed="interfaces")
    t.load("em0 vlan10")
    for _ in range(2):
        t.guest.run("ifconfig vlan10 create vlan 10 vlandev em0; sleep 1; ifconfig vlan10 up; sleep 4", 30)
        t.guest.run("ifconfig vlan10 down; sleep 5; ifconfig vlan10 destroy", 30)
    need("is down" not in t.console(), "an interface is complained of that was set up, or that an operator set down")


@G.test(limit=900)
def jails_end_and_interfaces_are_destroyed_at_the_same_time(t):
    """The departures of an interface from a vnet that ends, and from ours, and the module's own end."""
    t.guest.run("kldload -n if_epair; kldload -n if_bridge")
    t.load("em0 epair7a epair8a")
    turns = 5 if t.config.quick else 20
    script = "\n".join((
        "ifconfig epair7 create; ifconfig epair8 create; ifconfig epair7a up; ifconfig epair8a up",
        "jail -c name=race vnet persist",
        "ifconfig epair7a vnet race; ifconfig epair8b vnet race",
        "jail -r race &",
        "ifconfig epair8a destroy &",
        "wait",
        "ifconfig epair7a destroy",
    ))
    for turn in range(turns):
        done = t.guest.try_run(script, 120)
        need("rror" not in done.out, f"turn {turn}: {done!r}")
        same(t.guest.run("ifconfig -l | grep -c epair || true"), "0", "interfaces that are left")
    states = t.guest.sysctl("net.aoe.interfaces")
    same(re.findall(r"^(epair\d+a) +(\w+)", states, re.M), [("epair7a", "pending"), ("epair8a", "pending")], "interfaces")
    same(reserve(t), RESERVE, "frames in reserve")


@G.test(limit=900)
def the_module_goes_while_interfaces_come_and_go(t):
    t.guest.run("rm -f /tmp/stop; kldload -n if_epair")
    job = t.guest.spawn("while ! test -e /tmp/stop; do ifconfig epair7 create && ifconfig epair7a up; jail -c name=race vnet "
                        "persist && ifconfig epair7b vnet race; ifconfig epair7a destroy; jail -r race; done; true")
    t.defer("touch /tmp/stop; sleep 3; jail -r race 2>/dev/null; ifconfig epair7a destroy 2>/dev/null; true")
    t.guest.run("sleep 1")
    for _ in range(5 if t.config.quick else 20):
        t.guest.run("kldload /aoevm/aoe.ko && sysctl net.aoe.iflist='em0 epair7a epair7b' >/dev/null && sleep 0.7 && kldunload aoe", 60)
    need(job.running(), "interfaces did not come and go")
    t.guest.run("touch /tmp/stop")
    job.wait(60)
