# SPDX-License-Identifier: BSD-2-Clause
"""What lost frames cost: the same measurements with and without loss, through the same relay.

Each round takes all loss rates one after the other, so that what else the host does meets all of
them. The table shows medians over the rounds, what is kept as the mean of each round's share, and
for the longest request the longest of all. The shares of single rounds differ by a tenth or so, however long a round
is: many short rounds say more than few long ones. What comes behind +- is the standard error.

The longest request is as the program sees it, which includes its wait for a processor. In some rounds the same sixteen
readers read once more, while DTrace takes the time of each request from its way into the module to its end."""

import contextlib

from figures import COLUMNS, MIB, figure_of, mean, median, number
from lib.relay import Relay
from lib.util import HarnessError, TestFailure
from stages import longest
from systems import wires

#: Which of the columns are the random reads that are alone on their way, and those that are not.
SINGLE, DEEP = 2, 3
#: The measurement by DTrace, which is of the latter, is made once in so many rounds, and peers are measured once in
#: so many: their requests can stand still for longer than a round takes.
SELDOM = 4
#: What must be kept at these rates, of the four figures; the last column is milliseconds.
WANTED = {0.1: (95, 95, 95, 95), 1.0: (80, 80, 70, 80)}
LONGEST_AT = {1.0: 100}


class Cell:
    """All rounds of one system, MTU and loss rate."""

    def __init__(self):
        self.figures = [[] for _ in COLUMNS]
        self.worst = {4096: 0.0, MIB: 0.0}
        self.worst_inside = None
        # Of the single random reads of each round: how many, how long one took, and how many frames were lost.
        self.reads, self.microseconds, self.lost = [], [], []
        self.own_lost = 0

    def add(self, part, got, status):
        _, _, block, _, which = COLUMNS[part]
        self.figures[part].append(figure_of(got, which))
        self.worst[block] = max(self.worst[block], got[3] / 1000)
        self.own_lost += status["own_lost"]
        if part == SINGLE:
            self.reads.append(got[4])
            self.microseconds.append(got[2])
            self.lost.append(status["to-target"]["lost"] + status["to-initiator"]["lost"])

    def medians(self):
        return [median(f) for f in self.figures]

    def kept(self, clean):
        """Per cent of the loss-free figures of the same round, with the standard error."""
        shares = [[100 * got / base for got, base in zip(*pair) if base] for pair in zip(self.figures, clean.figures)]
        return [mean(s) for s in shares]

    def added_ms(self, clean):
        """Mean extra time of single random reads for each frame that was lost, with the standard error."""
        if not sum(self.lost):
            return None
        rounds = zip(self.reads, self.microseconds, clean.microseconds)
        extra, error = mean([n * (us - base) / 1000 for n, us, base in rounds])
        lost = sum(self.lost) / len(self.lost)
        return extra / lost, error / lost


