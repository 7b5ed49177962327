# SPDX-License-Identifier: BSD-2-Clause
"""Everything at once: races between all that comes, goes and changes; and memory that runs short."""

import hashlib
import time

from cases.c_files import set_mtu
from lib.case import MIB, MODULE, Group
from lib.guest import forever
from lib.util import TestSkipped, need, same

G = Group("stress", nics=("em", "vtnet"), memory=512)


#: What happens all the time; each is a loop of its own in the guest. Any of them may be refused.
DISTURBANCES = {
    "iflist": ("for l in em0 '' 'em0 vtnet0' vtnet0 'em0 vlan7' 'em0,vtnet0'; do "
               "sysctl net.aoe.iflist=\"$l\"; sleep 0.2; done"),
    "link": "ifconfig em0 down; sleep 0.1; ifconfig em0 up; sleep 0.7",
    "mtu": "for m in 1500 4200 9000; do ifconfig vtnet0 mtu $m; sleep 0.3; done",
    "vlan": "ifconfig vlan7 create vlan 7 vlandev em0 up; sleep 0.2; ifconfig vlan7 destroy; sleep 0.2",
    "rename": "ifconfig vtnet0 name wire0; sleep 0.2; ifconfig wire0 name vtnet0; sleep 0.5",
    "sysctl": "sysctl net.aoe; sysctl net.aoe.discover=1; sysctl net.aoe.dead_secs=1; sysctl net.aoe.dead_secs=0",
    "read": "dd if=/dev/aoe7.0 of=/dev/null bs=64k count=40; sleep 0.05",
    "geom": "diskinfo -v aoe7.0; sysctl -n kern.geom.conftxt; sleep 0.1",
}


def quiet(command):
    return f"( {command} ) >/dev/null 2>&1"


def storm(t, disturbances, seconds, between):
    """Runs the disturbances for some time, and `between` every second; they all end."""
    t.guest.run("rm -f /tmp/stop")
    jobs = [t.guest.spawn(forever(quiet(DISTURBANCES[name]))) for name in disturbances]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        between()
        time.sleep(1)
    t.guest.run("touch /tmp/stop")
    for job in jobs:
        job.wait(120)
    t.guest.try_run("ifconfig wire0 name vtnet0; ifconfig vlan7 destroy; true")
    t.guest.run("ifconfig em0 up; ifconfig vtnet0 mtu 1500 up; rm -f /tmp/stop", 30)


def calm_again(t, digest):
    """After the storm the disk is there and right."""
    t.guest.set_sysctl("net.aoe.dead_secs", "0")
    t.guest.set_sysctl("net.aoe.iflist", "em0 vtnet0")
    t.wait_disk(timeout=30)
    t.wait_state("up")
    same(t.guest.run("dd if=/dev/aoe7.0 bs=1m 2>/dev/null | sha256 -q", 60), digest, "sum of the disk")


