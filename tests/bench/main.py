# SPDX-License-Identifier: BSD-2-Clause
"""MB/s and IOPS of aoe.ko in a FreeBSD guest, beside the Linux driver and FreeBSD's iSCSI initiator,
each in a guest of its own.

One host, one kind of qemu, one file behind one vblade with the same options, or behind tgt; only the
guest differs. The figures are for comparing with each other. They say nothing about real hardware."""

import argparse
import contextlib
import glob
import importlib.util
import itertools
import os
import shutil
import signal
import sys
import tempfile
import zipfile

import counts
import loss
import profiles
import report
from echo import Echo
from figures import COLUMNS, MIB, MORE, Cell, Row, Setup, figure_of, number, ratios
from iscsi import Iscsi
from lib import netlab
from lib.config import CACHE, Config, parser
from lib.qemu import check_tools
from lib.target import make_disk
from lib.util import GuestHung, HarnessError, TestFailure, TestSkipped, run
from systems import FreeBSD, Linux

HERE = os.path.dirname(os.path.abspath(__file__))
ZIG = "ziglang==0.15.2"
#: So often a guest that hangs is booted anew.
ATTEMPTS = 3
#: What `--guest` can say.
GUESTS = {"all": (FreeBSD, Linux, Iscsi, Echo), "both": (FreeBSD, Linux), "freebsd": (FreeBSD,), "linux": (Linux,),
          "iscsi": (Iscsi,), "echo": (Echo,)}
#: The longest MTU that is measured with each card. 9000 is what switches take; Linux lets a tap have no more than 65521.
LONGEST = {"em": 9000, "vtnet": 65521}


def options():
    p = parser()
    p.prog = "tests/bench/run"
    p.description = __doc__
    p.add_argument("--seconds", type=float, default=8, help="length of one measurement")
    p.add_argument("--repeat", type=int, default=3, help="measurements of each kind; the median is shown")
    p.add_argument("--size", type=int, default=256, metavar="MIB", help="size of the exported file")
    p.add_argument("--nic", choices=("vtnet", "em"), default="em",
                   help="kind of network card in both guests; the Linux driver can stop for ever on vtnet")
    p.add_argument("--clock", choices=("tsc", "own"), default="tsc",
                   help="what an emulated guest reads the time from: its processor, as real machines do, or what it chooses by "
                        "itself, which is dear (with tsc the Linux driver stops for ever on vtnet at MTU 1500)")
    p.add_argument("--guest", choices=GUESTS, default="all", help="both: the two of AoE; echo: round trips without a disk")
    p.add_argument("--cpus", type=numbers(1, 16), default="2", metavar="N,...", help="processors of the guest")
    p.add_argument("--targets", type=numbers(1, 16), default="1", metavar="N,...",
                   help="disks in use at once, each at the depth that the column says; iSCSI has one")
    p.add_argument("--paths", type=numbers(1, 8), default="1", metavar="N,...",
                   help="network cards, each with a wire of its own to the same targets; iSCSI has one")
    p.add_argument("--full", action="store_true", help="more sizes and depths")
    p.add_argument("--report", metavar="FILE.md",
                   help="write the figures as a table there, and as a plot beside it (needs python3-matplotlib)")
    p.add_argument("--profile", action="store_true",
                   help="where the guest's processors spend their time, and when the parts of a request happen, for "
                        "aoe.ko; needs dtrace(1) in the guest")
    p.add_argument("--instructions", action="store_true",
                   help="how many instructions of the guest a request takes, and in which functions of FreeBSD and aoe.ko; "
                        "qemu counts them")
    p.add_argument("--loss", action="store_true", help="what lost frames cost: with aoe-relay on the wire")
    p.add_argument("--rates", default="0.1,1,5", metavar="PERCENT,...",
                   help="with --loss: frames lost, in each direction")
    p.add_argument("--mtu", type=numbers(1000, 65521), default="1500,9000", metavar="MTU,...",
                   help="with --nic vtnet up to 65521")
    return p


