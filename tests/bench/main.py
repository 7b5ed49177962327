# SPDX-License-Identifier: BSD-2-Clause
"""MB/s and IOPS of aoe.ko in a FreeBSD guest, beside the Linux driver in its own guest.

One host, one kind of qemu, one vblade with the same options; only the guest differs. The figures
are for comparing with each other. They say nothing about real hardware."""

import glob
import os
import shutil
import sys
import tempfile
import zipfile

import linux
import loss
import report
from lib import netlab
from lib.config import CACHE, Config, parser
from lib.guest import Guest
from lib.qemu import Machine, check_tools
from lib.target import make_disk, vblade
from lib.util import GuestHung, HarnessError, TestFailure, run

HERE = os.path.dirname(os.path.abspath(__file__))
ZIG = "ziglang==0.15.2"
MIB = 1 << 20

#: So often a guest that hangs is booted anew.
ATTEMPTS = 3
#: Column title, mode of diskbench, block size, depth, and which of its figures.
COLUMNS = (("read MB/s", "read", MIB, 1, 0), ("write MB/s", "write", MIB, 1, 0),
           ("4K IOPS x1", "randread", 4096, 1, 1), ("4K IOPS x16", "randread", 4096, 16, 1))
#: What `--full` measures beside them.
MORE = (("4K IOPS x64", "randread", 4096, 64, 1), ("512 B IOPS x16", "randread", 512, 16, 1),
        ("64K IOPS x4", "randread", 65536, 4, 1), ("4K write x16", "randwrite", 4096, 16, 1))


