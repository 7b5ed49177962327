# SPDX-License-Identifier: BSD-2-Clause
"""Disks come and go while GEOM tastes them and tools look at them."""

import time

from lib.case import MIB, Group
from lib.guest import forever
from lib.util import need, same

G = Group("tasting", nics=("em", "vtnet"), memory=1024)

#: What looks at all disks all the time. A disk that goes in the middle of it may be an error, nothing more.
LOOKERS = {
    "confxml": "sysctl -n kern.geom.confxml >/dev/null",
    "confdot": "sysctl -n kern.geom.confdot kern.geom.conftxt kern.disks >/dev/null",
    "gstat": "gstat -b -I 50ms >/dev/null",
    "iostat": "iostat -x -c 2 -w 1 >/dev/null",
    "geom": "geom disk list >/dev/null; geom disk status >/dev/null",
    "gpart": "gpart show >/dev/null",
    "diskinfo": "diskinfo -v /dev/aoe7.* >/dev/null 2>&1",
    "read": "dd if=/dev/aoe7.1 of=/dev/null bs=4k count=50 2>/dev/null",
    "devstat": "sysctl -n kern.devstat.all >/dev/null; vmstat >/dev/null",
    "sysctl": "sysctl net.aoe kern.geom.disk >/dev/null 2>&1",
    "label": "glabel status >/dev/null; ls /dev/ufs /dev/gpt >/dev/null 2>&1",
    # An open for writing makes GEOM taste the disk when it is closed.
    "write": "dd if=/dev/zero of=/dev/aoe7.2 bs=4k count=1 2>/dev/null",
}

#: One round: the disks are removed, as soon as nobody has them open, and come back by a beacon. What is used for
#: looking whether they are there opens none of them.
ROUND = r"""
for slot in 0 1 2; do
    tries=0
    while test -e /dev/aoe7.$slot; do
        sysctl net.aoe.target.7.$slot.remove=1 >/dev/null 2>&1
        tries=$((tries + 1)); [ $tries -lt 600 ] || { echo "7.$slot does not go"; exit 1; }
        sleep 0.05
    done
done
tries=0
while ! { test -c /dev/aoe7.0 && test -c /dev/aoe7.1 && test -c /dev/aoe7.2; }; do
    [ $((tries % 20)) -ne 0 ] || sysctl net.aoe.discover=1 >/dev/null
    tries=$((tries + 1)); [ $tries -lt 600 ] || { echo "the disks do not come back"; ls /dev/aoe*; exit 1; }
    sleep 0.05
done
"""


def rounds(t, quick, full):
    return quick if t.config.quick else full


def lookers(t, names=LOOKERS):
    t.guest.run("rm -f /tmp/stop")
    jobs = [t.guest.spawn(forever(f"{{ {LOOKERS[name]}; }} 2>/dev/null")) for name in names]

    def end():
        t.guest.run("touch /tmp/stop")
        for job in jobs:
            job.wait(180)
        t.guest.run("rm -f /tmp/stop")
    return end


def all_is_well(t, count=3):
    """The disks are there, whole, and there is nothing of those that went."""
    for slot in range(count):
        t.wait_disk(7, slot, 30)
        t.guest.run(f"dd if=/dev/aoe7.{slot} of=/dev/null bs=64k 2>/dev/null", 60)
    same(t.guest.run("ls /dev | grep -c '^aoe[0-9]*[.][0-9]*$'"), str(count), "disks")
    same(t.guest.run("sysctl -n kern.geom.conftxt | grep -c ' DISK aoe'"), str(count), "providers")
    same(t.guest.run("sysctl -N kern.geom.disk | grep -c 'disk[.]aoe.*flags'"), str(count), "nodes of GEOM")


@G.test(limit=3600)
def disks_come_and_go_under_tools_that_look(t):
    """200 rounds."""
    for slot in range(3):
        t.vblade(slot=slot, size=8 * MIB, seed=f"tasting {slot}")
    t.load("em0")
    all_is_well(t)
    t.guest.run(f"cat > /tmp/round.sh <<'END'\n{ROUND}\nEND")
    end = lookers(t)
    count = rounds(t, 20, 200)
    job = t.guest.spawn(f"for n in $(jot {count}); do sh /tmp/round.sh || exit 1; echo $n > /tmp/rounds; done")
    job.succeed(60 + 15 * count)
    same(t.guest.run("cat /tmp/rounds"), str(count), "rounds")
    end()
    all_is_well(t)
    need(int(t.leaf("reads")) > 0, "a disk of the last round was never read")


@G.test(limit=3600)
def targets_die_while_they_are_tasted(t):
    """The targets are killed in the middle: a taste waits for a target that does not answer, and whoever asks GEOM for
    anything waits behind it; all of it goes on when the target is back, or when its time is over."""
    servers = [t.vblade(slot=slot, size=8 * MIB, seed=f"tasting {slot}") for slot in range(3)]
    t.load("em0")
    all_is_well(t)
    t.guest.set_sysctl("net.aoe.dead_secs", "3")
    end = lookers(t)
    for n in range(rounds(t, 3, 20)):
        for server in servers:
            server.kill()
            time.sleep((n % 5) * 0.1)
        # Without a word to the guest, and then with a disk that is removed in between.
        if n % 2:
            t.guest.try_run("for s in 0 1 2; do sysctl net.aoe.target.7.$s.remove=1; done", 60)
        time.sleep(1 + n % 4)
        for server in servers:
            server.start()
        for slot in range(3):
            t.wait_disk(7, slot, 60)
            t.wait_state("up", 7, slot, 60)
    end()
    all_is_well(t)


@G.test(limit=3600)
def module_comes_and_goes_under_tools_that_look(t):
    """kldunload waits for GEOM to let go of every disk, and tools hold them for moments all the time."""
    for slot in range(3):
        t.vblade(slot=slot, size=8 * MIB)
    end = lookers(t, [name for name in LOOKERS if name not in ("read", "write")])
    for _ in range(rounds(t, 5, 40)):
        t.load("em0")
        for slot in range(3):
            t.guest.wait_for(f"test -c /dev/aoe7.{slot}", 60, f"disk 7.{slot}")
        done = t.guest.try_run("n=0; until kldunload aoe 2>/dev/null; do "
                               "n=$((n + 1)); [ $n -lt 100 ] || exit 1; sleep 0.1; done", 120)
        need(done.code == 0, "the module did not go in a hundred tries")
        same(t.guest.run("ls /dev | grep -c '^aoe' || true"), "0", "disks without the module")
    end()
    t.load("em0")
    all_is_well(t)


@G.test(limit=1800)
def sizes_change_while_they_are_tasted(t):
    """Growing and shrinking, under the same tools."""
    servers = [t.aoe_target(slot=slot, size=8 * MIB, options=("--follow-size",)) for slot in range(3)]
    t.load("em0")
    all_is_well(t)
    end = lookers(t, [name for name in LOOKERS if name != "write"])
    for n in range(rounds(t, 5, 40)):
        size = (9 + n * 7 % 24) * MIB
        for server in servers:
            with open(server.file, "r+b") as f:
                f.truncate(size)
        for slot in range(3):
            t.guest.run(f"sysctl net.aoe.target.7.{slot}.revalidate=1")
            t.guest.wait_for(f"[ $(diskinfo aoe7.{slot} | awk '{{ print $3 }}') = {size} ]", 60,
                             f"7.{slot} has {size} bytes")
    end()
    all_is_well(t)
