# SPDX-License-Identifier: BSD-2-Clause
"""The operator's side: the start-up script under the guest's own rc.subr, and the port, staged, installed and removed by
the guest's own make.

A guest has neither a ports tree nor a Rust toolchain. So the ports framework is the stub in tests/port/stub, which puts
files that are handed in (aoe.ko, and aoectl if there is one) in the place of what a build would make. Everything after
that is the guest's own: make, install, kldxref, rc, mount, fsck, devd."""

import os
import re
import shlex
import subprocess
import tarfile
import time

from cases.c_files import fsck_clean
from lib.case import MIB, Group
from lib.config import TOP
from lib.util import limit, need, same, wait_until

G = Group("operator", nics=("em", "vtnet"))

#: What of the checkout the tests look at: the ports, the stub, and what they are compared with. The ports build from the
#: tarball of the release.
CHECKOUT = ("man", "rc.d", "devd", "port", "tests/port")
SKIPPED = {"target", "work", "__pycache__"}
LINKS = ("aoe-discover", "aoe-flush", "aoe-interfaces", "aoe-revalidate", "aoe-sancheck", "aoe-stat", "aoe-version",
         "aoecfg", "aoeping")
#: Everything that an installed port consists of, with its mode.
INSTALLED = {"/boot/modules/aoe.ko": "-r-xr-xr-x", "/usr/local/etc/rc.d/aoe": "-rwxr-xr-x",
             "/usr/local/sbin/aoectl": "-rwxr-xr-x", "/usr/local/share/man/man4/aoe.4.gz": "-r--r--r--",
             "/usr/local/share/man/man8/aoectl.8.gz": "-r--r--r--",
             "/usr/local/etc/devd/aoe.conf": "-rw-r--r--", "/usr/local/etc/devd/aoe.conf.sample": "-rw-r--r--"}
INSTALLED.update({f"/usr/local/sbin/{name}": "lrwxr-xr-x" for name in LINKS})
HERE = "/aoevm/checkout"
#: All names on the root file system, but for those that come and go by themselves, and the test's own.
NAMES = ("find / -xdev ( -path /var -o -path /tmp -o -path /aoevm -o -path /dev -o -path /root/.sh_history ) -prune -o -print"
         .replace("( ", r"\( ").replace(" )", r" \)") + " | LC_ALL=C sort")


def aoectl_of(config):
    """An aoectl for FreeBSD, if one was given."""
    return getattr(config, "aoectl", None) or os.environ.get("AOE_VM_AOECTL") or None


def guest_with_checkout(config, workdir):
    """A guest that gets the checkout too, and goes on after a reboot."""
    tar = os.path.join(workdir, "checkout.tar")
    with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as out:
        for name in CHECKOUT:
            out.add(os.path.join(TOP, name), name, filter=of_checkout)
    release = os.path.join(workdir, "release")
    subprocess.run([os.path.join(TOP, "scripts/release"), "dist", "--worktree", release], check=True, stdout=subprocess.DEVNULL)
    more = {"checkout.tar": tar} | {name: os.path.join(release, name) for name in os.listdir(release)}
    if aoectl_of(config):
        more["aoectl"] = aoectl_of(config)
    return {"disks": [(config.tools_tar(os.path.join(workdir, "tools.tar"), more), "tools")], "reboots": True}


def of_checkout(info):
    if os.path.basename(info.name) in SKIPPED or info.name.endswith((".o", ".pyc")):
        return None
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def operator(**options):
    """The decorator of these tests."""
    return G.test(machine=guest_with_checkout, **options)


def unpack_checkout(t):
    t.guest.run(f"[ -d {HERE} ] || {{ mkdir {HERE} && tar xpf /aoevm/checkout.tar -C {HERE}; }}", 120)


def prepare(t, **variables):
    """Script and module where the port puts them, and rc.conf with these variables; all as before at the end."""
    unpack_checkout(t)
    t.guest.run("cp -p /etc/rc.conf /aoevm/rc.conf.was && cp -p /etc/fstab /aoevm/fstab.was")
    t.defer("cp -p /aoevm/rc.conf.was /etc/rc.conf && cp -p /aoevm/fstab.was /etc/fstab")
    t.guest.run(f"rm -f /tmp/stop; mkdir -p /usr/local/etc/rc.d && install -m 555 {HERE}/rc.d/aoe /usr/local/etc/rc.d/")
    t.guest.run("cp /aoevm/aoe.ko /boot/modules/ && kldxref /boot/modules", 60)
    configure(t, **variables)


