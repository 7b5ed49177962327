# SPDX-License-Identifier: BSD-2-Clause
"""aoectl in the guest: the commands that work with the module by its sysctl tree, and those that work beside it
over raw Ethernet. Needs an aoectl for FreeBSD (--aoectl); what it prints as JSON is judged here."""

import json
import os
import re

from cases.b_attach import documented
from lib.case import MIB, Group
from lib.config import TOP
from lib.guest import forever
from lib.target import file_hash
from lib.util import TestSkipped, need, same, wait_until

G = Group("aoectl", nics=("em", "vtnet"))

PROGRAM = "/aoevm/aoectl"


def given(config, _directory):
    """No guest is booted for tests that have nothing to test."""
    if not config.aoectl:
        raise TestSkipped("no aoectl for FreeBSD was given (--aoectl FILE or AOE_VM_AOECTL)")
    return {}


#: What is readable but no value of its own; aoectl gives it in another form or not at all.
NOT_VALUES = {"interfaces", "devices", "maxwait", "discover"}


def begin(t, iflist="em0", **kw):
    """The module with one target behind em0."""
    server = t.vblade(seg=0, **kw)
    t.load(iflist)
    t.wait_disk()
    return server


def ctl(t, line, code=0, timeout=60):
    """Runs it; what it printed, errors too."""
    done = t.guest.try_run(f"{PROGRAM} {line}", timeout)
    same(done.code, code, f"exit of aoectl {line} ({done.out.strip()})")
    return done.out


def documents(t, line, code=0, timeout=60):
    """What it printed as JSON, one document a line."""
    done = t.guest.try_run(f"{PROGRAM} --libxo json {line} 2>/tmp/aoectl.err", timeout)
    same(done.code, code, f"exit of aoectl {line} ({done.out.strip()} {t.guest.run('cat /tmp/aoectl.err')})")
    out = []
    for text in done.out.splitlines():
        document = json.loads(text)
        same(document["__version"], "1", "version of the JSON")
        out.append(document["aoectl"])
    return out


def result(t, line, code=0, timeout=60):
    (document,) = documents(t, line, code, timeout)
    return document


def bad(t, *cases):
    """Command lines that must fail with this exit code and this word in the message."""
    for line, code, word in cases:
        out = ctl(t, line, code)
        need(word in out, f"aoectl {line} does not say {word!r}: {out!r}")


def table():
    """Leaves of sysctl-docs that have a value: of the module, of a target, of a path."""
    own, target, path = set(), set(), set()
    with open(os.path.join(TOP, "sysctl-docs", "net.aoe.tsv"), encoding="utf-8") as f:
        for line in f.read().splitlines()[1:]:
            node, kind, _, _, access, _ = line.split("\t")
            if kind == "node":
                continue
            below = node.removeprefix("net.aoe.")
            if ".path.<n>." in below:
                path.add(below.split(".path.<n>.")[1])
            elif below.startswith("target."):
                if access == "ro":
                    target.add(below.removeprefix("target.<shelf>.<slot>."))
            elif below not in NOT_VALUES:
                own.add(below)
    return own, target, path


def flat(value, prefix=""):
    """The keys of nested objects, with dots."""
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from flat(inner, f"{prefix}{key}.")
        else:
            yield prefix + key, inner


@G.test(machine=given)
def version(t):
    begin(t)
    found = result(t, "version")["version"]
    same(found["module"], t.guest.sysctl("net.aoe.version"), "the module's version")
    same((found["protocol"], found["revision"]), (1, 11), "the protocol's version")
    need(found["aoectl"] in ctl(t, "version"), "the version in the text")
    bad(t, ("version 7.0", 2, "7.0"), ("version --all", 2, "--all"), ("--libxo xml version", 2, "--libxo"))
    t.unload()
    same(result(t, "version")["version"]["module"], None, "the module's version without module")


