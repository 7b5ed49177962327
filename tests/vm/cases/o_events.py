# SPDX-License-Identifier: BSD-2-Clause
"""What the module tells devd(8) and dtrace(1) of, as a reader of aoe(4) would listen to it."""

import os
import re
import shlex

from lib.case import MIB, Group
from lib.config import TOP
from lib.util import TestSkipped, need, same

G = Group("events", nics=("em", "vtnet"))


def manual(title):
    """A section of man/aoe.4."""
    with open(os.path.join(TOP, "man", "aoe.4"), encoding="utf-8") as f:
        page = f.read()
    return re.split(r"^\.Sh ", page[page.index(f".Sh {title}\n") + 4:], maxsplit=1, flags=re.M)[0]


class Events:
    """Everything that devd passes on, in a file in the guest."""

    FILE = "/tmp/events"

    def __init__(self, t):
        self.t = t
        t.guest.wait_for("test -S /var/run/devd.pipe", 30, "devd's socket")
        t.defer("pkill -x nc; true")
        # Appending: the file is emptied in between.
        t.guest.run(f"rm -f {self.FILE}")
        t.guest.spawn(f"exec nc -U /var/run/devd.pipe >> {self.FILE}")
        # The listener is there when it has heard of something that was done after it began.
        t.guest.wait_for("mdconfig -d -u $(mdconfig -a -t malloc -s 64k) && sleep 0.3 && "
                         f"grep -q cdev=md {self.FILE}", 30, "the listener hears devd")

    def all(self):
        """The lines about targets, as (type, variables)."""
        out = []
        for line in self.t.guest.run(f"grep '^!system=AOE ' {self.FILE} || true").splitlines():
            words = dict(re.findall(r'(\w+)=("[^"]*"|\S*)', line[1:]))
            same(words.pop("system"), "AOE", "system")
            same(words.pop("subsystem"), "TARGET", f"subsystem in {line!r}")
            same(words["disk"], f"aoe{words['target']}", f"disk in {line!r}")
            out.append((words.pop("type"), words))
        return out

    def wait(self, kind, timeout=30, **variables):
        """An event of this type with these variables."""
        grep = f"grep '^!system=AOE subsystem=TARGET type={kind} ' {self.FILE}"
        for name, value in variables.items():
            grep += f" | grep -F -- {shlex.quote(f' {name}={value}')}"
        self.t.guest.wait_for(f"{grep} | grep -q .", timeout, f"event {kind} {variables}")

    def forget(self):
        self.t.guest.run(f": > {self.FILE}")


@G.test(limit=600)
def devd_hears_of_targets(t):
    """Every turn in the life of a target with two paths, each with its particulars."""
    events = Events(t)
    first = t.vblade(seg=0, size=64 * MIB)
    t.load("em0")
    t.wait_disk()
    events.wait("ADDED", target="7.0", disk="aoe7.0", size=64 * MIB, model=f"\"{t.leaf('model')}\""
                if " " in t.leaf("model") else t.leaf("model"))
    events.wait("PATH_UP", target="7.0", interface="em0", mac=first.mac())
    # A second path to the same file.
    second = t.vblade(seg=1, file=first.file)
    t.guest.set_sysctl("net.aoe.iflist", "em0 vtnet0")
    events.wait("PATH_UP", interface="vtnet0", mac=second.mac())
    same([kind for kind, _ in events.all() if kind in ("DOWN", "UP", "PATH_LOST")], [], "bad news so far")
    events.forget()
    second.kill()
    job = t.guest.spawn("dd if=/dev/aoe7.0 of=/dev/null bs=64k")
    job.succeed(60)
    events.wait("PATH_LOST", interface="vtnet0", mac=second.mac(), timeout=60)
    same([kind for kind, _ in events.all()], ["PATH_LOST"], "events when one of two paths dies")
    # The interface is taken off the list: the path that it had is named by the name it had.
    second.start()
    events.wait("PATH_UP", interface="vtnet0", mac=second.mac(), timeout=60)
    events.forget()
    t.guest.set_sysctl("net.aoe.iflist", "em0")
    events.wait("PATH_LOST", interface="vtnet0", mac=second.mac())
    # The last one.
    events.forget()
    t.guest.set_sysctl("net.aoe.dead_secs", "6")
    first.kill()
    job = t.guest.spawn("dd if=/dev/aoe7.0 of=/dev/null bs=64k count=1")
    events.wait("PATH_LOST", interface="em0", mac=first.mac(), timeout=60)
    events.wait("DOWN", target="7.0", timeout=60)
    events.wait("DEAD", target="7.0", timeout=60)
    job.wait(30)
    first.start()
    events.wait("UP", target="7.0", timeout=60)
    events.wait("PATH_UP", interface="em0", mac=first.mac())
    kinds = [kind for kind, _ in events.all()]
    need(kinds.index("DOWN") < kinds.index("DEAD") < kinds.index("UP"), f"the order is {kinds}")
    for kind in ("DOWN", "DEAD", "UP"):
        same(kinds.count(kind), 1, f"events {kind}")
    # Growth.
    events.forget()
    first.stop()
    with open(first.file, "r+b") as f:
        f.truncate(96 * MIB)
    first.start()
    events.wait("RESIZED", size=96 * MIB, old_size=64 * MIB, timeout=90)
    # The end.
    events.forget()
    t.guest.run("sysctl net.aoe.target.7.0.remove=1")
    events.wait("REMOVED", target="7.0", disk="aoe7.0")
    t.wait_console(r"^aoe: aoe7\.0: is removed$")


