# SPDX-License-Identifier: BSD-2-Clause
"""The growth watch: does something in the guest's kernel grow, and go on growing?

A leak of one object a second, or of one an event, shows in no other test, and ends a machine's days within
weeks. So everything of the kernel that can be counted is counted again and again while one state lasts
(idle, load, loss, flapping links ...), and what rises all the time is a failure.

**The criterion.** A watch has a warm-up of its own, in which the state begins and caches fill; nothing of that
counts. Then it takes samples at equal distances. A count has grown if both hold:

* it rose *all the time*: of all pairs of samples, the later one is the larger in at least `ALWAYS` of them
  (Mann and Kendall's test for a trend, without its tables). A cache that fills and is full, a step that
  is taken once, and what goes up and down stay far below: a count that rises over the first half of the
  samples and then stays has three of four pairs, one step in the middle has half of them.
* it rose *by enough*: the slope (Theil and Sen's: the median of the slopes of all pairs, so that no single
  sample matters) times the time is at least half of what a leak of one object a unit adds, and never more
  than `ENOUGH` objects. A unit is an event if the state is made of events (a flap, an open ...), and a second
  otherwise, or if events are more frequent than that. Bytes count as objects of 16, the least that
  malloc(9) hands out.

So one leaked object a second, or an event, is found within the shortest watch (it adds twice what is asked
for), and in an hour one in two minutes. `g_the_watch.a_planted_leak_is_found` plants one."""

import json
import time

from .util import TestFailure, TestSkipped, need

#: Share of the pairs of samples in which the later one must be larger.
ALWAYS = 0.85
#: Objects more than at the beginning are enough, however long it took.
ENOUGH = 30
#: malloc(9) hands out nothing smaller.
SMALLEST = 16

#: What goes up and down with files, processes and names, belongs to others and has a bound of its own.
#: The kernel's own caches; none of them holds anything of a driver. Each name is a whole gauge.
CACHES = {
    # vnodes, names and the pages and buffers of files that were looked at: kern.maxvnodes, vfs.maxbufspace.
    "zone VNODE", "zone VNODEPOLL", "zone DEVFS", "zone S VFS Cache", "zone STS VFS Cache", "zone L VFS Cache",
    "zone LTS VFS Cache", "zone BUF TRIE", "zone buf free cache", "zone RADIX NODE", "zone VM OBJECT",
    "zone FFS inode", "zone FFS1 dinode", "zone FFS2 dinode", "zone swpctrie", "zone swblk", "zone TMPFS node",
    "zone TMPFS dirent", "malloc UFS dirhash", "malloc vfscache", "malloc kobj", "zone pf frags",
    # Random numbers that the kernel harvests and hands out.
    "malloc entropy",
    # What DTrace has for each thread structure; those stay with the process structures that the kernel keeps.
    "malloc kdtrace",
}

#: Memory of UMA's own: slabs and hash tables of zones. They follow the zones, free items included, and those are
#: caches; what is in use is counted zone by zone.
CACHES |= {"zone UMA Slabs 0", "zone UMA Slabs 1", "zone UMA Hash", "malloc UMAHash"} | {
    f"zone {n} Bucket" for n in (2, 4, 8, 16, 32, 64, 128, 256)} | {"zone vmem", "zone vmem btag"}

#: Prints everything that can be counted, a line each.
SAMPLE = r"""
vmstat --libxo json -m; echo
vmstat --libxo json -z; echo
netstat --libxo json -m; echo
echo oids-net.aoe $(sysctl -N net.aoe 2>/dev/null | wc -l)
echo oids-kern.geom $(sysctl -N kern.geom | wc -l)
echo oids-dev $(sysctl -N dev | wc -l)
echo threads $(procstat -ta | wc -l)
echo threads-of-the-kernel $(procstat -ta | awk '$3 ~ /^(kernel|geom|aoe|intr)$/' | wc -l)
echo geom-objects $(sysctl -n kern.geom.conftxt | wc -l)
echo devices $(ls /dev | wc -l)
echo open-files $(sysctl -n kern.openfiles)
echo interfaces $(ifconfig -l | wc -w)
echo targets $(sysctl -n net.aoe.devices 2>/dev/null | grep -c '^[0-9]')
echo paths $(sysctl -N net.aoe.target 2>/dev/null | grep -c 'path[.][0-9]*[.]mac$')
"""

#: Counts of zones of which part is a cache; netstat(1) has them right.
ZONES_OF_NETSTAT = {"mbuf", "mbuf_packet", "mbuf_cluster", "mbuf_jumbo_page", "mbuf_jumbo_9k", "mbuf_jumbo_16k"}
OF_NETSTAT = {"mbuf-current": "mbufs", "cluster-current": "mbuf clusters", "packet-count": "mbufs with cluster",
              "jumbo-count": "jumbo clusters of a page", "jumbo9-count": "jumbo clusters of 9k",
              "jumbo16-count": "jumbo clusters of 16k", "bytes-in-use": "KiB of network buffers"}