def configure(t, **variables):
    """Lines of rc.conf."""
    words = " ".join(shlex.quote(f"aoe_{name}={value}") for name, value in variables.items())
    if words:
        t.guest.run(f"sysrc {words}", 60)


def fstab(t, *lines):
    for line in lines:
        t.guest.run(f"echo {shlex.quote(line)} >> /etc/fstab")


def service(t, command, timeout=120):
    """service aoe COMMAND, which must succeed; its output."""
    return t.guest.run(f"service aoe {command}", timeout)


def mounted(t):
    """Mount points below /mnt, in the order in which they were mounted."""
    return t.guest.run("mount -p | awk '$2 ~ \"^/mnt\" { print $2 }'").split()


def file_system(t, device):
    t.guest.run(f"newfs -U {device}", 120)


def interface_is_up(t, name):
    return "UP" in re.search(r"<([^>]*)>", t.guest.run(f"ifconfig {name}"))[1].split(",")


@operator(limit=600)
def start_status_discover_stop(t):
    """The commands of the script, one after the other, from an interface that is down."""
    prepare(t, enable="NO", iflist="em0", targets="7.0")
    t.vblade(seg=0)
    t.guest.run("ifconfig em0 down")
    t.guest.fails("service aoe enabled")
    t.guest.fails("service aoe status", "the module is not loaded")
    need("Set aoe_enable to YES" in service(t, "start"), "a script that is not enabled does not say so")
    need(not t.loaded(), "a script that is not enabled has loaded the module")
    configure(t, enable="YES")
    service(t, "enabled")
    said = service(t, "start")
    need("7.0" in said.split(), f"start does not show the target: {said}")
    need(t.loaded() and t.guest.exists("/dev/aoe7.0"), "no disk after start")
    need(interface_is_up(t, "em0"), "em0 is not up")
    same(t.guest.sysctl("net.aoe.iflist"), "em0", "iflist")
    said = service(t, "status")
    need("em0" in said and "7.0" in said.split(), f"status: {said}")
    sniffer = t.sniff(0)
    service(t, "discover")
    wait_until("a question who is there",
               lambda: [f for f in sniffer.seen(to_guest=False) if f[:6] == b"\xff" * 6 and f[19] == 1], 10)
    service(t, "start")
    service(t, "restart")
    need(t.guest.exists("/dev/aoe7.0"), "no disk after restart")
    service(t, "stop")
    need(not t.loaded(), "stop has not unloaded the module")
    t.guest.fails("service aoe stop", "the module is not loaded")


@operator(limit=600)
def three_commands(t):
    """README's last two, straight after the package has loaded the module, with nothing in rc.conf: the disk is there when the
    second one returns, from an interface that is down, and with an answer that is lost."""
    prepare(t)
    for loss in (False, True):
        wire = t.relay(0) if loss else None
        server = t.vblade(seg=0)
        t.guest.run("ifconfig em0 down")
        t.load()
        t.guest.run("sysctl net.aoe.iflist=em0")
        if wire:
            wire.set("to-initiator", "cut=1s")
        begin = time.monotonic()
        said = t.guest.run("service aoe start && ls -l /dev/aoe7.0", 60)
        t.say(f"{time.monotonic() - begin:.1f} s: {said.strip().splitlines()[-1]}")
        need("7.0" in said.split(), f"start does not show the target: {said}")
        service(t, "stop")
        server.stop()


