# SPDX-License-Identifier: BSD-2-Clause
"""FreeBSD's own iSCSI initiator, on the same wire to the same file: the other peer of the figures."""

import os
import re
import shutil
import subprocess
import tempfile

from lib.util import TestSkipped, run, wait_until
from systems import FreeBSD

HOST, GUEST = "10.97.0.1", "10.97.0.2"
NAME = "iqn.2000-01.aoe.bench:disk"
#: In the guest: what must be there, and what shows that it is.
NEEDS = (("iscsi.ko", "kldload -n iscsi"), ("iscsid", "command -v iscsid"), ("iscsictl", "command -v iscsictl"))


class Iscsi(FreeBSD):
    name, title, ours = "iscsi", "FreeBSD, iSCSI", False
    aoe = False

    def why_not(self):
        missing = [tool for tool in ("tgtd", "tgtadm") if not shutil.which(tool)]
        return f"{missing[0]} is missing: apt-get install tgt" if missing else None

    def takes(self, setup):
        """One disk over one wire. With more, what would be measured is gmultipath."""
        return setup.targets == setup.paths == 1

    def load(self, guest):
        missing = [what for what, shown in NEEDS if guest.try_run(shown).code != 0]
        if missing:
            raise TestSkipped(f"the FreeBSD guest has no {', '.join(missing)}")

    def serve(self, stack, lab, setup, ends):
        """tgt where vblade would be. It and the guest have the only IP addresses."""
        (interface,) = ends
        lab.ip(f"addr add {HOST}/30 dev {interface}")
        # Whatever this host has for the networks that it is really in: this one is always there, and does not hold
        # back on a wire that loses nothing.
        lab.sh("sysctl -qw net.ipv4.tcp_congestion_control=reno")
        target = Tgt(lab, self.bench.files[0], self.bench.workdir)
        stack.callback(target.stop)
        target.start()

    def attach(self, guest, setup):
        (interface,) = self.interfaces(guest, setup)
        guest.run(f"ifconfig {interface} inet {GUEST}/30")
        guest.run("iscsid")
        guest.run(f"iscsictl -A -p {HOST} -t {NAME}")
        guest.wait_for("iscsictl -L | grep 'Connected: da'", 60)
        return ["/dev/" + re.search(r"Connected: (da\d+)", guest.run("iscsictl -L"))[1]]

    def detach(self, guest):
        guest.run("iscsictl -R -a", 60)


class Tgt:
    """A tgtd of our own in the lab's namespace, with a control socket of its own, and one disk with tgt's defaults
    (write cache on). One that the host may run for itself is not touched."""

    def __init__(self, lab, file, workdir):
        self.lab, self.file = lab, file
        self.log_path = os.path.join(workdir, "tgtd.log")
        # Short, because the path of a socket must be.
        self.where = tempfile.mkdtemp(prefix="aoe-tgt-")
        self.environment = dict(os.environ, TGT_IPC_SOCKET=os.path.join(self.where, "control"))
        self.process = None

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.lab.argv(["tgtd", "--foreground"]), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True, env=self.environment)
        wait_until(f"tgtd answers (its words are in {self.log_path})", self._answers, 10)
        self._admin("--op", "new", "--mode", "target", "--tid", "1", "--targetname", NAME)
        self._admin("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1", "--backing-store", self.file)
        self._admin("--op", "bind", "--mode", "target", "--tid", "1", "--initiator-address", "ALL")

    def _answers(self):
        return self._admin("--op", "show", "--mode", "target", check=False).returncode == 0

    def _admin(self, *words, check=True):
        return run(["tgtadm", "--lld", "iscsi", *words], check=check, env=self.environment)

    def stop(self):
        """At once: asked to end, it would wait for an initiator that is not there any more."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.where)
