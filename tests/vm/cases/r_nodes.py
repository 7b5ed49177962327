# SPDX-License-Identifier: BSD-2-Clause
"""The sysctl tree over time: nothing in it grows by what strangers send, a path's number means one path, values from
outside have bounds, and removal says what it did."""

import re
import threading

from cases.m_aoectl import PROGRAM
from cases.o_events import Events
from lib.case import MIB, Group
from lib.frames import CMD_ATA, CMD_CONFIG, ata_arg, config_arg, frame, identify_data
from lib.guest import forever
from lib.util import need, same, wait_until

G = Group("nodes", nics=("em", "vtnet"))
IDENTIFY = 0xEC


def oid_memory(t):
    """Pieces of memory that the kernel's sysctl tree consists of, entries of contexts among them."""
    return int(t.guest.run("vmstat -m | awk '$1 == \"sysctloid\" { print $2 }'"))


class Strangers:
    """Another disk under 7.0, at as many Ethernet addresses as one likes: each announces itself and answers IDENTIFY."""

    def __init__(self, t, seg=0):
        self.t, self.guest_mac, self.injector = t, t.machine.mac(seg), t.injector(seg)
        self.disk = identify_data(8192, serial="stranger", model="stranger")
        self.stopping = False
        self.thread = threading.Thread(target=self._answer, daemon=True)
        self.thread.start()
        t.stack.callback(self.stop)

    def _answer(self):
        while not self.stopping:
            asked = self.injector.receive(0.1)
            ours = asked and not asked.response and asked.dst.startswith("02:aa:")
            if ours and asked.ata_command == IDENTIFY:
                self.injector.send(frame(asked.src, asked.dst, asked.shelf, asked.slot, CMD_ATA,
                                         ata_arg(0, data=self.disk), tag=asked.tag))

    def announce(self, number):
        mac = f"02:aa:00:00:{number >> 8:02x}:{number & 255:02x}"
        self.injector.send(frame(self.guest_mac, mac, 7, 0, CMD_CONFIG, config_arg()))
        return mac

    def stop(self):
        self.stopping = True
        self.thread.join(2)


@G.test(limit=600)
def strangers_do_not_make_the_tree_grow(t):
    """Each new address of another disk is a conflict. The first ones need nodes, all others find them."""
    t.vblade(seg=0)
    t.load("em0")
    t.wait_disk()
    strangers = Strangers(t)

    def meet(first, count):
        for number in range(first, first + count):
            before = int(t.leaf("conflicts"))
            strangers.announce(number)
            wait_until(f"conflict {number}", lambda b=before: int(t.leaf("conflicts")) > b, 10, 0.02)

    # More than a target has paths.
    meet(0, 12)
    t.guest.run("sleep 1")
    nodes = t.guest.run("sysctl -aN net.aoe | sort")
    before = oid_memory(t)
    count = 30 if t.config.quick else 150
    meet(12, count)
    t.guest.run("sleep 1")
    same(t.guest.run("sysctl -aN net.aoe | sort"), nodes, "names in the tree")
    same(oid_memory(t), before, f"pieces of memory of the tree after {count} conflicts")
    same(t.leaf("state"), "up", "state")


def path(t, number, leaf):
    return t.leaf(f"path.{number}.{leaf}")