@operator(limit=600)
def says_why_no_disk_is_there(t):
    """Nobody answers; the interface has no link: it ends in time, says which it was, and a late target is found all the same."""
    prepare(t)
    t.load("em0")
    begin = time.monotonic()
    said = service(t, "start")
    took = time.monotonic() - begin
    need(re.search(r"no target has answered:[\s\S]*em0 +up ", said), f"it is not said that nobody answers: {said}")
    need(5 <= took < limit(25), f"5 s were {took:.0f} s")
    t.machine.set_link(0, False)
    t.guest.wait_for("sysctl -n net.aoe.interfaces | grep -q 'em0 *down'", 15, "the interface is known to be without link")
    said = service(t, "start")
    t.machine.set_link(0, True)
    need(re.search(r"no target has answered:[\s\S]*em0 +down", said), f"it is not said that there is no link: {said}")
    t.vblade(seg=0)
    t.wait_disk()
    service(t, "stop")


@operator(limit=600)
def stop_while_a_target_does_not_answer(t):
    """The file system of a silent target cannot be unmounted: the script says so in time, and what ends it; after
    that it stops everything."""
    prepare(t, enable="YES", iflist="em0", mounts="/dev/aoe7.0", wait_secs="5")
    fstab(t, "/dev/aoe7.0 /mnt/a ufs rw,noauto 0 0")
    vb = t.vblade(seg=0)
    t.load("em0")
    t.wait_disk()
    file_system(t, "/dev/aoe7.0")
    t.guest.run("mkdir -p /mnt/a")
    service(t, "start")
    same(mounted(t), ["/mnt/a"], "mounted")
    t.guest.spawn("jot 100000 > /mnt/a/n")
    t.guest.run("sleep 1")
    vb.kill()
    t.wait_state("down", timeout=60)
    t.allow(r"g_vfs_done|fsync: giving up|Giving up on|UFS: forcibly unmounting")
    begin = time.monotonic()
    said = t.guest.fails("service aoe stop", r"umount still waits after 5 s for target 7\.0 \(down\)", 60)
    need(time.monotonic() - begin < 20, "the script took too long")
    need("net.aoe.target.7.0.fail=1" in said, f"what ends the wait is not said: {said}")
    need(t.loaded(), "the module is gone")
    t.guest.set_sysctl("net.aoe.target.7.0.fail", "1")
    t.guest.wait_for("! mount -p | grep -q /mnt/a", 60, "the file system is unmounted")
    service(t, "stop")
    need(not t.loaded(), "the module is still there")


@operator(limit=600)
def waits_for_a_late_target(t):
    """It goes on as soon as the target is there, long before its limit."""
    prepare(t, enable="YES", iflist="em0", targets="7.0", wait_secs="300")
    job = t.guest.spawn("service aoe start")
    t.guest.wait_for(f"grep -q 'waiting up to 300 s for /dev/aoe7.0' {job.path}.out", 60, "the script says that it waits")
    need(job.running(), f"it did not wait: {job.output()}")
    t.vblade(seg=0)
    begin = time.monotonic()
    said = job.succeed(60)
    t.say(f"{time.monotonic() - begin:.1f} s after the target came")
    need("aoe7.0" in said, f"the target is not shown: {said}")


@operator(limit=600)
def gives_up_on_a_target_that_never_comes(t):
    """After its limit, with words; what is there is mounted all the same."""
    prepare(t, enable="YES", iflist="em0", targets="7.9", mounts="/dev/aoe7.0 /dev/aoe7.8", wait_secs="4")
    t.vblade(seg=0)
    t.load("em0")
    file_system(t, t.wait_disk())
    t.unload()
    t.guest.run("mkdir -p /mnt/a /mnt/b")
    fstab(t, "/dev/aoe7.0 /mnt/a ufs rw,noauto 0 0", "/dev/aoe7.8 /mnt/b ufs rw,noauto 0 0")
    begin = time.monotonic()
    said = t.guest.fails("service aoe start", r"not there after 4 s:.*/dev/aoe7\.9", 120)
    took = time.monotonic() - begin
    need(4 <= took < limit(60), f"4 s were {took:.0f} s")
    need("/dev/aoe7.8 is not there; not mounted" in said, said)
    same(mounted(t), ["/mnt/a"], "what is mounted")
    service(t, "stop")