@G.test(machine=given)
def stat_has_every_variable(t):
    """The keys are those of the table, and of the kernel; the values are the kernel's."""
    begin(t)
    t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=64k count=16")
    found = result(t, "stat 7.0")
    same(found["source"], "module", "source")
    (target,) = found["target"]
    own, leaves, paths = table()
    same({key for key, _ in flat(found["module"])}, own, "keys of the module")
    same(set(target) - {"address", "path"}, leaves, "keys of the target")
    same(set(target["path"][0]), paths, "keys of the path")
    names = t.guest.run("sysctl -aN net.aoe").splitlines()
    for name in names:
        need(any(p.fullmatch(name) for p, _ in documented()), f"{name} is in no table")
    same(target["address"], "7.0", "address")
    for leaf in ("state", "size", "model", "serial", "firmware", "config", "conflict", "reads", "bytes_read"):
        same(str(target[leaf]), t.leaf(leaf), leaf)
    for leaf in ("interface", "mac", "state", "payload", "buffers"):
        same(str(target["path"][0][leaf]), t.leaf(f"path.0.{leaf}"), f"path.0.{leaf}")
    for leaf in ("iflist", "dead_secs", "wc", "beacon_secs", "version"):
        same(str(found["module"][leaf]), t.guest.sysctl(f"net.aoe.{leaf}"), leaf)


@G.test(machine=given)
def stat_lists_targets(t):
    """A line for each; by the module, by the wire, and what is not there."""
    begin(t)
    t.vblade(seg=0, slot=1, size=MIB)
    t.guest.set_sysctl("net.aoe.discover", "1")
    t.wait_disk(7, 1)
    lines = [line.split() for line in ctl(t, "stat").splitlines()]
    same([line[:4] for line in lines[1:]], [["7.0", "up", "64.0", "MiB"], ["7.1", "up", "1.0", "MiB"]], "lines")
    by_wire = result(t, "stat -i em0 --wait 0.5")
    same(by_wire["source"], "network", "source with -i")
    same([x["address"] for x in by_wire["target"]], ["7.0", "7.1"], "targets with -i")
    bad(t, ("stat 9.9", 3, "no target 9.9"), ("stat 7.255", 2, "7.255"), ("stat -i nosuch0", 1, "nosuch0"),
        ("stat --wait=-1", 2, "--wait"))


@G.test(machine=given)
def interfaces(t):
    begin(t)
    (row,) = result(t, "interfaces")["interface"]
    same((row["name"], row["state"], row["mtu"]), ("em0", "up", 1500), "the row of em0")
    need(re.search(r"^em0 +up +1500 ", ctl(t, "interfaces"), re.M), "the row of em0 as text")
    for change, want in (("add vtnet0", "em0 vtnet0"), ("add em0", "em0 vtnet0"), ("remove em0", "vtnet0"),
                         ("set em0,vtnet0", "em0 vtnet0"), ("clear", ""), ("set --absent vlan99", "vlan99")):
        ctl(t, f"interfaces {change}")
        same(t.guest.sysctl("net.aoe.iflist"), want, f"iflist after {change}")
    (row,) = result(t, "interfaces")["interface"]
    same((row["name"], row["state"], row["mtu"]), ("vlan99", "pending", None), "the row of vlan99")
    ctl(t, "interfaces set em0")
    bad(t, ("interfaces add nosuch0", 2, "nosuch0"), ("interfaces remove vtnet0", 2, "vtnet0"),
        ("interfaces set lo0", 2, "lo0"), ("interfaces set --absent 'em0;em1'", 2, "em0;em1"),
        ("interfaces set --absent vlan1,vlan1", 2, "twice"), ("interfaces use em0", 2, "use"),
        ("interfaces add", 2, "IF"))
    same(t.guest.sysctl("net.aoe.iflist"), "em0", "iflist after what was refused")


