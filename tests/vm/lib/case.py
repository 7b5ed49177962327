# SPDX-License-Identifier: BSD-2-Clause
"""What a test is, and what it has in its hands while it runs."""

import contextlib
import os
import re

from .relay import Relay
from .scan import Scanner
from .target import Ggaoed, Server, make_disk, vblade
from .util import TestFailure, TestSkipped, need, same, wait_until
from .wire import Injector, Sniffer

MODULE = "/aoevm/aoe.ko"
MIB = 1 << 20
ALL = []


class Group:
    """Tests that share a guest. `nics` are the guest's interfaces, one switch each."""

    def __init__(self, name, nics=("em", "vtnet"), memory=1024, tree=False):
        self.name, self.nics, self.memory, self.tree = name, tuple(nics), memory, tree
        self.tests = []
        ALL.append(self)

    def test(self, fn=None, *, own_vm=False, limit=300, machine=None):
        """Decorator. `own_vm`: a guest of its own, because the test reboots or breaks it; `machine`
        gives what is special about it, from the configuration and the test's directory."""
        def register(f):
            self.tests.append(Test(self, f, own_vm, limit, machine))
            return f
        return register(fn) if fn else register


class Test:
    def __init__(self, group, function, own_vm, limit, machine):
        self.group, self.function, self.own_vm, self.limit = group, function, own_vm, limit
        self.machine = machine
        self.name = f"{group.name}.{function.__name__}"


class Rig:
    """A booted guest with its lab; lives through the tests of a group."""

    def __init__(self, config, lab, machine, guest, tree=None):
        self.config, self.lab, self.machine, self.guest, self.tree = config, lab, machine, guest, tree
        self.scanner = Scanner(machine.console)

    def close(self):
        self.machine.close()
        self.lab.close()


