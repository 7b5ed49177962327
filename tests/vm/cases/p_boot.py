# SPDX-License-Identifier: BSD-2-Clause
"""A root file system on AoE: the machine boots from it, by the real boot loader, and goes down again."""

import os
import re
import threading
import time

from cases.c_files import fsck_clean
from cases.f_shutdown import loader_disk, next_boot
from lib.case import MIB, Group
from lib.target import vblade
from lib.util import TestFailure, TestSkipped, need, run, same

G = Group("boot", nics=("em", "vtnet"))

#: The root image's disk in a guest that has one.
LOCAL = "ufs:/dev/vtbd0"


def root_place(config):
    """What follows the disk's name in the name of the root device, "" or "p2"."""
    if config.kernel is None:
        raise TestSkipped("needs --kernel and --loader-disk: the root image's own loader is on the root disk")
    name = config.boot_env["vfs.root.mountfrom"]
    if not name.startswith(LOCAL) or config.root_format != "raw":
        raise TestSkipped(f"needs a raw root image that is mounted as {LOCAL}..., not {name}")
    return name.removeprefix(LOCAL)


class LateTarget:
    """A vblade that starts when the kernel has said that its root mount waits for aoe."""

    def __init__(self, t, file):
        self.t, self.file = t, file
        self.server = self.error = self.waited = None
        self.ended = threading.Event()

    def before(self, machine):
        lab = machine.lab
        self.server = vblade(lab, lab.segments[0].port(0), self.file, self.t.dir)
        self.t.servers.append(self.server)
        thread = threading.Thread(target=self._work, args=(machine,))
        self.t.stack.callback(self.server.stop)
        self.t.stack.callback(thread.join)
        self.t.stack.callback(self.ended.set)
        thread.start()

    def _work(self, machine):
        try:
            while not self.ended.wait(0.1):
                said = machine.console.since(0) if machine.console else b""
                if re.search(rb"^Root mount waiting for:.* aoe\b", said, re.M):
                    # The kernel goes on waiting.
                    time.sleep(3)
                    self.waited = True
                    self.server.start()
                    return
        except Exception as e:  # noqa: BLE001 - told to the test, whose thread this is not
            self.error = e


def root_conf(place):
    return (f'aoe_load="YES"\nnet.aoe.iflist="em0"\nnet.aoe.boot_targets="7.0"\nnet.aoe.boot_wait_secs="120"\n'
            f'vfs.root.mountfrom="ufs:/dev/aoe7.0{place}"\n')


def copy_of_root(t, place):
    """The root image as a target's file. Its fstab is changed by a guest that mounts it over AoE."""
    file = os.path.join(t.dir, "root.img")
    run(["cp", "--sparse=always", t.config.root, file])
    vb = t.vblade(seg=0, file=file)
    t.load("em0")
    t.wait_disk()
    t.guest.run(f"mkdir -p /mnt/r && mount /dev/aoe7.0{place} /mnt/r", 60)
    t.guest.run(f"awk '$2 == \"/\" {{ $1 = \"/dev/aoe7.0{place}\" }} {{ print }}' /etc/fstab > /mnt/r/etc/fstab")
    need("/dev/aoe7.0" in t.guest.run("cat /mnt/r/etc/fstab"), "the root image has no line for / in its fstab")
    t.guest.run("umount /mnt/r", 60)
    t.unload()
    t.machine.control.send("shutdown -p now\n")
    t.machine.wait_end(120)
    vb.stop()
    return file


def check_root(n, place):
    same(n.guest.run("mount -p | awk '$2 == \"/\" { print $1 }'"), f"/dev/aoe7.0{place}", "device of the root")
    same(n.guest.sysctl("vfs.root_mount_hold"), "", "what holds the root mount")
    same(n.guest.sysctl("net.aoe.boot_targets"), "7.0", "boot_targets")
    same(n.guest.sysctl("net.aoe.boot_wait_secs"), "120", "boot_wait_secs")
    same(n.leaf("state"), "up", "state")
    n.guest.fails("sysctl net.aoe.boot_targets=8.0", "read only")
    n.guest.fails("kldunload aoe", "busy")


