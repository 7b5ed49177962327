# SPDX-License-Identifier: BSD-2-Clause
"""What `make demo` shows in FreeBSD: a remote disk from its discovery to a file system with the right checksums.
It prints what it does; everything it shows is also seen to be right."""

from cases.c_files import compare, disk_size, fsck_clean
from lib.case import MODULE, Group
from lib.util import need

G = Group("demo", nics=("vtnet",), memory=1024, tree=True)


def show(t, command, timeout=60):
    """Runs a command in the guest, and prints both as a terminal would show them."""
    print(f"      # {command}", flush=True)
    out = t.guest.run(command, timeout)
    for line in out.splitlines():
        if line.strip():
            print(f"        {line}", flush=True)
    return out


@G.test(limit=1200)
def remote_disk(t):
    t.vblade(seg=0, size=disk_size(t))
    t.lab.segments[0].set_mtu(9000)
    t.guest.run("ifconfig vtnet0 mtu 9000 up")
    show(t, f"kldload {MODULE}")
    show(t, "sysctl net.aoe.iflist=vtnet0")
    t.wait_disk()
    need("up" in show(t, "sysctl -n net.aoe.devices"), "the target is not up")
    show(t, "ls /dev/aoe7.0 /dev/etherd/e7.0 /dev/aoed70")
    need("aoe7.0" in show(t, "geom disk list aoe7.0"), "geom does not know the disk")
    show(t, "newfs -U /dev/aoe7.0", 120)
    show(t, "mkdir -p /mnt/demo && mount /dev/aoe7.0 /mnt/demo")
    show(t, "time tar xf /dev/vtbd2 -C /mnt/demo", 600)
    show(t, "df -h /mnt/demo")
    show(t, "umount /mnt/demo", 180)
    fsck_clean(t, "/dev/aoe7.0")
    print("      fsck finds nothing", flush=True)
    show(t, "mount -r /dev/aoe7.0 /mnt/demo")
    compare(t, "/mnt/demo")
    print("      the checksums of all files are those that the host computed", flush=True)
    show(t, "umount /mnt/demo")
    show(t, "dd if=/dev/aoe7.0 of=/dev/null bs=1m count=64 2>&1", 120)
    show(t, "sysctl net.aoe.target.7.0 | grep -E 'path.0|bytes|errors|retransmits'")
    need(t.leaf("errors") == "0", "requests failed")
    show(t, "kldunload aoe")