class Context:
    """One test's view of the rig. Whatever it starts is stopped when the test ends."""

    def __init__(self, rig, workdir, say):
        self.rig, self.dir, self.say = rig, workdir, say
        self.guest, self.lab, self.machine, self.config = rig.guest, rig.lab, rig.machine, rig.config
        self.stack = contextlib.ExitStack()
        self.guest_stack = contextlib.ExitStack()
        self.allowed, self.servers = [], []
        self.spoiled = False
        self.start_of_console = rig.machine.console.mark()
        os.makedirs(workdir, exist_ok=True)

    # -- the host's side ----------------------------------------------------------------------

    def disk(self, name, size=64 * MIB, seed=None):
        return make_disk(os.path.join(self.dir, name), size, seed)

    def vblade(self, seg=0, port=0, shelf=7, slot=0, size=64 * MIB, seed=None, file=None,
               options=("-b", "128"), ifname=None, start=True, program="vblade"):
        """A vblade on server port `port` of a switch; makes its backing file unless one is given."""
        ifname = ifname or self.lab.segments[seg].port(port)
        file = file or self.disk(f"{shelf}.{slot}.img", size, seed)
        server = vblade(self.lab, ifname, file, self.dir, shelf, slot, options, program)
        self.servers.append(server)
        self.stack.callback(server.stop)
        return server.start() if start else server

    def newest_vblade(self, **kw):
        """The vblade that the configuration names, beside the installed one."""
        if self.config.vblade is None:
            raise TestSkipped("no other vblade is given (--vblade)")
        return self.vblade(program=self.config.vblade, **kw)

    def ggaoed(self, segs=(0,), shelf=7, slot=0, size=64 * MIB, seed=None, file=None, settings=None):
        """A ggaoed on the first server port of these switches."""
        if self.config.ggaoed is None:
            raise TestSkipped("no ggaoed is given (--ggaoed)")
        ifnames = [self.lab.segments[seg].port(0) for seg in segs]
        file = file or self.disk(f"{shelf}.{slot}.img", size, seed)
        server = Ggaoed(self.lab, ifnames, self.config.ggaoed, file, self.dir, shelf, slot, settings)
        self.servers.append(server)
        self.stack.callback(server.stop)
        return server.start()

    def aoe_target(self, seg=0, port=0, shelf=7, slot=0, size=64 * MIB, seed=None, file=None, options=()):
        """This project's own target, for what vblade cannot do."""
        ifname = self.lab.segments[seg].port(port)
        file = file or self.disk(f"{shelf}.{slot}.img", size, seed)
        argv = [self.config.find_program("aoe-target")] + target_arguments(ifname, shelf, slot, file, options)
        log = os.path.join(self.dir, f"aoe-target-{shelf}.{slot}-{ifname}.log")
        server = Server(self.lab, ifname, argv, log, file, (shelf, slot))
        self.servers.append(server)
        self.stack.callback(server.stop)
        return server.start()

    def relay(self, seg=0, seed=1):
        """A relay between the guest's interface and its switch; without faults until it is told of some.
        What it sends to the guest is not seen by a sniffer on the tap."""
        ends = self.lab.segments[seg].cut_open()
        relay = Relay(self.lab, *ends, self.config.find_program("aoe-relay"), self.dir, seed)
        self.servers.append(relay)
        self.stack.callback(relay.stop)
        return relay.start()

    def sniff(self, seg):
        sniffer = Sniffer(self.lab, self.lab.segments[seg].tap)
        self.stack.callback(sniffer.close)
        return sniffer

    def injector(self, seg=0, port=9):
        injector = Injector(self.lab, self.lab.segments[seg].port(port))
        self.stack.callback(injector.close)
        return injector

    # -- the guest's side -----------------------------------------------------------------------

    def load(self, iflist=None):
        self.guest.run("rm -f /tmp/stop /tmp/close")
        self.guest.run(f"kldload {MODULE}", 30)
        if iflist is not None:
            self.guest.set_sysctl("net.aoe.iflist", iflist)

    def loaded(self):
        return self.guest.try_run("kldstat -q -n aoe.ko").code == 0

    def unload(self):
        self.guest.run("kldunload aoe", 60)

    def up(self, *names):
        for name in names:
            self.guest.run(f"ifconfig {name} up")

    def wait_disk(self, shelf=7, slot=0, timeout=15):
        name = f"/dev/aoe{shelf}.{slot}"
        self.guest.wait_for(f"test -c {name}", timeout, f"{name} appears")
        # Comes back when GEOM has tasted the disk; until then it cannot be opened exclusively.
        self.guest.run("sysctl -n kern.geom.conftxt >/dev/null", timeout)
        return name

    def wait_gone(self, shelf=7, slot=0, timeout=15):
        name = f"/dev/aoe{shelf}.{slot}"
        self.guest.wait_for(f"! test -e {name}", timeout, f"{name} goes away")

    def leaf(self, name, shelf=7, slot=0):
        return self.guest.sysctl(f"net.aoe.target.{shelf}.{slot}.{name}")

    def wait_state(self, state, shelf=7, slot=0, timeout=20):
        wait_until(f"target {shelf}.{slot} is {state}", lambda: self.leaf("state", shelf, slot) == state,
                   timeout, 0.3)

    def console(self):
        """What the console said since this test began."""
        return self.machine.console.since(self.start_of_console).replace(b"\r", b"").decode(errors="replace")

    def wait_console(self, pattern, timeout=15):
        return wait_until(f"the console says {pattern!r}", lambda: re.search(pattern, self.console(), re.M),
                          timeout, 0.2)

    def allow(self, pattern):
        """A forbidden console line that this test provokes on purpose."""
        self.allowed.append(pattern)

    def defer(self, command, timeout=60):
        """A guest command for the end of the test, successful or not; it must succeed."""
        self.guest_stack.callback(lambda: self.guest.run(command, timeout))

    # -- the end --------------------------------------------------------------------------------

    def check_console(self):
        found = self.rig.scanner.complaints(self.allowed)
        if found:
            raise TestFailure("the console says: " + " | ".join(found[:5]))

    def finish(self):
        """Takes down what the test has put up. A module that cannot be unloaded now is a failure.

        Targets go last: the kernel tastes a disk that has just been closed, and would wait for them."""
        self.guest_stack.close()
        done = self.guest.try_run(RESET, 120)
        same(done.code, 0, f"exit of the clean-up ({done.out.strip()})")
        need(not self.loaded(), "aoe.ko is still loaded after the test")
        self.stack.close()
        for seg in self.lab.segments:
            seg.reset()


#: Ends what holds a disk, unloads the module, and puts the interfaces back to where boot left them.
RESET = r"""
touch /tmp/stop /tmp/close
pkill -x dd; pkill -x tar
rm -f /tmp/job*
for m in $(mount -p | awk '$2 ~ "^/mnt" { print $2 }' | sort -r); do umount -f $m || exit 1; done
# A mirror that is stopped is tasted again, and starts again, as long as its metadata are there.
sysctl -q kern.geom.notaste=1
for g in $(gmirror status -s 2>/dev/null | awk '{ print $1 }' | sort -u); do gmirror stop -f ${g#mirror/}; done
for d in $(geom disk status -s 2>/dev/null | awk '$1 ~ "^aoe" { print $1 }'); do gmirror clear $d 2>/dev/null; done
sysctl -q kern.geom.notaste=0
for p in $(geli status -s 2>/dev/null | awk '{ print $1 }'); do geli detach -f $p; done
if kldstat -q -n aoe.ko; then kldunload aoe || { geom disk list | grep -A9 aoe; exit 1; }; fi
for i in $(ifconfig -l); do case $i in lagg*|bridge*|vlan*|epair*a) ifconfig $i destroy || exit 1;; esac; done
for i in $(ifconfig -l); do case $i in em*|vtnet*) ifconfig $i up mtu 1500 || exit 1;; esac; done
"""


def target_arguments(ifname, shelf, slot, file, options):
    return ["--shelf", str(shelf), "--slot", str(slot)] + list(options) + [ifname, file]
