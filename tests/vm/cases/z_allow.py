# SPDX-License-Identifier: BSD-2-Clause
"""Which targets are used: net.aoe.targets and net.aoe.max_targets. Any host on the segment can announce targets; those
that the operator does not want get no disk, no memory, and nothing of theirs is read."""

import re

from cases.c_files import class_or_skip
from lib.case import MIB, Group
from lib.frames import CMD_CONFIG, config_arg, frame
from lib.util import need, same

G = Group("allow", nics=("em", "vtnet"), memory=1024)

#: Addresses that the console names before it says that there are more.
NAMED = 4


def tunable(t, name, value):
    """As the boot loader would set it, for the next load."""
    t.guest.run(f"kenv net.aoe.{name}='{value}' >/dev/null")
    t.defer(f"kenv -q -u net.aoe.{name} >/dev/null; true")


def counted(t, reason="not_allowed"):
    return int(t.guest.sysctl(f"net.aoe.drops.{reason}"))


def targets(t):
    """The addresses that the module has."""
    return sorted(set(re.findall(r"^(\d+\.\d+)\s", t.guest.sysctl("net.aoe.devices"), re.M)))


@G.test(limit=300)
def what_is_not_allowed_gets_no_disk(t):
    """7.0 is allowed by the loader, 9.3 is not: no disk, no nodes, one line, counted. Then it is allowed."""
    t.vblade(seg=0)
    other = t.vblade(seg=0, port=1, shelf=9, slot=3)
    tunable(t, "targets", "7.* 8.0-15")
    t.load("em0")
    t.wait_disk()
    same(t.guest.sysctl("net.aoe.targets"), "7.* 8.0-15", "targets")
    t.wait_console(rf"^aoe: target 9\.3 at {other.mac()} is not in net\.aoe\.targets; not used$")
    need(counted(t) > 0, "its frames are not counted")
    t.guest.run("sysctl net.aoe.discover=1 >/dev/null; sleep 2")
    same(targets(t), ["7.0"], "targets")
    need(not t.guest.exists("/dev/aoe9.3"), "it has a disk")
    same(t.console().count("target 9.3 at"), 1, "lines about it")
    if t.config.aoectl:
        same([line.split()[0] for line in t.guest.run("/aoevm/aoectl stat").splitlines()[1:]], ["7.0"], "aoectl stat")
        said = t.guest.run("/aoevm/aoectl stat --all", 60)
        need(re.search(r"^9\.3 +not used +64\.0 MiB", said, re.M) and re.search(r"^7\.0 +up ", said, re.M), said)
        t.guest.fails("/aoevm/aoectl stat --all 9.4", "no target 9.4, and none answers on em0")
    t.guest.run("sysctl net.aoe.targets='*' >/dev/null")
    t.wait_disk(9, 3, timeout=3)
    same(targets(t), ["7.0", "9.3"], "targets")


@G.test(limit=300)
def a_target_that_is_forbidden_goes(t):
    """At once if nobody has it open, and when it is closed otherwise; its I/O is not disturbed."""
    for slot in range(3):
        t.vblade(seg=0, slot=slot, port=slot, seed="allow")
    t.load("em0")
    for slot in range(3):
        t.wait_disk(7, slot)
    t.guest.run("rm -f /tmp/stop")
    user = t.guest.spawn("exec 3<>/dev/aoe7.1; while ! test -e /tmp/stop; do dd bs=64k count=64 <&3 of=/dev/null 2>/dev/null || exit 1; "
                         "sleep 0.2; dd if=/dev/aoe7.1 of=/dev/null bs=64k count=16 2>/dev/null || exit 1; done")
    t.guest.wait_for("fstat /dev/aoe7.1 | grep -q aoe7.1", 20)
    t.guest.run("sysctl net.aoe.targets=7.0 >/dev/null")
    t.wait_gone(7, 2, timeout=5)
    t.wait_console(r"^aoe: aoe7\.1: is not in net\.aoe\.targets any more, and goes when it is closed$")
    t.guest.run("sleep 3")
    need(user.running(), "its user was disturbed")
    same(targets(t), ["7.0", "7.1"], "targets while it is open")
    t.guest.run("touch /tmp/stop")
    user.succeed(30)
    t.wait_gone(7, 1, timeout=10)
    same(targets(t), ["7.0"], "targets after it was closed")
    t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=64k count=16 2>/dev/null")


@G.test(limit=300)
def lists_that_are_none_are_refused(t):
    """The old one stays. One from the loader is a list of nothing: whoever wrote it wanted a limit."""
    t.vblade(seg=0)
    tunable(t, "targets", "7.0 8.x")
    tunable(t, "max_targets", "-1")
    t.load("em0")
    t.wait_console(r'^aoe: net\.aoe\.targets="7\.0 8\.x" is not valid; no target is used until it is set$')
    t.wait_console(r"^aoe: net\.aoe\.max_targets=-1 is out of range; ignored$")
    same(t.guest.sysctl("net.aoe.max_targets"), "1024", "max_targets")
    t.guest.run("sleep 3")
    same(targets(t), [], "targets with a list that is none")
    t.guest.run("sysctl net.aoe.targets='7.0 7.0-15' >/dev/null")
    t.wait_disk(timeout=3)
    for bad in ("7", "7.255", "65535.0", "9-8.0", "7.0;8.0", "em0", "7.0 " * 33):
        t.guest.fails(f"sysctl net.aoe.targets='{bad}'", "Invalid argument")
        same(t.guest.sysctl("net.aoe.targets"), "7.0 7.0-15", f"targets after {bad!r}")
    for bad in ("-1", "65537", "many"):
        t.guest.fails(f"sysctl net.aoe.max_targets={bad}", "Invalid argument|invalid")
        same(t.guest.sysctl("net.aoe.max_targets"), "1024", f"max_targets after {bad}")
    t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=64k count=16 2>/dev/null")