def options():
    p = parser()
    p.prog = "tests/bench/run"
    p.description = __doc__
    p.add_argument("--seconds", type=float, default=8, help="length of one measurement")
    p.add_argument("--repeat", type=int, default=3, help="measurements of each kind; the median is shown")
    p.add_argument("--size", type=int, default=256, metavar="MIB", help="size of the exported file")
    p.add_argument("--nic", choices=("vtnet", "em"), default="em",
                   help="kind of network card in both guests; the Linux driver can stop for ever on vtnet")
    p.add_argument("--cpus", type=int, default=2)
    p.add_argument("--guest", choices=("both", "freebsd", "linux"), default="both")
    p.add_argument("--full", action="store_true", help="more sizes and depths")
    p.add_argument("--report", metavar="FILE.md",
                   help="write the figures as a table there, and as a plot beside it (needs python3-matplotlib)")
    p.add_argument("--loss", action="store_true", help="what lost frames cost: with aoe-relay on the wire")
    p.add_argument("--rates", default="0.1,1,5", metavar="PERCENT,...",
                   help="with --loss: frames lost, in each direction")
    p.add_argument("--mtu", default="1500,9000", metavar="MTU,...")
    return p


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
        os.makedirs(CACHE, exist_ok=True)
        self.programs = build_program(CACHE, workdir)
        self.file = make_disk(os.path.join(workdir, "export.img"), opts.size * MIB)
        # Real blocks, and in the host's page cache, so that the file system of the host is not measured.
        with open(self.file, "r+b") as f:
            for _ in range(opts.size):
                f.write(os.urandom(MIB))
        self.rows = []

    def machine(self, cls, lab, name, disks):
        machine = cls(self.config, lab, os.path.join(self.workdir, name), (self.opts.nic,), disks,
                      memory=1024, cpus=self.opts.cpus)
        return machine

    def freebsd(self, lab):
        tools = self.config.tools_tar(os.path.join(self.workdir, "tools.tar"),
                                      {"diskbench": self.programs["freebsd"]})
        machine = self.machine(Machine, lab, "freebsd", [(tools, "tools")])
        machine.start()
        guest = Guest(machine)
        guest.boot()
        guest.run("mkdir -p /aoevm && tar xpf /dev/vtbd1 -C /aoevm && cp /aoevm/diskbench /bin/", 60)
        guest.run("kldload /aoevm/aoe.ko", 60)
        return machine, guest

    def linux(self, lab):
        machine = self.machine(linux.LinuxMachine, lab, "linux", [])
        image, busybox = linux.unpack_packages(CACHE)
        (machine.vmlinuz,) = glob.glob(os.path.join(image, "boot/vmlinuz-*"))
        machine.initramfs = linux.write_initramfs(os.path.join(self.workdir, "initramfs"), image, busybox,
                                                  self.programs["linux"])
        machine.start()
        guest = linux.LinuxGuest(machine)
        guest.boot()
        return machine, guest

    def attach(self, system, guest, mtu):
        """The disk at this MTU; its device node."""
        if system == "freebsd":
            nic = self.opts.nic + "0"
            guest.run(f"ifconfig {nic} mtu {mtu} up && sysctl net.aoe.iflist={nic}")
            guest.wait_for("test -c /dev/aoe7.0", 20)
            return "/dev/aoe7.0"
        guest.run(f"ip link set eth0 mtu {mtu} up")
        guest.wait_for("test $(cat /sys/class/net/eth0/carrier) = 1", 20, step="0.2")
        guest.run("insmod /modules/aoe.ko aoe_iflist=eth0")
        guest.wait_for("test -b /dev/etherd/e7.0", 20, step="0.2")
        return "/dev/etherd/e7.0"

    @staticmethod
    def detach(system, guest):
        if system == "freebsd":
            guest.run("sysctl net.aoe.iflist= && kldunload aoe && kldload /aoevm/aoe.ko", 60)
        else:
            guest.run("rmmod aoe", 60)

    def once(self, guest, device, mode, block, depth, patience=60, how=""):
        """One measurement: bytes/s, operations/s, mean and worst in microseconds, operations."""
        words = f"{device} {mode} {block} {depth} {self.opts.seconds:g} {self.opts.size * MIB} {how}"
        line = guest.run(f"diskbench {words}", self.opts.seconds * 4 + patience)
        return [float(x) for x in line.split()]

    def measure(self, name, guest, device):
        cells = []
        for _, mode, block, depth, which in columns(self.opts):
            cell = Cell()
            for _ in range(self.opts.repeat):
                idle, total = self.idle_time(name, guest)
                got = self.once(guest, device, mode, block, depth)
                idle, total = (after - before for after, before in zip(self.idle_time(name, guest), (idle, total)))
                busy = (1 - idle / total if total else 0) * self.opts.cpus * self.opts.seconds
                cell.figures.append(got[which] / (1e6 if which == 0 else 1))
                cell.cpu_us.append(busy / got[4] * 1e6)
            cells.append(cell)
        return cells

    @staticmethod
    def idle_time(name, guest):
        """What the guest's processors have been idle, and existed, in its own ticks."""
        if name == "freebsd":
            ticks = [int(word) for word in guest.run("sysctl -n kern.cp_time").split()]
            return ticks[4], sum(ticks)
        ticks = [int(word) for word in guest.run("head -n 1 /proc/stat").split()[1:9]]
        return ticks[3] + ticks[4], sum(ticks)

    def system(self, name):
        for mtu in mtus(self.opts):
            for _ in range(ATTEMPTS):
                try:
                    cells = self.measured_at(name, mtu)
                except GuestHung as e:
                    # The Linux driver does, now and then. Ours may not.
                    if name == "freebsd":
                        raise
                    print(f"{name:<10}{mtu:>6}  hangs ({e}); it is booted anew", flush=True)
                    continue
                self.rows.append((name, mtu, cells))
                print(row(name, mtu, [cell.median() for cell in cells]))
                print(row("  CPU us", mtu, [cell.cpu() for cell in cells]), flush=True)
                break
            else:
                print(f"{name:<10}{mtu:>6}  gave no figures in {ATTEMPTS} attempts", flush=True)

    def measured_at(self, name, mtu):
        """The figures of one system, in a guest of its own."""
        lab = netlab.Lab()
        machine = None
        try:
            seg = lab.add_segment(9000)
            # No switch: the target sits on the other end of the guest's wire.
            lab.ip(f"link set {seg.tap} nomaster up")
            machine, guest = getattr(self, name)(lab)
            lab.ip(f"link set {seg.tap} mtu {mtu}")
            server = vblade(lab, seg.tap, self.file, self.workdir, options=("-b", "128")).start()
            try:
                device = self.attach(name, guest, mtu)
                cells = self.measure(name, guest, device)
                self.detach(name, guest)
                return cells
            finally:
                server.stop()
        finally:
            if machine is not None:
                machine.close()
            lab.close()

    def run(self, systems):
        opts = self.opts
        rig = (f"qemu {self.config.accel}, {opts.cpus} CPUs, {opts.nic}, vblade -b 128 on the guest's tap, "
               f"median of {opts.repeat} x {opts.seconds:g} s; CPU: the guest's processor time for one request")
        print(rig)
        print(f"{'system':<10}{'MTU':>6}" + "".join(f"{title:>15}" for title, *_ in columns(opts)), flush=True)
        for name in systems:
            self.system(name)
        self.compare()
        if opts.report:
            report.write(opts.report, rig, [title for title, *_ in columns(opts)], self.rows)

    def compare(self):
        """FreeBSD over Linux, for each MTU that both have."""
        cells = {(name, mtu): row_cells for name, mtu, row_cells in self.rows}
        for mtu in mtus(self.opts):
            if ("freebsd", mtu) in cells and ("linux", mtu) in cells:
                pairs = list(zip(cells["freebsd", mtu], cells["linux", mtu]))
                print(row("ratio", mtu, [ours.over(theirs) for ours, theirs in pairs]))
                print(row("  CPU", mtu, [ours.cpu() / theirs.cpu() if theirs.cpu() else 0 for ours, theirs in pairs]))


class Cell:
    """All measurements of one kind."""

    def __init__(self):
        self.figures, self.cpu_us = [], []

    def median(self):
        return median(self.figures)

    def cpu(self):
        return median(self.cpu_us)

    def over(self, other):
        return self.median() / other.median() if other.median() else 0


def median(values):
    return sorted(values)[len(values) // 2]


def columns(opts):
    return COLUMNS + MORE if opts.full else COLUMNS


def mtus(opts):
    return [int(word) for word in opts.mtu.split(",")]


def row(name, mtu, figures):
    return f"{name:<10}{mtu:>6}" + "".join(f"{report.number(f):>15}" for f in figures)


def main(argv):
    opts = options().parse_args(argv)
    config = Config(opts)
    workdir = opts.work or tempfile.mkdtemp(prefix="aoe-bench-")
    os.makedirs(workdir, exist_ok=True)
    code = 0
    try:
        check_tools()
        if opts.guest != "linux":
            config.check()
        netlab.sweep()
        bench = Bench(config, opts, workdir)
        systems = ("freebsd", "linux") if opts.guest == "both" else (opts.guest,)
        if opts.loss:
            code = loss.run(bench, systems)
        else:
            bench.run(systems)
    except (HarnessError, TestFailure) as e:
        print(f"tests/bench/run: {e}  [logs in {workdir}]", file=sys.stderr)
        return 1
    if not opts.work:
        shutil.rmtree(workdir, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