def numbers(least, most):
    """What reads an option that is a list of numbers between these two."""
    def parse(words):
        for word in words.split(","):
            if not word.isdecimal() or not least <= int(word) <= most:
                raise argparse.ArgumentTypeError(f"{word!r} is not a number from {least} to {most}")
        return [int(word) for word in words.split(",")]
    return parse


def parse_options(argv):
    p = options()
    opts = p.parse_args(argv)
    if max(opts.mtu) > LONGEST[opts.nic]:
        p.error(f"argument --mtu: {max(opts.mtu)} is more than the {LONGEST[opts.nic]} of --nic {opts.nic}")
    if opts.report and not importlib.util.find_spec("matplotlib"):
        p.error("argument --report: needs python3-matplotlib")
    if opts.loss and not systems_of(opts):
        p.error(f"argument --loss: needs a guest with a disk on AoE, which --guest {opts.guest} is not")
    if opts.loss and (len(opts.cpus), opts.targets, opts.paths) != (1, [1], [1]):
        p.error("argument --loss: needs one number of --cpus, and 1 for --targets and --paths")
    return opts


def systems_of(opts):
    return [system for system in GUESTS[opts.guest] if system.aoe or not opts.loss]


def setups(opts):
    """The rows of each system, in the order in which they are measured."""
    return [Setup(mtu, cpus, targets, paths)
            for cpus, targets, paths, mtu in itertools.product(opts.cpus, opts.targets, opts.paths, opts.mtu)]


def zig(cache):
    """The compiler that builds for both guests; one file that needs no installation."""
    given = os.environ.get("ZIG") or shutil.which("zig")
    if given:
        return given
    where = os.path.join(cache, ZIG.replace("==", "-"))
    program = os.path.join(where, "ziglang", "zig")
    if not os.path.exists(program):
        with tempfile.TemporaryDirectory() as tmp:
            run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                 "--only-binary", ":all:", "--dest", tmp, ZIG], timeout=600)
            (wheel,) = glob.glob(os.path.join(tmp, "*.whl"))
            with zipfile.ZipFile(wheel) as z:
                z.extractall(where)
        os.chmod(program, 0o755)
    return program


def build_program(cache, workdir):
    out = {}
    for guest, target in (("linux", ["x86_64-linux-musl", "-static"]), ("freebsd", ["x86_64-freebsd.14.0"])):
        out[guest] = os.path.join(workdir, f"diskbench-{guest}")
        run([zig(cache), "cc", "-target", target[0], "-O2", "-Wall", "-Wextra", "-s"] + target[1:] +
            ["-o", out[guest], os.path.join(HERE, "diskbench.c"), "-lpthread"], timeout=600)
    return out