@operator(limit=900)
def mounts_in_order_and_refuses_when_busy(t):
    """One file system inside of the other: the order matters in both directions."""
    prepare(t, enable="YES", iflist="em0", mounts="/dev/aoe7.0 /dev/aoe7.1")
    t.vblade(seg=0, port=0)
    t.vblade(seg=0, port=1, slot=1)
    t.load("em0")
    for slot in (0, 1):
        file_system(t, t.wait_disk(slot=slot))
    t.guest.run("mkdir -p /mnt/a /mnt/other && mount /dev/aoe7.0 /mnt/a && mkdir /mnt/a/b && umount /mnt/a")
    t.unload()
    fstab(t, "/dev/aoe7.1 /mnt/a/b ufs rw,noauto 0 0", "/dev/aoe7.0 /mnt/a ufs rw,noauto 0 0")
    said = service(t, "start")
    same(len(re.findall("FILE SYSTEM CLEAN", said)), 2, f"checks in {said!r}")
    same(mounted(t), ["/mnt/a", "/mnt/a/b"], "mounted after start")
    service(t, "start")
    same(mounted(t), ["/mnt/a", "/mnt/a/b"], "mounted after a second start")
    user = t.guest.spawn("cd /mnt/a/b && while [ ! -e /tmp/stop ]; do sleep 0.2; done")
    t.guest.wait_for("fstat -f /mnt/a/b | grep -q /mnt/a/b", 30, "somebody works in /mnt/a/b")
    t.guest.fails("service aoe stop", r"/dev/aoe7\.1 is in use", 60)
    same(mounted(t), ["/mnt/a", "/mnt/a/b"], "mounted after a stop that was refused")
    t.guest.run("touch /tmp/stop")
    user.succeed(30)
    configure(t, mounts="/dev/aoe7.1")
    t.guest.fails("service aoe stop", r"still mounted: /mnt/a\b", 60)
    need(t.loaded(), "unloaded under a mounted file system")
    configure(t, mounts="/dev/aoe7.0")
    service(t, "stop")
    same(mounted(t), [], "mounted after stop")
    need(not t.loaded(), "the module is still loaded")


@operator(limit=600)
def disk_in_use_is_not_taken_away(t):
    """Opened by a program and not mounted: the module stays, with a word why."""
    prepare(t, enable="YES", iflist="em0", targets="7.0")
    t.vblade(seg=0)
    service(t, "start")
    holder = t.guest.spawn("exec 3</dev/aoe7.0; echo open; while [ ! -e /tmp/stop ]; do sleep 0.2; done")
    t.guest.wait_for(f"grep -q open {holder.path}.out", 30, "the disk is open")
    t.guest.fails("service aoe stop", r"one of its disks is in use", 60)
    need(t.guest.exists("/dev/aoe7.0"), "the disk has gone")
    t.guest.run("touch /tmp/stop")
    holder.succeed(30)
    service(t, "stop")


@operator(limit=600)
def late_line_of_fstab(t):
    """The script waits for the disk and checks it, the base system's mountlate mounts it."""
    prepare(t, enable="YES", iflist="em0", wait_secs="60")
    t.vblade(seg=0)
    t.load("em0")
    t.wait_disk()
    t.guest.run("gpart create -s gpt aoe7.0 && gpart add -t freebsd-ufs aoe7.0")
    file_system(t, "/dev/aoe7.0p1")
    t.unload()
    t.guest.run("mkdir -p /mnt/late")
    fstab(t, "/dev/aoe7.0p1 /mnt/late ufs rw,late 0 0")
    t.guest.run("mount -a")
    same(mounted(t), [], "mounted before its time")
    said = service(t, "start")
    need("/dev/aoe7.0p1: FILE SYSTEM CLEAN" in said, f"not checked: {said}")
    said = t.guest.try_run("service mountlate onestart", 60)
    need("Mounting late filesystems" in said.out, f"{said!r}")
    same(mounted(t), ["/mnt/late"], "mounted by mountlate")
    t.guest.fails("service aoe stop", "still mounted: /mnt/late", 60)
    t.guest.run("umount /mnt/late")
    service(t, "stop")


