# SPDX-License-Identifier: BSD-2-Clause
"""What takes which name of a disk: the table in aoe(4), section DISK NAMES, cell by cell.

GEOM finds a provider by its own name, and an alias is a node in /dev only; so who opens a file takes an alias, and
who names a provider to the kernel does not."""

import re
import time

from cases.o_events import manual
from lib.case import MIB, Group
from lib.util import need, same

G = Group("names", nics=("em", "vtnet"), memory=1024)

#: Columns of the table: what stands in a command.
COLUMNS = {
    "/dev/aoe7.0": ("/dev/aoe7.0",),
    "aoe7.0": ("aoe7.0",),
    "/dev/alias": ("/dev/etherd/e7.0", "/dev/aoed70"),
    "aoed70": ("aoed70",),
    "etherd/e7.0": ("etherd/e7.0",),
}

#: The rows: what makes the row's state, the command, and what undoes it. `{}` is the name, `X` a name that the
#: command's own provider is found by.
KEY = "-P -K /tmp/names.key"
WITH_KEY = "-p -k /tmp/names.key"
ROWS = {
    "dd": ("true", "dd if={} of=/dev/null bs=64k count=1", "true"),
    "diskinfo": ("true", "diskinfo -v {}", "true"),
    "newfs": ("true", "newfs -U {}", "true"),
    "fsck_ffs": ("newfs aoe7.0", "fsck_ffs -fn {}", "true"),
    "fsck": ("newfs aoe7.0", "fsck -t ufs -f -n {}", "true"),
    "tunefs": ("newfs aoe7.0", "tunefs -n enable {}", "true"),
    "dumpfs": ("newfs aoe7.0", "dumpfs -m {}", "true"),
    "fstyp": ("newfs aoe7.0", "LC_ALL=C fstyp {}", "true"),
    "mount": ("newfs aoe7.0", "mount {} /mnt/names", "umount /mnt/names"),
    "fstab": ("newfs aoe7.0 && cp /etc/fstab /tmp/fstab.names",
              "echo {} /mnt/names ufs rw,noauto 0 0 >> /etc/fstab && mount /mnt/names",
              "umount /mnt/names; cp /tmp/fstab.names /etc/fstab"),
    "swapon": ("true", "swapon {}", "swapoff /dev/aoe7.0 || swapoff {}"),
    "swapon, .eli": ("true", "swapon {}.eli", "swapoff /dev/aoe7.0.eli || swapoff {}.eli; geli detach -f aoe7.0"),
    "trim": ("true", "trim -f -l 64k {}", "true"),
    "gpart": ("true", "gpart create -s gpt {} && gpart add -t freebsd-ufs {} && gpart destroy -F {}",
              "gpart destroy -F aoe7.0"),
    "geli init": ("true", f"geli init {KEY} {{}}", "geli kill aoe7.0 || geli clear aoe7.0"),
    "geli attach": (f"geli init {KEY} aoe7.0", f"geli attach {WITH_KEY} {{}}", "geli detach -f aoe7.0; geli clear aoe7.0"),
    "geli onetime": ("true", "geli onetime {}", "geli detach -f aoe7.0"),
    "glabel label": ("true", "glabel label x {}", "glabel stop x; glabel clear aoe7.0"),
    "gconcat create": ("true", "gconcat create x {} md98", "gconcat stop x"),
    "gconcat label": ("true", "gconcat label x {} md98", "gconcat stop x; gconcat clear aoe7.0 md98"),
    "gstripe create": ("true", "gstripe create x {} md98", "gstripe stop x"),
    "gstripe label": ("true", "gstripe label x {} md98", "gstripe stop x; gstripe clear aoe7.0 md98"),
    "gmirror label": ("true", "gmirror label x {}", "gmirror destroy -f x"),
    "gmultipath label": ("true", "gmultipath label x {}", "gmultipath destroy x; gmultipath clear x aoe7.0"),
    "gjournal label": ("true", "gjournal label -s 100m {}", "gjournal stop -f aoe7.0.journal; gjournal clear aoe7.0"),
    "gnop create": ("true", "gnop create {}", "gnop destroy aoe7.0.nop"),
    "gcache create": ("true", "gcache create x {}", "gcache stop x"),
    "gmountver create": ("true", "gmountver create {}", "gmountver destroy aoe7.0.mountver"),
    "gunion create": ("true", "gunion create md98 {}", "gunion destroy -f md98-aoe7.0.union"),
    "iostat": ("true", "iostat -x -c 1 {} | grep -q aoe", "true"),
}

#: Other names of what must be there.
MODULES = ("geom_eli geom_label geom_concat geom_stripe geom_mirror geom_multipath geom_journal geom_nop geom_cache "
           "geom_mountver geom_union")