@G.test(machine=given)
def flush_forgets_what_is_down(t):
    begin(t)
    other = t.vblade(seg=0, slot=1, size=MIB)
    t.guest.set_sysctl("net.aoe.discover", "1")
    t.wait_disk(7, 1)
    same(result(t, "flush"), {"flushed": [], "busy": []}, "flush while all is well")
    other.kill()
    job = t.guest.spawn("dd if=/dev/aoe7.1 of=/dev/null bs=64k count=1")
    t.wait_state("down", 7, 1, timeout=40)
    same(result(t, "flush"), {"flushed": [], "busy": ["7.1"]}, "flush of a disk that is read")
    bad(t, ("flush 7.1", 1, "busy"))
    t.guest.set_sysctl("net.aoe.target.7.1.fail", "1")
    need(job.wait(30).code != 0, "a read from a dead target succeeded")
    done = result(t, "flush")
    same(done["busy"], [], "what flush kept")
    t.wait_gone(7, 1)
    need(t.guest.exists("/dev/aoe7.0"), "flush took the good target too")
    bad(t, ("flush 9.9", 3, "no target 9.9"), ("flush 7", 2, "7"), ("flush --all 7.0", 2, "--all"))


@G.test(machine=given)
def flush_of_what_is_up(t):
    """Only when it is named or all are meant, and not while it is open. The target stands still meanwhile, or it would
    come back with one of the beacons that follow an interface's coming up."""
    server = begin(t)
    job = t.guest.spawn("exec 3</dev/aoe7.0; echo open; while ! test -e /tmp/close; do sleep 0.2; done")
    t.guest.wait_for(f"grep -q open {job.path}.out", 10, "the disk is open")
    same(result(t, "flush --all"), {"flushed": [], "busy": ["7.0"]}, "flush of a disk that is open")
    bad(t, ("flush 7.0", 1, "busy"))
    t.guest.run("touch /tmp/close")
    job.succeed(20)
    server.pause()
    need("forgotten" in ctl(t, "flush 7.0"), "the word for it")
    t.wait_gone()
    server.resume()
    found = result(t, "discover --module --wait 1")
    same([x["address"] for x in found["target"]], ["7.0"], "targets after discover")
    t.wait_disk()
    server.pause()
    same(result(t, "flush -a"), {"flushed": ["7.0"], "busy": []}, "flush of all")
    t.wait_gone()


@G.test(machine=given)
def revalidate_asks_again(t):
    begin(t)
    sniffer = t.sniff(0)
    for line in ("revalidate 7.0", "revalidate --all"):
        sniffer.clear()
        same(result(t, line), {"revalidated": ["7.0"]}, line)
        wait_until("IDENTIFY is on the wire", lambda: any(
            f[14] == 0x10 and f[19] == 0 and f[27] == 0xEC for f in sniffer.seen(to_guest=False)), 5)
    same(ctl(t, "revalidate e7.0"), "", "what it says when all is well")
    bad(t, ("revalidate 9.9", 3, "no target 9.9"), ("revalidate", 2, "SHELF.SLOT"), ("revalidate 65535.0", 2, "65535.0"),
        ("revalidate --all 7.0", 2, "--all"))


@G.test(machine=given)
def discover(t):
    """By the wire beside the module, and by the module."""
    begin(t)
    (target,) = result(t, "discover em0")["target"]
    same((target["address"], target["state"], target["size"]), ("7.0", "up", 64 * MIB), "by the wire")
    found = result(t, "discover --module --wait 0.5")
    same((found["source"], found["target"][0]["address"]), ("module", "7.0"), "by the module")
    bad(t, ("discover nosuch0", 1, "nosuch0"), ("discover vtnet0", 3, "vtnet0"), ("discover --wait nan", 2, "--wait"),
        ("discover --module em0", 2, "--module"))
    same(t.leaf("state"), "up", "the module's target afterwards")