@operator(limit=600)
def order_of_the_scripts(t):
    """After the network and before everything that mounts what came by it; not at shutdown."""
    prepare(t)
    # Its exit code tells of scripts that base's own ask for and this guest does not have.
    said = t.guest.try_run("rcorder -s nostart /etc/rc.d/* /usr/local/etc/rc.d/aoe 2>/dev/null", 60).out.splitlines()
    order = [os.path.basename(name) for name in said]
    for before, after in (("FILESYSTEMS", "aoe"), ("netif", "aoe"), ("routing", "aoe"), ("NETWORKING", "aoe"),
                          ("netwait", "aoe"), ("aoe", "mountcritremote"), ("aoe", "DAEMON"), ("aoe", "mountlate")):
        need(before in order and after in order, f"{before} or {after} is not there: {order}")
        need(order.index(before) < order.index(after), f"{after} comes before {before}: {order}")
    said = t.guest.try_run("rcorder -k shutdown /etc/rc.d/* /usr/local/etc/rc.d/aoe 2>/dev/null", 60).out
    need("/aoe" not in said and said, "the script would be run at shutdown")


@operator(limit=600)
def bad_values_get_clear_words(t):
    """Each names its variable; what is right in the same line is done."""
    prepare(t, enable="YES", iflist="em0", targets="7.0", wait_secs="20")
    t.vblade(seg=0)
    for variable, bad, words, good in (
            ("flags", "dead_secs=61 nonsense beacon_secs=7", "aoe_flags: 'nonsense' is not a setting", ""),
            ("flags", "no_such=1", r"aoe_flags: net\.aoe\.no_such=1 is refused: .*unknown oid", ""),
            ("flags", "dead_secs=never", r"aoe_flags: net\.aoe\.dead_secs=never is refused", ""),
            ("flags", "quarantine_secs=9999", r"aoe_flags: net\.aoe\.quarantine_secs=9999 is refused: Invalid", ""),
            ("flags", "iflist=vtnet0", "interfaces belong into aoe_iflist", ""),
            ("wc", "yes", "aoe_wc: 'yes' is not 0, 1 or -1", ""),
            ("targets", "7.0 seven", "aoe_targets: 'seven' is not an address", "7.0"),
            ("targets", "7.0 7", "aoe_targets: '7' is not an address", "7.0"),
            ("targets", "7.0 /*", r"aoe_targets: '/\*' is not an address", "7.0"),
            ("mounts", "/dev/aoe7.0", r"aoe_mounts: /dev/aoe7\.0 has no line in /etc/fstab", "")):
        configure(t, **{variable: bad})
        said = t.guest.fails("service aoe start", words, 120)
        need("7.0" in said.split(), f"{variable}={bad}: no disk: {said}")
        configure(t, **{variable: good})
        if "dead_secs=61" in bad:
            same(t.guest.sysctl("net.aoe.dead_secs"), "61", "dead_secs beside a bad word")
            same(t.guest.sysctl("net.aoe.beacon_secs"), "7", "beacon_secs beside a bad word")
        service(t, "stop")
    configure(t, allow="7.* eight", wait_secs="2")
    said = t.guest.fails("service aoe start", r"aoe_allow: net\.aoe\.targets=7\.\* eight is refused: Invalid argument", 120)
    need("no target is used" in said and "7.0" not in said.split(), said)
    same(t.guest.sysctl("net.aoe.targets"), "", "targets after a list that is not one")
    service(t, "stop")
    configure(t, allow="7.* 8.0-15", wait_secs="20")
    need("7.0" in service(t, "start").split(), "a target that is allowed is not there")
    same(t.guest.sysctl("net.aoe.targets"), "7.* 8.0-15", "targets")
    service(t, "stop")
    configure(t, allow="")
    configure(t, wait_secs="soon")
    need("aoe_wait_secs: 'soon' is not a number" in service(t, "start"), "a bad time is not spoken of")
    service(t, "stop")


@operator(limit=600)
def bad_interfaces_get_clear_words(t):
    prepare(t, enable="YES", iflist="em0 em9", targets="7.0", wait_secs="20")
    t.vblade(seg=0)
    said = service(t, "start")
    need("there is no interface em9 yet" in said and "7.0" in said.split(), said)
    same(t.guest.sysctl("net.aoe.iflist"), "em0 em9", "iflist")
    service(t, "stop")
    for bad, words in (("lo0", r"aoe_iflist: net\.aoe\.iflist=lo0 is refused: Invalid argument"),
                       ("em0 em0", r"aoe_iflist: net\.aoe\.iflist=em0 em0 is refused: Invalid argument"),
                       ("", "aoe_iflist is empty: no target can be reached")):
        configure(t, iflist=bad)
        begin = time.monotonic()
        t.guest.fails("service aoe start", words, 60)
        need(time.monotonic() - begin < limit(15), "it waited for what cannot come")
        service(t, "stop")