def table():
    """The table of the manual: row, then the answer of each column."""
    section = manual("DISK NAMES")
    rows = {}
    for line in re.findall(r"^\.It (.*)$", section.split(".Bl -column", 1)[1].split("\n.El", 1)[0], re.M):
        cells = [re.sub(r"^(Nm|Sy|Cm|Pa|Ic|Li|Xr) |\"", "", cell.strip()).strip() for cell in line.split(" Ta ")]
        rows[cells[0]] = cells[1:]
    head = rows.pop("Command")
    same(head, list(COLUMNS), "columns of the table in aoe(4)")
    return {name: dict(zip(head, cells)) for name, cells in rows.items()}


def there(t, row):
    """The row's program is in the guest."""
    program = "mount" if row == "fstab" else row.split(",")[0].split()[0]
    return t.guest.try_run(f"which {program}").code == 0


def works(t, row, name):
    """Whether the command of a row takes a name; the disk is as before afterwards."""
    before, command, after = (text.replace("{}", name) for text in ROWS[row])
    made = t.guest.try_run(before, 120)
    need(made.code == 0, f"{row}: {made!r}")
    done = t.guest.try_run(command, 60)
    clean(t, after)
    return done.code == 0, done.out.strip().splitlines()[-1:]


def clean(t, after):
    """What was made of the disk is undone. A class that is stopped would find its metadata once more before they are gone:
    so nothing is tasted meanwhile."""
    for _ in range(10):
        t.guest.try_run(f"sysctl kern.geom.notaste=1; {after}; sysctl kern.geom.notaste=0", 60)
        wiped = t.guest.try_run("dd if=/dev/zero of=/dev/aoe7.0 bs=64k count=16 && "
                                "dd if=/dev/zero of=/dev/aoe7.0 bs=64k oseek=4080 count=16", 60)
        if wiped.code == 0:
            return
        time.sleep(1)
    need(False, f"{after}: the disk is still in use: {wiped!r}")


def rig(t):
    t.aoe_target(size=256 * MIB, options=("--trim-blocks", "8"))
    t.load("em0")
    t.wait_disk()
    for module in MODULES.split():
        t.guest.try_run(f"kldload -n {module}", 60)
    t.guest.run("mkdir -p /mnt/names; dd if=/dev/random of=/tmp/names.key bs=64 count=1 2>/dev/null; "
                "mdconfig -a -t swap -s 256m -u 98")
    t.defer("mdconfig -d -u 98")
    # Aliases and all that is made of them are nodes of their own; nothing may be asked for a passphrase.
    for alias in ("/dev/etherd/e7.0", "/dev/aoed70"):
        need(t.guest.exists(alias), f"there is no {alias}")


@G.test(limit=1800)
def the_table_of_the_manual(t):
    """Each cell says what is so."""
    rig(t)
    said = table()
    same(sorted(said), sorted(ROWS), "rows of the table in aoe(4)")
    wrong, missing = [], []
    for row, cells in said.items():
        if not there(t, row):
            missing.append(row)
            continue
        for column, names in COLUMNS.items():
            for name in names:
                answer, words = works(t, row, name)
                t.say(f"{row} {name}: {'yes' if answer else 'no'} {words if not answer else ''}")
                if ("yes" if answer else "no") != cells[column]:
                    is_so = "works" if answer else "does not work"
                    wrong.append(f"{row} by {name}: {is_so} {words}, the manual says {cells[column]}")
    need(not wrong, "\n        ".join(["aoe(4) is wrong:"] + wrong))
    t.say(f"not in this guest: {missing}")
    need(len(missing) < len(said) / 3, f"hardly anything could be tried: {missing} are not in this guest")


@G.test(limit=600)
def partitions_have_the_aliases(t):
    """What gpart(8) and geli(8) make of the disk has the disk's aliases."""
    rig(t)
    t.guest.run("gpart create -s gpt aoe7.0 && gpart add -t freebsd-ufs aoe7.0")
    for name in ("/dev/aoe7.0p1", "/dev/etherd/e7.0p1", "/dev/aoed70p1"):
        t.guest.wait_for(f"test -c {name}", 10, name)
        t.guest.run(f"newfs {name} && mount {name} /mnt/names && umount /mnt/names", 60)
    t.guest.run("gpart destroy -F aoe7.0")
    t.guest.run(f"geli init {KEY} aoe7.0 && geli attach {WITH_KEY} aoe7.0", 60)
    for name in ("/dev/aoe7.0.eli", "/dev/etherd/e7.0.eli", "/dev/aoed70.eli"):
        t.guest.wait_for(f"test -c {name}", 10, name)
        t.guest.run(f"newfs {name} && mount {name} /mnt/names && umount /mnt/names", 60)
    t.guest.run("geli detach aoe7.0")