@G.test(machine=given)
def identify(t):
    server = begin(t)
    (target,) = result(t, "identify -i em0 7.0")["target"]
    same((target["size"], target["model"]), (64 * MIB, "Coraid EtherDrive vblade"), "what it is")
    same(target["path"][0]["mac"], server.mac(), "address of the path")
    need("131072 sectors" in ctl(t, "identify -i em0 e7.0"), "the text has no size")
    bad(t, ("identify -i em0 --timeout 1 9.9", 3, "others do: 7.0"), ("identify 7.0", 2, "--interface"),
        ("identify -i em0 7", 2, "7"), ("identify -i nosuch0 7.0", 1, "nosuch0"))


@G.test(machine=given)
def watch(t):
    """Two reports while the disk is read."""
    begin(t)
    t.guest.spawn(forever("dd if=/dev/aoe7.0 of=/dev/null bs=64k count=256"))
    reports = documents(t, "watch --count 2 --interval 1 7.0", timeout=90)
    same(len(reports), 2, "reports")
    _, leaves, paths = table()
    for report in reports:
        (target,) = report["target"]
        need(0.5 < report["interval"], f"the interval is {report['interval']}")
        same(set(target) - {"address", "path", "rate"}, leaves, "keys of the target")
        need(set(target["rate"]) < leaves and "size" not in target["rate"], f"rates {sorted(target['rate'])}")
        same(set(target["path"][0]) - {"rate"}, paths, "keys of the path")
        need(target["rate"]["bytes_read"] > 0 and target["rate"]["reads"] > 0, f"nothing is read: {target['rate']}")
        need(target["path"][0]["rate"]["sent"] > 0, "nothing is sent")
    t.guest.run("touch /tmp/stop")
    need(reports[1]["seconds"] > reports[0]["seconds"], "time goes on")
    # The harness's shell stands on a terminal.
    screen = ctl(t, "watch --count 1 --interval 0.5 --paths 7.0")
    need(screen.startswith("\x1b[H") and "READ MB/s" in screen and "em0>" in screen, repr(screen))
    lines = t.guest.run(f"{PROGRAM} watch --count 2 --interval 0.5 --paths 7.0 >/tmp/lines && cat /tmp/lines").splitlines()
    same(len(lines), 4, "lines of two reports with one path")
    need(re.match(r"[0-9.]+ 7\.0 up read [0-9.]+ MB/s", lines[0]), lines[0])
    need(re.match(r"[0-9.]+ 7\.0 path em0>", lines[1]), lines[1])
    bad(t, ("watch --interval 0", 2, "--interval"), ("watch --count 1 9.9", 3, "no target 9.9"),
        ("watch --count x", 2, "--count"))


@G.test(machine=given)
def sancheck(t):
    """What passes, at two MTUs; nothing is written."""
    t.lab.segments[1].port(0)
    t.lab.segments[1].set_mtu(9000)
    server = begin(t)
    before = file_hash(server.file)
    t.guest.run("ifconfig vtnet0 mtu 9000 up")
    t.vblade(seg=1, shelf=8, size=MIB)
    for name, address, payload in (("em0", "7.0", 1024), ("vtnet0", "8.0", 17 * 512)):
        found = result(t, f"sancheck {name}", timeout=120)
        (target,) = found["target"]
        same((target["address"], target["payload"]), (address, payload), f"by {name}")
        path = target["path"][0]
        same((path["to_target"], path["from_target"]), (payload, payload), f"what passes by {name}")
        same(target["advice"], [], f"advice about {address}")
    need(any("does not use it" in line for line in found["advice"]), f"vtnet0 is not in iflist: {found['advice']}")
    need("target 7.0: 1 address" in ctl(t, "sancheck -v em0", timeout=120), "the text")
    bad(t, ("sancheck nosuch0", 1, "nosuch0"), ("sancheck -t 9.9 em0", 3, "others do: 7.0"),
        ("sancheck --wait x", 2, "--wait"))
    same(file_hash(server.file), before, "the target's data")