@G.test(limit=300)
def devd_hears_of_conflicts_and_refusals(t):
    events = Events(t)
    first = t.aoe_target(seg=0, options=("--read-only", "--serial", 'a"b\\ $(c)'))
    second = t.vblade(seg=1, file=t.disk("second.img", 32 * MIB, "second"))
    t.load("em0")
    t.wait_disk()
    # Nothing that has a meaning to devd or a shell gets through.
    events.wait("ADDED", serial='"a?b? ??c?"')
    t.guest.set_sysctl("net.aoe.iflist", "em0 vtnet0")
    events.wait("CONFLICT", interface="vtnet0", mac=second.mac())
    for _ in range(20):
        t.guest.fails("dd if=/dev/zero of=/dev/aoe7.0 bs=512 count=1", "Input/output error|Read-only")
    events.wait("READ_ONLY", target="7.0")
    kinds = [kind for kind, _ in events.all()]
    same(kinds.count("READ_ONLY"), 1, "events READ_ONLY for twenty refused writes")
    same(len(re.findall(r"^aoe: aoe7\.0: refuses writes$", t.console(), re.M)), 1, "lines on the console about them")
    same(kinds.count("CONFLICT"), 1, "events CONFLICT")
    need(first.alive(), "aoe-target ended")


@G.test(limit=300)
def devd_rule_of_the_manual(t):
    """The rule in aoe(4) is valid, and its variables have their values."""
    t.guest.wait_for("test -S /var/run/devd.pipe", 30, "devd's socket")
    rule = re.search(r"^notify .*?^};$", manual("EVENTS"), re.M | re.S)
    need(rule and "logger -t aoe" in rule[0], "aoe(4) has no rule that logs")
    text = rule[0].replace("logger -t aoe", "echo").replace('$mac"', '$mac >> /tmp/rule.out"')
    t.defer("rm -f /usr/local/etc/devd/aoe-test.conf; service devd restart", 60)
    t.guest.run(f"mkdir -p /usr/local/etc/devd; printf '%s\\n' {shlex.quote(text)} "
                "> /usr/local/etc/devd/aoe-test.conf; rm -f /tmp/rule.out; service devd restart", 60)
    t.guest.wait_for("test -S /var/run/devd.pipe", 30, "devd's socket")
    vb = t.vblade(seg=0)
    t.load("em0")
    t.wait_disk()
    t.guest.wait_for("grep -q PATH_UP /tmp/rule.out", 30, "the rule ran")
    lines = t.guest.run("cat /tmp/rule.out").splitlines()
    need(any(line.split() == ["aoe7.0:", "ADDED"] for line in lines), f"the rule wrote {lines}")
    need(any(line.split() == ["aoe7.0:", "PATH_UP", "em0", vb.mac()] for line in lines), f"the rule wrote {lines}")


#: Names, as aoe(4) has them; a test of the documents compares those with the source.
PROBES = re.compile(r"^\.It Fn aoe:::(\S+) ", re.M)