def digest_of(vb):
    with open(vb.file, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


@G.test(limit=900)
def interfaces_lists_and_io_at_once(t):
    """Interfaces go down, change, are renamed and destroyed, the list changes, targets restart: all at
    the same time, under a reader. None of it may hang, crash, or change what is read."""
    vb = t.vblade(seg=0, seed="storm")
    t.vblade(seg=1, file=vb.file)
    t.load("em0 vtnet0")
    t.wait_disk()
    want = digest_of(vb)
    storm(t, DISTURBANCES, 20 if t.config.quick else 120, lambda: (vb.kill(), vb.start()))
    calm_again(t, want)


@G.test(limit=900)
def load_unload_and_everything_else(t):
    """The module itself comes and goes in the middle of it. An unload may be refused, as the disk is open
    now and then; it may not hang, and what is gone leaves nothing behind."""
    vb = t.vblade(seg=0, seed="storm")
    want = digest_of(vb)
    t.load("em0 vtnet0")
    seen = {"loaded": 0, "unloaded": 0}

    def come_and_go():
        if t.loaded():
            seen["unloaded"] += t.guest.try_run("kldunload -f aoe", 60).code == 0
        else:
            seen["loaded"] += t.guest.try_run(f"kldload {MODULE} && sysctl net.aoe.iflist=em0", 60).code == 0

    names = [name for name in DISTURBANCES if name != "link"]
    storm(t, names, 20 if t.config.quick else 120, come_and_go)
    need(min(seen.values()) >= 3, f"the module hardly came and went: {seen}")
    if not t.loaded():
        t.load()
    calm_again(t, want)


def pressure(t, megabytes):
    """Fills a memory file system far beyond the machine's memory; the command that tells its sum."""
    t.guest.run("mkdir -p /mnt/t && mount -t tmpfs -o size=700m tmpfs /mnt/t")
    return (f"dd if=/dev/aoe7.1 of=/mnt/t/big bs=1m count={megabytes} && sync && "
            f"dd if=/mnt/t/big bs=1m 2>/dev/null | sha256 -q")


@G.test(limit=900)
def swap_on_an_aoe_disk(t):
    """More is written to a memory file system than the machine has memory, so most of it goes out to swap on
    an AoE disk and comes back from there, in the middle of it the target is away for 10 s."""
    # A page in a frame.
    t.lab.segments[0].port(0)
    set_mtu(t, 0, "em0", 9000)
    # What came back from swap keeps its place there, so there has to be room for all of it.
    vb = t.vblade(seg=0, shelf=7, slot=0, size=1024 * MIB)
    megabytes = 560
    data = t.vblade(seg=1, shelf=7, slot=1, size=(megabytes + 8) * MIB, seed="swap")
    with open(data.file, "rb") as f:
        want = hashlib.sha256(f.read(megabytes * MIB)).hexdigest()
    t.load("em0 vtnet0")
    t.wait_disk(7, 0)
    t.wait_disk(7, 1)
    # With swap out of reach the kernel kills what it can, sooner or later. Here that is later; and not this shell.
    before = t.guest.sysctl("vm.pageout_oom_seq")
    t.guest.set_sysctl("vm.pageout_oom_seq", "10000")
    t.defer(f"sysctl vm.pageout_oom_seq={before}")
    t.guest.run("protect -i -p $$")
    t.guest.run("swapon /dev/aoe7.0")
    t.guest_stack.callback(lambda: t.guest.run("umount -f /mnt/t; swapoff /dev/aoe7.0", 300))
    job = t.guest.spawn(pressure(t, megabytes))
    t.guest.wait_for("[ $(swapctl -sk | awk '{ print $3 }') -gt 65536 ]", 300, "64 MiB are swapped out")
    vb.kill()
    time.sleep(10)
    vb.start()
    t.wait_state("up", timeout=60)
    same(job.succeed(420).split()[-1], want, "sum of what was swapped out and in")
    used = int(t.guest.run("swapctl -sk | awk '{ print $3 }'"))
    need(used > 65536, f"only {used} KiB of swap were in use")
    t.guest.fails("kldunload -f aoe", "busy", 60)


# -- network buffers ------------------------------------------------------------------------------------------------

#: A kernel with few network buffers, and with an interface queue that holds all of them.
FEW_BUFFERS = {"kern.ipc.nmbufs": "12000", "kern.ipc.nmbclusters": "3000", "kern.ipc.nmbjumbop": "3000",
               "kern.ipc.nmbjumbo9": "600", "kern.ipc.nmbjumbo16": "300", "net.link.ifqmaxlen": "100000"}


def few_buffers(config, _workdir):
    if config.kernel is None:
        raise TestSkipped("a root image with its own loader cannot be given these tunables")
    return {"loader_env": FEW_BUFFERS}


def denied(t):
    """Requests for network buffers that the kernel could not meet."""
    words = t.guest.run("netstat -m | grep 'requests for mbufs denied'").split()[0]
    return sum(int(word) for word in words.split("/"))


@G.test(own_vm=True, limit=600, machine=few_buffers)
def exhausted_network_buffers_count_as_loss(t):
    """Somebody takes every network buffer of the kernel and gives them back 15 s later, twice, under a writer and a
    reader. Neither sees an error, and both are done in the end; frames of the reserve were used."""
    vb = t.vblade(seg=0, size=48 * MIB, seed="buffers")
    want = digest_of(vb)
    other = t.vblade(seg=0, port=1, slot=1, size=48 * MIB)
    t.load("em0")
    t.wait_disk()
    t.wait_disk(7, 1)
    # A tap that is open and not read keeps what is sent to it; a multicast address need not be asked for.
    t.guest.run("kldload -n if_tuntap; ifconfig tap0 create && ifconfig tap0 inet 10.99.0.1/24 up")
    t.defer("ifconfig tap0 destroy")
    copy = t.guest.spawn("n=0; while ! test -e /tmp/stop; do dd if=/dev/aoe7.0 of=/dev/aoe7.1 bs=1m 2>/dev/null || exit 1; "
                         "n=$((n + 1)); done; echo $n")
    before = denied(t)
    for _ in range(2):
        job = t.guest.spawn("( sleep 20 ) < /dev/tap0 & sleep 0.5; "
                            "timeout 14 ping -q -L -I 10.99.0.1 -i 0.001 -s 30000 224.0.0.99 >/dev/null; wait")
        job.wait(120)
        t.guest.run("sleep 3")
    t.guest.run("touch /tmp/stop")
    rounds = int(copy.succeed(180).split()[-1])
    short, used = denied(t) - before, int(t.guest.sysctl("net.aoe.reserve_used"))
    t.say(f"{short} requests for buffers were denied, {used} frames came from the reserve, {rounds} copies were made")
    need(short > 100, f"only {short} requests for buffers were denied")
    need(used > 0, "the reserve was not used")
    same(t.leaf("errors"), "0", "errors of the reader")
    same(t.leaf("errors", 7, 1), "0", "errors of the writer")
    same(t.guest.run("dd if=/dev/aoe7.1 bs=1m 2>/dev/null | sha256 -q", 60), want, "sum of the copy")
    same(digest_of(other), want, "sum of the copy on the target")
