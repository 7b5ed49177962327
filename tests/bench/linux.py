# SPDX-License-Identifier: BSD-2-Clause
"""A Linux guest with Debian's kernel and its aoe driver: the peer that the figures stand beside.

Packages are unpacked into the cache and never installed. The guest lives in an initramfs made
here: a static busybox, the modules that it needs, the benchmark program, and an init that
offers a shell on the second serial line, exactly as the FreeBSD guest does."""

import glob
import os
import re
import shutil

from lib.guest import Guest
from lib.qemu import Machine
from lib.util import HarnessError, run

#: In this order; what they depend on is found out.
MODULES = ("virtio_pci", "virtio_net", "e1000", "aoe")

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /bin /proc /sys /dev /tmp
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for m in $(cat /modules/order); do
	case $m in aoe) ;; *) insmod /modules/$m.ko || echo "insmod $m failed";; esac
done
ip link set lo up
# Held open, so that the line keeps its settings. A shell that runs the line as a script does not
# take it for a terminal and edits nothing.
exec 3<>/dev/ttyS1
stty -F /dev/ttyS1 raw -echo
printf 'CONTROL-%s' READY >&3
while true; do /bin/sh /dev/ttyS1 < /dev/null >&3 2>&1; done
"""


def unpack_packages(cache):
    """Debian's newest kernel image and busybox, unpacked; their directories."""
    out = []
    image = re.search(r"Depends: (linux-image-\S+-amd64)", run(["apt-cache", "depends", "linux-image-amd64"]).stdout)
    if not image:
        raise HarnessError("apt-cache knows no linux-image-amd64")
    for package in (image[1], "busybox-static"):
        where = os.path.join(cache, package)
        if not os.path.exists(where):
            download = where + ".download"
            shutil.rmtree(download, ignore_errors=True)
            os.makedirs(download)
            run(["apt-get", "-q", "download", package], timeout=600, cwd=download)
            (deb,) = glob.glob(os.path.join(download, "*.deb"))
            run(["dpkg-deb", "-x", deb, where + ".new"], timeout=300)
            os.rename(where + ".new", where)
            shutil.rmtree(download)
        out.append(where)
    return out


def module_files(image):
    """The wanted modules with everything they need, dependencies first."""
    files = {os.path.basename(p)[:-3].replace("-", "_"): p
             for p in glob.glob(os.path.join(image, "lib/modules/*/kernel/**/*.ko"), recursive=True)}
    order = []

    def add(name):
        name = name.replace("-", "_")
        if name in order or name not in files:
            return
        with open(files[name], "rb") as f:
            depends = re.search(rb"\0depends=([^\0]*)\0", b"\0" + f.read())
        for other in (depends[1].decode().split(",") if depends else []):
            add(other)
        order.append(name)

    for name in MODULES:
        if name not in files:
            raise HarnessError(f"the Linux image has no module {name}")
        add(name)
    return [(name, files[name]) for name in order]


def cpio_entry(name, data, mode, number):
    raw = name.encode() + b"\0"
    head = "070701" + "".join(f"{v:08x}" for v in (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0))
    out = head.encode() + raw
    out += b"\0" * (-len(out) % 4) + data
    return out + b"\0" * (-len(data) % 4)


def write_initramfs(path, image, busybox, program):
    (box,) = glob.glob(os.path.join(busybox, "bin/busybox")) + glob.glob(os.path.join(busybox, "usr/bin/busybox"))
    modules = module_files(image)
    files = [("init", INIT.encode(), 0o100755), ("modules/order", " ".join(n for n, _ in modules).encode(), 0o100644)]
    sources = [("bin/busybox", box), ("bin/diskbench", program)] + [(f"modules/{n}.ko", p) for n, p in modules]
    for name, source in sources:
        with open(source, "rb") as f:
            files.append((name, f.read(), 0o100755))
    with open(path, "wb") as f:
        for number, name in enumerate(("bin", "modules", "dev"), 1):
            f.write(cpio_entry(name, b"", 0o040755, number))
        for number, (name, data, mode) in enumerate(files, 10):
            f.write(cpio_entry(name, data, mode, number))
        f.write(cpio_entry("TRAILER!!!", b"", 0, 0))
    return path


class LinuxMachine(Machine):
    """The same virtual hardware; another kernel, and no disk but what comes over Ethernet."""

    vmlinuz = initramfs = None
    #: The kernel believes the processor's clock without seeing that it is reliable.
    tsc = False

    def _boot_args(self):
        clock = " tsc=reliable" if self.tsc else ""
        return ["-kernel", self.vmlinuz, "-initrd", self.initramfs,
                "-append", "console=ttyS0 panic=1 mitigations=off net.ifnames=0" + clock]

    def _disk_args(self):
        return []


class LinuxGuest(Guest):
    def boot(self):
        if not self.machine.control.expect(rb"CONTROL-READY", 180, 0, self.machine.check_alive):
            raise HarnessError("the Linux guest did not come up: " +
                               self.machine.console.since(0)[-400:].decode(errors="replace"))
