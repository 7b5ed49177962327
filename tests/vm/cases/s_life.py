# SPDX-License-Identifier: BSD-2-Clause
"""The module's beginnings and ends: every step of loading and unloading fails once, hooks that others unlink,
disks that go while their target is worked for."""

import os
import re
import threading
import time

from cases.f_shutdown import loader_disk
from lib.case import MIB, MODULE, Group, target_arguments
from lib.guest import forever
from lib.target import Server, make_disk, vblade
from lib.util import TestFailure, TestSkipped, need, same

G = Group("life", nics=("em", "vtnet"))


def point_failed(t, mark):
    """The number of the point that failed by request since `mark` of the console, or None."""
    said = t.machine.console.since(mark).replace(b"\r", b"").decode(errors="replace")
    found = re.search(r"^aoe: point (\d+) fails, as it was told to$", said, re.M)
    return int(found[1]) if found else None


def set_point(t, what, number):
    t.guest.run(f"kenv debug.aoe.fail_{what}={number} >/dev/null")


def needs_points(t):
    """Points that can fail are only in modules for kernels that check themselves."""
    set_point(t, "load", 1)
    mark = t.machine.console.mark()
    done = t.guest.try_run(f"kldload {MODULE}")
    t.guest.run("sleep 0.3; kenv -u debug.aoe.fail_load >/dev/null")
    if done.code == 0:
        raise TestSkipped("the module was built without points that can fail (it needs INVARIANTS)")
    same(point_failed(t, mark), 1, "the point that failed")


def works(t):
    """The module serves a disk: whole, and found anew."""
    t.wait_disk(timeout=20)
    t.wait_state("up")
    t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=64k count=16 2>/dev/null", 60)


@G.test(limit=900)
def every_step_of_loading_fails_once(t):
    """A load that fails says so, leaves nothing behind, and the next one works."""
    needs_points(t)
    t.vblade(seg=0, seed="points")
    t.defer("kenv -q -u debug.aoe.fail_load; true")
    before = t.guest.run("vmstat -m | awk '$1 == \"aoe\"'; sysctl -N net.aoe 2>/dev/null; true")
    number = 0
    while True:
        number += 1
        set_point(t, "load", number)
        mark = t.machine.console.mark()
        done = t.guest.try_run(f"kldload {MODULE}", 30)
        t.guest.run("sleep 0.2")
        if point_failed(t, mark) is None:
            break
        need(done.code != 0, f"the load succeeded though point {number} failed")
        need(not t.loaded(), f"the module is there after point {number} failed")
        same(t.guest.run("vmstat -m | awk '$1 == \"aoe\"'; sysctl -N net.aoe 2>/dev/null; true"), before,
             f"what is left after point {number} failed")
        t.guest.fails("kldunload aoe", "find file|not loaded|No such")
        t.check_console()
    t.say(f"{number - 1} points of loading failed once each")
    need(number > 10, f"there are only {number - 1} points")
    t.guest.set_sysctl("net.aoe.iflist", "em0")
    works(t)
    t.unload()
    # And at once, without a fault, once more.
    t.load("em0")
    works(t)


@G.test(limit=900)
def every_step_of_unloading_fails_once(t):
    """An unload that is refused half-way leaves a module that works: its interfaces are listed, its disks can be
    opened, new targets are found; and the next unload works."""
    needs_points(t)
    t.vblade(seg=0, seed="points")
    t.vblade(seg=1, shelf=7, slot=1, seed="other")
    t.defer("kenv -q -u debug.aoe.fail_unload; true")
    number = 0
    while True:
        number += 1
        if not t.loaded():
            t.load("em0 vtnet0")
        works(t)
        t.wait_disk(7, 1)
        set_point(t, "unload", number)
        mark = t.machine.console.mark()
        done = t.guest.try_run("kldunload aoe", 90)
        t.guest.run("sleep 0.2")
        if point_failed(t, mark) is None:
            break
        need(done.code != 0, f"the unload succeeded though point {number} failed")
        same(t.guest.sysctl("net.aoe.iflist"), "em0 vtnet0", f"iflist after point {number} failed")
        t.guest.run("kenv -u debug.aoe.fail_unload >/dev/null")
        works(t)
        late = t.vblade(seg=0, port=1, shelf=8, slot=number % 250)
        t.guest.set_sysctl("net.aoe.discover", "1")
        t.wait_disk(8, number % 250)
        late.stop()
        t.check_console()
    t.say(f"{number - 1} points of unloading failed once each")
    need(number > 5, f"there are only {number - 1} points")
    need(done.code == 0 and not t.loaded(), f"the unload without a fault failed: {done!r}")


@G.test(limit=600)
def a_hook_that_was_unlinked_by_hand(t):
    """pfilctl(8) takes the module's hook out: no frame comes in any more. The module can be unloaded all the same;
    and an unload that is refused puts everything back."""
    if t.guest.try_run("test -x /sbin/pfilctl").code != 0:
        raise TestSkipped("the guest has no pfilctl(8)")
    t.vblade(seg=0, seed="hook")

    def unlink():
        t.guest.run("pfilctl unlink -i aoe:default ethernet")

    t.load("em0")
    t.wait_disk()
    unlink()
    t.unload()
    t.load("em0")
    works(t)
    unlink()
    reader = t.guest.spawn("exec 3</dev/aoe7.0; while ! test -e /tmp/close; do sleep 0.2; done")
    t.guest.fails("kldunload -f aoe", "busy", 60)
    # The list is what the operator writes; an unload that fails after that has linked the hook again.
    t.guest.set_sysctl("net.aoe.iflist", "")
    t.guest.set_sysctl("net.aoe.iflist", "em0")
    t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=64k count=4 2>/dev/null", 60)
    t.guest.run("touch /tmp/close")
    reader.succeed(20)
    unlink()
    t.unload()


