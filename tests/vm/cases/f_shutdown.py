# SPDX-License-Identifier: BSD-2-Clause
"""The machine goes down with AoE disks in use, and comes up with the module preloaded."""

import os
import shlex
import shutil
import time

from cases.c_files import fsck_clean
from lib.case import MIB, Context, Group
from lib.util import TestSkipped, need, run, same

G = Group("shutdown", nics=("em", "vtnet"))


def next_boot(t, name, **options):
    """Another guest, as a new boot of the same machine would be; its Context."""
    rig = t.runner.boot(t.test_group, name, **options)
    t.stack.callback(rig.close)
    return Context(rig, t.dir, t.say)


def after_reboot(t, file):
    """The disk as the next boot finds it."""
    n = next_boot(t, "after-reboot")
    t.stack.callback(n.stack.close)
    n.vblade(seg=0, file=file)
    n.load("em0")
    n.wait_disk()
    return n


@G.test(own_vm=True, limit=600)
def reboot_with_filesystem_mounted(t):
    vb = t.vblade(seg=0, size=128 * MIB)
    t.load("em0")
    t.wait_disk()
    t.guest.run("newfs -U /dev/aoe7.0 && mkdir -p /mnt/a && mount /dev/aoe7.0 /mnt/a", 60)
    t.guest.run("jot 300000 > /mnt/a/numbers; mkdir /mnt/a/d; for i in $(jot 200); do echo $i > /mnt/a/d/$i; done", 60)
    want = t.guest.run("sha256 -q /mnt/a/numbers")
    t.machine.control.send("shutdown -r now\n")
    t.machine.wait_end(120)
    need("All buffers synced" in t.console(), "the shutdown did not get all buffers written:\n" + t.console()[-600:])
    vb.stop()
    n = after_reboot(t, vb.file)
    fsck_clean(n, "/dev/aoe7.0")
    n.guest.run("mkdir -p /mnt/a && mount /dev/aoe7.0 /mnt/a")
    same(n.guest.run("sha256 -q /mnt/a/numbers"), want, "sum of a file written just before the reboot")
    same(n.guest.run("ls /mnt/a/d | wc -l").strip(), "200", "files in the directory")
    n.guest.run("umount /mnt/a")
    n.check_console()


@G.test(own_vm=True, limit=600)
def reboot_with_dead_target(t):
    """Dirty buffers that can never be written must not keep the machine from going down."""
    vb = t.vblade(seg=0, size=128 * MIB)
    t.load("em0")
    t.wait_disk()
    same(t.guest.sysctl("net.aoe.fail_on_shutdown"), "1", "fail_on_shutdown")
    t.guest.run("newfs -U /dev/aoe7.0 && mkdir -p /mnt/a && mount /dev/aoe7.0 /mnt/a", 60)
    vb.kill()
    t.guest.spawn("jot 300000 > /mnt/a/numbers")
    t.wait_state("down", timeout=40)
    t.allow(r"g_vfs_done|fsync: giving up|Giving up on")
    begin = time.monotonic()
    t.machine.control.send("shutdown -r now\n")
    t.machine.wait_end(180)
    t.say(f"down after {time.monotonic() - begin:.0f} s")


@G.test(own_vm=True, limit=600)
def reboot_with_idle_dead_target(t):
    vb = t.vblade(seg=1)
    t.load("vtnet0")
    t.wait_disk()
    vb.kill()
    t.machine.control.send("shutdown -r now\n")
    t.machine.wait_end(120)


@G.test(own_vm=True, limit=600)
def target_dies_during_shutdown(t):
    """It answers until the kernel begins to write out the last buffers."""
    vb = t.vblade(seg=0, size=128 * MIB)
    t.load("em0")
    t.wait_disk()
    t.guest.run("newfs -U /dev/aoe7.0 && mkdir -p /mnt/a && mount /dev/aoe7.0 /mnt/a && jot 100000 > /mnt/a/n", 60)
    t.allow(r"g_vfs_done|fsync: giving up|Giving up on")
    t.machine.control.send("shutdown -r now\n")
    found = t.machine.console.expect(rb"Waiting \(max|Syncing disks", 120, t.start_of_console, t.machine.check_alive)
    need(found, "the shutdown did not get to its last part")
    vb.kill()
    t.machine.wait_end(180)


def check_preloaded(n):
    """The module came with the kernel; its settings were tunables; the disk is there without a hand."""
    need(n.loaded(), "aoe.ko is not in the kernel")
    same(n.guest.sysctl("net.aoe.iflist"), "em0", "iflist from the tunable")
    same(n.guest.sysctl("net.aoe.dead_secs"), "77", "dead_secs from the tunable")
    n.vblade(seg=0, seed="preload")
    n.wait_disk(timeout=5)
    n.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=64k")
    n.unload()
    n.check_console()


LOADER_CONF = """aoe_load="YES"
net.aoe.iflist="em0"
net.aoe.dead_secs="77"
"""


def loader_machine(config, workdir):
    """How the guest for the test of preloading is to be started."""
    if config.kernel is None:
        return {"reboots": True}
    return {"loader_disk": loader_disk(config, workdir, LOADER_CONF)}


@G.test(own_vm=True, limit=900, machine=loader_machine)
def preloaded_by_boot_loader(t):
    """From a copy of --loader-disk, which gets aoe.ko and these settings; a root image that boots by
    its own loader is changed from inside instead and booted again."""
    if t.config.kernel is None:
        t.guest.run("cp /aoevm/aoe.ko /boot/modules/ && kldxref /boot/modules", 60)
        t.guest.run(f"printf %s {shlex.quote(LOADER_CONF)} >> /boot/loader.conf && sync")
        start = t.machine.console.mark()
        t.machine.control.send("shutdown -r now\n")
        t.guest.boot(start)
    check_preloaded(t)


def loader_disk(config, workdir, settings):
    """The given image with the module under test in it, and these settings. Its first partition is FAT
    (the EFI system partition), and holds a loader and a kernel."""
    if config.loader_disk is None:
        raise TestSkipped("a guest with --kernel needs --loader-disk for this")
    image = os.path.join(workdir, "loader.img")
    shutil.copyfile(config.loader_disk, image)
    conf = os.path.join(workdir, "loader.conf")
    with open(conf, "w", encoding="ascii") as f:
        for name, value in config.boot_env.items():
            f.write(f'{name}="{value}"\n')
        # FAT has the folder's name in capitals, and the kernel would look for its modules there.
        f.write('kernels_autodetect="NO"\n')
        f.write(settings)
    fat = f"{image}@@{fat_offset(image)}"
    # A folder that is there already stays as it is.
    run(["mmd", "-D", "s", "-i", fat, "::/boot/modules"], check=False)
    run(["mcopy", "-o", "-i", fat, config.module, "::/boot/modules/aoe.ko"])
    run(["mcopy", "-o", "-i", fat, conf, "::/boot/loader.conf"])
    return image


def fat_offset(image):
    """Where the first partition begins: of an MBR or a GPT, or 0 for a bare file system."""
    with open(image, "rb") as f:
        first = f.read(512)
        if first[82:85] == b"FAT" or first[54:57] == b"FAT":
            return 0
        if first[446 + 4] != 0xEE:
            return int.from_bytes(first[446 + 8:446 + 12], "little") * 512
        f.seek(1024)
        return int.from_bytes(f.read(128)[32:40], "little") * 512
