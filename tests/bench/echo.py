# SPDX-License-Identifier: BSD-2-Clause
"""The ceiling: reads that a guest's kernel sends and whose answers it throws away (aoe_echo.c).

No disk, no request, no copy: what the wire, the target and the guest's own network give at most."""

import functools
import os

from figures import MIB
from lib.util import HarnessError
from systems import SHELF, FreeBSD

SECTOR, HEADERS = 512, 22
#: A read of this mode keeps as many frames on their way.
STREAM = 64


class Echo(FreeBSD):
    name, title, ours = "echo", "FreeBSD, round trips without a disk", False
    aoe = False

    def takes(self, setup):
        return setup.targets == setup.paths == 1

    def why_not(self):
        try:
            return None if self.module else "there is no aoe_echo.ko"
        except HarnessError as e:
            said = [line for line in str(e).splitlines() if line.startswith("kmod:")]
            return f"aoe_echo.ko cannot be built ({' '.join(said) or e})"

    @functools.cached_property
    def module(self):
        return self.bench.config.build_module(os.path.join(os.path.dirname(os.path.abspath(__file__)), "aoe_echo.c"))

    def tools(self):
        return {"aoe_echo.ko": self.module}

    def load(self, guest):
        guest.run("kldload /aoevm/aoe_echo.ko", 60)

    def modules(self):
        return {"aoe_echo.ko": self.module}

    def serve(self, stack, lab, setup, ends):
        super().serve(stack, lab, setup, ends)
        self.target = lab.mac(ends[0])

    def attach(self, guest, setup):
        (interface,) = self.interfaces(guest, setup)
        self.fits = min((setup.mtu - HEADERS) // SECTOR, 127)
        self.to = f"{interface} {self.target} {SHELF} 0"
        return []

    def once(self, guest, devices, mode, block, depth):
        """As diskbench says it: a request is as many frames as it would take."""
        if mode not in ("read", "randread"):
            return None
        sectors = block // SECTOR
        frames = -(-sectors // self.fits)
        outstanding = STREAM if block == MIB else min(depth * frames, 128)
        msecs = int(self.opts.seconds * 1000)
        guest.run(f"sysctl debug.aoe_echo.run='{self.to} {min(sectors, self.fits)} {outstanding} {msecs}'",
                  self.opts.seconds * 4 + 60)
        answers, usecs = int(guest.sysctl("debug.aoe_echo.answers")), int(guest.sysctl("debug.aoe_echo.usecs"))
        if not answers:
            raise HarnessError("no answer to the reads of aoe_echo")
        requests = answers / frames
        rate = requests / usecs * 1e6
        return [rate * block, rate, 0.0, 0.0, requests]

    def detach(self, guest):
        guest.run("kldunload aoe_echo && kldload /aoevm/aoe_echo.ko", 60)