@G.test(limit=600)
def paths_keep_their_numbers(t):
    """The first path goes and comes back: the second one has the same name, number and counters all the time."""
    file = t.disk("shared.img", 64 * MIB, "numbers")
    servers = {"em0": t.vblade(seg=0, file=file), "vtnet0": t.vblade(seg=1, file=file)}
    t.load("em0")
    t.wait_disk()
    names = {netif: f"{netif}>{server.mac()}" for netif, server in servers.items()}
    same(path(t, 0, "name"), names["em0"], "path 0")
    t.guest.set_sysctl("net.aoe.iflist", "em0 vtnet0")
    t.guest.wait_for("test \"$(sysctl -n net.aoe.target.7.0.path.1.state)\" = up", 20, "the second path is up")
    t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=64k count=64", 60)
    sent = int(path(t, 1, "sent"))
    need(sent > 0, "the second path was not used")
    nodes = t.guest.run("sysctl -aN net.aoe.target.7.0 | sort")
    for _ in range(3):
        t.guest.set_sysctl("net.aoe.iflist", "vtnet0")
        same([path(t, 0, leaf) for leaf in ("name", "interface", "mac", "state", "sent", "payload")],
             ["", "", "", "unused", "0", "0"], "path 0 without its interface")
        same((path(t, 1, "name"), path(t, 1, "interface"), path(t, 1, "mac"), path(t, 1, "state")),
             (names["vtnet0"], "vtnet0", servers["vtnet0"].mac(), "up"), "path 1 beside it")
        need(int(path(t, 1, "sent")) >= sent, "the counters of path 1 are another path's")
        if t.config.aoectl:
            shown = t.guest.run(f"{PROGRAM} stat 7.0")
            need(names["vtnet0"] in shown and "em0" not in shown and "unused" not in shown, f"aoectl stat: {shown}")
        t.guest.set_sysctl("net.aoe.iflist", "vtnet0 em0")
        t.guest.wait_for("test \"$(sysctl -n net.aoe.target.7.0.path.0.state)\" = up", 20, "the first path is back")
        same(path(t, 0, "name"), names["em0"], "path 0 after its interface came back")
    same(t.guest.run("sysctl -aN net.aoe.target.7.0 | sort"), nodes, "nodes of the target")


@G.test(limit=600)
def a_paths_name_is_never_a_mixture(t):
    """Two interfaces take turns: every reading of the name is one of the two paths, or none."""
    file = t.disk("shared.img", 64 * MIB, "mixture")
    servers = {"em0": t.vblade(seg=0, file=file), "vtnet0": t.vblade(seg=1, file=file)}
    t.load("em0")
    t.wait_disk()
    reader = t.guest.spawn(forever("sysctl -n net.aoe.target.7.0.path.0.name") + " | sort | uniq -c")
    for _ in range(4 if t.config.quick else 15):
        for netif in ("vtnet0", "em0"):
            t.guest.set_sysctl("net.aoe.iflist", netif)
            t.guest.wait_for(f"test \"$(sysctl -n net.aoe.target.7.0.path.0.interface)\" = {netif}", 20,
                             f"path 0 is by {netif}")
    t.guest.run("touch /tmp/stop")
    read = reader.succeed(60)
    seen = set(re.findall(r"^ *\d+ (.*)$", read, re.M))
    names = {f"{netif}>{server.mac()}" for netif, server in servers.items()}
    need(names <= seen, f"not both paths were read: {read}")
    need(seen <= names | {""}, f"a name that no path has: {read}")


#: What each variable may be: the lowest and the highest value, and whether the one below can be written at all.
RANGES = {"dead_secs": (0, 1000000000), "maxwait": (0, 1000000000), "quarantine_secs": (1, 600),
          "beacon_secs": (0, 86400), "wc": (-1, 1), "fail_on_shutdown": (0, 1)}
BEYOND_ALL = (-2147483648, 2147483647)


@G.test(limit=600)
def values_have_bounds(t):
    """Each edge is taken, what is one beyond is refused, and a value that was refused has changed nothing."""
    t.vblade(seg=0)
    t.load("em0")
    t.wait_disk()
    for name, (least, most) in RANGES.items():
        name = f"net.aoe.{name}"
        before = t.guest.sysctl(name)
        for edge in (least, most):
            t.guest.set_sysctl(name, str(edge))
            same(t.guest.sysctl(name), str(edge), name)
        for beyond in (least - 1, most + 1, *BEYOND_ALL):
            t.guest.fails(f"sysctl {name}={beyond}", "Invalid argument")
            same(t.guest.sysctl(name), str(most), f"{name} after {beyond} was refused")
        t.guest.set_sysctl(name, before)
    for name in ("fail", "remove"):
        for value in (-1, 2, *BEYOND_ALL):
            t.guest.fails(f"sysctl net.aoe.target.7.0.{name}={value}", "Invalid argument")
        t.guest.set_sysctl(f"net.aoe.target.7.0.{name}", "0")
    for value in BEYOND_ALL:
        t.guest.set_sysctl("net.aoe.discover", str(value))
        t.guest.set_sysctl("net.aoe.target.7.0.revalidate", str(value))
    same(t.leaf("state"), "up", "state after all that")


