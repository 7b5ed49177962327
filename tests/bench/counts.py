# SPDX-License-Identifier: BSD-2-Clause
"""How many instructions of the guest a request takes, and in which functions, counted by a plugin of qemu.

Unlike samples these counts know nothing of time, and see what runs without interrupts, too."""

import contextlib
import os
import socket

from figures import figure_of, number
from lib.util import HarnessError, run
from profiles import IDLE, SHOWN

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAMS = "(programs)"


def build(workdir):
    """The plugin. qemu has what it leaves undefined."""
    out = os.path.join(workdir, "count.so")
    run(["cc", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", out, os.path.join(HERE, "count.c"), "-lpthread"],
        timeout=60)
    return out


class Counter:
    """The plugin in one guest's qemu."""

    def __init__(self, plugin, path):
        self.path = path
        self.argv = ["-plugin", f"file={plugin},socket={path}"]

    def take(self):
        """Blocks that were executed since the last call: address, instructions executed in it."""
        text = b""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.path)
            while part := s.recv(1 << 20):
                text += part
        for line in text.decode().splitlines():
            address, instructions, executions = line.split()
            yield int(address, 16), int(instructions) * int(executions)


def by_function(blocks, symbols):
    out = {}
    for address, count in blocks:
        name = symbols.name(address) if address else PROGRAMS
        if name not in IDLE:
            out[name] = out.get(name, 0) + count
    return out


def run_all(bench, systems, setups, columns):
    """The counts of every load that a system takes."""
    if bench.config.accel != "tcg":
        raise HarnessError("instructions are counted by qemu's tcg only")
    plugin = build(bench.workdir)
    for system in systems:
        why_not = system.why_not()
        if why_not:
            print(f"{system.title} was skipped: {why_not}", flush=True)
            continue
        for setup in filter(system.takes, setups):
            counter = Counter(plugin, os.path.join(bench.workdir, "count"))
            with contextlib.ExitStack() as stack:
                system.qemu_argv = counter.argv
                guest, devices = system.ready(stack, setup)
                symbols = system.symbols(guest)
                for title, mode, block, depth, which in columns:
                    # Once for what is done only the first time.
                    if system.once(guest, devices, mode, block, depth) is None:
                        continue
                    list(counter.take())
                    got = system.once(guest, devices, mode, block, depth)
                    functions = by_function(counter.take(), symbols)
                    print(f"{system.name} MTU {setup.mtu}, {title}: {number(figure_of(got, which))}, "
                          f"{sum(functions.values()) / got[4]:.0f} instructions a request\n  in: "
                          f"{shares(functions, got[4])}", flush=True)
    return 0


def shares(functions, requests):
    ordered = sorted(functions.items(), key=lambda item: -item[1])[:SHOWN]
    return ", ".join(f"{name} {count / requests:.0f}" for name, count in ordered)