@operator(limit=600)
def names_of_version_1_2_0(t):
    """A machine that was set up for the old port, word by word as its message said."""
    prepare(t, enable="Yes", iflist="em0 vtnet0", wc="1", mounts="/dev/aoed70s1a /dev/aoed71s1a")
    t.vblade(seg=0)
    t.vblade(seg=1, slot=1)
    t.load("em0 vtnet0")
    for slot, where in ((0, "/mnt/a"), (1, "/mnt/b")):
        disk = os.path.basename(t.wait_disk(slot=slot))
        t.guest.run(f"gpart create -s mbr {disk} && gpart add -t freebsd {disk} && "
                    f"gpart create -s bsd {disk}s1 && gpart add -t freebsd-ufs {disk}s1")
        t.guest.wait_for(f"test -c /dev/aoed7{slot}s1a", 15, "the old name of the partition")
        file_system(t, f"/dev/aoed7{slot}s1a")
        t.guest.run(f"mkdir -p {where}")
        fstab(t, f"/dev/aoed7{slot}s1a\t\t{where}\t\tufs\trw,noauto\t0\t0")
    t.unload()
    service(t, "start")
    same(mounted(t), ["/mnt/a", "/mnt/b"], "mounted by the old names")
    t.guest.run("echo still there > /mnt/b/file")
    t.guest.run("sysctl net.aoe.maxwait=180 && sysctl -n net.aoe.wc")
    same(t.guest.sysctl("net.aoe.dead_secs"), "180", "dead_secs by its old name")
    service(t, "restart")
    same(mounted(t), ["/mnt/a", "/mnt/b"], "mounted after a restart")
    same(t.guest.run("cat /mnt/b/file"), "still there", "a file")
    service(t, "stop")
    same(mounted(t), [], "mounted after stop")


@operator(limit=600)
def example_for_devd(t):
    """The rules of the example, with another program in the place of logger, under the guest's own devd."""
    prepare(t, enable="YES", iflist="em0", targets="7.0")
    server = t.vblade(seg=0)
    t.guest.run("printf '%s\\n' '#!/bin/sh' 'echo \"$@\" >> /tmp/told' > /tmp/tell && chmod +x /tmp/tell && rm -f /tmp/told")
    t.guest.run("mkdir -p /usr/local/etc/devd")
    t.defer("rm -rf /usr/local/etc/devd /tmp/told; service devd onerestart", 60)
    t.guest.run(f"sed -e 's,logger -p [a-z.]* -t aoe,/tmp/tell,' {HERE}/devd/aoe.conf "
                "> /usr/local/etc/devd/aoe.conf && grep -q /tmp/tell /usr/local/etc/devd/aoe.conf")
    t.guest.run("service devd onerestart", 60)
    t.guest.wait_for("test -S /var/run/devd.pipe && pgrep -x devd", 30, "devd runs with the rules")
    service(t, "start")
    t.guest.run("dd if=/dev/aoe7.0 of=/dev/null bs=64k count=1")
    server.kill()
    job = t.guest.spawn("dd if=/dev/aoe7.0 of=/dev/null bs=64k iseek=10 count=1")
    t.guest.wait_for("grep -q '^target 7.0: DOWN$' /tmp/told", 60, "devd acts when the target is down")
    server.start()
    t.guest.wait_for("grep -q '^target 7.0: UP$' /tmp/told", 90, "devd acts when the target is back")
    job.succeed(60)
    need(re.search(r"^target 7\.0: PATH_(UP|LOST) by em0 to [0-9a-f:]{17}$", t.guest.run("cat /tmp/told"), re.M),
         f"no path is spoken of: {t.guest.run('cat /tmp/told')}")
    service(t, "stop")