def timer_interrupts(t, seconds=3):
    """Interrupts of the processors' timers in a second."""
    words = "vmstat -i | awk '/cpu[0-9]+:timer/ { n += $(NF - 1) } END { print n }'"
    first = int(t.guest.run(words))
    t.guest.run(f"sleep {seconds}")
    return (int(t.guest.run(words)) - first) / seconds


@G.test(limit=300)
def the_longest_wait_does_not_spin(t):
    """A target is away and dead_secs is as long as it may be: its one timer is quiet."""
    server = t.vblade(seg=0)
    t.load("em0")
    t.wait_disk()
    t.guest.set_sysctl("net.aoe.dead_secs", "1000000000")
    server.pause()
    job = t.guest.spawn("dd if=/dev/aoe7.0 of=/dev/null bs=4k count=1")
    t.wait_state("down", timeout=60)
    with_longest = timer_interrupts(t)
    t.guest.set_sysctl("net.aoe.dead_secs", "0")
    without = timer_interrupts(t)
    t.say(f"timer interrupts a second: {without:.0f} with dead_secs=0, {with_longest:.0f} with the longest")
    need(without > 0, "the timers are not counted")
    need(with_longest < 2 * without + 200, f"{with_longest:.0f} timer interrupts a second, {without:.0f} without dead_secs")
    server.resume()
    job.succeed(60)


@G.test(limit=300)
def tunables_have_the_same_bounds(t):
    """What is out of range is named on the console, and the default holds."""
    bad = {"dead_secs": "1000000001", "quarantine_secs": "0", "beacon_secs": "86401", "boot_wait_secs": "-1", "wc": "2",
           "fail_on_shutdown": "2", "maxwait": "4294967297"}
    defaults = {"dead_secs": "0", "quarantine_secs": "15", "beacon_secs": "60", "boot_wait_secs": "30", "wc": "-1",
                "fail_on_shutdown": "1", "maxwait": "0"}
    good = {"dead_secs": "1000000000", "quarantine_secs": "600", "beacon_secs": "86400", "boot_wait_secs": "86400",
            "wc": "1", "fail_on_shutdown": "0"}

    def load_with(values):
        for name, value in values.items():
            t.guest.run(f"kenv net.aoe.{name}={value}")
        t.load()
        found = {name: t.guest.sysctl(f"net.aoe.{name}") for name in values}
        t.unload()
        for name in values:
            t.guest.run(f"kenv -u net.aoe.{name}")
        return found

    t.defer("; ".join(f"kenv -q -u net.aoe.{name} || true" for name in bad))
    same(load_with(bad), defaults, "values for tunables that are out of range")
    for name, value in bad.items():
        t.wait_console(rf"^aoe: net\.aoe\.{name}={value} is out of range; ignored$")
    same(load_with(good), good, "values for tunables at their edges")
    same(load_with({"maxwait": "180"}), {"maxwait": "180"}, "maxwait alone")
    same(load_with({"maxwait": "180", "dead_secs": "0"})["dead_secs"], "0", "dead_secs beside maxwait")
    same(load_with({"beacon_secs": "often"}), {"beacon_secs": "60"}, "a text for a number")
    t.wait_console(r"^aoe: net\.aoe\.beacon_secs is not a number; ignored$")


def lines(t, pattern):
    """Lines of the console about 7.0, without what they begin with."""
    return [line for line in re.findall(r"^aoe: aoe7\.0: (.*)$", t.console(), re.M) if re.match(pattern, line)]