class Bench:
    def __init__(self, config, opts, workdir):
        self.config, self.opts, self.workdir = config, opts, workdir
        #: Where the guests take the time from: only an emulated one is told.
        self.clock = opts.clock if config.accel == "tcg" else "own"
        os.makedirs(CACHE, exist_ok=True)
        self.programs = build_program(CACHE, workdir)
        self.files = [self.make_file(number) for number in range(max(opts.targets))]
        self.rows, self.skipped = [], []

    def make_file(self, number):
        """Real blocks, and in the host's page cache, so that the file system of the host is not measured."""
        path = make_disk(os.path.join(self.workdir, f"export{number}.img"), self.opts.size * MIB)
        with open(path, "r+b") as f:
            for _ in range(self.opts.size):
                f.write(os.urandom(MIB))
        return path

    def measure(self, system, guest, devices, setup):
        cells = []
        for _, mode, block, depth, which in columns(self.opts):
            cell = Cell()
            for _ in range(self.opts.repeat):
                before = system.idle_time(guest)
                got = system.once(guest, devices, mode, block, depth)
                if got is None:
                    break
                idle, total = (now - then for now, then in zip(system.idle_time(guest), before))
                busy = (1 - idle / total if total else 0) * setup.cpus * self.opts.seconds
                cell.figures.append(figure_of(got, which))
                cell.cpu_us.append(busy / got[4] * 1e6)
            cells.append(cell)
        return cells

    def system(self, system):
        """All rows of a system; or why there is none."""
        why_not = system.why_not()
        try:
            if why_not:
                raise TestSkipped(why_not)
            for setup in filter(system.takes, setups(self.opts)):
                self.row(system, setup)
        except TestSkipped as e:
            self.skipped.append(f"{system.title} was skipped: {e}")
            print(self.skipped[-1], flush=True)

    def row(self, system, setup):
        for _ in range(ATTEMPTS):
            try:
                cells = self.measured_at(system, setup)
            except GuestHung as e:
                # The Linux driver does, now and then. Ours may not.
                if system.ours:
                    raise
                print(f"{start_of_row(system.name, setup)}  hangs ({e}); it is booted anew", flush=True)
                continue
            self.rows.append(Row(system, setup, cells))
            print(line(system.name, setup, [cell.median() for cell in cells]))
            print(line("  CPU us", setup, [cell.cpu() for cell in cells]), flush=True)
            break
        else:
            print(f"{start_of_row(system.name, setup)}  gave no figures in {ATTEMPTS} attempts", flush=True)

    def measured_at(self, system, setup):
        """The figures of one system, in a guest of its own."""
        with contextlib.ExitStack() as stack:
            guest, devices = system.ready(stack, setup)
            cells = self.measure(system, guest, devices, setup)
            system.detach(guest)
            return cells

    def run(self, systems):
        opts = self.opts
        rig = (f"qemu {self.config.accel}, {opts.nic}, clock {self.clock}, vblade -b 128 or tgt on the guest's tap, "
               f"median of {opts.repeat} x {opts.seconds:g} s; CPU: the guest's processor time for one request")
        print(rig)
        titles = [title for title, *_ in columns(opts)]
        print(line("system", ("MTU", "CPUs", "targets", "paths"), titles), flush=True)
        for system in systems:
            self.system(system)
        for ratio in ratios(self.rows):
            print(line(f"/ {ratio.peer.name}", ratio.setup, [figure for figure, _ in ratio.pairs]))
            print(line("  CPU", ratio.setup, [cpu for _, cpu in ratio.pairs]), flush=True)
        if opts.report:
            report.write(opts.report, rig, titles, self.rows, self.skipped)
        return 0 if self.rows else 1


def columns(opts):
    return COLUMNS + MORE if opts.full else COLUMNS


def start_of_row(name, setup):
    return f"{name:<10}" + "".join(f"{word:>{width}}" for word, width in zip(setup, (6, 5, 8, 6)))


def line(name, setup, words):
    return start_of_row(name, setup) + "".join(f"{w if isinstance(w, str) else number(w):>15}" for w in words)


def main(argv):
    opts = parse_options(argv)
    # Guests, targets and wires end with it.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    config = Config(opts)
    workdir = opts.work or tempfile.mkdtemp(prefix="aoe-bench-")
    os.makedirs(workdir, exist_ok=True)
    try:
        check_tools()
        if opts.guest != "linux":
            config.check()
        netlab.sweep()
        bench = Bench(config, opts, workdir)
        systems = [system(bench) for system in systems_of(opts)]
        if opts.loss:
            code = loss.run(bench, systems, setups(opts))
        elif opts.instructions:
            code = counts.run_all(bench, systems, setups(opts), columns(opts))
        elif opts.profile:
            ours = [system for system in systems if system.ours]
            code = profiles.run(bench, ours, setups(opts), columns(opts))
        else:
            code = bench.run(systems)
    except (HarnessError, TestFailure) as e:
        print(f"tests/bench/run: {e}  [logs in {workdir}]", file=sys.stderr)
        return 1
    except SystemExit as e:
        # Told to end.
        code = e.code
    if not opts.work:
        shutil.rmtree(workdir, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