# -- the port -------------------------------------------------------------------------------------------


def show(t, command, timeout=120):
    """Runs a command in the guest, and prints both as a terminal would show them: the transcript."""
    print(f"      # {command}", flush=True)
    done = t.guest.try_run(command, timeout)
    for line in done.out.splitlines():
        if line.strip():
            print(f"        {line}", flush=True)
    need(done.code == 0, f"in the guest: {done!r}")
    return done.out.rstrip("\n")


def note(words):
    print(f"      ({words})", flush=True)


def make(port, *words):
    """The guest's own make on a port."""
    return (f"make -C {HERE}/port/{port} PORTSDIR={HERE}/tests/port/stub DISTDIR=/aoevm WRKDIRPREFIX=/aoevm/work "
            f"{' '.join(words)}")


def refused_for_its_reasons(t):
    """Without kernel sources."""
    t.guest.fails(make("aoe-kmod", "SRC_BASE=/aoevm/nothing", "stage"), "requires kernel source files in SRC_BASE=/aoevm/nothing",
                  120)


def install_port(t):
    """Stage, compare with the list, install, compare modes, owners and contents."""
    note("the guest has neither a ports tree nor Rust: tests/port/stub stands for the framework, and aoe.ko is handed in")
    aoectl = aoectl_of(t.config)
    note("aoectl is handed in too" if aoectl else "no aoectl for FreeBSD was given (AOE_VM_AOECTL): a script takes its place")
    t.guest.run("mkdir -p /aoevm/src/sys/sys && touch /aoevm/src/sys/Makefile && "
                "echo \"#define __FreeBSD_version $(uname -K)\" > /aoevm/src/sys/sys/param.h")
    refused_for_its_reasons(t)
    words = ["SRC_BASE=/aoevm/src", "AOE_STUB_KO=/aoevm/aoe.ko"]
    if aoectl:
        # It was stripped where it was made, and what zig has linked does not survive base's strip(1).
        words += ["AOE_STUB_AOECTL=/aoevm/aoectl", "STRIP_CMD=:"]
    for port in ("aoe-kmod", "aoe"):
        need("No pkg-plist issues found" in show(t, make(port, *words, "check-plist"), 300),
             "the staged files are not those of the list")
    show(t, make("aoe", *words, "install"), 300)
    said = t.guest.run("stat -f '%N %Sp %Su:%Sg' " + " ".join(INSTALLED)).splitlines()
    got = {line.split(" ")[0]: line.split(" ", 1)[1] for line in said}
    want = {name: f"{mode} root:wheel" for name, mode in INSTALLED.items()}
    same(got, want, "modes and owners")
    for name in LINKS:
        same(t.guest.run(f"readlink /usr/local/sbin/{name}"), "aoectl", f"where {name} leads")
    t.guest.run(f"cmp {HERE}/rc.d/aoe /usr/local/etc/rc.d/aoe")
    for page in ("man4/aoe.4", "man8/aoectl.8"):
        t.guest.run(f"gzip -dc /usr/local/share/man/{page}.gz | cmp - {HERE}/man/{page.split('/')[1]}")
    return words


def use_aoectl(t):
    """If there is one: it runs, also under another name, and sees the target."""
    if not aoectl_of(t.config):
        return
    show(t, "aoectl --version")
    need("7.0" in show(t, "aoe-stat", 60), "aoe-stat does not show the target")


def make_file_systems(t):
    """One that mountlate mounts, one that the script mounts; the sums of a file in each."""
    show(t, "gpart create -s gpt aoe7.0")
    show(t, "gpart add -t freebsd-ufs -a 4k -s 40m aoe7.0")
    show(t, "gpart add -t freebsd-ufs -a 4k aoe7.0")
    show(t, "newfs -U /dev/aoe7.0p1", 120)
    show(t, "newfs -U /dev/aoe7.0p2", 120)
    show(t, "mkdir /data /more")
    show(t, "echo '/dev/aoe7.0p1 /data ufs rw,late 0 0' >> /etc/fstab")
    show(t, "echo '/dev/aoe7.0p2 /more ufs rw,noauto 0 0' >> /etc/fstab")
    show(t, "sysrc aoe_mounts=/dev/aoe7.0p2")
    show(t, "mount /data && mount /more")
    show(t, "jot 200000 > /data/numbers && jot -r 200000 > /more/numbers")
    return t.guest.run("cat /data/numbers /more/numbers | sha256 -q")


