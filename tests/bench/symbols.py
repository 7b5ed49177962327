# SPDX-License-Identifier: BSD-2-Clause
"""Which function an address of the guest's kernel lies in."""

import bisect
import re
import subprocess


class Symbols:
    """A list of addresses and names; each name holds up to the next address."""

    def __init__(self, table):
        self.table = sorted(table)
        self.starts = [start for start, _ in self.table]

    def name(self, address, otherwise="(kernel)"):
        at = bisect.bisect(self.starts, address) - 1
        return self.table[at][1] if at >= 0 else otherwise


def functions(path, base=0):
    """Those of a kernel, or of a module whose code begins at `base`."""
    found = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
    names = (line.split() for line in found.splitlines())
    return [(base + int(words[0], 16), rust_name(words[2])) for words in names if len(words) == 3 and words[1] in "tTwW"]


def rust_name(symbol):
    """The last identifier of a mangled name, which has its length before it; other names as they are."""
    for length in re.finditer(r"\d+", symbol if symbol.startswith("_R") else ""):
        if int(length[0]) == len(symbol) - length.end():
            return symbol[length.end():]
    return symbol


def loaded(guest, known):
    """All that a FreeBSD guest has loaded: `known` says in which file of the host what is found. The rest is named as a
    whole."""
    out = []
    for line in guest.run("kldstat").splitlines()[1:]:
        _, _, address, _, name = line.split()
        if known.get(name) is None:
            out.append((int(address, 16), name))
        elif name == "kernel":
            # It is linked to where it runs.
            out += functions(known[name])
        else:
            out += functions(known[name], int(address, 16))
    return Symbols(out)