@G.test(own_vm=True, limit=1800)
def root_file_system_on_aoe(t):
    """First boot, a reboot without a trace, and the file system as another machine finds it."""
    place = root_place(t.config)
    disk = loader_disk(t.config, t.dir, root_conf(place))
    file = copy_of_root(t, place)

    def boot(name):
        target = LateTarget(t, file)
        n = next_boot(t, name, before=target.before, loader_disk=disk, local_root=False)
        need(target.waited and not target.error, f"the root mount did not wait: {target.error or n.console()[-800:]}")
        check_root(n, place)
        return n, target

    def shut_down(n, target, how):
        n.machine.control.send(f"shutdown {how} now\n")
        n.machine.wait_end(180)
        said = n.machine.console.since(0).decode(errors="replace")
        need("All buffers synced" in said, f"the shutdown did not get all buffers written:\n{said[-1500:]}")
        need("not properly dismounted" not in said, "the root file system had not been unmounted")
        n.check_console()
        target.server.stop()

    n, target = boot("root-on-aoe")
    n.guest.run("jot 200000 > /root/numbers; mkdir /root/d; for i in $(jot 100); do echo $i > /root/d/$i; done", 120)
    want = n.guest.run("sha256 -q /root/numbers")
    shut_down(n, target, "-r")
    n, target = boot("rebooted")
    same(n.guest.run("sha256 -q /root/numbers"), want, "sum of a file written before the reboot")
    same(n.guest.run("ls /root/d | wc -l").strip(), "100", "files in the directory")
    shut_down(n, target, "-p")
    m = next_boot(t, "afterwards")
    t.stack.callback(m.stack.close)
    m.vblade(seg=0, file=file)
    m.load("em0")
    m.wait_disk()
    fsck_clean(m, f"/dev/aoe7.0{place}")
    m.check_console()


def never_comes(config, workdir):
    """A machine whose root target does not exist, with its local disk as the second choice."""
    place = root_place(config)
    settings = ('aoe_load="YES"\nnet.aoe.iflist="em0"\nnet.aoe.boot_targets="7.0, 7.1"\nnet.aoe.boot_wait_secs="8"\n'
                f'vfs.root.mountfrom="ufs:/dev/aoe7.0 {LOCAL}{place}"\n')
    return {"loader_disk": loader_disk(config, workdir, settings)}


@G.test(own_vm=True, limit=900, machine=never_comes)
def target_that_never_comes(t):
    said = t.machine.console.since(0).replace(b"\r", b"").decode(errors="replace")

    def position(pattern):
        found = re.search(pattern, said, re.M)
        if not found:
            raise TestFailure(f"the console does not say {pattern!r}:\n{said[-3000:]}")
        return found.start()

    link = position(r"^em0: link state changed to UP")
    waits = position(r"^Root mount waiting for:.* aoe\b")
    goes_on = position(r"^aoe: net\.aoe\.boot_targets: 7\.0 7\.1 not there after 8 seconds; booting on$")
    local = position(rf"^Trying to mount root from {LOCAL}")
    need(max(link, waits) < goes_on < local, "the console is not in the order of what has to happen")
    same(said.count("booting on"), 1, "lines about the limit")
    same(t.guest.sysctl("vfs.root_mount_hold"), "", "what holds the root mount")
    # It is still a module like any other.
    t.vblade(seg=0, seed="late")
    t.wait_disk(timeout=70)
    t.unload()


@G.test
def settings_of_a_module_loaded_later(t):
    """boot_targets does nothing to a system that runs; one that is not a list is said and ignored."""
    t.defer("kenv -q -u net.aoe.boot_targets; kenv -q -u net.aoe.boot_wait_secs; true")
    t.guest.run("ifconfig em0 down")
    t.guest.run("kenv net.aoe.boot_targets='e7.3,7.4 7.3' >/dev/null; kenv net.aoe.boot_wait_secs=60 >/dev/null")
    begin = time.monotonic()
    t.load("em0")
    need(time.monotonic() - begin < 20, "loading waited for the boot targets")
    same(t.guest.sysctl("net.aoe.boot_targets"), "7.3 7.4", "boot_targets")
    same(t.guest.sysctl("net.aoe.boot_wait_secs"), "60", "boot_wait_secs")
    same(t.guest.sysctl("vfs.root_mount_hold"), "", "what holds the root mount")
    t.guest.run("sleep 3")
    need(not re.search("[<,]UP[,>]", t.guest.run("ifconfig em0 | head -1")), "an interface was brought up after booting")
    t.unload()
    for bad in ("7", "7.0;", "em0"):
        t.guest.run(f"kenv net.aoe.boot_targets='{bad}' >/dev/null")
        t.load()
        t.wait_console(rf'^aoe: net\.aoe\.boot_targets="{re.escape(bad)}" is not valid; ignored$')
        same(t.guest.sysctl("net.aoe.boot_targets"), "", "boot_targets")
        t.unload()
    t.guest.run("ifconfig em0 up")


def no_interface(config, workdir):
    settings = 'aoe_load="YES"\nnet.aoe.boot_targets="7.0"\n'
    root_place(config)
    return {"loader_disk": loader_disk(config, workdir, settings)}


@G.test(own_vm=True, limit=600, machine=no_interface)
def boot_targets_without_interfaces(t):
    """Nothing could ever answer, so nothing is waited for."""
    said = t.machine.console.since(0).replace(b"\r", b"").decode(errors="replace")
    line = "aoe: net.aoe.boot_targets is set, net.aoe.iflist is not; not waiting"
    same(said.count(line), 1, f"lines {line!r} on the console")
    need(not re.search(r"Root mount waiting for:.* aoe", said), "the root mount waited all the same")
    t.vblade(seg=0, size=16 * MIB)
    t.guest.set_sysctl("net.aoe.iflist", "em0")
    t.wait_disk()
    t.unload()
