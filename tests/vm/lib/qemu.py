# SPDX-License-Identifier: BSD-2-Clause
"""One virtual machine: its command line, its two serial lines, its control socket."""

import json
import os
import shutil
import socket
import subprocess
import time

from .serial import FATAL, SerialLine
from .util import GuestDied, HarnessError, limit, stop

#: qemu device model of each kind of guest interface, and the driver that FreeBSD uses for it.
NIC_MODELS = {"em": "e1000", "vtnet": "virtio-net-pci"}

#: Debian's UEFI firmware, for a guest that boots by a loader.
OVMF = "/usr/share/ovmf/OVMF.fd"


class Machine:
    """`nics` is a list of kinds ("em", "vtnet"); the i-th is attached to segment i of the lab."""

    def __init__(self, config, lab, workdir, nics, disks, memory=1024, cpus=2, nic_mtu=9000):
        self.config, self.lab, self.workdir = config, lab, workdir
        os.makedirs(workdir, exist_ok=True)
        self.nics = list(nics)
        self.memory, self.cpus, self.nic_mtu = memory, cpus, nic_mtu
        self.disks = list(disks)
        self.loader_env = {}
        self.reboots = False
        self.loader_disk = None
        #: The root image is a disk of the machine. Its disks are numbered without it otherwise.
        self.local_root = True
        #: Options of qemu beyond those that all machines have.
        self.more_argv = []
        self.process = None
        self.console = self.control = None
        self._qmp = None

    def path(self, name):
        return os.path.join(self.workdir, name)

    def mac(self, index):
        return f"52:54:00:a0:e0:{index:02x}"

    def _nic_device(self, i):
        device = {"driver": NIC_MODELS[self.nics[i]], "id": f"nic{i}", "netdev": f"net{i}", "mac": self.mac(i)}
        if self.nics[i] == "vtnet":
            device["host_mtu"] = self.nic_mtu
        return device

    def _nic_args(self):
        out = []
        for i in range(len(self.nics)):
            out += ["-netdev", f"tap,id=net{i},ifname=tap{i},script=no,downscript=no"]
            words = [f"{k}={v}" for k, v in self._nic_device(i).items() if k != "driver"]
            out += ["-device", ",".join([NIC_MODELS[self.nics[i]]] + words)]
        return out

    def _disk_args(self):
        c = self.config
        out = []
        if self.local_root:
            out += ["-drive", f"file={c.root},if=none,id=root,format={c.root_format},snapshot=on,cache=unsafe",
                    "-device", "virtio-blk-pci,drive=root,serial=root"]
        for i, (path, serial) in enumerate(self.disks):
            out += ["-drive", f"file={path},if=none,id=d{i},format=raw,readonly=on",
                    "-device", f"virtio-blk-pci,drive=d{i},serial={serial}"]
        if self.loader_disk:
            out += ["-drive", f"file={self.loader_disk},if=none,id=loader,format=raw,snapshot=on",
                    "-device", "virtio-blk-pci,drive=loader,serial=loader,bootindex=0"]
        return out

    def _boot_args(self):
        c = self.config
        if self.loader_disk:
            return self.firmware_args(c.firmware or OVMF)
        if c.kernel:
            env = dict(c.boot_env)
            env.update(self.loader_env)
            return ["-kernel", c.kernel, "-append", ",".join(f"{k}={v}" for k, v in env.items())]
        if c.firmware:
            return self.firmware_args(c.firmware)
        return []

    @staticmethod
    def firmware_args(firmware):
        return ["-bios", firmware]

    def argv(self):
        c = self.config
        out = ["qemu-system-x86_64", "-machine", f"pc,accel={c.accel}", "-smp", str(self.cpus),
               "-m", str(self.memory), "-nodefaults", "-no-user-config", "-display", "none"]
        if not self.reboots:
            out.append("-no-reboot")
        if c.cpu:
            out += ["-cpu", c.cpu]
        for name in ("console", "control"):
            out += ["-chardev", f"socket,id={name},path={self.path(name)},server=on,wait=off",
                    "-serial", f"chardev:{name}"]
        out += ["-qmp", f"unix:{self.path('qmp')},server=on,wait=off"]
        return out + self._boot_args() + self._disk_args() + self._nic_args() + self.more_argv

    def start(self):
        argv = self.argv()
        with open(self.path("qemu.cmd"), "w", encoding="utf-8") as f:
            f.write(" ".join(argv) + "\n")
        with open(self.path("qemu.log"), "ab") as log:
            self.process = subprocess.Popen(self.lab.argv(argv), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True)
        self.console = SerialLine(self.path("console"), self.path("console.log"))
        self.control = SerialLine(self.path("control"), self.path("control.log"))
        try:
            self.console.connect(self.alive)
            self.control.connect(self.alive)
            self._qmp = Qmp(self.path("qmp"))
        except (HarnessError, OSError) as e:
            with open(self.path("qemu.log"), "r", errors="replace", encoding="utf-8") as f:
                raise HarnessError(f"{e}: {f.read().strip()}") from None

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def check_alive(self):
        """Raises when the guest can never answer again."""
        found = FATAL.search(self.console.since(0))
        if found:
            raise GuestDied(f"guest: {found[0].decode(errors='replace').strip()}")
        if not self.alive():
            raise GuestDied("qemu has ended")

    def set_link(self, index, up):
        """Pulls or plugs the cable of the guest's i-th interface."""
        self._qmp.command("set_link", name=f"nic{index}", up=up)

    def unplug(self, index):
        """Asks the guest to let its i-th network card be taken out; it is gone when the guest has let go."""
        self._qmp.command("device_del", id=f"nic{index}")

    def plug(self, index):
        """Puts a card that was taken out in again."""
        self._qmp.command("device_add", **self._nic_device(index))

    def reset(self):
        """The power button: nothing is flushed, nothing is told. qemu ends (-no-reboot)."""
        self._qmp.command("system_reset")
        self.wait_end(20)

    def wait_end(self, timeout):
        try:
            self.process.wait(limit(timeout))
        except subprocess.TimeoutExpired:
            raise HarnessError(f"the guest was still running after {limit(timeout):g} s") from None

    def close(self):
        if self.process is not None:
            stop(self.process)
        for line in (self.console, self.control):
            if line is not None:
                line.close()
        if self._qmp is not None:
            self._qmp.close()


class Qmp:
    """The machine's control socket (JSON lines)."""

    def __init__(self, path, timeout=20):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(limit(timeout))
        end = time.monotonic() + limit(timeout)
        while True:
            try:
                self.sock.connect(path)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > end:
                    raise HarnessError("no control socket") from None
                time.sleep(0.05)
        self.lines = self.sock.makefile("r", encoding="utf-8")
        self.lines.readline()
        self.command("qmp_capabilities")

    def command(self, name, /, **arguments):
        self.sock.sendall((json.dumps({"execute": name, "arguments": arguments}) + "\n").encode())
        while True:
            line = self.lines.readline()
            if not line:
                raise HarnessError(f"qemu ended during {name}")
            answer = json.loads(line)
            if "error" in answer:
                raise HarnessError(f"{name}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def close(self):
        self.lines.close()
        self.sock.close()


def check_tools():
    for tool, package in (("qemu-system-x86_64", "qemu-system-x86"), ("ip", "iproute2"), ("vblade", "vblade")):
        if not shutil.which(tool) and not os.path.exists(f"/usr/sbin/{tool}"):
            raise HarnessError(f"{tool} is missing: apt-get install {package}")
    if os.geteuid() != 0:
        raise HarnessError("network namespaces and tap devices need root")