class Lossy:
    """One guest, measured at every MTU."""

    def __init__(self, bench, system):
        self.bench, self.system, self.opts = bench, system, bench.opts
        self.rates = [0.0] + [float(word) for word in bench.opts.rates.split(",")]
        self.verdicts = []
        self.round_trip = None

    def run(self, setups):
        with contextlib.ExitStack() as stack:
            widest = max(setups)
            lab = wires(stack, widest)
            guest = self.system.start(stack, lab, widest)
            for setup in setups:
                self.at_setup(lab, guest, setup)
        return self.verdicts

    def at_setup(self, lab, guest, setup):
        bench, (seg,) = self.bench, lab.segments
        # No switch: the relay is between the guest's cable and the target's.
        port = seg.port(0)
        lab.ip(f"link set {port}b nomaster up")
        lab.ip(f"link set {port} mtu {setup.mtu}")
        with contextlib.ExitStack() as stack:
            relay = Relay(lab, seg.tap, port + "b", bench.config.find_program("aoe-relay"), bench.workdir).start()
            stack.callback(relay.stop)
            self.system.serve(stack, lab, setup, [port])
            devices = self.system.attach(guest, setup)
            cells = self.rounds(relay, guest, devices, setup.mtu)
            relay.clear()
            self.show(setup.mtu, cells)
            self.system.detach(guest)

    def rounds(self, relay, guest, devices, mtu):
        cells = {rate: Cell() for rate in self.rates}
        for number in range(0, self.opts.repeat, 1 if self.system.ours else SELDOM):
            for rate, cell in cells.items():
                relay.set("both", f"loss={rate:g}%")
                try:
                    self.fill(cell, relay, guest, devices)
                    if self.system.ours and number % SELDOM == 0:
                        self.time_inside(cell, guest, devices)
                except (TestFailure, HarnessError) as e:
                    print(f"{self.system.name} {mtu} {rate:g} %: {e}", flush=True)
                    return cells
                if rate == 0 and self.system.ours:
                    # The module's own idea of it, while nothing is lost.
                    self.round_trip = float(guest.sysctl("net.aoe.target.7.0.path.0.srtt_us")) / 1000
        return cells

    def fill(self, cell, relay, guest, devices):
        """One round at one rate."""
        for part, (_, mode, block, depth, _) in enumerate(COLUMNS):
            relay.reset()
            cell.add(part, self.system.once(guest, devices, mode, block, depth, 300), relay.status())

    def time_inside(self, cell, guest, devices):
        _, mode, block, depth, _ = COLUMNS[DEEP]
        inside = longest(guest, self.system.command(devices, mode, block, depth, self.opts.seconds), self.opts.seconds)
        if inside is not None:
            cell.worst_inside = max(cell.worst_inside or 0, inside / 1000)

    def show(self, mtu, cells):
        clean = cells[0.0]
        for rate, cell in cells.items():
            words = [f"{self.system.name:<9}{mtu:>5}{rate:>6g}"]
            kept = cell.kept(clean)
            for got, share in zip(cell.medians(), kept):
                words.append(f"{number(got):>9} {percent(share):>9}")
            added = cell.added_ms(clean)
            words.append(f"{cell.worst[MIB]:>11.1f}{cell.worst[4096]:>11.1f}{number(cell.worst_inside):>10}")
            words.append(f"{sum(cell.lost):>8}{'-' if added is None else '{:.2f} +- {:.2f}'.format(*added):>20}")
            print("".join(words), flush=True)
            if cell.own_lost:
                print(f"          the relay itself lost {cell.own_lost} frames in these measurements")
            if self.system.ours:
                self.judge(mtu, rate, kept, cell, added)

    def judge(self, mtu, rate, kept, cell, added):
        """Where the module is behind what it is to reach."""
        where = f"MTU {mtu}, {rate:g} %"
        for (title, *_), got, wanted in zip(COLUMNS, kept, WANTED.get(rate, ())):
            if got is None or got[0] < wanted:
                self.verdicts.append(f"{where}: {title}: {percent(got)} of the loss-free figure, wanted {wanted}%")
        worst = max(*cell.worst.values(), cell.worst_inside or 0)
        if rate in LONGEST_AT and worst > LONGEST_AT[rate]:
            self.verdicts.append(f"{where}: longest request {worst:.0f} ms, wanted {LONGEST_AT[rate]}")
        round_trip = self.round_trip or 0
        limit = max(3.0, 3 * round_trip)
        if added is not None and added[0] > limit:
            self.verdicts.append(f"{where}: {added[0]:.2f} +- {added[1]:.2f} ms for each lost frame, wanted {limit:.2f} "
                                 f"(round trip {round_trip:.2f})")


def percent(share):
    return "-" if share is None else "{:.0f}% +-{:.0f}".format(*share)


def run(bench, systems, setups):
    opts = bench.opts
    print(f"qemu {bench.config.accel}, {opts.cpus[0]} CPUs, {opts.nic}, clock {bench.clock}, vblade -b 128 behind aoe-relay, loss in each "
          f"direction, {opts.repeat} x {opts.seconds:g} s (peers: a quarter of the rounds); longest requests and cost of a lost frame in ms")
    print(f"{'system':<9}{'MTU':>5}{'loss':>6}" + "".join(f"{title:>19}" for title, *_ in COLUMNS) +
          f"{'longest 1M':>11}{'longest 4K':>11}{'in module':>10}{'lost x1':>8}{'per lost':>20}", flush=True)
    verdicts = []
    for system in systems:
        try:
            verdicts += Lossy(bench, system).run(setups)
        except (TestFailure, HarnessError) as e:
            verdicts.append(f"{system.name}: {e}")
    for words in verdicts:
        print(f"not reached: {words}")
    return 1 if verdicts else 0
