# SPDX-License-Identifier: BSD-2-Clause
"""The figures of a run as a page: a table with their spread, and a plot."""

import os
import sys

from lib.util import HarnessError

NAMES = {"freebsd": "FreeBSD, aoe.ko", "linux": "Linux, aoe"}


def write(path, rig, titles, rows):
    """Writes the page, and the plot beside it under the same name with .svg."""
    plot = os.path.splitext(path)[0] + ".svg"
    draw(plot, titles, rows)
    with open(path, "w", encoding="utf-8") as f:
        f.write(page(rig, titles, rows, os.path.basename(plot)))


def page(rig, titles, rows, plot):
    lines = ["# Figures", "",
             "One host, one kind of virtual hardware, one vblade with the same options; only the guest differs. The figures are for",
             "comparing with each other, and say nothing about real hardware. In brackets the least and the most of all rounds; below it",
             "the processor time of the guest for one request.", "",
             f"Rig: {rig}.", "", "```", "tests/bench/run " + " ".join(shown(sys.argv[1:])), "```", "",
             f"![The same as a plot]({plot})", ""]
    lines += ["| system | MTU | " + " | ".join(titles) + " |", "| --- | --- |" + " --- |" * len(titles)]
    for name, mtu, cells in rows:
        words = [f"{number(c.median())} ({number(min(c.figures))}..{number(max(c.figures))})<br>{number(c.cpu())} us"
                 for c in cells]
        lines.append(f"| {NAMES[name]} | {mtu} | " + " | ".join(words) + " |")
    byplace = {(name, mtu): cells for name, mtu, cells in rows}
    for mtu in dict.fromkeys(mtu for _, mtu, _ in rows):
        if ("freebsd", mtu) in byplace and ("linux", mtu) in byplace:
            ratios = [f"{ours.over(theirs):.2f}<br>{ours.cpu() / theirs.cpu():.2f}" if theirs.cpu() else "-"
                      for ours, theirs in zip(byplace["freebsd", mtu], byplace["linux", mtu])]
            lines.append(f"| ratio | {mtu} | " + " | ".join(ratios) + " |")
    return "\n".join(lines) + "\n"


def shown(argv):
    """The arguments that matter to who repeats it: no paths of this machine."""
    out, skip = [], False
    for word in argv:
        if skip:
            skip = False
        elif word in ("--work", "--kernel", "--root", "--module", "--report", "--loader-disk"):
            skip = True
        else:
            out.append(word)
    return out


def number(value):
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def draw(path, titles, rows):
    try:
        import matplotlib
    except ImportError:
        raise HarnessError("--report needs python3-matplotlib") from None
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "aoe"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(titles), figsize=(2.4 * len(titles), 3.2))
    labels = [f"{NAMES[name].split(',')[0]}\n{mtu}" for name, mtu, _ in rows]
    colours = ["tab:red" if name == "freebsd" else "tab:blue" for name, _, _ in rows]
    for index, (title, axis) in enumerate(zip(titles, axes)):
        medians = [cells[index].median() for _, _, cells in rows]
        spread = [[m - min(cells[index].figures) for m, (_, _, cells) in zip(medians, rows)],
                  [max(cells[index].figures) - m for m, (_, _, cells) in zip(medians, rows)]]
        axis.bar(range(len(rows)), medians, yerr=spread, color=colours, capsize=2)
        axis.set_title(title, fontsize=9)
        axis.set_xticks(range(len(rows)), labels, fontsize=6, rotation=90)
        axis.tick_params(axis="y", labelsize=7)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