@G.test(limit=600)
def lines_say_what_was_true_at_the_event(t):
    """Two paths that come and go: the number in each line follows from the lines before it, and each names its path."""
    file = t.disk("shared.img", 64 * MIB, "lines")
    servers = {"em0": t.vblade(seg=0, file=file), "vtnet0": t.vblade(seg=1, file=file)}
    paths = {netif: f"{netif}>{server.mac()}" for netif, server in servers.items()}
    t.load("em0")
    t.wait_disk()
    for _ in range(3 if t.config.quick else 8):
        for netifs in ("em0 vtnet0", "vtnet0", "vtnet0 em0", "em0"):
            t.guest.set_sysctl("net.aoe.iflist", netifs)
            t.guest.wait_for("test $(sysctl -n net.aoe.devices | grep -o '=up' | wc -l) -eq "
                             f"{len(netifs.split())}", 20, f"paths by {netifs}", "0.2")
    t.guest.run("sleep 1")
    found = lines(t, "path ")
    # The first path comes with the disk, which has a line of its own.
    there = {paths["em0"]}
    for line in found:
        words = re.fullmatch(r"path (\S+) (came up|lost), paths in use: (\d+)", line)
        need(words and words[1] in paths.values(), f"no path of ours: {line}")
        (there.add if words[2] == "came up" else there.discard)(words[1])
        same(int(words[3]), len(there), f"paths in use in {line!r}, after {found}")
    need(len(found) >= 12, f"only {found}")
    same(there, {paths["em0"]}, "paths after the last line")
    # When the module goes, its targets go, and that is all there is to say.
    t.unload()
    t.wait_console(r"^aoe: aoe7\.0: is removed$")
    same(lines(t, "path "), found, "lines about paths while the module was unloaded")


@G.test(limit=600)
def what_was_held_is_said_when_it_was(t):
    """A target that comes back with I/O waiting, and one that comes back without any."""
    server = t.vblade(seg=0)
    t.load("em0")
    t.wait_disk()
    server.pause()
    job = t.guest.spawn("dd if=/dev/aoe7.0 of=/dev/null bs=64k count=1")
    t.wait_state("down", timeout=60)
    server.resume()
    job.succeed(60)
    t.wait_state("up")
    same(lines(t, "answers"), ["answers again; requests held: 1"], "lines after I/O was held")
    t.guest.run("sleep 1")
    server.kill()
    # Nobody has a use for the disk: its silence is found by a question.
    t.wait_state("down", timeout=90)
    server.start()
    t.wait_state("up", timeout=60)
    same(lines(t, "answers"), ["answers again; requests held: 1", "answers again"], "lines without I/O")
    same(lines(t, "does not answer"), ["does not answer, I/O is held"] * 2, "lines of its silence")


@G.test(limit=600)
def failed_commands_say_where_and_why(t):
    """A sector that cannot be read, twenty times: one line, one event. A server without its disk: its error's name."""
    events = Events(t)
    t.aoe_target(seg=0, size=16 * MIB, options=("--bad-sector", "2048"))
    t.load("em0")
    t.wait_disk()
    t.guest.run("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do "
                "dd if=/dev/aoe7.0 of=/dev/null bs=512 skip=2048 count=1 2>/dev/null && exit 1; done; true", 60)
    t.wait_console("LBA 2048")
    (line,) = lines(t, ".* failed: ")
    need(re.fullmatch(r"read of [12] sectors at LBA 2048 failed: ATA status [0-9a-f]{2} \(.*\bERR\), error 40 \(UNC\)",
                      line), f"the line is {line!r}")
    events.wait("COMMAND_FAILED", target="7.0", operation="read", lba=2048, ata_error="0x40")
    same([kind for kind, _ in events.all()].count("COMMAND_FAILED"), 1, "events COMMAND_FAILED")
    same(t.leaf("errors"), "20", "errors")
    need(t.leaf("state") == "up", "the target is not up")


@G.test(limit=300)
def an_aoe_error_has_its_name(t):
    """Every command of the disk but IDENTIFY is refused by the server."""
    t.aoe_target(seg=0, size=16 * MIB, options=("--aoe-error", "1"))
    t.load("em0")
    t.wait_disk()
    t.guest.fails("dd if=/dev/aoe7.0 of=/dev/null bs=512 count=1", "Input/output error")
    t.wait_console(r"^aoe: aoe7\.0: read of \d+ sectors at LBA \d+ failed: AoE error 1 \(unrecognised command\)$")


def flags(t):
    """What GEOM believes the disk can do."""
    return re.search(r"<([^>]*)>", t.guest.run("sysctl -n 'kern.geom.disk.aoe7%250.flags'"))[1].split(",")