@G.test(machine=given)
def bench(t):
    """By the disk and by the engine; writes only where and when they may."""
    server = begin(t)
    before = file_hash(server.file)
    by_disk = result(t, "bench 7.0 --seconds 1 --depth 4", timeout=90)
    need("/dev/aoe7.0" in by_disk["subject"], by_disk["subject"])
    by_engine = result(t, "bench -i em0 7.0 --seconds 1 --depth 4", timeout=90)
    for runs in (by_disk["bench"], by_engine["bench"]):
        same([(r["pattern"], r["operation"]) for r in runs], [("sequential", "read"), ("random", "read")], "runs")
        need(all(r["requests"] > 0 and r["latency_median_ns"] > 0 for r in runs), f"nothing was read: {runs}")
    same(file_hash(server.file), before, "the target's data after reading")
    bad(t, ("bench 7.0 --write", 2, "--yes"), ("bench 9.9", 3, "no disk of target 9.9"),
        ("bench 7.0 --offset 1g", 2, "--offset"), ("bench 7.0 --depth 0", 2, "--depth"),
        ("bench -i em0 --timeout 1 9.9", 3, "9.9"))
    same(file_hash(server.file), before, "the target's data after what was refused")
    ctl(t, "bench 7.0 --seconds 1 --offset 32m --length 1m --write --yes", timeout=90)
    # Nobody wrote to it before, so the rest is zeros.
    with open(server.file, "rb") as f:
        data = f.read()
    need(any(data[32 * MIB:33 * MIB]), "nothing was written")
    same(data[:32 * MIB].count(0), 32 * MIB, "zeros before the range")
    same(data[33 * MIB:].count(0), 31 * MIB, "zeros behind the range")


@G.test(machine=given)
def without_the_module(t):
    """What needs it says so; what does not goes on by the wire."""
    t.vblade(seg=0)
    bad(t, *((line, 1, "not loaded") for line in (
        "flush", "flush 7.0", "revalidate 7.0", "watch --count 1", "discover --module", "interfaces set em0")))
    same(result(t, "stat")["source"], "network", "where stat has it from")
    need({"em0", "vtnet0"} <= {row["name"] for row in result(t, "interfaces")["interface"]}, "interfaces")
    bad(t, ("bench 7.0", 3, "no disk of target 7.0"))


@G.test(machine=given)
def names_of_aoetools(t):
    """The same program under the names that Linux administrators know."""
    server = begin(t)
    names = ("aoe-stat", "aoe-discover", "aoe-interfaces", "aoe-flush", "aoe-revalidate", "aoe-sancheck", "aoe-version")
    t.guest.run("mkdir -p /tmp/names && cd /tmp/names && "
                + " && ".join(f"ln -sf {PROGRAM} {name}" for name in names))
    line = t.guest.run("/tmp/names/aoe-stat")
    need(re.fullmatch(r" +e7\.0 +0\.067GB +em0( +\d+)? +up *", line), f"aoe-stat says {line!r}")
    same(t.guest.run("/tmp/names/aoe-interfaces"), "em0", "aoe-interfaces")
    t.guest.run("/tmp/names/aoe-interfaces em0 vtnet0")
    same(t.guest.sysctl("net.aoe.iflist"), "em0 vtnet0", "iflist after aoe-interfaces")
    t.guest.run("/tmp/names/aoe-interfaces -c")
    same(t.guest.sysctl("net.aoe.iflist"), "", "iflist after aoe-interfaces -c")
    t.guest.run("/tmp/names/aoe-interfaces em0")
    t.guest.run("/tmp/names/aoe-revalidate e7.0")
    same(t.guest.run("/tmp/names/aoe-discover"), "", "what aoe-discover prints")
    need(t.guest.sysctl("net.aoe.version") in t.guest.run("/tmp/names/aoe-version"), "aoe-version")
    server.pause()
    t.guest.run("/tmp/names/aoe-flush -a")
    t.wait_gone()
    t.guest.fails("/tmp/names/aoe-flush e9.9", "9\\.9")
    t.guest.fails("/tmp/names/aoe-revalidate", "DEV")
    t.guest.fails("/tmp/names/aoe-interfaces -c em0", "-c")