def parse(text):
    """The gauges of one sample, by name."""
    out = {}
    documents = [line for line in text.splitlines() if line.startswith("{")]
    need(len(documents) == 3, f"the guest's vmstat and netstat gave {len(documents)} documents: {text[:300]!r}")
    malloc, zones, network = (json.loads(d) for d in documents)
    malloc = malloc.get("vmstat", malloc)
    zones = zones.get("vmstat", zones)
    for row in malloc["malloc-statistics"]["memory"]:
        out[f"malloc {row['type'].strip()}"] = int(row["in-use"])
        out[f"bytes of malloc {row['type'].strip()}"] = int(row["memory-use"])
    for row in zones["memory-zone-statistics"]["zone"]:
        name = row["name"].strip()
        if name not in ZONES_OF_NETSTAT:
            # Zones of one name are several (one for each user of a class); they count together.
            out[f"zone {name}"] = out.get(f"zone {name}", 0) + int(row["used"])
    network = network.get("statistics", network)
    network = network.get("mbuf-statistics", network)
    for key, name in OF_NETSTAT.items():
        out[name] = int(network[key])
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[1].isdigit() and not line.startswith("{"):
            out[words[0]] = int(words[1])
    return out


def unit_of(name):
    """How much of this gauge one object is at least."""
    if name.startswith("bytes of "):
        return SMALLEST
    # An mbuf without anything is 256 bytes: a quarter of what this gauge counts.
    return 0.25 if name.startswith("KiB of ") else 1


def rising(values):
    """The share of pairs of which the later is the larger."""
    pairs = [(a, b) for i, a in enumerate(values) for b in values[i + 1:]]
    return sum(b > a for a, b in pairs) / len(pairs)


def slope(times, values):
    """Theil and Sen's slope, a unit of time."""
    slopes = sorted((values[j] - values[i]) / (times[j] - times[i])
                    for i in range(len(values)) for j in range(i + 1, len(values)))
    middle = len(slopes) // 2
    return slopes[middle] if len(slopes) % 2 else (slopes[middle - 1] + slopes[middle]) / 2


class Watch:
    """Samples of one state."""

    def __init__(self, t, state, ignore=()):
        self.t, self.state, self.ignore = t, state, set(ignore) | CACHES
        self.times, self.samples, self.events = [], [], 0
        t.guest.run(f"cat > /tmp/growth.sh <<'END'\n{SAMPLE}\nEND")
        # What is used first has memory of its own from then on.
        self.t.guest.run("sh /tmp/growth.sh >/dev/null 2>&1", 120)

    def sample(self):
        """Takes one; a state that has to be still for it is made so by the caller."""
        at = time.monotonic()
        self.samples.append(parse(self.t.guest.run("sh /tmp/growth.sh 2>/dev/null", 120)))
        self.times.append(at)

    def count(self, events):
        """So many events happened since the first sample."""
        self.events += events

    @property
    def seconds(self):
        return self.times[-1] - self.times[0]

    def units(self):
        return min(self.events, self.seconds) if self.events else self.seconds

    def floor(self):
        """Objects that are too many."""
        return min(ENOUGH, self.units() / 2)

    def values(self, name):
        return [sample.get(name, 0) for sample in self.samples]

    def grown(self):
        """What grew: name, values, objects a second."""
        need(len(self.samples) >= 6, f"{len(self.samples)} samples are too few")
        out = []
        for name in sorted(set().union(*self.samples)):
            if name in self.ignore or name.removeprefix("bytes of ") in self.ignore:
                continue
            values = self.values(name)
            rate = slope(self.times, values)
            if rising(values) >= ALWAYS and rate * self.seconds >= self.floor() * unit_of(name):
                out.append((name, values, rate))
        return out

    def judge(self):
        """Fails if anything grew."""
        grown = self.grown()
        events = f" and {self.events} events" if self.events else ""
        self.t.say(f"{self.state}: {len(self.samples)} samples in {self.seconds:.0f} s{events}, "
                   f"{len(self.samples[-1])} counts, bound {self.floor():.0f} objects")
        for name in ("malloc aoe", "malloc sysctloid", "mbufs", "mbuf clusters", "jumbo clusters of a page"):
            self.t.say(f"  {name}: {' '.join(map(str, self.values(name)))}")
        if grown:
            lines = [f"{name}: {' '.join(map(str, values))} ({rate:.2f} a second)" for name, values, rate in grown]
            raise TestFailure(f"{self.state}, {self.seconds:.0f} s{events}: these grow:\n        " + "\n        ".join(lines))


# -- callouts --------------------------------------------------------------------------------------------------------

#: c_func in struct callout (sys/_callout.h): two pointers or links, two times of 64 bits, the argument.
CALLOUT_FUNCTION = 40


def callouts(t, seconds=10):
    """Callouts of aoe.ko in so many seconds, by the address of their function, and those of all. By the
    address: a kernel that qemu starts itself has no symbols in the guest."""
    if t.guest.try_run("which dtrace").code != 0 or t.guest.try_run("kldload -n dtraceall", 60).code != 0:
        raise TestSkipped("the guest has no DTrace")
    place = t.guest.run("kldstat | awk '$5 == \"aoe.ko\" { print $3, $4 }'").split()
    need(len(place) == 2, f"where is aoe.ko? {place}")
    begin, size = (int(word, 16) for word in place)
    script = (f"callout_execute:::callout-start {{ @[*(uintptr_t *)(arg0 + {CALLOUT_FUNCTION})] = count(); }} "
              f"tick-{seconds}s {{ exit(0); }} END {{ printa(\"%x %@d\\n\", @); }}")
    out = t.guest.run(f"dtrace -q -n '{script}' 2>&1", seconds + 120)
    own, all_ = {}, 0
    for line in out.splitlines():
        words = line.split()
        if len(words) == 2:
            address, count = int(words[0], 16), int(words[1])
            all_ += count
            if begin <= address < begin + size:
                own[address - begin] = count
    need(all_ > 0, f"DTrace saw no callout at all: {out!r}")
    return own, all_