@G.test(limit=300)
def geom_learns_what_a_target_refuses(t):
    """TRIM and flush are announced and refused: each is tried once, and then GEOM does not ask any more."""
    t.aoe_target(seg=0, size=16 * MIB, options=("--claim-trim", "--ata-error", "flush:41:04"))
    t.load("em0")
    t.wait_disk()
    need({"CANDELETE", "CANFLUSHCACHE"} <= set(flags(t)), f"flags at first: {flags(t)}")
    t.guest.fails("trim -f /dev/aoe7.0", timeout=60)
    t.wait_console(r"^aoe: aoe7\.0: refuses TRIM; TRIM is off$")
    t.guest.wait_for("! sysctl -n 'kern.geom.disk.aoe7%250.flags' | grep -q CANDELETE", 15, "GEOM knows of TRIM")
    need("CANFLUSHCACHE" in flags(t), f"flags after TRIM was refused: {flags(t)}")
    # It writes, and flushes after each block.
    t.guest.try_run("timeout 5 diskinfo -wS /dev/aoe7.0", 60)
    t.wait_console(r"^aoe: aoe7\.0: refuses to flush its cache; flushing is off$")
    t.guest.wait_for("! sysctl -n 'kern.geom.disk.aoe7%250.flags' | grep -q CANFLUSHCACHE", 15, "GEOM knows of flush")
    same(lines(t, "refuses"), ["refuses TRIM; TRIM is off", "refuses FLUSH CACHE EXT; FLUSH CACHE is used",
                               "refuses to flush its cache; flushing is off"], "lines")
    # The disk works as before.
    t.guest.run("dd if=/dev/zero of=/dev/aoe7.0 bs=64k count=4 && dd if=/dev/aoe7.0 of=/dev/null bs=64k", 60)


@G.test(limit=300)
def geom_shows_the_world_wide_name(t):
    """lunid and lunname are those of IDENTIFY; a target that has no such name shows none."""
    t.aoe_target(seg=0, size=16 * MIB)
    t.vblade(seg=0, port=1, slot=1, size=16 * MIB)
    t.load("em0")
    t.wait_disk()
    t.wait_disk(slot=1)
    shown = t.guest.run("geom disk list aoe7.0")
    name = re.search(r"^ +lunid: ([0-9a-f]{16})$", shown, re.M)
    need(name and re.search(rf"^ +lunname: naa\.{name[1]}$", shown, re.M), f"geom disk list: {shown}")
    need("lunid" not in t.guest.run("geom disk list aoe7.1"), "a name from nowhere")
    # NAA 3: assigned locally.
    need(name[1].startswith("3"), f"aoe-target's name is {name[1]}")
    if t.config.aoectl:
        said = t.guest.run(f"{PROGRAM} identify -i em0 7.0 --libxo=json", 60)
        need(f'"0x{name[1]}"' in said, f"aoectl identify says another name: {said}")


REMOVE = "sysctl net.aoe.target.7.0.remove=1"


@G.test(limit=900)
def removal_says_what_it_did(t):
    """Exit 0 when the target was removed, and it is; EBUSY when the disk is open, and it stays. Again and again, also
    when the target comes back at once."""
    server = t.vblade(seg=0)
    t.load("em0")
    t.wait_disk()
    holder = t.guest.spawn("exec 3</dev/aoe7.0; echo open; while [ ! -e /tmp/close ]; do sleep 0.1; done")
    t.guest.wait_for(f"grep -q open {holder.path}.out", 30, "the disk is open")
    t.guest.fails(REMOVE, "Device busy")
    t.guest.run("touch /tmp/close")
    holder.succeed(30)
    same(t.leaf("state"), "up", "state after a removal that was refused")
    server.pause()
    memory = None
    rounds = 5 if t.config.quick else 30
    for turn in range(rounds):
        # What does not answer stays away; every other time the next one comes while the old nodes are there.
        said = t.guest.run(REMOVE)
        same(said, "net.aoe.target.7.0.remove: 0 -> 0", "what sysctl says")
        t.wait_gone()
        state = t.guest.try_run("sysctl -n net.aoe.target.7.0.state", 10).out.strip()
        need(state == "" or "unknown oid" in state, f"the state of a target that was removed: {state}")
        if turn % 2:
            t.guest.wait_for("! sysctl -N net.aoe.target.7.0", 30, "the nodes go")
        server.resume()
        t.guest.set_sysctl("net.aoe.discover", "1")
        t.wait_disk(timeout=30)
        t.wait_state("up")
        same(t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=4k count=1 2>/dev/null; sysctl -n net.aoe.target.7.0.reads"),
             t.leaf("reads"), "the new target's counters")
        same(path(t, 0, "state"), "up", "the new target's path")
        server.pause()
        if turn == 2:
            memory = oid_memory(t)
    need("re-use a leaf" not in t.console() and "failed attempt" not in t.console(), "the tree was used wrongly")
    t.guest.run(REMOVE)
    server.resume()
    t.guest.set_sysctl("net.aoe.discover", "1")
    t.wait_disk(timeout=30)
    same(oid_memory(t), memory, f"pieces of memory of the tree after {rounds} removals")
    # The module goes while nodes of a removed target are still there.
    server.pause()
    t.guest.run(f"{REMOVE} && kldunload aoe", 60)
    t.guest.fails("sysctl net.aoe", "unknown oid")