@G.test(limit=600)
def disks_go_while_their_targets_are_worked_for(t):
    """Disks are removed and found again, while the module's thread is kept busy with the same targets."""
    for slot in range(3):
        t.vblade(seg=0, port=slot, slot=slot, size=8 * MIB, seed=f"go{slot}")
    t.load("em0")
    for slot in range(3):
        t.wait_disk(7, slot)
    busy = t.guest.spawn(forever("sysctl net.aoe.discover=1; sysctl net.aoe.quarantine_secs=10; "
                                 "sysctl net.aoe.target; geom disk status -s; "
                                 "for s in 0 1 2; do sysctl net.aoe.target.7.$s.revalidate=1; done") + " >/dev/null 2>&1")
    rounds = 20 if t.config.quick else 100
    t.guest.run(f"for n in $(jot {rounds}); do for s in 0 1 2; do sysctl net.aoe.target.7.$s.remove=1; done; "
                "sleep 0.1; done >/dev/null 2>&1", 30 + rounds)
    t.guest.run("touch /tmp/stop")
    busy.wait(60)
    t.guest.set_sysctl("net.aoe.discover", "1")
    for slot in range(3):
        t.wait_disk(7, slot, timeout=20)
        t.guest.run(f"dd if=/dev/aoe7.{slot} of=/dev/null bs=64k count=4 2>/dev/null")
    time.sleep(0.5)


# -- before the root file system is mounted ---------------------------------------------------------------------------

#: The machine waits for 7.1, and has no use for 7.0, whose disk hangs.
EARLY = ('aoe_load="YES"\nboot_verbose="YES"\nnet.aoe.iflist="em0"\nnet.aoe.boot_targets="7.1"\n'
         'net.aoe.boot_wait_secs="120"\nvfs.root_mount_always_wait="1"\n')


def early(config, workdir):
    """A machine that starts beside a target that is there already; the one that it waits for comes later."""
    if config.kernel is None:
        raise TestSkipped("needs --kernel and --loader-disk")
    image = loader_disk(config, workdir, EARLY)
    hang = os.path.join(workdir, "hang")

    def before(machine):
        lab = machine.lab
        with open(hang, "wb"):
            pass
        file = make_disk(os.path.join(workdir, "7.0.img"), 32 * MIB)
        options = ("--kind", "ggaoed", "--hang-file", hang)
        ports = [lab.segments[0].port(number) for number in range(2)]
        argv = [config.find_program("aoe-target")] + target_arguments(ports[0], 7, 0, file, options)
        hung = Server(lab, ports[0], argv, os.path.join(workdir, "aoe-target.log"), file, (7, 0))
        wanted = vblade(lab, ports[1], make_disk(os.path.join(workdir, "7.1.img"), 32 * MIB, "early"), workdir, 7, 1)
        machine.early = [hung.start(), wanted]

        def later():
            end = time.monotonic() + 300
            while time.monotonic() < end:
                said = machine.console.since(0) if machine.console else b""
                if re.search(rb"^aoe: aoe7\.0: <", said, re.M):
                    time.sleep(3)
                    wanted.start()
                    return
                time.sleep(0.2)

        threading.Thread(target=later, daemon=True).start()

    return {"loader_disk": image, "before": before}


@G.test(own_vm=True, limit=900, machine=early)
def only_boot_targets_are_disks_before_the_root_is_mounted(t):
    """A target that the machine has no use for answers questions while its disk hangs: the root mount, which waits for
    GEOM, does not wait for it. After the root is mounted its disk is there."""
    for server in t.machine.early:
        t.servers.append(server)
        t.stack.callback(server.stop)
    said = t.machine.console.since(0).replace(b"\r", b"").decode(errors="replace")

    def position(pattern):
        found = re.search(pattern, said, re.M)
        if not found:
            raise TestFailure(f"the console does not say {pattern!r}:\n{said[-3000:]}")
        return found.start()

    # The kernel says this when the root is mounted.
    root = position(r"^start_init: trying ")
    need(position(r"^aoe: aoe7\.0: <") < root, "the target that hangs was not known before the root mount")
    need(position(r"^GEOM: new disk aoe7\.1") < root, "the boot target was no disk before the root mount")
    t.wait_disk(7, 1)
    t.guest.run("dd if=/dev/aoe7.1 of=/dev/null bs=64k count=4")
    t.guest.wait_for("test -e /dev/aoe7.0", 90, "the other target's disk")
    said = t.machine.console.since(0).replace(b"\r", b"").decode(errors="replace")
    need(position(r"^GEOM: new disk aoe7\.0") > root, "the other target became a disk before the root was mounted")
    os.remove(os.path.join(t.dir, "hang"))
    t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=64k count=4", 90)
    # GEOM_PART holds it, too, for as long as it looks at a disk.
    t.guest.wait_for('[ -z "$(sysctl -n vfs.root_mount_hold)" ]', 60, "nothing holds the root mount")
    t.unload()
