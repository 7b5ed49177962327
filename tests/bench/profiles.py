# SPDX-License-Identifier: BSD-2-Clause
"""Where the guest's processors spend their time under each load, by DTrace's profile provider in the guest.

A sample that lies where an idle processor waits is idle; shares are of the others. Samples taken in a section
without interrupts are counted where it ends. Of requests that are alone on their way it is shown when their parts happen."""

import contextlib
import re

from figures import figure_of, number
from lib.util import HarnessError
from stages import stages
from symbols import Symbols, functions, rust_name

#: Samples a second; not a divisor of the clock's rate.
RATE = 997
IDLE = ("acpi_cpu_c1", "cpu_idle", "sched_idletd", "cpu_idle_hlt", "cpu_idle_mwait")
SHOWN = 14
SCRIPT = f"""
profile-{RATE} {{ @names[execname] = count(); @cpus[cpu] = count(); }}
profile-{RATE} /arg0/ {{ @places[arg0, arg0] = count(); }}
profile-{RATE} /!arg0/ {{ @user = count(); }}
tick-%ds {{ exit(0); }}
END {{
	printa("name %%@u %%s\\n", @names); printa("cpu %%@u %%d\\n", @cpus);
	printa("user %%@u\\n", @user); printa("place %%@u 0x%%x %%a\\n", @places);
}}
"""


def name_of(symbols, address, guest_says):
    """The function at this address. The guest knows those of modules by name; its kernel has none."""
    if re.match(r"(kernel`)?0x", guest_says):
        return symbols.name(address, guest_says)
    return rust_name(guest_says.split("`")[-1].split("+")[0])


class Profile:
    def __init__(self, text, symbols):
        self.functions, self.names, self.cpus = {}, {}, 0
        self.idle = 0
        for line in text.splitlines():
            words = line.split(maxsplit=3)
            if line.startswith("place"):
                self.place(int(words[1]), name_of(symbols, int(words[2], 16), words[3]))
            elif line.startswith("name") and words[2] != "idle":
                self.names[words[2]] = int(words[1])
            elif line.startswith("user"):
                self.place(int(words[1]), "(user)")
            elif line.startswith("cpu"):
                self.cpus += 1
        self.busy = sum(self.functions.values())
        if not self.busy:
            raise HarnessError(f"DTrace gave no profile: {text.strip()[:300]}")

    def place(self, count, name):
        if name in IDLE:
            self.idle += count
        else:
            self.functions[name] = self.functions.get(name, 0) + count

    def shares(self, counts):
        ordered = sorted(counts.items(), key=lambda item: -item[1])[:SHOWN]
        return ", ".join(f"{name} {100 * count / self.busy:.1f} %" for name, count in ordered
                         if count * 200 > self.busy)

    def __str__(self):
        part = 100 * self.busy / (self.busy + self.idle)
        return f"busy {part:.0f} % of {self.cpus} CPUs\n  in: {self.shares(self.functions)}\n  by: {self.shares(self.names)}"


def run(bench, systems, setups, columns):
    """A profile of every load that a system of FreeBSD's takes."""
    opts = bench.opts
    kernel = bench.config.kernel
    symbols = Symbols(functions(kernel) if kernel else [])
    for system in systems:
        for setup in filter(system.takes, setups):
            with contextlib.ExitStack() as stack:
                guest, devices = system.ready(stack, setup)
                guest.run("kldload -n dtraceall", 60)
                for title, mode, block, depth, which in columns:
                    # It begins before the samples are taken and ends after.
                    load = system.command(devices, mode, block, depth, opts.seconds + 6)
                    job = guest.spawn(load)
                    script = SCRIPT % int(opts.seconds)
                    text = guest.run(f"sleep 2; dtrace -q -n '{script}' 2>&1", opts.seconds * 4 + 120)
                    got = [float(word) for word in job.succeed(opts.seconds * 4 + 60).split()]
                    print(f"{system.name} MTU {setup.mtu}, {title}: {number(figure_of(got, which))}, {Profile(text, symbols)}", flush=True)
                    if depth == 1 and system.ours:
                        job = guest.spawn(load)
                        print(f"  {stages(guest, opts.seconds)}", flush=True)
                        job.succeed(opts.seconds * 4 + 60)
    return 0