@G.test(limit=300)
def a_removed_target_cannot_be_opened(t):
    """Whoever opens races who removes: the open succeeds and the removal is refused, or the other way round."""
    server = t.vblade(seg=0)
    t.load("em0")
    gone = 0
    for turn in range(5 if t.config.quick else 20):
        t.wait_disk(timeout=30)
        done = t.guest.run("( sleep 0.0$(( RANDOM_ % 5 )); dd if=/dev/aoe7.0 of=/dev/null bs=512 count=1 >/tmp/dd 2>&1; "
                           f"echo $? >/tmp/dd.rc ) & {REMOVE} >/tmp/rm 2>&1; echo $?; wait".replace("RANDOM_", str(turn)))
        removed = done.splitlines()[-1] == "0"
        read = t.guest.run("cat /tmp/dd.rc") == "0"
        t.say(f"removed: {removed}, read: {read}")
        need(removed or read, f"neither: {t.guest.run('cat /tmp/dd /tmp/rm')}")
        # A beacon of the first seconds may bring it back at once.
        gone += removed
        wait_until("the console says that it is removed", lambda n=gone: t.console().count("aoe7.0: is removed") == n, 30)
        t.guest.set_sysctl("net.aoe.discover", "1")
    need(server.alive(), "vblade ended")


@G.test(limit=300)
def what_waits_names_its_target(t):
    """One of two targets falls silent under a reader: its variables and its line in the table say how much waits and for
    how long, those of the other one do not."""
    silent = t.vblade(seg=0)
    t.vblade(seg=0, port=1, slot=1)
    t.load("em0")
    t.wait_disk()
    t.wait_disk(slot=1)
    same([t.leaf(leaf, slot=slot) for slot in (0, 1) for leaf in ("waiting", "oldest_ms")], ["0"] * 4, "at first")
    silent.pause()
    job = t.guest.spawn("dd if=/dev/aoe7.0 of=/dev/null bs=4k count=1")
    wait_until("the request waits", lambda: t.leaf("waiting") == "1", 20)
    t.guest.run("sleep 2")
    age = int(t.leaf("oldest_ms"))
    need(age >= 2000, f"it has waited for {age} ms")
    same([t.leaf(leaf, slot=1) for leaf in ("waiting", "oldest_ms")], ["0", "0"], "of the other target")
    table = {line.split()[0]: line for line in t.guest.sysctl("net.aoe.devices").splitlines() if line.startswith("7.")}
    need(re.search(r"; 1 requests wait, the oldest for \d+ s$", table["7.0"]), f"its line: {table['7.0']}")
    need("wait" not in table["7.1"], f"the other's line: {table['7.1']}")
    need("biowait" in t.guest.run("procstat -kk $(pgrep -x dd)"), "dd does not wait for I/O")
    if t.config.aoectl:
        need("(1 wait)" in t.guest.run(f"{PROGRAM} stat 7.0"), "aoectl does not show it")
    silent.resume()
    job.succeed(60)
    same([t.leaf(leaf) for leaf in ("waiting", "oldest_ms")], ["0", "0"], "afterwards")
