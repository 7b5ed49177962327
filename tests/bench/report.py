# SPDX-License-Identifier: BSD-2-Clause
"""The figures of a run as a page: a table with their spread, and a plot."""

import os
import sys

from figures import number, ratios

#: Of the bars, by name of the system.
COLOURS = {"freebsd": "tab:red", "linux": "tab:blue", "iscsi": "tab:green", "echo": "tab:gray"}


#: What somebody wrote by hand begins with this line, and stays.
NOTES = "\n## Notes\n"


def write(path, rig, titles, rows, skipped):
    """Writes the page, and the plot beside it under the same name with .svg."""
    plot = os.path.splitext(path)[0] + ".svg"
    draw(plot, titles, rows)
    notes = notes_of(path)
    with open(path, "w", encoding="utf-8") as f:
        f.write(page(rig, titles, rows, skipped, os.path.basename(plot)) + notes)


def notes_of(path):
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as f:
        _, line, rest = f.read().partition(NOTES)
    return line + rest


def page(rig, titles, rows, skipped, plot):
    lines = ["# Figures", "",
             "One host, one kind of virtual hardware, and one file, which vblade (or, for iSCSI, tgt) serves with the same options;",
             "only the guest differs. The figures are for comparing with each other, and say nothing about real hardware. In brackets",
             "the least and the most of all rounds; below it the processor time of the guest for one request. A ratio is the module's",
             "figure over that of the other system, and below it the same of the processor time.", "",
             f"Rig: {rig}.", "", "```", "tests/bench/run " + " ".join(shown(sys.argv[1:])), "```", ""]
    lines += [f"{words}.\n" for words in skipped]
    lines += [f"![The same as a plot]({plot})", "", table_line(["system", "MTU", "CPUs", "targets", "paths"] + titles),
              table_line(["---"] * (5 + len(titles)))]
    lines += [table_line([row.system.title, *row.setup] + [cell_words(cell) for cell in row.cells]) for row in rows]
    lines += [table_line([f"ratio to {ratio.peer.title}", *ratio.setup] +
                         [f"{number(figure)}<br>{number(cpu)}" for figure, cpu in ratio.pairs])
              for ratio in ratios(rows)]
    return "\n".join(lines) + "\n"


def table_line(words):
    return "| " + " | ".join(map(str, words)) + " |"


def cell_words(cell):
    if not cell.figures:
        return "-"
    least, most = number(min(cell.figures)), number(max(cell.figures))
    return f"{number(cell.median())} ({least}..{most})<br>{number(cell.cpu())} us"


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


def draw(path, titles, rows):
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "aoe"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(titles), figsize=(2.4 * len(titles), 3.2))
    labels = [f"{row.system.title}\n" + "/".join(map(str, row.setup)) for row in rows]
    colours = [COLOURS[row.system.name] for row in rows]
    for index, (title, axis) in enumerate(zip(titles, axes)):
        cells = [row.cells[index] for row in rows]
        medians = [cell.median() or 0 for cell in cells]
        spread = [[median - min(cell.figures, default=0) for median, cell in zip(medians, cells)],
                  [max(cell.figures, default=0) - median for median, cell in zip(medians, cells)]]
        axis.bar(range(len(rows)), medians, yerr=spread, color=colours, capsize=2)
        axis.set_title(title, fontsize=9)
        axis.set_xticks(range(len(rows)), labels, fontsize=6, rotation=90)
        axis.tick_params(axis="y", labelsize=7)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
