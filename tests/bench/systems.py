# SPDX-License-Identifier: BSD-2-Clause
"""The initiators that are measured: a guest for each, what serves its disks, and how it gets at them."""

import glob
import os

import linux
from figures import MIB
from lib import netlab
from lib.config import CACHE
from lib.guest import Guest
from lib.qemu import Machine
from lib.target import vblade
from symbols import Symbols, loaded

SHELF = 7


class System:
    """An initiator. `bench` has the options, the programs and the exported files."""

    name = title = None
    #: The one that the others are compared with.
    ours = False
    aoe = True
    #: The measuring program in the guest.
    diskbench = "diskbench"
    #: Has an emulated guest read the time from its processor, as real machines do. Left to itself it would from a timer
    #: outside of it, which is dear, since the emulator hides from it that this clock is one and the same for all processors.
    use_tsc = None
    #: More options of its qemu.
    qemu_argv = ()

    def __init__(self, bench):
        self.bench, self.opts = bench, bench.opts

    def why_not(self):
        """Why this host cannot measure it; None if it can."""
        return None

    def takes(self, setup):
        """Is this setup one that the system can have?"""
        return True

    def start(self, stack, lab, setup):
        """The booted guest, on the lab's wires; `stack` ends it."""
        machine = self.machine(lab, setup)
        stack.callback(machine.close)
        machine.start()
        guest = self.guest(machine)
        guest.boot()
        if self.bench.clock == "tsc":
            # Linux takes it a second after it has begun to look at it.
            guest.wait_for(self.use_tsc, 30)
        self.prepare(guest)
        return guest

    def ready(self, stack, setup):
        """The booted guest on wires of its own, with the targets on their other ends, and its device nodes."""
        lab = wires(stack, setup)
        guest = self.start(stack, lab, setup)
        # No switch: the target sits on the other end of the guest's wire.
        self.serve(stack, lab, setup, [segment.tap for segment in lab.segments])
        return guest, self.attach(guest, setup)

    def machine_of(self, cls, lab, setup, disks):
        machine = cls(self.bench.config, lab, os.path.join(self.bench.workdir, self.name), (self.opts.nic,) * setup.paths,
                      disks, memory=1024, cpus=setup.cpus, nic_mtu=max(9000, setup.mtu))
        machine.more_argv = list(self.qemu_argv)
        return machine

    def prepare(self, guest):
        """What the guest needs once, after it has booted."""

    def symbols(self, _guest):
        """The functions of the guest's kernel."""
        return Symbols([])

    def once(self, guest, devices, mode, block, depth, patience=60):
        """One measurement: bytes/s, operations/s, mean and worst in microseconds, operations. None: this system
        has no such thing."""
        command = self.command(devices, mode, block, depth, self.opts.seconds)
        line = guest.run(command, self.opts.seconds * 4 + patience)
        return [float(x) for x in line.split()]

    def command(self, devices, mode, block, depth, seconds):
        return f"{self.diskbench} {','.join(devices)} {mode} {block} {depth} {seconds:g} {self.opts.size * MIB}"

    def serve(self, stack, lab, setup, ends):
        """Puts the files on these interfaces: each target as a vblade on each of them."""
        for interface in ends:
            for slot in range(setup.targets):
                server = vblade(lab, interface, self.bench.files[slot], self.bench.workdir, SHELF, slot).start()
                stack.callback(server.stop)


