# SPDX-License-Identifier: BSD-2-Clause
"""A tree of files with known checksums, as a tar on a disk of the guest.

It is made on the host from a seed, so what the guest reads back from the AoE disk is compared
with sums that never went through the guest."""

import hashlib
import io
import os
import random
import tarfile

MIB = 1 << 20


class Tree:
    SEED = 20061

    def __init__(self, workdir, quick):
        self.size = (48 if quick else 320) * MIB
        self.tar = os.path.join(workdir, "tree.tar")
        self.sums = {}
        self._write()
        self.digest = hashlib.sha256(self.listing().encode()).hexdigest()

    def listing(self):
        """The lines that `sha256 -r` prints for the sorted tree."""
        return "".join(f"{self.sums[name]} {name}\n" for name in sorted(self.sums))

    def _sizes(self, rng):
        """Big files for a third, then small ones of every awkward length until it is enough."""
        left = self.size
        for _ in range(3):
            big = self.size // 9 + rng.randrange(4096)
            left -= big
            yield big
        for odd in (0, 1, 511, 512, 513, 4095, 4096, 4097, 32767, 32768, 32769, 65536, 131073):
            left -= odd
            yield odd
        while left > 0:
            size = min(left, int(rng.paretovariate(0.7) * 3000) % (4 * MIB))
            left -= size
            yield size

    def _write(self):
        rng = random.Random(self.SEED)
        with tarfile.open(self.tar, "w", format=tarfile.USTAR_FORMAT) as tar:
            for number, size in enumerate(self._sizes(rng)):
                name = f"./d{number % 37}/e{number % 11}/file{number}"
                data = rng.randbytes(size)
                self.sums[name] = hashlib.sha256(data).hexdigest()
                info = tarfile.TarInfo(name)
                info.size, info.mtime, info.mode = size, 1_000_000_000 + number, 0o644
                tar.addfile(info, io.BytesIO(data))

    #: In the guest, inside the directory that holds the tree: the same listing, hashed.
    DIGEST = "find . -type f ! -name .sujournal | LC_ALL=C sort | xargs sha256 -r | sha256 -q"
    #: And where it differs, for the report.
    LISTING = "find . -type f ! -name .sujournal | LC_ALL=C sort | xargs sha256 -r"