SCRIPT = r"""
BEGIN { printf("ready\n"); }
aoe:::submit { @submit[arg1, arg2] = count(); }
aoe:::complete { @complete[arg1, arg2, arg3] = count(); }
aoe:::frame-sent { @sent[stringof(arg0), arg1, arg2] = count(); }
aoe:::frame-retransmitted { @again[stringof(arg0), arg1, arg2] = count(); }
aoe:::frame-received /arg1 == 7/ { @received[stringof(arg0), arg1, arg2] = count(); @length = max(arg4); }
aoe:::state-change { printf("state %d.%d %s-%s\n", arg0, arg1, stringof(arg2), stringof(arg3)); }
END {
	printa("submit %d.%d = %@d\n", @submit);
	printa("complete %d.%d error %d = %@d\n", @complete);
	printa("sent %s %d.%d = %@d\n", @sent);
	printa("again %s %d.%d = %@d\n", @again);
	printa("received %s %d.%d = %@d\n", @received);
	printa("length = %@d\n", @length);
}
"""


def dtrace(t):
    """Loads DTrace into the guest's kernel, or skips."""
    if t.guest.try_run("which dtrace").code != 0 or t.guest.try_run("kldload -n dtraceall", 60).code != 0:
        raise TestSkipped("the guest has no DTrace")


@G.test(limit=600)
def probes_fire(t):
    dtrace(t)
    vb = t.vblade(seg=0, size=64 * MIB)
    t.load("em0")
    t.wait_disk()
    listed = t.guest.run("dtrace -l -P aoe", 60)
    have = re.findall(r"(\S+)$", listed, re.M)[1:]
    same(sorted(have), sorted(PROBES.findall(manual("DTRACE PROBES"))), "probes in the kernel and in aoe(4)")
    t.guest.run(f"printf %s {shlex.quote(SCRIPT)} > /tmp/aoe.d")
    t.defer("pkill -x dtrace; true")
    job = t.guest.spawn("exec dtrace -q -s /tmp/aoe.d -o /tmp/aoe.out")
    t.guest.wait_for("grep -q ready /tmp/aoe.out", 60, "the script runs")
    reads = int(t.leaf("reads"))
    t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=4k count=500", 60)
    vb.pause()
    read = t.guest.spawn("dd if=/dev/aoe7.0 of=/dev/null bs=4k count=1 skip=1000")
    t.wait_state("down", timeout=60)
    t.guest.fails("kldunload aoe", "busy")
    vb.resume()
    t.wait_state("up", timeout=60)
    read.succeed(60)
    reads = int(t.leaf("reads")) - reads
    # Not INT, which the shell lets its background jobs ignore.
    t.guest.run("pkill -TERM -x dtrace")
    job.succeed(60)
    out = t.guest.run("cat /tmp/aoe.out")
    t.say(out)

    def number(pattern):
        found = re.search(rf"^{pattern} = (\d+)$", out, re.M)
        return int(found[1]) if found else 0

    need(reads >= 501, f"only {reads} reads were made")
    need(number(r"submit 7\.0") >= reads, f"{reads} reads:\n{out}")
    same(number(r"complete 7\.0 error 0"), number(r"submit 7\.0"), f"completions and submissions in\n{out}\n")
    need(number(r"sent em0 7\.0") > reads, f"too few frames sent:\n{out}")
    need(number(r"again em0 7\.0") > 0, f"no frame sent again:\n{out}")
    need(number(r"sent em0 7\.0") > number(r"again em0 7\.0"), f"more copies than frames:\n{out}")
    need(number(r"received em0 7\.0") > reads, f"too few frames received:\n{out}")
    same(number("length"), 36 + 1024, "longest frame")
    need(re.search(r"state 7\.0 up-down\n(.*\n)*state 7\.0 down-up\n", out), f"changes of state:\n{out}")


@G.test(limit=300)
def probes_come_and_go_with_the_module(t):
    dtrace(t)
    for _ in range(3):
        t.load("em0")
        same(len(re.findall(r"^ *\d+ +aoe ", t.guest.run("dtrace -l -P aoe", 60), re.M)), 6, "probes")
        t.unload()
        need("No probe matches" in t.guest.try_run("dtrace -l -P aoe", 60).out, "probes outlive the module")
