# SPDX-License-Identifier: BSD-2-Clause
"""What is measured, what came out, and how the module compares with its peers."""

import math
import statistics
from typing import NamedTuple

MIB = 1 << 20

#: Column title, mode of diskbench, block size, depth, and which of its figures.
COLUMNS = (("read MB/s", "read", MIB, 1, 0), ("write MB/s", "write", MIB, 1, 0),
           ("4K IOPS x1", "randread", 4096, 1, 1), ("4K IOPS x16", "randread", 4096, 16, 1))
#: What `--full` measures beside them.
MORE = (("4K IOPS x64", "randread", 4096, 64, 1), ("512 B IOPS x16", "randread", 512, 16, 1),
        ("64K IOPS x4", "randread", 65536, 4, 1), ("4K write x16", "randwrite", 4096, 16, 1))


class Setup(NamedTuple):
    """What a row stands for, beside the system. A path is a network card with a wire of its own."""

    mtu: int
    cpus: int
    targets: int
    paths: int


class Cell:
    """All measurements of one kind."""

    def __init__(self):
        self.figures, self.cpu_us = [], []

    def median(self):
        return median(self.figures)

    def cpu(self):
        return median(self.cpu_us)


class Row(NamedTuple):
    """A system at a setup, and its cell for each column."""

    system: object
    setup: Setup
    cells: list


class Ratio(NamedTuple):
    """The module over a peer at one setup: for each column (figure, processor time); None where there is none."""

    peer: object
    setup: Setup
    pairs: list


def ratios(rows):
    """The module over each of the others, wherever both have the same setup."""
    ours = {row.setup: row.cells for row in rows if row.system.ours}
    return [Ratio(row.system, row.setup,
                  [(over(mine.median(), theirs.median()), over(mine.cpu(), theirs.cpu()))
                   for mine, theirs in zip(ours[row.setup], row.cells)])
            for row in rows if not row.system.ours and row.setup in ours]


def over(ours, theirs):
    return ours / theirs if ours is not None and theirs else None


def figure_of(got, which):
    """Of what diskbench says, the figure that a column shows: the first one is in bytes, and shown in MB."""
    return got[which] / (1e6 if which == 0 else 1)


def median(values):
    return sorted(values)[len(values) // 2] if values else None


def mean(values):
    """The mean, and its standard error where there is more than one value; None of nothing."""
    if not values:
        return None
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return statistics.fmean(values), error


def number(value):
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"