class FreeBSD(System):
    name, title, ours = "freebsd", "FreeBSD, aoe.ko", True
    guest = Guest
    diskbench = "/aoevm/diskbench"
    use_tsc = "sysctl kern.timecounter.hardware=TSC-low"

    def machine(self, lab, setup):
        tools = self.bench.config.tools_tar(os.path.join(self.bench.workdir, "tools.tar"), self.tools())
        return self.machine_of(Machine, lab, setup, [(tools, "tools")])

    def tools(self):
        return {"diskbench": self.bench.programs["freebsd"]}

    def prepare(self, guest):
        guest.run("mkdir -p /aoevm && tar xpf /dev/vtbd1 -C /aoevm", 60)
        self.load(guest)

    def load(self, guest):
        guest.run("kldload /aoevm/aoe.ko", 60)

    def modules(self):
        """The modules that are loaded, and where they are on the host."""
        return {"aoe.ko": self.bench.config.module}

    def symbols(self, guest):
        return loaded(guest, {"kernel": self.bench.config.kernel} | self.modules())

    def interfaces(self, guest, setup):
        """The network cards, up and at the MTU of this setup."""
        names = [f"{self.opts.nic}{i}" for i in range(setup.paths)]
        for name in names:
            guest.run(f"ifconfig {name} mtu {setup.mtu} up")
        return names

    def attach(self, guest, setup):
        """The disks at this setup; their device nodes."""
        guest.set_sysctl("net.aoe.iflist", " ".join(self.interfaces(guest, setup)))
        devices = []
        for slot in range(setup.targets):
            devices.append(f"/dev/aoe{SHELF}.{slot}")
            guest.wait_for(f"test -c {devices[-1]}", 20)
            for path in range(setup.paths):
                leaf = f"net.aoe.target.{SHELF}.{slot}.path.{path}.state"
                guest.wait_for(f'test "$(sysctl -n {leaf})" = up', 20)
        return devices

    def detach(self, guest):
        guest.run("sysctl net.aoe.iflist= && kldunload aoe && kldload /aoevm/aoe.ko", 60)

    def idle_time(self, guest):
        """What the guest's processors have been idle, and existed, in its own ticks."""
        ticks = [int(word) for word in guest.sysctl("kern.cp_time").split()]
        return ticks[4], sum(ticks)


class Linux(System):
    name, title = "linux", "Linux, aoe"
    guest = linux.LinuxGuest
    use_tsc = "grep -x tsc /sys/devices/system/clocksource/clocksource0/current_clocksource"

    def machine(self, lab, setup):
        machine = self.machine_of(linux.LinuxMachine, lab, setup, [])
        image, busybox = linux.unpack_packages(CACHE)
        (machine.vmlinuz,) = glob.glob(os.path.join(image, "boot/vmlinuz-*"))
        machine.tsc = self.bench.clock == "tsc"
        machine.initramfs = linux.write_initramfs(os.path.join(self.bench.workdir, "initramfs"), image, busybox,
                                                  self.bench.programs["linux"])
        return machine

    def attach(self, guest, setup):
        names = [f"eth{i}" for i in range(setup.paths)]
        for name in names:
            guest.run(f"ip link set {name} mtu {setup.mtu} up")
            guest.wait_for(f"test $(cat /sys/class/net/{name}/carrier) = 1", 20, step="0.2")
        guest.run(f'insmod /modules/aoe.ko aoe_iflist="{" ".join(names)}"')
        devices = []
        for slot in range(setup.targets):
            devices.append(f"/dev/etherd/e{SHELF}.{slot}")
            guest.wait_for(f"test -b {devices[-1]}", 20, step="0.2")
            reached = f"/sys/block/etherd!e{SHELF}.{slot}/netif"
            guest.wait_for(f"test $(tr , '\\n' < '{reached}' | wc -w) = {setup.paths}", 20, step="0.2")
        return devices

    def detach(self, guest):
        guest.run("rmmod aoe", 60)

    def idle_time(self, guest):
        ticks = [int(word) for word in guest.run("head -n 1 /proc/stat").split()[1:9]]
        return ticks[3] + ticks[4], sum(ticks)


def wires(stack, setup):
    """A lab with the guest's wires, which end where its cards do: no switch."""
    lab = netlab.Lab()
    stack.callback(lab.close)
    for _ in range(setup.paths):
        segment = lab.add_segment(setup.mtu)
        lab.ip(f"link set {segment.tap} nomaster up")
    return lab