@G.test(limit=300)
def no_more_targets_than_there_may_be(t):
    """A lower number takes nothing away; a free place is taken."""
    for slot in range(4):
        t.vblade(seg=0, slot=slot, port=slot, seed="allow")
    tunable(t, "max_targets", "2")
    t.load("em0")
    t.guest.wait_for("[ $(sysctl -n net.aoe.devices | grep -c ' up ') = 2 ]", 10)
    t.wait_console(r"^aoe: target 7\.\d at \S+ is not used: there are 2 already, as many as net\.aoe\.max_targets allows$")
    t.guest.run("sysctl net.aoe.discover=1 >/dev/null; sleep 2")
    same(len(targets(t)), 2, "targets")
    need(counted(t, "full") > 0, "frames are not counted")
    t.guest.set_sysctl("net.aoe.max_targets", 3)
    t.guest.wait_for("[ $(sysctl -n net.aoe.devices | grep -c ' up ') = 3 ]", 5)
    t.guest.set_sysctl("net.aoe.max_targets", 0)
    t.guest.run("sysctl net.aoe.discover=1 >/dev/null; sleep 2")
    same(len(targets(t)), 3, "targets")


@G.test(limit=300)
def a_stranger_announces_ten_thousand_addresses(t):
    """Nothing grows by it, and the console stays readable; the disk that is allowed goes on."""
    t.vblade(seg=0, seed="allow")
    tunable(t, "targets", "7.0")
    t.load("em0")
    t.wait_disk()
    injector = t.injector(0)

    def memory():
        return int(t.guest.run("vmstat -m | awk '$1 == \"aoe\" { print $2 }'"))

    def nodes():
        return int(t.guest.run("sysctl -aN net.aoe | wc -l"))

    t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=64k count=16 2>/dev/null; sleep 2")
    before, had = memory(), nodes()
    count = 2000 if t.config.quick else 10000
    for n in range(count):
        injector.send(frame(t.machine.mac(0), injector.mac, 100 + n // 200, n % 200, CMD_CONFIG, config_arg()))
        if n % 32 == 31:
            t.guest.run("true")
    t.guest.run("sleep 1; dd if=/dev/aoe7.0 of=/dev/null bs=64k count=16 2>/dev/null; sleep 2")
    need(counted(t) >= count * 9 // 10, f"{counted(t)} of {count} counted")
    need(memory() <= before + 2, f"memory {before} -> {memory()}")
    same(nodes(), had, "nodes of net.aoe")
    same(targets(t), ["7.0"], "targets")
    said = t.console()
    same(len(re.findall(r"is not in net\.aoe\.targets; not used", said)), NAMED, "addresses that are named")
    same(said.count("more targets are not in net.aoe.targets; net.aoe.drops.not_allowed counts what they send"), 1,
         "lines that there are more")


@G.test(limit=300)
def a_forged_label_is_not_read(t):
    """A stranger's disk says that it is half of a mirror. Where it is allowed GEOM believes it; where it is not,
    nothing reads it."""
    class_or_skip(t, "gmirror", "geom_mirror")
    t.vblade(seg=0)
    bait = t.vblade(seg=0, port=1, shelf=9, slot=3, size=16 * MIB)
    t.load("em0")
    t.wait_disk(9, 3)
    # GEOM would put it together again as soon as it is stopped.
    t.defer("sysctl kern.geom.notaste=0 >/dev/null")
    t.guest.run("gmirror label -v bait /dev/aoe9.3 && gmirror status -s | grep -q bait && "
                "sysctl kern.geom.notaste=1 >/dev/null && gmirror stop bait", 60)
    t.unload()
    t.guest.run("sysctl kern.geom.notaste=0 >/dev/null")
    need(bait.alive(), "vblade ended")
    tunable(t, "targets", "7.*")
    t.load("em0")
    t.wait_disk()
    t.guest.run("sysctl net.aoe.discover=1 >/dev/null; sleep 3; sysctl -n kern.geom.conftxt >/dev/null")
    need("bait" not in t.guest.try_run("gmirror status -s").out, "the forged mirror is there")
    # It would be, if it were allowed.
    t.guest.run("sysctl net.aoe.targets='*' >/dev/null")
    t.guest.wait_for("gmirror status -s | grep -q bait", 20)
    t.guest.run("sysctl kern.geom.notaste=1 >/dev/null; gmirror stop bait", 60)