def reboot(t):
    print("      # shutdown -r now", flush=True)
    start = t.machine.console.mark()
    t.machine.control.send("shutdown -r now\n")
    found = t.machine.console.expect(rb"All buffers synced", 180, start, t.machine.check_alive)
    need(found, "the shutdown did not get all buffers written:\n" + t.console()[-600:])
    t.guest.boot(found.end())
    said = t.machine.console.since(found.end()).replace(b"\r", b"").decode(errors="replace")
    for line in said.splitlines():
        if re.search(r"aoe|late file", line):
            print(f"        {line}", flush=True)


def root_names(t, name):
    t.guest.run(f"{NAMES} > /aoevm/{name}", 300)


def difference(t, before, after):
    """Names that came and names that went."""
    came = t.guest.run(f"LC_ALL=C comm -13 /aoevm/{before} /aoevm/{after}", 60).splitlines()
    went = t.guest.run(f"LC_ALL=C comm -23 /aoevm/{before} /aoevm/{after}", 60).splitlines()
    return came, went


@operator(own_vm=True, limit=1800)
def newcomer(t):
    """Install, enable, start, mount at boot, reboot, stop, remove: with the words of the manual."""
    t.vblade(seg=0, size=128 * MIB)
    unpack_checkout(t)
    t.guest.run("LC_ALL=C sort /etc/rc.conf > /aoevm/rc.conf.before && cp /etc/fstab /aoevm/fstab.before")
    root_names(t, "before")
    words = install_port(t)
    root_names(t, "installed")
    came, went = difference(t, "before", "installed")
    files = [name for name in came if t.guest.try_run(f"test -d {name} && ! test -L {name}").code != 0]
    same(sorted(files), sorted([*INSTALLED, "/boot/modules/linker.hints"]), "files that came with the port")
    same(went, [], "files that went with the port")

    show(t, "sysctl net.aoe.iflist=em0")
    show(t, "service aoe start && ls -l /dev/aoe7.0")
    show(t, "service aoe stop")

    show(t, "sysrc aoe_enable=YES aoe_iflist=em0")
    show(t, "service aoe start")
    t.wait_disk()
    show(t, "service aoe status")
    use_aoectl(t)
    want = make_file_systems(t)
    reboot(t)
    need(t.loaded(), "the module is not loaded after the reboot")
    points = show(t, "mount -p | grep aoe")
    need(re.search(r"^/dev/aoe7\.0p1\s+/data\s", points, re.M) and re.search(r"^/dev/aoe7\.0p2\s+/more\s", points, re.M),
         "not mounted at boot")
    same(t.guest.run("cat /data/numbers /more/numbers | sha256 -q"), want, "sum after the reboot")
    show(t, "service aoe status")

    t.guest.fails("service aoe stop", "still mounted: /data", 60)
    show(t, "umount /data")
    show(t, "service aoe stop")
    same(t.guest.run("mount -p | grep -c aoe || true"), "0", "AoE disks that are mounted")
    need(not t.loaded(), "the module is still loaded")
    show(t, "sysrc -x aoe_enable aoe_iflist aoe_mounts")
    show(t, "sed -i '' /aoe7.0p/d /etc/fstab && rmdir /data /more")
    for port in ("aoe", "aoe-kmod"):
        show(t, make(port, *words, "deinstall"))
    root_names(t, "after")
    same(difference(t, "before", "after"), ([], []), "names that came and that went")
    t.guest.run("LC_ALL=C sort /etc/rc.conf | diff /aoevm/rc.conf.before - && diff /aoevm/fstab.before /etc/fstab")
    same(t.guest.run("ls /var/db | grep -c aoe || true"), "0", "traces in /var/db")
    note("nothing is left")
    t.load("em0")
    t.wait_disk()
    for part in ("p1", "p2"):
        fsck_clean(t, f"/dev/aoe7.0{part}")
    t.unload()
